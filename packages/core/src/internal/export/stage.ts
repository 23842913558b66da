/**
 * What is exported of a checkout, as commits in a repository beside it.
 *
 * The checkout is only read: index, HEAD, branches and objects stay as they are, and nothing that its configuration names
 * is run to push, because what works in a session may have written that configuration.
 */
import { Effect, FileSystem, Path, Stream } from "effect"
import * as Git from "../../Git.ts"
import * as SandboxError from "../../SandboxError.ts"
import { configured, disarmed } from "./configuration.ts"

/** A bare repository of this operation alone, which has every object that the checkout has. */
export interface Stage {
  /** Absolute; gone with the scope. */
  readonly directory: string
  /** A directory for files of this operation. */
  readonly scratch: string
  /** Runs git there with nobody's configuration. */
  readonly git: (args: ReadonlyArray<string>, env?: Git.GitOptions["env"]) => ReturnType<typeof Git.run>
}

/** What is exported. */
export interface Work {
  readonly commit: string
  /** What is checked out. */
  readonly head: string
  /** `commit` holds what was not committed. */
  readonly uncommitted: boolean
  /** The newest commit that the session began with and `commit` has; none where they have no history in common. */
  readonly base: string | null
}

/** How long one command may take that reads or writes all of a large tree. */
const timeout = "10 minutes"

/** Nobody's configuration. */
export const unconfigured = { GIT_CONFIG_GLOBAL: "/dev/null", GIT_CONFIG_NOSYSTEM: "1" }

/** An export that could not be made; `nextStep` is the way out where there is one of its own. */
export const failed = (message: string, nextStep = "correct what is named, and run the command again", details = {}) =>
  SandboxError.make("ERR_EXPORT_FAILED", { message, nextStep, details })

/** Git's own failure, as one of an export. */
export const fromGit = (error: Git.GitError) => failed(error.message, undefined, { git: error.stderr.slice(-2000) })

/** The output of a command of the stage that must succeed. */
export const must = Effect.fnUntraced(
  function* (stage: Stage, args: ReadonlyArray<string>, env?: Git.GitOptions["env"]) {
    const result = yield* stage.git(args, env)
    return result.code === 0 ? result.stdout.trim() : yield* Git.failure(args, result)
  },
  Effect.catchTag("GitError", fromGit)
)

const scratchPrefix = ".work-"

/**
 * A directory for one export of a session, gone with the scope. What a killed export left is removed: the claim of this one
 * says that nobody uses it.
 */
export const scratchIn = Effect.fnUntraced(
  function* (exports: string) {
    const fs = yield* FileSystem.FileSystem
    const path = yield* Path.Path
    yield* fs.makeDirectory(exports, { recursive: true, mode: 0o700 })
    for (const name of yield* fs.readDirectory(exports)) {
      if (name.startsWith(scratchPrefix)) yield* fs.remove(path.join(exports, name), { recursive: true, force: true })
    }
    return yield* fs.makeTempDirectoryScoped({ directory: exports, prefix: scratchPrefix })
  },
  Effect.catchTag("PlatformError", (error) => unusable(error.message))
)

const unusable = (why: string) => failed(`the export cannot be put together on this host: ${why}`, "make room for it")

/** Makes the stage of a checkout and, in it, the commit that is exported. */
export const prepare = Effect.fnUntraced(
  function* (options: {
    /** Of the checkout. */
    readonly directory: string
    readonly base: string | null
    /** The session's. */
    readonly repository: string
    /** Paths of the host's own files, which are not the session's work. */
    readonly exclude: ReadonlyArray<string>
    readonly message: string
    /** Where the stage is made. */
    readonly scratch: string
  }) {
    const { directory, scratch } = options
    const fs = yield* FileSystem.FileSystem
    const path = yield* Path.Path
    // a checkout that is broken must not be mistaken for the repository around it
    const own = { GIT_CEILING_DIRECTORIES: path.dirname(directory) }
    const paths = ["--git-path", "objects", "--git-path", "index", "--git-path", "shallow"]
    const places = yield* Git.output(["rev-parse", "--path-format=absolute", "--show-object-format", ...paths], {
      cwd: directory,
      env: own
    })
    const [format = "sha1", objects = "", index = "", shallow = ""] = places.trimEnd().split("\n")
    const stage = path.join(scratch, "stage.git")
    yield* Git.output(["init", "--quiet", "--bare", "--template=", `--object-format=${format}`, stage], {
      env: unconfigured
    })
    yield* fs.makeDirectory(path.join(stage, "objects", "info"), { recursive: true })
    yield* fs.writeFileString(path.join(stage, "objects", "info", "alternates"), `${objects}\n`)
    if (yield* fs.exists(shallow)) yield* fs.copyFile(shallow, path.join(stage, "shallow"))
    const staged: Stage = {
      directory: stage,
      scratch,
      git: (args, env) => Git.run(args, { cwd: stage, env: { ...unconfigured, ...env }, timeout })
    }
    const ownIndex = path.join(scratch, "index")
    if (yield* fs.exists(index)) yield* fs.copyFile(index, ownIndex)
    const env = yield* disarmed({
      directory,
      repository: options.repository,
      env: { ...own, GIT_INDEX_FILE: ownIndex, GIT_OBJECT_DIRECTORY: path.join(stage, "objects") }
    })
    const work = yield* commitOf({ ...options, env })
    const base = options.base === null ? null : yield* mergeBase(staged, options.base, work.commit)
    return { stage: staged, work: { ...work, base } satisfies Work, warnings: yield* unexported(staged, work.commit) }
  },
  Effect.catchTag("GitError", fromGit),
  Effect.catchTag("PlatformError", (error) => unusable(error.message))
)

const commitOf = Effect.fnUntraced(function* ({
  directory,
  env,
  exclude,
  message
}: {
  readonly directory: string
  readonly env: Readonly<Record<string, string>>
  readonly exclude: ReadonlyArray<string>
  readonly message: string
}) {
  const run = (args: ReadonlyArray<string>, options: Pick<Git.GitOptions, "env" | "stdin"> = {}) =>
    Effect.map(Git.output(args, { ...options, cwd: directory, env: { ...env, ...options.env }, timeout }), (text) =>
      text.trim()
    )
  const head = yield* Effect.mapError(run(["rev-parse", "--verify", "--quiet", "HEAD^{commit}"]), () =>
    failed(
      "the branch that is checked out has no commit",
      "make a first commit in the session, and run the command again"
    )
  )
  const left = exclude.map((file) => `:(top,literal)${file}`)
  const known = left.length === 0 ? "" : yield* run(["ls-files", "--stage", "-z", "--", ...left])
  yield* Effect.catchTag(run(["add", "--all"]), "GitError", unreadable)
  if (left.length > 0) {
    // `add` fails for what it is told to leave out and would ignore anyway, so they are put back to what they were
    yield* run(["rm", "-r", "-f", "--cached", "--quiet", "--ignore-unmatch", "--", ...left])
    yield* run(["update-index", "-z", "--index-info"], { stdin: Stream.make(new TextEncoder().encode(known)) })
  }
  const tree = yield* run(["write-tree"])
  if (tree === (yield* run(["rev-parse", "--verify", "HEAD^{tree}"]))) return { commit: head, head, uncommitted: false }
  // the same work is the same commit, whenever it is exported
  const at = /^committer .*> (\d+ [+-]\d+)$/m.exec(yield* run(["cat-file", "commit", head]))?.[1] ?? "0 +0000"
  const dates = { GIT_AUTHOR_DATE: `@${at}`, GIT_COMMITTER_DATE: `@${at}` }
  const by = { ...dates, ...(yield* identity(directory)) }
  const commit = yield* run(["commit-tree", tree, "-p", head, "-m", message], { env: by })
  return { commit, head, uncommitted: true }
})

/** Why git cannot take what is in the checkout: it says so before its last line. */
const unreadable = (error: Git.GitError) => {
  const filter = /clean filter '(.+)' failed/.exec(error.stderr)?.[1]
  if (filter !== undefined) {
    return failed(
      `files need the filter ${filter}, which works only in the session or did not work`,
      "commit them in the session, or configure the filter for yourself with `git config --global`",
      { filter }
    )
  }
  const empty = /'(.+)' does not have a commit checked out/.exec(error.stderr)?.[1]
  if (empty !== undefined) {
    return failed(
      `${empty} is a repository inside the checkout without a commit`,
      `make a commit in it, or remove ${empty}.git`,
      { path: empty }
    )
  }
  return fromGit(error)
}

/** Who commits where git knows no user: what it makes up of the host's name may be another one tomorrow. */
export const nobody = Object.fromEntries(
  ["AUTHOR", "COMMITTER"].flatMap((who) => [
    [`GIT_${who}_NAME`, "sandbox"],
    [`GIT_${who}_EMAIL`, "sandbox@localhost"]
  ])
)

const identity = Effect.fnUntraced(function* (directory: string) {
  const env = configured({ "user.useConfigOnly": "true" })
  for (const who of ["GIT_AUTHOR_IDENT", "GIT_COMMITTER_IDENT"]) {
    if ((yield* Git.run(["var", who], { cwd: directory, env })).code !== 0) return nobody
  }
  return {}
})

const mergeBase = Effect.fnUntraced(function* (stage: Stage, base: string, commit: string) {
  const { code, stdout } = yield* stage.git(["merge-base", base, commit])
  return code === 0 ? (stdout.trim().split("\n")[0] ?? null) : null
})

/** What git leaves out of a commit, in sentences. */
const unexported = Effect.fnUntraced(function* (stage: Stage, commit: string) {
  const directories = yield* must(stage, ["ls-tree", "-r", "-d", "-z", "--full-tree", commit])
  const nested = directories
    .split("\0")
    .flatMap((line) => (line.startsWith("160000 ") ? line.slice(line.indexOf("\t") + 1) : []))
  const { code } = yield* stage.git(["grep", "-q", "-e", "filter=lfs", commit, "--", ":(glob)**/.gitattributes"])
  return [
    ...(nested.length === 0
      ? []
      : [
          `of the repositories inside only the commits are exported that they are at, and no work in them: ${nested.join(", ")}`
        ]),
    ...(code === 0
      ? ["files that git LFS keeps are exported as pointers: push their contents with `git lfs push`"]
      : [])
  ]
})
