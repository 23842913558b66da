import { up as program, SandboxError } from "@org/sandbox-core"
import { Config, Effect, Option } from "effect"
import { Argument, Command, Flag } from "effect/cli"
import * as args from "../arguments.ts"
import { builtin } from "../Providers.ts"
import * as Render from "../Render.ts"
import { answer } from "../root.ts"

export const up = Command.make(
  "up",
  {
    repository: Argument.String("repository").pipe(
      Argument.withDescription("A path of a git repository, or its URL"),
      Argument.withDefault(".")
    ),
    branch: Flag.String("branch").pipe(
      Flag.withAlias("b"),
      Flag.withDescription("The branch to work on; the repository's default one when absent"),
      Flag.optional
    ),
    base: Flag.String("base").pipe(
      Flag.withDescription("Create the branch from this branch, tag or commit if it does not exist"),
      Flag.optional
    ),
    name: Flag.String("name").pipe(
      Flag.withAlias("n"),
      Flag.withDescription("The session's name; <repository>-<branch> when absent"),
      Flag.optional
    ),
    provider: Flag.String("provider").pipe(
      Flag.withAlias("p"),
      Flag.withDescription(`Where it runs: ${Object.keys(builtin).join(", ")} (SANDBOX_PROVIDER)`),
      Flag.optional
    ),
    ...args.request
  },
  ({ base, branch, clientRequestId, name, provider, repository, wait }) =>
    Effect.gen(function* () {
      const chosen = Option.getOrUndefined(provider) ?? (yield* fromEnvironment)
      if (chosen === undefined) {
        return yield* SandboxError.make("ERR_INVALID_ARGUMENT", {
          message: "no provider was chosen",
          nextStep: `choose one with --provider or SANDBOX_PROVIDER: ${Object.keys(builtin).join(", ")}`,
          details: { field: "provider", registered: Object.keys(builtin) }
        })
      }
      yield* answer(
        program({
          repository,
          branch: Option.getOrUndefined(branch),
          base: Option.getOrUndefined(base),
          name: Option.getOrUndefined(name),
          provider: chosen,
          clientRequestId: Option.getOrUndefined(clientRequestId),
          wait
        }),
        Render.up
      )
    })
).pipe(
  Command.withDescription(
    "Bring up a session: a repository at a branch, in a sandbox of its own, ready to work in. A name that is held is refused with the command that goes on with its holder."
  ),
  Command.withShortDescription("Bring up a new session"),
  Command.withExamples([
    { command: "sandbox up . --branch main --provider local", description: "The repository here, at its branch main" },
    {
      command: "sandbox up https://example.com/app.git -b fix-1 --base main -p local --json",
      description: "A new branch of a remote repository, answered as JSON"
    }
  ])
)

const fromEnvironment = Effect.map(
  Effect.orDie(Effect.option(Config.NonEmptyString("SANDBOX_PROVIDER"))),
  Option.getOrUndefined
)
