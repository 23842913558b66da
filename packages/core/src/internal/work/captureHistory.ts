/** What of a repository's history a checkpoint needs: where HEAD and its like point, and a pack of what is new there. */
import { Effect, FileSystem, Path, Stream } from "effect"
import * as Git from "../../Git.ts"
import { type Checkout as Captured, operationDirectories, operationFiles } from "../../Work.ts"
import { types } from "./blobs.ts"
import { bytes, type Checkout, lines, stream, text } from "./checkout.ts"

type Ref = Captured["refs"][number]

/** Where branches are kept that came into a linked worktree from a clone. */
export const ownBranches = "refs/worktree/sandbox-heads"

/** Where stash entries are kept that came into a linked worktree: there, refs below this name are its own. */
export const ownStash = "refs/worktree/sandbox-stash"

/** The commit and the branch; no commit before the first one, no branch when HEAD is detached. */
export const headOf = Effect.fnUntraced(function* (checkout: Checkout) {
  const codes = [0, 1]
  const commit = (yield* text(checkout, ["rev-parse", "--verify", "--quiet", "HEAD^{commit}"], { codes })).trim()
  const ref = (yield* text(checkout, ["symbolic-ref", "--quiet", "HEAD"], { codes })).trim()
  return { head: commit === "" ? null : commit, branch: ref === "" ? null : ref.replace(/^refs\/heads\//, "") }
})

/** Refs below these names. */
export const refsBelow = Effect.fnUntraced(function* (checkout: Checkout, ...below: ReadonlyArray<string>) {
  const found = yield* lines(checkout, ["for-each-ref", "--format=%(objectname) %(refname)", ...below])
  return found.map((line): Ref => {
    const space = line.indexOf(" ")
    return { oid: line.slice(0, space), name: line.slice(space + 1) }
  })
})

/** Branches and tags: all of a clone, and of a linked worktree those that came with restored work, by their own names. */
export const refsOf = Effect.fnUntraced(function* (checkout: Checkout) {
  if (!checkout.linked) return yield* refsBelow(checkout, "refs/heads", "refs/tags")
  const kept = yield* refsBelow(checkout, ownBranches)
  return kept.map(({ name, oid }): Ref => ({ oid, name: `refs/heads${name.slice(ownBranches.length)}` }))
})

/** The entries of the stash, the newest first. */
export const stashesOf = Effect.fnUntraced(function* (checkout: Checkout) {
  if (checkout.linked) {
    const refs = yield* refsBelow(checkout, ownStash)
    return refs.map(({ name, oid }) => ({ oid, message: `kept as ${name}` }))
  }
  const some = yield* bytes(checkout, ["rev-parse", "--verify", "--quiet", "refs/stash"], { codes: [0, 1] })
  if (some.length === 0) return []
  const rows = yield* text(checkout, ["log", "-g", "-z", "--format=%H %gs", "refs/stash", "--"])
  return rows
    .split("\0")
    .filter((row) => row !== "")
    .map((row) => {
      const space = row.indexOf(" ")
      return { oid: row.slice(0, space), message: row.slice(space + 1).replaceAll(/\s+/g, " ") }
    })
})

/** The files by which git knows of an operation that has begun, with what they contain. */
export const operationOf = Effect.fnUntraced(function* (checkout: Checkout) {
  const fs = yield* FileSystem.FileSystem
  const path = yield* Path.Path
  const paths: Array<string> = []
  for (const name of operationFiles) {
    if (yield* fs.exists(path.join(checkout.gitDir, name))) paths.push(name)
  }
  for (const name of operationDirectories) {
    const directory = path.join(checkout.gitDir, name)
    if (!(yield* fs.exists(directory))) continue
    for (const below of yield* fs.readDirectory(directory, { recursive: true })) {
      if ((yield* fs.stat(path.join(directory, below))).type === "File") paths.push(`${name}/${below}`)
    }
  }
  return {
    files: yield* Effect.forEach(paths, (name) =>
      Effect.map(fs.readFile(path.join(checkout.gitDir, name)), (content) => ({ path: name, content }))
    ),
    refs: yield* refsBelow(checkout, "refs/bisect", "refs/rewritten")
  }
})

/** Objects that a text names, in full or abbreviated. */
const mentioned = (content: Uint8Array): ReadonlyArray<string> =>
  new TextDecoder().decode(content).match(/\b[0-9a-f]{7,64}\b/g) ?? []

/** What a pack is made of. */
export interface Contents {
  /** Objects that must be there, with all that they refer to. */
  readonly tips: ReadonlyArray<string>
  /** Blobs that may be in no commit. */
  readonly blobs: ReadonlyArray<string>
  /** Files that name further objects. */
  readonly texts: ReadonlyArray<Uint8Array>
  /** Commits that need not be packed: whoever restores has them, with all that they refer to. */
  readonly known: ReadonlyArray<string>
}

/**
 * Decides what has to be packed, and which commits a repository must have that takes the pack.
 *
 * `pack` is none when nothing is new.
 */
export const select = Effect.fnUntraced(function* (checkout: Checkout, contents: Contents) {
  const said = contents.texts.flatMap(mentioned)
  const found = yield* types(checkout, [...contents.tips, ...said, ...contents.known])
  const known = contents.known.filter((oid) => found.get(oid)?.type === "commit")
  const objects = [...new Set([...contents.tips, ...said].flatMap((name) => found.get(name)?.oid ?? []))]
  const tags = objects.filter((oid) => found.get(oid)?.type === "tag")
  const peeled = yield* types(
    checkout,
    tags.map((oid) => `${oid}^{commit}`)
  )
  const commits = new Set([
    ...objects.filter((oid) => found.get(oid)?.type === "commit"),
    ...[...peeled.values()].map(({ oid }) => oid)
  ])
  const others = [...objects.filter((oid) => found.get(oid)?.type !== "commit"), ...contents.blobs]

  const fresh = new Set<string>()
  const boundary = new Set<string>()
  let some = others.length > 0
  const without = known.map((oid) => `^${oid}`)
  if (commits.size > 0) {
    const walk = stream(checkout, ["rev-list", "--boundary", "--stdin"], { lines: [...commits, ...without] })
    yield* Stream.runForEach(Stream.splitLines(Stream.decodeText(walk)), (line) =>
      Effect.sync(() => {
        if (line.startsWith("-")) boundary.add(line.slice(1))
        else {
          some = true
          if (commits.has(line)) fresh.add(line)
        }
      })
    )
  }
  const requires = new Set([...boundary, ...[...commits].filter((oid) => !fresh.has(oid))])
  // in a shallow repository git also leaves out what the commits themselves have that need not be packed
  if (some && checkout.shallow.length > 0) for (const oid of known) requires.add(oid)
  return {
    requires: [...requires],
    pack: some ? [...new Set([...commits, ...others]), ...without] : undefined
  }
})

/**
 * The pack itself. No bundle: that holds refs, and an index, a stash or a stopped rebase name commits and blobs that none
 * points to, while making refs would change the repository. It is not thin, so that it needs nothing but these commits.
 */
export const packed = (checkout: Checkout, objects: ReadonlyArray<string>) =>
  stream(checkout, ["pack-objects", "--revs", "--stdout", "--delta-base-offset", "-q"], { lines: objects })

/**
 * Commits that remote-tracking branches point to, as far as they are published: a worktree shares those of the user's own
 * repository, and those of a clone say nothing but what somebody pushed to or fetched from anywhere. So of a clone it is the
 * repository `origin` that is asked, and it may throw away what none of its refs has.
 */
export const publishedBy = Effect.fnUntraced(function* (checkout: Checkout, origin: string | undefined) {
  const tips = [...new Set((yield* refsBelow(checkout, "refs/remotes")).map(({ oid }) => oid))]
  if (checkout.linked) return tips
  if (origin === undefined || tips.length === 0) return []
  // what cannot be asked has proven nothing
  return yield* Effect.orElseSucceed(keptBy(origin, tips), () => [])
})

/** Those commits that a repository has, and keeps. */
const keptBy = Effect.fnUntraced(function* (repository: string, oids: ReadonlyArray<string>) {
  const ask = (args: ReadonlyArray<string>, asked: ReadonlyArray<string>) => {
    const stdin = Stream.make(new TextEncoder().encode(asked.map((one) => `${one}\n`).join("")))
    const env = { GIT_NO_REPLACE_OBJECTS: "1", GIT_NO_LAZY_FETCH: "1" }
    return Effect.map(Git.output(args, { cwd: repository, env, stdin }), (text) => text.split("\n"))
  }
  const found = yield* ask(["cat-file", "--batch-check"], oids)
  const there = oids.filter((oid, at) => found[at]?.startsWith(`${oid} commit `))
  const loose = there.length === 0 ? [] : yield* ask(["rev-list", "--stdin", "--not", "--all"], there)
  return there.filter((oid) => !loose.includes(oid))
})
