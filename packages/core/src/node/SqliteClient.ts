/**
 * `SqlClient` over Node's own `node:sqlite`.
 *
 * - one connection, its transactions serialised by a semaphore; every transaction is `BEGIN IMMEDIATE`, because one that
 *   upgrades after another writer fails at once, whatever the busy timeout
 * - a busy database is waited for with a jittered timer, never inside SQLite, where the wait would block the event loop
 * - WAL, and `synchronous = FULL`: a commit that was answered survives a power cut
 */

import { DatabaseSync, type SQLInputValue, type StatementSync } from "node:sqlite"
import { Cache, Context, Duration, Effect, Layer, Semaphore, Stream } from "effect"
import { Reactivity } from "effect/reactivity"
import { SqlClient, type SqlConnection, SqlError, Statement } from "effect/sql"

export interface SqliteOptions {
  readonly filename: string
  /** Make a new database durable and concurrent (WAL). An existing one is opened as it is: looking changes nothing. */
  readonly create?: boolean | undefined
  /** How long a busy database is waited for; 10 s when absent. */
  readonly busyTimeout?: Duration.Input | undefined
}

/** Other processes do not wait for a TestClock, so neither does this. */
const realSleep = (ms: number) =>
  Effect.callback<void>((resume) => {
    const timer = setTimeout(() => resume(Effect.void), ms)
    return Effect.sync(() => clearTimeout(timer))
  })

const nativeCode = (cause: unknown): number | undefined =>
  typeof cause === "object" && cause !== null && "errcode" in cause && typeof cause.errcode === "number"
    ? cause.errcode
    : undefined

/** SQLITE_BUSY and its kin; not SQLITE_BUSY_SNAPSHOT (517), which no waiting cures. https://www.sqlite.org/rescode.html */
const isBusy = (cause: unknown): boolean => {
  const code = nativeCode(cause)
  return code !== undefined && (code & 0xff) === 5 && code !== 517
}

const primaryKeyViolation = 1555

const toSqlError = (cause: unknown, operation: string): SqlError.SqlError => {
  const code = nativeCode(cause)
  const message = `sqlite: failed to ${operation}`
  // effect's classifier knows SQLITE_CONSTRAINT_UNIQUE only, and reads `errno`, which node:sqlite does not set
  if (code === primaryKeyViolation) {
    return new SqlError.SqlError({
      reason: new SqlError.UniqueViolation({ cause, message, operation, constraint: "primary key" })
    })
  }
  if (cause instanceof Error && code !== undefined) Object.assign(cause, { errno: code })
  return new SqlError.SqlError({ reason: SqlError.classifySqliteError(cause, { message, operation }) })
}

export const make = Effect.fnUntraced(function* (options: SqliteOptions) {
  const patience = Duration.toMillis(Duration.fromInputUnsafe(options.busyTimeout ?? "10 seconds"))

  /** Runs `f` now; while the database is busy, backs off (up to 50 ms, full jitter) until the patience is used up. */
  const patiently = <A>(operation: string, f: () => A): Effect.Effect<A, SqlError.SqlError> => {
    const once = Effect.try({ try: f, catch: (cause) => toSqlError(cause, operation) })
    const loop = (attempt: number, waited: number): Effect.Effect<A, SqlError.SqlError> =>
      Effect.catch(once, (error) => {
        if (!isBusy(error.reason.cause) || waited >= patience) return Effect.fail(error)
        const ms = 0.5 + Math.random() * Math.min(50, 2 ** attempt)
        return Effect.andThen(realSleep(ms), loop(attempt + 1, waited + ms))
      })
    return loop(0, 0)
  }

  const db = yield* Effect.acquireRelease(
    Effect.try({
      try: () => new DatabaseSync(options.filename, { enableForeignKeyConstraints: true, timeout: 0 }),
      catch: (cause) => toSqlError(cause, "open")
    }),
    (db) => Effect.sync(() => db.close())
  )
  if (options.create === true) yield* patiently("configure", () => db.exec("PRAGMA journal_mode = WAL"))
  yield* patiently("configure", () => db.exec("PRAGMA synchronous = FULL"))

  const prepare = (sql: string) =>
    Effect.try({ try: () => db.prepare(sql), catch: (cause) => toSqlError(cause, "prepare") })
  const prepared = yield* Cache.make({ capacity: 256, lookup: prepare })

  /**
   * Statements are synchronous and Effect only yields every 2048 operations of one fiber, so fibers taking turns on the
   * database would starve timers and sockets for as long as there is work. The event loop turns at least every 5 ms.
   */
  let lastTurn = performance.now()
  const breathe = Effect.suspend(() =>
    performance.now() - lastTurn < 5
      ? Effect.void
      : Effect.andThen(
          Effect.yieldNow,
          Effect.sync(() => {
            lastTurn = performance.now()
          })
        )
  )

  const attempt = <A>(f: () => A) => Effect.andThen(breathe, patiently("execute", f))
  const inputs = (params: ReadonlyArray<unknown>) => params as ReadonlyArray<SQLInputValue>

  const run = (statement: StatementSync, params: ReadonlyArray<unknown>) =>
    Effect.withFiber<ReadonlyArray<Record<string, unknown>>, SqlError.SqlError>((fiber) => {
      const bigints = Context.get(fiber.context, SqlClient.SafeIntegers)
      return attempt(() => {
        statement.setReadBigInts(bigints)
        return statement.all(...inputs(params))
      })
    })

  const execute: SqlConnection.Connection["execute"] = (sql, params, transform) => {
    const rows = Effect.flatMap(Cache.get(prepared, sql), (statement) => run(statement, params))
    return transform ? Effect.map(rows, transform) : rows
  }

  const values = (statement: StatementSync, params: ReadonlyArray<unknown>) =>
    Effect.acquireUseRelease(
      Effect.sync(() => statement.setReturnArrays(true)),
      () =>
        run(statement, params) as unknown as Effect.Effect<ReadonlyArray<ReadonlyArray<unknown>>, SqlError.SqlError>,
      () => Effect.sync(() => statement.setReturnArrays(false))
    )

  const connection: SqlConnection.Connection = {
    execute,
    executeRaw: (sql, params) =>
      Effect.flatMap(Cache.get(prepared, sql), (statement) =>
        attempt(() =>
          statement.columns().length > 0 ? statement.all(...inputs(params)) : statement.run(...inputs(params))
        )
      ),
    executeValues: (sql, params) => Effect.flatMap(Cache.get(prepared, sql), (statement) => values(statement, params)),
    executeValuesUnprepared: (sql, params) => Effect.flatMap(prepare(sql), (statement) => values(statement, params)),
    executeUnprepared: (sql, params, transform) => {
      const rows = Effect.flatMap(prepare(sql), (statement) => run(statement, params))
      return transform ? Effect.map(rows, transform) : rows
    },
    executeStream: (sql, params, transform) => Stream.fromIterableEffect(execute(sql, params, transform))
  }

  return yield* SqlClient.make({
    ...SqlClient.makeSqliteAcquirers({
      connection: Effect.succeed(connection),
      semaphore: yield* Semaphore.make(1),
      isTransaction: () => db.isTransaction
    }),
    driver: "node-sqlite",
    compiler: Statement.makeCompilerSqlite(),
    beginTransaction: "BEGIN IMMEDIATE",
    prepareTransactionControls: true,
    releaseSavepoint: (name) => `RELEASE SAVEPOINT ${name}`,
    spanAttributes: [["db.system.name", "sqlite"]]
  })
})

/** The client as a layer. */
export const layer = (options: SqliteOptions): Layer.Layer<SqlClient.SqlClient, SqlError.SqlError> =>
  Layer.effect(SqlClient.SqlClient, make(options)).pipe(Layer.provide(Reactivity.layer))
