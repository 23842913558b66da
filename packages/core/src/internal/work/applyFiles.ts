/**
 * Making the files of a checkout what they were: what is not wanted goes, the rest is written beside and renamed into place.
 *
 * Nothing is ever written or removed through a link: a path whose directory is one is made a directory first.
 */
import { Effect, FileSystem, Path, Stream } from "effect"
import { Hasher } from "../../Hasher.ts"
import * as SandboxError from "../../SandboxError.ts"
import type { Checkout as Captured, WorkFile } from "../../Work.ts"
import { concat } from "../archiveHeader.ts"
import type { ReadObject } from "./applyHistory.ts"
import { read } from "./blobs.ts"
import { octal } from "./captureFile.ts"
import type { Listed } from "./captureIndex.ts"
import type { Scan } from "./captureTree.ts"
import { type Checkout, staging } from "./checkout.ts"
import { above, isAbsent, looker, parents } from "./look.ts"

/** What is wanted, and how the checkout differs from it now. */
export interface FilesOptions {
  readonly work: Captured
  /** Of the index that the checkout is given. */
  readonly entries: ReadonlyArray<Listed>
  /** As that index sees the files. */
  readonly seen: Scan
  /** Paths that the checkout's index had before. */
  readonly before: ReadonlyArray<string>
  readonly leftOut: (name: string) => boolean
  readonly object: ReadObject
}

interface Plan {
  /** Files and links, and directories that have nothing in them. */
  readonly remove: ReadonlyArray<string>
  /** Repositories, with everything in them. */
  readonly removeWhole: ReadonlyArray<string>
  readonly write: ReadonlyArray<WorkFile>
  /** What the index has, and the checkout has not in this way. */
  readonly check: ReadonlyArray<Listed>
  readonly directories: ReadonlyArray<string>
}

const plan = (options: FilesOptions): Plan => {
  const { before, entries, leftOut, seen, work } = options
  const files = new Set(work.files.map(({ path }) => path))
  const deleted = new Set(work.deleted)
  const empty = new Set(work.directories)
  const repositories = new Set(work.nested.map(({ path }) => path))
  const tracked = new Map(entries.map((entry) => [entry.path, entry]))
  const wrong = [...seen.changed, ...seen.deleted].filter((name) => !files.has(name) && !deleted.has(name))
  const check = wrong.flatMap((name) => tracked.get(name) ?? [])
  return {
    remove: [
      ...seen.untracked.filter((name) => !files.has(name)),
      ...before.filter((name) => !files.has(name) && !tracked.has(name) && !repositories.has(name) && !leftOut(name)),
      ...work.deleted.filter((name) => !repositories.has(name)),
      ...seen.directories.filter((name) => !empty.has(name))
    ],
    removeWhole: seen.nested.filter(({ path }) => !repositories.has(path)).map(({ path }) => path),
    write: work.files,
    check: check.filter(({ mode }) => mode !== "160000"),
    directories: [
      ...work.directories,
      ...repositories,
      ...check.filter(({ mode }) => mode === "160000").map(({ path }) => path),
      // what a submodule that was not there leaves is an empty directory
      ...seen.nested
        .filter(({ path, submodule }) => submodule && !repositories.has(path) && !deleted.has(path))
        .map(({ path }) => path)
    ]
  }
}

const contradictory = (name: string) =>
  SandboxError.make("ERR_CHECKPOINT_INVALID", {
    message: `the work cannot be restored: ${JSON.stringify(name)} would be a file and a directory`,
    nextStep: "restore another checkpoint",
    details: { problem: "damaged", path: name }
  })

const concurrency = 4

/** Does all of it; what was done already is not done again. */
export const restoreFiles = Effect.fnUntraced(function* (checkout: Checkout, options: FilesOptions) {
  const { object, seen, work } = options
  const fs = yield* FileSystem.FileSystem
  const path = yield* Path.Path
  const { check, directories, remove, removeWhole, write } = plan(options)
  const deleted = new Set(work.deleted)
  const indexed = options.entries.filter((entry) => entry.mode !== "160000" && !deleted.has(entry.path))
  const leaves = new Set([...write, ...indexed].map((one) => one.path))
  const wanted = [...leaves, ...directories, ...work.nested.map((nested) => nested.path)]
  const twice = wanted.flatMap(parents).find((name) => leaves.has(name)) ?? directories.find((name) => leaves.has(name))
  if (twice !== undefined) return yield* contradictory(twice)

  const temporary = path.join(checkout.directory, staging)
  yield* fs.makeDirectory(temporary, { recursive: true, mode: 0o700 })
  yield* clear(checkout, remove, removeWhole)
  const place = yield* placer(checkout)

  const present = new Set([...seen.changed, ...seen.untracked])
  yield* Effect.forEach(
    write,
    (file, at) =>
      Effect.gen(function* () {
        if (present.has(file.path) && (yield* isThere(checkout, file))) return
        const staged = path.join(temporary, `file-${at}`)
        yield* fs.remove(staged, { force: true })
        if (file.type === "link") yield* fs.symlink(file.target, staged)
        else {
          yield* store(fs, staged, file, object)
          yield* fs.chmod(staged, Number.parseInt(file.mode, 8))
        }
        yield* place(staged, file.path)
      }),
    { concurrency, discard: true }
  )
  yield* writeBlobs(checkout, check, temporary, place)
  for (const name of directories) yield* place.directory(name)
})

const small = 1024 * 1024

const store = (
  fs: FileSystem.FileSystem,
  staged: string,
  file: { readonly digest: string; readonly size: number },
  object: ReadObject
) =>
  file.size > small
    ? Stream.run(object(file.digest), fs.sink(staged, { flag: "wx", mode: 0o600 }))
    : Effect.flatMap(Stream.runCollect(object(file.digest)), (chunks) =>
        fs.writeFile(staged, concat(chunks), { flag: "wx", mode: 0o600 })
      )

/** Whether exactly this stands there already. */
const isThere = Effect.fnUntraced(function* (checkout: Checkout, file: WorkFile) {
  const fs = yield* FileSystem.FileSystem
  const path = yield* Path.Path
  const at = path.join(checkout.directory, file.path)
  const info = yield* (yield* looker(checkout))(file.path)
  if (file.type === "link") return info?.type === "SymbolicLink" && (yield* fs.readLink(at)) === file.target
  if (info?.type !== "File" || Number(info.size) !== file.size || octal(info.mode) !== file.mode) return false
  return (yield* (yield* Hasher).sha256(fs.stream(at))) === file.digest
})

/** Removes what is not wanted, and the directories that have nothing in them then. What is ignored stays. */
const clear = Effect.fnUntraced(function* (
  checkout: Checkout,
  names: ReadonlyArray<string>,
  whole: ReadonlyArray<string>
) {
  const fs = yield* FileSystem.FileSystem
  const path = yield* Path.Path
  const look = yield* looker(checkout)
  for (const name of whole) yield* fs.remove(path.join(checkout.directory, name), { recursive: true, force: true })
  for (const name of names) {
    const info = yield* look(name)
    if (info !== undefined && info.type !== "Directory") yield* fs.remove(path.join(checkout.directory, name))
  }
  const left = new Set([...names, ...names.flatMap(parents), ...whole.flatMap(parents)])
  for (const name of [...left].toSorted((one, other) => other.length - one.length)) {
    if ((yield* look(name))?.type !== "Directory") continue
    const at = path.join(checkout.directory, name)
    if ((yield* fs.readDirectory(at)).length === 0) yield* fs.remove(at, { recursive: true })
  }
})

/** Renames what was written into its place, whatever stands there or in the way. */
const placer = Effect.fnUntraced(function* (checkout: Checkout) {
  const fs = yield* FileSystem.FileSystem
  const path = yield* Path.Path
  const real = new Set<string>([""])
  const typeOf = (at: string) =>
    fs.lstat(at).pipe(
      Effect.map(({ type }) => type),
      Effect.catchIf(isAbsent, () => Effect.undefined)
    )
  const directory = Effect.fnUntraced(function* (name: string) {
    for (const one of [...parents(name).toReversed(), ...(name === "" ? [] : [name])]) {
      if (real.has(one)) continue
      const at = path.join(checkout.directory, one)
      const type = yield* typeOf(at)
      if (type !== "Directory") {
        if (type !== undefined) yield* fs.remove(at)
        // beside us another one may make the same
        yield* fs
          .makeDirectory(at)
          .pipe(
            Effect.catchReason("PlatformError", "AlreadyExists", (_, error) =>
              Effect.flatMap(typeOf(at), (now) => (now === "Directory" ? Effect.void : Effect.fail(error)))
            )
          )
      }
      real.add(one)
    }
  })
  const place = Effect.fnUntraced(function* (staged: string, name: string) {
    yield* directory(above(name))
    const at = path.join(checkout.directory, name)
    if ((yield* typeOf(at)) === "Directory") yield* fs.remove(at, { recursive: true })
    yield* fs.rename(staged, at)
  })
  return Object.assign(place, { directory })
})

/** Writes files and links with the bytes that git has, without filters or conversions. */
const writeBlobs = Effect.fnUntraced(function* (
  checkout: Checkout,
  entries: ReadonlyArray<Listed>,
  temporary: string,
  place: Effect.Success<ReturnType<typeof placer>>
) {
  const fs = yield* FileSystem.FileSystem
  const path = yield* Path.Path
  const staged = path.join(temporary, "blob")
  yield* fs.remove(staged, { force: true })
  const decoder = new TextDecoder()
  let entry: Listed | undefined
  let target = ""
  yield* read(
    checkout,
    entries.map(({ oid }) => oid),
    {
      begin: Effect.fnUntraced(function* (at) {
        entry = entries[at]
        target = ""
        if (entry?.mode === "120000") return
        yield* fs.writeFile(staged, new Uint8Array(), { flag: "wx", mode: entry?.mode === "100755" ? 0o777 : 0o666 })
      }),
      write: Effect.fnUntraced(function* (bytes) {
        if (entry?.mode === "120000") target += decoder.decode(bytes, { stream: true })
        else yield* fs.writeFile(staged, bytes, { flag: "a" })
      }),
      end: Effect.gen(function* () {
        if (entry?.mode === "120000") yield* fs.symlink(target, staged)
        yield* place(staged, entry?.path ?? "")
      })
    }
  )
})
