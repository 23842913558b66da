/**
 * The work of a checkout as a checkpoint keeps it: a document that says what there was, and the objects that it names.
 *
 * Everything is told by its content, so that the same work has the same fingerprint wherever it is. Names are those of the
 * stored JSON; what a checkout has from its commit unchanged is not repeated.
 */
import { Result, Schema } from "effect"
import { StoredObject } from "./CheckpointStore.ts"

/** Whether a name may stand in a path: never one that some file system takes for `.git`, nor one that leads elsewhere. */
const isSafeName = (name: string): boolean =>
  name !== "" &&
  name !== "." &&
  name !== ".." &&
  name.replaceAll(/[\u200c-\u200f\u202a-\u202e\u206a-\u206f\ufeff]/g, "").toLowerCase() !== ".git"

/** Whether a path is relative, stays below its root, and never leads into a repository's own directory. */
export const isSafePath = (path: string): boolean => !path.includes("\0") && path.split("/").every(isSafeName)

const SafePath = Schema.String.check(
  Schema.makeFilter((path: string) => isSafePath(path) || "a path that stays inside")
)

const Oid = Schema.String.check(Schema.isPattern(/^([0-9a-f]{40}|[0-9a-f]{64})$/))

const Digest = Schema.String.check(Schema.isPattern(/^[0-9a-f]{64}$/))

const Named = (pattern: RegExp) => Schema.Struct({ name: Schema.String.check(Schema.isPattern(pattern)), oid: Oid })

/** Flags of an entry of the index that its content does not show. */
export const IndexFlag = Schema.Literals(["intent-to-add", "skip-worktree", "assume-unchanged"])

/** An entry of the index that the commit does not have in this way. */
export const IndexEntry = Schema.Struct({
  path: SafePath,
  /** 0, or 1 to 3 for the sides of a conflict. */
  stage: Schema.Literals([0, 1, 2, 3]),
  /** As git writes it, such as `100644`. */
  mode: Schema.Literals(["100644", "100755", "120000", "160000"]),
  oid: Oid,
  flags: Schema.Array(IndexFlag)
})
export type IndexEntry = typeof IndexEntry.Type

/** A file or a link that differs from the index, or is not in it. */
export const WorkFile = Schema.Union([
  Schema.Struct({
    path: SafePath,
    type: Schema.Literal("file"),
    /** Permission bits, octal, such as `644`. */
    mode: Schema.String.check(Schema.isPattern(/^[0-7]{3}$/)),
    digest: Digest,
    size: Schema.Int
  }),
  Schema.Struct({ path: SafePath, type: Schema.Literal("link"), target: Schema.String })
])
export type WorkFile = typeof WorkFile.Type

/** Files of git's own directory by which it knows of an operation that has begun, such as a merge. */
export const operationFiles: ReadonlyArray<string> = [
  ...["MERGE_HEAD", "MERGE_MSG", "MERGE_MODE", "MERGE_AUTOSTASH", "AUTO_MERGE", "SQUASH_MSG"],
  ...["CHERRY_PICK_HEAD", "REVERT_HEAD", "REBASE_HEAD"],
  ...["BISECT_LOG", "BISECT_START", "BISECT_TERMS", "BISECT_NAMES", "BISECT_EXPECTED_REV", "BISECT_RUN"],
  ...["BISECT_ANCESTORS_OK", "BISECT_FIRST_PARENT", "BISECT_HEAD"]
]

/** Directories of the same kind. */
export const operationDirectories: ReadonlyArray<string> = ["rebase-merge", "rebase-apply", "sequencer"]

const isOperationPath = (path: string): boolean => {
  const [first = "", ...rest] = path.split("/")
  return rest.length === 0 ? operationFiles.includes(first) : operationDirectories.includes(first) && isSafePath(path)
}

const OperationFile = Schema.Struct({
  path: Schema.String.check(Schema.makeFilter((path: string) => isOperationPath(path) || "a file of an operation")),
  digest: Digest,
  size: Schema.Int
})

/** The work of one repository: of the session's own, or of one that is nested in it. */
export interface Checkout {
  /** How the repository names objects. */
  readonly object_format: "sha1" | "sha256"
  /** The commit that was checked out; null before the first one, which only a nested repository can be. */
  readonly head: string | null
  /** Null when HEAD was detached. */
  readonly branch: string | null
  /** Commits that a repository must have before this can be restored into it. */
  readonly requires: ReadonlyArray<string>
  /** Commits whose parents the repository never had. */
  readonly shallow: ReadonlyArray<string>
  /** A git pack of what is in neither of these commits. */
  readonly pack: StoredObject | null
  /** Branches and tags; of a linked worktree, whose repository is the user's, only those that came with restored work. */
  readonly refs: ReadonlyArray<{ readonly name: string; readonly oid: string }>
  /** The newest first. */
  readonly stashes: ReadonlyArray<{ readonly oid: string; readonly message: string }>
  readonly index: ReadonlyArray<IndexEntry>
  /** Paths of the commit that the index does not have. */
  readonly unindexed: ReadonlyArray<string>
  readonly files: ReadonlyArray<WorkFile>
  /** Paths of the index that were not there. */
  readonly deleted: ReadonlyArray<string>
  /** Directories with nothing in them. */
  readonly directories: ReadonlyArray<string>
  /** What had begun, such as a merge or a rebase. */
  readonly operation: {
    readonly files: ReadonlyArray<typeof OperationFile.Type>
    readonly refs: ReadonlyArray<{ readonly name: string; readonly oid: string }>
  }
  /** Submodules, and repositories that git knows nothing of. */
  readonly nested: ReadonlyArray<Nested>
}

/** A repository in the checkout of another one. */
export interface Nested {
  readonly path: string
  readonly submodule: boolean
  readonly work: Checkout
}

const Checkout: Schema.Codec<Checkout> = Schema.Struct({
  object_format: Schema.Literals(["sha1", "sha256"]),
  head: Schema.NullOr(Oid),
  branch: Schema.NullOr(Schema.String.check(Schema.isPattern(/^[^-\0\n][^\0\n]*$/))),
  requires: Schema.Array(Oid),
  shallow: Schema.Array(Oid),
  pack: Schema.NullOr(StoredObject),
  refs: Schema.Array(Named(/^refs\/(heads|tags)\/[^\0\n]+$/)),
  stashes: Schema.Array(Schema.Struct({ oid: Oid, message: Schema.String })),
  index: Schema.Array(IndexEntry),
  unindexed: Schema.Array(SafePath),
  files: Schema.Array(WorkFile),
  deleted: Schema.Array(SafePath),
  directories: Schema.Array(SafePath),
  operation: Schema.Struct({
    files: Schema.Array(OperationFile),
    refs: Schema.Array(Named(/^refs\/(bisect|rewritten)\/[^\0\n]+$/))
  }),
  nested: Schema.Array(
    Schema.Struct({
      path: SafePath,
      submodule: Schema.Boolean,
      work: Schema.suspend((): Schema.Codec<Checkout> => Checkout)
    })
  )
})

/** The document of a checkpoint. */
export interface Work {
  readonly format: 1
  /** What it was captured with: patterns of ignored files that were taken along, and paths that were left out. */
  readonly include: ReadonlyArray<string>
  readonly exclude: ReadonlyArray<string>
  readonly checkout: Checkout
}

export const Work: Schema.Codec<Work> = Schema.Struct({
  format: Schema.Literal(1),
  include: Schema.Array(Schema.String),
  exclude: Schema.Array(Schema.String),
  checkout: Checkout
})

const decodeText = Schema.decodeUnknownResult(Schema.fromJsonString(Work))

/** The document, or a sentence about why these bytes are none. */
export const decode = (bytes: Uint8Array): Result.Result<Work, string> =>
  Result.mapError(
    decodeText(new TextDecoder().decode(bytes)),
    (error) => `what it says about the work is not readable: ${String(error)}`
  )

export const encode = (document: Work): Uint8Array => new TextEncoder().encode(JSON.stringify(document))

const objectsOf = (work: Checkout): ReadonlyArray<StoredObject> => [
  ...(work.pack === null ? [] : [work.pack]),
  ...work.operation.files,
  ...work.files.filter((file) => file.type === "file"),
  ...work.nested.flatMap((nested) => objectsOf(nested.work))
]

/** Every object that the document refers to, once. */
export const objects = (document: Work): ReadonlyArray<StoredObject> => [
  ...new Map(objectsOf(document.checkout).map(({ digest, size }) => [digest, { digest, size }])).values()
]

/** Whether there is nothing in it but commits. */
export const isCommitted = ({ operation, ...work }: Checkout): boolean =>
  [
    ...[work.index, work.unindexed, work.files, work.deleted, work.directories, work.stashes, work.nested],
    ...[operation.files, operation.refs]
  ].every(({ length }) => length === 0)

/** How many files, links and directories there are that no commit has. */
export const count = (work: Checkout): number =>
  work.nested.reduce((sum, nested) => sum + count(nested.work), uncommitted(work).size + work.directories.length)

/** Files and links by their paths; what is staged is in no commit either. */
const uncommitted = ({ files, index }: Checkout): ReadonlySet<string> => {
  const staged = index.filter(({ flags, mode }) => flags.length === 0 && mode !== "160000")
  return new Set([...files, ...staged].map(({ path }) => path))
}

const sorted = <A>(rows: ReadonlyArray<A>): ReadonlyArray<string> => rows.map((row) => JSON.stringify(row)).toSorted()

const canonical = (work: Checkout): unknown => [
  work.head,
  sorted(work.index.map(({ flags, mode, oid, path, stage }) => [path, stage, mode, oid, flags.toSorted()])),
  sorted(work.unindexed),
  sorted(
    work.files.map((file) =>
      file.type === "link" ? [file.path, "link", file.target] : [file.path, file.mode, file.digest]
    )
  ),
  sorted(work.deleted),
  sorted(work.directories),
  sorted(work.operation.files.map(({ digest, path }) => [path, digest])),
  sorted(work.operation.refs.map(({ name, oid }) => [name, oid])),
  work.stashes.map(({ oid }) => oid),
  sorted(work.nested.map((nested) => [nested.path, nested.submodule, canonical(nested.work)]))
]

/** The bytes whose digest is the fingerprint: the content alone, in one order, whatever it is called and kept in. */
export const identity = (work: Checkout): Uint8Array => new TextEncoder().encode(JSON.stringify([1, canonical(work)]))
