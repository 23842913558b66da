/** Many real processes, as if on two hosts, on one PostgreSQL. */
import { mkdirSync, readdirSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { inject } from "vitest"
import { assertErrorObject } from "./support/contract.ts"
import { heldGit } from "./support/heldGit.ts"
import { vacant } from "./support/ports.ts"
import { eventually, type Outcome, remains, world } from "./support/sandbox.ts"
import { ask, database } from "./support/team.ts"

const server = inject("postgres") ?? ""
const many = 16
const hostOf = (n: number) => `host-${n % 2}`

/** A world whose ledger is a database of a PostgreSQL. */
const team = Effect.gen(function* () {
  const w = yield* world
  const url = yield* database(server)
  const on = (host: string) => ({ SANDBOX_LEDGER: url, SANDBOX_HOST_ID: host, SANDBOX_PRINCIPAL_ID: "ann" })
  const rows = <A extends object>(statement: string) => ask<A>(url, statement)
  const made = yield* w.run(["list", "--json"], { env: on("host-0") })
  assert.strictEqual(made.code, 0, made.stderr)
  return { w, on, rows }
})

const codes = (outcomes: ReadonlyArray<Outcome>) =>
  outcomes.map(({ code, json }) => `${code} ${json().error_code ?? json().state}`).toSorted()

interface Recorded {
  readonly session_id: string
  readonly operation_id: string
  readonly type: string
  readonly seq: number
  readonly data: string
}
const events = `SELECT session_id, operation_id, type, seq, data FROM events ORDER BY session_id, seq`

describe.skipIf(server === "")("16 processes of two hosts on one PostgreSQL", () => {
  it.live(
    "I-77 that want one of four names each make four sessions; the others wrote nothing",
    () =>
      Effect.gen(function* () {
        const { on, rows, w } = yield* team
        const git = heldGit(w, { hold: "version" })
        const ups = yield* Effect.forEach(Array.from({ length: many }).keys(), (n) =>
          w.start(["up", w.repository, "-b", "main", "-n", `s${Math.floor(n / 4)}`, "-p", "local", "--json"], {
            env: { ...on(hostOf(n)), ...git.env }
          })
        )
        const waiting = join(w.directory, "held-git", "waiting")
        yield* eventually("all of them wait", () => readdirSync(waiting).length >= many, 120)
        git.open()
        const outcomes = yield* Effect.all(ups.map(({ ended }) => ended))
        const winners = outcomes.flatMap(({ code, json }, n) => (code === 0 ? [{ ...json(), host: hostOf(n) }] : []))
        assert.strictEqual(winners.length, 4, codes(outcomes).join(", "))
        for (const { code, json } of outcomes) {
          if (code === 0) continue
          assertErrorObject(json())
          assert.strictEqual(json().error_code, "ERR_NAME_TAKEN")
          const holder = winners.find(({ session_id }) => session_id === json().details.holder?.session_id)
          assert.isDefined(holder)
        }
        const sessions = yield* rows<{ id: string; state: string; claim_token: string | null; slot: number | null }>(
          "SELECT id, state, claim_token, slot FROM sessions"
        )
        assert.sameMembers(
          sessions.map(({ id, state }) => `${id} ${state}`),
          winners.map(({ session_id }) => `${session_id} ready`)
        )
        assert.isTrue(sessions.every(({ claim_token }) => claim_token === null))
        const operations = yield* rows<{ id: string; status: string }>("SELECT id, status FROM operations")
        assert.deepStrictEqual(
          operations.map(({ status }) => status),
          Array(4).fill("succeeded")
        )
        const recorded = yield* rows<Recorded>(events)
        const known = new Set(operations.map(({ id }) => id))
        assert.isTrue(recorded.every(({ operation_id }) => known.has(operation_id)))
        for (const { id } of sessions) {
          const own = recorded.filter(({ session_id }) => session_id === id)
          assert.deepStrictEqual(
            own.map(({ seq }) => seq),
            own.map((_, at) => at + 1)
          )
          assert.strictEqual(own.filter(({ data }) => data.includes('"to":"ready"')).length, 1)
        }
        assert.strictEqual(remains(w).boxes.length, 4)

        // a box of this kind is its host's own, so four processes of that host halt each session: once
        const downs = yield* Effect.forEach(
          Array.from({ length: many }).keys(),
          (n) => w.run(["down", winners[n % 4]!.session_id, "--json"], { env: on(winners[n % 4]!.host) }),
          { concurrency: "unbounded" }
        )
        for (const { session_id } of winners) {
          const own = downs.filter((_, n) => winners[n % 4]!.session_id === session_id)
          const did = own.filter(({ code, json }) => code === 0 && json().already === undefined)
          assert.strictEqual(did.length, 1, codes(own).join(", "))
          for (const outcome of own) {
            const { already, error_code, state } = outcome.json()
            if (outcome === did[0] || already === true) assert.deepEqual([outcome.code, state], [0, "stopped"])
            else assert.deepEqual([outcome.code, error_code], [1, "ERR_OPERATION_CONFLICT"])
          }
        }
        const verbs = yield* rows<{ verb: string; status: string }>("SELECT verb, status FROM operations ORDER BY verb")
        assert.deepStrictEqual(
          verbs.map(({ status, verb }) => `${verb} ${status}`),
          [...Array<string>(4).fill("down succeeded"), ...Array<string>(4).fill("up succeeded")]
        )
        const seen = yield* rows<Recorded>(events)
        assert.isFalse(seen.some(({ type }) => type === "claim_taken_over"))
        assert.strictEqual(seen.filter(({ data }) => data.includes('"to":"stopping"')).length, 4)
        assert.strictEqual((yield* rows("SELECT id FROM checkpoints")).length, 4)
      }),
    { timeout: 240_000 }
  )

  it.live(
    "I-11 do not believe that a live process of the other host is dead, nor the other host's dead one before its lease is over",
    () =>
      Effect.gen(function* () {
        const { on, rows, w } = yield* team
        const git = heldGit(w, { hold: "worktree add" })
        const up = yield* w.start(["up", w.repository, "-b", "main", "-n", "mine", "-p", "local", "--json"], {
          env: { ...on("host-0"), ...git.env }
        })
        yield* git.held()
        const before = yield* rows(events)
        // what needs the box is refused for where it is; who reconciles needs none
        const leavesAlone = Effect.gen(function* () {
          const { claim } = (yield* w.run(["status", "mine", "--json"], { env: on("host-1") })).json()
          assert.deepInclude(claim, { kind: "up", stale: false })
          const down = yield* w.run(["down", "mine", "--force", "--json"], { env: on("host-1") })
          assert.deepStrictEqual([down.code, down.json().error_code], [1, "ERR_PROVIDER_UNAVAILABLE"])
          yield* w.run(["gc", "--json"], { env: on("host-1") })
          assert.deepStrictEqual(yield* rows(events), before)
        })
        yield* leavesAlone
        up.signal("SIGKILL")
        yield* up.ended
        yield* leavesAlone
        git.remove()
        // its own host knows
        const own = yield* w.run(["destroy", "mine", "--confirm-data-loss", "--json"], { env: on("host-0") })
        assert.deepStrictEqual([own.code, own.json().state], [0, "destroyed"], own.stdout)
      }),
    { timeout: 120_000 }
  )

  it.live(
    "I-79 are given as many slots as there are, and to each of these its own ports",
    () =>
      Effect.gen(function* () {
        const { on, rows, w } = yield* team
        const base = yield* vacant(20)
        const directory = join(w.directory, "home", ".config", "sandbox")
        mkdirSync(directory, { recursive: true })
        writeFileSync(
          join(directory, "config.yaml"),
          JSON.stringify({ services: [{ name: "web", command: "exec sleep 1000", port: base }], slots: { max: 3 } })
        )
        const outcomes = yield* Effect.forEach(
          Array.from({ length: 8 }).keys(),
          (n) =>
            w.run(["up", w.repository, "-b", "main", "-n", `s${n}`, "-p", "local", "--json"], { env: on("host-0") }),
          { concurrency: "unbounded" }
        )
        const [won, refused] = [0, 1].map((code) => outcomes.filter((outcome) => outcome.code === code))
        assert.deepStrictEqual([won?.length, refused?.length], [3, 5], codes(outcomes).join(", "))
        for (const { json } of refused ?? []) assert.strictEqual(json().error_code, "ERR_SLOTS_EXHAUSTED")
        assert.deepStrictEqual(
          yield* rows("SELECT slot FROM sessions ORDER BY slot"),
          [1, 2, 3].map((slot) => ({ slot }))
        )
        assert.deepStrictEqual(
          yield* rows("SELECT port FROM ports ORDER BY port"),
          [1, 2, 3].map((slot) => ({ port: base + slot }))
        )
      }),
    { timeout: 120_000 }
  )
})
