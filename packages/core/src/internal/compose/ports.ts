/** The ports of a service: what it listens on in its containers, and what of that is published: pure. */
import { isMap } from "../../Configuration/keys.ts"
import { type Entries, listOf, mapOf } from "./document.ts"
import type { Context } from "./wanted.ts"

/** A port in a container. */
interface Target {
  readonly port: number
  readonly protocol: string
}

/** Those that a service publishes or, where it publishes none, exposes. */
export const targetsOf = (service: Entries): ReadonlyArray<Target> => {
  const published = listOf(service["ports"]).map((entry) =>
    isMap(entry) ? target(entry["target"], entry["protocol"]) : target(String(entry).split(":").at(-1))
  )
  const wanted = published.length > 0 ? published : listOf(service["expose"]).map((entry) => target(entry))
  return wanted.filter(({ port }) => Number.isInteger(port))
}

const target = (written: unknown, protocol?: unknown): Target => {
  const [port, suffix] = String(written).split("/")
  return { port: Number(port), protocol: String(protocol ?? suffix ?? "tcp") }
}

const distinct = <A>(all: ReadonlyArray<A>): ReadonlyArray<A> => [...new Set(all)]

/** Only what the setup declares is published, and on the loopback address alone. */
export const published = (name: string, from: Entries, { remarks, wanted }: Context): ReadonlyArray<string> => {
  const ports = wanted.services.find((one) => one.name === name)?.ports ?? []
  const targets = targetsOf(from)
  const numbers = distinct(targets.map(({ port }) => port))
  const found = ports.flatMap(({ name: port, number, target = numbers.length === 1 ? numbers[0] : undefined }) => {
    if (target !== undefined) {
      remarks.targets[port] = target
      return [{ number, target }]
    }
    const which = numbers.length === 0 ? "no port" : `several ports (${numbers.join(", ")})`
    const message = `names ${which}, and what ${port} is must be said: set target in compose.services`
    remarks.problems.push({ field: `services.${name}.ports`, message })
    return []
  })
  const left = distinct(
    targetsOf({ ports: from["ports"] })
      .map(({ port }) => port)
      .filter((port) => !found.some((one) => one.target === port))
  )
  if (left.length > 0 && wanted.network === undefined) {
    const message = `${left.join(", ")} is not published: declare a port for ${name} in compose.services`
    remarks.warnings.push({ field: `services.${name}.ports`, message })
  }
  const chosen = found.find(({ number }) => number !== undefined)
  const [key, count] = replicas(from)
  if (chosen !== undefined && count > 1) {
    const message = `is ${count}, and its containers cannot share the port ${chosen.number} of this host: leave it out, or declare no port for ${name} in compose.services`
    remarks.problems.push({ field: `services.${name}.${key}`, message })
  }
  return found.flatMap(({ number, target }) => {
    const protocols = distinct(targets.filter(({ port }) => port === target).map(({ protocol }) => protocol))
    return (protocols.length === 0 ? ["tcp"] : protocols).map(
      (protocol) => `127.0.0.1:${number ?? ""}:${target}${protocol === "tcp" ? "" : `/${protocol}`}`
    )
  })
}

/** How many containers a service is to have, and which key says so. */
const replicas = ({ deploy, scale }: Entries): readonly [key: string, count: number] => {
  const said = mapOf(deploy)["replicas"]
  return said === undefined || said === null ? ["scale", Number(scale ?? 1)] : ["deploy.replicas", Number(said)]
}
