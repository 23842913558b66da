/** What somebody else does to a box through the engine, behind our back: it is seen as it is, and loses nothing. */
import { assert, it } from "@effect/vitest"
import { InstanceRef } from "@org/sandbox-core/Session"
import { Effect, Stream } from "effect"
import { describeDocker } from "../../../test/docker.ts"
import * as Docker from "../../../test/support/docker.ts"
import { archive, containerOf, docker, newLedger, on, sh } from "./boxes.ts"
import { rewritingEngine } from "./rewritingEngine.ts"

const ask = (method: string, path: string, body?: unknown) =>
  Effect.flatMap(Effect.orDie(Docker.request(method, path, { body })), (answer) =>
    answer.status < 400 ? Effect.succeed(answer) : Effect.die(new Error(`${method} ${path}: ${answer.body}`))
  )

/** A box with a file in its checkout. */
const newBox = Effect.gen(function* () {
  const { files, provision } = yield* docker
  const ledger = yield* newLedger
  const intent = ledger.intent()
  const ref = yield* provision(intent)
  yield* files.write(ref, ".", archive({ file: "work" }))
  const container = yield* containerOf(intent.key)
  return { ledger, intent, ref, id: container.Id as string, network: container.HostConfig.NetworkMode as string }
})

const seen = (ref: InstanceRef) => Effect.flatMap(docker, ({ inspect }) => Effect.map(inspect(ref), ({ _tag }) => _tag))

/** What a command is told. */
const refusal = Effect.fnUntraced(function* (ref: InstanceRef) {
  const { exec } = yield* docker
  const { message, outcome, reason } = yield* Effect.flip(Effect.scoped(exec(ref, { argv: ["true"] })))
  assert.strictEqual(outcome, "not_applied")
  return { message, reason }
})

/** Starts the box, which then is as it was, and can be halted and destroyed. */
const isWhole = Effect.fnUntraced(function* ({ intent, ledger, ref }: Effect.Success<typeof newBox>) {
  const { destroy, provision, start, stop } = yield* docker
  yield* start(ref)
  assert.strictEqual(yield* seen(ref), "running")
  assert.strictEqual(yield* sh(ref, "cat file; pwd; stat -c %a $SANDBOX_RUN_DIR"), "work/sandbox/work\n700")
  assert.strictEqual((yield* provision(intent)).id, ref.id)
  const { containers, networks, volumes } = yield* ledger.made
  assert.deepStrictEqual([containers.length, networks.length, volumes.length], [1, 1, 1])
  yield* stop(ref)
  assert.strictEqual(yield* seen(ref), "stopped")
  yield* destroy(ref)
  assert.strictEqual(yield* seen(ref), "gone")
  assert.deepStrictEqual(yield* ledger.made, Docker.nothing)
})

describeDocker("a box whose container somebody", () => {
  for (const [what, call] of [
    ["removed", (id: string) => ask("DELETE", `/containers/${id}?force=true`)],
    ["stopped", (id: string) => ask("POST", `/containers/${id}/stop?t=0`)],
    ["killed", (id: string) => ask("POST", `/containers/${id}/kill`)],
    ["paused", (id: string) => ask("POST", `/containers/${id}/pause`)]
  ] as const) {
    it.live(`${what} is halted, says so, and starts again with its work`, () =>
      Effect.gen(function* () {
        const { files } = yield* docker
        const box = yield* newBox
        yield* call(box.id)
        assert.strictEqual(yield* seen(box.ref), "stopped")
        const { message, reason } = yield* refusal(box.ref)
        assert.strictEqual(reason, "NotReady")
        assert.match(message, new RegExp(`${what === "removed" ? what : what === "paused" ? what : "halted"}.*start`))
        if (what === "removed") {
          const unread = yield* Effect.flip(Stream.runDrain(files.read(box.ref, "file")))
          assert.deepStrictEqual([unread.reason, unread.message], ["NotReady", message])
        }
        yield* isWhole(box)
      }).pipe(on())
    )
  }

  it.live("renamed is found, runs, and goes with everything", () =>
    Effect.gen(function* () {
      const box = yield* newBox
      yield* ask("POST", `/containers/${box.id}/rename?name=${box.intent.name}-renamed`)
      assert.strictEqual(yield* seen(box.ref), "running")
      yield* isWhole(box)
    }).pipe(on())
  )

  it.live("paused can be halted, and destroyed", () =>
    Effect.gen(function* () {
      const { destroy, stop } = yield* docker
      const one = yield* newBox
      yield* ask("POST", `/containers/${one.id}/pause`)
      yield* stop(one.ref)
      assert.strictEqual(yield* seen(one.ref), "stopped")
      yield* isWhole(one)
      const other = yield* newBox
      yield* ask("POST", `/containers/${other.id}/pause`)
      yield* destroy(other.ref)
      assert.deepStrictEqual(yield* other.ledger.made, Docker.nothing)
    }).pipe(on())
  )
})

describeDocker("a halted box whose engine died while it started it", () => {
  it.live("is made again around its work: that container starts no more", () =>
    Effect.gen(function* () {
      const box = yield* newBox
      yield* (yield* docker).stop(box.ref)
      const start = (method: string, url: string) => method === "POST" && url.endsWith(`/containers/${box.id}/start`)
      const engine = yield* rewritingEngine(
        () => {},
        undefined,
        // as 20.10 says it from then on, whatever is done to it
        (method, url) => (start(method, url) ? `task ${box.id}: already exists: unknown` : undefined)
      )
      yield* isWhole(box).pipe(on({ host: engine.address }))
    }).pipe(on())
  )
})

describeDocker("a halted box of which somebody", () => {
  it.live("pruned the network starts again, with another one", () =>
    Effect.gen(function* () {
      const { stop } = yield* docker
      const box = yield* newBox
      yield* stop(box.ref)
      yield* ask("DELETE", `/networks/${box.network}`)
      yield* isWhole(box)
    }).pipe(on())
  )

  it.live("removed the network that was named says which, and starts again when there is one", () =>
    Effect.gen(function* () {
      const network = `named-${crypto.randomUUID()}`
      const create = ask("POST", "/networks/create", { Name: network })
      yield* create
      yield* Effect.addFinalizer(() => Effect.orDie(Docker.request("DELETE", `/networks/${network}`)))
      const use = Effect.gen(function* () {
        const { provision, start, stop } = yield* docker
        const ref = yield* provision((yield* newLedger).intent())
        yield* stop(ref)
        yield* ask("DELETE", `/networks/${network}`)
        const { message, reason } = yield* Effect.flip(start(ref))
        assert.strictEqual(reason, "NotFound")
        assert.include(message, `docker network create ${network}`)
        assert.strictEqual(yield* seen(ref), "stopped")
        yield* create
        yield* start(ref)
        assert.strictEqual(yield* seen(ref), "running")
      })
      yield* on({ network })(use)
    }).pipe(Effect.scoped)
  )

  it.live("pruned the container and the network starts again with its work", () =>
    Effect.gen(function* () {
      const { stop } = yield* docker
      const box = yield* newBox
      yield* stop(box.ref)
      yield* ask("DELETE", `/containers/${box.id}`)
      yield* ask("DELETE", `/networks/${box.network}`)
      assert.strictEqual(yield* seen(box.ref), "stopped")
      yield* isWhole(box)
    }).pipe(on())
  )

  it.live("removed the container and the image says which image is missing, and keeps the work", () =>
    Effect.gen(function* () {
      const { files, provision, start } = yield* docker
      const ledger = yield* newLedger
      const image = "sandbox-test/gone:1"
      const tag = ask("POST", `/images/${Docker.images.base}/tag?repo=sandbox-test/gone&tag=1`)
      yield* tag
      const intent = ledger.intent({ spec: { image } })
      const ref = yield* provision(intent)
      yield* files.write(ref, ".", archive({ file: "work" }))
      yield* ask("DELETE", `/containers/${(yield* containerOf(intent.key)).Id}?force=true`)
      yield* ask("DELETE", `/images/${image}`)
      const { message, reason } = yield* Effect.flip(start(ref))
      assert.strictEqual(reason, "NotFound")
      assert.match(message, /no image sandbox-test\/gone:1/)
      assert.strictEqual(yield* seen(ref), "stopped")
      yield* Effect.acquireRelease(tag, () => ask("DELETE", `/images/${image}?force=true`))
      yield* start(ref)
      assert.strictEqual(yield* sh(ref, "cat file"), "work")
    }).pipe(on())
  )

  it.live("removed the volume as well is gone; what is left of it goes with its key", () =>
    Effect.gen(function* () {
      const { destroy, find } = yield* docker
      const { id, intent, ledger, ref } = yield* newBox
      const scope = yield* (yield* docker).scope
      const here = (ref: InstanceRef) => new InstanceRef({ ...ref, scope })
      yield* ask("DELETE", `/containers/${id}?force=true`)
      yield* ask("DELETE", `/volumes/${intent.name}`)
      assert.strictEqual(yield* seen(ref), "gone")
      assert.strictEqual((yield* refusal(ref)).reason, "NotFound")
      // the network is left, and must not be forgotten
      assert.deepStrictEqual(yield* find(intent.key), { _tag: "present", ref: here(ref) })
      // a box that has no network, of which the one that is left could be taken for it
      const again = yield* on({ network: "none" })(Effect.flatMap(docker, (other) => other.provision(intent)))
      assert.notStrictEqual(again.id, ref.id)
      assert.deepStrictEqual(yield* find(intent.key), { _tag: "present", ref: here(again) })
      assert.strictEqual(yield* seen(ref), "gone")
      assert.strictEqual(yield* seen(again), "running")
      yield* destroy(intent.key)
      assert.deepStrictEqual(yield* ledger.made, Docker.nothing)
      assert.deepStrictEqual(yield* find(intent.key), { _tag: "absent" })
    }).pipe(on())
  )
})

describeDocker("a box that a foreign container shares", () => {
  /** Somebody's container that runs, removed with the scope. */
  const foreign = (HostConfig: object) =>
    Effect.acquireRelease(
      Effect.tap(
        Docker.create({ Image: Docker.images.base, Cmd: ["sleep", "600"], HostConfig: { Init: true, ...HostConfig } }),
        Docker.start
      ),
      (id) => ask("DELETE", `/containers/${id}?force=true`)
    )

  it.live("its network or its volume with is not destroyed before they are apart, and says so", () =>
    Effect.gen(function* () {
      const { destroy, find } = yield* docker
      for (const what of ["network", "volume"] as const) {
        const { intent, ledger, network, ref } = yield* newBox
        const shared =
          what === "network"
            ? { NetworkMode: network }
            : { NetworkMode: "none", Mounts: [{ Type: "volume", Source: intent.name, Target: "/theirs" }] }
        yield* Effect.scoped(
          Effect.gen(function* () {
            const id = yield* foreign(shared)
            const { message, reason } = yield* Effect.flip(destroy(ref))
            assert.strictEqual(reason, "Conflict", message)
            assert.match(
              message,
              new RegExp(`The ${what} .* used by a container that is not of the box; remove or disconnect`)
            )
            assert.isTrue((yield* Docker.inspect("containers", id)).State.Running)
            assert.strictEqual((yield* find(intent.key))._tag, "present")
          })
        )
        yield* destroy(ref)
        assert.deepStrictEqual(yield* ledger.made, Docker.nothing)
      }
    }).pipe(on())
  )
})
