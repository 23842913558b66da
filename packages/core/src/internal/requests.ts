/** Idempotency: what a client request id stood for, and what became of it. */
import { Effect, Option, Stream } from "effect"
import { Hasher } from "../Hasher.ts"
import type { Host } from "../Host.ts"
import { Ids } from "../Ids.ts"
import { Ledger, type OperationRequest } from "../Ledger.ts"
import { liveness } from "../Liveness.ts"
import type { RequestOptions } from "../Options.ts"
import { Principal } from "../Principal.ts"
import { recovery } from "../Recovery.ts"
import * as SandboxError from "../SandboxError.ts"
import type { Operation, RecordedError, Session } from "../Session.ts"

/** What is known of a request before anything is done about it. */
export type Standing =
  | { readonly _tag: "fresh"; readonly operation: OperationRequest }
  /** An earlier attempt died; this one goes on under the same operation. */
  | { readonly _tag: "interrupted"; readonly operation: OperationRequest; readonly session: Session }
  | { readonly _tag: "succeeded"; readonly operation: Operation; readonly session: Session }

/**
 * Looks a request up. Fails when it failed before (with the same error), when it is still running, and when its id was
 * used for other arguments.
 */
export const standing = Effect.fnUntraced(function* (
  verb: string,
  /** Normalised explicit arguments: what makes two requests the same. */
  args: Readonly<Record<string, unknown>>,
  options: RequestOptions
): Effect.fn.Return<Standing, SandboxError.SandboxError, Ledger | Principal | Ids | Hasher | Host> {
  const ledger = yield* Ledger
  const owner = yield* Principal
  const clientRequestId = options.clientRequestId ?? null
  const requestHash = yield* hash({ verb, ...args })
  if (clientRequestId !== null) {
    const problem = checkRequestId(clientRequestId)
    if (problem !== undefined) return yield* problem
    while (true) {
      const known = yield* ledger.request({ owner, verb, clientRequestId })
      if (Option.isNone(known)) break
      const answer = yield* answered(known.value, requestHash)
      if (answer !== "running") return answer
      if (options.wait !== true) return yield* stillRunning(known.value)
      yield* Effect.sleep("500 millis")
    }
  }
  const id = yield* (yield* Ids).next("op")
  return { _tag: "fresh", operation: { id, verb, clientRequestId, requestHash } }
})

const answered = Effect.fnUntraced(function* (operation: Operation, requestHash: string) {
  const ledger = yield* Ledger
  if (operation.requestHash !== requestHash) {
    return yield* SandboxError.make("ERR_IDEMPOTENCY_MISMATCH", {
      message: `the client request id ${operation.clientRequestId} was used for ${operation.verb} with other arguments`,
      nextStep: "use a new --client-request-id, or repeat the request as it was",
      operationId: operation.id,
      sessionId: operation.sessionId
    })
  }
  const session = Option.getOrUndefined(yield* ledger.session(operation.sessionId))
  if (session === undefined) return yield* Effect.die(`operation ${operation.id} has no session`)
  switch (operation.status) {
    case "succeeded":
      return { _tag: "succeeded" as const, operation, session }
    case "failed":
      return yield* failedBefore(operation, operation.error!, session)
    case "abandoned":
      return yield* abandoned(operation, session)
    case "running": {
      if ((yield* liveness(session.claim)) === "live") return "running" as const
      const { clientRequestId, id, verb } = operation
      return { _tag: "interrupted" as const, session, operation: { id, verb, clientRequestId, requestHash } }
    }
  }
})

const again = "retry with a new --client-request-id"

/** The failure of an operation as it was recorded, told again. */
export const failedBefore = (operation: Operation, error: RecordedError, session: Session) =>
  new SandboxError.SandboxError({
    code: SandboxError.isErrorCode(error.code) ? error.code : "ERR_INTERNAL",
    message: error.message,
    nextStep: again,
    retryable: error.retryable,
    operationId: operation.id,
    sessionId: session.id,
    state: session.state,
    replayed: true,
    ...(error.details === undefined ? {} : { details: error.details })
  })

const abandoned = Effect.fnUntraced(function* (operation: Operation, session: Session) {
  const way = recovery(session, yield* liveness(session.claim))
  return yield* SandboxError.make("ERR_CLAIM_LOST", {
    message: `${operation.verb} died, and another operation took the session over; it is ${session.state} now`,
    nextStep:
      way === null ? `${again}; see the session with \`sandbox status ${session.id}\`` : `run \`${way.command}\``,
    operationId: operation.id,
    sessionId: session.id,
    state: session.state,
    replayed: true
  })
})

/** The refusal of a request whose first attempt has not ended yet. */
export const stillRunning = (operation: Operation) =>
  SandboxError.make("ERR_OPERATION_CONFLICT", {
    message: `${operation.verb} with this client request id is still running`,
    nextStep: `wait for it (--wait), or look at it with \`sandbox status ${operation.sessionId}\``,
    operationId: operation.id,
    sessionId: operation.sessionId
  })

const checkRequestId = (id: string) =>
  /^[\x21-\x7e]{1,200}$/.test(id)
    ? undefined
    : SandboxError.make("ERR_INVALID_ARGUMENT", {
        message: "the client request id is not 1 to 200 printable ASCII characters without spaces",
        nextStep: "pass another --client-request-id",
        details: { field: "client_request_id" }
      })

/** The digest of a request's arguments. Absent and undefined mean the same. */
const hash = Effect.fnUntraced(function* (value: Readonly<Record<string, unknown>>) {
  const sorted = Object.fromEntries(Object.entries(value).toSorted(([a], [b]) => (a < b ? -1 : 1)))
  return yield* (yield* Hasher).sha256(Stream.make(new TextEncoder().encode(JSON.stringify(sorted))))
})
