/** The provider of boxes on a Docker engine: a container each, with a volume and a network of its own. */
import {
  type ExecRequest,
  labelNames,
  type Observation,
  type Presence,
  type ProviderServices,
  Provisioner,
  type ProvisionerShape,
  type ProvisionIntent
} from "@org/sandbox-core/Provisioner"
import type * as SandboxError from "@org/sandbox-core/SandboxError"
import type { InstanceRef, Spec } from "@org/sandbox-core/Session"
import { Context, Effect, FileSystem, Layer, Stream } from "effect"
import * as Boxes from "./Boxes.ts"
import * as Container from "./Container.ts"
import * as DockerClient from "./DockerClient.ts"
import { classify, type Problem, provider, Refused } from "./DockerError.ts"
import * as Engine from "./Engine.ts"
import * as Exec from "./Exec.ts"
import * as Files from "./Files.ts"
import * as Images from "./Images.ts"
import * as Location from "./Location.ts"
import * as Networks from "./Networks.ts"
import { defaults, type Options } from "./Options.ts"
import * as Users from "./Users.ts"

/** The provider over a client of an engine. */
export const make = Effect.fnUntraced(function* (options: Options) {
  const services = Context.pick(
    DockerClient.DockerClient,
    FileSystem.FileSystem
  )(yield* Effect.context<DockerClient.DockerClient | FileSystem.FileSystem>())
  const { isHere } = yield* DockerClient.DockerClient
  const pull = options.pull ?? defaults.pull

  /** A member of the port, of the parts that it is made of. */
  const member = <A, R>(operation: string, effect: Effect.Effect<A, Problem, R>) =>
    effect.pipe(Effect.mapError(classify(operation)), Effect.provideContext(services))

  const engine = Effect.map(Engine.info, ({ BuildahVersion, DockerRootDir, ID, Name }) =>
    BuildahVersion === undefined && ID !== "" ? ID : `${Name}:${DockerRootDir}`
  )
  const scope = yield* Effect.cachedWithTTL(engine, "5 seconds")

  const present = Effect.fnUntraced(function* (ref: InstanceRef) {
    const message = `There is no box ${ref.key} on this engine.`
    return (yield* Boxes.ofRef(ref)) ?? (yield* new Refused({ reason: "NotFound", message }))
  })

  /** The container of a box, in whatever state. */
  const container = Effect.fnUntraced(function* (ref: InstanceRef) {
    const found = yield* Boxes.containerOf(ref.id)
    if (found !== undefined) return found
    yield* present(ref)
    const message = `The container of the box ${ref.key} was removed; its files are there: start the box again.`
    return yield* new Refused({ reason: "NotReady", message })
  })

  const running = Effect.fnUntraced(function* (ref: InstanceRef) {
    const found = yield* container(ref)
    const { OOMKilled, Paused, Running } = found.State
    if (Running && !Paused) return found
    const why = Paused ? "paused" : OOMKilled ? "halted, because it ran out of memory" : "halted"
    return yield* new Refused({ reason: "NotReady", message: `The box ${ref.key} is ${why}; start it first.` })
  })

  const recipeOf = Effect.fnUntraced(function* ({ ports = [], report, spec }: ProvisionIntent) {
    const { cpus, memory, pids } = Container.limits(spec, options, yield* Engine.info)
    const name = spec.image ?? options.image ?? defaults.image
    const image = yield* Images.obtain(name, pull, report)
    const { gpus, runtime } = options
    const user = options.user ?? (isRoot(image.user) ? defaults.user : image.user)
    const recipe: Container.Recipe = {
      image: name,
      ...{ cpus, memory, pids, user },
      network: options.network ?? defaults.network,
      readOnlyRoot: options.read_only_root ?? false,
      ...(runtime === undefined ? {} : { runtime }),
      ...(gpus === undefined ? {} : { gpus }),
      ports: ports.map(({ hostPort, port }) => (hostPort === undefined ? { port } : { port, hostPort }))
    }
    return recipe
  })

  const provision = Effect.fnUntraced(function* (intent: ProvisionIntent) {
    const there = yield* Boxes.ofKey(intent.key)
    const { box, isNew } =
      there === undefined ? yield* Boxes.ensure(intent, yield* recipeOf(intent)) : { box: there, isNew: false }
    // what was made here and can never run is taken back; what another attempt made is its box, and may hold work
    yield* Boxes.start(box, pull).pipe(Effect.catchIf((problem) => isNew && isFinal(problem), takenBack(box)))
    return Boxes.refOf(box, intent.scope)
  })

  const find = Effect.fnUntraced(function* (key: string) {
    const [box] = yield* Boxes.labelled(labelNames.key, key)
    const presence: Presence =
      box === undefined ? { _tag: "absent" } : { _tag: "present", ref: Boxes.refOf(box, yield* scope) }
    return presence
  })

  const inspect = Effect.fnUntraced(function* (ref: InstanceRef) {
    const box = yield* Boxes.ofRef(ref)
    if (box === undefined) return { _tag: "gone" } satisfies Observation as Observation
    const found = yield* Boxes.containerOf(ref.id)
    const observation: Observation =
      found === undefined || !found.State.Running || found.State.Paused ? { _tag: "stopped" } : { _tag: "running" }
    return observation
  })

  const exec = Effect.fnUntraced(function* (ref: InstanceRef, request: ExecRequest) {
    const { Id } = yield* running(ref)
    return yield* Exec.start(Id, request)
  })

  const write = Effect.fnUntraced(function* (ref: InstanceRef, directory: string, archive: Stream.Stream<Uint8Array>) {
    const found = yield* container(ref)
    yield* Files.write(found, { directory, archive, owner: yield* Users.ownerOf(found) })
  })

  const endpoint = Effect.fnUntraced(function* (ref: InstanceRef, port: number) {
    if (!isHere) {
      const message = "The engine is on another host, where it publishes its ports: forward them, as with `ssh -L`."
      return yield* new Refused({ reason: "Unsupported", message })
    }
    const { HostConfig, NetworkSettings } = yield* running(ref)
    const published = NetworkSettings.Ports?.[`${port}/tcp`]?.find(({ HostIp }) => HostIp === "127.0.0.1")
    if (published !== undefined) return `http://127.0.0.1:${published.HostPort}`
    const message =
      HostConfig.NetworkMode === "none"
        ? "The box has no network, and so no ports: `network` is none in the provider's options."
        : `Port ${port} of the box is not published; declare it as a port of one of the session's services.`
    return yield* new Refused({ reason: "Invalid", message })
  })

  const network = Effect.fnUntraced(function* (ref: InstanceRef) {
    const found = yield* running(ref)
    const { network } = yield* Boxes.recipeOf(yield* present(ref))
    const { ID } = yield* Engine.info
    if (network === "session") return { engine: ID, name: Container.networkOf(found) }
    const message = `The box has no network of its own for others to join: "network" is ${network} in the provider's options.`
    return yield* new Refused({ reason: "Unsupported", message })
  })

  const shape: ProvisionerShape = {
    name: provider,
    isolation: "container",
    haltIsTerminal: false,
    scope: member("scope", scope),
    preflight: (spec) => member("preflight", preflight(spec, options)),
    provision: (intent) => member("provision", provision(intent)),
    find: (key) => member("find", find(key)),
    inspect: (ref) => member("inspect", inspect(ref)),
    stop: (ref) =>
      member(
        "stop",
        Effect.flatMap(Boxes.ofRef(ref), (box) => (box === undefined ? Effect.void : Boxes.stop(box)))
      ),
    start: (ref) =>
      member(
        "start",
        Effect.flatMap(present(ref), (box) => Boxes.start(box, pull))
      ),
    destroy: (target) =>
      member(
        "destroy",
        typeof target === "string" ? Boxes.remove(labelNames.key, target) : Boxes.remove(Container.boxLabel, target.id)
      ),
    list: (ledgerId) =>
      Stream.fromIterableEffect(
        member(
          "list",
          Effect.gen(function* () {
            const here = yield* scope
            const boxes = yield* Boxes.labelled(labelNames.ledger, ledgerId)
            return boxes.map((box) => ({ ref: Boxes.refOf(box, here), labels: box.labels }))
          })
        )
      ),
    exec: (ref, request) => member("exec", exec(ref, request)),
    files: {
      read: (ref, path) =>
        Stream.unwrap(Effect.map(container(ref), (found) => Files.read(found, path))).pipe(
          Stream.mapError(classify("files.read")),
          Stream.provideContext(services)
        ),
      write: (ref, directory, archive) => member("files.write", write(ref, directory, archive))
    },
    endpoint: (ref, port) => member("endpoint", endpoint(ref, port)),
    network: (ref) => member("network", network(ref))
  }
  return shape
})

/** The provider of the engine that the options name, or else of the one that the docker command would ask. */
export const layer = (options: Options): Layer.Layer<Provisioner, SandboxError.SandboxError, ProviderServices> =>
  Layer.unwrap(
    Effect.map(Location.find(options), (location) => Layer.provide(layerNoDeps(options), DockerClient.layer(location)))
  )

/** The provider of an engine that a client is provided for. */
export const layerNoDeps = (
  options: Options
): Layer.Layer<Provisioner, never, DockerClient.DockerClient | Extract<ProviderServices, FileSystem.FileSystem>> =>
  Layer.effect(Provisioner, make(options))

/** An answer that no other try would change. */
const isFinal = (problem: Problem): boolean =>
  problem._tag !== "TransportError" && !classify("provision")(problem).retryable

const takenBack = (box: Boxes.Box) => (problem: Problem) =>
  Effect.andThen(Boxes.remove(Container.boxLabel, box.id), new Refused(classify("provision")(problem)))

const isRoot = (user: string): boolean => /^(root|0)?(:|$)/.test(user)

/** The least that the engine gives, of memory and of CPUs. */
const smallest = 6 * 2 ** 20
const fewest = 0.01

const preflight = Effect.fnUntraced(function* (spec: Spec, options: Options) {
  const engine = yield* Engine.info
  const refuse = (reason: "Invalid" | "NotFound" | "Unsupported", message: string) => new Refused({ reason, message })
  if (engine.OSType !== "linux") {
    return yield* refuse("Unsupported", `The engine runs ${engine.OSType} containers; boxes are Linux ones.`)
  }
  const { cpus, memory, pids } = Container.limits(spec, options, engine)
  if (cpus < fewest || cpus > engine.NCPU) {
    return yield* refuse(
      "Invalid",
      `cpus is ${cpus}, and the engine has ${engine.NCPU}: ask for ${fewest} or more, and no more than that.`
    )
  }
  // the engine's own least: https://docs.docker.com/engine/containers/resource_constraints/
  if (memory < smallest) return yield* refuse("Invalid", `memory is ${memory} bytes, and the least is 6m.`)
  if (pids < 1) return yield* refuse("Invalid", `pids is ${pids}, and must be 1 or more.`)
  if (options.user !== undefined && !Users.isUsable(options.user)) {
    return yield* refuse(
      "Invalid",
      `user is ${JSON.stringify(options.user)}: write a name of the image's, or numbers such as 1000:1000.`
    )
  }
  if (options.runtime !== undefined && engine.Runtimes?.[options.runtime] === undefined) {
    const known = Object.keys(engine.Runtimes ?? {}).join(", ")
    return yield* refuse("Unsupported", `The engine has no runtime ${options.runtime}; it has ${known}.`)
  }
  const network = options.network ?? defaults.network
  if (Container.isShared(network)) {
    return yield* refuse(
      "Invalid",
      `network is ${network}, which would share another's network: name one, or write session or none.`
    )
  }
  if (network !== "session" && network !== "none" && (yield* Engine.network(network)) === undefined) {
    return yield* Networks.missing(network)
  }
  yield* Images.check(spec.image ?? options.image ?? defaults.image, options.pull ?? defaults.pull)
})
