/**
 * What of a checkout's files is not as its index has it.
 *
 * The bytes on the disk are compared with the bytes in git, without filters or conversions: so the answer depends on the
 * content alone, and neither on times nor on what git remembers of them.
 */
import { Effect, FileSystem, Path } from "effect"
import { isSafePath } from "../../Work.ts"
import { blobs } from "./blobs.ts"
import type { Listed } from "./captureIndex.ts"
import { type Checkout, names, readableNames, some, staging, text } from "./checkout.ts"
import { emptyDirectories } from "./emptyDirectories.ts"
import { type Look, looker } from "./look.ts"

/** What to look at, and with which index when it is not the checkout's own. */
export interface ScanOptions {
  readonly entries: ReadonlyArray<Listed>
  readonly include: ReadonlyArray<string>
  readonly exclude: ReadonlyArray<string>
  readonly index?: string | undefined
}

/** Paths, relative to the checkout. */
export interface Scan {
  /** Files and links that differ from the index. */
  readonly changed: ReadonlyArray<string>
  /** Files and links that the index does not have. */
  readonly untracked: ReadonlyArray<string>
  /** What the index has and the disk does not. */
  readonly deleted: ReadonlyArray<string>
  readonly directories: ReadonlyArray<string>
  /** Repositories inside the checkout. */
  readonly nested: ReadonlyArray<{ readonly path: string; readonly submodule: boolean }>
  readonly warnings: ReadonlyArray<string>
}

const concurrency = 8

/** Looks at every path that may differ. */
export const scan = Effect.fnUntraced(function* (checkout: Checkout, options: ScanOptions) {
  const path = yield* Path.Path
  const { entries, exclude, include } = options
  const env = options.index === undefined ? {} : { GIT_INDEX_FILE: options.index }
  const leftOut = (name: string) => [staging, ...exclude].some((one) => name === one || name.startsWith(`${one}/`))
  const at = (name: string) => path.join(checkout.directory, name)
  const look = yield* looker(checkout)

  const dirty = yield* differing(checkout, env)
  const convertible = yield* mayBeConverted(checkout, entries, env)
  const suspects = entries.filter(
    (entry) => entry.stage > 0 || entry.assumed || entry.skipped || dirty.has(entry.path) || convertible.has(entry.path)
  )
  const modules = [...new Set(entries.filter(({ mode }) => mode === "160000").map((entry) => entry.path))]
  const tracked = new Map(suspects.map((entry) => [entry.path, entry]))
  const seen = yield* Effect.forEach(
    [...tracked.values()].filter(({ mode, path: name }) => mode !== "160000" && !leftOut(name)),
    (entry) => Effect.map(look(entry.path), (info) => ({ entry, info })),
    { concurrency }
  )
  const isKept = ({ info }: Seen) => info?.type === "File" || info?.type === "SymbolicLink"
  const there = seen.filter(isKept)
  const deleted = seen.filter((one) => !isKept(one)).map(({ entry }) => entry.path)
  const same = yield* unchanged(checkout, there)
  const changed = there.map(({ entry }) => entry.path).filter((name) => !same.has(name))

  const { repositories, special, unsafe, untracked } = yield* untrackedFiles(checkout, { env, include, leftOut, look })
  const odd = [...special, ...seen.flatMap(({ entry, info }) => (isSpecial(info?.type) ? [entry.path] : []))]
  const populated = yield* Effect.filter(modules, (name) =>
    Effect.map(look(`${name}/.git`), (git) => git !== undefined)
  )
  const missing = yield* Effect.filter(modules, (name) => Effect.map(look(name), (info) => info?.type !== "Directory"))
  const pointers = yield* lfsPointers(checkout, entries, convertible, env, (name) => same.has(name), at)

  return {
    changed,
    untracked,
    deleted: [...deleted, ...missing],
    directories: (yield* emptyDirectories(checkout, {
      deleted,
      untracked,
      nested: repositories,
      env,
      look
    })).filter((name) => !leftOut(name) && isSafePath(name)),
    nested: [
      ...populated.map((name) => ({ path: name, submodule: true })),
      ...repositories.map((name) => ({ path: name, submodule: false }))
    ],
    warnings: [
      ...(odd.length === 0 ? [] : [`sockets, pipes or devices were left out: ${some(odd)}`]),
      ...(unsafe.length === 0 ? [] : [`names that can be taken for .git were left out: ${some(unsafe)}`]),
      ...(pointers.length === 0 ? [] : [`Git LFS pointers were saved without their content: ${some(pointers)}`])
    ]
  } satisfies Scan
})

const isSpecial = (type: FileSystem.File.Type | undefined): boolean =>
  type !== undefined && type !== "File" && type !== "SymbolicLink" && type !== "Directory"

interface Untracked {
  readonly env: Record<string, string>
  readonly include: ReadonlyArray<string>
  readonly leftOut: (name: string) => boolean
  readonly look: Look
}

/** What the index does not have, by what it is. */
const untrackedFiles = Effect.fnUntraced(function* (checkout: Checkout, { env, include, leftOut, look }: Untracked) {
  const others = yield* names(checkout, ["ls-files", "-z", "--others", "--exclude-standard"], { env })
  const patterns = include.map((pattern) => `--exclude=${pattern}`)
  const included =
    patterns.length === 0
      ? []
      : yield* names(checkout, ["ls-files", "-z", "--others", "--ignored", ...patterns], { env })
  const found = [...new Set([...others, ...included])].filter((name) => !leftOut(name.replace(/\/$/, "")))
  const safe = found.filter((name) => isSafePath(name.replace(/\/$/, "")))
  const kinds = yield* Effect.forEach(
    safe.filter((name) => !name.endsWith("/")),
    (name) => Effect.map(look(name), (info) => ({ name, type: info?.type })),
    { concurrency }
  )
  const are = (is: (type: FileSystem.File.Type | undefined) => boolean) =>
    kinds.filter(({ type }) => is(type)).map(({ name }) => name)
  return {
    untracked: are((type) => type === "File" || type === "SymbolicLink"),
    special: are(isSpecial),
    unsafe: found.filter((name) => !isSafePath(name.replace(/\/$/, ""))),
    // git shows a repository as a directory, and nothing of what is in it
    repositories: safe.filter((name) => name.endsWith("/")).map((name) => name.slice(0, -1))
  }
})

/** What git has not seen since it changed: by size and times, so that this is where to look and no more. */
const differing = Effect.fnUntraced(function* (checkout: Checkout, env: Record<string, string>) {
  const args = ["diff-files", "--name-only", "-z", "--no-renames", "--ignore-submodules=all"]
  return new Set(yield* names(checkout, args, { env }))
})

const attributes = ["filter", "text", "eol", "ident", "crlf", "working-tree-encoding"]

/** Tracked files whose bytes may differ from git's without git calling them changed. */
const mayBeConverted = Effect.fnUntraced(function* (
  checkout: Checkout,
  entries: ReadonlyArray<Listed>,
  env: Record<string, string>
) {
  const files = (mode: string) => mode === "100644" || mode === "100755"
  if (checkout.converts) return new Set(entries.filter(({ mode }) => files(mode)).map(({ path }) => path))
  const none = `:(exclude,attr:${attributes.map((name) => `!${name}`).join(" ")})`
  return new Set(yield* readableNames(checkout, ["ls-files", "-z", "--", none], { env }))
})

interface Seen {
  readonly entry: Listed
  readonly info: FileSystem.File.Info | undefined
}

/** Those that have exactly the bytes, the type and the executable bit that the index has. */
const unchanged = Effect.fnUntraced(function* (checkout: Checkout, seen: ReadonlyArray<Seen>) {
  const fs = yield* FileSystem.FileSystem
  const path = yield* Path.Path
  const single = seen.filter(({ entry }) => entry.stage === 0)
  const files = single.filter(
    ({ entry, info }) => info?.type === "File" && entry.mode === ((info.mode & 0o100) === 0 ? "100644" : "100755")
  )
  const hashed = yield* hashes(
    checkout,
    files.map(({ entry }) => entry.path)
  )
  const same = new Set(files.filter(({ entry }, at) => hashed[at] === entry.oid).map(({ entry }) => entry.path))
  const links = single.filter(({ entry, info }) => info?.type === "SymbolicLink" && entry.mode === "120000")
  const targets = yield* blobs(
    checkout,
    links.map(({ entry }) => entry.oid)
  )
  for (const { entry } of links) {
    const target = yield* fs.readLink(path.join(checkout.directory, entry.path))
    if (targets.get(entry.oid) === target) same.add(entry.path)
  }
  return same
})

/** Line by line, a name that has to be is in quotes. */
const quoted = (name: string): string =>
  /["\\\n\r]/.test(name)
    ? `"${name.replaceAll(/["\\]/g, "\\$&").replaceAll("\n", "\\n").replaceAll("\r", "\\r")}"`
    : name

const hashes = Effect.fnUntraced(function* (checkout: Checkout, paths: ReadonlyArray<string>) {
  if (paths.length === 0) return []
  const args = ["hash-object", "--no-filters", "--stdin-paths"]
  return (yield* text(checkout, args, { lines: paths.map(quoted) })).split("\n")
})

const lfsPointers = Effect.fnUntraced(function* (
  checkout: Checkout,
  entries: ReadonlyArray<Listed>,
  convertible: ReadonlySet<string>,
  env: Record<string, string>,
  isSame: (name: string) => boolean,
  at: (name: string) => string
) {
  if (convertible.size === 0 || entries.length === 0) return []
  const fs = yield* FileSystem.FileSystem
  const large = yield* readableNames(checkout, ["ls-files", "-z", "--", ":(attr:filter=lfs)"], { env })
  return yield* Effect.filter(large.filter(isSame), (name) =>
    Effect.gen(function* () {
      const info = yield* fs.stat(at(name))
      if (Number(info.size) > 1024) return false
      return (yield* fs.readFileString(at(name))).startsWith("version https://git-lfs.github.com/spec/")
    })
  )
})
