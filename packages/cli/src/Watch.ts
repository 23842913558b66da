/** `status --watch`: a line per change; on a terminal one line that is drawn again. */
import type { Results, SandboxError } from "@org/sandbox-core"
import { Clock, Effect, Option, Ref, Stream } from "effect"
import { write } from "./Output.ts"
import * as Render from "./Render.ts"
import { toWire } from "./Wire.ts"

type Statuses<R> = Stream.Stream<Results.StatusResult, SandboxError.SandboxError, R>

/** An object per change, numbered; answers the last one. */
export const objects = <R>(statuses: Statuses<R>) =>
  shown(statuses, (view, seq) =>
    write(process.stdout, `${JSON.stringify({ ok: true, seq, ...(toWire(view) as object) })}\n`)
  )

export const lines = <R>(statuses: Statuses<R>) =>
  shown(statuses, (view) => write(process.stdout, `${Render.moving(view)}\n`))

interface Drawn {
  readonly view: Results.StatusResult
  readonly at: number
}

/** The line counts on between changes. */
export const line = Effect.fnUntraced(function* <R>(statuses: Statuses<R>) {
  const drawn = yield* Ref.make<Drawn | undefined>(undefined)
  const draw = Effect.gen(function* () {
    const current = yield* Ref.get(drawn)
    if (current === undefined) return
    const { at, view } = current
    const later = Math.floor(((yield* Clock.currentTimeMillis) - at) / 1000)
    const claim = view.claim === null ? null : { ...view.claim, ageS: view.claim.ageS + later }
    // a line that is broken cannot be drawn over; some terminals do not say how wide they are
    const text = Render.moving({ ...view, claim }).slice(0, (process.stdout.columns || 80) - 1)
    yield* write(process.stdout, `\r\x1b[2K${text}`)
  })
  yield* Effect.forkScoped(Effect.forever(Effect.delay(Effect.ignore(draw), "1 second")))
  yield* Effect.addFinalizer(() => Effect.ignore(write(process.stdout, "\n")))
  return yield* shown(statuses, (view) =>
    Clock.currentTimeMillis.pipe(
      Effect.flatMap((at) => Ref.set(drawn, { view, at })),
      Effect.andThen(draw)
    )
  )
}, Effect.scoped)

const shown = <R>(
  statuses: Statuses<R>,
  show: (view: Results.StatusResult, seq: number) => Effect.Effect<void, SandboxError.SandboxError>
) =>
  Stream.zipWithIndex(statuses).pipe(
    Stream.tap(([view, seq]) => show(view, seq)),
    Stream.runLast,
    Effect.map(Option.map(([view]) => view))
  )
