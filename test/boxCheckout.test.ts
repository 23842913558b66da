/** Sessions whose checkout only their box can see, as a user meets them: real processes, real repositories, real files. */
import { execFileSync } from "node:child_process"
import {
  cpSync,
  existsSync,
  linkSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  symlinkSync,
  writeFileSync
} from "node:fs"
import { dirname, join } from "node:path"
import { DatabaseSync } from "node:sqlite"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { committable, filesOf } from "./support/exports.ts"
import { heldGit } from "./support/heldGit.ts"
import { heldMove } from "./support/heldMove.ts"
import { eventually, nothing, providerModule, remains, type World, world } from "./support/sandbox.ts"
import { everything, work, wreck } from "./support/work.ts"

const provider = providerModule("boxProvider")

const configure = (w: World): void => {
  mkdirSync(join(w.directory, "home/.config/sandbox"), { recursive: true })
  writeFileSync(
    join(w.directory, "home/.config/sandbox/config.yaml"),
    `providers:\n  box: {use: ${JSON.stringify(provider)}}\n  ending: {use: ${JSON.stringify(provider)}, options: {terminal: true}}\n`
  )
}

type Provider = "box" | "ending"

const boxesOf = (w: World, provider: Provider): ReadonlyArray<string> => {
  const directory = join(w.state, provider, "local")
  const names = existsSync(directory) ? readdirSync(directory).filter((name) => !name.startsWith(".")) : []
  return names.toSorted().map((name) => join(directory, name))
}

/** The directory of the checkout in the newest box. */
const inBox = (w: World, provider: Provider = "box"): string => join(boxesOf(w, provider).at(-1)!, "work")

const json = Effect.fnUntraced(function* (w: World, ...args: ReadonlyArray<string>) {
  return (yield* w.sandbox(...args, "--json")).json()
})

/** The same for what has to succeed. */
const done = Effect.fnUntraced(function* (w: World, ...args: ReadonlyArray<string>) {
  const answer = yield* json(w, ...args)
  assert.isTrue(answer.ok, `${args.join(" ")}: ${JSON.stringify(answer)}`)
  return answer
})

const upArguments = (w: World, ...args: ReadonlyArray<string>): ReadonlyArray<string> => [
  ...["up", w.repository, "-b", "feature", "-n", "app", "-p", "box"],
  ...args
]

const up = Effect.fnUntraced(function* (w: World, ...args: ReadonlyArray<string>) {
  configure(w)
  return yield* done(w, ...upArguments(w, ...args))
})

const gitIn =
  (w: World, directory: string) =>
  (...args: ReadonlyArray<string>): string =>
    execFileSync("git", ["-C", directory, ...args], { env: w.env, encoding: "utf8", stdio: "pipe" }).trim()

/** Exports the session, and answers where to and which commit. */
const exported = Effect.fnUntraced(function* (w: World, ...args: ReadonlyArray<string>) {
  const answer = yield* done(w, "export", "app", ...args)
  return answer as typeof answer & { readonly target: string; readonly commit: string }
})

/** What operations have left of their copies. */
const copies = (w: World): ReadonlyArray<string> => {
  const directory = join(w.state, "copies")
  return existsSync(directory) ? readdirSync(directory) : []
}

const loseBoxes = (w: World): void => {
  for (const box of boxesOf(w, "box")) rmSync(box, { recursive: true })
}

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
      rmSync(join(box, ".git"), { recursive: true })
      yield* done(w, "down", "app", "--confirm-data-loss").pipe(Effect.exit)
      const refused = yield* json(w, "resume", "app", "--force")
      assert.strictEqual(refused.error_code, "ERR_WORKSPACE_FAILED", JSON.stringify(refused))
      assert.isTrue(existsSync(join(box, "binary")), "files without a repository are nobody's to remove")
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

/** Starts a command that is held somewhere, kills it there, and answers what `status` says to do then. */
const killed = Effect.fnUntraced(function* (
  w: World,
  args: ReadonlyArray<string>,
  { env, held }: { readonly env: Readonly<Record<string, string>>; readonly held: Effect.Effect<void> }
) {
  const running = yield* w.start(args, { env })
  yield* held
  running.signal("SIGKILL")
  yield* running.ended
  const { recovery } = yield* json(w, "status", "app")
  assert.isNotNull(recovery, "a killed operation is to be finished")
  return recovery!.command.replace(/^sandbox /, "").split(" ")
}, Effect.scoped)

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
    ["with nothing in its place yet", 2],
    ["half in its place", 4]
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

  for (const [when, nth] of [
    ["before anything is moved", 1],
    ["while what was there is moved away", 4],
    ["while what is restored moves in", 9]
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
      const mv = heldMove(w, "checkout-", 9)
      yield* killed(w, ["restore", "app", checkpoint!.id], mv)
      const down = yield* done(w, "down", "app")
      assert.isNull(down.checkpoint!.head)
      yield* done(w, "resume", "app")
      assert.deepEqual(everything(box), before)
    })
  )
})

/** A repository of the host's that no box may reach, and a program that must not run. */
const host = (w: World) => {
  const secret = join(w.directory, "secret")
  mkdirSync(secret)
  gitIn(w, secret)("init", "--quiet")
  writeFileSync(join(secret, "key"), "the host's own\n")
  gitIn(w, secret)("add", ".")
  gitIn(w, secret)("commit", "--quiet", "--message", "secret")
  const witness = join(w.directory, "witness")
  return { secret, witness, run: `touch ${witness}` }
}

describe.concurrent("a checkout that its box has made a trap", { timeout: 300_000 }, () => {
  it.live("I-91 runs no program on this host that its configuration, hooks or attributes name", () =>
    Effect.gen(function* () {
      const w = yield* world
      yield* up(w)
      const box = inBox(w)
      work(box)
      const { checkpoint } = yield* done(w, "checkpoint", "create", "app")
      const { run, secret, witness } = host(w)
      const included = join(box, ".git/included")
      writeFileSync(included, `[core]\n\tfsmonitor = ${run}\n`)
      const trap = (directory: string) => {
        const settings = {
          "core.fsmonitor": run,
          "core.hooksPath": join(box, "hooks"),
          "core.sshCommand": run,
          "core.editor": run,
          "core.pager": run,
          "core.askPass": run,
          "core.alternateRefsCommand": run,
          "credential.helper": `!${run}`,
          "diff.external": run,
          "diff.evil.textconv": run,
          "filter.evil.clean": run,
          "filter.evil.smudge": run,
          "filter.evil.process": run,
          "filter.evil.required": "true",
          "gpg.program": run,
          "log.showSignature": "true",
          "include.path": included,
          "alias.status": `!${run}`,
          "alias.rev-parse": `!${run}`,
          "uploadpack.packObjectsHook": run,
          "remote.origin.url": `ext::${run}`,
          "remote.origin.promisor": "true"
        }
        for (const [key, value] of Object.entries(settings)) {
          w.git("config", "--file", join(directory, ".git/config"), key, value)
        }
        mkdirSync(join(directory, ".git/info"), { recursive: true })
        writeFileSync(join(directory, ".git/info/attributes"), "* filter=evil diff=evil\n")
        mkdirSync(join(directory, ".git/hooks"), { recursive: true })
        for (const hook of ["reference-transaction", "post-index-change", "post-checkout", "pre-auto-gc"]) {
          writeFileSync(join(directory, ".git/hooks", hook), `#!/bin/sh\n${run}\n`, { mode: 0o755 })
        }
      }
      gitIn(w, box)("init", "--quiet", "nested")
      gitIn(w, join(box, "nested"))("commit", "--quiet", "--allow-empty", "--message", "inside")
      writeFileSync(join(box, "nested/file"), "in a repository of its own\n")
      trap(box)
      trap(join(box, "nested"))
      w.git("config", "--file", join(box, ".git/config"), "core.worktree", secret)
      const config = readFileSync(join(box, ".git/config"), "utf8")

      yield* done(w, "checkpoint", "create", "app")
      yield* w.sandbox("export", "app", "--to", "bundle", "--output", join(w.directory, "out"), "--json")
      yield* done(w, "restore", "app", checkpoint!.id)
      assert.strictEqual(readFileSync(join(box, ".git/config"), "utf8"), config, "it is the box's own all the same")
      yield* done(w, "down", "app")
      yield* w.sandbox("destroy", "app", "--json")
      assert.isFalse(existsSync(witness))
      assert.deepEqual(readdirSync(secret).toSorted(), [".git", "key"])
    })
  )

  it.live("I-91 leads to nothing of this host", () =>
    Effect.gen(function* () {
      const w = yield* world
      yield* up(w)
      const box = inBox(w)
      const clean = join(w.directory, "clean")
      cpSync(box, clean, { recursive: true, verbatimSymlinks: true })
      const { run, secret, witness } = host(w)
      const theirs = join(secret, ".git")
      const inGit = (name: string) => join(box, ".git", name)
      const instead = (name: string, target: string) => {
        rmSync(join(box, name), { recursive: true, force: true })
        symlinkSync(target, join(box, name))
      }
      const traps: Record<string, { readonly path?: string; readonly set: () => void }> = {
        "a link": { path: ".git", set: () => instead(".git", theirs) },
        "a file": {
          path: ".git",
          set: () => {
            rmSync(inGit(""), { recursive: true })
            writeFileSync(join(box, ".git"), `gitdir: ${theirs}\n`)
          }
        },
        "a file that goes up": {
          path: ".git",
          set: () => {
            rmSync(inGit(""), { recursive: true })
            writeFileSync(join(box, ".git"), `gitdir: ../../../../../secret/.git\n`)
          }
        },
        "nothing but a bare repository": {
          path: ".git",
          set: () => {
            for (const name of ["HEAD", "objects", "refs", "config"]) {
              cpSync(inGit(name), join(box, name), { recursive: true })
            }
            rmSync(inGit(""), { recursive: true })
            w.git("config", "--file", join(box, "config"), "core.fsmonitor", run)
            w.git("config", "--file", join(box, "config"), "core.bare", "false")
            w.git("config", "--file", join(box, "config"), "core.worktree", ".")
          }
        },
        "objects elsewhere": { path: ".git/objects", set: () => instead(".git/objects", join(theirs, "objects")) },
        "branches elsewhere": { path: ".git/refs", set: () => instead(".git/refs", join(theirs, "refs")) },
        "a message elsewhere": { path: ".git/MERGE_MSG", set: () => instead(".git/MERGE_MSG", join(secret, "key")) },
        "a configuration elsewhere": {
          path: ".git/config",
          set: () => instead(".git/config", join(theirs, "config"))
        },
        "the same link under two names": {
          path: ".git/MERGE_MSG",
          set: () => {
            symlinkSync(join(secret, "key"), join(box, "a-link"))
            linkSync(join(box, "a-link"), inGit("MERGE_MSG"))
          }
        },
        "a repository inside that is elsewhere": {
          path: "nested/.git",
          set: () => {
            mkdirSync(join(box, "nested"))
            symlinkSync(theirs, join(box, "nested/.git"))
          }
        },
        "a file inside that names another": {
          path: "nested/.git",
          set: () => {
            mkdirSync(join(box, "nested"))
            writeFileSync(join(box, "nested/.git"), `gitdir: ${theirs}\n`)
          }
        },
        "a shared repository": { set: () => writeFileSync(inGit("commondir"), `${theirs}\n`) },
        "borrowed objects": { set: () => writeFileSync(inGit("objects/info/alternates"), `${theirs}/objects\n`) },
        "a link that leads nowhere": { set: () => symlinkSync("user@host.1", inGit(".#COMMIT_EDITMSG")) },
        "an empty repository inside": { set: () => mkdirSync(join(box, "nested/.git"), { recursive: true }) }
      }
      for (const [what, { path, set }] of Object.entries(traps)) {
        for (const name of readdirSync(box)) rmSync(join(box, name), { recursive: true })
        cpSync(clean, box, { recursive: true, verbatimSymlinks: true })
        set()
        const answer = yield* json(w, "checkpoint", "create", "app")
        if (path === undefined) assert.isTrue(answer.ok, `${what}: ${JSON.stringify(answer)}`)
        else {
          assert.strictEqual(answer.error_code, "ERR_WORKSPACE_FAILED", `${what}: ${JSON.stringify(answer)}`)
          const details: object = answer.details ?? {}
          assert.deepInclude(details, { path }, what)
        }
      }
      rmSync(inGit(""), { recursive: true })
      cpSync(join(clean, ".git"), inGit(""), { recursive: true })
      writeFileSync(inGit("objects/info/alternates"), `${theirs}/objects\n`)
      writeFileSync(inGit("refs/heads/feature"), `${gitIn(w, secret)("rev-parse", "HEAD")}\n`)
      const borrowed = yield* json(w, "checkpoint", "create", "app")
      assert.isFalse(borrowed.ok, "nothing of the host's own repository is saved")
      assert.isFalse(existsSync(witness))
      assert.deepEqual(copies(w), [])
    })
  )
})
