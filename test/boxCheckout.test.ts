/** Sessions whose checkout only their box can see, as a user meets them: real processes, real repositories, real files. */
import { existsSync, mkdirSync, readdirSync, readFileSync, realpathSync, rmSync, writeFileSync } from "node:fs"
import { dirname, join } from "node:path"
import { DatabaseSync } from "node:sqlite"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import {
  boxesOf,
  configure,
  copies,
  done,
  exported,
  gitIn,
  inBox,
  json,
  killed,
  loseBoxes,
  up,
  upArguments
} from "./support/boxed.ts"
import { committable, filesOf } from "./support/exports.ts"
import { heldGit } from "./support/heldGit.ts"
import { heldMove } from "./support/heldMove.ts"
import { eventually, nothing, remains, world } from "./support/sandbox.ts"
import { everything, work, wreck } from "./support/work.ts"

describe.concurrent("a checkout in its box alone", { timeout: 300_000 }, () => {
  it.live("is a clone that needs nothing of this host, and lives as long as its session", () =>
    Effect.gen(function* () {
      const w = yield* world
      const made = yield* up(w)
      assert.isNull(made.worktree_path)
      assert.strictEqual(made.branch, "feature")
      const box = inBox(w)
      const git = gitIn(w, box)
      assert.strictEqual(git("symbolic-ref", "HEAD"), "refs/heads/feature")
      assert.strictEqual(git("rev-parse", "HEAD"), w.git("rev-parse", "feature"))
      assert.strictEqual(git("rev-parse", "refs/remotes/origin/topic/one"), w.git("rev-parse", "topic/one"))
      assert.strictEqual(git("remote"), "", "a path of this host means nothing in a box")
      assert.strictEqual(git("status", "--porcelain"), "")
      assert.isFalse(existsSync(join(box, ".git/objects/info/alternates")))
      assert.isFalse(existsSync(join(box, ".git/hooks")))
      assert.notInclude(readFileSync(join(box, ".git/config"), "utf8"), w.directory)
      assert.deepEqual(remains(w).worktrees, [])

      assert.strictEqual((yield* w.sandbox("exec", "app", "--", "cat", "src.txt")).stdout, "one\n")
      assert.isTrue((yield* done(w, "up", w.repository, "-b", "main", "-n", "other", "-p", "box")).ok)
      yield* done(w, "destroy", "other", "--force")
      work(box)
      const before = everything(box)
      assert.isTrue((yield* done(w, "resume", "app")).already)
      assert.deepEqual(everything(box), before)
      const down = yield* done(w, "down", "app")
      assert.strictEqual(down.state, "stopped")
      assert.strictEqual(down.checkpoint?.head, before.head)
      yield* done(w, "resume", "app")
      assert.deepEqual(everything(box), before)
      assert.deepEqual(copies(w), [])
      yield* done(w, "destroy", "app", "--force")
      assert.deepEqual({ ...remains(w), boxes: boxesOf(w, "box") }, nothing)
    })
  )

  it.live("of a URL has that as its origin, and as much history as was asked for", () =>
    Effect.gen(function* () {
      const w = yield* world
      configure(w)
      const of = (name: string, ...args: ReadonlyArray<string>) =>
        done(w, "up", w.url, "-b", "feature", "-n", name, "-p", "box", ...args)
      yield* of("whole")
      const whole = gitIn(w, inBox(w))
      assert.strictEqual(whole("remote", "get-url", "origin"), w.url)
      assert.strictEqual(whole("rev-list", "--count", "HEAD"), "3")
      yield* done(w, "destroy", "whole", "--force")
      yield* of("shallow", "--depth", "1")
      const box = inBox(w)
      assert.strictEqual(gitIn(w, box)("rev-list", "--count", "HEAD"), "1")
      assert.strictEqual(gitIn(w, box)("rev-parse", "refs/remotes/origin/feature"), w.git("rev-parse", "feature"))
      work(box)
      const before = everything(box)
      const { checkpoint } = yield* done(w, "checkpoint", "create", "shallow")
      wreck(box)
      yield* done(w, "restore", "shallow", checkpoint!.id)
      assert.deepEqual(everything(box), before)
    })
  )

  it.live("is restored byte for byte, with what its box configured, and what it held before is kept", () =>
    Effect.gen(function* () {
      const w = yield* world
      yield* up(w)
      const box = inBox(w)
      const git = gitIn(w, box)
      git("config", "alias.st", "status")
      mkdirSync(join(box, ".git/hooks"))
      writeFileSync(join(box, ".git/hooks/pre-push"), "#!/bin/sh\n", { mode: 0o755 })
      writeFileSync(join(box, ".gitignore"), "ignored/\n")
      mkdirSync(join(box, "ignored"))
      writeFileSync(join(box, "ignored/kept"), "by nobody else\n")
      git("init", "--quiet", "nested")
      gitIn(w, join(box, "nested"))("commit", "--quiet", "--allow-empty", "--message", "inside")
      writeFileSync(join(box, "nested/file"), "in a repository of its own\n")
      work(box)
      const all = () => {
        const { files, ...rest } = everything(box)
        return { ...rest, files: files.filter((line) => !line.startsWith("nested/.git/")) }
      }
      const before = all()
      const config = readFileSync(join(box, ".git/config"), "utf8")
      const { checkpoint } = yield* done(w, "checkpoint", "create", "app")
      assert.deepEqual(all(), before, "a checkpoint changes nothing")
      assert.isTrue((yield* done(w, "checkpoint", "verify", "app")).valid)

      wreck(box)
      rmSync(join(box, "nested"), { recursive: true })
      const wrecked = all()
      const restored = yield* done(w, "restore", "app", checkpoint!.id)
      assert.deepEqual(all(), before)
      assert.strictEqual(readFileSync(join(box, ".git/config"), "utf8"), config)
      assert.isTrue(existsSync(join(box, ".git/hooks/pre-push")))
      assert.strictEqual(readFileSync(join(box, "ignored/kept"), "utf8"), "by nobody else\n")
      yield* done(w, "restore", "app", restored.before!)
      assert.deepEqual(all(), wrecked)
      assert.deepEqual(copies(w), [])
    })
  )

  it.live("keeps submodules, whose repositories lie where git puts them", () =>
    Effect.gen(function* () {
      const w = yield* world
      yield* up(w)
      const box = inBox(w)
      const git = gitIn(w, box)
      git("-c", "protocol.file.allow=always", "submodule", "--quiet", "add", w.url, "sub")
      git("commit", "--quiet", "--message", "with a submodule")
      writeFileSync(join(box, "sub/more.txt"), "work in a submodule\n")
      const before = everything(box)
      const { checkpoint } = yield* done(w, "checkpoint", "create", "app")
      yield* done(w, "restore", "app", checkpoint!.id)
      assert.deepEqual(everything(box), before)
      rmSync(join(box, "sub"), { recursive: true })
      rmSync(join(box, ".git/modules"), { recursive: true })
      yield* done(w, "restore", "app", checkpoint!.id)
      assert.deepEqual(everything(box), before)
      assert.strictEqual(readFileSync(join(box, "sub/.git"), "utf8"), "gitdir: ../.git/modules/sub\n")
    })
  )

  it.live("comes back in a new box with the work that was saved, whatever became of its branch", () =>
    Effect.gen(function* () {
      const w = yield* world
      yield* up(w)
      work(inBox(w))
      const before = everything(inBox(w))
      yield* done(w, "down", "app")
      loseBoxes(w)
      w.git("branch", "-D", "feature")
      assert.strictEqual((yield* w.sandbox("resume", "app", "--json")).code, 2)
      assert.strictEqual((yield* json(w, "status", "app")).state, "failed")
      yield* done(w, "resume", "app")
      assert.deepEqual(everything(inBox(w)), before)
    })
  )

  it.live("that was emptied in its box is made again of what was saved", () =>
    Effect.gen(function* () {
      const w = yield* world
      yield* up(w)
      const box = inBox(w)
      work(box)
      const before = everything(box)
      yield* done(w, "checkpoint", "create", "app")
      for (const name of readdirSync(box)) rmSync(join(box, name), { recursive: true })
      yield* done(w, "resume", "app")
      assert.deepEqual(everything(box), before)
    })
  )

  it.live("of a new session begins with the work of another's checkpoint, made on this host or in a box", () =>
    Effect.gen(function* () {
      const w = yield* world
      configure(w)
      const local = yield* done(w, "up", w.repository, "-b", "work", "--base", "feature", "-n", "here", "-p", "local")
      work(local.worktree_path)
      const before = everything(local.worktree_path)
      const { checkpoint } = yield* done(w, "checkpoint", "create", "here")
      yield* done(w, "up", "--from-checkpoint", checkpoint!.id, "-n", "there", "-p", "box")
      const box = inBox(w)
      assert.deepEqual(everything(box), before)
      const again = yield* done(w, "checkpoint", "create", "there")
      yield* done(w, "destroy", "here", "--force")
      const back = yield* done(w, "up", "--from-checkpoint", again.checkpoint!.id, "-n", "back", "-p", "local")
      assert.deepEqual(everything(back.worktree_path), before)
    })
  )

  it.live("is exported like any other, while the box runs and while it is halted", () =>
    Effect.gen(function* () {
      const w = yield* world
      yield* up(w)
      const box = inBox(w)
      work(box)
      const files = committable(box)
      const bundle = yield* exported(w, "--to", "bundle", "--output", join(w.directory, "out"))
      w.git("fetch", "--quiet", bundle.target, "+refs/heads/*:refs/heads/taken/*")
      const taken = w.git("for-each-ref", "--format=%(objectname)", "refs/heads/taken/")
      assert.deepEqual(filesOf(w, taken), files)
      yield* done(w, "down", "app")
      const result = yield* exported(w, "--to", "branch", "--branch", "result")
      assert.deepEqual(filesOf(w, "result"), files)
      assert.strictEqual(result.commit, taken)
      const patches = yield* exported(w, "--to", "patch", "--output", join(w.directory, "patches"))
      assert.isNotEmpty(readdirSync(patches.target))
      assert.deepEqual(copies(w), [])
    })
  )

  it.live("is not destroyed with work that is nowhere else, and is once that is saved", () =>
    Effect.gen(function* () {
      const w = yield* world
      writeFileSync(join(w.repository, "sandbox.yaml"), "durability: {checkpoint: manual}\n")
      yield* up(w, "--trust-config")
      const box = inBox(w)
      writeFileSync(join(box, "new.txt"), "new\n")
      const refused = yield* json(w, "destroy", "app", "--force")
      assert.strictEqual(refused.error_code, "ERR_DATA_LOSS_UNCONFIRMED", JSON.stringify(refused))
      assert.include(refused.cause, "1 changed or untracked file and 0 commits are nowhere else")
      assert.strictEqual((yield* json(w, "status", "app")).state, "ready")
      yield* done(w, "down", "app")
      const halted = yield* json(w, "destroy", "app")
      assert.strictEqual(halted.error_code, "ERR_DATA_LOSS_UNCONFIRMED", JSON.stringify(halted))
      yield* done(w, "checkpoint", "create", "app")
      yield* done(w, "destroy", "app")
      assert.deepEqual({ ...remains(w), boxes: boxesOf(w, "box") }, nothing)
    })
  )

  it.live("is saved before a halt that ends the box", () =>
    Effect.gen(function* () {
      const w = yield* world
      configure(w)
      yield* done(w, "up", w.repository, "-b", "feature", "-n", "app", "-p", "ending")
      work(inBox(w, "ending"))
      const before = everything(inBox(w, "ending"))
      const down = yield* done(w, "down", "app")
      assert.strictEqual(down.checkpoint?.head, before.head)
      assert.deepEqual(boxesOf(w, "ending"), [])
      yield* done(w, "resume", "app")
      assert.deepEqual(everything(inBox(w, "ending")), before)
    })
  )

  it.live("I-42 gc removes a box that nobody refers to, unless there is work in it", () =>
    Effect.gen(function* () {
      const w = yield* world
      yield* up(w)
      const box = inBox(w)
      writeFileSync(join(box, "new.txt"), "new\n")
      yield* done(w, "down", "app")
      const db = new DatabaseSync(w.ledger)
      db.exec("UPDATE sessions SET instance = NULL")
      db.close()
      const kept = yield* done(w, "gc", "--older-than", "0s")
      assert.include(JSON.stringify(kept), "1 changed or untracked file and 0 commits are nowhere else")
      assert.isTrue(existsSync(box))
      rmSync(join(box, "new.txt"))
      yield* done(w, "gc", "--older-than", "0s")
      assert.isFalse(existsSync(box))
    })
  )

  it.live("gets the files that it inherits as copies", () =>
    Effect.gen(function* () {
      const w = yield* world
      writeFileSync(join(w.repository, ".env"), "SECRET=shh\n")
      writeFileSync(join(w.repository, "sandbox.yaml"), "inherit_env: [{file: .env, mode: symlink}]\n")
      yield* up(w, "--trust-config")
      const file = join(inBox(w), ".env")
      assert.strictEqual(realpathSync(file), file)
      assert.strictEqual(readFileSync(file, "utf8"), "SECRET=shh\n")
    })
  )

  it.live("I-107 what needs the checkout on this host is refused, with nothing changed", () =>
    Effect.gen(function* () {
      const w = yield* world
      configure(w)
      const reuse = yield* json(w, ...upArguments(w, "--reuse-worktree"))
      assert.strictEqual(reuse.error_code, "ERR_UNSUPPORTED", JSON.stringify(reuse))
      yield* done(w, ...upArguments(w))
      const down = yield* json(w, "down", "app", "--delete-worktree")
      assert.strictEqual(down.error_code, "ERR_UNSUPPORTED", JSON.stringify(down))
      assert.strictEqual((yield* json(w, "status", "app")).state, "ready")
    })
  )
})

describe.concurrent("a checkout in its box, after a process was killed", { timeout: 300_000 }, () => {
  it.live("I-33 placing is finished by what status recommends, and nothing of the clone stays", () =>
    Effect.gen(function* () {
      const w = yield* world
      configure(w)
      const git = heldGit(w, { hold: "fetch" })
      const held = eventually("git fetches", () => git.calls().some((call) => call.includes("fetch")), 90)
      const way = yield* killed(w, upArguments(w), { env: git.env, held })
      assert.lengthOf(copies(w), 1)
      git.remove()
      yield* done(w, ...way)
      assert.strictEqual(gitIn(w, inBox(w))("status", "--porcelain"), "")
      yield* done(w, "checkpoint", "create", "app")
      assert.deepEqual(copies(w), [], "the next copy removes what a killed one left")
    })
  )

  for (const [when, nth] of [
    ["before it is whole", 1],
    ["with nothing moved yet", 2],
    ["with nothing in its place yet", 3],
    ["half in its place", 5]
  ] as const) {
    it.live(
      `I-33 a move into the box that was left ${when} is finished, and disturbs nothing when it goes on late`,
      () =>
        Effect.gen(function* () {
          const w = yield* world
          configure(w)
          const mv = heldMove(w, "checkout-", nth)
          const way = yield* killed(w, upArguments(w), mv)
          yield* done(w, ...way)
          const box = inBox(w)
          work(box)
          const before = everything(box)
          yield* mv.open
          assert.deepEqual(everything(box), before)
          assert.deepEqual(readdirSync(dirname(box)).toSorted(), ["box.json", "run", "work"])
          assert.deepEqual(
            readdirSync(join(dirname(box), "run")).filter((name) => /^(checkout|replaced)-/.test(name)),
            []
          )
        })
    )
  }

  it.live(
    "I-33 a move into the box that had not begun is finished, and makes itself no place when it goes on late",
    () =>
      Effect.gen(function* () {
        const w = yield* world
        configure(w)
        const mkdir = heldMove(w, "/old", 1, "mkdir")
        const way = yield* killed(w, upArguments(w), mkdir)
        yield* done(w, ...way)
        const box = inBox(w)
        work(box)
        const before = everything(box)
        yield* mkdir.open
        assert.deepEqual(everything(box), before)
        assert.deepEqual(
          readdirSync(join(dirname(box), "run")).filter((name) => /^(checkout|replaced)-/.test(name)),
          []
        )
      })
  )

  for (const [when, nth] of [
    ["before anything is moved", 1],
    ["while what was there is moved away", 5],
    ["while what is restored moves in", 10]
  ] as const) {
    it.live(`I-31 a restore that is killed ${when} is finished by what status recommends`, () =>
      Effect.gen(function* () {
        const w = yield* world
        yield* up(w)
        const box = inBox(w)
        work(box)
        const before = everything(box)
        const { checkpoint } = yield* done(w, "checkpoint", "create", "app")
        wreck(box)
        const mv = heldMove(w, "checkout-", nth)
        const way = yield* killed(w, ["restore", "app", checkpoint!.id], mv)
        yield* done(w, ...way)
        assert.deepEqual(everything(box), before)
        yield* mv.open
        assert.deepEqual(everything(box), before)
        assert.deepEqual(copies(w), [])
      })
    )
  }

  it.live("I-34 what is half in its place is never saved as the work of its session", () =>
    Effect.gen(function* () {
      const w = yield* world
      yield* up(w)
      const box = inBox(w)
      work(box)
      const before = everything(box)
      const { checkpoint } = yield* done(w, "checkpoint", "create", "app")
      wreck(box)
      const mv = heldMove(w, "checkout-", 10)
      yield* killed(w, ["restore", "app", checkpoint!.id], mv)
      const down = yield* done(w, "down", "app")
      assert.isNull(down.checkpoint!.head)
      yield* done(w, "resume", "app")
      assert.deepEqual(everything(box), before)
    })
  )
})
