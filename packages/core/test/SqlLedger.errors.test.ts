import { assert, describe, it } from "@effect/vitest"
import { SqlError } from "effect/sql"
import { classify, isPassing } from "../src/SqlLedger/errors.ts"

/** A failure as the driver reports it: with the server's code, or with that of the socket. */
const failure = (
  Reason: new (props: { readonly cause: unknown; readonly operation: string }) => SqlError.SqlErrorReason,
  code: string | undefined,
  message: string,
  operation = "query"
) =>
  new SqlError.SqlError({
    reason: new Reason({ cause: Object.assign(new Error(message), code === undefined ? {} : { code }), operation })
  })

const { ConnectionError: Connection, UnknownError: Unknown } = SqlError
const where = "postgres://ann@db/team"

/** What failed; what is said of it; which way out is named; whether to try again; whether the ledger waits for it by itself. */
const table: ReadonlyArray<readonly [SqlError.SqlError, string, string, string, boolean, boolean]> = [
  [
    failure(Connection, "ECONNREFUSED", "connect ECONNREFUSED 127.0.0.1:5432", "connect"),
    ...(["ERR_LEDGER_IO", "cannot be reached: connect ECONNREFUSED", "start the server", true, true] as const)
  ],
  [
    failure(Connection, "ENOTFOUND", "getaddrinfo ENOTFOUND db", "connect"),
    ...(["ERR_LEDGER_IO", "cannot be reached: getaddrinfo", "correct its host", true, true] as const)
  ],
  [
    failure(Connection, "ERR_INVALID_URL", "Invalid URL", "connect"),
    ...(["ERR_LEDGER_IO", "cannot be found: Invalid URL", "`postgres://user@host:port/database`", false, true] as const)
  ],
  [
    failure(Connection, "ECONNRESET", "read ECONNRESET"),
    ...(["ERR_LEDGER_IO", "lost the connection: read ECONNRESET", "the server is running", true, true] as const)
  ],
  [
    failure(Connection, "08006", "connection failure"),
    ...(["ERR_LEDGER_IO", "lost the connection: connection failure", "the server is running", true, true] as const)
  ],
  [
    failure(Unknown, "57P01", "terminating connection due to administrator command"),
    ...(["ERR_LEDGER_IO", "lost the connection: terminating", "the server is running", true, true] as const)
  ],
  [
    failure(Unknown, "57P02", "terminating connection because of crash of another server process"),
    ...(["ERR_LEDGER_IO", "lost the connection: terminating", "the server is running", true, true] as const)
  ],
  [
    failure(Unknown, "57P03", "the database system is starting up", "connect"),
    ...([
      "ERR_LEDGER_IO",
      "cannot be reached: the database system is starting",
      "start the server",
      true,
      true
    ] as const)
  ],
  [
    failure(Unknown, "53300", "sorry, too many clients already", "connect"),
    ...(["ERR_LEDGER_IO", "has no connection left: sorry", "`max_connections`", true, true] as const)
  ],
  [
    failure(Unknown, "3D000", 'database "team" does not exist', "connect"),
    ...(["ERR_LEDGER_IO", "does not exist: database", "`createdb`", false, false] as const)
  ],
  [
    failure(SqlError.AuthenticationError, "28P01", 'password authentication failed for user "ann"', "connect"),
    ...(["ERR_LEDGER_IO", "refused the user: password", "`pg_hba.conf`", false, false] as const)
  ],
  [
    failure(SqlError.AuthorizationError, "42501", "permission denied for schema public"),
    ...(["ERR_LEDGER_IO", "does not let the user do this: permission", "grant the user", false, false] as const)
  ],
  [
    failure(Unknown, "25006", "cannot execute INSERT in a read-only transaction"),
    ...(["ERR_LEDGER_IO", "cannot be written to: cannot", "at the primary server", false, false] as const)
  ],
  [
    failure(Unknown, "53100", "could not extend file: No space left on device"),
    ...(["ERR_LEDGER_IO", "failed: could not extend", "free space on the server's disk", true, false] as const)
  ],
  [
    failure(SqlError.DeadlockError, "40P01", "deadlock detected"),
    ...(["ERR_LOCK_TIMEOUT", "stayed busy", "try again", true, true] as const)
  ],
  [
    failure(SqlError.SerializationError, "40001", "could not serialize access"),
    ...(["ERR_LOCK_TIMEOUT", "stayed busy", "try again", true, true] as const)
  ],
  [
    failure(SqlError.LockTimeoutError, "55P03", "canceling statement due to lock timeout"),
    ...(["ERR_LOCK_TIMEOUT", "stayed busy", "try again", true, false] as const)
  ],
  [
    failure(Unknown, "XX001", "invalid page in block 3"),
    ...(["ERR_LEDGER_CORRUPT", "cannot be read: invalid page", "from a backup", false, false] as const)
  ],
  [
    failure(SqlError.ConstraintError, "23503", "violates foreign key constraint"),
    ...(["ERR_LEDGER_IO", "failed: violates", "try again", true, false] as const)
  ]
]

describe("what a server's failure means", () => {
  for (const [error, code, says, way, retryable, passes] of table) {
    it(`${String((error.reason.cause as { readonly code?: unknown }).code)}: ${says}`, () => {
      const told = classify(where, "commit", error)
      assert.strictEqual(told.code, code)
      assert.include(told.message, `the ledger ${where} ${says}`)
      assert.include(told.nextStep, way)
      assert.deepStrictEqual([told.retryable, isPassing(error)], [retryable, passes])
      assert.notMatch(told.message, /\n|\.$/)
    })
  }

  it("is said of a write whose outcome nobody can know", () => {
    const told = classify(where, "commit", failure(Connection, "ECONNRESET", "read ECONNRESET"), "unknown")
    assert.match(told.message, /; whether the last write took effect could not be found out$/)
    assert.deepStrictEqual(told.details, { ledger: where, operation: "commit", outcome: "unknown" })
  })
})
