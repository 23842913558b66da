/** Removing every box of a session and proving it: the last phases of `destroy`, and of `down` on a crashed `up`. */
import { Effect, Result } from "effect"
import type { Held } from "../Claim.ts"
import { type Change, Ledger } from "../Ledger.ts"
import { Provisioners } from "../Provisioners.ts"
import { Orphan } from "../Session.ts"
import * as Time from "../Time.ts"
import * as box from "./box.ts"
import * as compose from "./compose/end.ts"
import { unserved } from "./halt.ts"
import * as hooks from "./hooks.ts"
import { removeLeft } from "./left.ts"
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
  const all = yield* box.targets(row)
  const isForeign = ({ provider, ref }: (typeof all)[number]) => ref === null && provider !== row.provider
  const targets = all.filter((target) => !isForeign(target))
  const remove = Effect.fnUntraced(function* (target: (typeof targets)[number]) {
    const backend = yield* backends.get(target.provider)
    yield* hooks.endLeftovers(row, target.key)
    yield* held.phase(
      "destroy",
      Effect.andThen(target.ref === null ? Effect.void : backend.detach(target.ref), backend.destroy(target))
    )
  })
  yield* compose.removeWith(row, Effect.forEach(targets, remove, { discard: true }))
  // what another provider may still make is looked for by `gc` until its deadline, whatever that says now
  yield* Effect.forEach(all.filter(isForeign), (target) => Effect.ignore(remove(target)), { discard: true })
  const orphans = yield* withoutTheLeft(held)
  yield* tidy(row, true)
  const now = yield* Time.millis
  const change: Change = {
    move: yield* held.move("destroyed"),
    set: { ...removed(now), lastError: null },
    intents: targets.flatMap(({ intent }) => box.over(intent, now)),
    orphans: orphans.map((orphan) => new Orphan({ ...orphan, resolvedAt: now }))
  }
  return { change, destroyedAt: now }
})

/** Removes the boxes that the session has left on other providers. One that does not answer keeps nobody from the end: `gc` asks it again. */
const withoutTheLeft = Effect.fnUntraced(function* (held: Held) {
  const row = yield* held.row
  const { orphans } = yield* (yield* Ledger).history(row.id)
  const removed: Array<Orphan> = []
  for (const orphan of orphans.filter(({ resolvedAt }) => resolvedAt === null)) {
    const ended = yield* Effect.result(removeLeft(held, orphan))
    if (Result.isSuccess(ended)) removed.push(orphan)
    else if (ended.failure.code === "ERR_CLAIM_LOST") return yield* ended.failure
    else yield* held.warn(`the box ${orphan.key} is left, and \`sandbox gc\` removes it: ${ended.failure.message}`)
  }
  return removed
})
