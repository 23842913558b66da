/**
 * The reference provider: a box is a directory below a root, its checkout a `git clone`, its commands processes of this
 * host. The text to copy for a provider of a platform of your own.
 *
 *     <root>/<box>/box.json     whose box it is: the key and the labels
 *     <root>/<box>/halted       there while the box is halted
 *     <root>/<box>/run/         what belongs to the session and not to the repository
 *     <root>/<box>/work/        the checkout
 *
 * All of it is on the disk and none of it in this process, so whoever comes next, after a crash too, sees what we saw.
 */
import * as Git from "@org/sandbox-core/Git"
import { Host } from "@org/sandbox-core/Host"
import * as Processes from "@org/sandbox-core/Processes"
import {
  defineProvider,
  type ExecRequest,
  labelNames,
  Provisioner,
  type ProvisionerShape,
  type ProvisionIntent,
  type WorkspaceSource
} from "@org/sandbox-core/Provisioner"
import * as SandboxError from "@org/sandbox-core/SandboxError"
import { InstanceRef, instanceName } from "@org/sandbox-core/Session"
import { Effect, FileSystem, Layer, Path, Schema, Stream } from "effect"
import type { ChildProcessSpawner } from "effect/process"
import * as commands from "./commands.ts"
import { classify, name, orWhenMissing, Refusal } from "./errors.ts"

type Services = FileSystem.FileSystem | Path.Path | ChildProcessSpawner.ChildProcessSpawner | Host | Processes.Processes

const BoxFile = Schema.fromJsonString(
  Schema.Struct({ key: Schema.String, labels: Schema.Record(Schema.String, Schema.String) })
)

const make = Effect.fnUntraced(function* (options: { readonly root: string }) {
  const fs = yield* FileSystem.FileSystem
  const path = yield* Path.Path
  const root = path.resolve(options.root)
  const services = yield* Effect.context<Services>()
  yield* fs.makeDirectory(root, { recursive: true })

  // The same path on another machine is another place.
  const scope = `${(yield* Host).machine}:${root}`
  const at = (id: string, ...rest: ReadonlyArray<string>) => path.join(root, id, ...rest)
  const refOf = (id: string, key: string) => new InstanceRef({ version: 1, provider: name, scope, key, id, data: {} })

  // What cannot be seen is gone only when its surroundings can be: an unmounted disk shows no boxes either.
  const mounted = Effect.flatMap(fs.exists(root), (exists) =>
    exists
      ? Effect.void
      : new Refusal({ reason: "Unreachable", message: `The directory ${root} is not there; mount it and try again.` })
  )

  /** What there is of a box; nothing when it is gone. */
  const look = Effect.fnUntraced(function* (id: string) {
    yield* mounted
    const json = yield* orWhenMissing(fs.readFileString(at(id, "box.json")), undefined)
    return json === undefined ? undefined : yield* Schema.decodeEffect(BoxFile)(json)
  })

  const mustExist = Effect.fnUntraced(function* ({ id }: InstanceRef) {
    if ((yield* look(id)) !== undefined) return
    return yield* new Refusal({ reason: "NotFound", message: `There is no box ${id}; provision it again.` })
  })

  const mustRun = Effect.fnUntraced(function* (ref: InstanceRef) {
    yield* mustExist(ref)
    if (!(yield* fs.exists(at(ref.id, "halted")))) return
    return yield* new Refusal({ reason: "NotReady", message: `The box ${ref.id} is halted; start it first.` })
  })

  // The directory is filled under another name and then renamed: it appears with its labels in it or not at all. Of two
  // processes that make it at once, one cannot rename and finds what the other one made.
  const provision = Effect.fnUntraced(function* ({ key, labels, name: id }: ProvisionIntent) {
    if ((yield* look(id)) !== undefined) return refOf(id, key)
    const draft = yield* fs.makeTempDirectoryScoped({ directory: root, prefix: ".new-" })
    yield* fs.makeDirectory(path.join(draft, "run"), { mode: 0o700 })
    yield* fs.makeDirectory(path.join(draft, "work"))
    yield* fs.writeFileString(path.join(draft, "box.json"), yield* Schema.encodeEffect(BoxFile)({ key, labels }))
    yield* Effect.catch(fs.rename(draft, at(id)), (cause) =>
      Effect.flatMap(look(id), (box) => (box === undefined ? Effect.fail(cause) : Effect.void))
    )
    return refOf(id, key)
  }, Effect.scoped)

  const halt = Effect.fnUntraced(function* (id: string) {
    const box = yield* look(id)
    if (box === undefined) return
    // The mark comes first: a command that is just starting looks for it once more when it is there to be found.
    yield* fs.writeFileString(at(id, "halted"), "")
    yield* Processes.end(Processes.boxMarker, box.key)
  })

  // Renamed before it is removed: killed halfway, this leaves no box that has lost its labels.
  const destroy = Effect.fnUntraced(function* (id: string) {
    yield* halt(id)
    const rest = path.join(root, `.gone-${id}`)
    yield* fs.remove(rest, { recursive: true, force: true })
    yield* orWhenMissing(fs.rename(at(id), rest), undefined)
    yield* fs.remove(rest, { recursive: true, force: true })
  })

  const list = Effect.fnUntraced(function* (ledgerId: string) {
    yield* mounted
    const ids = (yield* fs.readDirectory(root)).filter((entry) => !entry.startsWith("."))
    const boxes = yield* Effect.forEach(ids, (id) =>
      Effect.map(look(id), (box) => (box === undefined ? [] : [{ ref: refOf(id, box.key), labels: box.labels }]))
    )
    return boxes.flat().filter(({ labels }) => labels[labelNames.ledger] === ledgerId)
  })

  const exec = Effect.fnUntraced(function* (ref: InstanceRef, request: ExecRequest) {
    yield* mustRun(ref)
    const place = { key: ref.key, directory: at(ref.id, "work"), run: at(ref.id, "run") }
    return yield* Effect.tap(commands.start(request, place), mustRun(ref))
  })

  const attach = Effect.fnUntraced(function* (ref: InstanceRef, source: WorkspaceSource) {
    yield* mustExist(ref)
    const work = at(ref.id, "work")
    if (!(yield* fs.exists(path.join(work, ".git")))) {
      // Cloned aside and renamed into place, so that half a clone is never taken for a checkout.
      const draft = yield* fs.makeTempDirectoryScoped({ directory: at(ref.id), prefix: "clone-" })
      const clone = ["clone", "--quiet", "--no-checkout", "--no-hardlinks", "--", source.repository, draft]
      yield* Git.output(clone, { remote: true, timeout: "10 minutes" })
      const checkout = ["switch", "--quiet", "--no-track", "-C", source.branch, source.commit]
      yield* Git.output(checkout, { cwd: draft })
      yield* fs.rename(draft, work)
    }
    const branch = yield* Git.output(["branch", "--show-current"], { cwd: work })
    return { branch: branch.trim(), path: work, warnings: [] }
  }, Effect.scoped)

  const status = Effect.fnUntraced(function* ({ id }: InstanceRef) {
    const cwd = at(id, "work")
    const present = (yield* look(id)) !== undefined && (yield* fs.exists(path.join(cwd, ".git")))
    if (!present) return { present, dirtyFiles: 0, unpublishedCommits: 0 }
    const changes = yield* Git.output(["status", "--porcelain", "--untracked-files=all"], { cwd })
    const commits = yield* Git.output(["rev-list", "--count", "HEAD", "--all", "--not", "--remotes"], { cwd })
    return { present, dirtyFiles: changes.split("\n").length - 1, unpublishedCommits: Number(commits) }
  })

  const detach = Effect.fnUntraced(function* ({ id }: InstanceRef) {
    if ((yield* look(id)) === undefined) return
    yield* fs.remove(at(id, "work"), { recursive: true, force: true })
    yield* fs.makeDirectory(at(id, "work"))
  })

  // Nothing lies between a process and its host here, so what listens in a box is a port of this host.
  const endpoint = Effect.fnUntraced(function* (ref: InstanceRef, port: number) {
    yield* mustExist(ref)
    return `http://127.0.0.1:${port}`
  })

  const call = <A, E, R>(operation: string, effect: Effect.Effect<A, E, R>) =>
    effect.pipe(Effect.mapError(classify(operation)), Effect.provide(services))

  return {
    name,
    isolation: "none",
    haltIsTerminal: false,
    scope: Effect.succeed(scope),
    preflight: () => call("preflight", fs.access(root, { writable: true })),
    provision: (intent) => call("provision", provision(intent)),
    find: (key) =>
      Effect.map(call("find", look(instanceName(key))), (box) =>
        box === undefined ? { _tag: "absent" } : { _tag: "present", ref: refOf(instanceName(key), key) }
      ),
    inspect: Effect.fnUntraced(function* ({ id }) {
      if ((yield* call("inspect", look(id))) === undefined) return { _tag: "gone" }
      return (yield* call("inspect", fs.exists(at(id, "halted")))) ? { _tag: "stopped" } : { _tag: "running" }
    }),
    stop: ({ id }) => call("stop", halt(id)),
    start: (ref) => call("start", Effect.andThen(mustExist(ref), fs.remove(at(ref.id, "halted"), { force: true }))),
    destroy: (target) => call("destroy", destroy(typeof target === "string" ? instanceName(target) : target.id)),
    list: (ledgerId) => Stream.fromIterableEffect(call("list", list(ledgerId))),
    exec: (ref, request) => call("exec", exec(ref, request)),
    endpoint: (ref, port) => call("endpoint", endpoint(ref, port)),
    hostPorts: true,
    workspace: {
      attach: (ref, source) => call("workspace.attach", attach(ref, source)),
      status: (ref) => call("workspace.status", status(ref)),
      detach: (ref) => call("workspace.detach", detach(ref))
    }
  } satisfies ProvisionerShape
})

/** What a registry loads: the name, the provider's section of the configuration, and the provider. */
export default defineProvider({
  apiVersion: 1,
  name,
  options: Schema.Struct({ root: Schema.NonEmptyString }),
  layer: (options) =>
    Layer.effect(
      Provisioner,
      Effect.mapError(make(options), () =>
        SandboxError.make("ERR_CONFIG_INVALID", {
          message: `the directory for boxes, ${options.root}, cannot be used`,
          nextStep: "set root to a directory that you may write to"
        })
      )
    )
})
