/**
 * Making a copy of a box's checkout safe for this host's git: whoever works in the box may have written anything there.
 *
 * Git runs what a repository's configuration and hooks name, and reads where its links and its other files lead. So of every
 * repository in the copy the configuration is cut down to what says how it is stored, hooks and whatever points at another
 * repository are put aside, and nothing of it may lead out of the repository. What was put aside is given back with the copy.
 */
import { Effect, FileSystem, Path, type PlatformError } from "effect"
import * as Git from "../../Git.ts"
import * as SandboxError from "../../SandboxError.ts"
import { harmless } from "./harmless.ts"

/** What an archive was seen to hold, by paths relative to the checkout. */
export interface Contents {
  /** Everything by the name of `.git`, however it is written. */
  readonly repositories: ReadonlyArray<string>
  /** Everything by the name of `HEAD`, however it is written: what it is in may be a repository. */
  readonly heads: ReadonlyArray<string>
  /** Symbolic links, and hard ones, which may be of symbolic ones. */
  readonly links: ReadonlyArray<string>
}

/** Something that was taken out of the copy: where it belongs, and where it is meanwhile. */
export interface PutAside {
  readonly path: string
  readonly at: string
}

interface Copied extends Contents {
  /** Absolute, without links. */
  readonly root: string
  /** A directory outside of it. */
  readonly aside: string
  /** What was put there, in this order. */
  readonly away: Array<PutAside>
  /** Repositories that are harmless already. */
  readonly disarmed: Set<string>
}

type Disarming<A> = Effect.Effect<A, PlatformError.PlatformError | SandboxError.SandboxError | Git.GitError, Services>
type Services = Git.GitServices | Path.Path

/**
 * Makes the checkout in `directory` harmless, and answers what was put into `aside` for it, in this order.
 *
 * Fails with `ERR_WORKSPACE_FAILED`, naming the path, where something of a repository leads out of it.
 */
export const distrust = Effect.fnUntraced(
  function* (directory: string, aside: string, contents: Contents) {
    const fs = yield* FileSystem.FileSystem
    const path = yield* Path.Path
    yield* fs.makeDirectory(aside)
    const root = yield* fs.realPath(directory)
    const copied: Copied = { ...contents, root, aside, away: [], disarmed: new Set() }
    for (const name of contents.repositories) {
      const git = path.join(root, name)
      // it may have gone with the one that it was in
      if (!(yield* exists(git))) continue
      if (yield* isOwn(git)) {
        if (yield* disarm(copied, git)) continue
        if (name === ".git") return yield* notOne()
        yield* putAside(copied, git)
      } else if (!(yield* disarm(copied, yield* led(copied, git)))) {
        return yield* leadsOut(name)
      }
    }
    if (!(yield* exists(path.join(root, ".git")))) return yield* notOne()
    const all: ReadonlyArray<PutAside> = copied.away
    return all
  },
  Effect.mapError((error) =>
    SandboxError.isSandboxError(error)
      ? error
      : SandboxError.make("ERR_WORKSPACE_FAILED", {
          message: `the copy of the checkout cannot be looked at: ${error.message}`,
          nextStep: "put that right in the session, and run the command again",
          retryable: false
        })
  )
)

/** Whether `.git` is itself a directory. */
const isOwn = Effect.fnUntraced(function* (git: string) {
  if (yield* isLink(git)) return false
  return (yield* (yield* FileSystem.FileSystem).stat(git)).type === "Directory"
})

/**
 * Where a `.git` leads that is a file, as that of a submodule: into the `.git` of a checkout around it and nowhere else, by a way
 * that nothing beside those can turn. A link is followed nowhere: git reads what a file names from where the link is.
 */
const led = Effect.fnUntraced(function* ({ root }: Copied, git: string) {
  const fs = yield* FileSystem.FileSystem
  const path = yield* Path.Path
  const out = leadsOut(path.relative(root, git))
  if ((yield* isLink(git)) || (yield* fs.stat(git)).type !== "File") return yield* out
  const named = /^gitdir: (.+?)[\r\n]*$/s.exec(yield* fs.readFileString(git))?.[1]
  if (named === undefined || !isStraight(named)) return yield* out
  const to = path.resolve(path.dirname(git), named)
  const real = yield* Effect.mapError(fs.realPath(to), () => out)
  for (let around = path.dirname(path.dirname(git)); around.startsWith(root); around = path.dirname(around)) {
    const within = path.join(around, ".git", path.sep)
    if (to.startsWith(within) && real.startsWith(within)) return real
  }
  return yield* out
})

/**
 * Whether a path, read from a directory that no link leads to, first goes up and then only down. What is not UTF-8 is read as
 * something else than it is.
 */
const isStraight = (target: string): boolean => {
  const parts = target.split("/").filter((part) => part !== "" && part !== ".")
  const climbs = parts.findIndex((part) => part !== "..")
  return !target.startsWith("/") && !target.includes("\ufffd") && !parts.slice(Math.max(climbs, 0)).includes("..")
}

/** What would lead git elsewhere or make it run something, and stands in the repository's own directory. */
const dangerous = ["hooks", "commondir", "gitdir", "config.worktree"]
const borrowing = ["objects/info/alternates", "objects/info/http-alternates"]

/** Makes a repository harmless, with those that git keeps in it for submodules; `false` where git does not take it for one. */
const disarm: (copied: Copied, git: string) => Disarming<boolean> = Effect.fnUntraced(function* (copied, git) {
  if (copied.disarmed.has(git)) return true
  const fs = yield* FileSystem.FileSystem
  const path = yield* Path.Path
  const { heads, links, root } = copied
  for (const name of dangerous) yield* putAside(copied, path.join(git, name))
  // no link leads out any more once all were looked at: only then may a path go through one
  for (const link of links) yield* checkLink(copied, git, path.join(root, link))
  for (const name of borrowing) yield* putAside(copied, path.join(git, name))
  const config = path.join(git, "config")
  if (yield* exists(config)) {
    const kept = yield* harmless(config)
    yield* putAside(copied, config)
    yield* fs.writeFileString(config, kept, { flag: "wx" })
  }
  const modules = path.join(path.relative(root, git), "modules", path.sep).toLowerCase()
  for (const head of heads) {
    const inner = path.join(root, path.dirname(head))
    if (!head.toLowerCase().startsWith(modules) || !(yield* exists(path.join(inner, "objects")))) continue
    if (!(yield* disarm(copied, inner))) yield* putAside(copied, inner)
  }
  const asked = yield* Git.run(["rev-parse", "--git-dir"], { cwd: git, env: { GIT_DIR: git } })
  if (asked.code === 0) copied.disarmed.add(git)
  return asked.code === 0
})

/**
 * A link of a repository leads to nothing but what is the repository's own: beside that, whoever works in the box may have set
 * a second link, which leads out. One that leads nowhere is nothing to git.
 */
const checkLink = Effect.fnUntraced(function* (copied: Copied, git: string, link: string) {
  const fs = yield* FileSystem.FileSystem
  const path = yield* Path.Path
  const own = path.join(git, path.sep)
  if (!link.startsWith(own)) return
  const out = leadsOut(path.relative(copied.root, link))
  // what is not UTF-8 cannot be looked at by its name
  if (link.includes("\ufffd")) return yield* out
  if (!(yield* isLink(link))) return
  const target = yield* fs.readLink(link)
  const real = yield* Effect.orElseSucceed(fs.realPath(link), () => undefined)
  if (real === undefined) return yield* putAside(copied, link)
  if (!isStraight(target) || !path.resolve(path.dirname(link), target).startsWith(own)) return yield* out
  if (!real.startsWith(own)) return yield* out
})

const putAside = Effect.fnUntraced(function* ({ aside, away }: Copied, file: string) {
  if (!(yield* exists(file))) return
  const at = (yield* Path.Path).join(aside, String(away.length))
  yield* (yield* FileSystem.FileSystem).rename(file, at)
  away.push({ path: file, at })
})

const isLink = (file: string) => Effect.flatMap(FileSystem.FileSystem, (fs) => Effect.isSuccess(fs.readLink(file)))

/** Also a link that leads nowhere. */
const exists = Effect.fnUntraced(function* (file: string) {
  return (yield* isLink(file)) || (yield* (yield* FileSystem.FileSystem).exists(file))
})

const leadsOut = (name: string) =>
  SandboxError.make("ERR_WORKSPACE_FAILED", {
    message: `${name} in the checkout is no repository of its own, so that git on this host must not follow it`,
    nextStep: "remove it in the session, or make it a directory there, and run the command again",
    retryable: false,
    details: { path: name }
  })

const notOne = () =>
  SandboxError.make("ERR_WORKSPACE_FAILED", {
    message: "the checkout in the box has no git repository any more",
    nextStep: "repair .git in the session; `sandbox cp` takes out what is there",
    retryable: false,
    details: { path: ".git" }
  })
