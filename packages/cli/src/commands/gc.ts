import { gc as program } from "@org/sandbox-core"
import { Duration, Effect, Option } from "effect"
import { Command, Flag } from "effect/cli"
import { DurationText } from "../Duration.ts"
import { Quit } from "../Output.ts"
import * as Render from "../Render.ts"
import { answer } from "../root.ts"

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
    )
  },
  ({ dryRun, olderThan }) =>
    Effect.gen(function* () {
      const options = { dryRun, olderThan: Option.getOrUndefined(Option.map(olderThan, Duration.toMillis)) }
      const { actions } = yield* answer(program(options), Render.gc)
      if (actions.some(({ outcome }) => outcome === "failed")) return yield* new Quit({ code: 2 })
    })
).pipe(
  Command.withDescription(
    "Put right what operations left that died: finishes or rolls them back, removes boxes that belong to nobody. Never touches what is alive, and never takes silence for absence. Safe to run from cron; exits 2 when something could not be put right."
  ),
  Command.withShortDescription("Put right what dead operations left")
)
