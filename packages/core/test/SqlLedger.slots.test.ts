import { assert, describe, layer } from "@effect/vitest"
import { Array as Arrays, Effect, Exit, Layer, Option, Result } from "effect"
import { SqlClient } from "effect/sql"
import { type Change, Ledger, type SlotRequest } from "../src/Ledger.ts"
import * as Lifecycle from "../src/Lifecycle.ts"
import type { Session } from "../src/Session.ts"
import * as SqlLedger from "../src/SqlLedger.ts"
import { databases } from "./support/databases.ts"
import { claim, ids, operation, reservation } from "./support/world.ts"

const ledger = SqlLedger.layer({ where: "test", mayInitialise: true }).pipe(Layer.provide(ids))

let sessions = 0
const freshId = () => {
  sessions += 1
  return `sbx_${String(sessions).padStart(26, "0")}`
}
let scopes = 0
const freshScope = () => {
  scopes += 1
  return `host-${scopes}`
}

interface Placed {
  readonly row: Session
  readonly commit: (change: Change) => ReturnType<Ledger["Service"]["commit"]>
}

/** A session with a slot, or one without when none is asked for, under a claim. */
const reserved = Effect.fnUntraced(function* (slot?: SlotRequest, owner = "ann") {
  const store = yield* Ledger
  const wanted = reservation(freshId(), { owner })
  const row = yield* store.reserve({ ...wanted, slot })
  const fence = { sessionId: row.id, token: wanted.claim.token, operationId: wanted.operation.id }
  const placed: Placed = { row, commit: (change) => store.commit({ ...fence, change }) }
  return placed
})

const slotsOf = (all: ReadonlyArray<{ readonly row: Session }>) => all.map(({ row }) => row.slot)
const many = <A, E, R>(count: number, effect: (index: number) => Effect.Effect<A, E, R>) =>
  Effect.forEach(Arrays.range(0, count - 1), effect)
const atOnce = <A, E, R>(count: number, effect: (index: number) => Effect.Effect<A, E, R>) =>
  Effect.forEach(Arrays.range(0, count - 1), (index) => Effect.result(effect(index)), { concurrency: "unbounded" })
const given = (scope: string) => Ledger.use((store) => store.ports(scope))
const session = (id: string) => Ledger.use((store) => Effect.map(store.session(id), Option.getOrThrow))

for (const database of databases) {
  describe(`slots and ports on ${database.name}`, () => {
    layer(ledger.pipe(Layer.provideMerge(database.layer)), { timeout: "60 seconds" })((it) => {
      it.effect("gives the lowest free slot of the placement", () =>
        Effect.gen(function* () {
          const [here, there] = [freshScope(), freshScope()]
          const first = yield* many(3, () => reserved({ scope: here, max: 4 }))
          assert.deepStrictEqual(slotsOf(first), [1, 2, 3])
          assert.deepStrictEqual(slotsOf([yield* reserved({ scope: there, max: 4 })]), [1])
          const none = yield* reserved()
          assert.deepStrictEqual([none.row.slot, none.row.placementScope], [null, null])
          yield* first[1]!.commit({ set: { slot: null } })
          assert.deepStrictEqual(slotsOf(yield* many(2, () => reserved({ scope: here, max: 4 }))), [2, 4])
        })
      )

      it.effect("leaves a session its slot while it is halted", () =>
        Effect.gen(function* () {
          const scope = freshScope()
          const { commit, row } = yield* reserved({ scope, max: 2 })
          const path = ["requested", "provisioning", "syncing", "ready"] as const
          for (const [from, to] of Arrays.zip(path, path.slice(1))) {
            yield* commit({ move: Lifecycle.move({ from, to, by: "up" }) })
          }
          const ready = yield* commit({ release: true, set: { ports: { web: 3001 } } })
          const down = { claim: claim("down", "down"), operation: operation("down"), force: false }
          const store = yield* Ledger
          yield* store.acquire({
            ...down,
            observed: ready,
            move: Lifecycle.move({ from: "ready", to: "stopping", by: "down" })
          })
          const halted = yield* store.commit({
            sessionId: row.id,
            token: "down",
            operationId: down.operation.id,
            change: { set: { ports: null }, release: true }
          })
          assert.deepStrictEqual([halted.slot, halted.placementScope, halted.ports], [1, scope, null])
          assert.deepStrictEqual(slotsOf([yield* reserved({ scope, max: 2 })]), [2])
          const full = yield* Effect.flip(reserved({ scope, max: 2 }))
          assert.deepStrictEqual(full._tag === "SlotsExhausted" && full.holders.map(({ state }) => state), [
            "stopping",
            "requested"
          ])
        })
      )

      it.effect("I-79 gives 5 of 20 concurrent sessions the 5 slots, and tells the others who has them", () =>
        Effect.gen(function* () {
          const scope = freshScope()
          const results = yield* atOnce(20, (index) => reserved({ scope, max: 5 }, index % 2 === 0 ? "ann" : "bob"))
          const winners = results.filter(Result.isSuccess).map(({ success }) => success)
          assert.deepStrictEqual(
            slotsOf(winners).toSorted((a, b) => Number(a) - Number(b)),
            [1, 2, 3, 4, 5]
          )
          const bySlot = winners.map(({ row }) => row).toSorted((a, b) => a.slot! - b.slot!)
          for (const { failure } of results.filter(Result.isFailure)) {
            if (failure._tag !== "SlotsExhausted") return assert.fail(failure._tag)
            assert.strictEqual(failure.max, 5)
            assert.deepStrictEqual(
              failure.holders.map(({ id, slot }) => [id, slot]),
              bySlot.map(({ id, slot }) => [id, slot])
            )
          }
          assert.strictEqual(results.filter(Result.isFailure).length, 15)
          const sql = yield* SqlClient.SqlClient
          const rows = yield* sql`SELECT id FROM sessions WHERE placement_scope = ${scope}`
          assert.strictEqual(rows.length, 5)
        })
      )

      it.effect("writes nothing of a session that got no slot", () =>
        Effect.gen(function* () {
          const scope = freshScope()
          yield* reserved({ scope, max: 1 })
          const sql = yield* SqlClient.SqlClient
          const count = Effect.map(
            sql<{ readonly n: unknown }>`SELECT (SELECT COUNT(*) FROM sessions) + (SELECT COUNT(*) FROM operations)
              + (SELECT COUNT(*) FROM events) AS n`,
            ([row]) => Number(row?.n)
          )
          const before = yield* count
          const exits = yield* atOnce(5, () => reserved({ scope, max: 1 }))
          assert.isTrue(exits.every(Result.isFailure))
          assert.strictEqual(yield* count, before)
        })
      )

      it.effect("gives a slot later to a session that has none, once", () =>
        Effect.gen(function* () {
          const scope = freshScope()
          const all = yield* many(8, () => reserved())
          const results = yield* atOnce(8, (index) => all[index]!.commit({ slot: { scope, max: 5 } }))
          const rows = results.filter(Result.isSuccess).map(({ success }) => success)
          assert.deepStrictEqual(
            rows.map(({ slot }) => slot!).toSorted((a, b) => a - b),
            [1, 2, 3, 4, 5]
          )
          for (const { failure } of results.filter(Result.isFailure)) assert.strictEqual(failure._tag, "SlotsExhausted")
          assert.isTrue(rows.every(({ placementScope }) => placementScope === scope))
        })
      )

      it.effect("gives a port of a placement to one session, and another placement its own", () =>
        Effect.gen(function* () {
          const [here, there] = [freshScope(), freshScope()]
          const [a, b, c] = [
            yield* reserved({ scope: here, max: 4 }),
            yield* reserved({ scope: here, max: 4 }),
            yield* reserved({ scope: there, max: 4 })
          ]
          const row = yield* a.commit({ set: { ports: { web: 3001, api: 4001 } } })
          assert.deepStrictEqual(row.ports, { web: 3001, api: 4001 })
          assert.deepStrictEqual(yield* session(row.id), row)
          yield* c.commit({ set: { ports: { web: 3001 } } })
          assert.deepStrictEqual(yield* given(here), new Map([a, a].map(({ row }, i) => [[3001, 4001][i]!, row.id])))
          assert.deepStrictEqual(yield* given(there), new Map([[3001, c.row.id]]))

          const before = yield* session(b.row.id)
          const history = Ledger.use((store) => store.history(b.row.id))
          const told = yield* history
          const taken = yield* Effect.flip(
            b.commit({
              move: Lifecycle.move({ from: "requested", to: "provisioning", by: "up" }),
              set: { ports: { web: 3002, api: 4001 } },
              events: [{ type: "note", data: {} }]
            })
          )
          assert.deepStrictEqual(taken._tag === "PortTaken" && taken.ports, [4001])
          assert.deepStrictEqual(yield* session(b.row.id), before)
          assert.deepStrictEqual(yield* history, told)
          assert.isFalse((yield* given(here)).has(3002))
        })
      )

      it.effect("lets sessions that have no placement have the same numbers, each in its own box", () =>
        Effect.gen(function* () {
          const all = yield* many(2, () => reserved())
          const rows = yield* Effect.forEach(all, ({ commit }) => commit({ set: { ports: { web: 3000 } } }))
          assert.deepStrictEqual(
            rows.map(({ ports }) => ports),
            [{ web: 3000 }, { web: 3000 }]
          )
        })
      )

      it.effect("replaces the ports of a session, and takes them back with none", () =>
        Effect.gen(function* () {
          const scope = freshScope()
          const { commit, row } = yield* reserved({ scope, max: 4 })
          yield* commit({ set: { ports: { web: 3001, api: 4001 } } })
          yield* commit({ set: { ports: { web: 4001 } } })
          assert.deepStrictEqual(yield* given(scope), new Map([[4001, row.id]]))
          yield* commit({ set: { commit: "abc" } })
          assert.strictEqual((yield* given(scope)).size, 1)
          assert.isNull((yield* commit({ set: { ports: null } })).ports)
          assert.strictEqual((yield* given(scope)).size, 0)
        })
      )

      it.effect(
        "gives a port that 10 sessions want in the same moment to one of them, in whatever order they name theirs",
        () =>
          Effect.gen(function* () {
            const scope = freshScope()
            const all = yield* many(10, () => reserved({ scope, max: 10 }))
            for (const round of Arrays.range(1, 10)) {
              const shared = Arrays.range(0, 9).map((i) => [`p${i}`, round * 100 + i] as const)
              const results = yield* atOnce(10, (index) =>
                all[index]!.commit({
                  set: { ports: Object.fromEntries(index % 2 === 0 ? shared : shared.toReversed()) }
                })
              )
              const [winner, ...others] = results.filter(Result.isSuccess)
              assert.deepStrictEqual(others, [])
              for (const { failure } of results.filter(Result.isFailure)) assert.strictEqual(failure._tag, "PortTaken")
              const now = yield* given(scope)
              assert.deepStrictEqual(new Set(now.values()), new Set([winner!.success.id]))
              yield* Effect.forEach(all, ({ commit }) => commit({ set: { ports: null } }))
            }
          })
      )

      it.effect("refuses other sessions a slot with a clear failure when a holder's row is damaged", () =>
        Effect.gen(function* () {
          const scope = freshScope()
          const { row } = yield* reserved({ scope, max: 2 })
          const sql = yield* SqlClient.SqlClient
          yield* sql`UPDATE sessions SET spec = '{' WHERE id = ${row.id}`
          assert.deepStrictEqual(slotsOf([yield* reserved({ scope, max: 2 })]), [2])
          const full = yield* Effect.exit(reserved({ scope, max: 2 }))
          yield* sql`UPDATE sessions SET spec = '{}' WHERE id = ${row.id}`
          assert.isTrue(Exit.isFailure(full))
          const error = yield* Effect.flip(full)
          assert.strictEqual(error._tag, "SlotsExhausted")
          assert.strictEqual(error._tag === "SlotsExhausted" && error.holders.length, 1)
        })
      )
    })
  })
}
