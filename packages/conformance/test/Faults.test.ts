import { assert, describe, it } from "@effect/vitest"
import * as Faults from "@org/sandbox-conformance/Faults"
import * as MemoryProvisioner from "@org/sandbox-core/MemoryProvisioner"
import { labelNames, type Outcome, Provisioner, type ProvisionIntent, type Reason } from "@org/sandbox-core/Provisioner"
import { InstanceRef, Spec } from "@org/sandbox-core/Session"
import { Cause, Effect, Exit, Fiber, Stream } from "effect"
import { TestClock } from "effect/testing"

const intent: ProvisionIntent = {
  key: "s.g1",
  scope: "memory",
  name: "s-g1",
  labels: { [labelNames.ledger]: "ldg_1" },
  spec: new Spec({}),
  deadline: 0
}

const source = { repository: "/repo", branch: "main", commit: "0", fallbackBranch: "x" }

const setup = (options?: Omit<MemoryProvisioner.Options, "cloud">) => {
  const cloud = MemoryProvisioner.makeCloud()
  const endpoint = (_: InstanceRef, port: number) => Effect.succeed(`http://127.0.0.1:${port}`)
  const faults = Faults.make({
    ...MemoryProvisioner.make({ cloud, ...options }),
    endpoint,
    hostPorts: true,
    external: true
  })
  return { cloud, faults, provisioner: faults.provisioner }
}

/** The log as `op phase outcome`. */
const told = (faults: Faults.Faults) =>
  faults.calls.map((entry) =>
    entry.phase === "start" ? `${entry.seq} ${entry.op} start` : `${entry.seq} ${entry.op} ${entry.outcome}`
  )

const failure = (error: { readonly reason: Reason; readonly outcome: Outcome }) => [error.reason, error.outcome]

describe("Faults", () => {
  it.effect("passes every member through and records it", () =>
    Effect.gen(function* () {
      const { faults, provisioner } = setup()
      assert.strictEqual(yield* provisioner.scope, "memory")
      yield* provisioner.preflight(new Spec({}))
      const ref = yield* provisioner.provision(intent)
      assert.deepStrictEqual(yield* provisioner.find("s.g1"), { _tag: "present", ref })
      yield* provisioner.stop(ref)
      yield* provisioner.start!(ref)
      assert.deepStrictEqual(yield* provisioner.inspect(ref), { _tag: "running" })
      assert.deepStrictEqual(yield* (yield* provisioner.exec!(ref, { argv: ["exit", "3"] })).exit, { code: 3 })
      yield* provisioner.workspace!.attach(ref, source)
      assert.isTrue((yield* provisioner.workspace!.status(ref)).present)
      const archive = Stream.fromIterable(yield* Stream.runCollect(provisioner.files!.read(ref, ".")))
      yield* provisioner.files!.write(ref, ".", archive)
      assert.strictEqual(yield* provisioner.endpoint!(ref, 80), "http://127.0.0.1:80")
      yield* provisioner.workspace!.detach(ref)
      assert.strictEqual((yield* Stream.runCollect(provisioner.list("ldg_1"))).length, 1)
      yield* provisioner.destroy("s.g1")
      const expected = [
        ["scope", ""],
        ["preflight", ""],
        ["provision", "s.g1"],
        ["find", "s.g1"],
        ["stop", ref.id],
        ["start", ref.id],
        ["inspect", ref.id],
        ["exec", ref.id],
        ["workspace.attach", ref.id],
        ["workspace.status", ref.id],
        ["files.read", ref.id],
        ["files.write", ref.id],
        ["endpoint", ref.id],
        ["workspace.detach", ref.id],
        ["list", "ldg_1"],
        ["destroy", "s.g1"]
      ]
      assert.deepStrictEqual(
        faults.started().map(({ op, target }) => [op, target]),
        expected
      )
      assert.deepStrictEqual(
        faults.calls.flatMap((entry) => (entry.phase === "end" ? [[entry.op, entry.outcome]] : [])),
        expected.map(([op]) => [op, "ok"])
      )
    })
  )

  it.effect("has exactly the capabilities of what it wraps", () =>
    Effect.sync(() => {
      assert.isTrue("start" in setup().provisioner)
      assert.isFalse("start" in setup({ haltIsTerminal: true }).provisioner)
      assert.isTrue(setup().provisioner.hostPorts)
      assert.isTrue(setup().provisioner.external)
      const all = MemoryProvisioner.make({ cloud: MemoryProvisioner.makeCloud() })
      const { exec: _, files: __, workspace: ___, ...bare } = all
      const { provisioner } = Faults.make(bare)
      for (const member of ["exec", "files", "workspace", "endpoint", "hostPorts", "external"])
        assert.isFalse(member in provisioner)
    })
  )

  it.effect("consumes a script in order, then lets calls through", () =>
    Effect.gen(function* () {
      const { faults, provisioner } = setup()
      yield* faults.script("provision", Faults.fail("QuotaExceeded"), Faults.ok)
      yield* faults.script("provision", Faults.fail("Conflict", "applied"))
      assert.deepStrictEqual(failure(yield* Effect.flip(provisioner.provision(intent))), [
        "QuotaExceeded",
        "not_applied"
      ])
      yield* provisioner.provision(intent)
      assert.deepStrictEqual(failure(yield* Effect.flip(provisioner.provision(intent))), ["Conflict", "applied"])
      yield* provisioner.provision(intent)
      yield* provisioner.find("s.g1")
      assert.deepStrictEqual(
        told(faults).filter((line) => !line.endsWith("start")),
        ["1 provision QuotaExceeded", "2 provision ok", "3 provision Conflict", "4 provision ok", "5 find ok"]
      )
    })
  )

  it.effect("fails every call of a member until it is healed", () =>
    Effect.gen(function* () {
      const { faults, provisioner } = setup()
      yield* faults.always("find", Faults.fail("Unreachable"))
      yield* faults.script("find", Faults.ok)
      assert.deepStrictEqual(yield* provisioner.find("s.g1"), { _tag: "absent" })
      assert.strictEqual((yield* Effect.flip(provisioner.find("s.g1"))).reason, "Unreachable")
      assert.strictEqual((yield* Effect.flip(provisioner.find("s.g1"))).reason, "Unreachable")
      yield* faults.always("find", Faults.ok)
      assert.deepStrictEqual(yield* provisioner.find("s.g1"), { _tag: "absent" })
    })
  )

  it.effect("tells a lost request from a lost reply only by what it leaves behind", () =>
    Effect.gen(function* () {
      const { cloud, faults, provisioner } = setup()
      yield* faults.script("provision", Faults.failBefore, Faults.okThenLoseReply)
      assert.deepStrictEqual(failure(yield* Effect.flip(provisioner.provision(intent))), ["Unreachable", "unknown"])
      assert.strictEqual(cloud.boxes.size, 0)
      assert.deepStrictEqual(failure(yield* Effect.flip(provisioner.provision(intent))), ["Unreachable", "unknown"])
      assert.strictEqual(cloud.boxes.size, 1)
    })
  )

  it.effect("never answers a hanging call, whose start stands in the log", () =>
    Effect.gen(function* () {
      const { cloud, faults, provisioner } = setup()
      yield* faults.script("provision", Faults.hang)
      const fiber = yield* Effect.forkChild(provisioner.provision(intent))
      yield* TestClock.adjust("1 day")
      assert.isUndefined(fiber.pollUnsafe())
      assert.deepStrictEqual(told(faults), ["1 provision start"])
      yield* Fiber.interrupt(fiber)
      assert.deepStrictEqual(told(faults), ["1 provision start", "1 provision interrupted"])
      assert.strictEqual(cloud.boxes.size, 0)
    })
  )

  it.effect("delays a call by the clock", () =>
    Effect.gen(function* () {
      const { cloud, faults, provisioner } = setup()
      yield* faults.script("provision", Faults.delay("20 seconds"))
      const fiber = yield* Effect.forkChild(provisioner.provision(intent))
      yield* TestClock.adjust("19 seconds")
      assert.strictEqual(cloud.boxes.size, 0)
      yield* TestClock.adjust("1 second")
      yield* Fiber.join(fiber)
      assert.strictEqual(cloud.boxes.size, 1)
    })
  )

  it.effect("holds a call at a gate, before or after the platform has acted", () =>
    Effect.gen(function* () {
      const { cloud, faults, provisioner } = setup()
      const before = yield* faults.gate("provision")
      const after = yield* faults.gate("destroy", "after")
      const provisioning = yield* Effect.forkChild(provisioner.provision(intent))
      yield* before.reached
      assert.strictEqual(cloud.boxes.size, 0)
      yield* before.open
      const ref = yield* Fiber.join(provisioning)

      const destroying = yield* Effect.forkChild(provisioner.destroy(ref))
      yield* after.reached
      assert.strictEqual(cloud.boxes.size, 0)
      assert.isUndefined(destroying.pollUnsafe())
      yield* after.open
      yield* Fiber.join(destroying)
      assert.deepStrictEqual(told(faults), ["1 provision start", "1 provision ok", "2 destroy start", "2 destroy ok"])
    })
  )

  it.effect("spoils a list as a whole, and an exec after its command began", () =>
    Effect.gen(function* () {
      const { faults, provisioner } = setup()
      const ref = yield* provisioner.provision(intent)
      yield* faults.script("list", Faults.fail("Unreachable"))
      yield* faults.script("exec", Faults.okThenLoseReply)
      yield* faults.script("workspace.attach", Faults.okThenLoseReply)
      yield* faults.script("files.read", Faults.fail("RateLimited"))
      yield* faults.script("files.write", Faults.failBefore)
      yield* faults.script("endpoint", Faults.fail("NotReady"))
      yield* faults.script("scope", Faults.fail("Unauthorized"))
      assert.strictEqual((yield* Effect.flip(Stream.runCollect(provisioner.list("ldg_1")))).operation, "list")
      assert.strictEqual((yield* Effect.flip(provisioner.exec!(ref, { argv: ["echo"] }))).outcome, "unknown")
      assert.strictEqual((yield* Effect.flip(provisioner.workspace!.attach(ref, source))).outcome, "unknown")
      assert.isTrue((yield* provisioner.workspace!.status(ref)).present)
      const reading = Stream.runCollect(provisioner.files!.read(ref, "."))
      assert.strictEqual((yield* Effect.flip(reading)).reason, "RateLimited")
      assert.isAbove((yield* reading).length, 0)
      assert.strictEqual((yield* Effect.flip(provisioner.files!.write(ref, ".", Stream.empty))).outcome, "unknown")
      assert.strictEqual((yield* Effect.flip(provisioner.endpoint!(ref, 80))).reason, "NotReady")
      assert.strictEqual((yield* Effect.flip(provisioner.scope)).reason, "Unauthorized")
      assert.strictEqual(yield* provisioner.scope, "memory")
    })
  )

  it.effect("records failures and defects of the provider itself", () =>
    Effect.gen(function* () {
      const good = MemoryProvisioner.make({ cloud: MemoryProvisioner.makeCloud() })
      const faults = Faults.make({ ...good, stop: () => Effect.die("a bug") })
      const ref = new InstanceRef({ version: 1, provider: "memory", scope: "memory", key: "s.g1", id: "x", data: {} })
      yield* Effect.exit(faults.provisioner.start!(ref))
      const exit = yield* Effect.exit(faults.provisioner.stop(ref))
      assert.isTrue(Exit.isFailure(exit) && Cause.hasDies(exit.cause))
      assert.deepStrictEqual(told(faults), ["1 start start", "1 start NotFound", "2 stop start", "2 stop died"])
    })
  )

  it.effect("writes to a log that several providers share, and is a layer", () =>
    Effect.gen(function* () {
      const log: Array<Faults.Entry> = []
      const cloud = MemoryProvisioner.makeCloud()
      const [a, b] = ["a", "b"].map((name) => Faults.make(MemoryProvisioner.make({ cloud, name }), { log }))
      const find = Effect.flatMap(Provisioner, (provisioner) => provisioner.find("s.g1"))
      yield* Effect.provide(find, a!.layer)
      yield* Effect.provide(find, b!.layer)
      assert.deepStrictEqual(
        log.map(({ provider, phase }) => `${provider} ${phase}`),
        ["a start", "a end", "b start", "b end"]
      )
      assert.deepStrictEqual(
        a!.started("find", "stop").map(({ provider }) => provider),
        ["a"]
      )
      assert.deepStrictEqual(a!.started("stop"), [])
    })
  )
})
