/** The same request again: after it succeeded, after it failed, while it runs, and as another one. */
import { mkdirSync, rmSync, writeFileSync } from "node:fs"
import { dirname, join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { heldGit } from "./support/heldGit.ts"
import { dump, query, remains, type World, world } from "./support/sandbox.ts"

const up = (w: World, ...more: ReadonlyArray<string>) => [
  ...["up", w.repository, "--branch", "feature", "--provider", "local", "--json"],
  ...more
]

/** The ids under which the ledger knows a request. */
const operationOf = (w: World, key: string): { readonly operation_id: string; readonly session_id: string } => {
  const sql = "SELECT id AS operation_id, session_id FROM operations WHERE client_request_id = ?"
  const [ids] = query<{ operation_id: string; session_id: string }>(w.ledger, sql, key)
  return ids ?? assert.fail(`the ledger knows no request ${key}`)
}

describe.concurrent("a request that is repeated", () => {
  it.live("I-22 a replayed failed up fails again, with the original error", () =>
    Effect.gen(function* () {
      const w = yield* world
      // where the boxes should be is a file
      mkdirSync(w.state, { recursive: true })
      writeFileSync(join(w.state, "local"), "")
      const first = yield* w.sandbox(...up(w, "--client-request-id", "k"))
      assert.strictEqual(first.code, 2)
      const failure = first.json()
      assert.strictEqual(failure.error_code, "ERR_SANDBOX_PROVISION_FAILED")
      rmSync(join(w.state, "local"))
      const before = dump(w.ledger)
      const git = heldGit(w)
      for (let round = 0; round < 3; round++) {
        const again = yield* w.run(up(w, "--client-request-id", "k"), { env: git.env })
        assert.strictEqual(again.code, 2)
        assert.deepInclude(again.json(), {
          ok: false,
          error_code: failure.error_code,
          cause: failure.cause,
          retryable: failure.retryable,
          operation_id: failure.operation_id,
          session_id: failure.session_id,
          replayed: true,
          next_step: "retry with a new --client-request-id"
        })
      }
      assert.deepEqual(dump(w.ledger), before)
      assert.deepEqual(git.calls(), [])
      assert.strictEqual((yield* w.sandbox(...up(w, "--client-request-id", "k2"))).code, 0)
    })
  )

  it.live("I-22 a repository that cannot be resolved fails the same way every time", () =>
    Effect.gen(function* () {
      const w = yield* world
      const args = ["up", w.repository, "-b", "nope", "-p", "local", "--json", "--client-request-id", "k"]
      const { next_step: _, ...first } = (yield* w.sandbox(...args)).json()
      w.git("branch", "nope")
      const again = yield* w.sandbox(...args)
      assert.strictEqual(again.code, 2)
      const { next_step, replayed, ...second } = again.json()
      assert.isTrue(replayed)
      assert.strictEqual(next_step, "retry with a new --client-request-id")
      assert.deepEqual(second, first)
    })
  )

  it.live("I-23 answers as before without doing anything, and not at all once the session has moved on", () =>
    Effect.gen(function* () {
      const w = yield* world
      const args = up(w, "--client-request-id", "k")
      const first = (yield* w.sandbox(...args)).json()
      const before = dump(w.ledger)
      const git = heldGit(w)
      const again = yield* w.run(args, { env: git.env })
      assert.strictEqual(again.code, 0)
      assert.deepEqual(again.json(), { ...first, replayed: true })
      assert.deepEqual(git.calls(), [])
      assert.deepEqual(dump(w.ledger), before)

      yield* w.sandbox("down", first.session_id)
      const { operation_id, session_id } = first
      const stopped = yield* w.run(args, { env: git.env })
      assert.strictEqual(stopped.code, 1)
      assert.deepInclude(stopped.json(), {
        ...{ error_code: "ERR_NOT_READY", state: "stopped", replayed: true, retryable: false },
        ...{ operation_id, session_id, next_step: `run \`sandbox resume ${session_id}\`` }
      })
      yield* w.sandbox("destroy", session_id)
      const gone = yield* w.run(args, { env: git.env })
      assert.strictEqual(gone.code, 1)
      assert.deepInclude(gone.json(), { error_code: "ERR_NOT_READY", state: "destroyed", operation_id, session_id })
      assert.deepEqual(git.calls(), [])
    })
  )

  it.live("I-24 while it runs it is refused with the same ids, or waits for the answer", () =>
    Effect.gen(function* () {
      const w = yield* world
      const git = heldGit(w, { hold: "worktree add" })
      const args = up(w, "--client-request-id", "k")
      const first = yield* w.start(args, { env: git.env })
      yield* git.held()
      const running = operationOf(w, "k")
      const refused = yield* w.run(args, { env: git.env })
      assert.strictEqual(refused.code, 1)
      assert.deepInclude(refused.json(), {
        ...{ error_code: "ERR_OPERATION_CONFLICT", retryable: true },
        ...running
      })
      const waiting = yield* w.start([...args, "--wait"], { env: git.env })
      const status = yield* w.sandbox("status", running.session_id, "--json")
      assert.strictEqual(status.json().state, "syncing")
      assert.isFalse(waiting.hasEnded())
      git.open()
      const answer = yield* first.ended
      assert.strictEqual(answer.code, 0, answer.stderr)
      assert.deepEqual((yield* waiting.ended).json(), { ...answer.json(), replayed: true })
      assert.strictEqual(answer.json().operation_id, running.operation_id)
      assert.strictEqual(git.calls().filter((call) => call.includes("worktree add")).length, 1)
      assert.strictEqual(remains(w).boxes.length, 1)
    })
  )

  it.live("I-25 after its process was killed it goes on as the same operation, with one box", () =>
    Effect.gen(function* () {
      const w = yield* world
      const git = heldGit(w, { hold: "worktree add" })
      const args = up(w, "--client-request-id", "k")
      const killed = yield* w.start(args, { env: git.env })
      yield* git.held()
      killed.signal("SIGKILL")
      yield* killed.ended
      const before = operationOf(w, "k")
      const again = yield* w.sandbox(...args)
      assert.strictEqual(again.code, 0, again.stdout)
      assert.deepInclude(again.json(), { state: "ready", ...before })
      const { operations } = (yield* w.sandbox("history", "app-feature", "--json")).json()
      assert.deepEqual(
        operations.map(({ attempt, operation_id, status }) => ({ attempt, operation_id, status })),
        [{ attempt: 2, operation_id: before.operation_id, status: "succeeded" }]
      )
      const left = remains(w)
      assert.deepEqual([left.boxes.length, left.worktrees.length, left.claims.length], [1, 1, 0])
    })
  )

  it.live("I-26 is refused when its arguments are other ones", () =>
    Effect.gen(function* () {
      const w = yield* world
      assert.strictEqual((yield* w.sandbox(...up(w, "--client-request-id", "k"))).code, 0)
      const before = dump(w.ledger)
      for (const args of [
        ["up", w.url, "--branch", "feature"],
        ["up", w.repository, "--branch", "main"],
        ["up", w.repository, "--branch", "feature", "--name", "other"],
        ["up", w.repository, "--branch", "feature", "--base", "main"]
      ]) {
        const other = yield* w.sandbox(...args, "--provider", "local", "--json", "--client-request-id", "k")
        assert.strictEqual(other.code, 1, args.join(" "))
        assert.deepInclude(other.json(), { error_code: "ERR_IDEMPOTENCY_MISMATCH", retryable: false })
      }
      // the same words, said in another way
      const flags = ["--client-request-id=k", "--json", "-p", "local", "-b", "feature"]
      const same = yield* w.run(["up", ...flags], { cwd: join(w.repository, ".git", "..") })
      assert.isTrue(same.json().replayed)
      assert.deepEqual(dump(w.ledger), before)
    })
  )

  it.live("I-27 means something else to another owner, and to another verb", () =>
    Effect.gen(function* () {
      const w = yield* world
      const as = (principal: string) => w.sandbox("--principal", principal, ...up(w, "--client-request-id", "k"))
      const mine = yield* as("one")
      const theirs = yield* as("two")
      assert.deepEqual([mine.code, theirs.code], [0, 0])
      assert.notStrictEqual(mine.json().session_id, theirs.json().session_id)
      assert.notStrictEqual(mine.json().operation_id, theirs.json().operation_id)
      const down = yield* w.sandbox("--principal", "one", "down", "app-feature", "--client-request-id", "k", "--json")
      assert.deepInclude(down.json(), { ok: true, state: "stopped", session_id: mine.json().session_id })
      assert.strictEqual(
        (yield* w.sandbox("--principal", "two", "status", "app-feature", "--json")).json().state,
        "ready"
      )
    })
  )

  it.live("I-29 down and destroy twice are done once, and nothing is done to what is unknown", () =>
    Effect.gen(function* () {
      const w = yield* world
      const { session_id } = (yield* w.sandbox(...up(w))).json()
      const first = (yield* w.sandbox("down", session_id, "--json", "--client-request-id", "d")).json()
      const stopped = dump(w.ledger)
      const again = yield* w.sandbox("down", session_id, "--json")
      assert.strictEqual(again.code, 0)
      const { checkpoint, persisted_at, state_transitions, stopped_at } = first
      assert.deepInclude(again.json(), {
        ...{ state: "stopped", already: true, operation_id: null },
        ...{ checkpoint, persisted_at, state_transitions, stopped_at }
      })
      const replay = yield* w.sandbox("down", session_id, "--json", "--client-request-id", "d")
      assert.deepEqual(replay.json(), { ...first, replayed: true })
      assert.deepEqual(dump(w.ledger), stopped)

      const destroyed = yield* w.sandbox("destroy", session_id, "--json")
      assert.strictEqual(destroyed.json().state, "destroyed")
      const gone = dump(w.ledger)
      const twice = yield* w.sandbox("destroy", session_id, "--json")
      assert.strictEqual(twice.code, 0)
      assert.deepInclude(twice.json(), { state: "destroyed", already: true, operation_id: null })
      const down = yield* w.sandbox("down", session_id, "--json")
      assert.deepInclude({ code: down.code, ...down.json() }, { code: 0, state: "destroyed", already: true })
      assert.deepEqual(dump(w.ledger), gone)

      for (const verb of ["down", "destroy", "resume", "status", "history"]) {
        const unknown = yield* w.sandbox(verb, "nobody", "--json")
        assert.deepInclude({ code: unknown.code, ...unknown.json() }, { code: 1, error_code: "ERR_SESSION_NOT_FOUND" })
      }
    })
  )

  it.live("I-30 carries the same ids in its answer, its error, the ledger, the history and later processes", () =>
    Effect.gen(function* () {
      const w = yield* world
      const good = (yield* w.sandbox(...up(w, "--client-request-id", "good"))).json()
      const git = heldGit(w, { hold: "worktree add" })
      const failing = yield* w.start(
        ["up", w.repository, "-b", "main", "-p", "local", "--json", "--client-request-id", "bad"],
        { env: git.env }
      )
      yield* git.held()
      failing.signal("SIGINT")
      const bad = (yield* failing.ended).json()
      for (const { answer, key } of [
        { answer: good, key: "good" },
        { answer: bad, key: "bad" }
      ]) {
        const ids = { operation_id: answer.operation_id, session_id: answer.session_id }
        assert.deepEqual<object>(operationOf(w, key), ids)
        const history = (yield* w.sandbox("history", ids.session_id, "--json")).json()
        assert.strictEqual(history.session_id, ids.session_id)
        assert.deepEqual(
          history.operations.map(({ operation_id }) => operation_id),
          [ids.operation_id]
        )
        for (const { operation_id } of [...history.events, ...history.state_transitions]) {
          assert.strictEqual(operation_id, ids.operation_id)
        }
      }
      const status = (yield* w.sandbox("status", bad.session_id, "--json")).json()
      assert.deepInclude(status.last_error, { error_code: "ERR_INTERRUPTED", operation_id: bad.operation_id })
      const list = (yield* w.sandbox("list", "--json")).json()
      assert.sameMembers(
        list.sessions.map(({ session_id }) => session_id),
        [good.session_id, bad.session_id]
      )
      assert.strictEqual(dirname(good.worktree_path).split("/").at(-1), `${good.session_id.replace("_", "-")}-g1`)
    })
  )
})
