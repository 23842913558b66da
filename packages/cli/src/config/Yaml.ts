/** YAML as plain values that know where they stand, with everything that is wrong with the text at once. */
import type * as Configuration from "@org/sandbox-core/Configuration"
import { isAlias, isMap, isPair, isScalar, isSeq, LineCounter, type Node, parseDocument } from "yaml"

/** What a text says: as much of it as could be read. */
export interface Parsed {
  readonly value: unknown
  readonly problems: NonNullable<Configuration.Source["problems"]>
  readonly position: (path: Configuration.Path) => Configuration.Position | undefined
}

export const parse = (text: string): Parsed => {
  const lines = new LineCounter()
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false, strict: true, uniqueKeys: true })
  const at = (offset: number): Configuration.Position => {
    const { col, line } = lines.linePos(offset)
    return { line, column: col }
  }
  const problems = [...document.errors, ...document.warnings].map(({ message, pos }) => ({
    message: sentence(message),
    ...at(pos[0])
  }))
  const position: Parsed["position"] = (path) => {
    const offset = offsetOf(document.contents, path, (node) => (isAlias(node) ? node.resolve(document) : node))
    return offset === undefined ? undefined : at(offset)
  }
  if (problems.length > 0) return { value: {}, problems, position }
  try {
    const value: unknown = document.toJS({ maxAliasCount: 100 })
    if (value === null || value === undefined) return { value: {}, problems, position }
    const endless = endlessIn(value)
    if (endless !== undefined) {
      const message = "is no valid YAML: an alias stands for what it is part of"
      return { value: {}, problems: [{ message, ...position(endless) }], position }
    }
    if (typeof value === "object" && !Array.isArray(value)) return { value, problems, position }
    return { value: {}, problems: [{ message: "must be a map of keys", line: 1, column: 1 }], position }
  } catch (cause) {
    // an alias that stands for too much
    return { value: {}, problems: [{ message: sentence(String(cause)), line: 1, column: 1 }], position }
  }
}

/** Where a value is inside of itself, which nothing that walks it would ever leave. */
const endlessIn = (
  value: unknown,
  path: Configuration.Path = [],
  above: ReadonlySet<unknown> = new Set()
): Configuration.Path | undefined => {
  if (typeof value !== "object" || value === null) return undefined
  if (above.has(value)) return path
  const within = new Set([...above, value])
  for (const [key, inner] of Object.entries(value)) {
    const found = endlessIn(inner, [...path, Array.isArray(value) ? Number(key) : key], within)
    if (found !== undefined) return found
  }
  return undefined
}

const sentence = (message: string): string => {
  const [first = ""] = message.replace(/^\w*Error: /, "").split("\n")
  return `is no valid YAML: ${first.replace(/[.:]$/, "")}`
}

type Resolve = (node: Node | null | undefined) => Node | null | undefined

/** Where the value at a path begins, or its key where it has more than one line, or what surrounds a path that is not there. */
const offsetOf = (root: unknown, path: Configuration.Path, resolve: Resolve): number | undefined => {
  let node = root as Node | null | undefined
  let found = node?.range?.[0]
  for (const part of path) {
    const inside = resolve(node)
    if (isMap(inside)) {
      const pair = inside.items.find(
        (item) => isPair(item) && isScalar(item.key) && String(item.key.value) === String(part)
      )
      if (pair === undefined) return found
      node = pair.value as Node | null
      found =
        isScalar(node) && node.range?.[0] !== undefined && node.value !== null
          ? node.range[0]
          : ((pair.key as Node).range?.[0] ?? found)
    } else if (isSeq(inside) && typeof part === "number") {
      node = inside.items[part] as Node | undefined
      found = node?.range?.[0] ?? found
    } else return found
  }
  return found
}
