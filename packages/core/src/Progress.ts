/** What a program is doing, for whoever listens. Nobody does by default. */
import { Context, Effect } from "effect"

/** One step of an operation, or a sentence for the user. */
export type ProgressEvent =
  | {
      readonly type: "phase"
      readonly operationId: string
      readonly sessionId: string
      readonly verb: string
      readonly phase: string
      readonly status: "started" | "done" | "failed"
    }
  | { readonly type: "warning"; readonly operationId: string; readonly sessionId: string; readonly message: string }

/** Receives every event as it happens; must be quick and cannot fail. */
export const Progress = Context.Reference<(event: ProgressEvent) => Effect.Effect<void>>("@org/sandbox-core/Progress", {
  defaultValue: () => () => Effect.void
})

export const publish = (event: ProgressEvent): Effect.Effect<void> =>
  Effect.flatMap(Progress, (listener) => listener(event))
