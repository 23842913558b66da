/** What of a clone would be lost with it. */
import { Effect } from "effect"
import type { WorkspaceStatus } from "../../Provisioner.ts"
import { failed } from "../work/blobs.ts"
import { publishedBy } from "../work/captureHistory.ts"
import * as checkouts from "../work/checkout.ts"

/** What somebody else has, of a clone: a commit, and what is in a repository on this host. */
export interface Elsewhere {
  readonly base: string | null
  readonly origin?: string | undefined
}

/** Counts what is in a copy of a clone and nowhere else. What the clone says of its remotes is no proof of that. */
export const status = Effect.fnUntraced(
  function* (directory: string, { base, origin }: Elsewhere) {
    const checkout = yield* checkouts.open(directory, { copied: true })
    const git = (...args: ReadonlyArray<string>) => checkouts.text(checkout, args)
    const changed = yield* checkouts.bytes(checkout, [
      ...["status", "--porcelain", "-z", "--no-renames", "--untracked-files=all"]
    ])
    // a branch without a commit is checked out where HEAD leads nowhere
    const head = (yield* git("rev-parse", "--revs-only", "HEAD")) === "" ? [] : ["HEAD"]
    const known = base === null ? "" : (yield* git("rev-parse", "--verify", "--quiet", `${base}^{commit}`)).trim()
    const others = [...(known === "" ? [] : [known]), ...(yield* publishedBy(checkout, origin))]
    const commits = yield* checkouts.text(checkout, ["rev-list", "--count", ...head, "--branches", "--stdin"], {
      lines: others.map((oid) => `^${oid}`)
    })
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
