/** From what the layers say to a configuration, with everything that is wrong with it at once. */
import { Result, Schema, SchemaIssue } from "effect"
import { type Configuration, File } from "./File.ts"
import { formatPath, isMap, type Path } from "./keys.ts"

/** Something that is wrong at a place. */
export interface Flaw {
  readonly path: Path
  /** Follows the path: `must be 1 or more`. Never quotes a value, which may be a secret. */
  readonly message: string
}

/** What could be decoded. */
export interface Decoded {
  /** Everything that is right; what is wrong counts as absent. */
  readonly configuration: Configuration
  readonly flaws: ReadonlyArray<Flaw>
  /** Where something of `configuration` stands in what was decoded. */
  readonly written: (path: Path) => Path
}

const decodeFile = Schema.decodeUnknownResult(File, { errors: "all" })
const format = SchemaIssue.makeFormatterStandardSchemaV1()

/**
 * Decodes what is right even where something is wrong, so that checks across keys have their say too.
 *
 * What is wrong is taken out, with the element of a list that cannot be without it, until the rest decodes.
 */
export const decode = (value: unknown): Decoded => {
  const rest: unknown = structuredClone(value)
  const indexes = new WeakMap<object, Array<number>>()
  let flaws: ReadonlyArray<Flaw> | undefined
  for (;;) {
    const result = decodeFile(rest)
    if (Result.isSuccess(result)) {
      return { configuration: result.success, flaws: flaws ?? [], written: (path) => written(rest, indexes, path) }
    }
    const found = (format(result.failure.issue).issues ?? []).map(({ message, path }) => ({
      path: (path ?? []).map((part) => (typeof part === "number" ? part : String(part))),
      message
    }))
    flaws ??= found.map(({ message, path }) => ({ path, message: sentence(message) }))
    const targets = new Map(
      found
        .map(({ message, path }) => (message === missing ? path.slice(0, -1) : path))
        .map((path) => [formatPath(path), path])
    )
    // from the end, so that indexes that are still to come stay right, and nothing in what is taken out anyway
    for (const path of [...targets.values()].toReversed()) {
      const within = path.some((_, length) => length > 0 && targets.has(formatPath(path.slice(0, length))))
      if (!within) remove(rest, path, indexes)
    }
  }
}

const missing = "Missing key"

const words: Readonly<Record<string, string>> = {
  string: "text (in quotes, where it looks like a number or like true and false)",
  array: "a list",
  object: "a map of keys",
  boolean: "true or false",
  true: "true",
  number: "a number",
  "an integer": "a whole number",
  "a finite number": "a number"
}

/** The library's message in our words. */
const sentence = (message: string): string => {
  if (message === missing) return "is missing"
  const expected = /^Expected (.+)$/s.exec(message)?.[1]
  if (expected === undefined) return message
  const kinds = expected
    .split(" | ")
    .map((kind) => words[kind] ?? (kind.startsWith("{") ? words["object"] : kind.replaceAll('"', "")))
  return kinds.length > 1 && kinds.every((kind) => /^[\w-]+$/.test(kind ?? ""))
    ? `must be one of ${kinds.join(", ")}`
    : `must be ${kinds.join(", or ")}`
}

const remove = (root: unknown, path: Path, indexes: WeakMap<object, Array<number>>): void => {
  let at: unknown = root
  for (const part of path.slice(0, -1)) at = (at as Record<string | number, unknown> | undefined)?.[part]
  const last = path.at(-1)
  if (Array.isArray(at) && typeof last === "number") {
    const own = indexes.get(at) ?? at.map((_, index) => index)
    indexes.set(at, own)
    at.splice(last, 1)
    own.splice(last, 1)
  } else if (isMap(at) && last !== undefined) delete (at as Record<string, unknown>)[last]
}

const written = (root: unknown, indexes: WeakMap<object, Array<number>>, path: Path): Path => {
  let at: unknown = root
  return path.map((part) => {
    const index = typeof part === "number" && Array.isArray(at) ? (indexes.get(at)?.[part] ?? part) : part
    at = (at as Record<string | number, unknown> | undefined)?.[part]
    return index
  })
}
