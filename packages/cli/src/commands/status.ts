import { status as program } from "@org/sandbox-core"
import { Effect } from "effect"
import { Command, Flag } from "effect/cli"
import * as args from "../arguments.ts"
import * as Output from "../Output.ts"
import * as Render from "../Render.ts"
import { answer, root } from "../root.ts"

export const status = Command.make(
  "status",
  {
    session: args.optionalSession,
    live: Flag.Boolean("live").pipe(
      Flag.withDescription("Ask the session's provider and services too, instead of the ledger alone"),
      Flag.withDefault(false)
    )
  },
  ({ live, session }) =>
    Effect.gen(function* () {
      const { json } = yield* root
      const { healthy, warnings } = yield* answer(
        Effect.flatMap(args.chosen(session), (session) => program({ session, live })),
        Render.session
      )
      if (!json) yield* Effect.forEach(warnings, (warning) => Output.note(`warning: ${warning}`))
      if (!healthy) return yield* new Output.Quit({ code: 4 })
    })
).pipe(
  Command.withDescription(
    "One session in full, with the command that brings it on when it is not where it should be. Exits 4 when the session is not up and healthy."
  ),
  Command.withShortDescription("Show one session")
)
