/** What a session runs beside its checkout, on this host: services, hooks, environment and secrets as real processes. */
import { execFileSync } from "node:child_process"
import { existsSync, mkdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from "node:fs"
import { dirname, join } from "node:path"
import { assert, layer } from "@effect/vitest"
import { type Client, isSandboxFailure, type SetupOptions, type UpResult } from "@org/sandbox-core/promise"
import { Effect } from "effect"
import { vi } from "vitest"
import { Connected, collected, rejection } from "./support/client.ts"
import { vacant } from "./support/ports.ts"
import { eventually, nothing, processesOf, processesWith, query, remains, type World } from "./support/sandbox.ts"

const server = `
  const { createServer } = require("node:http")
  createServer((_, response) => response.end(process.env.SANDBOX_NAME))
    .listen(process.env.PORT, "127.0.0.1", () => console.log("on", process.env.PORT))
`
const base = await Effect.runPromise(vacant(20))
const web = {
  name: "web",
  command: ["node", "-e", server],
  ports: [{ name: "web", base, env: ["WEB"] }],
  health: { kind: "http", path: "/" }
} as const
const worker = { name: "worker", command: "while :; do echo tick; sleep 0.05; done" } as const

let count = 0
const options = (w: World, setup: SetupOptions) => {
  count += 1
  return { repository: w.repository, branch: `b${count}`, base: "main", provider: "local", setup } as const
}

const destroy = (client: Client, { sessionId }: { readonly sessionId: string }) =>
  Effect.promise(() => client.destroy({ session: sessionId, force: true, confirmDataLoss: true }))

/** Destroyed at the end of the test, also of one that fails: what is left would be in the way of all that follow. */
const up = (client: Client, w: World, setup: SetupOptions) =>
  Effect.acquireRelease(
    Effect.promise(() => client.up(options(w, setup))),
    (session) => Effect.ignoreCause(destroy(client, session))
  )

/** The failure of an up, its session's row, and that nothing is left of it but that row. */
const failedUp = Effect.fnUntraced(function* (client: Client, w: World, setup: SetupOptions) {
  const error = yield* rejection(client.up(options(w, setup)))
  if (!isSandboxFailure(error)) return assert.fail(`not a failure of the client: ${String(error)}`)
  yield* eventually("no process is left", () => remains(w).processes.length === 0)
  assert.deepEqual(remains(w), nothing)
  const rows = query<{ state: string; slot: number | null; reserved_name: string | null; ports: string | null }>(
    w.ledger,
    "SELECT state, slot, reserved_name, ports FROM sessions ORDER BY created_at DESC LIMIT 1"
  )
  assert.deepEqual(rows, [{ state: "failed", slot: null, reserved_name: null, ports: null }])
  assert.deepEqual(query(w.ledger, "SELECT port AS id FROM ports"), [])
  return error
})

/** What a command in the session prints. */
const printed = Effect.fnUntraced(function* (client: Client, session: UpResult, script: string) {
  const running = yield* Effect.promise(() => client.exec({ session: session.sessionId, argv: ["sh", "-c", script] }))
  const text = (yield* collected(running.output))[1]
  yield* Effect.promise(() => running.exit)
  return text
})

const pidOf = (session: UpResult, service: string): number =>
  Number.parseInt(readFileSync(join(dirname(session.worktreePath!), "run", "services", service, "pid"), "utf8"), 10)

/** A hook that does not end, with one child that ends when asked and one that does not. */
const lingering = "(trap '' TERM; sleep 999) & sleep 998 & wait"

/** The sessions that the ledger knows, which may not be there yet. */
const known = (w: World) => (existsSync(w.ledger) ? query(w.ledger, "SELECT id FROM sessions") : [])

const body = (url: string) => Effect.promise(async () => (await fetch(url)).text())

layer(Connected.layer, { excludeTestServices: true })("a session's setup", (it) => {
  it.effect("comes up in order, outlives whoever started it, and ends with the box", () =>
    Effect.gen(function* () {
      const { client, events, w } = yield* Connected
      const session = yield* up(client, w, { services: [web, worker] })
      assert.strictEqual(session.slot, 1)
      assert.deepEqual(session.ports, { web: base + 1 })
      assert.strictEqual(session.endpointUrl, `http://127.0.0.1:${base + 1}`)
      assert.strictEqual(yield* body(session.endpointUrl!), session.name)
      const phases = events.flatMap((event) =>
        event.type === "phase" && event.operationId === session.operationId && event.status === "started"
          ? [event.phase]
          : []
      )
      assert.deepEqual(
        phases.filter((phase) => phase.startsWith("service.")),
        ["service.web", "service.worker"]
      )
      const down = yield* Effect.promise(() => client.down({ session: session.sessionId }))
      assert.deepEqual(down.warnings, [])
      yield* eventually("nothing runs", () => remains(w).processes.length === 0)
      const halted = yield* Effect.promise(() => client.status({ session: session.sessionId }))
      assert.deepInclude(halted, { slot: 1, endpointUrl: null })
      assert.deepEqual(halted.ports, {})
      const again = yield* Effect.promise(() => client.resume({ session: session.sessionId }))
      assert.deepInclude(again, { slot: 1, endpointUrl: session.endpointUrl })
      assert.strictEqual(yield* body(session.endpointUrl!), session.name)
      yield* destroy(client, session)
      assert.deepEqual(remains(w), nothing)
    })
  )

  it.effect("is repaired by resume: only what is down is started", () =>
    Effect.gen(function* () {
      const { client, w } = yield* Connected
      const session = yield* up(client, w, { services: [web, worker] })
      const [webPid, workerPid] = [pidOf(session, "web"), pidOf(session, "worker")]
      process.kill(-workerPid, "SIGKILL")
      yield* eventually("the worker is gone", () => processesOf(session, "worker").length === 0)
      const repaired = yield* Effect.promise(() => client.resume({ session: session.sessionId }))
      assert.isUndefined(repaired.already)
      assert.strictEqual(pidOf(session, "web"), webPid)
      assert.notStrictEqual(pidOf(session, "worker"), workerPid)
      assert.isTrue((yield* Effect.promise(() => client.resume({ session: session.sessionId }))).already)
      yield* destroy(client, session)
    })
  )

  it.effect("I-78 is rolled back when a service ends early, with its code and its last output", () =>
    Effect.gen(function* () {
      const { client, w } = yield* Connected
      const broken = { name: "broken", command: "echo boom; exit 9" }
      const error = yield* failedUp(client, w, { services: [worker, broken] })
      assert.strictEqual(error.code, "ERR_SERVICE_FAILED")
      assert.deepInclude(error.details, { service: "broken", exit_code: 9, output: "boom" })
    })
  )

  it.effect("is rolled back when a service does not work in time", () =>
    Effect.gen(function* () {
      const { client, w } = yield* Connected
      const deaf = { ...web, command: "exec sleep 1000", deadlineS: 1 }
      const error = yield* failedUp(client, w, { services: [deaf] })
      assert.strictEqual(error.code, "ERR_SERVICE_FAILED")
      assert.include(error.message, "does not work after 1 s")
    })
  )

  it.effect("I-87 tells a service that works from somebody else on its port", () =>
    Effect.gen(function* () {
      const { client, w } = yield* Connected
      // what it starts carries no mark of the box, as a program of somebody else does not
      const mark = `SETUP_TEST_OTHER=${w.directory}`
      const other = `env -i PATH="$PATH" PORT="$PORT" ${mark} setsid node -e '${server}' >/dev/null 2>&1 & exec sleep 1000`
      const error = yield* failedUp(client, w, { services: [{ ...web, command: other }] }).pipe(
        Effect.ensuring(
          Effect.sync(() => {
            for (const pid of processesWith(mark)) process.kill(pid, "SIGKILL")
          })
        )
      )
      assert.strictEqual(error.code, "ERR_PORT_IN_USE")
      assert.deepInclude(error.details, { service: "web", ports: [base + 1] })
    })
  )

  for (const hook of ["preUp", "preSpawn", "postUp"] as const) {
    const key = hook.replace(/[A-Z]/, (letter) => `_${letter.toLowerCase()}`)
    it.effect(`I-84 I-78 a ${key} that fails rolls the up back`, () =>
      Effect.gen(function* () {
        const { client, w } = yield* Connected
        const error = yield* failedUp(client, w, { services: [worker], hooks: { [hook]: "exit 7" } })
        assert.strictEqual(error.code, "ERR_HOOK_FAILED")
        assert.deepInclude(error.details, { hook: key, exit_code: 7 })
      })
    )
  }

  it.effect("I-84 a pre_down and a post_down that fail are warnings of a down that is done", () =>
    Effect.gen(function* () {
      const { client, w } = yield* Connected
      const session = yield* up(client, w, { hooks: { preDown: "exit 1", postDown: "exit 2" } })
      const down = yield* Effect.promise(() => client.down({ session: session.sessionId }))
      assert.strictEqual(down.state, "stopped")
      assert.deepEqual(down.warnings, [
        "the hook pre_down ended with exit code 1",
        "the hook post_down ended with exit code 2"
      ])
      yield* destroy(client, session)
    })
  )

  it.effect("I-85 a hook that takes too long is killed with everything that it started", () =>
    Effect.gen(function* () {
      const { client, w } = yield* Connected
      for (const hook of ["preUp", "preSpawn", "postUp"] as const) {
        const error = yield* failedUp(client, w, { hooks: { [hook]: lingering, timeoutS: 0.3 } })
        assert.strictEqual(error.code, "ERR_HOOK_FAILED")
        assert.include(error.message, "was killed")
      }
    })
  )

  for (const hook of ["preDown", "postDown"] as const) {
    const key = hook.replace(/[A-Z]/, (letter) => `_${letter.toLowerCase()}`)
    it.effect(`I-85 a ${key} that takes too long is killed with everything that it started, and the down is done`, () =>
      Effect.gen(function* () {
        const { client, w } = yield* Connected
        const session = yield* up(client, w, { hooks: { [hook]: lingering, timeoutS: 0.3 } })
        const down = yield* Effect.promise(() => client.down({ session: session.sessionId }))
        assert.strictEqual(down.state, "stopped")
        assert.deepEqual(down.warnings, [`the hook ${key} did not end within 300ms and was killed`])
        // nothing sweeps behind a post_down, so what it started is gone by its own end or never
        yield* eventually("nothing runs", () => remains(w).processes.length === 0, 5)
      })
    )
  }

  it.effect("I-85 a hook is killed with everything that it started when the up is interrupted", () =>
    Effect.gen(function* () {
      const { client, w } = yield* Connected
      for (const hook of ["preUp", "preSpawn", "postUp"] as const) {
        const started = join(w.directory, `started-${hook}`)
        const abort = new AbortController()
        const setup = { hooks: { [hook]: `sleep 999 & touch ${started}; wait` } }
        const rejected = rejection(client.up(options(w, setup), { signal: abort.signal }))
        const seen = Effect.andThen(
          eventually("the hook runs", () => existsSync(started)),
          Effect.sync(() => abort.abort())
        )
        const [error] = yield* Effect.all([rejected, seen], { concurrency: 2 })
        assert.deepInclude(error, { code: "ERR_INTERRUPTED" })
        assert.deepEqual(remains(w), nothing)
      }
    })
  )

  it.effect("I-85 hooks have the documented variables, in the documented places, and nothing of the ledger's", () =>
    Effect.gen(function* () {
      const { client, w } = yield* Connected
      vi.stubEnv("SANDBOX_LEDGER_PASSWORD", "canary-of-the-ledger")
      const file = join(w.directory, "hooks.txt")
      const write = `{ echo "== $SANDBOX_HOOK $(pwd)"; env; } >>${file}`
      const hooks = { preUp: write, preSpawn: write, postUp: write, preDown: write, postDown: write }
      const session = yield* up(client, w, { services: [web], hooks, env: { MINE: "yes" } })
      yield* Effect.promise(() => client.down({ session: session.sessionId }))
      const sections = readFileSync(file, "utf8").split("== ").slice(1)
      const checkout = session.worktreePath!
      assert.deepEqual(
        sections.map((section) => section.split("\n")[0]),
        [
          `pre_up ${w.repository}`,
          `pre_spawn ${checkout}`,
          `post_up ${checkout}`,
          `pre_down ${checkout}`,
          `post_down ${w.repository}`
        ]
      )
      for (const section of sections) {
        for (const variable of [
          `SANDBOX_SESSION_ID=${session.sessionId}`,
          `SANDBOX_NAME=${session.name}`,
          "SANDBOX_PROVIDER=local",
          `SANDBOX_REPOSITORY=${w.repository}`,
          `SANDBOX_COMMIT=${session.targetCommitSha}`,
          "MINE=yes"
        ]) {
          assert.include(section, `${variable}\n`)
        }
        assert.notInclude(section, "canary-of-the-ledger")
      }
      for (const section of sections.slice(1, 4)) assert.include(section, `PORT=${base + 1}\n`)
      yield* destroy(client, session)
      vi.stubEnv("SANDBOX_LEDGER_PASSWORD", undefined)
    })
  )

  it.effect("I-86 gives commands and services every value as it is, by a fixed precedence", () =>
    Effect.gen(function* () {
      const { client, w } = yield* Connected
      const odd = { ODD: `it's "so" $HOME \`id\` a=b\n#second `, EMPTY: "" }
      const inherited = join(w.repository, ".env")
      writeFileSync(inherited, "SHARED=from-file\nONLY='in  file'\nPORT=1\n")
      writeFileSync(join(w.repository, ".git", "info", "exclude"), ".env\n")
      const service = { ...worker, env: { SHARED: "from-service" }, command: `printenv ODD SHARED; ${worker.command}` }
      const session = yield* up(client, w, {
        services: [web, service],
        env: { ...odd, SHARED: "from-setup" },
        inheritEnv: [{ file: ".env" }]
      })
      assert.strictEqual(yield* printed(client, session, "printenv ODD; printenv EMPTY"), `${odd.ODD}\n\n`)
      assert.strictEqual(
        yield* printed(client, session, "printenv SHARED ONLY PORT WEB SANDBOX_WEB_PORT"),
        `from-setup\nin  file\n${`${base + 1}\n`.repeat(3)}`
      )
      const log = join(dirname(session.worktreePath!), "run", "services", "worker", "log")
      assert.include(readFileSync(log, "utf8"), `${odd.ODD}\nfrom-service\n`)
      assert.strictEqual(statSync(session.envFile!).mode & 0o777, 0o600)
      const names = readFileSync(session.envFile!, "utf8").match(/^[A-Z_]+(?==)/gm)
      assert.deepEqual(names, names?.toSorted())
      assert.isTrue(existsSync(join(session.worktreePath!, ".env")))
      assert.strictEqual(yield* printed(client, session, "git status --porcelain"), "")
      yield* destroy(client, session)
      assert.isTrue(existsSync(inherited))
    })
  )

  it.effect("I-91 inherits nothing from outside of the repository, and refuses before anything is done", () =>
    Effect.gen(function* () {
      const { client, w } = yield* Connected
      symlinkSync("/etc/passwd", join(w.repository, ".git", "link"))
      for (const file of ["../outside", "/etc/passwd", ".git/link"]) {
        const before = known(w)
        const error = yield* rejection(client.up(options(w, { inheritEnv: [{ file }] })))
        assert.deepInclude(error, { code: "ERR_CONFIG_INVALID" })
        assert.deepEqual(known(w), before)
      }
    })
  )

  it.effect("I-95 I-96 a secret is where it was asked for, with mode 0600, and nowhere else", () =>
    Effect.gen(function* () {
      const { client, events, w } = yield* Connected
      const [canary, filed] = ["canary-in-a-variable-0123", "canary-in-a-file-4567"]
      vi.stubEnv("CANARY", canary)
      const source = join(w.directory, "secret.txt")
      writeFileSync(source, `${filed}\n`, { mode: 0o600 })
      const session = yield* up(client, w, {
        services: [
          { ...worker, command: `test "$TOKEN" = ${canary.slice(0, 6)}"${canary.slice(6)}" && ${worker.command}` }
        ],
        secrets: [
          { name: "TOKEN", from: { env: "CANARY" } },
          { name: "KEY", from: { file: source }, to: "file" }
        ],
        hooks: { postUp: 'test -n "$TOKEN"' }
      })
      vi.stubEnv("CANARY", undefined)
      assert.strictEqual(yield* printed(client, session, "printenv TOKEN"), `${canary}\n`)
      assert.strictEqual(yield* printed(client, session, 'cat "$SANDBOX_RUN_DIR/secrets.d/KEY"'), filed)
      const run = join(dirname(session.worktreePath!), "run")
      for (const file of ["secrets", "secrets.d/KEY", "env"]) {
        assert.strictEqual(statSync(join(run, file)).mode & 0o777, 0o600, file)
      }
      // by a process of its own: a file that this one opens and closes loses the locks that the client has on it
      const spilled = execFileSync("grep", ["-rlF", "-f", "-", w.directory], {
        input: `${canary}\n${filed}\n`,
        encoding: "utf8"
      })
        .trim()
        .split("\n")
      assert.deepEqual(spilled.toSorted(), [join(run, "secrets"), join(run, "secrets.d/KEY"), source].toSorted())
      const argv = execFileSync("ps", ["axww", "-o", "command="], { encoding: "utf8" })
      const history = yield* Effect.promise(() => client.history({ session: session.sessionId }))
      for (const secret of [canary, filed]) {
        assert.notInclude(argv, secret)
        assert.notInclude(JSON.stringify([session, history, events]), secret)
      }
      yield* destroy(client, session)
      assert.isFalse(existsSync(run))
    })
  )

  it.effect(
    "I-95 makes every file of a secret with mode 0600, before a byte of it is there and whatever the umask is",
    () =>
      Effect.gen(function* () {
        const { w } = yield* Connected
        const [bin, seen] = [join(w.directory, "bin"), join(w.directory, "seen")]
        mkdirSync(bin)
        const [config, source] = [join(w.directory, "secrets.yaml"), join(w.directory, "filed.txt")]
        writeFileSync(source, "canary-in-a-file", { mode: 0o600 })
        const secrets = [
          { name: "TOKEN", from: "env:CANARY" },
          { name: "KEY", from: `file:${source}`, to: "file" }
        ]
        writeFileSync(config, JSON.stringify({ provider: "local", secrets }))
        // what writes the files looks at them first
        const look = `[ -z "$SANDBOX_RUN_DIR" ] || ls -lR "$SANDBOX_RUN_DIR" >> ${seen}`
        writeFileSync(join(bin, "cat"), `#!/bin/sh\n${look}\nPATH=${w.env["PATH"]} exec cat "$@"\n`, { mode: 0o755 })
        const up = ["up", w.repository, "-b", "umask", "--base", "main", "--config", config, "--json"]
        const bringUp = w.run(up, {
          env: { PATH: `${bin}:${w.env["PATH"]}`, CANARY: "canary-in-a-variable" },
          through: (command) => ["sh", "-c", 'umask 000; exec "$@"', "sh", ...command]
        })
        const outcome = yield* Effect.acquireRelease(bringUp, () =>
          w.sandbox("destroy", "app-umask", "--force", "--confirm-data-loss")
        )
        assert.strictEqual(outcome.code, 0, outcome.stdout)
        const lines = readFileSync(seen, "utf8").split("\n")
        for (const file of ["secrets.new", "env.new", "KEY"]) {
          const entries = lines.filter((line) => line.endsWith(` ${file}`))
          assert.isAbove(entries.length, 0, file)
          for (const entry of entries) assert.match(entry, /^-rw------- /)
          // empty when it was seen first
          assert.match(entries[0]!, /^-rw------- +1 +\S+ +\S+ +0 /)
        }
      })
  )

  it.effect("asks for a secret that is missing before it claims anything, again at every resume", () =>
    Effect.gen(function* () {
      const { client, w } = yield* Connected
      const setup = { secrets: [{ name: "TOKEN", from: { env: "NO_SUCH" } }] }
      const before = known(w)
      assert.deepInclude(yield* rejection(client.up(options(w, setup))), { code: "ERR_SECRET_MISSING" })
      assert.deepEqual(known(w), before)
      vi.stubEnv("NO_SUCH", "here")
      const session = yield* up(client, w, setup)
      yield* Effect.promise(() => client.down({ session: session.sessionId }))
      vi.stubEnv("NO_SUCH", undefined)
      assert.deepInclude(yield* rejection(client.resume({ session: session.sessionId })), {
        code: "ERR_SECRET_MISSING"
      })
      assert.strictEqual((yield* Effect.promise(() => client.status({ session: session.sessionId }))).state, "stopped")
      yield* destroy(client, session)
    })
  )

  it.effect("makes a password once for a session and keeps it over a halt", () =>
    Effect.gen(function* () {
      const { client, w } = yield* Connected
      const session = yield* up(client, w, { services: [{ ...worker, passwordEnv: "WORKER_PASSWORD" }] })
      const password = yield* printed(client, session, "printenv WORKER_PASSWORD")
      assert.match(password, /^[0-9a-z]{32}\n$/)
      yield* Effect.promise(() => client.down({ session: session.sessionId }))
      yield* Effect.promise(() => client.resume({ session: session.sessionId }))
      assert.strictEqual(yield* printed(client, session, "printenv WORKER_PASSWORD"), password)
      const other = yield* up(client, w, { services: [{ ...worker, passwordEnv: "WORKER_PASSWORD" }] })
      assert.notStrictEqual(yield* printed(client, other, "printenv WORKER_PASSWORD"), password)
      yield* destroy(client, session)
      yield* destroy(client, other)
    })
  )

  it.effect("I-92 stops no process that has the recorded number of a service and is not it", () =>
    Effect.gen(function* () {
      const { client, w } = yield* Connected
      const session = yield* up(client, w, { services: [worker] })
      const file = join(dirname(session.worktreePath!), "run", "services", "worker", "pid")
      process.kill(-pidOf(session, "worker"), "SIGKILL")
      yield* eventually("the worker is gone", () => processesOf(session, "worker").length === 0)
      // the pid of this very process, which the watcher is not
      writeFileSync(file, `${process.pid} 1\n`)
      const repaired = yield* Effect.promise(() => client.resume({ session: session.sessionId }))
      assert.isUndefined(repaired.already)
      assert.notStrictEqual(pidOf(session, "worker"), process.pid)
      yield* destroy(client, session)
      assert.deepEqual(remains(w), nothing)
    })
  )

  it.effect("I-89 gives its checkout up when asked, and never work that is nowhere else; resume makes it again", () =>
    Effect.gen(function* () {
      const { client, w } = yield* Connected
      const session = yield* up(client, w, { services: [web], keeping: { checkpoint: "manual" } })
      const [id, checkout] = [session.sessionId, session.worktreePath!]
      writeFileSync(join(checkout, "new.txt"), "work\n")
      const down = (more: object) => client.down({ session: id, deleteWorktree: true, ...more })
      assert.deepInclude(yield* rejection(down({})), { code: "ERR_DATA_LOSS_UNCONFIRMED" })
      assert.isTrue(existsSync(join(checkout, "new.txt")))
      w.git("-C", checkout, "add", "new.txt")
      w.git("-C", checkout, "commit", "--quiet", "--message", "work")
      assert.strictEqual((yield* Effect.promise(() => down({}))).state, "stopped")
      assert.deepEqual(remains(w).worktrees, [])
      assert.isFalse(existsSync(checkout))
      const again = yield* Effect.promise(() => client.resume({ session: id }))
      assert.deepInclude(again, { state: "ready", slot: session.slot, endpointUrl: session.endpointUrl })
      assert.strictEqual(readFileSync(join(again.worktreePath!, "new.txt"), "utf8"), "work\n")
      yield* destroy(client, session)
      w.git("branch", "--delete", "--force", session.workBranch)
    })
  )
})
