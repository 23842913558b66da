/** An engine that answers late or not at all, and many that ask it at once: nothing is made twice, left, or taken for gone. */
import { assert, it } from "@effect/vitest"
import { Provisioner, type ProvisionerError, type ProvisionIntent } from "@org/sandbox-core/Provisioner"
import { Effect, Exit, Fiber, Schedule, Stream } from "effect"
import { describeDocker } from "../../../test/docker.ts"
import * as Docker from "../../../test/support/docker.ts"
import { type Fault, type LossyEngine, lossyEngine } from "../../../test/support/lossyEngine.ts"
import { containerOf, docker, type Ledger, newLedger, on, sh } from "./boxes.ts"

/** Runs with a provider whose engine is behind a wire. */
const through = <A, E, R>(use: (wire: LossyEngine) => Effect.Effect<A, E, R>) =>
  Effect.scoped(Effect.flatMap(lossyEngine(), (wire) => on({ host: wire.address })(use(wire))))

/** An intent of the scope that is here, as references come back with it. */
const intentOf = Effect.fnUntraced(function* (ledger: Ledger) {
  return { ...ledger.intent(), scope: yield* (yield* docker).scope } satisfies ProvisionIntent
})

/** That there is one box of the key, whole and usable; and nothing of it when it is destroyed. */
const isOne = Effect.fnUntraced(function* (ledger: Ledger, intent: ProvisionIntent) {
  const { destroy, find, provision } = yield* docker
  const ref = yield* provision(intent)
  assert.deepStrictEqual(yield* find(intent.key), { _tag: "present", ref })
  const made = yield* ledger.made
  assert.deepStrictEqual(made.volumes, [intent.name])
  assert.deepStrictEqual(made.containers, [intent.name])
  assert.lengthOf(made.networks, 1)
  assert.strictEqual(yield* sh(ref, "pwd; stat -c '%u %a' . $SANDBOX_RUN_DIR"), "/sandbox/work\n1000 755\n1000 700")
  yield* destroy(intent.key)
  assert.deepStrictEqual(yield* ledger.made, Docker.nothing)
  assert.deepStrictEqual(yield* find(intent.key), { _tag: "absent" })
})

const steps: ReadonlyArray<Omit<Fault, "at">> = [
  { method: "POST", path: /\/volumes\/create/ },
  { method: "POST", path: /\/networks\/create/ },
  { method: "POST", path: /\/containers\/create/ },
  { method: "PUT", path: /\/archive/ },
  { method: "POST", path: /\/containers\/[^/]+\/start/ }
]

describeDocker("a provision", () => {
  for (const step of steps) {
    it.live(
      `I-105 whose ${step.method} ${step.path.source.replaceAll("\\", "")} is lost is repeated, and makes one box`,
      () =>
        through((wire) =>
          Effect.gen(function* () {
            const { find, provision } = yield* Provisioner
            for (const at of ["reply", "request"] as const) {
              const ledger = yield* newLedger
              const intent = yield* intentOf(ledger)
              const { met } = wire.arm({ ...step, at })
              const { outcome, reason } = yield* Effect.flip(provision(intent))
              yield* met
              assert.deepStrictEqual({ outcome, reason }, { outcome: "unknown", reason: "Unreachable" })
              // whatever there is of it, its key finds
              const { containers, networks, volumes } = yield* ledger.made
              const isAny = containers.length + networks.length + volumes.length > 0
              assert.strictEqual((yield* find(intent.key))._tag, isAny ? "present" : "absent")
              yield* isOne(ledger, intent)
            }
          })
        )
    )

    it.live(
      `I-106 whose ${step.method} ${step.path.source.replaceAll("\\", "")} is lost is taken back by its key`,
      () =>
        through((wire) =>
          Effect.gen(function* () {
            const { destroy, find, provision } = yield* Provisioner
            const ledger = yield* newLedger
            const intent = yield* intentOf(ledger)
            wire.arm({ ...step, at: "reply" })
            yield* Effect.flip(provision(intent))
            yield* destroy(intent.key)
            assert.deepStrictEqual(yield* ledger.made, Docker.nothing)
            assert.deepStrictEqual(yield* find(intent.key), { _tag: "absent" })
          })
        )
    )

    it.live(
      `I-106 that is given up while ${step.method} ${step.path.source.replaceAll("\\", "")} is answered leaves what its key finds`,
      () =>
        through((wire) =>
          Effect.gen(function* () {
            const { destroy, provision } = yield* Provisioner
            const ledger = yield* newLedger
            const intent = yield* intentOf(ledger)
            const { met, release } = wire.arm({ ...step, at: "late" })
            const fiber = yield* Effect.forkChild(provision(intent))
            yield* met
            yield* Effect.all([Fiber.interrupt(fiber), Effect.delay(release, "200 millis")], { concurrency: 2 })
            yield* destroy(intent.key)
            assert.deepStrictEqual(yield* ledger.made, Docker.nothing)
          })
        )
    )
  }

  it.live("I-106 that is given up is not over before the engine has done what it was asked", () =>
    through((wire) =>
      Effect.gen(function* () {
        const { provision } = yield* Provisioner
        const ledger = yield* newLedger
        const intent = yield* intentOf(ledger)
        // what follows this makes a network, and is on its way for a while
        const { met, release } = wire.arm({ method: "GET", path: /\/networks\?/, at: "late" })
        const fiber = yield* Effect.forkChild(provision(intent))
        yield* met
        yield* wire.freeze
        yield* release
        yield* Effect.sleep("300 millis")
        const remove = on()(Effect.flatMap(Provisioner, ({ destroy }) => destroy(intent.key)))
        const removed = yield* Effect.forkChild(Effect.andThen(Fiber.interrupt(fiber), remove))
        yield* Effect.sleep("500 millis")
        yield* wire.thaw
        yield* Fiber.join(removed)
        yield* Effect.sleep("300 millis")
        assert.deepStrictEqual(yield* ledger.made, Docker.nothing)
      })
    )
  )

  it.live("waits while the engine says nothing, and goes on when it does", () =>
    through((wire) =>
      Effect.gen(function* () {
        const { provision } = yield* Provisioner
        const ledger = yield* newLedger
        const intent = yield* intentOf(ledger)
        const { met, release } = wire.arm({ method: "POST", path: /networks\/create/, at: "late" })
        const fiber = yield* Effect.forkChild(provision(intent))
        yield* met
        yield* wire.freeze
        yield* release
        yield* Effect.sleep("500 millis")
        assert.isUndefined(fiber.pollUnsafe())
        yield* wire.thaw
        yield* Fiber.join(fiber)
        yield* isOne(ledger, intent)
      })
    )
  )

  it.live("I-105 by two processes at once makes one box", () =>
    Effect.gen(function* () {
      const ledger = yield* newLedger
      const intent = yield* on()(intentOf(ledger))
      const provision = Effect.flatMap(Provisioner, (all) => all.provision(intent))
      const refs = yield* Effect.replicateEffect(on()(provision), 4, { concurrency: "unbounded" })
      assert.lengthOf([...new Set(refs.map(({ id }) => id))], 1)
      yield* on()(isOne(ledger, intent))
    }).pipe(Effect.scoped)
  )

  it.live("of eight boxes at once makes eight", () =>
    Effect.gen(function* () {
      const { destroy, provision } = yield* docker
      const ledger = yield* newLedger
      const intents = Array.from({ length: 8 }, () => ledger.intent())
      const refs = yield* Effect.forEach(intents, provision, { concurrency: "unbounded" })
      const said = yield* Effect.forEach(refs, (ref) => sh(ref, `echo ${ref.key}`), { concurrency: "unbounded" })
      assert.deepStrictEqual(
        said,
        intents.map(({ key }) => key)
      )
      assert.strictEqual((yield* ledger.made).volumes.length, 8)
      yield* Effect.forEach(refs, destroy, { concurrency: "unbounded" })
      assert.deepStrictEqual(yield* ledger.made, Docker.nothing)
    }).pipe(on())
  )

  it.live("I-106 that goes on after the box was destroyed leaves nothing that cannot be destroyed", () =>
    through((wire) =>
      Effect.gen(function* () {
        const { destroy, provision } = yield* docker
        const ledger = yield* newLedger
        const intent = yield* intentOf(ledger)
        yield* Effect.addFinalizer(() => Effect.ignore(Docker.request("DELETE", `/volumes/${intent.name}`)))
        // the volume is there, and the container is not
        const { met, release } = wire.arm({ method: "GET", path: /\/networks\?/, at: "late" })
        const made = yield* Effect.forkChild(Effect.exit(provision(intent)))
        yield* met
        yield* on()(Effect.flatMap(docker, (other) => other.destroy(intent.key)))
        assert.isUndefined(yield* Docker.inspect("volumes", intent.name))
        yield* release
        yield* Fiber.join(made)
        yield* isOne(ledger, intent)
        yield* destroy(intent.key)
        assert.isUndefined(yield* Docker.inspect("volumes", intent.name))
      })
    )
  )

  it.live("of a box that is being destroyed makes it whole or fails, and it can be destroyed again", () =>
    Effect.gen(function* () {
      const { destroy, provision } = yield* docker
      for (const after of [0, 20, 60, 120, 250, 500]) {
        const ledger = yield* newLedger
        const intent = yield* intentOf(ledger)
        const made = yield* Effect.forkChild(Effect.exit(provision(intent)))
        yield* Effect.sleep(after)
        // what is being made just now may be in the way
        yield* Effect.exit(destroy(intent.key))
        const exit = yield* Fiber.join(made)
        if (Exit.isSuccess(exit)) {
          const left = (yield* ledger.made).volumes.length
          assert.oneOf(left, [0, 1])
        }
        yield* destroy(intent.key)
        assert.deepStrictEqual(yield* ledger.made, Docker.nothing, `destroyed after ${after} ms`)
        assert.isUndefined(yield* Docker.inspect("volumes", intent.name), `destroyed after ${after} ms`)
      }
    }).pipe(on())
  )
})

describeDocker("a halt and a removal", () => {
  for (const [what, fault] of [
    ["stop", { method: "POST", path: /\/stop\?/ }],
    ["destroy", { method: "DELETE", path: /\/containers\// }],
    ["destroy", { method: "DELETE", path: /\/networks\// }],
    ["destroy", { method: "DELETE", path: /\/volumes\// }]
  ] as const) {
    it.live(`I-103 whose ${fault.method} ${fault.path.source.replaceAll("\\", "")} is lost is repeated`, () =>
      through((wire) =>
        Effect.gen(function* () {
          const { destroy, inspect, provision, stop } = yield* docker
          for (const at of ["reply", "request"] as const) {
            const ledger = yield* newLedger
            const intent = yield* intentOf(ledger)
            const ref = yield* provision(intent)
            const call = what === "stop" ? stop(ref) : destroy(ref)
            wire.arm({ ...fault, at })
            const { outcome, reason } = yield* Effect.flip(call)
            assert.deepStrictEqual({ outcome, reason }, { outcome: "unknown", reason: "Unreachable" })
            yield* call
            assert.strictEqual((yield* inspect(ref))._tag, what === "stop" ? "stopped" : "gone")
            yield* destroy(intent.key)
            assert.deepStrictEqual(yield* ledger.made, Docker.nothing)
          }
        })
      )
    )
  }
})

describeDocker("a box whose engine cannot be reached", () => {
  it.live("I-104 is neither absent nor gone nor missing from a list", () =>
    through((wire) =>
      Effect.gen(function* () {
        const { find, inspect, list, provision } = yield* docker
        const ledger = yield* newLedger
        const intent = yield* intentOf(ledger)
        const ref = yield* provision(intent)
        const looks = { find: find(intent.key), inspect: inspect(ref), list: Stream.runCollect(list(ledger.id)) }
        const all: ReadonlyArray<readonly [string, Effect.Effect<unknown, ProvisionerError>]> = Object.entries(looks)
        yield* wire.refuse(true)
        yield* wire.cutAll
        for (const [name, look] of all) {
          assert.strictEqual((yield* Effect.flip(look)).reason, "Unreachable", name)
        }
        yield* wire.refuse(false)
        // cut while it answers; some of them ask for several things at once, of which any may be the last to arrive
        const paths = [/\/containers\/json/, /\/volumes\/[^?]+$/, /\/networks\?/]
        for (const [n, [name, look]] of all.entries()) {
          wire.arm({ method: "GET", path: paths[n]!, at: "reply" })
          assert.strictEqual((yield* Effect.flip(look)).reason, "Unreachable", name)
        }
        yield* wire.freeze
        for (const [, look] of all) {
          assert.strictEqual((yield* Effect.timeoutOption(look, "300 millis"))._tag, "None")
        }
        yield* wire.thaw
        assert.deepStrictEqual(yield* looks.find, { _tag: "present", ref })
        assert.deepStrictEqual(yield* looks.inspect, { _tag: "running" })
        assert.lengthOf(yield* looks.list, 1)
      })
    )
  )

  it.live("fails a command whose engine is lost, and leaves none running that was asked for", () =>
    through((wire) =>
      Effect.gen(function* () {
        const { exec, provision } = yield* docker
        const ledger = yield* newLedger
        const intent = yield* intentOf(ledger)
        const ref = yield* provision(intent)
        const sleeper = { argv: ["sleep", "4242"] }
        const sleepers = Effect.map(
          Effect.orDie(
            Docker.request("GET", `/containers/${(yield* containerOf(intent.key)).Id}/top?ps_args=-eo%20pid,args`)
          ),
          ({ json }) => json().Processes.filter(([, args]: [string, string]) => args === "sleep 4242").length as number
        )

        const { met } = wire.arm({ method: "POST", path: /\/exec$/, at: "reply" })
        const unmade = yield* Effect.flip(Effect.scoped(exec(ref, sleeper)))
        yield* met
        assert.strictEqual(unmade.reason, "Unreachable")

        wire.arm({ method: "POST", path: /\/exec\/[^/]+\/start/, at: "reply" })
        const unstarted = yield* Effect.exit(Effect.scoped(exec(ref, sleeper)))
        assert.isTrue(Exit.isFailure(unstarted))
        assert.strictEqual(yield* sleepers, 0)

        const { met: begun, release } = wire.arm({ method: "POST", path: /\/exec\/[^/]+\/start/, at: "late" })
        const fiber = yield* Effect.forkChild(Effect.scoped(exec(ref, sleeper)))
        yield* begun
        yield* Effect.all([Fiber.interrupt(fiber), Effect.delay(release, "200 millis")], { concurrency: 2 })
        assert.strictEqual(yield* sleepers, 0)

        const lost = Effect.gen(function* () {
          const handle = yield* exec(ref, sleeper)
          yield* Effect.repeat(sleepers, { until: (count) => count === 1, schedule: Schedule.spaced("50 millis") })
          yield* wire.refuse(true)
          yield* wire.cutAll
          assert.strictEqual((yield* Effect.flip(handle.exit)).reason, "Unreachable")
          yield* wire.refuse(false)
        })
        yield* Effect.scoped(lost)
        assert.strictEqual(yield* sleepers, 0)
      })
    )
  )
})
