/** What takes work out of a session, and what destroys a session by itself: real checkouts, with the parts looked at alone. */
import { readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { DatabaseSync } from "node:sqlite"
import { assert, describe, it, layer } from "@effect/vitest"
import * as Node from "@org/sandbox-core/node"
import * as Registration from "@org/sandbox-core/Registration"
import { Effect, Layer } from "effect"
import * as autoTeardown from "../../packages/core/src/internal/autoTeardown.ts"
import { Connected, providers, rejection } from "../support/client.ts"

const facts: autoTeardown.Facts = {
  state: "completed",
  enabled: true,
  exporting: false,
  keptUntil: 1000,
  now: 1000,
  doubt: null
}

const subsets = <A>(values: ReadonlyArray<A>): ReadonlyArray<ReadonlyArray<A>> =>
  Array.from({ length: 2 ** values.length }, (_, chosen) => values.filter((_, at) => (chosen & (1 << at)) !== 0))

describe("the judgement of auto-teardown", () => {
  it("I-62 destroys where everything is true, and names what is not", () => {
    const untrue: ReadonlyArray<readonly [Partial<autoTeardown.Facts>, RegExp]> = [
      [{ state: "ready" }, /^it is ready/],
      [{ enabled: false }, /^auto-teardown is off/],
      [{ exporting: true }, /^it is being exported/],
      [{ now: 999 }, /^it is kept until 1970/],
      [{ doubt: "it was never saved" }, /^it was never saved$/]
    ]
    for (const chosen of subsets(untrue)) {
      const judged = autoTeardown.decide(Object.assign({}, facts, ...chosen.map(([fact]) => fact)))
      assert.strictEqual(judged.destroy, chosen.length === 0, JSON.stringify(chosen))
      const [first] = chosen
      if (first !== undefined) assert.match(judged.reason, first[1])
    }
  })

  it("I-62 destroys in no state but completed", () => {
    for (const state of ["requested", "ready", "stopping", "stopped", "failed", "tearing_down", "destroyed"] as const) {
      assert.isFalse(autoTeardown.decide({ ...facts, state }).destroy, state)
    }
  })
})

/** What can be untrue of a session, and how it becomes so. */
const conditions = ["completed", "verified", "unlocked", "elapsed"] as const

layer(Connected.layer, { excludeTestServices: true })("auto-teardown", (it) => {
  const services = Registration.layerAll(providers).pipe(Layer.provideMerge(Node.layer()))

  for (const held of subsets(conditions)) {
    const all = held.length === conditions.length
    const missing = conditions.filter((condition) => !held.includes(condition))
    it.effect(
      `I-62 ${all ? "destroys what is completed, saved, not being exported, and kept for long enough" : `keeps what is not ${missing.join(", not ")}`}`,
      () =>
        Effect.gen(function* () {
          const { client, w } = yield* Connected
          const name = `s${conditions.map((condition) => (held.includes(condition) ? 1 : 0)).join("")}`
          const keeping = { completedRetentionMins: held.includes("elapsed") ? 0 : 60 }
          const up = yield* Effect.promise(() =>
            client.up({ repository: w.repository, branch: "feature", provider: "local", name, setup: { keeping } })
          )
          writeFileSync(join(up.worktreePath!, "work.txt"), `${name}\n`)
          if (held.includes("completed")) {
            yield* Effect.promise(() => client.complete({ session: name, autoTeardown: false }))
          }
          const completed = yield* Effect.promise(() => client.status({ session: name }))
          const saved = (yield* Effect.promise(() => client.checkpoint({ session: name }))).checkpoint
          if (!held.includes("verified")) spoil(join(w.state, "checkpoints"), saved.id, `${name}\n`)
          assert.strictEqual(completed.state, held.includes("completed") ? "completed" : "ready")
          // switched on last: with nothing to keep it for, complete itself would destroy it
          enable(w.ledger, up.sessionId, held.includes("unlocked") ? null : Date.now() + 60_000)
          const { destroyed, reason } = yield* Effect.provide(autoTeardown.run(up.sessionId), services)
          assert.strictEqual(destroyed, all, reason)
          const after = yield* Effect.promise(() => client.status({ session: up.sessionId }))
          assert.strictEqual(after.state, all ? "destroyed" : completed.state, reason)
          if (!all) assert.strictEqual(readFileSync(join(up.worktreePath!, "work.txt"), "utf8"), `${name}\n`)
        })
    )
  }

  it.effect("I-62 keeps what has changed since it was saved, and what was saved before it was completed", () =>
    Effect.gen(function* () {
      const { client, w } = yield* Connected
      const request = { repository: w.repository, branch: "feature", provider: "local", name: "changed" }
      const up = yield* Effect.promise(() =>
        client.up({ ...request, setup: { keeping: { completedRetentionMins: 0, checkpoint: "manual" } } })
      )
      yield* Effect.promise(() => client.checkpoint({ session: "changed" }))
      const first = yield* Effect.promise(() => client.complete({ session: "changed" }))
      assert.deepInclude(first, { state: "completed", checkpoint: null })
      assert.match(first.autoTeardown.reason, /not saved since it was completed/)
      yield* Effect.promise(() => client.checkpoint({ session: "changed" }))
      writeFileSync(join(up.worktreePath!, "later.txt"), "later\n")
      const exported = yield* Effect.promise(() => client.exportSession({ session: "changed" }))
      assert.deepInclude(exported, { state: "completed", uncommitted: true })
      assert.match(exported.autoTeardown.reason, /has changed since it was saved/)
      yield* Effect.promise(() => client.checkpoint({ session: "changed" }))
      const last = yield* Effect.promise(() => client.exportSession({ session: "changed" }))
      assert.deepInclude(last, { state: "destroyed", already: true })
      assert.isTrue(last.autoTeardown.destroyed)
    })
  )

  it.effect("I-66 a lock that has run out holds nobody, and one that has not holds even who forces", () =>
    Effect.gen(function* () {
      const { client, w } = yield* Connected
      const request = { repository: w.repository, branch: "feature", provider: "local", name: "locked" }
      const up = yield* Effect.promise(() => client.up(request))
      enable(w.ledger, up.sessionId, Date.now() + 60_000)
      const error = yield* rejection(client.destroy({ session: "locked", force: true, confirmDataLoss: true }))
      assert.deepInclude(error, { code: "ERR_EXPORT_IN_PROGRESS", retryable: true })
      assert.strictEqual((yield* Effect.promise(() => client.status({ session: "locked" }))).state, "ready")
      enable(w.ledger, up.sessionId, Date.now() - 1)
      const gone = yield* Effect.promise(() => client.destroy({ session: "locked", force: true }))
      assert.strictEqual(gone.state, "destroyed")
    })
  )
})

/** Changes a byte of the object of a checkpoint that has this text, and of no other that shares it. */
const spoil = (store: string, id: string, text: string): void => {
  const objects = readdirSync(store, { recursive: true, withFileTypes: true })
    .filter((entry) => /^[0-9a-f]{64}$/.test(entry.name))
    .map((entry) => join(entry.parentPath, entry.name))
    // by one of its paths alone: links lead there again
    .filter((file) => file.includes(`/bodies/${id}`) && readFileSync(file, "utf8") === text)
  assert.lengthOf(objects, 1)
  const file = objects[0]!
  const bytes = readFileSync(file)
  bytes[0]! ^= 1
  rmSync(file)
  writeFileSync(file, bytes)
}

/** Switches auto-teardown on and sets the export lock of somebody else, or takes it away. */
const enable = (ledger: string, id: string, until: number | null): void => {
  const lock = until === null ? null : JSON.stringify({ operationId: "op_other", branch: "theirs", leaseUntil: until })
  const db = new DatabaseSync(ledger, { timeout: 5000 })
  db.prepare(
    "UPDATE sessions SET setup = CASE WHEN setup IS NULL THEN NULL ELSE json_set(setup, '$.keeping.autoTeardown', json('true')) END, export_lock = ? WHERE id = ?"
  ).run(lock, id)
  db.close()
}
