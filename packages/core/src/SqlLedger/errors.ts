/** What a failing database means to a caller. The only reader of the database's own codes. */
import type { SqlError } from "effect/sql"
import * as SandboxError from "../SandboxError.ts"

/** SQLite's primary result codes that mean something to us. https://www.sqlite.org/rescode.html */
const sqlite = { busy: 5, locked: 6, corrupt: 11, full: 13, cannotOpen: 14, readonly: 8, notADatabase: 26 }

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
    message: `the ledger ${where} cannot be read: ${problem}. It was left untouched.`,
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

/** Classifies a database failure of an operation on the ledger at `where`. */
export const classify = (where: string, operation: string, error: SqlError.SqlError): SandboxError.SandboxError => {
  const code = nativeCode(error)
  const problem = nativeMessage(error)
  if (code === sqlite.corrupt || code === sqlite.notADatabase) return corrupt(where, problem)
  if (code === sqlite.busy || code === sqlite.locked || error.reason._tag === "LockTimeoutError") {
    return SandboxError.make("ERR_LOCK_TIMEOUT", {
      message: `the ledger ${where} stayed busy: another process has been writing to it for too long`,
      nextStep: "try again; if it keeps happening, look for a process that holds the ledger open",
      details: { ledger: where, operation }
    })
  }
  const way =
    code === sqlite.full
      ? "free space on its disk and try again"
      : code === sqlite.readonly || code === sqlite.cannotOpen
        ? "make the file and its folder writable for this user, or point --ledger (SANDBOX_LEDGER) elsewhere"
        : "check that the ledger's disk or server is available and try again"
  return SandboxError.make("ERR_LEDGER_IO", {
    message: `the ledger ${where} failed: ${problem}`,
    nextStep: way,
    details: { ledger: where, operation }
  })
}
