/** What a switch makes of interruptions, of a ledger that fails, and of what a dead one has left to a second attempt. */
import { assert, describe, it } from "@effect/vitest"
import * as Faults from "@org/sandbox-conformance/Faults"
import { down, gc, list, resume, status } from "@org/sandbox-core"
import type { Ledger } from "@org/sandbox-core/Ledger"
import * as SandboxError from "@org/sandbox-core/SandboxError"
import { Deferred, Effect, Exit, Fiber, type Scope } from "effect"
import { TestClock } from "effect/testing"
import {
  advance,
  as,
  begun,
  begunBy,
  databases,
  endedAt,
  failureOf,
  heldAt,
  inTime,
  ledgerFailure,
  make,
  move,
  ready,
  realPause,
  row,
  type World,
  withoutBookkeeping
} from "./switchWorld.ts"

type Commit = Ledger["Service"]["commit"]

/** The ledger whose writes of a phase fail so often. */
const failing = (world: World, phase: string, times: number) => {
  let left = times
  world.interceptLedger((service) => ({
    ...service,
    commit: (write) =>
      Effect.suspend(() => {
        if (write.change.phase !== phase || left === 0) return service.commit(write)
        left -= 1
        return Effect.fail(ledgerFailure)
      })
  }))
}

const committing = (world: World, f: (commit: Commit) => Commit) =>
  world.interceptLedger((service) => ({ ...service, commit: f(service.commit) }))

const whole = (world: World) => world.interceptLedger((service) => service)

/** As often as a write is tried before it is given up. */
const tries = 4

for (const database of databases) {
  describe(`switches cut short on ${database.name}`, () => {
    const run = <A, E>(name: string, body: (world: World) => Effect.Effect<A, E, Scope.Scope>) =>
      it.effect(name, () => Effect.flatMap(make(database), body))

    run("I-37 after the old box was stopped nobody is told that the session is ready", (world) =>
      Effect.gen(function* () {
        const { id, instance } = yield* ready(world)
        const exit = yield* endedAt(world, ["a.stop:after", "interrupt", 2], (options) => move(world, "b", options))
        assert.isTrue(exit !== "killed" && Exit.isFailure(exit))
        for (const live of [false, true]) {
          const shown = yield* status({ session: "work", live }).pipe(as(world))
          assert.deepInclude(shown, { state: "stopped", provider: "a", claim: null })
        }
        const { sessions } = yield* list().pipe(as(world))
        assert.deepStrictEqual(
          sessions.map(({ state }) => state),
          ["stopped"]
        )
        assert.deepStrictEqual((yield* row(world, id)).instance, instance)
      })
    )

    run("I-37 nor where it cannot be seen whether the old box runs: failed, and the box is kept", (world) =>
      Effect.gen(function* () {
        const { id, instance } = yield* ready(world)
        const held = yield* heldAt(world, ["a", "stop", "after"], Effect.exit(move(world, "b", { pid: 2 })))
        yield* world.faults.a.always("inspect", Faults.failBefore)
        held.fiber.interruptUnsafe()
        yield* inTime(Fiber.await(held.fiber))
        const after = yield* row(world, id)
        assert.deepInclude(after, { state: "failed", provider: "a", claim: null })
        assert.deepStrictEqual(after.instance, instance)
        assert.strictEqual(after.lastError?.code, "ERR_INTERRUPTED")
        yield* world.faults.a.always("inspect", Faults.ok)
        assert.deepInclude(yield* move(world, "b", { pid: 3 }), { state: "ready", provider: "b" })
        assert.deepStrictEqual(yield* world.running, [`b ${id}.g2`])
      })
    )

    for (const [phase, left] of [
      ["capture", "ready"],
      ["stop", "ready"],
      ["stopped", "stopped"],
      ["written", "stopped"],
      ["intent", "ready"],
      ["provision", "ready"],
      ["workspace", "ready"],
      ["health", "ready"],
      ["done", "ready"]
    ] as const) {
      const number = phase === "done" ? "I-38 I-43" : "I-38"
      run(
        `${number} a ledger that fails to write "${phase}" ends the switch as it is, and the next try succeeds`,
        (world) =>
          Effect.gen(function* () {
            const { id, instance } = yield* ready(world)
            failing(world, phase, tries)
            const error = yield* failureOf(move(world, "b", { pid: 2 }))
            assert.strictEqual(error.code, "ERR_LEDGER_IO")
            assert.strictEqual(SandboxError.exitCode(error.code), 2)
            assert.isTrue(error.retryable)
            const after = yield* row(world, id)
            assert.deepInclude(after, { state: left, provider: "a", claim: null })
            assert.deepStrictEqual(after.instance, instance)
            assert.strictEqual(after.lastError?.code, "ERR_LEDGER_IO")
            assert.deepStrictEqual(yield* world.running, left === "ready" ? [`a ${instance!.key}`] : [])
            const { operations } = yield* world.ledger.history(id)
            assert.strictEqual(operations.at(-1)?.status, "failed")
            whole(world)
            assert.deepInclude(yield* move(world, "b", { pid: 3 }), { state: "ready", provider: "b" })
            assert.strictEqual((yield* world.running).length, 1)
          })
      )
    }

    run("I-43 a ready that cannot be written is never told of, and what was made is gone or known", (world) =>
      Effect.gen(function* () {
        const { id } = yield* ready(world)
        // no write at all from the ready on, for a minute: neither that one nor what would put it right
        let isDown = false
        committing(world, (commit) => (write) => {
          isDown ||= write.change.phase === "done"
          return isDown ? Effect.fail(ledgerFailure) : commit(write)
        })
        const error = yield* failureOf(move(world, "b", { pid: 2 }))
        assert.include(["ERR_LEDGER_IO", "ERR_RECOVERY_REQUIRED"], error.code)
        const left = yield* row(world, id)
        assert.notStrictEqual(left.state, "ready")
        assert.isNotNull(left.claim)
        const shown = yield* status({ session: "work" }).pipe(as(world))
        assert.notStrictEqual(shown.state, "ready")
        const { intents, orphans } = yield* world.ledger.history(id)
        const known = [left.instance, ...intents.filter((one) => one.status === "open"), ...orphans].map(
          (one) => one?.key
        )
        for (const { key } of yield* world.boxes) assert.include(known, key)
        whole(world)
        world.bury(2)
        yield* resume({ session: "work" }).pipe(as(world, { pid: 3 }))
        yield* gc({}).pipe(as(world, { pid: 4 }))
        const after = yield* row(world, id)
        assert.deepInclude(after, { state: "ready", provider: "b", claim: null })
        assert.deepStrictEqual(yield* world.boxes, [{ provider: "b", key: after.instance!.key, is: "running" }])
      })
    )

    run("I-39 what goes back is cut short neither by a second interruption nor by a ledger that is slow", (world) =>
      Effect.gen(function* () {
        const before = yield* ready(world)
        let isSlow = false
        committing(
          world,
          (commit) => (write) =>
            Effect.suspend(() => (isSlow ? Effect.delay(commit(write), "4 seconds") : commit(write)))
        )
        const { fiber } = yield* heldAt(world, ["b", "provision"], move(world, "b", { pid: 2 }))
        isSlow = true
        fiber.interruptUnsafe()
        while (!begunBy(world, 2).includes("ledger.commit back")) yield* realPause
        yield* advance(2)
        fiber.interruptUnsafe()
        // the writes themselves take some time too, of what is left of their five seconds
        const room = Effect.asVoid(Effect.repeat(realPause, { times: 9 }))
        const exit = yield* Effect.flatten(inTime(Fiber.await(fiber), room))
        assert.isTrue(Exit.isFailure(exit))
        const after = yield* row(world, before.id)
        assert.deepInclude(after, { state: "ready", provider: "a", claim: null })
        assert.deepStrictEqual(after.instance, before.instance)
        assert.deepStrictEqual(yield* world.running, [`a ${before.instance!.key}`])
      })
    )

    run("I-39 right after the claim, twice: the row is what it was", (world) =>
      Effect.gen(function* () {
        const before = yield* ready(world)
        const claimed = yield* Deferred.make<void>()
        committing(
          world,
          (commit) => (write) =>
            Deferred.succeed(claimed, undefined).pipe(
              Effect.andThen(Effect.sleep("4 seconds")),
              Effect.andThen(commit(write))
            )
        )
        const fiber = yield* Effect.forkScoped(move(world, "b", { pid: 2 }))
        yield* Deferred.await(claimed)
        fiber.interruptUnsafe()
        fiber.interruptUnsafe()
        yield* inTime(Fiber.await(fiber))
        assert.deepStrictEqual(withoutBookkeeping(yield* row(world, before.id)), withoutBookkeeping(before))
      })
    )

    run("I-40 what cannot be written back keeps the claim, and says which command recovers", (world) =>
      Effect.gen(function* () {
        const { id } = yield* ready(world)
        let isDown = false
        committing(world, (commit) => (write) => Effect.suspend(() => (isDown ? Effect.never : commit(write))))
        const held = yield* heldAt(world, ["b", "provision"], move(world, "b", { pid: 5 }))
        isDown = true
        held.fiber.interruptUnsafe()
        const exit = yield* Effect.flatten(inTime(Fiber.await(held.fiber)))
        isDown = false
        const error = Exit.isFailure(exit) ? SandboxError.fromCause(exit.cause, null) : assert.fail("it came through")
        assert.strictEqual(error.code, "ERR_RECOVERY_REQUIRED")
        assert.strictEqual(SandboxError.exitCode(error.code), 3)
        assert.include(error.nextStep, `sandbox status ${id}`)
        const left = yield* row(world, id)
        assert.isNotNull(left.claim)
        assert.notStrictEqual(left.state, "ready")

        world.bury(5)
        yield* resume({ session: "work" }).pipe(as(world, { pid: 7 }))
        const { events, operations } = yield* world.ledger.history(id)
        assert.strictEqual(operations.find((one) => one.id === left.claim!.operationId)?.status, "abandoned")
        assert.isTrue(events.some(({ type }) => type === "claim_taken_over"))
        assert.deepInclude(yield* row(world, id), { state: "ready", claim: null })
        assert.strictEqual((yield* world.running).length, 1)
      })
    )

    run("I-41 a dead switch that nobody goes on with is settled by gc, and only one of two goes on", (world) =>
      Effect.gen(function* () {
        const { id } = yield* ready(world)
        yield* endedAt(world, ["b.provision:before", "kill", 2], (options) => move(world, "b", options))
        yield* TestClock.adjust("13 minutes")
        // all of them have seen it dead when the first of them claims it
        let claiming = 0
        const all = yield* Deferred.make<void>()
        world.interceptLedger((service) => ({
          ...service,
          acquire: (acquisition) =>
            Effect.suspend(() => {
              claiming += 1
              return claiming === 4 ? Deferred.succeed(all, undefined) : Effect.void
            }).pipe(Effect.andThen(Deferred.await(all)), Effect.andThen(service.acquire(acquisition)))
        }))
        const recoverers = [
          gc({}).pipe(as(world, { pid: 3 })),
          resume({ session: "work" }).pipe(as(world, { pid: 4 })),
          gc({}).pipe(as(world, { pid: 5 })),
          move(world, "b", { pid: 6 })
        ] as ReadonlyArray<Effect.Effect<unknown, SandboxError.SandboxError>>
        const exits = yield* Effect.forEach(recoverers, (one) => Effect.exit(one), { concurrency: "unbounded" })
        assert.isTrue(exits.some(Exit.isSuccess))
        assert.deepInclude(yield* row(world, id), { state: "ready", provider: "b", claim: null })
        assert.strictEqual(begun(world, "b.provision").length, 1)
        assert.deepStrictEqual(yield* world.running, [`b ${id}.g2`])
        const { events } = yield* world.ledger.history(id)
        assert.strictEqual(events.filter(({ type }) => type === "claim_taken_over").length, 1)
      })
    )

    run("I-41 I-42 a create that is answered after all, while gc goes on, is the very box that gc makes", (world) =>
      Effect.gen(function* () {
        const { id } = yield* ready(world)
        let late: Effect.Effect<unknown> = Effect.die("nothing was asked for")
        yield* world.faults.b.script("provision", (call) => {
          late = Effect.ignore(call as Effect.Effect<unknown>)
          return Effect.never
        })
        const killed = yield* Effect.forkScoped(move(world, "b", { pid: 2 }))
        while (begun(world, "b.provision").length === 0) yield* Effect.yieldNow
        world.bury(2)
        const recovering = yield* heldAt(world, ["b", "provision"], gc({}).pipe(as(world, { pid: 3 })))
        yield* late
        yield* recovering.open
        yield* Fiber.join(recovering.fiber)
        assert.deepInclude(yield* row(world, id), { state: "ready", provider: "b", claim: null })
        assert.strictEqual(world.cloud.created, 2)
        // the one that was only said to be dead stands down, and touches nothing
        killed.interruptUnsafe()
        yield* inTime(Fiber.await(killed))
        assert.deepStrictEqual(yield* world.running, [`b ${id}.g2`])
        assert.deepInclude(yield* row(world, id), { state: "ready", provider: "b", claim: null })
      })
    )

    run("I-44 a failed takeover of a dead switch is not told as ready, and is tried again", (world) =>
      Effect.gen(function* () {
        const { id } = yield* ready(world)
        yield* endedAt(world, ["ledger.commit.written:after", "kill", 2], (options) => move(world, "b", options))
        // neither side comes up
        yield* world.faults.b.always("provision", Faults.fail("QuotaExceeded"))
        yield* world.faults.a.always("start", Faults.fail("CapacityExhausted"))
        for (const recovery of [
          resume({ session: "work" }).pipe(as(world, { pid: 3 })),
          resume({ session: "work" }).pipe(as(world, { pid: 4 }))
        ]) {
          const error = yield* failureOf(recovery)
          assert.strictEqual(SandboxError.exitCode(error.code), 2)
          const after = yield* row(world, id)
          assert.deepInclude(after, { state: "failed", claim: null })
          assert.isNotNull(after.lastError)
          assert.deepStrictEqual(yield* world.running, [])
        }
        yield* world.faults.b.always("provision", Faults.ok)
        yield* world.faults.a.always("start", Faults.ok)
        yield* resume({ session: "work" }).pipe(as(world, { pid: 5 }))
        yield* gc({}).pipe(as(world, { pid: 6 }))
        assert.deepInclude(yield* row(world, id), { state: "ready", claim: null })
        assert.strictEqual((yield* world.boxes).length, 1)
      })
    )

    run("I-44 nor one of `down`, whose box cannot be stopped", (world) =>
      Effect.gen(function* () {
        const { id } = yield* ready(world)
        yield* endedAt(world, ["b.provision:after", "kill", 2], (options) => move(world, "b", options))
        yield* world.faults.b.always("stop", Faults.failBefore)
        const error = yield* failureOf(down({ session: "work" }).pipe(as(world, { pid: 3 })))
        assert.strictEqual(error.code, "ERR_STOP_FAILED")
        assert.deepInclude(yield* row(world, id), { state: "stopping" })
        yield* world.faults.b.always("stop", Faults.ok)
        yield* down({ session: "work" }).pipe(as(world, { pid: 4 }))
        assert.deepInclude(yield* row(world, id), { state: "stopped", provider: "b", claim: null })
        assert.deepStrictEqual(yield* world.running, [])
      })
    )
  })
}
