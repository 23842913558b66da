/** `switchProvider`: the same session, its id and its work included, in a box of another provider. */
import { Duration, Effect, Option, Result, Schedule } from "effect"
import * as Claim from "../Claim.ts"
import { conflict } from "../internal/failures.ts"
import { failedBefore, standing } from "../internal/requests.ts"
import * as sessions from "../internal/sessions.ts"
import * as back from "../internal/switch/back.ts"
import { isWritten, leftAt } from "../internal/switch/between.ts"
import * as gates from "../internal/switch/gates.ts"
import * as onward from "../internal/switch/onward.ts"
import * as planning from "../internal/switch/plan.ts"
import * as retire from "../internal/switch/retire.ts"
import { Ledger, type OperationRequest } from "../Ledger.ts"
import { liveness } from "../Liveness.ts"
import type { Handover, SwitchOptions, SwitchPlanOptions } from "../Options.ts"
import { recovery } from "../Recovery.ts"
import type { SwitchResult } from "../Results.ts"
import * as SandboxError from "../SandboxError.ts"
import type { Session } from "../Session.ts"
import { passwordEnv } from "../Setup.ts"
import * as View from "../View.ts"

/**
 * Moves a session to another provider: saves its work, halts the old box, names the new provider, makes a box there, restores the
 * work and proves it, and removes the old box. Id, name, owner, branch, checkpoints and history stay; a session that is there
 * already is left alone.
 *
 * A new side that fails leaves the session where it was, up again, and `details.rolled_back` says so. Each step can be gone on
 * with after a crash: by this, by `resume`, by `down`, by `gc`.
 *
 * Fails with `ERR_INVALID_ARGUMENT` for a provider that is not registered, `ERR_ALREADY_SWITCHING` while another switch is under
 * way, `ERR_DATA_LOSS_UNCONFIRMED` where not all of the work can travel, `ERR_CONFIG_UNTRUSTED` where what
 * the session runs was not accepted for this host, `ERR_PREFLIGHT_REFUSED` and `ERR_PROVIDER_UNAVAILABLE` where the other
 * provider would not make the box: then nothing is changed.
 */
export const switchProvider = Effect.fn("switch")(function* (options: SwitchOptions) {
  const begun = yield* begin(options)
  if (begun._tag === "answered") return begun.result
  const { operation, session, to } = begun
  const course = yield* Effect.mapError(
    onward.prepare(session, { to, policies: options, operationId: operation.id }),
    (error) => about(error, session, operation)
  )
  return yield* onward.carryOut(session, operation, course)
})

/** What `switchProvider` would do now. Changes nothing. */
export const planSwitch = Effect.fn("planSwitch")(function* (options: SwitchPlanOptions) {
  const to = yield* gates.target(options.to)
  return yield* planning.plan(yield* sessions.find(options.session), { ...options, to })
})

/**
 * Takes the claim, has `start` bring another process to take it over with `operateSwitch`, and answers once that has happened.
 *
 * Where nobody takes it over in time, nothing has changed: `ERR_TIMEOUT`.
 */
export const switchDetached = Effect.fn("switchDetached")(function* <R>(
  options: SwitchOptions,
  start: (handover: Handover) => Effect.Effect<void, SandboxError.SandboxError, R>
) {
  const begun = yield* begin(options)
  if (begun._tag === "answered") return begun.result
  const { operation, session, to } = begun
  const { old, ...course } = yield* Effect.mapError(
    onward.prepare(session, { to, policies: options, operationId: operation.id }),
    (error) => about(error, session, operation)
  )
  const { acceptSetup, confirmDataLoss, onFailure, onStopFailure } = course
  const handOver = Effect.fnUntraced(function* (held: Claim.Held) {
    const { claim } = yield* held.row
    const { token } = claim!
    yield* start({
      sessionId: session.id,
      operationId: operation.id,
      token,
      inherited: held.inherited,
      to,
      acceptSetup,
      confirmDataLoss,
      onFailure,
      onStopFailure
    })
    yield* takenOver(session.id, token)
    // what is somebody else's is let go of as any claim that was lost
    return yield* held.commit({})
  })
  const handed = yield* Claim.withClaim(
    { session, kind: "switch", operation, from: onward.from, enter: onward.enter },
    {
      verb: "switch",
      use: (held) => Effect.flatMap(handOver(held), () => notTaken),
      settle: (held, failure) => back.notBegun(held, old, failure)
    }
  ).pipe(Effect.result)
  const row = Option.getOrElse(yield* (yield* Ledger).session(session.id), () => session)
  if (Result.isFailure(handed) && !(yield* isHandedOver(handed.failure, row, operation.id)))
    return yield* handed.failure
  // what it came to at once is the answer to this very request
  const { operations } = yield* (yield* Ledger).history(row.id)
  const ended = operations.find(({ id }) => id === operation.id)
  if (ended?.status === "failed" && ended.error !== null) return yield* failedBefore(ended, ended.error, row)
  const answer = yield* standingIn(row, { operationId: operation.id, from: session.provider, to })
  return { ...answer, detached: true as const }
})

/** Goes on with a switch whose claim another process has taken for this one. Fails with `ERR_CLAIM_LOST` where it is gone. */
export const operateSwitch = Effect.fn("switch")(function* (handover: Handover) {
  const { operationId, sessionId, to, token } = handover
  const found = yield* (yield* Ledger).session(sessionId)
  const session = Option.getOrUndefined(found)
  if (session === undefined || session.claim?.token !== token || session.claim.operationId !== operationId) {
    return yield* SandboxError.make("ERR_CLAIM_LOST", {
      message: "the claim that was to be taken over is not there any more",
      nextStep: `look at the session with \`sandbox status ${sessionId}\``,
      operationId,
      sessionId
    })
  }
  const operation: OperationRequest = {
    id: operationId,
    verb: "switch",
    clientRequestId: null,
    requestHash: "handover"
  }
  return yield* onward.takeOver(session, operation, { to, policies: handover, inherited: handover.inherited })
})

type Begun =
  | { readonly _tag: "answered"; readonly result: SwitchResult }
  | { readonly _tag: "fresh"; readonly session: Session; readonly operation: OperationRequest; readonly to: string }

/** Everything up to where a session has to be moved. */
const begin = Effect.fnUntraced(function* (options: SwitchOptions) {
  const to = yield* gates.target(options.to)
  const found = yield* sessions.current(yield* sessions.find(options.session))
  const before = yield* standing("switch", { session: found.id, to }, options)
  if (before._tag === "succeeded") {
    const result = before.operation.result as unknown as SwitchResult
    const orphans = (yield* retire.open(found.id)).map(retire.view)
    return { _tag: "answered", result: { ...result, orphans, replayed: true } } satisfies Begun
  }
  const session = yield* undone(found, to)
  if (session.state === "destroyed") yield* gates.refuse(session, before.operation.id)
  if (session.provider === to && leftAt(session) === undefined) {
    return { _tag: "answered", result: yield* noop(session, found.provider, to) } satisfies Begun
  }
  // whoever comes too late asks nothing of any provider
  if ((yield* liveness(session.claim)) === "live") return yield* conflict(session, "switch", before.operation.id)
  return { _tag: "fresh", session, operation: before.operation, to } satisfies Begun
})

/** A dead switch to somewhere else is ended first, where it came from. */
const undone = Effect.fnUntraced(function* (session: Session, to: string) {
  const prior = leftAt(session)
  if (prior === undefined || (yield* liveness(session.claim)) !== "stale") return session
  const isElsewhere = isWritten(session, prior) ? session.provider !== to : prior.provider === to
  return isElsewhere ? yield* onward.undo(session, prior) : session
})

/** The session as it is, for an answer that moved nothing. */
const standingIn = Effect.fnUntraced(function* (
  row: Session,
  about: { readonly operationId: string | null; readonly from: string; readonly to: string }
) {
  const result: SwitchResult = {
    sessionId: row.id,
    state: row.state,
    name: row.name,
    provider: row.provider,
    branch: row.branch,
    workBranch: row.workBranch,
    targetCommitSha: row.commit,
    worktreePath: row.workspacePath,
    slot: row.slot,
    ports: row.ports ?? {},
    endpointUrl: row.endpointUrl,
    passwordEnv: passwordEnv(row.setup),
    env: {},
    envFile: null,
    readyAt: View.isoOrNull(row.readyAt),
    checkpoint: row.restoreFrom,
    orphans: (yield* retire.open(row.id)).map(retire.view),
    warnings: [],
    ...about
  }
  return result
})

const noop = Effect.fnUntraced(function* (session: Session, from: string, to: string) {
  const answer = yield* standingIn(session, { operationId: null, from, to })
  const isUp = session.state === "ready" || session.state === "completed"
  const way = recovery(session, yield* liveness(session.claim))
  const command = way?.command ?? `sandbox resume ${session.id}`
  return { ...answer, noop: true as const, warnings: isUp ? [] : [`it is ${session.state}: \`${command}\``] }
})

const about = (error: SandboxError.SandboxError, { id, state }: Session, operation: OperationRequest) =>
  SandboxError.extend(error, {
    operationId: operation.id,
    sessionId: error.sessionId ?? id,
    state: error.state ?? state
  })

/** How long another process has to take a claim over. */
const patience = Duration.seconds(5)

/** Waits until the claim has another token than ours. */
const takenOver = (sessionId: string, token: string) =>
  Effect.flatMap(Ledger, (ledger) => ledger.session(sessionId)).pipe(
    Effect.map((row) => Option.isNone(row) || row.value.claim?.token !== token),
    Effect.repeat({ until: (taken) => taken, schedule: Schedule.spaced("50 millis") }),
    Effect.timeoutOrElse({ duration: patience, orElse: () => notTaken })
  )

const notTaken = Effect.fail(
  SandboxError.make("ERR_TIMEOUT", {
    message: `no other process has taken the switch over within ${Duration.format(patience)}`,
    nextStep: "run the command without --detach to see what keeps it"
  })
)

/** Whether the claim was lost to the process that was to have it. */
const isHandedOver = Effect.fnUntraced(function* (error: SandboxError.SandboxError, row: Session, operationId: string) {
  if (error.code !== "ERR_CLAIM_LOST") return false
  if (row.claim?.operationId === operationId) return true
  // it may have come to its end already
  const { operations } = yield* (yield* Ledger).history(row.id)
  return operations.some(({ attempt, id }) => id === operationId && attempt > 1)
})
