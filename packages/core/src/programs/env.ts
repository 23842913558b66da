/** `env`: what commands in a session find in their environment. */

import { Effect } from "effect"
import * as environment from "../internal/environment.ts"
import * as sessions from "../internal/sessions.ts"
import { usable, withWayOut } from "../internal/usable.ts"
import type { EnvOptions } from "../Options.ts"
import { Provisioners } from "../Provisioners.ts"
import type { EnvResult } from "../Results.ts"

/** Reads it from the box, where it is kept. Fails with `ERR_NOT_READY` when the session is not up. */
export const env = Effect.fn("env")(function* (options: EnvOptions) {
  const session = yield* sessions.find(options.session)
  yield* usable(session)
  const backend = yield* (yield* Provisioners).get(session.provider)
  const { secrets, variables } = yield* withWayOut(session)(environment.read(backend, session))
  const shown = options.showSecrets === true ? { ...variables, ...secrets } : without(variables, secrets)
  const result: EnvResult = {
    sessionId: session.id,
    name: session.name,
    state: session.state,
    provider: session.provider,
    branch: session.workBranch,
    worktreePath: session.workspacePath,
    slot: session.slot,
    ports: session.ports ?? {},
    env: Object.fromEntries(Object.entries(shown).toSorted(([a], [b]) => (a < b ? -1 : 1))),
    secrets: Object.keys(secrets).sort(),
    warnings: []
  }
  return result
})

/** A variable that a secret replaces is not shown with the value it would have without it. */
const without = (variables: environment.Variables, secrets: environment.Variables): environment.Variables =>
  Object.fromEntries(Object.entries(variables).filter(([name]) => !Object.hasOwn(secrets, name)))
