/** The `Processes` port on Node: `/proc` on Linux, `ps` elsewhere. */
import { execFile } from "node:child_process"
import { readdirSync, readFileSync } from "node:fs"
import { platform } from "node:process"
import { Effect, Layer } from "effect"
import { Processes } from "../Processes.ts"

interface Row {
  readonly pid: number
  readonly parent: number
  /** The value of a variable in the environment the process was started with. */
  readonly variable: (name: string) => string | undefined
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

const attempt = (path: string): Buffer | undefined => {
  try {
    return readFileSync(path)
  } catch {
    return undefined // it has ended, or belongs to somebody else
  }
}

const linuxVariable = (pid: number, name: string): string | undefined => {
  const prefix = `${name}=`
  const entries = attempt(`/proc/${pid}/environ`)?.toString("utf8").split("\0")
  return entries?.find((entry) => entry.startsWith(prefix))?.slice(prefix.length)
}

const linuxTable: Effect.Effect<Table> = Effect.sync(() => {
  const rows = new Map<number, Row>()
  for (const name of readdirSync("/proc")) {
    const stat = /^\d+$/.test(name) ? attempt(`/proc/${name}/stat`)?.toString("latin1") : undefined
    if (stat === undefined) continue
    const pid = Number(name)
    // The second field, the command, is in parentheses and may hold anything; the fourth is the parent.
    const parent = Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[1])
    rows.set(pid, { pid, parent, variable: (wanted) => linuxVariable(pid, wanted) })
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
    const variable = (name: string) => ` ${rest} `.split(` ${name}=`)[1]?.split(" ")[0]
    rows.set(Number(pid), { pid: Number(pid), parent: Number(parent), variable })
  }
  return rows
}

const table = platform === "linux" ? linuxTable : psTable

const marked = (entry: string) => {
  const at = entry.indexOf("=")
  const [name, value] = [entry.slice(0, at), entry.slice(at + 1)]
  return Effect.map(table, (rows) => {
    const spared = lineage(rows)
    return [...rows.values()]
      .filter((row) => !spared.has(row.pid) && row.variable(name) === value)
      .map(({ pid }) => pid)
  })
}

const environment = Effect.sync(() =>
  Object.fromEntries(
    Object.entries(process.env).flatMap(([name, value]) => (value === undefined ? [] : [[name, value]]))
  )
)

export const layer: Layer.Layer<Processes> = Layer.succeed(Processes)({
  environment,
  marked,
  variable: (pid, name) =>
    platform === "linux"
      ? Effect.sync(() => linuxVariable(pid, name))
      : Effect.map(psTable, (rows) => rows.get(pid)?.variable(name)),
  signal: (pid, signal) =>
    Effect.sync(() => {
      try {
        process.kill(pid, signal)
      } catch {
        // whoever looks for it next sees whether it is still there
      }
    })
})
