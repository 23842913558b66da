/** What `gc` finds: one thing about one session or one place, and how to put it right. */
import { Effect, type Path } from "effect"
import type { CheckpointStore } from "../../CheckpointStore.ts"
import * as Claim from "../../Claim.ts"
import type { GitServices } from "../../Git.ts"
import type { Hasher } from "../../Hasher.ts"
import type { Directories, Host } from "../../Host.ts"
import { Ids } from "../../Ids.ts"
import { type Change, Ledger, type OperationRequest } from "../../Ledger.ts"
import * as Lifecycle from "../../Lifecycle.ts"
import { liveness } from "../../Liveness.ts"
import type { Ports } from "../../Ports.ts"
import { Principal } from "../../Principal.ts"
import type { Processes } from "../../Processes.ts"
import type { Provisioners } from "../../Provisioners.ts"
import type { GcAction, OperationResult } from "../../Results.ts"
import * as SandboxError from "../../SandboxError.ts"
import type { Session } from "../../Session.ts"
import { recorded } from "../failures.ts"
import * as ready from "../ready.ts"

/** What putting things right may need. */
export type Services =
  | Ledger
  | Host
  | Directories
  | Processes
  | Ports
  | Path.Path
  | Ids
  | Hasher
  | CheckpointStore
  | Provisioners
  | Principal
  | GitServices

/** `skipped`: what was found is not so any more. */
export type Outcome = "done" | "skipped"

export interface Finding {
  /** None for what belongs to no session of this ledger. */
  readonly session: Pick<Session, "id" | "name"> | null
  readonly finding: string
  /** `report`: there is nothing that may be done about it. */
  readonly action: GcAction["action"]
  readonly run: Effect.Effect<Outcome, SandboxError.SandboxError, Services>
}

/** What is only said. */
export const report = (session: Finding["session"], finding: string): Finding => ({
  session,
  finding,
  action: "report",
  run: Effect.succeed("skipped")
})

/** What is found of one session. One with damaged records is told of, and keeps no other from being looked at. */
export const unlessDamaged = <R>(
  session: Session,
  look: Effect.Effect<ReadonlyArray<Finding>, SandboxError.SandboxError, R>
) =>
  Effect.catchIf(look, SandboxError.hasCode("ERR_LEDGER_CORRUPT"), ({ message }) =>
    Effect.succeed([report(session, `nothing is concluded of it: ${message}`)])
  )

export const request = Effect.fnUntraced(function* (verb: string) {
  const operation: OperationRequest = {
    id: yield* (yield* Ids).next("op"),
    verb,
    clientRequestId: null,
    requestHash: "gc"
  }
  return operation
})

/** Claims as gc, works, and leaves the row as it is when that fails. */
export const underClaim = <R>(
  session: Session,
  operation: OperationRequest,
  use: (held: Claim.Held) => Effect.Effect<Change, SandboxError.SandboxError, R>
) =>
  Claim.withClaim(
    { session, kind: "gc", operation, from: Lifecycle.settledStates },
    {
      verb: "gc",
      use: (held) =>
        Effect.map(use(held), (change) => {
          const result: OperationResult = {
            sessionId: session.id,
            operationId: operation.id,
            state: change.move?.to ?? session.state,
            warnings: []
          }
          return ready.done(result, change)
        }),
      settle: (_, failure) => Effect.succeed({ set: { lastError: recorded(failure.error) } })
    }
  ).pipe(Effect.asVoid)

/** Whether nobody is moving the session, and no operation died in the middle of it. */
export const isIdle = Effect.fnUntraced(function* (session: Session) {
  return (yield* liveness(session.claim)) === "free" && Lifecycle.isSettled(session.state)
})

/**
 * Whether the row is still as it was read. Whoever looks at processes or boxes after reading a row asks this then: what an
 * operation commits before it ends would be taken for what a dead one left.
 */
export const isCurrent = Effect.fnUntraced(function* (session: Session) {
  const found = yield* (yield* Ledger).session(session.id)
  return found._tag === "Some" && found.value.version === session.version
})

/** The session as it is now, when it is the principal's and idle. */
export const idle = Effect.fnUntraced(function* (sessionId: string) {
  // a damaged row is reported with the sessions; what belongs to it cannot be judged
  const found = yield* (yield* Ledger)
    .session(sessionId)
    .pipe(Effect.catchIf(SandboxError.hasCode("ERR_LEDGER_CORRUPT"), () => Effect.succeedNone))
  const session = found._tag === "Some" ? found.value : undefined
  if (session === undefined || session.owner !== (yield* Principal)) return undefined
  return (yield* isIdle(session)) ? session : undefined
})

/** Acts on the session as it is now, under a claim on just that row; skipped where what was found is not so any more. */
export const whileIdle = Effect.fnUntraced(function* <R, R2 = never>(
  sessionId: string,
  still: (row: Session) => Effect.Effect<boolean, SandboxError.SandboxError, R2>,
  use: (held: Claim.Held) => Effect.Effect<Change, SandboxError.SandboxError, R>
) {
  const row = yield* idle(sessionId)
  if (row === undefined || !(yield* still(row))) return "skipped" as const
  yield* underClaim(row, yield* request("gc"), use)
  return "done" as const
})

/** A provider that cannot be asked under the claim: nothing is concluded, and nothing was done. */
export const cannotSee = (provider: string, key: string, why: string) =>
  SandboxError.make("ERR_DESTROY_FAILED", {
    message: `provider ${provider} cannot say what became of the box ${key}: ${why}`,
    nextStep: "make the provider reachable, and run `sandbox gc` again",
    details: { provider, operation: "find", reason: "Unreachable", outcome: "not_applied" }
  })

/** Whether something was touched within the time that the caller wants left alone. */
export const isRecent = (now: number, touchedAt: number, olderThan: number | undefined): boolean =>
  now - touchedAt < (olderThan ?? 0)
