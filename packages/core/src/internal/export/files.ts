/** Exports that are files of this host: a bundle, and a series of patches. Written beside, made durable, then renamed. */
import { Effect, FileSystem, Path, PlatformError } from "effect"
import { failed, must, nobody, type Stage, type Work } from "./stage.ts"

const unwritable = <A, E, R>(effect: Effect.Effect<A, E | PlatformError.PlatformError, R>) =>
  Effect.mapError(effect, (error) =>
    isPlatformError(error)
      ? failed(`the export cannot be written: ${error.message}`, "make room, or name another directory with --output")
      : error
  )

const isPlatformError = (error: unknown): error is PlatformError.PlatformError =>
  error instanceof PlatformError.PlatformError

const sync = Effect.fnUntraced(function* (path: string) {
  const file = yield* (yield* FileSystem.FileSystem).open(path, { flag: "r" })
  yield* file.sync
}, Effect.scoped)

/** Where a bundle of a commit is: one file for each branch that it names. */
export const bundleName = (commit: string, branch: string): string => `${commit}-${branch.replaceAll("/", "-")}.bundle`

/**
 * Writes a bundle of the work that names the branch, readable by its owner alone, and proves that it holds it.
 *
 * Answers whether it was there already. Fails with `ERR_EXPORT_FAILED`.
 */
export const bundle = Effect.fnUntraced(function* (
  stage: Stage,
  work: Work,
  { branch, file }: { readonly branch: string; readonly file: string }
) {
  const fs = yield* FileSystem.FileSystem
  const path = yield* Path.Path
  yield* fs.makeDirectory(path.dirname(file), { recursive: true, mode: 0o700 })
  if (yield* fs.exists(file)) {
    // ours by its name; one that is not whole is written again
    if (yield* Effect.isSuccess(check(stage, work, branch, file))) return true
  }
  const beside = `${file}.new`
  yield* fs.remove(beside, { force: true })
  yield* must(stage, ["update-ref", `refs/heads/${branch}`, work.commit])
  const not = work.base === null ? [] : [`^${work.base}`]
  yield* must(stage, ["bundle", "create", "--quiet", beside, `refs/heads/${branch}`, ...not])
  yield* fs.chmod(beside, 0o600)
  yield* sync(beside)
  yield* check(stage, work, branch, beside)
  yield* fs.rename(beside, file)
  yield* sync(path.dirname(file))
  return false
}, unwritable)

/** Reads a bundle whole. */
const check = Effect.fnUntraced(function* (stage: Stage, { commit }: Work, branch: string, file: string) {
  const heads = yield* must(stage, ["bundle", "list-heads", file])
  if (heads !== `${commit} refs/heads/${branch}`) return yield* failed(`${file} does not hold ${commit}`)
  yield* must(stage, ["bundle", "unbundle", file])
})

/**
 * Writes the work as a series of patches, and proves that they make the same tree of the base.
 *
 * Answers whether the directory had exactly them already. Fails with `ERR_EXPORT_FAILED`; a directory that has something
 * else is left alone, unless it is ours.
 */
export const patches = Effect.fnUntraced(
  function* (
    stage: Stage,
    work: Work,
    base: string,
    { directory, ours }: { readonly directory: string; readonly ours: boolean }
  ) {
    const fs = yield* FileSystem.FileSystem
    const path = yield* Path.Path
    const warnings: Array<string> = []
    const merges = yield* must(stage, ["rev-list", "--count", "--merges", `${base}..${work.commit}`])
    if (merges !== "0") warnings.push("the work has merges, which patches cannot tell: it is one patch with all of it")
    const last = merges === "0" ? work.commit : yield* squashed(stage, work, base)
    yield* fs.makeDirectory(path.dirname(directory), { recursive: true, ...(ours ? { mode: 0o700 } : {}) })
    // a name that nobody else has: the directory may be among its user's own
    const made = yield* fs.makeTempDirectoryScoped({ directory: path.dirname(directory), prefix: ".sandbox-export-" })
    const beside = path.join(made, "patches")
    yield* fs.makeDirectory(beside, { mode: 0o700 })
    yield* must(stage, [
      "format-patch",
      "--quiet",
      "--binary",
      "--full-index",
      "--no-renames",
      "-o",
      beside,
      `${base}..${last}`
    ])
    const names = (yield* fs.readDirectory(beside)).toSorted()
    yield* apply(
      stage,
      work,
      base,
      names.map((name) => path.join(beside, name))
    )
    yield* Effect.forEach([...names.map((name) => path.join(beside, name)), beside], sync, { discard: true })
    const there = (yield* fs.exists(directory)) ? yield* fs.readDirectory(directory) : undefined
    if (there !== undefined && there.length > 0) {
      if (yield* same(beside, directory, names, there)) return { already: true, warnings }
      if (!ours) {
        return yield* failed(`${directory} has other files in it`, "name a new directory with --output", {
          field: "output"
        })
      }
      yield* fs.remove(directory, { recursive: true, force: true })
    }
    yield* fs.rename(beside, directory)
    yield* sync(path.dirname(directory))
    return { already: false, warnings }
  },
  Effect.scoped,
  unwritable
)

const same = Effect.fnUntraced(function* (
  a: string,
  b: string,
  names: ReadonlyArray<string>,
  others: ReadonlyArray<string>
) {
  const fs = yield* FileSystem.FileSystem
  if (names.join("\0") !== others.toSorted().join("\0")) return false
  for (const name of names) {
    if ((yield* fs.readFileString(`${a}/${name}`)) !== (yield* fs.readFileString(`${b}/${name}`))) return false
  }
  return true
})

/** All of the work as one commit on its base; the same for the same work. */
const squashed = Effect.fnUntraced(function* (stage: Stage, { commit }: Work, base: string) {
  const text = yield* must(stage, ["log", "--reverse", "--no-merges", "--format=* %s", `${base}..${commit}`])
  const at = yield* must(stage, ["show", "--no-patch", "--format=@%ct +0000", commit])
  const env = { ...nobody, GIT_AUTHOR_DATE: at, GIT_COMMITTER_DATE: at }
  return yield* must(stage, ["commit-tree", `${commit}^{tree}`, "-p", base, "-m", `All of the work\n\n${text}`], env)
})

/** Applies the patches to the base, and compares what comes of it with the work. */
const apply = Effect.fnUntraced(function* (stage: Stage, { commit }: Work, base: string, files: ReadonlyArray<string>) {
  const env = { GIT_INDEX_FILE: `${stage.scratch}/patched` }
  yield* must(stage, ["read-tree", base], env)
  if (files.length > 0) yield* must(stage, ["apply", "--cached", "--whitespace=nowarn", "--", ...files], env)
  const tree = yield* must(stage, ["write-tree"], env)
  if (tree === (yield* must(stage, ["rev-parse", "--verify", `${commit}^{tree}`]))) return
  return yield* failed(
    "the patches do not make the same files of the commit that they begin at",
    "export a bundle or a branch: they hold the commits themselves"
  )
})
