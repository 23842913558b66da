/** What is kept for a time: completed sessions, checkpoints, and the records of sessions that are no more. */
import { Duration, Effect, Option, Result } from "effect"
import { CheckpointStore } from "../../CheckpointStore.ts"
import { Ledger } from "../../Ledger.ts"
import * as Manifest from "../../Manifest.ts"
import type { GcOptions } from "../../Options.ts"
import { remove } from "../../programs/destroy.ts"
import type { SandboxError } from "../../SandboxError.ts"
import type { Checkpoint, Session } from "../../Session.ts"
import { Limits } from "../../Settings.ts"
import * as Time from "../../Time.ts"
import { count } from "../unsaved.ts"
import { type Finding, idle, isIdle, isRecent, report, request, unlessDamaged, whileIdle } from "./finding.ts"

/**
 * Records and checkpoints that have been kept for long enough.
 *
 * A checkpoint goes from the ledger first and from the store after, so that no record ever promises one that is not there;
 * what a crash leaves between the two is in the store alone, and found there.
 */
export const expiredRecords = Effect.fnUntraced(function* (sessions: ReadonlyArray<Session>, options: GcOptions) {
  const now = yield* Time.millis
  const limits = yield* Limits
  const tombstones = now - Duration.toMillis(limits.tombstoneRetention)
  const checkpoints = now - Duration.toMillis(limits.checkpointRetention)
  const wanted = new Set(sessions.flatMap(({ restoreFrom }) => (restoreFrom === null ? [] : [restoreFrom])))
  const stored = yield* storedUnknown
  const findings: Array<Finding> = [...stored.findings]
  for (const session of sessions) {
    const unnamed = stored.of.get(session.id) ?? []
    const unknown = isKeepingStaged(session) ? [] : unnamed.filter(({ persistedAt }) => persistedAt <= checkpoints)
    const isYoung = session.state === "destroyed" && !isTombstone(session, Math.max(tombstones, checkpoints))
    if ((isYoung && unknown.length === 0) || isRecent(now, session.updatedAt, options.olderThan)) continue
    if (!(yield* isIdle(session))) continue
    const counted = { unnamed: unnamed.length, unknown: unknown.map(({ id }) => id) }
    findings.push(...(yield* unlessDamaged(session, kept(session, counted, { wanted, tombstones, checkpoints }))))
  }
  return findings
})

/** What of one session was kept for long enough. */
const kept = Effect.fnUntraced(function* (
  session: Session,
  stored: { readonly unnamed: number; readonly unknown: ReadonlyArray<string> },
  before: { readonly wanted: ReadonlySet<string>; readonly tombstones: number; readonly checkpoints: number }
) {
  const { checkpoints, tombstones, wanted } = before
  const history = yield* (yield* Ledger).history(session.id)
  const old = outlived(session, history.checkpoints, checkpoints).filter(({ id }) => !wanted.has(id))
  const rest = history.checkpoints.length + stored.unnamed - old.length - stored.unknown.length
  const open =
    history.intents.some(({ status }) => status === "open") ||
    history.orphans.some(({ resolvedAt }) => resolvedAt === null)
  const isOver = isFailedUp(session) && session.updatedAt <= tombstones && !open
  const isForgotten = isTombstone(session, tombstones) && rest === 0 && !open
  return [
    ...old.map(({ id }) => removal(session, id, "it was kept for long enough", isOutlived(id, checkpoints))),
    ...stored.unknown.map((id) => removal(session, id, "nothing refers to it any more", isUnknown(session.state, id))),
    ...(isOver ? [clearing(session)] : []),
    ...(isForgotten ? [purge(session, tombstones)] : [])
  ]
})

/** Of a session that is no more, all; of a living one, what a later one has replaced, and nobody asked for by name. */
export const outlived = (
  session: Session,
  checkpoints: ReadonlyArray<Checkpoint>,
  before: number
): ReadonlyArray<Checkpoint> => {
  if (session.state === "destroyed") {
    return session.destroyedAt !== null && session.destroyedAt <= before ? checkpoints : []
  }
  const last = checkpoints.findLast(({ verified }) => verified)
  const withWork = checkpoints.findLast(({ fingerprint, verified }) => verified && fingerprint !== null)
  return checkpoints.filter(
    (checkpoint) =>
      checkpoint !== last &&
      checkpoint !== withWork &&
      checkpoint.reason !== "request" &&
      checkpoint.persistedAt <= before &&
      checkpoint.persistedAt < (last?.persistedAt ?? 0)
  )
}

const removal = (
  session: Session,
  id: string,
  why: string,
  still: (row: Session) => Effect.Effect<boolean, SandboxError, Ledger>
): Finding => ({
  session,
  finding: `checkpoint ${id}: ${why}`,
  action: "remove_checkpoint",
  run: whileIdle(session.id, still, (held) =>
    Effect.gen(function* () {
      yield* held.commit({
        removedCheckpoints: [id],
        events: [{ type: "checkpoint_removed", data: { checkpoint: id, reason: "retention" } }]
      })
      yield* (yield* CheckpointStore).remove(id)
      return {}
    })
  )
})

const isOutlived = (id: string, before: number) =>
  Effect.fnUntraced(function* (row: Session) {
    const { checkpoints } = yield* (yield* Ledger).history(row.id)
    return row.restoreFrom !== id && outlived(row, checkpoints, before).some((checkpoint) => checkpoint.id === id)
  })

const isUnknown = (state: Session["state"], id: string) =>
  Effect.fnUntraced(function* (row: Session) {
    const { checkpoints } = yield* (yield* Ledger).history(row.id)
    return row.state === state && row.restoreFrom !== id && checkpoints.every((checkpoint) => checkpoint.id !== id)
  })

/** Whether a save that is still to be made may be made of what is in the store alone. */
const isKeepingStaged = ({ state }: Session): boolean =>
  state === "persist_failed" || state === "stopped_unpersisted" || state === "failed"

/**
 * Checkpoints of the store that the ledger does not know, by the session they are of. A store may serve several ledgers:
 * what is of a session that this one has never heard of is left alone.
 */
const storedUnknown = Effect.gen(function* () {
  const store = yield* CheckpointStore
  const ledger = yield* Ledger
  const of = new Map<string, Array<{ readonly id: string; readonly persistedAt: number }>>()
  const listed = yield* Effect.result(store.list)
  if (Result.isFailure(listed)) {
    return { of, findings: [report(null, `the checkpoints cannot be looked through: ${listed.failure.message}`)] }
  }
  for (const id of listed.success) {
    // a record that cannot be read is a record
    const known = yield* Effect.result(ledger.checkpoint(id))
    if (Result.isFailure(known) || (Option.isSome(known.success) && known.success.value.id === id)) continue
    const stored = yield* Effect.orElseSucceed(store.manifest(id), () => Option.none<Uint8Array>())
    const manifest = Option.flatMap(stored, (bytes) => Option.getSuccess(Manifest.decode(bytes)))
    if (Option.isNone(manifest)) continue
    const { persisted_at, session_id } = manifest.value
    of.set(session_id, [...(of.get(session_id) ?? []), { id, persistedAt: Date.parse(persisted_at) }])
  }
  return { of, findings: [] }
})

/** An `up` that failed and left nothing but its record. */
const isFailedUp = (session: Session): boolean =>
  session.state === "failed" && session.readyAt === null && session.instance === null && !session.cleanupRequired

const clearing = (session: Session): Finding => ({
  session,
  finding: "its up failed long ago, and left nothing but this record",
  action: "destroy",
  run: Effect.gen(function* () {
    const row = yield* idle(session.id)
    if (row === undefined || !isFailedUp(row)) return "skipped" as const
    const given = { confirmDataLoss: false, force: false, forget: false, noPersist: false }
    yield* remove(row, yield* request("destroy"), given)
    return "done" as const
  })
})

const isTombstone = (session: Session, before: number): boolean =>
  session.state === "destroyed" &&
  session.destroyedAt !== null &&
  session.destroyedAt <= before &&
  session.claim === null &&
  !session.cleanupRequired

const purge = (session: Session, before: number): Finding => ({
  session,
  finding: "it was destroyed long ago: its record is kept no longer",
  action: "purge",
  run: Effect.gen(function* () {
    const row = yield* idle(session.id)
    if (row === undefined || !isTombstone(row, before)) return "skipped" as const
    return (yield* (yield* Ledger).purge(row)) ? ("done" as const) : ("skipped" as const)
  })
})

/** Removes what dead writers left in the store. What that is can only be told afterwards. */
export const sweep = Effect.gen(function* () {
  const { bytes, drafts } = yield* (yield* CheckpointStore).sweep
  return drafts === 0 && bytes === 0
    ? undefined
    : `${count(drafts, "checkpoint")} that dead operations had begun, and ${count(bytes, "byte")} that no checkpoint needs`
})
