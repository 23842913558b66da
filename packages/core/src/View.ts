/** Records of the ledger as callers see them. */
import { DateTime, Effect } from "effect"
import type { Host } from "./Host.ts"
import { liveness } from "./Liveness.ts"
import { recovery } from "./Recovery.ts"
import type * as Results from "./Results.ts"
import type { Checkpoint, Event, Exported, Liveness, Operation, RecordedError, Session } from "./Session.ts"
import * as Time from "./Time.ts"

export const iso = (ms: number): string => DateTime.formatIso(DateTime.makeUnsafe(ms))
export const isoOrNull = (ms: number | null): string | null => (ms === null ? null : iso(ms))

export const error = (recorded: RecordedError | null): Results.ErrorView | null =>
  recorded === null
    ? null
    : {
        errorCode: recorded.code,
        cause: recorded.message,
        nextStep: recorded.nextStep,
        retryable: recorded.retryable,
        operationId: recorded.operationId,
        ...(recorded.details === undefined ? {} : { details: recorded.details })
      }

const claim = (session: Session, status: Liveness, now: number): Results.ClaimView | null =>
  session.claim === null
    ? null
    : {
        kind: session.claim.kind,
        operationId: session.claim.operationId,
        phase: session.claim.phase,
        ageS: Math.max(0, Math.floor((now - session.claim.acquiredAt) / 1000)),
        stale: status === "stale",
        holder: { host: session.claim.holder.host, pid: session.claim.holder.pid }
      }

export const exported = (last: Exported | null): Results.ExportView | null =>
  last === null
    ? null
    : {
        to: last.to,
        branch: last.branch,
        commit: last.commit,
        target: last.target,
        exportedAt: iso(last.exportedAt)
      }

/** A session with who is moving it and what to do about it. */
export const session = Effect.fnUntraced(function* (row: Session): Effect.fn.Return<Results.SessionView, never, Host> {
  const status = yield* liveness(row.claim)
  const now = yield* Time.millis
  return {
    sessionId: row.id,
    name: row.name,
    owner: row.owner,
    parent: row.parent,
    provider: row.provider,
    state: row.state,
    claim: claim(row, status, now),
    health: row.health === null ? null : { status: row.health.status, observedAt: iso(row.health.observedAt) },
    recovery: recovery(row, status),
    repository: row.repository,
    branch: row.branch,
    workBranch: row.workBranch,
    targetCommitSha: row.commit,
    worktreePath: row.workspacePath,
    slot: row.slot,
    ports: row.ports ?? {},
    endpointUrl: row.endpointUrl,
    generation: row.generation,
    lastError: error(row.lastError),
    lastExport: exported(row.lastExport),
    expiresAt: isoOrNull(row.expiresAt),
    createdAt: iso(row.createdAt),
    updatedAt: iso(row.updatedAt),
    readyAt: isoOrNull(row.readyAt),
    completedAt: isoOrNull(row.completedAt),
    stoppedAt: isoOrNull(row.stoppedAt),
    persistedAt: isoOrNull(row.persistedAt),
    destroyedAt: isoOrNull(row.destroyedAt)
  }
})

/** The moves of a session in its history, oldest first. */
export const transitions = (events: ReadonlyArray<Event>): ReadonlyArray<Results.TransitionView> =>
  events
    .filter((event) => event.type === "transition")
    .map((event) => ({
      from: event.data["from"] as Results.TransitionView["from"],
      to: event.data["to"] as Results.TransitionView["to"],
      at: iso(event.at),
      operationId: event.operationId
    }))

export const checkpoint = (saved: Checkpoint): Results.CheckpointView => ({
  id: saved.id,
  digest: saved.digest,
  bytes: saved.bytes,
  verified: saved.verified,
  reason: saved.reason,
  head: saved.head,
  files: saved.files,
  compacted: saved.compacted,
  persistedAt: iso(saved.persistedAt)
})

/** The newest checkpoint of a history, if any. */
export const lastCheckpoint = (checkpoints: ReadonlyArray<Checkpoint>): Results.CheckpointView | null => {
  const last = checkpoints.findLast(({ reason }) => reason !== "left")
  return last === undefined ? null : checkpoint(last)
}

export const operation = (recorded: Operation): Results.OperationView => ({
  operationId: recorded.id,
  verb: recorded.verb,
  clientRequestId: recorded.clientRequestId,
  attempt: recorded.attempt,
  status: recorded.status,
  error: error(recorded.error),
  createdAt: iso(recorded.createdAt),
  updatedAt: iso(recorded.updatedAt)
})

export const event = (recorded: Event): Results.EventView => ({
  seq: recorded.seq,
  type: recorded.type,
  at: iso(recorded.at),
  operationId: recorded.operationId,
  data: recorded.data
})
