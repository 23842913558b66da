/** How much of a session's work has been read or written by the phase that runs, for whoever listens to its progress. */
import { Context, Effect, Stream } from "effect"
import type { Draft } from "../CheckpointStore.ts"
import * as Progress from "../Progress.ts"
import * as Time from "../Time.ts"

/** Told of bytes that went by. Nobody counts them by default. */
const Counter = Context.Reference<(bytes: number) => Effect.Effect<void>>(
  "@org/sandbox-core/internal/transfer/Counter",
  { defaultValue: () => () => Effect.void }
)

/** Milliseconds between two events at least: what is watched need not be told more often. */
const interval = 200

/** Counts what goes by in a phase, and publishes the sum: now and then, and once at the end where there was anything. */
export const counted = <A, E, R>(
  effect: Effect.Effect<A, E, R>,
  { operationId, sessionId }: { readonly operationId: string; readonly sessionId: string }
): Effect.Effect<A, E, R> =>
  Effect.gen(function* () {
    let next = (yield* Time.millis) + interval
    let bytes = 0
    let told = 0
    const tell = Effect.suspend(() => {
      told = bytes
      return Progress.publish({ type: "transfer", operationId, sessionId, bytes })
    })
    const count = (more: number) =>
      Effect.flatMap(Time.millis, (now) => {
        bytes += more
        if (now < next) return Effect.void
        next = now + interval
        return tell
      })
    return yield* effect.pipe(
      Effect.provideService(Counter, count),
      Effect.ensuring(Effect.suspend(() => (bytes === told ? Effect.void : tell)))
    )
  })

const add = (bytes: number) => Effect.flatMap(Counter, (count) => count(bytes))

/** The stream, counted while it flows. */
export const flowing = <E, R>(bytes: Stream.Stream<Uint8Array, E, R>): Stream.Stream<Uint8Array, E, R> =>
  Stream.tap(bytes, ({ length }) => add(length))

/** A draft that counts what it is given: a file as a whole, once it is read. */
export const into = (draft: Draft): Draft => ({
  ...draft,
  put: (bytes) => draft.put(flowing(bytes)),
  putFile: (path) => Effect.tap(draft.putFile(path), ({ size }) => add(size))
})
