/** `doctor` on every kind of trouble: each is named with its way out, nothing is changed, and nothing makes it crash. */
import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { heldGit } from "./support/heldGit.ts"
import { dump, type Outcome, query, remains, type StartOptions, type World, world } from "./support/sandbox.ts"

interface Diagnosis {
  readonly about: string
  readonly status: "ok" | "warning" | "problem"
  readonly finding: string
  readonly next_step: string | null
}

interface Report {
  readonly ok: boolean
  readonly healthy: boolean
  readonly diagnoses: ReadonlyArray<Diagnosis>
  readonly actions: ReadonlyArray<{ readonly action: string; readonly outcome: string; readonly finding: string }>
}

const up = (w: World, name = "work") => ["up", w.repository, "-b", "feature", "-p", "local", "--name", name, "--json"]

const reportOf = (outcome: Outcome): Report => {
  const report = outcome.json() as unknown as Report
  assert.isTrue(report.ok, outcome.stdout)
  assert.strictEqual(outcome.code, report.healthy ? 0 : 4)
  assert.strictEqual(report.healthy, !report.diagnoses.some(({ status }) => status === "problem"))
  for (const { about, next_step, status } of report.diagnoses) {
    assert.strictEqual(next_step === null, status === "ok", about)
  }
  return report
}

const examine = Effect.fnUntraced(function* (w: World, args: ReadonlyArray<string> = [], options?: StartOptions) {
  return reportOf(yield* w.run(["doctor", ...args, "--json"], options))
})

/** What is wrong with one thing. */
const wrong = (report: Report, about: string): Diagnosis => {
  const found = report.diagnoses.find((diagnosis) => diagnosis.about === about && diagnosis.status !== "ok")
  return found ?? assert.fail(`nothing is wrong with ${about}: ${JSON.stringify(report.diagnoses)}`)
}

/** The bytes of the ledger, its rows as far as they can be read, and what there is beside it. */
const standing = (w: World) => ({
  bytes: readFileSync(w.ledger).toString("base64"),
  state: readdirSync(w.state, { recursive: true }).toSorted(),
  remains: remains({ ...w, ledger: "/nonexistent" })
})

describe.concurrent("doctor", { timeout: 90_000 }, () => {
  it.live("finds a host in order before anything was made, and makes nothing", () =>
    Effect.gen(function* () {
      const w = yield* world
      const report = yield* examine(w)
      assert.isTrue(report.healthy)
      const about = report.diagnoses.map(({ about }) => about)
      assert.includeMembers(about, ["configuration", "git", "state", "ledger", "provider local"])
      assert.isFalse(existsSync(w.state))
    })
  )

  it.live("finds sessions in order, and changes nothing", () =>
    Effect.gen(function* () {
      const w = yield* world
      yield* w.sandbox(...up(w, "one"))
      yield* w.sandbox(...up(w, "two"))
      yield* w.sandbox("down", "two")
      const before = standing(w)
      const report = yield* examine(w, ["--deep"])
      assert.isTrue(report.healthy, JSON.stringify(report.diagnoses))
      assert.deepEqual(report.actions, [])
      assert.strictEqual(report.diagnoses.find(({ about }) => about === "sessions")?.finding, "2 of 2 need nothing")
      assert.deepEqual(standing(w), before)
      const shown = yield* w.sandbox("doctor")
      assert.strictEqual(shown.code, 0)
      assert.match(shown.stdout, /^ {2}ok +git +2\./m)
      assert.include(shown.stdout, "healthy: no problem")
    })
  )

  const damages: ReadonlyArray<readonly [string, (w: World) => void, string]> = [
    ["empty", (w) => writeFileSync(w.ledger, ""), "backup"],
    ["garbage", (w) => writeFileSync(w.ledger, "this is no database\n".repeat(500)), "backup"],
    ["cut off", (w) => writeFileSync(w.ledger, readFileSync(w.ledger).subarray(0, 5000)), "backup"],
    [
      "overwritten in the middle",
      (w) => {
        const content = readFileSync(w.ledger)
        writeFileSync(w.ledger, content.fill(0x5a, 4096, content.length))
      },
      "backup"
    ],
    [
      "of a future schema",
      (w) => query(w.ledger, "UPDATE meta SET value = '99' WHERE name = 'schema_version'"),
      "update sandbox"
    ]
  ]
  for (const [name, damage, way] of damages) {
    it.live(`I-20 names a ledger that is ${name}, looks at all the rest, and leaves it as it is`, () =>
      Effect.gen(function* () {
        const w = yield* world
        yield* w.sandbox(...up(w))
        damage(w)
        const before = standing(w)
        const report = yield* examine(w)
        const ledger = wrong(report, "ledger")
        assert.strictEqual(ledger.status, "problem")
        assert.include(ledger.finding, w.ledger)
        assert.include(ledger.next_step, way)
        assert.includeMembers(
          report.diagnoses.filter(({ status }) => status === "ok").map(({ about }) => about),
          ["git", "state", "provider local"]
        )
        assert.deepEqual(standing(w), before)
      })
    )
  }

  it.live("names a shared ledger that cannot be reached, and one that nobody is named for", () =>
    Effect.gen(function* () {
      const w = yield* world
      const url = "postgres://me:hidden-password@127.0.0.1:1/sandbox"
      const outcome = yield* w.run(["doctor", "--ledger", url, "--principal", "ann", "--json"])
      assert.notInclude(outcome.stdout + outcome.stderr, "hidden-password")
      assert.include(wrong(reportOf(outcome), "ledger").finding, "127.0.0.1:1")
      const nobody = yield* examine(w, ["--ledger", url])
      assert.include(wrong(nobody, "ledger").next_step, "--principal")
    })
  )

  it.live("names a record that is damaged, and hides no other", () =>
    Effect.gen(function* () {
      const w = yield* world
      const { session_id } = (yield* w.sandbox(...up(w, "bad"))).json()
      yield* w.sandbox(...up(w, "good"))
      query(w.ledger, "UPDATE sessions SET spec = '{' WHERE id = ?", session_id)
      const before = dump(w.ledger)
      const report = yield* examine(w)
      assert.include(wrong(report, "ledger").finding, session_id)
      assert.strictEqual(report.diagnoses.find(({ about }) => about === "sessions")?.finding, "1 of 1 need nothing")
      assert.deepEqual(dump(w.ledger), before)
    })
  )

  it.live("names a configuration that is broken, and a provider that cannot be loaded", () =>
    Effect.gen(function* () {
      const w = yield* world
      const folder = join(w.directory, "home", ".config", "sandbox")
      mkdirSync(folder, { recursive: true })
      const file = join(folder, "config.yaml")
      writeFileSync(file, "providers: {mine: {use: ./nowhere.mjs}}\n")
      const mine = wrong(yield* examine(w), "provider mine")
      assert.strictEqual(mine.status, "problem")
      assert.include(mine.finding, "could not be loaded")
      writeFileSync(file, "slots: {max: many}\n")
      const configuration = wrong(yield* examine(w), "configuration")
      assert.strictEqual(configuration.status, "problem")
      assert.include(configuration.finding, file)
    })
  )

  it.live("names a git that is missing, and one that is too old", () =>
    Effect.gen(function* () {
      const w = yield* world
      const bin = join(w.directory, "bin")
      mkdirSync(bin)
      const env = { PATH: bin }
      assert.include(wrong(yield* examine(w, [], { env }), "git").finding, "git was not found")
      writeFileSync(join(bin, "git"), "#!/bin/sh\necho git version 2.20.1\n", { mode: 0o755 })
      assert.include(wrong(yield* examine(w, [], { env }), "git").finding, "2.20.1 is too old")
    })
  )

  it.live("names a state directory that others may look into", () =>
    Effect.gen(function* () {
      const w = yield* world
      yield* w.sandbox("list")
      chmodSync(w.state, 0o755)
      const report = yield* examine(w)
      assert.include(wrong(report, "state").next_step, `chmod 700 ${w.state}`)
      assert.isTrue(report.healthy)
    })
  )

  it.live("names what died, with the command that status gives, and what gc would do; typing that ends it", () =>
    Effect.gen(function* () {
      const w = yield* world
      const held = heldGit(w, { hold: "worktree add" })
      const running = yield* w.start(up(w), { env: held.env })
      yield* held.held()
      running.signal("SIGKILL")
      yield* running.ended
      const before = dump(w.ledger)
      const report = yield* examine(w)
      const session = wrong(report, "session work")
      assert.strictEqual(session.status, "problem")
      const { recovery } = (yield* w.sandbox("status", "work", "--json")).json()
      assert.include(session.next_step, recovery!.command)
      assert.deepEqual(
        report.actions.map(({ action, outcome }) => [action, outcome]),
        [["recover", "planned"]]
      )
      assert.deepEqual(dump(w.ledger), before)
      const shown = yield* w.sandbox("doctor")
      assert.strictEqual(shown.code, 4)
      assert.include(shown.stdout, "SESSION")
      assert.include(shown.stdout, `session work: run \`${recovery!.command}\``)
      assert.strictEqual((yield* w.sandbox(...recovery!.command.split(" ").slice(1))).code, 0)
      assert.isTrue((yield* examine(w)).healthy)
    })
  )

  it.live("names a box that is gone, one that is halted, and one that was given up", () =>
    Effect.gen(function* () {
      const w = yield* world
      const box = (id: string) => join(w.state, "local", `${id.replace("_", "-")}-g1`)
      const gone = (yield* w.sandbox(...up(w, "gone"))).json().session_id
      const given = (yield* w.sandbox(...up(w, "given"))).json().session_id
      yield* w.sandbox("destroy", given, "--forget", "--confirm-data-loss")
      rmSync(box(gone), { recursive: true })
      const halted = (yield* w.sandbox(...up(w, "halted"))).json().session_id
      const record = join(box(halted), "box.json")
      writeFileSync(record, readFileSync(record, "utf8").replace('"running"', '"stopped"'))
      const report = yield* examine(w)
      assert.include(wrong(report, "session gone").finding, "its box is gone")
      assert.include(wrong(report, "session given").finding, "abandoned")
      assert.include(wrong(report, "session halted").next_step, `sandbox resume ${halted}`)
      assert.deepEqual(report.actions.map(({ action }) => action).toSorted(), ["destroy_box", "recover"])
      assert.strictEqual((yield* w.sandbox("gc")).code, 0)
      assert.isFalse(existsSync(box(given)))
      const after = yield* examine(w)
      assert.isTrue(after.healthy, JSON.stringify(after.diagnoses))
      assert.include(wrong(after, "session gone").next_step, `sandbox resume ${gone}`)
    })
  )

  it.live("names a checkpoint that is lost, a session past its time, and a repository that is not there", () =>
    Effect.gen(function* () {
      const w = yield* world
      yield* w.sandbox(...up(w, "saved"))
      yield* w.sandbox("down", "saved")
      rmSync(join(w.state, "checkpoints"), { recursive: true })
      const expired = (yield* w.sandbox(...up(w, "expired"))).json().session_id
      query(w.ledger, "UPDATE sessions SET expires_at = 1 WHERE id = ?", expired)
      const moved = (yield* w.sandbox(...up(w, "moved"))).json().session_id
      query(w.ledger, "UPDATE sessions SET repository = '/nowhere/at/all' WHERE id = ?", moved)
      const report = yield* examine(w)
      const saved = wrong(report, "session saved")
      assert.include(saved.finding, "does not have it")
      assert.include(wrong(report, "session expired").next_step, "sandbox gc")
      assert.include(wrong(report, "repository /nowhere/at/all").finding, "no repository")
      assert.deepEqual(
        report.actions.map(({ action, outcome }) => [action, outcome]),
        [["halt", "planned"]]
      )
      const [command] = /sandbox resume \S+ --force/.exec(saved.next_step ?? "") ?? []
      assert.strictEqual((yield* w.sandbox(...command!.split(" ").slice(1))).code, 0)
    })
  )

  it.live("names what dead writers left in the store, which gc sweeps", () =>
    Effect.gen(function* () {
      const w = yield* world
      yield* w.sandbox(...up(w))
      yield* w.sandbox("down", "work")
      const shard = join(w.state, "checkpoints", "objects", "ab")
      mkdirSync(shard, { recursive: true })
      const left = join(shard, "ab".repeat(32))
      writeFileSync(left, "nobody's")
      const before = standing(w)
      const report = yield* examine(w)
      assert.isTrue(report.healthy)
      assert.include(wrong(report, "checkpoints").finding, "8 bytes that no checkpoint needs")
      assert.deepEqual(
        report.actions.map(({ action, outcome }) => [action, outcome]),
        [["sweep", "planned"]]
      )
      assert.deepEqual(standing(w), before)
      const swept = yield* w.sandbox("gc")
      assert.match(swept.stdout, /^- +0 checkpoints .* 8 bytes .* sweep +done$/m)
      assert.isFalse(existsSync(left))
      assert.strictEqual((yield* w.sandbox("gc")).stdout, "Nothing to put right.\n")
      assert.deepEqual((yield* examine(w)).actions, [])
    })
  )

  it.live("looks at the checkpoints although there is no ledger, and says that they are nobody's", () =>
    Effect.gen(function* () {
      const w = yield* world
      yield* w.sandbox(...up(w))
      yield* w.sandbox("down", "work")
      for (const name of readdirSync(w.state)) {
        if (name.startsWith("ledger.db")) rmSync(join(w.state, name))
      }
      const report = yield* examine(w)
      assert.isTrue(report.healthy)
      const checkpoints = wrong(report, "checkpoints")
      assert.include(checkpoints.finding, "1 checkpoint of no ledger")
      assert.include(checkpoints.next_step, "--ledger")
      rmSync(join(w.state, "checkpoints"), { recursive: true })
      writeFileSync(join(w.state, "checkpoints"), "")
      assert.strictEqual(wrong(yield* examine(w), "checkpoints").status, "problem")
      assert.deepEqual(
        readdirSync(w.state).filter((name) => name.startsWith("ledger")),
        []
      )
    })
  )

  it.live("I-20 names a ledger that can be opened and is damaged inside, and leaves it as it is", () =>
    Effect.gen(function* () {
      const w = yield* world
      yield* w.sandbox(...up(w))
      const [index] = query<{ rootpage: number }>(
        w.ledger,
        "SELECT rootpage FROM sqlite_master WHERE name = 'ports_session'"
      )
      const content = readFileSync(w.ledger)
      content[(index!.rootpage - 1) * content.readUInt16BE(16)] = 0
      writeFileSync(w.ledger, content)
      assert.strictEqual((yield* w.sandbox("list")).code, 0)
      const before = standing(w)
      const report = yield* examine(w)
      const ledger = wrong(report, "ledger")
      assert.strictEqual(ledger.status, "problem")
      assert.include(ledger.next_step, "backup")
      assert.isFalse(report.diagnoses.some(({ about, status }) => about === "ledger" && status === "ok"))
      assert.strictEqual(report.diagnoses.find(({ about }) => about === "sessions")?.finding, "1 of 1 need nothing")
      assert.deepEqual(standing(w), before)
    })
  )

  it.live("names a store that cannot be read once, and takes nothing that is in it for lost", () =>
    Effect.gen(function* () {
      const w = yield* world
      const { session_id } = (yield* w.sandbox(...up(w))).json()
      yield* w.sandbox("down", "work")
      rmSync(join(w.state, "checkpoints", "published", readdirSync(join(w.state, "checkpoints", "published"))[0]!))
      rmSync(join(w.state, "checkpoints", "published"), { recursive: true })
      writeFileSync(join(w.state, "checkpoints", "published"), "")
      const report = yield* examine(w)
      assert.strictEqual(wrong(report, "checkpoints").status, "problem")
      const session = wrong(report, "session work")
      assert.strictEqual(session.status, "warning")
      assert.notInclude(session.next_step, "--force")
      assert.notInclude(session.finding, session_id)
      assert.deepEqual(
        report.actions.map(({ action }) => action),
        ["report"]
      )
    })
  )

  it.live("leaves sessions of somebody else out", () =>
    Effect.gen(function* () {
      const w = yield* world
      yield* w.sandbox(...up(w, "hers"), "--principal", "ann")
      query(w.ledger, "UPDATE sessions SET expires_at = 1")
      const outcome = yield* w.run(["doctor", "--principal", "bob", "--json"])
      assert.isTrue(reportOf(outcome).healthy)
      assert.notInclude(outcome.stdout, "hers")
    })
  )
})
