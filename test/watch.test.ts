/** `status --watch`: what it shows of a session that another process moves, and when it ends. */
import { rmSync } from "node:fs"
import { join } from "node:path"
import { assert, describe, it, layer } from "@effect/vitest"
import type { StatusResult } from "@org/sandbox-core/promise"
import { Effect } from "effect"
import type { Answer } from "./support/Answer.ts"
import { Connected, rejection } from "./support/client.ts"
import { assertFailure } from "./support/contract.ts"
import { heldGit } from "./support/heldGit.ts"
import { eventually, type Outcome, type Running, remains, type World, world } from "./support/sandbox.ts"
import { terminal } from "./support/terminal.ts"

const upOf = (w: World, name = "app") => ["up", w.repository, "-b", "feature", "-p", "local", "-n", name, "--json"]

/** An `up` that waits for git to place its checkout. */
const held = Effect.fnUntraced(function* (w: World, name?: string) {
  const git = heldGit(w, { hold: "worktree add" })
  const running = yield* w.start(upOf(w, name), { env: git.env })
  yield* git.held()
  return { ...git, running }
})

type Line = Answer & { readonly seq: number; readonly health: { readonly status: string } | null }

const parsed = (text: string): ReadonlyArray<Line> =>
  text
    .split("\n")
    .slice(0, -1)
    .map((line) => JSON.parse(line) as Line)

const objects = ({ stdout }: Outcome) => parsed(stdout)

/** What a process has written so far. */
const collected = (running: Running) => {
  let text = ""
  running.stdout.on("data", (more: string) => (text += more))
  return () => text
}

describe.concurrent("status --watch", () => {
  it.live("shows a session that nobody moves once, and exits as status does", () =>
    Effect.gen(function* () {
      const w = yield* world
      assertFailure(yield* w.sandbox("status", "app", "--watch", "--json"), "ERR_SESSION_NOT_FOUND")
      assert.isTrue((yield* w.run(upOf(w))).json().ok)
      for (const { args, code, state } of [
        { args: [], code: 0, state: "ready" },
        { args: ["down", "app"], code: 4, state: "stopped" },
        { args: ["destroy", "app"], code: 4, state: "destroyed" }
      ]) {
        if (args.length > 0) assert.strictEqual((yield* w.sandbox(...args)).code, 0)
        const followed = yield* w.sandbox("status", "app", "--watch", "--json")
        const [line, ...others] = objects(followed)
        assert.deepEqual(others, [])
        const { seq, ...status } = line!
        assert.deepEqual({ seq, state: status.state }, { seq: 0, state })
        assert.deepEqual(status as Answer, (yield* w.sandbox("status", "app", "--json")).json())
        assert.strictEqual(followed.code, code, state)
        assert.strictEqual((yield* w.sandbox("status", "app", "--watch")).stdout, `app  ${state}\n`)
      }
    })
  )

  it.live("follows what another process does, an object per change, until that has ended", () =>
    Effect.gen(function* () {
      const w = yield* world
      const up = yield* held(w)
      const watching = yield* w.start(["status", "app", "--watch", "--json"])
      const shown = collected(watching)
      yield* eventually("the first line is there", () => shown().includes("\n"))
      const [first] = parsed(shown())
      assert.deepInclude(first, { ok: true, seq: 0, state: "syncing", healthy: false })
      assert.deepInclude(first!.claim, { kind: "up", stale: false })
      assert.isFalse(watching.hasEnded())
      up.open()
      const ended = yield* watching.ended
      assert.isTrue((yield* up.running.ended).json().ok)
      const lines = objects(ended)
      assert.deepEqual(
        lines.map(({ seq }) => seq),
        lines.map((_, index) => index)
      )
      assert.deepInclude(lines.at(-1), { state: "ready", claim: null, healthy: true })
      for (const line of lines.slice(0, -1)) assert.isNotNull(line.claim, "nothing comes after the end")
      assert.strictEqual(ended.code, 0, ended.stderr)
      assert.strictEqual(ended.stderr, "")
    })
  )

  it.live(
    "goes on while a session that is ready is being exported",
    () =>
      Effect.gen(function* () {
        const w = yield* world
        assert.isTrue((yield* w.run(upOf(w))).json().ok)
        const git = heldGit(w, { hold: "push --porcelain" })
        const exporting = yield* w.start(["export", "app", "--branch", "done", "--json"], { env: git.env })
        yield* git.held()
        const watching = yield* w.start(["status", "app", "--watch", "--json"])
        const shown = collected(watching)
        yield* eventually("the first line is there", () => shown().includes("\n"))
        assert.deepInclude(parsed(shown())[0], { state: "ready", healthy: true })
        assert.strictEqual(parsed(shown())[0]!.claim?.kind, "export")
        yield* Effect.sleep("1 second")
        assert.isFalse(watching.hasEnded())
        git.open()
        assert.isTrue((yield* exporting.ended).json().ok)
        const ended = yield* watching.ended
        assert.strictEqual(ended.code, 0)
        assert.isNull(objects(ended).at(-1)!.claim)
      }),
    120_000
  )

  it.live("is a line per change for people, and one line that counts on a terminal", () =>
    Effect.gen(function* () {
      const w = yield* world
      const up = yield* held(w)
      const plain = yield* w.start(["status", "app", "--watch"])
      const shown = collected(plain)
      yield* eventually("the first line is there", () => shown().includes("\n"))
      const screen = yield* terminal(w, "status", "app", "--watch")
      yield* screen.saw("app  syncing (up: ")
      const seconds = () => [...screen.text().matchAll(/\(up: \w+, (\d+) s\)/g)].map(([, s]) => Number(s))
      const [begun] = seconds()
      yield* eventually("it counts", () => seconds().at(-1)! >= begun! + 2)
      up.open()
      assert.strictEqual(yield* screen.ended, 0)
      assert.include(screen.text(), "\r\x1b[2Kapp  ready\r\n")
      const { code, stdout } = yield* plain.ended
      assert.strictEqual(code, 0)
      const lines = stdout.split("\n").slice(0, -1)
      assert.match(lines[0]!, /^app {2}syncing \(up: \w+, \d+ s\)$/)
      assert.strictEqual(lines.at(-1), "app  ready")
      assert.notInclude(stdout, "\x1b")
    })
  )

  it.live("waits a little for somebody who takes a dead operation over, and then says what to do", () =>
    Effect.gen(function* () {
      const w = yield* world
      const up = yield* held(w)
      const watching = yield* w.start(["status", "app", "--watch"])
      const shown = collected(watching)
      yield* eventually("the first line is there", () => shown().includes("\n"))
      up.running.signal("SIGKILL")
      yield* eventually("it is seen dead", () => shown().includes(", stale)"))
      assert.isFalse(watching.hasEnded())
      const { code, stdout } = yield* watching.ended
      assert.strictEqual(code, 4)
      assert.match(stdout, /\nnext: sandbox resume sbx_\w+ {2}\(up died in phase /)
    })
  )

  it.live("ends quietly when it is interrupted, and the operation goes on", () =>
    Effect.gen(function* () {
      const w = yield* world
      const up = yield* held(w)
      const watching = yield* w.start(["status", "app", "--watch"])
      const shown = collected(watching)
      yield* eventually("the first line is there", () => shown().includes("\n"))
      watching.signal("SIGINT")
      const { code, stderr } = yield* watching.ended
      assert.deepEqual({ code, stderr }, { code: 130, stderr: "" })
      assert.strictEqual(remains(w).claims.length, 1)
      up.open()
      assert.isTrue((yield* up.running.ended).json().ok)
    })
  )

  it.live(
    "looks at the box too with --live",
    () =>
      Effect.gen(function* () {
        const w = yield* world
        const up = yield* held(w)
        const watching = yield* w.start(["status", "app", "--watch", "--live", "--json"])
        const shown = collected(watching)
        yield* eventually("the box is seen", () => parsed(shown()).some(({ health }) => health?.status === "healthy"))
        for (const box of remains(w).boxes) rmSync(join(w.state, "local", box), { recursive: true })
        yield* eventually("it is missed", () => parsed(shown()).some(({ health }) => health?.status === "gone"))
        up.running.signal("SIGKILL")
        assert.strictEqual((yield* watching.ended).code, 4)
      }),
    120_000
  )
})

layer(Connected.layer, { excludeTestServices: true })("the promise client's watch", (it) => {
  it.effect("is iterated until nobody moves the session any more, or the signal is aborted", () =>
    Effect.gen(function* () {
      const { client, w } = yield* Connected
      const seen: Array<StatusResult> = []
      const watch = (session: string, signal?: AbortSignal) => async () => {
        for await (const status of client.watch({ session }, signal === undefined ? {} : { signal })) seen.push(status)
      }
      assert.deepInclude(yield* rejection(watch("nobody")()), { code: "ERR_SESSION_NOT_FOUND" })
      const up = yield* held(w)
      const aborting = new AbortController()
      const aborted = watch("app", aborting.signal)()
      yield* eventually("it is seen", () => seen.length > 0)
      assert.deepInclude(seen[0], { state: "syncing", healthy: false })
      aborting.abort()
      yield* Effect.promise(() => aborted)
      seen.length = 0
      const whole = watch("app")()
      yield* eventually("it is seen again", () => seen.length > 0)
      up.open()
      yield* Effect.promise(() => whole)
      assert.deepInclude(seen.at(-1), { state: "ready", claim: null, healthy: true })
      assert.isTrue((yield* up.running.ended).json().ok)
      up.remove()
    })
  )

  it.effect("goes on with whoever takes a dead operation over", () =>
    Effect.gen(function* () {
      const { client, w } = yield* Connected
      const up = yield* held(w, "taken")
      const seen: Array<StatusResult> = []
      const watching = (async () => {
        for await (const status of client.watch({ session: "taken" })) seen.push(status)
      })()
      yield* eventually("it is seen", () => seen.length > 0)
      up.running.signal("SIGKILL")
      yield* eventually("it is seen dead", () => seen.at(-1)!.claim?.stale === true)
      up.remove()
      yield* Effect.promise(() => client.resume({ session: "taken" }))
      yield* Effect.promise(() => watching)
      assert.deepInclude(seen.at(-1), { state: "ready", claim: null, healthy: true })
    })
  )
})
