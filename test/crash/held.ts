/** What a checkout holds that may not be lost, and how two checkouts are compared. */
import { execFileSync } from "node:child_process"
import { everything } from "../support/work.ts"

const git = (directory: string, ...args: ReadonlyArray<string>): string =>
  execFileSync("git", ["-C", directory, ...args], { encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] }).trim()

/** Entries of the stash, newest first. Those of a worktree are its own only where they came with restored work. */
const stashesOf = (directory: string): ReadonlyArray<string> => {
  const linked = git(directory, "rev-parse", "--git-dir") !== git(directory, "rev-parse", "--git-common-dir")
  const all = linked
    ? git(directory, "for-each-ref", "--format=%(objectname)", "refs/worktree/sandbox-stash")
    : git(directory, "stash", "list", "--format=%H")
  return all.split("\n").filter((line) => line !== "")
}

/** The commit, the index, the files with their modes, and the stash. */
export const held = (checkout: string) => ({ ...everything(checkout), stashes: stashesOf(checkout) })

export type Held = ReturnType<typeof held>

/** Work that must not be lost: what the checkout of a session held. */
export interface Work {
  readonly session: string
  readonly held: Held
  /** Files that a command may have changed after that was seen, and before it was gone. */
  readonly changed?: ReadonlyArray<string> | undefined
}

/** What a checkout holds but for these files, at the top and below `sub/`. */
export const without = ({ files, head, stashes }: Held, names: ReadonlyArray<string>) => ({
  head,
  stashes,
  files: files.filter((line) => line !== "sub/" && !names.some((name) => new RegExp(`^(sub/)?${name} `).test(line)))
})

export const same = (a: unknown, b: unknown): boolean => JSON.stringify(a) === JSON.stringify(b)

/** What two checkouts do not share. */
export const difference = (before: Held, now: Held): string =>
  JSON.stringify({
    heads: [before.head, now.head],
    stashes: [before.stashes, now.stashes],
    gone: before.files.filter((line) => !now.files.includes(line)),
    come: now.files.filter((line) => !before.files.includes(line)),
    status: [before.status, now.status]
  })
