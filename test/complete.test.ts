/** The end of the work: completing, what follows it, and how long a session may be up. */
import { existsSync, renameSync, rmSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { DatabaseSync } from "node:sqlite"
import { assert, describe, layer } from "@effect/vitest"
import type { KeepingOptions } from "@org/sandbox-core/promise"
import { Effect } from "effect"
import { Connected } from "./support/client.ts"
import { exported, refused, tip } from "./support/exports.ts"
import { eventually } from "./support/sandbox.ts"
import { everything, work } from "./support/work.ts"

/** A ready session on a new branch of its own name. */
const up = Effect.fnUntraced(function* (name: string, keeping: KeepingOptions = {}) {
  const { client, w } = yield* Connected
  const request = { repository: w.repository, branch: name, base: "feature", provider: "local", name }
  const made = yield* Effect.promise(() => client.up({ ...request, setup: { keeping } }))
  return { ...made, directory: made.worktreePath! }
})

const status = Effect.fnUntraced(function* (session: string) {
  const { client } = yield* Connected
  return yield* Effect.promise(() => client.status({ session }))
})

const at = (time: string | null): number => Date.parse(time!)

// one world for all: a process has one environment
layer(Connected.layer, { excludeTestServices: true })("the end of the work", (it) => {
  describe("complete", () => {
    it.effect("saves the work, keeps the box, and goes back to ready by resume", () =>
      Effect.gen(function* () {
        const { client } = yield* Connected
        const { directory, sessionId } = yield* up("done")
        work(directory)
        const before = everything(directory)
        const result = yield* Effect.promise(() => client.complete({ session: "done" }))
        assert.deepInclude(result, { sessionId, name: "done", state: "completed" })
        assert.deepInclude(result.checkpoint, { reason: "complete", head: before.head, verified: true })
        assert.isAtLeast(at(result.checkpoint!.persistedAt), at(result.completedAt))
        assert.match(result.autoTeardown.reason, /^it is kept until /)
        assert.deepEqual(everything(directory), before)
        const row = yield* status("done")
        assert.deepInclude(row, { state: "completed", completedAt: result.completedAt, claim: null })
        const inside = yield* Effect.promise(() => client.exec({ session: "done", argv: ["true"] }))
        assert.deepEqual(yield* Effect.promise(() => inside.exit), { code: 0 })

        const again = yield* Effect.promise(() => client.complete({ session: "done" }))
        assert.deepInclude(again, { already: true, operationId: null, completedAt: result.completedAt })
        assert.strictEqual(again.checkpoint?.id, result.checkpoint?.id)

        const resumed = yield* Effect.promise(() => client.resume({ session: "done" }))
        assert.strictEqual(resumed.state, "ready")
        assert.isNull((yield* status("done")).completedAt)
        const { events } = yield* Effect.promise(() => client.history({ session: "done" }))
        assert.lengthOf(
          events.filter(({ type }) => type === "completed"),
          1
        )
      })
    )

    it.effect("is answered again for the same request id", () =>
      Effect.gen(function* () {
        const { client } = yield* Connected
        yield* up("keyed")
        const request = { session: "keyed", clientRequestId: "c" }
        const first = yield* Effect.promise(() => client.complete(request))
        const { replayed, ...again } = yield* Effect.promise(() => client.complete(request))
        assert.isTrue(replayed)
        assert.strictEqual(again.operationId, first.operationId)
        assert.strictEqual(again.checkpoint?.id, first.checkpoint?.id)
        yield* refused("ERR_IDEMPOTENCY_MISMATCH", (client) => client.complete({ ...request, autoTeardown: false }))
      })
    )

    it.effect("whose save fails completes the session all the same, keeps it, and saves it the next time", () =>
      Effect.gen(function* () {
        const { client, w } = yield* Connected
        const { directory } = yield* up("unsaved", { completedRetentionMins: 0 })
        const store = join(w.state, "checkpoints")
        const broken = `${store}.away`
        // a file where the store's directory should be: nobody can write there, not even root
        renameSync(store, broken)
        writeFileSync(store, "")
        const result = yield* Effect.ensuring(
          Effect.promise(() => client.complete({ session: "unsaved" })),
          Effect.sync(() => {
            rmSync(store)
            renameSync(broken, store)
          })
        )
        assert.deepInclude(result, { state: "completed", checkpoint: null })
        assert.match(result.warnings.join("\n"), /could not be saved/)
        assert.isFalse(result.autoTeardown.destroyed)
        assert.isTrue(existsSync(directory))
        const again = yield* Effect.promise(() => client.complete({ session: "unsaved" }))
        assert.strictEqual(again.completedAt, result.completedAt)
        assert.strictEqual(again.checkpoint?.reason, "complete")
        assert.isTrue(again.autoTeardown.destroyed, again.autoTeardown.reason)
      })
    )

    it.effect("keeps or gives up the session as it is told, whatever it was set up with", () =>
      Effect.gen(function* () {
        const { client } = yield* Connected
        const { directory } = yield* up("told", { completedRetentionMins: 0 })
        const kept = yield* Effect.promise(() => client.complete({ session: "told", autoTeardown: false }))
        assert.deepEqual(kept.autoTeardown, { destroyed: false, reason: "auto-teardown is off for it" })
        const still = yield* Effect.promise(() => client.complete({ session: "told" }))
        assert.isFalse(still.autoTeardown.destroyed)
        assert.isTrue(existsSync(directory))
        const given = yield* Effect.promise(() => client.complete({ session: "told", autoTeardown: true }))
        assert.deepInclude(given, { already: true, state: "destroyed" })
        assert.isTrue(given.autoTeardown.destroyed)
        assert.isFalse(existsSync(directory))
        assert.strictEqual((yield* status("told")).state, "destroyed")
      })
    )

    it.effect("destroys at once what is kept for no time, and its work outlives it", () =>
      Effect.gen(function* () {
        const { client } = yield* Connected
        const { directory, sessionId } = yield* up("over", { completedRetentionMins: 0 })
        work(directory)
        const before = everything(directory)
        const result = yield* Effect.promise(() => client.complete({ session: "over" }))
        assert.deepInclude(result, { state: "destroyed" })
        assert.isFalse(existsSync(directory))
        const { checkpoints } = yield* Effect.promise(() => client.checkpoints({ session: sessionId }))
        const fromCheckpoint = checkpoints.at(-1)!.id
        const back = yield* Effect.promise(() => client.up({ fromCheckpoint, provider: "local", name: "back" }))
        assert.deepEqual(everything(back.worktreePath!), before)
      })
    )

    it.effect("is refused for what is not ready", () =>
      Effect.gen(function* () {
        const { client } = yield* Connected
        const { sessionId } = yield* up("halted")
        yield* Effect.promise(() => client.down({ session: "halted" }))
        const error = yield* refused("ERR_OPERATION_CONFLICT", (client) => client.complete({ session: "halted" }))
        assert.include(error.nextStep, `\`sandbox resume ${sessionId}\``)
        yield* Effect.promise(() => client.destroy({ session: "halted" }))
        yield* refused("ERR_OPERATION_CONFLICT", (client) => client.complete({ session: sessionId }))
      })
    )
  })

  describe("export", () => {
    it.effect("destroys a completed session once it is kept for no longer, and reports it", () =>
      Effect.gen(function* () {
        const { client, w } = yield* Connected
        const { directory, sessionId } = yield* up("exported", { completedRetentionMins: 60 })
        writeFileSync(join(directory, "new.txt"), "new\n")
        const completed = yield* Effect.promise(() => client.complete({ session: "exported" }))
        const early = yield* exported("exported")
        assert.match(early.autoTeardown.reason, /^it is kept until /)
        // an hour passes: the session and its checkpoint are as old as they would be then
        const ledger = new DatabaseSync(w.ledger, { timeout: 5000 })
        const hour = 3_600_000
        ledger.prepare("UPDATE sessions SET completed_at = completed_at - ? WHERE id = ?").run(hour, sessionId)
        ledger.close()
        const late = yield* exported("exported")
        assert.deepInclude(late, { already: true, state: "destroyed", commit: early.commit })
        assert.isTrue(late.autoTeardown.destroyed)
        assert.strictEqual(tip(w, "sandbox/exported"), early.commit)
        assert.isFalse(existsSync(directory))
        assert.isNotNull(completed.checkpoint)
      })
    )
  })

  describe("extend", () => {
    it.effect("sets and clears the time of a session that is up, halted or completed", () =>
      Effect.gen(function* () {
        const { client } = yield* Connected
        yield* up("timed")
        const extend = (ttl: number | null) => Effect.promise(() => client.extend({ session: "timed", ttl }))
        const states: ReadonlyArray<() => Promise<unknown>> = [
          () => Promise.resolve(),
          () => client.complete({ session: "timed", autoTeardown: false }),
          () => client.down({ session: "timed" })
        ]
        for (const prepare of states) {
          yield* Effect.promise(prepare)
          const from = Date.now()
          const set = yield* extend(3_600_000)
          assert.isAtLeast(at(set.expiresAt), from + 3_600_000)
          assert.isAtMost(at(set.expiresAt), Date.now() + 3_600_000)
          const row = yield* status("timed")
          assert.deepInclude(row, { expiresAt: set.expiresAt, state: set.state, claim: null })
          assert.isNull((yield* extend(null)).expiresAt)
          assert.isNull((yield* status("timed")).expiresAt)
        }
      })
    )

    it.effect("is refused for no time, and for what is destroyed", () =>
      Effect.gen(function* () {
        const { client } = yield* Connected
        const { sessionId } = yield* up("untimed")
        for (const ttl of [0, -1, Number.NaN, Number.POSITIVE_INFINITY, 8.64e15]) {
          const error = yield* refused("ERR_INVALID_ARGUMENT", (client) => client.extend({ session: "untimed", ttl }))
          assert.strictEqual(error.details?.["field"], "ttl")
        }
        yield* Effect.promise(() => client.destroy({ session: "untimed", force: true }))
        yield* refused("ERR_OPERATION_CONFLICT", (client) => client.extend({ session: sessionId, ttl: 1000 }))
      })
    )

    it.effect("lets gc halt what is up for longer than that, and keep its work", () =>
      Effect.gen(function* () {
        const { client } = yield* Connected
        const { directory } = yield* up("expiring")
        writeFileSync(join(directory, "work.txt"), "kept\n")
        const { expiresAt } = yield* Effect.promise(() => client.extend({ session: "expiring", ttl: 1 }))
        yield* eventually("its time is over", () => Date.now() > at(expiresAt))
        const { actions } = yield* Effect.promise(() => client.gc())
        const [own] = actions.filter(({ name }) => name === "expiring")
        assert.deepInclude(own, { action: "halt", outcome: "done" })
        assert.strictEqual((yield* status("expiring")).state, "stopped")
        assert.isTrue(existsSync(join(directory, "work.txt")))
      })
    )
  })
})
