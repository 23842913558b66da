/** One write of a claim's holder: everything of a change together, fenced by the claim's token. */
import { Effect, Option } from "effect"
import { type Change, ClaimLost, type Ledger, PortTaken } from "../Ledger.ts"
import * as Time from "../Time.ts"
import { type Database, isUniqueViolation } from "./database.ts"
import { type Journal, transition } from "./journal.ts"
import type { Placement } from "./placement.ts"
import * as Rows from "./rows.ts"

export const make = (db: Database, { append }: Journal, { assignPorts, lowestSlot }: Placement) => {
  const { all, forUpdate, sql, transact } = db

  let writes = 0
  /** By which one write of a claim is known again: the claim's token is its own, and one program counts for it. */
  const writeId = (token: string): string => {
    writes += 1
    return `${token}.${writes}`
  }

  /** The export lock once this operation has ended: another one's stays. */
  const unlocked = (operationId: string) => {
    const ours = Rows.exportLockOf(operationId)
    return sql`CASE WHEN substr(export_lock, 1, ${ours.length}) = ${ours} THEN NULL ELSE export_lock END`
  }

  /** The columns of an operation that has ended. */
  const ended = (outcome: NonNullable<Change["outcome"]>, now: number) => ({
    status: outcome.status,
    result: outcome.status === "succeeded" && outcome.result !== null ? JSON.stringify(outcome.result) : null,
    error: outcome.status === "failed" ? JSON.stringify(outcome.error) : null,
    updated_at: now
  })

  return Effect.fnUntraced(function* (write: Parameters<Ledger["Service"]["commit"]>[0]) {
    const { change, operationId, sessionId, token } = write
    const now = yield* Time.millis
    const { move } = change
    const id = writeId(token)
    const settles = change.release === true || change.outcome !== undefined
    const body = Effect.gen(function* () {
      const placed = change.slot === undefined ? {} : yield* lowestSlot(change.slot)
      const written = yield* sql<Rows.Row>`UPDATE sessions
        SET ${sql.update({ ...Rows.changeColumns(change), ...placed, last_write: id, updated_at: now })}, version = version + 1,
          export_lock = ${change.release === true ? unlocked(operationId) : sql`export_lock`}
        WHERE id = ${sessionId} AND claim_token = ${token} RETURNING *`
      if (written.length === 0) {
        return yield* new ClaimLost({ sessionId, current: Option.getOrNull(yield* db.session(sessionId)) })
      }
      if (change.set?.ports !== undefined) yield* assignPorts(written[0]!, change.set.ports)
      for (const intent of change.intents ?? []) {
        yield* sql`INSERT INTO intents ${sql.insert(Rows.intentColumns(intent))}
          ON CONFLICT (key) DO UPDATE SET status = excluded.status, deadline = excluded.deadline`
      }
      for (const orphan of change.orphans ?? []) {
        yield* sql`INSERT INTO orphans ${sql.insert(Rows.orphanColumns(orphan))}
          ON CONFLICT (id) DO UPDATE SET resolved_at = excluded.resolved_at`
      }
      if (change.checkpoint !== undefined) {
        // a save that is done again replaces the whole of it
        yield* sql`DELETE FROM checkpoints WHERE id = ${change.checkpoint.id}`
        yield* sql`INSERT INTO checkpoints ${sql.insert(Rows.checkpointColumns(change.checkpoint))}`
      }
      for (const removed of change.removedCheckpoints ?? []) {
        yield* sql`DELETE FROM checkpoints WHERE id = ${removed} AND session_id = ${sessionId}`
      }
      if (settles) {
        const outcome = change.outcome === undefined ? {} : ended(change.outcome, now)
        yield* sql`UPDATE operations SET ${sql.update({ ...outcome, settled_by: id })} WHERE id = ${operationId}`
      }
      yield* append(sessionId, operationId, now, [
        ...(move === undefined || move.from === move.to ? [] : [transition(move.from, move.to)]),
        ...(change.events ?? [])
      ])
      return yield* all(written, Rows.toSession)
    })
    const applied = Effect.gen(function* () {
      const [row] = yield* sql<Rows.Row>`SELECT last_write FROM sessions WHERE id = ${sessionId}${forUpdate}`
      if (row?.["last_write"] === id) return true
      if (!settles) return false
      // dropped with this write, the claim may have been taken and written with by somebody else since
      const [operation] = yield* sql<Rows.Row>`SELECT settled_by FROM operations WHERE id = ${operationId}`
      return operation?.["settled_by"] === id
    })
    const ports = change.set?.ports
    const [claimed] = yield* transact("commit", body, applied).pipe(
      // somebody was given the same slot or port in the same moment, and has it now: the next look tells which
      Effect.retry({ times: change.slot?.max ?? 1, while: isUniqueViolation }),
      Effect.catchIf(isUniqueViolation, (error) =>
        Effect.fail(ports === undefined || ports === null ? error : new PortTaken({ ports: Object.values(ports) }))
      )
    )
    return claimed!
  })
}
