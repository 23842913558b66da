/** `here`: which session a directory of this host belongs to. */
import { Effect } from "effect"
import * as sessions from "../internal/sessions.ts"
import type { State } from "../Lifecycle.ts"

export interface HereOptions {
  /** An absolute path on this host. */
  readonly directory: string
  /** Only the session whose checkout the directory is in, never one whose repository it is in. */
  readonly inside?: boolean | undefined
}

export interface HereResult {
  readonly sessionId: string
  readonly name: string
  readonly state: State
}

/**
 * The session whose checkout the directory is in; in a repository itself, the only session that it has.
 *
 * Fails with `ERR_INVALID_ARGUMENT` when there is none, or when there are several.
 */
export const here = Effect.fn("here")(function* (options: HereOptions) {
  const { id, name, state } = yield* sessions.here(options)
  const result: HereResult = { sessionId: id, name, state }
  return result
})
