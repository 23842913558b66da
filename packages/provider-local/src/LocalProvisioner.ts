/**
 * The provider of boxes on this host: a directory, a checkout and the processes that run in it. It isolates nothing.
 */

import * as Git from "@org/sandbox-core/Git"
import { Hasher } from "@org/sandbox-core/Hasher"
import { Directories, Host } from "@org/sandbox-core/Host"
import * as Processes from "@org/sandbox-core/Processes"
import {
  type ExecRequest,
  labelNames,
  type Observation,
  type ProviderServices,
  Provisioner,
  type ProvisionerShape,
  type ProvisionIntent
} from "@org/sandbox-core/Provisioner"
import { InstanceRef, type Spec } from "@org/sandbox-core/Session"
import { Context, Effect, FileSystem, Layer, Path, Stream } from "effect"
import { ChildProcessSpawner } from "effect/process"
import * as Boxes from "./Boxes.ts"
import * as Exec from "./Exec.ts"
import * as Files from "./Files.ts"
import { classify, type Problem, provider, Refused } from "./LocalError.ts"
import * as Worktree from "./Worktree.ts"

/** The provider over the services that core offers. */
export const make: Effect.Effect<ProvisionerShape, never, ProviderServices> = Effect.gen(function* () {
  const services = Context.pick(
    FileSystem.FileSystem,
    Path.Path,
    ChildProcessSpawner.ChildProcessSpawner,
    Host,
    Directories,
    Processes.Processes,
    Hasher
  )(yield* Effect.context<ProviderServices>())
  const { machine } = yield* Host
  const path = yield* Path.Path

  /** A member of the port, of the parts that it is made of. */
  const member = <A, R>(operation: string, effect: Effect.Effect<A, Problem, R>) =>
    effect.pipe(Effect.mapError(classify(operation)), Effect.provideContext(services))

  const refOf = (box: Boxes.Box) =>
    new InstanceRef({ version: 1, provider, scope: box.scope, key: box.key, id: box.id, data: {} })

  /** The box of a reference; another box of the same key is not it. */
  const lookup = Effect.fnUntraced(function* (target: InstanceRef | string) {
    const box = yield* Boxes.read(typeof target === "string" ? target : target.key)
    return typeof target === "string" || box?.id === target.id ? box : undefined
  })

  const present = Effect.fnUntraced(function* (ref: InstanceRef) {
    const message = `There is no box ${ref.id} on this host.`
    return (yield* lookup(ref)) ?? (yield* new Refused({ reason: "NotFound", message }))
  })

  /** Does something to a box while no other process does; nothing when the box is gone. */
  const change = <E, R>(target: InstanceRef | string, use: (box: Boxes.Box) => Effect.Effect<void, E, R>) =>
    Effect.gen(function* () {
      if ((yield* lookup(target)) === undefined) return
      yield* Effect.flatMap(lookup(target), (box) => (box === undefined ? Effect.void : use(box))).pipe(
        Boxes.locked(typeof target === "string" ? target : target.key)
      )
    })

  const ownWorkOf = (box: Boxes.Box) =>
    Effect.map(Boxes.directory(box.key), (directory) => path.join(directory, "work"))

  const workOf = (box: Boxes.Box) =>
    box.checkout?.path === undefined ? ownWorkOf(box) : Effect.succeed(box.checkout.path)

  /** Where commands run and relative paths begin: the checkout, or the directory of a box that has none. */
  const baseOf = Effect.fnUntraced(function* (box: Boxes.Box) {
    const work = yield* workOf(box)
    return (yield* (yield* FileSystem.FileSystem).exists(work)) ? work : yield* Boxes.directory(box.key)
  })

  const filesOf = Effect.fnUntraced(function* (ref: InstanceRef) {
    const box = yield* present(ref)
    return { base: yield* baseOf(box), aside: yield* Boxes.directory(box.key) } satisfies Files.Place
  })

  const placeOf = Effect.fnUntraced(function* (box: Boxes.Box) {
    const record: Worktree.Place["record"] = (checkout) =>
      Effect.flatMap(Boxes.read(box.key), (now) => Boxes.update((now ?? box).with({ checkout })))
    return {
      key: box.key,
      path: yield* ownWorkOf(box),
      checkout: box.checkout,
      record,
      holder: holderOf(box)
    } satisfies Worktree.Place
  })

  /** The other box whose checkout is at a path. */
  const holderOf = (box: Boxes.Box) =>
    Effect.fnUntraced(function* (target: string) {
      for (const entry of yield* Boxes.all) {
        if (!("box" in entry) || entry.box.key === box.key || entry.box.checkout === null) continue
        if ((yield* Worktree.realPath(yield* workOf(entry.box))) === target) return entry.box.key
      }
      return undefined
    })

  const halt = Effect.fnUntraced(function* (box: Boxes.Box) {
    const end = Processes.end(Processes.boxMarker, box.key)
    // in one that is halted nothing was started since
    if (box.status === "stopped") return yield* end
    // First nothing may be started any more, then what was started ends: a killed halt is taken up again, not forgotten.
    yield* Boxes.update(box.with({ status: "stopping" }))
    yield* end
    yield* Boxes.update(box.with({ status: "stopped" }))
  })

  /** A halt that was cut short is one all the same once nothing runs any more; until then the box is neither up nor halted. */
  const halfHalted = Effect.fnUntraced(function* ({ key }: Boxes.Box) {
    const { marked } = yield* Processes.Processes
    const left = yield* marked(`${Processes.boxMarker}=${key}`)
    return left.length === 0
      ? ({ _tag: "stopped" } satisfies Observation)
      : ({ _tag: "unknown", why: "Its halt was not finished; stop or start it again." } satisfies Observation)
  })

  const provision = Effect.fnUntraced(function* (intent: ProvisionIntent) {
    yield* checkSpec(intent.spec)
    const { key, labels } = intent
    yield* Boxes.sweep
    const existing = yield* Boxes.read(key)
    const box = new Boxes.Box({
      version: 1,
      id: `${intent.name}/${yield* Boxes.nonce}`,
      key,
      scope: machine,
      labels,
      status: "running",
      checkout: null
    })
    return refOf(existing ?? (yield* Boxes.create(box)))
  })

  /** What carries the mark of a key that has no box: it was started before the box was made, or outlived it. */
  const endStrays = Effect.fnUntraced(function* (key: string) {
    const { marked } = yield* Processes.Processes
    if ((yield* marked(`${Processes.boxMarker}=${key}`)).length === 0) return
    const end = Effect.flatMap(Boxes.read(key), (box) =>
      box === undefined ? Processes.end(Processes.boxMarker, key) : Effect.void
    )
    yield* Boxes.locked(key)(end)
  })

  const stop = Effect.fnUntraced(function* (ref: InstanceRef) {
    yield* change(ref, halt)
    yield* endStrays(ref.key)
  })

  const destroy = Effect.fnUntraced(function* (target: InstanceRef | string) {
    yield* change(target, (box) =>
      Effect.gen(function* () {
        yield* halt(box)
        yield* Worktree.detach(yield* placeOf(box))
        yield* Boxes.remove(box.key)
      })
    )
    yield* endStrays(typeof target === "string" ? target : target.key)
    yield* Boxes.sweep
  })

  const exec = Effect.fnUntraced(function* (ref: InstanceRef, request: ExecRequest) {
    const box = yield* running(ref)
    const handle = yield* Exec.start(box, yield* baseOf(box), request)
    // A halt that began meanwhile may have looked for processes before this one was there.
    yield* Effect.tapError(running(ref), () => handle.kill("SIGKILL"))
    return handle
  })

  const running = Effect.fnUntraced(function* (ref: InstanceRef) {
    const box = yield* present(ref)
    if (box.status === "running") return box
    return yield* new Refused({ reason: "NotReady", message: `The box ${ref.id} is halted; start it first.` })
  })

  return {
    name: provider,
    isolation: "none",
    haltIsTerminal: false,
    scope: Effect.succeed(machine),
    hostPorts: true,
    endpoint: (ref, port) =>
      member(
        "endpoint",
        Effect.andThen(
          present(ref),
          Number.isInteger(port) && port > 0 && port < 65_536
            ? Effect.succeed(`http://127.0.0.1:${port}`)
            : new Refused({ reason: "Invalid", message: `There is no port ${port}.` })
        )
      ),
    preflight: (spec) => member("preflight", preflight(spec)),
    provision: (intent) => member("provision", provision(intent)),
    find: (key) =>
      member(
        "find",
        Effect.map(lookup(key), (box) =>
          box === undefined ? { _tag: "absent" } : { _tag: "present", ref: refOf(box) }
        )
      ),
    inspect: (ref) =>
      member(
        "inspect",
        Effect.flatMap(lookup(ref), (box) => {
          if (box === undefined) return Effect.succeed<Observation>({ _tag: "gone" })
          return box.status === "stopping" ? halfHalted(box) : Effect.succeed<Observation>({ _tag: box.status })
        })
      ),
    stop: (ref) => member("stop", stop(ref)),
    start: (ref) =>
      member(
        "start",
        Effect.gen(function* () {
          const box = yield* present(ref)
          if (box.status === "stopping") yield* halt(box)
          yield* Boxes.update(box.with({ status: "running" }))
        }).pipe(Boxes.locked(ref.key))
      ),
    destroy: (target) => member("destroy", destroy(target)),
    list: (ledgerId) =>
      Stream.unwrap(
        Effect.map(member("list", Boxes.all), (entries) => {
          const owned = entries.flatMap((entry) =>
            "box" in entry && entry.box.labels[labelNames.ledger] === ledgerId
              ? [{ ref: refOf(entry.box), labels: entry.box.labels }]
              : []
          )
          // A box that cannot be read hides no other, and the list does not pretend to be whole.
          const problem = entries.flatMap((entry) => ("problem" in entry ? [entry.problem] : []))[0]
          const rest = problem === undefined ? Stream.empty : Stream.fail(classify("list")(problem))
          return Stream.concat(Stream.fromIterable(owned), rest)
        })
      ),
    exec: (ref, request) => member("exec", exec(ref, request)),
    files: {
      read: (ref, target) =>
        Stream.unwrap(Effect.map(filesOf(ref), (place) => Files.read(place, target))).pipe(
          Stream.mapError(classify("files.read")),
          Stream.provideContext(services)
        ),
      write: (ref, directory, archive) =>
        member(
          "files.write",
          Effect.flatMap(filesOf(ref), (place) => Files.write(place, directory, archive))
        )
    },
    workspace: {
      attach: (ref, source) =>
        member(
          "workspace.attach",
          Effect.gen(function* () {
            return yield* Worktree.attach(yield* placeOf(yield* present(ref)), source)
          }).pipe(Boxes.locked(ref.key))
        ),
      status: (ref) =>
        member(
          "workspace.status",
          Effect.gen(function* () {
            const box = yield* lookup(ref)
            if (box === undefined) return { present: false, dirtyFiles: 0, unpublishedCommits: 0 }
            return yield* Worktree.status(yield* placeOf(box))
          })
        ),
      detach: (ref) =>
        member(
          "workspace.detach",
          change(ref, (box) => Effect.flatMap(placeOf(box), Worktree.detach))
        )
    }
  }
})

/** The provider as a layer. */
export const layer: Layer.Layer<Provisioner, never, ProviderServices> = Layer.effect(Provisioner, make)

const checkSpec = Effect.fnUntraced(function* (spec: Spec) {
  const asked = (["image", "cpus", "memory"] as const).filter((field) => spec[field] !== undefined)
  if (asked.length === 0) return
  const message = `A local box is this host as it is: it cannot honour ${asked.join(", ")}.`
  return yield* new Refused({ reason: "Unsupported", message })
})

const preflight = Effect.fnUntraced(function* (spec: Spec) {
  yield* checkSpec(spec)
  const version = yield* Git.output(["version"])
  const [, major = "0", minor = "0"] = /(\d+)\.(\d+)/.exec(version) ?? []
  if (Number(major) * 1000 + Number(minor) < 2031) {
    const message = `${version.trim()} is too old; install git 2.31 or later.`
    return yield* new Refused({ reason: "Unsupported", message })
  }
  const fs = yield* FileSystem.FileSystem
  const path = yield* Path.Path
  let directory = yield* Boxes.root
  while (!(yield* fs.exists(directory)) && path.dirname(directory) !== directory) directory = path.dirname(directory)
  yield* fs.access(directory, { writable: true })
})
