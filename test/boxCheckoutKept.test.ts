/** Work in boxes that must not get lost, whatever was done to their checkouts and whoever saves them. */
import { execFileSync } from "node:child_process"
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync
} from "node:fs"
import { dirname, join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { configure, done, gitIn, inBox, json, loseBoxes, up } from "./support/boxed.ts"
import { type World, world } from "./support/sandbox.ts"
import { everything, work, wreck } from "./support/work.ts"

/** Commits something, and pushes it where nobody else looks: git counts it as published from then on. */
const pushAside = (w: World, checkout: string): string => {
  const git = gitIn(w, checkout)
  const aside = join(dirname(checkout), "aside.git")
  execFileSync("git", ["init", "--quiet", "--bare", aside], { env: w.env })
  writeFileSync(join(checkout, "pushed.txt"), "nowhere else\n")
  git("add", "pushed.txt")
  git("commit", "--quiet", "--message", "pushed aside")
  git("remote", "add", "aside", aside)
  git("push", "--quiet", "aside", "HEAD:refs/heads/kept")
  git("update-ref", "refs/remotes/origin/kept", "HEAD")
  rmSync(aside, { recursive: true })
  return git("rev-parse", "HEAD")
}

/** What is wrong, the files by which it is, and how their owner puts it right. */
const broken: Record<string, { readonly state: string; readonly git?: (w: World, box: string) => void }> = {
  "no repository any more": { state: "stopped_unpersisted" },
  "another repository": {
    state: "persist_failed",
    git: (w, box) => void gitIn(w, box)("init", "--quiet")
  }
}

describe.concurrent("work in a box alone", { timeout: 300_000 }, () => {
  it.live("I-53 is not published by what its clone says of its remotes, but by what the repository has", () =>
    Effect.gen(function* () {
      const w = yield* world
      writeFileSync(join(w.repository, "sandbox.yaml"), "durability: {checkpoint: manual}\n")
      yield* up(w, "--trust-config")
      const commit = pushAside(w, inBox(w))
      const refused = yield* json(w, "destroy", "app", "--force")
      assert.strictEqual(refused.error_code, "ERR_DATA_LOSS_UNCONFIRMED", JSON.stringify(refused))
      assert.include(refused.cause, "1 commit are nowhere else")
      const { checkpoint } = yield* done(w, "checkpoint", "create", "app")
      yield* done(w, "destroy", "app", "--force")
      yield* done(w, "up", "--from-checkpoint", checkpoint!.id, "-n", "again", "-p", "box")
      assert.strictEqual(gitIn(w, inBox(w))("rev-parse", "HEAD"), commit)
      assert.strictEqual(readFileSync(join(inBox(w), "pushed.txt"), "utf8"), "nowhere else\n")

      // what the repository has is none of the work, unless it is about to throw it away
      const theirs = w.git("commit-tree", "-p", "main", "-m", "by somebody else", "main^{tree}")
      w.git("branch", "published", theirs)
      const git = gitIn(w, inBox(w))
      git("fetch", "--quiet", w.repository, "+refs/heads/*:refs/remotes/origin/*")
      git("switch", "--quiet", "--create", "theirs", "origin/published")
      git("branch", "-D", "feature")
      w.git("branch", "-D", "published")
      const loose = yield* json(w, "destroy", "again", "--force")
      assert.strictEqual(loose.error_code, "ERR_DATA_LOSS_UNCONFIRMED", JSON.stringify(loose))
      w.git("branch", "published", theirs)
      yield* done(w, "destroy", "again", "--force")
    })
  )

  it.live("I-53 of a URL on this host is not published by what its clone says either", () =>
    Effect.gen(function* () {
      const w = yield* world
      configure(w)
      const made = yield* done(w, "up", w.url, "-b", "feature", "-n", "app", "-p", "local")
      const commit = pushAside(w, made.worktree_path)
      const { checkpoint } = yield* done(w, "checkpoint", "create", "app")
      yield* done(w, "destroy", "app", "--force", "--confirm-data-loss")
      const again = yield* done(w, "up", "--from-checkpoint", checkpoint!.id, "-n", "again", "-p", "local")
      assert.strictEqual(gitIn(w, again.worktree_path)("rev-parse", "HEAD"), commit)
    })
  )

  it.live("I-53 is saved whatever this host's user has git ignore or convert", () =>
    Effect.gen(function* () {
      const w = yield* world
      const settings = join(w.directory, "home/.config/git")
      mkdirSync(settings, { recursive: true })
      writeFileSync(join(settings, "ignore"), "*.notes\n")
      writeFileSync(join(settings, "attributes"), "*.txt text eol=crlf\n")
      writeFileSync(join(w.directory, "home/.gitignore"), "*.memo\n")
      writeFileSync(
        join(w.directory, "home/.gitconfig"),
        `[core]\n\texcludesFile = ${join(w.directory, "home/.gitignore")}\n\tautocrlf = input\n`
      )
      yield* up(w)
      const box = inBox(w)
      work(box)
      writeFileSync(join(box, "my.memo"), "by hand\n")
      mkdirSync(join(box, "thoughts"))
      writeFileSync(join(box, "thoughts/my.notes"), "by hand\n")
      const before = everything(box)
      yield* done(w, "down", "app")
      rmSync(join(settings, "ignore"))
      loseBoxes(w)
      assert.isFalse((yield* json(w, "resume", "app")).ok)
      yield* done(w, "resume", "app")
      assert.deepEqual(everything(inBox(w)), before)
    })
  )

  it.live("I-34 is saved beside something that is called as what marks half a checkout", () =>
    Effect.gen(function* () {
      const w = yield* world
      yield* up(w)
      const box = inBox(w)
      work(box)
      const before = everything(box)
      mkdirSync(join(box, ".sandbox-restore"))
      writeFileSync(join(box, ".sandbox-restore/file"), "of the user's\n")
      const down = yield* done(w, "down", "app")
      assert.strictEqual(down.checkpoint?.head, before.head)
      yield* done(w, "resume", "app")
      rmSync(join(box, ".sandbox-restore"), { recursive: true })
      assert.deepEqual(everything(box), before)
    })
  )

  it.live("I-67 is not given up for a mark that nobody finishes, and is saved once the session was resumed", () =>
    Effect.gen(function* () {
      const w = yield* world
      yield* up(w)
      const box = inBox(w)
      yield* done(w, "checkpoint", "create", "app")
      work(box)
      const before = everything(box)
      mkdirSync(join(box, ".sandbox-restore/placing"), { recursive: true })
      const refused = yield* json(w, "checkpoint", "create", "app")
      assert.strictEqual(refused.error_code, "ERR_WORKSPACE_FAILED", JSON.stringify(refused))
      assert.include(refused.next_step, "sandbox resume")
      const destroyed = yield* json(w, "destroy", "app", "--force")
      assert.isFalse(destroyed.ok, JSON.stringify(destroyed))
      assert.strictEqual((yield* json(w, "status", "app")).state, "stopped_unpersisted")
      const again = yield* json(w, "down", "app")
      assert.isFalse(again.ok)
      assert.include(again.next_step, `sandbox resume ${again.session_id} --force`)
      yield* done(w, "resume", "app", "--force")
      assert.deepEqual(everything(box), before)
      const down = yield* done(w, "down", "app")
      assert.strictEqual(down.checkpoint?.head, before.head)
    })
  )

  it.live("is saved where a file of the repository has a name that is not UTF-8", () =>
    Effect.gen(function* () {
      const w = yield* world
      execFileSync("sh", ["-c", `printf x > "$(printf 'caf\\351')"`], { cwd: w.repository })
      w.git("add", "--all")
      w.git("commit", "--quiet", "--message", "an old name")
      w.git("branch", "--force", "feature", "main")
      yield* up(w)
      const box = inBox(w)
      work(box)
      const down = yield* done(w, "down", "app")
      assert.strictEqual(down.checkpoint?.head, gitIn(w, box)("rev-parse", "HEAD"))
      yield* done(w, "resume", "app")
      wreck(box)
      yield* done(w, "restore", "app", down.checkpoint!.id)
      assert.strictEqual(gitIn(w, box)("rev-parse", "HEAD"), down.checkpoint?.head)
    })
  )

  it.live("is saved where its owner may not read it", () =>
    Effect.gen(function* () {
      const w = yield* world
      yield* up(w)
      const box = inBox(w)
      mkdirSync(join(box, "closed"))
      writeFileSync(join(box, "closed/file"), "kept\n", { mode: 0 })
      chmodSync(join(box, "closed"), 0)
      const { checkpoint } = yield* done(w, "checkpoint", "create", "app")
      assert.strictEqual(statSync(join(box, "closed")).mode & 0o777, 0, "a checkpoint changes nothing")
      rmSync(join(box, "closed"), { recursive: true })
      yield* done(w, "restore", "app", checkpoint!.id)
      assert.strictEqual(readFileSync(join(box, "closed/file"), "utf8"), "kept\n")
      assert.strictEqual(statSync(join(box, "closed/file")).mode & 0o777, 0o400)
    })
  )

  for (const [what, { git, state }] of Object.entries(broken)) {
    it.live(`I-31 in a checkout that has ${what} can be put right in the box, which is started for that`, () =>
      Effect.gen(function* () {
        const w = yield* world
        yield* up(w)
        const box = inBox(w)
        work(box)
        const before = everything(box)
        renameSync(join(box, ".git"), join(dirname(box), "git"))
        git?.(w, box)
        const down = yield* json(w, "down", "app")
        assert.isFalse(down.ok, JSON.stringify(down))
        assert.include(down.next_step, `\`sandbox resume ${down.session_id} --force\``)
        assert.strictEqual((yield* json(w, "status", "app")).state, state)
        const refused = yield* json(w, "resume", "app")
        assert.strictEqual(refused.error_code, "ERR_FORCE_REQUIRED", JSON.stringify(refused))
        const [, way = ""] = /`sandbox (resume [^`]* --force)`/.exec(refused.next_step) ?? []
        const resumed = yield* done(w, ...way.split(" "))
        assert.strictEqual(resumed.state, "ready")
        assert.isTrue(existsSync(join(box, "binary")), "files without a repository are nobody's to remove")
        rmSync(join(box, ".git"), { recursive: true, force: true })
        renameSync(join(dirname(box), "git"), join(box, ".git"))
        const saved = yield* done(w, "down", "app")
        assert.strictEqual(saved.checkpoint?.head, before.head)
        assert.deepEqual(everything(box), before)
        assert.deepEqual(readdirSync(join(w.state, "copies")), [])
      })
    )
  }
})
