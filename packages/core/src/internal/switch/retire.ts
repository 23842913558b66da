/** Removing the boxes that a session has left, once it is ready without them. */
import { Effect, Result } from "effect"
import { Ledger } from "../../Ledger.ts"
import type { OrphanView } from "../../Results.ts"
import type { Orphan } from "../../Session.ts"
import * as View from "../../View.ts"
import { removal } from "../gc/leftovers.ts"

/** Boxes that a session has left and that are not proven gone. */
export const open = Effect.fnUntraced(function* (sessionId: string) {
  const { orphans } = yield* (yield* Ledger).history(sessionId)
  return orphans.filter(({ resolvedAt }) => resolvedAt === null)
})

export const view = ({ createdAt, key, provider, reason }: Orphan): OrphanView => ({
  provider,
  key,
  reason,
  createdAt: View.iso(createdAt)
})

/**
 * Removes what may be removed, each under a short claim of its own, and answers what is left with the reason why. The session is
 * usable meanwhile, and `gc` does the same later.
 */
export const retire = Effect.fnUntraced(function* (sessionId: string) {
  const warnings: Array<string> = []
  for (const orphan of yield* open(sessionId)) {
    const removed = yield* Effect.result(removal(sessionId, orphan))
    if (Result.isFailure(removed)) {
      warnings.push(
        `the box ${orphan.key} of provider ${orphan.provider} is left, and \`sandbox gc\` removes it: ${removed.failure.message}`
      )
    }
  }
  return { orphans: (yield* open(sessionId)).map(view), warnings }
})
