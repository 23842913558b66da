/** What core's dispatcher makes of a provider's failures: the half of the contract that no provider has to write. */
import { assert, describe, it } from "@effect/vitest"
import * as Faults from "@org/sandbox-conformance/Faults"
import * as MemoryProvisioner from "@org/sandbox-core/MemoryProvisioner"
import { type ProvisionerShape, type ProvisionIntent, type Reason, reasons } from "@org/sandbox-core/Provisioner"
import { CallPolicy, Provisioners } from "@org/sandbox-core/Provisioners"
import type { SandboxError } from "@org/sandbox-core/SandboxError"
import { InstanceRef, Spec } from "@org/sandbox-core/Session"
import { Duration, Effect, Fiber, Stream } from "effect"
import { TestClock } from "effect/testing"

const intent: ProvisionIntent = {
  key: "s.g1",
  scope: "memory",
  name: "s-g1",
  labels: {},
  spec: new Spec({}),
  deadline: 0
}

const setup = Effect.fnUntraced(function* (change: (good: ProvisionerShape) => ProvisionerShape = (good) => good) {
  const cloud = MemoryProvisioner.makeCloud()
  const faults = Faults.make(change(MemoryProvisioner.make({ cloud })))
  const backend = yield* Effect.flatMap(Provisioners, ({ get }) => get("memory")).pipe(
    Effect.provide(Provisioners.layer({ memory: faults.layer }))
  )
  return { backend, cloud, faults }
})

/** Runs a call while the clock goes on, and answers its failure. */
const failure = Effect.fnUntraced(function* <A, E>(call: Effect.Effect<A, E>) {
  const fiber = yield* Effect.forkChild(Effect.flip(call))
  yield* TestClock.adjust("10 minutes")
  return yield* Fiber.join(fiber)
})

const all = Object.keys(reasons) as ReadonlyArray<Reason>

describe("the dispatcher", () => {
  it.effect("I-108 repeats what may pass as often as its policy says, and nothing else", () =>
    Effect.gen(function* () {
      const { retries } = (yield* CallPolicy).provision
      for (const reason of all) {
        const { backend, cloud, faults } = yield* setup()
        yield* faults.always("provision", Faults.fail(reason))
        const error = yield* failure(backend.provision(intent))
        assert.strictEqual(faults.started("provision").length, reasons[reason].retryable ? retries + 1 : 1, reason)
        assert.strictEqual(error.details?.["reason"], reason)
        assert.strictEqual(error.retryable, reasons[reason].retryable)
        assert.strictEqual(cloud.boxes.size, 0)
      }
      const { backend, faults } = yield* setup()
      yield* faults.always("provision", Faults.fail("RateLimited"))
      const twice = { retries: 2, base: Duration.seconds(1), cap: Duration.seconds(1), limit: Duration.minutes(1) }
      yield* failure(
        Effect.provideService(backend.provision(intent), CallPolicy, { ...(yield* CallPolicy), provision: twice })
      )
      assert.strictEqual(faults.started("provision").length, 3)
    })
  )

  it.effect("I-108 gives up at once when it is told to while it waits for another try", () =>
    Effect.gen(function* () {
      const { backend, faults } = yield* setup()
      yield* faults.always("provision", Faults.fail("RateLimited"))
      const fiber = yield* Effect.forkChild(backend.provision(intent))
      yield* TestClock.adjust("1 second")
      assert.strictEqual(faults.started("provision").length, 1)
      yield* Fiber.interrupt(fiber)
      yield* TestClock.adjust("1 hour")
      assert.strictEqual(faults.started("provision").length, 1)
    })
  )

  it.effect("I-103 takes no failure to stop or destroy for success, and keeps in mind what may have been done", () =>
    Effect.gen(function* () {
      for (const reason of all) {
        const { backend, cloud, faults } = yield* setup()
        const ref = yield* backend.provision(intent)
        yield* faults.always("stop", Faults.fail(reason))
        yield* faults.always("destroy", Faults.fail(reason))
        yield* failure(backend.stop(ref))
        yield* failure(backend.destroy({ ...intent, ref }))
        assert.strictEqual(cloud.boxes.size, 1)
      }
      const { backend, faults } = yield* setup()
      const ref = yield* backend.provision(intent)
      yield* faults.script("destroy", Faults.failBefore, Faults.fail("Unauthorized"))
      assert.strictEqual((yield* failure(backend.destroy({ ...intent, ref }))).details?.["outcome"], "unknown")
    })
  )

  it.effect("I-104 takes no failure to look for absence, and no box of another place for one of here", () =>
    Effect.gen(function* () {
      for (const reason of all) {
        const { backend, faults } = yield* setup()
        const ref = yield* backend.provision(intent)
        yield* faults.always("find", Faults.fail(reason))
        yield* faults.always("inspect", Faults.fail(reason))
        const looks = yield* Effect.forkChild(Effect.all([backend.find(intent), backend.inspect(ref)]))
        yield* TestClock.adjust("10 minutes")
        const seen = (yield* Fiber.join(looks)).map(({ _tag }) => _tag)
        assert.deepStrictEqual(seen, ["unknown", "unknown"], reason)
      }
      const { backend, faults } = yield* setup()
      const elsewhere = new InstanceRef({ ...(yield* backend.provision(intent)), scope: "elsewhere" })
      assert.strictEqual((yield* backend.find(elsewhere))._tag, "unknown")
      assert.strictEqual((yield* backend.inspect(elsewhere))._tag, "unknown")
      assert.deepStrictEqual(faults.started("find", "inspect"), [])
    })
  )

  it.effect("I-107 refuses what a provider has no member for, by the member's name, and does nothing instead", () =>
    Effect.gen(function* () {
      const { backend, cloud } = yield* setup(
        ({ endpoint: _, exec: __, files: ___, start: ____, workspace: _____, ...bare }) => bare
      )
      assert.deepStrictEqual(backend.capabilities, [])
      const ref = yield* backend.provision(intent)
      const before = JSON.stringify([...cloud.boxes.values()].map(({ files, workspace }) => [[...files], workspace]))
      const source = { repository: "/r", branch: "b", commit: "0", fallbackBranch: "f" }
      const calls: ReadonlyArray<readonly [string, Effect.Effect<unknown, SandboxError>]> = [
        ["start", backend.start(ref)],
        ["exec", Effect.scoped(backend.exec(ref, { argv: ["echo"] }))],
        ["files", Stream.runDrain(backend.readFiles(ref, "."))],
        ["files", backend.writeFiles(ref, ".", Stream.empty)],
        ["workspace", backend.attach(ref, source)],
        ["workspace", backend.workspaceStatus(ref)],
        ["endpoint", backend.endpoint(ref, 80)]
      ]
      for (const [member, call] of calls) {
        const error = yield* Effect.flip(call)
        assert.strictEqual(error.code, "ERR_UNSUPPORTED")
        assert.strictEqual(error.details?.["capability"], member)
      }
      const after = JSON.stringify([...cloud.boxes.values()].map(({ files, workspace }) => [[...files], workspace]))
      assert.strictEqual(after, before)
    })
  )
})
