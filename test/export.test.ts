/** Taking work out of a session: what arrives, what is refused, and what an export leaves when it is cut short. */
import { execFileSync, execSync } from "node:child_process"
import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs"
import { dirname, join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import type { Answer } from "./support/Answer.ts"
import { heldGit } from "./support/heldGit.ts"
import { dump, eventually, query, type World, world } from "./support/sandbox.ts"
import { everything, listing, work } from "./support/work.ts"

interface Exported extends Answer {
  readonly to: string
  readonly commit: string
  readonly target: string
  readonly uncommitted: boolean
  readonly artifact: string | null
  readonly already?: true
  readonly replayed?: true
  readonly auto_teardown: { readonly destroyed: boolean; readonly reason: string }
}

const local = ["--provider", "local", "--json"]

/** A session with work of every kind in its checkout. */
const worked = Effect.fnUntraced(function* (w: World, repository = w.repository) {
  const up = (yield* w.sandbox("up", repository, "-b", "feature", "-n", "app", ...local)).json()
  assert.isTrue(up.ok, JSON.stringify(up))
  work(up.worktree_path)
  return up
})

const json = Effect.fnUntraced(function* (w: World, ...args: ReadonlyArray<string>) {
  return (yield* w.sandbox(...args, "--json")).json() as Exported
})

const exported = Effect.fnUntraced(function* (w: World, ...args: ReadonlyArray<string>) {
  const result = yield* json(w, "export", "app", ...args)
  assert.isTrue(result.ok, JSON.stringify(result))
  return result
})

const refused = Effect.fnUntraced(function* (w: World, code: string, ...args: ReadonlyArray<string>) {
  const outcome = yield* w.sandbox(...args, "--json")
  const error = outcome.json()
  assert.strictEqual(error.error_code, code, `${args.join(" ")}: ${outcome.stdout}${outcome.stderr}`)
  return { ...error, code: outcome.code }
})

/** What a commit of the repository has in it, by the files of a checkout of it. */
const filesOf = (w: World, commit: string): ReadonlyArray<string> => {
  const directory = join(w.directory, "looked-at")
  w.git("worktree", "add", "--quiet", "--detach", directory, commit)
  const files = listing(directory)
  w.git("worktree", "remove", "--force", directory)
  return files
}

/** The files of a checkout but for empty directories, which no commit has. */
const committable = (directory: string): ReadonlyArray<string> =>
  listing(directory).filter((line) => line !== "deep/empty/")

const tip = (w: World, branch: string): string =>
  w.git("for-each-ref", "--format=%(objectname)", `refs/heads/${branch}`)

const row = (w: World) =>
  query(w.ledger, "SELECT state, export_lock, last_export, claim_kind FROM sessions")[0] as unknown as Readonly<
    Record<"state" | "export_lock" | "last_export" | "claim_kind", string | null>
  >

/** Types the command in backticks of a sentence. */
const typed = (w: World, nextStep: string): void => {
  const command = /by hand it is `([^`]+)`/.exec(nextStep)?.[1]
  assert.isDefined(command, nextStep)
  execSync(command!, { cwd: w.directory, env: w.env, stdio: "pipe" })
}

describe.concurrent("exports to a branch", () => {
  it.live("have all the work, committed and not, and leave the checkout as it is", () =>
    Effect.gen(function* () {
      const w = yield* world
      const { target_commit_sha, worktree_path } = yield* worked(w)
      const before = everything(worktree_path)
      const result = yield* exported(w)
      assert.deepEqual(everything(worktree_path), before)
      assert.deepInclude(result, {
        state: "ready",
        to: "branch",
        branch: "sandbox/app",
        target: w.repository,
        uncommitted: true
      })
      assert.isFalse(result.auto_teardown.destroyed)
      assert.strictEqual(tip(w, "sandbox/app"), result.commit)
      assert.strictEqual(w.git("rev-parse", `${result.commit}^`), before.head)
      assert.deepEqual(filesOf(w, result.commit), committable(worktree_path))

      const mode = statSync(result.artifact!).mode & 0o777
      assert.strictEqual(mode, 0o600)
      assert.strictEqual(
        w.git("bundle", "list-heads", result.artifact!),
        `${result.commit} refs/heads/sandbox/app`,
        "the artifact names the branch"
      )
      w.git("bundle", "verify", result.artifact!)
      assert.include(w.git("bundle", "verify", result.artifact!), target_commit_sha)

      const status = yield* json(w, "status", "app")
      assert.deepInclude((status as unknown as { readonly last_export: object }).last_export, {
        to: "branch",
        branch: "sandbox/app",
        commit: result.commit,
        target: w.repository
      })
    })
  )

  it.live("are done once for the same work, and move their own branch for other work", () =>
    Effect.gen(function* () {
      const w = yield* world
      const { worktree_path } = yield* worked(w)
      const first = yield* exported(w)
      const again = yield* exported(w)
      assert.deepInclude(again, { already: true, commit: first.commit, artifact: first.artifact })
      const events = (yield* json(w, "history", "app")).events.filter(({ type }) => type === "exported")
      assert.lengthOf(events, 1)

      writeFileSync(join(worktree_path, "src.txt"), "changed again\n")
      const second = yield* exported(w)
      assert.isUndefined(second.already)
      assert.notStrictEqual(second.commit, first.commit)
      assert.strictEqual(tip(w, "sandbox/app"), second.commit)

      w.git("update-ref", "-d", "refs/heads/sandbox/app")
      assert.isUndefined((yield* exported(w)).already, "a branch that is gone is made again")
      assert.strictEqual(tip(w, "sandbox/app"), second.commit)

      const key = ["--client-request-id", "k"]
      const keyed = yield* exported(w, ...key)
      w.git("update-ref", "-d", "refs/heads/sandbox/app")
      assert.deepInclude(yield* exported(w, ...key), { replayed: true, commit: keyed.commit })
      assert.strictEqual(tip(w, "sandbox/app"), "")
      const other = yield* refused(w, "ERR_IDEMPOTENCY_MISMATCH", "export", "app", "--branch", "x", ...key)
      assert.strictEqual(other.code, 1)
    })
  )

  it.live("replace nobody else's work but by force, and say how to go on by hand", () =>
    Effect.gen(function* () {
      const w = yield* world
      yield* worked(w)
      w.git("branch", "sandbox/app", "main")
      w.git("worktree", "add", "--quiet", join(w.directory, "theirs"), "sandbox/app")
      w.git("-C", join(w.directory, "theirs"), "commit", "--quiet", "--allow-empty", "-m", "theirs")
      const theirs = tip(w, "sandbox/app")

      const held = yield* refused(w, "ERR_EXPORT_FAILED", "export", "app")
      assert.include(held.cause, "is checked out in")
      w.git("worktree", "remove", "--force", join(w.directory, "theirs"))

      const error = yield* refused(w, "ERR_EXPORT_FAILED", "export", "app")
      assert.strictEqual(error.code, 2)
      assert.include(error.next_step, "--force")
      assert.strictEqual(tip(w, "sandbox/app"), theirs)
      assert.deepInclude(row(w), { state: "ready", export_lock: null, last_export: null, claim_kind: null })

      const forced = yield* exported(w, "--force")
      assert.strictEqual(tip(w, "sandbox/app"), forced.commit)
    })
  )

  it.live(
    "I-61 that fail, are interrupted or killed leave no lock behind, no last export, and work to go on with",
    () =>
      Effect.gen(function* () {
        const w = yield* world
        const { session_id } = yield* worked(w)
        const hook = join(w.repository, ".git/hooks/pre-receive")
        mkdirSync(dirname(hook), { recursive: true })
        writeFileSync(hook, "#!/bin/sh\necho no exports today >&2\nexit 1\n")
        chmodSync(hook, 0o755)
        const error = yield* refused(w, "ERR_EXPORT_FAILED", "export", "app", "--branch", "out")
        const free = { state: "ready", export_lock: null, last_export: null, claim_kind: null }
        assert.deepInclude(row(w), free)
        assert.strictEqual(tip(w, "out"), "")
        typed(w, error.next_step)
        assert.deepEqual(filesOf(w, "out"), committable((yield* json(w, "status", "app")).worktree_path))
        rmSync(hook)

        const git = heldGit(w, { hold: "push" })
        const interrupted = yield* w.start(["export", "app", "--json"], { env: git.env })
        yield* git.held()
        assert.isNotNull(row(w)["export_lock"])
        interrupted.signal("SIGINT")
        assert.strictEqual((yield* interrupted.ended).code, 130)
        assert.deepInclude(row(w), free)
        git.remove()

        const again = heldGit(w, { hold: "push" })
        const killed = yield* w.start(["export", "app", "--json"], { env: again.env })
        yield* again.held()
        killed.signal("SIGKILL")
        yield* killed.ended
        assert.isNotNull(row(w)["export_lock"])
        const during = yield* refused(w, "ERR_EXPORT_IN_PROGRESS", "destroy", session_id, "--force")
        assert.strictEqual(during.code, 1)
        const taken = yield* exported(w)
        assert.strictEqual(tip(w, "sandbox/app"), taken.commit)
        const after = row(w)
        assert.deepInclude(after, { state: "ready", export_lock: null, claim_kind: null })
        assert.include(String(after["last_export"]), taken.commit)
      })
  )

  it.live("I-60 nothing moves a session while it is exported, whatever is forced", () =>
    Effect.gen(function* () {
      const w = yield* world
      const { session_id, worktree_path } = yield* worked(w)
      const checkpoint = (yield* json(w, "checkpoint", "create", "app")).checkpoint!
      const git = heldGit(w, { hold: "push" })
      const running = yield* w.start(["export", "app", "--json"], { env: git.env })
      yield* git.held()
      const lock = JSON.parse(String(row(w)["export_lock"])) as { readonly branch: string; readonly leaseUntil: number }
      assert.strictEqual(lock.branch, "sandbox/app")
      assert.isAbove(lock.leaseUntil, Date.now())
      const before = dump(w.ledger)
      for (const args of [
        ["destroy", "app"],
        ["destroy", "app", "--force"],
        ["destroy", "app", "--force", "--confirm-data-loss"],
        ["destroy", "app", "--force", "--forget", "--confirm-data-loss"],
        ["down", "app"],
        ["down", "app", "--force"],
        ["complete", "app"],
        ["extend", "app", "--never"],
        ["restore", "app", checkpoint.id],
        ["export", "app", "--branch", "other", "--force"]
      ]) {
        const error = yield* refused(w, "ERR_EXPORT_IN_PROGRESS", ...args)
        assert.strictEqual(error.code, 1)
        assert.strictEqual(error.session_id, session_id)
      }
      assert.isTrue((yield* json(w, "gc")).ok)
      const inside = yield* w.sandbox("exec", "app", "--", "echo", "still here")
      assert.strictEqual(inside.stdout, "still here\n")
      assert.deepEqual(withoutLease(dump(w.ledger)), withoutLease(before))
      git.open()
      const outcome = yield* running.ended
      assert.strictEqual(outcome.code, 0, outcome.stderr)
      assert.strictEqual(tip(w, "sandbox/app"), (outcome.json() as Exported).commit)
      assert.deepInclude(row(w), { state: "ready", export_lock: null, claim_kind: null })
      assert.isTrue(existsSync(worktree_path))
    })
  )

  it.live("reach a repository that is a URL, and never run what the session's own checkout configures", () =>
    Effect.gen(function* () {
      const w = yield* world
      const { worktree_path } = yield* worked(w, w.url)
      const ran = join(w.directory, "ran")
      writeFileSync(join(worktree_path, ".git/hooks/pre-push"), `#!/bin/sh\ntouch ${ran}\n`)
      chmodSync(join(worktree_path, ".git/hooks/pre-push"), 0o755)
      execFileSync("git", ["-C", worktree_path, "config", `url.${w.directory}/nowhere.insteadOf`, w.url])
      const first = yield* exported(w, "--branch", "team/out")
      assert.strictEqual(tip(w, "team/out"), first.commit)
      assert.isFalse(existsSync(ran))
      writeFileSync(join(worktree_path, "src.txt"), "more\n")
      const second = yield* exported(w, "--branch", "team/out")
      assert.strictEqual(tip(w, "team/out"), second.commit, "its own export is replaced")
    })
  )

  it.live("of a halted session are of its checkout and, once that is gone, of its checkpoint", () =>
    Effect.gen(function* () {
      const w = yield* world
      const { worktree_path } = yield* worked(w)
      const files = committable(worktree_path)
      const ready = yield* exported(w, "--branch", "ready")
      assert.strictEqual((yield* json(w, "down", "app")).state, "stopped")
      const halted = yield* exported(w, "--branch", "halted")
      assert.deepInclude(halted, { state: "stopped", commit: ready.commit })
      assert.strictEqual((yield* json(w, "down", "app", "--delete-worktree")).state, "stopped")
      assert.isFalse(existsSync(worktree_path))
      const saved = yield* exported(w, "--branch", "saved")
      assert.strictEqual(saved.commit, ready.commit)
      assert.deepEqual(filesOf(w, "saved"), files)
      assert.match(saved.warnings.join("\n"), /checkpoint ckp_/)
    })
  )

  it.live("are refused where there is nothing to export, or nothing that may be named so", () =>
    Effect.gen(function* () {
      const w = yield* world
      const up = yield* worked(w)
      for (const branch of ["-x", "a..b", "a b"]) {
        const error = yield* refused(w, "ERR_INVALID_ARGUMENT", "export", "app", `--branch=${branch}`)
        assert.strictEqual(error.details?.field, "branch")
      }
      const files = yield* refused(w, "ERR_INVALID_ARGUMENT", "export", "app", "--output", "x")
      assert.strictEqual(files.details?.field, "output")
      yield* refused(w, "ERR_INVALID_ARGUMENT", "export", "app", "--to", "patch", "--force")
      yield* json(w, "destroy", "app", "--force", "--confirm-data-loss")
      const gone = yield* refused(w, "ERR_NOT_READY", "export", up.session_id)
      assert.strictEqual(gone.code, 1)
      const none = (yield* w.sandbox("up", w.repository, "-b", "feature", "-n", "app", ...local)).json()
      assert.isTrue(none.ok)
      for (const to of ["patch", "bundle"]) {
        const error = yield* refused(w, "ERR_INVALID_ARGUMENT", "export", "app", "--to", to)
        assert.include(error.cause, "no work beyond")
      }
      const empty = yield* exported(w)
      assert.deepInclude(empty, { commit: none.target_commit_sha, uncommitted: false, artifact: null })
      assert.strictEqual(tip(w, "sandbox/app"), none.target_commit_sha)
    })
  )
})

/** Leases are renewed while an operation runs; the versions, and all else, stay. */
const withoutLease = (rows: unknown): unknown =>
  JSON.parse(
    JSON.stringify(rows, (key, value) =>
      ["claim_renewed_at", "claim_lease_until", "export_lock"].includes(key) ? undefined : value
    )
  )

describe.concurrent("exports to files", () => {
  it.live("as patches make the same files of the commit that they begin at", () =>
    Effect.gen(function* () {
      const w = yield* world
      const { target_commit_sha, worktree_path } = yield* worked(w)
      const result = yield* exported(w, "--to", "patch", "--output", "out/patches")
      const directory = join(w.directory, "out/patches")
      assert.strictEqual(result.target, directory)
      const patches = readdirSync(directory).toSorted()
      assert.lengthOf(patches, 2)
      const applied = join(w.directory, "applied")
      w.git("worktree", "add", "--quiet", "--detach", applied, target_commit_sha)
      w.git("-C", applied, "am", "--quiet", ...patches.map((name) => join(directory, name)))
      assert.deepEqual(listing(applied), committable(worktree_path))
      assert.isTrue((yield* exported(w, "--to", "patch", "--output", "out/patches")).already)

      writeFileSync(join(directory, patches[0]!), "mine\n")
      const error = yield* refused(w, "ERR_EXPORT_FAILED", "export", "app", "--to", "patch", "-o", "out/patches")
      assert.include(error.cause, "has other files in it")
      assert.strictEqual(readFileSync(join(directory, patches[0]!), "utf8"), "mine\n")
      assert.deepEqual(readdirSync(join(w.directory, "out")), ["patches"])
      const own = yield* exported(w, "--to", "patch")
      assert.isTrue(own.target.startsWith(join(w.state, "exports")))
    })
  )

  it.live("as patches of work with merges are one patch of all of it", () =>
    Effect.gen(function* () {
      const w = yield* world
      const { target_commit_sha, worktree_path } = yield* worked(w)
      const git = (...args: ReadonlyArray<string>) => w.git("-C", worktree_path, ...args)
      git("stash", "--quiet", "--include-untracked")
      git("switch", "--quiet", "--create", "side", target_commit_sha)
      writeFileSync(join(worktree_path, "side.txt"), "side\n")
      git("add", "side.txt")
      git("commit", "--quiet", "-m", "side")
      git("switch", "--quiet", "feature")
      git("merge", "--quiet", "--no-ff", "-m", "merged", "side")
      const result = yield* exported(w, "--to", "patch", "-o", "one")
      assert.lengthOf(readdirSync(join(w.directory, "one")), 1)
      assert.match(result.warnings.join("\n"), /merges/)
      const applied = join(w.directory, "applied")
      git("worktree", "add", "--quiet", "--detach", applied, target_commit_sha)
      git("-C", applied, "am", "--quiet", join(w.directory, "one", readdirSync(join(w.directory, "one"))[0]!))
      assert.deepEqual(listing(applied), listing(worktree_path))
    })
  )

  it.live("as a bundle are one file that git fetches the branch from, written again where it is spoiled", () =>
    Effect.gen(function* () {
      const w = yield* world
      yield* worked(w)
      const result = yield* exported(w, "--to", "bundle", "--branch", "out")
      assert.isUndefined(result.already)
      assert.isTrue((yield* exported(w, "--to", "bundle", "--branch", "out")).already)
      const bytes = readFileSync(result.target)
      bytes[bytes.length - 30]! ^= 1
      writeFileSync(result.target, bytes)
      assert.isUndefined((yield* exported(w, "--to", "bundle", "--branch", "out")).already)
      w.git("fetch", "--quiet", result.target, "refs/heads/out:refs/heads/fetched")
      assert.strictEqual(tip(w, "fetched"), result.commit)
    })
  )
})

describe.concurrent("what is exported", () => {
  it.live("is neither ignored nor the host's own file, and the same whoever the user is to git", () =>
    Effect.gen(function* () {
      const w = yield* world
      writeFileSync(join(w.repository, "host.env"), "TOKEN=canary\n")
      writeFileSync(join(w.repository, "sandbox.yaml"), "inherit_env: [{file: host.env, mode: copy}]\n")
      const { worktree_path } = yield* worked(w)
      assert.isTrue(existsSync(join(worktree_path, "host.env")))
      writeFileSync(join(worktree_path, ".gitignore"), "*.log\n")
      writeFileSync(join(worktree_path, "a.log"), "ignored\n")
      const result = yield* exported(w)
      const names = w.git("ls-tree", "-r", "--name-only", result.commit).split("\n")
      assert.include(names, ".gitignore")
      assert.notInclude(names, "a.log")
      assert.notInclude(names, "host.env")

      const anonymous = {
        GIT_AUTHOR_NAME: "",
        GIT_AUTHOR_EMAIL: "",
        GIT_COMMITTER_NAME: "",
        GIT_COMMITTER_EMAIL: ""
      }
      const by = yield* w.run(["export", "app", "--branch", "anonymous", "--json"], { env: anonymous })
      const { commit } = by.json() as Exported
      assert.strictEqual(
        w.git("show", "-s", "--format=%an %ae %cn %ce", commit),
        "sandbox sandbox@localhost sandbox sandbox@localhost"
      )
      assert.strictEqual(w.git("show", "-s", "--format=%ct", commit), w.git("show", "-s", "--format=%ct", "feature"))
    })
  )

  it.live("is told from what git cannot take along", () =>
    Effect.gen(function* () {
      const w = yield* world
      const { worktree_path } = yield* worked(w)
      const inner = join(worktree_path, "inner")
      mkdirSync(inner)
      for (const args of [
        ["init", "--quiet"],
        ["commit", "--quiet", "--allow-empty", "-m", "x"]
      ]) {
        execFileSync("git", ["-C", inner, ...args], { env: w.env, stdio: "pipe" })
      }
      writeFileSync(join(worktree_path, ".gitattributes"), "*.bin filter=lfs\n")
      const { warnings } = yield* exported(w)
      assert.match(warnings.join("\n"), /no work in them: inner/)
      assert.match(warnings.join("\n"), /git LFS/)
    })
  )

  it.live("of a detached HEAD, in the middle of a merge, is what is there", () =>
    Effect.gen(function* () {
      const w = yield* world
      const { worktree_path } = yield* worked(w)
      w.git("-C", worktree_path, "checkout", "--quiet", "--detach")
      const before = everything(worktree_path)
      const result = yield* exported(w)
      assert.deepEqual(everything(worktree_path), before)
      assert.deepEqual(filesOf(w, result.commit), committable(worktree_path))
      yield* eventually("no process is left", () => row(w)["claim_kind"] === null)
    })
  )
})
