/** Where the ledger is: an SQLite file on this machine, or a PostgreSQL server that a team shares. */
import { closeSync, fsyncSync, linkSync, mkdirSync, openSync, readdirSync, rmSync, statSync } from "node:fs"
import { basename, dirname, join, resolve } from "node:path"
import { Duration, Effect, Layer } from "effect"
import { SqlClient, type SqlError } from "effect/sql"
import { Host } from "../Host.ts"
import type { Ids } from "../Ids.ts"
import type { Ledger } from "../Ledger.ts"
import * as SandboxError from "../SandboxError.ts"
import { classify, corrupt } from "../SqlLedger/errors.ts"
import * as SqlLedger from "../SqlLedger.ts"
import * as Time from "../Time.ts"
import * as SqliteClient from "./SqliteClient.ts"

/** Whether a location names a server and not a file. */
export const isPostgres = (location: string): boolean => /^postgres(ql)?:\/\//.test(location)

/** The ledger at a file's path or a `postgres://` URL; a file is made when it does not exist. */
export const layer = (location: string): Layer.Layer<Ledger, SandboxError.SandboxError, Host | Ids> =>
  isPostgres(location) ? layerPostgres(location) : layerSqlite(resolve(location))

const classified = <A, R>(
  where: string,
  client: Layer.Layer<A, SqlError.SqlError, R>
): Layer.Layer<A, SandboxError.SandboxError, R> =>
  Layer.catch(client, (error) => Layer.effectDiscard(Effect.fail(classify(where, "open", error)))) as Layer.Layer<
    A,
    SandboxError.SandboxError,
    R
  >

// ---- SQLite: on local file systems only, because its locks cannot be trusted on network shares --------------------

const layerSqlite = (file: string): Layer.Layer<Ledger, SandboxError.SandboxError, Host | Ids> =>
  Layer.unwrap(
    Effect.as(
      create(file),
      SqlLedger.layer({ where: file, mayInitialise: false }).pipe(
        Layer.provide(classified(file, SqliteClient.layer({ filename: file })))
      )
    )
  )

/**
 * Makes the file if there is none: whole under a temporary name, then linked into place.
 *
 * So an empty or half-written file under the real name is never a ledger in the making, but damage, and is refused.
 */
const create = Effect.fnUntraced(function* (file: string) {
  const { self } = yield* Host
  const present = yield* io(file, () => statSync(file, { throwIfNoEntry: false }))
  if (present !== undefined) {
    return present.size > 0 ? undefined : yield* corrupt(file, "the file is empty")
  }
  const staged = `${file}.${self.pid}-${self.startedAt}.new`
  yield* io(file, () => mkdirSync(dirname(file), { recursive: true, mode: 0o700 }))
  yield* sweep(file)
  const initialise = Effect.scoped(
    Layer.build(
      SqlLedger.layer({ where: file, mayInitialise: true }).pipe(
        Layer.provide(classified(file, SqliteClient.layer({ filename: staged, create: true })))
      )
    )
  )
  const publish = io(file, () => {
    syncPath(staged)
    try {
      linkSync(staged, file)
    } catch (cause) {
      // another process made the ledger first: its file stands
      if (!(cause instanceof Error && "code" in cause && cause.code === "EEXIST")) throw cause
    }
    syncPath(dirname(file))
  })
  yield* Effect.ensuring(Effect.andThen(initialise, publish), Effect.ignore(io(file, () => removeStaged(staged))))
})

const syncPath = (path: string): void => {
  const fd = openSync(path, "r")
  fsyncSync(fd)
  closeSync(fd)
}

const siblings = (file: string): ReadonlyArray<string> =>
  readdirSync(dirname(file)).filter((name) => name.startsWith(`${basename(file)}.`))

const removeStaged = (staged: string): void => {
  for (const name of readdirSync(dirname(staged))) {
    if (name.startsWith(basename(staged))) rmSync(join(dirname(staged), name), { force: true })
  }
}

/** Removes what a process left that was killed while it made the ledger. */
const sweep = Effect.fnUntraced(function* (file: string) {
  const host = yield* Host
  for (const name of yield* io(file, () => siblings(file))) {
    const [, pid, startedAt] = /\.(\d+)-(.+)\.new(?:-wal|-shm)?$/.exec(name) ?? []
    if (pid === undefined || startedAt === undefined) continue
    if (yield* host.isAlive({ pid: Number(pid), startedAt })) continue
    yield* io(file, () => rmSync(join(dirname(file), name), { force: true }))
  }
})

const io = <A>(file: string, f: () => A) =>
  Effect.try({
    try: f,
    catch: (cause) =>
      SandboxError.make("ERR_LEDGER_IO", {
        message: `the ledger ${file} failed: ${cause instanceof Error ? cause.message : String(cause)}`,
        nextStep: "make its folder writable for this user, or point --ledger (SANDBOX_LEDGER) elsewhere",
        details: { ledger: file, operation: "open" }
      })
  })

// ---- PostgreSQL ----------------------------------------------------------------------------------------------------

/** The largest difference between our clock and the server's with which leases still mean what they say. */
const maxClockSkew = Duration.seconds(5)

const layerPostgres = (url: string): Layer.Layer<Ledger, SandboxError.SandboxError, Ids> => {
  const where = withoutPassword(url)
  // the driver is loaded only where a team shares a ledger
  const client = Layer.unwrap(
    Effect.map(
      Effect.promise(() => import("./PostgresClient.ts")),
      (PostgresClient) => PostgresClient.layer(url)
    )
  )
  const checked = Layer.effectDiscard(
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      const before = yield* Time.millis
      const [row] = yield* sql<{
        readonly ms: unknown
      }>`SELECT EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS ms`.pipe(
        Effect.mapError((error) => classify(where, "open", error))
      )
      const after = yield* Time.millis
      const theirs = Number(row?.ms)
      const skew = Math.max(before - theirs, theirs - after, 0)
      if (skew > Duration.toMillis(maxClockSkew)) {
        return yield* SandboxError.make("ERR_LEDGER_IO", {
          message: `the clock of the ledger ${where} differs from this machine's by ${Math.round(skew / 1000)} s; leases need at most 5 s`,
          nextStep: "synchronise the clocks (NTP) and try again",
          retryable: false,
          details: { ledger: where, skew_ms: Math.round(skew) }
        })
      }
    })
  )
  return SqlLedger.layer({ where, mayInitialise: true }).pipe(
    Layer.provide(checked),
    Layer.provide(classified(where, client))
  )
}

/** How messages name the server: without anything that could be a secret. */
const withoutPassword = (text: string): string => {
  if (!URL.canParse(text)) return "PostgreSQL"
  const url = new URL(text)
  url.password = ""
  url.search = ""
  url.hash = ""
  return url.href
}
