/** What the engine has of a session's compose services: found by label alone, and told to halt or removed by it. */
import { Duration, Effect, Schema } from "effect"
import { labelNames } from "../../Provisioner.ts"
import * as SandboxError from "../../SandboxError.ts"
import * as anonymous from "./anonymous.ts"
import * as tool from "./tool.ts"

/** Tells containers of compose services from boxes; its value is the project. */
export const composeLabel = "org.sandbox.compose"

/** Whose things are meant. */
export interface Project {
  readonly ledger: string
  readonly session: string
  readonly project: string
}

/** The labels that everything of a project carries. */
export const labelsOf = ({ ledger, project, session }: Project, owner: string): Readonly<Record<string, string>> => ({
  [labelNames.ledger]: ledger,
  [labelNames.owner]: owner,
  [labelNames.session]: session,
  [composeLabel]: project
})

/** By port in the container, such as `80/tcp`. */
const Bindings = Schema.Record(Schema.String, Schema.NullOr(Schema.Array(Schema.Struct({ HostPort: Schema.String }))))

const Inspected = Schema.fromJsonString(
  Schema.Array(
    Schema.Struct({
      Id: Schema.String,
      Name: Schema.String,
      State: Schema.Struct({
        Status: Schema.String,
        ExitCode: Schema.Int,
        StartedAt: Schema.String,
        Health: Schema.optionalKey(Schema.NullOr(Schema.Struct({ Status: Schema.String })))
      }),
      Mounts: Schema.optionalKey(
        Schema.NullOr(Schema.Array(Schema.Struct({ Type: Schema.String, Name: Schema.optionalKey(Schema.String) })))
      ),
      Config: Schema.Struct({ Labels: Schema.NullOr(Schema.Record(Schema.String, Schema.String)) }),
      NetworkSettings: Schema.Struct({
        Ports: Schema.optionalKey(Schema.NullOr(Bindings)),
        Networks: Schema.optionalKey(
          Schema.NullOr(Schema.Record(Schema.String, Schema.Struct({ NetworkID: Schema.String })))
        )
      })
    })
  )
)

export interface Container {
  readonly id: string
  readonly service: string
  /** As the engine calls it: `running`, `exited`, `restarting`, … */
  readonly status: string
  readonly exitCode: number
  /** When it was last started, in the engine's words. */
  readonly startedAt: string
  /** The ids of the networks that it is made for. */
  readonly networks: ReadonlyArray<string>
  /** The engine's names of its volumes. */
  readonly volumes: ReadonlyArray<string>
  /** By its own healthcheck; none where it has none. */
  readonly health: string | undefined
  /** The ports of this host that lead to it now. */
  readonly published: ReadonlyArray<Published>
}

/** A port in a container, and the port of this host that leads to it. */
export interface Published {
  readonly target: number
  readonly number: number
}

const filters = ({ ledger, project }: Pick<Project, "ledger" | "project">) => [
  ...["--filter", `label=${labelNames.ledger}=${ledger}`],
  ...["--filter", `label=${composeLabel}=${project}`]
]

/** What there is of one kind, and how it is listed and removed. */
const kinds = {
  container: { list: ["ps", "--all", "--quiet", "--no-trunc"], remove: ["rm", "--force", "--volumes", "--"] },
  network: { list: ["network", "ls", "--quiet", "--no-trunc"], remove: ["network", "rm", "--"] },
  volume: { list: ["volume", "ls", "--quiet"], remove: ["volume", "rm", "--force", "--"] },
  image: { list: ["image", "ls", "--quiet", "--no-trunc"], remove: ["image", "rm", "--force", "--"] }
} as const
type Kind = keyof typeof kinds

const words = (text: string): ReadonlyArray<string> => [...new Set(text.split(/\s+/).filter((word) => word !== ""))]

/** An answer of the engine, or why there is none: nothing is concluded from silence. */
const asked = Effect.fnUntraced(function* (args: ReadonlyArray<string>, session: string) {
  const { code, output, stdout } = yield* tool.docker(args, { session })
  return code === 0 ? stdout : yield* silent(tool.lastOf(output))
})

const silent = (why: string) =>
  SandboxError.make("ERR_PROVIDER_UNAVAILABLE", {
    message: `the Docker engine did not say what it has: ${why}`,
    nextStep: "start Docker, or make DOCKER_HOST right, and try again",
    details: { field: "compose", command: "docker" }
  })

const idsOf = (kind: Kind, project: Project) =>
  Effect.map(asked([...kinds[kind].list, ...filters(project)], project.session), words)

/** The containers of the project's services, whatever they do. */
export const containers = Effect.fnUntraced(function* (project: Project) {
  const ids = yield* idsOf("container", project)
  if (ids.length === 0) return []
  // one that is gone by now makes the command fail, and keeps no other from being shown
  const { stdout } = yield* tool.docker(["container", "inspect", "--", ...ids], { session: project.session })
  const found = yield* Effect.mapError(Schema.decodeEffect(Inspected)(stdout), () =>
    silent("it describes no containers")
  )
  return found.map(({ Config, Id, Mounts, NetworkSettings, State }): Container => {
    // of a port that both protocols have, the one of TCP is asked: it comes first
    const bindings = Object.entries(NetworkSettings.Ports ?? {}).toSorted(([a], [b]) => (a < b ? -1 : 1))
    return {
      id: Id,
      service: Config.Labels?.["com.docker.compose.service"] ?? "",
      status: State.Status,
      exitCode: State.ExitCode,
      startedAt: State.StartedAt,
      networks: Object.values(NetworkSettings.Networks ?? {}).map(({ NetworkID }) => NetworkID),
      volumes: (Mounts ?? []).flatMap(({ Name, Type }) => (Type === "volume" && Name !== undefined ? [Name] : [])),
      health: State.Health?.Status,
      published: bindings.flatMap(([port, all]) =>
        (all ?? []).map(({ HostPort }) => ({ target: Number.parseInt(port, 10), number: Number(HostPort) }))
      )
    }
  })
})

/** The volumes of all of them, named in the compose file or not. */
export const volumesOf = (all: ReadonlyArray<Container>): ReadonlyArray<string> => [
  ...new Set(all.flatMap(({ volumes }) => volumes))
]

/** Whether a network of theirs was removed while they were halted: the engine takes it for unused, and they cannot start. */
export const areCutOff = Effect.fnUntraced(function* (project: Project, all: ReadonlyArray<Container>) {
  const needed = all.filter((container) => !isActive(container)).flatMap(({ networks }) => networks)
  if (needed.length === 0) return false
  const there = new Set(words(yield* asked(kinds.network.list, project.session)))
  return needed.some((id) => id !== "" && !there.has(id))
})

/** Whether the container does what it is there for: one that had one thing to do and has done it, too. */
export const isUp = ({ exitCode, status }: Container): boolean =>
  status === "running" || (status === "exited" && exitCode === 0)

const isActive = ({ status }: Container): boolean =>
  status === "running" || status === "restarting" || status === "paused"

/** How long containers may take to end; the engine kills each after its own time. */
const stopping = Duration.minutes(2)

/** Halts every container of the project, and looks that it did. Volumes and containers stay. */
export const halt = Effect.fnUntraced(function* (project: Project) {
  const before = (yield* containers(project)).filter(isActive)
  if (before.length === 0) return
  const { output } = yield* tool.docker(["stop", "--", ...before.map(({ id }) => id)], {
    session: project.session,
    limit: stopping
  })
  const after = (yield* containers(project)).filter(isActive)
  if (after.length === 0) return
  return yield* SandboxError.make("ERR_STOP_FAILED", {
    message: `compose services still run: ${after.map(({ service }) => service).join(", ")} (${tool.lastOf(output)})`,
    nextStep: "look at them with `docker ps`, and run the command again",
    details: { field: "compose", operation: "stop" }
  })
})

/** How often is looked again: what was being made when its maker was killed appears late. */
const rounds = 4

/** Removes all that carries the project's labels, volumes and what was built for it too, and proves that nothing is left. */
export const remove = Effect.fnUntraced(function* (project: Project) {
  yield* anonymous.note(project.session, volumesOf(yield* containers(project)))
  let said = ""
  for (let round = 0; round < rounds; round++) {
    let found = 0
    for (const kind of ["container", "network", "volume", "image"] as const) {
      const ids = yield* idsOf(kind, project)
      found += ids.length
      if (ids.length === 0) continue
      const { code, output } = yield* tool.docker([...kinds[kind].remove, ...ids], {
        session: project.session,
        limit: stopping
      })
      if (code !== 0) said = tool.lastOf(output)
    }
    // proven by a look that finds nothing
    if (found === 0) return yield* anonymous.sweep(project.session, [])
    if (round > 0) yield* Effect.sleep(Duration.millis(250 * round))
  }
  return yield* SandboxError.make("ERR_DESTROY_FAILED", {
    message: `compose services of the session are left on the engine: ${said}`,
    nextStep: "look at them with `docker ps -a`, and run the command again",
    details: { field: "compose", operation: "destroy", project: project.project }
  })
})

/** Every project of a ledger that the engine has something of, with the labels that it carries. */
export const projects = Effect.fnUntraced(function* (ledger: string) {
  const format = `{{.Label "${composeLabel}"}}|{{.Label "${labelNames.session}"}}|{{.Label "${labelNames.owner}"}}`
  const label = ["--filter", `label=${labelNames.ledger}=${ledger}`, "--filter", `label=${composeLabel}`]
  const lists = [
    ["ps", "--all", "--format", `${format}|{{.State}}`],
    ["network", "ls", "--format", format],
    ["volume", "ls", "--format", format]
  ]
  const found = new Map<string, Project & { readonly owner: string; readonly runs: boolean }>()
  for (const list of lists) {
    for (const line of (yield* asked([...list, ...label], "gc")).split("\n")) {
      const [project = "", session = "", owner = "", state = ""] = line.split("|")
      if (project === "") continue
      const runs = found.get(project)?.runs === true || state === "running" || state === "restarting"
      found.set(project, { ledger, project, session, owner, runs })
    }
  }
  return [...found.values()]
})
