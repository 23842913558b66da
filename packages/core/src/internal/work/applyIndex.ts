/** Building the index of restored work beside the checkout's own, which is replaced when everything else is there. */
import { Effect, FileSystem, Option, Path } from "effect"
import type { Checkout as Captured } from "../../Work.ts"
import { emptyTree, list } from "./captureIndex.ts"
import { bytes, type Checkout, staging } from "./checkout.ts"

/**
 * Copies what git knows of the files now. It is a copy that is changed, because a git that was killed would leave the lock of
 * the checkout's own index behind.
 */
const copy = Effect.fnUntraced(function* (checkout: Checkout) {
  const fs = yield* FileSystem.FileSystem
  const path = yield* Path.Path
  const own = path.join(checkout.gitDir, "index")
  const index = path.join(checkout.gitDir, "sandbox-index")
  for (const left of [index, `${index}.lock`]) yield* fs.remove(left, { force: true })
  if (!(yield* fs.exists(own))) return index
  const { mtime } = yield* fs.stat(own)
  yield* fs.copyFile(own, index)
  // git doubts files that are not older than the index: a copy that looked newer would make it believe too much
  yield* fs.utimes(
    index,
    0,
    Option.getOrElse(mtime, () => 0)
  )
  return index
})

/** Makes the index, and answers where it is. What git knew of unchanged files is kept. */
export const build = Effect.fnUntraced(function* (checkout: Checkout, work: Captured) {
  const index = yield* copy(checkout)
  const env = { GIT_INDEX_FILE: index }
  yield* bytes(checkout, ["read-tree", "--reset", work.head ?? emptyTree(checkout)], { env })
  const nothing = "0".repeat(checkout.objectFormat === "sha1" ? 40 : 64)
  const announced = work.index.filter(({ flags }) => flags.includes("intent-to-add"))
  const soon = new Set(announced.map((entry) => entry.path))
  const paths = new Set([...work.unindexed, ...work.index.map((entry) => entry.path)])
  const kept = new Set(work.index.filter(({ stage }) => stage === 0).map((entry) => entry.path))
  yield* bytes(checkout, ["update-index", "-z", "--index-info"], {
    env,
    names: [
      ...[...paths].filter((name) => !kept.has(name) || soon.has(name)).map((name) => `0 ${nothing}\t${name}`),
      ...work.index
        .filter((entry) => !soon.has(entry.path))
        .map(({ mode, oid, path: name, stage }) => `${mode} ${oid} ${stage}\t${name}`)
    ]
  })
  yield* announce(checkout, announced, index)
  const flagged = yield* list(checkout, { index })
  const has = (flag: "assume-unchanged" | "skip-worktree") =>
    new Set(work.index.filter(({ flags }) => flags.includes(flag)).map((entry) => entry.path))
  const mark = Effect.fnUntraced(function* (flag: "assume-unchanged" | "skip-worktree", now: ReadonlySet<string>) {
    const wanted = has(flag)
    const set = [...wanted].filter((name) => !now.has(name))
    const unset = [...now].filter((name) => !wanted.has(name))
    const update = (option: string, names: ReadonlyArray<string>) =>
      names.length === 0 ? Effect.void : bytes(checkout, ["update-index", "-z", option, "--stdin"], { env, names })
    yield* update(`--${flag}`, set)
    yield* update(`--no-${flag}`, unset)
  })
  yield* mark("assume-unchanged", new Set(flagged.filter(({ assumed }) => assumed).map((entry) => entry.path)))
  yield* mark("skip-worktree", new Set(flagged.filter(({ skipped }) => skipped).map((entry) => entry.path)))
  return index
})

/**
 * Entries that are announced and have no content yet. Only `git add` makes them, of files that it finds: so it finds them in
 * a directory that is made for this.
 */
const announce = Effect.fnUntraced(function* (checkout: Checkout, entries: Captured["index"], index: string) {
  if (entries.length === 0) return
  const fs = yield* FileSystem.FileSystem
  const path = yield* Path.Path
  const directory = path.join(checkout.directory, staging, "announced")
  for (const { mode, path: name } of entries) {
    const at = path.join(directory, name)
    yield* fs.makeDirectory(path.dirname(at), { recursive: true })
    if (mode === "120000") yield* fs.symlink(".", at)
    else yield* fs.writeFileString(at, "", { mode: mode === "100755" ? 0o700 : 0o600 })
  }
  yield* bytes(
    { ...checkout, directory },
    ["add", "--intent-to-add", "--force", "--pathspec-from-file=-", "--pathspec-file-nul"],
    {
      env: { GIT_INDEX_FILE: index, GIT_WORK_TREE: directory, GIT_LITERAL_PATHSPECS: "1" },
      names: entries.map((entry) => entry.path)
    }
  )
  yield* fs.remove(directory, { recursive: true })
})

/** Lets git see which files are as the index says, so that it need not compare them later, and puts the index into place. */
export const publish = Effect.fnUntraced(function* (checkout: Checkout, index: string) {
  const fs = yield* FileSystem.FileSystem
  const path = yield* Path.Path
  // 1: something differs, which is what was captured
  const refresh = ["update-index", "-q", "--refresh"]
  yield* bytes(checkout, refresh, { env: { GIT_INDEX_FILE: index }, codes: [0, 1] })
  yield* fs.rename(index, path.join(checkout.gitDir, "index"))
})
