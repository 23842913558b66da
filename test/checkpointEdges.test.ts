/** Checkpoints where work could be lost between two places: in crashes, in checkouts of the user's own, in what a save lacks. */
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, realpathSync, rmSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { eventually, providerModule, query, type World, world } from "./support/sandbox.ts"
import { everything, work } from "./support/work.ts"

const json = Effect.fnUntraced(function* (w: World, ...args: ReadonlyArray<string>) {
  const answer = (yield* w.sandbox(...args, "--json")).json()
  assert.isTrue(answer.ok, `${args.join(" ")}: ${JSON.stringify(answer)}`)
  return answer
})

const refused = Effect.fnUntraced(function* (w: World, ...args: ReadonlyArray<string>) {
  const answer = (yield* w.sandbox(...args, "--json")).json()
  assert.isFalse(answer.ok, `${args.join(" ")}: ${JSON.stringify(answer)}`)
  return answer
})

const up = (w: World, ...args: ReadonlyArray<string>) =>
  json(w, "up", w.repository, "-b", "feature", "-n", "app", "-p", "local", ...args)

const gitIn =
  (w: World, directory: string) =>
  (...args: ReadonlyArray<string>) =>
    w.git("-C", directory, ...args)

/** The commit that is being merged; empty when there is none. */
const merging = (w: World, directory: string): string => gitIn(w, directory)("rev-parse", "--revs-only", "MERGE_HEAD")

/** Whatever the local provider knows of its boxes is lost, as with a disk. */
const loseBoxes = (w: World): void => {
  for (const box of readdirSync(join(w.state, "local"))) {
    rmSync(join(w.state, "local", box), { recursive: true, force: true })
  }
  w.git("worktree", "prune")
}

const terminal = (w: World): void => {
  const provider = providerModule("terminalProvider")
  mkdirSync(join(w.directory, "home/.config/sandbox"), { recursive: true })
  writeFileSync(
    join(w.directory, "home/.config/sandbox/config.yaml"),
    `providers:\n  terminal: {use: ${JSON.stringify(provider)}}\n`
  )
}

describe.concurrent("work that a checkpoint keeps", { timeout: 120_000 }, () => {
  for (const signal of ["SIGKILL", "SIGINT"] as const)
    it.live(`I-34 outlives a down that ${signal} ends after its save, where halting ends the box`, () =>
      Effect.gen(function* () {
        const w = yield* world
        terminal(w)
        const gate = join(w.directory, "gate")
        writeFileSync(
          join(w.repository, "sandbox.yaml"),
          `hooks: {post_down: "test -e ${gate} || { touch ${gate}; sleep 100; }"}\n`
        )
        const session = yield* json(
          w,
          "up",
          w.repository,
          "-b",
          "feature",
          "-n",
          "app",
          "-p",
          "terminal",
          "--trust-config"
        )
        work(session.worktree_path)
        const before = everything(session.worktree_path)
        const running = yield* w.start(["down", "app"])
        yield* eventually("it is saved", () => existsSync(gate) || running.hasEnded())
        running.signal(signal)
        yield* running.ended
        const early = yield* refused(w, "resume", "app", "--force")
        assert.strictEqual(early.error_code, "ERR_OPERATION_CONFLICT")
        const down = yield* json(w, "down", "app")
        assert.strictEqual(down.checkpoint!.head, before.head)
        const resumed = yield* json(w, "resume", "app")
        assert.deepEqual(everything(resumed.worktree_path), before)
      }).pipe(Effect.scoped)
    )

  it.live("I-83 stays in a worktree of the user's own, whatever became of the box", () =>
    Effect.gen(function* () {
      const w = yield* world
      const own = join(w.directory, "own")
      w.git("worktree", "add", "--quiet", own, "feature")
      const session = yield* up(w, "--reuse-worktree")
      assert.strictEqual(session.worktree_path, own)
      writeFileSync(join(own, "first.txt"), "first\n")
      yield* json(w, "checkpoint", "create", "app")
      writeFileSync(join(own, "first.txt"), "second\n")
      writeFileSync(join(own, "later.txt"), "later\n")
      const before = everything(own)
      loseBoxes(w)
      yield* refused(w, "resume", "app")
      const over = yield* refused(w, "restore", "app")
      assert.strictEqual(over.error_code, "ERR_DATA_LOSS_UNCONFIRMED")
      const resumed = yield* json(w, "resume", "app")
      assert.strictEqual(resumed.worktree_path, own)
      assert.deepEqual(everything(own), before)
    })
  )

  it.live("I-83 is never put over a worktree of the user's own", () =>
    Effect.gen(function* () {
      const w = yield* world
      const session = yield* up(w)
      work(session.worktree_path)
      const { checkpoint } = yield* json(w, "destroy", "app", "--force")
      const own = join(w.directory, "own")
      w.git("worktree", "add", "--quiet", own, "feature")
      writeFileSync(join(own, "mine.txt"), "mine\n")
      const before = everything(own)
      const answer = yield* refused(w, "up", "--from-checkpoint", checkpoint!.id, "-p", "local", "--reuse-worktree")
      assert.strictEqual(answer.error_code, "ERR_INVALID_ARGUMENT")
      assert.deepEqual(everything(own), before)
    })
  )

  it.live("I-83 comes back into a repository of the user's own without moving its other branches or its stash", () =>
    Effect.gen(function* () {
      const w = yield* world
      w.git("switch", "--quiet", "feature")
      const session = yield* up(w, "--reuse-worktree")
      assert.strictEqual(session.worktree_path, w.repository)
      writeFileSync(join(w.repository, "work.txt"), "work\n")
      const { checkpoint } = yield* json(w, "checkpoint", "create", "app")
      // elsewhere the user goes on
      w.git(
        "update-ref",
        "refs/heads/topic/one",
        w.git("commit-tree", "-p", "topic/one", "-m", "later", "topic/one^{tree}")
      )
      writeFileSync(join(w.repository, "src.txt"), "stashed\n")
      w.git("stash", "push", "--quiet", "--message", "mine")
      const refs = w.git("for-each-ref", "refs/heads/topic", "refs/heads/main", "refs/tags", "refs/stash")
      const stash = w.git("stash", "list")
      yield* json(w, "restore", "app", checkpoint!.id)
      assert.strictEqual(readFileSync(join(w.repository, "work.txt"), "utf8"), "work\n")
      assert.strictEqual(w.git("for-each-ref", "refs/heads/topic", "refs/heads/main", "refs/tags", "refs/stash"), refs)
      assert.strictEqual(w.git("stash", "list"), stash)
    })
  )

  it.live("I-83 comes back without moving a branch forward that it was not on", () =>
    Effect.gen(function* () {
      const w = yield* world
      w.git("switch", "--quiet", "feature")
      yield* up(w, "--reuse-worktree")
      w.git("commit", "--quiet", "--allow-empty", "--message", "unfinished")
      writeFileSync(join(w.repository, "work.txt"), "work\n")
      const { checkpoint } = yield* json(w, "checkpoint", "create", "app")
      rmSync(join(w.repository, "work.txt"))
      w.git("commit", "--quiet", "--allow-empty", "--message", "later")
      w.git("switch", "--quiet", "main")
      const refs = w.git("for-each-ref", "refs/heads/main", "refs/heads/feature")
      const restored = yield* json(w, "restore", "app", checkpoint!.id)
      assert.strictEqual(w.git("for-each-ref", "refs/heads/main", "refs/heads/feature"), refs)
      assert.strictEqual(w.git("rev-parse", "HEAD"), checkpoint!.head)
      assert.strictEqual(restored.work_branch, "sandbox/app")
    })
  )

  for (const [what, act] of [
    [
      "staged",
      (w, at) => {
        writeFileSync(join(at, "src.txt"), "staged\n")
        gitIn(w, at)("add", "src.txt")
      }
    ],
    ["deleted", (_, at) => rmSync(join(at, "src.txt"))],
    [
      "being merged",
      (w, at) => {
        const theirs = w.git("commit-tree", "-p", "topic/one", "-m", "theirs", "topic/one^{tree}")
        gitIn(w, at)("merge", "--quiet", "--no-commit", "-s", "ours", theirs)
      }
    ]
  ] as ReadonlyArray<readonly [string, (w: World, at: string) => void]>) {
    it.live(`comes back where the branch went on, when all of it is ${what}`, () =>
      Effect.gen(function* () {
        const w = yield* world
        const session = yield* up(w)
        act(w, session.worktree_path)
        const { checkpoint } = yield* json(w, "checkpoint", "create", "app")
        if (what === "staged") assert.strictEqual(checkpoint!.files, 1)
        const [before, theirs] = [everything(session.worktree_path), merging(w, session.worktree_path)]
        yield* json(w, "down", "app", "--delete-worktree")
        const next = w.git("commit-tree", "-p", "feature", "-m", "later", "feature^{tree}")
        w.git("update-ref", "refs/heads/feature", next)
        const resumed = yield* json(w, "resume", "app")
        assert.deepEqual(everything(resumed.worktree_path), before)
        assert.strictEqual(merging(w, resumed.worktree_path), theirs)
      })
    )
  }

  it.live("is what a session begins with, however often bringing it up fails", () =>
    Effect.gen(function* () {
      const w = yield* world
      const session = yield* up(w)
      work(session.worktree_path)
      const before = everything(session.worktree_path)
      const { checkpoint } = yield* json(w, "destroy", "app", "--force")
      const marker = join(w.directory, "marker")
      writeFileSync(join(w.repository, "sandbox.yaml"), `hooks: {post_up: "test -e ${marker}"}\n`)
      yield* refused(w, "up", "--from-checkpoint", checkpoint!.id, "-p", "local", "-n", "again", "--trust-config")
      yield* refused(w, "resume", "again")
      yield* refused(w, "resume", "again")
      writeFileSync(marker, "")
      const resumed = yield* json(w, "resume", "again")
      assert.deepEqual(everything(resumed.worktree_path), before)
    })
  )

  it.live("is still to be put in place where a failed resume could not remove its new box", () =>
    Effect.gen(function* () {
      const w = yield* world
      const session = yield* up(w)
      work(session.worktree_path)
      const { checkpoint } = yield* json(w, "destroy", "app", "--force")
      const gate = join(w.directory, "gate")
      // a worktree that is locked is not removed
      const hook = `test ! -e ${gate} || git worktree lock .; false`
      writeFileSync(join(w.repository, "sandbox.yaml"), `hooks: {post_up: "${hook}"}\n`)
      yield* refused(w, "up", "--from-checkpoint", checkpoint!.id, "-p", "local", "-n", "again", "--trust-config")
      writeFileSync(gate, "")
      const failed = yield* refused(w, "resume", "again")
      assert.strictEqual(failed.state, "failed")
      const [row] = query<{ readonly restore_from: string | null; readonly instance: string | null }>(
        w.ledger,
        "SELECT restore_from, instance FROM sessions WHERE name = 'again'"
      )
      assert.isNotNull(row!.instance, JSON.stringify(failed))
      assert.strictEqual(row!.restore_from, checkpoint!.id)
    })
  )

  it.live("comes back from a save by hand where the checkout was removed", () =>
    Effect.gen(function* () {
      const w = yield* world
      writeFileSync(join(w.repository, "sandbox.yaml"), "durability:\n  checkpoint: manual\n")
      const session = yield* up(w, "--trust-config")
      work(session.worktree_path)
      const before = everything(session.worktree_path)
      const { checkpoint } = yield* json(w, "checkpoint", "create", "app")
      yield* json(w, "down", "app", "--delete-worktree")
      const answer = yield* refused(w, "checkpoint", "rm", "app", checkpoint!.id)
      assert.strictEqual(answer.error_code, "ERR_DATA_LOSS_UNCONFIRMED")
      const resumed = yield* json(w, "resume", "app")
      assert.deepEqual(everything(resumed.worktree_path), before)
    })
  )

  it.live("comes back after a down that found the box gone", () =>
    Effect.gen(function* () {
      const w = yield* world
      const session = yield* up(w)
      work(session.worktree_path)
      const before = everything(session.worktree_path)
      yield* json(w, "checkpoint", "create", "app")
      loseBoxes(w)
      yield* json(w, "down", "app")
      const resumed = yield* json(w, "resume", "app")
      assert.deepEqual(everything(resumed.worktree_path), before)
    })
  )

  it.live("comes back where somebody removed the checkout of a session that was ready", () =>
    Effect.gen(function* () {
      const w = yield* world
      const session = yield* up(w)
      work(session.worktree_path)
      const before = everything(session.worktree_path)
      yield* json(w, "checkpoint", "create", "app")
      rmSync(session.worktree_path, { recursive: true })
      const resumed = yield* json(w, "resume", "app")
      assert.deepEqual(everything(resumed.worktree_path), before)
    })
  )

  it.live(
    "I-31 is finished by what status says, where the restore was killed and the resume after it interrupted",
    () =>
      Effect.gen(function* () {
        const w = yield* world
        const gate = join(w.directory, "gate")
        const reached = join(w.directory, "reached")
        const hook = `test ! -e ${gate} || { touch ${reached}; sleep 100; }`
        writeFileSync(join(w.repository, "sandbox.yaml"), `hooks: {post_up: "${hook}"}\n`)
        const { worktree_path: at } = yield* up(w, "--trust-config")
        work(at)
        const wanted = everything(at)
        const { checkpoint } = yield* json(w, "checkpoint", "create", "app")
        writeFileSync(join(at, "later.txt"), "later\n")
        yield* json(w, "down", "app")
        writeFileSync(gate, "")
        for (const [signal, ...args] of [
          ["SIGKILL", "restore", "app", checkpoint!.id],
          ["SIGINT", "resume", "app"]
        ] as const) {
          const running = yield* w.start([...args])
          yield* eventually(`${args[0]} is at its hook`, () => existsSync(reached) || running.hasEnded())
          running.signal(signal)
          yield* running.ended
          rmSync(reached)
        }
        rmSync(gate)
        const { recovery, state } = yield* json(w, "status", "app")
        assert.strictEqual(state, "failed")
        yield* refused(w, "export", "app", "--to", "patch", "--output", join(w.directory, "out"))
        yield* json(w, ...recovery!.command.split(" ").slice(1))
        assert.deepEqual(everything(at), wanted)
        // and nothing is left that would change it again
        writeFileSync(join(at, "later.txt"), "later\n")
        const after = everything(at)
        yield* json(w, "down", "app")
        yield* json(w, "resume", "app")
        assert.deepEqual(everything(at), after)
      }).pipe(Effect.scoped)
  )

  it.live("can be put back from a copy, and removed then", () =>
    Effect.gen(function* () {
      const w = yield* world
      const session = yield* up(w)
      work(session.worktree_path)
      const { checkpoint } = yield* json(w, "checkpoint", "create", "app")
      const published = join(w.state, "checkpoints/published")
      const kept = join(w.directory, "kept")
      cpSync(realpathSync(join(published, checkpoint!.id)), kept, { recursive: true })
      rmSync(join(published, checkpoint!.id))
      cpSync(kept, join(published, checkpoint!.id), { recursive: true })
      assert.isTrue((yield* json(w, "checkpoint", "verify", "app")).valid)
      yield* json(w, "gc")
      yield* json(w, "checkpoint", "rm", "app", checkpoint!.id)
      assert.isFalse(existsSync(join(published, checkpoint!.id)))
    })
  )

  it.live("I-34 is saved by the down after one that was killed when the box had ended", () =>
    Effect.gen(function* () {
      const w = yield* world
      terminal(w)
      const session = yield* json(w, "up", w.repository, "-b", "feature", "-n", "app", "-p", "terminal")
      work(session.worktree_path)
      const before = everything(session.worktree_path)
      const running = yield* w.start(["down", "app"])
      yield* eventually("the box is gone", () => running.hasEnded() || !existsSync(session.worktree_path))
      running.signal("SIGKILL")
      yield* running.ended
      const down = yield* json(w, "down", "app")
      assert.strictEqual(down.checkpoint!.head, before.head)
      const resumed = yield* json(w, "resume", "app")
      assert.deepEqual(everything(resumed.worktree_path), before)
    }).pipe(Effect.scoped)
  )

  it.live("I-83 stays on its branch in the record, too, when other work could not take its place", () =>
    Effect.gen(function* () {
      const w = yield* world
      writeFileSync(join(w.repository, "sandbox.yaml"), `hooks: {post_up: "test ! -e poison"}\n`)
      const session = yield* up(w, "--trust-config")
      const at = session.worktree_path
      writeFileSync(join(at, "poison"), "")
      const { checkpoint } = yield* json(w, "checkpoint", "create", "app")
      rmSync(join(at, "poison"))
      gitIn(w, at)("commit", "--quiet", "--allow-empty", "--message", "later")
      yield* refused(w, "restore", "app", checkpoint!.id)
      const after = yield* json(w, "status", "app")
      assert.strictEqual(gitIn(w, at)("branch", "--show-current"), "feature")
      assert.deepInclude(after, { state: "ready", work_branch: "feature" })
    })
  )

  it.live("is missing ignored files that are named and have changed since, so that destroy refuses", () =>
    Effect.gen(function* () {
      const w = yield* world
      writeFileSync(join(w.repository, "sandbox.yaml"), "durability:\n  include: ['.env.local']\n")
      writeFileSync(join(w.repository, ".git/info/exclude"), ".env.local\n")
      const session = yield* up(w, "--trust-config")
      writeFileSync(join(session.worktree_path, ".env.local"), "A=1\n")
      yield* json(w, "down", "app")
      writeFileSync(join(session.worktree_path, ".env.local"), "A=2\n")
      const answer = yield* refused(w, "destroy", "app")
      assert.strictEqual(answer.error_code, "ERR_DATA_LOSS_UNCONFIRMED")
    })
  )
})
