/** `history`: everything that happened to a session, in order. */
import { Effect } from "effect"
import * as sessions from "../internal/sessions.ts"
import { Ledger } from "../Ledger.ts"
import type { HistoryOptions } from "../Options.ts"
import type { HistoryResult } from "../Results.ts"
import * as View from "../View.ts"

/** Transitions, operations and events of a session, oldest first. */
export const history = Effect.fn("history")(function* (options: HistoryOptions) {
  const session = yield* sessions.find(options.session)
  const { events, operations } = yield* (yield* Ledger).history(session.id)
  const result: HistoryResult = {
    sessionId: session.id,
    name: session.name,
    state: session.state,
    stateTransitions: View.transitions(events),
    operations: operations.map(View.operation),
    events: events.map(View.event),
    warnings: []
  }
  return result
})
