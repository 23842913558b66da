/** What a session that comes back is to hold: the work its box still has, or that of a checkpoint. */
import { Effect, FileSystem, Result } from "effect"
import type { Held } from "../Claim.ts"
import * as Git from "../Git.ts"
import type { Backend } from "../Provisioners.ts"
import * as Repository from "../Repository.ts"
import * as SandboxError from "../SandboxError.ts"
import type { Checkpoint, Session } from "../Session.ts"
import * as Work from "../Work.ts"
import * as checkpoints from "./checkpoints.ts"
import { restore, restoreUndo } from "./restore.ts"
import { checkpointNow } from "./save.ts"
import { canSee, hasOne, isVisible } from "./visible.ts"

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
export const plan = Effect.fnUntraced(function* (session: Session, backend: Backend, force: boolean) {
  const looked = yield* Effect.result(source(session, backend))
  if (Result.isSuccess(looked)) {
    return { missing: looked.success, giveUp: false, warnings: [] } satisfies Plan
  }
  const problem = checkpoints.problemOf(looked.failure)
  if (problem === undefined || problem === "foreign" || !force) return yield* unusable(session, looked.failure, problem)
  return { missing: undefined, giveUp: true, warnings: [`${looked.failure.message}; it was left out`] } satisfies Plan
})

const source = Effect.fnUntraced(function* (session: Session, backend: Backend) {
  if (session.restoreFrom !== null) {
    const begun = yield* checkpoints.recorded(session.restoreFrom)
    yield* checkpoints.verify(begun)
    return begun
  }
  const last = session.state === "stopped" ? yield* checkpoints.requireValid(session) : undefined
  if (last !== undefined && last.fingerprint !== null) return last
  // a save of the record alone takes nothing back of what was saved before
  const { withWork } = yield* checkpoints.newest(session)
  if (withWork === undefined || (yield* hasCheckout(session, backend))) return undefined
  yield* checkpoints.verify(withWork)
  return withWork
})

/** Whether the box has its checkout still, or what was begun to become one. What cannot be told counts as one. */
const hasCheckout = Effect.fnUntraced(function* ({ instance }: Session, backend: Backend) {
  if (instance === null) return false
  if (!canSee(backend)) return true
  return yield* Effect.orElseSucceed(hasOne(backend, instance), () => true)
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

/** Whether the repository has what is wanted, so that nothing of a checkpoint is: all of the work, or more of it. */
export const isOutrun = Effect.fnUntraced(function* (row: Session, backend: Backend, checkpoint: Checkpoint) {
  const branch = row.workBranch ?? row.branch
  // only the branch of a worktree is the repository's own
  if (
    !backend.capabilities.includes("workspace") ||
    branch === null ||
    Repository.fromLocation(row.repository)._tag !== "path"
  )
    return false
  return (yield* isKept(row, branch)) || (yield* hasGoneOn(row, branch, checkpoint))
})

const ask = (row: Session, ...args: ReadonlyArray<string>) => Git.run(args, { cwd: row.repository })

/** Whether the work is in a worktree of the user's own, which the session uses as it is. */
const isKept = Effect.fnUntraced(function* (row: Session, branch: string) {
  if (row.setup?.reuseWorktree !== true) return false
  const fs = yield* FileSystem.FileSystem
  return yield* ask(row, "for-each-ref", "--format=%(worktreepath)", `refs/heads/${branch}`).pipe(
    Effect.flatMap(({ stdout }) => (stdout.trim() === "" ? Effect.succeed(false) : fs.exists(stdout.trim()))),
    Effect.orElseSucceed(() => false)
  )
})

/** Whether the branch has gone on since, and nothing but its commits was saved. */
const hasGoneOn = Effect.fnUntraced(function* (row: Session, branch: string, checkpoint: Checkpoint) {
  const { work } = yield* checkpoints.manifestOf(checkpoint)
  if (work === null || !Work.isCommitted((yield* checkpoints.documentOf(checkpoint.id, work)).checkout)) return false
  const { head } = work
  return yield* Effect.gen(function* () {
    const tip = yield* ask(row, "rev-parse", "--verify", "--quiet", `refs/heads/${branch}^{commit}`)
    if (tip.code !== 0 || tip.stdout.trim() === head) return false
    return (yield* ask(row, "merge-base", "--is-ancestor", head, tip.stdout.trim())).code === 0
  }).pipe(Effect.catchTag("GitError", () => Effect.succeed(false)))
})

/** Saves what the checkout holds before other work takes its place, and registers the way back; none where there is no checkout. */
export const saveFirst = Effect.fnUntraced(function* (held: Held, backend: Backend, wanted: Wanted) {
  const row = yield* held.row
  if (!(yield* isVisible(row, backend))) {
    const branch = row.workBranch ?? row.branch
    const own = row.instance === null && branch !== null && (yield* isKept(row, branch))
    return own && !wanted.confirmDataLoss ? yield* notSeenYet(row) : undefined
  }
  const saved = yield* Effect.result(held.phase("save", checkpointNow(held, "restore")))
  if (Result.isFailure(saved)) {
    if (!wanted.confirmDataLoss) return yield* unsaved(row, saved.failure, wanted.id)
    yield* held.warn(`what the checkout held was not saved: ${saved.failure.message}`)
    return undefined
  }
  const { id } = saved.success
  const services = yield* Effect.context<Effect.Services<ReturnType<typeof restore>>>()
  const giveBack = Effect.gen(function* () {
    // what was not begun yet has changed nothing
    if ((yield* held.row).restoreFrom !== wanted.id) return
    const branch = yield* restore(held, backend, id)
    if (branch !== null) yield* held.commit({ set: { workBranch: branch } })
  })
  yield* held.onRollback({ name: restoreUndo, run: Effect.provideContext(giveBack, services) })
  return saved.success
})

const notSeenYet = (row: Session) =>
  SandboxError.make("ERR_DATA_LOSS_UNCONFIRMED", {
    message: `${row.name} uses a worktree of yours, and what that holds cannot be saved before the session is up`,
    nextStep: `bring it up first with \`sandbox resume ${row.id}\``,
    details: { field: "reuse_worktree" }
  })

const unsaved = (row: Session, error: SandboxError.SandboxError, id: string) =>
  SandboxError.make("ERR_DATA_LOSS_UNCONFIRMED", {
    message: `what the checkout of ${row.name} holds cannot be saved first: ${error.message}`,
    nextStep: `put that right, or give it up with \`sandbox restore ${row.id} ${id} --confirm-data-loss\``,
    details: { ...error.details }
  })
