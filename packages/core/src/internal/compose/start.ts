/** Bringing a session's compose services up: rendered, made, and seen to work. */
import { Clock, Duration, Effect, Option } from "effect"
import type { Held } from "../../Claim.ts"
import { Ledger } from "../../Ledger.ts"
import { Ports } from "../../Ports.ts"
import * as Progress from "../../Progress.ts"
import type { Backend } from "../../Provisioners.ts"
import * as SandboxError from "../../SandboxError.ts"
import type { InstanceRef, Session } from "../../Session.ts"
import type * as Setup from "../../Setup.ts"
import * as Slots from "../../Slots.ts"
import { all, type Environment } from "../environment.ts"
import { argv } from "../hooks.ts"
import * as placement from "../placement.ts"
import { redact } from "../secrets.ts"
import { type Entries, mapOf } from "./document.ts"
import * as end from "./end.ts"
import * as engine from "./engine.ts"
import * as record from "./record.ts"
import { render } from "./render.ts"
import * as site from "./site.ts"
import * as tool from "./tool.ts"

/** How often a service is asked whether it works. */
const interval = Duration.millis(250)
/** How long a service that nobody can ask has to keep running to count as started. */
const settling = Duration.millis(1500)
/** How long pulling, building and making may take together. */
const making = Duration.minutes(20)
/** How long a connection has to last to have been meant: the engine accepts for a container that does not listen yet. */
const lasting = Duration.millis(150)
/** How many lines of its log are quoted when a service fails. */
const quoted = 20

export interface Place {
  readonly held: Held
  readonly environment: Environment
  /** Every secret of the session: what no message may show. */
  readonly hidden: ReadonlyArray<string>
  readonly ports: Readonly<Record<string, number>>
  /** Lets go of ports that were kept free. */
  readonly release: (names: ReadonlyArray<string>) => Effect.Effect<void>
}

/** What is refused before anything is made: no command, no engine, a box that nothing can stand beside. */
export const check = Effect.fnUntraced(function* (
  setup: Setup.Setup,
  backend: Pick<Backend, "capabilities" | "hostPorts" | "name">
) {
  if (setup.compose === undefined) return
  yield* site.check(backend)
  yield* tool.engine("check")
  yield* tool.find("check")
})

/** What is to be brought up: rendered, and nothing of it made. */
export interface Prepared extends Place, site.Site {
  readonly command: tool.Compose
  readonly document: Entries
  /** The ports of this host that were chosen for services, by name. */
  readonly chosen: Readonly<Record<string, number>>
}

/**
 * Renders the session's compose files. The user's files are only read. Beside a box the ports of its services are those that
 * they listen on in their containers: as such they are recorded.
 */
export const prepare = Effect.fnUntraced(function* (
  place: Place,
  { backend, ref }: { readonly backend: Backend; readonly ref: InstanceRef }
) {
  const { environment, held, hidden, ports } = place
  const row = yield* held.row
  const setup = row.setup!
  const compose = setup.compose!
  yield* tool.endLeftovers(row.id)
  yield* end.here(row.id)
  const command = yield* tool.find(row.id)
  const found = yield* site.find(held, backend, ref)
  const chosen = found.network === undefined ? ports : setup.fixedPorts
  const { document, targets, warnings } = yield* render({
    ...{ row, compose, command, hidden },
    checkout: found.checkout,
    variables: all(environment),
    wanted: {
      network: found.network,
      labels: engine.labelsOf(yield* projectOf(row), row.owner),
      services: compose.services.map(({ name, ports: own }) => ({
        name,
        ports: own.map((port) => ({ name: port.name, number: Slots.numberOf(chosen, port.name), target: port.target }))
      }))
    }
  })
  for (const { field, message } of warnings) yield* held.warn(`compose: ${field} ${message}`)
  const prepared: Prepared = { ...place, ...found, chosen, command, document }
  if (found.network === undefined) return prepared
  const listening = { ...ports, ...targets }
  yield* held.commit({ set: { ports: listening } })
  return { ...prepared, ports: listening }
})

/**
 * Brings every service up that is not: what runs is a document of our own, kept in the session's directory on this host. On
 * rollback a new session's services are removed, and those of an older one halted.
 */
export const up = Effect.fnUntraced(function* (place: Prepared) {
  const { checkout, command, document, held, hidden, release } = place
  const row = yield* held.row
  const compose = row.setup!.compose!
  const here = yield* end.here(row.id)
  const project = yield* projectOf(row)
  yield* record.begin(row.id, here)
  const file = yield* record.write(row.id, "compose.json", JSON.stringify(document))
  const nothing = yield* record.write(row.id, "empty.env", "")
  const before = yield* engine.containers(project)
  yield* undo(held, project, before)
  yield* release(compose.services.flatMap((service) => service.ports.map(({ name }) => name)))
  const made = yield* tool.run(
    [
      ...command.argv,
      ...["--ansi", "never", "--project-name", project.project, "--project-directory", checkout],
      // what it says is complete: no file of the checkout is to add to it
      ...["--file", file, "--env-file", nothing],
      ...["up", "--detach", "--remove-orphans"],
      ...((yield* engine.areCutOff(project, before)) ? ["--force-recreate"] : [])
    ],
    {
      session: row.id,
      limit: making,
      onOutput: (text) =>
        Progress.publish({
          type: "output",
          operationId: held.operationId,
          sessionId: row.id,
          source: "compose",
          text: redact(text, hidden)
        })
    }
  )
  if (made?.code !== 0) return yield* notMade(place, project, { compose, before, output: made?.output ?? "" })
  for (const name of Object.keys(mapOf(document["services"]))) {
    const declared = compose.services.find((service) => service.name === name)
    yield* held.phase(`service.${name}`, works(place, project, { name, declared }))
  }
})

/** Whose the services of a session are. */
export const projectOf = Effect.fnUntraced(function* (row: Pick<Session, "id">) {
  const project: engine.Project = { ledger: (yield* Ledger).id, session: row.id, project: record.projectOf(row.id) }
  return project
})

/** Registered before anything is made, and judged by what ran before. */
const undo = Effect.fnUntraced(function* (
  held: Held,
  project: engine.Project,
  before: ReadonlyArray<engine.Container>
) {
  const row = yield* held.row
  const isNew = row.readyAt === null
  const ran = before.some(({ status }) => status === "running")
  if (!isNew && ran) return
  const run = isNew ? end.remove(row) : end.halt(row)
  const context = yield* Effect.context<Effect.Services<typeof run>>()
  yield* held.onRollback({
    name: isNew ? "remove the compose services" : "stop the compose services again",
    run: Effect.provideContext(run, context)
  })
})

interface Asked {
  readonly name: string
  readonly declared: Setup.ComposeService | undefined
}

/** Waits until a service works; fails with why it does not. */
const works = Effect.fnUntraced(function* (place: Place, project: engine.Project, { declared, name }: Asked) {
  const begun = yield* Clock.currentTimeMillis
  const seconds = declared?.deadlineS ?? 60
  while (true) {
    const now = yield* Clock.currentTimeMillis
    const own = (yield* engine.containers(project)).filter(({ service }) => service === name)
    const [ended] = own.filter((container) => !engine.isUp(container) && container.status !== "restarting")
    if (own.length === 0) return yield* failed(place, project, { name, how: "has no container", code: null })
    if (ended?.status === "exited" || ended?.status === "dead") {
      return yield* failed(place, project, {
        name,
        how: `ended with exit code ${ended.exitCode}`,
        code: ended.exitCode
      })
    }
    const settled = now - begun >= Duration.toMillis(settling)
    if (yield* isWorking(own, { declared, row: yield* place.held.row, settled })) return
    if (now - begun >= seconds * 1000) {
      return yield* failed(place, project, { name, how: `does not work after ${seconds} s`, code: null })
    }
    yield* Effect.sleep(interval)
  }
})

/** One look at the containers of a service, by its own healthcheck and by what the setup says. */
export const isWorking = Effect.fnUntraced(function* (
  own: ReadonlyArray<engine.Container>,
  options: {
    readonly declared: Setup.ComposeService | undefined
    readonly row: Session
    /** Whether it had time enough to fail. */
    readonly settled: boolean
  }
) {
  const { declared, row, settled } = options
  const health = declared?.health
  if (own.length === 0 || !own.every(engine.isUp)) return false
  const isDone = own.every(({ status }) => status === "exited")
  if (isDone) return health === undefined && (declared?.ports.length ?? 0) === 0
  if (own.some(({ health }) => health !== undefined && health !== "healthy")) return false
  if (health === undefined) return settled || own.every(({ health }) => health === "healthy")
  const [port] = declared!.ports
  const number = port === undefined ? undefined : onHost(row, own, port.name)
  switch (health.kind) {
    case "tcp":
      return number !== undefined && (yield* (yield* Ports).accepts(number, lasting))
    case "http": {
      if (number === undefined) return false
      const status = yield* (yield* Ports).httpStatus(`http://127.0.0.1:${number}${health.path}`)
      return status !== undefined && status < 400
    }
    case "command": {
      const [first] = own
      const asked = tool.docker(["exec", "--", first!.id, ...argv(health.command)], { session: row.id })
      // a check that hangs is a check that fails
      const outcome = yield* Effect.timeoutOption(asked, Duration.seconds(Math.min(10, declared!.deadlineS)))
      return Option.isSome(outcome) && outcome.value.code === 0
    }
  }
})

/**
 * The port of this host that leads to what a port's name means. A session whose box shares this host's ports has a slot, and
 * the port was chosen for it; of others the containers tell.
 */
export const onHost = (row: Session, own: ReadonlyArray<engine.Container>, name: string): number | undefined => {
  const number = Slots.numberOf(row.ports ?? {}, name)
  if (row.slot !== null) return number
  return own.flatMap(({ published }) => published).find(({ target }) => target === number)?.number
}

/** The failure of a service, with the last that it wrote. */
const failed = Effect.fnUntraced(function* (
  { hidden }: Place,
  project: engine.Project,
  { code, how, name }: { readonly name: string; readonly how: string; readonly code: number | null }
) {
  const [container] = (yield* engine.containers(project)).filter(({ service }) => service === name)
  const log =
    container === undefined
      ? ""
      : (yield* tool.docker(["logs", "--tail", String(quoted), "--", container.id], { session: project.session }))
          .output
  const output = redact(log, hidden).trim()
  return yield* SandboxError.make("ERR_SERVICE_FAILED", {
    message: `the compose service ${name} ${how}${output === "" ? ", and wrote nothing" : ""}`,
    nextStep: `correct the compose file or what ${name} complains about, and try again`,
    details: { service: name, exit_code: code, output }
  })
})

/** The failure of the tool: a port that somebody else took in the last moment, a service that ended, or what it says itself. */
const notMade = Effect.fnUntraced(function* (
  place: Prepared,
  project: engine.Project,
  {
    before,
    compose,
    output
  }: {
    readonly compose: Setup.Compose
    readonly before: ReadonlyArray<engine.Container>
    readonly output: string
  }
) {
  const clean = redact(output, place.hidden)
  if (/already allocated|already in use/i.test(output)) {
    for (const { name: service, ports } of compose.services) {
      for (const { name } of ports) {
        const number = Slots.numberOf(place.chosen, name)
        if (number === undefined || !new RegExp(`:${number}\\b`).test(output)) continue
        const lost = yield* placement.conflict(yield* Ports, { name, number }, () => Effect.succeed(false))
        return yield* SandboxError.extend(lost ?? taken(name, number), { details: { ...lost?.details, name, service } })
      }
    }
  }
  const earlier = new Set(before.map(({ id, startedAt }) => `${id} ${startedAt}`))
  const tried = (yield* engine.containers(project)).filter(({ id, startedAt }) => !earlier.has(`${id} ${startedAt}`))
  const ended = tried.find(
    (container) => container.health === "unhealthy" || (container.status === "exited" && container.exitCode !== 0)
  )
  if (ended !== undefined) {
    const how = ended.health === "unhealthy" ? "is unhealthy" : `ended with exit code ${ended.exitCode}`
    return yield* failed(place, project, { name: ended.service, how, code: ended.exitCode })
  }
  return yield* SandboxError.make("ERR_SERVICE_FAILED", {
    message: `the compose services could not be brought up: ${tool.lastOf(clean)}`,
    nextStep: "correct the compose file, or make its images available, and try again",
    details: { service: "compose", exit_code: null, output: clean.trim().split("\n").slice(-quoted).join("\n") }
  })
})

const taken = (name: string, number: number) =>
  SandboxError.make("ERR_PORT_IN_USE", {
    message: `port ${number} of ${name} was taken before its container could listen on it`,
    nextStep: "run the command again",
    details: { ports: [number] }
  })
