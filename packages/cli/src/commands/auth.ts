import { authSync } from "@org/sandbox-core"
import { Effect, Option } from "effect"
import { Command, Flag } from "effect/cli"
import * as args from "../arguments.ts"
import { answer } from "../root.ts"

const human = ({ dryRun, name, path, providers }: Effect.Success<ReturnType<typeof authSync>>): string =>
  dryRun ? `${name}  would get ${providers.join(", ")}` : `${name}  ${providers.join(", ")} in ${path}`

const sync = Command.make(
  "sync",
  {
    session: args.optionalSession,
    only: Flag.String("only").pipe(
      Flag.withDescription("Whose credentials to copy, by the names in the file; may be repeated, or joined by commas"),
      Flag.withMetavar("provider"),
      Flag.atLeast(0)
    ),
    from: Flag.String("from").pipe(
      Flag.withDescription("The file to read, as OpenCode writes it; OpenCode's own when absent"),
      Flag.withMetavar("file"),
      Flag.optional
    ),
    to: Flag.String("to").pipe(
      Flag.withDescription("The file to write in the session; $SANDBOX_RUN_DIR/auth/auth.json when absent"),
      Flag.withMetavar("path"),
      Flag.optional
    ),
    dryRun: Flag.Boolean("dry-run").pipe(
      Flag.withDescription("Say whose credentials would be copied, and copy none"),
      Flag.withDefault(false)
    )
  },
  ({ dryRun, from, only, session, to }) => {
    const options = {
      dryRun,
      only: only.flatMap((names) => names.split(",")).flatMap((name) => (name.trim() === "" ? [] : [name.trim()])),
      from: Option.getOrUndefined(from),
      to: Option.getOrUndefined(to)
    }
    return Effect.asVoid(
      answer(
        Effect.flatMap(args.chosen(session), (session) => authSync({ ...options, session })),
        human
      )
    )
  }
).pipe(
  Command.withDescription(
    "Copy the credentials of chosen model providers into a session, as a file that only its owner can read, and never into its checkout. Nothing is copied that is not named by --only."
  ),
  Command.withShortDescription("Copy chosen credentials into a session"),
  Command.withExamples([
    { command: "sandbox auth sync app-main --only openai", description: "What OpenCode has of one provider" }
  ])
)

export const auth = Command.make("auth").pipe(
  Command.withDescription("The credentials of model providers in sessions."),
  Command.withShortDescription("Credentials in sessions"),
  Command.withSubcommands([sync])
)
