import { open as program } from "@org/sandbox-core"
import { Effect } from "effect"
import { Command, Flag } from "effect/cli"
import * as args from "../arguments.ts"
import * as Output from "../Output.ts"
import { answer, root } from "../root.ts"

export const open = Command.make(
  "open",
  {
    session: args.optionalSession,
    print: Flag.Boolean("print").pipe(
      Flag.withDescription("Print the address, and open nothing"),
      Flag.withDefault(false)
    )
  },
  ({ print, session }) =>
    Effect.gen(function* () {
      const { json } = yield* root
      const opening = Effect.flatMap(args.chosen(session), (session) => program({ session, print }))
      const { name, passwordEnv, warnings } = yield* answer(opening, ({ endpointUrl }) => endpointUrl)
      if (json) return
      yield* Effect.forEach(warnings, (warning) => Output.note(`warning: ${warning}`))
      if (passwordEnv !== null) {
        yield* Output.note(`it wants a password: ${passwordEnv} in \`sandbox env ${name} --show-secrets\``)
      }
    })
).pipe(
  Command.withDescription(
    "Open the page of a session's primary service in a browser ($BROWSER, or the system's own), and print its address. That no browser can be opened is a warning."
  ),
  Command.withShortDescription("Open a session's page in a browser"),
  Command.withExamples([{ command: "sandbox open app-main --print", description: "Only the address" }])
)
