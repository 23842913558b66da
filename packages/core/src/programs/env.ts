/** `env`: what commands in a session find in their environment. */
import { Effect } from "effect"
import * as environment from "../internal/environment.ts"
import * as sessions from "../internal/sessions.ts"
import { usable } from "../internal/usable.ts"
import type { State } from "../Lifecycle.ts"
import { Provisioners } from "../Provisioners.ts"

export interface EnvOptions {
  /** A session id, a unique prefix of one, or a name. */
  readonly session: string
  /** Answer the values of secrets too. */
  readonly showSecrets?: boolean | undefined
}

export interface EnvResult {
  readonly sessionId: string
  readonly name: string
  readonly state: State
  readonly provider: string
  readonly branch: string | null
  readonly worktreePath: string | null
  readonly slot: number | null
  readonly ports: Readonly<Record<string, number>>
  /** By name, beside what the box has by itself; secrets are among them only when they were asked for. */
  readonly env: Readonly<Record<string, string>>
  /** The names of those that are secrets. */
  readonly secrets: ReadonlyArray<string>
  readonly warnings: ReadonlyArray<string>
}

/** Reads it from the box, where it is kept. Fails with `ERR_NOT_READY` when the session is not up. */
export const env = Effect.fn("env")(function* (options: EnvOptions) {
  const session = yield* sessions.find(options.session)
  yield* usable(session)
  const backend = yield* (yield* Provisioners).get(session.provider)
  const { secrets, variables } = yield* environment.read(backend, session)
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
