/** Branches that restores have made in a user's repository, and that nobody needs any more. */
import { Effect } from "effect"
import * as Git from "../Git.ts"
import * as Repository from "../Repository.ts"
import * as RepositoryLock from "../RepositoryLock.ts"
import type { Session } from "../Session.ts"

/** What the reflog of a branch begins with that a restore has made. */
export const restoredMessage = "sandbox: restored"

/**
 * Removes those of a session that no worktree has, and whose commits are all on some other branch or tag. Of one that has `ended`
 * also the branch that it worked on where the asked one was taken: whichever of its boxes made that may be gone long since.
 *
 * One that cannot be judged stays. Nothing that goes wrong here is worth failing for: a branch more is no loss.
 */
export const tidy = Effect.fnUntraced(
  function* (row: Session, ended: boolean = false) {
    const source = Repository.fromLocation(row.repository)
    if (source._tag !== "path") return
    const cwd = source.location
    const own = new RegExp(`^refs/heads/sandbox/${row.name}(-[0-9]+)?$`)
    const listed = yield* Git.output(
      ["for-each-ref", "--format=%(objectname) %(refname) %(worktreepath)", "refs/heads/sandbox/"],
      { cwd }
    )
    const found = listed.split("\n").map((line) => line.split(" "))
    for (const [oid = "", ref = "", worktree = ""] of found) {
      if (!own.test(ref) || worktree !== "") continue
      const log = yield* Git.run(["reflog", "show", "--format=%gs", ref, "--"], { cwd })
      const isRestored = log.code === 0 && log.stdout.trim().split("\n").at(-1) === restoredMessage
      const isFallback = ended && row.workBranch !== row.branch && ref === `refs/heads/${row.workBranch}`
      if (!isRestored && !isFallback) continue
      const only = yield* Git.output(["rev-list", "--count", oid, "--not", `--exclude=${ref}`, "--all", "--"], { cwd })
      if (only.trim() !== "0") continue
      // with its value: whoever adds to it in this moment keeps it
      yield* Git.output(["update-ref", "-d", ref, oid], { cwd }).pipe(
        RepositoryLock.withLock(yield* RepositoryLock.fileOf(cwd))
      )
    }
  },
  (effect) => Effect.ignore(effect)
)
