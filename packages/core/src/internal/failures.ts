/** What can go wrong around a claim, in the words of the output contract. */
import { Effect } from "effect"
import type { OperationRequest, PortTaken, RequestKnown, SlotsExhausted } from "../Ledger.ts"
import * as Lifecycle from "../Lifecycle.ts"
import { liveness } from "../Liveness.ts"
import { recovery } from "../Recovery.ts"
import type { Recovery } from "../Results.ts"
import * as SandboxError from "../SandboxError.ts"
import { RecordedError, type Session } from "../Session.ts"
import * as Time from "../Time.ts"

/** An error as records keep it. */
export const recorded = (error: SandboxError.SandboxError): RecordedError => {
  const { details, replayed: _, ...rest } = SandboxError.fields(error)
  // through JSON, so that what is kept is exactly what can be read back
  return new RecordedError({
    ...rest,
    ...(details === undefined ? {} : { details: JSON.parse(JSON.stringify(details)) })
  })
}

/** Once an operation is under way, "busy, nothing done" is no longer true. */
export const midOperation = (error: SandboxError.SandboxError, operationId: string): SandboxError.SandboxError =>
  error.code === "ERR_LOCK_TIMEOUT"
    ? SandboxError.make("ERR_LEDGER_IO", { ...SandboxError.fields(error), operationId })
    : SandboxError.extend(error, { operationId })

/** A refusal, from the middle of an operation that has not left the session as it was: nothing was refused, it failed. */
export const changedAnyway = (error: SandboxError.SandboxError): SandboxError.SandboxError => {
  const code = failures[error.code as keyof typeof failures]
  return code === undefined ? error : SandboxError.make(code, SandboxError.fields(error))
}

const failures = {
  ERR_NOT_READY: "ERR_EXEC_FAILED",
  ERR_PROVIDER_UNAVAILABLE: "ERR_SANDBOX_PROVISION_FAILED",
  ERR_PREFLIGHT_REFUSED: "ERR_SANDBOX_PROVISION_FAILED",
  ERR_DATA_LOSS_UNCONFIRMED: "ERR_CHECKPOINT_FAILED"
} as const

/** The stand-down of an operation whose session somebody else has now. */
export const claimLost = (sessionId: string, operationId: string) =>
  SandboxError.make("ERR_CLAIM_LOST", {
    message:
      "this operation does not hold the session any more: another one took it over, or the ledger was out of reach for too long; nothing was touched since",
    nextStep: `look at what became of it with \`sandbox status ${sessionId}\`, then run the command again`,
    operationId,
    sessionId
  })

/** Says which command goes on, unless the error says so already. */
export const withCommand = (error: SandboxError.SandboxError, command: string) =>
  error.nextStep.includes("`")
    ? error
    : SandboxError.extend(error, { nextStep: `${error.nextStep}; then go on with \`${command}\`` })

/** An interruption that could not undo everything it had begun. */
export const notUndone = (error: SandboxError.SandboxError, row: Session, way: Recovery | null) =>
  SandboxError.make("ERR_RECOVERY_REQUIRED", {
    message: `the operation was interrupted, and not all that it had begun could be undone: ${row.name} is ${row.state}`,
    nextStep: `run \`${way?.command ?? `sandbox status ${row.id}`}\``,
    operationId: error.operationId,
    sessionId: row.id,
    state: row.state,
    details: { ...error.details, after: error.code }
  })

/** A failure whose consequences could not be recorded: the claim stays, and recovery has to look. */
export const unsettled = (error: SandboxError.SandboxError, sessionId: string, why: string) =>
  SandboxError.make("ERR_RECOVERY_REQUIRED", {
    message: `${error.message}; and what that left could not be recorded: ${why}`,
    nextStep: `run \`sandbox status ${sessionId}\`: it names the command that recovers the session`,
    operationId: error.operationId,
    sessionId,
    details: { ...error.details, after: error.code }
  })

const seconds = (ms: number): number => Math.max(0, Math.round(ms / 1000))

/** Why a session cannot be claimed now. */
export const conflict = Effect.fnUntraced(function* (
  row: Session | null,
  kind: Lifecycle.ClaimKind,
  operationId: string | null
) {
  if (row === null) {
    return yield* SandboxError.make("ERR_SESSION_NOT_FOUND", {
      message: "the session does not exist any more",
      nextStep: "see what there is with `sandbox list`",
      operationId
    })
  }
  const about = { operationId, sessionId: row.id, state: row.state }
  if (row.claim === null) {
    return yield* SandboxError.make("ERR_OPERATION_CONFLICT", {
      ...about,
      message: `${kind} is not possible while ${row.name} is ${row.state}`,
      nextStep: `see what it allows with \`sandbox status ${row.id}\``,
      retryable: !Lifecycle.isSettled(row.state)
    })
  }
  const { acquiredAt, holder, kind: theirs } = row.claim
  const age = seconds((yield* Time.millis) - acquiredAt)
  const switching = theirs === "switch" && kind === "switch"
  const dead = (yield* liveness(row.claim)) === "stale" ? recovery(row, "stale") : null
  return yield* SandboxError.make(switching ? "ERR_ALREADY_SWITCHING" : "ERR_OPERATION_CONFLICT", {
    ...about,
    message: `${theirs} has been moving ${row.name} for ${age} s (pid ${holder.pid})`,
    nextStep:
      dead === null
        ? `wait for it and try again; \`sandbox down ${row.id} --force\` takes the session over`
        : `it is dead; run \`${dead.command}\``,
    details: { claim: { kind: theirs, age_s: age, since: acquiredAt, holder } }
  })
})

/** Nothing moves a session that is being exported; an export that died is taken up by another one. */
export const refuseDuringExport = Effect.fnUntraced(function* (
  session: Session,
  kind: Lifecycle.ClaimKind,
  operationId: string | null
) {
  const lock = session.exportLock
  if (lock === null || lock.leaseUntil <= (yield* Time.millis)) return
  const stale = (yield* liveness(session.claim)) === "stale"
  if (kind === "export" && stale && session.claim?.operationId === lock.operationId) return
  // `gc` takes a dead claim away, whoever had it last, and leaves the lock to its lease
  if (kind === "gc" && stale) return
  return yield* SandboxError.make("ERR_EXPORT_IN_PROGRESS", {
    message: `${session.name} is being exported to ${lock.branch}`,
    nextStep: "wait until the export has finished and try again",
    operationId,
    sessionId: session.id,
    state: session.state
  })
})

/** The request id of another session. */
export const reused = (known: RequestKnown, operation: OperationRequest) =>
  SandboxError.make("ERR_IDEMPOTENCY_MISMATCH", {
    message: `the client request id ${operation.clientRequestId} was used before for ${operation.verb} of another session`,
    nextStep: "use a new --client-request-id",
    operationId: operation.id,
    sessionId: known.operation.sessionId
  })

/** Nobody's slot is free. Who holds them is said of the owner's own sessions only. */
export const slotsExhausted = ({ holders, max }: SlotsExhausted, owner: string, operationId: string) => {
  const own = holders.filter((holder) => holder.owner === owner)
  const others = holders.length - own.length
  const named = own.map(({ name, slot, state }) => `${slot}: ${name} (${state})`)
  const [idle] = own.filter(({ state }) => state === "stopped" || state === "failed")
  const free = idle ?? own[0]
  return SandboxError.make("ERR_SLOTS_EXHAUSTED", {
    message: `all ${max} slots of this host are held: ${[...named, ...(others === 0 ? [] : [`${others} by others`])].join(", ")}`,
    nextStep:
      free === undefined
        ? "wait for one, or raise `slots.max`"
        : `free one with \`sandbox destroy ${free.id}${free.state === "ready" ? " --force" : ""}\`, or raise \`slots.max\``,
    operationId,
    details: {
      max,
      others,
      holders: own.map(({ id, name, slot, state }) => ({ session_id: id, name, slot, state }))
    }
  })
}

/** Another session was given the port in the same moment. */
export const portsTaken = ({ ports }: PortTaken, operationId: string) =>
  SandboxError.make("ERR_PORT_IN_USE", {
    message: `another session has port ${ports.join(", ")}`,
    nextStep: "try again, or choose other ports with --port",
    operationId,
    details: { ports }
  })
