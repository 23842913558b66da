import { assert, describe, it } from "@effect/vitest"
import { Effect, Stream } from "effect"
import { TestClock } from "effect/testing"
import * as transfer from "../src/internal/transfer.ts"
import { Progress } from "../src/Progress.ts"
import type { ProgressEvent } from "../src/Results.ts"

const of = { operationId: "op_1", sessionId: "sbx_1" }

/** Runs an effect, and answers the sums that were told of it. */
const told = Effect.fnUntraced(function* <E, R>(effect: Effect.Effect<unknown, E, R>) {
  const events: Array<ProgressEvent> = []
  const listener = (event: ProgressEvent) => Effect.sync(() => void events.push(event))
  yield* Effect.exit(Effect.provideService(transfer.counted(effect, of), Progress, listener))
  return events.map((event) => {
    assert.deepInclude(event, { type: "transfer", operationId: "op_1", sessionId: "sbx_1" })
    return event.type === "transfer" ? event.bytes : -1
  })
})

/** So many pieces of 10 bytes, and so long between two of them. */
const pieces = (count: number, apart: number) =>
  Stream.tap(Stream.range(1, count), () => TestClock.adjust(apart)).pipe(Stream.map(() => new Uint8Array(10)))

const drained = (bytes: Stream.Stream<Uint8Array>) => Stream.runDrain(transfer.flowing(bytes))

describe("the bytes of a phase", () => {
  it.effect("are told every 200 ms at most, and once at the end", () =>
    Effect.gen(function* () {
      assert.deepEqual(yield* told(drained(pieces(10, 50))), [40, 80, 100])
      assert.deepEqual(yield* told(drained(pieces(4, 1000))), [10, 20, 30, 40])
      assert.deepEqual(yield* told(drained(pieces(5000, 0))), [50_000])
    })
  )

  it.effect("are summed up over what is done one after the other and at the same time", () =>
    Effect.gen(function* () {
      const twice = Effect.all([drained(pieces(3, 0)), drained(pieces(3, 0))], { concurrency: 2 })
      assert.deepEqual(yield* told(Effect.andThen(twice, drained(pieces(1, 300)))), [70])
    })
  )

  it.effect("are told of what failed as well, and not where there are none", () =>
    Effect.gen(function* () {
      const failing = Effect.andThen(drained(pieces(3, 0)), Effect.fail("broken"))
      assert.deepEqual(yield* told(failing), [30])
      assert.deepEqual(yield* told(Effect.void), [])
    })
  )

  it.effect("are nobody's where nobody counts", () =>
    Effect.gen(function* () {
      const seen = yield* Stream.runCollect(transfer.flowing(Stream.make(new Uint8Array([1, 2]))))
      assert.deepEqual([...seen], [new Uint8Array([1, 2])])
    })
  )
})
