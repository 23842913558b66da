import { spawn } from "node:child_process"
import { once } from "node:events"
import { createServer as createHttpServer, type RequestListener } from "node:http"
import { connect, createServer, type Server, type Socket } from "node:net"
import { networkInterfaces } from "node:os"
import { basename } from "node:path"
import { assert, describe, layer } from "@effect/vitest"
import { Effect, Exit, Layer, Schedule, Scope } from "effect"
import * as NodePorts from "../src/node/NodePorts.ts"
import { Ports } from "../src/Ports.ts"

const hasIpv6 = Object.values(networkInterfaces())
  .flat()
  .some((address) => address?.address === "::1")
const loopback = hasIpv6 ? ["127.0.0.1", "::1"] : ["127.0.0.1"]
const addresses = hasIpv6 ? [...loopback, "0.0.0.0", "::"] : [...loopback, "0.0.0.0"]

/** A server that listens until the scope closes, and then lets go of its clients too. */
const listening = <S extends Server>(server: S, host: string, port = 0) => {
  const sockets = new Set<Socket>()
  server.on("connection", (socket) => sockets.add(socket.on("error", () => {})))
  return Effect.acquireRelease(
    Effect.callback<S, NodeJS.ErrnoException>((resume) => {
      server.once("error", (error) => resume(Effect.fail(error)))
      server.listen({ host, port, exclusive: true, ipv6Only: host === "::" }, () => resume(Effect.succeed(server)))
    }),
    () =>
      Effect.callback<void>((resume) => {
        server.close(() => resume(Effect.void))
        for (const socket of sockets) socket.destroy()
      })
  )
}

const portOf = (server: Server): number => {
  const address = server.address()
  return typeof address === "object" && address !== null ? address.port : assert.fail("it has no port")
}

/** Listens in this process until the scope closes; on a free port when none is given. */
const listen = (host: string, port = 0) => Effect.map(listening(createServer(), host, port), portOf)

/** A port that nobody has, most probably not in the next moment either. */
const free = Effect.scoped(listen("0.0.0.0"))

const serve = (answer: RequestListener, host: string, port = 0) =>
  Effect.map(listening(createHttpServer(answer), host, port), portOf)

/** A process that listens, and says so. */
const program = (command: string, args: ReadonlyArray<string>) =>
  Effect.acquireRelease(
    Effect.promise(async () => {
      const child = spawn(command, args, { stdio: ["ignore", "pipe", "inherit"] })
      const [said] = await Promise.race([once(child.stdout, "data"), once(child, "exit").then(() => ["ended"])])
      return { pid: child.pid!, said: String(said).trim() }
    }),
    ({ pid }) => Effect.sync(() => process.kill(pid, "SIGKILL"))
  )

const listenElsewhere = (host: string) =>
  Effect.map(
    program(process.execPath, [
      "-e",
      `const s = require("node:net").createServer().listen(0, "${host}", () => console.log(s.address().port))`
    ]),
    ({ pid, said }) => ({ pid, port: Number(said) })
  )

/** Perl binds without SO_REUSEADDR, so that a connection that was closed a moment ago is in its way. */
const listenStrictly = (port: number) =>
  program("perl", [
    "-MIO::Socket::INET",
    "-e",
    `$| = 1; $s = IO::Socket::INET->new(LocalAddr => "127.0.0.1", LocalPort => ${port}, Listen => 1) or die "$!\\n"; print "bound\\n"; sleep 100`
  ])

/** Whether this process can listen there now. */
const canListen = (host: string, port: number) =>
  Effect.map(Effect.exit(Effect.scoped(listen(host, port))), Exit.isSuccess)

/** A connection, or one that was turned away. */
const client = (host: string, port: number) =>
  Effect.acquireRelease(
    Effect.callback<Socket>((resume) => {
      const socket = connect({ host, port }).on("error", () => {})
      for (const event of ["connect", "close"]) socket.once(event, () => resume(Effect.succeed(socket)))
    }),
    (socket) => Effect.sync(() => socket.destroy())
  )

layer(NodePorts.layer, { excludeTestServices: true, timeout: "30 seconds" })("the ports of this host", (it) => {
  describe("who listens", () => {
    for (const address of addresses) {
      it.effect(`is found on ${address}`, () =>
        Effect.gen(function* () {
          const { listener } = yield* Ports
          const port = yield* listen(address)
          assert.deepStrictEqual(yield* listener(port), {
            port,
            pid: process.pid,
            command: basename(process.execPath)
          })
        })
      )
    }

    it.effect("is found in another process, by pid and program", () =>
      Effect.gen(function* () {
        const { listener, listeningOn } = yield* Ports
        const other = yield* listenElsewhere("127.0.0.1")
        assert.deepStrictEqual(yield* listener(other.port), { ...other, command: basename(process.execPath) })
        assert.deepStrictEqual(yield* listeningOn(other.pid), [other.port])
      })
    )

    it.effect("is nobody on a free port, nor once the listener has gone", () =>
      Effect.gen(function* () {
        const { listener } = yield* Ports
        const port = yield* free
        assert.isUndefined(yield* listener(port))
        const other = yield* Effect.scoped(listenElsewhere("127.0.0.1"))
        const gone = listener(other.port).pipe(
          Effect.repeat({ until: (found) => found === undefined, schedule: Schedule.spaced("5 millis") })
        )
        assert.isUndefined(yield* gone)
      })
    )

    it.effect("is not a client that has the port as its own", () =>
      Effect.gen(function* () {
        const { listener, listeningOn } = yield* Ports
        const port = yield* listen("127.0.0.1")
        const { localPort } = yield* client("127.0.0.1", port)
        assert.isUndefined(yield* listener(localPort!))
        assert.include(yield* listeningOn(process.pid), port)
        assert.notInclude(yield* listeningOn(process.pid), localPort!)
      })
    )

    it.effect("is answered for many ports in one look", () =>
      Effect.gen(function* () {
        const { listeners } = yield* Ports
        const own = yield* Effect.forEach(addresses, (address) => listen(address))
        const others = yield* Effect.forEach([1, 2], () => listenElsewhere("127.0.0.1"))
        const nobody = yield* free
        const found = yield* listeners([nobody, ...own, ...others.map(({ port }) => port)])
        assert.deepStrictEqual(
          [...found].map(([port, { pid }]) => [port, pid]),
          [...own.map((port) => [port, process.pid]), ...others.map(({ pid, port }) => [port, pid])]
        )
        assert.strictEqual((yield* listeners([])).size, 0)
      })
    )
  })

  describe("a port that is held", () => {
    it.effect("I-87 cannot be bound by anybody on any address, and can be at once afterwards", () =>
      Effect.gen(function* () {
        const { hold } = yield* Ports
        const port = yield* free
        const scope = yield* Scope.make()
        yield* Scope.provide(hold(port), scope)
        for (const address of addresses) assert.isFalse(yield* canListen(address, port), address)
        yield* Scope.close(scope, Exit.void)
        for (const address of addresses) assert.isTrue(yield* canListen(address, port), address)
      })
    )

    it.effect("cannot be held twice", () =>
      Effect.gen(function* () {
        const { hold } = yield* Ports
        const port = yield* free
        yield* hold(port)
        const refused = yield* Effect.flip(hold(port))
        assert.strictEqual(refused.port, port)
        assert.isFalse(yield* canListen("127.0.0.1", port))
      })
    )

    for (const address of addresses) {
      it.effect(`cannot be one that somebody has on ${address} alone, and nothing of it is kept then`, () =>
        Effect.gen(function* () {
          const { hold } = yield* Ports
          const { port } = yield* listenElsewhere(address)
          yield* Effect.scoped(Effect.flip(hold(port)))
          const other = address.includes(":") ? "127.0.0.1" : "::1"
          // Node's :: is that of both families
          if (hasIpv6 && address !== "::") assert.isTrue(yield* canListen(other, port))
        })
      )
    }

    it.effect("turns clients away, and they are in nobody's way afterwards", () =>
      Effect.gen(function* () {
        const { hold, listener } = yield* Ports
        const port = yield* free
        yield* Effect.scoped(
          Effect.gen(function* () {
            yield* hold(port)
            for (const address of loopback) {
              const socket = yield* client(address, port)
              if (!socket.closed) yield* Effect.promise(() => once(socket, "close"))
            }
          })
        )
        assert.isUndefined(yield* listener(port))
        const strict = yield* listenStrictly(port)
        assert.strictEqual(strict.said, "bound")
        assert.strictEqual((yield* listener(port))?.pid, strict.pid)
      })
    )
  })

  describe("a port", () => {
    for (const address of addresses) {
      it.effect(`accepts when something listens on ${address}`, () =>
        Effect.gen(function* () {
          const { accepts } = yield* Ports
          const port = yield* listen(address)
          assert.isTrue(yield* accepts(port))
        })
      )
    }

    it.effect("accepts nothing when nobody listens", () =>
      Effect.gen(function* () {
        const { accepts } = yield* Ports
        assert.isFalse(yield* accepts(yield* free))
      })
    )
  })

  describe("the status of a URL", () => {
    for (const address of loopback) {
      for (const named of ["127.0.0.1", "localhost", "[::1]"]) {
        it.effect(`is that of a server on ${address} alone, asked for at ${named}`, () =>
          Effect.gen(function* () {
            const { httpStatus } = yield* Ports
            const hosts: Array<string | undefined> = []
            const port = yield* serve((request, response) => {
              hosts.push(`${request.headers.host} ${request.url}`)
              response.writeHead(204).end()
            }, address)
            assert.strictEqual(yield* httpStatus(`http://${named}:${port}/health?deep=1`), 204)
            assert.deepStrictEqual(hosts, [`${named}:${port} /health?deep=1`])
          })
        )
      }
    }

    it.effect.skipIf(!hasIpv6)("is by the address that was asked, with a server on each (needs IPv6)", () =>
      Effect.gen(function* () {
        const { httpStatus } = yield* Ports
        const port = yield* serve((_, response) => response.writeHead(200).end(), "127.0.0.1")
        yield* serve((_, response) => response.writeHead(500).end(), "::1", port)
        assert.strictEqual(yield* httpStatus(`http://127.0.0.1:${port}/`), 200)
        assert.strictEqual(yield* httpStatus(`http://[::1]:${port}/`), 500)
      })
    )

    it.effect("is what the server says, without following it", () =>
      Effect.gen(function* () {
        const { httpStatus } = yield* Ports
        const port = yield* serve(
          (request, response) => response.writeHead(Number(request.url?.slice(1)), { location: "/200" }).end(),
          "127.0.0.1"
        )
        for (const status of [200, 302, 404, 503]) {
          assert.strictEqual(yield* httpStatus(`http://127.0.0.1:${port}/${status}`), status)
        }
      })
    )

    it.effect("leaves nothing behind that is in the way of a server's next start", () =>
      Effect.gen(function* () {
        const { accepts, httpStatus } = yield* Ports
        const port = yield* Effect.scoped(
          Effect.gen(function* () {
            const ended: Array<Promise<unknown>> = []
            const server = createHttpServer((_, response) => response.end("fine")).on("connection", (socket) =>
              ended.push(once(socket, "close"))
            )
            const port = portOf(yield* listening(server, "127.0.0.1"))
            assert.strictEqual(yield* httpStatus(`http://127.0.0.1:${port}/`), 200)
            assert.isTrue(yield* accepts(port))
            yield* Effect.promise(() => Promise.all(ended))
            return port
          })
        )
        assert.strictEqual((yield* listenStrictly(port)).said, "bound")
      })
    )

    it.effect("is there before a body that never ends", () =>
      Effect.gen(function* () {
        const { httpStatus } = yield* Ports
        const port = yield* serve((_, response) => {
          response.writeHead(200, { "content-type": "text/event-stream" })
          response.write("data: 1\n\n")
        }, "127.0.0.1")
        assert.strictEqual(yield* httpStatus(`http://127.0.0.1:${port}/`), 200)
      })
    )

    it.effect("is none when nobody answers, or in another language, or not in time", () =>
      Effect.gen(function* () {
        const { httpStatus } = yield* Ports
        assert.isUndefined(yield* httpStatus(`http://127.0.0.1:${yield* free}/`))
        const other = yield* listening(
          createServer((socket) => socket.end("220 mail\r\n")),
          "127.0.0.1"
        )
        assert.isUndefined(yield* httpStatus(`http://127.0.0.1:${portOf(other)}/`))
        const silent = yield* serve(() => {}, "127.0.0.1")
        assert.isUndefined(yield* httpStatus(`http://127.0.0.1:${silent}/`))
        // one header after the other, without end: activity is no answer
        const trickling = yield* listening(
          createServer((socket) => {
            socket.write("HTTP/1.1 200 OK\r\n")
            const more = setInterval(() => socket.write("a: b\r\n"), 100)
            socket.on("close", () => clearInterval(more))
          }),
          "127.0.0.1"
        )
        assert.isUndefined(yield* httpStatus(`http://127.0.0.1:${portOf(trickling)}/`))
      })
    )
  })
})

describe("the answer of lsof", () => {
  layer(Layer.empty)((it) => {
    it.effect("has a process, its program and its ports on lines of their own", () =>
      Effect.sync(() => {
        const text = [
          "p501",
          "cnode",
          "f21",
          "n127.0.0.1:3000",
          "f22",
          "n[::1]:3001",
          "p502",
          "cMy Program",
          "f3",
          "n*:8080",
          ""
        ].join("\n")
        assert.deepStrictEqual(NodePorts.parseLsof(text), [
          { port: 3000, pid: 501, command: "node" },
          { port: 3001, pid: 501, command: "node" },
          { port: 8080, pid: 502, command: "My Program" }
        ])
        assert.deepStrictEqual(NodePorts.parseLsof(""), [])
      })
    )
  })
})
