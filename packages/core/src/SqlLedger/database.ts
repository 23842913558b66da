/** The database under a ledger: failures classified, transactions short, rows read whole or refused. */
import { Effect, Option, Result } from "effect"
import { SqlClient, type SqlError } from "effect/sql"
import type { UnreadableRow } from "../Ledger.ts"
import type { SandboxError } from "../SandboxError.ts"
import { classify, corrupt, isSqlError } from "./errors.ts"
import * as Rows from "./rows.ts"
import * as Transactions from "./transactions.ts"

export type Database = Effect.Success<ReturnType<typeof make>>

/** `where` is how error messages name the store. */
export const make = Effect.fnUntraced(function* (where: string) {
  const sql = yield* SqlClient.SqlClient

  /** Turns the database's failures into ours, and leaves every other failure as it is. */
  const failure =
    (operation: string) =>
    <A, E, R>(self: Effect.Effect<A, E, R>): Effect.Effect<A, Exclude<E, SqlError.SqlError> | SandboxError, R> =>
      Effect.mapError(self, (error) =>
        isSqlError(error) ? classify(where, operation, error) : (error as Exclude<E, SqlError.SqlError>)
      )

  /** Locks what it reads, and so waits for a transaction that is still under way with it. */
  const forUpdate = sql.onDialectOrElse({ pg: () => sql` FOR UPDATE`, orElse: () => sql`` })

  const { patiently, transact } = Transactions.make({ sql, where })

  /** What changes nothing, or nothing more when it is done again: repeated until a server that went away is back. */
  const repeatable =
    (operation: string) =>
    <A, E, R>(self: Effect.Effect<A, E, R>) =>
      failure(operation)(patiently(self))

  /** Rows that must all be readable. */
  const all = <A>(rows: ReadonlyArray<Rows.Row>, read: (row: Rows.Row) => Result.Result<A, UnreadableRow>) =>
    Effect.forEach(rows, (row) =>
      Result.match(read(row), {
        onSuccess: (record) => Effect.succeed(record),
        onFailure: (bad) => Effect.fail(corrupt(where, `record ${bad.id} is damaged (${bad.problem})`))
      })
    )

  const first = <A>(rows: ReadonlyArray<Rows.Row>, read: (row: Rows.Row) => Result.Result<A, UnreadableRow>) =>
    Effect.map(all(rows.slice(0, 1), read), (found) => Option.fromNullishOr(found[0]))

  const session = (id: string) =>
    Effect.flatMap(sql<Rows.Row>`SELECT * FROM sessions WHERE id = ${id}`, (rows) => first(rows, Rows.toSession))

  const request = (key: { readonly owner: string; readonly verb: string; readonly clientRequestId: string }) =>
    Effect.flatMap(
      sql<Rows.Row>`SELECT * FROM operations
        WHERE owner = ${key.owner} AND verb = ${key.verb} AND client_request_id = ${key.clientRequestId}`,
      (rows) => first(rows, Rows.toOperation)
    )

  return { where, sql, forUpdate, failure, repeatable, transact, all, first, session, request }
})

export const isUniqueViolation = (error: unknown): error is SqlError.SqlError =>
  isSqlError(error) && error.reason._tag === "UniqueViolation"
