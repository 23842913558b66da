/** A switch whose new side fails, or whose session is taken away meanwhile: where the session is then, and what is left. */
import { assert, describe, it } from "@effect/vitest"
import * as Faults from "@org/sandbox-conformance/Faults"
import { destroy, down, gc, resume } from "@org/sandbox-core"
import * as SandboxError from "@org/sandbox-core/SandboxError"
import { Effect, Exit, Fiber, type Scope } from "effect"
import {
  as,
  begun,
  begunBy,
  databases,
  failureOf,
  heldAt,
  inTime,
  make,
  move,
  ready,
  recordsOf,
  row,
  seenIn,
  type World,
  workIn
} from "./switchWorld.ts"

/** Where the new side can fail, and how. */
const failures = [
  ["provision", Faults.fail("QuotaExceeded")],
  ["provision", Faults.okThenLoseReply],
  ["workspace.attach", Faults.fail("Invalid")]
] as const

for (const database of databases) {
  describe(`switches whose new side fails on ${database.name}`, () => {
    const run = <A, E>(name: string, body: (world: World) => Effect.Effect<A, E, Scope.Scope>) =>
      it.effect(name, () => Effect.flatMap(make(database), body))

    for (const [at, [op, fault]] of failures.entries()) {
      const what = `${op} ${at === 1 ? "without an answer" : "refused"}`

      run(`I-57 the session is where it was, up again, when the new side fails (${what})`, (world) =>
        Effect.gen(function* () {
          const before = yield* ready(world)
          yield* world.faults.b.always(op, fault)
          const error = yield* failureOf(move(world, "b", { pid: 2 }))
          assert.strictEqual(SandboxError.exitCode(error.code), 2)
          assert.strictEqual(error.details?.["rolled_back"], true)
          const after = yield* row(world, before.id)
          const changed = ["generation", "lastError", "readyAt", "health", "persistedAt", "updatedAt", "version"]
          for (const key of Object.keys(before) as ReadonlyArray<keyof typeof before>) {
            if (!changed.includes(key)) assert.deepStrictEqual(after[key], before[key], key)
          }
          assert.strictEqual(after.lastError?.code, error.code)
          // the key of the box that came to nothing is never used again
          assert.isAbove(after.generation, before.generation)
          assert.deepStrictEqual(yield* world.boxes, [{ provider: "a", key: before.instance!.key, is: "running" }])
          const { events, orphans } = yield* world.ledger.history(before.id)
          assert.isTrue(orphans.every(({ resolvedAt }) => resolvedAt !== null))
          assert.isTrue(events.some(({ type }) => type === "rolled_back"))
          assert.strictEqual(begun(world, "a.stop").length, 1)
          assert.strictEqual(begun(world, "a.start").length, 1)
          // no orphan means that gc removes nothing either
          yield* gc({}).pipe(as(world, { pid: 3 }))
          assert.deepStrictEqual(yield* world.running, [`a ${before.instance!.key}`])
          yield* world.faults.b.always(op, Faults.ok)
          assert.deepInclude(yield* move(world, "b", { pid: 4 }), { state: "ready", provider: "b" })
          assert.strictEqual((yield* world.boxes).length, 1)
        })
      )

      run(`I-57 and held on the new side where that is wanted, without a box (${what})`, (world) =>
        Effect.gen(function* () {
          const before = yield* ready(world)
          yield* world.faults.b.always(op, fault)
          const error = yield* failureOf(move(world, "b", { pid: 2, policies: { onFailure: "hold" } }))
          assert.strictEqual(SandboxError.exitCode(error.code), 2)
          assert.strictEqual(error.details?.["rolled_back"], false)
          const after = yield* row(world, before.id)
          assert.deepInclude(after, { state: "failed", provider: "b", instance: null, claim: null })
          assert.strictEqual(after.lastError?.code, error.code)
          assert.deepStrictEqual(begun(world, "a.start"), [])
          assert.strictEqual(begun(world, "a.stop").length, 1)
          // the old box stays until the session is ready without it
          yield* gc({}).pipe(as(world, { pid: 3 }))
          assert.deepStrictEqual(yield* world.boxes, [{ provider: "a", key: before.instance!.key, is: "stopped" }])
          yield* world.faults.b.always(op, Faults.ok)
          yield* resume({ session: "work" }).pipe(as(world, { pid: 4 }))
          yield* gc({}).pipe(as(world, { pid: 5 }))
          const there = yield* row(world, before.id)
          assert.deepInclude(there, { state: "ready", provider: "b" })
          assert.deepStrictEqual(yield* world.boxes, [{ provider: "b", key: there.instance!.key, is: "running" }])
        })
      )
    }

    run("I-57 where the old box does not start again either, the session is failed and both are known", (world) =>
      Effect.gen(function* () {
        const before = yield* ready(world)
        yield* world.faults.b.always("provision", Faults.fail("QuotaExceeded"))
        yield* world.faults.a.always("start", Faults.fail("CapacityExhausted"))
        const error = yield* failureOf(move(world, "b", { pid: 2 }))
        assert.strictEqual(error.code, "ERR_SANDBOX_PROVISION_FAILED")
        assert.strictEqual(error.details?.["rolled_back"], false)
        const after = yield* row(world, before.id)
        assert.deepInclude(after, { state: "failed", provider: "a", claim: null })
        assert.deepStrictEqual(after.instance, before.instance)
        yield* world.faults.a.always("start", Faults.ok)
        yield* resume({ session: "work" }).pipe(as(world, { pid: 3 }))
        assert.deepStrictEqual(yield* world.boxes, [{ provider: "a", key: before.instance!.key, is: "running" }])
      })
    )

    run("I-57 a session that was halted is halted again, and starts nothing", (world) =>
      Effect.gen(function* () {
        const { id } = yield* ready(world)
        yield* down({ session: "work" }).pipe(as(world, { pid: 1 }))
        const before = yield* row(world, id)
        yield* world.faults.b.always("provision", Faults.fail("QuotaExceeded"))
        const error = yield* failureOf(move(world, "b", { pid: 2 }))
        assert.strictEqual(error.details?.["rolled_back"], true)
        const after = yield* row(world, id)
        assert.deepInclude(after, { state: "stopped", provider: "a", claim: null, slot: before.slot })
        assert.deepStrictEqual(after.instance, before.instance)
        assert.deepStrictEqual(begun(world, "a.start"), [])
        assert.deepStrictEqual(yield* world.running, [])
      })
    )

    run("I-57 what was ready once is not taken back for an old box that cannot be removed", (world) =>
      Effect.gen(function* () {
        const { id, instance } = yield* ready(world)
        yield* world.faults.a.always("destroy", Faults.failBefore)
        assert.isTrue(Exit.isSuccess(yield* inTime(move(world, "b", { pid: 2 }))))
        const after = yield* row(world, id)
        assert.deepInclude(after, { state: "ready", provider: "b", claim: null })
        const { orphans } = yield* world.ledger.history(id)
        assert.deepStrictEqual(
          orphans.map(({ key, reason, resolvedAt }) => [key, reason, resolvedAt]),
          [[instance!.key, "retired", null]]
        )
        yield* world.faults.a.always("destroy", Faults.ok)
        yield* gc({}).pipe(as(world, { pid: 3 }))
        assert.deepStrictEqual(yield* world.boxes, [{ provider: "b", key: after.instance!.key, is: "running" }])
      })
    )

    for (const at of ["stop", "provision"] as const) {
      const name = at === "stop" ? "a" : "b"
      run(`I-58 a session that is destroyed by force meanwhile gets no new box (in ${name}.${at})`, (world) =>
        Effect.gen(function* () {
          const { id } = yield* ready(world)
          const held = yield* heldAt(world, [name, at], Effect.flip(move(world, "b", { pid: 2 })))
          yield* destroy({ session: "work", force: true, confirmDataLoss: true }).pipe(as(world, { pid: 7 }))
          const tombstone = yield* recordsOf(world, id)
          yield* held.open
          assert.strictEqual((yield* Fiber.join(held.fiber)).code, "ERR_CLAIM_LOST")
          assert.strictEqual(yield* recordsOf(world, id), tombstone)
          assert.deepInclude(yield* row(world, id), { state: "destroyed", claim: null })
          assert.deepStrictEqual(yield* world.boxes, [])
          if (at === "stop") assert.deepStrictEqual(begun(world, "b.provision"), [])
        })
      )
    }

    run("I-58 nor is a box forgotten that could not be stopped before that", (world) =>
      Effect.gen(function* () {
        const { id, instance } = yield* ready(world)
        yield* world.faults.a.always("stop", Faults.failBefore)
        const gate = yield* world.faults.b.gate("provision")
        const switching = yield* Effect.forkScoped(inTime(move(world, "b", { pid: 2 })))
        yield* gate.reached
        yield* world.faults.a.always("destroy", Faults.failBefore)
        const forced = destroy({ session: "work", force: true, confirmDataLoss: true })
        assert.isTrue(Exit.isSuccess(yield* inTime(forced.pipe(as(world, { pid: 7 })))))
        yield* gate.open
        assert.isTrue(Exit.isFailure(yield* Fiber.join(switching)))
        const after = yield* row(world, id)
        assert.deepInclude(after, { state: "destroyed" })
        const { orphans } = yield* world.ledger.history(id)
        assert.deepStrictEqual(
          orphans.map(({ key, reason, resolvedAt }) => [key, reason, resolvedAt]),
          [[instance!.key, "stop_exhausted", null]]
        )
        assert.deepStrictEqual(begunBy(world, 2).filter((one) => one.startsWith("b.provision")).length, 1)
        for (const op of ["stop", "destroy"] as const) yield* world.faults.a.always(op, Faults.ok)
        yield* gc({}).pipe(as(world, { pid: 8 }))
        assert.deepStrictEqual(yield* world.boxes, [])
      })
    )
  })
}

describe("switches whose new side fails, with real checkouts", () => {
  for (const onFailure of ["restore", "hold"] as const) {
    it.effect(`I-57 all of the work is where the session is then (${onFailure})`, () =>
      Effect.gen(function* () {
        const world = yield* make(databases[0]!, { real: true })
        const before = yield* ready(world)
        workIn(before.workspacePath!)
        const work = seenIn(before.workspacePath)
        yield* world.faults.b.always("workspace.attach", Faults.fail("Invalid"))
        yield* failureOf(move(world, "b", { pid: 2, policies: { onFailure } }))
        const after = yield* row(world, before.id)
        if (onFailure === "restore") {
          assert.deepInclude(after, { state: "ready", provider: "a", workspacePath: before.workspacePath })
          assert.strictEqual(seenIn(after.workspacePath), work)
        } else {
          assert.deepInclude(after, { state: "failed", provider: "b" })
          assert.isNotNull(after.restoreFrom)
        }
        yield* world.faults.b.always("workspace.attach", Faults.ok)
        yield* move(world, onFailure === "restore" ? "b" : "a", { pid: 3 })
        const there = yield* row(world, before.id)
        assert.deepInclude(there, { state: "ready", restoreFrom: null })
        assert.strictEqual(seenIn(there.workspacePath), work)
        yield* gc({}).pipe(as(world, { pid: 4 }))
        assert.strictEqual((yield* world.boxes).length, 1)
      })
    )
  }
})
