import { exec as program, SandboxError } from "@org/sandbox-core"
import { Data, Effect, Stdio, Stream } from "effect"
import { Argument, Command, Flag } from "effect/cli"
import * as args from "../arguments.ts"
import { Quit, write } from "../Output.ts"
import { perform } from "../root.ts"

export const exec = Command.make(
  "exec",
  {
    session: args.session,
    argv: Argument.String("command").pipe(
      Argument.withDescription("The command and its arguments, behind two dashes; no shell reads it"),
      Argument.variadic()
    ),
    cwd: Flag.String("cwd").pipe(
      Flag.withAlias("w"),
      Flag.withDescription("Where to run it: absolute, or below the checkout"),
      Flag.withDefault(undefined)
    ),
    env: Flag.String("env").pipe(
      Flag.withAlias("e"),
      Flag.withDescription("NAME=value for the command; may be repeated"),
      Flag.withMetavar("NAME=value"),
      Flag.atLeast(0)
    )
  },
  ({ argv, cwd, env, session }) =>
    Effect.gen(function* () {
      const stdio = yield* Stdio.Stdio
      const stdin = (yield* stdio.stdinIsTerminal) ? undefined : Stream.orDie(stdio.stdin)
      const passThrough = Effect.gen(function* () {
        const variables = yield* environment(env)
        const running = yield* program({ session, argv, cwd, env: variables, stdin })
        yield* Stream.runForEach(running.output, ({ bytes, fd }) =>
          write(fd === 1 ? process.stdout : process.stderr, bytes)
        )
        return yield* running.exit
      })
      const { code } = yield* Effect.mapError(perform(Effect.scoped(passThrough)), (error) => new OwnFailure({ error }))
      if (code !== 0) return yield* new Quit({ code })
    })
).pipe(
  Command.withDescription(
    "Run a command in a session. Its output and its exit code are passed through as they are; 125 is our own failure, and 128 + n means that signal n ended it."
  ),
  Command.withShortDescription("Run a command in a session"),
  Command.withExamples([
    { command: "sandbox exec app-main -- git status --short", description: "Two dashes before the command" },
    {
      command: "echo hello | sandbox exec app-main -- cat",
      description: "stdin is passed through when it is not a terminal"
    }
  ])
)

/** A failure of `exec` itself: printed like any other, but with an exit code of its own. */
export class OwnFailure extends Data.TaggedError("OwnFailure")<{ readonly error: SandboxError.SandboxError }> {
  /** As other tools that run commands elsewhere do it. */
  readonly code = 125
}

const environment = Effect.fnUntraced(function* (pairs: ReadonlyArray<string>) {
  const variables: Record<string, string> = {}
  for (const pair of pairs) {
    const at = pair.indexOf("=")
    if (at < 1) {
      return yield* SandboxError.make("ERR_INVALID_ARGUMENT", {
        message: "an --env is not of the form NAME=value",
        nextStep: "write it as --env NAME=value",
        details: { field: "env" }
      })
    }
    variables[pair.slice(0, at)] = pair.slice(at + 1)
  }
  return variables
})
