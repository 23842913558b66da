/** From the programs' answers to the JSON of the output contract: the same data with names in snake_case. */

const camel = /^[a-z]+(?:[A-Z][a-z0-9]*)+$/

/** Keys that are data (`PATH`, `org.sandbox.key`, `my-port`) are left as they are; only our own camelCase names change. */
const snake = (key: string): string =>
  camel.test(key) ? key.replaceAll(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`) : key

/** Maps whose keys are names of the user's. */
const data = new Set(["env", "ports"])

export const toWire = (value: unknown): unknown => {
  if (Array.isArray(value)) return value.map(toWire)
  if (typeof value !== "object" || value === null) return value
  return Object.fromEntries(
    Object.entries(value).map(([key, inner]) => [
      snake(key),
      data.has(key) && !Array.isArray(inner) ? inner : toWire(inner)
    ])
  )
}
