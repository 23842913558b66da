import { resume as program } from "@org/sandbox-core"
import { Effect, Option } from "effect"
import { Command } from "effect/cli"
import * as args from "../arguments.ts"
import * as Render from "../Render.ts"
import { answer } from "../root.ts"

export const resume = Command.make(
  "resume",
  {
    session: args.optionalSession,
    force: args.force("Resume although the last save failed or cannot be used any more, with what the box still holds"),
    ...args.request
  },
  ({ clientRequestId, session, ...flags }) => {
    const options = { ...flags, clientRequestId: Option.getOrUndefined(clientRequestId) }
    return Effect.asVoid(
      answer(
        Effect.flatMap(args.chosen(session), (session) => program({ ...options, session })),
        Render.up
      )
    )
  }
).pipe(
  Command.withDescription(
    "Bring a session back to ready: starts a halted one, finishes an `up` that died, repairs one whose box stopped. Where the box is gone, a new one gets the work of the last checkpoint. When it fails the session stays as it was."
  ),
  Command.withShortDescription("Bring a session back to ready"),
  Command.withExamples([{ command: "sandbox resume app-main", description: "Go on where `down` left off" }])
)
