/** A ledger that is damaged, strange, new, read-only, full or busy: never read as empty, never made worse. */
import { execFileSync } from "node:child_process"
import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmdirSync,
  rmSync,
  statfsSync,
  writeFileSync
} from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { DatabaseSync } from "node:sqlite"
import { assert, describe, it } from "@effect/vitest"
import { SandboxError } from "@org/sandbox-core"
import { Effect } from "effect"
import { assertErrorObject, assertFailure } from "./support/contract.ts"
import { command, dump, nothing, query, remains, type World, world } from "./support/sandbox.ts"

const up = (w: World) => ["up", w.repository, "-b", "feature", "-p", "local", "--json"]

/** The bytes of the ledger, and what is beside it. */
const bytes = (w: World) => ({
  ledger: readFileSync(w.ledger).toString("base64"),
  beside: readdirSync(w.state).filter((name) => name.startsWith("ledger"))
})

describe.concurrent("a ledger that is no ledger", () => {
  const damages: ReadonlyArray<{ readonly name: string; readonly damage: (w: World) => void }> = [
    { name: "empty", damage: (w) => writeFileSync(w.ledger, "") },
    { name: "garbage", damage: (w) => writeFileSync(w.ledger, "this is no database\n".repeat(500)) },
    { name: "cut off", damage: (w) => writeFileSync(w.ledger, readFileSync(w.ledger).subarray(0, 5000)) },
    {
      name: "overwritten in the middle",
      damage: (w) => {
        const content = readFileSync(w.ledger)
        writeFileSync(w.ledger, content.fill(0x5a, 4096, content.length))
      }
    }
  ]
  for (const { damage, name } of damages) {
    it.live(`I-20 ${name}: refused by every verb with its path, and left as it is`, () =>
      Effect.gen(function* () {
        const w = yield* world
        yield* w.sandbox(...up(w))
        damage(w)
        const before = bytes(w)
        for (const args of [["list"], ["status", "app-feature"], up(w), ["down", "app-feature"], ["gc"]]) {
          const outcome = yield* w.sandbox(...args.filter((arg) => arg !== "--json"), "--json")
          const answer = assertFailure(outcome, "ERR_LEDGER_CORRUPT")
          assert.include(answer.cause, w.ledger)
          assert.include(answer.next_step, "backup")
          assert.isFalse(answer.retryable)
          assert.deepEqual(bytes(w), before, args.join(" "))
        }
        assert.strictEqual(remains({ ...w, ledger: "/nonexistent" }).boxes.length, 1)
      })
    )
  }

  it.live("I-20 another program's database is refused and left as it is", () =>
    Effect.gen(function* () {
      const w = yield* world
      mkdirSync(w.state, { recursive: true })
      const db = new DatabaseSync(w.ledger)
      db.exec("CREATE TABLE bookmarks (url TEXT); INSERT INTO bookmarks VALUES ('https://example.com')")
      db.close()
      const before = bytes(w)
      for (const args of [["list", "--json"], up(w)]) {
        assert.include(assertFailure(yield* w.sandbox(...args), "ERR_LEDGER_CORRUPT").cause, w.ledger)
      }
      assert.deepEqual(bytes(w), before)
    })
  )

  it.live("I-20 one damaged record does not hide the others", () =>
    Effect.gen(function* () {
      const w = yield* world
      const bad = (yield* w.sandbox(...up(w), "--name", "bad")).json().session_id
      const good = (yield* w.sandbox(...up(w), "--name", "good")).json().session_id
      query(w.ledger, "UPDATE sessions SET spec = '{' WHERE id = ?", bad)
      const list = yield* w.sandbox("list", "--json")
      assert.strictEqual(list.code, 0)
      assert.deepEqual(
        list.json().sessions.map(({ session_id }) => session_id),
        [good]
      )
      assert.include(list.json().warnings[0], bad)
      assert.include((yield* w.sandbox("list")).stderr, `warning: the record of ${bad} is damaged`)
      assert.include(assertFailure(yield* w.sandbox("status", bad, "--json"), "ERR_LEDGER_CORRUPT").cause, bad)
    })
  )
})

describe.concurrent("a ledger of another version", () => {
  it.live("I-82 from the future is refused and left as it is", () =>
    Effect.gen(function* () {
      const w = yield* world
      yield* w.sandbox(...up(w))
      query(w.ledger, "UPDATE meta SET value = '99' WHERE name = 'schema_version'")
      const before = bytes(w)
      for (const args of [["list", "--json"], up(w), ["down", "app-feature", "--json"]]) {
        const answer = assertFailure(yield* w.sandbox(...args), "ERR_LEDGER_VERSION")
        assert.include(answer.cause, "99")
        assert.include(answer.next_step, "update")
      }
      assert.deepEqual(bytes(w), before)
    })
  )
})

describe.concurrent("a busy ledger", () => {
  it.live(
    "I-17 is waited for 10 s and then given up, with nothing done; readers never wait",
    () =>
      Effect.gen(function* () {
        const w = yield* world
        yield* w.sandbox(...up(w), "--name", "before")
        const rows = dump(w.ledger)
        const standing = remains(w)
        const holder = yield* Effect.acquireRelease(
          Effect.sync(() => {
            const db = new DatabaseSync(w.ledger)
            db.exec("BEGIN IMMEDIATE")
            return db
          }),
          (db) => Effect.sync(() => db.close())
        )
        const waiting = yield* w.start([...up(w), "--name", "after"])
        const halting = yield* w.start(["down", "before", "--json"])
        for (const args of [["list"], ["status", "before"], ["history", "before"]]) {
          const read = yield* w.sandbox(...args, "--json")
          assert.strictEqual(read.code, 0, read.stdout)
        }
        assert.deepEqual([waiting.hasEnded(), halting.hasEnded()], [false, false])
        for (const { ended } of [waiting, halting]) {
          const answer = assertFailure(yield* ended, "ERR_LOCK_TIMEOUT")
          assert.isTrue(answer.retryable)
          assert.include(answer.cause, w.ledger)
        }
        holder.exec("ROLLBACK")
        assert.deepEqual(dump(w.ledger), rows)
        assert.deepEqual(remains(w), standing)
      }),
    { timeout: 60_000 }
  )
})

const nobody = 65_534
const asNobody = (command: ReadonlyArray<string>) => [
  ...["setpriv", `--reuid=${nobody}`, `--regid=${nobody}`, "--clear-groups"],
  ...command
]
/** Another user is needed who may read the program, and only root can become one. */
const canBeNobody = (() => {
  if (process.getuid?.() !== 0) return false
  try {
    const [program = "", ...args] = asNobody(["test", "-r", command.at(-1)!])
    execFileSync(program, args, { stdio: "ignore" })
    return true
  } catch {
    return false
  }
})()

describe.concurrent("a state directory that cannot be written", () => {
  it.live.skipIf(!canBeNobody)("is said, with the way out, and nothing is made (needs root)", () =>
    Effect.gen(function* () {
      const w = yield* world
      mkdirSync(w.state, { recursive: true })
      chmodSync(w.directory, 0o755)
      const answer = assertFailure(yield* w.run(up(w), { through: asNobody }), "ERR_LEDGER_IO")
      assert.include(answer.cause, w.ledger)
      assert.include(answer.next_step, "--ledger")
      assert.deepEqual(readdirSync(w.state), [])

      yield* w.sandbox(...up(w))
      const rows = dump(w.ledger)
      const standing = remains(w)
      chmodSync(w.state, 0o755)
      chmodSync(w.ledger, 0o444)
      for (const args of [up(w), ["down", "app-feature", "--json"]]) {
        const refused = yield* w.run([...args, "--principal", "root"], { through: asNobody })
        assert.include(assertFailure(refused, "ERR_LEDGER_IO").next_step, "writable")
      }
      assert.deepEqual(dump(w.ledger), rows)
      assert.deepEqual(remains(w), standing)
    })
  )
})

/** A file system of 2 MiB at a directory, for as long as the scope lives. */
const smallDisk = (directory: string) =>
  Effect.acquireRelease(
    Effect.sync(() => {
      mkdirSync(directory, { recursive: true })
      execFileSync("mount", ["-t", "tmpfs", "-o", "size=2m,mode=700", "tmpfs", directory])
    }),
    () => Effect.sync(() => execFileSync("umount", ["--lazy", directory]))
  )

const canMount = (() => {
  if (process.platform !== "linux" || process.getuid?.() !== 0) return false
  const directory = mkdtempSync(join(tmpdir(), "sandbox-mount-"))
  try {
    execFileSync("mount", ["-t", "tmpfs", "tmpfs", directory], { stdio: "ignore" })
    execFileSync("umount", [directory], { stdio: "ignore" })
    return true
  } catch {
    return false
  } finally {
    rmdirSync(directory)
  }
})()

describe.concurrent("a full disk", () => {
  it.live.skipIf(!canMount)(
    "I-43 never becomes a success, and once there is room the ledger says what is true (needs mount)",
    () =>
      Effect.gen(function* () {
        const w = yield* world
        yield* smallDisk(w.state)
        yield* w.sandbox("list")
        const filler = join(w.state, "filler")
        const ends = new Set<string>()
        for (const free of [0, 16, 48, 80, 112, 144, 176, 208, 240, 272, 320]) {
          const { bavail, bsize } = statfsSync(w.state)
          writeFileSync(filler, Buffer.alloc(Math.max(0, bavail * bsize - free * 1024)))
          const name = `free-${free}`
          const outcome = yield* w.sandbox(...up(w), "--name", name)
          rmSync(filler)
          const answer = outcome.json()
          const [session] = query<{ id: string; state: string }>(
            w.ledger,
            "SELECT id, state FROM sessions WHERE name = ?",
            name
          )
          ends.add(`${answer.error_code ?? "up"}, ${session?.state ?? "no session"}`)
          if (answer.ok) {
            assert.deepEqual([outcome.code, session?.state], [0, "ready"])
          } else {
            assertErrorObject(answer)
            assert.strictEqual(outcome.code, SandboxError.exitCode(answer.error_code as SandboxError.ErrorCode))
            assert.notStrictEqual(session?.state, "ready")
          }
          if (session !== undefined && session.state !== "failed") {
            const id = session.id
            const status = (yield* w.sandbox("status", id, "--json")).json()
            const recovery = status.recovery?.command.split(" ").slice(1)
            if (recovery !== undefined) assert.strictEqual((yield* w.sandbox(...recovery)).code, 0, `${free} KiB`)
            const destroyed = yield* w.sandbox("destroy", id, "--force", "--json")
            assert.strictEqual(destroyed.code, 0, `${free} KiB: ${destroyed.stdout}`)
          }
          yield* w.sandbox("gc")
          assert.deepEqual(remains(w), nothing, `${free} KiB`)
        }
        // before the session was there, in the middle of it, and not at all
        assert.includeMembers([...ends], ["ERR_LEDGER_IO, no session", "up, ready"])
        assert.isAbove(ends.size, 2)
      }),
    { timeout: 180_000 }
  )
})
