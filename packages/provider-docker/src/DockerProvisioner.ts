/** The provider of boxes on a Docker engine: a container each, with a volume and a network of its own. */
import { Hasher } from "@org/sandbox-core/Hasher"
import { Directories, Host } from "@org/sandbox-core/Host"
import {
  type ExecRequest,
  labelNames,
  type Observation,
  OptionPlaces,
  type Presence,
  type ProviderServices,
  Provisioner,
  type ProvisionerShape,
  type ProvisionIntent
} from "@org/sandbox-core/Provisioner"
import type * as SandboxError from "@org/sandbox-core/SandboxError"
import type { InstanceRef, Spec } from "@org/sandbox-core/Session"
import { Context, Effect, FileSystem, Layer, Path, Stream } from "effect"
import * as Boxes from "./Boxes.ts"
import * as Build from "./Build.ts"
import * as Container from "./Container.ts"
import * as DockerClient from "./DockerClient.ts"
import { classify, type Problem, provider, Refused } from "./DockerError.ts"
import * as Engine from "./Engine.ts"
import * as Exec from "./Exec.ts"
import * as Files from "./Files.ts"
import * as Images from "./Images.ts"
import * as Location from "./Location.ts"
import { defaults, type Options } from "./Options.ts"
import * as Preflight from "./Preflight.ts"
import * as Users from "./Users.ts"

/** What this host is asked by the provider itself. */
type Services = Directories | FileSystem.FileSystem | Hasher | Host | Path.Path

/** The provider over a client of an engine. */
export const make = Effect.fnUntraced(function* (options: Options) {
  const services = Context.pick(
    DockerClient.DockerClient,
    Directories,
    FileSystem.FileSystem,
    Hasher,
    Host,
    Path.Path
  )(yield* Effect.context<DockerClient.DockerClient | Services>())
  const { isHere } = yield* DockerClient.DockerClient
  const pull = options.pull ?? defaults.pull
  const place = (yield* OptionPlaces)(["build", "context"])
  const build = options.build === undefined ? undefined : { ...options.build, place }

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

  /** What a box is made from: the image that it asks for, what is to be built, or the image that is configured. */
  const sourceOf = ({ image }: Spec) =>
    image === undefined && build !== undefined ? build : (image ?? options.image ?? defaults.image)

  const preflight = Effect.fnUntraced(function* (spec: Spec) {
    yield* Preflight.check(spec, options)
    const source = sourceOf(spec)
    yield* typeof source === "string" ? Images.check(source, pull) : Build.check(source)
  })

  /** Gets an image once more that a box was made from. */
  const again = (image: string) =>
    Build.isBuilt(image) ? Build.again(image, build, pull) : Images.obtain(image, pull, undefined)

  const recipeOf = Effect.fnUntraced(function* ({ ports = [], report, spec }: ProvisionIntent) {
    const { cpus, memory, pids } = Container.limits(spec, options, yield* Engine.info)
    const source = sourceOf(spec)
    const obtained =
      typeof source === "string" ? Images.obtain(source, pull, report) : Build.obtain(source, pull, report)
    const image = yield* obtained
    const { gpus, runtime } = options
    const user = options.user ?? (isRoot(image.user) ? defaults.user : image.user)
    const recipe: Container.Recipe = {
      image: image.name,
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
    yield* Boxes.start(box, again).pipe(Effect.catchIf((problem) => isNew && isFinal(problem), takenBack(box)))
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
    const found = yield* running(ref)
    const published = found.NetworkSettings.Ports?.[`${port}/tcp`]?.find(({ HostIp }) => HostIp === "127.0.0.1")
    if (published !== undefined) return `http://127.0.0.1:${published.HostPort}`
    const message =
      found.HostConfig.NetworkMode === "none"
        ? "The box has no network, and so no ports: `network` is none in the provider's options."
        : `Port ${port} of the box is not published; declare it as a port of one of the session's services.`
    return yield* new Refused({ reason: "Invalid", message })
  })

  const network = Effect.fnUntraced(function* (ref: InstanceRef) {
    const found = yield* running(ref)
    const { network } = yield* Boxes.recipeOf(yield* present(ref))
    if (network === "session") return { engine: yield* scope, name: Container.networkOf(found) }
    const message = `The box has no network of its own for others to join: "network" is ${network} in the provider's options.`
    return yield* new Refused({ reason: "Unsupported", message })
  })

  const shape: ProvisionerShape = {
    name: provider,
    isolation: "container",
    haltIsTerminal: false,
    scope: member("scope", scope),
    preflight: (spec) => member("preflight", preflight(spec)),
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
        Effect.flatMap(present(ref), (box) => Boxes.start(box, again))
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
export const layerNoDeps = (options: Options): Layer.Layer<Provisioner, never, DockerClient.DockerClient | Services> =>
  Layer.effect(Provisioner, make(options))

/** An answer that no other try would change. */
const isFinal = (problem: Problem): boolean =>
  problem._tag !== "TransportError" && !classify("provision")(problem).retryable

const takenBack = (box: Boxes.Box) => (problem: Problem) =>
  Effect.andThen(Boxes.remove(Container.boxLabel, box.id), new Refused(classify("provision")(problem)))

const isRoot = (user: string): boolean => /^(root|0)?(:|$)/.test(user)
