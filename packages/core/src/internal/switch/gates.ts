/** What keeps a session where it is: looked at before anything is claimed, and again under the claim. */
import { Effect } from "effect"
import { type Backend, Provisioners } from "../../Provisioners.ts"
import * as SandboxError from "../../SandboxError.ts"
import type { Session } from "../../Session.ts"
import * as Trust from "../../Trust.ts"
import { refusePaused } from "../ancestors.ts"
import { conflict } from "../failures.ts"
import { leftAt } from "./between.ts"

/** The registered name that is meant. Fails with `ERR_INVALID_ARGUMENT` before anything is read. */
export const target = Effect.fnUntraced(function* (to: string) {
  const { names } = yield* Provisioners
  const given = to.trim()
  const name = names.find((name) => name === given) ?? names.find((name) => name === given.toLowerCase())
  if (name !== undefined) return name
  return yield* SandboxError.make("ERR_INVALID_ARGUMENT", {
    message: given === "" ? "no provider was named to move to" : `there is no provider ${given}`,
    nextStep: `choose one with --to: ${names.join(", ") || "(none is registered)"}`,
    details: { field: "to", registered: names }
  })
})

/** Refuses a session that is in no state to be moved. */
export const refuse = Effect.fnUntraced(function* (session: Session, operationId: string | null) {
  const { id, name, readyAt, state } = session
  const impossible = (why: string, way: string) =>
    SandboxError.make("ERR_OPERATION_CONFLICT", {
      message: `${name} cannot be moved: ${why}`,
      nextStep: way,
      retryable: false,
      operationId,
      sessionId: id,
      state
    })
  if (state === "destroyed") return yield* impossible("it is destroyed", "make a new one with `sandbox up`")
  // what was put aside before a halt that ended the box is in no checkpoint yet
  if (state === "persist_failed" || (state === "stopped_unpersisted" && session.instance === null)) {
    return yield* impossible("what its box held is not saved yet", `save it with \`sandbox down ${id}\` first`)
  }
  if (state === "failed" && readyAt === null) {
    return yield* impossible(
      "it never was ready, so that there is nothing to move",
      `clear it away with \`sandbox destroy ${id}\`, and make it anew on the other provider`
    )
  }
  const isMoving = state === "provisioning" || state === "syncing" || state === "requested"
  if (isMoving && leftAt(session) === undefined) return yield* conflict(session, "switch", operationId)
  yield* refusePaused(session)
})

/** Refuses to leave a box that is somebody else's, to be neither made nor ended. */
export const refuseExternal = Effect.fnUntraced(function* (session: Session, backend: Backend) {
  if (!backend.external) return
  return yield* SandboxError.make("ERR_UNSUPPORTED", {
    message: `the box of ${session.name} is not managed here: provider ${backend.name} lets go of boxes, and does not end them`,
    nextStep: "make a new session on the other provider, and take the work there by a branch",
    sessionId: session.id,
    state: session.state,
    details: { provider: backend.name, capability: "stop" }
  })
})

/** Refuses to run on this host what came with a repository and was accepted only for a box that isolates. */
export const refuseUnaccepted = Effect.fnUntraced(function* (session: Session, to: Backend) {
  const { id, name, setup, state } = session
  if (setup === null || setup.accepted || to.isolation !== "none") return
  const runs = Trust.runsOf(setup)
  if (runs.length === 0) return
  return yield* SandboxError.make("ERR_CONFIG_UNTRUSTED", {
    message: `what ${name} runs came with its repository, and was not accepted for this host, where provider ${to.name} would run it: ${runs.join(", ")}`,
    nextStep: `read the sandbox.yaml of ${session.repository} as it was when the session was made; then go on with \`sandbox switch ${id} --to ${to.name} --trust-config\``,
    sessionId: id,
    state,
    details: { provider: to.name, runs }
  })
})
