import { history as program } from "@org/sandbox-core"
import { Effect } from "effect"
import { Command } from "effect/cli"
import * as args from "../arguments.ts"
import * as Render from "../Render.ts"
import { answer } from "../root.ts"

export const history = Command.make("history", { session: args.optionalSession }, ({ session }) =>
  Effect.asVoid(
    answer(
      Effect.flatMap(args.chosen(session), (session) => program({ session })),
      Render.history
    )
  )
).pipe(
  Command.withDescription(
    "Everything that happened to a session: its transitions, operations and events, oldest first."
  ),
  Command.withShortDescription("Show what happened to a session")
)
