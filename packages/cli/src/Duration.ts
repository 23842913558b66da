/** Durations as people type them: `500ms`, `90s`, `30m`, `8h`, `2d`. */
import { Duration, Schema, SchemaTransformation } from "effect"

const units = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const
const pattern = /^(\d+)(ms|s|m|h|d)$/

const decode = (text: string): Duration.Duration => {
  const [, amount, unit] = pattern.exec(text) ?? []
  return Duration.millis(Number(amount) * units[unit as keyof typeof units])
}

export const DurationText = Schema.String.pipe(
  Schema.check(Schema.isPattern(pattern, { message: "Expected a duration such as 500ms, 90s, 30m, 8h or 2d" })),
  Schema.decodeTo(
    Schema.Duration,
    SchemaTransformation.transform({ decode, encode: (duration) => `${Duration.toMillis(duration)}ms` })
  )
)
