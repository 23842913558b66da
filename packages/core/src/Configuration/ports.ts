/** Which ports of this host a configuration can come to use, and where they would meet. */

import * as Setup from "../Setup.ts"
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
}

/** What a configuration says of ports. */
type Parts = Pick<Configuration, "compose" | "services" | "slots">

export const declared = ({ compose, services, slots }: Parts): ReadonlyArray<Declared> => {
  const { max, stride } = slots
  const entry = (path: Path, name: string, base: number): Declared => ({ path, name, base, top: base + max * stride })
  const lists = [
    { at: ["services"], list: services },
    { at: ["compose", "services"], list: compose?.services ?? [] }
  ]
  return lists.flatMap(({ at, list }) =>
    list.flatMap((service, index) => [
      ...(service.port === undefined ? [] : [entry([...at, index, "port"], service.name, service.port)]),
      ...service.extra_ports.map(({ name, port }, extra) =>
        entry([...at, index, "extra_ports", extra, "port"], `${service.name}-${name}`, port)
      )
    ])
  )
}

/** The port of a slot, before anything is known of who listens there. */
export const nominal = (port: Pick<Declared, "base">, slot: number, stride: number): number => port.base + slot * stride

export const portRules = (
  configuration: Parts
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
      if (Setup.portVariable(other.name) === Setup.portVariable(name) && other.name !== name) {
        problems.push({
          path,
          message: `would be ${Setup.portVariable(name)}, which is the variable of ${other.name} too`
        })
      }
      if (other.name === name) problems.push({ path, message: `is called ${name}, as another port is` })
      if (other.base === base) problems.push({ path, message: `is ${base}, which is the port of ${other.name} too` })
      else if (meet(port, other, configuration.slots)) {
        problems.push({ path, message: meeting(port, other, ports, configuration.slots) })
      }
    }
  })
  return { problems, warnings }
}

type Slots = Pick<Configuration["slots"], "max" | "stride">

/** Whether two ports have one number, each in a slot of its own: a port that moves away leaves such numbers alone. */
const meet = (one: Declared, other: Declared, { max, stride }: Slots): boolean => {
  const apart = Math.abs(one.base - other.base)
  return apart % stride === 0 && apart < max * stride
}

/** Strides that are easily told from each other. */
const strides = [2, 5, 10, 20, 50, 100, 200, 500, 1000]

const meeting = (port: Declared, other: Declared, ports: ReadonlyArray<Declared>, { max, stride }: Slots): string => {
  const [low, high] = port.base < other.base ? [port, other] : [other, port]
  const apart = high.base - low.base
  const wider = strides.find(
    (stride) =>
      ports.every(({ base }) => base + max * stride <= 65_535) &&
      ports.every((one, at) => ports.slice(0, at).every((two) => !meet(one, two, { max, stride })))
  )
  const further = max * stride - apart
  const ways = [
    ...(wider === undefined ? [] : [`set slots.stride to ${wider}`]),
    high.top + further > 65_535 ? `lower slots.max to ${apart / stride}` : `move one base by ${further}`
  ]
  return `meets ${other.name}: slot ${1 + apart / stride} of ${low.name} and slot 1 of ${high.name} are both ${high.base + stride}; ${ways.join(" or ")}`
}
