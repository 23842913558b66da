/** What is kept for a time: checkpoints, and the records of sessions that are no more. */
import { Duration, Effect, Result } from "effect"
import { CheckpointStore } from "../../CheckpointStore.ts"
import { Ledger } from "../../Ledger.ts"
import * as Lifecycle from "../../Lifecycle.ts"
import type { GcOptions } from "../../Options.ts"
import { Principal } from "../../Principal.ts"
import { remove } from "../../programs/destroy.ts"
import type { SandboxError } from "../../SandboxError.ts"
import type { Checkpoint, Session } from "../../Session.ts"
import { Limits } from "../../Settings.ts"
import * as Time from "../../Time.ts"
import { type Finding, idle, isIdle, isRecent, request, unlessDamaged, whileIdle } from "./finding.ts"
import { isTombstone, purge } from "./purge.ts"
import * as stored from "./stored.ts"

/**
 * Records and checkpoints that have been kept for long enough.
 *
 * A checkpoint goes from the ledger first and from the store after, so that no record ever promises one that is not there;
 * what a crash leaves between the two is in the store alone, and found there. A record of a session goes last. While the
 * store cannot be looked through, only what was never in it goes.
 */
export const expiredRecords = Effect.fnUntraced(function* (sessions: ReadonlyArray<Session>, options: GcOptions) {
  const now = yield* Time.millis
  const limits = yield* Limits
  const before: Before = {
    tombstones: now - Duration.toMillis(limits.tombstoneRetention),
    checkpoints: now - Duration.toMillis(limits.checkpointRetention),
    elsewhere: now - 2 * Duration.toMillis(limits.checkpointRetention),
    wanted: wantedBy(sessions)
  }
  const looked = yield* Effect.result(stored.look)
  const store = Result.isSuccess(looked) ? looked.success : undefined
  const findings: Array<Finding> = Result.isSuccess(looked) ? [] : [stored.unreadable(looked.failure.message)]
  for (const session of sessions) {
    const unnamed = store?.unnamed.get(session.id) ?? []
    const unknown = isKeepingStaged(session)
      ? []
      : unnamed.filter(({ persistedAt }) => persistedAt <= before.checkpoints)
    const young = Math.max(before.tombstones, before.checkpoints)
    const isYoung = session.state === "destroyed" && !isTombstone(session, young)
    if ((isYoung && unknown.length === 0) || isRecent(now, session.updatedAt, options.olderThan)) continue
    if (!(yield* isIdle(session))) continue
    const inStore = store && { ids: store.ids, unnamed: unnamed.length, unknown: unknown.map(({ id }) => id) }
    findings.push(...(yield* unlessDamaged(session, kept(session, inStore, before))))
  }
  return findings
})

/** Times, in milliseconds since the epoch, before which something must have ended to go now. */
interface Before {
  readonly tombstones: number
  readonly checkpoints: number
  /** For checkpoints of a shared ledger that this host's store does not have: the host that has them comes first. */
  readonly elsewhere: number
  /** Checkpoints that a session is being made of. */
  readonly wanted: ReadonlySet<string>
}

/** A session that is no more wants nothing, whatever it was in the middle of. */
const wantedBy = (sessions: ReadonlyArray<Session>): ReadonlySet<string> =>
  new Set(
    sessions.flatMap(({ restoreFrom, state }) => (restoreFrom === null || state === "destroyed" ? [] : [restoreFrom]))
  )

interface InStore {
  readonly ids: ReadonlySet<string>
  /** How many of the session no record names. */
  readonly unnamed: number
  /** Those of them that are old enough to go. */
  readonly unknown: ReadonlyArray<string>
}

/** What of one session was kept for long enough. */
const kept = Effect.fnUntraced(function* (session: Session, store: InStore | undefined, before: Before) {
  const ledger = yield* Ledger
  const history = yield* ledger.history(session.id)
  const open =
    history.intents.some(({ status }) => status === "open") ||
    history.orphans.some(({ resolvedAt }) => resolvedAt === null)
  const isOver = isFailedUp(session) && session.updatedAt <= before.tombstones && !open
  const cleared = isOver ? [clearing(session)] : []
  if (store === undefined) return cleared
  const longOver = ledger.shared ? outlived(session, history.checkpoints, before.elsewhere) : history.checkpoints
  const old = outlived(session, history.checkpoints, before.checkpoints).filter(
    (checkpoint) => !before.wanted.has(checkpoint.id) && (store.ids.has(checkpoint.id) || longOver.includes(checkpoint))
  )
  const rest = history.checkpoints.length + store.unnamed - old.length - store.unknown.length
  const isForgotten = isTombstone(session, before.tombstones) && rest === 0 && !open
  const removed = [...old.map(({ id }) => id), ...store.unknown]
  return [
    ...old.map(({ id }) => removal(session, id, "it was kept for long enough", isOutlived(id, before.checkpoints))),
    ...store.unknown.map((id) => removal(session, id, "nothing refers to it any more", isUnknown(session.state, id))),
    ...cleared,
    ...(isForgotten ? [purge(session, before.tombstones, removed)] : [])
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
  const own = checkpoints.filter(({ reason, verified }) => verified && reason !== "left")
  const last = own.at(-1)
  const withWork = own.findLast(({ fingerprint }) => fingerprint !== null)
  return checkpoints.filter(
    (checkpoint) =>
      checkpoint !== last &&
      checkpoint !== withWork &&
      checkpoint.reason !== "request" &&
      checkpoint.reason !== "left" &&
      checkpoint.persistedAt <= before &&
      checkpoint.persistedAt < (last?.persistedAt ?? 0)
  )
}

const removal = (
  session: Session,
  id: string,
  why: string,
  still: (row: Session) => Effect.Effect<boolean, SandboxError, Ledger | Principal>
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
    return outlived(row, checkpoints, before).some((checkpoint) => checkpoint.id === id) && !(yield* isWanted(id))
  })

const isUnknown = (state: Session["state"], id: string) =>
  Effect.fnUntraced(function* (row: Session) {
    const { checkpoints } = yield* (yield* Ledger).history(row.id)
    const isNamed = checkpoints.some((checkpoint) => checkpoint.id === id)
    return row.state === state && !isNamed && !(yield* isWanted(id))
  })

const living = Lifecycle.states.filter((state) => state !== "destroyed")

/** Whether a session is being made of the checkpoint by now. */
const isWanted = Effect.fnUntraced(function* (id: string) {
  const { sessions } = yield* (yield* Ledger).sessions({ owner: yield* Principal, states: living })
  return wantedBy(sessions).has(id)
})

/** Whether a save that is still to be made may be made of what is in the store alone. */
const isKeepingStaged = ({ state }: Session): boolean =>
  state === "persist_failed" || state === "stopped_unpersisted" || state === "failed"

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
