/** `sandbox switch`: what it is asked, what it answers, and what its configuration is good for. */
import { execFileSync } from "node:child_process"
import { existsSync, mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { assert, describe, it, layer } from "@effect/vitest"
import { createClient, type ProgressEvent } from "@org/sandbox-core/promise"
import { Effect } from "effect"
import { describeDocker } from "./docker.ts"
import type { Answer } from "./support/Answer.ts"
import { Connected, providers, rejection } from "./support/client.ts"
import { assertFailure } from "./support/contract.ts"
import { dockerWorld } from "./support/dockerWorld.ts"
import { heldGit } from "./support/heldGit.ts"
import { dump, remains, type World, world } from "./support/sandbox.ts"
import { terminal } from "./support/terminal.ts"

interface Orphan {
  readonly provider: string
  readonly key: string
  readonly reason: string
}

/** What a switch answers, and what it would do. */
type Switched = Omit<Answer, "checkpoint" | "details"> & {
  readonly from: string
  readonly to: string
  readonly noop?: true
  readonly checkpoint: string | null
  readonly orphans: ReadonlyArray<Orphan>
  readonly dry_run: boolean
  readonly phases: ReadonlyArray<string>
  readonly work: { readonly dirty_files: number; readonly unpublished_commits: number; readonly bytes: number } | null
  readonly stays: ReadonlyArray<string>
  readonly needs_confirmation: boolean
  readonly details: { readonly rolled_back?: boolean; readonly stays?: ReadonlyArray<string> }
}

/** Beside `local` there is a provider `elsewhere` on this host. `more` is the rest of the user's configuration. */
const configure = (w: World, more: object = {}): void => {
  mkdirSync(join(w.directory, "home/.config/sandbox"), { recursive: true })
  writeFileSync(
    join(w.directory, "home/.config/sandbox/config.yaml"),
    JSON.stringify({ providers: { elsewhere: { use: "local" } }, ...more })
  )
}

const answer = Effect.fnUntraced(function* (w: World, ...args: ReadonlyArray<string>) {
  return (yield* w.sandbox(...args, "--json")).json() as unknown as Switched
})

const done = Effect.fnUntraced(function* (w: World, ...args: ReadonlyArray<string>) {
  const answered = yield* answer(w, ...args)
  assert.isTrue(answered.ok, `${args.join(" ")}: ${JSON.stringify(answered)}`)
  return answered
})

/** A world with a session `app` on `local` that holds work of its own. */
const upWith = Effect.fnUntraced(function* (more: object = {}) {
  const w = yield* world
  configure(w, more)
  const up = yield* done(w, "up", w.repository, "-b", "feature", "-p", "local", "-n", "app")
  writeFileSync(join(up.worktree_path, "src.txt"), "changed\n")
  writeFileSync(join(up.worktree_path, "new.txt"), "new\n")
  return { w, up }
})

const movedWork = ({ worktree_path }: Pick<Answer, "worktree_path">) =>
  ["src.txt", "new.txt"].map((file) => readFileSync(join(worktree_path, file), "utf8"))

describe.concurrent("switch", () => {
  it.live("moves a session with its work and answers where it was and is", () =>
    Effect.gen(function* () {
      const { up, w } = yield* upWith()
      const { code, stderr, stdout, ...outcome } = yield* w.sandbox("switch", "app", "--to", "elsewhere", "--json")
      assert.strictEqual(code, 0, stdout)
      const moved = outcome.json() as unknown as Switched
      const { name, session_id, target_commit_sha } = up
      const same = { name, session_id, target_commit_sha }
      assert.deepInclude(moved, {
        ok: true,
        state: "ready",
        from: "local",
        to: "elsewhere",
        provider: "elsewhere",
        ...same
      })
      assert.deepEqual(moved.orphans, [])
      assert.match(moved.checkpoint!, /^ckp_/)
      for (const key of Object.keys(moved)) assert.match(key, /^[a-z][a-z0-9_]*$/)
      assert.deepEqual(movedWork(moved), ["changed\n", "new\n"])
      assert.include(stderr, "switch: capture")
      assert.strictEqual(remains(w).boxes.length, 1)
      const status = yield* answer(w, "status", "app")
      assert.deepInclude(status, { provider: "elsewhere", state: "ready", claim: null, session_id })
      const replies = yield* w.sandbox("exec", "app", "--", "cat", "new.txt")
      assert.strictEqual(replies.stdout, "new\n")
      // the way back, by the other name
      assert.deepInclude(yield* done(w, "move", "app", "--to", "local"), {
        from: "elsewhere",
        to: "local",
        state: "ready"
      })
    })
  )

  it.live("tells people where it was moved to, and from where", () =>
    Effect.gen(function* () {
      const { w } = yield* upWith()
      const moved = yield* w.sandbox("switch", "app", "--to", "elsewhere")
      assert.strictEqual(moved.code, 0, moved.stderr)
      const lines = moved.stdout.trimEnd().split("\n")
      assert.strictEqual(lines[0], "app  ready")
      assert.include(lines, "moved from local to elsewhere")
      assert.strictEqual(lines.at(-1), "next: sandbox shell app")
      const again = yield* w.sandbox("switch", "app", "--to", "elsewhere")
      assert.strictEqual(again.stdout, "app  ready, and on elsewhere already: nothing was done\n")
    })
  )

  it.live("to where the session is does nothing", () =>
    Effect.gen(function* () {
      const { w } = yield* upWith()
      const before = dump(w.ledger)
      for (const to of ["local", "LOCAL", " Local "]) {
        for (const more of [[], ["--detach"]]) {
          const same = yield* done(w, "switch", "app", "--to", to, ...more)
          assert.deepInclude(same, { noop: true, operation_id: null, state: "ready", from: "local", to: "local" })
        }
      }
      assert.deepEqual(dump(w.ledger), before)
      assert.isFalse(existsSync(join(w.state, "operations")))
    })
  )

  it.live(
    "--dry-run says what would be done, and does nothing",
    () =>
      Effect.gen(function* () {
        const { up, w } = yield* upWith({ durability: { volume: "persist" } })
        const before = [dump(w.ledger), remains(w)]
        for (const more of [[], ["--detach"]]) {
          const plan = yield* done(w, "switch", "app", "--to", "elsewhere", "--dry-run", ...more)
          assert.deepInclude(plan, {
            ok: true,
            dry_run: true,
            from: "local",
            to: "elsewhere",
            state: "ready",
            name: "app"
          })
          assert.strictEqual(plan.session_id, up.session_id)
          assert.includeMembers([...plan.phases], ["capture", "stop", "provision"])
          assert.isBelow(plan.phases.indexOf("capture"), plan.phases.indexOf("stop"))
          assert.isBelow(plan.phases.indexOf("stop"), plan.phases.indexOf("provision"))
          assert.deepEqual(plan.work, { dirty_files: 2, unpublished_commits: 0, bytes: 12 })
          assert.isNotEmpty(plan.stays)
          assert.isTrue(plan.needs_confirmation)
        }
        const told = yield* w.sandbox("switch", "app", "--to", "elsewhere", "--dry-run")
        assert.strictEqual(told.code, 0)
        assert.match(told.stdout, /^app {2}ready, from local to elsewhere\n\n {2}1 +capture\n {2}2 +stop\n/)
        assert.include(told.stdout, "\ntravels: 0 commits and 2 changed files, 12 B\nstays: ")
        assert.include(told.stdout, "nothing was done; next: sandbox switch app --to elsewhere --confirm-data-loss\n")
        const there = yield* done(w, "switch", "app", "--to", "local", "--dry-run")
        assert.deepEqual(there.phases, [])
        assert.deepEqual([dump(w.ledger), remains(w)], before)
      }),
    120_000
  )

  it.live("refuses what it is not told properly, and changes nothing", () =>
    Effect.gen(function* () {
      const { w } = yield* upWith()
      const before = [dump(w.ledger), remains(w)]
      for (const args of [[], ["--to", ""], ["--to", "  "], ["--to", "nowhere"], ["--to", "docker;"]]) {
        for (const more of [[], ["--dry-run"], ["--detach"]]) {
          const refused = assertFailure(
            yield* w.sandbox("switch", "app", ...args, ...more, "--json"),
            "ERR_INVALID_ARGUMENT"
          )
          assert.deepEqual(refused.details.registered?.toSorted(), ["docker", "elsewhere", "local"])
          assert.strictEqual(refused.details.field, "to")
          assert.include(refused.next_step, "--to")
          assert.include(refused.next_step, "elsewhere")
        }
      }
      for (const flag of ["--on-failure", "--on-stop-failure"]) {
        const wrong = yield* w.sandbox("switch", "app", "--to", "elsewhere", flag, "panic", "--json")
        assert.strictEqual(assertFailure(wrong, "ERR_INVALID_ARGUMENT").details.field, flag.slice(2))
      }
      assertFailure(yield* w.sandbox("switch", "nobody", "--to", "elsewhere", "--json"), "ERR_SESSION_NOT_FOUND")
      assertFailure(
        yield* w.sandbox("switch", "app", "--to", "elsewhere", "--principal", "somebody", "--json"),
        "ERR_SESSION_NOT_FOUND"
      )
      // what is chosen for `up` by default does not say where to go
      const unsaid = yield* w.run(["switch", "app", "--json"], { env: { SANDBOX_PROVIDER: "elsewhere" } })
      assert.strictEqual(assertFailure(unsaid, "ERR_INVALID_ARGUMENT").details.field, "to")
      assert.deepEqual([dump(w.ledger), remains(w)], before)
    })
  )

  it.live("means the session of the current directory where none is named", () =>
    Effect.gen(function* () {
      const { up, w } = yield* upWith()
      const moved = yield* w.run(["switch", "--to", "elsewhere", "--json"], { cwd: up.worktree_path })
      assert.deepInclude(moved.json(), { ok: true, session_id: up.session_id, provider: "elsewhere" })
    })
  )

  it.live("--client-request-id answers a repeated request again, and --wait one that is still running", () =>
    Effect.gen(function* () {
      const { w } = yield* upWith()
      const git = heldGit(w, { hold: "worktree add" })
      const args = ["switch", "app", "--to", "elsewhere", "--client-request-id", "k"]
      const running = yield* w.start([...args, "--json"], { env: git.env })
      yield* git.held()
      assertFailure(yield* w.sandbox(...args, "--json"), "ERR_OPERATION_CONFLICT")
      const other = yield* w.sandbox("switch", "app", "--to", "elsewhere", "--json")
      assert.isTrue(assertFailure(other, "ERR_ALREADY_SWITCHING").retryable)
      const waiting = yield* w.start([...args, "--wait", "--json"])
      yield* Effect.sleep("1 second")
      assert.isFalse(waiting.hasEnded())
      git.open()
      const moved = (yield* running.ended).json() as unknown as Switched
      assert.isTrue(moved.ok, JSON.stringify(moved))
      // at that moment the old box may be there still
      const { orphans: _, ...replayed } = (yield* waiting.ended).json() as unknown as Switched
      const { orphans, ...first } = moved
      assert.deepEqual(replayed, { ...first, replayed: true })
      assert.deepEqual(orphans, [])
      assert.deepEqual(yield* answer(w, ...args), { ...moved, replayed: true })
      assertFailure(
        yield* w.sandbox("switch", "app", "--to", "local", "--client-request-id", "k", "--json"),
        "ERR_IDEMPOTENCY_MISMATCH"
      )
    })
  )

  it.live("--confirm-data-loss gives up what cannot travel", () =>
    Effect.gen(function* () {
      const { w } = yield* upWith({ durability: { volume: "persist" } })
      const refused = yield* w.sandbox("switch", "app", "--to", "elsewhere", "--json")
      const { details, next_step } = assertFailure(refused, "ERR_DATA_LOSS_UNCONFIRMED") as unknown as Switched
      assert.isNotEmpty(details.stays)
      assert.include(next_step, "--confirm-data-loss")
      const moved = yield* done(w, "switch", "app", "--to", "elsewhere", "--confirm-data-loss")
      assert.strictEqual(moved.provider, "elsewhere")
    })
  )

  it.live("rolls back when it is interrupted or takes longer than --timeout", () =>
    Effect.gen(function* () {
      const { up, w } = yield* upWith()
      const git = heldGit(w, { hold: "worktree add" })
      const running = yield* w.start(["switch", "app", "--to", "elsewhere", "--json"], { env: git.env })
      yield* git.held()
      running.signal("SIGINT")
      assertFailure(yield* running.ended, "ERR_INTERRUPTED")
      assert.deepInclude(yield* answer(w, "status", "app"), { state: "ready", provider: "local", claim: null })
      const late = yield* w.run(["switch", "app", "--to", "elsewhere", "--timeout", "10s", "--json"], { env: git.env })
      assertFailure(late, "ERR_TIMEOUT")
      assert.deepInclude(yield* answer(w, "status", "app"), { state: "ready", provider: "local", claim: null })
      assert.deepEqual(movedWork(up), ["changed\n", "new\n"])
    })
  )
})

/** The hook fails once, wherever it runs first after the session was up. */
const failing = (w: World) => {
  const flag = join(w.directory, "fail")
  return {
    hooks: { post_up: `if [ -e ${flag} ]; then rm ${flag}; exit 1; fi` },
    arm: () => writeFileSync(flag, "")
  }
}

describe.concurrent("what becomes of a switch that fails", () => {
  for (const { args, configured, env, ends, title } of [
    { title: "goes back by itself", args: [], configured: {}, env: {}, ends: "ready" },
    { title: "--on-failure hold stays", args: ["--on-failure", "hold"], configured: {}, env: {}, ends: "failed" },
    {
      title: "switch.on_failure: hold stays",
      args: [],
      configured: { switch: { on_failure: "hold" } },
      env: {},
      ends: "failed"
    },
    {
      title: "SANDBOX_SWITCH_ON_FAILURE=hold stays",
      args: [],
      configured: {},
      env: { SANDBOX_SWITCH_ON_FAILURE: "hold" },
      ends: "failed"
    },
    {
      title: "--on-failure restore wins over the configuration",
      args: ["--on-failure", "restore"],
      configured: { switch: { on_failure: "hold" } },
      env: {},
      ends: "ready"
    }
  ] as const) {
    it.live(
      title,
      () =>
        Effect.gen(function* () {
          const w = yield* world
          const { arm, hooks } = failing(w)
          configure(w, { hooks, ...configured })
          const up = yield* done(w, "up", w.repository, "-b", "feature", "-p", "local", "-n", "app")
          writeFileSync(join(up.worktree_path, "new.txt"), "new\n")
          arm()
          const outcome = yield* w.run(["switch", "app", "--to", "elsewhere", ...args, "--json"], { env })
          const failed = assertFailure(outcome, "ERR_HOOK_FAILED") as unknown as Switched
          assert.strictEqual(failed.details.rolled_back === true, ends === "ready", outcome.stdout)
          assert.notInclude(outcome.stderr, "no effect")
          const provider = ends === "ready" ? "local" : "elsewhere"
          assert.deepInclude(yield* answer(w, "status", "app"), { state: ends, provider, claim: null })
          if (ends === "failed") yield* done(w, "resume", "app")
          const { stdout } = yield* w.sandbox("exec", "app", "--", "cat", "new.txt")
          assert.strictEqual(stdout, "new\n")
          assert.deepInclude(yield* answer(w, "status", "app"), { state: "ready", provider })
        }),
      120_000
    )
  }

  for (const { args, configured, title, goesOn } of [
    { title: "goes on by itself", args: [], configured: {}, goesOn: true },
    { title: "--on-stop-failure abort stays", args: ["--on-stop-failure", "abort"], configured: {}, goesOn: false },
    { title: "switch.on_stop_failure: abort stays", args: [], configured: { on_stop_failure: "abort" }, goesOn: false },
    {
      title: "--on-stop-failure record wins over the configuration",
      args: ["--on-stop-failure", "record"],
      configured: { on_stop_failure: "abort" },
      goesOn: true
    }
  ] as const) {
    it.live(
      `where the old box cannot be halted: ${title}`,
      () =>
        Effect.gen(function* () {
          const { up, w } = yield* upWith({ timeouts: { stop: "1s" }, switch: configured })
          const [box] = remains(w).boxes
          const lock = join(w.state, "local", `.${box}.lock`)
          // as somebody holds it who cannot be asked
          symlinkSync("held", lock)
          const outcome = yield* w.sandbox("switch", "app", "--to", "elsewhere", ...args, "--json")
          const status = yield* answer(w, "status", "app")
          if (!goesOn) {
            assertFailure(outcome, "ERR_STOP_FAILED")
            assert.deepInclude(status, { state: "ready", provider: "local", claim: null })
            assert.deepEqual(movedWork(up), ["changed\n", "new\n"])
            return
          }
          const moved = outcome.json() as unknown as Switched
          assert.isTrue(moved.ok, outcome.stdout)
          assert.deepInclude(status, { state: "ready", provider: "elsewhere", claim: null })
          assert.deepEqual(movedWork(moved), ["changed\n", "new\n"])
          const key = `${up.session_id}.g1`
          const [left, ...others] = moved.orphans
          assert.deepEqual(others, [])
          assert.deepInclude(left, { provider: "local", reason: "stop_exhausted", key })
          const told = yield* w.sandbox("switch", "app", "--to", "elsewhere", "--client-request-id", "later")
          assert.include(told.stdout, "nothing was done")
          rmSync(lock)
          assert.strictEqual((yield* w.sandbox("gc")).code, 0)
          assert.strictEqual(remains(w).boxes.length, 1)
        }),
      120_000
    )
  }
})

describe.concurrent("the verb", () => {
  it.live(
    "is in the help with its other name, and what is only for ourselves is not",
    () =>
      Effect.gen(function* () {
        const w = yield* world
        const help = yield* w.sandbox("--help")
        assert.match(help.stdout, /^ +switch, move +Move a session to another provider$/m)
        assert.notMatch(help.stdout, /\boperate\b/)
        const own = yield* w.sandbox("switch", "--help")
        for (const flag of [
          "--to",
          "--dry-run",
          "--confirm-data-loss",
          "--on-stop-failure",
          "--on-failure",
          "--detach"
        ]) {
          assert.include(own.stdout, flag)
        }
        for (const shell of ["bash", "zsh", "fish"]) {
          const { stdout } = yield* w.sandbox("--completions", shell)
          assert.include(stdout, "on-stop-failure")
          assert.notMatch(stdout, /\boperate\b/)
        }
        const close = assertFailure(yield* w.sandbox("operat", "--json"), "ERR_INVALID_ARGUMENT")
        assert.notMatch(close.cause, /\boperate\b/)
      }),
    120_000
  )
})

layer(Connected.layer, { excludeTestServices: true })("the promise client's switch", (it) => {
  it.effect("plans, refuses, moves, and tells how much has gone by", () =>
    Effect.gen(function* () {
      const { w } = yield* Connected
      const events: Array<ProgressEvent> = []
      const client = yield* Effect.acquireRelease(
        Effect.sync(() =>
          createClient({
            providers: { ...providers, elsewhere: providers.local },
            onEvent: (event) => void events.push(event)
          })
        ),
        (client) => Effect.promise(client.close)
      )
      const up = yield* Effect.promise(() =>
        client.up({ repository: w.repository, branch: "feature", provider: "local", name: "app" })
      )
      writeFileSync(join(up.worktreePath!, "new.txt"), "new\n")
      const before = dump(w.ledger)
      const plan = yield* Effect.promise(() => client.planSwitch({ session: "app", to: "elsewhere" }))
      assert.deepInclude(plan, { sessionId: up.sessionId, from: "local", to: "elsewhere", needsConfirmation: false })
      assert.deepEqual(plan.work, { dirtyFiles: 1, unpublishedCommits: 0, bytes: 4 })
      const same = yield* Effect.promise(() => client.switchProvider({ session: "app", to: "LOCAL" }))
      assert.deepInclude(same, { noop: true, operationId: null, provider: "local" })
      const refused = yield* rejection(client.switchProvider({ session: "app", to: "nowhere" }))
      assert.deepInclude(refused, { code: "ERR_INVALID_ARGUMENT" })
      assert.deepEqual(dump(w.ledger), before)

      const moved = yield* Effect.promise(() => client.switchProvider({ session: "app", to: "elsewhere" }))
      assert.deepInclude(moved, { state: "ready", sessionId: up.sessionId, provider: "elsewhere", orphans: [] })
      assert.strictEqual(readFileSync(join(moved.worktreePath!, "new.txt"), "utf8"), "new\n")
      const told = events.filter(({ operationId }) => operationId === moved.operationId)
      const captured = told.findIndex((event) => event.type === "transfer")
      assert.isAbove(
        captured,
        told.findIndex((event) => event.type === "phase" && event.phase === "capture")
      )
      assert.isTrue(told.every((event) => event.type !== "transfer" || event.bytes > 0))
    })
  )
})

describeDocker("switch between this host and an engine", () => {
  it.live(
    "moves the work there and back, and says on a terminal how much of it",
    () =>
      Effect.gen(function* () {
        const w = yield* dockerWorld()
        const up = yield* done(w, "up", w.repository, "-b", "feature", "-p", "local", "-n", "app")
        writeFileSync(join(up.worktree_path, "new.txt"), "new\n")
        execFileSync("dd", ["if=/dev/urandom", "of=large", "bs=1000000", "count=3"], {
          cwd: up.worktree_path,
          stdio: "ignore"
        })
        const screen = yield* terminal(w, "switch", "app", "--to", "docker")
        yield* screen.saw("switch: stop (")
        assert.match(screen.text(), /switch: capture \(3\.\d MB, \d+\.\d s\)/)
        assert.strictEqual(yield* screen.ended, 0)
        assert.include(screen.text(), "moved from local to docker")
        assert.deepEqual(remains(w).boxes, [])
        const inside = yield* w.sandbox("exec", "app", "--", "sh", "-c", "cat new.txt; wc -c < large; pwd")
        assert.strictEqual(inside.stdout, "new\n3000000\n/sandbox/work\n")
        const back = yield* done(w, "switch", "app", "--to", "local")
        assert.strictEqual(readFileSync(join(back.worktree_path, "new.txt"), "utf8"), "new\n")
        assert.deepInclude(back, { from: "docker", to: "local", orphans: [] })
      }).pipe(Effect.scoped),
    180_000
  )
})
