import { assert, describe, it } from "@effect/vitest"
import { Progress, type Results } from "@org/sandbox-core"
import { Effect } from "effect"
import { TestClock } from "effect/testing"
import { vi } from "vitest"
import { layer } from "../src/Progress.ts"

const about = { operationId: "op", sessionId: "sbx" }

const phase = (name: string, status: "started" | "done" | "failed"): Results.ProgressEvent => ({
  ...about,
  type: "phase",
  verb: "switch",
  phase: name,
  status
})

const transfer = (bytes: number): Results.ProgressEvent => ({ ...about, type: "transfer", bytes })

/** What stderr was given, until the scope closes. */
const written = Effect.acquireRelease(
  Effect.sync(() => {
    let text = ""
    const spy = vi.spyOn(process.stderr, "write").mockImplementation(((data: string, done?: () => void) => {
      text += data
      done?.()
      return true
    }) as typeof process.stderr.write)
    return { spy, text: () => text }
  }),
  ({ spy }) => Effect.sync(() => spy.mockRestore())
).pipe(Effect.map(({ text }) => text))

/** 12.3 MB go by in the 7 seconds of a phase, and nothing in the next one. */
const moved = Effect.gen(function* () {
  const text = yield* written
  for (const event of [phase("capture", "started"), transfer(1_000_000)]) yield* Progress.publish(event)
  yield* TestClock.adjust("1 second")
  yield* Progress.publish(transfer(12_345_678))
  yield* TestClock.adjust("6 seconds")
  for (const event of [phase("capture", "done"), phase("stop", "started")]) yield* Progress.publish(event)
  yield* TestClock.adjust("6 seconds")
  yield* Progress.publish(phase("stop", "done"))
  return text()
}).pipe(Effect.scoped)

const options = { quiet: false, terminal: false, color: false }

describe("progress", () => {
  it.effect("says in a log how much went by in a phase that took long", () =>
    Effect.gen(function* () {
      assert.strictEqual(
        yield* moved,
        "switch: capture …\nswitch: capture (12.3 MB, 7.0 s)\nswitch: stop …\nswitch: stop (6.0 s)\n"
      )
    }).pipe(Effect.provide(layer(options)))
  )

  it.effect("counts bytes and seconds of the running phase on a terminal", () =>
    Effect.gen(function* () {
      const text = yield* moved
      for (const line of [
        "  switch: capture … 1.0 MB, 1.0 s",
        "  switch: capture … 12.3 MB, 6.0 s",
        "switch: capture (12.3 MB, 7.0 s)\n",
        "  switch: stop … 1.0 s",
        "switch: stop (6.0 s)\n"
      ]) {
        assert.include(text, `\r\x1b[2K${line}`)
      }
    }).pipe(Effect.provide(layer({ ...options, terminal: true })))
  )

  it.effect("is not there with --quiet, also where no phase is running", () =>
    Effect.gen(function* () {
      assert.strictEqual(yield* moved, "")
      yield* Progress.publish(transfer(1))
    }).pipe(Effect.provide(layer({ ...options, quiet: true, terminal: true })))
  )
})
