/** Checkpoints as a user meets them: real checkouts, real stores, and stores that somebody damaged. */
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, realpathSync, rmSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { DatabaseSync } from "node:sqlite"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import {
  branches,
  dump,
  eventually,
  processesOf,
  providerModule,
  remains,
  type World,
  world
} from "./support/sandbox.ts"
import { everything, listing, status, work, wreck } from "./support/work.ts"

const local = ["--provider", "local", "--json"]

/** A session with work of every kind in its checkout. */
const worked = Effect.fnUntraced(function* (w: World, ...args: ReadonlyArray<string>) {
  const up = (yield* w.sandbox("up", w.repository, "-b", "feature", "-n", "app", ...local, ...args)).json()
  assert.isTrue(up.ok, JSON.stringify(up))
  work(up.worktree_path)
  return up
})

const json = Effect.fnUntraced(function* (w: World, ...args: ReadonlyArray<string>) {
  return (yield* w.sandbox(...args, "--json")).json()
})

/** A checkpoint of the session `app`, made now. */
const saved = Effect.fnUntraced(function* (w: World, ...args: ReadonlyArray<string>) {
  const made = yield* json(w, "checkpoint", "create", "app", ...args)
  assert.isTrue(made.ok, JSON.stringify(made))
  return { ...made, checkpoint: made.checkpoint! }
})

const halted = Effect.fnUntraced(function* (w: World, ...args: ReadonlyArray<string>) {
  const down = yield* json(w, "down", "app", ...args)
  assert.strictEqual(down.state, "stopped", JSON.stringify(down))
  return { ...down, checkpoint: down.checkpoint! }
})

const store = (w: World): string => join(w.state, "checkpoints")

/** The files of the store below a directory of it, each with its path. */
const stored = (directory: string): ReadonlyArray<string> =>
  readdirSync(directory, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))

/** Changes one byte in the middle of a file. */
const flip = (file: string): void => {
  const bytes = readFileSync(file)
  const at = Math.floor(bytes.length / 2)
  bytes[at] = bytes[at]! ^ 1
  writeFileSync(file, bytes)
}

/** Changes a byte of an object of a checkpoint: the one that holds the binary file. */
const damage = (w: World, id: string): void => {
  const objects = stored(join(store(w), "bodies")).filter(
    (file) => file.includes(id) && readFileSync(file).length === 70_000
  )
  assert.lengthOf(objects, 1)
  flip(objects[0]!)
}

const change = (w: World, sql: string, ...values: ReadonlyArray<string | number>): void => {
  const db = new DatabaseSync(w.ledger)
  db.prepare(sql).run(...values)
  db.close()
}

describe.concurrent("checkpoints", { timeout: 120_000 }, () => {
  it.live("a checkpoint holds all the work, and restore brings it back byte for byte, keeping what was there", () =>
    Effect.gen(function* () {
      const w = yield* world
      const { session_id, worktree_path } = yield* worked(w)
      const before = everything(worktree_path)
      const made = yield* saved(w)
      assert.strictEqual(made.state, "ready")
      assert.strictEqual(made.checkpoint.head, before.head)
      assert.isTrue(made.checkpoint.verified)
      assert.deepEqual(everything(worktree_path), before, "a checkpoint changes nothing")

      wreck(worktree_path)
      const wrecked = everything(worktree_path)
      const restored = yield* json(w, "restore", "app", made.checkpoint.id)
      assert.isTrue(restored.ok, JSON.stringify(restored))
      assert.strictEqual(restored.session_id, session_id)
      assert.strictEqual(restored.state, "ready")
      assert.strictEqual(restored.worktree_path, worktree_path)
      assert.deepEqual(everything(worktree_path), before)

      const back = yield* json(w, "restore", "app", restored.before!)
      assert.isTrue(back.ok, JSON.stringify(back))
      assert.deepEqual(everything(worktree_path), wrecked, "what restore took away is a checkpoint, too")
      const list = yield* json(w, "checkpoint", "list", "app")
      assert.deepEqual(
        list.checkpoints.map(({ reason }) => reason),
        ["request", "restore", "restore"]
      )
      const verified = yield* json(w, "checkpoint", "verify", "app")
      assert.isTrue(verified.valid)
    })
  )

  it.live("what is restored twice under one request id is restored once", () =>
    Effect.gen(function* () {
      const w = yield* world
      const { worktree_path } = yield* worked(w)
      const key = ["--client-request-id", "k"]
      const first = yield* saved(w, ...key)
      const again = yield* saved(w, ...key)
      assert.deepInclude(again, { ok: true, replayed: true, checkpoint: first.checkpoint })
      wreck(worktree_path)
      const restored = yield* json(w, "restore", "app", first.checkpoint.id, ...key)
      writeFileSync(join(worktree_path, "later.txt"), "later\n")
      const replayed = yield* json(w, "restore", "app", first.checkpoint.id, ...key)
      assert.isTrue(replayed.replayed)
      assert.strictEqual(replayed.before, restored.before)
      assert.isTrue(existsSync(join(worktree_path, "later.txt")))
    })
  )

  it.live("a box that is gone comes back with the work that down saved", () =>
    Effect.gen(function* () {
      const w = yield* world
      const { worktree_path } = yield* worked(w)
      const before = everything(worktree_path)
      const down = yield* halted(w)
      assert.strictEqual(down.checkpoint.head, before.head)
      assert.isAbove(down.checkpoint.files, 4)
      // as if the disk had been lost: box, worktree and branch
      for (const box of readdirSync(join(w.state, "local"))) {
        rmSync(join(w.state, "local", box), { recursive: true, force: true })
      }
      w.git("worktree", "prune")
      const failed = yield* w.sandbox("resume", "app", "--json")
      assert.strictEqual(failed.code, 2)
      const status = yield* json(w, "status", "app")
      assert.strictEqual(status.state, "failed")
      const resumed = yield* json(w, "resume", "app")
      assert.isTrue(resumed.ok, JSON.stringify(resumed))
      assert.deepEqual(everything(resumed.worktree_path), before)
    })
  )

  it.live("I-65 a flipped byte is refused by verify, resume, restore and destroy, and nothing is changed", () =>
    Effect.gen(function* () {
      const w = yield* world
      const { worktree_path } = yield* worked(w)
      const down = yield* halted(w)
      damage(w, down.checkpoint.id)
      const [ledger, files] = [dump(w.ledger), listing(worktree_path)]
      const verified = yield* w.sandbox("checkpoint", "verify", "app", "--json")
      assert.strictEqual(verified.code, 4)
      assert.deepInclude(verified.json(), { ok: true, valid: false })
      for (const verb of [["resume"], ["restore"], ["destroy"], ["down", "--destroy"]]) {
        const refused = yield* w.sandbox(...verb, "app", "--json")
        assert.strictEqual(refused.code, 1, `${verb}: ${refused.stdout}`)
        assert.strictEqual(refused.json().error_code, "ERR_CHECKPOINT_INVALID")
        assert.strictEqual(refused.json().details.problem, "damaged")
      }
      assert.deepEqual(dump(w.ledger), ledger)
      assert.deepEqual(listing(worktree_path), files)
      const forced = yield* json(w, "resume", "app", "--force")
      assert.isTrue(forced.ok, JSON.stringify(forced))
      assert.match(forced.warnings.join("\n"), /cannot be used/)
      assert.deepEqual(listing(worktree_path), files)
    })
  )

  type Spoil = (w: World, id: string, session: string) => void
  const spoiled: ReadonlyArray<readonly [what: string, problem: string, spoil: Spoil]> = [
    ["that the store lost", "missing", (w, id) => rmSync(join(store(w), "published", id))],
    ["with a spoiled manifest", "damaged", (w, id) => flip(join(store(w), "published", id, "manifest.json"))],
    [
      "of another session",
      "foreign",
      (w, id, session) => {
        const file = join(store(w), "published", id, "manifest.json")
        writeFileSync(file, readFileSync(file, "utf8").replaceAll(session, "sbx_00000000000000000000000000"))
      }
    ],
    [
      "from before the session was last in use",
      "stale",
      (w) => change(w, "UPDATE sessions SET ready_at = persisted_at + 60000")
    ],
    ["that was never recorded", "missing", (w) => change(w, "DELETE FROM checkpoints")]
  ]
  for (const [what, problem, spoil] of spoiled) {
    it.live(`I-65 a checkpoint ${what} blocks resume and teardown`, () =>
      Effect.gen(function* () {
        const w = yield* world
        const { session_id, worktree_path } = yield* worked(w)
        const down = yield* halted(w)
        spoil(w, down.checkpoint.id, session_id)
        const [ledger, files] = [dump(w.ledger), listing(worktree_path)]
        for (const verb of ["resume", "destroy"]) {
          const refused = yield* w.sandbox(verb, "app", "--json")
          assert.strictEqual(refused.code, 1, `${verb}: ${refused.stdout}`)
          assert.deepInclude(refused.json(), { error_code: "ERR_CHECKPOINT_INVALID", state: "stopped" })
          assert.strictEqual(refused.json().details.problem, problem)
        }
        assert.deepEqual(dump(w.ledger), ledger)
        assert.deepEqual(listing(worktree_path), files)
        const resumed = yield* w.sandbox("resume", "app", "--force", "--json")
        // another session's identity is never resumed, whatever is forced
        assert.strictEqual(resumed.code, problem === "foreign" ? 1 : 0, resumed.stdout)
        assert.deepEqual(listing(worktree_path), files)
        const destroyed = yield* w.sandbox("destroy", "app", "--force", "--confirm-data-loss", "--json")
        assert.strictEqual(destroyed.code, 0, destroyed.stdout)
        assert.deepEqual(remains(w).boxes, [])
      })
    )
  }

  it.live("what destroy saved begins a new session", () =>
    Effect.gen(function* () {
      const w = yield* world
      const { session_id, worktree_path } = yield* worked(w)
      const before = everything(worktree_path)
      const refused = yield* w.sandbox("destroy", "app", "--json")
      assert.strictEqual(refused.json().error_code, "ERR_FORCE_REQUIRED")
      const destroyed = yield* json(w, "destroy", "app", "--force")
      assert.isTrue(destroyed.ok, JSON.stringify(destroyed))
      assert.strictEqual(destroyed.checkpoint!.head, before.head)
      const up = yield* json(w, "up", "--from-checkpoint", destroyed.checkpoint!.id, "-p", "local", "-n", "again")
      assert.isTrue(up.ok, JSON.stringify(up))
      assert.notStrictEqual(up.session_id, session_id)
      assert.deepEqual(everything(up.worktree_path), before)
      const mine = yield* w.run(["up", "--from-checkpoint", destroyed.checkpoint!.id, ...local, "--principal", "eve"])
      assert.strictEqual(mine.code, 1)
      assert.strictEqual(mine.json().error_code, "ERR_INVALID_ARGUMENT")
      assert.notInclude(mine.stdout, w.repository)
    })
  )

  it.live("a checkout that is deleted with its work comes back with it", () =>
    Effect.gen(function* () {
      const w = yield* world
      const { worktree_path } = yield* worked(w)
      const before = everything(worktree_path)
      yield* halted(w, "--delete-worktree")
      assert.isFalse(existsSync(worktree_path))
      const resumed = yield* json(w, "resume", "app")
      assert.isTrue(resumed.ok, JSON.stringify(resumed))
      assert.deepEqual(everything(resumed.worktree_path), before)
    })
  )

  it.live("a session that saves by hand keeps only its record when it is halted, and its work in the box", () =>
    Effect.gen(function* () {
      const w = yield* world
      writeFileSync(join(w.repository, "sandbox.yaml"), "durability:\n  checkpoint: manual\n")
      const { worktree_path } = yield* worked(w)
      const before = everything(worktree_path)
      const down = yield* halted(w)
      assert.isNull(down.checkpoint.head)
      const refused = yield* w.sandbox("destroy", "app", "--json")
      assert.strictEqual(refused.json().error_code, "ERR_DATA_LOSS_UNCONFIRMED")
      const byHand = yield* saved(w)
      assert.strictEqual(byHand.checkpoint.head, before.head)
      assert.isTrue((yield* json(w, "destroy", "app")).ok)
    })
  )

  it.live("a restore that cannot bring its services up gives the checkout back what it held", () =>
    Effect.gen(function* () {
      const w = yield* world
      writeFileSync(
        join(w.repository, "sandbox.yaml"),
        "services:\n  - {name: web, command: 'test ! -e poison && sleep 600'}\n"
      )
      const { session_id, worktree_path } = yield* worked(w, "--trust-config")
      writeFileSync(join(worktree_path, "poison"), "")
      const poisoned = yield* saved(w)
      rmSync(join(worktree_path, "poison"))
      const before = everything(worktree_path)
      // only a service that is down is started again
      for (const pid of processesOf({ sessionId: session_id }, "web")) process.kill(pid, "SIGKILL")
      yield* eventually("the service is gone", () => processesOf({ sessionId: session_id }, "web").length === 0)
      const failed = yield* w.sandbox("restore", "app", poisoned.checkpoint.id, "--json")
      assert.strictEqual(failed.code, 2, failed.stdout)
      assert.deepEqual(everything(worktree_path), before)
      const { state } = yield* json(w, "status", "app")
      assert.strictEqual(state, "ready")
    })
  )

  it.live("a restore that is killed is finished by the command that status recommends", () =>
    Effect.gen(function* () {
      const w = yield* world
      const { worktree_path } = yield* worked(w)
      const before = everything(worktree_path)
      const { checkpoint } = yield* saved(w)
      for (const line of ["restore: save", "restore: restore", "restore: health"]) {
        wreck(worktree_path)
        const running = yield* w.start(["restore", "app", checkpoint.id])
        assert.isTrue(yield* running.saw(line), line)
        running.signal("SIGKILL")
        yield* running.ended
        const { recovery, state } = yield* json(w, "status", "app")
        // a kill that comes too late finds it done
        if (line === "restore: restore") assert.strictEqual(state, "syncing")
        if (recovery !== null) {
          const done = yield* w.sandbox(...recovery.command.split(" ").slice(1), "--json")
          assert.strictEqual(done.code, 0, `${line}: ${done.stdout}`)
        }
        if (line !== "restore: save") assert.deepEqual(everything(worktree_path), before, line)
        assert.strictEqual((yield* json(w, "status", "app")).state, "ready")
      }
    }).pipe(Effect.scoped)
  )

  it.live("where halting ends the box, its work is saved before, and a new box gets it", () =>
    Effect.gen(function* () {
      const w = yield* world
      const provider = providerModule("terminalProvider")
      mkdirSync(join(w.directory, "home/.config/sandbox"), { recursive: true })
      writeFileSync(
        join(w.directory, "home/.config/sandbox/config.yaml"),
        `providers:\n  terminal: {use: ${JSON.stringify(provider)}}\n`
      )
      const up = yield* json(w, "up", w.repository, "-b", "feature", "-n", "app", "-p", "terminal")
      assert.isTrue(up.ok, JSON.stringify(up))
      work(up.worktree_path)
      const before = everything(up.worktree_path)
      const down = yield* halted(w)
      assert.strictEqual(down.checkpoint.head, before.head)
      assert.deepEqual(remains(w).boxes, [])
      assert.lengthOf(readdirSync(join(store(w), "published")), 1)
      const resumed = yield* json(w, "resume", "app")
      assert.isTrue(resumed.ok, JSON.stringify(resumed))
      assert.deepEqual(everything(resumed.worktree_path), before)
      assert.strictEqual(status(resumed.worktree_path), before.status)
    })
  )

  it.live("where halting ends the box and nothing is saved by itself, work done at the last moment is not lost", () =>
    Effect.gen(function* () {
      const w = yield* world
      const provider = providerModule("terminalProvider")
      mkdirSync(join(w.directory, "home/.config/sandbox"), { recursive: true })
      writeFileSync(
        join(w.directory, "home/.config/sandbox/config.yaml"),
        [
          `providers: {terminal: {use: ${JSON.stringify(provider)}}}`,
          "durability: {checkpoint: manual}",
          "hooks: {pre_down: 'echo late > late.txt'}"
        ].join("\n")
      )
      const up = yield* json(w, "up", w.repository, "-b", "feature", "-n", "app", "-p", "terminal")
      assert.isTrue(up.ok, JSON.stringify(up))
      const refused = yield* w.sandbox("down", "app", "--json")
      assert.strictEqual(refused.code, 1, refused.stdout)
      assert.strictEqual(refused.json().error_code, "ERR_DATA_LOSS_UNCONFIRMED")
      assert.strictEqual((yield* json(w, "status", "app")).state, "ready")
      assert.isTrue(existsSync(join(up.worktree_path, "late.txt")))
      const given = yield* json(w, "down", "app", "--confirm-data-loss")
      assert.strictEqual(given.state, "stopped", JSON.stringify(given))
    })
  )

  it.live("a checkpoint that is needed is not removed, and one that is not leaves nothing behind", () =>
    Effect.gen(function* () {
      const w = yield* world
      yield* worked(w)
      const { checkpoint } = yield* saved(w)
      const down = yield* halted(w)
      const refused = yield* w.sandbox("checkpoint", "rm", "app", down.checkpoint.id, "--json")
      assert.strictEqual(refused.json().error_code, "ERR_DATA_LOSS_UNCONFIRMED")
      assert.isTrue((yield* json(w, "checkpoint", "rm", "app", checkpoint.id)).ok)
      assert.isFalse(existsSync(join(store(w), "published", checkpoint.id)))
      assert.isTrue((yield* json(w, "resume", "app")).ok)
      assert.isTrue((yield* json(w, "checkpoint", "rm", "app", down.checkpoint.id)).ok)
      assert.deepEqual(stored(store(w)), [], "objects go with the last checkpoint that has them")
      const unknown = yield* w.sandbox("checkpoint", "rm", "app", "ckp_none", "--json")
      assert.deepInclude(unknown.json(), { error_code: "ERR_INVALID_ARGUMENT" })
    })
  )

  it.live("a commit on another branch of a clone, made after the save, is work that is not saved", () =>
    Effect.gen(function* () {
      const w = yield* world
      const up = yield* json(w, "up", w.url, "-b", "feature", "-n", "app", "-p", "local")
      assert.isTrue(up.ok, JSON.stringify(up))
      const git = (...args: ReadonlyArray<string>) => w.git("-C", up.worktree_path, ...args)
      git("branch", "aside")
      git("commit", "--quiet", "--allow-empty", "--message", "mine")
      const { checkpoint } = yield* halted(w)
      git("update-ref", "refs/heads/aside", git("commit-tree", "-p", "HEAD", "-m", "later", "HEAD^{tree}"))
      const refused = yield* w.sandbox("destroy", "app", "--json")
      assert.strictEqual(refused.json().error_code, "ERR_DATA_LOSS_UNCONFIRMED", refused.stdout)
      const saved = yield* json(w, "checkpoint", "create", "app")
      assert.isTrue(saved.ok, JSON.stringify(saved))
      const destroyed = yield* json(w, "destroy", "app")
      assert.isTrue(destroyed.ok, JSON.stringify(destroyed))
      // each has its own: the later one has both commits
      for (const [id, commits] of [
        [checkpoint.id, ["mine"]],
        [saved.checkpoint!.id, ["mine", "later"]]
      ] as const) {
        const again = yield* json(w, "up", "--from-checkpoint", id, "-p", "local", "-n", `a${commits.length}`)
        assert.isTrue(again.ok, JSON.stringify(again))
        const log = w.git("-C", again.worktree_path, "log", "--branches", "--format=%s")
        for (const commit of commits) assert.include(log, commit)
      }
    })
  )

  it.live("restores leave no branch behind that has nothing of its own, and none that has is removed", () =>
    Effect.gen(function* () {
      const w = yield* world
      const { worktree_path } = yield* worked(w)
      const git = (...args: ReadonlyArray<string>) => w.git("-C", worktree_path, ...args)
      const { checkpoint } = yield* saved(w)
      git("add", "--all")
      git("commit", "--quiet", "--message", "further")
      const ours = () => remains(w).branches.filter((name) => !branches.includes(name))
      for (let round = 0; round < 3; round++) {
        assert.isTrue((yield* json(w, "restore", "app", checkpoint.id)).ok)
        assert.strictEqual(git("symbolic-ref", "--short", "HEAD"), "sandbox/app")
        assert.deepEqual(ours(), ["sandbox/app"], "the branch of the user's own was not moved back")
        git("add", "--all")
        git("commit", "--quiet", "--message", `on the way ${round}`)
        git("switch", "--quiet", "--detach")
        git("branch", "--delete", "--force", "sandbox/app")
      }
      assert.isTrue((yield* json(w, "restore", "app", checkpoint.id)).ok)
      assert.isTrue((yield* json(w, "destroy", "app", "--force")).ok)
      assert.deepEqual(ours(), [])

      // one with a commit that is nowhere else
      const again = yield* json(w, "up", w.repository, "-b", "feature", "-n", "app", "-p", "local")
      const first = yield* saved(w)
      w.git("-C", again.worktree_path, "commit", "--quiet", "--allow-empty", "--message", "on feature again")
      assert.isTrue((yield* json(w, "restore", "app", first.checkpoint.id)).ok)
      w.git("-C", again.worktree_path, "commit", "--quiet", "--allow-empty", "--message", "precious")
      assert.isTrue((yield* json(w, "destroy", "app", "--force")).ok)
      assert.deepEqual(ours(), ["sandbox/app"])
    })
  )

  it.live("a copied checkpoint is whole by itself", () =>
    Effect.gen(function* () {
      const w = yield* world
      yield* worked(w)
      const { checkpoint } = yield* saved(w)
      const kept = join(w.directory, "kept")
      cpSync(realpathSync(join(store(w), "published", checkpoint.id)), kept, { recursive: true })
      rmSync(store(w), { recursive: true })
      mkdirSync(join(store(w), "published"), { recursive: true })
      cpSync(kept, join(store(w), "published", checkpoint.id), { recursive: true })
      assert.isTrue((yield* json(w, "checkpoint", "verify", "app")).valid)
    })
  )
})
