import { Provisioner } from "@org/sandbox-core/Provisioner"
import { Effect } from "effect"
import { broken, capability, eventually, inGroup, newBox, observed, same } from "./kit.ts"

const law = inGroup("network")

/** What stands beside a box is seen by that box alone. */
export const network = [
  law(
    "two boxes of one engine have networks of their own, and each keeps its own",
    ["network"],
    Effect.gen(function* () {
      const network = yield* capability("network")
      const [one, other] = [yield* newBox, yield* newBox]
      const [first, second] = [yield* network(one), yield* network(other)]
      if (first.name === "" || first.engine === "") return yield* broken("network: it has no name, or no engine.")
      yield* same("engine", second.engine, first.engine)
      if (first.name === second.name) return yield* broken(`network: both boxes are in ${first.name}.`)
      yield* same("network", (yield* network(one)).name, first.name)
    })
  ),
  law(
    "the network of a box that is gone is refused as NotFound",
    ["network"],
    Effect.gen(function* () {
      const network = yield* capability("network")
      const ref = yield* newBox
      yield* (yield* Provisioner).destroy(ref)
      yield* observed(ref, "gone")
      const answer = Effect.match(network(ref), {
        onFailure: ({ reason }): string => reason,
        onSuccess: ({ name }) => name
      })
      yield* eventually("network", answer, "NotFound")
    })
  )
]
