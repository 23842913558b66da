/** Whose a process is: told by the mark that it was started with. */
import { execFileSync, spawn } from "node:child_process"
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { assertFailure } from "./support/contract.ts"
import { eventually, type World, world } from "./support/sandbox.ts"

const server =
  // biome-ignore lint/suspicious/noTemplateCurlyInString: it is the program's own
  "const s = require('node:net').createServer().listen(0, '127.0.0.1', () => console.log(`${process.pid} ${s.address().port}`))"

const said = (file: string): ReadonlyArray<number> => {
  try {
    return readFileSync(file, "utf8").trim().split(" ").map(Number)
  } catch {
    return []
  }
}

const commandOf = (pid: number): string =>
  execFileSync("ps", ["-o", "comm=", "-p", String(pid)], { encoding: "utf8" }).trim()

/** Starts a server in a session that outlives the command that started it, and answers its pid and its port. */
const serve = Effect.fnUntraced(function* (w: World, session: string, more = "") {
  const file = join(w.directory, `serving-${session}`)
  const script = `${more} setsid ${process.execPath} -e "$1" > ${file} 2>&1 &`
  assert.strictEqual((yield* w.sandbox("exec", session, "--", "sh", "-c", script, "sh", server)).code, 0)
  yield* eventually("the server listens", () => said(file).length === 2)
  const [pid = 0, port = 0] = said(file)
  return { pid, port }
})

/** A process of ours that has these variables in its environment. */
const process_ = (w: World, env: Readonly<Record<string, string>>) =>
  Effect.map(
    Effect.acquireRelease(
      Effect.sync(() => spawn("sleep", ["300"], { env: { ...w.env, ...env }, stdio: "ignore" })),
      (child) => Effect.sync(() => child.kill("SIGKILL"))
    ),
    (child) => child.pid!
  )

describe.concurrent("owner-of", () => {
  it.live("I-92 names the session of a process and of a port's listener, whoever its parent is by now", () =>
    Effect.gen(function* () {
      const w = yield* world
      const up = yield* w.sandbox("up", w.repository, "-b", "feature", "-p", "local", "-n", "app", "--json")
      const { session_id } = up.json()
      const { pid, port } = yield* serve(w, "app", "SANDBOX_SERVICE=web")
      const expected = { ok: true, session_id, name: "app", state: "ready", pid, service: "web", warnings: [] }
      for (const [target, more] of [
        [[String(pid)], {}],
        [["--pid", String(pid)], {}],
        [[`:${port}`], { port }],
        [["--port", String(port)], { port }],
        [[String(port)], { port }]
      ] as const) {
        const answer = yield* w.sandbox("owner-of", ...target, "--json")
        assert.strictEqual(answer.code, 0, answer.stderr)
        assert.deepEqual<object>(answer.json(), { ...expected, ...more })
      }
      const human = yield* w.sandbox("owner-of", `:${port}`)
      assert.strictEqual(human.stdout, `app  ${session_id}  process ${pid}, port ${port}, service web\n`)
    })
  )

  it.live("I-92 takes nothing but the mark for proof: a child of a marked process without it belongs to nobody", () =>
    Effect.gen(function* () {
      const w = yield* world
      assert.strictEqual((yield* w.sandbox("up", w.repository, "-b", "feature", "-p", "local", "-n", "app")).code, 0)
      const file = join(w.directory, "pids")
      const script = `sh -c 'env -u SANDBOX_BOX_KEY sleep 300 & echo $$ $! > ${file}; wait' & wait`
      yield* w.start(["exec", "app", "--", "sh", "-c", script])
      yield* eventually("both run", () => said(file).length === 2)
      const [parent = 0, child = 0] = said(file)
      assert.strictEqual((yield* w.sandbox("owner-of", String(parent), "--json")).json().name, "app")
      yield* eventually("the child is itself", () => commandOf(child) === "sleep")
      const answer = yield* w.sandbox("owner-of", String(child), "--json")
      assert.strictEqual(assertFailure(answer, "ERR_SESSION_NOT_FOUND").cause, `process ${child} belongs to no session`)
    })
  )

  it.live("a session of somebody else or of another ledger is told apart, and nothing of it is", () =>
    Effect.gen(function* () {
      const w = yield* world
      const up = yield* w.sandbox("up", w.repository, "-b", "feature", "-p", "local", "-n", "hidden", "--json")
      const { session_id } = up.json()
      const { pid, port } = yield* serve(w, "hidden")
      const other = yield* w.sandbox("owner-of", String(pid), "--principal", "bob", "--json")
      assertFailure(other, "ERR_SESSION_FORBIDDEN")
      const elsewhere = yield* w.sandbox("owner-of", `:${port}`, "--ledger", join(w.directory, "other.db"), "--json")
      assert.include(assertFailure(elsewhere, "ERR_SESSION_NOT_FOUND").cause, "a session of another ledger")
      const lying = yield* process_(w, { SANDBOX_BOX_KEY: "nonsense" })
      assertFailure(yield* w.sandbox("owner-of", String(lying), "--json"), "ERR_SESSION_NOT_FOUND")
      for (const { stderr, stdout } of [other, elsewhere]) {
        for (const secret of [session_id, "hidden"]) assert.notInclude(stdout + stderr, secret)
      }
    })
  )

  it.live("a process of an earlier box is the session's, with a warning", () =>
    Effect.gen(function* () {
      const w = yield* world
      const up = yield* w.sandbox("up", w.repository, "-b", "feature", "-p", "local", "-n", "app", "--json")
      const { session_id } = up.json()
      const pid = yield* process_(w, { SANDBOX_BOX_KEY: `${session_id}.g7` })
      const { name, warnings } = (yield* w.sandbox("owner-of", String(pid), "--json")).json()
      assert.strictEqual(name, "app")
      assert.deepEqual(warnings, [`process ${pid} was started in an earlier box of app, and is still there`])
    })
  )

  it.live("what is nobody's, not there or no number is refused", () =>
    Effect.gen(function* () {
      const w = yield* world
      const own = yield* w.sandbox("owner-of", "--pid", String(process.pid), "--json")
      assert.strictEqual(
        assertFailure(own, "ERR_SESSION_NOT_FOUND").cause,
        `process ${process.pid} belongs to no session`
      )
      const none = yield* w.sandbox("owner-of", "--pid", "4194999", "--json")
      assert.strictEqual(assertFailure(none, "ERR_SESSION_NOT_FOUND").cause, "there is no process 4194999")
      const free = yield* w.sandbox("owner-of", ":1", "--json")
      assert.strictEqual(assertFailure(free, "ERR_SESSION_NOT_FOUND").cause, "nobody listens on port 1")
      for (const args of [["0"], ["nginx"], ["-5"], [":70000"], ["--port", "0"], []]) {
        assertFailure(yield* w.sandbox("owner-of", ...args, "--json"), "ERR_INVALID_ARGUMENT")
      }
      const both = yield* w.sandbox("owner-of", String(process.pid), "--pid", "1", "--json")
      assert.strictEqual(assertFailure(both, "ERR_INVALID_ARGUMENT").details.field, "pid")
    })
  )
})
