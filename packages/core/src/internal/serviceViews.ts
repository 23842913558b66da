/** The services of a session as others see them: what the ledger knows, and what they are seen to do now. */
import { Effect } from "effect"
import { type Listener, Ports } from "../Ports.ts"
import type { Backend } from "../Provisioners.ts"
import type { ServiceView } from "../Results.ts"
import type { InstanceRef, Session } from "../Session.ts"
import type * as Setup from "../Setup.ts"
import { hasDone } from "./completion.ts"
import * as compose from "./compose/view.ts"
import * as environment from "./environment.ts"
import { isHealthy, ofBox } from "./services.ts"
import * as supervisor from "./supervisor.ts"
import { unlooked } from "./unlooked.ts"

/** From the ledger alone. */
export const recorded = (session: Session): ReadonlyArray<ServiceView> => [
  ...compose.recorded(session),
  ...supervised(session)
]

const supervised = ({ endpointUrl, ports, setup }: Session): ReadonlyArray<ServiceView> =>
  (setup?.services ?? []).map(({ name, ports: [own] }) => {
    const port = own === undefined ? undefined : ports?.[own.name]
    const isPrimary = port !== undefined && endpointUrl?.endsWith(`:${port}`) === true
    return { ...unlooked(name, port), url: isPrimary ? endpointUrl : null }
  })

/** Asks each of them, all at once. Starts nothing, and changes nothing. */
export const seen = Effect.fnUntraced(function* (backend: Backend, ref: InstanceRef, session: Session) {
  const services = session.setup?.services ?? []
  const composed = yield* compose.seen(session)
  if (services.length === 0) return composed
  const views = new Map(supervised(session).map((view) => [view.name, view]))
  const names = services.map(({ name }) => name)
  const [running, variables, listening] = yield* Effect.all(
    [supervisor.status(backend, ref, names), environment.read(backend, session), listeners(backend, session)],
    { concurrency: "unbounded" }
  )
  const place = { backend, ref, environment: variables, ports: session.ports ?? {} }
  const isOurs = yield* ofBox(ref.key)
  const look = Effect.fnUntraced(function* (service: Setup.Service) {
    const view = views.get(service.name)!
    const status = running.get(service.name)
    const listener = view.port === null ? undefined : listening.get(view.port)
    const wrongOwner = listener !== undefined && !(yield* isOurs(listener.pid))
    const runs = status?._tag === "running"
    const works =
      hasDone(service, status) ||
      (runs && !wrongOwner && (service.health === undefined || (yield* isHealthy(place, service, service.health))))
    const shown: ServiceView = {
      ...view,
      url: view.port === null ? null : yield* Effect.orElseSucceed(backend.endpoint(ref, view.port), () => null),
      pid: runs ? status.pid : null,
      exitCode: status?._tag === "exited" ? status.code : null,
      healthy: works,
      listenerPid: listener?.pid ?? null,
      wrongOwner: view.port === null || !backend.hostPorts ? null : wrongOwner
    }
    return shown
  })
  return [...composed, ...(yield* Effect.forEach(services, look, { concurrency: "unbounded" }))]
})

const listeners = Effect.fnUntraced(function* (backend: Backend, { ports }: Session) {
  const { listeners } = yield* Ports
  return backend.hostPorts ? yield* listeners(Object.values(ports ?? {})) : new Map<number, Listener>()
})
