/** The databases that the ledger's suite runs on, each layer a fresh and empty one. */
import { randomUUID } from "node:crypto"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { PgClient } from "@effect/sql-pg"
import { Effect, Layer, Redacted } from "effect"
import { SqlClient } from "effect/sql"
import { inject } from "vitest"
import * as SqliteClient from "../../src/node/SqliteClient.ts"

declare module "vitest" {
  interface ProvidedContext {
    /** The URL of the run's PostgreSQL, where one is installed. */
    postgres: string | undefined
  }
}

export const temporaryDirectory = Effect.acquireRelease(
  Effect.sync(() => mkdtempSync(join(tmpdir(), "sandbox-test-"))),
  (directory) => Effect.sync(() => rmSync(directory, { recursive: true, force: true }))
)

export const sqlite = Layer.unwrap(
  Effect.map(temporaryDirectory, (directory) =>
    SqliteClient.layer({ filename: join(directory, "ledger.db"), create: true })
  )
)

/** A schema of its own, so that suites can run at the same time on one server. */
export const postgres = (url: string) =>
  Layer.unwrap(
    Effect.gen(function* () {
      const name = `t${randomUUID().replaceAll("-", "")}`
      yield* SqlClient.SqlClient.use((sql) => sql`CREATE SCHEMA ${sql(name)}`).pipe(
        Effect.provide(PgClient.layer({ url: Redacted.make(url), maxConnections: 1 }))
      )
      return PgClient.layer({
        url: Redacted.make(url),
        maxConnections: 8,
        startupParameters: { search_path: name }
      })
    })
  )

const url = inject("postgres")

/** Absent where no server is installed; the run fails instead when one is required. */
export const databases = [
  { name: "SQLite", layer: sqlite },
  ...(url === undefined ? [] : [{ name: "PostgreSQL", layer: postgres(url) }])
]
