/** Commands that name no session: the current directory tells which one is meant. */
import { mkdirSync, rmSync, symlinkSync } from "node:fs"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { assertFailure } from "./support/contract.ts"
import { type Outcome, type World, world } from "./support/sandbox.ts"

const up = (w: World, name: string, branch: string, repository = w.repository) =>
  Effect.map(w.sandbox("up", repository, "-b", branch, "-p", "local", "-n", name, "--json"), (outcome) => {
    assert.strictEqual(outcome.code, 0, outcome.stdout)
    return outcome.json()
  })

const at = (w: World, cwd: string, ...args: ReadonlyArray<string>) => w.run([...args, "--json"], { cwd })

const candidates = (outcome: Outcome) =>
  (outcome.json().details as { readonly candidates?: ReadonlyArray<{ readonly name: string }> }).candidates
    ?.map(({ name }) => name)
    .sort()

describe.concurrent("a session that is not named", () => {
  it.live("is the one whose checkout the directory is in, at any depth and by any way there", () =>
    Effect.gen(function* () {
      const w = yield* world
      const one = yield* up(w, "one", "feature")
      const two = yield* up(w, "two", "topic/one")
      const deep = join(two.worktree_path, "a", "b")
      mkdirSync(deep, { recursive: true })
      const link = join(w.directory, "link")
      symlinkSync(two.worktree_path, link)
      assert.strictEqual((yield* at(w, one.worktree_path, "status")).json().session_id, one.session_id)
      for (const directory of [two.worktree_path, deep, link, join(link, "a")]) {
        assert.strictEqual((yield* at(w, directory, "status")).json().session_id, two.session_id, directory)
      }
      assert.strictEqual((yield* at(w, deep, "history")).json().session_id, two.session_id)
      assert.include((yield* at(w, deep, "down")).json(), { session_id: two.session_id, state: "stopped" })
      assert.include((yield* at(w, deep, "resume")).json(), { session_id: two.session_id, state: "ready" })
    })
  )

  it.live("is the only one of the repository that the directory is in, and several are told", () =>
    Effect.gen(function* () {
      const w = yield* world
      const inside = join(w.repository, "deep")
      mkdirSync(inside)
      const none = assertFailure(yield* at(w, inside, "status"), "ERR_INVALID_ARGUMENT")
      assert.strictEqual(none.cause, "no session was named, and this directory belongs to none")
      assert.strictEqual(none.details.field, "session")

      const one = yield* up(w, "one", "feature")
      assert.strictEqual((yield* at(w, inside, "status")).json().session_id, one.session_id)
      yield* up(w, "two", "topic/one")
      const several = yield* at(w, inside, "status")
      assert.include(assertFailure(several, "ERR_INVALID_ARGUMENT").cause, "the repository here has 2")
      assert.deepEqual(candidates(several), ["one", "two"])
      assert.strictEqual((yield* at(w, one.worktree_path, "status")).json().session_id, one.session_id)

      assert.strictEqual((yield* w.sandbox("destroy", "two", "--force")).code, 0)
      assert.strictEqual((yield* at(w, inside, "status")).json().session_id, one.session_id)
    })
  )

  it.live("is never somebody else's, and none far from any", () =>
    Effect.gen(function* () {
      const w = yield* world
      const { worktree_path } = yield* up(w, "one", "feature")
      for (const cwd of [worktree_path, w.repository]) {
        assertFailure(yield* at(w, cwd, "status", "--principal", "bob"), "ERR_INVALID_ARGUMENT")
      }
      assertFailure(yield* at(w, join(w.directory, "home"), "status"), "ERR_INVALID_ARGUMENT")
    })
  )

  it.live("is destroyed only from inside its own checkout", () =>
    Effect.gen(function* () {
      const w = yield* world
      const { session_id, worktree_path } = yield* up(w, "one", "feature")
      for (const verb of [["destroy"], ["down", "--destroy"]]) {
        const outside = yield* at(w, w.repository, ...verb, ...(verb.length === 1 ? ["--force"] : []))
        assertFailure(outside, "ERR_INVALID_ARGUMENT")
      }
      assert.strictEqual((yield* w.sandbox("status", "one", "--json")).json().state, "ready")
      const gone = yield* at(w, worktree_path, "destroy", "--force")
      assert.include(gone.json(), { session_id, state: "destroyed" })
    })
  )

  it.live("is asked for where the directory was removed", () =>
    Effect.gen(function* () {
      const w = yield* world
      const removed = join(w.directory, "removed")
      mkdirSync(removed)
      const outcome = yield* w.run(["status", "--json"], {
        cwd: removed,
        through: (command) => ["sh", "-c", `rmdir ${removed}; exec "$@"`, "sh", ...command]
      })
      rmSync(removed, { recursive: true, force: true })
      const { cause } = assertFailure(outcome, "ERR_INVALID_ARGUMENT")
      assert.strictEqual(cause, "no session was named, and the current directory is there no more")
    })
  )
})
