/** Boxes of the local provider: directories of this host. */
import { existsSync, readFileSync, rmSync } from "node:fs"
import { join } from "node:path"
import { bound, type Side, type Surroundings } from "./side.ts"

/** Those that are registered as `local`, or as another platform of the same kind, which has a directory of its own. */
export const onHost = (provider: "local" | "other"): Side => {
  const path = provider === "local" ? ["local"] : [provider, "local"]
  const root = (w: Surroundings): string => join(w.state, ...path)
  const names = (w: Surroundings) => w.entries(...path).filter((name) => !name.startsWith("."))

  const isRunning = (w: Surroundings, name: string): boolean => {
    const record = join(root(w), name, "box.json")
    // one that is being halted, or removed after it was, is none that anybody can use
    return existsSync(record) && JSON.parse(readFileSync(record, "utf8")).status === "running"
  }

  return {
    provider,
    configuration: provider === "local" ? undefined : { use: "local", options: { place: provider } },
    names,
    running: (w) => names(w).filter((name) => isRunning(w, name)),
    // what was never a box is swept once its maker is surely dead
    parts: (w) =>
      w
        .entries(...path)
        .filter((name) => !name.startsWith(".new-"))
        .map((name) => `directory of ${name}`),
    halves: (w) => w.entries(...path).filter((name) => name.startsWith(".new-") || name.startsWith(".trash-")),
    checkout: (_, row) =>
      bound(row) && row.workspace_path !== null && existsSync(join(row.workspace_path, ".git"))
        ? row.workspace_path
        : undefined,
    change: (_, row, edit) => edit(row.workspace_path!),
    lose: (w) => {
      for (const name of w.entries(...path)) rmSync(join(root(w), name), { recursive: true, force: true })
      w.git("worktree", "prune")
    },
    clear: () => {},
    worktree: (w, name) => join(root(w), name, "work"),
    living: false
  }
}
