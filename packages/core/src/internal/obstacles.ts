/** Who is in the way of a port, in the words of the output contract. */
import { Effect, Option } from "effect"
import { Ledger } from "../Ledger.ts"
import type { Listener } from "../Ports.ts"
import * as SandboxError from "../SandboxError.ts"
import type { Session } from "../Session.ts"
import type * as Setup from "../Setup.ts"
import * as Slots from "../Slots.ts"

/** Who is in the way of a number. */
export interface Obstacle {
  readonly port: number
  /** What listens there. */
  readonly listener?: Listener | undefined
  /** The session that it was given to. */
  readonly session?: string | undefined
  /** The port of the same setup that has it. */
  readonly twin?: string | undefined
}

/** Nothing is left for a port. */
export const noneFree = Effect.fnUntraced(function* (
  row: Session,
  setup: Setup.Setup,
  {
    obstacles,
    port: { base, name }
  }: {
    readonly port: Setup.Port
    readonly obstacles: ReadonlyArray<Obstacle>
  }
) {
  const fixed = Slots.numberOf(setup.fixedPorts, name)
  const [first] = obstacles
  if (first === undefined) {
    const number = fixed ?? Slots.nominal(setup, base, row.slot!)
    return yield* SandboxError.make("ERR_PORT_IN_USE", {
      message: `${name} would have port ${number}, and there is no such port: they go from 1 to ${Slots.highest}`,
      nextStep: `choose another number with \`--port ${name}=<number>\`, or give the service another port`,
      retryable: false,
      details: { name, ports: [number] }
    })
  }
  if (first.twin !== undefined && obstacles.length === 1) {
    return yield* SandboxError.make("ERR_PORT_IN_USE", {
      message: `port ${first.port} is asked for twice, for ${first.twin} and for ${name}`,
      nextStep: `give one of them another number: \`--port ${name}=<number>\``,
      retryable: false,
      details: { name, ports: [first.port] }
    })
  }
  const holders = yield* Effect.forEach(obstacles, (obstacle) => named(row.owner, obstacle))
  const others = holders.slice(1)
  const why =
    fixed !== undefined
      ? "; it was asked for by number, so that no other was tried"
      : setup.slots.strict
        ? "; the slots are strict, so that no other was tried"
        : others.length === 0
          ? "; there is no other to try"
          : `, and so ${others.length === 1 ? "is the other" : `are the ${others.length} others`} that may be tried: ${listed(others)}`
  return yield* SandboxError.make("ERR_PORT_IN_USE", {
    message: `port ${first.port} of ${name} is taken by ${holders[0]!.by}${why}`,
    nextStep: wayOut(
      name,
      fixed !== undefined ? "" : setup.slots.strict ? "`slots.strict: false`" : "a larger `slots.search_range`"
    ),
    details: { name, ports: obstacles.map(({ port }) => port), holders: holders.map(({ by: _, ...holder }) => holder) }
  })
})

/** How to come by a port after all; `setting` would have helped too. */
export const wayOut = (name: string, setting: string): string =>
  `end it and run the command again, or bring the session up with \`--port ${name}=<number>\`${setting === "" ? "" : ` or ${setting}`}`

interface HolderOfPort {
  readonly port: number
  readonly pid: number | null
  readonly command: string | null
  readonly session_id: string | null
  /** For a person. */
  readonly by: string
}

/** Who an obstacle is, of other people's sessions only that there is one. */
const named = Effect.fnUntraced(function* (
  owner: string,
  { listener, port, session, twin }: Obstacle
): Effect.fn.Return<HolderOfPort, SandboxError.SandboxError, Ledger> {
  const about = { port, pid: listener?.pid ?? null, command: listener?.command ?? null }
  if (session === undefined) {
    return { ...about, session_id: null, by: twin === undefined ? program(listener) : `${twin} of the same session` }
  }
  const found = Option.getOrUndefined(yield* (yield* Ledger).session(session))
  return found?.owner === owner
    ? { ...about, session_id: session, by: `session ${found.name}` }
    : { ...about, session_id: null, by: "another session" }
})

/** What listens, for a person. */
export const program = (listener: Listener | undefined): string => {
  if (listener === undefined) return "a program that does not listen on it yet"
  if (listener.pid === null) return "a program of another user"
  return `pid ${listener.pid}${listener.command === null ? "" : ` (${listener.command})`}`
}

/** At most three of them. */
const listed = (holders: ReadonlyArray<HolderOfPort>): string => {
  const shown = holders.slice(0, 3).map(({ by, port }) => `${port} (${by})`)
  return [...shown, ...(holders.length > shown.length ? [`${holders.length - shown.length} more`] : [])].join(", ")
}
