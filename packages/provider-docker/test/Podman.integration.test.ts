/** An engine that tells of containers as Podman 4.3 does, which is in other words than Docker's. */
import { assert, it } from "@effect/vitest"
import { Provisioner } from "@org/sandbox-core/Provisioner"
import { Effect } from "effect"
import { describeDocker } from "../../../test/docker.ts"
import * as Docker from "../../../test/support/docker.ts"
import { containerOf, docker, newLedger, on } from "./boxes.ts"
import { rewritingEngine } from "./rewritingEngine.ts"

/** What it lists in place of `ALL`. */
const dropped = [
  ...["AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD", "NET_BIND_SERVICE", "NET_RAW"],
  ...["SETFCAP", "SETGID", "SETPCAP", "SETUID", "SYS_CHROOT"]
]

/** Its words for a container. */
const inPodmansWords = ({ HostConfig }: any) => {
  HostConfig.CapDrop = [...dropped]
  HostConfig.PidMode = "private"
  HostConfig.NetworkMode = "bridge"
}

/** Its status for a name that is taken. */
const restated = (status: number): number => (status === 409 ? 500 : status)

const podman = (rewrite: (container: any) => void = () => {}) =>
  rewritingEngine((container) => {
    inPodmansWords(container)
    rewrite(container)
  }, restated)

describeDocker("an engine that answers as Podman does", () => {
  it.live("makes a box, once, in a network of its own", () =>
    Effect.gen(function* () {
      const { address } = yield* podman()
      yield* Effect.gen(function* () {
        const { destroy, network = () => Effect.die("none"), provision, start } = yield* docker
        const ledger = yield* newLedger
        const intent = ledger.intent()
        const [ref, ...others] = yield* Effect.all([provision(intent), provision(intent), provision(intent)], {
          concurrency: "unbounded"
        })
        for (const other of others) assert.deepStrictEqual(other, ref)
        const { containers, networks } = yield* ledger.made
        assert.lengthOf(containers, 1)
        assert.deepStrictEqual([(yield* network(ref)).name], networks)
        const { Id } = yield* containerOf(intent.key)
        yield* Effect.orDie(Docker.request("DELETE", `/containers/${Id}?force=true`))
        yield* start(ref)
        assert.deepStrictEqual((yield* ledger.made).networks, networks)
        assert.isTrue((yield* containerOf(intent.key)).State.Running)
        yield* destroy(ref)
        assert.deepStrictEqual(yield* ledger.made, Docker.nothing)
      }).pipe(on({ host: address }))
    }).pipe(Effect.scoped)
  )

  it.live("refuses a name that somebody else's container has", () =>
    Effect.gen(function* () {
      const { address } = yield* podman()
      const ledger = yield* newLedger
      const intent = ledger.intent()
      const theirs = yield* Effect.acquireRelease(Docker.create({ Image: Docker.images.base }, intent.name), (id) =>
        Effect.orDie(Docker.request("DELETE", `/containers/${id}?force=true`))
      )
      const { message, reason } = yield* on({ host: address })(
        Effect.flatMap(Provisioner, ({ provision }) => Effect.flip(provision(intent)))
      )
      assert.strictEqual(reason, "Conflict", message)
      assert.deepStrictEqual(yield* ledger.made, Docker.nothing)
      assert.isDefined(yield* Docker.inspect("containers", theirs))
    }).pipe(Effect.scoped)
  )

  it.live("makes no box with a capability left, or in a network that others are in", () =>
    Effect.gen(function* () {
      const deviations: Readonly<Record<string, (container: any) => void>> = {
        "no capabilities": ({ HostConfig }) => void HostConfig.CapDrop.pop(),
        "a network that is no other's": ({ NetworkSettings }) => void (NetworkSettings.Networks = { podman: {} })
      }
      for (const [words, rewrite] of Object.entries(deviations)) {
        const { address } = yield* podman(rewrite)
        const ledger = yield* newLedger
        const { message, reason } = yield* on({ host: address })(
          Effect.flatMap(Provisioner, ({ provision }) => Effect.flip(provision(ledger.intent())))
        )
        assert.strictEqual(reason, "Unsupported", message)
        assert.include(message, words)
        assert.deepStrictEqual(yield* ledger.made, Docker.nothing)
      }
    }).pipe(Effect.scoped)
  )
})
