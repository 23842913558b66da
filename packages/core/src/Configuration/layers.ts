/** Layers of configuration, merged leaf by leaf, each leaf remembering where it came from. */
import { formatPath, isMap, type Path, withoutEmpty } from "./keys.ts"

/** In rising order. */
export const layerNames = ["default", "user", "project", "environment", "flags"] as const
export type LayerName = (typeof layerNames)[number]

/** A place in a file; both count from 1. */
export interface Position {
  readonly line: number
  readonly column: number
}

/** Plain values from one place, and how to say where each stands there. */
export interface Layer {
  readonly name: Exclude<LayerName, "default">
  /** What was read: an absolute path, or how else it is shown; none for variables and flags. */
  readonly file?: string | undefined
  /** The absolute directory that paths in it are relative to. */
  readonly folder?: string | undefined
  readonly value: unknown
  /** Where a value stands in the file, or the nearest that surrounds it. */
  readonly position?: ((path: Path) => Position | undefined) | undefined
  /** The variable or the flag that a value came from. */
  readonly source?: ((path: Path) => string | undefined) | undefined
}

/** Where a value came from. */
export interface Origin {
  readonly layer: LayerName
  readonly file?: string
  readonly line?: number
  readonly column?: number
  /** The variable or flag. */
  readonly source?: string
}

/** Everything the layers say together. */
export interface Merged {
  readonly value: Readonly<Record<string, unknown>>
  /** The layer that a value, or the leaf that it is part of, came from; none for a default. */
  readonly layerOf: (path: Path) => Layer | undefined
}

/** Later layers win; maps are merged key by key, lists and all else are replaced. */
export const merge = (layers: ReadonlyArray<Layer>): Merged => {
  // of leaves; what is inside of a list is its list's
  const owners = new Map<string, Layer>()
  // of maps: whoever first said that there is one
  const makers = new Map<string, Layer>()
  const put = (under: unknown, over: unknown, layer: Layer, path: Path): unknown => {
    if (!isMap(over)) {
      owners.set(formatPath(path), layer)
      return over
    }
    const merged = new Map(isMap(under) ? Object.entries(under) : [])
    if (!isMap(under) || Object.keys(over).length === 0) {
      owners.delete(formatPath(path))
      makers.set(formatPath(path), layer)
    }
    for (const [key, value] of Object.entries(over)) merged.set(key, put(merged.get(key), value, layer, [...path, key]))
    return Object.fromEntries(merged)
  }
  let value: unknown = {}
  for (const layer of layers) {
    const own = withoutEmpty(layer.value)
    if (isMap(own)) value = put(value, own, layer, [])
  }
  const layerOf = (path: Path): Layer | undefined => {
    const maker = makers.get(formatPath(path))
    for (let length = path.length; length > 0; length--) {
      const owner = owners.get(formatPath(path.slice(0, length)))
      if (owner !== undefined) return owner
    }
    return maker
  }
  return { value: isMap(value) ? value : {}, layerOf }
}

/** Where exactly a value of a layer stands. */
export const originIn = (layer: Layer, path: Path): Origin => {
  const at = layer.position?.(path)
  const source = layer.source?.(path)
  return {
    layer: layer.name,
    ...(layer.file === undefined ? {} : { file: layer.file }),
    ...(at === undefined ? {} : { line: at.line, column: at.column }),
    ...(source === undefined ? {} : { source })
  }
}

export const originOf = (merged: Merged, path: Path): Origin => {
  const layer = merged.layerOf(path)
  return layer === undefined ? { layer: "default" } : originIn(layer, path)
}

/** Every leaf of a value: lists, empty maps and whatever is no map. */
export const leaves = (
  value: unknown,
  path: Path = []
): ReadonlyArray<{ readonly path: Path; readonly value: unknown }> =>
  isMap(value) && Object.keys(value).length > 0
    ? Object.entries(value).flatMap(([key, inner]) => leaves(inner, [...path, key]))
    : path.length === 0
      ? []
      : [{ path, value }]
