import { resume as program } from "@org/sandbox-core"
import { Effect, Option } from "effect"
import { Command } from "effect/cli"
import * as args from "../arguments.ts"
import * as Render from "../Render.ts"
import { answer } from "../root.ts"

export const resume = Command.make(
  "resume",
  { session: args.session, force: args.force("Resume although the session's record was never saved"), ...args.request },
  ({ clientRequestId, ...options }) =>
    Effect.asVoid(answer(program({ ...options, clientRequestId: Option.getOrUndefined(clientRequestId) }), Render.up))
).pipe(
  Command.withDescription(
    "Bring a session back to ready: starts a halted one, finishes an `up` that died, repairs one whose box stopped. When it fails the session stays as it was."
  ),
  Command.withShortDescription("Bring a session back to ready"),
  Command.withExamples([{ command: "sandbox resume app-main", description: "Go on where `down` left off" }])
)
