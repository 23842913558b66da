/** Checkouts for the tests of capture and apply, and everything that can be seen of one. */
import { createHash } from "node:crypto"
import { existsSync, lstatSync, readdirSync, readFileSync, readlinkSync } from "node:fs"
import { join } from "node:path"
import type { StoredObject } from "@org/sandbox-core/CheckpointStore"
import * as SandboxError from "@org/sandbox-core/SandboxError"
import { Effect, Stream } from "effect"
import type { CaptureOptions, Sink } from "../src/internal/work/capture.ts"
import { directory, git } from "./git.ts"

const sha256 = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex")

/** Objects in memory, which can be damaged. */
export const memory = () => {
  const objects = new Map<string, Uint8Array>()
  const keep = (bytes: Uint8Array): StoredObject => {
    const digest = sha256(bytes)
    objects.set(digest, bytes)
    return { digest, size: bytes.length }
  }
  const sink: Sink = {
    put: (bytes) => Effect.map(Stream.runCollect(bytes), (chunks) => keep(Buffer.concat(chunks))),
    putFile: (path) =>
      Effect.try({
        try: () => keep(readFileSync(path)),
        catch: (cause) =>
          SandboxError.make("ERR_CHECKPOINT_FAILED", { message: `${path}: ${String(cause)}`, nextStep: "look" })
      })
  }
  const object = (digest: string): Stream.Stream<Uint8Array, SandboxError.SandboxError> => {
    const bytes = objects.get(digest)
    return bytes !== undefined && sha256(bytes) === digest
      ? Stream.make(bytes)
      : Stream.fail(
          SandboxError.make("ERR_CHECKPOINT_INVALID", { message: `object ${digest} is damaged`, nextStep: "look" })
        )
  }
  return { objects, sink, object }
}

/** How a session works on a repository. */
export type Kind = "worktree" | "clone"

/** A repository, and fresh checkouts of it. */
export interface Place {
  /** The repository that a clone comes from, and that a worktree belongs to. */
  readonly origin: string
  readonly base: string
  /** A checkout at the first commit. */
  readonly fresh: () => string
  readonly options: (path: string, more?: Partial<CaptureOptions>) => CaptureOptions
}

/** Runs git as a user who has a name, and lets it refuse. */
export const user = (cwd: string, ...args: ReadonlyArray<string>): string =>
  git(cwd, "-c", "user.name=u", "-c", "user.email=u@example.com", "-c", "protocol.file.allow=always", ...args)

/** As `user`, of a command that stops halfway, such as a merge with a conflict. */
export const stops = (cwd: string, ...args: ReadonlyArray<string>): void => {
  let stopped = false
  try {
    user(cwd, ...args)
  } catch {
    stopped = true
  }
  if (!stopped) throw new Error(`git ${args.join(" ")} was to stop`)
}

/** A repository with one commit that `fill` makes, and checkouts of the kind. */
export const place = Effect.fnUntraced(function* (
  kind: Kind,
  fill: (root: string) => void,
  init: ReadonlyArray<string> = []
) {
  const parent = yield* directory
  const origin = join(parent, "origin")
  git(parent, "init", "--quiet", "--initial-branch", "main", ...init, origin)
  fill(origin)
  user(origin, "add", "--all")
  user(origin, "commit", "--quiet", "--allow-empty", "--message", "first")
  const base = git(origin, "rev-parse", "HEAD")
  let next = 0
  return {
    origin,
    base,
    fresh: () => {
      next += 1
      const path = join(parent, `checkout-${next}`)
      if (kind === "clone") git(parent, "clone", "--quiet", origin, path)
      else git(origin, "worktree", "add", "--quiet", "--no-track", "-b", `work-${next}`, path, base)
      return path
    },
    options: (path, more = {}) => ({ directory: path, base, include: [], exclude: [], ...more })
  } satisfies Place
})

/** Every file, link and empty directory below a directory, with type, mode and content. */
export const listing = (root: string, skip: (path: string) => boolean = () => false): ReadonlyArray<string> => {
  const walk = (at: string): ReadonlyArray<string> => {
    const names = readdirSync(join(root, at)).toSorted()
    if (names.length === 0) return [`${at}/`]
    return names.flatMap((name) => {
      const path = at === "" ? name : `${at}/${name}`
      if (skip(path)) return []
      const info = lstatSync(join(root, path))
      if (info.isDirectory()) return walk(path)
      if (info.isSymbolicLink()) return [`${path} -> ${readlinkSync(join(root, path))}`]
      if (!info.isFile()) return [`${path} special`]
      return [`${path} ${(info.mode & 0o777).toString(8)} ${sha256(readFileSync(join(root, path)))}`]
    })
  }
  return walk("")
}

const isGit = (path: string): boolean => path === ".git" || path.endsWith("/.git")

/** What a user sees of a checkout: `git status`, the index with its flags, the stash, and the files. */
export const seen = (path: string, ignored: (path: string) => boolean = () => false) => ({
  status: user(path, "status", "--porcelain=v2", "--branch", "--untracked-files=all", "--show-stash")
    .split("\n")
    .filter((line) => !/^# branch\.(head|upstream|ab)/.test(line)),
  index: user(path, "ls-files", "--stage", "-v"),
  // whether it is announced or has no content is not in the list above
  staged: user(path, "diff", "--cached", "--raw", "--no-abbrev"),
  files: listing(path, (name) => isGit(name) || ignored(name)),
  begun: begun(path)
})

/** What git had begun, with the trees of the commits that it needs to go on. */
const begun = (path: string): ReadonlyArray<string> => {
  const own = git(path, "rev-parse", "--absolute-git-dir")
  const heads = ["MERGE_HEAD", "CHERRY_PICK_HEAD", "REVERT_HEAD", "REBASE_HEAD"].filter((name) =>
    existsSync(join(own, name))
  )
  const state = /^(MERGE|CHERRY|REVERT|REBASE|BISECT|SQUASH|AUTO_MERGE|rebase|sequencer)/
  return [
    ...heads.map((name) => `${name} ${user(path, "log", "-1", "--format=%T %s", "--stat", name)}`),
    // git reads these as the user it runs as, whoever else may
    ...listing(own, (name) => !state.test(name) || name === "MERGE_RR").map((line) => line.replace(/ \d{3} /, " "))
  ]
}
