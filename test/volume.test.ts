/** What a box has on its disk outside the checkout, where that is wanted: nothing removes it without being told to. */
import { existsSync, mkdirSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { boxesOf, done, json } from "./support/boxed.ts"
import { assertFailure } from "./support/contract.ts"
import { dump, nothing, providerModule, remains, type World, world } from "./support/sandbox.ts"

/** A configuration of the user's own that wants the disk of boxes. */
const configure = (w: World, more: object = {}): void => {
  mkdirSync(join(w.directory, "home/.config/sandbox"), { recursive: true })
  const configuration = { provider: "local", durability: { volume: "persist" }, ...more }
  writeFileSync(join(w.directory, "home/.config/sandbox/config.yaml"), JSON.stringify(configuration))
}

const upArguments = (w: World): ReadonlyArray<string> => ["up", w.repository, "-b", "feature", "-n", "app"]

const destroy = (w: World, ...flags: ReadonlyArray<string>) => w.sandbox("destroy", "app", ...flags, "--json")

/** Refused, with the disk and the ledger as they were. */
const assertKept = Effect.fnUntraced(function* (w: World, ...flags: ReadonlyArray<string>) {
  const before = [dump(w.ledger), remains(w)]
  const answer = assertFailure(yield* destroy(w, ...flags), "ERR_DATA_LOSS_UNCONFIRMED")
  assert.match(answer.next_step, /`sandbox destroy sbx_[0-9a-z]+( --force)? --confirm-data-loss`/)
  assert.deepEqual([dump(w.ledger), remains(w)], before)
})

describe.concurrent("a box whose disk is wanted", { timeout: 120_000 }, () => {
  it.live("I-53 is removed by destroy only where the loss is confirmed, although all of the work is saved", () =>
    Effect.gen(function* () {
      const w = yield* world
      configure(w)
      yield* done(w, ...upArguments(w))
      assertFailure(yield* destroy(w), "ERR_FORCE_REQUIRED")
      yield* assertKept(w, "--force")
      yield* done(w, "down", "app")
      yield* assertKept(w)
      yield* assertKept(w, "--force")
      const destroyed = (yield* destroy(w, "--confirm-data-loss")).json()
      assert.deepInclude(destroyed, { ok: true, state: "destroyed" })
      assert.deepEqual({ ...remains(w), branches: nothing.branches }, nothing)
    })
  )

  it.live("is kept when the session is completed, however short that is to be", () =>
    Effect.gen(function* () {
      const w = yield* world
      configure(w, { sandbox: { completed_retention_mins: 0 } })
      yield* done(w, ...upArguments(w))
      yield* done(w, "complete", "app")
      yield* done(w, "gc")
      assert.strictEqual((yield* done(w, "status", "app")).state, "completed")
      yield* assertKept(w)
      assert.isTrue((yield* destroy(w, "--confirm-data-loss")).json().ok)
    })
  )

  it.live("is not halted either where a halt ends it, by nobody who was not told to", () =>
    Effect.gen(function* () {
      const w = yield* world
      const ending = { use: providerModule("boxProvider"), options: { terminal: true } }
      configure(w, { provider: "ending", providers: { ending } })
      yield* done(w, ...upArguments(w), "--ttl", "1s")
      const before = dump(w.ledger)
      const refused = assertFailure(yield* w.sandbox("down", "app", "--json"), "ERR_DATA_LOSS_UNCONFIRMED")
      assert.match(refused.next_step, /`sandbox down sbx_[0-9a-z]+ --confirm-data-loss`/)
      yield* Effect.sleep("1 second")
      yield* json(w, "gc")
      assert.deepEqual(dump(w.ledger), before)
      assert.lengthOf(boxesOf(w, "ending"), 1)
      assert.strictEqual((yield* done(w, "down", "app", "--confirm-data-loss")).state, "stopped")
      assert.lengthOf(boxesOf(w, "ending"), 0)
    })
  )

  it.live("of a session that never became ready holds nothing", () =>
    Effect.gen(function* () {
      const w = yield* world
      const held = join(w.directory, "held")
      configure(w, { hooks: { pre_spawn: `touch ${held}; exec sleep 300` } })
      yield* Effect.scoped(
        Effect.gen(function* () {
          const running = yield* w.start(upArguments(w))
          assert.isTrue(yield* running.saw("hook.pre_spawn"))
          running.signal("SIGKILL")
          yield* running.ended
        })
      )
      assert.strictEqual((yield* json(w, "status", "app")).state, "syncing")
      assert.lengthOf(remains(w).boxes, 1)
      assert.deepInclude((yield* destroy(w)).json(), { ok: true, state: "destroyed" })
      assert.deepEqual(remains(w).boxes, [])
    })
  )

  it.live("is removed without a word where it is not wanted", () =>
    Effect.gen(function* () {
      const w = yield* world
      configure(w, { durability: { volume: "ephemeral" } })
      const { worktree_path } = yield* done(w, ...upArguments(w))
      assert.isTrue((yield* destroy(w, "--force")).json().ok)
      assert.isFalse(existsSync(worktree_path))
    })
  )
})
