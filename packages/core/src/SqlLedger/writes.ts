/** The writes of a ledger: each one transaction that compares and sets, or changes nothing. */
import { Effect } from "effect"
import type { Ledger } from "../Ledger.ts"
import type { Session } from "../Session.ts"
import * as Claims from "./claims.ts"
import * as Commit from "./commit.ts"
import type { Database } from "./database.ts"
import * as Journal from "./journal.ts"
import * as Placement from "./placement.ts"
import * as Reserve from "./reserve.ts"

type Writes = Pick<Ledger["Service"], "reserve" | "acquire" | "renew" | "commit" | "purge">

export const make = (db: Database): Writes => {
  const { failure } = db
  const journal = Journal.make(db)
  const placement = Placement.make(db)
  const reserve = Reserve.make(db, journal, placement)
  const acquire = Claims.acquire(db, journal)
  const renew = Claims.renew(db)
  const commit = Commit.make(db, journal, placement)
  const purge = forget(db)

  return {
    reserve: (reservation) => failure("reserve")(reserve(reservation)),
    acquire: (acquisition) => failure("acquire")(acquire(acquisition)),
    renew: (claim) => failure("renew")(renew(claim)),
    commit: (write) => failure("commit")(commit(write)),
    purge: (observed) => failure("purge")(purge(observed))
  }
}

/** A session that has ended and left nothing goes with everything recorded about it. */
const forget = ({ forUpdate, sql, transact }: Database) =>
  Effect.fnUntraced(function* (observed: Session) {
    const { id, version } = observed
    return yield* transact(
      "purge",
      Effect.gen(function* () {
        const held = yield* sql`SELECT id FROM sessions
        WHERE id = ${id} AND version = ${version} AND state = 'destroyed' AND claim_token IS NULL AND cleanup_required = 0
          AND NOT EXISTS (SELECT 1 FROM intents WHERE session_id = ${id} AND status = 'open')
          AND NOT EXISTS (SELECT 1 FROM orphans WHERE session_id = ${id} AND resolved_at IS NULL)
          AND NOT EXISTS (SELECT 1 FROM checkpoints WHERE session_id = ${id})${forUpdate}`
        if (held.length === 0) return false
        for (const table of ["events", "operations", "intents", "orphans", "ports"]) {
          yield* sql`DELETE FROM ${sql.literal(table)} WHERE session_id = ${id}`
        }
        yield* sql`DELETE FROM sessions WHERE id = ${id}`
        return true
      }),
      Effect.map(sql`SELECT id FROM sessions WHERE id = ${id}${forUpdate}`, (rows) => rows.length === 0)
    )
  })
