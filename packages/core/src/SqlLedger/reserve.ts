/** A new session: its row, its name, its slot, its operation and its claim in one transaction. */
import { Effect, Option } from "effect"
import { NameTaken, type Reservation } from "../Ledger.ts"
import * as Time from "../Time.ts"
import { claimColumns } from "./claims.ts"
import { type Database, isUniqueViolation } from "./database.ts"
import { type Journal, transition } from "./journal.ts"
import type { Placement } from "./placement.ts"
import * as Rows from "./rows.ts"

export const make = (db: Database, { append, insertOperation, refuseKnown }: Journal, { lowestSlot }: Placement) => {
  const { first, sql, transact } = db

  return Effect.fnUntraced(function* (reservation: Reservation) {
    const { claim, move, operation, session } = reservation
    const now = yield* Time.millis
    const refusal = Effect.gen(function* () {
      yield* refuseKnown(session.owner, operation)
      const holders = yield* sql<Rows.Row>`SELECT * FROM sessions
        WHERE owner = ${session.owner} AND reserved_name = ${session.name}`
      const holder = yield* first(holders, Rows.toSession)
      if (Option.isSome(holder)) return yield* new NameTaken({ holder: holder.value })
    })
    const write = Effect.gen(function* () {
      yield* refusal
      const placed = reservation.slot === undefined ? {} : yield* lowestSlot(reservation.slot)
      yield* sql`INSERT INTO sessions ${sql.insert({
        id: session.id,
        owner: session.owner,
        name: session.name,
        reserved_name: session.name,
        parent_id: session.parent ?? null,
        state: move.to,
        version: 1,
        provider: session.provider,
        generation: 0,
        spec: JSON.stringify(session.spec),
        cleanup_required: 0,
        repository: session.repository,
        branch: session.branch,
        setup: session.setup === null ? null : JSON.stringify(session.setup),
        expires_at: session.expiresAt ?? null,
        ...placed,
        ...claimColumns(claim, operation.id, now),
        created_at: now,
        updated_at: now
      })}`
      yield* insertOperation(session, operation, now)
      yield* append(session.id, operation.id, now, [transition(move.from, move.to)])
      return Option.getOrThrow(yield* db.session(session.id))
    })
    const applied = Effect.map(
      sql`SELECT id FROM sessions WHERE id = ${session.id}`,
      // nobody else makes a session of this id; one that is not visible yet is met by the next attempt
      (rows) => rows.length > 0
    )
    return yield* transact("reserve", write, applied).pipe(
      // the other writer's row is visible once its transaction ended, which the violation proves
      Effect.catchIf(isUniqueViolation, (error) => Effect.andThen(refusal, Effect.fail(error))),
      // neither name nor request: somebody was given the same slot in the same moment, and has it now
      Effect.retry({ times: reservation.slot?.max ?? 0, while: isUniqueViolation })
    )
  })
}
