/** The main job: a session's whole life through the command line. */
import { execFileSync } from "node:child_process"
import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { assertFailure } from "./support/contract.ts"
import { branches, nothing, remains, world } from "./support/sandbox.ts"

const notIsolated = "provider local does not isolate: commands run on this machine, as you"

describe.concurrent("up", () => {
  it.live("checks out the branch that was asked for where nobody else has it", () =>
    Effect.gen(function* () {
      const w = yield* world
      const up = yield* w.sandbox("up", w.repository, "--branch", "feature", "--provider", "local", "--json")
      assert.strictEqual(up.code, 0, up.stderr)
      const { operation_id, ready_at, session_id, worktree_path, ...rest } = up.json()
      assert.match(session_id, /^sbx_[0-9a-z]{26}$/)
      assert.match(operation_id!, /^op_[0-9a-z]{26}$/)
      assert.strictEqual(new Date(ready_at).toISOString(), ready_at)
      assert.deepEqual<object>(rest, {
        ok: true,
        state: "ready",
        name: "app-feature",
        provider: "local",
        branch: "feature",
        work_branch: "feature",
        target_commit_sha: w.git("rev-parse", "feature"),
        slot: null,
        ports: {},
        endpoint_url: null,
        password_env: null,
        env_file: null,
        env: { SANDBOX_NAME: "app-feature", SANDBOX_PROVIDER: "local", SANDBOX_BRANCH: "feature" },
        browser_opened: false,
        warnings: [notIsolated]
      })
      assert.strictEqual(w.git("-C", worktree_path, "symbolic-ref", "--short", "HEAD"), "feature")
      assert.deepEqual(remains(w), {
        ...nothing,
        worktrees: [worktree_path],
        boxes: [`${session_id.replace("_", "-")}-g1`]
      })
    })
  )

  it.live("works on a branch of its own, with a warning, where the branch is checked out", () =>
    Effect.gen(function* () {
      const w = yield* world
      const up = yield* w.run(["up", "--branch", "main", "-p", "local", "--json"], { cwd: w.repository })
      assert.strictEqual(up.code, 0, up.stderr)
      const { branch, name, target_commit_sha, warnings, work_branch, worktree_path } = up.json()
      assert.deepEqual(
        { name, branch, work_branch },
        { name: "app-main", branch: "main", work_branch: "sandbox/app-main" }
      )
      assert.strictEqual(target_commit_sha, w.git("rev-parse", "main"))
      assert.deepEqual(warnings, [
        notIsolated,
        "Branch main is checked out elsewhere, so this checkout is on branch sandbox/app-main."
      ])
      for (const warning of warnings) assert.include(up.stderr, `warning: ${warning}\n`)
      assert.strictEqual(w.git("-C", worktree_path, "symbolic-ref", "--short", "HEAD"), "sandbox/app-main")
      assert.strictEqual(w.git("status", "--porcelain"), "")
    })
  )

  it.live("takes the repository's own branch where none is named, and SANDBOX_PROVIDER where no provider is", () =>
    Effect.gen(function* () {
      const w = yield* world
      w.git("switch", "--quiet", "topic/one")
      const up = yield* w.run(["up", w.repository, "--json"], { env: { SANDBOX_PROVIDER: "local" } })
      assert.strictEqual(up.code, 0, up.stderr)
      assert.include(up.json(), { name: "app-topic-one", branch: "topic/one", provider: "local" })
    })
  )

  it.live("clones a URL, on a branch that follows nothing", () =>
    Effect.gen(function* () {
      const w = yield* world
      const up = yield* w.sandbox("up", w.url, "--branch", "main", "--provider", "local", "--json")
      assert.strictEqual(up.code, 0, up.stderr)
      const { session_id, work_branch, worktree_path } = up.json()
      assert.strictEqual(work_branch, "main")
      const inside = (...args: ReadonlyArray<string>) => w.git("-C", worktree_path, ...args)
      assert.strictEqual(inside("rev-parse", "HEAD"), w.git("rev-parse", "main"))
      assert.strictEqual(inside("remote", "get-url", "origin"), w.url)
      assert.strictEqual(inside("for-each-ref", "--format=%(refname:short)%(upstream)", "refs/heads"), "main")
      const { boxes, ...repository } = remains(w)
      assert.deepEqual(repository, { worktrees: [], branches, processes: [], claims: [] })
      assert.strictEqual(boxes.length, 1)
      assert.strictEqual((yield* w.sandbox("destroy", session_id, "--force")).code, 0)
      assert.deepEqual(remains(w), nothing)
    })
  )

  it.live("creates a branch from a base, and removes it again with the session that nobody worked in", () =>
    Effect.gen(function* () {
      const w = yield* world
      const args = ["--branch", "fix-1", "--base", "topic/one", "--provider", "local", "--json"]
      const up = yield* w.sandbox("up", w.repository, ...args)
      assert.strictEqual(up.code, 0, up.stderr)
      const { session_id, target_commit_sha, work_branch } = up.json()
      assert.strictEqual(work_branch, "fix-1")
      assert.strictEqual(target_commit_sha, w.git("rev-parse", "topic/one"))
      assert.strictEqual(w.git("rev-parse", "fix-1"), target_commit_sha)
      assert.strictEqual((yield* w.sandbox("destroy", session_id, "--force")).code, 0)
      assert.deepEqual(remains(w), nothing)
    })
  )

  it.live("works from a directory inside the repository", () =>
    Effect.gen(function* () {
      const w = yield* world
      const inside = join(w.repository, "deep", "down")
      mkdirSync(inside, { recursive: true })
      const up = yield* w.run(["up", ".", "-b", "feature", "-p", "local", "--json"], { cwd: inside })
      assert.strictEqual(up.json().name, "app-feature")
    })
  )
})

describe.concurrent("exec", () => {
  it.live("runs in the checkout, at the commit that up named", () =>
    Effect.gen(function* () {
      const w = yield* world
      const { session_id, target_commit_sha, worktree_path } = (yield* w.sandbox(
        ...["up", w.url, "--branch", "feature", "--provider", "local", "--json"]
      )).json()
      const head = yield* w.sandbox("exec", session_id, "--", "git", "rev-parse", "HEAD")
      assert.deepEqual(
        { code: head.code, stdout: head.stdout, stderr: head.stderr },
        { code: 0, stdout: `${target_commit_sha}\n`, stderr: "" }
      )
      assert.strictEqual((yield* w.sandbox("exec", session_id, "--", "pwd")).stdout, `${worktree_path}\n`)
    })
  )

  it.live("passes arguments, both outputs, stdin, environment, directory and exit code through as they are", () =>
    Effect.gen(function* () {
      const w = yield* world
      const { name } = (yield* w.sandbox("up", w.repository, "-b", "feature", "-p", "local", "--json")).json()
      const script = 'printf "%s|" "$@"; printf "$SAID" >&2; cat; exit 7'
      const words = ["", "two words", "$HOME", "--json", "it's"]
      const said = yield* w.run(["exec", name, "-e", "SAID=a=b", "--", "sh", "-c", script, "sh", ...words], {
        stdin: "from stdin"
      })
      assert.deepEqual(
        { code: said.code, stdout: said.stdout, stderr: said.stderr },
        { code: 7, stdout: "|two words|$HOME|--json|it's|from stdin", stderr: "a=b" }
      )
      const elsewhere = yield* w.sandbox("exec", name, "--cwd", "/", "--", "pwd")
      assert.strictEqual(elsewhere.stdout, "/\n")
      assert.strictEqual((yield* w.sandbox("exec", name, "--", "sh", "-c", "kill -TERM $$")).code, 143)
    })
  )

  it.live("says 125 for a failure of its own", () =>
    Effect.gen(function* () {
      const w = yield* world
      const { name } = (yield* w.sandbox("up", w.repository, "-b", "feature", "-p", "local", "--json")).json()
      const missing = yield* w.sandbox("exec", name, "--json", "--", "no-such-command")
      assert.strictEqual(missing.code, 125)
      assert.strictEqual(missing.json().error_code, "ERR_EXEC_FAILED")
      yield* w.sandbox("down", name)
      const stopped = yield* w.sandbox("exec", name, "--json", "--", "true")
      assert.strictEqual(stopped.code, 125)
      const { error_code, next_step, session_id } = stopped.json()
      assert.deepEqual(
        { error_code, next_step },
        { error_code: "ERR_NOT_READY", next_step: `run \`sandbox resume ${session_id}\`` }
      )
    })
  )
})

describe.concurrent("the life of a session", () => {
  it.live("is told alike by list, status, history, down, resume and destroy", () =>
    Effect.gen(function* () {
      const w = yield* world
      const up = (yield* w.sandbox("up", w.repository, "-b", "feature", "-p", "local", "--json")).json()
      const id = up.session_id

      const [row] = (yield* w.sandbox("list", "--json")).json().sessions
      assert.include(row, {
        session_id: id,
        name: "app-feature",
        state: "ready",
        claim: null,
        recovery: null,
        owner: row!.owner
      })
      const status = yield* w.sandbox("status", id, "--live", "--json")
      assert.strictEqual(status.code, 0)
      assert.include(status.json(), { ok: true, session_id: id, state: "ready", healthy: true, checkpoint: null })

      const down = yield* w.sandbox("down", id, "--json")
      assert.strictEqual(down.code, 0, down.stderr)
      const { checkpoint, persisted_at, state_transitions, stopped_at } = down.json()
      assert.strictEqual(checkpoint?.verified, true)
      assert.match(checkpoint!.digest, /^[0-9a-f]{64}$/)
      assert.isTrue(stopped_at <= persisted_at)
      const states = ["requested", "provisioning", "syncing", "ready", "stopping", "persisting", "stopped"]
      assert.deepEqual(
        state_transitions.map(({ to }) => to),
        states
      )

      const stopped = yield* w.sandbox("status", id, "--json")
      assert.strictEqual(stopped.code, 4)
      assert.include(stopped.json(), { ok: true, state: "stopped", healthy: false, persisted_at })

      const resumed = yield* w.sandbox("resume", id, "--json")
      assert.strictEqual(resumed.code, 0, resumed.stderr)
      assert.include(resumed.json(), { state: "ready", session_id: id, worktree_path: up.worktree_path })
      assert.include((yield* w.sandbox("resume", id, "--json")).json(), { ok: true, already: true, operation_id: null })

      const refused = yield* w.sandbox("destroy", id, "--json")
      assert.strictEqual(refused.code, 1)
      assert.include(refused.json(), { error_code: "ERR_FORCE_REQUIRED", session_id: id, state: "ready" })
      const destroyed = yield* w.sandbox("destroy", id, "--force", "--json")
      assert.strictEqual(destroyed.code, 0, destroyed.stderr)
      assert.strictEqual(destroyed.json().state, "destroyed")

      const history = (yield* w.sandbox("history", id, "--json")).json()
      assert.deepEqual(
        history.state_transitions.map(({ to }) => to),
        [
          ...states,
          "provisioning",
          "syncing",
          "ready",
          "stopping",
          "persisting",
          "stopped",
          "tearing_down",
          "destroyed"
        ]
      )
      assert.deepEqual(
        history.operations.map(({ attempt, status, verb }) => `${verb} ${status} ${attempt}`),
        ["up succeeded 1", "down succeeded 1", "resume succeeded 1", "destroy succeeded 1"]
      )
      assert.deepEqual(remains(w), nothing)
      assert.strictEqual((yield* w.sandbox("status", id, "--json")).code, 4)
      assert.strictEqual((yield* w.sandbox("up", w.repository, "-b", "feature", "-p", "local")).code, 0)
    })
  )

  it.live("is told to people in a few aligned lines, with the command that goes on", () =>
    Effect.gen(function* () {
      const w = yield* world
      assert.strictEqual(
        (yield* w.sandbox("list")).stdout,
        "No sessions. Make one: sandbox up <repository> --branch <branch> --provider local\n"
      )
      const up = yield* w.sandbox("up", w.repository, "-b", "feature", "-p", "local")
      const [first, ...facts] = up.stdout.split("\n")
      assert.strictEqual(first, "app-feature  ready")
      const id = /sbx_\w+/.exec(up.stdout)?.[0] ?? ""
      assert.deepEqual(
        facts.map((line) => line.trim().split(/ +/)[0]),
        ["id", "provider", "branch", "commit", "worktree", "next:", ""]
      )
      const list = yield* w.sandbox("list")
      assert.match(list.stdout, new RegExp(`^NAME .*\\napp-feature  ready  local     feature  \\d+s +${id}\\n$`))
      assert.match((yield* w.sandbox("status", id)).stdout, /^app-feature {2}ready\n {2}id +sbx_/)
      const down = yield* w.sandbox("down", id)
      assert.match(down.stdout, /^app-feature {2}stopped\n[\s\S]*next: sandbox resume app-feature\n$/)
      assert.strictEqual((yield* w.sandbox("down", id)).stdout.split("\n")[0], "app-feature  stopped (already)")
      const status = yield* w.sandbox("status", id)
      assert.strictEqual(status.code, 4)
      assert.match(status.stdout, /^app-feature {2}stopped\n/)
      assert.match((yield* w.sandbox("resume", id)).stdout, /^app-feature {2}ready\n/)
      assert.match(
        (yield* w.sandbox("destroy", id, "--force")).stdout,
        /^app-feature {2}destroyed\n {2}work kept {2}.* as (ckp_\w+)\nnext: sandbox up --from-checkpoint \1 --provider local\n$/
      )
      assert.match((yield* w.sandbox("destroy", id)).stdout, /^app-feature {2}destroyed \(already\)\n {2}work kept/)
      assert.match((yield* w.sandbox("history", id)).stdout, /WHEN +WHAT +OPERATION\n.*nothing -> requested/)
    })
  )

  it.live("is found by name, by id, and by the start of its id", () =>
    Effect.gen(function* () {
      const w = yield* world
      const up = (name: string) =>
        w.sandbox("up", w.repository, "-b", "feature", "--name", name, "-p", "local", "--json")
      const { session_id: one } = (yield* up("one")).json()
      const { session_id: two } = (yield* up("two")).json()
      const found = Effect.fnUntraced(function* (reference: string) {
        return (yield* w.sandbox("status", reference, "--json")).json().session_id
      })
      let common = 0
      while (one[common] === two[common]) common++
      assert.strictEqual(yield* found("two"), two)
      assert.strictEqual(yield* found(one), one)
      assert.strictEqual(yield* found(one.slice(0, common + 1)), one)
      const ambiguous = yield* w.sandbox("status", one.slice(0, common), "--json")
      assert.strictEqual(ambiguous.code, 1)
      assert.include(ambiguous.json(), {
        error_code: "ERR_INVALID_ARGUMENT",
        cause: `${one.slice(0, common)} is the start of 2 session ids`
      })
    })
  )

  it.live("keeps the work in the checkout byte for byte over down and resume", () =>
    Effect.gen(function* () {
      const w = yield* world
      const { session_id, worktree_path } = (yield* w.sandbox(
        ...["up", w.repository, "-b", "feature", "-p", "local", "--json"]
      )).json()
      const bytes = Uint8Array.from({ length: 70_000 }, (_, n) => (n * 7919) % 256)
      const inside = (...args: ReadonlyArray<string>) => w.git("-C", worktree_path, ...args)
      writeFileSync(join(worktree_path, "binary"), bytes)
      writeFileSync(join(worktree_path, "src.txt"), "changed and not staged\n")
      writeFileSync(join(worktree_path, "staged.txt"), "staged\n", { mode: 0o755 })
      symlinkSync("nowhere", join(worktree_path, "link"))
      inside("add", "staged.txt")
      inside("commit", "--quiet", "--message", "in the session", "--allow-empty")
      writeFileSync(join(worktree_path, "staged.txt"), "changed after staging\n")
      const seen = () => [
        inside("rev-parse", "HEAD"),
        inside("status", "--porcelain=v2", "--branch"),
        inside("ls-files", "--stage"),
        readFileSync(join(worktree_path, "binary")).toString("base64"),
        readFileSync(join(worktree_path, "src.txt"), "utf8"),
        readFileSync(join(worktree_path, "staged.txt"), "utf8")
      ]
      const before = seen()
      assert.strictEqual((yield* w.sandbox("down", session_id)).code, 0)
      assert.deepEqual(seen(), before)
      const resumed = (yield* w.sandbox("resume", session_id, "--json")).json()
      assert.strictEqual(resumed.worktree_path, worktree_path)
      assert.deepEqual(seen(), before)
    })
  )

  it.live("ends with work that is in no checkpoint only when that is given up by name", () =>
    Effect.gen(function* () {
      const w = yield* world
      const up = (yield* w.sandbox("up", w.repository, "-b", "main", "-p", "local", "--json")).json()
      writeFileSync(join(up.worktree_path, "precious"), "work")
      const before = remains(w)
      const refused = yield* w.sandbox("destroy", up.session_id, "--force", "--no-persist", "--json")
      assert.strictEqual(refused.code, 1, refused.stdout)
      assert.strictEqual(refused.json().error_code, "ERR_DATA_LOSS_UNCONFIRMED")
      assert.include(refused.json().next_step, "--confirm-data-loss")
      assert.deepEqual(remains(w), before)
      yield* w.sandbox("down", up.session_id)
      // what was saved then is not what is there now
      writeFileSync(join(up.worktree_path, "precious"), "more work")
      const changed = yield* w.sandbox("destroy", up.session_id, "--json")
      assert.strictEqual(changed.code, 1, changed.stdout)
      assert.strictEqual(changed.json().error_code, "ERR_DATA_LOSS_UNCONFIRMED")
      assert.strictEqual(readFileSync(join(up.worktree_path, "precious"), "utf8"), "more work")
      const done = yield* w.sandbox("destroy", up.session_id, "--confirm-data-loss", "--json")
      assert.strictEqual(done.code, 0, done.stdout)
      assert.deepEqual(remains(w), nothing)
    })
  )
})

describe.concurrent("a checkout that its user locked", () => {
  it.live("I-89 stays, with all that is in it, and keeps destroy from being done until it is unlocked", () =>
    Effect.gen(function* () {
      const w = yield* world
      const up = (yield* w.sandbox("up", w.repository, "-b", "feature", "-p", "local", "--json")).json()
      const checkout = up.worktree_path
      w.git("worktree", "lock", "--reason", "on a stick", checkout)
      writeFileSync(join(checkout, "precious"), "work")
      const destroy = (...more: ReadonlyArray<string>) => w.sandbox("destroy", up.session_id, ...more, "--json")
      const unlock = `git -C ${w.repository} worktree unlock ${checkout}`
      for (const flags of [["--force", "--confirm-data-loss"], ["--confirm-data-loss"]]) {
        const refused = assertFailure(yield* destroy(...flags), "ERR_DESTROY_FAILED")
        assert.strictEqual(refused.state, "tearing_down")
        assert.include(refused.cause, unlock)
        assert.strictEqual(readFileSync(join(checkout, "precious"), "utf8"), "work")
        const status = (yield* w.sandbox("status", up.session_id, "--json")).json()
        assert.deepInclude(status, { state: "tearing_down", claim: null })
        assert.strictEqual(status.last_error?.error_code, "ERR_DESTROY_FAILED")
        assert.include(status.last_error?.cause, "on a stick")
        assert.strictEqual(status.recovery?.command, `sandbox destroy ${up.session_id}`)
      }
      const [program = "", ...args] = unlock.split(" ")
      execFileSync(program, args)
      const done = yield* destroy("--confirm-data-loss")
      assert.strictEqual(done.code, 0, done.stdout)
      assert.strictEqual(done.json().state, "destroyed")
      assert.deepEqual(remains(w), nothing)
    })
  )
})

describe.concurrent("down --all", () => {
  it.live("halts every session that is up and leaves the others alone", () =>
    Effect.gen(function* () {
      const w = yield* world
      const ids: Array<string> = []
      for (const name of ["one", "two", "three"]) {
        const up = yield* w.sandbox("up", w.repository, "-b", "main", "-n", name, "-p", "local", "--json")
        ids.push(up.json().session_id)
      }
      yield* w.sandbox("down", "two")
      const down = yield* w.sandbox("down", "--all", "--json")
      assert.strictEqual(down.code, 0, down.stdout)
      assert.deepEqual(
        down
          .json()
          .sessions.map(({ session_id }) => session_id)
          .sort(),
        [ids[0], ids[2]].sort()
      )
      assert.strictEqual((yield* w.sandbox("down", "--all")).stdout, "Nothing was up.\n")
      const both = yield* w.sandbox("down", "one", "--all", "--json")
      assert.strictEqual(both.code, 1)
      assert.strictEqual(both.json().error_code, "ERR_INVALID_ARGUMENT")
      const neither = yield* w.sandbox("down", "--json")
      assert.strictEqual(neither.json().cause, "no session was named, and this directory belongs to none")
    })
  )
})
