/** What cannot be: each is refused for a reason, in words that tell the way out, and nothing is left. */
import { once } from "node:events"
import { createServer } from "node:net"
import { assert, it } from "@effect/vitest"
import { Provisioner, type Reason } from "@org/sandbox-core/Provisioner"
import type { Spec } from "@org/sandbox-core/Session"
import * as Container from "@org/sandbox-provider-docker/Container"
import type { Options } from "@org/sandbox-provider-docker/Options"
import { Effect, Schema } from "effect"
import { describeDocker } from "../../../test/docker.ts"
import * as Docker from "../../../test/support/docker.ts"
import { archive, containerOf, docker, type Ledger, newLedger, on, run, sh } from "./boxes.ts"

/** What `provision` says, having left nothing behind. */
const refusal = Effect.fnUntraced(function* (...more: Parameters<Ledger["intent"]>) {
  const ledger = yield* newLedger
  const { provision } = yield* Provisioner
  const { message, outcome, reason } = yield* Effect.flip(provision(ledger.intent(...more)))
  assert.strictEqual(outcome, "not_applied", message)
  assert.deepStrictEqual(yield* ledger.made, Docker.nothing, message)
  return { message, reason }
})

/** What `preflight` says. */
const objection = Effect.fnUntraced(function* (spec: Partial<Spec> = {}) {
  const ledger = yield* newLedger
  const { preflight } = yield* Provisioner
  const { message, reason } = yield* Effect.flip(preflight(ledger.intent({ spec }).spec))
  return { message, reason }
})

const isRefused = (seen: { readonly message: string; readonly reason: Reason }, reason: Reason, words: RegExp) => {
  assert.strictEqual(seen.reason, reason, seen.message)
  assert.match(seen.message, words)
}

/** Something of somebody else's on the engine, removed with the scope. */
const foreign = (method: "volumes/create" | "networks/create" | "containers/create", name: string, body: object = {}) =>
  Effect.acquireRelease(
    Effect.gen(function* () {
      const path = method === "containers/create" ? `/${method}?name=${name}` : `/${method}`
      const answer = yield* Effect.orDie(Docker.request("POST", path, { body: { Name: name, ...body } }))
      assert.strictEqual(answer.status, 201, answer.body.toString())
      return answer.json().Id as string
    }),
    () => {
      const kind = method.split("/")[0]
      return Effect.orDie(Docker.request("DELETE", `/${kind}/${name}${kind === "containers" ? "?force=true" : ""}`))
    }
  )

/** A port of this host that somebody listens on. */
const takenPort = Effect.acquireRelease(
  Effect.promise(async () => {
    const server = createServer().listen(0, "127.0.0.1")
    await once(server, "listening")
    return server
  }),
  (server) => Effect.sync(() => server.close())
).pipe(Effect.map((server) => (server.address() as { port: number }).port))

describeDocker("a box of an image", () => {
  it.live("without a shell is refused, and leaves nothing", () =>
    Effect.gen(function* () {
      isRefused(yield* refusal({ spec: { image: Docker.images.noshell } }), "Invalid", /\bsh\b/)
    }).pipe(on())
  )

  it.live("whose entrypoint ends at once runs all the same", () =>
    Effect.gen(function* () {
      const { inspect, provision } = yield* docker
      const ref = yield* provision((yield* newLedger).intent({ spec: { image: Docker.images.exits } }))
      assert.strictEqual(yield* sh(ref, "echo runs"), "runs")
      assert.deepStrictEqual(yield* inspect(ref), { _tag: "running" })
    }).pipe(on())
  )

  it.live("that keeps data in places of its own is made with them, and they go with it", () =>
    Effect.gen(function* () {
      const unnamed = Effect.map(Docker.volumes(), (all) => all.map(({ Name }) => Name as string))
      const { destroy, provision } = yield* docker
      const ledger = yield* newLedger
      const intent = ledger.intent({ spec: { image: Docker.images.postgres } })
      const ref = yield* provision(intent)
      const { Mounts } = yield* containerOf(intent.key)
      const own = Mounts.map(({ Name }: any) => Name).filter((name: string) => name !== intent.name)
      assert.lengthOf(own, 1)
      assert.includeMembers(yield* unnamed, own)
      assert.strictEqual(yield* sh(ref, "pwd"), "/sandbox/work")
      yield* destroy(ref)
      assert.notIncludeMembers(yield* unnamed, own)
      assert.deepStrictEqual(yield* ledger.made, Docker.nothing)
    }).pipe(on())
  )

  it.live("that the engine does not have is refused where none may be got", () =>
    Effect.gen(function* () {
      const image = "sandbox-test/no-such-image:1"
      for (const seen of [yield* objection({ image }), yield* refusal({ spec: { image } })]) {
        isRefused(seen, "NotFound", /no image sandbox-test\/no-such-image:1.*pull is never.*(Build|import)/)
      }
      isRefused(yield* objection({ image: "Not An Image" }), "Invalid", /"Not An Image" is no name of an image/)
      for (const image of ["../etc", "a/../../b", "/a", "a//b", "a b", "a:", "A/B", ""]) {
        isRefused(yield* objection({ image }), "Invalid", /is no name of an image/)
      }
    }).pipe(on())
  )

  it.live("that no registry sends is refused with the engine's own words", () =>
    Effect.gen(function* () {
      // nobody listens on port 9 of the engine's host
      const seen = yield* refusal({ spec: { image: "127.0.0.1:9/no-such-image:1" } })
      isRefused(seen, "Unreachable", /no image 127\.0\.0\.1:9\/no-such-image:1.*refused.*docker pull/)
    }).pipe(on({ pull: "missing" }))
  )

  it.live("that cannot be asked of its registry anew is made of what is there, and says so", () =>
    Effect.gen(function* () {
      const image = "127.0.0.1:9/base:1"
      const tag = Docker.request("POST", `/images/${Docker.images.base}/tag?repo=127.0.0.1:9/base&tag=1`)
      yield* Effect.acquireRelease(Effect.orDie(tag), () => Effect.orDie(Docker.request("DELETE", `/images/${image}`)))
      const said: Array<string> = []
      const intent = (yield* newLedger).intent({ spec: { image } })
      const ref = yield* (yield* docker).provision({
        ...intent,
        report: (line) => Effect.sync(() => void said.push(line))
      })
      assert.strictEqual(yield* sh(ref, "echo runs"), "runs")
      assert.match(said.join("\n"), /127\.0\.0\.1:9\/base:1.*refused/)
    }).pipe(on({ pull: "always" }))
  )
})

describeDocker("what a box asks for that cannot be had", () => {
  it.live("a name that a foreign container or volume has: refused, and theirs is as it was", () =>
    Effect.gen(function* () {
      const ledger = yield* newLedger
      const { find, provision } = yield* Provisioner
      for (const [what, intent] of [
        ["container", ledger.intent()],
        ["volume", ledger.intent()]
      ] as const) {
        const body = what === "container" ? { Image: Docker.images.base } : { Labels: { whose: "theirs" } }
        yield* foreign(`${what}s/create`, intent.name, body)
        isRefused(
          yield* Effect.flip(provision(intent)),
          "Conflict",
          new RegExp(`${what} called ${intent.name}.*rename or remove`)
        )
        assert.deepStrictEqual(yield* ledger.made, Docker.nothing)
        assert.deepStrictEqual(yield* find(intent.key), { _tag: "absent" })
        yield* (yield* Provisioner).destroy(intent.key)
        assert.isDefined(yield* Docker.inspect(`${what}s`, intent.name))
      }
    }).pipe(on())
  )

  it.live("a port of the host that is taken", () =>
    Effect.gen(function* () {
      const hostPort = yield* takenPort
      isRefused(yield* refusal({ ports: [{ port: 80, hostPort }] }), "Conflict", new RegExp(`:${hostPort}\\b`))
    }).pipe(on())
  )

  it.live("more CPUs than there are, less memory than there can be, no process", () =>
    Effect.gen(function* () {
      for (const cpus of [0, 0.001, -1, 10_000]) {
        isRefused(yield* objection({ cpus }), "Invalid", new RegExp(`cpus is ${cpus}.*has \\d+.*0\\.01`))
      }
      isRefused(yield* objection({ memory: 5 * 2 ** 20 }), "Invalid", /memory is 5242880 bytes.*6m/)
      isRefused(yield* refusal({ spec: { cpus: 10_000 } }), "Invalid", /CPU/)
      isRefused(yield* refusal({ spec: { memory: 1000 } }), "Invalid", /memory/)
      yield* on({ pids: 0 })(Effect.map(objection(), (seen) => isRefused(seen, "Invalid", /pids is 0/)))
    }).pipe(on())
  )

  /** What is said with options that cannot be. */
  const withOptions = (options: Options, use: typeof objection | typeof refusal) => on(options)(use())

  it.live("a user that nobody knows, or that is no user", () =>
    Effect.gen(function* () {
      for (const user of ["some one", "1000:", "-1", ":", "a;b", "1000:1000:1000", "ü", "99999999999999999999"]) {
        isRefused(yield* withOptions({ user }, objection), "Invalid", /user is .*1000:1000/)
      }
      isRefused(yield* withOptions({ user: "nobody-here" }, refusal), "Invalid", /no user nobody-here.*1000:1000/)
      isRefused(yield* withOptions({ user: "root:nobodies" }, refusal), "Invalid", /no group nobodies/)
    })
  )

  it.live("a runtime or a device that the engine does not have", () =>
    Effect.gen(function* () {
      isRefused(yield* withOptions({ runtime: "krun" }, objection), "Unsupported", /no runtime krun; it has .*runc/)
      isRefused(yield* withOptions({ runtime: "krun" }, refusal), "Unsupported", /krun/)
      isRefused(yield* withOptions({ gpus: "all" }, refusal), "Unsupported", /gpu/)
    })
  )

  it.live("a network that is not there, or that would be another's", () =>
    Effect.gen(function* () {
      const network = "no-such-network"
      isRefused(yield* withOptions({ network }, objection), "NotFound", /docker network create no-such-network/)
      isRefused(yield* withOptions({ network }, refusal), "NotFound", /no-such-network/)
      for (const network of ["host", "container:other"]) {
        isRefused(
          yield* withOptions({ network }, objection),
          "Invalid",
          new RegExp(`network is ${network}.*session or none`)
        )
      }
      isRefused(yield* withOptions({ network: "host" }, refusal), "Unsupported", /a network that is no other's/)
    })
  )
})

describeDocker("a user of a box's image", () => {
  it.live("may be named with a group", () =>
    Effect.gen(function* () {
      const { provision } = yield* docker
      const ref = yield* provision((yield* newLedger).intent({ spec: { image: Docker.images.user } }))
      assert.strictEqual(yield* sh(ref, 'id -u; id -g; stat -c %u:%g "$SANDBOX_RUN_DIR"'), "1234\n0\n1234:0")
    }).pipe(on({ user: "dev:root" }))
  )

  it.live("may be named alone, and has the group and the home of the image", () =>
    Effect.gen(function* () {
      const { provision } = yield* docker
      const ref = yield* provision((yield* newLedger).intent({ spec: { image: Docker.images.user } }))
      assert.strictEqual(
        yield* sh(ref, "id -u; id -g; echo $HOME; stat -c %u:%g ."),
        "1234\n1234\n/home/dev\n1234:1234"
      )
    }).pipe(on({ user: "dev" }))
  )
})

describeDocker("a box whose disk is full", () => {
  it.live("says so when files are copied in, and when a command writes", () =>
    Effect.gen(function* () {
      const { files, provision } = yield* docker
      const ledger = yield* newLedger
      const intent = ledger.intent()
      // the volume of a box whose maker died, on a file system of one megabyte
      const recipe: Container.Recipe = {
        ...{ image: Docker.images.base, cpus: 1, memory: 2 ** 27, pids: 100, network: "none", user: "1000:1000" },
        readOnlyRoot: false,
        ports: []
      }
      const text = yield* Schema.encodeEffect(Schema.fromJsonString(Container.Recipe))(recipe)
      yield* foreign("volumes/create", intent.name, {
        Labels: { ...intent.labels, [Container.boxLabel]: "small", [Container.recipeLabel]: text },
        DriverOpts: { type: "tmpfs", device: "tmpfs", o: "size=1m" }
      })
      // such a file system is empty again when nobody has it mounted
      const holder = yield* foreign("containers/create", `${intent.name}-holder`, {
        ...{ Image: Docker.images.base, Cmd: ["sleep", "600"] },
        HostConfig: {
          Init: true,
          NetworkMode: "none",
          Mounts: [{ Type: "volume", Source: intent.name, Target: "/held" }]
        }
      })
      yield* Docker.start(holder)
      const ref = yield* provision(intent)
      assert.strictEqual(ref.id, "small")
      const failed = yield* Effect.flip(files.write(ref, ".", archive({ large: "x".repeat(4 * 2 ** 20) })))
      isRefused(failed, "QuotaExceeded", /no space left/)
      const { code, err } = yield* run(ref, ["dd", "if=/dev/zero", "of=file", "bs=1M", "count=4"])
      assert.notStrictEqual(code, 0)
      assert.match(err, /No space left/)
    }).pipe(on())
  )
})
