/** `complete`: says that the work of a session is done, so that it may be destroyed by itself. */
import { Effect } from "effect"
import * as Claim from "../Claim.ts"
import * as autoTeardown from "../internal/autoTeardown.ts"
import * as checkpoints from "../internal/checkpoints.ts"
import * as ready from "../internal/ready.ts"
import { standing } from "../internal/requests.ts"
import { checkpointNow } from "../internal/save.ts"
import * as sessions from "../internal/sessions.ts"
import type { OperationRequest } from "../Ledger.ts"
import type { CompleteOptions } from "../Options.ts"
import { recovery } from "../Recovery.ts"
import type { CompleteResult } from "../Results.ts"
import * as SandboxError from "../SandboxError.ts"
import type { Checkpoint, Session } from "../Session.ts"
import * as Setup from "../Setup.ts"
import * as Time from "../Time.ts"
import * as View from "../View.ts"

/**
 * Brings a ready session to `completed` and saves its work; the box stays up until auto-teardown, as far as that is on.
 *
 * A save that fails is a warning: the session is completed, and kept. Completed already is success, and saves what is not
 * saved yet.
 */
export const complete = Effect.fn("complete")(function* (options: CompleteOptions) {
  const session = yield* sessions.find(options.session)
  const args = { session: session.id, autoTeardown: options.autoTeardown }
  const before = yield* standing("complete", args, options)
  if (before._tag === "succeeded") {
    const result = before.operation.result as unknown as CompleteResult
    return { ...result, autoTeardown: yield* autoTeardown.look(before.session), replayed: true as const }
  }
  if (session.state !== "ready" && session.state !== "completed" && session.claim === null) {
    return yield* SandboxError.make("ERR_OPERATION_CONFLICT", {
      message: `${session.name} is ${session.state}, and only what is ready can be completed`,
      nextStep:
        session.state === "destroyed"
          ? "there is nothing to do: it is gone"
          : `run \`${recovery(session, "free")?.command ?? `sandbox resume ${session.id}`}\` first`,
      retryable: false,
      sessionId: session.id,
      state: session.state
    })
  }
  const saved = yield* savedSince(session)
  const done =
    session.state === "completed" && session.claim === null && !isOverridden(session, options) && saved !== undefined
      ? already(session, saved)
      : yield* finish(session, before.operation, options)
  const teardown = yield* autoTeardown.after(session.id)
  const result: CompleteResult = {
    ...done,
    state: teardown.destroyed ? "destroyed" : done.state,
    autoTeardown: teardown
  }
  return result
})

/** What was saved of the work since it was completed; null where nothing is to be saved, undefined where nothing was yet. */
const savedSince = Effect.fnUntraced(function* (session: Session) {
  const { completedAt } = session
  const { withWork } = yield* checkpoints.newest(session)
  if (completedAt !== null && withWork !== undefined && withWork.persistedAt >= completedAt) return withWork
  return Setup.keeping(session.setup).checkpoint === "manual" ? null : undefined
})

const isOverridden = (session: Session, { autoTeardown }: Pick<CompleteOptions, "autoTeardown">): boolean =>
  autoTeardown !== undefined && Setup.keeping(session.setup).autoTeardown !== autoTeardown

const already = (session: Session, saved: Checkpoint | null) => ({
  ...answered(session, session.completedAt ?? session.updatedAt, saved),
  operationId: null,
  already: true as const,
  warnings: []
})

/** Completes and saves under a claim. `signal`: what said that the work is done, where nobody did. */
export const finish = Effect.fnUntraced(function* (
  session: Session,
  operation: OperationRequest,
  options: Pick<CompleteOptions, "autoTeardown"> & { readonly signal?: string }
) {
  return yield* Claim.withClaim(
    { session, kind: "complete", operation, from: ["ready", "completed"] },
    {
      verb: "complete",
      use: Effect.fnUntraced(function* (held: Claim.Held) {
        const row = yield* held.row
        const again = row.state === "completed"
        // before the save, so that what is saved is no older
        const completedAt = again && row.completedAt !== null ? row.completedAt : yield* Time.millis
        const kept = again ? yield* savedSince(row) : undefined
        const fresh = kept === undefined ? yield* save(held) : undefined
        const setup = isOverridden(row, options) ? withAutoTeardown(row, options.autoTeardown!) : row.setup
        const result: CompleteResult = {
          ...answered(row, completedAt, fresh ?? kept ?? null),
          state: "completed",
          operationId: held.operationId,
          ...(again ? { already: true as const } : {}),
          warnings: yield* held.warnings
        }
        return ready.done(result, {
          ...(again ? {} : { move: yield* held.move("completed") }),
          set: { completedAt, setup, ...(fresh === undefined ? {} : { persistedAt: fresh.persistedAt }) },
          checkpoint: fresh,
          events: [
            ...(again
              ? []
              : [{ type: "completed", data: options.signal === undefined ? {} : { signal: options.signal } }]),
            ...(fresh === undefined
              ? []
              : [{ type: "checkpoint", data: { checkpoint: fresh.id, digest: fresh.digest } }])
          ]
        })
      }),
      // one commit says it all: until then nothing was moved
      settle: () => Effect.succeed({})
    }
  )
})

const save = Effect.fnUntraced(function* (held: Claim.Held) {
  const row = yield* held.row
  if (Setup.keeping(row.setup).checkpoint === "manual") return undefined
  return yield* held
    .phase("save", checkpointNow(held, "complete"))
    .pipe(
      Effect.catch((error) =>
        Effect.as(
          held.warn(`the work could not be saved, so that the session is kept: ${error.message}; ${error.nextStep}`),
          undefined
        )
      )
    )
})

const withAutoTeardown = (row: Session, autoTeardown: boolean): Setup.Setup => {
  const setup = row.setup ?? Setup.from({})
  return { ...setup, keeping: { ...setup.keeping, autoTeardown } }
}

const answered = (row: Session, completedAt: number, saved: Checkpoint | null): Omit<CompleteResult, "warnings"> => ({
  sessionId: row.id,
  name: row.name,
  operationId: null,
  state: row.state,
  completedAt: View.iso(completedAt),
  checkpoint: saved === null ? null : View.checkpoint(saved),
  autoTeardown: { destroyed: false, reason: "it was completed" }
})
