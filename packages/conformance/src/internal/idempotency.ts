import { Provisioner } from "@org/sandbox-core/Provisioner"
import { Effect } from "effect"
import { broken, capability, halt, inGroup, newBox, newIntent, observed, same } from "./kit.ts"

const law = inGroup("idempotency")

/** Asking twice, at once or too late changes nothing. */
export const idempotency = [
  law(
    "I-105 the same key twice is the same box",
    [],
    Effect.gen(function* () {
      const { provision } = yield* Provisioner
      const intent = yield* newIntent()
      const first = yield* provision(intent)
      yield* same("provision", (yield* provision(intent)).id, first.id)
    })
  ),
  law(
    "I-105 the same key many times at once is the same box",
    [],
    Effect.gen(function* () {
      const { provision } = yield* Provisioner
      const intent = yield* newIntent()
      const refs = yield* Effect.replicateEffect(provision(intent), 6, { concurrency: "unbounded" })
      yield* same("provision", [...new Set(refs.map(({ id }) => id))], [refs[0]?.id])
    })
  ),
  law(
    "I-105 the key of a halted box is still its key",
    ["start"],
    Effect.gen(function* () {
      const { provision } = yield* Provisioner
      const intent = yield* newIntent()
      const first = yield* provision(intent)
      yield* halt(first)
      yield* same("provision", (yield* provision(intent)).id, first.id)
    })
  ),
  law(
    "another key is another box",
    [],
    Effect.gen(function* () {
      const [one, other] = [yield* newBox, yield* newBox]
      if (one.id === other.id) return yield* broken(`provision: two keys share the box ${one.id}.`)
    })
  ),
  law(
    "I-105 a box is found by its key as soon as it is made, and not before",
    [],
    Effect.gen(function* () {
      const { find, provision } = yield* Provisioner
      const intent = yield* newIntent()
      yield* same("find", yield* find(intent.key), { _tag: "absent" })
      const ref = yield* provision(intent)
      const found = yield* find(intent.key)
      yield* same("find", found._tag === "present" ? found.ref.id : found, ref.id)
    })
  ),
  law(
    "I-103 halting twice is success",
    [],
    Effect.gen(function* () {
      const ref = yield* newBox
      yield* halt(ref)
      yield* halt(ref)
    })
  ),
  law(
    "starting a running box is success",
    ["start"],
    Effect.gen(function* () {
      const ref = yield* newBox
      yield* (yield* capability("start"))(ref)
      yield* observed(ref, "running")
    })
  ),
  law(
    "I-103 destroying twice is success",
    [],
    Effect.gen(function* () {
      const { destroy } = yield* Provisioner
      const ref = yield* newBox
      yield* destroy(ref)
      yield* destroy(ref)
      yield* observed(ref, "gone")
      yield* destroy(ref)
    })
  ),
  law(
    "I-103 halting a box that is gone is success, and leaves it gone",
    [],
    Effect.gen(function* () {
      const { destroy, stop } = yield* Provisioner
      const ref = yield* newBox
      yield* destroy(ref)
      yield* observed(ref, "gone")
      yield* stop(ref)
      yield* observed(ref, "gone")
    })
  ),
  law(
    "I-103 destroying a key that never had a box is success",
    [],
    Effect.gen(function* () {
      const { destroy, find } = yield* Provisioner
      const { key } = yield* newIntent()
      yield* destroy(key)
      yield* same("find", yield* find(key), { _tag: "absent" })
    })
  ),
  law(
    "I-106 a box can be destroyed by its key alone",
    [],
    Effect.gen(function* () {
      const { destroy, provision } = yield* Provisioner
      const intent = yield* newIntent()
      const ref = yield* provision(intent)
      yield* destroy(intent.key)
      yield* observed(ref, "gone")
    })
  )
]
