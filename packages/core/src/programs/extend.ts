/** `extend`: sets or clears the time at which `gc` halts a session. */
import { Effect } from "effect"
import * as Claim from "../Claim.ts"
import * as ready from "../internal/ready.ts"
import { standing } from "../internal/requests.ts"
import * as sessions from "../internal/sessions.ts"
import { isTtl } from "../internal/ttl.ts"
import { settledStates } from "../Lifecycle.ts"
import type { ExtendOptions } from "../Options.ts"
import type { ExtendResult } from "../Results.ts"
import * as SandboxError from "../SandboxError.ts"
import * as Time from "../Time.ts"
import * as View from "../View.ts"

/**
 * Lets a session be up for some time from now, or for ever.
 *
 * Under a claim of kind `checkpoint`, which leaves the box usable and lasts for one commit.
 */
export const extend = Effect.fn("extend")(function* (options: ExtendOptions) {
  const { ttl } = options
  if (ttl !== null && !isTtl(ttl)) {
    return yield* SandboxError.make("ERR_INVALID_ARGUMENT", {
      message: `a session cannot live for ${ttl} ms`,
      nextStep: "pass a time such as 8h as --ttl, or --never",
      details: { field: "ttl" }
    })
  }
  const session = yield* sessions.find(options.session)
  const before = yield* standing("extend", { session: session.id, ttl }, options)
  if (before._tag === "succeeded") {
    return { ...(before.operation.result as unknown as ExtendResult), replayed: true as const }
  }
  if (session.state === "destroyed") {
    return yield* SandboxError.make("ERR_OPERATION_CONFLICT", {
      message: `${session.name} is destroyed, and has no time left to extend`,
      nextStep: "make a new session with `sandbox up`",
      retryable: false,
      sessionId: session.id,
      state: session.state
    })
  }
  const from = settledStates.filter((state) => state !== "destroyed")
  return yield* Claim.withClaim(
    { session, kind: "checkpoint", operation: before.operation, from },
    {
      verb: "extend",
      use: Effect.fnUntraced(function* (held: Claim.Held) {
        const row = yield* held.row
        const expiresAt = ttl === null ? null : (yield* Time.millis) + Math.round(ttl)
        const result: ExtendResult = {
          sessionId: row.id,
          name: row.name,
          operationId: held.operationId,
          state: row.state,
          expiresAt: View.isoOrNull(expiresAt),
          warnings: yield* held.warnings
        }
        return ready.done(result, {
          set: { expiresAt },
          events: [{ type: "extended", data: { expires_at: View.isoOrNull(expiresAt) } }]
        })
      }),
      settle: () => Effect.succeed({})
    }
  )
})
