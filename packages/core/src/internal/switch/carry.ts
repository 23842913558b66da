/** Saving the work of the box that is left, in the checkpoint that it travels in. */
import { Effect, Result } from "effect"
import type { Held } from "../../Claim.ts"
import type { Backend } from "../../Provisioners.ts"
import * as SandboxError from "../../SandboxError.ts"
import type { Checkpoint, InstanceRef, Session } from "../../Session.ts"
import * as View from "../../View.ts"
import * as checkpoints from "../checkpoints.ts"
import { gone } from "../lost.ts"
import { checkpointNow, recordNow } from "../save.ts"
import { equals, holds } from "../saved.ts"
import { visible } from "../visible.ts"
import { wasUp } from "./between.ts"
import { givesWork } from "./travel.ts"

/** What was saved of the work, or what is to be made of it all the same. */
export interface Carried {
  /** None where nothing was ever saved and nothing is there: the checkout starts where its branch is. */
  readonly checkpoint: Checkpoint | null
  /** Whether nothing is lost with the box as it was a moment ago that was not given up. */
  readonly fresh: boolean
}

/**
 * Saves what the checkout holds and proves it, unless the newest checkpoint has just that. What was begun to be restored travels
 * as it was saved.
 *
 * Fails with `ERR_DATA_LOSS_UNCONFIRMED` where the work cannot be saved, unless that is `confirmed`.
 */
export const carry = Effect.fnUntraced(function* (held: Held, old: Backend, confirmed: boolean) {
  const row = yield* held.row
  if (row.restoreFrom !== null) {
    const begun = yield* checkpoints.recorded(row.restoreFrom)
    const read = yield* Effect.result(checkpoints.verify(begun))
    if (Result.isSuccess(read)) return { checkpoint: begun, fresh: true } satisfies Carried
    if (!confirmed) return yield* unsaved(row, read.failure)
    yield* held.warn(`${read.failure.message}; it was left out`)
    return { checkpoint: null, fresh: false } satisfies Carried
  }
  const there = yield* presence(held, old)
  if (there === "gone") return yield* fallback(held, confirmed)
  if (there === "unseen") return yield* recordOnly(held, confirmed)
  const saved = yield* Effect.result(capture(held, old))
  if (Result.isSuccess(saved)) {
    const { success: checkpoint } = saved
    return checkpoint === undefined
      ? yield* recordOnly(held, confirmed)
      : ({ checkpoint, fresh: true } satisfies Carried)
  }
  if (saved.failure.retryable || !isAboutTheWork(saved.failure)) return yield* saved.failure
  if (!confirmed) return yield* unsaved(row, saved.failure)
  yield* held.warn(`what the checkout held was not saved: ${saved.failure.message}`)
  return yield* fallback(held, true)
})

/** What the box is. One that a dead attempt may have been halting is halted to the end where it cannot say. */
const standing = Effect.fnUntraced(function* (held: Held, old: Backend, ref: InstanceRef) {
  const seen = yield* old.inspect(ref)
  if (seen._tag !== "unknown" || !held.inherited) return seen
  yield* Effect.exit(old.stop(ref))
  return yield* old.inspect(ref)
})

/** A box that died by itself is not replaced silently; one that a dead attempt has ended is expected to be gone. */
const presence = Effect.fnUntraced(function* (held: Held, old: Backend) {
  const row = yield* held.row
  const { instance } = row
  if (instance === null) return "gone" as const
  const seen = yield* standing(held, old, instance)
  if (seen._tag === "unknown") {
    return yield* SandboxError.make("ERR_PROVIDER_UNAVAILABLE", {
      message: `provider ${old.name} cannot say what became of the box: ${seen.why}`,
      nextStep: "make the provider reachable, and run the command again",
      details: { provider: old.name, operation: "inspect", reason: "Unreachable", outcome: "not_applied" }
    })
  }
  if (seen._tag !== "gone") return givesWork(row, old) ? ("there" as const) : ("unseen" as const)
  const { prior } = held
  if (prior !== null && wasUp(prior) && !held.inherited) return yield* gone(row)
  return "gone" as const
})

/** None where there is no checkout that can be seen. */
const capture = Effect.fnUntraced(function* (held: Held, old: Backend) {
  const row = yield* held.row
  const { withWork } = yield* checkpoints.newest(row)
  const options = yield* visible(row, old)
  if (options === undefined) return undefined
  // a newest one that cannot be read is no reason to fail: a better one is made
  const isSaved = withWork !== undefined && (yield* Effect.orElseSucceed(holds(withWork, options), () => false))
  if (isSaved) {
    // what says that the session was saved has to be younger than its use
    const isStale = row.readyAt !== null && withWork.persistedAt < row.readyAt
    if (isStale) yield* held.commit({ checkpoint: yield* recordNow(held, "switch") })
    return withWork
  }
  const checkpoint = yield* checkpointNow(held, "switch")
  yield* held.commit({
    checkpoint,
    events: [
      { type: "captured", data: { checkpoint: checkpoint.id, digest: checkpoint.digest, bytes: checkpoint.bytes } }
    ]
  })
  return checkpoint
}, Effect.scoped)

/** Of a box in which nothing is left to be saved, or what there is was given up, the record is saved, as when it is halted. */
const recordOnly = Effect.fnUntraced(function* (held: Held, confirmed: boolean) {
  const { checkpoint } = yield* fallback(held, confirmed)
  yield* held.commit({ checkpoint: yield* recordNow(held, "switch") })
  return { checkpoint, fresh: true } satisfies Carried
})

/**
 * The newest work that was ever saved, where there is none to save. A session that was halted must have been saved in full, and
 * one that was in use since is told what it goes back to.
 */
const fallback = Effect.fnUntraced(function* (held: Held, confirmed: boolean) {
  const row = yield* held.row
  const { withWork } = yield* checkpoints.newest(row)
  if (withWork === undefined) return { checkpoint: null, fresh: false } satisfies Carried
  const read = yield* Effect.result(checkpoints.verify(withWork))
  if (Result.isSuccess(read)) {
    const fresh = row.readyAt === null || withWork.persistedAt >= row.readyAt
    if (!fresh) yield* held.warn(`its work goes back to what was saved at ${View.iso(withWork.persistedAt)}`)
    return { checkpoint: withWork, fresh } satisfies Carried
  }
  if (!confirmed) return yield* unsaved(row, read.failure)
  yield* held.warn(`${read.failure.message}; it was left out`)
  return { checkpoint: null, fresh: false } satisfies Carried
})

/**
 * Looks, once the old box is halted and nothing writes there any more, whether it still holds what was saved, and saves again what
 * was written in between.
 */
export const caughtUp = Effect.fnUntraced(function* (held: Held, old: Backend, carried: Carried) {
  const row = yield* held.row
  const { checkpoint } = carried
  if (checkpoint === null || row.restoreFrom !== null || row.instance === null || !carried.fresh) return carried
  const options = yield* visible(row, old)
  if (options === undefined || (yield* equals(checkpoint, options))) return carried
  const later = yield* capture(held, old)
  return later === undefined ? carried : ({ checkpoint: later, fresh: true } satisfies Carried)
}, Effect.scoped)

/** Saves what a box holds that is taken up again, where that is not what it was left with: somebody has worked there since. */
export const keepOther = Effect.fnUntraced(function* (held: Held, backend: Backend) {
  const { instance, restoreFrom, ...row } = yield* held.row
  if (restoreFrom === null || instance === null) return
  const options = yield* visible({ ...row, instance, restoreFrom }, backend)
  if (options === undefined || (yield* equals(yield* checkpoints.recorded(restoreFrom), options))) return
  const checkpoint = yield* checkpointNow(held, "left")
  yield* held.commit({ checkpoint })
  yield* held.warn(`the box that is taken up again held other work, which is saved as ${checkpoint.id}`)
}, Effect.scoped)

/** Whether an error says that the work cannot be saved, and not merely that something else went wrong now. */
const isAboutTheWork: (error: SandboxError.SandboxError) => boolean = SandboxError.hasCode(
  "ERR_CHECKPOINT_FAILED",
  "ERR_CHECKPOINT_INVALID",
  "ERR_PERSIST_PAYLOAD_TOO_LARGE",
  "ERR_PERSIST_UNVERIFIED",
  "ERR_UNSUPPORTED",
  "ERR_WORKSPACE_FAILED"
)

const unsaved = (row: Session, error: SandboxError.SandboxError) =>
  SandboxError.make("ERR_DATA_LOSS_UNCONFIRMED", {
    message: `the work of ${row.name} cannot be saved, so that it would not travel: ${error.message}`,
    nextStep: `${error.nextStep}; or give it up with --confirm-data-loss`,
    retryable: error.retryable,
    details: { ...error.details, after: error.code }
  })
