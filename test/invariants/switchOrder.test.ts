/** What a switch does, in which order, and what it leaves alone. */
import { assert, describe, it } from "@effect/vitest"
import * as Faults from "@org/sandbox-conformance/Faults"
import { down, gc, status } from "@org/sandbox-core"
import { Effect, type Scope } from "effect"
import {
  as,
  begun,
  begunBy,
  databases,
  endedAt,
  failureOf,
  inTime,
  make,
  move,
  ready,
  realPause,
  row,
  type World,
  workIn
} from "./switchWorld.ts"

const openOrphans = (world: World, id: string) =>
  Effect.map(world.ledger.history(id), ({ orphans }) => orphans.filter(({ resolvedAt }) => resolvedAt === null))

const stopFails = (world: World) => world.faults.a.always("stop", Faults.failBefore)

for (const database of databases) {
  describe(`the order of a switch on ${database.name}`, () => {
    const run = <A, E>(name: string, body: (world: World) => Effect.Effect<A, E, Scope.Scope>) =>
      it.effect(name, () => Effect.flatMap(make(database), body))

    run("I-45 the claim, then stop(old), then the write of the provider, then create(new)", (world) =>
      Effect.gen(function* () {
        const { id, instance } = yield* ready(world)
        yield* move(world, "b", { pid: 2 })
        const when = (at: "begun" | "done", what: string, of: string) => {
          const found = world.log.flatMap((one, index) =>
            one.by === 2 && one.at === at && one.what === what && one.of === of ? [index] : []
          )
          assert.strictEqual(found.length, 1, `${what} ${of}`)
          return found[0]!
        }
        const written = world.log.flatMap(({ at, change }, index) =>
          at === "begun" && change?.set?.provider !== undefined ? [index] : []
        )
        assert.strictEqual(written.length, 1)
        const key = `${id}.g2`
        const order = [
          when("done", "ledger.acquire", "switch"),
          when("begun", "a.stop", instance!.key),
          when("done", "a.stop", instance!.key),
          written[0]!,
          when("done", "ledger.commit", "written"),
          // nothing is asked for that the ledger does not know of
          when("done", "ledger.commit", "intent"),
          when("begun", "b.provision", key),
          when("done", "b.provision", key)
        ]
        assert.deepStrictEqual(
          order,
          order.toSorted((one, other) => one - other)
        )
      })
    )

    run("I-46 the old box is stopped through its own provider, by the reference that the claim has recorded", (world) =>
      Effect.gen(function* () {
        const { instance } = yield* ready(world)
        yield* move(world, "b", { pid: 2 })
        const [stop, ...others] = world.faults.a.started("stop")
        assert.deepStrictEqual(others, [])
        assert.strictEqual(stop!.target, instance!.id)
        assert.deepStrictEqual(world.faults.b.started("stop"), [])
        assert.deepStrictEqual(world.faults.c.calls, [])
      })
    )

    run("I-46 the snapshot of the claim counts, whatever is in the row by then", (world) =>
      Effect.gen(function* () {
        const { instance } = yield* ready(world)
        yield* endedAt(world, ["b.provision:after", "kill", 2], (options) => move(world, "b", options))
        // the row names `b` and a box there; what goes back to `a` starts the box that the claim remembers
        yield* move(world, "a", { pid: 3 })
        assert.deepStrictEqual(
          world.faults.a.started("start").map(({ target }) => target),
          [instance!.id]
        )
        assert.deepStrictEqual(yield* world.running, [`a ${instance!.key}`])
      })
    )

    run(
      "I-47 a stop that fails three times leaves the box on record, in the commit that writes the provider",
      (world) =>
        Effect.gen(function* () {
          const { id, instance } = yield* ready(world)
          yield* stopFails(world)
          yield* world.faults.a.always("destroy", Faults.failBefore)
          const exit = yield* inTime(move(world, "b", { pid: 2 }))
          assert.isTrue(exit._tag === "Success", JSON.stringify(exit))
          assert.strictEqual(world.faults.a.started("stop").length, 3)
          const [write, ...others] = world.log.filter(
            ({ at, change }) => at === "done" && change?.set?.provider === "b"
          )
          assert.deepStrictEqual(others, [])
          assert.isNull(write!.change!.set!.instance)
          const [orphan] = write!.change!.orphans!
          assert.deepInclude(orphan, { provider: "a", key: instance!.key, reason: "stop_exhausted", resolvedAt: null })
          assert.deepStrictEqual(orphan!.ref, instance)
          const { events } = yield* world.ledger.history(id)
          const [exhausted] = events.filter(({ type }) => type === "switch_stop_exhausted")
          assert.deepInclude(exhausted!.data, { key: instance!.key, provider: "a", recovery: "sandbox gc" })
          assert.strictEqual(exhausted!.operationId, orphan!.operationId)
          const after = yield* row(world, id)
          assert.deepInclude(after, { state: "ready", provider: "b", claim: null })
          if (exit._tag === "Success") {
            assert.deepStrictEqual(
              exit.value.orphans.map(({ key, reason }) => [key, reason]),
              [[instance!.key, "stop_exhausted"]]
            )
          }

          // once the provider answers again, gc ends it
          yield* world.faults.a.always("stop", Faults.ok)
          yield* world.faults.a.always("destroy", Faults.ok)
          yield* gc({}).pipe(as(world, { pid: 3 }))
          assert.deepStrictEqual(yield* openOrphans(world, id), [])
          assert.deepStrictEqual(yield* world.running, [`b ${id}.g2`])
        })
    )

    run("I-47 of a switch that is killed right after that write, the record is there", (world) =>
      Effect.gen(function* () {
        const { id, instance } = yield* ready(world)
        yield* stopFails(world)
        const point = "ledger.commit.written:after"
        yield* inTime(endedAt(world, [point, "kill", 2], (options) => move(world, "b", options)))
        const left = yield* row(world, id)
        assert.deepInclude(left, { state: "switching", provider: "b", instance: null })
        const orphans = yield* openOrphans(world, id)
        assert.deepStrictEqual(
          orphans.map(({ key, reason }) => [key, reason]),
          [[instance!.key, "stop_exhausted"]]
        )
        yield* world.faults.a.always("stop", Faults.ok)
        yield* gc({}).pipe(as(world, { pid: 3 }))
        yield* gc({}).pipe(as(world, { pid: 3 }))
        assert.deepStrictEqual(yield* openOrphans(world, id), [])
        assert.deepInclude(yield* row(world, id), { state: "ready", provider: "b", claim: null })
        assert.deepStrictEqual(yield* world.running, [`b ${id}.g2`])
      })
    )

    run("I-47 a failed stop ends the switch where that is wanted, and the box is told of as it is", (world) =>
      Effect.gen(function* () {
        const { id, instance } = yield* ready(world)
        yield* stopFails(world)
        const error = yield* failureOf(move(world, "b", { pid: 2, policies: { onStopFailure: "abort" } }))
        assert.strictEqual(error.code, "ERR_STOP_FAILED")
        assert.strictEqual(world.faults.a.started("stop").length, 3)
        const after = yield* row(world, id)
        assert.deepInclude(after, { state: "ready", provider: "a", claim: null })
        assert.deepStrictEqual(after.instance, instance)
        assert.deepStrictEqual((yield* world.ledger.history(id)).orphans, [])
        assert.deepStrictEqual(begun(world, "b.provision"), [])
      })
    )

    for (const policy of ["record", "abort"] as const) {
      run(`I-48 an interrupted stop is no failed one: no further step, and no record (${policy})`, (world) =>
        Effect.gen(function* () {
          const before = yield* ready(world)
          yield* stopFails(world)
          const fiber = yield* Effect.forkScoped(
            Effect.exit(move(world, "b", { pid: 2, policies: { onStopFailure: policy } }))
          )
          // the first try has failed, and the second is waited for
          while (world.faults.a.calls.every(({ op, phase }) => op !== "stop" || phase !== "end")) yield* Effect.yieldNow
          fiber.interruptUnsafe()
          for (let waited = 0; fiber.pollUnsafe() === undefined; waited++) {
            assert.isBelow(waited, 300, "it goes on with what was interrupted")
            yield* realPause
          }
          assert.strictEqual(world.faults.a.started("stop").length, 1)
          assert.deepStrictEqual(
            begunBy(world, 2).filter((one) => /written|provision|destroy/.test(one)),
            []
          )
          const { events, orphans } = yield* world.ledger.history(before.id)
          assert.deepStrictEqual(orphans, [])
          assert.isFalse(events.some(({ type }) => type === "switch_stop_exhausted"))
          const after = yield* row(world, before.id)
          assert.deepInclude(after, { state: "ready", provider: "a", claim: null })
          assert.deepStrictEqual(after.instance, before.instance)
        })
      )
    }

    run("I-49 I-56 only where the box is changes: who the session is stays, to the letter", (world) =>
      Effect.gen(function* () {
        const before = yield* ready(world)
        const made = yield* status({ session: "work" }).pipe(as(world))
        yield* move(world, "b", { pid: 2 })
        const after = yield* row(world, before.id)
        const moved: ReadonlyArray<keyof typeof before> = [
          ...(["provider", "instance", "generation", "workspacePath", "workBranch"] as const),
          ...(["version", "updatedAt", "readyAt", "health"] as const)
        ]
        for (const key of Object.keys(before) as ReadonlyArray<keyof typeof before>) {
          if (!moved.includes(key)) assert.deepStrictEqual(after[key], before[key], key)
        }
        assert.strictEqual(after.generation, before.generation + 1)
        // the provider and the box that is not there yet are one write
        const [write] = world.log.filter(({ change }) => change?.set?.provider !== undefined)
        assert.deepInclude(write!.change!.set, { provider: "b", instance: null })
        const shown = yield* status({ session: "work" }).pipe(as(world))
        for (const key of ["sessionId", "name", "owner", "branch", "repository"] as const) {
          assert.deepStrictEqual(shown[key as keyof typeof shown], made[key as keyof typeof made])
        }
      })
    )

    run(
      "I-50 a switch that is tried again stops nothing that is halted, and nothing by a reference of elsewhere",
      (world) =>
        Effect.gen(function* () {
          const { id, instance } = yield* ready(world)
          for (const [pid, point] of [
            [2, "ledger.commit.stopped:after"],
            [3, "b.provision:after"]
          ] as const) {
            yield* endedAt(world, [point, "kill", pid], (options) => move(world, "b", options))
          }
          yield* move(world, "b", { pid: 4 })
          assert.deepStrictEqual(
            world.faults.a.started("stop").map(({ target }) => target),
            [instance!.id]
          )
          assert.deepStrictEqual(world.faults.b.started("stop"), [])
          assert.deepStrictEqual(yield* world.running, [`b ${id}.g2`])
          assert.strictEqual(world.cloud.created, 2)
        })
    )

    run("I-50 a session that is held on the new side goes back without a stop", (world) =>
      Effect.gen(function* () {
        const { id } = yield* ready(world)
        yield* world.faults.b.always("provision", Faults.fail("QuotaExceeded"))
        yield* failureOf(move(world, "b", { pid: 2, policies: { onFailure: "hold" } }))
        assert.deepInclude(yield* row(world, id), { state: "failed", provider: "b", instance: null })
        const stops = world.faults.a.started("stop").length
        yield* move(world, "a", { pid: 3 })
        assert.deepInclude(yield* row(world, id), { state: "ready", provider: "a", claim: null })
        assert.strictEqual(world.faults.a.started("stop").length, stops)
        assert.deepStrictEqual(world.faults.b.started("stop"), [])
        assert.strictEqual((yield* world.running).length, 1)
        assert.strictEqual((yield* row(world, id)).instance?.provider, "a")
      })
    )

    run("I-51 a provider that is not registered is asked for by name, and nothing else is tried", (world) =>
      Effect.gen(function* () {
        const before = yield* ready(world)
        const asked = world.log.length
        const error = yield* Effect.flip(move(world, "b", { pid: 2, providers: ["b"] }))
        assert.strictEqual(error.code, "ERR_PROVIDER_UNAVAILABLE")
        assert.deepStrictEqual(error.details, { provider: "a", registered: ["b"] })
        assert.deepStrictEqual(yield* row(world, before.id), before)
        assert.strictEqual(world.log.length, asked)
      })
    )
  })
}

for (const database of databases.slice(0, 1)) {
  describe(`identity, with real checkouts, on ${database.name}`, () => {
    it.effect("I-56 checkpoints, history, spec and setup survive, and the work is the same", () =>
      Effect.gen(function* () {
        const world = yield* make(database, { real: true })
        const before = yield* ready(world)
        workIn(before.workspacePath!)
        yield* down({ session: "work" }).pipe(as(world, { pid: 2 }))
        const { checkpoints, events, operations } = yield* world.ledger.history(before.id)
        assert.isNotEmpty(checkpoints)
        yield* move(world, "b", { pid: 3 })
        const after = yield* row(world, before.id)
        for (const key of ["id", "name", "owner", "parent", "reservedName", "repository", "branch"] as const) {
          assert.deepStrictEqual(after[key], before[key], key)
        }
        for (const key of ["spec", "setup", "slot", "expiresAt", "createdAt"] as const) {
          assert.deepStrictEqual(after[key], before[key], key)
        }
        const now = yield* world.ledger.history(before.id)
        assert.deepStrictEqual(now.checkpoints.slice(0, checkpoints.length), checkpoints)
        assert.deepStrictEqual(now.events.slice(0, events.length), events)
        assert.deepStrictEqual(now.operations.slice(0, operations.length), operations)
        // what was saved when it was halted is what travelled, and no second copy was made of it
        assert.strictEqual(now.checkpoints.length, checkpoints.length)
      })
    )
  })
}
