import { labelNames, Provisioner } from "@org/sandbox-core/Provisioner"
import { Effect, Stream } from "effect"
import { LawContext } from "../Law.ts"
import { broken, eventually, halt, inGroup, listed, newBox, newIntent, observed, otherLedger } from "./kit.ts"

/** What the provider says about the platform is so. */
export const truth = [
  inGroup("truth")(
    "I-104 a box that is gone is observed as gone, again and again, and that is no failure",
    [],
    Effect.gen(function* () {
      const { destroy, inspect } = yield* Provisioner
      const ref = yield* newBox
      yield* destroy(ref)
      yield* observed(ref, "gone")
      const seen = (yield* inspect(ref))._tag
      if (seen !== "gone") return yield* broken(`inspect: expected gone once more, saw ${seen}.`)
    })
  ),
  inGroup("truth")(
    "I-104 a destroyed box is no longer found by its key",
    [],
    Effect.gen(function* () {
      const { destroy, find, provision } = yield* Provisioner
      const intent = yield* newIntent()
      yield* destroy(yield* provision(intent))
      yield* eventually("find", find(intent.key), { _tag: "absent" })
    })
  ),
  inGroup("truth")(
    "the list of a ledger holds exactly its boxes",
    [],
    Effect.gen(function* () {
      const { provision } = yield* Provisioner
      const { ledgerId } = yield* LawContext
      const other = yield* otherLedger
      const [a, b, foreign] = [yield* newIntent(), yield* newIntent(), yield* newIntent(other)]
      yield* Effect.forEach([a, b, foreign], provision, { discard: true })
      yield* eventually("list", listed(ledgerId), [a.key, b.key].sort())
      yield* eventually("list", listed(other), [foreign.key])
    })
  ),
  inGroup("truth")(
    "a halted box stays in the list",
    ["start"],
    Effect.gen(function* () {
      const { provision } = yield* Provisioner
      const other = yield* otherLedger
      const intent = yield* newIntent(other)
      yield* halt(yield* provision(intent))
      yield* eventually("list", listed(other), [intent.key])
    })
  ),
  inGroup("truth")(
    "a reference from the list reaches the box",
    [],
    Effect.gen(function* () {
      const { destroy, list, provision } = yield* Provisioner
      const other = yield* otherLedger
      const intent = yield* newIntent(other)
      const made = yield* provision(intent)
      yield* eventually("list", listed(other), [intent.key])
      const boxes = yield* Stream.runCollect(list(other))
      yield* Effect.forEach(boxes, ({ ref }) => destroy(ref), { discard: true })
      yield* observed(made, "gone")
    })
  ),
  inGroup("labels")(
    "all six labels come back from the list as they were given",
    [],
    Effect.gen(function* () {
      const { list, provision } = yield* Provisioner
      const other = yield* otherLedger
      const { key, labels } = yield* Effect.tap(newIntent(other), provision)
      yield* eventually("list", listed(other), [key])
      const boxes = yield* Stream.runCollect(list(other))
      const ours = (label: string) => boxes.find(({ ref }) => ref.key === key)?.labels[label]
      for (const label of Object.values(labelNames)) {
        if (ours(label) !== labels[label]) {
          return yield* broken(`list: expected ${label} to be ${labels[label]}, saw ${ours(label)}.`)
        }
      }
    })
  )
]
