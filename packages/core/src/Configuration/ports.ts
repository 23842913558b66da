/** Which ports of this host a configuration can come to use, and where they would meet. */
import type { Flaw } from "./decode.ts"
import type { Configuration } from "./File.ts"
import type { Path } from "./keys.ts"

/** A port that a service declares. */
export interface Declared {
  readonly path: Path
  /** How it is called: the service's name, or `<service>-<name>`. */
  readonly name: string
  readonly base: number
  /** The largest number that a slot gives it. */
  readonly top: number
  /** The largest number that may be tried for it. */
  readonly reach: number
}

export const declared = ({ services, slots }: Pick<Configuration, "services" | "slots">): ReadonlyArray<Declared> => {
  const { max, search_range, strict, stride } = slots
  const entry = (path: Path, name: string, base: number): Declared => {
    const top = base + max * stride
    return { path, name, base, top, reach: strict ? top : top + search_range * max * stride }
  }
  return services.flatMap((service, index) => [
    ...(service.port === undefined ? [] : [entry(["services", index, "port"], service.name, service.port)]),
    ...service.extra_ports.map(({ name, port }, extra) =>
      entry(["services", index, "extra_ports", extra, "port"], `${service.name}-${name}`, port)
    )
  ])
}

/** The port of a slot, before anything is known of who listens there. */
export const nominal = (port: Pick<Declared, "base">, slot: number, stride: number): number => port.base + slot * stride

const variable = (name: string): string => `SANDBOX_${name.toUpperCase().replaceAll("-", "_")}_PORT`

export const portRules = (
  configuration: Pick<Configuration, "services" | "slots">
): { readonly problems: ReadonlyArray<Flaw>; readonly warnings: ReadonlyArray<Flaw> } => {
  const problems: Array<Flaw> = []
  const warnings: Array<Flaw> = []
  const ports = declared(configuration)
  ports.forEach((port, index) => {
    const { base, name, path, top } = port
    if (base < 1024) warnings.push({ path, message: "is below 1024, where listening needs privileges" })
    if (top > 65_535) {
      problems.push({ path, message: `is too high: slot ${configuration.slots.max} would listen on ${top}` })
    }
    for (const other of ports.slice(0, index)) {
      if (variable(other.name) === variable(name) && other.name !== name) {
        problems.push({ path, message: `would be ${variable(name)}, which is the variable of ${other.name} too` })
      }
      if (other.name === name) problems.push({ path, message: `is called ${name}, as another port is` })
      if (other.base === base) problems.push({ path, message: `is ${base}, which is the port of ${other.name} too` })
      else if (base <= other.reach && other.base <= port.reach) {
        const apart = Math.min(port.reach - base, other.reach - other.base) + 1
        problems.push({
          path,
          message: `meets ${other.name}: slots and search reach from ${other.base} to ${other.reach}, and from ${base} to ${port.reach}; leave ${apart} between them, or lower slots.max or slots.search_range`
        })
      }
    }
  })
  return { problems, warnings }
}
