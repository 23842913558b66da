/**
 * Placing and removing the checkout of a box: a worktree of a local repository, or a clone of a remote one. A worktree of
 * the user's own can be used instead; it is left alone.
 *
 * Everything is written down before git is asked for it, so that a second call knows what a killed one was about. The
 * caller holds the lock of the box; changes to a user's repository hold its lock too, each for one command.
 */
import * as Git from "@org/sandbox-core/Git"
import * as Mirror from "@org/sandbox-core/Mirror"
import * as Processes from "@org/sandbox-core/Processes"
import type { WorkspacePlacement, WorkspaceSource, WorkspaceStatus } from "@org/sandbox-core/Provisioner"
import * as Repository from "@org/sandbox-core/Repository"
import * as RepositoryLock from "@org/sandbox-core/RepositoryLock"
import { Effect, FileSystem, Path, Schedule } from "effect"
import { type BoxServices, Checkout } from "./Boxes.ts"
import * as Files from "./Files.ts"
import { isCheckedOut, isNoRepository, type Problem, Refused } from "./LocalError.ts"

/** A box, as far as its checkout goes. */
export interface Place {
  readonly key: string
  /** Where a checkout of the box's own is, or will be. */
  readonly path: string
  readonly checkout: Checkout | null
  /** Makes the state of the checkout durable. */
  readonly record: (checkout: Checkout | null) => Effect.Effect<void, Problem, BoxServices>
  /** The key of another box whose checkout is at a real path. */
  readonly holder: (path: string) => Effect.Effect<string | undefined, Problem, BoxServices>
}

/** Marks the git commands of one box, which may outlive a killed process of ours. */
const gitMarker = "SANDBOX_BOX_GIT"

/** Places a checkout, or keeps the one that is there with all its work. */
export const attach = Effect.fn("Worktree.attach")(function* (place: Place, source: WorkspaceSource) {
  const fs = yield* FileSystem.FileSystem
  yield* checkNames(source)
  // What a killed removal had begun to remove is removed.
  if (place.checkout?.state === "removing") yield* detach(place)
  const before = place.checkout?.state === "removing" ? null : place.checkout
  const there = yield* fs.exists(pathOf(place))
  if (before !== null && before.repository !== source.repository) {
    return yield* refused("Conflict", `The box has a checkout of ${before.repository}; detach that one first.`)
  }
  if (before?.state === "placed" && there) return yield* kept(place, before)
  if (before !== null && before.kind !== "adopted") yield* clear(place, before)
  const adopted = source.reuse === true ? yield* adopt(place, source) : undefined
  if (adopted !== undefined) return placement(place, adopted, adopted.branch)
  const kind = Repository.fromLocation(source.repository)._tag === "path" ? "worktree" : "clone"
  const start = new Checkout({
    state: "placing",
    kind,
    repository: source.repository,
    branch: before?.branch ?? null,
    created: before?.created ?? null,
    warnings: []
  })
  yield* place.record(start)
  const placed = kind === "worktree" ? yield* addWorktree(place, start, source) : yield* clone(place, start, source)
  yield* place.record(placed)
  return placement(place, placed, placed.branch)
})

/** What would be lost if the checkout were removed. */
export const status: (place: Place) => Effect.Effect<WorkspaceStatus, Problem, Git.GitServices | Path.Path> =
  Effect.fnUntraced(function* (place) {
    const fs = yield* FileSystem.FileSystem
    const { checkout } = place
    const path = pathOf(place)
    if (checkout?.state !== "placed" || !(yield* fs.exists(path))) {
      return { present: false, dirtyFiles: 0, unpublishedCommits: 0 }
    }
    // what is let go of and stays is not lost
    if (checkout.kind === "adopted") return { present: true, dirtyFiles: 0, unpublishedCommits: 0 }
    const git = yield* inside(place)
    const changed = yield* git("status", "--porcelain", "-z", "--no-renames", "--untracked-files=all")
    // A branch without a commit is checked out where HEAD leads nowhere.
    const head = (yield* git("rev-parse", "--revs-only", "HEAD")) === "" ? [] : ["HEAD"]
    // The branches of a worktree are the user's own; only a detached HEAD can hold what they have not.
    const commits =
      checkout.kind !== "clone"
        ? yield* git("rev-list", "--count", ...head, "--not", "--branches", "--tags", "--remotes")
        : yield* git("rev-list", "--count", ...head, "--branches", "--not", "--remotes=origin")
    const stashes = checkout.kind !== "clone" ? "" : yield* git("stash", "list", "--format=%H")
    const dirtyFiles = changed.split("\0").length - 1
    return { present: true, dirtyFiles, unpublishedCommits: Number(commits) + (stashes.split("\n").length - 1) }
  })

/**
 * Removes the checkout and verifies that it is gone, then the branch that was made for it, if nobody added to it.
 *
 * A worktree that its user has locked stays, with everything in it. An adopted one is the user's, and is let go of.
 */
export const detach = Effect.fn("Worktree.detach")(function* (place: Place) {
  const { checkout } = place
  if (checkout === null) return
  if (checkout.kind === "adopted") return yield* place.record(null)
  yield* clear(place, checkout)
  if (checkout.created !== null) yield* removeBranch(checkout.repository, checkout.created)
  yield* place.record(null)
})

/** Where the checkout is. */
const pathOf = ({ checkout, path }: Place) => checkout?.path ?? path

/** Takes the worktree over that has the branch; undefined when none has it, or when the repository is not on this host. */
const adopt = Effect.fnUntraced(function* (place: Place, source: WorkspaceSource) {
  const fs = yield* FileSystem.FileSystem
  const { branch, repository } = source
  if (Repository.fromLocation(repository)._tag !== "path") return undefined
  return yield* Effect.gen(function* () {
    const found = (yield* worktrees(repository)).find((worktree) => worktree.branch === `refs/heads/${branch}`)
    if (found === undefined || !(yield* fs.exists(found.path))) return undefined
    const holder = yield* place.holder(yield* realPath(found.path))
    if (holder !== undefined) {
      return yield* refused(
        "Conflict",
        `The worktree ${found.path} of branch ${branch} is in use by the box ${holder}.`
      )
    }
    const adopted = new Checkout({
      state: "placed",
      kind: "adopted",
      path: found.path,
      repository,
      branch,
      created: null,
      warnings: []
    })
    yield* place.record(adopted)
    return adopted
    // With the lock, so that of two boxes that find the same one the second sees the first.
  }).pipe(RepositoryLock.withLock(yield* RepositoryLock.fileOf(repository)))
})

const kept = Effect.fnUntraced(function* (place: Place, checkout: Checkout) {
  const args = ["symbolic-ref", "--quiet", "--short", "HEAD"]
  const head = yield* Git.run(args, { cwd: pathOf(place), env: ceiling(yield* Path.Path, place) })
  if (head.code === 0) return placement(place, checkout, head.stdout.trim())
  if (head.code === 1) return placement(place, checkout, checkout.branch)
  return yield* refused(
    "Conflict",
    `${pathOf(place)} is no longer a git checkout (${Git.failure(args, head).message}); repair it, or save what you need and destroy the session.`
  )
})

const placement = (place: Place, checkout: Checkout, branch: string | null): WorkspacePlacement => ({
  branch: branch ?? "HEAD",
  path: checkout.path ?? place.path,
  warnings: checkout.warnings
})

/** Checks out the branch itself, or the first fallback that is free. */
const addWorktree = Effect.fnUntraced(function* (place: Place, start: Checkout, source: WorkspaceSource) {
  const fallbacks = Array.from({ length: 50 }, (_, n) => source.fallbackBranch + (n === 0 ? "" : `-${n + 1}`))
  const again = start.branch === null ? [] : [start.branch]
  for (const branch of new Set([...again, source.branch, ...fallbacks])) {
    const added = yield* add(place, start, source, branch)
    if (added === undefined) continue
    // Files are written without the lock, so that many checkouts of one repository can be written at once.
    yield* Git.output(["reset", "--hard", "--quiet", "--no-recurse-submodules"], {
      cwd: place.path,
      timeout: Mirror.timeout,
      env: { [gitMarker]: place.key }
    })
    const warnings =
      branch === source.branch
        ? []
        : [`Branch ${source.branch} is checked out elsewhere, so this checkout is on branch ${branch}.`]
    return new Checkout({ ...added, state: "placed", branch, warnings })
  }
  return yield* refused("Conflict", `Branch ${source.branch} and 50 names like ${source.fallbackBranch} are in use.`)
})

/** Registers the worktree on a branch; undefined when the branch is not ours to take. */
const add = Effect.fnUntraced(function* (place: Place, start: Checkout, source: WorkspaceSource, branch: string) {
  const { repository } = source
  const options = { cwd: repository, env: { [gitMarker]: place.key } }
  return yield* Effect.gen(function* () {
    const tip = yield* tipOf(repository, branch)
    const made = branch === start.created?.branch && tip === start.created.commit
    const free = tip === undefined || tip === source.commit || branch === source.branch
    if (!free && !made && branch !== start.branch) return undefined
    const created = tip === undefined ? { branch, commit: source.commit } : made ? start.created : null
    const next = new Checkout({ ...start, created })
    if (tip === undefined) yield* place.record(next)
    const where = tip === undefined ? ["-b", branch, "--no-track"] : []
    const what = tip === undefined ? source.commit : branch
    const args = ["worktree", "add", "--no-checkout", ...where, "--", place.path, what]
    const result = yield* Git.run(args, options)
    if (result.code === 0) return next
    if (isCheckedOut(result.stderr)) return undefined
    return yield* Git.failure(args, result)
  }).pipe(RepositoryLock.withLock(yield* RepositoryLock.fileOf(repository)))
})

/** A clone that needs neither the mirror nor the network, on a branch that follows nothing. */
const clone = Effect.fnUntraced(function* (place: Place, start: Checkout, source: WorkspaceSource) {
  const mirror = yield* Mirror.ensure(source.repository, source.commit)
  const options = { cwd: place.path, timeout: Mirror.timeout, env: { [gitMarker]: place.key } }
  const git = (...args: ReadonlyArray<string>) => Git.output(args, options)
  if (source.depth !== undefined) return yield* shallow(place, start, { source, mirror, depth: source.depth })
  const args = ["clone", "--quiet", "--no-checkout", "--no-hardlinks", "--origin", "origin", "--", mirror, place.path]
  yield* Git.output(args, { ...options, cwd: undefined })
  const has = yield* Git.run(["cat-file", "-e", `${source.commit}^{commit}`], options)
  if (has.code !== 0) yield* git("fetch", "--quiet", "--no-write-fetch-head", "--", mirror, source.commit)
  yield* git("remote", "set-url", "origin", source.repository)
  // A clone comes with the remote's default branch, which follows it; the only local branch shall be the session's.
  for (const branch of (yield* git("for-each-ref", "--format=%(refname:short)", "refs/heads")).split("\n")) {
    if (branch === "") continue
    yield* git("update-ref", "-d", `refs/heads/${branch}`)
    yield* Git.run(["config", "--remove-section", `branch.${branch}`], options)
  }
  yield* git("checkout", "--quiet", "--no-track", "-b", source.branch, source.commit, "--")
  return new Checkout({ ...start, state: "placed", branch: source.branch })
})

/** A clone of the last commits of one branch. Only a URL makes git leave history out. */
const shallow = Effect.fnUntraced(function* (
  place: Place,
  start: Checkout,
  { depth, mirror, source }: { readonly source: WorkspaceSource; readonly mirror: string; readonly depth: number }
) {
  const options = { timeout: Mirror.timeout, env: { [gitMarker]: place.key } }
  yield* Git.output(["init", "--quiet", "--", place.path], options)
  const git = (...args: ReadonlyArray<string>) => Git.output(args, { ...options, cwd: place.path })
  const branch = `refs/remotes/origin/${source.branch}`
  const what = ["--depth", String(depth), "--", `file://${mirror}`, `${source.commit}:${branch}`]
  yield* git("fetch", "--quiet", "--no-tags", "--no-write-fetch-head", ...what)
  yield* git("remote", "add", "--", "origin", source.repository)
  yield* git("checkout", "--quiet", "--no-track", "-b", source.branch, source.commit, "--")
  return new Checkout({ ...start, state: "placed", branch: source.branch })
})

/** Removes whatever there is of a checkout, finished or not. */
const clear = Effect.fnUntraced(function* (place: Place, checkout: Checkout) {
  const fs = yield* FileSystem.FileSystem
  const { repository, kind } = checkout
  const registered = kind === "worktree" && (yield* isRepository(repository))
  if (registered) {
    const lock = (yield* registration(repository, place.path))?.locked
    // Git locks a worktree itself while it makes it; any other lock is somebody's wish.
    if (lock !== undefined && lock !== "initializing") {
      const why = lock === "" ? "" : ` (${lock})`
      const unlock = `git -C ${repository} worktree unlock ${place.path}`
      return yield* refused("Conflict", `The worktree ${place.path} is locked${why}; free it with \`${unlock}\`.`)
    }
  }
  if (checkout.state !== "removing") yield* place.record(new Checkout({ ...checkout, state: "removing" }))
  // A git of a killed process of ours may still be writing.
  yield* Processes.end(gitMarker, place.key)
  // Whatever runs in the box may write there too, until it is stopped.
  yield* Files.remove(place.path).pipe(Effect.retry({ times: 5, schedule: Schedule.spaced("100 millis") }))
  if (registered && (yield* registration(repository, place.path)) !== undefined) {
    const lock = yield* RepositoryLock.fileOf(repository)
    const remove = Git.output(["worktree", "remove", "--force", "--force", "--", place.path], { cwd: repository })
    yield* RepositoryLock.withLock(lock)(remove)
  }
  const left =
    (yield* fs.exists(place.path)) || (registered && (yield* registration(repository, place.path)) !== undefined)
  if (left) return yield* refused("NotReady", `The checkout ${place.path} was removed and is still there.`)
})

const removeBranch = Effect.fnUntraced(function* (
  repository: string,
  created: { readonly branch: string; readonly commit: string }
) {
  if (!(yield* isRepository(repository))) return
  const ref = `refs/heads/${created.branch}`
  const isUnused = Effect.gen(function* () {
    if ((yield* tipOf(repository, created.branch)) !== created.commit) return false
    return !(yield* worktrees(repository)).some(({ branch }) => branch === ref)
  })
  const remove = Git.output(["update-ref", "-d", ref, created.commit], { cwd: repository })
  const lock = yield* RepositoryLock.fileOf(repository)
  yield* RepositoryLock.withLock(lock)(Effect.when(remove, isUnused))
})

interface Registration {
  readonly path: string
  readonly branch: string | undefined
  /** The reason of its lock, empty when none was given; undefined when it is not locked. */
  readonly locked: string | undefined
}

const worktrees = Effect.fnUntraced(function* (repository: string) {
  const text = yield* Git.output(["worktree", "list", "--porcelain"], { cwd: repository })
  return text.split("\n\n").flatMap((block): ReadonlyArray<Registration> => {
    const field = (name: string) => {
      const line = block.split("\n").find((line) => line === name || line.startsWith(`${name} `))
      return line?.slice(name.length + 1)
    }
    const path = field("worktree")
    return path === undefined ? [] : [{ path, branch: field("branch"), locked: field("locked") }]
  })
})

/** A path without symbolic links on the way to it; what it names may be gone. */
export const realPath = Effect.fnUntraced(function* (file: string) {
  const fs = yield* FileSystem.FileSystem
  const path = yield* Path.Path
  return yield* fs.realPath(path.dirname(file)).pipe(
    Effect.map((parent) => path.join(parent, path.basename(file))),
    Effect.orElseSucceed(() => file)
  )
})

/** The worktree at a path, which may be gone and may be reached through symbolic links. */
const registration = Effect.fnUntraced(function* (repository: string, wanted: string) {
  const target = yield* realPath(wanted)
  for (const worktree of yield* worktrees(repository)) {
    if ((yield* realPath(worktree.path)) === target) return worktree
  }
  return undefined
})

/** Whether there still is a repository; one that cannot be read is an error, because a worktree of it may be locked. */
const isRepository = Effect.fnUntraced(function* (repository: string) {
  const fs = yield* FileSystem.FileSystem
  if (!(yield* fs.exists(repository))) return false
  const args = ["rev-parse", "--git-dir"]
  const result = yield* Git.run(args, { cwd: repository })
  if (result.code === 0) return true
  return isNoRepository(result.stderr) ? false : yield* Git.failure(args, result)
})

const tipOf = Effect.fnUntraced(function* (repository: string, branch: string) {
  const args = ["rev-parse", "--verify", "--quiet", `refs/heads/${branch}^{commit}`]
  const result = yield* Git.run(args, { cwd: repository })
  return result.code === 0 ? result.stdout.trim() : undefined
})

/** Git in the checkout, and never in a repository around it. */
const inside = Effect.fnUntraced(function* (place: Place) {
  const env = ceiling(yield* Path.Path, place)
  return (...args: ReadonlyArray<string>) => Git.output(args, { cwd: pathOf(place), env })
})

const ceiling = (path: Path.Path, place: Place) => ({ GIT_CEILING_DIRECTORIES: path.dirname(pathOf(place)) })

const checkNames = Effect.fnUntraced(function* (source: WorkspaceSource) {
  const problem = Repository.checkBranch(source.branch) ?? Repository.checkBranch(source.fallbackBranch)
  if (problem !== undefined) return yield* refused("Invalid", problem)
  if (/^([0-9a-f]{40}|[0-9a-f]{64})$/.test(source.commit)) return
  return yield* refused("Invalid", "The commit is not a full object name.")
})

const refused = (reason: Refused["reason"], message: string) => new Refused({ reason, message })
