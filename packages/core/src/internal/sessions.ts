/** Finding the session a caller means, within what the caller may see. */
import { Effect } from "effect"
import { Ledger } from "../Ledger.ts"
import { Principal } from "../Principal.ts"
import * as SandboxError from "../SandboxError.ts"
import type { Session } from "../Session.ts"

/** The session of this principal with that id, unique prefix of an id, or name. */
export const find = Effect.fnUntraced(function* (reference: string) {
  const ledger = yield* Ledger
  const owner = yield* Principal
  if (reference === "") {
    return yield* SandboxError.make("ERR_INVALID_ARGUMENT", {
      message: "no session was named",
      nextStep: "give a session's id or name; `sandbox list` shows them",
      details: { field: "session" }
    })
  }
  const { sessions, unreadable } = yield* ledger.sessions({ owner, reference })
  const own = sessions.filter((session) => session.owner === owner)
  const exact =
    own.find((session) => session.id === reference) ?? own.find(({ reservedName }) => reservedName === reference)
  if (exact !== undefined) return exact
  const byPrefix = own.filter((session) => session.id.startsWith(reference))
  if (byPrefix.length > 1) return yield* ambiguous(reference, byPrefix)
  const found = byPrefix[0] ?? own[0]
  if (found !== undefined) return found
  if (sessions.some((session) => session.id === reference)) {
    return yield* SandboxError.make("ERR_SESSION_FORBIDDEN", {
      message: "this session belongs to somebody else",
      nextStep: "run the command as its owner (--principal); your own sessions: `sandbox list`"
    })
  }
  const damaged = unreadable.find((row) => row.owner === owner)
  if (damaged !== undefined) {
    return yield* SandboxError.make("ERR_LEDGER_CORRUPT", {
      message: `the record of ${damaged.id} is damaged and was left untouched: ${damaged.problem}`,
      nextStep: "restore the ledger from a backup; your other sessions: `sandbox list`",
      details: { session_id: damaged.id }
    })
  }
  return yield* SandboxError.make("ERR_SESSION_NOT_FOUND", {
    message: `there is no session ${reference}`,
    nextStep: "see what there is with `sandbox list --all`"
  })
})

const ambiguous = (reference: string, candidates: ReadonlyArray<Session>) =>
  SandboxError.make("ERR_INVALID_ARGUMENT", {
    message: `${reference} is the start of ${candidates.length} session ids`,
    nextStep: "give more of the id, or the name; `sandbox list --all` shows both",
    details: { field: "session", candidates: candidates.map(({ id, name }) => ({ id, name })) }
  })
