/** A session's compose services as others see them. */
import { Clock, Duration, Effect, Queue, Stream } from "effect"
import type { Processes } from "../../Processes.ts"
import type { ServiceView } from "../../Results.ts"
import * as SandboxError from "../../SandboxError.ts"
import type { Session } from "../../Session.ts"
import * as Slots from "../../Slots.ts"
import type { LogChunk } from "../logFrames.ts"
import { unlooked } from "../unlooked.ts"
import { mapOf } from "./document.ts"
import * as engine from "./engine.ts"
import * as record from "./record.ts"
import { projectOf } from "./start.ts"
import * as tool from "./tool.ts"
import { isWorking, onHost } from "./working.ts"

/** The containers of a session; none where nothing was ever begun for it. */
const containers = Effect.fnUntraced(function* (row: Session) {
  if (row.setup?.compose === undefined || (yield* record.read(row.id)) === undefined) return []
  return yield* engine.containers(yield* projectOf(row))
})

/** Whether all that was brought up last still runs, or has done what it had to. */
export const allUp = Effect.fnUntraced(function* (row: Session) {
  if (row.setup?.compose === undefined) return true
  const found = yield* containers(row)
  const names = Object.keys(mapOf(mapOf(yield* record.document(row.id))["services"]))
  const isUp = (name: string) => {
    const own = found.filter(({ service }) => service === name)
    return own.length > 0 && own.every(engine.isUp)
  }
  return names.length > 0 && names.every(isUp)
})

/** The ports of this host that lead to containers of the session now, by the names of ports. */
export const published = Effect.fnUntraced(function* (row: Session) {
  const running = (yield* containers(row)).filter(({ status }) => status === "running")
  const taken = new Set(running.flatMap((container) => container.published.map(({ number }) => number)))
  const found = (row.setup?.compose?.services ?? []).flatMap((service) => {
    const own = running.filter((container) => container.service === service.name)
    return service.ports.map(({ name }) => [name, onHost(row, own, name)] as const)
  })
  return new Map(
    found.flatMap(([name, number]) => (number === undefined || !taken.has(number) ? [] : [[name, number]]))
  )
})

const view = (row: Session, name: string): ServiceView => {
  const [port] = row.setup?.compose?.services.find((service) => service.name === name)?.ports ?? []
  return unlooked(name, port === undefined ? undefined : Slots.numberOf(row.ports ?? {}, port.name))
}

/** From the ledger alone: those that the setup names. */
export const recorded = (row: Session): ReadonlyArray<ServiceView> =>
  (row.setup?.compose?.services ?? []).map(({ name }) => view(row, name))

/** Asks the engine for all of them; starts nothing, and changes nothing. */
export const seen = Effect.fnUntraced(function* (row: Session) {
  const compose = row.setup?.compose
  if (compose === undefined) return []
  const found = yield* Effect.catchIf(
    containers(row),
    SandboxError.hasCode("ERR_PROVIDER_UNAVAILABLE", "ERR_UNSUPPORTED", "ERR_TIMEOUT"),
    () => Effect.undefined
  )
  if (found === undefined) return recorded(row)
  const document = mapOf(mapOf(yield* record.document(row.id))["services"])
  const names = new Set([...compose.services.map(({ name }) => name), ...Object.keys(document)])
  return yield* Effect.forEach(
    names,
    Effect.fnUntraced(function* (name) {
      const own = found.filter(({ service }) => service === name)
      const declared = compose.services.find((service) => service.name === name)
      const ended = own.find(({ status }) => status === "exited")
      const shown: ServiceView = {
        ...view(row, name),
        exitCode: ended?.exitCode ?? null,
        healthy: yield* isWorking(own, { declared, row, settled: true })
      }
      return shown
    }),
    { concurrency: "unbounded" }
  )
})

/** Whether a name is that of a compose service of the session. */
export const has = Effect.fnUntraced(function* (row: Session, name: string) {
  if (row.setup?.compose === undefined) return false
  const document = mapOf(mapOf(yield* record.document(row.id))["services"])
  return Object.hasOwn(document, name) || row.setup.compose.services.some((service) => service.name === name)
})

export interface LogsWanted {
  readonly name: string
  readonly follow: boolean
  readonly tail: number | undefined
  /** Milliseconds. */
  readonly since: number | undefined
}

/** What a service wrote, as its engine kept it. */
export const logs = Effect.fnUntraced(function* (row: Session, { follow, name, since, tail }: LogsWanted) {
  const own = (yield* containers(row)).filter(({ service }) => service === name)
  const context = yield* Effect.context<Effect.Services<ReturnType<typeof tool.docker>> | Processes>()
  const options = [
    ...(follow ? ["--follow"] : []),
    ...(tail === undefined ? [] : ["--tail", String(tail)]),
    ...(since === undefined ? [] : ["--since", `${Math.ceil(since / 1000)}s`])
  ]
  const one = ({ id }: engine.Container): Stream.Stream<LogChunk, SandboxError.SandboxError> =>
    Stream.callback((queue) =>
      tool
        .docker(["logs", ...options, "--", id], {
          session: row.id,
          // whoever follows goes on until the container or the reader ends
          limit: follow ? Duration.days(365) : Duration.minutes(5),
          onOutput: (text) =>
            Effect.flatMap(Clock.currentTimeMillis, (now) =>
              Queue.offer(queue, {
                service: name,
                at: Math.floor(now / 1000),
                bytes: new TextEncoder().encode(text)
              })
            )
        })
        .pipe(Effect.andThen(Queue.end(queue)), Effect.provideContext(context))
    )
  return Stream.mergeAll(own.map(one), { concurrency: "unbounded" })
})
