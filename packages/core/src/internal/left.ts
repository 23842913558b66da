/** Removing a box that its session has left, and nothing that was done in it since. */
import { Effect } from "effect"
import type { Held } from "../Claim.ts"
import { type Backend, Provisioners } from "../Provisioners.ts"
import { type Orphan, Session } from "../Session.ts"
import { isOurs } from "./boxCheckout.ts"
import * as checkpoints from "./checkpoints.ts"
import * as hooks from "./hooks.ts"
import { checkpointOf } from "./save.ts"
import { equals } from "./saved.ts"
import { visible } from "./visible.ts"

/**
 * Removes the box and proves it. A checkout that does not hold any more what it was left with is saved first: the session's
 * processes have ended, and an editor of its user may not have.
 */
export const removeLeft = Effect.fnUntraced(function* (held: Held, orphan: Orphan) {
  const backend = yield* (yield* Provisioners).get(orphan.provider)
  yield* hooks.endLeftovers(yield* held.row, orphan.key)
  yield* saveChanged(held, backend, orphan)
  yield* held.phase("destroy", backend.destroy(orphan))
})

const saveChanged = Effect.fnUntraced(function* (held: Held, backend: Backend, orphan: Orphan) {
  const { checkpoint = null, ref, workspacePath = null } = orphan
  // nobody but the box itself writes in what only that can see, once it is halted
  const isSealed = isOurs(backend) ? orphan.reason !== "stop_exhausted" : workspacePath === null
  if (checkpoint === null || ref === null || isSealed) return
  const row = yield* held.row
  const left = new Session({ ...row, provider: orphan.provider, instance: ref, workspacePath, restoreFrom: null })
  const options = yield* visible(left, backend).pipe(
    Effect.catchIf(
      (error) => error.details?.["reason"] === "NotFound",
      () => Effect.undefined
    )
  )
  if (options === undefined || (yield* equals(yield* checkpoints.recorded(checkpoint), options))) return
  const changed = yield* held.phase("save", checkpointOf(held, left, { backend, reason: "left" }))
  yield* held.commit({
    checkpoint: changed,
    events: [{ type: "left_behind", data: { checkpoint: changed.id, key: orphan.key } }]
  })
  yield* held.warn(`what was changed in the old checkout after it was left is saved as ${changed.id}`)
}, Effect.scoped)
