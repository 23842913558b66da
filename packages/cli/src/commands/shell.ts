import { shell as program } from "@org/sandbox-core"
import { Effect } from "effect"
import { Command } from "effect/cli"
import * as args from "../arguments.ts"
import { note, Quit } from "../Output.ts"
import { root } from "../root.ts"
import * as Terminal from "../Terminal.ts"
import { environment, flags, own } from "./exec.ts"

export const shell = Command.make("shell", { session: args.optionalSession, ...flags }, ({ cwd, env, session }) =>
  Effect.gen(function* () {
    const { quiet } = yield* root
    const interactive = Effect.gen(function* () {
      const reference = yield* args.chosen(session)
      yield* Terminal.required({
        what: "a shell",
        nextStep: "run a single command with `sandbox exec <session> -- <command>`",
        output: true
      })
      const variables = yield* environment(env)
      return yield* Terminal.attach({
        keyboard: true,
        start: Effect.fnUntraced(function* (request) {
          const running = yield* program({ session: reference, cwd, env: variables, ...request })
          if (!quiet) yield* note(`${running.name} (${running.sessionId}, ${running.provider}); exit leaves it`)
          return running
        })
      })
    })
    const { code } = yield* own(Effect.scoped(interactive))
    if (code !== 0) return yield* new Quit({ code })
  })
).pipe(
  Command.withDescription(
    "An interactive shell in a session: its own $SHELL if that is set and can be run there, else bash, else sh. The shell's exit code is passed through; 125 is our own failure."
  ),
  Command.withShortDescription("Open a shell in a session"),
  Command.withExamples([
    { command: "sandbox shell app-main", description: "In the session's checkout" },
    { command: "sandbox shell", description: "In the session of the current directory" }
  ])
)
