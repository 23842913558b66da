/** What a compose file reads beside itself, before any tool has followed it: pure. */
import { isMap } from "../../Configuration/keys.ts"

/** A path that is written in a compose file. */
export interface Reference {
  /** Where it stands: `services.db.env_file`. */
  readonly field: string
  readonly path: string
}

/** What a file refers to. */
export interface References {
  /** Files that are read when the configuration is resolved. They have to be in the checkout. */
  readonly files: ReadonlyArray<Reference>
  /** Other compose files: nobody has accepted those by name. */
  readonly others: ReadonlyArray<Reference>
}

const entries = (value: unknown): ReadonlyArray<readonly [string, unknown]> =>
  isMap(value) ? Object.entries(value) : []

const list = (value: unknown): ReadonlyArray<unknown> =>
  value === undefined || value === null ? [] : Array.isArray(value) ? value : [value]

const pathOf = (value: unknown): string => (isMap(value) ? String(value["path"] ?? "") : String(value))

/** The first files that compose read had nothing but services in them, and docker-compose still reads those. */
const servicesOf = (document: Readonly<Record<string, unknown>>) => {
  const { configs, networks, secrets, services, volumes, ...rest } = document
  const isFirst = [configs, networks, secrets, services, volumes].every((part) => part === undefined)
  return isFirst ? entries(rest) : entries(services)
}

export const references = (document: unknown): References => {
  const services = servicesOf(isMap(document) ? document : {})
  const included = list(isMap(document) ? document["include"] : undefined)
  return {
    files: services.flatMap(([name, service]) =>
      ["env_file", "label_file"].flatMap((key) =>
        list(isMap(service) ? service[key] : undefined).map((file) => ({
          field: `services.${name}.${key}`,
          path: pathOf(file)
        }))
      )
    ),
    others: [
      ...included
        .flatMap((entry) => list(isMap(entry) ? entry["path"] : entry))
        .map((path) => ({
          field: "include",
          path: pathOf(path)
        })),
      ...services.flatMap(([name, service]) => {
        const from = isMap(service) ? service["extends"] : undefined
        return isMap(from) && from["file"] !== undefined
          ? [{ field: `services.${name}.extends.file`, path: String(from["file"]) }]
          : []
      })
    ]
  }
}
