/** What sessions leave on a machine while they are there, looked for without asking the ledger. */
import { execFileSync } from "node:child_process"
import { existsSync, readdirSync } from "node:fs"
import { connect } from "node:net"
import { join } from "node:path"

export interface Traces {
  readonly processes: number
  readonly ports: number
  readonly worktrees: number
  readonly boxes: number
}

export const traces = async (place: {
  readonly directory: string
  readonly repository: string
  readonly ports: ReadonlyArray<number>
}): Promise<Traces> => {
  const boxes = join(place.directory, "state", "sandbox", "local")
  // every process of a box has its directory in its environment, whoever started it
  const processes = execFileSync("ps", ["axeww", "-o", "command="], { encoding: "utf8", maxBuffer: 2 ** 28 })
    .split("\n")
    .filter((line) => line.includes(` SANDBOX_RUN_DIR=${boxes}/`))
  const worktrees = execFileSync("git", ["-C", place.repository, "worktree", "list", "--porcelain"], {
    encoding: "utf8"
  }).match(/^worktree /gm)
  return {
    processes: processes.length,
    ports: (await Promise.all(place.ports.map(answers))).filter(Boolean).length,
    // beside the repository's own
    worktrees: (worktrees?.length ?? 0) - 1,
    boxes: existsSync(boxes) ? readdirSync(boxes).length : 0
  }
}

const answers = (port: number) =>
  new Promise<boolean>((resolve) => {
    const socket = connect({ port, host: "127.0.0.1" })
    const done = (open: boolean) => {
      socket.destroy()
      resolve(open)
    }
    socket.once("connect", () => done(true)).once("error", () => done(false))
  })

/** As words. */
export const inWords = (found: Traces): string =>
  Object.entries(found)
    .map(([what, count]) => `${count} ${what}`)
    .join(", ")
