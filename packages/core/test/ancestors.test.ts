import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Option } from "effect"
import { SqlClient } from "effect/sql"
import { refusePaused } from "../src/internal/ancestors.ts"
import { Ledger } from "../src/Ledger.ts"
import { type State, states } from "../src/Lifecycle.ts"
import * as SqlLedger from "../src/SqlLedger.ts"
import { databases } from "./support/databases.ts"
import { ids, reservation } from "./support/world.ts"

const ledger = SqlLedger.layer({ where: "test", mayInitialise: true }).pipe(Layer.provide(ids))

/** A session, its parent, and the parent's parent. */
const family = Effect.gen(function* () {
  const store = yield* Ledger
  yield* store.reserve(reservation("sbx_a"))
  yield* store.reserve(reservation("sbx_b", { parent: "sbx_a" }))
  yield* store.reserve(reservation("sbx_c", { parent: "sbx_b" }))
})

const set = (id: string, column: "state" | "parent_id", value: string) =>
  SqlClient.SqlClient.use((sql) => sql`UPDATE sessions SET ${sql(column)} = ${value} WHERE id = ${id}`)

const gate = (id: string) =>
  Effect.gen(function* () {
    const session = Option.getOrThrow(yield* (yield* Ledger).session(id))
    return yield* refusePaused(session)
  })

const paused: ReadonlyArray<State> = ["stopping", "persisting", "persist_failed", "stopped_unpersisted", "stopped"]

for (const database of databases) {
  const provided = ledger.pipe(Layer.provideMerge(database.layer))

  describe(`the sessions above one, on ${database.name}`, () => {
    it.live("hinder it while one of them is paused, however far up, and in no other state", () =>
      Effect.gen(function* () {
        yield* family
        for (const above of ["sbx_b", "sbx_a"]) {
          for (const state of states) {
            yield* set(above, "state", state)
            if (!paused.includes(state)) {
              yield* gate("sbx_c")
              continue
            }
            const error = yield* Effect.flip(gate("sbx_c"))
            assert.deepInclude(error, { code: "ERR_OPERATION_CONFLICT", retryable: false, sessionId: "sbx_c" })
            assert.include(error.nextStep, `\`sandbox resume ${above}\``)
            assert.deepEqual(error.details, { parent: { session_id: above, name: `name-${above}`, state } })
          }
        }
      }).pipe(Effect.provide(provided))
    )

    it.live("hinder nobody above them, nor one that is paused itself", () =>
      Effect.gen(function* () {
        yield* family
        yield* set("sbx_b", "state", "stopped")
        yield* gate("sbx_a")
        yield* gate("sbx_b")
      }).pipe(Effect.provide(provided))
    )

    it.live("end where a record is gone, and where a damaged ledger has a ring", () =>
      Effect.gen(function* () {
        yield* family
        yield* set("sbx_a", "parent_id", "sbx_c")
        yield* gate("sbx_c")
        yield* set("sbx_b", "parent_id", "sbx_b")
        yield* gate("sbx_c")
        yield* set("sbx_b", "parent_id", "sbx_removed")
        yield* gate("sbx_c")
      }).pipe(Effect.provide(provided))
    )

    it.live("are what was reserved, and nobody changes it", () =>
      Effect.gen(function* () {
        yield* family
        const { sessions } = yield* Ledger.use((store) => store.sessions({ endedAfter: 0 }))
        assert.deepEqual(
          new Map(sessions.map(({ id, parent }) => [id, parent])),
          new Map([
            ["sbx_a", null],
            ["sbx_b", "sbx_a"],
            ["sbx_c", "sbx_b"]
          ])
        )
      }).pipe(Effect.provide(provided))
    )
  })
}
