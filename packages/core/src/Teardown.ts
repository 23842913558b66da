/** What `destroy` may do to a session in a given state: the teardown matrix as a pure function. */
import type { State } from "./Lifecycle.ts"

/** What the caller said. */
export interface TeardownRequest {
  readonly force: boolean
  readonly confirmDataLoss: boolean
}

export type TeardownDecision =
  | { readonly _tag: "already" }
  | { readonly _tag: "refuse"; readonly code: "ERR_FORCE_REQUIRED" | "ERR_DATA_LOSS_UNCONFIRMED" }
  /** `save`: halt and save it before it is torn down. */
  | { readonly _tag: "proceed"; readonly save: boolean }

const proceed = (save: boolean): TeardownDecision => ({ _tag: "proceed", save })
const refuse = (code: "ERR_FORCE_REQUIRED" | "ERR_DATA_LOSS_UNCONFIRMED"): TeardownDecision => ({
  _tag: "refuse",
  code
})

/** Decides by state; who holds the claim and whether an export is running is decided where the claim is taken. */
export const decide = (state: State, request: TeardownRequest): TeardownDecision => {
  switch (state) {
    case "destroyed":
      return { _tag: "already" }
    case "ready":
      return request.force ? proceed(true) : refuse("ERR_FORCE_REQUIRED")
    case "completed":
    case "stopping":
    case "persisting":
      return proceed(true)
    case "persist_failed":
    case "stopped_unpersisted":
      if (!request.force) return refuse("ERR_FORCE_REQUIRED")
      return request.confirmDataLoss ? proceed(false) : refuse("ERR_DATA_LOSS_UNCONFIRMED")
    default:
      return proceed(false)
  }
}
