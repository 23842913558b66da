/** That the wire to an engine, which other tests cut, passes everything else and is cut where it says. */
import { createHash, randomUUID } from "node:crypto"
import { once } from "node:events"
import { Agent, request as http, type IncomingMessage } from "node:http"
import type { Socket } from "node:net"
import { assert, it } from "@effect/vitest"
import { Effect, Fiber } from "effect"
import { describeDocker } from "./docker.ts"
import * as Docker from "./support/docker.ts"
import { type LossyEngine, lossyEngine } from "./support/lossyEngine.ts"

/** A label of this test's own; what carries it goes with the scope. */
const label = Effect.acquireRelease(
  Effect.sync(() => `org.sandbox.test=${randomUUID()}`),
  (label) => Docker.removeLabelled(label)
)

const config = (label: string, ...command: ReadonlyArray<string>) => {
  const [name = "", value] = label.split("=")
  return { Image: Docker.images.base, Cmd: command, Labels: { [name]: value }, HostConfig: { Init: true } }
}

/** Makes a container by way of the wire. */
const create = ({ path }: LossyEngine, label: string, ...command: ReadonlyArray<string>) =>
  Docker.request("POST", "/containers/create", { at: path, body: config(label, ...command) })

const count = (label: string) => Effect.map(Docker.containers(label), ({ length }) => length)

/** Runs a command in a container on a connection that is taken over. */
const attached = Effect.fnUntraced(function* (at: string, id: string, ...command: ReadonlyArray<string>) {
  const made = yield* Docker.request("POST", `/containers/${id}/exec`, {
    at,
    body: { Cmd: command, AttachStdin: true, AttachStdout: true }
  })
  return yield* Effect.promise(async () => {
    const headers = { host: "docker", "content-type": "application/json", connection: "Upgrade", upgrade: "tcp" }
    const asked = http({ socketPath: at, method: "POST", path: `/exec/${made.json().Id}/start`, headers })
    asked.end(JSON.stringify({ Detach: false, Tty: false }))
    const [reply, socket, head]: [IncomingMessage, Socket, Buffer] = (await once(asked, "upgrade")) as never
    assert.strictEqual(reply.statusCode, 101)
    socket.unshift(head)
    return socket
  })
})

/** What a command printed, without what tells its streams apart. */
const printed = (socket: Socket) =>
  Effect.promise(async () => {
    let bytes = Buffer.concat(await socket.toArray())
    const parts: Array<Buffer> = []
    while (bytes.length > 0) {
      const end = 8 + bytes.readUInt32BE(4)
      parts.push(bytes.subarray(8, end))
      bytes = bytes.subarray(end)
    }
    return Buffer.concat(parts)
  })

const digest = (bytes: Buffer) => createHash("sha256").update(bytes).digest("hex")

describeDocker("an engine behind a wire", () => {
  it.live("is as it is without: answers, archives, streams and connections that are taken over", () =>
    Effect.gen(function* () {
      const mine = yield* label
      const wire = yield* lossyEngine()
      const { id } = yield* Effect.map(create(wire, mine, "sleep", "infinity"), ({ json, status }) => {
        assert.strictEqual(status, 201)
        return { id: json().Id as string }
      })
      assert.strictEqual(yield* count(mine), 1)
      yield* Docker.start(id)

      const archive = `/containers/${id}/archive?path=/bin/busybox`
      const [direct, through] = yield* Effect.all([
        Docker.request("GET", archive),
        Docker.request("GET", archive, { at: wire.path })
      ])
      assert.isAbove(through.body.length, 1_000_000)
      assert.strictEqual(digest(through.body), digest(direct.body))

      const put = yield* Docker.request("PUT", `/containers/${id}/archive?path=/tmp`, {
        at: wire.path,
        body: through.body,
        type: "application/x-tar"
      })
      assert.strictEqual(put.status, 200, put.body.toString())

      // more than any buffer on the way, and the end of one direction before that of the other
      const socket = yield* attached(wire.path, id, "sha256sum")
      const sent = Buffer.alloc(5_000_000, "GET / HTTP/1.1\r\n\r\n")
      socket.end(sent)
      assert.strictEqual((yield* printed(socket)).toString(), `${digest(sent)}  -\n`)

      const missing = yield* Docker.request("HEAD", `/containers/${id}/archive?path=/none`, { at: wire.path })
      assert.strictEqual(missing.status, 404)
      assert.deepStrictEqual(
        wire.requests.map(({ method, path }) => `${method} ${path.replaceAll(/[0-9a-f]{64}/g, "…")}`),
        [
          "POST /containers/create",
          "GET /containers/…/archive?path=/bin/busybox",
          "PUT /containers/…/archive?path=/tmp",
          "POST /containers/…/exec",
          "POST /exec/…/start",
          "HEAD /containers/…/archive?path=/none"
        ]
      )
    }).pipe(Effect.scoped)
  )

  it.live("has done what it was asked when its reply is lost, for the request that was meant", () =>
    Effect.gen(function* () {
      const mine = yield* label
      const wire = yield* lossyEngine()
      const { met } = wire.arm({ method: "POST", path: /\/containers\/create/, nth: 2, at: "reply" })
      assert.strictEqual((yield* create(wire, mine, "true")).status, 201)
      const lost = yield* Effect.flip(create(wire, mine, "true"))
      assert.strictEqual(lost.code, "ECONNRESET")
      yield* met
      assert.strictEqual(yield* count(mine), 2)
      assert.strictEqual((yield* create(wire, mine, "true")).status, 201)
      assert.strictEqual(yield* count(mine), 3)
    }).pipe(Effect.scoped)
  )

  it.live("tells requests on one connection apart", () =>
    Effect.gen(function* () {
      const mine = yield* label
      const wire = yield* lossyEngine()
      const id = (yield* create(wire, mine, "true")).json().Id
      const agent = yield* Effect.acquireRelease(
        Effect.sync(() => new Agent({ keepAlive: true, maxSockets: 1 })),
        (agent) => Effect.sync(() => agent.destroy())
      )
      const path = `/containers/${id}/archive?path=/bin`
      const ask = Docker.request("GET", path, { at: wire.path, agent })
      const { met } = wire.arm({ method: "GET", path: /archive/, nth: 3, at: "reply" })
      for (let times = 0; times < 2; times++) {
        const { body, headers } = yield* ask
        assert.strictEqual(headers["transfer-encoding"], "chunked")
        assert.isAbove(body.length, 1_000_000)
      }
      // not a byte of it
      assert.strictEqual((yield* Effect.flip(ask)).message, "socket hang up")
      yield* met
      assert.deepStrictEqual(
        wire.requests.slice(1),
        Array.from({ length: 3 }, () => ({ method: "GET", path }))
      )
    }).pipe(Effect.scoped)
  )

  it.live("has heard nothing of a request that is cut", () =>
    Effect.gen(function* () {
      const mine = yield* label
      const wire = yield* lossyEngine()
      const { met } = wire.arm({ method: "POST", path: /create/, at: "request" })
      assert.strictEqual((yield* Effect.flip(create(wire, mine, "true"))).code, "ECONNRESET")
      yield* met
      assert.strictEqual(wire.requests.length, 1)
      assert.strictEqual((yield* create(wire, mine, "true")).status, 201)
      assert.strictEqual(yield* count(mine), 1)
    }).pipe(Effect.scoped)
  )

  it.live("answers late, having done it, when it is let", () =>
    Effect.gen(function* () {
      const mine = yield* label
      const wire = yield* lossyEngine()
      const { met, release } = wire.arm({ method: "POST", path: /create/, at: "late" })
      const asked = yield* Effect.forkScoped(create(wire, mine, "true"))
      yield* met
      assert.strictEqual(yield* count(mine), 1)
      assert.isUndefined(asked.pollUnsafe())
      yield* release
      assert.strictEqual((yield* Fiber.join(asked)).status, 201)
    }).pipe(Effect.scoped)
  )

  it.live("refuses connections as one that does not run, and takes them again", () =>
    Effect.gen(function* () {
      const wire = yield* lossyEngine()
      const ping = Docker.request("GET", "/_ping", { at: wire.path })
      yield* wire.refuse(true)
      assert.strictEqual((yield* Effect.flip(ping)).code, "ECONNREFUSED")
      yield* wire.refuse(false)
      assert.strictEqual((yield* ping).body.toString(), "OK")
    }).pipe(Effect.scoped)
  )

  it.live("loses every connection at once, also one that was taken over", () =>
    Effect.gen(function* () {
      const mine = yield* label
      const wire = yield* lossyEngine()
      const id = (yield* create(wire, mine, "sleep", "infinity")).json().Id
      yield* Docker.start(id)
      const wait = yield* Effect.forkScoped(
        Effect.flip(Docker.request("POST", `/containers/${id}/wait`, { at: wire.path }))
      )
      const socket = yield* attached(wire.path, id, "cat")
      const closed = once(socket, "close")
      yield* wire.cutAll
      yield* Effect.promise(() => closed)
      assert.strictEqual((yield* Fiber.join(wait)).code, "ECONNRESET")
      const state = (yield* Docker.inspect("containers", id)).State
      assert.isTrue(state.Running)
    }).pipe(Effect.scoped)
  )

  it.live("says nothing while it is frozen, and hears and answers everything when it is thawed", () =>
    Effect.gen(function* () {
      const mine = yield* label
      const wire = yield* lossyEngine()
      const id = (yield* create(wire, mine, "sleep", "infinity")).json().Id
      yield* Docker.start(id)
      const socket = yield* attached(wire.path, id, "cat")
      yield* wire.freeze
      socket.end("before and after\n")
      const asked = yield* Effect.forkScoped(create(wire, mine, "true"))
      // what could pass would have done so long before
      yield* Effect.sleep("500 millis")
      assert.isUndefined(asked.pollUnsafe())
      assert.strictEqual(socket.readableLength, 0)
      assert.strictEqual(yield* count(mine), 1)
      yield* wire.thaw
      assert.strictEqual((yield* Fiber.join(asked)).status, 201)
      assert.strictEqual((yield* printed(socket)).toString(), "before and after\n")
    }).pipe(Effect.scoped)
  )
})
