import { Lifecycle, list as program } from "@org/sandbox-core"
import { Clock, Duration, Effect, Option } from "effect"
import { Command, Flag } from "effect/cli"
import { DurationText } from "../Duration.ts"
import * as Output from "../Output.ts"
import * as Render from "../Render.ts"
import { answer, root } from "../root.ts"

export const list = Command.make(
  "list",
  {
    all: Flag.Boolean("all").pipe(
      Flag.withAlias("a"),
      Flag.withDescription("Also those that ended longer than a week ago"),
      Flag.withDefault(false)
    ),
    since: Flag.String("since").pipe(
      Flag.withDescription("Show what ended within this time instead of a week: 12h, 30d"),
      Flag.withMetavar("duration"),
      Flag.withSchema(DurationText),
      Flag.optional
    ),
    state: Flag.Literals("state", Lifecycle.states).pipe(
      Flag.withDescription("Only sessions in this state; may be repeated"),
      Flag.atLeast(0)
    ),
    provider: Flag.String("provider").pipe(Flag.withDescription("Only sessions of this provider"), Flag.optional)
  },
  ({ all, provider, since, state }) =>
    Effect.gen(function* () {
      const now = yield* Clock.currentTimeMillis
      const { json } = yield* root
      const { warnings } = yield* answer(
        program({
          all,
          since: Option.getOrUndefined(Option.map(since, Duration.toMillis)),
          states: state.length === 0 ? undefined : state,
          provider: Option.getOrUndefined(provider)
        }),
        (result) => Render.sessions(result, now)
      )
      if (!json) yield* Effect.forEach(warnings, (warning) => Output.note(`warning: ${warning}`))
    })
).pipe(
  Command.withAlias("ls"),
  Command.withDescription(
    "Your sessions, newest first, from the ledger alone: no provider is asked and nothing is waited for. What ended longer than a week ago is left out; what is alive or stuck never is."
  ),
  Command.withShortDescription("Show your sessions")
)
