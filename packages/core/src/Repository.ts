/**
 * Repositories and branches as a user names them: what may be said at all, and what commit it means.
 *
 * Names are checked before git runs, so that nothing a user typed can be read as an option.
 */
import { Duration, Effect, FileSystem, Path } from "effect"
import * as Git from "./Git.ts"
import * as SandboxError from "./SandboxError.ts"
import { distance } from "./Spelling.ts"

/** Where a session's code comes from: an absolute path on this host, or a URL without credentials. */
export type Source =
  | { readonly _tag: "path"; readonly location: string }
  | { readonly _tag: "url"; readonly location: string }

/** A branch and the commit that a checkout of it starts at. */
export interface Resolution {
  readonly branch: string
  /** Full object name. */
  readonly commit: string
  /** `branch` does not exist there yet, and is created at `commit`. */
  readonly create: boolean
}

/** How long finding the commit of a branch may take. */
export const resolveTimeout = Duration.seconds(90)

/**
 * Reads a repository argument: a directory in or of a repository, or a URL.
 *
 * A path that is no repository is still a source; `resolve` refuses it, after the caller has reserved its record.
 */
export const parse: (
  input: string,
  cwd: string
) => Effect.Effect<Source, SandboxError.SandboxError, FileSystem.FileSystem | Path.Path> = Effect.fnUntraced(
  function* (input, cwd) {
    const fs = yield* FileSystem.FileSystem
    const path = yield* Path.Path
    if (input.trim() === "") return yield* invalid("The repository is empty.")
    if (hasControl(input)) return yield* invalid("The repository has a control character in it.")
    if (input.startsWith("-"))
      return yield* invalid("The repository starts with `-`, which git would read as an option.")
    const absolute = path.resolve(cwd, input)
    const real = yield* fs.realPath(absolute).pipe(Effect.orElseSucceed(() => undefined))
    if (real !== undefined) return { _tag: "path", location: yield* topLevel(real) }
    const problem = urlProblem(input)
    if (problem !== undefined) return yield* invalid(problem)
    return isUrl(input) ? { _tag: "url", location: input } : { _tag: "path", location: absolute }
  }
)

/** The source of a location that `parse` once gave, as a record keeps it. */
export const fromLocation = (location: string): Source => ({
  _tag: location.startsWith("/") ? "path" : "url",
  location
})

/** Says what is wrong with a branch name, or nothing: git's own rules, and none that it could read as an option. */
export const checkBranch = (name: string): string | undefined => {
  const quoted = `The branch ${JSON.stringify(name)}`
  if (name === "") return "The branch name is empty."
  if (name.length > 240) return `${quoted} is longer than 240 characters.`
  if (name.startsWith("-")) return `${quoted} starts with \`-\`.`
  if (name === "@") return `${quoted} is git's word for HEAD.`
  if (hasControl(name)) return `${quoted} has a control character in it.`
  const bad = /[ ~^:?*[\\]|\.\.|@\{|\/\//.exec(name)?.[0]
  if (bad !== undefined) return `${quoted} has ${JSON.stringify(bad)} in it.`
  if (name.startsWith("/") || name.endsWith("/")) return `${quoted} starts or ends with \`/\`.`
  if (name.endsWith(".")) return `${quoted} ends with \`.\`.`
  const part = name.split("/").find((part) => part.startsWith(".") || part.endsWith(".lock"))
  return part === undefined ? undefined : `${quoted} has a part that starts with \`.\` or ends with \`.lock\`.`
}

/** Text as lower-case words joined by hyphens, at most 40 characters; empty when nothing of it is left. */
export const slug = (text: string): string =>
  text
    .toLowerCase()
    .replaceAll(/[^a-z0-9]+/g, "-")
    .replace(/^-/, "")
    .slice(0, 40)
    .replace(/-$/, "")

const nameLength = 63

/** The name of a session that was given none: `<repository>-<branch>`. */
export const defaultName = (source: Source, branch?: string): string => {
  const last = source.location.replace(/[/\\]+$/, "").replace(/(\/?\.git)$/, "")
  const suffix = branch === undefined ? "" : slug(branch)
  // The branch is what tells two sessions of one repository apart, so it is the repository that is cut.
  const room = suffix === "" ? nameLength : nameLength - 1 - suffix.length
  const repository = slug(last.slice(Math.max(last.lastIndexOf("/"), last.lastIndexOf(":")) + 1)) || "repository"
  return [repository.slice(0, room).replace(/-$/, ""), suffix].filter((part) => part !== "").join("-")
}

/** Says what is wrong with a session's name, or nothing. */
export const checkName = (name: string): string | undefined =>
  /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/.test(name)
    ? undefined
    : `The name ${JSON.stringify(name)} is not 1 to ${nameLength} lower-case letters, digits and hyphens, with a letter or digit at both ends.`

/** The branch that is meant when none is given: the one a local repository is on, or a remote's own default. */
export const defaultBranch: (source: Source) => Effect.Effect<string, SandboxError.SandboxError, Git.GitServices> =
  Effect.fnUntraced(function* (source) {
    if (source._tag === "path") {
      const args = ["symbolic-ref", "--quiet", "HEAD"]
      const head = yield* Git.run(args, { cwd: source.location })
      if (head.code === 0) return head.stdout.trim().replace(/^refs\/heads\//, "")
      if (head.code !== 1) return yield* Git.failure(args, head)
      return yield* SandboxError.make("ERR_REPO_UNRESOLVED", {
        message: `${source.location} is on no branch: its HEAD is detached.`,
        nextStep: "Say which branch to work on with `--branch <name>`."
      })
    }
    const refs = yield* Git.output(["ls-remote", "--symref", "--", source.location, "HEAD"], { remote: true })
    const branch = /^ref: refs\/heads\/(.+)\tHEAD$/m.exec(refs)?.[1]
    return (
      branch ??
      (yield* SandboxError.make("ERR_REPO_UNRESOLVED", {
        message: `${source.location} names no default branch.`,
        nextStep: "Say which branch to work on with `--branch <name>`."
      }))
    )
  }, unresolved)

/**
 * Finds the commit to start at. A branch that exists nowhere is created from `base`, when there is one.
 *
 * Names that git could misread are refused before it runs; the whole search takes at most `resolveTimeout`.
 */
export const resolve: (
  source: Source,
  options: { readonly branch: string; readonly base?: string | undefined }
) => Effect.Effect<Resolution, SandboxError.SandboxError, Git.GitServices> = Effect.fnUntraced(function* (
  source,
  { branch, base }
) {
  const problem = checkBranch(branch) ?? (base === undefined ? undefined : checkBranch(base))
  if (problem !== undefined) return yield* invalid(problem)
  const find = source._tag === "path" ? findLocal(source.location) : findRemote(source.location, branch, base)
  const found = yield* find(`refs/heads/${branch}`)
  if (found !== undefined) return { branch, commit: found, create: false }
  // A branch that was only fetched becomes a local one, without a checkout that would fail for lack of it.
  const tracked = source._tag === "path" ? yield* find(`refs/remotes/origin/${branch}`) : undefined
  if (tracked !== undefined) return { branch, commit: tracked, create: true }
  if (base === undefined) return yield* missing(source, branch)
  for (const ref of [`refs/heads/${base}`, `refs/remotes/origin/${base}`, `refs/tags/${base}`]) {
    const commit = yield* find(ref)
    if (commit !== undefined) return { branch, commit, create: true }
  }
  if (/^([0-9a-f]{40}|[0-9a-f]{64})$/.test(base)) {
    const commit = source._tag === "path" ? yield* find(base) : base
    if (commit !== undefined) return { branch, commit, create: true }
  }
  return yield* missing(source, base)
}, unresolved)

const findLocal = (cwd: string) => (ref: string) =>
  Effect.gen(function* () {
    const args = ["rev-parse", "--verify", "--quiet", `${ref}^{commit}`]
    const result = yield* Git.run(args, { cwd })
    if (result.code === 0) return result.stdout.trim()
    // With --quiet a name that means nothing is code 1 and silence; anything else is a repository that cannot be read.
    return result.stderr.trim() === "" ? undefined : yield* Git.failure(args, result)
  })

/** One question to the remote for every name that could matter. */
const findRemote = (url: string, branch: string, base: string | undefined) => {
  const names = base === undefined ? [] : [`refs/heads/${base}`, `refs/tags/${base}`, `refs/tags/${base}^{}`]
  const answer = Git.output(["ls-remote", "--", url, `refs/heads/${branch}`, ...names], { remote: true })
  let refs: ReadonlyMap<string, string> | undefined
  return (ref: string) =>
    Effect.gen(function* () {
      refs ??= new Map(
        (yield* answer).split("\n").map((line) => [line.split("\t")[1] ?? "", line.split("\t")[0] ?? ""])
      )
      // An annotated tag is listed twice: as itself, and peeled to its commit.
      return refs.get(`${ref}^{}`) ?? refs.get(ref)
    })
}

const missing = Effect.fnUntraced(function* (source: Source, name: string) {
  const listing =
    source._tag === "path"
      ? yield* Git.output(["for-each-ref", "--format=%(refname)", "refs/heads", "refs/remotes/origin"], {
          cwd: source.location
        })
      : yield* Git.output(["ls-remote", "--heads", "--", source.location], { remote: true })
  const names = Array.from(listing.matchAll(/refs\/(?:heads|remotes\/origin)\/(.+)$/gm), (match) => match[1] ?? "")
  const close = closest(name, names)
  const others = close.length === 0 ? "" : `, or use a branch that exists: ${close.join(", ")}`
  return yield* SandboxError.make("ERR_REPO_UNRESOLVED", {
    message: `${source.location} has no branch ${JSON.stringify(name)}.`,
    nextStep: `Create it with \`--base <branch, tag or commit that exists>\`${others}.`,
    details: { repository: source.location, branch: name, close }
  })
})

/** At most three names that a person may have meant. */
const closest = (wanted: string, names: ReadonlyArray<string>): ReadonlyArray<string> =>
  [...new Set(names)]
    .map((name) => ({ name, edits: name.includes(wanted) || wanted.includes(name) ? 1 : distance(wanted, name) }))
    .filter(({ edits }) => edits <= Math.max(2, wanted.length / 3))
    .sort((a, b) => a.edits - b.edits || a.name.localeCompare(b.name))
    .slice(0, 3)
    .map(({ name }) => name)

/** The top of the repository that a directory belongs to, or the directory itself. */
const topLevel = Effect.fnUntraced(function* (start: string) {
  const fs = yield* FileSystem.FileSystem
  const path = yield* Path.Path
  const has = (directory: string, name: string) =>
    fs.exists(path.join(directory, name)).pipe(Effect.orElseSucceed(() => false))
  for (let directory = start; ; directory = path.dirname(directory)) {
    if (yield* has(directory, ".git")) return directory
    const bare =
      (yield* has(directory, "HEAD")) && (yield* has(directory, "objects")) && (yield* has(directory, "refs"))
    if (bare) return path.basename(directory) === ".git" ? path.dirname(directory) : directory
    if (path.dirname(directory) === directory) return start
  }
})

// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
const hasControl = (text: string): boolean => /[\u0000-\u001f\u007f]/.test(text)

const schemes = ["https:", "http:", "ssh:", "git:", "file:"]

/** `scheme://…`, or `host:path` with no slash before the colon. */
const isUrl = (input: string): boolean => /^[a-z][a-z0-9+.-]*:\/\//i.test(input) || /^[^/:]+:/.test(input)

const useToken =
  "Set GITHUB_TOKEN or a git credential helper instead: a URL is recorded and shown, and must hold no secret"

/** What is wrong with a URL; never quotes it, because what is wrong may be a secret. */
const urlProblem = (input: string): string | undefined => {
  if (/^[a-z0-9+.-]+::/i.test(input)) return "Repositories behind a transport helper (`name::address`) are refused."
  if (!isUrl(input)) return undefined
  if (!input.includes("://")) {
    if (/^[^/:]+:[^/]*@[^/]*:/.test(input)) return `The repository has a password in it. ${useToken}.`
    return /(^|@)-/.test(input.slice(0, input.indexOf(":"))) ? "The repository's host starts with `-`." : undefined
  }
  if (!URL.canParse(input)) return "The repository is neither a path that exists nor a valid URL."
  const url = new URL(input)
  if (!schemes.includes(url.protocol)) return `The repository's URL is none of ${schemes.join("//, ")}//.`
  if (url.hostname.startsWith("-")) return "The repository's host starts with `-`."
  if (url.password !== "" || (url.username !== "" && url.protocol !== "ssh:")) {
    return `The repository's URL has credentials in it. ${useToken}.`
  }
  return undefined
}

const invalid = (message: string): SandboxError.SandboxError =>
  SandboxError.make("ERR_INVALID_ARGUMENT", {
    message,
    nextStep: "Give a repository as a path, or as an https, ssh, git or file URL, and plain branch names."
  })

/** Bounds a question to a repository, and says what to do about each way that git can fail to answer it. */
function unresolved<A, R>(
  effect: Effect.Effect<A, SandboxError.SandboxError | Git.GitError, R>,
  source: Source
): Effect.Effect<A, SandboxError.SandboxError, R> {
  const error = (message: string, nextStep: string, retryable: boolean) =>
    SandboxError.make("ERR_REPO_UNRESOLVED", { message, nextStep, retryable, details: { repository: source.location } })
  const tooSlow = error(
    `${source.location} did not answer within ${Duration.format(resolveTimeout)}.`,
    "Check the network and try again.",
    true
  )
  return effect.pipe(
    Effect.timeoutOrElse({ duration: resolveTimeout, orElse: () => Effect.fail(tooSlow) }),
    Effect.catchTag("GitError", (cause) => {
      if (cause.reason === "timed_out") return Effect.fail(tooSlow)
      if (cause.reason === "not_installed")
        return Effect.fail(error(cause.message, "Install git and try again.", false))
      return Effect.fail(
        error(
          `${source.location} could not be read: ${cause.message}`,
          source._tag === "path"
            ? `Give the path of a git repository, or make this one with \`git init ${source.location}\`.`
            : "Check the URL and your access to it; a private repository on github.com needs GITHUB_TOKEN, others a git credential helper.",
          false
        )
      )
    })
  )
}
