import { destroy as program } from "@org/sandbox-core"
import { Effect, Option } from "effect"
import { Argument, Command, Flag } from "effect/cli"
import * as args from "../arguments.ts"
import * as Render from "../Render.ts"
import { answer } from "../root.ts"

export const destroy = Command.make(
  "destroy",
  {
    session: args.optionalSession.pipe(
      Argument.withDescription(
        "A session's name, its id, or the start of its id; may be left out only inside the session's own checkout"
      )
    ),
    force: args.force("Destroy a session that is ready, or take over an operation that is still alive"),
    confirmDataLoss: args.confirmDataLoss,
    noPersist: Flag.Boolean("no-persist").pipe(
      Flag.withDescription("Do not halt and save first (needs --confirm-data-loss)"),
      Flag.withDefault(false)
    ),
    forget: Flag.Boolean("forget").pipe(
      Flag.withDescription(
        "Give the box up without asking its provider, when that is gone for good (needs --confirm-data-loss)"
      ),
      Flag.withDefault(false)
    ),
    ...args.request
  },
  ({ clientRequestId, session, ...flags }) => {
    const options = { ...flags, clientRequestId: Option.getOrUndefined(clientRequestId) }
    return Effect.asVoid(
      answer(
        Effect.flatMap(args.chosen(session, { inside: true }), (session) => program({ ...options, session })),
        Render.destroyed
      )
    )
  }
).pipe(
  Command.withDescription(
    "Remove a session's box for good and free its name. A session in use is halted and saved first; work that is nowhere else is never removed without --confirm-data-loss."
  ),
  Command.withShortDescription("Remove a session for good"),
  Command.withExamples([
    { command: "sandbox destroy app-main --force", description: "Destroy a session that is ready" }
  ])
)
