/** Values as people write them into a configuration: durations, sizes, names, commands. */
import { Duration, Option, Schema, SchemaTransformation } from "effect"

/** A check with a sentence of its own, which follows the key's name. */
const checked = (pattern: RegExp, message: string) =>
  Schema.String.pipe(Schema.check(Schema.isPattern(pattern, { message })))

export const Text = checked(/\S/, "must not be empty")

/** What services, profiles, ports and providers are called. */
export const Name = checked(
  /^[a-z0-9][a-z0-9_-]{0,62}$/,
  "must be 1 to 63 lower-case letters, digits, hyphens and underscores, with a letter or digit first"
)

/** The name of a variable that we set; those that start with SANDBOX_ are our own. */
export const Variable = checked(
  /^(?!SANDBOX_)[A-Za-z_][A-Za-z0-9_]*$/,
  "must be the name of an environment variable, and not start with SANDBOX_"
)

/** The name of a variable that we read. */
export const OwnVariable = checked(/^[A-Za-z_][A-Za-z0-9_]*$/, "must be the name of an environment variable")

export const Variables = Schema.Record(Schema.String, Schema.String)

export const CommandLine = Schema.Union([Schema.String, Schema.Array(Schema.String)])

export const Port = Schema.Int.pipe(
  Schema.check(Schema.isBetween({ minimum: 1, maximum: 65_535 }, { message: "must be a port, 1 to 65535" }))
)

export const AtLeast = (minimum: number) =>
  Schema.Int.pipe(Schema.check(Schema.isGreaterThanOrEqualTo(minimum, { message: `must be ${minimum} or more` })))

export const Positive = Schema.Finite.pipe(Schema.check(Schema.isGreaterThan(0, { message: "must be more than 0" })))

const durationUnits = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const
const durationPattern = /^(\d+)(ms|s|m|h|d)$/

const duration = (text: string): Duration.Duration => {
  const [, amount, unit] = durationPattern.exec(text) ?? []
  return Duration.millis(Number(amount) * durationUnits[unit as keyof typeof durationUnits])
}

/** In the largest unit that is exact. */
const spelled = (value: Duration.Duration): string => {
  const ms = Duration.toMillis(value)
  const unit = (["d", "h", "m", "s"] as const).find((unit) => ms > 0 && ms % durationUnits[unit] === 0) ?? "ms"
  return `${ms / durationUnits[unit]}${unit}`
}

/** Text of a duration, as a duration. */
export const asDuration = <S extends Schema.Codec<string, string>>(text: S) =>
  text.pipe(
    Schema.decodeTo(
      Schema.Duration,
      SchemaTransformation.transform<Duration.Duration, string>({ decode: duration, encode: spelled })
    )
  )

/** `500ms`, `90s`, `30m`, `8h`, `7d`. */
export const Span = checked(durationPattern, "must be a duration such as 500ms, 90s, 30m, 8h or 7d")

/** A `Span` that is not nothing. */
export const Limit = checked(
  /^0*[1-9]\d*(ms|s|m|h|d)$/,
  "must be a duration longer than nothing, such as 500ms, 90s, 30m or 2h"
)

const sizeUnits = { k: 1024, m: 1024 ** 2, g: 1024 ** 3, t: 1024 ** 4 } as const
const sizePattern = /^([1-9]\d*)([kmgt])?(?:i?b)?$/i

/** The bytes of `512m`, `8g`, `2GiB` or a plain number; units are powers of 1024. */
export const parseBytes = (text: string): Option.Option<number> => {
  const [, amount, unit] = sizePattern.exec(text.trim()) ?? []
  if (amount === undefined) return Option.none()
  const bytes = Number(amount) * (unit === undefined ? 1 : sizeUnits[unit.toLowerCase() as keyof typeof sizeUnits])
  return Number.isSafeInteger(bytes) ? Option.some(bytes) : Option.none()
}

/** An amount of memory: bytes, or text such as `8g`. */
export const Memory = Schema.Union([
  AtLeast(1),
  checked(sizePattern, "must be a size such as 512m or 8g").pipe(
    Schema.decodeTo(
      Schema.Int,
      SchemaTransformation.transform({
        decode: (text: string) => Option.getOrElse(parseBytes(text), () => Number.NaN),
        encode: String
      })
    )
  )
])

/** `env:NAME` or `file:path`. */
export const SecretSource = checked(/^(?:env:[A-Za-z_][A-Za-z0-9_]*|file:.*\S.*)$/, "must be env:<NAME> or file:<path>")
