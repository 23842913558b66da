/** Halts that are cut short, or whose commits fail: what may be said of the session then. */
import { assert, describe, it } from "@effect/vitest"
import * as Faults from "@org/sandbox-conformance/Faults"
import { down, up } from "@org/sandbox-core"
import * as SandboxError from "@org/sandbox-core/SandboxError"
import { Cause, Effect, Exit, Fiber, type Scope } from "effect"
import { TestClock } from "effect/testing"
import { databases, make, type RuntimeOptions, repository, type World } from "./world.ts"

const repo = repository()
const upOptions = { repository: repo, branch: "main", provider: "memory", name: "work" }
const as = (world: World, options: RuntimeOptions = {}) => Effect.provide(world.runtime(options))
const realPause = Effect.promise(() => new Promise((resolve) => setTimeout(resolve, 5)))

const only = Effect.fnUntraced(function* (world: World) {
  const { sessions } = yield* world.ledger.sessions({})
  return sessions[0]!
})

/** Lets time pass until a fiber has ended. */
const ended = Effect.fnUntraced(function* <A, E>(fiber: Fiber.Fiber<A, E>) {
  while (fiber.pollUnsafe() === undefined) {
    yield* TestClock.adjust("1 second")
    yield* realPause
  }
  return yield* Fiber.await(fiber)
})

const errorOf = <A>(exit: Exit.Exit<A, SandboxError.SandboxError>) =>
  Exit.isFailure(exit) ? SandboxError.fromCause(exit.cause, null) : assert.fail("it should have failed")

for (const database of databases) {
  describe(`halts on ${database.name}`, () => {
    const run = <A, E>(name: string, body: (world: World) => Effect.Effect<A, E, Scope.Scope>) =>
      it.effect(name, () => Effect.flatMap(make(database), body))

    for (const side of ["before", "after"] as const) {
      run(`I-37 interrupted ${side} the platform has halted the box, it says what the box is`, (world) =>
        Effect.gen(function* () {
          yield* up(upOptions).pipe(as(world))
          const gate = yield* world.faults.gate("stop", side)
          const fiber = yield* Effect.forkChild(down({ session: "work" }).pipe(as(world)))
          yield* gate.reached
          fiber.interruptUnsafe()
          const exit = yield* ended(fiber)
          assert.isTrue(Exit.isFailure(exit) && Cause.hasInterrupts(exit.cause))
          const row = yield* only(world)
          assert.isNull(row.claim)
          assert.strictEqual(row.state, side === "before" ? "ready" : "stopped_unpersisted")
          assert.strictEqual(world.running(), side === "before" ? 1 : 0)
          yield* gate.open
          assert.strictEqual((yield* down({ session: "work" }).pipe(as(world))).state, "stopped")
        })
      )
    }

    run(
      "I-38 a commit that fails after the halt does not bring back what was before it, and a retry ends well",
      (world) =>
        Effect.gen(function* () {
          yield* up(upOptions).pipe(as(world))
          const broken = Effect.fail(
            SandboxError.make("ERR_LEDGER_IO", { message: "disk full", nextStep: "free space" })
          )
          let failing = true
          world.interceptLedger((ledger) => ({
            ...ledger,
            commit: (write) => (failing && write.change.move?.to === "persisting" ? broken : ledger.commit(write))
          }))
          const error = errorOf(
            yield* ended(yield* Effect.forkChild(down({ session: "work" }).pipe(as(world, { pid: 3 }))))
          )
          assert.deepInclude(error, { code: "ERR_LEDGER_IO", retryable: true })
          const left = yield* only(world)
          assert.notStrictEqual(left.state, "ready")
          assert.strictEqual(world.running(), 0)
          failing = false
          world.bury(3)
          assert.strictEqual((yield* down({ session: "work" }).pipe(as(world, { pid: 4 }))).state, "stopped")
          assert.lengthOf(world.faults.started("stop"), 1)
        })
    )

    run("I-38 a commit that fails before the provider is called leaves the session as it was", (world) =>
      Effect.gen(function* () {
        yield* up(upOptions).pipe(as(world))
        let failing = true
        world.interceptLedger((ledger) => ({
          ...ledger,
          commit: (write) =>
            failing && write.change.phase === "stop"
              ? Effect.fail(SandboxError.make("ERR_LEDGER_IO", { message: "disk full", nextStep: "free space" }))
              : ledger.commit(write)
        }))
        const error = errorOf(yield* ended(yield* Effect.forkChild(down({ session: "work" }).pipe(as(world)))))
        assert.deepInclude(error, { code: "ERR_LEDGER_IO", retryable: true })
        const left = yield* only(world)
        assert.isNull(left.claim)
        assert.strictEqual(left.state, "ready")
        assert.strictEqual(left.lastError?.code, "ERR_LEDGER_IO")
        assert.lengthOf(world.faults.started("stop"), 0)
        failing = false
        assert.strictEqual((yield* down({ session: "work" }).pipe(as(world))).state, "stopped")
      })
    )

    run("I-48 a stop that is interrupted while it waits to try again is not one that was given up", (world) =>
      Effect.gen(function* () {
        yield* up(upOptions).pipe(as(world))
        yield* world.faults.script("stop", Faults.fail("Unreachable", "not_applied"))
        const fiber = yield* Effect.forkChild(down({ session: "work" }).pipe(as(world)))
        while (!world.faults.calls.some(({ op, phase }) => op === "stop" && phase === "end")) yield* realPause
        fiber.interruptUnsafe()
        const exit = yield* ended(fiber)
        assert.isTrue(Exit.isFailure(exit) && Cause.hasInterrupts(exit.cause))
        const row = yield* only(world)
        assert.strictEqual(row.state, "ready")
        assert.lengthOf(world.faults.started("stop"), 1, "nothing is tried any more")
        const { events, orphans } = yield* world.ledger.history(row.id)
        assert.deepEqual(orphans, [])
        assert.isFalse(events.some(({ data }) => data["to"] === "persisting"))
        assert.strictEqual((yield* down({ session: "work" }).pipe(as(world))).state, "stopped")
      })
    )
  })
}
