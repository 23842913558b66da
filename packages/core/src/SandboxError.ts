/**
 * The one error of the programs: a stable code with everything the output contract promises about it.
 *
 * The table below is total: a code that has no exit class does not compile.
 */
import { Cause, Option, Schema } from "effect"

/** What an exit code tells a caller: 1 refused and nothing changed, 2 failed and the ledger tells the truth, 3 recovery required, 130 interrupted. */
export type ExitClass = 1 | 2 | 3 | 130

interface CodeFacts {
  readonly exit: ExitClass
  /** Whether the same request may succeed later without anybody changing it. */
  readonly retryable: boolean
}

/** Every error code, with its exit code and whether repeating the request can help. */
export const codes = {
  ERR_OPERATION_CONFLICT: { exit: 1, retryable: true },
  ERR_ALREADY_SWITCHING: { exit: 1, retryable: true },
  ERR_SESSION_NOT_FOUND: { exit: 1, retryable: false },
  ERR_SESSION_FORBIDDEN: { exit: 1, retryable: false },
  ERR_COMMAND_REPLACED: { exit: 1, retryable: false },
  ERR_INVALID_ARGUMENT: { exit: 1, retryable: false },
  ERR_CONFIG_INVALID: { exit: 1, retryable: false },
  ERR_CONFIG_MISSING: { exit: 1, retryable: false },
  ERR_IDEMPOTENCY_MISMATCH: { exit: 1, retryable: false },
  ERR_LOCK_TIMEOUT: { exit: 1, retryable: true },
  ERR_LEDGER_CORRUPT: { exit: 1, retryable: false },
  ERR_LEDGER_VERSION: { exit: 1, retryable: false },
  ERR_SLOTS_EXHAUSTED: { exit: 1, retryable: true },
  ERR_FORCE_REQUIRED: { exit: 1, retryable: false },
  ERR_DATA_LOSS_UNCONFIRMED: { exit: 1, retryable: false },
  ERR_EXPORT_IN_PROGRESS: { exit: 1, retryable: true },
  ERR_CHECKPOINT_INVALID: { exit: 1, retryable: false },
  ERR_PREFLIGHT_REFUSED: { exit: 1, retryable: false },
  ERR_PROVIDER_UNAVAILABLE: { exit: 1, retryable: true },
  ERR_UNSUPPORTED: { exit: 1, retryable: false },
  ERR_ABORTED: { exit: 1, retryable: false },
  ERR_NOT_READY: { exit: 1, retryable: true },
  ERR_NAME_TAKEN: { exit: 1, retryable: false },
  ERR_SECRET_MISSING: { exit: 1, retryable: false },
  ERR_CONFIG_UNTRUSTED: { exit: 1, retryable: false },
  ERR_SANDBOX_PROVISION_FAILED: { exit: 2, retryable: true },
  ERR_STOP_FAILED: { exit: 2, retryable: true },
  ERR_DESTROY_FAILED: { exit: 2, retryable: true },
  ERR_PERSIST_FAILED: { exit: 2, retryable: true },
  ERR_PERSIST_PAYLOAD_TOO_LARGE: { exit: 2, retryable: false },
  ERR_PERSIST_UNVERIFIED: { exit: 2, retryable: true },
  ERR_EXPORT_FAILED: { exit: 2, retryable: true },
  ERR_HOOK_FAILED: { exit: 2, retryable: false },
  ERR_PORT_IN_USE: { exit: 2, retryable: true },
  ERR_REPO_UNRESOLVED: { exit: 2, retryable: false },
  ERR_LEDGER_IO: { exit: 2, retryable: true },
  ERR_CLAIM_LOST: { exit: 2, retryable: true },
  ERR_TIMEOUT: { exit: 2, retryable: true },
  ERR_SERVICE_FAILED: { exit: 2, retryable: false },
  ERR_WORKSPACE_FAILED: { exit: 2, retryable: true },
  ERR_CHECKPOINT_FAILED: { exit: 2, retryable: true },
  ERR_RESTORE_UNVERIFIED: { exit: 2, retryable: false },
  ERR_EXEC_FAILED: { exit: 2, retryable: true },
  ERR_OUTPUT_CLOSED: { exit: 2, retryable: false },
  ERR_RECOVERY_REQUIRED: { exit: 3, retryable: true },
  ERR_INTERNAL: { exit: 3, retryable: false },
  ERR_INTERRUPTED: { exit: 130, retryable: true }
} as const satisfies Record<`ERR_${string}`, CodeFacts>

/** A stable name for what went wrong; callers branch on this, never on the text. */
export type ErrorCode = keyof typeof codes

export const ErrorCode = Schema.Literals(Object.keys(codes) as ReadonlyArray<ErrorCode>)

/** The exit code of a failure. */
export const exitCode = (code: ErrorCode): ExitClass => codes[code].exit

/**
 * A failure of a program, carrying the fields of the output contract.
 *
 * `message` says what happened, `nextStep` what to do about it; a command to type stands in backticks.
 */
export class SandboxError extends Schema.TaggedError<SandboxError>("@org/sandbox-core/SandboxError")("SandboxError", {
  code: ErrorCode,
  message: Schema.String,
  nextStep: Schema.String,
  retryable: Schema.Boolean,
  operationId: Schema.NullOr(Schema.String),
  sessionId: Schema.optionalKey(Schema.String),
  state: Schema.optionalKey(Schema.String),
  replayed: Schema.optionalKey(Schema.Boolean),
  details: Schema.optionalKey(Schema.Record(Schema.String, Schema.Unknown))
}) {}

/** What a caller of `make` may leave out: `retryable` follows the code, `operationId` is null before an operation exists. */
export interface SandboxErrorOptions {
  readonly message: string
  readonly nextStep: string
  readonly retryable?: boolean
  readonly operationId?: string | null
  readonly sessionId?: string
  readonly state?: string
  readonly replayed?: boolean
  readonly details?: Readonly<Record<string, unknown>>
}

/** A failure with the defaults of its code. */
export const make = (code: ErrorCode, options: SandboxErrorOptions): SandboxError =>
  new SandboxError({ retryable: codes[code].retryable, operationId: null, ...options, code })

/** The same failure with more known about it. */
export const extend = (error: SandboxError, more: Partial<SandboxErrorOptions>): SandboxError =>
  new SandboxError({ ...fields(error), ...more })

/** The plain fields of a failure, as they are recorded and printed. */
export const fields = (error: SandboxError) => ({
  code: error.code,
  message: error.message,
  nextStep: error.nextStep,
  retryable: error.retryable,
  operationId: error.operationId,
  ...(error.sessionId === undefined ? {} : { sessionId: error.sessionId }),
  ...(error.state === undefined ? {} : { state: error.state }),
  ...(error.replayed === undefined ? {} : { replayed: error.replayed }),
  ...(error.details === undefined ? {} : { details: error.details })
})

/** Whether a failure has one of these codes. */
export const hasCode =
  (...wanted: ReadonlyArray<ErrorCode>) =>
  (error: unknown): error is SandboxError =>
    isSandboxError(error) && wanted.includes(error.code)

export const isSandboxError = Schema.is(SandboxError)

export const isErrorCode = Schema.is(ErrorCode)

/** The error of a cause: its typed failure, an interruption, or a bug. */
export const fromCause = (cause: Cause.Cause<SandboxError>, operationId: string | null): SandboxError => {
  const failure = Option.getOrUndefined(Cause.findErrorOption(cause))
  if (failure !== undefined) return failure
  if (Cause.hasInterruptsOnly(cause)) {
    return make("ERR_INTERRUPTED", {
      message: "the operation was interrupted, and what it had begun was undone",
      nextStep: "run the command again; what there is shows `sandbox list`",
      operationId
    })
  }
  return make("ERR_INTERNAL", {
    message: `an internal error: ${String(Cause.squash(cause))}`,
    nextStep: "report it with this message; `sandbox gc` puts right what it left",
    operationId
  })
}
