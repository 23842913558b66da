import { assert, describe, it } from "@effect/vitest"
import * as MemoryProvisioner from "@org/sandbox-core/MemoryProvisioner"
import {
  type ExecRequest,
  labelNames,
  type ProvisionerError,
  type ProvisionerShape,
  type ProvisionIntent,
  type WorkspaceSource
} from "@org/sandbox-core/Provisioner"
import { InstanceRef, Spec } from "@org/sandbox-core/Session"
import { Effect, Fiber, Schema, Stream } from "effect"
import { TestClock } from "effect/testing"

const intent = (key: string, ledger = "ldg_1"): ProvisionIntent => ({
  key,
  scope: "memory",
  name: key.replace(".", "-"),
  labels: { [labelNames.ledger]: ledger, [labelNames.key]: key },
  spec: new Spec({}),
  deadline: 0
})

const source: WorkspaceSource = {
  repository: "/repo",
  branch: "main",
  commit: "0".repeat(40),
  fallbackBranch: "sandbox/main"
}

const setup = (options?: Omit<MemoryProvisioner.Options, "cloud">) => {
  const cloud = MemoryProvisioner.makeCloud()
  return { cloud, provisioner: MemoryProvisioner.make({ cloud, ...options }) }
}

const text = (output: ReadonlyArray<{ readonly fd: 1 | 2; readonly bytes: Uint8Array }>, fd: 1 | 2) =>
  output
    .filter((chunk) => chunk.fd === fd)
    .map(({ bytes }) => new TextDecoder().decode(bytes))
    .join("")

/** Runs a command to its end. */
const run = (provisioner: ProvisionerShape, ref: InstanceRef, request: ExecRequest) =>
  Effect.gen(function* () {
    const handle = yield* provisioner.exec!(ref, request)
    const output = yield* Stream.runCollect(handle.output)
    return { ...(yield* handle.exit), stdout: text(output, 1), stderr: text(output, 2) }
  }).pipe(Effect.scoped)

const listed = (provisioner: ProvisionerShape, ledger: string) =>
  Effect.map(Stream.runCollect(provisioner.list(ledger)), (boxes) => boxes.map(({ ref }) => ref.key))

describe("MemoryProvisioner", () => {
  it.effect("I-105 makes one box for a key, in every layer over the same cloud", () =>
    Effect.gen(function* () {
      const { cloud, provisioner } = setup()
      const other = MemoryProvisioner.make({ cloud })
      assert.deepStrictEqual(yield* provisioner.find("s.g1"), { _tag: "absent" })
      const refs = yield* Effect.all(
        [provisioner, other, provisioner].map((each) => each.provision(intent("s.g1"))),
        { concurrency: "unbounded" }
      )
      assert.deepStrictEqual(new Set(refs.map(({ id }) => id)).size, 1)
      assert.strictEqual(cloud.created, 1)
      assert.deepStrictEqual(yield* other.find("s.g1"), { _tag: "present", ref: refs[0]! })
    })
  )

  it.effect("keeps a box through halt and start, and forgets it on destroy", () =>
    Effect.gen(function* () {
      const { provisioner } = setup()
      const ref = yield* provisioner.provision(intent("s.g1"))
      assert.deepStrictEqual(yield* provisioner.inspect(ref), { _tag: "running" })
      yield* provisioner.stop(ref)
      yield* provisioner.stop(ref)
      assert.deepStrictEqual(yield* provisioner.inspect(ref), { _tag: "stopped" })
      yield* provisioner.start!(ref)
      yield* provisioner.start!(ref)
      assert.deepStrictEqual(yield* provisioner.inspect(ref), { _tag: "running" })
      yield* provisioner.destroy(ref)
      assert.deepStrictEqual(yield* provisioner.inspect(ref), { _tag: "gone" })
      assert.strictEqual((yield* Effect.flip(provisioner.start!(ref))).reason, "NotFound")
    })
  )

  it.effect("I-103 takes stopping and destroying what is gone for success", () =>
    Effect.gen(function* () {
      const { provisioner } = setup()
      const ref = yield* provisioner.provision(intent("s.g1"))
      yield* provisioner.destroy("s.g1")
      yield* provisioner.destroy("s.g1")
      yield* provisioner.destroy(ref)
      yield* provisioner.stop(ref)
      yield* provisioner.destroy("never.g1")
    })
  )

  it.effect("does not let an old reference reach the box that was made later for its key", () =>
    Effect.gen(function* () {
      const { provisioner } = setup()
      const old = yield* provisioner.provision(intent("s.g1"))
      yield* provisioner.destroy(old)
      const ref = yield* provisioner.provision(intent("s.g1"))
      yield* provisioner.destroy(old)
      assert.deepStrictEqual(yield* provisioner.inspect(old), { _tag: "gone" })
      assert.deepStrictEqual(yield* provisioner.inspect(ref), { _tag: "running" })
    })
  )

  it.effect("destroys on stop, and cannot start, where a halt is terminal", () =>
    Effect.gen(function* () {
      const { provisioner } = setup({ haltIsTerminal: true })
      const ref = yield* provisioner.provision(intent("s.g1"))
      yield* provisioner.stop(ref)
      assert.deepStrictEqual(yield* provisioner.inspect(ref), { _tag: "gone" })
      assert.isFalse("start" in provisioner)
    })
  )

  it.effect("lists a ledger's boxes, halted ones too, and no others", () =>
    Effect.gen(function* () {
      const { cloud, provisioner } = setup()
      const ref = yield* provisioner.provision(intent("a.g1"))
      yield* provisioner.provision(intent("b.g1"))
      yield* provisioner.provision(intent("c.g1", "ldg_2"))
      yield* provisioner.stop(ref)
      assert.deepStrictEqual(yield* listed(provisioner, "ldg_1"), ["a.g1", "b.g1"])
      assert.deepStrictEqual(yield* listed(provisioner, "ldg_2"), ["c.g1"])
      assert.deepStrictEqual(yield* listed(MemoryProvisioner.make({ cloud, scope: "elsewhere" }), "ldg_1"), [])
      assert.deepStrictEqual(
        yield* listed(MemoryProvisioner.make({ cloud, name: "other", scope: "memory" }), "ldg_1"),
        []
      )
    })
  )

  it.effect("reaches a box through a reference that was written down as JSON", () =>
    Effect.gen(function* () {
      const { provisioner } = setup()
      const codec = Schema.fromJsonString(InstanceRef)
      const json = yield* Schema.encodeEffect(codec)(yield* provisioner.provision(intent("s.g1")))
      const ref = yield* Schema.decodeEffect(codec)(json)
      assert.deepStrictEqual(yield* provisioner.inspect(ref), { _tag: "running" })
    })
  )
})

describe("MemoryProvisioner.exec", () => {
  it.effect("gives commands their arguments, input, environment and directory", () =>
    Effect.gen(function* () {
      const { provisioner } = setup()
      const ref = yield* provisioner.provision(intent("s.g1"))
      const ok = { code: 0, stderr: "" }
      const stdin = Stream.make(new TextEncoder().encode("in"))
      const exec = (request: ExecRequest) => run(provisioner, ref, request)
      assert.deepStrictEqual(yield* exec({ argv: ["echo", "a", "b"] }), { ...ok, stdout: "a b\n" })
      assert.deepStrictEqual(yield* exec({ argv: ["stderr", "a"] }), { code: 0, stdout: "", stderr: "a\n" })
      assert.deepStrictEqual(yield* exec({ argv: ["exit", "7"] }), { code: 7, stdout: "", stderr: "" })
      assert.deepStrictEqual(yield* exec({ argv: ["cat"], stdin }), { ...ok, stdout: "in" })
      assert.deepStrictEqual(yield* exec({ argv: ["printenv", "A"], env: { A: "1" } }), { ...ok, stdout: "1\n" })
      assert.strictEqual((yield* exec({ argv: ["printenv", "A"] })).code, 1)
      assert.strictEqual((yield* exec({ argv: ["pwd"] })).stdout, "/workspace\n")
      assert.strictEqual((yield* exec({ argv: ["pwd"], cwd: "sub" })).stdout, "/workspace/sub\n")
      assert.strictEqual((yield* exec({ argv: ["pwd"], cwd: "/" })).stdout, "/\n")
    })
  )

  it.effect("refuses an unknown command, a halted box and a box that is gone", () =>
    Effect.gen(function* () {
      const { provisioner } = setup()
      const ref = yield* provisioner.provision(intent("s.g1"))
      const reason = (argv: ReadonlyArray<string>) =>
        Effect.map(Effect.flip(run(provisioner, ref, { argv })), (error) => [error.reason, error.outcome])
      assert.deepStrictEqual(yield* reason(["no-such-command"]), ["Invalid", "not_applied"])
      yield* provisioner.stop(ref)
      assert.deepStrictEqual(yield* reason(["echo"]), ["NotReady", "not_applied"])
      yield* provisioner.destroy(ref)
      assert.deepStrictEqual(yield* reason(["echo"]), ["NotFound", "not_applied"])
    })
  )

  it.effect("ends a command by a signal, by itself, and by a halt or the end of its box", () =>
    Effect.gen(function* () {
      const { provisioner } = setup()
      const ref = yield* provisioner.provision(intent("s.g1"))
      const sleep = provisioner.exec!(ref, { argv: ["sleep", "60"] })
      const [killed, done] = [yield* sleep, yield* sleep]
      yield* killed.kill("SIGTERM")
      assert.deepStrictEqual(yield* killed.exit, { code: 143, signal: "SIGTERM" })
      const fiber = yield* Effect.forkChild(done.exit)
      yield* TestClock.adjust("60 seconds")
      assert.deepStrictEqual(yield* Fiber.join(fiber), { code: 0 })
      const halted = yield* sleep
      yield* provisioner.start!(ref)
      yield* provisioner.stop(ref)
      assert.deepStrictEqual(yield* halted.exit, { code: 137, signal: "SIGKILL" })
      yield* provisioner.start!(ref)
      const destroyed = yield* sleep
      yield* provisioner.destroy(ref)
      assert.deepStrictEqual(yield* destroyed.exit, { code: 137, signal: "SIGKILL" })
    })
  )

  it.effect("holds a command back until its output is read, and loses none of it", () =>
    Effect.gen(function* () {
      const { provisioner } = setup()
      const ref = yield* provisioner.provision(intent("s.g1"))
      const stdin = Stream.range(1, 100).pipe(
        Stream.map((n) => new TextEncoder().encode(`${n} `)),
        Stream.rechunk(1)
      )
      const handle = yield* provisioner.exec!(ref, { argv: ["cat"], stdin })
      const fiber = yield* Effect.forkChild(handle.exit)
      yield* TestClock.adjust("1 minute")
      assert.isUndefined(fiber.pollUnsafe())
      const output = yield* Stream.runCollect(handle.output)
      assert.strictEqual(text(output, 1), Array.from({ length: 100 }, (_, n) => `${n + 1} `).join(""))
      assert.deepStrictEqual(yield* Fiber.join(fiber), { code: 0 })
    })
  )
})

describe("MemoryProvisioner.workspace", () => {
  it.effect("keeps a checkout and its work through attach, halt and start, until it is detached", () =>
    Effect.gen(function* () {
      const { cloud, provisioner } = setup()
      const ref = yield* provisioner.provision(intent("s.g1"))
      const { attach, detach, status } = provisioner.workspace!
      const none = { present: false, dirtyFiles: 0, unpublishedCommits: 0 }
      assert.deepStrictEqual(yield* status(ref), none)
      assert.deepStrictEqual(yield* attach(ref, source), { branch: "main", warnings: [] })
      assert.deepStrictEqual(yield* status(ref), { ...none, present: true })

      const box = cloud.boxes.get(ref.id)!
      box.workspace!.dirtyFiles = 2
      box.workspace!.unpublishedCommits = 1
      yield* run(provisioner, ref, { argv: ["tee", "notes"], stdin: Stream.make(new TextEncoder().encode("hi")) })
      const work = { present: true, dirtyFiles: 3, unpublishedCommits: 1 }
      assert.deepStrictEqual(yield* status(ref), work)

      yield* provisioner.stop(ref)
      assert.deepStrictEqual(yield* status(ref), work)
      yield* provisioner.start!(ref)
      assert.strictEqual((yield* attach(ref, { ...source, branch: "later" })).branch, "main")
      assert.deepStrictEqual(yield* status(ref), work)
      assert.strictEqual((yield* run(provisioner, ref, { argv: ["cat", "notes"] })).stdout, "hi")

      yield* detach(ref)
      yield* detach(ref)
      assert.deepStrictEqual(yield* status(ref), none)
      assert.strictEqual((yield* run(provisioner, ref, { argv: ["cat", "notes"] })).code, 1)
      yield* provisioner.destroy(ref)
      yield* detach(ref)
      assert.deepStrictEqual(yield* status(ref), none)
      assert.strictEqual((yield* Effect.flip(attach(ref, source))).reason, "NotFound")
    })
  )
})

describe("MemoryProvisioner.files", () => {
  const bytes = (text: string) => new TextEncoder().encode(text)
  const read = (provisioner: ProvisionerShape, ref: InstanceRef, path: string) =>
    Stream.mkUint8Array(provisioner.files!.read(ref, path))

  it.effect("moves what commands have written from box to box, also while they are halted", () =>
    Effect.gen(function* () {
      const { provisioner } = setup()
      const [one, other] = [yield* provisioner.provision(intent("a.g1")), yield* provisioner.provision(intent("b.g1"))]
      yield* run(provisioner, one, { argv: ["tee", "dir/notes"], stdin: Stream.make(bytes("hi")) })
      yield* provisioner.stop(one)
      yield* provisioner.stop(other)
      const archive = yield* read(provisioner, one, "dir")
      yield* provisioner.files!.write(other, ".", Stream.make(archive))
      yield* provisioner.start!(other)
      assert.strictEqual((yield* run(provisioner, other, { argv: ["cat", "dir/notes"] })).stdout, "hi")
      assert.deepStrictEqual(yield* read(provisioner, other, "../workspace/dir"), archive)
    })
  )

  it.effect("refuses what is not there, what is in the way, and what is no archive, and changes nothing", () =>
    Effect.gen(function* () {
      const { cloud, provisioner } = setup()
      const ref = yield* provisioner.provision(intent("s.g1"))
      yield* run(provisioner, ref, { argv: ["tee", "name"], stdin: Stream.make(bytes("file")) })
      const archive = yield* read(provisioner, ref, "name")
      const write = (directory: string, content: Uint8Array) =>
        provisioner.files!.write(ref, directory, Stream.make(content))
      const reason = <A, R>(call: Effect.Effect<A, ProvisionerError, R>) =>
        Effect.map(Effect.flip(call), ({ operation, reason }) => [operation, reason])
      yield* run(provisioner, ref, { argv: ["tee", "busy/name/below"] })
      assert.deepStrictEqual(yield* reason(read(provisioner, ref, "none")), ["files.read", "NotFound"])
      assert.deepStrictEqual(yield* reason(write("none", archive)), ["files.write", "NotFound"])
      assert.deepStrictEqual(yield* reason(write("name", archive)), ["files.write", "Invalid"])
      assert.deepStrictEqual(yield* reason(write("busy", archive)), ["files.write", "Invalid"])
      assert.deepStrictEqual(yield* reason(write(".", archive.subarray(0, 512))), ["files.write", "Invalid"])
      const files = [...cloud.boxes.get(ref.id)!.files.keys()].sort()
      assert.deepStrictEqual(files, ["/workspace/busy/name/below", "/workspace/name"])
    })
  )
})

describe("MemoryProvisioner, in a terminal", () => {
  it.effect("has a size, keys that interrupt and end the input, and one output", () =>
    Effect.gen(function* () {
      const { provisioner } = setup()
      const ref = yield* provisioner.provision(intent("s.g1"))
      const tty = { cols: 80, rows: 24 }
      const stdin = Stream.make(new TextEncoder().encode("typed"), Uint8Array.of(4), new TextEncoder().encode("late"))
      assert.deepStrictEqual(yield* run(provisioner, ref, { argv: ["cat"], tty, stdin }), {
        code: 0,
        stdout: "typed",
        stderr: ""
      })
      assert.strictEqual((yield* run(provisioner, ref, { argv: ["stderr", "a"], tty })).stdout, "a\n")
      const keys = Stream.concat(Stream.make(Uint8Array.of(3)), Stream.never)
      const { code, signal } = yield* run(provisioner, ref, { argv: ["wait", "60"], tty, stdin: keys })
      assert.deepStrictEqual([code, signal], [130, "SIGINT"])
      const handle = yield* provisioner.exec!(ref, { argv: ["sizes"], tty })
      yield* handle.resize({ cols: 9, rows: 3 })
      const sizes = yield* Stream.runCollect(Stream.take(handle.output, 2))
      assert.strictEqual(text(sizes, 1), "24 80\n3 9\n")
    })
  )

  it.effect(
    "tells commands where the checkout and the box's own directory are, whatever they are asked to believe",
    () =>
      Effect.gen(function* () {
        const { provisioner } = setup()
        const ref = yield* provisioner.provision(intent("s.g1"))
        for (const [name, path] of [
          ["SANDBOX_WORKSPACE", "/workspace"],
          ["SANDBOX_RUN_DIR", "/run/session"]
        ] as const) {
          const { stdout } = yield* run(provisioner, ref, { argv: ["printenv", name], env: { [name]: "forged" } })
          assert.strictEqual(stdout, `${path}\n`)
        }
      })
  )
})
