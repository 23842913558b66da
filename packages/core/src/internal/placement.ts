/**
 * The ports of a session on its host: chosen, kept from everybody else, and recorded.
 *
 * A port is bound by us from the moment it was found free until its service is about to start, so that nobody comes in
 * between unless in that last moment; `conflict` tells when somebody did.
 */
import { Effect, Exit, Scope } from "effect"
import type { Held } from "../Claim.ts"
import { Ledger } from "../Ledger.ts"
import { Ports } from "../Ports.ts"
import * as SandboxError from "../SandboxError.ts"
import type { Session } from "../Session.ts"
import * as Setup from "../Setup.ts"
import * as Slots from "../Slots.ts"
import { noneFree, type Obstacle, program, wayOut } from "./obstacles.ts"

/** Whether a process is the session's own. */
export type Mine<R> = (pid: number) => Effect.Effect<boolean, never, R>

export interface Placement {
  /** By name. */
  readonly ports: Readonly<Record<string, number>>
  /** Lets go of the ports with these names: right before what listens on them starts. */
  readonly release: (names: ReadonlyArray<string>) => Effect.Effect<void>
}

/** How often ports are chosen again because another session was given one of them in the same moment. */
const rounds = 5

/**
 * Chooses a number for every port of the setup and commits them.
 *
 * They are held until they are released, or the scope closes. A number that the session's own process listens on is its
 * already. Fails with `ERR_PORT_IN_USE` when there is none for some port.
 */
export const place = Effect.fnUntraced(function* <R>(
  held: Held,
  options: {
    readonly setup: Setup.Setup
    readonly mine: Mine<R>
    /** Names of ports that are not chosen again: what listens on them is running, or just about to listen. */
    readonly keeps: ReadonlySet<string>
  }
) {
  const lasting = yield* Effect.scope
  const attempt = Effect.gen(function* () {
    const scope = yield* Scope.fork(lasting)
    const recorded = Effect.gen(function* () {
      const chosen = yield* choose(yield* held.row, { ...options, scope })
      yield* held.commit({ set: { ports: chosen.ports } })
      return chosen
    })
    return yield* Effect.onError(recorded, () => Scope.close(scope, Exit.void))
  })
  // What was taken in the same moment is in the ledger now, so that the next round sees it.
  return yield* Effect.retry(attempt, { times: rounds - 1, while: wasOutrun })
})

/** The ledger's refusal names ports alone; a port without a free number also says which of the services it is. */
const wasOutrun = (error: SandboxError.SandboxError): boolean =>
  error.code === "ERR_PORT_IN_USE" && error.details?.["name"] === undefined

const choose = Effect.fnUntraced(function* <R>(
  row: Session,
  {
    keeps,
    mine,
    scope,
    setup
  }: {
    readonly setup: Setup.Setup
    readonly mine: Mine<R>
    readonly keeps: ReadonlySet<string>
    readonly scope: Scope.Scope
  }
) {
  const { hold, listeners } = yield* Ports
  const [slot, where] = [row.slot, row.placementScope]
  if (slot === null || where === null) return yield* Effect.die(new Error(`${row.id} has no slot`))
  const given = yield* (yield* Ledger).ports(where)
  const chosen = new Map<number, string>()
  const holds = new Map<string, Scope.Closeable>()

  const declared = Setup.ports(setup)
  for (const { name } of declared) {
    const kept = keeps.has(name) ? Slots.numberOf(row.ports ?? {}, name) : undefined
    if (kept !== undefined) chosen.set(kept, name)
  }
  const named = new Set(chosen.values())
  const lists = declared
    .filter(({ name }) => !named.has(name))
    .map((port) => ({
      port,
      numbers: preferring(Slots.numberOf(row.ports ?? {}, port.name), Slots.candidates(setup, { slot, port }))
    }))
  const seen = yield* listeners([...new Set(lists.flatMap(({ numbers }) => numbers))])

  /** Takes a number for the port with this name, or answers who is in the way. */
  const take = Effect.fnUntraced(function* (
    name: string,
    port: number
  ): Effect.fn.Return<Obstacle | undefined, never, R> {
    const twin = chosen.get(port)
    if (twin !== undefined) return { port, twin }
    const session = given.get(port)
    if (session !== undefined && session !== row.id) return { port, session, listener: seen.get(port) }
    const listener = seen.get(port)
    if (listener !== undefined) {
      return listener.pid !== null && (yield* mine(listener.pid)) ? undefined : { port, listener }
    }
    const ours = yield* Scope.fork(scope)
    const bound = yield* Effect.exit(Scope.provide(hold(port), ours))
    if (Exit.isSuccess(bound)) holds.set(name, ours)
    else yield* Scope.close(ours, Exit.void)
    return Exit.isSuccess(bound) ? undefined : { port }
  })

  for (const { numbers, port } of lists) {
    const obstacles: Array<Obstacle> = []
    for (const number of numbers) {
      const obstacle = yield* take(port.name, number)
      if (obstacle === undefined) {
        chosen.set(number, port.name)
        break
      }
      obstacles.push(obstacle)
    }
    if (obstacles.length === numbers.length) return yield* noneFree(row, setup, { port, obstacles })
  }

  const release = (name: string) => {
    const ours = holds.get(name)
    return ours === undefined ? Effect.void : Scope.close(ours, Exit.void)
  }
  const placement: Placement = {
    ports: Object.fromEntries([...chosen].map(([number, name]) => [name, number])),
    release: (names) => Effect.forEach(names, release, { discard: true })
  }
  return placement
})

/** What an earlier attempt was given comes first, unless it is no longer what is asked for. */
const preferring = (earlier: number | undefined, numbers: ReadonlyArray<number>): ReadonlyArray<number> =>
  earlier !== undefined && numbers.includes(earlier)
    ? [earlier, ...numbers.filter((number) => number !== earlier)]
    : numbers

/**
 * The failure to report when a service does not work because somebody else listens on its port; none when nobody does,
 * or the session itself.
 */
export const conflict = Effect.fnUntraced(function* <R>(
  ports: Ports["Service"],
  port: { readonly name: string; readonly number: number },
  mine: Mine<R>
) {
  const listener = yield* ports.listener(port.number)
  if (listener === undefined || (listener.pid !== null && (yield* mine(listener.pid)))) return undefined
  return SandboxError.make("ERR_PORT_IN_USE", {
    message: `port ${port.number} of ${port.name} was taken by ${program(listener)} before the service could listen on it`,
    nextStep: wayOut(port.name, ""),
    details: {
      name: port.name,
      ports: [port.number],
      holders: [{ port: port.number, pid: listener.pid, command: listener.command, session_id: null }]
    }
  })
})
