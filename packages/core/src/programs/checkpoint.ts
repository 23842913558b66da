/** `checkpoint`: saves a session's work as it is, and goes on. */
import { Effect } from "effect"
import { CheckpointStore } from "../CheckpointStore.ts"
import * as Claim from "../Claim.ts"
import * as checkpoints from "../internal/checkpoints.ts"
import { refuseElsewhere } from "../internal/reach.ts"
import * as ready from "../internal/ready.ts"
import { standing } from "../internal/requests.ts"
import * as save from "../internal/save.ts"
import * as sessions from "../internal/sessions.ts"
import { isWhole } from "../internal/visible.ts"
import { Ledger } from "../Ledger.ts"
import type { State } from "../Lifecycle.ts"
import type {
  CheckpointOptions,
  CheckpointsOptions,
  RemoveCheckpointOptions,
  VerifyCheckpointOptions
} from "../Options.ts"
import { Provisioners } from "../Provisioners.ts"
import type {
  CheckpointResult,
  CheckpointsResult,
  RemoveCheckpointResult,
  VerificationView,
  VerifyCheckpointResult
} from "../Results.ts"
import * as SandboxError from "../SandboxError.ts"
import type { Checkpoint, Session } from "../Session.ts"
import * as View from "../View.ts"

/** States in which there can be a checkout that nobody is changing but its user. */
const quiet: ReadonlyArray<State> = ["ready", "completed", "stopped", "stopped_unpersisted", "persist_failed", "failed"]

/**
 * Saves the repository state and the files of a session, whether its box runs or not; the session stays as it is.
 *
 * Fails with `ERR_UNSUPPORTED` where the checkout cannot be seen from here, and with `ERR_CHECKPOINT_FAILED` when it cannot
 * be read whole.
 */
export const checkpoint = Effect.fn("checkpoint")(function* (options: CheckpointOptions) {
  const session = yield* sessions.find(options.session)
  const before = yield* standing("checkpoint", { session: session.id }, options)
  if (before._tag === "succeeded") {
    return { ...(before.operation.result as unknown as CheckpointResult), replayed: true as const }
  }
  yield* refuseElsewhere(session)
  return yield* Claim.withClaim(
    { session, kind: "checkpoint", operation: before.operation, from: quiet },
    {
      verb: "checkpoint",
      use: Effect.fnUntraced(function* (held: Claim.Held) {
        const row = yield* held.row
        const saved = yield* held.phase("save", save.checkpointNow(held, "request"))
        const result: CheckpointResult = {
          sessionId: row.id,
          name: row.name,
          operationId: held.operationId,
          state: row.state,
          checkpoint: View.checkpoint(saved),
          warnings: yield* held.warnings
        }
        return ready.done(result, {
          checkpoint: saved,
          set: { persistedAt: saved.persistedAt },
          events: [{ type: "checkpoint", data: { checkpoint: saved.id, digest: saved.digest } }]
        })
      }),
      // nothing was moved, and what was not published is not there
      settle: () => Effect.succeed({})
    }
  )
})

/** What was ever saved of a session and is kept, oldest first. Whether it can be used still tells `verifyCheckpoint`. */
export const checkpointsOf = Effect.fn("checkpoints")(function* (options: CheckpointsOptions) {
  const session = yield* sessions.find(options.session)
  const { checkpoints } = yield* (yield* Ledger).history(session.id)
  const result: CheckpointsResult = {
    sessionId: session.id,
    name: session.name,
    state: session.state,
    checkpoints: checkpoints.map(View.checkpoint),
    warnings: []
  }
  return result
})

/** Reads checkpoints whole and compares them with their digests. One that is damaged hides no other; nothing is changed. */
export const verifyCheckpoint = Effect.fn("verifyCheckpoint")(function* (options: VerifyCheckpointOptions) {
  const session = yield* sessions.find(options.session)
  const chosen =
    options.checkpoint === undefined
      ? (yield* (yield* Ledger).history(session.id)).checkpoints
      : [yield* checkpoints.find(session, options.checkpoint)]
  const seen = yield* Effect.forEach(chosen, look)
  const result: VerifyCheckpointResult = {
    sessionId: session.id,
    name: session.name,
    valid: seen.every(({ valid }) => valid),
    checkpoints: seen,
    warnings: []
  }
  return result
})

const look = (checkpoint: Checkpoint) =>
  checkpoints.verify(checkpoint).pipe(
    Effect.map(
      ({ bytes, objects }): VerificationView => ({ id: checkpoint.id, valid: true, problem: null, objects, bytes })
    ),
    Effect.catchIf(SandboxError.hasCode("ERR_CHECKPOINT_INVALID"), (error) =>
      Effect.succeed<VerificationView>({
        id: checkpoint.id,
        valid: false,
        problem: error.message,
        objects: 0,
        bytes: 0
      })
    )
  )

const isSeen = Effect.fnUntraced(function* (session: Session) {
  return yield* isWhole(session, yield* (yield* Provisioners).get(session.provider))
})

/**
 * Removes a checkpoint.
 *
 * Fails with `ERR_DATA_LOSS_UNCONFIRMED` for the newest one with work of a session that has no checkout: it may be the only copy.
 */
export const removeCheckpoint = Effect.fn("removeCheckpoint")(function* (options: RemoveCheckpointOptions) {
  const session = yield* sessions.find(options.session)
  const args = { session: session.id, checkpoint: options.checkpoint }
  const before = yield* standing("checkpoint rm", args, options)
  if (before._tag === "succeeded") {
    return { ...(before.operation.result as unknown as RemoveCheckpointResult), replayed: true as const }
  }
  const { id } = yield* checkpoints.find(session, options.checkpoint)
  const { last, withWork } = yield* checkpoints.newest(session)
  const isOnly = session.state !== "destroyed" && (session.instance === null || !(yield* isSeen(session)))
  const needed = isOnly ? withWork?.id : undefined
  if ((id === needed || id === session.restoreFrom) && options.confirmDataLoss !== true) {
    return yield* SandboxError.make("ERR_DATA_LOSS_UNCONFIRMED", {
      message: `${session.name} has no checkout, and ${id} has its work`,
      nextStep: `bring it back with \`sandbox resume ${session.id}\`, or give the work up with \`sandbox checkpoint rm ${session.id} ${id} --confirm-data-loss\``,
      sessionId: session.id,
      state: session.state,
      details: { checkpoint: id }
    })
  }
  if (id === last?.id && session.state === "stopped" && options.confirmDataLoss !== true) {
    return yield* SandboxError.make("ERR_DATA_LOSS_UNCONFIRMED", {
      message: `${session.name} is halted, and ${id} is what proves that all of it is saved`,
      nextStep: `save it anew with \`sandbox checkpoint create ${session.id}\` first, or go on with \`sandbox checkpoint rm ${session.id} ${id} --confirm-data-loss\``,
      sessionId: session.id,
      state: session.state,
      details: { checkpoint: id }
    })
  }
  return yield* Claim.withClaim(
    { session, kind: "checkpoint", operation: before.operation, from: [...quiet, "destroyed"] },
    {
      verb: "checkpoint rm",
      use: Effect.fnUntraced(function* (held: Claim.Held) {
        const row = yield* held.row
        // a store without it is told by the next look; a record without it would never be looked for again
        yield* held.phase(
          "remove",
          Effect.flatMap(CheckpointStore, (store) => store.remove(id))
        )
        const result: RemoveCheckpointResult = {
          sessionId: row.id,
          name: row.name,
          operationId: held.operationId,
          state: row.state,
          checkpoint: id,
          warnings: yield* held.warnings
        }
        return ready.done(result, {
          removedCheckpoints: [id],
          events: [{ type: "checkpoint_removed", data: { checkpoint: id } }]
        })
      }),
      settle: () => Effect.succeed({})
    }
  )
})
