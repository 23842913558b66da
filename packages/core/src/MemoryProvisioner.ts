/**
 * The reference provider: everything the port asks of one, with a `Map` for a platform. The text to copy when writing a
 * provider for a real one.
 *
 * What carries over: every call looks at the platform first, makes or changes only what is missing, and takes "already
 * so" for success. The provider remembers nothing itself, so two layers over one cloud behave like two processes over
 * one platform.
 */
import { Deferred, Effect, Layer, Stream } from "effect"
import * as commands from "./internal/memoryCommands.ts"
import * as memoryFiles from "./internal/memoryFiles.ts"
import {
  boxVariables,
  type ExecRequest,
  type FilesCapability,
  labelNames,
  Provisioner,
  ProvisionerError,
  type ProvisionerShape,
  type ProvisionIntent,
  type Reason,
  type WorkspaceCapability,
  type WorkspaceSource
} from "./Provisioner.ts"
import { InstanceRef, type Spec } from "./Session.ts"

/** A box in a memory cloud. */
export interface Box {
  readonly ref: InstanceRef
  readonly labels: Readonly<Record<string, string>>
  readonly spec: Spec
  /** By absolute path; they outlive a halt, as a disk does. */
  readonly files: Map<string, Uint8Array>
  /** Directories, links and permissions, where they are not what an ordinary file's path implies. */
  readonly nodes: Map<string, memoryFiles.Node>
  /** Pending while the box runs. Its completion ends everything in the box; a start puts a new one in its place. */
  power: Deferred.Deferred<"SIGKILL">
  workspace: Workspace | undefined
}

/** A checkout in a box. The counts stand for work in it; whoever holds the cloud may set them. */
export interface Workspace {
  readonly source: WorkspaceSource
  dirtyFiles: number
  unpublishedCommits: number
}

/** The platform itself. Whoever holds it sees and changes boxes behind every provider's back, as a console does. */
export interface MemoryCloud {
  readonly boxes: Map<string, Box>
  /** How many boxes were ever made. */
  created: number
}

/** An empty platform. */
export const makeCloud = (): MemoryCloud => ({ boxes: new Map(), created: 0 })

/** Whether a box is running. */
export const isRunning = (box: Box): boolean => !Deferred.isDoneUnsafe(box.power)

export interface Options {
  readonly cloud: MemoryCloud
  /** The provider's name; `memory` when absent. */
  readonly name?: string | undefined
  /** The part of the cloud to act on; the name when absent. Boxes of another scope are out of sight. */
  readonly scope?: string | undefined
  /** Whether `stop` destroys the box; `false` when absent. */
  readonly haltIsTerminal?: boolean | undefined
}

/** A provider of boxes in a memory cloud. */
export const make = (options: Options): ProvisionerShape => {
  const { cloud, name = "memory", haltIsTerminal = false } = options
  const scope = options.scope ?? name

  const owned = () => [...cloud.boxes.values()].filter(({ ref }) => ref.provider === name && ref.scope === scope)

  // A reference is matched by the platform's identifier, never by its key: a box that was destroyed and made again for
  // the same key is another box, and an old reference must not reach it.
  const lookup = (target: InstanceRef | string) =>
    owned().find(({ ref }) => (typeof target === "string" ? ref.key === target : ref.id === target.id))

  const fail = (operation: string, reason: Reason, message: string) =>
    new ProvisionerError({ provider: name, operation, reason, outcome: "not_applied", message })

  const present = (operation: string, ref: InstanceRef) =>
    Effect.suspend(() => {
      const box = lookup(ref)
      return box === undefined
        ? Effect.fail(fail(operation, "NotFound", `There is no box ${ref.id}; provision it again.`))
        : Effect.succeed(box)
    })

  // Looking and making are one step here. A platform where they are two needs the key in its create call, as an
  // idempotency token or a unique name: only the platform can refuse the second of two processes that both saw nothing.
  const provision = (intent: ProvisionIntent) =>
    Effect.sync(() => {
      const existing = lookup(intent.key)
      if (existing !== undefined) return existing.ref
      cloud.created += 1
      const id = `${intent.name}-${cloud.created}`
      const ref = new InstanceRef({ version: 1, provider: name, scope, key: intent.key, id, data: {} })
      cloud.boxes.set(id, {
        ref,
        labels: intent.labels,
        spec: intent.spec,
        files: new Map(),
        nodes: new Map([
          [workspacePath, { kind: "directory", mode: 0o755, target: "" }],
          [runPath, { kind: "directory", mode: 0o700, target: "" }]
        ]),
        power: Deferred.makeUnsafe(),
        workspace: undefined
      })
      return ref
    })

  const remove = (target: InstanceRef | string) =>
    Effect.sync(() => {
      const box = lookup(target)
      if (box === undefined) return
      halt(box)
      cloud.boxes.delete(box.ref.id)
    })

  const stop = (ref: InstanceRef) =>
    Effect.sync(() => {
      const box = lookup(ref)
      if (box !== undefined) halt(box)
    })

  const start = (ref: InstanceRef) =>
    Effect.map(present("start", ref), (box) => {
      if (!isRunning(box)) box.power = Deferred.makeUnsafe()
    })

  const exec = Effect.fnUntraced(function* (ref: InstanceRef, request: ExecRequest) {
    const box = yield* present("exec", ref)
    if (!isRunning(box)) return yield* fail("exec", "NotReady", `The box ${ref.id} is halted; start it first.`)
    if (!commands.has(request.argv[0] ?? "")) {
      const known = commands.names.join(", ")
      return yield* fail("exec", "Invalid", `A memory box has no such command; it has ${known}.`)
    }
    const env = { ...request.env, [boxVariables.workspace]: workspacePath, [boxVariables.run]: runPath }
    const directory = memoryFiles.resolve(workspacePath, request.cwd ?? ".")
    return yield* commands.run({ files: box.files, power: box.power, directory, env }, request)
  })

  const refused = (operation: string) => (error: memoryFiles.Refused) => fail(operation, error.reason, error.message)

  const files: FilesCapability = {
    read: (ref, path) =>
      Stream.unwrap(
        Effect.map(present("files.read", ref), (box) =>
          Stream.mapError(memoryFiles.read(box, memoryFiles.resolve(workspacePath, path)), refused("files.read"))
        )
      ),
    write: (ref, directory, archive) =>
      Effect.flatMap(present("files.write", ref), (box) =>
        Effect.mapError(
          memoryFiles.write(box, memoryFiles.resolve(workspacePath, directory), archive),
          refused("files.write")
        )
      )
  }

  const workspace: WorkspaceCapability = {
    unseen: true,
    attach: (ref, source) =>
      Effect.map(present("workspace.attach", ref), (box) => {
        box.workspace ??= { source, dirtyFiles: 0, unpublishedCommits: 0 }
        return { branch: box.workspace.source.branch, warnings: [] }
      }),
    status: (ref) =>
      Effect.sync(() => {
        const box = lookup(ref)
        if (box?.workspace === undefined) return { present: false, dirtyFiles: 0, unpublishedCommits: 0 }
        const { dirtyFiles, unpublishedCommits } = box.workspace
        return {
          present: true,
          dirtyFiles: dirtyFiles + [...box.files.keys()].filter(isInWorkspace).length,
          unpublishedCommits
        }
      }),
    detach: (ref) =>
      Effect.sync(() => {
        const box = lookup(ref)
        if (box === undefined) return
        box.workspace = undefined
        for (const disk of [box.files, box.nodes]) {
          for (const path of [...disk.keys()].filter(isInWorkspace)) disk.delete(path)
        }
      })
  }

  return {
    name,
    isolation: "none",
    haltIsTerminal,
    scope: Effect.succeed(scope),
    preflight: () => Effect.void,
    provision,
    find: (key) =>
      Effect.sync(() => {
        const box = lookup(key)
        return box === undefined ? { _tag: "absent" } : { _tag: "present", ref: box.ref }
      }),
    inspect: (ref) =>
      Effect.sync(() => {
        const box = lookup(ref)
        if (box === undefined) return { _tag: "gone" }
        return isRunning(box) ? { _tag: "running" } : { _tag: "stopped" }
      }),
    stop: haltIsTerminal ? remove : stop,
    destroy: remove,
    list: (ledgerId) =>
      Stream.suspend(() => Stream.fromIterable(owned().filter(({ labels }) => labels[labelNames.ledger] === ledgerId))),
    // A capability is a member: where a halt is the end there is nothing to start, and so no `start`.
    ...(haltIsTerminal ? {} : { start }),
    exec,
    files,
    workspace
  }
}

/** A provider of boxes in a memory cloud, as a layer. */
export const layer = (options: Options): Layer.Layer<Provisioner> => Layer.succeed(Provisioner, make(options))

const workspacePath = "/workspace"

const runPath = "/run/session"

const isInWorkspace = (path: string) => path.startsWith(`${workspacePath}/`)

const halt = (box: Box) => Deferred.doneUnsafe(box.power, Effect.succeed("SIGKILL"))
