/** A `git` that is the real one, but first notes that it was called, and may be made to wait. */
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import type { Effect } from "effect"
import { eventually, type World } from "./sandbox.ts"

export interface HeldGit {
  /** Puts it first on the PATH. */
  readonly env: { readonly PATH: string }
  /** The command lines so far. */
  readonly calls: () => ReadonlyArray<string>
  /** Waits until this many calls are held. */
  readonly held: (count?: number) => Effect.Effect<void>
  /** Lets those that are held go on, and all that come. */
  readonly open: () => void
  /** Forgets all calls, so that another can take its place. */
  readonly remove: () => void
}

/**
 * Calls whose arguments contain `hold` wait until `open`, or until their parent is gone.
 *
 * With `deaf` they ignore polite signals meanwhile, and note them.
 */
export const heldGit = (
  w: World,
  options: { readonly hold?: string | undefined; readonly deaf?: boolean | undefined } = {}
): HeldGit => {
  const bin = join(w.directory, "held-git")
  const log = join(bin, "calls")
  const waiting = join(bin, "waiting")
  const gate = join(bin, "open")
  mkdirSync(waiting, { recursive: true })
  writeFileSync(
    join(bin, "git"),
    `#!/bin/sh
echo "$*" >> ${log}
case "$*" in
  *"${options.hold ?? "\u0001"}"*)
    [ -e ${gate} ] || : > ${waiting}/$$
    ${options.deaf === true ? `trap ': > ${bin}/termed' TERM INT HUP` : ""}
    while [ ! -e ${gate} ]; do kill -0 $PPID 2> /dev/null || exit 1; sleep 0.02; done ;;
esac
PATH="${w.env["PATH"]}" exec git "$@"
`,
    { mode: 0o755 }
  )
  return {
    env: { PATH: `${bin}:${w.env["PATH"]}` },
    calls: () => (existsSync(log) ? readFileSync(log, "utf8").trim().split("\n") : []),
    held: (count = 1) => eventually(`${count} calls of git wait`, () => readdirSync(waiting).length >= count),
    open: () => writeFileSync(gate, ""),
    remove: () => rmSync(bin, { recursive: true })
  }
}

/** Waits until a held call was told to end, and did not. */
export const wasSignalled = (w: World): Effect.Effect<void> =>
  eventually("git was told to end", () => existsSync(join(w.directory, "held-git", "termed")))
