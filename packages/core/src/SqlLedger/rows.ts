/** Rows of the ledger to records and back. JSON columns are text in both databases; BIGINT may arrive as a bigint. */
import { Result, Schema } from "effect"
import type { Change, UnreadableRow } from "../Ledger.ts"
import {
  Checkpoint,
  Event,
  type ExportLock,
  Intent,
  Operation,
  Orphan,
  Session,
  type SessionPatch
} from "../Session.ts"

export type Row = Readonly<Record<string, unknown>>

const json = (value: unknown): unknown => (typeof value === "string" ? JSON.parse(value) : null)
const int = (value: unknown): number | null => (value === null || value === undefined ? null : Number(value))

const names = new Map([
  ["commit_id", "commit"],
  ["parent_id", "parent"]
])

/** The record's name of a column. Rows are many and columns few, so each name is made once. */
const camel = (column: string): string => {
  const known = names.get(column)
  if (known !== undefined) return known
  const name = column.replaceAll(/_([a-z])/g, (_, letter: string) => letter.toUpperCase())
  names.set(column, name)
  return name
}

/** `convert` names the columns that are not plain text; `derive` adds what several columns make up together. */
const reader = <S extends Schema.Decoder<unknown>>(
  schema: S,
  convert: Readonly<Record<string, (value: unknown) => unknown>>,
  derive?: (row: Row) => Readonly<Record<string, unknown>>
) => {
  const decode = Schema.decodeUnknownResult(schema)
  return (row: Row): Result.Result<S["Type"], UnreadableRow> => {
    const id = String(row["id"] ?? row["key"] ?? row["session_id"])
    const owner = typeof row["owner"] === "string" ? row["owner"] : null
    const parsed = Result.try({
      try: () => {
        const record: Record<string, unknown> = {}
        for (const column in row) {
          const value = row[column] ?? null
          record[camel(column)] = convert[column]?.(value) ?? (column in convert ? null : value)
        }
        return derive === undefined ? record : Object.assign(record, derive(row))
      },
      catch: (cause) => ({ id, owner, problem: String(cause) })
    })
    return Result.flatMap(parsed, (value) =>
      Result.mapError(decode(value), (error) => ({ id, owner, problem: String(error) }))
    )
  }
}

const claimColumns = [
  "claim_token",
  "claim_operation_id",
  "claim_kind",
  "claim_phase",
  "claim_acquired_at",
  "claim_renewed_at",
  "claim_lease_until",
  "claim_holder",
  "claim_prior"
] as const

/** The columns of a session without a claim. */
export const noClaim = Object.fromEntries(claimColumns.map((column) => [column, null]))

const claimOf = (row: Row): { readonly claim: unknown } => ({
  claim:
    row["claim_token"] === null
      ? null
      : {
          token: row["claim_token"],
          operationId: row["claim_operation_id"],
          kind: row["claim_kind"],
          phase: row["claim_phase"],
          acquiredAt: int(row["claim_acquired_at"]),
          renewedAt: int(row["claim_renewed_at"]),
          leaseUntil: int(row["claim_lease_until"]),
          holder: json(row["claim_holder"]),
          prior: json(row["claim_prior"])
        }
})

export const toSession = reader(
  Session,
  {
    version: Number,
    generation: Number,
    spec: json,
    instance: json,
    cleanup_required: (value) => Number(value) === 1,
    export_lock: json,
    health: json,
    setup: json,
    slot: int,
    ports: json,
    last_error: json,
    last_export: json,
    completed_at: int,
    expires_at: int,
    created_at: Number,
    updated_at: Number,
    ready_at: int,
    stopped_at: int,
    persisted_at: int,
    destroyed_at: int
  },
  claimOf
)

export const toOperation = reader(Operation, {
  attempt: Number,
  result: json,
  error: json,
  created_at: Number,
  updated_at: Number
})
export const toEvent = reader(Event, { seq: Number, data: json, at: Number })
export const toIntent = reader(Intent, { generation: Number, deadline: Number, created_at: Number })
export const toOrphan = reader(Orphan, { ref: json, created_at: Number, resolved_at: int })
export const toCheckpoint = reader(Checkpoint, {
  bytes: Number,
  verified: (value) => Number(value) === 1,
  files: Number,
  compacted: Number,
  persisted_at: Number
})

const text = (value: unknown): string | null => (value === null ? null : JSON.stringify(value))
const snake = (key: string): string => key.replaceAll(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`)

/** The export lock as its column has it: always in the same words, so that it can be compared. */
export const exportLock = (lock: Pick<ExportLock, "operationId" | "branch" | "leaseUntil"> | null): string | null =>
  lock === null
    ? null
    : JSON.stringify({ operationId: lock.operationId, branch: lock.branch, leaseUntil: lock.leaseUntil })

/** What the column of every export lock of this operation starts with. */
export const exportLockOf = (operationId: string): string => `{"operationId":${JSON.stringify(operationId)},`

const patchColumns: { readonly [K in keyof Required<SessionPatch>]?: (value: unknown) => unknown } = {
  spec: text,
  instance: text,
  health: text,
  setup: text,
  ports: text,
  lastError: text,
  lastExport: text,
  cleanupRequired: (value) => (value === true ? 1 : 0)
}

/** The columns that a holder's commit sets on the session's row. */
export const changeColumns = (change: Change): Record<string, unknown> => {
  const columns: Record<string, unknown> = {}
  for (const [key, value] of Object.entries(change.set ?? {})) {
    if (value === undefined) continue
    const encode = patchColumns[key as keyof SessionPatch]
    columns[key === "commit" ? "commit_id" : snake(key)] = encode === undefined ? value : encode(value)
  }
  if (change.move !== undefined) columns["state"] = change.move.to
  if (change.phase !== undefined) columns["claim_phase"] = change.phase
  return change.release === true ? { ...columns, ...noClaim } : columns
}

export const intentColumns = (intent: Intent) => ({
  key: intent.key,
  session_id: intent.sessionId,
  generation: intent.generation,
  provider: intent.provider,
  scope: intent.scope,
  name: intent.name,
  status: intent.status,
  deadline: intent.deadline,
  created_at: intent.createdAt
})

export const orphanColumns = (orphan: Orphan) => ({
  id: orphan.id,
  session_id: orphan.sessionId,
  operation_id: orphan.operationId,
  provider: orphan.provider,
  scope: orphan.scope,
  ref: text(orphan.ref),
  key: orphan.key,
  reason: orphan.reason,
  checkpoint: orphan.checkpoint ?? null,
  workspace_path: orphan.workspacePath ?? null,
  created_at: orphan.createdAt,
  resolved_at: orphan.resolvedAt
})

export const checkpointColumns = (checkpoint: Checkpoint) => ({
  id: checkpoint.id,
  session_id: checkpoint.sessionId,
  digest: checkpoint.digest,
  bytes: checkpoint.bytes,
  verified: checkpoint.verified ? 1 : 0,
  reason: checkpoint.reason,
  head: checkpoint.head,
  fingerprint: checkpoint.fingerprint,
  files: checkpoint.files,
  compacted: checkpoint.compacted,
  persisted_at: checkpoint.persistedAt
})
