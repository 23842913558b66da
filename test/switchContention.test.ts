/** Many real processes that want to move one session at once. */
import { mkdirSync, readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import type { Answer } from "./support/Answer.ts"
import { assertErrorObject } from "./support/contract.ts"
import { heldGit } from "./support/heldGit.ts"
import { dump, type Outcome, query, remains, type World, world } from "./support/sandbox.ts"

const processes = 20

type Switched = Answer & { readonly from: string; readonly to: string; readonly noop?: true }

/** A session with work of its own on `local`; two more providers of this host are registered. */
const upWith = Effect.gen(function* () {
  const w = yield* world
  mkdirSync(join(w.directory, "home/.config/sandbox"), { recursive: true })
  writeFileSync(
    join(w.directory, "home/.config/sandbox/config.yaml"),
    JSON.stringify({ providers: { elsewhere: { use: "local" }, third: { use: "local" } } })
  )
  const up = (yield* w.sandbox("up", w.repository, "-b", "feature", "-p", "local", "-n", "app", "--json")).json()
  assert.isTrue(up.ok, JSON.stringify(up))
  writeFileSync(join(up.worktree_path, "new.txt"), "new\n")
  return { w, up }
})

/** All that the ledger has, but for the lease of whoever holds the claim. */
const records = (w: World): string => {
  const { sessions, ...rest } = dump(w.ledger)
  const still = (sessions ?? []).map((row) => ({ ...row, claim_renewed_at: null, claim_lease_until: null }))
  return JSON.stringify({ ...rest, sessions: still }, null, 1)
}

const rows = (w: World, table: string) =>
  query<Record<string, unknown>>(w.ledger, `SELECT * FROM ${table} ORDER BY rowid`)

const assertRefused = ({ code, json }: Outcome, codes: ReadonlyArray<string>) => {
  assert.strictEqual(code, 1)
  assertErrorObject(json())
  assert.include(codes, json().error_code)
  assert.isTrue(json().retryable)
}

/** The session is in one box, on the provider of the one that won, with its work. */
const assertMoved = Effect.fnUntraced(function* (w: World, session: string, winner: Switched) {
  const { boxes, claims, worktrees } = remains(w)
  assert.deepEqual([boxes.length, worktrees.length, claims.length], [1, 1, 0])
  const status = (yield* w.sandbox("status", "app", "--live", "--json")).json()
  assert.deepInclude(status, { session_id: session, provider: winner.to, state: "ready", claim: null })
  assert.strictEqual(readFileSync(join(winner.worktree_path, "new.txt"), "utf8"), "new\n")
  const operations = rows(w, "operations")
  assert.deepEqual(
    operations.map(({ status, verb }) => `${verb} ${status}`),
    ["up succeeded", "switch succeeded", "gc succeeded"]
  )
  const known = operations.map(({ id }) => id)
  for (const { operation_id } of rows(w, "events")) assert.include(known, operation_id)
  assert.strictEqual(rows(w, "checkpoints").length, 1)
  assert.deepEqual(
    rows(w, "orphans").map(({ reason, resolved_at }) => [reason, resolved_at !== null]),
    [["retired", true]]
  )
  assert.deepEqual(
    rows(w, "intents").map(({ status }) => status),
    ["closed", "bound"]
  )
})

describe(`${processes} processes`, () => {
  it.live(
    "I-7 that switch one session at the same moment: one does, and halts the old box once",
    () =>
      Effect.gen(function* () {
        const { up, w } = yield* upWith
        // each has seen the session where it is, and asks its target, when they all go on
        const git = heldGit(w, { hold: "version" })
        const targets = Array.from({ length: processes }, (_, n) => (n % 2 === 0 ? "elsewhere" : "third"))
        const running = yield* Effect.forEach(targets, (to) =>
          w.start(["switch", "app", "--to", to, "--json"], { env: git.env })
        )
        yield* git.held(processes)
        git.open()
        const outcomes = yield* Effect.all(running.map(({ ended }) => ended))
        const [winner, ...more] = outcomes.filter(({ code }) => code === 0)
        if (winner === undefined || more.length > 0) {
          return assert.fail(outcomes.map(({ code, stdout }) => `${code} ${stdout}`).join(""))
        }
        for (const outcome of outcomes) {
          // a halt is told of by whoever does it
          assert.strictEqual(outcome.stderr.includes("switch: stop"), outcome === winner)
          if (outcome !== winner) assertRefused(outcome, ["ERR_ALREADY_SWITCHING", "ERR_OPERATION_CONFLICT"])
        }
        const moved = winner.json() as unknown as Switched
        assert.deepInclude(moved, { from: "local", to: targets[outcomes.indexOf(winner)]!, state: "ready" })
        yield* assertMoved(w, up.session_id, moved)
      }),
    { timeout: 240_000 }
  )

  it.live(
    "I-1 I-7 that come while a switch is under way leave no trace, in the ledger or anywhere else",
    () =>
      Effect.gen(function* () {
        const { up, w } = yield* upWith
        const git = heldGit(w, { hold: "worktree add" })
        const winner = yield* w.start(["switch", "app", "--to", "elsewhere", "--json"], { env: git.env })
        yield* git.held()
        const [before, there] = [records(w), { ...remains(w), processes: [] }]
        const losers = yield* Effect.forEach(
          Array.from({ length: processes - 1 }, (_, n) => ["elsewhere", "third", "local"][n % 3]!),
          (to) => w.sandbox("switch", "app", "--to", to, "--json"),
          { concurrency: 6 }
        )
        for (const loser of losers) {
          assertRefused(loser, ["ERR_ALREADY_SWITCHING"])
          assert.notInclude(loser.stderr, "switch: ")
        }
        assert.strictEqual(records(w), before)
        assert.deepEqual({ ...remains(w), processes: [] }, there)
        git.open()
        const { code, json } = yield* winner.ended
        assert.strictEqual(code, 0)
        yield* assertMoved(w, up.session_id, json() as unknown as Switched)
      }),
    { timeout: 240_000 }
  )
})
