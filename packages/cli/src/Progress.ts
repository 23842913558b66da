/** Long work on stderr: a line per phase with its time; on a terminal the running one counts. */
import { Progress } from "@org/sandbox-core"
import { Clock, Effect, Layer, Ref, type Scope } from "effect"
import { note, write } from "./Output.ts"
import { size } from "./Render.ts"

interface Running {
  readonly verb: string
  readonly phase: string
  readonly since: number
  /** Read or written so far, where that is told. */
  readonly bytes?: number
}

/** `12.3 MB, 4.2 s` */
const measured = ({ bytes, since }: Running, now: number): string => {
  const took = `${((now - since) / 1000).toFixed(1)} s`
  return bytes === undefined ? took : `${size(bytes)}, ${took}`
}

const noteworthy = 5000

/** Listens to programs. `quiet` keeps warnings and drops the rest. */
export const layer = (options: {
  readonly quiet: boolean
  readonly terminal: boolean
  readonly color: boolean
}): Layer.Layer<never> =>
  Layer.effect(
    Progress.Progress,
    Effect.gen(function* () {
      const running = yield* Ref.make<Running | undefined>(undefined)
      /** What a hook has begun to write and not ended with a line break. */
      const begunLine = yield* Ref.make("")
      const dim = (text: string) => (options.color ? `\x1b[2m${text}\x1b[22m` : text)
      const clear = options.terminal ? "\r\x1b[2K" : ""
      const draw = (text: string) => Effect.ignore(write(process.stderr, `\r\x1b[2K${text}`))
      const quote = (source: string, line: string) => note(`${clear}${dim(`  ${source} | ${line}`)}`)
      if (options.terminal && !options.quiet) yield* Effect.forkScoped(tick(running, draw, dim))

      return (event) =>
        Effect.gen(function* () {
          if (event.type === "warning") return yield* note(`${clear}warning: ${event.message}`)
          if (options.quiet) return
          if (event.type === "output") {
            const lines = ((yield* Ref.get(begunLine)) + event.text).split("\n")
            yield* Ref.set(begunLine, lines.pop() ?? "")
            return yield* Effect.forEach(lines, (line) => quote(event.source, line), { discard: true })
          }
          if (event.type === "transfer") {
            return yield* Ref.update(running, (current) => current && { ...current, bytes: event.bytes })
          }
          const rest = yield* Ref.getAndSet(begunLine, "")
          if (rest !== "") yield* quote("", rest)
          const now = yield* Clock.currentTimeMillis
          const { phase, status, verb } = event
          if (status === "started") {
            yield* Ref.set(running, { verb, phase, since: now })
            return yield* options.terminal ? draw(dim(`  ${verb}: ${phase} …`)) : note(`${verb}: ${phase} …`)
          }
          const begun = yield* Ref.getAndSet(running, undefined)
          const elapsed = begun === undefined ? 0 : now - begun.since
          const failed = status === "failed"
          // a log wants to know what is going on and what took long, not that everything went as it should
          if (!options.terminal && !failed && elapsed < noteworthy) return
          const took = begun === undefined ? "" : ` (${measured(begun, now)})`
          yield* note(`${clear}${failed ? "failed: " : ""}${verb}: ${phase}${took}`)
        })
    })
  )

const tick = (
  running: Ref.Ref<Running | undefined>,
  draw: (text: string) => Effect.Effect<void>,
  dim: (text: string) => string
): Effect.Effect<never, never, Scope.Scope> =>
  Effect.gen(function* () {
    yield* Effect.sleep("1 second")
    const current = yield* Ref.get(running)
    if (current === undefined) return
    const far = measured(current, yield* Clock.currentTimeMillis)
    yield* draw(dim(`  ${current.verb}: ${current.phase} … ${far}`))
  }).pipe(Effect.forever)
