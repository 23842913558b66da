/** How the client gets to an engine, and what it says where it does not: over real sockets, TLS and ssh. */
import { execFileSync } from "node:child_process"
import { once } from "node:events"
import { chmodSync } from "node:fs"
import { createServer, type Socket } from "node:net"
import { fileURLToPath } from "node:url"
import { assert, describe, it } from "@effect/vitest"
import * as Address from "@org/sandbox-provider-docker/Address"
import * as DockerClient from "@org/sandbox-provider-docker/DockerClient"
import { classify, type Problem } from "@org/sandbox-provider-docker/DockerError"
import * as Engine from "@org/sandbox-provider-docker/Engine"
import * as Exec from "@org/sandbox-provider-docker/Exec"
import { Deferred, Effect, Fiber, Layer, Result, Schedule, Stream } from "effect"
import { describeDocker } from "../../../test/docker.ts"
import * as Docker from "../../../test/support/docker.ts"
import { heldBuffers } from "./boxes.ts"
import * as Wires from "./wires.ts"

/** What needs an OpenSSH server says in its name that there is none. */
const [overSsh, without] =
  Wires.noSshServer === undefined ? [it.live, ""] : [it.live.skip, ` (skipped: ${Wires.noSshServer})`]

const plain: DockerClient.Tls = { verify: true }

const clientOf = (address: string, tls: DockerClient.Tls = plain) =>
  Layer.fresh(DockerClient.layer({ address: Result.getOrThrow(Address.parse(address, tls !== plain)), tls }))

const at = ({ port }: Wires.Listener) => `tcp://127.0.0.1:${port}`

/** What asking an engine fails with, as the provider's caller has it. */
const refusal = (address: string, tls?: DockerClient.Tls) =>
  Effect.map(Effect.flip(Effect.provide(Engine.info, clientOf(address, tls))), (problem: Problem) => {
    const { message, outcome, reason } = classify("stop")(problem)
    return [reason, outcome, message] as const
  })

const ends = { schedule: Schedule.spaced("20 millis"), times: 250 } as const

/** Waits until something is so. */
const until = (what: string, isSo: () => boolean) =>
  Effect.suspend(() => (isSo() ? Effect.void : Effect.fail(new Error(`never: ${what}`)))).pipe(Effect.retry(ends))

const label = `org.sandbox.test.client=${process.pid}`

/** A container that only waits, gone with the scope. */
const container = Effect.acquireRelease(
  Docker.create({
    Image: Docker.images.base,
    Cmd: ["sleep", "1000"],
    HostConfig: { NetworkMode: "none" },
    Labels: { "org.sandbox.test.client": String(process.pid) }
  }),
  () => Docker.removeLabelled(label)
).pipe(Effect.tap(Docker.start))

/** Runs a shell script in a container to its end. */
const run = Effect.fnUntraced(function* (id: string, script: string, stdin?: Stream.Stream<Uint8Array>) {
  const handle = yield* Exec.start(id, { argv: ["sh", "-c", script], cwd: "/", stdin })
  const output = yield* Stream.runCollect(handle.output)
  return { out: Buffer.concat(output.map(({ bytes }) => bytes)), ...(yield* handle.exit) }
}, Effect.scoped)

const noise = Stream.unfold(0, (n) =>
  Effect.sync(() => (n === 48 ? undefined : ([new Uint8Array(65_536).fill(n), n + 1] as const)))
)

/** What every way to an engine must carry. */
const everything = Effect.fnUntraced(function* (id: string) {
  assert.strictEqual((yield* Engine.info).OSType, "linux")
  // nobody sends anything: the command sees the end of its input
  assert.deepInclude(yield* run(id, "cat; echo end; exit 7"), { out: Buffer.from("end\n"), code: 7 })
  // all of it is sent, its end is, and the answer comes after that
  const sum = yield* run(id, "cat | sha256sum", noise)
  const expected = execFileSync("sha256sum", { input: Buffer.concat(yield* Stream.runCollect(noise)) })
  assert.strictEqual(sum.out.toString(), expected.toString())
  // there and back at once
  const back = yield* run(id, "cat", noise)
  assert.strictEqual(back.out.length, 48 * 65_536)
})

/** The processes of this one that are started as `ssh … docker system dial-stdio`. */
const relays = () =>
  execFileSync("ps", ["-o", "pid=,args=", "--ppid", String(process.pid)], { encoding: "utf8" })
    .split("\n")
    .filter((line) => line.includes("dial-stdio"))
    .map((line) => Number.parseInt(line, 10))

describeDocker("a client reaches the engine", () => {
  it.live("over its socket", () =>
    Effect.gen(function* () {
      const id = yield* container
      yield* Effect.provide(everything(id), clientOf(`unix://${Docker.socket}`))
    }).pipe(Effect.scoped)
  )

  it.live("over TCP, and leaves no connection behind", () =>
    Effect.gen(function* () {
      const id = yield* container
      const wire = yield* Wires.relay()
      yield* Effect.provide(everything(id), clientOf(at(wire)))
      yield* until("no connection is open", () => wire.open.size === 0)
    }).pipe(Effect.scoped)
  )

  it.live("over TLS, each side showing its certificate, and leaves no connection behind", () =>
    Effect.gen(function* () {
      const id = yield* container
      const { demanding, known } = yield* Wires.certificates
      const wire = yield* Wires.relay(demanding("server"))
      yield* Effect.provide(everything(id), clientOf(at(wire), known))
      yield* until("no connection is open", () => wire.open.size === 0)
    }).pipe(Effect.scoped)
  )

  overSsh(`through ssh, and leaves no ssh behind${without}`, () =>
    Effect.gen(function* () {
      const id = yield* container
      const ssh = yield* Wires.sshServer
      yield* Wires.firstOnPath(ssh.known)
      const seen = yield* Effect.provide(
        Effect.gen(function* () {
          yield* everything(id)
          return relays().length
        }),
        clientOf(ssh.address)
      )
      assert.isAbove(seen, 0)
      yield* until("no ssh runs", () => relays().length === 0)
    }).pipe(Effect.scoped)
  )

  for (const [way, wired] of [
    ["a socket", Effect.succeed(clientOf(`unix://${Docker.socket}`))],
    [
      "TLS",
      Effect.gen(function* () {
        const { known, server } = yield* Wires.certificates
        return clientOf(at(yield* Wires.relay(server("server"))), known)
      })
    ]
  ] as const) {
    it.live(`and holds little of 100 MB of output, over ${way}`, () =>
      Effect.gen(function* () {
        const id = yield* container
        const client = yield* wired
        const size = 100 * 2 ** 20
        yield* Effect.gen(function* () {
          const handle = yield* Exec.start(id, { argv: ["head", "-c", String(size), "/dev/zero"], cwd: "/" })
          const before = heldBuffers()
          let got = 0
          let most = 0
          let chunks = 0
          yield* Stream.runForEach(handle.output, ({ bytes }) =>
            Effect.sync(() => {
              got += bytes.length
              if (chunks++ % 600 === 0) most = Math.max(most, heldBuffers() - before)
            })
          )
          assert.strictEqual(got, size)
          assert.isAbove(chunks, 1200)
          // what was read and not collected yet counts as held, and is a matter of the collector
          assert.isBelow(most, 32 * 2 ** 20)
          assert.deepStrictEqual(yield* handle.exit, { code: 0 })
        }).pipe(Effect.scoped, Effect.provide(client))
      }).pipe(Effect.scoped)
    )
  }

  it.live("and a command waits for whoever reads its output slowly", () =>
    Effect.gen(function* () {
      const id = yield* container
      let passed = 0
      const wire = yield* Wires.relay(undefined, (bytes) => {
        passed += bytes.length
        return bytes
      })
      yield* Effect.gen(function* () {
        const handle = yield* Exec.start(id, { argv: ["head", "-c", String(64 * 2 ** 20), "/dev/zero"], cwd: "/" })
        const reading = yield* Deferred.make<void>()
        const goOn = yield* Deferred.make<void>()
        let got = 0
        const reader = yield* Effect.forkChild(
          Stream.runForEach(handle.output, ({ bytes }) => {
            got += bytes.length
            return Effect.andThen(Deferred.succeed(reading, undefined), Deferred.await(goOn))
          })
        )
        yield* Deferred.await(reading)
        // what is on its way settles: twice the same is no progress
        let last = -1
        yield* Effect.suspend(() => {
          const still = last === passed
          last = passed
          return still ? Effect.void : Effect.fail("it moves")
        }).pipe(Effect.retry({ schedule: Schedule.spaced("200 millis"), times: 100 }))
        assert.isBelow(passed, 16 * 2 ** 20)
        yield* Deferred.succeed(goOn, undefined)
        yield* Fiber.join(reader)
        assert.strictEqual(got, 64 * 2 ** 20)
      }).pipe(Effect.scoped, Effect.provide(clientOf(at(wire))))
    }).pipe(Effect.scoped)
  )

  it.live("and what nobody reads is closed with its scope", () =>
    Effect.gen(function* () {
      const id = yield* container
      const wire = yield* Wires.relay()
      yield* Effect.gen(function* () {
        const client = yield* DockerClient.DockerClient
        yield* Effect.scoped(
          Effect.gen(function* () {
            const exec = yield* Engine.createExec(id, { Cmd: ["sleep", "1000"], AttachStdin: true, AttachStdout: true })
            yield* Engine.startExec(exec, false)
            yield* until("it is connected", () => wire.open.size > 0)
          })
        )
        // all that the other side sees of that; the command, which nobody ended, keeps its end open
        yield* until("the taken connection is closed", () => [...wire.open].some(({ readableEnded }) => readableEnded))
        // a stream of which only the beginning is read
        yield* Stream.runDrain(Stream.take(client.stream({ method: "GET", path: "/events", query: { since: 1 } }), 1))
        yield* until("its connection is closed", () => [...wire.open].every(({ readableEnded }) => readableEnded))
      }).pipe(Effect.provide(clientOf(at(wire))))
    }).pipe(Effect.scoped)
  )
})

/** Whatever answers with these headers and this body. */
const http = (status: string, headers: Readonly<Record<string, string>>, body: string) =>
  [
    `HTTP/1.1 ${status}`,
    ...Object.entries({ "Content-Length": String(Buffer.byteLength(body)), ...headers }).map(
      ([name, value]) => `${name}: ${value}`
    ),
    "",
    body
  ].join("\r\n")

const stranger = "what answers there is no Docker engine: "

describe("a client without an engine", () => {
  it.live("says that nothing is there, and that nothing was done", () =>
    Effect.gen(function* () {
      const path = yield* Wires.directory
      assert.deepStrictEqual(yield* refusal(`unix://${path}/none.sock`), [
        "Unreachable",
        "not_applied",
        `connect ENOENT ${path}/none.sock: no engine listens there; start it, or set DOCKER_HOST`
      ])
      const { port } = yield* Effect.scoped(Wires.listener(() => {}))
      assert.deepStrictEqual(yield* refusal(`tcp://127.0.0.1:${port}`), [
        "Unreachable",
        "not_applied",
        `connect ECONNREFUSED 127.0.0.1:${port}: no engine listens there; start it, or set DOCKER_HOST`
      ])
      // a name with an address of each family
      const [reason, outcome, message] = yield* refusal(`tcp://localhost:${port}`)
      assert.deepStrictEqual([reason, outcome], ["Unreachable", "not_applied"])
      assert.match(message, /^connect ECONNREFUSED \S+: no engine listens there/)
      assert.deepStrictEqual((yield* refusal("tcp://engine.invalid")).slice(0, 2), ["Unreachable", "not_applied"])
    }).pipe(Effect.scoped)
  )

  it.live("says that the user may not use the socket", () =>
    Effect.gen(function* () {
      const path = yield* Wires.directory
      chmodSync(path, 0o755)
      const socket = `${path}/engine.sock`
      const server = createServer().listen(socket)
      yield* Effect.addFinalizer(() => Effect.sync(() => server.close()))
      yield* Effect.promise(() => once(server, "listening"))
      chmodSync(socket, 0)
      // nothing is forbidden to root
      const asNobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
      const [program = "", ...argv] = [
        ...(process.getuid?.() === 0 ? asNobody : []),
        ...[process.execPath, "--conditions=@org/source", "--disable-warning=ExperimentalWarning"],
        ...[fileURLToPath(new URL("asking.ts", import.meta.url)), `unix://${socket}`]
      ]
      const said = execFileSync(program, argv, { encoding: "utf8", cwd: "/", env: { PATH: process.env["PATH"] } })
      assert.deepStrictEqual(JSON.parse(said), [
        "Unauthorized",
        "not_applied",
        `connect EACCES ${socket}: this user may not use the engine; add it to the group that owns the socket (often docker), or set DOCKER_HOST`
      ])
    }).pipe(Effect.scoped)
  )

  it.live("never takes somebody else's answer for the engine's", () =>
    Effect.gen(function* () {
      const html = "<html><title>404 Not Found</title></html>"
      const answers: ReadonlyArray<readonly [string, string, string]> = [
        [http("200 OK", { Server: "nginx" }, "OK"), "Unsupported", `${stranger}it names no version of the API`],
        [http("200 OK", { "Api-Version": "latest" }, ""), "Unsupported", `${stranger}it names no version of the API`],
        [http("404 Not Found", { Server: "nginx" }, html), "Unsupported", `${stranger}${html}`],
        [
          http("404 Not Found", {}, `{"message":"no Route matched"}`),
          "Unsupported",
          `${stranger}{"message":"no Route matched"}`
        ],
        [http("301 Moved", { Location: "/x" }, ""), "Unsupported", `${stranger}HTTP status 301`],
        [
          http("400 Bad Request", {}, "Client sent an HTTP request to an HTTPS server.\n"),
          "Unsupported",
          `${stranger}Client sent an HTTP request to an HTTPS server.`
        ],
        [
          http("403 Forbidden", {}, "Request forbidden by administrative rules."),
          "Unauthorized",
          "Request forbidden by administrative rules."
        ],
        [http("502 Bad Gateway", {}, ""), "Unreachable", "HTTP status 502"]
      ]
      for (const [bytes, reason, message] of answers) {
        const [seen, , said] = yield* refusal(at(yield* Wires.answering(bytes)))
        assert.deepStrictEqual([seen, said], [reason, message])
      }
      const [reason, , message] = yield* refusal(at(yield* Wires.answering("SSH-2.0-OpenSSH_9.2\r\n")))
      assert.strictEqual(reason, "Unsupported")
      assert.match(message, /what answers there is no Docker engine$/)
    }).pipe(Effect.scoped)
  )

  it.live("I-104 does not read another server's 404 as a box that is gone", () =>
    Effect.gen(function* () {
      const wire = yield* Wires.answering(http("404 Not Found", { Server: "nginx" }, `{"message":"no such page"}`))
      const looked = Engine.volume("sandbox-x").pipe(Effect.provide(clientOf(at(wire))), Effect.flip)
      assert.strictEqual((yield* looked)._tag, "UnreadableAnswer")
    }).pipe(Effect.scoped)
  )

  it.live("can be interrupted where the engine says nothing, and hangs up", () =>
    Effect.gen(function* () {
      const silent = yield* Wires.listener((socket) => socket.resume().once("end", () => socket.end()))
      yield* Effect.gen(function* () {
        const client = yield* DockerClient.DockerClient
        for (const asked of [
          Effect.asVoid(Engine.info),
          Stream.runDrain(client.stream({ method: "GET", path: "/events" })),
          Effect.scoped(Effect.asVoid(client.upgrade({ method: "POST", path: "/exec/x/start", body: {} })))
        ]) {
          const fiber = yield* Effect.forkChild(asked)
          yield* until("it is connected", () => silent.open.size === 1)
          yield* Fiber.interrupt(fiber)
          yield* until("it has hung up", () => silent.open.size === 0)
        }
        // and a limit of time ends it
        assert.isTrue(Result.isFailure(yield* Effect.result(Effect.timeout(Engine.info, "50 millis"))))
      }).pipe(Effect.provide(clientOf(at(silent))))
    }).pipe(Effect.scoped)
  )

  it.live("knows that an answer broke off", () =>
    Effect.gen(function* () {
      const ping = http("200 OK", { "Api-Version": "1.41" }, "OK")
      const then = (head: string, end: (socket: Socket) => void) =>
        Wires.listener((socket) => {
          socket.on("data", (bytes) => {
            if (bytes.includes("_ping")) socket.write(ping)
            else socket.write(head, () => end(socket))
          })
        })
      const cut = (socket: Socket) => void socket.end()
      const reset = (socket: Socket) => void socket.resetAndDestroy()
      const half = http("200 OK", { "Api-Version": "1.41", "Content-Length": "500" }, `{"ID":`)
      const chunked = "HTTP/1.1 200 OK\r\nApi-Version: 1.41\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nbytes\r\n"
      for (const end of [cut, reset]) {
        const [reason, outcome] = yield* refusal(at(yield* then(half, end)))
        assert.deepStrictEqual([reason, outcome], ["Unreachable", "unknown"])
        const wire = yield* then(chunked, end)
        const seen: Array<string> = []
        const error = yield* Effect.gen(function* () {
          const client = yield* DockerClient.DockerClient
          yield* Stream.runForEach(client.stream({ method: "GET", path: "/x" }), (bytes) =>
            Effect.sync(() => void seen.push(Buffer.from(bytes).toString()))
          )
        }).pipe(Effect.provide(clientOf(at(wire))), Effect.flip)
        assert.strictEqual(error._tag, "TransportError")
        if (end === cut) assert.deepStrictEqual(seen, ["bytes"])
        const upgraded = yield* then("HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n", reset)
        const broken = yield* Effect.gen(function* () {
          const { input } = yield* Engine.startExec("x", false)
          yield* Stream.runDrain(input)
        }).pipe(Effect.scoped, Effect.provide(clientOf(at(upgraded))), Effect.result)
        // a connection that is reset before anybody reads it may look as if it had ended
        if (Result.isFailure(broken)) assert.strictEqual(broken.failure._tag, "TransportError")
      }
      const [reason] = yield* refusal(at(yield* then(http("200 OK", { "Api-Version": "1.41" }, "{]"), cut)))
      assert.strictEqual(reason, "Unsupported")
    }).pipe(Effect.scoped)
  )
})

describe("the version of the API", () => {
  /** The paths that an engine of a version is asked for. */
  const asked = Effect.fnUntraced(function* (version: string) {
    const paths: Array<string> = []
    const wire = yield* Wires.listener((socket) => {
      socket.on("data", (bytes) => {
        paths.push(bytes.toString().split(" ")[1] ?? "")
        assert.notMatch(bytes.toString(), /traceparent|b3:/i)
        socket.write(http("200 OK", { "Api-Version": version }, "[]"))
      })
    })
    const result = yield* Effect.result(Effect.provide(Engine.networks(["a", "b"]), clientOf(at(wire))))
    return { result, paths: paths.map((path) => path.replace(/\?.*/, "")) }
  })

  it.live("is the newest that both sides know", () =>
    Effect.gen(function* () {
      for (const [spoken, used] of [
        ["1.41", "v1.41"],
        ["1.47", "v1.47"],
        ["1.51", "v1.51"],
        ["1.99", "v1.51"]
      ] as const) {
        const { paths, result } = yield* asked(spoken)
        assert.isTrue(Result.isSuccess(result))
        assert.deepStrictEqual(paths, ["/_ping", `/${used}/networks`])
      }
    }).pipe(Effect.scoped)
  )

  it.live("that is too old is refused with a sentence, and nothing is asked", () =>
    Effect.gen(function* () {
      for (const spoken of ["1.40", "1.9", "2.0"]) {
        const { paths, result } = yield* asked(spoken)
        if (Result.isSuccess(result)) return assert.fail(`${spoken} was taken`)
        const { message, reason } = classify("preflight")(result.failure)
        assert.deepStrictEqual(
          [reason, message, paths],
          [
            "Unsupported",
            `the engine speaks version ${spoken} of its API, and 1.41 is needed: that of Docker 20.10`,
            ["/_ping"]
          ]
        )
      }
    }).pipe(Effect.scoped)
  )
})

describeDocker("a client whom the engine does not take", () => {
  it.live("or that does not take the engine, says so of the certificate", () =>
    Effect.gen(function* () {
      const { careless, demanding, known, nameless, server, stranger } = yield* Wires.certificates
      const good = at(yield* Wires.relay(server("server")))
      const strict = at(yield* Wires.relay(demanding("server")))
      const expired = at(yield* Wires.relay(server("expired")))
      const elsewhere = at(yield* Wires.relay(server("elsewhere")))
      const bare = at(yield* Wires.relay())
      const distrust = "the engine's certificate is not one to trust; correct DOCKER_CERT_PATH"
      for (const [address, tls, words] of [
        [good, stranger, "unable to verify the first certificate"],
        [good, { verify: true }, "unable to verify the first certificate"],
        [expired, nameless, "certificate has expired"],
        [
          elsewhere,
          nameless,
          "Hostname/IP does not match certificate's altnames: IP: 127.0.0.1 is not in the cert's list:"
        ]
      ] as const) {
        const [reason, outcome, message] = yield* refusal(address, tls)
        assert.deepStrictEqual([reason, outcome], ["Unauthorized", "not_applied"])
        assert.isTrue(message.startsWith(words) && message.endsWith(distrust), message)
      }
      const [reason, outcome, message] = yield* refusal(strict, nameless)
      assert.deepStrictEqual([reason, outcome], ["Unauthorized", "not_applied"])
      assert.match(
        message,
        /^tlsv13 alert certificate required: the engine does not take this client's certificate; correct DOCKER_CERT_PATH$/
      )
      assert.strictEqual((yield* refusal(bare, nameless))[0], "Invalid")
      assert.match(
        (yield* refusal(bare, nameless))[2],
        /speaks no TLS there; unset DOCKER_TLS_VERIFY, or name its other port$/
      )
      // each of them is taken by whoever knows it, or does not look
      for (const [address, tls] of [
        [good, nameless],
        [strict, known],
        [expired, careless],
        [elsewhere, careless]
      ] as const) {
        assert.strictEqual((yield* Effect.provide(Engine.info, clientOf(address, tls))).OSType, "linux")
      }
    }).pipe(Effect.scoped)
  )

  overSsh(`through ssh, tells it in ssh's own words${without}`, () =>
    Effect.gen(function* () {
      const ssh = yield* Wires.sshServer
      const prefix = "the engine's host does not connect through ssh: "
      const with_ = (place: string, address = ssh.address) =>
        Effect.scoped(Effect.andThen(Wires.firstOnPath(place), refusal(address)))
      const [locked, lockedOutcome, lockedWords] = yield* with_(ssh.locked)
      assert.deepStrictEqual([locked, lockedOutcome], ["Unauthorized", "not_applied"])
      assert.match(lockedWords, /^the engine's host does not connect through ssh: .*Permission denied \(publickey\)\.$/)
      const [unsure, unsureOutcome, unsureWords] = yield* with_(ssh.unsure)
      assert.deepStrictEqual([unsure, unsureOutcome], ["Unauthorized", "not_applied"])
      assert.match(unsureWords, /Host key verification failed\.$/)
      const { port } = yield* Effect.scoped(Wires.listener(() => {}))
      assert.deepStrictEqual(yield* with_(ssh.known, `ssh://127.0.0.1:${port}`), [
        "Unreachable",
        "not_applied",
        `${prefix}ssh: connect to host 127.0.0.1 port ${port}: Connection refused`
      ])
      // the host is there, and the engine is not
      const [gone, goneOutcome, goneWords] = yield* with_(ssh.known, ssh.address.replace(/sock$/, "none"))
      assert.deepStrictEqual([gone, goneOutcome], ["Unreachable", "not_applied"])
      assert.match(goneWords, /failed to open the raw stream connection: dial unix/)
      // no ssh at all
      const path = process.env["PATH"]
      const empty = yield* Wires.directory
      yield* Effect.acquireRelease(
        Effect.sync(() => void (process.env["PATH"] = empty)),
        () => Effect.sync(() => void (process.env["PATH"] = path))
      )
      assert.deepStrictEqual(yield* refusal(ssh.address), [
        "Unreachable",
        "not_applied",
        `${prefix}ssh cannot be run: spawn ssh ENOENT`
      ])
    }).pipe(Effect.scoped)
  )

  overSsh(`through ssh that is cut off, knows that the answer broke off${without}`, () =>
    Effect.gen(function* () {
      const id = yield* container
      const ssh = yield* Wires.sshServer
      yield* Wires.firstOnPath(ssh.known)
      /** Kills whatever ssh there is as soon as something has arrived of a stream. */
      const cut = <E>(stream: Stream.Stream<unknown, E>) =>
        Effect.gen(function* () {
          const begun = yield* Deferred.make<void>()
          const reading = Stream.runForEach(stream, () => Deferred.succeed(begun, undefined))
          const reader = yield* Effect.forkChild(Effect.flip(reading))
          yield* Deferred.await(begun)
          for (const pid of relays()) process.kill(pid, "SIGKILL")
          return yield* Fiber.join(reader)
        })
      yield* Effect.gen(function* () {
        const client = yield* DockerClient.DockerClient
        const events = yield* cut(client.stream({ method: "GET", path: "/events", query: { since: 1 } }))
        assert.deepInclude(classify("stop")(events), { reason: "Unreachable", outcome: "unknown" })
        // what a command writes has no end but that of the connection
        const handle = yield* Exec.start(id, { argv: ["sh", "-c", "echo begun; sleep 1000"], cwd: "/" })
        assert.deepInclude(yield* cut(handle.output), { reason: "Unreachable", outcome: "unknown" })
      }).pipe(Effect.scoped, Effect.provide(clientOf(ssh.address)))
    }).pipe(Effect.scoped)
  )
})
