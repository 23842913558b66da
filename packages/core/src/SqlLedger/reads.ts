/** The reads of a ledger: single statements, no locks. */
import { Effect, Result } from "effect"
import type { SqlError, Statement } from "effect/sql"
import type { Ledger, Records, SessionQuery, UnreadableRow } from "../Ledger.ts"
import type { Database } from "./database.ts"
import { endedAt } from "./migrations.ts"
import * as Rows from "./rows.ts"

type Reads = Pick<
  Ledger["Service"],
  | "shared"
  | "check"
  | "session"
  | "sessions"
  | "history"
  | "request"
  | "checkpoint"
  | "openIntents"
  | "openOrphans"
  | "ports"
>

export const make = (db: Database): Reads => {
  const { all, repeatable, sql } = db

  const matches = (query: SessionQuery): Statement.Fragment => {
    const { reference } = query
    const owned = query.owner === undefined ? [] : [sql`owner = ${query.owner}`]
    const conditions = [
      ...(query.states === undefined ? [] : [sql.in("state", query.states)]),
      ...(query.provider === undefined ? [] : [sql`provider = ${query.provider}`]),
      ...(query.endedAfter === undefined ? [] : [sql`(${sql.literal(endedAt)}) >= ${query.endedAfter}`])
    ]
    if (reference === undefined) return sql.and([...owned, ...conditions])
    const named = sql.and([...owned, sql`name = ${reference}`])
    // "~" sorts after every character of an identifier
    return /^sbx_[0-9a-z]*$/.test(reference)
      ? sql.and([sql.or([sql`(id >= ${reference} AND id < ${`${reference}~`})`, named]), ...conditions])
      : sql.and([named, ...conditions])
  }

  const records = <A>(
    rows: Effect.Effect<ReadonlyArray<Rows.Row>, SqlError.SqlError>,
    read: (row: Rows.Row) => Result.Result<A, UnreadableRow>
  ) => Effect.flatMap(rows, (rows) => all(rows, read))

  const history = Effect.fnUntraced(function* (sessionId: string) {
    return {
      events: yield* records(
        sql<Rows.Row>`SELECT * FROM events WHERE session_id = ${sessionId} ORDER BY seq`,
        Rows.toEvent
      ),
      operations: yield* records(
        sql<Rows.Row>`SELECT * FROM operations WHERE session_id = ${sessionId} ORDER BY created_at, id`,
        Rows.toOperation
      ),
      intents: yield* records(
        sql<Rows.Row>`SELECT * FROM intents WHERE session_id = ${sessionId} ORDER BY generation`,
        Rows.toIntent
      ),
      orphans: yield* records(
        sql<Rows.Row>`SELECT * FROM orphans WHERE session_id = ${sessionId} ORDER BY created_at, id`,
        Rows.toOrphan
      ),
      checkpoints: yield* records(
        sql<Rows.Row>`SELECT * FROM checkpoints WHERE session_id = ${sessionId} ORDER BY persisted_at, id`,
        Rows.toCheckpoint
      )
    }
  })

  const checkpoint = Effect.fnUntraced(function* (id: string) {
    const exact = yield* sql<Rows.Row>`SELECT * FROM checkpoints WHERE id = ${id}`
    if (exact.length > 0) return yield* db.first(exact, Rows.toCheckpoint)
    // a prefix that two have is nobody's
    const begun = yield* sql<Rows.Row>`SELECT * FROM checkpoints WHERE substr(id, 1, ${id.length}) = ${id} LIMIT 2`
    return yield* db.first(begun.length === 1 ? begun : [], Rows.toCheckpoint)
  })

  const isShared = sql.onDialectOrElse({ pg: () => true, orElse: () => false })
  const check = sql<{ readonly quick_check: unknown }>`PRAGMA quick_check(20)`.pipe(
    Effect.map((rows) => rows.map((row) => String(row.quick_check)).filter((said) => said !== "ok"))
  )

  return {
    shared: isShared,
    check: isShared ? Effect.succeed([]) : repeatable("check")(check),
    session: (id) => repeatable("session")(db.session(id)),
    sessions: (query) =>
      sql<Rows.Row>`SELECT * FROM sessions WHERE ${matches(query)} ORDER BY created_at DESC, id DESC`.pipe(
        Effect.map((rows) => {
          const { records: sessions, unreadable } = apart(rows, Rows.toSession)
          return { sessions, unreadable }
        }),
        repeatable("sessions"),
        Effect.withSpan("Ledger.sessions")
      ),
    history: (sessionId) => repeatable("history")(history(sessionId)),
    request: (key) => repeatable("request")(db.request(key)),
    checkpoint: (id) => repeatable("checkpoint")(checkpoint(id)),
    // with their owners, who alone are told of records that cannot be read
    openIntents: sql<Rows.Row>`SELECT intents.*, sessions.owner AS owner
      FROM intents LEFT JOIN sessions ON sessions.id = intents.session_id
      WHERE intents.status = 'open' ORDER BY intents.created_at`.pipe(
      Effect.map((rows) => apart(rows, Rows.toIntent)),
      repeatable("openIntents")
    ),
    openOrphans: sql<Rows.Row>`SELECT orphans.*, sessions.owner AS owner
      FROM orphans LEFT JOIN sessions ON sessions.id = orphans.session_id
      WHERE orphans.resolved_at IS NULL ORDER BY orphans.created_at`.pipe(
      Effect.map((rows) => apart(rows, Rows.toOrphan)),
      repeatable("openOrphans")
    ),
    ports: (scope) =>
      sql<{
        readonly port: unknown
        readonly session_id: string
      }>`SELECT port, session_id FROM ports WHERE scope = ${scope}`.pipe(
        Effect.map((rows) => new Map(rows.map((row) => [Number(row.port), row.session_id]))),
        repeatable("ports")
      )
  }
}

/** What can be read, and what cannot: one damaged row hides no other. */
const apart = <A>(
  rows: ReadonlyArray<Rows.Row>,
  read: (row: Rows.Row) => Result.Result<A, UnreadableRow>
): Records<A> => {
  const results = rows.map(read)
  return {
    records: results.filter(Result.isSuccess).map((row) => row.success),
    unreadable: results.filter(Result.isFailure).map((row) => row.failure)
  }
}
