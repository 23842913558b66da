/** Second attempts: what an operation may conclude when it goes on with what a dead one began. */
import { assert, describe, it } from "@effect/vitest"
import * as Faults from "@org/sandbox-conformance/Faults"
import { destroy, down, gc, resume, up } from "@org/sandbox-core"
import * as MemoryProvisioner from "@org/sandbox-core/MemoryProvisioner"
import { Provisioner } from "@org/sandbox-core/Provisioner"
import { Provisioners } from "@org/sandbox-core/Provisioners"
import type * as SandboxError from "@org/sandbox-core/SandboxError"
import { Cause, Effect, Exit, Fiber, Layer, Option, type Scope } from "effect"
import { TestClock } from "effect/testing"
import { databases, endAt, make, Points, type RuntimeOptions, repository, type World } from "./world.ts"

const repo = repository()
const upOptions = { repository: repo, branch: "main", provider: "memory", name: "work" }
const as = (world: World, options: RuntimeOptions = {}) => Effect.provide(world.runtime(options))
const realPause = Effect.promise(() => new Promise((resolve) => setTimeout(resolve, 20)))

const settle = Effect.fnUntraced(function* <A, E, R>(program: Effect.Effect<A, E, R>) {
  const fiber = yield* Effect.forkChild(program)
  while (fiber.pollUnsafe() === undefined) {
    yield* TestClock.adjust("1 second")
    yield* realPause
  }
  return yield* Fiber.await(fiber)
})

const failureOf = Effect.fnUntraced(function* <A, R>(program: Effect.Effect<A, SandboxError.SandboxError, R>) {
  const exit = yield* settle(Effect.flip(program))
  return Exit.isSuccess(exit) ? exit.value : assert.fail("it should have failed")
})

const only = Effect.fnUntraced(function* (world: World) {
  const { sessions } = yield* world.ledger.sessions({})
  return sessions[0]!
})

/** Runs a program as a process that is killed right after a point of that name, and buries it. */
const killAfter = Effect.fnUntraced(function* (
  database: (typeof databases)[number],
  world: World,
  point: string,
  setUp: Effect.Effect<unknown, unknown, never> | undefined,
  program: (world: World, points: Points) => Effect.Effect<unknown, unknown>
) {
  const probe = yield* make(database)
  if (setUp !== undefined) yield* Effect.ignore(up(upOptions).pipe(as(probe)))
  if (setUp !== undefined) yield* Effect.ignore(down({ session: "work" }).pipe(as(probe)))
  const whole = new Points()
  yield* Effect.ignore(program(probe, whole))
  const index = whole.passed.indexOf(point)
  assert.isAtLeast(index, 0, whole.passed.join(" "))
  const points = new Points({ index, ending: "kill" })
  yield* endAt(points, program(world, points))
  world.bury(2)
})

const upBy = (world: World, points: Points) => Effect.asVoid(up(upOptions).pipe(as(world, { pid: 2, points })))
const resumeBy = (world: World, points: Points) =>
  Effect.asVoid(resume({ session: "work" }).pipe(as(world, { pid: 2, points })))

for (const database of databases) {
  describe(`second attempts on ${database.name}`, () => {
    const run = <A, E>(name: string, body: (world: World) => Effect.Effect<A, E, Scope.Scope>) =>
      it.effect(name, () => Effect.flatMap(make(database), body))

    run("I-33 a resume that fails on what a dead up made removes that, or says that it is left", (world) =>
      Effect.gen(function* () {
        yield* killAfter(database, world, "ledger.commit.syncing:after", undefined, upBy)
        assert.strictEqual((yield* only(world)).state, "syncing")
        yield* world.faults.always("inspect", Faults.failBefore)
        yield* world.faults.always("destroy", Faults.failBefore)
        const { id } = yield* only(world)
        yield* failureOf(resume({ session: id }).pipe(as(world, { pid: 3 })))
        const left = yield* only(world)
        assert.strictEqual(left.state, "failed")
        assert.isNotNull(left.instance)
        assert.isTrue(left.cleanupRequired)
        for (const op of ["inspect", "destroy"] as const) yield* world.faults.always(op, Faults.ok)
        assert.strictEqual((yield* destroy({ session: id }).pipe(as(world))).state, "destroyed")
        assert.strictEqual(world.cloud.boxes.size, 0)
      })
    )

    run("I-33 the same, with a provider that answers: the box is gone with the failed attempt", (world) =>
      Effect.gen(function* () {
        yield* killAfter(database, world, "ledger.commit.syncing:after", undefined, upBy)
        yield* world.faults.script("workspace.attach", Faults.fail("Invalid"))
        const { id } = yield* only(world)
        yield* failureOf(resume({ session: id }).pipe(as(world, { pid: 3 })))
        assert.strictEqual((yield* only(world)).state, "failed")
        assert.isFalse((yield* only(world)).cleanupRequired)
        assert.strictEqual(world.cloud.boxes.size, 0)
      })
    )

    run(
      "I-37 a resume that fails after a dead one had started the box halts it again before it says stopped",
      (world) =>
        Effect.gen(function* () {
          yield* up(upOptions).pipe(as(world))
          yield* down({ session: "work" }).pipe(as(world))
          yield* killAfter(database, world, "provider.start:after", Effect.void, resumeBy)
          assert.strictEqual(world.running(), 1)
          yield* world.faults.script("workspace.attach", Faults.fail("Invalid"))
          yield* failureOf(resume({ session: "work" }).pipe(as(world, { pid: 3 })))
          assert.strictEqual((yield* only(world)).state, "stopped")
          assert.strictEqual(world.running(), 0)
        })
    )

    run("I-44 a gc that fails on a dead up leaves it a dead up: down still removes it", (world) =>
      Effect.gen(function* () {
        yield* killAfter(database, world, "ledger.commit.syncing:after", undefined, upBy)
        yield* world.faults.always("destroy", Faults.failBefore)
        const swept = yield* settle(gc({}).pipe(as(world, { pid: 3 })))
        assert.isTrue(Exit.isSuccess(swept) && swept.value.actions[0]?.outcome === "failed")
        yield* world.faults.always("destroy", Faults.ok)
        const { id } = yield* only(world)
        assert.strictEqual((yield* down({ session: id }).pipe(as(world, { pid: 3 }))).state, "destroyed")
        assert.strictEqual(world.cloud.boxes.size, 0)
      })
    )

    run("I-40 an interruption whose undo failed is no clean one: it asks for recovery and is in the history", (world) =>
      Effect.gen(function* () {
        const gate = yield* world.faults.gate("workspace.attach", "before")
        yield* world.faults.always("destroy", Faults.fail("Unreachable", "unknown"))
        const fiber = yield* Effect.forkChild(up(upOptions).pipe(as(world)))
        yield* gate.reached
        fiber.interruptUnsafe()
        while (fiber.pollUnsafe() === undefined) {
          yield* TestClock.adjust("1 second")
          yield* realPause
        }
        const exit = yield* Fiber.await(fiber)
        const error = Exit.isFailure(exit) ? Option.getOrUndefined(Cause.findErrorOption(exit.cause)) : undefined
        assert.strictEqual(error?.code, "ERR_RECOVERY_REQUIRED")
        const row = yield* only(world)
        assert.include(error?.nextStep, `sandbox destroy ${row.id}`)
        assert.isTrue(row.cleanupRequired)
        assert.isTrue((yield* world.ledger.history(row.id)).events.some(({ type }) => type === "undo_failed"))
      })
    )

    run("I-29 down on a halted session whose last operation died is still done already", (world) =>
      Effect.gen(function* () {
        yield* up(upOptions).pipe(as(world))
        const points = new Points()
        const probe = yield* make(database)
        yield* up(upOptions).pipe(as(probe))
        yield* destroy({ session: "work", force: true }).pipe(as(probe, { points }))
        const index = points.passed.indexOf("ledger.commit.stopped:after")
        const cut = new Points({ index, ending: "kill" })
        yield* endAt(cut, destroy({ session: "work", force: true }).pipe(as(world, { pid: 2, points: cut })))
        world.bury(2)
        assert.strictEqual((yield* only(world)).state, "stopped")
        assert.isTrue((yield* down({ session: "work" }).pipe(as(world, { pid: 3 }))).already)
        assert.strictEqual((yield* resume({ session: "work" }).pipe(as(world, { pid: 3 }))).state, "ready")
      })
    )

    run("I-78 a resume that fails gives a name back that the session never held while ready", (world) =>
      Effect.gen(function* () {
        yield* world.faults.script("workspace.attach", Faults.fail("Invalid"), Faults.fail("Invalid"))
        yield* failureOf(up(upOptions).pipe(as(world)))
        const { id } = yield* only(world)
        yield* failureOf(resume({ session: id }).pipe(as(world)))
        assert.isNull((yield* only(world)).reservedName)
        assert.strictEqual((yield* up(upOptions).pipe(as(world))).state, "ready")
      })
    )

    run("a resume that never reached the box leaves the note that one may be left", (world) =>
      Effect.gen(function* () {
        yield* world.faults.script("workspace.attach", Faults.fail("Invalid"))
        yield* world.faults.always("destroy", Faults.failBefore)
        yield* failureOf(up(upOptions).pipe(as(world)))
        const { id } = yield* only(world)
        assert.isTrue((yield* only(world)).cleanupRequired)
        yield* up(upOptions).pipe(as(world))
        const taken = yield* failureOf(resume({ session: id }).pipe(as(world)))
        assert.strictEqual(taken.code, "ERR_NAME_TAKEN")
        const failed = Option.getOrThrow(yield* world.ledger.session(id))
        assert.isTrue(failed.cleanupRequired)
        assert.isNotNull(failed.instance)
      })
    )

    run("I-52 a provider that is not there any more is refused before anything is moved", (world) =>
      Effect.gen(function* () {
        yield* up(upOptions).pipe(as(world))
        const before = yield* only(world)
        const without = Provisioners.layer({})
        for (const program of [
          down({ session: "work" }),
          destroy({ session: "work", force: true, confirmDataLoss: true })
        ]) {
          const error = yield* Effect.flip(
            (program as Effect.Effect<unknown, SandboxError.SandboxError, Provisioners>).pipe(
              Effect.provide(without),
              as(world)
            ) as Effect.Effect<unknown, SandboxError.SandboxError>
          )
          assert.strictEqual(error.code, "ERR_PROVIDER_UNAVAILABLE")
        }
        assert.deepStrictEqual(yield* only(world), before)
      })
    )

    run("where halting destroys the box, down refuses while it holds work that is nowhere else", (world) =>
      Effect.gen(function* () {
        const cloud = MemoryProvisioner.makeCloud()
        const terminal = Provisioners.layer({
          memory: Layer.succeed(Provisioner)(MemoryProvisioner.make({ cloud, haltIsTerminal: true }))
        })
        const on = <A, E, R>(program: Effect.Effect<A, E, R>) =>
          program.pipe(Effect.provide(terminal), as(world)) as Effect.Effect<A, E>
        yield* on(up(upOptions))
        const [box] = [...cloud.boxes.values()]
        box!.workspace!.dirtyFiles = 1
        const refused = yield* Effect.flip(on(down({ session: "work" })))
        assert.strictEqual(refused.code, "ERR_DATA_LOSS_UNCONFIRMED")
        assert.strictEqual(cloud.boxes.size, 1)
        assert.strictEqual((yield* only(world)).state, "ready")
        assert.strictEqual((yield* on(down({ session: "work", confirmDataLoss: true }))).state, "stopped")
      })
    )
  })
}
