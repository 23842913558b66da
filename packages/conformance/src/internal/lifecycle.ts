import { Provisioner } from "@org/sandbox-core/Provisioner"
import { InstanceRef } from "@org/sandbox-core/Session"
import { Effect, Schema } from "effect"
import { LawContext } from "../Law.ts"
import { capability, halt, inGroup, newBox, newIntent, observed, same } from "./kit.ts"

const law = inGroup("lifecycle")

const RefJson = Schema.fromJsonString(InstanceRef)

/** A box is made, runs, halts, starts and goes. */
export const lifecycle = [
  law(
    "a box that preflight accepts is made and runs",
    [],
    Effect.gen(function* () {
      yield* (yield* Provisioner).preflight((yield* LawContext).spec)
      yield* observed(yield* newBox, "running")
    })
  ),
  law(
    "a reference names its provider, its scope and its key",
    [],
    Effect.gen(function* () {
      const provisioner = yield* Provisioner
      const intent = yield* newIntent()
      const ref = yield* provisioner.provision(intent)
      yield* same(
        "provision",
        { provider: ref.provider, scope: ref.scope, key: ref.key },
        { provider: provisioner.name, scope: yield* provisioner.scope, key: intent.key }
      )
    })
  ),
  law(
    "a reference that was written down as JSON still reaches its box",
    [],
    Effect.gen(function* () {
      const json = yield* Effect.orDie(Schema.encodeEffect(RefJson)(yield* newBox))
      const ref = yield* Effect.orDie(Schema.decodeEffect(RefJson)(json))
      yield* observed(ref, "running")
      yield* (yield* Provisioner).destroy(ref)
      yield* observed(ref, "gone")
    })
  ),
  law("a box that is stopped halts, and is gone only where a halt is terminal", [], Effect.flatMap(newBox, halt)),
  law(
    "a halted box runs again when it is started",
    ["start"],
    Effect.gen(function* () {
      const ref = yield* newBox
      yield* halt(ref)
      yield* (yield* capability("start"))(ref)
      yield* observed(ref, "running")
    })
  ),
  law(
    "a running box that is destroyed is gone",
    [],
    Effect.gen(function* () {
      const ref = yield* newBox
      yield* (yield* Provisioner).destroy(ref)
      yield* observed(ref, "gone")
    })
  ),
  law(
    "a halted box that is destroyed is gone",
    [],
    Effect.gen(function* () {
      const ref = yield* newBox
      yield* halt(ref)
      yield* (yield* Provisioner).destroy(ref)
      yield* observed(ref, "gone")
    })
  ),
  law(
    "stopping and destroying one box leaves another alone",
    [],
    Effect.gen(function* () {
      const provisioner = yield* Provisioner
      const [one, other] = [yield* newBox, yield* newBox]
      yield* halt(one)
      yield* provisioner.destroy(one)
      yield* observed(one, "gone")
      yield* observed(other, "running")
    })
  )
]
