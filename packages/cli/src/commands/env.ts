import { Dotenv, env as program, SandboxError } from "@org/sandbox-core"
import { Effect, Option } from "effect"
import { Command, Flag } from "effect/cli"
import * as args from "../arguments.ts"
import { write } from "../Output.ts"
import { perform, root } from "../root.ts"
import { toWire } from "../Wire.ts"

type Answer = Effect.Success<ReturnType<typeof program>>

export const env = Command.make(
  "env",
  {
    session: args.optionalSession,
    format: Flag.Literals("format", ["json", "dotenv", "shell"]).pipe(
      Flag.withDescription("dotenv, when absent: NAME=value; shell: lines to `eval`; json: the same as --json"),
      Flag.optional
    ),
    showSecrets: Flag.Boolean("show-secrets").pipe(
      Flag.withDescription("Print the values of secrets too, which are only named otherwise"),
      Flag.withDefault(false)
    )
  },
  ({ format, session, showSecrets }) =>
    Effect.gen(function* () {
      const { json } = yield* root
      const wanted = Option.getOrElse(format, () => (json ? "json" : "dotenv"))
      if (json && wanted !== "json") {
        return yield* SandboxError.make("ERR_INVALID_ARGUMENT", {
          message: `--format ${wanted} was given together with --json`,
          nextStep: "leave one of them out",
          details: { field: "format" }
        })
      }
      const answer = yield* perform(
        Effect.flatMap(args.chosen(session), (session) => program({ session, showSecrets }))
      )
      yield* write(process.stdout, formats[wanted](answer, showSecrets))
    })
).pipe(
  Command.withDescription(
    "The environment of a session's commands, beside what its box has by itself. Secrets are named and not shown. What dotenv and shell print gives a shell that reads it the same values, byte for byte."
  ),
  Command.withShortDescription("Show the environment of a session"),
  Command.withExamples([
    { command: 'eval "$(sandbox env app-main --format shell)"', description: "The same variables in the shell here" },
    { command: "sandbox env app-main --show-secrets", description: "With the passwords" }
  ])
)

/** A comment for each secret that is not printed. */
const hidden = ({ secrets }: Answer, showSecrets: boolean): string =>
  showSecrets ? "" : secrets.map((name) => `# ${name} is a secret: --show-secrets prints it\n`).join("")

/** In single quotes a shell takes everything as it is. */
const exported = ([name, value]: readonly [string, string]): string =>
  `export ${name}='${value.replaceAll("'", `'\\''`)}'\n`

const formats = {
  // names of variables are data, whatever they look like
  json: ({ env, ports, ...rest }: Answer): string =>
    `${JSON.stringify({ ok: true, ...(toWire(rest) as object), ports, env })}\n`,
  dotenv: (answer: Answer, showSecrets: boolean): string =>
    `${Dotenv.format(answer.env)}${hidden(answer, showSecrets)}`,
  shell: (answer: Answer, showSecrets: boolean): string =>
    `${Object.entries(answer.env).map(exported).join("")}${hidden(answer, showSecrets)}`
}
