/** What keys there are, read off the schema: for unknown keys, for variables of the environment, and for documents. */
import { Schema, type SchemaAST } from "effect"
import { distance } from "../Spelling.ts"
import { File } from "./File.ts"

/** Where a value stands: keys of maps and indexes of lists. */
export type Path = ReadonlyArray<string | number>

/** `services[1].port`; a key that is no word stands in brackets and quotes. */
export const formatPath = (path: Path): string =>
  path.reduce<string>((text, part) => {
    if (typeof part === "number") return `${text}[${part}]`
    if (!/^[\w-]+$/.test(part)) return `${text}[${JSON.stringify(part)}]`
    return text === "" ? part : `${text}.${part}`
  }, "")

export const isMap = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === "object" && value !== null && !Array.isArray(value)

/** What may stand at a place. */
export type Shape =
  | { readonly kind: "scalar"; readonly type: "text" | "number" | "boolean" }
  | { readonly kind: "map"; readonly keys: ReadonlyMap<string, Shape> }
  /** Keys are the user's. */
  | { readonly kind: "record"; readonly of: Shape }
  | { readonly kind: "list"; readonly of: Shape }
  | { readonly kind: "either"; readonly of: ReadonlyArray<Shape> }
  | { readonly kind: "any" }

const shapeOf = (ast: SchemaAST.AST): Shape => {
  switch (ast._tag) {
    case "String":
      return { kind: "scalar", type: "text" }
    case "Number":
      return { kind: "scalar", type: "number" }
    case "Boolean":
      return { kind: "scalar", type: "boolean" }
    case "Literal":
      return { kind: "scalar", type: typeof ast.literal === "boolean" ? "boolean" : "text" }
    case "Arrays":
      return { kind: "list", of: ast.rest[0] === undefined ? { kind: "any" } : shapeOf(ast.rest[0]) }
    case "Objects": {
      const [record] = ast.indexSignatures
      if (record !== undefined) return { kind: "record", of: shapeOf(record.type) }
      return {
        kind: "map",
        keys: new Map(ast.propertySignatures.map(({ name, type }) => [String(name), shapeOf(type)]))
      }
    }
    case "Union": {
      const of = ast.types.map(shapeOf)
      const [first] = of
      return first !== undefined &&
        of.every((shape) => shape.kind === "scalar" && first.kind === "scalar" && shape.type === first.type)
        ? first
        : { kind: "either", of }
    }
    default:
      return { kind: "any" }
  }
}

/** What a whole configuration looks like. */
export const shape: Shape = shapeOf(Schema.toEncoded(File).ast)

/** Of two kinds of value that may stand somewhere, the one that fits this value. */
const fitting = (shape: Shape, value: unknown): Shape => {
  if (shape.kind !== "either") return shape
  const wanted = Array.isArray(value) ? ["list"] : isMap(value) ? ["map", "record"] : ["scalar"]
  return shape.of.find(({ kind }) => wanted.includes(kind)) ?? { kind: "any" }
}

/** A value without the keys that nothing stands behind (`services:` and no more): they are absent. */
export const withoutEmpty = (value: unknown, within: Shape = shape): unknown => {
  const at = fitting(within, value)
  if (at.kind === "list" && Array.isArray(value)) return value.map((element) => withoutEmpty(element, at.of))
  if (!isMap(value)) return value
  if (at.kind === "record") {
    return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, withoutEmpty(inner, at.of)]))
  }
  if (at.kind !== "map") return value
  return Object.fromEntries(
    Object.entries(value).flatMap(([key, inner]) =>
      inner === null && at.keys.has(key) ? [] : [[key, withoutEmpty(inner, at.keys.get(key) ?? { kind: "any" })]]
    )
  )
}

/** A key that means nothing, and what it may have been meant to be. */
export interface UnknownKey {
  readonly path: Path
  readonly close: string | undefined
}

export const unknownKeys = (value: unknown, within: Shape = shape, path: Path = []): ReadonlyArray<UnknownKey> => {
  const at = fitting(within, value)
  if (at.kind === "list" && Array.isArray(value)) {
    return value.flatMap((element, index) => unknownKeys(element, at.of, [...path, index]))
  }
  if (!isMap(value)) return []
  return Object.entries(value).flatMap(([key, inner]) => {
    const here = [...path, key]
    if (at.kind === "record") return unknownKeys(inner, at.of, here)
    if (at.kind !== "map") return []
    const known = at.keys.get(key)
    return known === undefined
      ? [{ path: here, close: nearest(key, [...at.keys.keys()]) }]
      : unknownKeys(inner, known, here)
  })
}

/** Keys outside lists and maps of the user's whose value is one word or number: those that a variable can set. */
export interface ScalarKey {
  readonly path: ReadonlyArray<string>
  readonly type: "text" | "number" | "boolean"
}

const scalarsOf = (at: Shape, path: ReadonlyArray<string>): ReadonlyArray<ScalarKey> => {
  if (at.kind === "scalar") return [{ path, type: at.type }]
  return at.kind === "map" ? [...at.keys].flatMap(([key, inner]) => scalarsOf(inner, [...path, key])) : []
}

export const scalars: ReadonlyArray<ScalarKey> = scalarsOf(shape, [])

/** Of these names the one that a person may have meant. */
export const nearest = (wanted: string, names: ReadonlyArray<string>): string | undefined =>
  names
    .map((name) => ({ name, edits: distance(wanted.toLowerCase(), name.toLowerCase()) }))
    .filter(({ edits }) => edits <= Math.max(1, wanted.length / 3))
    .sort((a, b) => a.edits - b.edits)[0]?.name
