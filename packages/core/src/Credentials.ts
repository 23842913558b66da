/**
 * Credentials of model providers as OpenCode keeps them: a JSON object with an entry for each provider.
 *
 * Pure, and silent about values: what is wrong with a file is said without quoting any of it.
 */
import { Result, Schema } from "effect"

const Entries = Schema.Record(Schema.String, Schema.Record(Schema.String, Schema.Json))

const decode = Schema.decodeUnknownResult(Schema.fromJsonString(Entries))

/** Providers by name; what an entry holds is its provider's own affair. */
export type Credentials = typeof Entries.Type

/** What a selection asks for that is not there. */
export interface Unknown {
  readonly unknown: ReadonlyArray<string>
  /** The names that there are, in order. */
  readonly known: ReadonlyArray<string>
}

/** Reads the text of such a file; none when it is not one. */
export const parse = (text: string): Credentials | undefined => Result.getOrElse(decode(text), () => undefined)

/** The entries of these providers and of no other; all of them, or none when one is not there. */
export const select = (
  credentials: Credentials,
  providers: ReadonlyArray<string>
): Result.Result<Credentials, Unknown> => {
  const wanted = [...new Set(providers)]
  const unknown = wanted.filter((name) => !Object.hasOwn(credentials, name))
  if (unknown.length > 0) return Result.fail({ unknown, known: Object.keys(credentials).sort() })
  return Result.succeed(Object.fromEntries(wanted.map((name) => [name, credentials[name]!])))
}

/** The text of a file with these credentials. */
export const format = (credentials: Credentials): string => `${JSON.stringify(credentials, undefined, 2)}\n`
