import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, Exit, Schema } from "effect"
import { DurationText } from "../src/Duration.ts"

const decode = Schema.decodeUnknownEffect(DurationText)

describe("a duration as people type it", () => {
  it.effect("is a number and a unit", () =>
    Effect.gen(function* () {
      for (const [text, ms] of [
        ["500ms", 500],
        ["0s", 0],
        ["90s", 90_000],
        ["30m", 1_800_000],
        ["8h", 28_800_000],
        ["2d", 172_800_000],
        ["007s", 7000]
      ] as const) {
        assert.strictEqual(Duration.toMillis(yield* decode(text)), ms, text)
      }
    })
  )

  it.effect("is nothing else", () =>
    Effect.gen(function* () {
      for (const text of ["", "5", "s", "-1s", "1.5h", "1 h", "1h30m", "1H", "1w", " 1s", "1s\n", 5, null]) {
        const exit = yield* Effect.exit(decode(text))
        assert.isTrue(Exit.isFailure(exit), JSON.stringify(text))
      }
    })
  )

  it.effect("says what it may look like", () =>
    Effect.gen(function* () {
      assert.include((yield* Effect.flip(decode("soon"))).message, "500ms, 90s, 30m, 8h or 2d")
    })
  )
})
