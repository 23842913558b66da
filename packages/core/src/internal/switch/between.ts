/** A session that a dead switch has left between two providers. */
import type * as Lifecycle from "../../Lifecycle.ts"
import { keyGeneration, type Prior, type Session } from "../../Session.ts"

/** States in which a switch may be found dead. */
const within: ReadonlyArray<Lifecycle.State> = ["switching", "provisioning", "syncing"]

/** Where the session was before a switch that never ended; none where no switch was moving it. */
export const leftAt = ({ claim, provider, state }: Session): Prior | undefined => {
  const prior = claim?.prior ?? null
  if (prior === null || !within.includes(state)) return undefined
  return state === "switching" || prior.provider !== provider ? prior : undefined
}

/** Whether the session is on the new provider already, as far as the ledger goes. */
export const isWritten = ({ provider }: Session, prior: Prior): boolean => prior.provider !== provider

/** Whether the box is one that the session had left before, and took up again. */
export const isAdopted = ({ instance }: Session, prior: Prior): boolean =>
  instance !== null && keyGeneration(instance.key) <= prior.generation

/** Whether the session was in use, so that its box was to run. */
export const wasUp = ({ state }: Pick<Prior, "state">): boolean => state === "ready" || state === "completed"
