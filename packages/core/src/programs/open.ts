/** `open`: the page of a session's primary service. */

import { Duration, Effect } from "effect"
import * as Browser from "../Browser.ts"
import * as sessions from "../internal/sessions.ts"
import { usable } from "../internal/usable.ts"
import type { OpenOptions } from "../Options.ts"
import type { OpenResult } from "../Results.ts"
import * as SandboxError from "../SandboxError.ts"
import { passwordEnv as passwordOf } from "../Setup.ts"

/**
 * Opens the session's `endpointUrl` in a browser. That none could be opened is a warning, never a failure.
 *
 * Fails with `ERR_NOT_READY` when the session is not up, and with `ERR_INVALID_ARGUMENT` when it has no page.
 */
export const open = Effect.fn("open")(function* (options: OpenOptions) {
  const session = yield* sessions.find(options.session)
  yield* usable(session)
  const { endpointUrl, id, name, setup } = session
  if (endpointUrl === null) {
    return yield* SandboxError.make("ERR_INVALID_ARGUMENT", {
      message: `${name} has no page: none of its services has a port`,
      nextStep: "declare a service with a port in sandbox.yaml, and bring up a new session with `sandbox up`",
      sessionId: id,
      state: session.state,
      details: { field: "session" }
    })
  }
  const browserOpened = options.print !== true && (yield* Browser.open(endpointUrl))
  const result: OpenResult = {
    sessionId: id,
    name,
    endpointUrl,
    browserOpened,
    passwordEnv: passwordOf(setup),
    warnings:
      browserOpened || options.print === true
        ? []
        : [
            `no browser said within ${Duration.format(Browser.patience)} that it opened the page, which is at ${endpointUrl}`
          ]
  }
  return result
})
