/**
 * Making a checkout hold captured work: what is there is replaced, whatever it is, and nothing outside of it is written but
 * in the repository it belongs to. An apply that was killed is run again.
 */
import { Effect, FileSystem, Path, type PlatformError, Result, Stream } from "effect"
import type { StoredObject } from "../../CheckpointStore.ts"
import type { GitError, GitServices } from "../../Git.ts"
import type { Hasher } from "../../Hasher.ts"
import * as SandboxError from "../../SandboxError.ts"
import * as Work from "../../Work.ts"
import { concat } from "../archiveHeader.ts"
import { restoreFiles } from "./applyFiles.ts"
import * as history from "./applyHistory.ts"
import * as index from "./applyIndex.ts"
import { prepare } from "./applyNested.ts"
import { failed } from "./blobs.ts"
import { list } from "./captureIndex.ts"
import { scan } from "./captureTree.ts"
import * as checkouts from "./checkout.ts"

/** What is restored, and where. */
export interface ApplyOptions {
  /** Absolute path of a checkout on this host. */
  readonly directory: string
  /** The path of the user's repository that the checkout is of; none where it is a clone of its own. */
  readonly repository?: string | undefined
  /** The checkout is a copy of what only a box sees. */
  readonly copied?: boolean | undefined
  /** The `Work` document. */
  readonly document: StoredObject
  /** Reads an object anew; fails when it is not what its digest says. */
  readonly object: history.ReadObject
  /** The branch that the session was asked for. Beside the work's own it alone is moved forward; any branch, when absent. */
  readonly branch?: string | undefined
  /** The branch for the work where the branch of a linked worktree cannot go forward to it; `-2` and so on when it is in use. */
  readonly fallbackBranch: string
}

/** How it went. */
export interface Applied {
  /** The branch that is checked out then; null when HEAD is detached. */
  readonly branch: string | null
  readonly warnings: ReadonlyArray<string>
}

/**
 * Replaces what the checkout holds.
 *
 * Fails with `ERR_CHECKPOINT_INVALID` when the document is none or the repository lacks a commit that it builds on, before
 * anything is changed; as `object` does; or with `ERR_WORKSPACE_FAILED`.
 */
export const apply = Effect.fnUntraced(
  function* (options: ApplyOptions) {
    const bytes = concat(yield* Stream.runCollect(options.object(options.document.digest)))
    const decoded = Work.decode(bytes)
    if (Result.isFailure(decoded)) return yield* unreadable(decoded.failure)
    const { checkout: work, exclude, include } = decoded.success
    const warnings: Array<string> = []
    const branch = yield* restore({ ...options, include, exclude, work }, warnings)
    return { branch, warnings } satisfies Applied
  },
  Effect.mapError(failed("ERR_WORKSPACE_FAILED", "the work could not be restored"))
)

const unreadable = (problem: string) =>
  SandboxError.make("ERR_CHECKPOINT_INVALID", {
    message: `the work cannot be restored: ${problem}`,
    nextStep: "restore another checkpoint",
    details: { problem: "damaged" }
  })

interface Restoring extends ApplyOptions {
  readonly work: Work.Checkout
  readonly include: ReadonlyArray<string>
  readonly exclude: ReadonlyArray<string>
}

const restore: (
  options: Restoring,
  warnings: Array<string>
) => Effect.Effect<
  string | null,
  GitError | PlatformError.PlatformError | SandboxError.SandboxError,
  GitServices | Path.Path | Hasher
> = Effect.fnUntraced(function* (options, warnings) {
  const { exclude, fallbackBranch, include, object, work } = options
  const fs = yield* FileSystem.FileSystem
  const path = yield* Path.Path
  const checkout = yield* checkouts.open(options.directory, options)
  const staging = path.join(checkout.directory, checkouts.staging)
  yield* fs.remove(staging, { recursive: true, force: true })
  yield* history.unpack(checkout, work, object)

  const before = (yield* list(checkout)).map((entry) => entry.path)
  const built = yield* index.build(checkout, work)
  const entries = yield* list(checkout, { index: built })
  const seen = yield* scan(checkout, { entries, include, exclude, index: built })
  const leftOut = (name: string) => exclude.some((one) => name === one || name.startsWith(`${one}/`))
  yield* restoreFiles(checkout, { work, entries, seen, before, leftOut, object })

  for (const nested of work.nested) {
    const below = exclude.filter((one) => one.startsWith(`${nested.path}/`))
    yield* restore(
      {
        ...options,
        directory: yield* prepare(checkout, nested),
        exclude: below.map((one) => one.slice(nested.path.length + 1)),
        work: nested.work
      },
      warnings
    )
  }

  // what git is told last is what makes the rest of it count
  const forward = options.branch === undefined ? undefined : [options.branch, fallbackBranch]
  const branch = yield* history.moveHead(checkout, { work, fallback: fallbackBranch, forward }, warnings)
  yield* history.restoreRefs(checkout, work, warnings)
  yield* history.restoreOperation(checkout, work, object)
  yield* index.publish(checkout, built)
  yield* fs.remove(staging, { recursive: true, force: true })
  return branch
})
