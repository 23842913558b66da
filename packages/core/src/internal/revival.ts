/** What a session that comes back is to hold: the work its box still has, or that of a checkpoint. */
import { Effect, Result } from "effect"
import type { Held } from "../Claim.ts"
import * as Git from "../Git.ts"
import type { Backend } from "../Provisioners.ts"
import * as Repository from "../Repository.ts"
import * as SandboxError from "../SandboxError.ts"
import type { Checkpoint, Session } from "../Session.ts"
import * as checkpoints from "./checkpoints.ts"
import { restore, restoreUndo } from "./restore.ts"
import { checkpointNow } from "./save.ts"
import { visible } from "./visible.ts"

/** A checkpoint to go back to, at the caller's word. */
export interface Wanted {
  readonly id: string
  readonly confirmDataLoss: boolean
}

/** What a checkpoint is used for when a session is brought up. */
export interface Plan {
  /** The checkout is made of it where there is none. */
  readonly missing: Checkpoint | undefined
  /** What was begun to be restored is given up. */
  readonly giveUp: boolean
  readonly warnings: ReadonlyArray<string>
}

/**
 * Looks, before anything is changed, what the session can be brought back with.
 *
 * Fails with `ERR_CHECKPOINT_INVALID` when what it was saved in cannot be used; `force` goes on without it, unless it is
 * another session's.
 */
export const plan = Effect.fnUntraced(function* (session: Session, force: boolean) {
  const looked = yield* Effect.result(source(session))
  if (Result.isSuccess(looked)) {
    return { missing: looked.success, giveUp: false, warnings: [] } satisfies Plan
  }
  const problem = checkpoints.problemOf(looked.failure)
  if (problem === undefined || problem === "foreign" || !force) return yield* unusable(session, looked.failure, problem)
  return { missing: undefined, giveUp: true, warnings: [`${looked.failure.message}; it was left out`] } satisfies Plan
})

const source = Effect.fnUntraced(function* (session: Session) {
  if (session.restoreFrom !== null) {
    const begun = yield* checkpoints.recorded(session.restoreFrom)
    yield* checkpoints.verify(begun)
    return begun
  }
  const { withWork } = yield* checkpoints.newest(session)
  if (session.state === "stopped") {
    const last = yield* checkpoints.requireValid(session)
    return last.fingerprint === null ? undefined : last
  }
  if (session.instance !== null || withWork === undefined) return undefined
  yield* checkpoints.verify(withWork)
  return withWork
})

const unusable = (session: Session, error: SandboxError.SandboxError, problem: checkpoints.Problem | undefined) => {
  const about = { sessionId: session.id, state: session.state }
  if (problem === undefined) return SandboxError.extend(error, about)
  if (problem === "foreign") {
    return SandboxError.extend(error, {
      ...about,
      nextStep: "put the right checkpoint back from a backup of the store"
    })
  }
  const way = `sandbox resume ${session.id} --force`
  return SandboxError.extend(error, {
    ...about,
    nextStep:
      session.instance === null
        ? `put it back from a backup of the store, or start again from branch ${session.branch} with \`${way}\``
        : `go on with what the box still holds: \`${way}\``
  })
}

/** Whether the branch has gone on since, and nothing but its commits was saved: then it is the branch that is wanted. */
export const isOutrun = Effect.fnUntraced(function* (row: Session, checkpoint: Checkpoint) {
  const { files, head } = checkpoint
  const location = Repository.fromLocation(row.repository)
  if (files > 0 || head === null || location._tag !== "path") return false
  const branch = row.workBranch ?? row.branch
  if (branch === null) return false
  const ask = (...args: ReadonlyArray<string>) => Git.run(args, { cwd: location.location })
  return yield* Effect.gen(function* () {
    const tip = yield* ask("rev-parse", "--verify", "--quiet", `refs/heads/${branch}^{commit}`)
    if (tip.code !== 0 || tip.stdout.trim() === head) return false
    return (yield* ask("merge-base", "--is-ancestor", head, tip.stdout.trim())).code === 0
  }).pipe(Effect.catchTag("GitError", () => Effect.succeed(false)))
})

/** Saves what the checkout holds before other work takes its place, and registers the way back; none where there is no checkout. */
export const saveFirst = Effect.fnUntraced(function* (held: Held, backend: Backend, wanted: Wanted) {
  const row = yield* held.row
  if ((yield* visible(row, backend)) === undefined) return undefined
  const saved = yield* Effect.result(held.phase("save", checkpointNow(held, "restore")))
  if (Result.isFailure(saved)) {
    if (!wanted.confirmDataLoss) return yield* unsaved(row, saved.failure, wanted.id)
    yield* held.warn(`what the checkout held was not saved: ${saved.failure.message}`)
    return undefined
  }
  const { id } = saved.success
  const services = yield* Effect.context<Effect.Services<ReturnType<typeof restore>>>()
  yield* held.onRollback({
    name: restoreUndo,
    run: Effect.provideContext(Effect.asVoid(restore(held, backend, id)), services)
  })
  return saved.success
})

const unsaved = (row: Session, error: SandboxError.SandboxError, id: string) =>
  SandboxError.make("ERR_DATA_LOSS_UNCONFIRMED", {
    message: `what the checkout of ${row.name} holds cannot be saved first: ${error.message}`,
    nextStep: `put that right, or give it up with \`sandbox restore ${row.id} ${id} --confirm-data-loss\``,
    details: { ...error.details }
  })
