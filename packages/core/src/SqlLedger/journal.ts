/** What a write records beside the session's row: its operation, and what happened. */
import { Effect, Option } from "effect"
import { type NewEvent, type OperationRequest, RequestKnown } from "../Ledger.ts"
import type { Database } from "./database.ts"

export type Journal = ReturnType<typeof make>

export const make = ({ request, sql }: Database) => {
  const append = (sessionId: string, operationId: string, at: number, events: ReadonlyArray<NewEvent>) =>
    Effect.forEach(
      events,
      (event) =>
        sql`INSERT INTO events (session_id, seq, operation_id, type, data, at)
            SELECT ${sessionId}, COALESCE(MAX(seq), 0) + 1, ${operationId}, ${event.type}, ${JSON.stringify(event.data)}, ${at}
            FROM events WHERE session_id = ${sessionId}`,
      { discard: true }
    )

  const insertOperation = (
    session: { readonly id: string; readonly owner: string },
    operation: OperationRequest,
    now: number
  ) =>
    sql`INSERT INTO operations ${sql.insert({
      id: operation.id,
      session_id: session.id,
      owner: session.owner,
      verb: operation.verb,
      client_request_id: operation.clientRequestId,
      request_hash: operation.requestHash,
      attempt: 1,
      status: "running",
      result: null,
      error: null,
      created_at: now,
      updated_at: now
    })}`

  /** Fails when the owner has used the request's id before. */
  const refuseKnown = Effect.fnUntraced(function* (owner: string, operation: OperationRequest) {
    const { clientRequestId, verb } = operation
    if (clientRequestId === null) return
    const known = yield* request({ owner, verb, clientRequestId })
    if (Option.isSome(known)) return yield* new RequestKnown({ operation: known.value })
  })

  return { append, insertOperation, refuseKnown }
}

export const transition = (from: string | undefined, to: string): NewEvent => ({
  type: "transition",
  data: { from: from ?? null, to }
})
