/** `exec`: a command in a session's box. */
import { Effect } from "effect"
import * as sessions from "../internal/sessions.ts"
import { liveness } from "../Liveness.ts"
import type { ExecRequest } from "../Provisioner.ts"
import { Provisioners } from "../Provisioners.ts"
import { recovery } from "../Recovery.ts"
import * as SandboxError from "../SandboxError.ts"
import type { Session } from "../Session.ts"
import * as Time from "../Time.ts"

export interface ExecOptions extends ExecRequest {
  /** A session id, a unique prefix of one, or a name. */
  readonly session: string
}

/**
 * Starts a command in the box and answers its handle; closing the scope ends the command and all it started.
 *
 * Takes no claim: it runs beside checkpoints and exports. Fails with `ERR_NOT_READY` when the session is not up.
 */
export const exec = Effect.fn("exec")(function* (options: ExecOptions) {
  const { session: reference, ...request } = options
  if (request.argv.length === 0 || request.argv[0] === "") {
    return yield* SandboxError.make("ERR_INVALID_ARGUMENT", {
      message: "no command was given",
      nextStep: `put it behind two dashes: sandbox exec ${reference} -- git status`,
      details: { field: "argv" }
    })
  }
  const session = yield* sessions.find(reference)
  yield* usable(session)
  const backend = yield* (yield* Provisioners).get(session.provider)
  return yield* backend.exec(session.instance!, request)
})

/** Claims under which a box stays up. */
const harmless = ["checkpoint", "export", "complete"]

const usable = Effect.fnUntraced(function* (session: Session) {
  const up = (session.state === "ready" || session.state === "completed") && session.instance !== null
  const claimed = session.claim !== null && !harmless.includes(session.claim.kind)
  if (up && !claimed) return
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

const nextStep = (session: Session, live: boolean, recover: string | undefined): string => {
  if (live) return `wait for it, or take it over with \`sandbox down ${session.id} --force\``
  if (session.state === "destroyed") return "make a new session with `sandbox up`"
  return `run \`${recover ?? `sandbox resume ${session.id}`}\``
}
