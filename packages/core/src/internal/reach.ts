/** Whether a session's box is where this process can act on it. */
import { Effect } from "effect"
import { Provisioners } from "../Provisioners.ts"
import * as SandboxError from "../SandboxError.ts"
import type { Session } from "../Session.ts"

/**
 * Refuses a session whose box is known to be at another place, before anything of it is claimed.
 *
 * Fails with `ERR_PROVIDER_UNAVAILABLE`, also where the provider is not there at all.
 */
export const refuseElsewhere = Effect.fnUntraced(function* ({ id, instance, provider, state }: Session) {
  if (instance === null || state === "destroyed") return
  const backend = yield* (yield* Provisioners).get(provider)
  yield* Effect.mapError(backend.reaches(instance), (error) => SandboxError.extend(error, { sessionId: id, state }))
})
