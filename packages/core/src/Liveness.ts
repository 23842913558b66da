/** Whether a claim still has a holder: the question that every takeover begins with. */
import { Effect } from "effect"
import { Host } from "./Host.ts"
import type { Claim, Liveness } from "./Session.ts"
import * as Time from "./Time.ts"

/** Whether anybody is moving the session now. */
export const liveness = Effect.fnUntraced(function* (claim: Claim | null): Effect.fn.Return<Liveness, never, Host> {
  if (claim === null) return "free"
  if (claim.leaseUntil <= (yield* Time.millis)) return "stale"
  const host = yield* Host
  if (claim.holder.host !== host.self.host) return "live"
  return (yield* host.isAlive(claim.holder)) ? "live" : "stale"
})
