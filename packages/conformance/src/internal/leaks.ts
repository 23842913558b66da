import { Provisioner } from "@org/sandbox-core/Provisioner"
import { Effect } from "effect"
import { LawContext } from "../Law.ts"
import { eventually, halt, inGroup, listed, newBox, newIntent, otherLedger } from "./kit.ts"

/** Run last: it also sees what any other law left behind. */
export const leaks = [
  inGroup("leaks")(
    "nothing is left when every box has been destroyed",
    [],
    Effect.gen(function* () {
      const { destroy, provision } = yield* Provisioner
      const halted = yield* newBox
      yield* halt(halted)
      yield* destroy(halted)
      const intent = yield* newIntent()
      yield* provision(intent)
      yield* destroy(intent.key)
      yield* eventually("list", listed((yield* LawContext).ledgerId), [])
      yield* eventually("list", listed(yield* otherLedger), [])
    })
  )
]
