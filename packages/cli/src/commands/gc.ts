import { gc as program } from "@org/sandbox-core"
import { Duration, Effect, Option } from "effect"
import { Command, Flag } from "effect/cli"
import { DurationText } from "../Duration.ts"
import * as Output from "../Output.ts"
import * as Render from "../Render.ts"
import { answer, root } from "../root.ts"

const kind = (name: string, what: string) =>
  Flag.Boolean(name).pipe(Flag.withDescription(what), Flag.withDefault(false))

export const gc = Command.make(
  "gc",
  {
    dryRun: Flag.Boolean("dry-run").pipe(
      Flag.withDescription("Say what would be done, and do nothing"),
      Flag.withDefault(false)
    ),
    olderThan: Flag.String("older-than").pipe(
      Flag.withDescription("Leave alone what was touched within this time: 30m, 1d"),
      Flag.withMetavar("duration"),
      Flag.withSchema(DurationText),
      Flag.optional
    ),
    recover: kind("recover", "Only sessions whose operation died or whose box is gone"),
    orphans: kind(
      "orphans",
      "Only boxes that belong to nobody; also those of sessions that this ledger has never heard of, when they hold no work"
    ),
    retention: kind(
      "destroy-completed",
      "Only what was kept for long enough: expired and completed sessions, old checkpoints and records"
    )
  },
  ({ dryRun, olderThan, ...kinds }) =>
    Effect.gen(function* () {
      const { json } = yield* root
      const options = {
        dryRun,
        olderThan: Option.getOrUndefined(Option.map(olderThan, Duration.toMillis)),
        only: (["recover", "orphans", "retention"] as const).filter((name) => kinds[name])
      }
      const { actions, warnings } = yield* answer(program(options), Render.gc)
      if (!json) yield* Effect.forEach(warnings, (warning) => Output.note(`warning: ${warning}`))
      if (actions.some(({ outcome }) => outcome === "failed")) return yield* new Output.Quit({ code: 2 })
    })
).pipe(
  Command.withDescription(
    "Put right what is not as it should be: finishes or rolls back what dead operations left, removes boxes that belong to nobody, halts sessions past their time, and lets go of what was kept for long enough. Never touches what is alive or not ours, and never takes silence for absence. Safe to run from cron, beside anything else; exits 2 when something could not be put right."
  ),
  Command.withShortDescription("Put right what dead operations left")
)
