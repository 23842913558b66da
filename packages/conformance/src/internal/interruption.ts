import { labelNames, Provisioner, type ProvisionIntent } from "@org/sandbox-core/Provisioner"
import { Effect, Fiber, Stream } from "effect"
import { broken, eventually, inGroup, newIntent, otherLedger } from "./kit.ts"

const law = inGroup("interruption")

/** When to give up, after the call began: before it is on its way, while it is, and when it may be done. */
const moments = ["0 millis", "5 millis", "50 millis", "500 millis"] as const

const interrupted = (intent: ProvisionIntent, after: (typeof moments)[number]) =>
  Effect.gen(function* () {
    const fiber = yield* Effect.forkChild((yield* Provisioner).provision(intent), { startImmediately: true })
    yield* Effect.timeoutOption(Fiber.await(fiber), after)
    yield* Fiber.interrupt(fiber)
  })

/** The keys in the labels of a ledger's boxes: what the platform has, whatever `find` says. */
const labelled = (ledgerId: string) =>
  Effect.flatMap(Provisioner, ({ list }) =>
    Effect.map(Stream.runCollect(list(ledgerId)), (boxes) => boxes.map(({ labels }) => labels[labelNames.key]))
  )

/** A call that was given up is as safe as one that was answered. */
export const interruption = [
  law(
    "I-106 an interrupted provision leaves nothing, or a box that its key finds",
    [],
    Effect.gen(function* () {
      const { find } = yield* Provisioner
      const other = yield* otherLedger
      for (const moment of moments) {
        const intent = yield* newIntent(other)
        yield* interrupted(intent, moment)
        const made = (yield* labelled(other)).includes(intent.key)
        const found = yield* find(intent.key)
        if (found._tag === "unknown") return yield* broken(`find: cannot tell, after ${moment}: ${found.why}.`)
        if (made && found._tag === "absent") {
          return yield* broken(`provision, interrupted after ${moment}: left a box that find does not find.`)
        }
      }
    })
  ),
  law(
    "I-106 destroying the key after an interrupted provision leaves nothing",
    [],
    Effect.gen(function* () {
      const { destroy, find } = yield* Provisioner
      const other = yield* otherLedger
      for (const moment of moments) {
        const intent = yield* newIntent(other)
        yield* interrupted(intent, moment)
        yield* destroy(intent.key)
        yield* eventually("find", find(intent.key), { _tag: "absent" })
        yield* eventually("list", labelled(other), [])
      }
    })
  ),
  law(
    "I-106 provisioning again after an interruption gives the box of the key",
    [],
    Effect.gen(function* () {
      const { provision } = yield* Provisioner
      const other = yield* otherLedger
      const intent = yield* newIntent(other)
      for (const moment of moments) yield* interrupted(intent, moment)
      yield* provision(intent)
      yield* eventually("list", labelled(other), [intent.key])
    })
  )
]
