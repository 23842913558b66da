/** `ports`: what a session's services listen on, and whether it is they who do. */

import { Effect } from "effect"
import { published } from "../internal/compose/view.ts"
import { ofBox } from "../internal/services.ts"
import * as sessions from "../internal/sessions.ts"
import type { PortsOptions } from "../Options.ts"
import { type Listener, Ports } from "../Ports.ts"
import { type Backend, Provisioners } from "../Provisioners.ts"
import type { PortsResult, PortView } from "../Results.ts"
import * as SandboxError from "../SandboxError.ts"
import type { InstanceRef, Session } from "../Session.ts"
import * as Setup from "../Setup.ts"

/** Asks the host, and the provider for URLs; changes nothing. */
export const ports = Effect.fn("ports")(function* (options: PortsOptions) {
  const session = yield* sessions.find(options.session)
  const { instance: ref } = session
  const services = [...(session.setup?.services ?? []), ...(session.setup?.compose?.services ?? [])]
  const declared = services.flatMap(({ name, ports }) => ports.map((port) => ({ service: name, port })))
  const composed = new Set(session.setup?.compose?.services.flatMap(({ ports }) => ports.map(({ name }) => name)))
  const given = new Map(Object.entries(session.ports ?? {}))
  const backend = ref === null || given.size === 0 ? undefined : yield* (yield* Provisioners).get(session.provider)
  const seen =
    backend?.hostPorts === true ? yield* (yield* Ports).listeners([...given.values()]) : new Map<number, Listener>()

  const isOurs = yield* ofBox(ref?.key ?? "")
  const containers = yield* published(session)

  const view = Effect.fnUntraced(function* (service: string, name: string, port: number) {
    const listener = seen.get(port)
    // the engine listens for a container
    const ours = containers.has(name) || (listener !== undefined && (yield* isOurs(listener.pid)))
    const shown: PortView = {
      name,
      service,
      port,
      url: composed.has(name)
        ? address(containers.get(name))
        : ref === null || backend === undefined
          ? null
          : yield* url(backend, ref, port),
      whose: ours ? "session" : listener === undefined ? null : "other",
      pid: listener?.pid ?? null,
      command: listener?.command ?? null
    }
    return shown
  })
  const shown = yield* Effect.forEach(declared, ({ port: { name }, service }) => {
    const number = given.get(name)
    return number === undefined ? Effect.succeed([]) : Effect.map(view(service, name, number), (one) => [one])
  })
  const result: PortsResult = {
    sessionId: session.id,
    name: session.name,
    state: session.state,
    slot: session.slot,
    ports: shown.flat(),
    warnings: notes(session, given.size)
  }
  return result
})

/** Of what the engine listens for a container. */
const address = (number: number | undefined) => (number === undefined ? null : `http://127.0.0.1:${number}`)

/** A provider that has no answer now hides nothing that the ledger knows. */
const url = (backend: Backend, ref: InstanceRef, port: number) =>
  Effect.catchIf(
    backend.endpoint(ref, port),
    SandboxError.hasCode("ERR_NOT_READY", "ERR_UNSUPPORTED", "ERR_EXEC_FAILED"),
    () => Effect.succeed(null)
  )

const notes = ({ name, setup, state }: Session, given: number): ReadonlyArray<string> => {
  if (setup === null || Setup.ports(setup).length === 0) return [`no service of ${name} declares a port`]
  return given === 0 ? [`${name} is ${state}: it has ports while it is up`] : []
}
