/** Undoing what an operation did, step by step in reverse. */
import { Duration, Effect, Exit } from "effect"
import type { NewEvent } from "./Ledger.ts"
import * as SandboxError from "./SandboxError.ts"
import type { Session } from "./Session.ts"

/** The inverse of something a phase did. */
export interface Undo {
  readonly name: string
  readonly run: Effect.Effect<void, SandboxError.SandboxError>
  /**
   * Whether to run it although the claim was lost, judged by the row as it is after the loss. Never, when absent: what
   * was done then belongs to the new holder.
   */
  readonly evenIfLost?: ((current: Session | null) => boolean) | undefined
}

/** What an undo came to. */
export interface UndoOutcome {
  readonly name: string
  readonly exit: Exit.Exit<void, SandboxError.SandboxError>
}

/** Runs every undo, each within a bound, in the order given: one that fails stops no other. */
export const run = Effect.fnUntraced(function* (undos: ReadonlyArray<Undo>, bound: Duration.Duration) {
  const outcomes: Array<UndoOutcome> = []
  for (const undo of undos) {
    const exit = yield* undo.run.pipe(
      Effect.timeoutOrElse({
        duration: bound,
        orElse: () =>
          Effect.fail(
            SandboxError.make("ERR_TIMEOUT", {
              message: `${undo.name} did not finish within ${Duration.format(bound)}`,
              nextStep: "run `sandbox gc`"
            })
          )
      }),
      Effect.exit
    )
    outcomes.push({ name: undo.name, exit })
  }
  return outcomes
})

/** What the history keeps of an undo that failed. */
export const failedEvent = ({ exit, name }: UndoOutcome): ReadonlyArray<NewEvent> =>
  Exit.isSuccess(exit)
    ? []
    : [{ type: "undo_failed", data: { undo: name, problem: SandboxError.fromCause(exit.cause, null).message } }]
