/** What of a clone would be lost with it. */
import { Effect } from "effect"
import type { WorkspaceStatus } from "../../Provisioner.ts"
import { failed } from "../work/blobs.ts"
import * as checkouts from "../work/checkout.ts"

/** Counts what neither the repository nor its branches had when the clone was made, `base` being a commit that it had. */
export const status = Effect.fnUntraced(
  function* (directory: string, base: string | null) {
    const checkout = yield* checkouts.open(directory)
    const git = (...args: ReadonlyArray<string>) => checkouts.text(checkout, args)
    const changed = yield* checkouts.bytes(checkout, [
      ...["status", "--porcelain", "-z", "--no-renames", "--untracked-files=all"]
    ])
    // a branch without a commit is checked out where HEAD leads nowhere
    const head = (yield* git("rev-parse", "--revs-only", "HEAD")) === "" ? [] : ["HEAD"]
    const known = base === null ? "" : (yield* git("rev-parse", "--verify", "--quiet", `${base}^{commit}`)).trim()
    const others = ["--not", "--remotes=origin", ...(known === "" ? [] : [known])]
    const commits = yield* git("rev-list", "--count", ...head, "--branches", ...others)
    const stashes = yield* git("stash", "list", "--format=%H")
    const answer: WorkspaceStatus = {
      present: true,
      dirtyFiles: changed.filter((byte) => byte === 0).length,
      unpublishedCommits: Number(commits) + (stashes.split("\n").length - 1)
    }
    return answer
  },
  Effect.mapError(failed("ERR_WORKSPACE_FAILED", "the copy of the checkout cannot be looked at"))
)
