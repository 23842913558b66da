/** A ledger that a team shares: a database of its own on the run's PostgreSQL. */
import { randomUUID } from "node:crypto"
import { PgClient } from "@effect/sql-pg"
import { Effect, Redacted } from "effect"
import { SqlClient } from "effect/sql"

/** Asks a PostgreSQL itself; `A` is what a row has. */
export const ask = <A extends object>(url: string, statement: string): Effect.Effect<ReadonlyArray<A>> =>
  SqlClient.SqlClient.use((sql) => sql.unsafe<A>(statement)).pipe(
    Effect.provide(PgClient.layer({ url: Redacted.make(url), maxConnections: 1 })),
    Effect.orDie
  )

/** The URL of a fresh and empty database on a server. */
export const database = Effect.fnUntraced(function* (server: string) {
  const name = `t${randomUUID().replaceAll("-", "")}`
  yield* ask(server, `CREATE DATABASE ${name}`)
  const url = new URL(server)
  url.pathname = `/${name}`
  return url.href
})
