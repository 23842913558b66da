/** `here`: which session a directory of this host belongs to. */

import { Effect } from "effect"
import * as sessions from "../internal/sessions.ts"
import type { HereOptions } from "../Options.ts"
import type { HereResult } from "../Results.ts"

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
