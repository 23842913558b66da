/** The sessions on whose behalf a session was started. */
import { Effect, Option } from "effect"
import { Ledger } from "../Ledger.ts"
import type { State } from "../Lifecycle.ts"
import * as SandboxError from "../SandboxError.ts"
import type { Session } from "../Session.ts"

/** Halted, or on its way there. One that failed or was destroyed waits for nobody. */
const paused: ReadonlyArray<State> = ["stopping", "persisting", "persist_failed", "stopped_unpersisted", "stopped"]

/**
 * Refuses what is not to be done to a session while one on whose behalf it was started is paused: nobody would be there to
 * notice. A parent whose record is gone ends the walk.
 */
export const refusePaused = Effect.fnUntraced(function* (session: Session) {
  const ledger = yield* Ledger
  // a parent is older than its children, so that only a damaged ledger has a ring
  const seen = new Set([session.id])
  for (let next = session.parent; next !== null && !seen.has(next); ) {
    seen.add(next)
    const parent: Session | undefined = Option.getOrUndefined(yield* ledger.session(next))
    if (parent === undefined) return
    if (paused.includes(parent.state)) return yield* isPaused(session, parent)
    next = parent.parent
  }
})

const isPaused = (session: Session, parent: Session) =>
  SandboxError.make("ERR_OPERATION_CONFLICT", {
    message: `${session.name} was started on behalf of ${parent.name}, which is ${parent.state}`,
    nextStep: `bring that one back first: \`sandbox resume ${parent.id}\``,
    retryable: false,
    sessionId: session.id,
    state: session.state,
    details: { parent: { session_id: parent.id, name: parent.name, state: parent.state } }
  })
