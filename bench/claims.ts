/** The smallest use of a claim: a ready session is claimed for a repair that finds nothing to do. */
import { Claim, Ids, Ledger } from "@org/sandbox-core"
import { Effect, Option } from "effect"

/** Claims the session, works not at all, and releases it. */
export const claimAndRelease = Effect.fnUntraced(function* (sessionId: string) {
  const session = Option.getOrThrow(yield* (yield* Ledger.Ledger).session(sessionId))
  const id = yield* (yield* Ids.Ids).next("op")
  return yield* Claim.withClaim(
    {
      session,
      kind: "resume",
      operation: { id, verb: "resume", clientRequestId: null, requestHash: "hash" },
      from: ["ready"],
      enter: () => "syncing"
    },
    {
      verb: "resume",
      use: (held) =>
        Effect.map(held.move("ready"), (move) => ({
          result: undefined,
          change: { move, outcome: { status: "succeeded", result: {} } }
        })),
      settle: () => Effect.succeed({})
    }
  )
})
