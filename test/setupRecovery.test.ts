/** What a session's setup is like after something died, or was led astray, in the middle of it. */
import { existsSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs"
import { createServer } from "node:net"
import { dirname, join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { dump, eventually, nothing, processesWith, query, remains, type World, world } from "./support/sandbox.ts"

/** A number from which on a few ports are free. */
const vacant = Effect.callback<number>((resume) => {
  const server = createServer().listen(0, "127.0.0.1", () => {
    const address = server.address()
    const port = typeof address === "object" && address !== null ? address.port : 0
    server.close(() => resume(Effect.succeed(Math.min(port, 60_000))))
  })
})

const configure = (w: World, configuration: object) =>
  writeFileSync(join(w.repository, "sandbox.yaml"), JSON.stringify({ provider: "local", ...configuration }))

const up = (w: World, branch: string) => ["up", w.repository, "-b", branch, "--trust-config", "--json"]

/** The processes of a world that stand for a service, its watcher included. */
const inService = (w: World, name: string) => {
  const ours = new Set(remains(w).processes)
  return processesWith(`SANDBOX_SERVICE=${name}`).filter((pid) => ours.has(pid))
}

/** Whether it is the command itself, and not the shell that watches it. */
const isSleeping = (pid: number): boolean => readFileSync(`/proc/${pid}/cmdline`, "utf8").startsWith("sleep\x001007")

const newest = (w: World) =>
  query<{ id: string; state: string }>(w.ledger, "SELECT id, state FROM sessions ORDER BY created_at DESC LIMIT 1")[0]!

/** Kills an up once its stderr has a text and something is so. */
const killedUp = Effect.fnUntraced(function* (w: World, text: string, isSo: () => boolean) {
  const running = yield* w.start(up(w, "feature"))
  assert.isTrue(yield* running.saw(text))
  yield* eventually("the moment to kill it", isSo)
  running.signal("SIGKILL")
  yield* running.ended
  return newest(w).id
}, Effect.scoped)

describe("a setup that something went wrong with", () => {
  it.live("I-96 a service that fails is quoted without any secret, in parts or whole", () =>
    Effect.gen(function* () {
      const w = yield* world
      const lines = Array.from({ length: 30 }, (_, n) => `line-${n}-of-the-key`)
      const file = join(w.directory, "key.pem")
      writeFileSync(file, lines.join("\n"), { mode: 0o600 })
      configure(w, {
        secrets: [
          { name: "SHORT", from: "env:SHORT" },
          { name: "LONG", from: "env:LONG" },
          { name: "KEY", from: `file:${file}`, to: "file" }
        ],
        services: [
          {
            name: "leaky",
            command: 'printenv LONG SHORT; cat "$SANDBOX_RUN_DIR/secrets.d/KEY"; echo; echo end; exit 1'
          }
        ]
      })
      const env = { SHORT: "canary", LONG: "canary-and-more" }
      const failed = yield* w.run(up(w, "feature"), { env })
      assert.strictEqual(failed.json().error_code, "ERR_SERVICE_FAILED")
      const { output } = failed.json().details as { readonly output: string }
      assert.include(output, "end")
      const said = failed.stdout + failed.stderr + JSON.stringify(dump(w.ledger))
      for (const secret of [...lines, ...Object.values(env), "and-more"]) assert.notInclude(said, secret)
    })
  )

  it.live("I-91 a link of the branch does not lead what is inherited out of the checkout", () =>
    Effect.gen(function* () {
      const w = yield* world
      const outside = join(w.directory, "outside")
      mkdirSync(outside)
      w.git("switch", "--quiet", "--create", "astray")
      symlinkSync(outside, join(w.repository, "cfg"))
      w.git("add", "cfg")
      w.git("commit", "--quiet", "--message", "a link")
      w.git("switch", "--quiet", "main")
      mkdirSync(join(w.repository, "cfg"))
      writeFileSync(join(w.repository, "cfg", "e.env"), "A=1\n")
      for (const mode of ["copy", "symlink"]) {
        configure(w, { inherit_env: [{ file: "cfg/e.env", mode }] })
        const failed = yield* w.run(up(w, "astray"))
        assert.strictEqual(failed.json().error_code, "ERR_WORKSPACE_FAILED")
        assert.deepEqual(readdirSync(outside), [])
      }
      assert.isTrue(existsSync(join(w.repository, "cfg", "e.env")))
    })
  )

  it.live("I-92 what a dead watcher had watched is ended before it is started again", () =>
    Effect.gen(function* () {
      const w = yield* world
      configure(w, { services: [{ name: "worker", command: "exec sleep 1007" }] })
      const { session_id, worktree_path } = (yield* w.run(up(w, "feature"))).json()
      const pidFile = join(dirname(worktree_path), "run", "services", "worker", "pid")
      const watcher = Number.parseInt(readFileSync(pidFile, "utf8"), 10)
      const [left] = inService(w, "worker").filter(isSleeping)
      process.kill(watcher, "SIGKILL")
      yield* eventually("the watcher is gone", () => !inService(w, "worker").includes(watcher))
      assert.include(inService(w, "worker"), left)
      assert.strictEqual((yield* w.sandbox("resume", session_id, "--json")).code, 0)
      const now = inService(w, "worker").filter(isSleeping)
      assert.strictEqual(now.length, 1)
      assert.notInclude(now, left)
      yield* w.sandbox("destroy", session_id, "--force")
      assert.deepEqual(remains(w), nothing)
    })
  )

  it.live("I-33 a resume waits for a service that a killed up had started and that does not listen yet", () =>
    Effect.gen(function* () {
      const w = yield* world
      const go = join(w.directory, "go")
      const server = `require("node:http").createServer((_, r) => r.end("up")).listen(process.env.PORT, "127.0.0.1")`
      const command = `until [ -e ${go} ]; do sleep 0.05; done; exec node -e '${server}'`
      configure(w, { services: [{ name: "web", command, port: yield* vacant, health: "/" }] })
      const id = yield* killedUp(w, "up: service.web …", () => inService(w, "web").length > 0)
      const before = query<{ ports: string }>(w.ledger, "SELECT ports FROM sessions")
      const resumed = yield* Effect.scoped(
        Effect.gen(function* () {
          const running = yield* w.start(["resume", id, "--json"])
          assert.isTrue(yield* running.saw("resume: service.web …"))
          writeFileSync(go, "")
          return yield* running.ended
        })
      )
      assert.strictEqual(resumed.code, 0, resumed.stdout + resumed.stderr)
      assert.strictEqual(resumed.json().state, "ready")
      assert.deepEqual(query<{ ports: string }>(w.ledger, "SELECT ports FROM sessions"), before)
      assert.strictEqual(query(w.ledger, "SELECT generation AS id FROM sessions WHERE generation = 1").length, 1)
      yield* w.sandbox("destroy", id, "--force")
    })
  )

  it.live("I-78 gc frees the ports and the slot of an up that died", () =>
    Effect.gen(function* () {
      const w = yield* world
      configure(w, {
        services: [{ name: "web", command: "exec sleep 1000", port: yield* vacant }],
        slots: { strict: true }
      })
      yield* killedUp(w, "up: service.web …", () => true)
      assert.strictEqual(query(w.ledger, "SELECT port AS id FROM ports").length, 1)
      assert.strictEqual((yield* w.sandbox("gc", "--json")).code, 0)
      assert.deepEqual(query(w.ledger, "SELECT port AS id FROM ports"), [])
      assert.deepEqual(query(w.ledger, "SELECT id FROM sessions WHERE slot IS NOT NULL OR ports IS NOT NULL"), [])
      assert.deepEqual(remains(w), nothing)
    })
  )

  it.live("I-85 a hook that a killed attempt left running does not run on beside its rerun", () =>
    Effect.gen(function* () {
      const w = yield* world
      const [log, go] = [join(w.directory, "hook.log"), join(w.directory, "go")]
      const hook = `echo start >>${log}; until [ -e ${go} ]; do sleep 0.05; done; echo end >>${log}`
      configure(w, { hooks: { pre_spawn: hook } })
      const read = () => (existsSync(log) ? readFileSync(log, "utf8").trim().split("\n") : [])
      const id = yield* killedUp(w, "up: hook.pre_spawn …", () => read().length === 1)
      yield* Effect.scoped(
        Effect.gen(function* () {
          const running = yield* w.start(["resume", id, "--json"])
          yield* eventually("the hook runs again", () => read().length === 2)
          writeFileSync(go, "")
          assert.strictEqual((yield* running.ended).code, 0)
        })
      )
      assert.deepEqual(read(), ["start", "start", "end"])
      yield* w.sandbox("destroy", id, "--force")
      assert.deepEqual(remains(w), nothing)
    })
  )

  it.live("I-89 a session that is halted already gives its checkout up when asked", () =>
    Effect.gen(function* () {
      const w = yield* world
      const { session_id, worktree_path } = (yield* w.run([
        "up",
        w.repository,
        "-b",
        "feature",
        "-p",
        "local",
        "--json"
      ])).json()
      assert.strictEqual((yield* w.sandbox("down", session_id)).code, 0)
      assert.isTrue(existsSync(worktree_path))
      const down = yield* w.sandbox("down", session_id, "--delete-worktree", "--json")
      assert.strictEqual(down.json().state, "stopped", down.stdout)
      assert.isFalse(existsSync(worktree_path))
      assert.isTrue((yield* w.sandbox("down", session_id, "--json")).json().already)
      assert.strictEqual((yield* w.sandbox("resume", session_id)).code, 0)
      assert.strictEqual((yield* w.sandbox("destroy", session_id, "--force")).code, 0)
      assert.deepEqual(remains(w), nothing)
    })
  )
})
