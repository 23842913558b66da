/** Bringing a session's compose services up: rendered, made, and seen to work. */
import { Clock, Duration, Effect } from "effect"
import type { Held } from "../../Claim.ts"
import { Ledger } from "../../Ledger.ts"
import * as Progress from "../../Progress.ts"
import type { Backend } from "../../Provisioners.ts"
import type { InstanceRef, Session } from "../../Session.ts"
import type * as Setup from "../../Setup.ts"
import * as Slots from "../../Slots.ts"
import { all, type Environment } from "../environment.ts"
import { redact } from "../secrets.ts"
import * as anonymous from "./anonymous.ts"
import { type Entries, mapOf } from "./document.ts"
import * as end from "./end.ts"
import * as engine from "./engine.ts"
import { failed, notMade } from "./failure.ts"
import * as record from "./record.ts"
import { render } from "./render.ts"
import * as site from "./site.ts"
import * as tool from "./tool.ts"
import { isWorking } from "./working.ts"

/** How often a service is asked whether it works. */
const interval = Duration.millis(250)
/** How long a service that nobody can ask has to keep running to count as started. */
const settling = Duration.millis(1500)
/** How long pulling, building and making may take together. */
const making = Duration.minutes(20)

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
  /** Of the compose files that it was made of. */
  readonly digest: string
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
  const before = yield* record.read(row.id)
  const { digest, document, targets, warnings } = yield* render({
    ...{ row, compose, command, hidden },
    checkout: found.checkout,
    variables: all(environment),
    first: found.isolated ? before?.digest : undefined,
    wanted: {
      isolated: found.isolated,
      network: found.network,
      labels: engine.labelsOf(yield* projectOf(row), row.owner),
      services: compose.services.map(({ name, ports: own }) => ({
        name,
        ports: own.map((port) => ({ name: port.name, number: Slots.numberOf(chosen, port.name), target: port.target }))
      }))
    }
  })
  for (const { field, message } of warnings) yield* held.warn(`compose: ${field} ${message}`)
  const prepared: Prepared = { ...place, ...found, chosen, command, document, digest }
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
  const { checkout, command, digest, document, held, hidden, release } = place
  const row = yield* held.row
  const compose = row.setup!.compose!
  const here = yield* end.here(row.id)
  const project = yield* projectOf(row)
  yield* record.begin(row.id, { engine: here, digest })
  const before = yield* engine.containers(project)
  yield* anonymous.note(row.id, engine.volumesOf(before))
  const file = yield* record.write(row.id, "compose.json", JSON.stringify(document))
  const nothing = yield* record.write(row.id, "empty.env", "")
  yield* undo(held, before)
  yield* release(compose.services.flatMap((service) => service.ports.map(({ name }) => name)))
  const made = yield* tool.run(
    [
      ...command.argv,
      ...["--ansi", "never", "--project-name", project.project, "--project-directory", checkout],
      // what it says is complete: no file of the checkout is to add to it
      ...["--file", file, "--env-file", nothing],
      ...["up", "--detach", "--remove-orphans"],
      // what an image is made of may have changed since it was
      ...(Object.values(mapOf(document["services"])).some((one) => mapOf(one)["build"] !== undefined)
        ? ["--build"]
        : []),
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
  const volumes = engine.volumesOf(yield* engine.containers(project))
  yield* anonymous.note(row.id, volumes)
  yield* anonymous.sweep(row.id, volumes)
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
const undo = Effect.fnUntraced(function* (held: Held, before: ReadonlyArray<engine.Container>) {
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
