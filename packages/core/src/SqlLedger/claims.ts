/** The claim on a session's row: taken, and kept. */
import { Effect, Option } from "effect"
import { type Acquisition, ClaimConflict, ClaimLost, type ClaimRequest, type Ledger } from "../Ledger.ts"
import * as Time from "../Time.ts"
import { type Database, isUniqueViolation } from "./database.ts"
import { type Journal, transition } from "./journal.ts"
import * as Rows from "./rows.ts"

/** The columns of a claim that is taken, and of the export lock that may come with it. */
export const claimColumns = (claim: ClaimRequest, operationId: string, now: number) => ({
  claim_token: claim.token,
  claim_operation_id: operationId,
  claim_kind: claim.kind,
  claim_phase: "claimed",
  claim_acquired_at: now,
  claim_renewed_at: now,
  claim_lease_until: now + claim.lease,
  claim_holder: JSON.stringify(claim.holder),
  claim_prior: claim.prior === null ? null : JSON.stringify(claim.prior),
  ...(claim.exporting === undefined ? {} : { export_lock: lockOf(claim, operationId, now) })
})

/** The export lock of an operation that exports, for as long as its claim is leased; none for any other. */
const lockOf = (
  { exporting, lease }: { readonly exporting?: string | undefined; readonly lease: number },
  operationId: string,
  now: number
) => Rows.exportLock(exporting === undefined ? null : { operationId, branch: exporting, leaseUntil: now + lease })

/** One compare-and-set, which also records the operation and what it took over. */
export const acquire = (db: Database, { append, insertOperation, refuseKnown }: Journal) => {
  const { all, forUpdate, sql, transact } = db

  return Effect.fnUntraced(function* (acquisition: Acquisition) {
    const { claim, force, move, observed, operation } = acquisition
    const now = yield* Time.millis
    const dead = observed.claim
    const lock = observed.exportLock
    // whoever had it is gone: nobody else would ever drop it
    const expired = claim.exporting === undefined && lock !== null && lock.leaseUntil <= now
    // renewals do not raise the version, so a claim judged stale is compared by its lease too
    const unchanged = sql.and([
      sql`id = ${observed.id}`,
      sql`version = ${observed.version}`,
      sql`COALESCE(claim_token, '') = ${dead?.token ?? ""}`,
      sql`COALESCE(export_lock, '') = ${Rows.exportLock(lock) ?? ""}`,
      ...(dead === null || force ? [] : [sql`claim_lease_until = ${dead.leaseUntil}`])
    ])
    const unknownRequest = refuseKnown(observed.owner, operation)
    const repeated = dead !== null && dead.operationId === operation.id
    const write = Effect.gen(function* () {
      const claimed = yield* sql<Rows.Row>`UPDATE sessions SET ${sql.update({
        ...claimColumns(claim, operation.id, now),
        ...(expired ? { export_lock: null } : {}),
        ...(move === undefined ? {} : { state: move.to }),
        version: observed.version + 1,
        updated_at: now
      })} WHERE ${unchanged} RETURNING *`
      if (claimed.length === 0) {
        return yield* new ClaimConflict({ current: Option.getOrNull(yield* db.session(observed.id)) })
      }
      if (repeated) {
        yield* sql`UPDATE operations SET attempt = attempt + 1, status = 'running', updated_at = ${now}
          WHERE id = ${operation.id}`
      } else {
        yield* unknownRequest
        yield* insertOperation(observed, operation, now)
      }
      if (dead !== null && !repeated) {
        yield* sql`UPDATE operations SET status = 'abandoned', updated_at = ${now}
          WHERE id = ${dead.operationId} AND status = 'running'`
      }
      yield* append(observed.id, operation.id, now, [
        ...(dead === null
          ? []
          : [
              {
                type: "claim_taken_over",
                data: { operation_id: dead.operationId, kind: dead.kind, phase: dead.phase, forced: force }
              }
            ]),
        ...(move === undefined || move.from === move.to ? [] : [transition(move.from, move.to)])
      ])
      return yield* all(claimed, Rows.toSession)
    })
    const applied = Effect.map(
      sql<Rows.Row>`SELECT claim_token FROM sessions WHERE id = ${observed.id}${forUpdate}`,
      (rows) => rows[0]?.["claim_token"] === claim.token
    )
    const [claimed] = yield* transact("acquire", write, applied).pipe(
      Effect.catchIf(isUniqueViolation, (error) => Effect.andThen(unknownRequest, Effect.fail(error)))
    )
    return claimed!
  })
}

/** One statement, which may be repeated as it is. */
export const renew = ({ repeatable, session, sql }: Database) =>
  Effect.fnUntraced(function* (claim: Parameters<Ledger["Service"]["renew"]>[0]) {
    const now = yield* Time.millis
    const renewed = yield* sql`UPDATE sessions
    SET ${sql.update({
      claim_renewed_at: now,
      claim_lease_until: now + claim.lease,
      ...(claim.exporting === undefined ? {} : { export_lock: lockOf(claim, claim.operationId, now) })
    })}
    WHERE id = ${claim.sessionId} AND claim_token = ${claim.token} RETURNING id`.pipe(repeatable("renew"))
    if (renewed.length === 0) {
      const current = yield* repeatable("renew")(session(claim.sessionId))
      return yield* new ClaimLost({ sessionId: claim.sessionId, current: Option.getOrNull(current) })
    }
  })
