/** `gc` as cron runs it: real processes, real boxes, beside everything else. */
import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { heldGit } from "./support/heldGit.ts"
import { branches, dump, type Outcome, query, remains, type World, world } from "./support/sandbox.ts"

interface Action {
  readonly session_id: string | null
  readonly name: string | null
  readonly finding: string
  readonly action: string
  readonly outcome: string
}

const up = (w: World, name: string) => ["up", w.repository, "-b", "feature", "-p", "local", "--name", name, "--json"]

const actionsOf = (outcome: Outcome) => (outcome.json() as unknown as { actions: ReadonlyArray<Action> }).actions

const brief = (outcome: Outcome) => actionsOf(outcome).map(({ action, outcome }) => `${action} ${outcome}`)

/** Takes every record of a session out of the ledger, as one that was restored from an older backup has none. */
const forget = (w: World, id: string) => {
  for (const table of ["checkpoints", "events", "intents", "operations", "ports", "orphans"]) {
    query(w.ledger, `DELETE FROM ${table} WHERE session_id = ?`, id)
  }
  query(w.ledger, "DELETE FROM sessions WHERE id = ?", id)
}

const files = (w: World) => ({
  ledger: readFileSync(w.ledger).toString("base64"),
  state: readdirSync(w.state, { recursive: true }).toSorted(),
  worktrees: remains(w).worktrees
})

/** An `up` that was killed while git made its checkout. */
const killedUp = Effect.fnUntraced(function* (w: World, name: string) {
  const held = heldGit(w, { hold: "worktree add" })
  const running = yield* w.start(up(w, name), { env: held.env })
  yield* held.held()
  running.signal("SIGKILL")
  yield* running.ended
  held.remove()
}, Effect.scoped)

describe.concurrent("gc", { timeout: 120_000 }, () => {
  it.live("prints its plan as a table and as JSON, and a dry run changes not one byte", () =>
    Effect.gen(function* () {
      const w = yield* world
      yield* killedUp(w, "dead")
      const expired = (yield* w.sandbox(...up(w, "expired"))).json().session_id
      query(w.ledger, "UPDATE sessions SET expires_at = 1 WHERE id = ?", expired)
      const before = files(w)
      const planned = yield* w.sandbox("gc", "--dry-run", "--json")
      assert.strictEqual(planned.code, 0)
      assert.deepEqual(brief(planned), ["recover planned", "halt planned"])
      const table = yield* w.sandbox("gc", "--dry-run")
      assert.match(table.stdout, /^SESSION +FOUND +ACTION +OUTCOME$/m)
      assert.match(table.stdout, /^dead +up died in phase workspace; the session is syncing +recover +planned$/m)
      assert.match(table.stdout, /^expired +it was to be up until 1970-\S+ +halt +planned$/m)
      assert.deepEqual(files(w), before)
      assert.deepEqual(brief(yield* w.sandbox("gc", "--destroy-completed", "--json")), ["halt done"])
      assert.deepEqual(brief(yield* w.sandbox("gc", "--recover", "--json")), ["recover done"])
      assert.strictEqual((yield* w.sandbox("gc")).stdout, "Nothing to put right.\n")
      assert.strictEqual((yield* w.sandbox("status", "expired", "--json")).json().state, "stopped")
      assert.strictEqual(remains(w).boxes.length, 1)
    })
  )

  it.live("I-42 a box without a row goes only when asked for by name, and never with work in it", () =>
    Effect.gen(function* () {
      const w = yield* world
      const clean = (yield* w.sandbox(...up(w, "clean"))).json()
      const worked = (yield* w.sandbox(...up(w, "worked"))).json()
      writeFileSync(join(worked.worktree_path, "mine.txt"), "not saved anywhere\n")
      for (const { session_id } of [clean, worked]) forget(w, session_id)
      const told = yield* w.sandbox("gc", "--json")
      assert.strictEqual(told.code, 0)
      assert.deepEqual(brief(told), ["report skipped", "report skipped"])
      assert.deepEqual(
        actionsOf(told).map(({ session_id }) => session_id),
        [null, null]
      )
      assert.isTrue(actionsOf(told).some(({ finding }) => finding.includes("`sandbox gc --orphans`")))
      assert.strictEqual(remains(w).boxes.length, 2)
      // the label is another ledger's as far as this one knows
      const other = join(w.state, "other.db")
      const elsewhere = yield* w.sandbox("gc", "--orphans", "--ledger", other, "--json")
      assert.deepEqual(brief(elsewhere), [])
      const hers = yield* w.sandbox("gc", "--orphans", "--principal", "ann", "--json")
      assert.deepEqual(brief(hers), [])
      assert.strictEqual(remains(w).boxes.length, 2)
      const asked = yield* w.sandbox("gc", "--orphans", "--json")
      assert.deepEqual(brief(asked).toSorted(), ["destroy_box done", "report skipped"])
      assert.strictEqual(readFileSync(join(worked.worktree_path, "mine.txt"), "utf8"), "not saved anywhere\n")
      assert.isFalse(existsSync(clean.worktree_path))
      assert.strictEqual(remains(w).boxes.length, 1)
    })
  )

  it.live("I-62 destroys what is completed once it was kept for long enough, and only while all of it is saved", () =>
    Effect.gen(function* () {
      const w = yield* world
      const late = (id: string) =>
        query(w.ledger, "UPDATE sessions SET completed_at = completed_at - 3600001 WHERE id = ?", id)
      const [done, changed, recent] = yield* Effect.forEach(["done", "changed", "recent"], (name) =>
        Effect.gen(function* () {
          const session = (yield* w.sandbox(...up(w, name))).json()
          writeFileSync(join(session.worktree_path, "mine.txt"), "saved with the session\n")
          const completed = yield* w.sandbox("complete", name, "--json")
          assert.strictEqual(completed.code, 0, completed.stdout)
          return session
        })
      )
      late(done!.session_id)
      late(changed!.session_id)
      writeFileSync(join(changed!.worktree_path, "mine.txt"), "changed afterwards\n")
      const before = files(w)
      const planned = yield* w.sandbox("gc", "--dry-run", "--json")
      assert.deepEqual(brief(planned).toSorted(), ["destroy planned", "report planned"])
      assert.deepEqual(files(w), before)
      assert.deepEqual(brief(yield* w.sandbox("gc", "--recover", "--json")), [])
      const outcome = yield* w.sandbox("gc", "--destroy-completed", "--json")
      assert.deepEqual(brief(outcome).toSorted(), ["destroy done", "report skipped"])
      const kept = actionsOf(outcome).find(({ action }) => action === "report")
      assert.strictEqual(kept?.session_id, changed!.session_id)
      assert.include(kept?.finding, "has changed since it was saved")
      const { sessions } = (yield* w.sandbox("list", "--all", "--json")).json()
      const states = Object.fromEntries(sessions.map(({ name, state }) => [name, state]))
      assert.deepEqual(states, { done: "destroyed", changed: "completed", recent: "completed" })
      assert.isFalse(existsSync(done!.worktree_path))
      assert.strictEqual(readFileSync(join(changed!.worktree_path, "mine.txt"), "utf8"), "changed afterwards\n")
      assert.isTrue(existsSync(recent!.worktree_path))
      // a save that is there no more is none
      late(recent!.session_id)
      rmSync(join(w.state, "checkpoints"), { recursive: true })
      assert.deepEqual(brief(yield* w.sandbox("gc", "--json")), ["report skipped", "report skipped"])
      assert.strictEqual(readFileSync(join(recent!.worktree_path, "mine.txt"), "utf8"), "saved with the session\n")
    })
  )

  it.live("I-20 a session with a damaged record is told of, and keeps no other from being put right", () =>
    Effect.gen(function* () {
      const w = yield* world
      const bad = (yield* w.sandbox(...up(w, "bad"))).json().session_id
      const good = (yield* w.sandbox(...up(w, "good"))).json().session_id
      query(w.ledger, "UPDATE operations SET result = '{' WHERE session_id = ?", bad)
      for (const id of [bad, good]) rmSync(join(w.state, "local", `${id.replace("_", "-")}-g1`), { recursive: true })
      const outcome = yield* w.sandbox("gc", "--json")
      assert.strictEqual(outcome.code, 0, outcome.stdout)
      assert.deepEqual(brief(outcome).toSorted(), ["recover done", "report skipped"])
      const told = actionsOf(outcome).find(({ action }) => action === "report")
      assert.strictEqual(told?.session_id, bad)
      assert.include(told?.finding, "damaged")
      const doctor = yield* w.sandbox("doctor", "--json")
      assert.strictEqual(doctor.code, 4)
      assert.include(doctor.stdout, "is damaged")
    })
  )

  it.live("I-13 a damaged record of somebody else is theirs to know of", () =>
    Effect.gen(function* () {
      const w = yield* world
      yield* w.sandbox(...up(w, "hers"), "--principal", "ann")
      query(w.ledger, "UPDATE intents SET status = 'open', deadline = 'canary'")
      for (const verb of ["gc", "doctor"]) {
        const hers = yield* w.sandbox(verb, "--principal", "ann", "--json")
        assert.include(hers.stdout, "is damaged")
        const his = yield* w.sandbox(verb, "--principal", "bob", "--json")
        assert.strictEqual(his.code, 0, his.stdout)
        assert.notInclude(his.stdout + his.stderr, "damaged")
        assert.notInclude(his.stdout + his.stderr, "sbx_")
      }
    })
  )

  it.live("I-41 leaves to another machine what only that can see", () =>
    Effect.gen(function* () {
      const w = yield* world
      for (const name of ["expired", "broken"]) {
        yield* w.sandbox(...up(w, name))
        writeFileSync(join((yield* w.sandbox("status", name, "--json")).json().worktree_path!, "mine.txt"), "work\n")
      }
      query(w.ledger, "UPDATE sessions SET expires_at = 1")
      // one that failed once may have its box still
      query(w.ledger, "UPDATE sessions SET state = 'failed' WHERE name = 'broken'")
      yield* killedUp(w, "dead")
      query(w.ledger, "UPDATE sessions SET claim_lease_until = 1 WHERE name = 'dead'")
      const before = dump(w.ledger)
      const elsewhere = yield* w.run(["gc", "--json"], { env: { SANDBOX_HOST_ID: "elsewhere" } })
      assert.strictEqual(elsewhere.code, 0, elsewhere.stdout)
      assert.deepEqual(brief(elsewhere), Array(3).fill("report skipped"))
      assert.deepEqual(dump(w.ledger), before)
      assert.deepEqual(brief(yield* w.sandbox("gc", "--json")).toSorted(), ["halt done", "halt done", "recover done"])
    })
  )

  it.live("says what it could not put right, does the rest, and exits with 2", () =>
    Effect.gen(function* () {
      const w = yield* world
      for (const name of ["one", "two"]) {
        const { session_id } = (yield* w.sandbox(...up(w, name))).json()
        query(w.ledger, "UPDATE sessions SET expires_at = 1 WHERE id = ?", session_id)
      }
      // a save that cannot be made: its place is taken by a file
      writeFileSync(join(w.state, "checkpoints"), "")
      const failed = yield* w.sandbox("gc", "--json")
      assert.strictEqual(failed.code, 2)
      assert.deepEqual(
        brief(failed).filter((outcome) => outcome.startsWith("halt")),
        ["halt failed", "halt failed"]
      )
      const { sessions } = (yield* w.sandbox("list", "--json")).json()
      for (const { claim, recovery, state } of sessions) {
        assert.include(["persist_failed", "stopped_unpersisted"], state)
        assert.isNull(claim)
        assert.isNotNull(recovery)
      }
    })
  )

  it.live("I-41 runs from cron beside ups and downs and other gcs, and harms none of them", () =>
    Effect.gen(function* () {
      const w = yield* world
      yield* w.sandbox("list")
      let busy = true
      const life = Effect.fnUntraced(function* (name: string) {
        for (const args of [
          up(w, name),
          ["down", name, "--json"],
          ["resume", name, "--json"],
          ["destroy", name, "--force", "--json"]
        ]) {
          const outcome = yield* w.sandbox(...args)
          assert.strictEqual(outcome.code, 0, `${args.join(" ")}: ${outcome.stdout}${outcome.stderr}`)
        }
      })
      const cron = Effect.gen(function* () {
        let runs = 0
        while (busy) {
          const outcome = yield* w.sandbox("gc", "--recover", "--orphans", "--destroy-completed", "--json")
          assert.strictEqual(outcome.code, 0, outcome.stdout)
          assert.deepEqual(actionsOf(outcome), [])
          runs += 1
        }
        return runs
      })
      const lives = Effect.all([life("one"), life("two")], { concurrency: "unbounded" }).pipe(
        Effect.ensuring(
          Effect.sync(() => {
            busy = false
          })
        )
      )
      const [, first, second] = yield* Effect.all([lives, cron, cron], { concurrency: "unbounded" })
      assert.isAbove(Math.min(first, second), 1)
      assert.deepEqual(remains(w), { worktrees: [], branches, boxes: [], processes: [], claims: [] })
      const kinds = query<{ kind: string }>(w.ledger, "SELECT DISTINCT verb AS kind FROM operations")
      assert.notInclude(
        kinds.map(({ kind }) => kind),
        "gc"
      )
    })
  )

  it.live("several at once put every dead operation right once, and all of them end well", () =>
    Effect.gen(function* () {
      const w = yield* world
      for (const name of ["a", "b", "c"]) yield* killedUp(w, name)
      assert.strictEqual(query(w.ledger, "SELECT id FROM sessions WHERE claim_token IS NOT NULL").length, 3)
      const runs = yield* Effect.all(
        Array.from({ length: 4 }, () => w.sandbox("gc", "--json")),
        { concurrency: "unbounded" }
      )
      for (const outcome of runs) assert.strictEqual(outcome.code, 0, outcome.stdout)
      const done = runs.flatMap(brief).filter((outcome) => outcome === "recover done")
      assert.strictEqual(done.length, 3)
      assert.deepEqual(remains(w), { worktrees: [], branches, boxes: [], processes: [], claims: [] })
      const rows = dump(w.ledger)["operations"] as unknown as ReadonlyArray<{ verb: string; status: string }>
      assert.strictEqual(rows.filter(({ status, verb }) => verb === "gc" && status === "succeeded").length, 3)
    })
  )
})
