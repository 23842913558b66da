import { status as program, watch } from "@org/sandbox-core"
import { Effect, Option } from "effect"
import { Command, Flag } from "effect/cli"
import * as args from "../arguments.ts"
import * as Output from "../Output.ts"
import * as Render from "../Render.ts"
import { answer, perform, root } from "../root.ts"
import * as Watch from "../Watch.ts"

export const status = Command.make(
  "status",
  {
    session: args.optionalSession,
    live: Flag.Boolean("live").pipe(
      Flag.withDescription("Ask the session's provider and services too, instead of the ledger alone"),
      Flag.withDefault(false)
    ),
    watch: Flag.Boolean("watch").pipe(
      Flag.withAlias("w"),
      Flag.withDescription("Show it again whenever it has changed, until nobody moves the session any more"),
      Flag.withDefault(false)
    )
  },
  ({ live, session, watch: follow }) =>
    Effect.gen(function* () {
      const { json } = yield* root
      const { healthy, warnings } = follow
        ? yield* followed(session, live)
        : yield* answer(
            Effect.flatMap(args.chosen(session), (session) => program({ session, live })),
            Render.session
          )
      if (!json) yield* Effect.forEach(warnings, (warning) => Output.note(`warning: ${warning}`))
      if (!healthy) return yield* new Output.Quit({ code: 4 })
    })
).pipe(
  Command.withDescription(
    "One session in full, with the command that brings it on when it is not where it should be. Exits 4 when the session is not up and healthy. With --watch and --json a line is an object: seq, and a status."
  ),
  Command.withShortDescription("Show one session"),
  Command.withExamples([
    { command: "sandbox status app-main --watch", description: "Follow what another process does with it" }
  ])
)

/** Follows a session, and answers how it was at last. */
const followed = Effect.fnUntraced(function* (session: Option.Option<string>, live: boolean) {
  const { json } = yield* root
  const show = json ? Watch.objects : process.stdout.isTTY === true ? Watch.line : Watch.lines
  const following = Effect.flatMap(args.chosen(session), (session) => show(watch({ session, live })))
  const last = Option.getOrUndefined(yield* Effect.catchCause(perform(following), Output.stopped))
  // its record was removed before it could be shown
  if (last === undefined) return { healthy: false, warnings: [] }
  if (!json && last.recovery !== null) yield* Output.write(process.stdout, `${Render.next(last.recovery)}\n`)
  return last
})
