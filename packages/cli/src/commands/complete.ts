import { complete as program } from "@org/sandbox-core"
import { Effect, Option } from "effect"
import { Command, Flag } from "effect/cli"
import * as args from "../arguments.ts"
import * as Render from "../RenderExport.ts"
import { answer } from "../root.ts"

export const complete = Command.make(
  "complete",
  {
    session: args.optionalSession,
    autoTeardown: Flag.Boolean("auto-teardown").pipe(
      Flag.withDescription(
        "Destroy the session some time after, or --no-auto-teardown to keep it; as it was set up, when absent"
      ),
      Flag.optional
    ),
    ...args.request
  },
  ({ autoTeardown, clientRequestId, session, wait }) => {
    const options = {
      wait,
      autoTeardown: Option.getOrUndefined(autoTeardown),
      clientRequestId: Option.getOrUndefined(clientRequestId)
    }
    const run = Effect.flatMap(args.chosen(session), (session) => program({ ...options, session }))
    return Effect.asVoid(answer(run, Render.completed))
  }
).pipe(
  Command.withDescription(
    "Say that the work of a session is done, and save it. The box stays up; `sandbox resume` goes back to working. With sandbox.auto_teardown the session is destroyed by `gc` or `export` after sandbox.completed_retention_mins, once all of it is saved and verified."
  ),
  Command.withShortDescription("Say that the work of a session is done"),
  Command.withExamples([
    { command: "sandbox complete app-main --no-auto-teardown", description: "Done, and to be kept" }
  ])
)
