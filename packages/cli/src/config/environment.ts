/** Variables that set single keys: `SANDBOX_` and the key's path in capitals, `SANDBOX_SLOTS_MAX` for `slots.max`. */
import * as Configuration from "@org/sandbox-core/Configuration"

export type Variables = Readonly<Record<string, string | undefined>>

/** The variable of a key; the section `sandbox` is left out of it. */
export const variableOf = (path: ReadonlyArray<string>): string =>
  ["SANDBOX", ...(path[0] === "sandbox" ? path.slice(1) : path)].join("_").toUpperCase()

const keys = new Map(Configuration.scalars.map((key) => [variableOf(key.path), key]))

/** Every variable that sets a key, by name. */
export const names: ReadonlyArray<string> = [...keys.keys()]

const valueOf = (text: string, type: Configuration.ScalarKey["type"]): unknown => {
  if (type === "boolean" && (text === "true" || text === "false")) return text === "true"
  if (type === "number" && /^-?\d+(\.\d+)?$/.test(text)) return Number(text)
  return text // what is wrong is said when it is decoded
}

/** Sets a value at a path, making the maps on the way. */
export const put = (
  into: Record<string, unknown>,
  [key = "", ...rest]: ReadonlyArray<string>,
  value: unknown
): void => {
  if (rest.length === 0) into[key] = value
  else {
    const inner: Record<string, unknown> = { ...(into[key] as Record<string, unknown> | undefined) }
    put(inner, rest, value)
    into[key] = inner
  }
}

/** The layer of the environment. An empty variable is not set. */
export const layer = (variables: Variables): Configuration.Layer => {
  const value: Record<string, unknown> = {}
  const sources = new Map<string, string>()
  for (const [name, { path, type }] of keys) {
    const text = variables[name]
    if (text === undefined || text === "") continue
    put(value, path, valueOf(text, type))
    sources.set(Configuration.formatPath(path), name)
  }
  return { name: "environment", value, source: (path) => sources.get(Configuration.formatPath(path)) }
}

/** Variables that set nothing and look as if they were meant to. Others that start alike have meanings of their own. */
export const warnings = (variables: Variables): ReadonlyArray<string> =>
  Object.keys(variables).flatMap((name) => {
    if (!name.startsWith("SANDBOX_") || keys.has(name)) return []
    const key = Configuration.nearest(
      name.slice("SANDBOX_".length),
      names.map((known) => known.slice("SANDBOX_".length))
    )
    return key === undefined ? [] : [`the variable ${name} has no effect; did you mean SANDBOX_${key}?`]
  })
