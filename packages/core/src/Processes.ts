/** Other processes of this host, found by what stands in their environment: never by name, never by a remembered pid alone. */
import { Context, Duration, Effect, Schema } from "effect"
import { repositoryVariables } from "./Git.ts"
import { Host } from "./Host.ts"

/** The environment variable by which the processes of a box are found, whoever started them. Its value is the box's key. */
export const boxMarker = "SANDBOX_BOX_KEY"

export class Processes extends Context.Service<
  Processes,
  {
    /** The environment of this process. */
    readonly environment: Effect.Effect<Readonly<Record<string, string>>>
    /**
     * The processes that were started with `NAME=value` in their environment.
     *
     * This process and its ancestors are never among them, even where they carry it. A process whose environment we may
     * not read is not among them either: what cannot be proven ours is not ours. One that has written over its environment
     * is taken for what started it.
     */
    readonly marked: (entry: string) => Effect.Effect<ReadonlyArray<number>>
    /** The value that a process was started with, where that may be read. */
    readonly variable: (pid: number, name: string) => Effect.Effect<string | undefined>
    /** Signals one process. One that is gone, or is not ours to signal, is left alone. */
    readonly signal: (pid: number, signal: "SIGTERM" | "SIGKILL") => Effect.Effect<void>
  }
>()("@org/sandbox-core/Processes") {}

/** Whether commands of a session may have a variable of ours: not what is meant for us alone, nor for git in our directory. */
export const isInherited = (name: string): boolean =>
  !name.startsWith("SANDBOX_") && name !== "GITHUB_TOKEN" && !repositoryVariables.includes(name)

/** Processes that do not end, even when killed. */
export class ProcessesLeft extends Schema.TaggedError<ProcessesLeft>("@org/sandbox-core/ProcessesLeft")(
  "ProcessesLeft",
  { pids: Schema.Array(Schema.Int) }
) {}

/** How long a process may take to end politely. */
export const grace = Duration.seconds(2)

/** How often to look for processes that were started while others ended. */
const rounds = 10

interface Process {
  readonly pid: number
  readonly startedAt: string
}

/**
 * Ends every process that carries `variable=value`, and looks again until there is none.
 *
 * A process is signalled only while its pid still has the start time it had when its environment was read.
 */
export const end: (variable: string, value: string) => Effect.Effect<void, ProcessesLeft, Processes | Host> =
  Effect.fnUntraced(function* (variable, value) {
    const entry = `${variable}=${value}`
    for (let round = 0; round < rounds; round++) {
      const found = yield* identify(entry)
      if (found.length === 0) return
      if (round === 0) yield* signalled(found, "SIGTERM", grace)
      yield* signalled(found, "SIGKILL", Duration.seconds(1))
    }
    const left = yield* identify(entry)
    if (left.length > 0) return yield* new ProcessesLeft({ pids: left.map(({ pid }) => pid) })
  })

const identify = Effect.fnUntraced(function* (entry: string) {
  const host = yield* Host
  const { marked } = yield* Processes
  const before = new Map<number, string>()
  for (const pid of yield* marked(entry)) {
    const startedAt = yield* host.startedAt(pid)
    if (startedAt !== undefined) before.set(pid, startedAt)
  }
  // The environment is read again after the start time: what carries it now is what had that start time, or is newer.
  const still = before.size === 0 ? [] : yield* marked(entry)
  return still.flatMap((pid): ReadonlyArray<Process> => {
    const startedAt = before.get(pid)
    return startedAt === undefined ? [] : [{ pid, startedAt }]
  })
})

/** Signals those that still are who they were, and waits until all are gone or the time is up. */
const signalled = Effect.fnUntraced(function* (
  processes: ReadonlyArray<Process>,
  signal: "SIGTERM" | "SIGKILL",
  patience: Duration.Duration
) {
  const { startedAt } = yield* Host
  const host = yield* Processes
  const isSame = (process: Process) => Effect.map(startedAt(process.pid), (token) => token === process.startedAt)
  const alive = Effect.filter(processes, isSame)
  for (const process of processes) {
    if (yield* isSame(process)) yield* host.signal(process.pid, signal)
  }
  yield* Effect.sleep("10 millis").pipe(
    Effect.andThen(alive),
    Effect.repeat({ until: (left) => left.length === 0 }),
    Effect.timeoutOption(patience)
  )
})
