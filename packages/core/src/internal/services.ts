/** The services of a session: started in their order, each seen to work before the next. */
import { Clock, Duration, Effect, Option } from "effect"
import type { Held } from "../Claim.ts"
import { Ports } from "../Ports.ts"
import { boxMarker, Processes } from "../Processes.ts"
import type { Backend } from "../Provisioners.ts"
import * as SandboxError from "../SandboxError.ts"
import type { InstanceRef, Session } from "../Session.ts"
import type * as Setup from "../Setup.ts"
import * as Slots from "../Slots.ts"
import { hasDone } from "./completion.ts"
import * as compose from "./compose/view.ts"
import { all, type Environment, ofService } from "./environment.ts"
import { argv } from "./hooks.ts"
import * as inBox from "./inBox.ts"
import * as placement from "./placement.ts"
import { redact } from "./secrets.ts"
import * as supervisor from "./supervisor.ts"

/** How often a service is asked whether it works. */
const interval = Duration.millis(250)
/** How long a service without a health check has to keep running to count as started. */
const settling = Duration.millis(1500)
/** How many lines of its log are quoted when a service fails, of how many that are read: a secret may span several. */
const [quoted, read] = [20, 500]

interface Place {
  readonly held: Held
  readonly backend: Backend
  readonly ref: InstanceRef
  readonly environment: Environment
  /** Every secret of the session: what no message may show. */
  readonly hidden: ReadonlyArray<string>
  readonly ports: Readonly<Record<string, number>>
  /** Lets go of ports that were kept free for their service. */
  readonly release: (names: ReadonlyArray<string>) => Effect.Effect<void>
}

/** Starts what is not running, in order. What was started by this is stopped on rollback. */
export const start = Effect.fnUntraced(function* (place: Place, services: ReadonlyArray<Setup.Service>) {
  const { backend, held, ref, release } = place
  const found = yield* supervisor.status(
    backend,
    ref,
    services.map(({ name }) => name)
  )
  for (const service of services) {
    const before = found.get(service.name)
    const up = before?._tag === "running"
    const begin = Effect.gen(function* () {
      // its watcher may have died and left what it watched
      if (before?._tag !== "new") yield* supervisor.stop(backend, ref, service.name)
      yield* held.onRollback({
        name: `stop ${service.name}`,
        run: supervisor.stop(backend, ref, service.name)
      })
      yield* release(service.ports.map(({ name }) => name))
      yield* supervisor.start(backend, ref, command(place, service))
    })
    yield* held.phase(
      `service.${service.name}`,
      Effect.andThen(Effect.when(begin, Effect.succeed(!up)), works(place, service))
    )
  }
})

const command = ({ environment, ports }: Place, service: Setup.Service): supervisor.Command => ({
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
    const seen = (yield* supervisor.status(place.backend, place.ref, [service.name])).get(service.name)
    if (hasDone(service, seen)) return
    if (seen?._tag !== "running") return yield* ended(place, service, seen)
    const healthy =
      service.health === undefined
        ? now - begun >= Duration.toMillis(settling)
        : yield* isHealthy(place, service, service.health)
    if (healthy) return yield* Effect.when(ownsItsPort(place, service), Effect.succeed(isAskedAtItsPort(service)))
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
  const number = port === undefined ? undefined : Slots.numberOf(place.ports, port.name)
  switch (check.kind) {
    case "tcp":
      return number !== undefined && (yield* (yield* Ports).accepts(number))
    case "http": {
      if (number === undefined) return false
      const origin = yield* backend.endpoint(ref, number)
      const status = yield* (yield* Ports).httpStatus(`${origin}${check.path}`)
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

/** That somebody else listens on a port of a service; undefined when nobody does. */
const portLost = Effect.fnUntraced(function* (place: Place, service: Setup.Service) {
  if (!place.backend.hostPorts) return undefined
  const ports = yield* Ports
  const isOurs = yield* ofBox(place.ref.key)
  for (const { name } of service.ports) {
    const number = Slots.numberOf(place.ports, name)
    const lost = number === undefined ? undefined : yield* placement.conflict(ports, { name, number }, isOurs)
    if (lost !== undefined) return SandboxError.extend(lost, { details: { ...lost.details, service: service.name } })
  }
  return undefined
})

/** What has a check of its own says itself whether it works: a container's port belongs to nobody's process of ours. */
const isAskedAtItsPort = ({ health }: Setup.Service): boolean => health?.kind !== "command"

/** A service that runs while somebody else has its port has gone elsewhere, and a check that passed was another's answer. */
const ownsItsPort = Effect.fnUntraced(function* (place: Place, service: Setup.Service) {
  const lost = yield* portLost(place, service)
  if (lost !== undefined) return yield* lost
})

const ended = Effect.fnUntraced(function* (place: Place, service: Setup.Service, seen: supervisor.Status | undefined) {
  yield* ownsItsPort(place, service)
  const code = seen?._tag === "exited" ? seen.code : null
  const how = code === null ? "ended without an exit code" : `ended with exit code ${code}`
  return yield* failed(place, service, { how, code })
})

const tooLate = Effect.fnUntraced(function* (place: Place, service: Setup.Service) {
  yield* ownsItsPort(place, service)
  return yield* failed(place, service, { how: `does not work after ${service.deadlineS} s`, code: null })
})

const failed = Effect.fnUntraced(function* (
  place: Place,
  service: Setup.Service,
  { code, how }: { readonly how: string; readonly code: number | null }
) {
  const { backend, hidden, ref } = place
  const log = yield* supervisor.tail(backend, ref, { name: service.name, lines: read })
  const output = redact(log, hidden).split("\n").slice(-quoted).join("\n")
  return yield* SandboxError.make("ERR_SERVICE_FAILED", {
    message: `the service ${service.name} ${how}${output === "" ? ", and wrote nothing" : ""}`,
    nextStep: `correct \`services\` or what ${service.name} complains about, and try again`,
    details: { service: service.name, exit_code: code, output }
  })
})

/** The services that are running now. */
export const running = Effect.fnUntraced(function* (backend: Backend, ref: InstanceRef, setup: Setup.Setup) {
  const found = yield* supervisor.status(
    backend,
    ref,
    setup.services.map(({ name }) => name)
  )
  return setup.services.filter(({ name }) => found.get(name)?._tag === "running")
})

/** Whether every service of the session is running; `false` says that something is to be repaired. */
export const allRunning = Effect.fnUntraced(function* (backend: Backend, row: Session) {
  const { instance, setup } = row
  if (instance === null || setup === null) return true
  return (yield* running(backend, instance, setup)).length === setup.services.length && (yield* compose.allUp(row))
})
