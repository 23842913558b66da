/** The parts of a compose document that can be written in several ways, read in one: pure. */
import { isMap } from "../../Configuration/keys.ts"

export type Entries = Readonly<Record<string, unknown>>

/** Something that is wrong with a document, or only worth a warning. */
export interface Remark {
  /** `services.db.network_mode` */
  readonly field: string
  readonly message: string
}

/** A path on this host that a service gets to see. */
export interface Mount {
  readonly field: string
  readonly path: string
  readonly readOnly: boolean
}

export const mapOf = (value: unknown): Entries => (isMap(value) ? value : {})

export const listOf = (value: unknown): ReadonlyArray<unknown> =>
  value === undefined || value === null ? [] : Array.isArray(value) ? value : [value]

/** The map without these keys. */
export const without = (map: Entries, ...keys: ReadonlyArray<string>): Entries =>
  Object.fromEntries(Object.entries(map).filter(([key]) => !keys.includes(key)))

/** Names that stand in a list, or as the keys of a map. */
export const namesOf = (value: unknown): ReadonlyArray<string> =>
  isMap(value) ? Object.keys(value) : listOf(value).map(String)

/** `a=b` in a list, or a map. */
export const pairsOf = (value: unknown): Readonly<Record<string, string>> =>
  isMap(value)
    ? Object.fromEntries(Object.entries(value).map(([name, text]) => [name, String(text ?? "")]))
    : Object.fromEntries(
        listOf(value).map((entry) => {
          const [name = "", ...rest] = String(entry).split("=")
          return [name, rest.join("=")]
        })
      )

/** What text of a document means to whoever reads it; none where a variable in it would be filled in first. */
export const meant = (text: string): string | undefined =>
  text.replaceAll("$$", "").includes("$") ? undefined : text.replaceAll("$$", "$")

/** Text as a document says it, in which a dollar sign begins a variable. */
const literal = (text: string): string => text.replaceAll("$", "$$$$")

/** Labels of a file, and the session's own over them. */
export const labelled = (labels: unknown, own: Readonly<Record<string, string>>): Entries => ({
  ...pairsOf(labels),
  ...Object.fromEntries(Object.entries(own).map(([name, value]) => [name, literal(value)]))
})

/** Names that are used beside what they are called here are somebody else's. */
export const isExternal = (value: unknown): boolean => {
  const { external } = mapOf(value)
  return external === true || isMap(external)
}

/** A mount of a service, however it is written; `source` is a path, the name of a volume, or none. */
export const mountOf = (entry: unknown): { readonly source: string | undefined; readonly readOnly: boolean } => {
  if (isMap(entry)) {
    const isPath = entry["type"] === "bind" || entry["type"] === "volume"
    const source = isPath && entry["source"] !== undefined ? String(entry["source"]) : undefined
    return { source, readOnly: entry["read_only"] === true }
  }
  const [first = "", target, mode = ""] = String(entry).split(":")
  return { source: target === undefined ? undefined : first, readOnly: mode.split(",").includes("ro") }
}

export const isPath = (source: string): boolean => /^[/.~]/.test(source)

/** The services that one needs to be there. */
export const neededBy = (service: Entries): ReadonlyArray<string> => [
  ...namesOf(service["depends_on"]),
  ...listOf(service["links"]).map((link) => String(link).split(":")[0] ?? ""),
  ...listOf(service["volumes_from"])
    .map(String)
    .filter((from) => !from.startsWith("container:"))
    .map((from) => from.split(":")[0] ?? ""),
  ...["network_mode", "ipc", "pid"].flatMap((key) => {
    const mode = String(service[key] ?? "")
    return mode.startsWith("service:") ? [mode.slice("service:".length)] : []
  })
]
