/** Halting and removing a session's compose services: by label, with neither the user's file nor a compose command. */
import { Effect } from "effect"
import type { Held } from "../../Claim.ts"
import { Ledger } from "../../Ledger.ts"
import * as SandboxError from "../../SandboxError.ts"
import type { Session } from "../../Session.ts"
import * as engine from "./engine.ts"
import * as record from "./record.ts"
import * as tool from "./tool.ts"

/** The engine of this host, which has to be the one that the session's services are on, where they are on any. */
export const here = Effect.fnUntraced(function* (session: string) {
  const id = yield* tool.engine(session)
  const before = yield* record.read(session)
  if (before === undefined || before.engine === id) return id
  return yield* SandboxError.make("ERR_PROVIDER_UNAVAILABLE", {
    message: "the session's compose services are on another Docker engine than the one that answers",
    nextStep: "make DOCKER_HOST what it was when they were brought up, and run the command again",
    retryable: false,
    details: { field: "compose", engine: before.engine, answers: id }
  })
})

/** The project of a session for which something was begun on this host; none where there can be nothing. */
const begun = Effect.fnUntraced(function* (row: Session) {
  const found = row.setup?.compose === undefined ? undefined : yield* record.read(row.id)
  if (found === undefined) return undefined
  const project: engine.Project = { ledger: (yield* Ledger).id, session: row.id, project: found.project }
  return project
})

/** Halts them, and keeps containers and volumes. */
export const halt = Effect.fnUntraced(function* (row: Session) {
  const project = yield* begun(row)
  if (project === undefined) return
  yield* tool.endLeftovers(row.id)
  yield* here(row.id)
  yield* engine.halt(project)
})

/**
 * The same on the way down, after the work was saved: an engine that does not answer keeps nobody from that, and `gc` halts
 * what runs on.
 */
export const haltOrWarn = Effect.fnUntraced(function* (held: Held) {
  const row = yield* held.row
  if ((yield* begun(row)) === undefined) return
  yield* Effect.catchIf(
    held.phase("compose", halt(row)),
    (error) => error.code === "ERR_STOP_FAILED" || isSilence(error),
    ({ message }) => held.warn(`the compose services may run on, and \`sandbox gc\` halts them: ${message}`)
  )
})

/** Removes them with their volumes and proves it: what cannot be seen is not gone. */
export const remove = Effect.fnUntraced(function* (row: Session) {
  if (row.setup?.compose === undefined) return
  yield* tool.endLeftovers(row.id)
  const project = yield* begun(row)
  // files may have been kept for them
  if (project === undefined) return yield* record.forget(row.id)
  yield* here(row.id).pipe(
    Effect.andThen(engine.remove(project)),
    Effect.catchIf(isSilence, (error) =>
      Effect.fail(
        SandboxError.make("ERR_DESTROY_FAILED", {
          message: `the session's compose services cannot be removed: ${error.message}`,
          nextStep: error.nextStep,
          details: { field: "compose", operation: "destroy", ...error.details }
        })
      )
    )
  )
  yield* record.forget(row.id)
})

/**
 * Removes them, and then the boxes that they stand beside: they keep the network of a box from going. A box goes even where
 * they do not; that is the failure then.
 */
export const removeWith = Effect.fnUntraced(function* <A, E, R>(row: Session, boxes: Effect.Effect<A, E, R>) {
  const services = yield* Effect.exit(remove(row))
  const removed = yield* boxes
  yield* services
  return removed
})

/** The engine cannot be asked, and so nothing is known. */
const isSilence = SandboxError.hasCode("ERR_PROVIDER_UNAVAILABLE", "ERR_TIMEOUT", "ERR_UNSUPPORTED")
