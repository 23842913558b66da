/** The services of a session in its status: from the ledger, and as they are seen. */
import { rmSync, writeFileSync } from "node:fs"
import { createServer } from "node:net"
import { join } from "node:path"
import { assert, layer } from "@effect/vitest"
import type { ServiceOptions, UpResult } from "@org/sandbox-core/promise"
import { Effect } from "effect"
import { Connected } from "./support/client.ts"
import { vacant } from "./support/ports.ts"
import { eventually, type Outcome, processesOf, type World } from "./support/sandbox.ts"

interface Service {
  readonly name: string
  readonly port: number | null
  readonly url: string | null
  readonly pid: number | null
  readonly exit_code: number | null
  readonly managed: boolean
  readonly healthy: boolean | null
  readonly listener_pid: number | null
  readonly wrong_owner: boolean | null
}

const answer = (outcome: Outcome) =>
  outcome.json() as unknown as {
    readonly healthy: boolean
    readonly health: { readonly status: string }
    readonly recovery: { readonly command: string; readonly reason: string } | null
    readonly services: ReadonlyArray<Service>
  }

const server = `require("node:http").createServer((_, r) => r.end("")).listen(process.env.PORT, "127.0.0.1")`
const web = (base: number): ServiceOptions => ({
  name: "web",
  command: ["node", "-e", server],
  ports: [{ name: "web", base }],
  health: { kind: "http", path: "/" }
})
const worker: ServiceOptions = { name: "worker", command: "exec sleep 1000" }

const up = Effect.fnUntraced(function* (name: string, services: ReadonlyArray<ServiceOptions>) {
  const { client, w } = yield* Connected
  return yield* Effect.promise(() =>
    client.up({ repository: w.repository, branch: name, base: "main", name, provider: "local", setup: { services } })
  )
})

const live = (w: World, { name }: UpResult) => w.sandbox("status", name, "--live", "--json")

const kill = (session: UpResult, service: string) =>
  Effect.andThen(
    Effect.sync(() => {
      for (const pid of processesOf(session, service)) process.kill(pid, "SIGKILL")
    }),
    eventually(`${service} is gone`, () => processesOf(session, service).length === 0)
  )

layer(Connected.layer, { excludeTestServices: true })("status", (it) => {
  it.effect("tells of every service what the ledger knows, and what is seen of it when asked", () =>
    Effect.gen(function* () {
      const { w } = yield* Connected
      const session = yield* up("seen", [web(yield* vacant(10)), worker])
      const port = session.ports["web"]!
      const unknown = {
        pid: null,
        exit_code: null,
        managed: true,
        healthy: null,
        listener_pid: null,
        wrong_owner: null
      }
      const recorded = yield* w.sandbox("status", "seen", "--json")
      assert.deepEqual<object>(answer(recorded).services, [
        { name: "web", port, url: `http://127.0.0.1:${port}`, ...unknown },
        { name: "worker", port: null, url: null, ...unknown }
      ])
      const outcome = yield* live(w, session)
      assert.strictEqual(outcome.code, 0, outcome.stdout)
      const [seen, other] = answer(outcome).services
      assert.include(seen!, { port, url: `http://127.0.0.1:${port}`, healthy: true, wrong_owner: false })
      assert.include(processesOf(session, "web"), seen!.listener_pid)
      assert.include(processesOf(session, "web"), seen!.pid)
      assert.include(other!, { healthy: true, listener_pid: null, wrong_owner: null })
      assert.include(processesOf(session, "worker"), other!.pid)
    })
  )

  it.effect("is degraded, with exit code 4 and the command that repairs it, when a service is down", () =>
    Effect.gen(function* () {
      const { w } = yield* Connected
      const gate = join(w.directory, "gate")
      const until = `until [ -e ${gate} ]; do sleep 0.1; done; exit 3`
      const session = yield* up("degraded", [worker, { name: "done", command: until }])
      yield* kill(session, "worker")
      writeFileSync(gate, "")
      yield* eventually("the other one ends", () => processesOf(session, "done").length === 0)
      const outcome = yield* live(w, session)
      assert.strictEqual(outcome.code, 4)
      const { health, healthy, recovery, services } = answer(outcome)
      assert.deepEqual({ status: health.status, healthy }, { status: "degraded", healthy: false })
      assert.deepEqual(
        services.map(({ exit_code, healthy, name, pid }) => ({ name, healthy, pid, exit_code })),
        [
          { name: "worker", healthy: false, pid: null, exit_code: null },
          { name: "done", healthy: false, pid: null, exit_code: 3 }
        ]
      )
      assert.deepEqual(recovery, { command: `sandbox resume ${session.sessionId}`, reason: "worker, done do not work" })
      rmSync(gate)
      assert.strictEqual((yield* w.sandbox("resume", "degraded")).code, 0)
      const repaired = yield* live(w, session)
      assert.strictEqual(repaired.code, 0, repaired.stdout)
    })
  )

  it.effect("does not take somebody else's listener for the service's", () =>
    Effect.gen(function* () {
      const { w } = yield* Connected
      const session = yield* up("intruder", [web(yield* vacant(10))])
      yield* kill(session, "web")
      yield* Effect.acquireRelease(
        Effect.callback<ReturnType<typeof createServer>>((resume) => {
          const other = createServer((socket) => socket.end("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"))
          other.listen(session.ports["web"], "127.0.0.1", () => resume(Effect.succeed(other)))
        }),
        (other) => Effect.sync(() => other.close())
      )
      const outcome = yield* live(w, session)
      assert.strictEqual(outcome.code, 4)
      assert.include(answer(outcome).services[0]!, { healthy: false, wrong_owner: true, listener_pid: process.pid })
    })
  )
})
