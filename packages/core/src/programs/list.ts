/** `list`: the sessions of a principal, read from the ledger alone. */
import { Duration, Effect } from "effect"
import { current } from "../internal/sessions.ts"
import { Ledger } from "../Ledger.ts"
import type { ListOptions } from "../Options.ts"
import { Principal } from "../Principal.ts"
import type { ListResult } from "../Results.ts"
import { Limits } from "../Settings.ts"
import * as Time from "../Time.ts"
import * as View from "../View.ts"

/**
 * Newest first. The recent window hides only what has ended and left nothing (`destroyed`, and `failed` without a box);
 * whatever is alive, halted or stuck is always shown, however old.
 */
export const list = Effect.fn("list")(function* (options: ListOptions = {}) {
  const ledger = yield* Ledger
  const owner = yield* Principal
  const { recentWindow } = yield* Limits
  const now = yield* Time.millis
  const { sessions, unreadable } = yield* ledger.sessions({
    owner,
    states: options.states,
    provider: options.provider,
    endedAfter: options.all === true ? undefined : now - (options.since ?? Duration.toMillis(recentWindow))
  })
  const result: ListResult = {
    sessions: yield* Effect.forEach(sessions, (row) => Effect.flatMap(current(row), View.session)),
    warnings: unreadable.map(({ id, problem }) => `the record of ${id} is damaged and was left out: ${problem}`)
  }
  return result
})
