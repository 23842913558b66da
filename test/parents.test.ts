/** Sessions that are started on behalf of others. */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { done } from "./support/boxed.ts"
import { assertFailure } from "./support/contract.ts"
import { dump, type World, world } from "./support/sandbox.ts"

const upArguments = (w: World, branch: string, ...args: ReadonlyArray<string>): ReadonlyArray<string> => [
  ...["up", w.repository, "-b", branch, "-p", "local"],
  ...(args.includes("-n") ? args : ["-n", branch, ...args])
]

/** Brings a session up at a branch of its own name. */
const up = (w: World, branch: string, ...args: ReadonlyArray<string>) => done(w, ...upArguments(w, branch, ...args))

describe.concurrent("a session on behalf of another one", { timeout: 120_000 }, () => {
  it.live("says whose it is, by its id, however it was named", () =>
    Effect.gen(function* () {
      const w = yield* world
      const parent = yield* up(w, "main")
      const child = yield* up(w, "feature", "--parent", "main")
      const grandchild = yield* up(w, "topic/one", "-n", "third", "--parent", child.session_id.slice(0, -4))
      assert.isNull((yield* done(w, "status", "main")).parent)
      assert.strictEqual((yield* done(w, "status", "feature")).parent, parent.session_id)
      const { sessions } = yield* done(w, "list")
      assert.deepEqual(
        new Map(sessions.map(({ name, parent }) => [name, parent])),
        new Map([
          ["main", null],
          ["feature", parent.session_id],
          ["third", child.session_id]
        ])
      )
      const told = yield* w.sandbox("status", "third")
      assert.match(told.stdout, new RegExp(`^ +parent +${child.session_id}$`, "m"))
      assert.notMatch((yield* w.sandbox("status", "main")).stdout, /^ +parent /m)
      assert.match(grandchild.session_id, /^sbx_/)
    })
  )

  it.live("outlives the other one, and is not halted with it", () =>
    Effect.gen(function* () {
      const w = yield* world
      const { session_id } = yield* up(w, "main")
      yield* up(w, "feature", "--parent", "main")
      const states: Array<unknown> = []
      for (const verb of [["down"], ["destroy"]]) {
        yield* done(w, ...verb, "main")
        const { parent, state } = yield* done(w, "status", "feature")
        states.push([parent, state])
      }
      assert.deepEqual(states, Array(2).fill([session_id, "ready"]))
      yield* done(w, "down", "feature")
      yield* done(w, "resume", "feature")
      assert.strictEqual((yield* done(w, "status", "feature")).parent, session_id)
    })
  )

  it.live("is refused where the other one is unknown, somebody else's or destroyed", () =>
    Effect.gen(function* () {
      const w = yield* world
      const { session_id } = yield* up(w, "main")
      yield* up(w, "feature")
      yield* done(w, "destroy", "feature", "--force")
      const before = dump(w.ledger)
      const tried = (parent: string, ...args: ReadonlyArray<string>) =>
        w.sandbox(...upArguments(w, "topic/one", "-n", "third", "--parent", parent, ...args), "--json")
      assertFailure(yield* tried("nobody"), "ERR_SESSION_NOT_FOUND")
      assertFailure(yield* tried(session_id, "--principal", "bob"), "ERR_SESSION_FORBIDDEN")
      assertFailure(yield* tried("main", "--principal", "bob"), "ERR_SESSION_NOT_FOUND")
      assertFailure(yield* tried(""), "ERR_INVALID_ARGUMENT")
      const destroyed = assertFailure(yield* tried("feature"), "ERR_INVALID_ARGUMENT")
      assert.strictEqual(destroyed.details.field, "parent")
      assert.deepEqual(dump(w.ledger), before, "nothing was made or recorded")
    })
  )

  it.live("I-26 is part of what makes two requests the same, and is answered again when the other one is gone", () =>
    Effect.gen(function* () {
      const w = yield* world
      const { session_id } = yield* up(w, "main")
      const request = upArguments(w, "feature", "--client-request-id", "k")
      const first = yield* done(w, ...request, "--parent", "main")
      const again = yield* done(w, ...request, "--parent", session_id)
      assert.deepEqual([again.replayed, again.session_id], [true, first.session_id])
      assertFailure(yield* w.sandbox(...request, "--json"), "ERR_IDEMPOTENCY_MISMATCH")
      assertFailure(yield* w.sandbox(...request, "--parent", first.session_id, "--json"), "ERR_IDEMPOTENCY_MISMATCH")
      yield* done(w, "destroy", "main", "--force")
      assert.isTrue((yield* done(w, ...request, "--parent", session_id)).replayed)
    })
  )
})
