/** The services of a session: started in their order, each seen to work before the next. */
import { Clock, Duration, Effect, Option } from "effect"
import type { Held } from "../Claim.ts"
import { type Listener, Ports } from "../Ports.ts"
import { boxMarker, Processes } from "../Processes.ts"
import type { Backend } from "../Provisioners.ts"
import * as SandboxError from "../SandboxError.ts"
import type { InstanceRef, Session } from "../Session.ts"
import type * as Setup from "../Setup.ts"
import * as Supervisor from "../Supervisor.ts"
import { all, type Environment, ofService } from "./environment.ts"
import { argv } from "./hooks.ts"
import * as inBox from "./inBox.ts"
import { redact } from "./secrets.ts"

/** How often a service is asked whether it works. */
const interval = Duration.millis(250)
/** How long a service without a health check has to keep running to count as started. */
const settling = Duration.millis(1500)
/** How much of its log is quoted when a service fails. */
const quoted = 20

interface Place {
  readonly held: Held
  readonly backend: Backend
  readonly ref: InstanceRef
  readonly environment: Environment
  readonly ports: Readonly<Record<string, number>>
  /** Lets go of ports that were kept free for their service. */
  readonly release: (names: ReadonlyArray<string>) => Effect.Effect<void>
}

/** Starts what is not running, in order. What was started by this is stopped on rollback. */
export const start = Effect.fnUntraced(function* (place: Place, services: ReadonlyArray<Setup.Service>) {
  const { backend, held, ref, release } = place
  const running = yield* Supervisor.status(
    backend,
    ref,
    services.map(({ name }) => name)
  )
  for (const service of services) {
    const up = running.get(service.name)?._tag === "running"
    const begin = Effect.gen(function* () {
      yield* held.onRollback({
        name: `stop ${service.name}`,
        run: Supervisor.stop(backend, ref, service.name)
      })
      yield* release(service.ports.map(({ name }) => name))
      yield* Supervisor.start(backend, ref, command(place, service))
    })
    yield* held.phase(
      `service.${service.name}`,
      Effect.andThen(Effect.when(begin, Effect.succeed(!up)), works(place, service))
    )
  }
})

const command = ({ environment, ports }: Place, service: Setup.Service): Supervisor.Command => ({
  name: service.name,
  argv: argv(service.command),
  cwd: service.cwd,
  env: { ...all(environment), ...ofService(service, ports) }
})

/** Waits until a service works; fails with why it does not. */
const works = Effect.fnUntraced(function* (place: Place, service: Setup.Service) {
  const begun = yield* Clock.currentTimeMillis
  const deadline = begun + service.deadlineS * 1000
  while (true) {
    const now = yield* Clock.currentTimeMillis
    const seen = (yield* Supervisor.status(place.backend, place.ref, [service.name])).get(service.name)
    if (seen?._tag !== "running") return yield* ended(place, service, seen)
    const healthy =
      service.health === undefined
        ? now - begun >= Duration.toMillis(settling)
        : yield* isHealthy(place, service, service.health)
    if (healthy) return yield* ownsItsPort(place, service)
    if (now >= deadline) return yield* tooLate(place, service)
    yield* Effect.sleep(interval)
  }
})

/** One look at a service, as it stands in the session's row. */
export const isHealthy = Effect.fnUntraced(function* (
  place: Pick<Place, "backend" | "ref" | "environment" | "ports">,
  service: Setup.Service,
  check: Setup.HealthCheck
) {
  const { backend, ref } = place
  const [port] = service.ports
  const number = port === undefined ? undefined : place.ports[port.name]
  switch (check.kind) {
    case "tcp":
      return number !== undefined && (yield* (yield* Ports).accepts(number))
    case "http": {
      if (number === undefined) return false
      const origin = yield* backend.endpoint(ref, number)
      const status = yield* (yield* Ports).httpStatus(new URL(check.path, origin).href)
      return status !== undefined && status < 400
    }
    case "command": {
      const run = inBox.script(backend, ref, {
        script: `exec "$@"`,
        args: argv(check.command),
        cwd: service.cwd,
        env: { ...all(place.environment), ...ofService(service, place.ports) }
      })
      // a check that hangs is a check that fails
      const outcome = yield* Effect.timeoutOption(run, Duration.seconds(Math.min(10, service.deadlineS)))
      return Option.isSome(outcome) && outcome.value.code === 0
    }
  }
})

/** Whether a process is of the box with this key, by what it carries. */
export const ofBox = Effect.fnUntraced(function* (key: string) {
  const { variable } = yield* Processes
  return (pid: number | null) =>
    pid === null ? Effect.succeed(false) : Effect.map(variable(pid, boxMarker), (value) => value === key)
})

/** The first port of a service that somebody else has. */
export const intruder = Effect.fnUntraced(function* (
  place: Pick<Place, "backend" | "ref" | "ports">,
  service: Setup.Service
) {
  if (!place.backend.hostPorts) return undefined
  const { listener } = yield* Ports
  const isOurs = yield* ofBox(place.ref.key)
  for (const { name } of service.ports) {
    const port = place.ports[name]
    const found = port === undefined ? undefined : yield* listener(port)
    if (found !== undefined && !(yield* isOurs(found.pid))) return { name, listener: found }
  }
  return undefined
})

/** A check that somebody else answered says nothing about the service. */
const ownsItsPort = Effect.fnUntraced(function* (place: Place, service: Setup.Service) {
  if (service.health === undefined || service.health.kind === "command") return
  const other = yield* intruder(place, service)
  if (other !== undefined) return yield* portLost(service, other)
})

const portLost = (service: Setup.Service, { listener, name }: { readonly name: string; readonly listener: Listener }) =>
  SandboxError.make("ERR_PORT_IN_USE", {
    message: `port ${listener.port} of ${service.name} is taken by ${
      listener.pid === null
        ? "a process of somebody else"
        : `process ${listener.pid} (${listener.command ?? "unknown"})`
    }`,
    nextStep: `end that process, or choose another port with --port ${name}=<number>`,
    details: { service: service.name, port: listener.port, pid: listener.pid, command: listener.command }
  })

const ended = Effect.fnUntraced(function* (place: Place, service: Setup.Service, seen: Supervisor.Status | undefined) {
  const other = yield* intruder(place, service)
  if (other !== undefined) return yield* portLost(service, other)
  const code = seen?._tag === "exited" ? seen.code : null
  const how = code === null ? "ended without an exit code" : `ended with exit code ${code}`
  return yield* failed(place, service, { how, code })
})

const tooLate = Effect.fnUntraced(function* (place: Place, service: Setup.Service) {
  const other = yield* intruder(place, service)
  if (other !== undefined) return yield* portLost(service, other)
  return yield* failed(place, service, { how: `does not work after ${service.deadlineS} s`, code: null })
})

const failed = Effect.fnUntraced(function* (
  place: Place,
  service: Setup.Service,
  { code, how }: { readonly how: string; readonly code: number | null }
) {
  const { backend, environment, ref } = place
  const log = yield* Supervisor.tail(backend, ref, { name: service.name, lines: quoted })
  const output = redact(log, Object.values(environment.secrets))
  return yield* SandboxError.make("ERR_SERVICE_FAILED", {
    message: `the service ${service.name} ${how}${output === "" ? ", and wrote nothing" : ""}`,
    nextStep: `correct \`services\` or what ${service.name} complains about, and try again`,
    details: { service: service.name, exit_code: code, output }
  })
})

/** Whether every service of the session is running; `false` says that something is to be repaired. */
export const allRunning = Effect.fnUntraced(function* (backend: Backend, row: Session) {
  const names = row.setup?.services.map(({ name }) => name) ?? []
  if (row.instance === null || names.length === 0) return true
  const found = yield* Supervisor.status(backend, row.instance, names)
  return [...found.values()].every(({ _tag }) => _tag === "running")
})
