/** Making a checkout hold the work of a checkpoint, and proving that it does. */
import { Effect } from "effect"
import { CheckpointStore } from "../CheckpointStore.ts"
import type { Held } from "../Claim.ts"
import type { Backend } from "../Provisioners.ts"
import * as SandboxError from "../SandboxError.ts"
import type { Session } from "../Session.ts"
import { supply } from "./boxCheckout/clone.ts"
import { type Copy, giveBack } from "./boxCheckout/copy.ts"
import * as checkpoints from "./checkpoints.ts"
import { tidy } from "./restoredBranches.ts"
import * as transfer from "./transfer.ts"
import { visible } from "./visible.ts"
import { apply } from "./work/apply.ts"
import { fingerprint } from "./work/capture.ts"
import type { Whose } from "./work/checkout.ts"

/** The branch that is used where the asked one may not be moved. */
export const fallbackBranch = (row: Session): string => `sandbox/${row.name}`

/** The name of the undo that gives a checkout back what it held; `settle` asks how it went. */
export const restoreUndo = "give the checkout back its work"

/** What was written of a checkpoint. */
export interface Written {
  /** The branch that is checked out then; null when HEAD is detached. */
  readonly branch: string | null
}

/**
 * Makes a checkout on this host hold what the checkpoint has. Can be repeated; nothing of the checkpoint is trusted that does
 * not match its digests.
 */
export const write = Effect.fnUntraced(function* (
  held: Held,
  checkpointId: string,
  { copied, directory, repository }: Whose & { readonly directory: string }
) {
  const row = yield* held.row
  const work = yield* workOf(checkpointId)
  const store = yield* CheckpointStore
  if (copied === true) {
    const { checkout } = yield* checkpoints.documentOf(checkpointId, work)
    yield* supply(directory, row.repository, checkout.requires)
  }
  const { branch, warnings } = yield* apply({
    directory,
    repository,
    copied,
    document: work.document,
    object: (digest) => transfer.flowing(store.object(checkpointId, digest)),
    branch: row.branch ?? undefined,
    fallbackBranch: fallbackBranch(row)
  })
  yield* Effect.forEach(warnings, held.warn)
  return { branch } satisfies Written
})

const workOf = Effect.fnUntraced(function* (checkpointId: string) {
  const { work } = yield* checkpoints.manifestOf(yield* checkpoints.recorded(checkpointId))
  return work ?? (yield* withoutWork(checkpointId))
})

/**
 * Makes the checkout hold what the checkpoint has, unless that was `written` before the checkout came to its box, and compares.
 *
 * Fails with `ERR_RESTORE_UNVERIFIED` when what is there afterwards is something else.
 */
export const restore = Effect.fnUntraced(function* (
  held: Held,
  backend: Backend,
  checkpointId: string,
  written?: Written
) {
  const row = yield* held.row
  const work = yield* workOf(checkpointId)
  const options = yield* visible(row, backend)
  if (options === undefined) return yield* unseen(row, backend.name)
  const { branch } = written ?? (yield* write(held, checkpointId, options))
  const isThere = written !== undefined || options.copy === undefined
  const now = isThere ? options : yield* given(row, backend, options.copy)
  const { exclude, include } = work
  const there = now && (yield* fingerprint({ ...now, include, exclude }))
  if (there?.fingerprint !== work.fingerprint) return yield* different(row, checkpointId)
  return branch
}, Effect.scoped)

/** The checkout in the box once it has what the copy has, looked at anew. */
const given = Effect.fnUntraced(function* (row: Session, backend: Backend, copy: Copy) {
  if (row.instance !== null) yield* giveBack(backend, row.instance, copy)
  return yield* visible(row, backend)
})

/** As `restore`, with the branch that is checked out then recorded. */
export const restoreInto = Effect.fnUntraced(function* (
  held: Held,
  backend: Backend,
  checkpointId: string,
  written?: Written
) {
  const branch = yield* held.phase("restore", restore(held, backend, checkpointId, written))
  yield* held.commit({
    ...(branch === null ? {} : { set: { workBranch: branch } }),
    events: [{ type: "restored", data: { checkpoint: checkpointId } }]
  })
  // those that earlier restores have made
  yield* tidy(yield* held.row)
})

const withoutWork = (id: string) =>
  SandboxError.make("ERR_CHECKPOINT_INVALID", {
    message: `checkpoint ${id} holds the record of a session and none of its work`,
    nextStep: "see which hold work with `sandbox checkpoint list`",
    details: { checkpoint: id, problem: "missing" }
  })

const unseen = (row: Session, provider: string) =>
  SandboxError.make("ERR_UNSUPPORTED", {
    message: `the checkout of ${row.name} cannot be seen from this host, so that nothing can be restored into it`,
    nextStep: "bring the checkpoint up where it can: `sandbox up --from-checkpoint`",
    details: { provider, capability: "checkout" }
  })

const different = (row: Session, id: string) =>
  SandboxError.make("ERR_RESTORE_UNVERIFIED", {
    message: `the checkout of ${row.name} is not what checkpoint ${id} has, although all of it was written`,
    nextStep: "end what changes files there, and run the command again",
    details: { checkpoint: id }
  })
