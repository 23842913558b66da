/** The record that `down` saves: one time, read back, and never taken for saved when it is not. */
import { assert, describe, it } from "@effect/vitest"
import { down, up } from "@org/sandbox-core"
import * as SandboxError from "@org/sandbox-core/SandboxError"
import { Limits } from "@org/sandbox-core/Settings"
import { Effect, Layer, type Scope } from "effect"
import { TestClock } from "effect/testing"
import { databases, make, repository, type World } from "./world.ts"

const repo = repository()
const upOptions = { repository: repo, branch: "main", provider: "memory", name: "work" }
const payload = (bytes: Uint8Array) => JSON.parse(new TextDecoder().decode(bytes))

const only = Effect.fnUntraced(function* (world: World) {
  const { sessions } = yield* world.ledger.sessions({})
  return sessions[0]!
})

for (const database of databases) {
  describe(`saved records on ${database.name}`, () => {
    const run = <A, E>(name: string, body: (world: World) => Effect.Effect<A, E, Scope.Scope>) =>
      it.effect(name, () => Effect.flatMap(make(database), body))

    run("I-68 record, row, checkpoint and answer bear one and the same time, however the clock runs", (world) =>
      Effect.gen(function* () {
        // the clock moves on with every write
        world.interceptLedger((ledger) => ({
          ...ledger,
          commit: (write) => Effect.andThen(TestClock.adjust("17 millis"), ledger.commit(write))
        }))
        yield* up(upOptions).pipe(Effect.provide(world.runtime()))
        const result = yield* down({ session: "work" }).pipe(Effect.provide(world.runtime()))
        const row = yield* only(world)
        const { checkpoints, events } = yield* world.ledger.history(row.id)
        const saved = payload(world.store.record(result.checkpoint!.id)!)
        assert.strictEqual(checkpoints.length, 1)
        assert.strictEqual(row.persistedAt, checkpoints[0]!.persistedAt)
        assert.strictEqual(result.persistedAt, saved.persisted_at)
        assert.strictEqual(Date.parse(saved.persisted_at), row.persistedAt)
        assert.isBelow(row.persistedAt!, events.at(-1)!.at)
        assert.isTrue(result.checkpoint!.verified)
        assert.strictEqual(result.stateTransitions.at(-1)?.to, "stopped")
      })
    )

    run(
      "I-70 I-72 a record that is too large is refused with its size, and saved without a second stop later",
      (world) =>
        Effect.gen(function* () {
          yield* up(upOptions).pipe(Effect.provide(world.runtime()))
          const small = Layer.effect(
            Limits,
            Effect.map(Limits, (limits) => ({ ...limits, maxRecordBytes: 256 }))
          )
          const error = yield* Effect.flip(
            down({ session: "work" }).pipe(Effect.provide(small), Effect.provide(world.runtime()))
          )
          assert.strictEqual(error.code, "ERR_PERSIST_PAYLOAD_TOO_LARGE")
          assert.strictEqual(SandboxError.exitCode(error.code), 2)
          assert.strictEqual(error.details?.["limit"], 256)
          assert.isAbove(error.details?.["size"] as number, 256)
          assert.strictEqual((yield* only(world)).state, "persist_failed")
          assert.strictEqual(world.cloud.boxes.size, 1)
          assert.strictEqual(world.running(), 0)
          const result = yield* down({ session: "work" }).pipe(Effect.provide(world.runtime()))
          assert.strictEqual(result.state, "stopped")
          assert.strictEqual(world.faults.started("stop").length, 1)
          assert.strictEqual(world.store.log.length, 1)
        })
    )

    run("I-71 I-72 a store that acknowledges and keeps garbage is found out by reading back", (world) =>
      Effect.gen(function* () {
        yield* up(upOptions).pipe(Effect.provide(world.runtime()))
        world.store.spoilWith((bytes) => bytes.map((byte, at) => (at === 5 ? byte ^ 1 : byte)))
        const error = yield* Effect.flip(down({ session: "work" }).pipe(Effect.provide(world.runtime())))
        assert.strictEqual(error.code, "ERR_PERSIST_UNVERIFIED")
        const row = yield* only(world)
        assert.strictEqual(row.state, "stopped_unpersisted")
        assert.isNull(row.persistedAt)
        assert.deepStrictEqual((yield* world.ledger.history(row.id)).checkpoints, [])
        world.store.spoilWith((bytes) => bytes)
        assert.strictEqual((yield* down({ session: "work" }).pipe(Effect.provide(world.runtime()))).state, "stopped")
        assert.strictEqual(world.faults.started("stop").length, 1)
      })
    )

    run("I-29 a second down answers the same and does nothing", (world) =>
      Effect.gen(function* () {
        yield* up(upOptions).pipe(Effect.provide(world.runtime()))
        const first = yield* down({ session: "work" }).pipe(Effect.provide(world.runtime()))
        const calls = world.faults.calls.length
        const second = yield* down({ session: "work" }).pipe(Effect.provide(world.runtime()))
        assert.isTrue(second.already)
        assert.deepStrictEqual(second.checkpoint, first.checkpoint)
        assert.deepStrictEqual(second.stateTransitions, first.stateTransitions)
        assert.strictEqual(world.faults.calls.length, calls)
        assert.strictEqual(world.store.log.length, 1)
      })
    )
  })
}
