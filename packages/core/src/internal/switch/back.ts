/** What is true after a switch that did not come through: the session where it was, wherever that is possible. */
import { Effect, Exit } from "effect"
import type { Failure, Held, Settlement } from "../../Claim.ts"
import { type Change, Ledger } from "../../Ledger.ts"
import type { Backend } from "../../Provisioners.ts"
import * as SandboxError from "../../SandboxError.ts"
import { Intent, Orphan, type Prior, type RecordedError, type SessionPatch } from "../../Session.ts"
import * as Time from "../../Time.ts"
import * as box from "../box.ts"
import * as checkpoints from "../checkpoints.ts"
import { recorded } from "../failures.ts"
import { unserved } from "../halt.ts"
import { boxLost } from "../lost.ts"
import * as ready from "../ready.ts"
import type { Resolved } from "../secrets.ts"
import { isAdopted, isWritten, wasUp } from "./between.ts"
import { takeUp } from "./branch.ts"

/** What a switch that has not named the new provider yet has done. Of one that died it is not known. */
export interface Progress {
  /** Whether the old box was touched. */
  readonly begun: boolean
  /** Whether all of the work is in a checkpoint. */
  readonly saved: boolean
}

/**
 * Before the new provider is on record: exactly as it was while the old box runs or was not touched, and `stopped` where it is
 * halted. Where that cannot be seen, `failed`, which keeps the box.
 */
export const unmoved = Effect.fnUntraced(function* (
  held: Held,
  old: Backend,
  { progress, lastError }: { readonly progress: Progress | undefined; readonly lastError: RecordedError | undefined }
) {
  const row = yield* held.row
  const prior = held.prior!
  if (isWritten(row, prior)) return yield* Effect.die(`${row.id} is on ${row.provider}, and not where it was`)
  const set: SessionPatch = lastError === undefined ? {} : { lastError }
  const asBefore: Settlement = { move: yield* held.move(prior.state), set }
  if (prior.instance === null || (progress !== undefined && !progress.begun)) return asBefore
  const seen = row.instance === null ? ({ _tag: "gone" } as const) : yield* old.inspect(row.instance)
  // a box that was halted once and runs again was not brought up
  const isServed = row.stoppedAt === null || !wasUp(prior)
  if (seen._tag === "running")
    return isServed ? asBefore : ({ move: yield* held.move("failed"), set } satisfies Settlement)
  if (seen._tag === "unknown") return { move: yield* held.move("failed"), set } satisfies Settlement
  if (prior.state === "stopped" || prior.state === "stopped_unpersisted") return asBefore
  const { last } = yield* checkpoints.newest(row)
  const isSaved = progress?.saved ?? (last !== undefined && row.readyAt !== null && last.persistedAt >= row.readyAt)
  const halted: SessionPatch = {
    ...set,
    ...unserved,
    instance: seen._tag === "gone" ? null : row.instance,
    health: null,
    stoppedAt: row.stoppedAt ?? (yield* Time.millis),
    persistedAt: isSaved ? (last?.persistedAt ?? row.persistedAt) : row.persistedAt
  }
  return { move: yield* held.move(isSaved ? "stopped" : "failed"), set: halted } satisfies Settlement
})

/** Of an attempt that has done nothing itself: what a dead one did before it is found by looking. */
export const notBegun = Effect.fnUntraced(function* (held: Held, old: Backend, failure: Failure) {
  if (isWritten(yield* held.row, held.prior!)) return yield* stays(held, failure)
  const progress = held.inherited ? undefined : { begun: false, saved: false }
  return yield* unmoved(held, old, { progress, lastError: recorded(failure.error) })
})

/** The session stays on the new provider, with its work in a checkpoint and its old box on record. */
export const stays = Effect.fnUntraced(function* (held: Held, { error, undone }: Failure) {
  const row = yield* held.row
  const isLeft = box.isLeft(row, undone)
  const settled: Settlement = {
    move: yield* held.move("failed"),
    set: {
      ...unserved,
      instance: isLeft ? row.instance : null,
      workspacePath: isLeft ? row.workspacePath : null,
      // a box that was taken up again is the session's own
      cleanupRequired: isLeft && !isAdopted(row, held.prior!),
      health: null,
      lastError: recorded(error)
    },
    intents: isLeft ? [] : yield* box.finished(held, error),
    told: rolledBack(false)
  }
  return settled
})

/** Removes what the new side has of the session by its own record, and answers whether all of it is proven gone. */
export const isEmptied = Effect.fnUntraced(function* (held: Held, backend: Backend) {
  const targets = (yield* box.targets(yield* held.row)).filter(({ provider }) => provider === backend.name)
  const ended = yield* Effect.exit(Effect.forEach(targets, backend.destroy, { discard: true }))
  return Exit.isSuccess(ended)
})

/** Where a session is after it was taken back. */
export interface Back {
  readonly settlement: Settlement
  /** Whether it is as it was before the switch. */
  readonly isBack: boolean
  /** Why it is not. */
  readonly why?: string
}

/**
 * Writes the old provider back, with the box that was left, and starts that again if it was in use. A box that does not start
 * any more makes the session `failed`: its work is in the checkpoint, and in the box where that is there still.
 */
export const goBack = Effect.fnUntraced(function* (
  held: Held,
  {
    finished,
    lastError,
    old,
    secrets
  }: {
    readonly old: Backend
    readonly secrets: ReadonlyArray<Resolved>
    /** Of the new side: intents that are over. */
    readonly finished: ReadonlyArray<Intent>
    readonly lastError: RecordedError | null
  }
) {
  const prior = held.prior!
  const { completedAt } = yield* held.row
  yield* takeBack(held, prior, finished)
  return yield* upAgain(held, { completedAt, lastError, old, secrets })
})

/** Brings the session up in its old box, if it was up there. */
export const upAgain = Effect.fnUntraced(function* (
  held: Held,
  {
    completedAt,
    lastError,
    old,
    secrets
  }: {
    readonly old: Backend
    readonly secrets: ReadonlyArray<Resolved>
    readonly completedAt: number | null
    readonly lastError: RecordedError | null
  }
) {
  const prior = held.prior!
  const isBack = (change: Change): Back => ({ isBack: true, settlement: { ...change, told: rolledBack(true) } })
  const isNot = (change: Change, why?: string): Back => ({
    isBack: false,
    why: why ?? "it is gone",
    settlement: { ...change, told: rolledBack(false) }
  })
  if (!wasUp(prior)) return isBack({ move: yield* held.move(prior.state), set: { lastError } })
  const row = yield* held.row
  // where a halt ends the box, it is known what is to be restored
  if (row.instance === null) return isNot({ move: yield* held.move("failed"), set: { lastError } })
  const up = yield* Effect.exit(start(held, old, secrets))
  if (Exit.isFailure(up)) {
    const why = SandboxError.fromCause(up.cause, held.operationId)
    if (why.code === "ERR_CLAIM_LOST") return yield* why
    const events = [{ type: "not_started_again", data: { provider: prior.provider, problem: why.message } }]
    return isNot(
      { move: yield* held.move("failed"), set: { lastError: lastError ?? recorded(why) }, events },
      why.message
    )
  }
  if (up.value === undefined) return isNot(yield* boxLost(held, lastError))
  const set = { ...up.value, completedAt, stoppedAt: null, lastError }
  return isBack({ move: yield* held.move(prior.state), set })
})

/** However it ended, a box was stopped: that was no refusal. */
const rolledBack = (rolled_back: boolean) => (error: SandboxError.SandboxError) => {
  const refused = SandboxError.exitCode(error.code) === 1
  const details = { ...error.details, rolled_back, ...(refused ? { after: error.code } : {}) }
  return refused
    ? SandboxError.make("ERR_SANDBOX_PROVISION_FAILED", { ...SandboxError.fields(error), details })
    : SandboxError.extend(error, { details })
}

/** One commit, the reverse of the one that named the new provider. */
const takeBack = Effect.fnUntraced(function* (held: Held, prior: Prior, finished: ReadonlyArray<Intent>) {
  const row = yield* held.row
  const { intents, orphans } = yield* (yield* Ledger).history(row.id)
  const { instance, placementScope: scope } = prior
  const orphan = orphans.find(({ key, resolvedAt }) => resolvedAt === null && key === instance?.key)
  const now = yield* Time.millis
  const isThere = orphan !== undefined
  yield* held.commit({
    phase: "back",
    // a slot of another host is given back for one of its own
    slot:
      row.slot !== null && scope !== undefined && scope !== null && row.placementScope !== scope && row.setup !== null
        ? { scope, max: row.setup.slots.max }
        : undefined,
    move: row.state === "switching" ? undefined : yield* held.move("switching"),
    set: {
      ...unserved,
      ...(scope === null && row.slot !== null ? { slot: null } : {}),
      provider: prior.provider,
      instance: isThere ? instance : null,
      workspacePath: isThere ? (prior.workspacePath ?? null) : null,
      workBranch: prior.workBranch === undefined ? row.workBranch : prior.workBranch,
      // a box that is there holds its own work
      restoreFrom: isThere || !wasUp(prior) ? (prior.restoreFrom ?? null) : row.restoreFrom,
      cleanupRequired: false,
      health: null
    },
    intents: [
      ...finished,
      ...intents
        .filter(({ key }) => isThere && key === instance?.key)
        .map((one) => new Intent({ ...one, status: "bound" }))
    ],
    orphans: isThere ? [new Orphan({ ...orphan, resolvedAt: now })] : [],
    events: [{ type: "rolled_back", data: { from: row.provider, to: prior.provider } }]
  })
})

/** The session as it is once its old box is up again; none where there is no such box any more. */
const start = Effect.fnUntraced(function* (held: Held, old: Backend, secrets: ReadonlyArray<Resolved>) {
  const { instance: ref } = yield* held.row
  if (ref === null) return undefined
  const seen = yield* old.inspect(ref)
  if (seen._tag === "gone") return undefined
  if (seen._tag === "unknown") yield* box.roused(held, old, { ref, why: seen.why })
  if (seen._tag === "stopped") yield* held.phase("start", old.start(ref))
  yield* takeUp(yield* held.row)
  return (yield* ready.finish(held, old, { broken: "kept", ref, secrets })).set
})

/** Whether the failure is that the box was gone before anything was done. */
export const isBoxLost = ({ error }: Failure): boolean =>
  error.details?.["operation"] === "inspect" && error.details["reason"] === "NotFound"

/** As `unmoved`, of a box that had gone by itself. */
export const lost = (held: Held, failure: Failure) => boxLost(held, recorded(failure.error))
