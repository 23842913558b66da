import { assert, describe, it } from "@effect/vitest"
import * as Commands from "@org/sandbox-conformance/Commands"
import * as Law from "@org/sandbox-conformance/Law"
import { capabilities, laws } from "@org/sandbox-conformance/ProvisionerLaws"
import * as MemoryProvisioner from "@org/sandbox-core/MemoryProvisioner"
import {
  boxVariables,
  type ExecHandle,
  type ExecRequest,
  labelNames,
  Provisioner,
  ProvisionerError,
  type ProvisionerShape,
  type Reason
} from "@org/sandbox-core/Provisioner"
import { InstanceRef } from "@org/sandbox-core/Session"
import { Cause, Deferred, Effect, Exit, Layer, References, Stream } from "effect"

/** Breaks a good provider in one way. The cloud is there for faults that a provider could only have inside. */
type Sabotage = (good: Required<ProvisionerShape>, cloud: MemoryProvisioner.MemoryCloud) => ProvisionerShape

const context = Law.LawContext.layer({
  commands: { ...Commands.memory, processes: ["processes"] },
  patience: "400 millis",
  workspaceSource: {
    repository: "/repo",
    branch: "main",
    commit: "0".repeat(40),
    fallbackBranch: "sandbox/main"
  }
})

/** The memory provider with what it leaves out: ports, networks, and boxes that say that they are kept from their host. */
const complete = (cloud: MemoryProvisioner.MemoryCloud): Required<ProvisionerShape> => {
  const memory = MemoryProvisioner.make({ cloud }) as Required<ProvisionerShape>
  const started = new Map<string, Array<string>>()
  return {
    ...memory,
    isolation: "container",
    hostPorts: true,
    endpoint: (ref, port) =>
      cloud.boxes.has(ref.id) ? Effect.succeed(`http://127.0.0.1:${port}`) : refuse("endpoint", "NotFound"),
    network: (ref) =>
      cloud.boxes.has(ref.id)
        ? Effect.succeed({ engine: "memory", name: `network-of-${ref.id}` })
        : refuse("network", "NotFound"),
    exec: (ref, request) => {
      const own = started.get(ref.id) ?? []
      if (request.argv[0] === "processes") return memory.exec(ref, { ...request, argv: ["echo", own.join("\n")] })
      started.set(ref.id, [...own, request.argv.join(" ")])
      return memory.exec(ref, request)
    }
  }
}

const verdict = (law: Law.Law, sabotage: Sabotage = (good) => good) => {
  const cloud = MemoryProvisioner.makeCloud()
  const provisioner = Layer.succeed(Provisioner, sabotage(complete(cloud), cloud))
  return law.check.pipe(
    Effect.scoped,
    Effect.provide([provisioner, context]),
    Effect.provideService(References.MinimumLogLevel, "None"), // a saboteur cannot clean up either, and says so
    Effect.exit
  )
}

const refuse = (operation: string, reason: Reason) =>
  Effect.fail(
    new ProvisionerError({ provider: "memory", operation, reason, outcome: "not_applied", message: "sabotaged" })
  )

/** The platform's own view of a box. */
const boxOf = (cloud: MemoryProvisioner.MemoryCloud, ref: InstanceRef) => cloud.boxes.get(ref.id)!

/** Provides commands with something changed before they start or in what they give back. */
const execWith =
  (change: {
    readonly request?: (request: ExecRequest) => ExecRequest
    readonly handle?: (handle: ExecHandle) => ExecHandle
  }): Sabotage =>
  (good) => ({
    ...good,
    exec: (ref, request) =>
      Effect.map(good.exec(ref, change.request?.(request) ?? request), (handle) => change.handle?.(handle) ?? handle)
  })

/** Makes a box under a provisional key and renames it later. */
const provisionInTwoSteps: Sabotage = (good) => ({
  ...good,
  provision: Effect.fnUntraced(function* (intent) {
    const provisional = yield* good.provision({ ...intent, key: `${intent.key}-provisional` })
    yield* Effect.sleep("20 millis")
    yield* good.destroy(provisional)
    return yield* good.provision(intent)
  })
})

/** Learns that a key has a box only when the box is done. */
const provisionRememberedLate: Sabotage = (good) => {
  const seen = new Map<string, InstanceRef>()
  let count = 0
  return {
    ...good,
    provision: Effect.fnUntraced(function* (intent) {
      const existing = seen.get(intent.key)
      if (existing !== undefined) return existing
      const ref = yield* good.provision({ ...intent, key: `${intent.key}-${++count}` })
      yield* Effect.sleep("20 millis")
      seen.set(intent.key, ref)
      return ref
    })
  }
}

const sabotages: Record<string, Sabotage> = {
  "a box that preflight accepts is made and runs": (good) => ({
    ...good,
    provision: (intent) => Effect.tap(good.provision(intent), good.stop)
  }),
  "a reference names its provider, its scope and its key": (good) => ({
    ...good,
    provision: (intent) =>
      Effect.map(good.provision(intent), (ref) => new InstanceRef({ ...ref, scope: "somewhere else" }))
  }),
  "a reference that was written down as JSON still reaches its box": (good) => {
    const known = new WeakSet<InstanceRef>()
    return {
      ...good,
      provision: (intent) => Effect.tap(good.provision(intent), (ref) => Effect.sync(() => known.add(ref))),
      inspect: (ref) => (known.has(ref) ? good.inspect(ref) : Effect.succeed({ _tag: "gone" }))
    }
  },
  "a box that is stopped halts, and is gone only where a halt is terminal": (good) => ({
    ...good,
    stop: good.destroy
  }),
  "a halted box runs again when it is started": (good) => ({ ...good, start: () => Effect.void }),
  "a running box that is destroyed is gone": (good) => ({ ...good, destroy: () => Effect.void }),
  "a halted box that is destroyed is gone": (good, cloud) => ({
    ...good,
    destroy: (target) =>
      typeof target === "string" || MemoryProvisioner.isRunning(boxOf(cloud, target))
        ? good.destroy(target)
        : Effect.void
  }),
  "stopping and destroying one box leaves another alone": (good, cloud) => ({
    ...good,
    stop: () => Effect.forEach([...cloud.boxes.values()], ({ ref }) => good.stop(ref), { discard: true })
  }),
  "I-105 the same key twice is the same box": (good) => {
    let count = 0
    return { ...good, provision: (intent) => good.provision({ ...intent, key: `${intent.key}-${++count}` }) }
  },
  "I-105 the same key many times at once is the same box": provisionRememberedLate,
  "I-105 the key of a halted box is still its key": (good) => ({
    ...good,
    provision: Effect.fnUntraced(function* (intent) {
      const found = yield* good.find(intent.key)
      if (found._tag === "present" && (yield* good.inspect(found.ref))._tag === "stopped") {
        yield* good.destroy(found.ref)
      }
      return yield* good.provision(intent)
    })
  }),
  "another key is another box": (good) => {
    let first: InstanceRef | undefined
    return {
      ...good,
      provision: (intent) =>
        first === undefined
          ? Effect.tap(good.provision(intent), (ref) => Effect.sync(() => (first = ref)))
          : Effect.succeed(first)
    }
  },
  "I-105 a box is found by its key as soon as it is made, and not before": (good) => ({
    ...good,
    find: () => Effect.succeed({ _tag: "absent" })
  }),
  "I-103 halting twice is success": (good, cloud) => ({
    ...good,
    stop: (ref) => (MemoryProvisioner.isRunning(boxOf(cloud, ref)) ? good.stop(ref) : refuse("stop", "Conflict"))
  }),
  "starting a running box is success": (good, cloud) => ({
    ...good,
    start: (ref) => (MemoryProvisioner.isRunning(boxOf(cloud, ref)) ? refuse("start", "Conflict") : good.start(ref))
  }),
  "I-103 destroying twice is success": (good, cloud) => ({
    ...good,
    destroy: (target) =>
      typeof target === "string" || cloud.boxes.has(target.id) ? good.destroy(target) : refuse("destroy", "NotFound")
  }),
  "I-103 halting a box that is gone is success, and leaves it gone": (good, cloud) => ({
    ...good,
    stop: (ref) => (cloud.boxes.has(ref.id) ? good.stop(ref) : refuse("stop", "NotFound"))
  }),
  "I-103 destroying a key that never had a box is success": (good) => ({
    ...good,
    destroy: (target) =>
      typeof target === "string"
        ? Effect.flatMap(good.find(target), ({ _tag }) =>
            _tag === "absent" ? refuse("destroy", "NotFound") : good.destroy(target)
          )
        : good.destroy(target)
  }),
  "I-106 a box can be destroyed by its key alone": (good) => ({
    ...good,
    destroy: (target) => (typeof target === "string" ? Effect.void : good.destroy(target))
  }),
  "I-104 a box that is gone is observed as gone, again and again, and that is no failure": (good) => ({
    ...good,
    inspect: (ref) =>
      Effect.flatMap(good.inspect(ref), (seen) =>
        seen._tag === "gone" ? refuse("inspect", "NotFound") : Effect.succeed(seen)
      )
  }),
  "I-104 a destroyed box is no longer found by its key": (good) => {
    const seen = new Map<string, InstanceRef>()
    return {
      ...good,
      provision: (intent) => Effect.tap(good.provision(intent), (ref) => Effect.sync(() => seen.set(ref.key, ref))),
      find: (key) => {
        const ref = seen.get(key)
        return ref === undefined ? good.find(key) : Effect.succeed({ _tag: "present", ref })
      }
    }
  },
  "the list of a ledger holds exactly its boxes": (good, cloud) => ({
    ...good,
    list: () => Stream.suspend(() => Stream.fromIterable(cloud.boxes.values()))
  }),
  "a halted box stays in the list": (good, cloud) => ({
    ...good,
    list: (ledgerId) =>
      good.list(ledgerId).pipe(Stream.filter(({ ref }) => MemoryProvisioner.isRunning(boxOf(cloud, ref))))
  }),
  "a reference from the list reaches the box": (good) => ({
    ...good,
    list: (ledgerId) =>
      good
        .list(ledgerId)
        .pipe(Stream.map(({ ref, labels }) => ({ ref: new InstanceRef({ ...ref, id: ref.id.slice(0, 12) }), labels })))
  }),
  "all six labels come back from the list as they were given": (good) => ({
    ...good,
    provision: (intent) => {
      const { [labelNames.expiresAt]: _, ...labels } = intent.labels
      return good.provision({ ...intent, labels })
    }
  }),
  "I-106 an interrupted provision leaves nothing, or a box that its key finds": provisionInTwoSteps,
  "I-106 destroying the key after an interrupted provision leaves nothing": provisionInTwoSteps,
  "I-106 provisioning again after an interruption gives the box of the key": provisionRememberedLate,
  "I-105 a create whose reply was lost is repeated, and makes no second box": (good) => {
    let count = 0
    return { ...good, provision: (intent) => good.provision({ ...intent, key: `${intent.key}-${++count}` }) }
  },
  "I-106 a create that never got a reply is removed by its key": (good) => ({
    ...good,
    destroy: (target) => (typeof target === "string" ? Effect.void : good.destroy(target))
  }),
  "I-103 a stop whose reply was lost is success when it is repeated": (good, cloud) => ({
    ...good,
    stop: (ref) =>
      Effect.suspend(() =>
        MemoryProvisioner.isRunning(boxOf(cloud, ref)) ? good.stop(ref) : refuse("stop", "Conflict")
      )
  }),
  "I-103 a destroy whose reply was lost is success when it is repeated": (good, cloud) => ({
    ...good,
    destroy: (target) =>
      Effect.suspend(() =>
        typeof target === "string" || cloud.boxes.has(target.id) ? good.destroy(target) : refuse("destroy", "NotFound")
      )
  }),
  "a start whose reply was lost is success when it is repeated": (good, cloud) => ({
    ...good,
    start: (ref) =>
      Effect.suspend(() =>
        MemoryProvisioner.isRunning(boxOf(cloud, ref)) ? refuse("start", "Conflict") : good.start(ref)
      )
  }),
  "a checkout whose reply was lost is there once when it is asked for again": (good, cloud) => ({
    ...good,
    workspace: {
      ...good.workspace,
      attach: (ref, source) =>
        Effect.suspend(() =>
          boxOf(cloud, ref).workspace === undefined
            ? good.workspace.attach(ref, source)
            : refuse("workspace.attach", "Conflict")
        )
    }
  }),
  "I-104 a box that cannot be reached is unknown, and there as before once it can be": (good) => ({
    ...good,
    find: () => Effect.succeed({ _tag: "absent" })
  }),
  "I-104 a list that cannot be had is a failure, and holds every box once it can be": (good) => {
    const forgotten = new Set<string>()
    return {
      ...good,
      list: (ledgerId) =>
        good.list(ledgerId).pipe(
          Stream.filter(({ ref }) => !forgotten.has(ref.key)),
          Stream.tap(({ ref }) => Effect.sync(() => forgotten.add(ref.key)))
        )
    }
  },
  "I-104 a box of another place is unknown, is not touched from here, and is there in its own": (good) => {
    let count = 0
    return { ...good, scope: Effect.sync(() => `place ${++count}`) }
  },
  "an exit code arrives exactly": execWith({
    handle: (handle) => ({ ...handle, exit: Effect.map(handle.exit, ({ code }) => ({ code: Math.min(code, 1) })) })
  }),
  "stdout and stderr arrive apart": execWith({
    handle: (handle) => ({ ...handle, output: Stream.map(handle.output, ({ bytes }) => ({ fd: 1, bytes })) })
  }),
  "words reach a command as they are, with no shell in between": execWith({
    request: (request) => ({ ...request, argv: request.argv.map((word) => word.replace("$HOME", "/root")) })
  }),
  "stdin reaches a command, and has an end": execWith({
    request: ({ stdin = Stream.empty, ...request }) => ({ ...request, stdin: Stream.concat(stdin, Stream.never) })
  }),
  "a megabyte passes through a command whole and in order": execWith({
    handle: (handle) => ({ ...handle, output: Stream.take(handle.output, 16) })
  }),
  "the environment reaches a command exactly": execWith({
    request: (request) => ({
      ...request,
      env: Object.fromEntries(Object.entries(request.env ?? {}).map(([name, value]) => [name, value.split(" ")[0]!]))
    })
  }),
  "a command runs in the directory that was asked for": execWith({
    request: ({ cwd: _, ...request }) => request
  }),
  "every command knows its checkout, and a directory beside it": execWith({
    request: (request) => ({
      ...request,
      argv: request.argv.map((word) => (word === boxVariables.run ? boxVariables.workspace : word))
    })
  }),
  "what a command leaves running in a session of its own goes on without it, and no longer than the box": (good) => ({
    ...good,
    exec: (ref, request) =>
      Effect.tap(good.exec(ref, request), () =>
        Effect.addFinalizer(() => Effect.orDie(Effect.andThen(good.stop(ref), good.start(ref))))
      )
  }),
  "killing a command ends it with everything it started, and says by which signal": execWith({
    handle: (handle) => ({ ...handle, kill: () => Effect.void })
  }),
  "halting a box ends what runs in it": (good, cloud) => ({
    ...good,
    stop: (ref) =>
      Effect.sync(() => {
        boxOf(cloud, ref).power = Deferred.makeUnsafe()
        Deferred.doneUnsafe(boxOf(cloud, ref).power, Effect.succeed("SIGKILL"))
      })
  }),
  "destroying a box ends what runs in it": (good, cloud) => ({
    ...good,
    destroy: (target) =>
      Effect.sync(() => {
        for (const { ref } of cloud.boxes.values()) {
          if (ref === target || ref.key === target) cloud.boxes.delete(ref.id)
        }
      })
  }),
  "a command for a halted box is refused as NotReady": (good) => ({
    ...good,
    exec: (ref, request) => Effect.andThen(good.start(ref), good.exec(ref, request))
  }),
  "a command for a box that is gone is refused as NotFound": (good) => ({
    ...good,
    exec: (ref, request) => Effect.catch(good.exec(ref, request), () => refuse("exec", "Unknown"))
  }),
  "a command has a terminal of the size that was asked for, and hears of a new one": execWith({
    handle: (handle) => ({ ...handle, resize: () => Effect.void })
  }),
  "Ctrl-C interrupts the command in a terminal": execWith({
    request: ({ stdin = Stream.empty, ...request }) => ({
      ...request,
      stdin: Stream.map(stdin, (bytes) => bytes.filter((key) => key !== 3))
    })
  }),
  "input that ends is the end of input for the command in a terminal": execWith({
    request: ({ stdin = Stream.empty, ...request }) => ({ ...request, stdin: Stream.concat(stdin, Stream.never) })
  }),
  "killing a command in a terminal ends it with everything it started, and says by which signal": execWith({
    handle: (handle) => ({ ...handle, kill: () => Effect.void })
  }),
  "a port of a box has a URL of its own without a path, which is that port of this host where boxes share them": (
    good
  ) => ({
    ...good,
    endpoint: (_, port) => Effect.succeed(`http://127.0.0.1:${port + 1}`)
  }),
  "a port of a box that is gone is refused as NotFound": (good) => ({
    ...good,
    endpoint: (_, port) => Effect.succeed(`http://127.0.0.1:${port}`)
  }),
  "two boxes of one engine have networks of their own, and each keeps its own": (good) => ({
    ...good,
    network: (ref) => Effect.map(good.network(ref), (own) => ({ ...own, name: "bridge" }))
  }),
  "the network of a box that is gone is refused as NotFound": (good) => ({
    ...good,
    network: ({ id }) => Effect.succeed({ engine: "memory", name: `network-of-${id}` })
  }),
  "a tree comes back as it was written: names, permissions, links, empty directories": (good, cloud) => ({
    ...good,
    files: {
      ...good.files,
      write: (ref, directory, archive) =>
        Effect.tap(good.files.write(ref, directory, archive), () =>
          Effect.sync(() => {
            for (const [path, node] of boxOf(cloud, ref).nodes) {
              boxOf(cloud, ref).nodes.set(path, { ...node, mode: node.mode | 0o044 })
            }
          })
        )
    }
  }),
  "five megabytes come back byte by byte": (good) => ({
    ...good,
    files: {
      ...good.files,
      read: (ref, path) =>
        Stream.map(good.files.read(ref, path), (bytes) => (bytes.length > 1024 ? bytes.with(777, 0) : bytes))
    }
  }),
  "a command sees the files that were written, and what a command writes can be read": (good) => ({
    ...good,
    files: { ...good.files, write: () => Effect.void }
  }),
  "a path that is not there is refused as NotFound, and is not made": (good) => ({
    ...good,
    files: { ...good.files, read: (ref, path) => Stream.catch(good.files.read(ref, path), () => Stream.empty) }
  }),
  "I-91 an archive that leads out of its directory is refused, and writes nothing there": (good, cloud) => ({
    ...good,
    files: {
      ...good.files,
      write: (ref, directory, archive) =>
        Effect.tapError(good.files.write(ref, directory, archive), () =>
          Effect.sync(() => boxOf(cloud, ref).files.set("/workspace/escape", Uint8Array.of(1)))
        )
    }
  }),
  "the checkout's directory of a new box is there and is empty": (good, cloud) => ({
    ...good,
    provision: (intent) =>
      Effect.tap(good.provision(intent), (ref) =>
        Effect.sync(() => boxOf(cloud, ref).files.set("/workspace/of-the-image", Uint8Array.of(1)))
      )
  }),
  "the checkout of a halted box can be read, unless the halt was the end of it": (good, cloud) => ({
    ...good,
    files: {
      ...good.files,
      read: (ref, path) =>
        MemoryProvisioner.isRunning(boxOf(cloud, ref))
          ? good.files.read(ref, path)
          : Stream.fromEffect(refuse("files.read", "NotReady"))
    }
  }),
  "files of a box that is gone are refused as NotFound": (good) => ({
    ...good,
    files: { ...good.files, write: (...args) => Effect.catch(good.files.write(...args), () => Effect.void) }
  }),
  "what is in the box's own directory outlives a halt, and is no part of the checkout": (good, cloud) => ({
    ...good,
    stop: (ref) =>
      Effect.tap(good.stop(ref), () =>
        Effect.sync(() => {
          const { files } = boxOf(cloud, ref)
          for (const path of files.keys()) if (!path.startsWith("/workspace/")) files.delete(path)
        })
      )
  }),
  "files outlive a halt and a start": (good, cloud) => ({
    ...good,
    start: (ref) =>
      Effect.tap(good.start(ref), () =>
        Effect.sync(() => {
          boxOf(cloud, ref).files.clear()
        })
      )
  }),
  "a checkout is there once it is attached, clean, and not before": (good) => ({
    ...good,
    workspace: {
      ...good.workspace,
      status: () => Effect.succeed({ present: true, dirtyFiles: 0, unpublishedCommits: 0 })
    }
  }),
  "a file written into a checkout counts as work that would be lost": (good) => ({
    ...good,
    workspace: {
      ...good.workspace,
      status: (ref) => Effect.map(good.workspace.status(ref), (status) => ({ ...status, dirtyFiles: 0 }))
    }
  }),
  "attaching again keeps a checkout with its work": (good) => ({
    ...good,
    workspace: {
      ...good.workspace,
      attach: (ref, source) => Effect.andThen(good.workspace.detach(ref), good.workspace.attach(ref, source))
    }
  }),
  "a checkout and its work outlive a halt, and can be asked for during it": (good) => ({
    ...good,
    stop: (ref) => Effect.andThen(good.workspace.detach(ref), good.stop(ref))
  }),
  "a detached checkout is gone, and detaching twice is success": (good, cloud) => ({
    ...good,
    workspace: {
      ...good.workspace,
      detach: (ref) =>
        boxOf(cloud, ref)?.workspace === undefined ? refuse("workspace.detach", "NotFound") : good.workspace.detach(ref)
    }
  }),
  "a box does not see the socket of an engine that makes boxes": (good) => ({
    ...good,
    exec: (ref, request) =>
      good.exec(ref, {
        ...request,
        argv: request.argv === Commands.memory.engineSockets ? ["echo", "/run/docker.sock"] : request.argv
      })
  }),
  "a box sees its own processes and none of another box": (good) => {
    let first: InstanceRef | undefined
    return {
      ...good,
      exec: (ref, request) => {
        first ??= ref
        return good.exec(request.argv[0] === "processes" ? first : ref, request)
      }
    }
  },
  "nothing is left when every box has been destroyed": (good) => ({
    ...good,
    destroy: (target) => (typeof target === "string" ? good.destroy(target) : Effect.void)
  })
}

describe("ProvisionerLaws", () => {
  it("has a sabotaged provider for every law, and a name of its own for each", () => {
    assert.deepStrictEqual(laws.map(({ name }) => name).sort(), Object.keys(sabotages).sort())
  })

  it("orders the groups as they are best run, leaks last", () => {
    const order = [...new Set(laws.map(({ group }) => group))]
    assert.deepStrictEqual(order, [...Law.groups])
  })

  describe.concurrent("each law", () => {
    for (const law of laws) {
      it.live(`is kept by the memory provider: ${law.name}`, () =>
        Effect.map(verdict(law), (exit) => assert.deepStrictEqual(exit, Exit.void))
      )

      it.live(`is broken by its sabotaged provider: ${law.name}`, () =>
        Effect.gen(function* () {
          const exit = yield* verdict(law, sabotages[law.name])
          const error = Exit.isFailure(exit) ? exit.cause.reasons.find(Cause.isFailReason)?.error : undefined
          assert.isDefined(error, "the law holds for the sabotaged provider, or died")
          if (error._tag === "LawBroken") assert.strictEqual(error.law, law.name)
        })
      )
    }
  })
})

describe("ProvisionerLaws.capabilities", () => {
  it.live("says what a provider can do, a terminal being what a command is given", () =>
    Effect.gen(function* () {
      const cloud = MemoryProvisioner.makeCloud()
      const good = complete(cloud)
      const all = {
        endpoint: true,
        exec: true,
        files: true,
        isolation: true,
        network: true,
        start: true,
        terminal: true,
        workspace: true
      }
      const of = (provisioner: ProvisionerShape) =>
        capabilities.pipe(Effect.scoped, Effect.provide([Layer.succeed(Provisioner, provisioner), context]))
      assert.deepStrictEqual(yield* of(good), all)
      const refusing: ProvisionerShape = {
        ...good,
        exec: (ref, request) => (request.tty === undefined ? good.exec(ref, request) : refuse("exec", "Unsupported"))
      }
      assert.deepStrictEqual(yield* of(refusing), { ...all, terminal: false })
      const { endpoint: _, exec: __, files: ___, network: ____, ...bare } = good
      const none = { endpoint: false, exec: false, files: false, network: false, terminal: false }
      const little = { ...all, ...none, isolation: false }
      assert.deepStrictEqual(yield* of({ ...bare, isolation: "none" }), little)
      const failing: ProvisionerShape = { ...good, exec: () => refuse("exec", "Unreachable") }
      assert.isTrue(Exit.isFailure(yield* Effect.exit(of(failing))))
      assert.strictEqual(cloud.boxes.size, 0)
    })
  )
})

describe("Law.skipReason", () => {
  it("names what is missing, and nothing when nothing is", () => {
    const law = laws.find(({ needs }) => needs.includes("workspaceSource"))!
    const can = {
      endpoint: true,
      exec: true,
      files: true,
      isolation: true,
      network: true,
      start: true,
      terminal: true,
      workspace: true
    }
    const has = { ...can, workspaceSource: true }
    assert.isUndefined(Law.skipReason(law, has))
    assert.strictEqual(Law.skipReason(law, { ...has, workspace: false }), "the provider has no workspace")
    assert.strictEqual(Law.skipReason(law, { ...has, workspaceSource: false }), "no workspaceSource was given")
    const security = laws.find(({ group }) => group === "security")!
    assert.strictEqual(
      Law.skipReason(security, { ...has, isolation: false }),
      "the provider isolates nothing, and says so"
    )
    const terminal = laws.find(({ group }) => group === "terminal")!
    assert.strictEqual(Law.skipReason(terminal, { ...has, terminal: false }), "the provider gives commands no terminal")
    assert.strictEqual(Law.skipReason(terminal, { ...has, exec: false }), "the provider has no exec")
    const placed = laws.find(({ needs }) => needs.includes("emptyCheckout"))!
    assert.isUndefined(Law.skipReason(placed, { ...has, workspace: false }))
    assert.strictEqual(Law.skipReason(placed, has), "the provider places the checkout itself")
  })
})
