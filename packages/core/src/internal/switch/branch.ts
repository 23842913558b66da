/** The branch of a worktree that is left: one checkout at a time can have it. */
import { Effect, FileSystem } from "effect"
import * as Git from "../../Git.ts"
import type { Backend } from "../../Provisioners.ts"
import * as Repository from "../../Repository.ts"
import type { Prior, Session } from "../../Session.ts"

const isWorktree = (row: Session): boolean =>
  Repository.fromLocation(row.repository)._tag === "path" && row.setup?.reuseWorktree !== true

/**
 * Detaches the old worktree from its branch, where the new side places one of the same repository: HEAD stays at its commit, and
 * index and files as they are. What does not work out costs the session a branch of another name, and nothing else.
 */
export const letGo = Effect.fnUntraced(
  function* (row: Session, prior: Prior | null, to: Backend) {
    const directory = prior?.workspacePath ?? null
    if (directory === null || !to.capabilities.includes("workspace") || to.unseen || !isWorktree(row)) return
    const fs = yield* FileSystem.FileSystem
    if (!(yield* fs.exists(directory))) return
    const head = yield* Git.run(["rev-parse", "--verify", "--quiet", "HEAD^{commit}"], { cwd: directory })
    if (head.code !== 0) return
    yield* Git.output(["update-ref", "--no-deref", "HEAD", head.stdout.trim()], { cwd: directory })
  },
  Effect.ignore({ log: "Debug" })
)

/** Attaches a worktree that was let go of to its branch again, if that is still where it was and nobody else has it. */
export const takeUp = Effect.fnUntraced(
  function* ({ workBranch, workspacePath, ...row }: Session) {
    if (workBranch === null || workspacePath === null || !isWorktree({ ...row, workBranch, workspacePath })) return
    const ask = (...args: ReadonlyArray<string>) => Git.run(args, { cwd: workspacePath })
    if ((yield* ask("symbolic-ref", "--quiet", "HEAD")).code === 0) return
    const [head, tip, at] = [
      yield* ask("rev-parse", "--verify", "--quiet", "HEAD"),
      yield* ask("rev-parse", "--verify", "--quiet", `refs/heads/${workBranch}`),
      yield* ask("for-each-ref", "--format=%(worktreepath)", `refs/heads/${workBranch}`)
    ]
    if (tip.code !== 0 || head.stdout !== tip.stdout || at.stdout.trim() !== "") return
    yield* ask("symbolic-ref", "-m", "sandbox: back", "HEAD", `refs/heads/${workBranch}`)
  },
  Effect.ignore({ log: "Debug" })
)
