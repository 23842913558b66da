/** `restore`: makes a session hold the work of one of its checkpoints. */
import { Effect } from "effect"
import * as checkpoints from "../internal/checkpoints.ts"
import { refuseElsewhere } from "../internal/reach.ts"
import { standing } from "../internal/requests.ts"
import * as sessions from "../internal/sessions.ts"
import type { RestoreOptions } from "../Options.ts"
import { Provisioners } from "../Provisioners.ts"
import type { RestoreResult } from "../Results.ts"
import * as SandboxError from "../SandboxError.ts"
import type { Session } from "../Session.ts"
import { revive } from "./resume.ts"

/**
 * Brings the session up with the work of a checkpoint; what the checkout holds before is saved as a checkpoint first.
 *
 * A restore that fails gives the checkout back what it held. One that dies is finished by `resume`. Fails with
 * `ERR_CHECKPOINT_INVALID`, nothing changed, when the checkpoint is not whole, and with `ERR_DATA_LOSS_UNCONFIRMED` when what
 * there is cannot be saved.
 */
export const restore = Effect.fn("restore")(function* (options: RestoreOptions) {
  const session = yield* sessions.find(options.session)
  const { checkpoint: reference, confirmDataLoss = false } = options
  const before = yield* standing("restore", { session: session.id, checkpoint: reference }, options)
  if (before._tag === "succeeded") {
    return { ...(before.operation.result as unknown as RestoreResult), replayed: true as const }
  }
  if (session.state === "destroyed") return yield* destroyed(session, reference)
  const chosen =
    reference === undefined
      ? (yield* checkpoints.newest(session)).withWork
      : yield* checkpoints.find(session, reference)
  if (chosen === undefined || chosen.fingerprint === null) return yield* nothing(session, chosen?.id)
  yield* refuseElsewhere(session)
  yield* checkpoints.verify(chosen)
  const backend = yield* (yield* Provisioners).get(session.provider)
  const { result, saved } = yield* revive(session, backend, before.operation, {
    verb: "restore",
    restore: { id: chosen.id, confirmDataLoss }
  })
  const answer: RestoreResult = { ...result, checkpoint: chosen.id, before: saved }
  return answer
})

const nothing = (session: Session, id: string | undefined) =>
  SandboxError.make("ERR_INVALID_ARGUMENT", {
    message:
      id === undefined
        ? `${session.name} has no checkpoint with work in it`
        : `checkpoint ${id} holds the record of ${session.name} and none of its work`,
    nextStep: `see what there is with \`sandbox checkpoint list ${session.id}\``,
    sessionId: session.id,
    state: session.state,
    details: { field: "checkpoint" }
  })

const destroyed = (session: Session, reference: string | undefined) =>
  SandboxError.make("ERR_OPERATION_CONFLICT", {
    message: `${session.name} is destroyed, and has no checkout to restore into`,
    nextStep: `make a new session of the work: \`sandbox up --from-checkpoint ${reference ?? "<checkpoint>"} --provider ${session.provider}\``,
    retryable: false,
    sessionId: session.id,
    state: session.state
  })
