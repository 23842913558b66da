/** Exports to a branch of the session's repository. */
import { Effect, FileSystem } from "effect"
import * as Git from "../../Git.ts"
import type { SandboxError } from "../../SandboxError.ts"
import type { Session } from "../../Session.ts"
import { failed, fromGit, type Stage, type Work } from "./stage.ts"

/** How long a push may take. */
const timeout = "10 minutes"

export interface Push {
  readonly session: Session
  readonly branch: string
  readonly force: boolean
  /** A bundle of the work on this host; none where the work is nothing new. */
  readonly artifact: string | null
  /** The bundle of what the session exported there last, as far as it is kept. */
  readonly former: string | null
}

const quoted = (text: string): string => (/^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`)

/** The command with which a person puts the artifact onto the branch. */
const byHand = ({ artifact, branch, session }: Push): string | undefined => {
  if (artifact === null) return undefined
  const { name, repository } = session
  const fetch = (directory: string, ref: string) =>
    `git -C ${quoted(directory)} fetch ${quoted(artifact)} ${quoted(`refs/heads/${branch}${ref}`)}`
  if (repository.startsWith("/")) return fetch(repository, `:refs/heads/${branch}`)
  return `git clone ${quoted(repository)} ${name} && ${fetch(name, "")} && git -C ${name} push origin ${quoted(`FETCH_HEAD:refs/heads/${branch}`)}`
}

/** What failed, with the way to do the rest by hand. */
const recoverable = (push: Push, message: string, way: string, details: Readonly<Record<string, unknown>> = {}) => {
  const command = byHand(push)
  const hand = command === undefined ? "" : `; the work is kept in ${push.artifact}, by hand it is \`${command}\``
  return failed(message, `${way}${hand}`, { ...details, artifact: push.artifact, command: command ?? null })
}

/** The commit that the branch is at in the repository; none when there is no such branch. */
export const tipOf = Effect.fnUntraced(
  function* (push: Push) {
    const ref = `refs/heads/${push.branch}`
    const listed = yield* Git.output(["ls-remote", "--", push.session.repository, ref], { remote: true })
    return listed
      .split("\n")
      .find((line) => line.split("\t")[1] === ref)
      ?.split("\t")[0]
  },
  (effect, push) =>
    Effect.catchTag(effect, "GitError", (error) =>
      recoverable(
        push,
        `${push.session.repository} could not be asked: ${error.message}`,
        "make it reachable, and run the command again"
      )
    )
)

/**
 * Pushes the work. The commit `seen` of the branch is only ever replaced by what has it in its history, unless that is
 * forced, or it is what this very session exported there last.
 *
 * Hooks of the receiving repository run. `pre-push` of the session's own checkout does not: it would run on this host, with
 * the user's credentials.
 */
export const push = Effect.fnUntraced(function* (stage: Stage, work: Work, options: Push, seen: string | undefined) {
  const { branch, force, session } = options
  yield* refuseCheckedOut(options)
  const ref = `refs/heads/${branch}`
  const leased = force || (seen !== undefined && (yield* isOwn(stage, work, options, seen)))
  const lease = leased ? [`--force-with-lease=${ref}:${seen ?? ""}`] : []
  const args = ["push", "--porcelain", "--no-follow-tags", "--recurse-submodules=no", "--no-signed", ...lease]
  const other = `export to another branch with \`sandbox export ${session.id} --branch <name>\``
  const pushed = yield* Effect.catchTag(
    Git.run([...args, "--", session.repository, `${work.commit}:${ref}`], {
      cwd: stage.directory,
      remote: true,
      timeout
    }),
    "GitError",
    (error) =>
      recoverable(
        options,
        `the push to ${branch} of ${session.repository} did not end: ${error.message}`,
        "run the command again"
      )
  )
  if (pushed.code === 0) return
  const why = /^!\t[^\t]*\t(.*)$/m.exec(pushed.stdout)?.[1] ?? Git.failure(args, pushed).message
  const about = { branch, seen: seen ?? null, reason: why }
  if (/non-fast-forward|fetch first|needs force/.test(why)) {
    const message = `the branch ${branch} of ${session.repository} has work that this session has not`
    const way = `${other}, or replace it with \`sandbox export ${session.id} --branch ${quoted(branch)} --force\``
    return yield* recoverable(options, message, way, about)
  }
  if (/stale info/.test(why)) {
    const message = `the branch ${branch} of ${session.repository} was changed in the same moment`
    return yield* recoverable(options, message, "look at it, and run the command again", about)
  }
  return yield* recoverable(options, `the push to ${branch} of ${session.repository} was refused: ${why}`, other, about)
})

/** Nobody's files may be left behind by a branch that moves under them. */
const refuseCheckedOut = Effect.fnUntraced(function* (options: Push) {
  const { branch, session } = options
  if (!session.repository.startsWith("/")) return
  const listed = yield* Effect.mapError(
    Git.run(["worktree", "list", "--porcelain"], { cwd: session.repository }),
    fromGit
  )
  const tree = listed.stdout.split("\n\n").find((entry) => entry.split("\n").includes(`branch refs/heads/${branch}`))
  if (tree === undefined) return
  const where = tree.split("\n")[0]?.replace(/^worktree /, "") ?? session.repository
  return yield* recoverable(
    { ...options, artifact: null },
    `the branch ${branch} is checked out in ${where}, whose files a push would leave behind`,
    `export to another branch with \`sandbox export ${session.id} --branch <name>\``,
    { branch, worktree: where }
  )
})

/**
 * Whether the branch still is at what this session exported last, and loses nothing but that one commit: it held work that
 * was not committed then, and is another one now.
 */
const isOwn = Effect.fnUntraced(
  function* (stage: Stage, work: Work, { branch, former, session }: Push, seen: string) {
    const last = session.lastExport
    if (last?.to !== "branch" || last.branch !== branch || last.commit !== seen) return false
    // a commit that somebody made is not ours, whoever pushed it
    if (last.uncommitted !== true) return false
    const known = (yield* stage.git(["cat-file", "-e", `${seen}^{commit}`])).code === 0
    if (!known && former !== null && (yield* (yield* FileSystem.FileSystem).exists(former))) {
      yield* stage.git(["bundle", "unbundle", former])
    }
    return (yield* stage.git(["merge-base", "--is-ancestor", `${seen}^`, work.commit])).code === 0
  },
  // what cannot be seen is not replaced
  Effect.orElseSucceed(() => false)
)

/** Proves that the branch is at the work now. */
export const verify = Effect.fnUntraced(function* (
  work: Work,
  options: Push
): Effect.fn.Return<void, SandboxError, Git.GitServices> {
  const tip = yield* tipOf(options)
  if (tip === work.commit) return
  const where = tip === undefined ? "not there" : `at ${tip}`
  return yield* recoverable(
    options,
    `the push succeeded, but the branch ${options.branch} is ${where}`,
    "look at what else writes there, and run the command again",
    { branch: options.branch, seen: tip ?? null }
  )
})
