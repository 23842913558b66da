/** The `Ledger` over Effect's SQL client: the same statements on embedded SQLite and on PostgreSQL. */
import { Effect, Layer } from "effect"
import type { SqlClient } from "effect/sql"
import { Ids } from "./Ids.ts"
import { Ledger } from "./Ledger.ts"
import type { SandboxError } from "./SandboxError.ts"
import * as Database from "./SqlLedger/database.ts"
import { corrupt, tooNew } from "./SqlLedger/errors.ts"
import { migrate, schemaVersion } from "./SqlLedger/migrations.ts"
import * as Reads from "./SqlLedger/reads.ts"
import * as Writes from "./SqlLedger/writes.ts"

export interface SqlLedgerOptions {
  /** How error messages name the store: a file's path, or a URL without its password. */
  readonly where: string
  /** Whether an empty database may be made into a ledger. `false` where a file is expected to be one already. */
  readonly mayInitialise: boolean
}

/**
 * A ledger in the database at hand, brought up to date first.
 *
 * Fails with `ERR_LEDGER_VERSION` for a schema from the future and with `ERR_LEDGER_CORRUPT` for anything that is not a
 * readable ledger; neither is ever read as empty.
 */
export const layer = (options: SqlLedgerOptions): Layer.Layer<Ledger, SandboxError, SqlClient.SqlClient | Ids> =>
  Layer.effect(
    Ledger,
    Effect.gen(function* () {
      const db = yield* Database.make(options.where)
      const id = yield* open(db, options.mayInitialise)
      return Ledger.of({ id, ...Reads.make(db), ...Writes.make(db) })
    })
  )

/** Makes the database a ledger of the current schema and answers the ledger's id. */
const open = Effect.fnUntraced(
  function* (db: Database.Database, mayInitialise: boolean) {
    const { sql, where } = db
    const found = yield* storedVersion(sql)
    if (found === undefined && !mayInitialise) return yield* corrupt(where, "it is a database, but not a ledger")
    if (found !== undefined && found > schemaVersion) return yield* tooNew(where, found, schemaVersion)
    if (found !== schemaVersion) {
      yield* Effect.catchTag(migrate, "MigrationError", (error) => Effect.die(error))
      const id = yield* (yield* Ids).next("ldg")
      yield* sql`INSERT INTO meta ${sql.insert({ name: "ledger_id", value: id })} ON CONFLICT (name) DO NOTHING`
      yield* sql`INSERT INTO meta ${sql.insert({ name: "schema_version", value: String(schemaVersion) })}
      ON CONFLICT (name) DO UPDATE SET value = excluded.value`
    }
    const [row] = yield* sql<{ readonly value: string }>`SELECT value FROM meta WHERE name = 'ledger_id'`
    return row === undefined ? yield* corrupt(where, "it has no ledger id") : row.value
  },
  (effect, db) => db.failure("open")(effect)
)

const storedVersion = Effect.fnUntraced(function* (sql: SqlClient.SqlClient) {
  const tables = yield* sql.onDialectOrElse({
    pg: () => sql`SELECT 1 AS found WHERE to_regclass('meta') IS NOT NULL`,
    orElse: () => sql`SELECT 1 AS found FROM sqlite_master WHERE type = 'table' AND name = 'meta'`
  })
  if (tables.length === 0) return undefined
  const [row] = yield* sql<{ readonly value: string }>`SELECT value FROM meta WHERE name = 'schema_version'`
  return row === undefined ? undefined : Number(row.value)
})
