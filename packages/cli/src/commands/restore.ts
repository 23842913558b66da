import { restore as program } from "@org/sandbox-core"
import { Effect, Option } from "effect"
import { Argument, Command, Flag } from "effect/cli"
import * as args from "../arguments.ts"
import * as Render from "../RenderCheckpoint.ts"
import { answer } from "../root.ts"
import { checkpointId } from "./checkpoint.ts"

export const restore = Command.make(
  "restore",
  {
    session: args.session,
    checkpoint: Argument.optional(checkpointId),
    confirmDataLoss: Flag.Boolean("confirm-data-loss").pipe(
      Flag.withDescription("Go on although what the checkout holds now cannot be saved first"),
      Flag.withDefault(false)
    ),
    ...args.request
  },
  ({ checkpoint, clientRequestId, ...flags }) =>
    Effect.asVoid(
      answer(
        program({
          ...flags,
          checkpoint: Option.getOrUndefined(checkpoint),
          clientRequestId: Option.getOrUndefined(clientRequestId)
        }),
        Render.restored
      )
    )
).pipe(
  Command.withDescription(
    "Make a session hold the work of a checkpoint, its newest one when none is named, and bring it up. What the checkout holds now is saved as a checkpoint first. A branch of yours is never moved back: where it has gone on, the work comes back on a branch of its own."
  ),
  Command.withShortDescription("Bring back the work of a checkpoint"),
  Command.withExamples([
    { command: "sandbox restore app-main ckp_01k9", description: "Go back to what was saved then" }
  ])
)
