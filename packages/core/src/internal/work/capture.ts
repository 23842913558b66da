/** Capturing the work of a checkout: its commit, index, files, and whatever git had begun there. Changes nothing in it. */
import { Effect, FileSystem, Path, type PlatformError, Stream } from "effect"
import type { StoredObject } from "../../CheckpointStore.ts"
import type { GitError, GitServices } from "../../Git.ts"
import { Hasher } from "../../Hasher.ts"
import * as SandboxError from "../../SandboxError.ts"
import * as Work from "../../Work.ts"
import { failed } from "./blobs.ts"
import { readFile } from "./captureFile.ts"
import * as history from "./captureHistory.ts"
import * as index from "./captureIndex.ts"
import { scan } from "./captureTree.ts"
import * as checkouts from "./checkout.ts"

/** Which work is meant. */
export interface CaptureOptions {
  /** Absolute path of a checkout on this host: of a linked worktree or of a clone. */
  readonly directory: string
  /** The path of the user's repository that the checkout is of; none where it is a clone of its own. */
  readonly repository?: string | undefined
  /** The checkout is a copy of what only a box sees. */
  readonly copied?: boolean | undefined
  /** A commit that whoever restores is known to have. */
  readonly base: string | null
  /**
   * A repository on this host that has what was published, whatever a clone says of its remotes. Of a clone nothing but `base`
   * is known to be published where there is none.
   */
  readonly origin?: string | undefined
  /** Patterns as in `.gitignore`: ignored files that are taken along. */
  readonly include: ReadonlyArray<string>
  /** Paths relative to the checkout that are left out. */
  readonly exclude: ReadonlyArray<string>
  /** What is to be said of the work beside what is seen of it. */
  readonly warnings?: ReadonlyArray<string> | undefined
}

/** What takes the objects: a `Draft` of the checkpoint store. */
export interface Sink {
  readonly put: <E, R>(
    bytes: Stream.Stream<Uint8Array, E, R>
  ) => Effect.Effect<StoredObject, E | SandboxError.SandboxError, R>
  readonly putFile: (path: string) => Effect.Effect<StoredObject, SandboxError.SandboxError>
}

/** What was captured. */
export interface Captured {
  /** The `Work` document. */
  readonly document: StoredObject
  readonly head: string
  readonly fingerprint: string
  /** Files, links and directories that are in no commit. */
  readonly files: number
  /** Of every object that the document refers to. */
  readonly bytes: number
  readonly warnings: ReadonlyArray<string>
}

const notCaptured = failed("ERR_CHECKPOINT_FAILED", "the work could not be captured")

/** Stores the work in the sink. Fails with `ERR_CHECKPOINT_FAILED`, or as the sink does. */
export const capture = Effect.fnUntraced(function* (options: CaptureOptions, sink: Sink) {
  const warnings: Array<string> = [...(options.warnings ?? [])]
  const take = { ...options, whole: false, prefix: "", put: sink.put, putFile: sink.putFile, pack: true }
  const { head, work } = yield* readWork(take, warnings)
  const document: Work.Work = { format: 1, include: options.include, exclude: options.exclude, checkout: work }
  return {
    document: yield* sink.put(Stream.make(Work.encode(document))),
    head,
    fingerprint: yield* digestOf(work),
    files: Work.count(work),
    bytes: Work.objects(document).reduce((sum, { size }) => sum + size, 0),
    warnings
  } satisfies Captured
}, Effect.mapError(notCaptured))

/**
 * What `capture` would say of the work, without storing anything. A clone's other branches and tags are no part of the
 * fingerprint, because a worktree shares them with its repository: they are answered beside it.
 */
export const fingerprint = Effect.fnUntraced(function* (options: CaptureOptions) {
  const { put, putFile } = yield* nowhere
  const { head, work } = yield* readWork({ ...options, whole: false, prefix: "", put, putFile, pack: false }, [])
  return { head, fingerprint: yield* digestOf(work), files: Work.count(work), refs: work.refs }
}, Effect.mapError(notCaptured))
/** Takes objects, and keeps nothing of them but what they are called. */
export const nowhere = Effect.gen(function* () {
  const fs = yield* FileSystem.FileSystem
  const hasher = yield* Hasher
  const put: Sink["put"] = Effect.fnUntraced(function* (bytes) {
    let size = 0
    const counted = Stream.tap(bytes, (chunk) => Effect.sync(() => (size += chunk.length)))
    return { digest: yield* hasher.sha256(counted), size }
  })
  const small = 1024 * 1024
  const putFile: Sink["putFile"] = (path) =>
    Effect.gen(function* () {
      const { size } = yield* fs.stat(path)
      return yield* put(Number(size) > small ? fs.stream(path) : Stream.make(yield* fs.readFile(path)))
    }).pipe(Effect.mapError(notCaptured))
  return { put, putFile } satisfies Sink
})

const digestOf = Effect.fnUntraced(function* (work: Work.Checkout) {
  return yield* (yield* Hasher).sha256(Stream.make(Work.identity(work)))
})

const readWork = Effect.fnUntraced(function* (take: Take, warnings: Array<string>) {
  const work = yield* read(take, warnings)
  return work.head === null ? yield* unborn(take.directory) : { head: work.head, work }
})

const unborn = (directory: string) =>
  SandboxError.make("ERR_CHECKPOINT_FAILED", {
    message: `the branch that is checked out in ${directory} has no commit yet`,
    nextStep: "commit something there, and run the command again",
    retryable: false,
    details: { directory }
  })

interface Take extends CaptureOptions, Sink {
  /** Pack all history: nothing is known of who restores. */
  readonly whole: boolean
  /** How the warnings name what is inside a nested repository. */
  readonly prefix: string
  /** The fingerprint needs none. */
  readonly pack: boolean
}

const concurrency = 4

const read: (take: Take, warnings: Array<string>) => Effect.Effect<Work.Checkout, Failure, Services> =
  Effect.fnUntraced(function* (take, warnings) {
    const { exclude, include, prefix, put, putFile } = take
    const path = yield* Path.Path
    const checkout = yield* checkouts.open(take.directory, take)
    const { branch, head } = yield* history.headOf(checkout)
    const entries = yield* index.list(checkout)
    const staged = yield* index.changes(checkout, head, entries)
    const operation = yield* history.operationOf(checkout)
    const stashes = yield* history.stashesOf(checkout)
    const refs = yield* history.refsOf(checkout)
    const seen = yield* scan(checkout, { entries, include, exclude })
    warnings.push(...seen.warnings.map((warning) => `${prefix}${warning}`))

    const tracked = new Set(seen.changed)
    const reads = yield* Effect.forEach(
      [...seen.changed, ...seen.untracked],
      (name) => Effect.map(readFile(checkout, name, putFile), (one) => ({ name, one })),
      { concurrency }
    )
    const gone = reads.filter(({ name, one }) => one === undefined && tracked.has(name)).map(({ name }) => name)
    const restless = reads.filter(({ one }) => one?.restless === true).map(({ name }) => prefix + name)
    if (restless.length > 0) {
      warnings.push(`files that kept changing were saved as last read: ${checkouts.some(restless)}`)
    }

    const nested = yield* Effect.forEach(seen.nested, ({ path: name, submodule }) =>
      Effect.gen(function* () {
        const below = exclude.filter((one) => one.startsWith(`${name}/`)).map((one) => one.slice(name.length + 1))
        const directory = path.join(checkout.directory, name)
        const inner = { ...take, directory, base: null, exclude: below, whole: true, prefix: `${prefix}${name}/` }
        if (!submodule)
          warnings.push(`${prefix}${name} is a repository of its own, and was saved with its whole history`)
        return { path: name, submodule, work: yield* read(inner, warnings) }
      })
    )

    const { pack, requires } = take.pack
      ? yield* history.select(checkout, {
          tips: [...(head === null ? [] : [head]), ...[...refs, ...stashes, ...operation.refs].map(({ oid }) => oid)],
          blobs: staged.blobs,
          texts: operation.files.map(({ content }) => content),
          known: take.whole
            ? []
            : [...(take.base === null ? [] : [take.base]), ...(yield* history.publishedBy(checkout, take.origin))]
        })
      : { pack: undefined, requires: [] }

    return {
      object_format: checkout.objectFormat,
      head,
      branch,
      requires,
      shallow: checkout.shallow,
      pack: pack === undefined ? null : yield* put(history.packed(checkout, pack)),
      refs,
      stashes,
      index: staged.index,
      unindexed: staged.unindexed,
      files: reads.flatMap(({ one }) => (one === undefined ? [] : [one.file])),
      deleted: [...seen.deleted, ...gone],
      directories: seen.directories,
      operation: {
        files: yield* Effect.forEach(operation.files, ({ content, path: name }) =>
          Effect.map(put(Stream.make(content)), (stored) => ({ path: name, ...stored }))
        ),
        refs: operation.refs
      },
      nested
    }
  })

type Failure = GitError | PlatformError.PlatformError | SandboxError.SandboxError
type Services = GitServices | Path.Path
