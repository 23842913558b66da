/** What a program is doing, for whoever listens. Nobody does by default. */
import { Context, Effect } from "effect"
import type { ProgressEvent } from "./Results.ts"

/** Receives every event as it happens; must be quick and cannot fail. */
export const Progress = Context.Reference<(event: ProgressEvent) => Effect.Effect<void>>("@org/sandbox-core/Progress", {
  defaultValue: () => () => Effect.void
})

export const publish = (event: ProgressEvent): Effect.Effect<void> =>
  Effect.flatMap(Progress, (listener) => listener(event))
