/** stdout carries the result and nothing else; all the rest goes to stderr. */
import { SandboxError } from "@org/sandbox-core"
import { Cause, Data, Effect } from "effect"
import { toWire } from "./Wire.ts"

/** Ends the process with a code of its own after everything was printed. */
export class Quit extends Data.TaggedError("Quit")<{ readonly code: number }> {}

/** An interruption of a verb that only looks has undone nothing, and need not be told. */
export const stopped = <E>(cause: Cause.Cause<E>): Effect.Effect<never, E | Quit> =>
  Cause.hasInterruptsOnly(cause) ? Effect.fail(new Quit({ code: 130 })) : Effect.failCause(cause)

const closed = (cause: Error) =>
  SandboxError.make("ERR_OUTPUT_CLOSED", {
    message: `the output was closed before the result could be written (${cause.message})`,
    nextStep: "what was done stands: see it with `sandbox list`"
  })

/** Writes bytes or text and waits until they are taken, so that a slow reader slows the writer. */
export const write = (
  stream: NodeJS.WriteStream,
  data: string | Uint8Array
): Effect.Effect<void, SandboxError.SandboxError> =>
  Effect.callback((resume) => {
    stream.write(data, (cause) => resume(cause ? Effect.fail(closed(cause)) : Effect.void))
  })

/** Text for a person that is not the result. Nobody reads it once stderr is closed. */
export const note = (text: string): Effect.Effect<void> => Effect.ignore(write(process.stderr, `${text}\n`))

/** The result of a command, as one JSON object or for a person. */
export const result = <A extends object>(
  value: A,
  options: { readonly json: boolean; readonly human: (value: A) => string }
): Effect.Effect<void, SandboxError.SandboxError> => {
  const text = options.json ? JSON.stringify({ ok: true, ...(toWire(value) as object) }) : options.human(value)
  return text === "" ? Effect.void : write(process.stdout, `${text}\n`)
}

/** A failure as the output contract prints it. */
export const errorObject = (error: SandboxError.SandboxError): Record<string, unknown> => ({
  ok: false,
  error_code: error.code,
  cause: error.message,
  next_step: error.nextStep,
  retryable: error.retryable,
  operation_id: error.operationId,
  ...(error.sessionId === undefined ? {} : { session_id: error.sessionId }),
  ...(error.state === undefined ? {} : { state: error.state }),
  ...(error.replayed === undefined ? {} : { replayed: error.replayed }),
  ...(error.details === undefined ? {} : { details: toWire(error.details) })
})

/** The end of what a program wrote, where that is why something failed. */
const quoted = ({ details }: SandboxError.SandboxError): ReadonlyArray<string> => {
  const output = details?.["output"]
  return typeof output === "string" && output !== "" ? output.split("\n").map((line) => `  | ${line}`) : []
}

/** A failure, on stdout as JSON or on stderr for a person; on stderr in any case when stdout is closed. */
export const failure = (error: SandboxError.SandboxError, json: boolean): Effect.Effect<void> => {
  const object = `${JSON.stringify(errorObject(error))}\n`
  if (json && error.code !== "ERR_OUTPUT_CLOSED") {
    return Effect.catch(write(process.stdout, object), () => Effect.ignore(write(process.stderr, object)))
  }
  if (json) return Effect.ignore(write(process.stderr, object))
  const code = `${error.code}${error.replayed === true ? " (replayed)" : ""}`
  const lines = [`error: ${error.message}`, ...quoted(error), `  ${code}`, `  next: ${error.nextStep}`]
  return note(lines.join("\n"))
}
