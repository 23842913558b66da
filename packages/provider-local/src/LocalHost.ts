/** What this provider needs to know of the host and can only learn from Node: the environment, other processes, signals. */
import { execFile } from "node:child_process"
import { readdirSync, readFileSync } from "node:fs"
import { constants } from "node:os"
import { platform } from "node:process"
import { Effect } from "effect"

/** The environment of this process. */
export const environment: Effect.Effect<Readonly<Record<string, string>>> = Effect.sync(() =>
  Object.fromEntries(
    Object.entries(process.env).flatMap(([name, value]) => (value === undefined ? [] : [[name, value]]))
  )
)

/** The number of a signal, by which a shell reports it as 128 + number; none for a name this system has not. */
export const signalNumber = (name: string): number | undefined =>
  (constants.signals as Readonly<Record<string, number | undefined>>)[name]

/**
 * The processes that were started with `NAME=value` in their environment.
 *
 * This process and its ancestors are never among them, even where they carry it. A process whose environment we may not
 * read is not among them either: what cannot be proven ours is not ours.
 */
export const marked = (entry: string): Effect.Effect<ReadonlyArray<number>> =>
  Effect.map(platform === "linux" ? linuxTable : psTable, (table) => {
    const spared = lineage(table)
    return [...table.values()].filter((row) => !spared.has(row.pid) && row.carries(entry)).map(({ pid }) => pid)
  })

/** Signals one process. One that is gone, or is not ours to signal, is left alone. */
export const signal = (pid: number, name: NodeJS.Signals): Effect.Effect<void> =>
  Effect.sync(() => {
    try {
      process.kill(pid, name)
    } catch {
      // whoever looks for it next sees whether it is still there
    }
  })

/** Signals the process group that a process leads. Only for a leader that was spawned here and has not been collected. */
export const signalGroup = (leader: number, name: NodeJS.Signals): Effect.Effect<void> => signal(-leader, name)

interface Row {
  readonly pid: number
  readonly parent: number
  readonly carries: (entry: string) => boolean
}

type Table = ReadonlyMap<number, Row>

const lineage = (table: Table): ReadonlySet<number> => {
  const seen = new Set<number>()
  for (let pid: number | undefined = process.pid; pid !== undefined && pid > 0 && !seen.has(pid); ) {
    seen.add(pid)
    pid = table.get(pid)?.parent
  }
  return seen
}

const attempt = (path: string): string | undefined => {
  try {
    return readFileSync(path, "latin1")
  } catch {
    return undefined // it has ended, or belongs to somebody else
  }
}

const linuxTable: Effect.Effect<Table> = Effect.sync(() => {
  const rows = new Map<number, Row>()
  for (const name of readdirSync("/proc")) {
    const stat = /^\d+$/.test(name) ? attempt(`/proc/${name}/stat`) : undefined
    if (stat === undefined) continue
    // The second field, the command, is in parentheses and may hold anything; the fourth is the parent.
    const parent = Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[1])
    const carries = (entry: string) =>
      attempt(`/proc/${name}/environ`)?.split("\0").includes(Buffer.from(entry).toString("latin1")) ?? false
    rows.set(Number(name), { pid: Number(name), parent, carries })
  }
  return rows
})

const psTable: Effect.Effect<Table> = Effect.callback((resume) => {
  // On macOS `-E` prints the environment after the command, for the user's own processes.
  const child = execFile("ps", ["-axww", "-E", "-o", "pid=,ppid=,command="], { maxBuffer: 2 ** 28 }, (error, stdout) =>
    resume(error === null ? Effect.succeed(parsePs(stdout)) : Effect.die(error))
  )
  return Effect.sync(() => child.kill())
})

/** Reads lines of `pid ppid command… NAME=value…`. */
export const parsePs = (text: string): Table => {
  const rows = new Map<number, Row>()
  for (const line of text.split("\n")) {
    const [, pid, parent, rest = ""] = /^\s*(\d+)\s+(\d+)\s(.*)$/.exec(line) ?? []
    if (pid === undefined) continue
    const carries = (entry: string) => ` ${rest} `.includes(` ${entry} `)
    rows.set(Number(pid), { pid: Number(pid), parent: Number(parent), carries })
  }
  return rows
}
