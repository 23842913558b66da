/** Whether a session's box can be worked in now. */
import { Effect } from "effect"
import { liveness } from "../Liveness.ts"
import { recovery } from "../Recovery.ts"
import * as SandboxError from "../SandboxError.ts"
import type { Session } from "../Session.ts"
import * as Time from "../Time.ts"

/** Claims under which a box stays up. */
const harmless = ["checkpoint", "export", "complete", "gc"]

/** Whether somebody is moving the session, or died while doing so. */
export const isMoved = ({ claim }: Pick<Session, "claim">): boolean => claim !== null && !harmless.includes(claim.kind)

/** Succeeds when commands can run in the session's box; `ERR_NOT_READY` says what is going on and what to do about it. */
export const usable = Effect.fnUntraced(function* (session: Session) {
  const up = (session.state === "ready" || session.state === "completed") && session.instance !== null
  if (up && !isMoved(session)) return
  const status = yield* liveness(session.claim)
  const way = recovery(session, status)
  const age = session.claim === null ? 0 : Math.floor(((yield* Time.millis) - session.claim.acquiredAt) / 1000)
  return yield* SandboxError.make("ERR_NOT_READY", {
    message:
      session.claim === null
        ? `${session.name} is ${session.state}`
        : `${session.name} is ${session.state}: ${session.claim.kind} has been moving it for ${age} s`,
    nextStep: nextStep(session, status === "live", way?.command),
    retryable: status === "live",
    sessionId: session.id,
    state: session.state
  })
})

/** The way out of a box that is not as its session says: `resume` starts it, or makes it again. */
export const withWayOut = ({ id, state }: Session) =>
  Effect.mapError((error: SandboxError.SandboxError) =>
    error.code === "ERR_NOT_READY"
      ? SandboxError.extend(error, { nextStep: `run \`sandbox resume ${id}\``, sessionId: id, state })
      : error
  )

const nextStep = (session: Session, live: boolean, recover: string | undefined): string => {
  if (live) return `wait for it, or take it over with \`sandbox down ${session.id} --force\``
  if (session.state === "destroyed") return "make a new session with `sandbox up`"
  return `run \`${recover ?? `sandbox resume ${session.id}`}\``
}
