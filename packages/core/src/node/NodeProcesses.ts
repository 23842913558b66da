/** The `Processes` port on Node: `/proc` on Linux, `ps` elsewhere. */
import { execFile } from "node:child_process"
import { readdirSync, readFileSync } from "node:fs"
import { platform } from "node:process"
import { Effect, Layer } from "effect"
import { Processes } from "../Processes.ts"

interface Row {
  readonly pid: number
  readonly parent: number
  /** The leader of the process's session; 0 where this system does not tell. */
  readonly session: number
  /** The environment that the process was started with, as entries `NAME=value`. */
  readonly entries: () => ReadonlyArray<string>
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

const linuxEntries = (pid: number): ReadonlyArray<string> =>
  attempt(`/proc/${pid}/environ`)?.toString("utf8").split("\0") ?? []

const linuxTable: Effect.Effect<Table> = Effect.sync(() => {
  const rows = new Map<number, Row>()
  for (const name of readdirSync("/proc")) {
    const stat = /^\d+$/.test(name) ? attempt(`/proc/${name}/stat`)?.toString("latin1") : undefined
    if (stat === undefined) continue
    const pid = Number(name)
    // The second field, the command, is in parentheses and may hold anything; the fourth is the parent, the sixth the session.
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ")
    rows.set(pid, {
      pid,
      parent: Number(fields[1]),
      session: Number(fields[3]),
      entries: once(() => linuxEntries(pid))
    })
  }
  return rows
})

const once = <A>(read: () => A): (() => A) => {
  let found: { readonly value: A } | undefined
  return () => {
    found ??= { value: read() }
    return found.value
  }
}

/**
 * The value of a variable in the environment a process was started with.
 *
 * Some programs write their title over that environment. Such a one has what the leader of its session has, or what started
 * it; one that was given an environment without the variable has none.
 */
const variableOf = (table: Table, pid: number, name: string): string | undefined => {
  const row = table.get(pid)
  if (row === undefined) return undefined
  const entries = row.entries()
  const prefix = `${name}=`
  const own = entries.find((entry) => entry.startsWith(prefix))?.slice(prefix.length)
  if (own !== undefined || !isOverwritten(entries)) return own
  const origin = row.session !== 0 && row.session !== pid && table.has(row.session) ? row.session : row.parent
  return origin === pid ? undefined : variableOf(table, origin, name)
}

/** There is something, and it is no environment. */
const isOverwritten = ([first = "", ...rest]: ReadonlyArray<string>): boolean =>
  (first !== "" || rest.length > 0) && !/^[A-Za-z_][A-Za-z0-9_]*=/.test(first)

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
    // what is shown is the command and then the environment; a word with "=" in it may be either
    const entries = once(() => rest.split(" ").filter((word) => word.includes("=")))
    rows.set(Number(pid), { pid: Number(pid), parent: Number(parent), session: 0, entries })
  }
  return rows
}

const table = platform === "linux" ? linuxTable : psTable

const marked = (entry: string) => {
  const at = entry.indexOf("=")
  const [name, value] = [entry.slice(0, at), entry.slice(at + 1)]
  return Effect.map(table, (rows) => {
    const spared = lineage(rows)
    return [...rows.keys()].filter((pid) => !spared.has(pid) && variableOf(rows, pid, name) === value)
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
  variable: (pid, name) => Effect.map(table, (rows) => variableOf(rows, pid, name)),
  signal: (pid, signal) =>
    Effect.sync(() => {
      try {
        process.kill(pid, signal)
      } catch {
        // whoever looks for it next sees whether it is still there
      }
    })
})
