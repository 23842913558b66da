/** What keeps a switch from beginning, looked at before the claim and again under it. */
import { assert, describe, it } from "@effect/vitest"
import * as Faults from "@org/sandbox-conformance/Faults"
import { down, planSwitch, resume, switchProvider, up } from "@org/sandbox-core"
import { Ledger } from "@org/sandbox-core/Ledger"
import { isRunning } from "@org/sandbox-core/MemoryProvisioner"
import { Provisioner } from "@org/sandbox-core/Provisioner"
import { Provisioners } from "@org/sandbox-core/Provisioners"
import * as SandboxError from "@org/sandbox-core/SandboxError"
import { Deferred, Effect, Fiber, Layer, type Scope } from "effect"
import {
  as,
  asked,
  begun,
  begunBy,
  databases,
  endedAt,
  failureOf,
  gatedAcquire,
  heldAt,
  inTime,
  make,
  move,
  ready,
  recordsOf,
  row,
  type World,
  withoutBookkeeping
} from "./switchWorld.ts"

const unreachable = ["scope", "provision", "destroy", "inspect", "find"] as const

const exitOf = ({ code }: SandboxError.SandboxError) => SandboxError.exitCode(code)

/** Work that only the box has, and that nobody can read from here. */
const workInTheBox = (world: World, key: string) => {
  const box = [...world.cloud.boxes.values()].find(({ ref }) => ref.key === key)
  if (box?.workspace === undefined) return assert.fail(`${key} has no checkout`)
  box.workspace.dirtyFiles = 2
}

for (const database of databases) {
  describe(`the gates of a switch on ${database.name}`, () => {
    const run = <A, E>(name: string, body: (world: World) => Effect.Effect<A, E, Scope.Scope>) =>
      it.effect(name, () => Effect.flatMap(make(database), body))

    /** Refused, and nothing is any different for it. */
    const refused = Effect.fnUntraced(function* <A, R>(
      world: World,
      id: string,
      attempt: Effect.Effect<A, SandboxError.SandboxError, R>
    ) {
      const before = yield* recordsOf(world, id)
      const steps = world.log.length
      const error = yield* failureOf(attempt)
      assert.strictEqual(exitOf(error), 1, error.code)
      assert.strictEqual(yield* recordsOf(world, id), before)
      assert.deepStrictEqual(world.log.slice(steps), [])
      return error
    })

    run("I-52 a target that nobody registered is refused before the claim", (world) =>
      Effect.gen(function* () {
        const { id } = yield* ready(world)
        const error = yield* refused(world, id, move(world, "b", { pid: 2, providers: ["a", "c"] }))
        assert.strictEqual(error.code, "ERR_INVALID_ARGUMENT")
        assert.deepStrictEqual(error.details?.["registered"], ["a", "c"])
      })
    )

    for (const onFailure of ["restore", "hold"] as const) {
      run(`I-52 a target that disappears under way is never said to be switching (${onFailure})`, (world) =>
        Effect.gen(function* () {
          const { id, instance } = yield* ready(world)
          const program = Effect.flip(move(world, "b", { pid: 2, policies: { onFailure } }))
          const held = yield* heldAt(world, ["a", "stop", "after"], program)
          for (const op of unreachable) yield* world.faults.b.always(op, Faults.fail("Unreachable"))
          yield* held.open
          const error = yield* Effect.flatten(inTime(Fiber.join(held.fiber)))
          assert.strictEqual(exitOf(error), 2)
          const after = yield* row(world, id)
          assert.isNull(after.claim)
          assert.strictEqual(after.state, "failed")
          assert.isNotNull(after.lastError)
          assert.deepStrictEqual(begun(world, "a.destroy"), [])
          assert.deepStrictEqual(
            (yield* world.boxes).filter(({ key }) => key === instance!.key),
            [{ provider: "a", key: instance!.key, is: "stopped" }]
          )
          // with the provider back, the next try comes through
          for (const op of unreachable) yield* world.faults.b.always(op, Faults.ok)
          yield* move(world, "a", { pid: 3 })
          assert.deepInclude(yield* row(world, id), { state: "ready", provider: "a", claim: null })
          assert.strictEqual((yield* world.running).length, 1)
        })
      )
    }

    run(
      "I-52 a dead switch to a provider that is registered no more is not gone on with, and can be taken back",
      (world) =>
        Effect.gen(function* () {
          const { id, instance } = yield* ready(world)
          yield* endedAt(world, ["ledger.commit.written:after", "kill", 2], (options) => move(world, "b", options))
          const without = { pid: 3, providers: ["a", "c"] } as const
          const error = yield* refused(world, id, resume({ session: "work" }).pipe(as(world, without)))
          assert.strictEqual(error.code, "ERR_PROVIDER_UNAVAILABLE")
          yield* move(world, "a", without)
          assert.deepInclude(yield* row(world, id), { state: "ready", provider: "a", claim: null })
          assert.deepStrictEqual(yield* world.running, [`a ${instance!.key}`])
        })
    )

    run("I-53 work that cannot travel is refused before the claim, and goes where that is confirmed", (world) =>
      Effect.gen(function* () {
        const { id, instance } = yield* ready(world)
        workInTheBox(world, instance!.key)
        const error = yield* refused(world, id, move(world, "b", { pid: 2 }))
        assert.strictEqual(error.code, "ERR_DATA_LOSS_UNCONFIRMED")
        assert.include(error.nextStep, "--confirm-data-loss")
        const plan = yield* planSwitch({ session: "work", to: "b" }).pipe(as(world, { pid: 2 }))
        assert.isTrue(plan.needsConfirmation)
        assert.deepInclude(yield* move(world, "b", { pid: 3, policies: { confirmDataLoss: true } }), { to: "b" })
      })
    )

    run("I-53 work that comes after the look is refused under the claim, and the row is what it was", (world) =>
      Effect.gen(function* () {
        const before = yield* ready(world)
        const gate = yield* gatedAcquire(world)
        const late = yield* Effect.forkChild(Effect.flip(move(world, "b", { pid: 2 })))
        yield* gate.reached
        workInTheBox(world, before.instance!.key)
        yield* gate.open
        const error = yield* Fiber.join(late)
        assert.strictEqual(error.code, "ERR_DATA_LOSS_UNCONFIRMED")
        assert.strictEqual(exitOf(error), 1)
        const after = yield* row(world, before.id)
        assert.deepStrictEqual(withoutBookkeeping(after), withoutBookkeeping(before))
        assert.deepStrictEqual(
          begunBy(world, 2).filter((one) => !one.startsWith("ledger.")),
          []
        )
        assert.deepStrictEqual(yield* world.running, [`a ${before.instance!.key}`])

        const confirmed = yield* move(world, "b", { pid: 3, policies: { confirmDataLoss: true } })
        assert.strictEqual(confirmed.state, "ready")
      })
    )

    run("I-54 the provider it is on is no switch: no claim, no event, also while something else runs", (world) =>
      Effect.gen(function* () {
        const { id, instance } = yield* ready(world)
        const same = Effect.gen(function* () {
          const [before, calls] = [yield* recordsOf(world, id), asked(world)]
          const result = yield* move(world, "a", { pid: 7 })
          assert.deepInclude(result, { noop: true, operationId: null, from: "a", to: "a", sessionId: id })
          assert.strictEqual(yield* recordsOf(world, id), before)
          assert.strictEqual(asked(world), calls)
        })
        yield* same
        const holder = yield* heldAt(world, ["a", "stop"], down({ session: "work" }).pipe(as(world, { pid: 2 })))
        yield* same
        yield* holder.open
        yield* Fiber.join(holder.fiber)
        yield* same
        assert.deepStrictEqual(begunBy(world, 7), [])
        assert.isFalse([...world.cloud.boxes.values()].some((box) => box.ref.id === instance!.id && isRunning(box)))
      })
    )

    run("I-55 a target that would not make the box is refused while the old one runs on", (world) =>
      Effect.gen(function* () {
        const { id, instance } = yield* ready(world)
        for (const [reason, code] of [
          ["QuotaExceeded", "ERR_PREFLIGHT_REFUSED"],
          ["Unauthorized", "ERR_PREFLIGHT_REFUSED"],
          ["Unreachable", "ERR_PROVIDER_UNAVAILABLE"]
        ] as const) {
          yield* world.faults.b.always("preflight", Faults.fail(reason))
          const error = yield* refused(world, id, move(world, "b", { pid: 2 }))
          assert.strictEqual(error.code, code, reason)
        }
        assert.deepStrictEqual(yield* world.running, [`a ${instance!.key}`])
        assert.deepStrictEqual(world.faults.a.started("stop"), [])
      })
    )

    run("I-55 a target that hesitates is asked again, and all of that before the old box is stopped", (world) =>
      Effect.gen(function* () {
        yield* ready(world)
        yield* world.faults.b.script("preflight", Faults.fail("RateLimited"))
        let stopsBefore: number | undefined
        const stopped = yield* Deferred.make<void>()
        yield* world.faults.a.script("stop", (call) =>
          Effect.sync(() => {
            stopsBefore = world.faults.b.started("preflight").length
          }).pipe(Effect.andThen(Deferred.succeed(stopped, undefined)), Effect.andThen(call))
        )
        const exit = yield* inTime(move(world, "b", { pid: 2 }))
        assert.strictEqual(exit._tag, "Success")
        assert.isTrue(Deferred.isDoneUnsafe(stopped))
        assert.strictEqual(stopsBefore, 2)
        assert.strictEqual(world.faults.b.started("preflight").length, 2)
      })
    )

    run("I-59 a provider that is none is refused before the ledger or any provider is touched", (world) =>
      Effect.gen(function* () {
        const { id } = yield* ready(world)
        const dies = (what: string) =>
          new Proxy({} as never, {
            get: (_, member) => {
              throw new Error(`${what} was touched: ${String(member)}`)
            }
          })
        const registered = Object.fromEntries(
          ["local", "docker", "aws"].map((name) => [name, Layer.sync(Provisioner, () => dies(name))])
        )
        const untouchable = Layer.mergeAll(
          world.runtime({ pid: 2 }),
          Layer.succeed(Ledger, dies("the ledger")),
          Provisioners.layer(registered)
        )
        for (const to of ["azure", "", "  ", "loca", "locale", "local docker", "LOCAL;", "__proto__"]) {
          for (const attempt of [switchProvider({ session: "work", to }), planSwitch({ session: "work", to })]) {
            const error = yield* Effect.flip(attempt as Effect.Effect<unknown, SandboxError.SandboxError>).pipe(
              Effect.provide(untouchable)
            )
            assert.strictEqual(error.code, "ERR_INVALID_ARGUMENT", to)
            assert.strictEqual(exitOf(error), 1)
            assert.deepStrictEqual(error.details?.["registered"], ["local", "docker", "aws"])
          }
        }
        // upper case and blanks around it mean the same provider
        assert.deepInclude(yield* move(world, " B ", { pid: 3 }), { to: "b", state: "ready" })
        assert.strictEqual((yield* row(world, id)).provider, "b")
      })
    )
  })
}

describe("a disk that is wanted", () => {
  it.effect("I-53 is refused before the claim, and left behind where that is confirmed", () =>
    Effect.gen(function* () {
      const world = yield* make(databases[0]!, { real: true })
      const setup = { keeping: { volume: "persist" as const } }
      const request = { repository: world.repository, branch: "topic", provider: "a", name: "work", setup }
      const { sessionId: id } = yield* up(request).pipe(as(world, { pid: 1 }))
      const [before, steps] = [yield* recordsOf(world, id), world.log.length]
      const error = yield* Effect.flip(move(world, "b", { pid: 2 }))
      assert.strictEqual(error.code, "ERR_DATA_LOSS_UNCONFIRMED")
      assert.strictEqual(exitOf(error), 1)
      assert.strictEqual(yield* recordsOf(world, id), before)
      assert.strictEqual(world.log.length, steps)
      yield* move(world, "b", { pid: 3, policies: { confirmDataLoss: true } })
      assert.strictEqual((yield* row(world, id)).provider, "b")
    })
  )
})
