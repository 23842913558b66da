/** Finding the session a caller means, within what the caller may see. */
import { Effect, FileSystem, Option, Path } from "effect"
import { Ledger } from "../Ledger.ts"
import { liveness } from "../Liveness.ts"
import { Principal } from "../Principal.ts"
import * as Repository from "../Repository.ts"
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
    nextStep: reference.startsWith("ckp_")
      ? "this is a checkpoint: put its session before it"
      : "see what there is with `sandbox list --all`"
  })
})

/** The row, read again where its operation seems to have died: it may have ended well since it was read, and its process with it. */
export const current = Effect.fnUntraced(function* (session: Session) {
  if ((yield* liveness(session.claim)) !== "stale") return session
  return Option.getOrElse(yield* (yield* Ledger).session(session.id), () => session)
})

const ambiguous = (reference: string, candidates: ReadonlyArray<Session>) =>
  SandboxError.make("ERR_INVALID_ARGUMENT", {
    message: `${reference} is the start of ${candidates.length} session ids`,
    nextStep: "give more of the id, or the name; `sandbox list --all` shows both",
    details: { field: "session", candidates: candidates.map(({ id, name }) => ({ id, name })) }
  })

/** Later than the end of any session that has ended. */
const never = Number.MAX_SAFE_INTEGER

/**
 * The session of this principal that a directory of this host belongs to: the one whose checkout it is in, else the only
 * one that its repository has. With `inside` a checkout alone counts.
 */
export const here = Effect.fnUntraced(function* (options: {
  readonly directory: string
  readonly inside?: boolean | undefined
}) {
  const owner = yield* Principal
  const { sessions } = yield* (yield* Ledger).sessions({ owner, endedAfter: never })
  const alive = sessions.filter(({ reservedName }) => reservedName !== null)
  const within = yield* checkoutsAround(options.directory, alive)
  if (within.length > 1) return yield* several("this directory is in the checkout of", within)
  const [own] = within
  if (own !== undefined) return own
  if (options.inside !== true) {
    const candidates = yield* sessionsOf(options.directory, alive)
    if (candidates.length > 1) return yield* several("the repository here has", candidates)
    const [only] = candidates
    if (only !== undefined) return only
  }
  return yield* SandboxError.make("ERR_INVALID_ARGUMENT", {
    message:
      options.inside === true
        ? "no session was named, and this directory is in the checkout of none"
        : "no session was named, and this directory belongs to none",
    nextStep: "give a session's id or name; `sandbox list` shows them",
    details: { field: "session" }
  })
})

/** The sessions in whose checkout a directory is; of checkouts in each other, those of the innermost. */
const checkoutsAround = Effect.fnUntraced(function* (directory: string, sessions: ReadonlyArray<Session>) {
  const path = yield* Path.Path
  const real = yield* realPath(directory)
  if (real === undefined) return []
  const around: Array<{ readonly session: Session; readonly checkout: string }> = []
  for (const session of sessions) {
    const checkout = session.workspacePath === null ? undefined : yield* realPath(session.workspacePath)
    if (checkout === undefined) continue
    const between = path.relative(checkout, real)
    const outside = between === ".." || between.startsWith(`..${path.sep}`) || path.isAbsolute(between)
    if (!outside) around.push({ session, checkout })
  }
  const innermost = Math.max(...around.map(({ checkout }) => checkout.length))
  return around.filter(({ checkout }) => checkout.length === innermost).map(({ session }) => session)
})

const realPath = Effect.fnUntraced(
  function* (directory: string) {
    return yield* (yield* FileSystem.FileSystem).realPath(directory)
  },
  // what is not there, or may not be looked at, is nobody's
  Effect.orElseSucceed(() => undefined)
)

const sessionsOf = Effect.fnUntraced(function* (directory: string, sessions: ReadonlyArray<Session>) {
  const source = yield* Effect.orElseSucceed(Repository.parse(directory, directory), () => undefined)
  return source === undefined ? [] : sessions.filter(({ repository }) => repository === source.location)
})

const several = (what: string, candidates: ReadonlyArray<Session>) => {
  const names = candidates.map(({ name }) => name).join(", ")
  return SandboxError.make("ERR_INVALID_ARGUMENT", {
    message: `no session was named, and ${what} ${candidates.length}: ${names}`,
    nextStep: `name one of them: ${names}`,
    details: { field: "session", candidates: candidates.map(({ id, name, state }) => ({ id, name, state })) }
  })
}
