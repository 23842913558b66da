/** The plain asynchronous client: the same programs without a type of `effect`, on the local provider. */
import { spawnSync } from "node:child_process"
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { dirname, join, resolve } from "node:path"
import { fileURLToPath } from "node:url"
import { assert, describe, it, layer } from "@effect/vitest"
import { isSandboxFailure } from "@org/sandbox-core/promise"
import { Effect } from "effect"
import { vi } from "vitest"
import { Connected, collected, rejection } from "./support/client.ts"
import { heldGit } from "./support/heldGit.ts"
import { eventually, nothing, processesOf, processesWith, query, remains } from "./support/sandbox.ts"

/** The rejections that nobody handles from now on, until the scope closes. */
const rejections = Effect.acquireRelease(
  Effect.sync(() => {
    const seen: Array<unknown> = []
    const others = process.listeners("unhandledRejection")
    const listener = (reason: unknown) => void seen.push(reason)
    process.removeAllListeners("unhandledRejection").on("unhandledRejection", listener)
    return { listener, others, seen }
  }),
  ({ listener, others }) =>
    Effect.sync(() => {
      process.off("unhandledRejection", listener)
      for (const other of others) process.on("unhandledRejection", other)
    })
).pipe(Effect.map(({ seen }) => seen))

layer(Connected.layer, { excludeTestServices: true })("the promise client", (it) => {
  it.effect("brings up, runs, lists, halts, resumes, tells and destroys", () =>
    Effect.gen(function* () {
      const { client, events, w } = yield* Connected
      const request = { repository: w.repository, branch: "feature", provider: "local", clientRequestId: "k" }
      const up = yield* Effect.promise(() => client.up(request))
      assert.deepInclude(up, { state: "ready", name: "app-feature", targetCommitSha: w.git("rev-parse", "feature") })
      assert.deepEqual(yield* Effect.promise(() => client.up(request)), { ...up, replayed: true })

      const script = 'cat; printf "%s" "$1" >&2; exit 7'
      const running = yield* Effect.promise(() =>
        client.exec({
          session: up.sessionId,
          argv: ["sh", "-c", script, "sh", "two words"],
          stdin: (async function* () {
            yield new TextEncoder().encode("from ")
            yield new TextEncoder().encode("stdin")
          })()
        })
      )
      assert.deepEqual(yield* collected(running.output), { 1: "from stdin", 2: "two words" })
      assert.deepEqual(yield* Effect.promise(() => running.exit), { code: 7 })

      const [row, ...others] = (yield* Effect.promise(() => client.list())).sessions
      assert.deepEqual(others, [])
      assert.deepInclude(row, { sessionId: up.sessionId, state: "ready", claim: null })
      const session = { session: up.sessionId }
      assert.isTrue((yield* Effect.promise(() => client.status({ ...session, live: true }))).healthy)
      const down = yield* Effect.promise(() => client.down(session))
      assert.deepInclude(down, { state: "stopped" })
      assert.isTrue(down.checkpoint?.verified)
      assert.strictEqual((yield* Effect.promise(() => client.resume(session))).state, "ready")
      assert.strictEqual((yield* Effect.promise(() => client.destroy({ ...session, force: true }))).state, "destroyed")
      const history = yield* Effect.promise(() => client.history(session))
      assert.deepEqual(
        history.operations.map(({ status, verb }) => `${verb} ${status}`),
        ["up succeeded", "down succeeded", "resume succeeded", "destroy succeeded"]
      )
      assert.deepEqual((yield* Effect.promise(() => client.gc())).actions, [])
      assert.deepEqual(remains(w), nothing)

      const told = events.filter((event) => event.operationId === up.operationId)
      assert.isTrue(told.every(({ sessionId }) => sessionId === up.sessionId))
      assert.deepEqual(
        told.flatMap((event) => (event.type === "phase" ? [`${event.verb} ${event.phase} ${event.status}`] : [])),
        ["resolve", "provision", "workspace", "health"].flatMap((phase) =>
          ["started", "done"].map((status) => `up ${phase} ${status}`)
        )
      )
      assert.deepEqual(
        told.flatMap((event) => (event.type === "warning" ? [event.message] : [])),
        ["provider local does not isolate: commands run on this machine, as you"]
      )
    })
  )

  it.effect("reads logs, copies, looks, and gives commands a terminal", () =>
    Effect.gen(function* () {
      const { client, w } = yield* Connected
      const services = [{ name: "clock", command: "echo first; echo second; exec sleep 1000" }]
      const up = yield* Effect.promise(() =>
        client.up({ repository: w.repository, branch: "feature", provider: "local", setup: { services } })
      )
      const session = { session: up.sessionId }
      const read = (options: object) =>
        Effect.promise(async () => {
          const lines: Array<string> = []
          for await (const { line, service } of client.logs({ ...session, ...options })) {
            lines.push(`${service} ${new TextDecoder().decode(line)}`)
            if (lines.length === 2) break
          }
          return lines
        })
      assert.deepEqual(yield* read({}), ["clock first", "clock second"])
      assert.deepEqual(yield* read({ follow: true }), ["clock first", "clock second"])
      const { run } = yield* Effect.promise(() => client.execDetached({ ...session, argv: ["sh", "-c", "echo out"] }))
      assert.deepEqual(yield* read({ service: run, follow: true }), [`${run} out`])

      const target = join(w.directory, "copied.md")
      const copied = yield* Effect.promise(() => client.cp({ from: `${up.sessionId}:README.md`, to: target }))
      assert.strictEqual(copied.files, 1)
      assert.strictEqual(readFileSync(target, "utf8"), "# app\n")
      // however fast it ends, nothing of what it wrote is lost
      for (let time = 0; time < 10; time++) {
        const terminal = yield* Effect.promise(() =>
          client.exec({ ...session, argv: ["sh", "-c", "test -t 1 && stty size"], tty: { cols: 70, rows: 20 } })
        )
        assert.strictEqual((yield* collected(terminal.output))[1], "20 70\r\n")
        assert.strictEqual((yield* Effect.promise(() => terminal.exit)).code, 0)
      }
      const shown = yield* Effect.promise(() => client.env(session))
      assert.deepInclude(shown.env, { SANDBOX_NAME: up.name })
      assert.deepEqual((yield* Effect.promise(() => client.ports(session))).ports, [])
      assert.deepInclude(yield* Effect.promise(() => client.here({ directory: up.worktreePath! })), {
        sessionId: up.sessionId
      })
      const [pid] = processesOf(up, "clock")
      assert.deepInclude(yield* Effect.promise(() => client.ownerOf({ pid: pid! })), { service: "clock" })
      yield* Effect.promise(() => client.destroy({ ...session, force: true }))
      assert.deepEqual(remains(w), nothing)
    })
  )

  it.effect("fails with an Error that carries the fields of the contract", () =>
    Effect.gen(function* () {
      const { client, w } = yield* Connected
      const up = () => client.up({ repository: w.repository, branch: "nope", provider: "local", clientRequestId: "k2" })
      const first = yield* rejection(up())
      assert.isTrue(isSandboxFailure(first))
      assert.isTrue(first instanceof Error)
      const again = yield* rejection(up())
      if (!isSandboxFailure(first) || !isSandboxFailure(again)) return assert.fail("not a failure of the client")
      assert.deepInclude(
        { code: first.code, retryable: first.retryable, state: first.state },
        { code: "ERR_REPO_UNRESOLVED", retryable: false, state: "failed" }
      )
      assert.strictEqual(first.message, `${w.repository} has no branch "nope".`)
      assert.include(first.nextStep, "--base")
      assert.deepEqual([again.replayed, again.operationId], [true, first.operationId])
      const unknown = yield* rejection(client.status({ session: "nobody" }))
      assert.isTrue(isSandboxFailure(unknown) && unknown.code === "ERR_SESSION_NOT_FOUND")
    })
  )

  it.effect("I-33 rolls back an up whose signal is aborted, before it rejects", () =>
    Effect.gen(function* () {
      const { client, w } = yield* Connected
      const git = heldGit(w, { hold: "worktree add" })
      vi.stubEnv("PATH", git.env.PATH)
      yield* Effect.addFinalizer(() => Effect.sync(git.open))
      const request = { repository: w.repository, branch: "topic/one", provider: "local" }
      const abort = new AbortController()
      const up = client.up(request, { signal: abort.signal })
      const release = Effect.map(git.held(), () => abort.abort())
      const [error] = yield* Effect.all([rejection(up), release], { concurrency: 2 })
      assert.deepEqual(remains(w), nothing)
      const rows = query(
        w.ledger,
        "SELECT id, state, reserved_name, claim_token FROM sessions WHERE branch = 'topic/one'"
      )
      const { id, ...row } = rows[0] ?? assert.fail("there is no row")
      assert.deepEqual<object>(row, { state: "failed", reserved_name: null, claim_token: null })
      if (!isSandboxFailure(error)) return assert.fail(`not a failure of the client: ${error}`)
      assert.deepEqual([error.code, error.sessionId], ["ERR_INTERRUPTED", id])
      git.open()
      const again = yield* Effect.promise(() => client.up(request))
      assert.strictEqual(again.state, "ready")
      yield* Effect.promise(() => client.destroy({ session: again.sessionId, force: true }))
    })
  )

  it.effect("ends a command when it is killed, and when its signal is aborted", () =>
    Effect.gen(function* () {
      const { client, w } = yield* Connected
      const { sessionId } = yield* Effect.promise(() =>
        client.up({ repository: w.repository, branch: "feature", provider: "local" })
      )
      const started = join(w.directory, "started")
      const request = { session: sessionId, argv: ["sh", "-c", `: > ${started}; sleep 300 & wait`] }
      const one = yield* Effect.promise(() => client.exec(request))
      yield* eventually("the command runs", () => existsSync(started))
      yield* Effect.promise(() => one.kill("SIGKILL"))
      assert.deepEqual(yield* collected(one.output), { 1: "", 2: "" })
      assert.deepEqual(yield* Effect.promise(() => one.exit), { code: 137, signal: "SIGKILL" })

      rmSync(started)
      const abort = new AbortController()
      const two = yield* Effect.promise(() => client.exec(request, { signal: abort.signal }))
      yield* eventually("the command runs", () => existsSync(started))
      // whoever only reads the output need not look at how it ended
      const unhandled = yield* rejections
      const output = collected(two.output)
      abort.abort()
      yield* Effect.exit(output)
      yield* eventually("nothing of it runs", () => processesWith(`SANDBOX_BOX_KEY=${sessionId}.g1`).length === 0)
      yield* Effect.sleep("3 seconds") // longer than the command may take to end politely
      assert.deepEqual(unhandled, [])
    })
  )
})

describe("the declarations of the promise client", () => {
  it.live(
    "lead to no type of effect",
    () =>
      Effect.gen(function* () {
        const out = yield* Effect.acquireRelease(
          Effect.sync(() => mkdtempSync(join(tmpdir(), "sandbox-declarations-"))),
          (directory) => Effect.sync(() => rmSync(directory, { recursive: true }))
        )
        const root = fileURLToPath(new URL("..", import.meta.url))
        const project = join(root, "packages", "core", "tsconfig.json")
        const emit = ["--outDir", out, "--tsBuildInfoFile", join(out, ".tsbuildinfo")]
        // whether the package compiles is not the question here
        spawnSync(process.execPath, [join(root, "node_modules", "typescript", "bin", "tsc"), "-p", project, ...emit])
        const seen = new Map<string, ReadonlyArray<string>>()
        const walk = (file: string): void => {
          if (seen.has(file)) return
          const code = readFileSync(file, "utf8").replaceAll(/\/\*\*.*?\*\//gs, "")
          const found = code.matchAll(/(?:from|import\(|import)\s*["']([^"']+)["']/g)
          const imports = Array.from(found, ([, specifier = ""]) => specifier)
          seen.set(file, imports)
          for (const specifier of imports.filter((name) => name.startsWith("."))) {
            walk(resolve(dirname(file), specifier.replace(/\.(ts|js)$/, ".d.ts")))
          }
        }
        walk(join(out, "promise.d.ts"))
        assert.includeMembers(
          [...seen.keys()],
          ["promise", "Options", "Results", "Lifecycle"].map((name) => join(out, `${name}.d.ts`))
        )
        for (const [file, imports] of seen) {
          assert.deepEqual(
            imports.filter((name) => !name.startsWith(".")),
            [],
            file
          )
        }
        // a module with such types is where it was looked for
        assert.match(readFileSync(join(out, "Claim.d.ts"), "utf8"), /from "effect"/)
      }),
    { timeout: 120_000 }
  )
})
