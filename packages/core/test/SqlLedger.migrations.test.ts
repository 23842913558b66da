import { readFileSync } from "node:fs"
import { join } from "node:path"
import { DatabaseSync } from "node:sqlite"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { SqlClient } from "effect/sql"
import { Ledger } from "../src/Ledger.ts"
import * as Lifecycle from "../src/Lifecycle.ts"
import * as SqliteClient from "../src/node/SqliteClient.ts"
import { Checkpoint, Prior } from "../src/Session.ts"
import * as SqlLedger from "../src/SqlLedger.ts"
import { databases, temporaryDirectory } from "./support/databases.ts"
import { claim, ids, operation, reservation } from "./support/world.ts"

const ledger = SqlLedger.layer({ where: "test", mayInitialise: false }).pipe(Layer.provide(ids))

/** What a ledger of schema 1 held: one session ready, one halted, one failed, one destroyed, one whose `up` was killed. */
const dump = readFileSync(new URL("fixtures/ledger-v1.sql", import.meta.url), "utf8")

const restored = Effect.map(temporaryDirectory, (directory) => {
  const filename = join(directory, "ledger.db")
  const db = new DatabaseSync(filename)
  db.exec(dump)
  db.close()
  return filename
})

/** Runs an effect in the ledger of a file, as a process of its own would. */
const opened =
  (filename: string) =>
  <A, E>(effect: Effect.Effect<A, E, Ledger | SqlClient.SqlClient>) =>
    Effect.provide(effect, Layer.fresh(Layer.provideMerge(ledger, SqliteClient.layer({ filename, create: false }))))

const all = (filename: string, table: string): ReadonlyArray<Record<string, unknown>> => {
  const db = new DatabaseSync(filename)
  const rows = db.prepare(`SELECT * FROM ${table} ORDER BY rowid`).all()
  db.close()
  return rows.map((row) => ({ ...row }))
}

/** What later schemas added to the rows of the first, and what it means that they have nothing there. */
const added: Readonly<Record<string, Readonly<Record<string, unknown>>>> = {
  sessions: {
    setup: null,
    ports: null,
    endpoint_url: null,
    restore_from: null,
    last_export: null,
    completed_at: null,
    last_write: null,
    parent_id: null
  },
  operations: { settled_by: null },
  orphans: { checkpoint: null, workspace_path: null },
  checkpoints: { reason: "down", head: null, fingerprint: null, files: 0 }
}

const everyone = Ledger.use((store) => store.sessions({ endedAfter: 0 }))
const summary = (page: Effect.Success<typeof everyone>) =>
  Object.fromEntries(page.sessions.map((session) => [session.name, session.state]))

describe("a ledger of schema 1", () => {
  it.live("I-82 is brought up to date with all its rows, once, and keeps its id", () =>
    Effect.gen(function* () {
      const filename = yield* restored
      const tables = ["sessions", "operations", "events", "intents", "checkpoints"]
      const before = Object.fromEntries(tables.map((table) => [table, all(filename, table)]))
      const id = yield* opened(filename)(Ledger.useSync((store) => store.id))
      const again = yield* opened(filename)(Ledger.useSync((store) => store.id))
      assert.deepStrictEqual([id, again], Array(2).fill(dump.match(/'ledger_id','(.+?)'/)?.[1]))
      for (const table of tables) {
        const kept = before[table]!.map((row) => ({ ...row, ...added[table] }))
        assert.deepStrictEqual(all(filename, table), kept, table)
        assert.isNotEmpty(kept)
      }
      assert.deepStrictEqual(all(filename, "ports"), [])
    })
  )

  it.live("I-82 is read: sessions, histories, and the requests that were made of it", () =>
    Effect.gen(function* () {
      const filename = yield* restored
      yield* opened(filename)(
        Effect.gen(function* () {
          const store = yield* Ledger
          const page = yield* everyone
          assert.deepStrictEqual(page.unreadable, [])
          assert.deepStrictEqual(summary(page), {
            "ready-one": "ready",
            halted: "stopped",
            broken: "failed",
            gone: "destroyed",
            killed: "syncing"
          })
          for (const session of page.sessions) {
            const { endpointUrl, id, placementScope, ports, setup, slot } = session
            assert.deepStrictEqual([setup, placementScope, slot, ports, endpointUrl], [null, null, null, null, null])
            const history = yield* store.history(id)
            assert.isNotEmpty(history.operations)
            assert.strictEqual(history.events[0]?.type, "transition")
          }
          const known = yield* store.request({ owner: "ann", verb: "up", clientRequestId: "k1" })
          assert.isTrue(known._tag === "Some" && known.value.status === "succeeded")
        })
      )
    })
  )

  it.live("can be written to: its sessions are claimed, and new ones get slots and ports", () =>
    Effect.gen(function* () {
      const filename = yield* restored
      yield* opened(filename)(
        Effect.gen(function* () {
          const store = yield* Ledger
          const { sessions } = yield* everyone
          const halted = sessions.find(({ name }) => name === "halted")!
          const { generation, instance, provider, state } = halted
          const resume = operation("resume")
          const claimed = yield* store.acquire({
            observed: halted,
            move: Lifecycle.move({ from: state, to: "provisioning", by: "resume" }),
            claim: claim("t", "resume", { prior: new Prior({ state, provider, instance, generation }) }),
            operation: resume,
            force: false
          })
          assert.strictEqual(claimed.state, "provisioning")
          const row = yield* store.commit({
            sessionId: halted.id,
            token: "t",
            operationId: resume.id,
            change: { slot: { scope: "host", max: 2 }, set: { ports: { web: 3001 } } }
          })
          assert.deepStrictEqual([row.slot, row.ports], [1, { web: 3001 }])
          const wanted = { ...reservation("sbx_00000000000000000000000001"), slot: { scope: "host", max: 2 } }
          assert.strictEqual((yield* store.reserve(wanted)).slot, 2)
        })
      )
    })
  )

  it.live("is brought up to date once when several processes open it at the same time", () =>
    Effect.gen(function* () {
      const filename = yield* restored
      const found = yield* Effect.forEach([1, 2, 3, 4], () => opened(filename)(Effect.map(everyone, summary)), {
        concurrency: "unbounded"
      })
      for (const names of found) assert.strictEqual(Object.keys(names).length, 5)
      assert.deepStrictEqual(
        all(filename, "ledger_migrations").map((row) => row["migration_id"]),
        [1, 2, 3, 4]
      )
    })
  )
})

/** With which schema a column came. */
const since = (column: string): number => {
  if (["parent_id", "checkpoint", "workspace_path"].includes(column)) return 4
  return ["setup", "ports", "endpoint_url"].includes(column) ? 2 : 3
}

for (const database of databases) {
  for (const schema of [1, 2, 3]) {
    describe(`a ledger of schema ${schema} on ${database.name}`, () => {
      it.live("I-82 is brought up to date with its rows when several open it at the same time", () =>
        Effect.gen(function* () {
          const fresh = SqlLedger.layer({ where: "test", mayInitialise: true }).pipe(Layer.provide(ids))
          const wanted = { ...reservation("sbx_a"), slot: { scope: "host", max: 2 } }
          const fence = { sessionId: "sbx_a", token: wanted.claim.token, operationId: wanted.operation.id }
          const checkpoint = new Checkpoint({
            ...{ id: "ckp_a", sessionId: "sbx_a", digest: "d", bytes: 3, verified: true, reason: "down", head: null },
            ...{ fingerprint: null, files: 0, compacted: 0, persistedAt: 7 }
          })
          const ports = schema === 1 ? null : { web: 3001 }
          const [row, history] = yield* Effect.provide(
            Ledger.use((store) =>
              Effect.andThen(
                store.reserve(wanted),
                Effect.all([
                  store.commit({ ...fence, change: { set: { ports }, checkpoint, phase: "started" } }),
                  store.history("sbx_a")
                ])
              )
            ),
            fresh
          )
          const sql = yield* SqlClient.SqlClient
          // what the later steps added, taken away again
          if (schema === 1) yield* sql`DROP TABLE ports`
          for (const [table, columns] of Object.entries(added)) {
            for (const column of Object.keys(columns)) {
              if (since(column) > schema) yield* sql`ALTER TABLE ${sql(table)} DROP COLUMN ${sql(column)}`
            }
          }
          yield* sql`DELETE FROM ledger_migrations WHERE migration_id > ${schema}`
          yield* sql`UPDATE meta SET value = ${String(schema)} WHERE name = 'schema_version'`
          const found = yield* Effect.all(
            Array.from({ length: 4 }, () =>
              Effect.provide(
                Ledger.use((store) => Effect.all([everyone, store.history("sbx_a"), store.ports("host")])),
                Layer.fresh(ledger)
              )
            ),
            { concurrency: "unbounded" }
          )
          for (const [page, kept, taken] of found) {
            assert.deepStrictEqual(page, { sessions: [row], unreadable: [] })
            assert.deepStrictEqual(kept, history)
            assert.deepStrictEqual([...taken], schema === 1 ? [] : [[3001, "sbx_a"]])
          }
          const next = { ...reservation("sbx_b"), slot: { scope: "host", max: 2 } }
          const slot = Ledger.use((store) => Effect.map(store.reserve(next), (made) => made.slot))
          assert.strictEqual(yield* Effect.provide(slot, Layer.fresh(ledger)), 2)
        }).pipe(Effect.provide(database.layer))
      )
    })
  }
}
