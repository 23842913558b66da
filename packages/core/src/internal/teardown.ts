/** Removing every box of a session and proving it: the last phases of `destroy`, and of `down` on a crashed `up`. */
import { Effect } from "effect"
import type { Held } from "../Claim.ts"
import type { Change } from "../Ledger.ts"
import { Provisioners } from "../Provisioners.ts"
import * as Time from "../Time.ts"
import * as box from "./box.ts"
import * as compose from "./compose/end.ts"
import { unserved } from "./halt.ts"
import * as hooks from "./hooks.ts"
import { tidy } from "./restoredBranches.ts"

/** The row of a session that is no more, but for its last error. */
export const removed = (destroyedAt: number) => ({
  instance: null,
  reservedName: null,
  slot: null,
  ...unserved,
  workspacePath: null,
  cleanupRequired: false,
  health: null,
  destroyedAt
})

/** Removes what exists and describes the last commit: `destroyed`, with name and slot free again. */
export const tearDown = Effect.fnUntraced(function* (held: Held) {
  const backends = yield* Provisioners
  const row = yield* held.row
  const targets = yield* box.targets(row)
  const remove = Effect.fnUntraced(function* (target: (typeof targets)[number]) {
    const backend = yield* backends.get(target.provider)
    yield* hooks.endLeftovers(row, target.key)
    yield* held.phase(
      "destroy",
      Effect.andThen(target.ref === null ? Effect.void : backend.detach(target.ref), backend.destroy(target))
    )
  })
  yield* compose.removeWith(row, Effect.forEach(targets, remove, { discard: true }))
  yield* tidy(row)
  const now = yield* Time.millis
  const change: Change = {
    move: yield* held.move("destroyed"),
    set: { ...removed(now), lastError: null },
    intents: targets.flatMap(({ intent }) => box.over(intent, now))
  }
  return { change, destroyedAt: now }
})
