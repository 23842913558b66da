/** Ending the processes of a box, and no others. */
import { Host } from "@org/sandbox-core/Host"
import { Duration, Effect } from "effect"
import { Refused } from "./LocalError.ts"
import * as LocalHost from "./LocalHost.ts"

/** The environment variable by which the processes of a box are found, whoever started them. */
export const boxMarker = "SANDBOX_BOX_KEY"

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
export const end: (variable: string, value: string) => Effect.Effect<void, Refused, Host> = Effect.fnUntraced(
  function* (variable, value) {
    const entry = `${variable}=${value}`
    for (let round = 0; round < rounds; round++) {
      const found = yield* identify(entry)
      if (found.length === 0) return
      if (round === 0) yield* signalled(found, "SIGTERM", grace)
      yield* signalled(found, "SIGKILL", Duration.seconds(1))
    }
    const left = yield* identify(entry)
    if (left.length === 0) return
    const pids = left.map(({ pid }) => pid).join(", ")
    return yield* new Refused({
      reason: "NotReady",
      message: `The processes ${pids} of the box do not end, even when killed.`
    })
  }
)

const identify = Effect.fnUntraced(function* (entry: string) {
  const host = yield* Host
  const before = new Map<number, string>()
  for (const pid of yield* LocalHost.marked(entry)) {
    const startedAt = yield* host.startedAt(pid)
    if (startedAt !== undefined) before.set(pid, startedAt)
  }
  // The environment is read again after the start time: what carries it now is what had that start time, or is newer.
  const still = before.size === 0 ? [] : yield* LocalHost.marked(entry)
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
  const isSame = (process: Process) => Effect.map(startedAt(process.pid), (token) => token === process.startedAt)
  const alive = Effect.filter(processes, isSame)
  for (const process of processes) {
    if (yield* isSame(process)) yield* LocalHost.signal(process.pid, signal)
  }
  yield* Effect.sleep("10 millis").pipe(
    Effect.andThen(alive),
    Effect.repeat({ until: (left) => left.length === 0 }),
    Effect.timeoutOption(patience)
  )
})
