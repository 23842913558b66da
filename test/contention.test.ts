/** Many real processes at once on one ledger. */
import { cpSync, existsSync, rmSync } from "node:fs"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { assertErrorObject } from "./support/contract.ts"
import { heldGit } from "./support/heldGit.ts"
import { eventually, type Outcome, query, remains, world } from "./support/sandbox.ts"

const many = 16

const codes = (outcomes: ReadonlyArray<Outcome>) =>
  outcomes.map(({ code, json }) => `${code} ${json().error_code ?? json().state}`).toSorted()

/** Starts processes and, once they have all come to their first git, lets them go on together. */
const together = (names: ReadonlyArray<string>) =>
  Effect.gen(function* () {
    const w = yield* world
    yield* w.sandbox("list")
    const git = heldGit(w, { hold: "version" })
    const ups = yield* Effect.forEach(names, (name) =>
      w.start(["up", w.repository, "-b", "main", "-n", name, "-p", "local", "--json"], { env: git.env })
    )
    yield* git.held(names.length)
    git.open()
    return { w, outcomes: yield* Effect.all(ups.map(({ ended }) => ended)) }
  })

describe("16 processes", () => {
  it.live(
    "I-77 that want one name make one session; the others are told who has it",
    () =>
      Effect.gen(function* () {
        const { outcomes, w } = yield* together(Array.from({ length: many }, () => "same"))
        const [winner, ...more] = outcomes.filter(({ code }) => code === 0).map(({ json }) => json())
        if (winner === undefined || more.length > 0) return assert.fail(codes(outcomes).join(", "))
        for (const { code, json } of outcomes) {
          if (code === 0) continue
          assert.strictEqual(code, 1)
          assertErrorObject(json())
          assert.strictEqual(json().error_code, "ERR_NAME_TAKEN")
          assert.strictEqual(json().details.holder?.session_id, winner.session_id)
        }
        const [session, ...others] = (yield* w.sandbox("list", "--all", "--json")).json().sessions
        assert.deepEqual(others, [])
        assert.deepInclude(session, { session_id: winner.session_id, state: "ready", claim: null })
        assert.strictEqual(query(w.ledger, "SELECT id FROM operations").length, 1)
        const { boxes, claims, worktrees } = remains(w)
        assert.deepEqual([boxes.length, worktrees.length, claims.length], [1, 1, 0])
      }),
    { timeout: 120_000 }
  )

  it.live(
    "I-16 that want 16 names on one repository all come up, with a worktree each",
    () =>
      Effect.gen(function* () {
        const names = Array.from({ length: many }, (_, n) => `s${n + 10}`)
        const { outcomes, w } = yield* together(names)
        assert.deepEqual(
          codes(outcomes),
          names.map(() => "0 ready")
        )
        const { sessions } = (yield* w.sandbox("list", "--json")).json()
        assert.deepEqual(
          sessions.map(({ name, state, work_branch }) => `${name} ${state} ${work_branch}`).toSorted(),
          names.map((name) => `${name} ready sandbox/${name}`)
        )
        const { boxes, branches, claims, worktrees } = remains(w)
        assert.sameMembers(
          worktrees,
          sessions.map(({ worktree_path }) => worktree_path)
        )
        assert.deepEqual([boxes.length, claims.length], [many, 0])
        assert.includeMembers(
          branches,
          names.map((name) => `sandbox/${name}`)
        )
        const head = w.git("rev-parse", "main")
        for (const path of worktrees) {
          assert.strictEqual(w.git("-C", path ?? "", "rev-parse", "HEAD"), head)
          assert.strictEqual(w.git("-C", path ?? "", "status", "--porcelain"), "")
        }
        assert.isFalse(existsSync(`${w.repository}/.git/sandbox.lock`))
      }),
    { timeout: 120_000 }
  )
})

describe("8 processes", () => {
  it.live(
    "I-7 that halt one session halt it once",
    () =>
      Effect.gen(function* () {
        const w = yield* world
        const { session_id } = (yield* w.sandbox("up", w.repository, "-b", "feature", "-p", "local", "--json")).json()
        const outcomes = yield* Effect.all(
          Array.from({ length: 8 }, () => w.sandbox("down", session_id, "--json")),
          { concurrency: "unbounded" }
        )
        const did = outcomes.filter(({ code, json }) => code === 0 && json().already === undefined)
        assert.strictEqual(did.length, 1, codes(outcomes).join(", "))
        for (const outcome of outcomes) {
          const { already, error_code, state } = outcome.json()
          if (outcome === did[0] || already === true) assert.deepEqual([outcome.code, state], [0, "stopped"])
          else assert.deepEqual([outcome.code, error_code], [1, "ERR_OPERATION_CONFLICT"])
        }
        const history = (yield* w.sandbox("history", session_id, "--json")).json()
        assert.deepEqual(
          history.operations.map(({ status, verb }) => `${verb} ${status}`),
          ["up succeeded", "down succeeded"]
        )
        assert.strictEqual(query(w.ledger, "SELECT id FROM checkpoints").length, 1)
      }),
    { timeout: 60_000 }
  )
})

describe("the claim of a process that was killed", () => {
  const rounds = Number(process.env["SANDBOX_TEST_ROUNDS"] ?? 20)

  it.live(
    `I-21 is taken over by one of two that judge it stale together (${rounds} rounds)`,
    () =>
      Effect.gen(function* () {
        const w = yield* world
        const { session_id } = (yield* w.sandbox("up", w.repository, "-b", "feature", "-p", "local", "--json")).json()
        // what does not end when asked politely keeps `down` in its phase `stop` for a while
        const ready = `${w.directory}/ready`
        const stubborn = yield* w.start(
          ["exec", session_id, "--", "sh", "-c", `trap "" TERM; : > ${ready}; while :; do sleep 0.05; done`],
          {}
        )
        yield* eventually("the stubborn command runs", () => existsSync(ready))
        const killed = yield* w.start(["down", session_id, "--json"])
        assert.isTrue(yield* killed.saw("down: stop"))
        killed.signal("SIGKILL")
        yield* killed.ended
        stubborn.signal("SIGKILL")
        yield* stubborn.ended
        const before = (yield* w.sandbox("status", session_id, "--json")).json()
        assert.deepInclude(before.claim, { kind: "down", stale: true })

        // the very same stale claim again in every round
        const kept = `${w.directory}/kept`
        cpSync(w.state, kept, { recursive: true })
        for (let round = 0; round < rounds; round++) {
          rmSync(w.state, { recursive: true })
          cpSync(kept, w.state, { recursive: true })
          const outcomes = yield* Effect.all(
            [0, 1].map(() => w.sandbox("down", session_id, "--json")),
            { concurrency: "unbounded" }
          )
          const did = outcomes.filter(({ code, json }) => code === 0 && json().already === undefined)
          assert.strictEqual(did.length, 1, `round ${round}: ${codes(outcomes).join(", ")}`)
          const takeovers = query(w.ledger, "SELECT seq FROM events WHERE type = 'claim_taken_over'")
          assert.strictEqual(takeovers.length, 1, `round ${round}`)
          assert.strictEqual(query(w.ledger, "SELECT id FROM checkpoints").length, 1, `round ${round}`)
          const rows = query<object>(w.ledger, "SELECT state, claim_token FROM sessions")
          assert.deepEqual(rows, [{ state: "stopped", claim_token: null }], `round ${round}`)
        }
      }),
    { timeout: 60_000 + rounds * 6_000 }
  )
})
