/** What a failing database means to a caller. The only reader of the database's own codes. */
import type { SqlError } from "effect/sql"
import * as SandboxError from "../SandboxError.ts"

/** SQLite's primary result codes that mean something to us. https://www.sqlite.org/rescode.html */
const sqlite = { busy: 5, locked: 6, corrupt: 11, full: 13, cannotOpen: 14, readonly: 8, notADatabase: 26 }

/** PostgreSQL's codes, and those of a socket, that say more than their message. https://www.postgresql.org/docs/current/errcodes-appendix.html */
const postgres = {
  /** The session was ended, or never began, for a reason that passes. */
  away: ["57P01", "57P02", "57P03", "57P05", "25P03", "40003"],
  full: "53100",
  noConnections: "53300",
  damaged: ["XX001", "XX002"],
  noDatabase: "3D000",
  readOnly: "25006",
  invalidUrl: "ERR_INVALID_URL"
}

export const isSqlError = (error: unknown): error is SqlError.SqlError =>
  typeof error === "object" && error !== null && "_tag" in error && error._tag === "SqlError"

const serverCode = (error: SqlError.SqlError): string => {
  const cause: unknown = error.reason.cause
  const code = typeof cause === "object" && cause !== null && "code" in cause ? cause.code : undefined
  return typeof code === "string" ? code : ""
}

const isAway = (error: SqlError.SqlError): boolean =>
  error.reason._tag === "ConnectionError" || postgres.away.includes(serverCode(error))

/** Whether a server's failure is over soon: it went away, has no connection to spare, or chose another's transaction. */
export const isPassing = (error: unknown): error is SqlError.SqlError =>
  isSqlError(error) &&
  (isAway(error) ||
    serverCode(error) === postgres.noConnections ||
    error.reason._tag === "DeadlockError" ||
    error.reason._tag === "SerializationError")

/** Whether the database itself has waited before it gave up. */
export const isPatient = (error: SqlError.SqlError): boolean => waiting.includes(error.reason._tag)

const nativeCode = (error: SqlError.SqlError): number | undefined => {
  const cause: unknown = error.reason.cause
  const code = typeof cause === "object" && cause !== null && "errcode" in cause ? cause.errcode : undefined
  return typeof code === "number" ? code & 0xff : undefined
}

const nativeMessage = (error: SqlError.SqlError): string => {
  const cause: unknown = error.reason.cause
  return cause instanceof Error ? cause.message : error.message
}

/** The ledger is unreadable and was left untouched. */
export const corrupt = (where: string, problem: string): SandboxError.SandboxError =>
  SandboxError.make("ERR_LEDGER_CORRUPT", {
    message: `the ledger ${where} cannot be read: ${problem.replaceAll(/\s+/g, " ")}; it was left untouched`,
    nextStep: `restore ${where} from a backup, or move it aside and start a new ledger with \`sandbox list\``,
    details: { ledger: where }
  })

/** The ledger was written by a newer program. */
export const tooNew = (where: string, found: number, known: number): SandboxError.SandboxError =>
  SandboxError.make("ERR_LEDGER_VERSION", {
    message: `the ledger ${where} has schema version ${found}; this program knows versions up to ${known}`,
    nextStep: "update sandbox, or point --ledger (SANDBOX_LEDGER) at another ledger",
    details: { ledger: where, found, known }
  })

/** What became of a write that failed because its server went away; none where nothing was to be found out. */
export type Outcome = "not_applied" | "unknown"

/** Classifies a database failure of an operation on the ledger at `where`. */
export const classify = (
  where: string,
  operation: string,
  error: SqlError.SqlError,
  outcome?: Outcome
): SandboxError.SandboxError => {
  const code = nativeCode(error)
  const problem = nativeMessage(error)
  const details = { ledger: where, operation, ...(outcome === undefined ? {} : { outcome }) }
  if (code === sqlite.corrupt || code === sqlite.notADatabase || postgres.damaged.includes(serverCode(error))) {
    return corrupt(where, problem)
  }
  // a lock that stays taken while it is asked what became of a write leaves that open, which says more
  if (outcome !== "unknown" && (code === sqlite.busy || code === sqlite.locked || isPatient(error))) {
    return SandboxError.make("ERR_LOCK_TIMEOUT", {
      message: `the ledger ${where} stayed busy: another process has been writing to it for too long`,
      nextStep: "try again; if it keeps happening, look for a process that holds the ledger open",
      details
    })
  }
  const { nextStep, retryable, what } = refusal(error, code)
  const ending = outcome === "unknown" ? "; whether the last write took effect could not be found out" : ""
  return SandboxError.make("ERR_LEDGER_IO", {
    message: `the ledger ${where} ${what}: ${problem}${ending}`,
    nextStep,
    ...(retryable === undefined ? {} : { retryable }),
    details
  })
}

const waiting: ReadonlyArray<string> = ["LockTimeoutError", "DeadlockError", "SerializationError"]

interface Refusal {
  /** What the ledger did, as the message says it. */
  readonly what: string
  readonly nextStep: string
  readonly retryable?: false
}

const refusal = (error: SqlError.SqlError, code: number | undefined): Refusal => {
  const { _tag, operation } = error.reason
  const failed = (nextStep: string): Refusal => ({ what: "failed", nextStep })
  if (code === sqlite.full) return failed("free space on its disk and try again")
  if (code === sqlite.readonly || code === sqlite.cannotOpen) {
    return failed("make the file and its folder writable for this user, or point --ledger (SANDBOX_LEDGER) elsewhere")
  }
  switch (serverCode(error)) {
    case postgres.full:
      return failed("free space on the server's disk and try again")
    case postgres.invalidUrl:
      return {
        what: "cannot be found",
        nextStep: "write --ledger (SANDBOX_LEDGER) as `postgres://user@host:port/database`",
        retryable: false
      }
    case postgres.noDatabase:
      return {
        what: "does not exist",
        nextStep: "create the database with `createdb`, or name another in --ledger (SANDBOX_LEDGER)",
        retryable: false
      }
    case postgres.noConnections:
      return {
        what: "has no connection left",
        nextStep: "try again; if it keeps happening, raise the server's `max_connections`"
      }
    case postgres.readOnly:
      return {
        what: "cannot be written to",
        nextStep: "point --ledger (SANDBOX_LEDGER) at the primary server, not at a replica",
        retryable: false
      }
  }
  if (_tag === "AuthenticationError") {
    return {
      what: "refused the user",
      nextStep: "check the user and the password in SANDBOX_LEDGER, and who the server's `pg_hba.conf` lets in",
      retryable: false
    }
  }
  if (_tag === "AuthorizationError") {
    return {
      what: "does not let the user do this",
      nextStep: "grant the user what it needs: it must be able to create and write the ledger's tables",
      retryable: false
    }
  }
  if (isAway(error)) {
    return operation === "connect"
      ? {
          what: "cannot be reached",
          nextStep: "start the server, or correct its host and port in --ledger (SANDBOX_LEDGER), and try again"
        }
      : { what: "lost the connection", nextStep: "check that the server is running and try again" }
  }
  return failed("check that the ledger's disk or server is available and try again")
}
