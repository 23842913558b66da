/** `sandbox switch --detach`: the process that answers, the one that goes on, and what becomes of either when the other dies. */
import { execFileSync } from "node:child_process"
import { existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import type { Answer } from "./support/Answer.ts"
import { assertErrorObject, assertFailure } from "./support/contract.ts"
import { heldGit } from "./support/heldGit.ts"
import { dump, eventually, query, remains, type StartOptions, type World, world } from "./support/sandbox.ts"

type Detached = Omit<Answer, "details"> & {
  readonly detached?: true
  readonly from: string
  readonly to: string
  readonly log: string
  readonly seq: number
  readonly details: { readonly log?: string; readonly rolled_back?: boolean }
}

const secret = "canary-4711"

/** A world with a session `app` whose hook waits before its box is left, until `open`. */
const begin = Effect.fnUntraced(function* () {
  const w = yield* world
  const [gate, waiting] = [join(w.directory, "open"), join(w.directory, "waiting")]
  mkdirSync(join(w.directory, "home/.config/sandbox"), { recursive: true })
  const configuration = {
    providers: { elsewhere: { use: "local" } },
    secrets: [{ name: "CANARY", from: "env:CANARY" }],
    hooks: { pre_down: `echo waits; : > ${waiting}; while [ ! -e ${gate} ]; do sleep 0.02; done` }
  }
  writeFileSync(join(w.directory, "home/.config/sandbox/config.yaml"), JSON.stringify(configuration))
  const env = { CANARY: secret }
  const run = (args: ReadonlyArray<string>, options: StartOptions = {}) =>
    w.run(args, { ...options, env: { ...env, ...options.env } })
  const answer = Effect.fnUntraced(function* (...args: ReadonlyArray<string>) {
    return (yield* run([...args, "--json"])).json() as unknown as Detached
  })
  const up = yield* answer("up", w.repository, "-b", "feature", "-p", "local", "-n", "app")
  assert.isTrue(up.ok, JSON.stringify(up))
  writeFileSync(join(up.worktree_path, "new.txt"), "new\n")
  return {
    w,
    up,
    env,
    run,
    answer,
    detach: answer("switch", "app", "--to", "elsewhere", "--detach"),
    held: eventually("the hook waits", () => existsSync(waiting)),
    open: () => writeFileSync(gate, "")
  }
})

/** Processes of a world that go on with an operation, and how they were started. */
const operators = (w: World): ReadonlyArray<{ readonly pid: number; readonly argv: string }> => {
  const ours = remains(w).processes
  return execFileSync("ps", ["axww", "-o", "pid=,args="], { encoding: "utf8", maxBuffer: 2 ** 28 })
    .split("\n")
    .map((line) => ({ pid: Number.parseInt(line, 10), argv: line.trim().replace(/^\d+ /, "") }))
    .filter(({ argv, pid }) => ours.includes(pid) && / operate op_/.test(argv) && !argv.startsWith("sh "))
}

const lastLine = (log: string): Detached => JSON.parse(readFileSync(log, "utf8").trimEnd().split("\n").at(-1)!)

const gone = (w: World) => eventually("nobody goes on with it", () => operators(w).length === 0)

// one after the other: who takes over has five seconds for it
describe("switch --detach", () => {
  it.live("answers once another process has taken over, which is followed until the session is ready", () =>
    Effect.gen(function* () {
      const { answer, detach, held, open, up, w } = yield* begin()
      const begun = yield* detach
      assert.deepInclude(begun, { ok: true, detached: true, state: "switching", from: "local", to: "elsewhere" })
      assert.deepInclude(begun, { session_id: up.session_id, name: "app", provider: "local" })
      assert.strictEqual(begun.log, join(w.state, "operations", `${begun.operation_id}.log`))
      yield* held
      // it goes on without whoever started it
      const [operator, ...others] = operators(w)
      assert.deepEqual(others, [])
      const { claim } = yield* answer("status", "app")
      assert.deepInclude(claim, { kind: "switch", operation_id: begun.operation_id!, stale: false })
      assert.strictEqual(claim!.holder.pid, operator!.pid)
      const session = execFileSync("ps", ["-o", "sid=", "-p", String(operator!.pid)], { encoding: "utf8" })
      assert.strictEqual(Number(session), operator!.pid, "a session of its own")

      const watching = yield* w.start(["status", "app", "--watch", "--json"])
      let shown = ""
      watching.stdout.on("data", (text: string) => (shown += text))
      yield* eventually("it is seen", () => shown.includes("\n"))
      open()
      const { code, stdout } = yield* watching.ended
      assert.strictEqual(code, 0, stdout)
      const lines = stdout
        .trimEnd()
        .split("\n")
        .map((line): Detached => JSON.parse(line))
      assert.deepInclude(lines[0], { seq: 0, state: "switching" })
      assert.deepInclude(lines.at(-1), { state: "ready", provider: "elsewhere", healthy: true })
      yield* gone(w)
      const moved = lastLine(begun.log)
      assert.deepInclude(moved, { ok: true, operation_id: begun.operation_id, provider: "elsewhere" })
      assert.strictEqual(readFileSync(join(moved.worktree_path, "new.txt"), "utf8"), "new\n")
      assert.strictEqual(remains(w).boxes.length, 1)
    })
  )

  it.live(
    "keeps what is secret to the two processes: not in arguments, not in the environment, not in the log",
    () =>
      Effect.gen(function* () {
        const { env, held, open, run, w } = yield* begin()
        const ledger = join(w.directory, "other-place", "ledger.db")
        mkdirSync(join(w.directory, "other-place"))
        const globals = ["--ledger", ledger, "--principal", "somebody"]
        const up = yield* run(["up", w.repository, "-b", "main", "-p", "local", "-n", "app", ...globals, "--json"])
        assert.isTrue(up.json().ok, up.stdout)
        const outcome = yield* run(["switch", "app", "--to", "elsewhere", "--detach", ...globals, "--json"])
        const { log, ok } = outcome.json() as unknown as Detached
        assert.isTrue(ok, outcome.stdout)
        yield* held
        const [operator] = operators(w)
        const environ = readFileSync(`/proc/${operator!.pid}/environ`, "utf8")
        const [{ token } = { token: "" }] = query<{ readonly token: string }>(
          ledger,
          "SELECT claim_token AS token FROM sessions"
        )
        const [kind] = token.split("_")
        assert.match(token, /^[a-z]+_\w{20,}$/)
        for (const text of [operator!.argv, environ, outcome.stdout, outcome.stderr])
          assert.notInclude(text, `${kind}_`)
        // a shared ledger's address may hold a password
        assert.notInclude(operator!.argv, ledger)
        assert.notInclude(operator!.argv, env.CANARY)
        assert.strictEqual(statSync(log).mode & 0o777, 0o600)
        assert.strictEqual(statSync(join(w.state, "operations")).mode & 0o777, 0o700)
        open()
        yield* gone(w)
        const written = readFileSync(log, "utf8")
        assert.include(written, "hook pre_down | waits")
        assert.include(written, "switch: capture")
        assert.isTrue(lastLine(log).ok, written)
        for (const text of [`${kind}_`, env.CANARY]) assert.notInclude(written, text)
        const status = yield* run(["status", "app", ...globals, "--json"])
        assert.deepInclude(status.json(), { state: "ready", provider: "elsewhere", owner: "somebody" })
      }),
    120_000
  )

  it.live("tells people how to follow it", () =>
    Effect.gen(function* () {
      const { open, run, w } = yield* begin()
      open()
      const { code, stdout } = yield* run(["switch", "app", "--to", "elsewhere", "--detach"])
      assert.strictEqual(code, 0)
      assert.match(
        stdout,
        /^app {2}\w+, from local to elsewhere: it goes on by itself\n {2}log {2}\S+\nnext: sandbox status app --watch\n$/
      )
      yield* gone(w)
      assert.strictEqual((yield* run(["status", "app", "--watch"])).stdout, "app  ready\n")
    })
  )

  it.live("repeats the same request once: refused while it runs, answered again after", () =>
    Effect.gen(function* () {
      const { answer, held, open, w } = yield* begin()
      const args = ["switch", "app", "--to", "elsewhere", "--detach", "--client-request-id", "k"]
      const begun = yield* answer(...args)
      assert.isTrue(begun.ok, JSON.stringify(begun))
      yield* held
      assert.strictEqual((yield* answer(...args)).error_code, "ERR_OPERATION_CONFLICT")
      open()
      yield* gone(w)
      const { operation_id } = begun
      assert.deepInclude(yield* answer(...args), { ok: true, operation_id, replayed: true, provider: "elsewhere" })
      assert.strictEqual(remains(w).boxes.length, 1)
    })
  )

  for (const { seen, title } of [
    { title: "when it has the claim", seen: (w: World) => remains(w).claims.length > 0 },
    { title: "when the other process is there", seen: (w: World) => operators(w).length > 0 }
  ]) {
    it.live(`killed ${title}, leaves a session that comes to its end, or says how`, () =>
      Effect.gen(function* () {
        const { answer, env, open, up, w } = yield* begin()
        open()
        const running = yield* w.start(["switch", "app", "--to", "elsewhere", "--detach"], { env })
        yield* eventually("it has begun", () => seen(w))
        running.signal("SIGKILL")
        yield* running.ended
        yield* w.run(["status", "app", "--watch"])
        yield* gone(w)
        const { claim, recovery, state } = yield* answer("status", "app")
        if (state !== "ready" || claim !== null) {
          assert.isNotNull(recovery, JSON.stringify({ claim, state }))
          const [, ...command] = recovery!.command.split(" ")
          assert.isTrue((yield* answer(...command)).ok)
        }
        const ended = yield* answer("status", "app")
        assert.deepInclude(ended, { state: "ready", claim: null, session_id: up.session_id, name: "app" })
        assert.strictEqual(readFileSync(join(ended.worktree_path, "new.txt"), "utf8"), "new\n")
        yield* answer("gc")
        assert.strictEqual(remains(w).boxes.length, 1)
      })
    )
  }

  it.live("rolls back where the other process cannot go on, and says where that has written why", () =>
    Effect.gen(function* () {
      const { answer, env, up, w } = yield* begin()
      const bin = join(w.directory, "bin")
      mkdirSync(bin)
      const configuration = join(w.directory, "home/.config/sandbox/config.yaml")
      // what the first process has read is something else when the second one looks
      const script = `#!/bin/sh\ncase "$*" in *" operate "*) echo "{" > ${configuration};; esac\nexec /bin/sh "$@"\n`
      writeFileSync(join(bin, "sh"), script, { mode: 0o755 })
      const outcome = yield* w.run(["switch", "app", "--to", "elsewhere", "--detach", "--json"], {
        env: { ...env, PATH: `${bin}:${w.env["PATH"]}` }
      })
      const failed = assertFailure(outcome, "ERR_TIMEOUT") as unknown as Detached
      assert.strictEqual(outcome.code, 2)
      assert.include(failed.next_step, failed.details.log!)
      yield* gone(w)
      const why = lastLine(failed.details.log!) as unknown as Answer
      assertErrorObject(why)
      assert.strictEqual(why.error_code, "ERR_CONFIG_INVALID")
      writeFileSync(configuration, "{}")
      assert.deepInclude(yield* answer("status", "app"), { state: "ready", provider: "local", claim: null })
      assert.strictEqual(readFileSync(join(up.worktree_path, "new.txt"), "utf8"), "new\n")
    })
  )

  it.live("rolls back where the other process cannot be started", () =>
    Effect.gen(function* () {
      const { answer, run, w } = yield* begin()
      writeFileSync(join(w.state, "operations"), "")
      const outcome = yield* run(["switch", "app", "--to", "elsewhere", "--detach", "--json"])
      assertFailure(outcome, "ERR_EXEC_FAILED")
      assert.deepInclude(yield* answer("status", "app"), { state: "ready", provider: "local", claim: null })
      assert.deepEqual(operators(w), [])
    })
  )

  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    it.live(`the process that goes on rolls back at ${signal}`, () =>
      Effect.gen(function* () {
        const { answer, env, held, open, up, w } = yield* begin()
        const git = heldGit(w, { hold: "worktree add" })
        const outcome = yield* w.run(["switch", "app", "--to", "elsewhere", "--detach", "--json"], {
          env: { ...env, ...git.env }
        })
        const begun = outcome.json() as unknown as Detached
        assert.isTrue(begun.ok, outcome.stdout)
        yield* held
        // before the old box is left, and after
        if (signal === "SIGTERM") {
          open()
          yield* git.held()
        }
        process.kill(operators(w)[0]!.pid, signal)
        yield* gone(w)
        assert.strictEqual(lastLine(begun.log).error_code, "ERR_INTERRUPTED", readFileSync(begun.log, "utf8"))
        assert.deepInclude(yield* answer("status", "app"), { state: "ready", provider: "local", claim: null })
        assert.strictEqual(readFileSync(join(up.worktree_path, "new.txt"), "utf8"), "new\n")
        assert.strictEqual(remains(w).boxes.length, 1)
      })
    )
  }

  it.live(
    "the process that goes on has nothing to do with a terminal that closes",
    () =>
      Effect.gen(function* () {
        const { answer, detach, held, open, w } = yield* begin()
        yield* detach
        yield* held
        process.kill(operators(w)[0]!.pid, "SIGHUP")
        yield* Effect.sleep("500 millis")
        open()
        yield* gone(w)
        assert.deepInclude(yield* answer("status", "app"), { state: "ready", provider: "elsewhere" })
      }),
    120_000
  )

  it.live(
    "--timeout holds for the process that goes on",
    () =>
      Effect.gen(function* () {
        const { answer, w } = yield* begin()
        const begun = yield* answer("switch", "app", "--to", "elsewhere", "--detach", "--timeout", "10s")
        assert.isTrue(begun.ok, JSON.stringify(begun))
        yield* gone(w)
        assert.strictEqual(lastLine(begun.log).error_code, "ERR_TIMEOUT")
        assert.deepInclude(yield* answer("status", "app"), { state: "ready", provider: "local", claim: null })
      }),
    120_000
  )
})

describe.concurrent("operate, by hand", () => {
  it.live("refuses what was not begun for it, and tells nothing of what it read", () =>
    Effect.gen(function* () {
      const { up, w } = yield* begin()
      const before = dump(w.ledger)
      const claim = {
        sessionId: up.session_id,
        operationId: up.operation_id,
        token: "clm_secret",
        inherited: false,
        to: "elsewhere"
      }
      for (const stdin of [undefined, "", "clm_secret", JSON.stringify({ ...claim, token: 7 })]) {
        const outcome = yield* w.run(["operate", up.operation_id!, "--json"], { stdin })
        assertFailure(outcome, "ERR_INVALID_ARGUMENT")
        assert.notInclude(outcome.stdout + outcome.stderr, "clm_secret")
      }
      const other = yield* w.run(["operate", "op_other", "--json"], { stdin: JSON.stringify(claim) })
      assertFailure(other, "ERR_INVALID_ARGUMENT")
      const lost = yield* w.run(["operate", up.operation_id!, "--json"], { stdin: JSON.stringify(claim) })
      assertFailure(lost, "ERR_CLAIM_LOST")
      assert.deepEqual(dump(w.ledger), before)
    })
  )
})
