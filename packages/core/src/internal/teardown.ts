/** Removing every box of a session and proving it: the last phases of `destroy`, and of `down` on a crashed `up`. */
import { Effect } from "effect"
import type { Held } from "../Claim.ts"
import type { Change } from "../Ledger.ts"
import { Provisioners } from "../Provisioners.ts"
import { Intent } from "../Session.ts"
import * as Time from "../Time.ts"
import * as box from "./box.ts"

/** Removes what exists and describes the last commit: `destroyed`, with name and slot free again. */
export const tearDown = Effect.fnUntraced(function* (held: Held) {
  const backends = yield* Provisioners
  const row = yield* held.row
  const targets = yield* box.targets(row)
  for (const target of targets) {
    const backend = yield* backends.get(target.provider)
    yield* held.phase(
      "destroy",
      Effect.andThen(target.ref === null ? Effect.void : backend.detach(target.ref), backend.destroy(target))
    )
  }
  const now = yield* Time.millis
  const change: Change = {
    move: yield* held.move("destroyed"),
    set: {
      instance: null,
      reservedName: null,
      slot: null,
      workspacePath: null,
      cleanupRequired: false,
      health: null,
      destroyedAt: now,
      lastError: null
    },
    // a create that was never answered may still happen: gc looks again until its deadline has passed
    intents: targets.flatMap(({ intent }) =>
      intent !== null && (intent.status === "bound" || intent.deadline <= now)
        ? [new Intent({ ...intent, status: "closed" })]
        : []
    )
  }
  return { change, destroyedAt: now }
})
