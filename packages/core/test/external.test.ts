/** A provider whose boxes are somebody else's, behind the dispatcher. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer } from "effect"
import * as MemoryProvisioner from "../src/MemoryProvisioner.ts"
import { type Observation, Provisioner, type ProvisionerShape } from "../src/Provisioner.ts"
import { Provisioners } from "../src/Provisioners.ts"
import { Spec } from "../src/Session.ts"

const intent = { key: "s.g1", scope: "lab", name: "s-g1", labels: {}, spec: new Spec({}), deadline: 0 }

/** Adopts the machine that stands there under an intent's key, and never ends one. */
const lab = (machines: ProvisionerShape): ProvisionerShape => {
  const holds = new Map<string, Observation>()
  const key = (target: Parameters<ProvisionerShape["destroy"]>[0]) => (typeof target === "string" ? target : target.key)
  return {
    ...machines,
    external: true,
    provision: (wanted) =>
      Effect.tap(machines.provision(wanted), (ref) => Effect.sync(() => holds.set(ref.key, { _tag: "running" }))),
    find: (wanted) => (holds.has(wanted) ? machines.find(wanted) : Effect.succeed({ _tag: "absent" })),
    inspect: (ref) => Effect.sync(() => holds.get(ref.key) ?? { _tag: "gone" }),
    stop: (ref) => Effect.sync(() => void holds.set(ref.key, { _tag: "stopped" })),
    destroy: (target) => Effect.sync(() => void holds.delete(key(target)))
  }
}

describe("a provider whose boxes are somebody else's", () => {
  it.effect("is known as one, and lets go of a box that runs on", () =>
    Effect.gen(function* () {
      const cloud = MemoryProvisioner.makeCloud()
      const machines = MemoryProvisioner.make({ cloud, name: "lab" })
      const theirs = yield* machines.provision(intent)
      const layer = Provisioners.layer({
        lab: Layer.succeed(Provisioner)(lab(machines)),
        ours: Layer.succeed(Provisioner)(machines)
      })
      yield* Effect.gen(function* () {
        const { get } = yield* Provisioners
        const backend = yield* get("lab")
        assert.deepEqual([backend.external, (yield* get("ours")).external], [true, false])
        const ref = yield* backend.provision(intent)
        assert.strictEqual(ref.id, theirs.id)
        assert.deepEqual(yield* backend.inspect(ref), { _tag: "running" })
        yield* backend.stop(ref)
        assert.deepEqual(yield* backend.inspect(ref), { _tag: "stopped" })
        yield* backend.destroy({ scope: "lab", key: ref.key, ref })
        yield* backend.destroy({ scope: "lab", key: ref.key, ref: null })
        assert.deepEqual(yield* backend.inspect(ref), { _tag: "gone" })
      }).pipe(Effect.provide(layer))
      assert.isTrue(MemoryProvisioner.isRunning(cloud.boxes.get(theirs.id)!))
      assert.strictEqual(cloud.created, 1)
    })
  )
})
