/**
 * From what a compose file resolves to, to a document of one session's own: pure.
 *
 * Two sessions that come from one file share no name, no port, no volume and no network; everything that the engine makes of
 * it carries the session's labels from its first moment.
 */
import { isMap } from "../../Configuration/keys.ts"
import {
  type Entries,
  isExternal,
  isPath,
  listOf,
  literal,
  type Mount,
  mapOf,
  mountOf,
  namesOf,
  neededBy,
  pairsOf,
  type Remark,
  targetsOf,
  without
} from "./document.ts"

/** A port of a service, as a setup declares it. */
export interface Published {
  /** As the session calls it. */
  readonly name: string
  /** On 127.0.0.1 of this host; one that the engine chooses, when absent. */
  readonly number?: number | undefined
  /** In the container; the one that the file names, when absent. */
  readonly target?: number | undefined
}

export interface Wanted {
  readonly project: string
  readonly labels: Readonly<Record<string, string>>
  /** Which services, with what they need; all that are behind no profile, when there is none. */
  readonly services: ReadonlyArray<{ readonly name: string; readonly ports: ReadonlyArray<Published> }>
  /** A network that exists already and takes the place of the default one: a box in it sees the services by name. */
  readonly network?: string | undefined
}

export interface Rewritten {
  readonly document: Entries
  /** What a session cannot have. */
  readonly problems: ReadonlyArray<Remark>
  readonly warnings: ReadonlyArray<Remark>
  /** What of this host the services get to see: whoever calls decides whether they may. */
  readonly mounts: ReadonlyArray<Mount>
  /** What listens in the container, by the names of ports. */
  readonly targets: Readonly<Record<string, number>>
}

interface Remarks {
  readonly problems: Array<Remark>
  readonly warnings: Array<Remark>
  readonly mounts: Array<Mount>
  readonly targets: Record<string, number>
}

export const rewrite = (resolved: unknown, wanted: Wanted): Rewritten => {
  const top = mapOf(resolved)
  const remarks: Remarks = { problems: [], warnings: [], mounts: [], targets: {} }
  const all = mapOf(top["services"])
  const kept = chosen(all, wanted, remarks)
  const images = builtImages(all, wanted)
  const services = Object.fromEntries(
    kept.map((name) => [name, service(name, mapOf(all[name]), { wanted, images, remarks })])
  )
  const used = (key: string): ReadonlySet<string> =>
    new Set(Object.values(services).flatMap((one) => namesUsed(one, key)))
  const parts = {
    networks: part(top, "networks", used("networks"), network(wanted, remarks)),
    volumes: part(top, "volumes", used("volumes"), volume(wanted, remarks)),
    secrets: part(top, "secrets", used("secrets"), file("secrets", remarks)),
    configs: part(top, "configs", used("configs"), file("configs", remarks))
  }
  const present = Object.entries(parts).filter(([, entries]) => Object.keys(entries).length > 0)
  return { document: { services, ...Object.fromEntries(present) }, ...remarks }
}

/** The services that are meant and those that they need, in the order of the file. */
const chosen = (all: Entries, { services }: Wanted, { problems }: Remarks): ReadonlyArray<string> => {
  const names = Object.keys(all)
  const found = new Set<string>()
  const take = (name: string): void => {
    if (found.has(name) || !names.includes(name)) return
    found.add(name)
    neededBy(mapOf(all[name])).forEach(take)
  }
  for (const { name } of services) {
    if (names.includes(name)) take(name)
    else {
      const message = `there is no service ${name} in it; it has ${names.join(", ") || "none"}`
      problems.push({ field: "compose.services", message })
    }
  }
  // what is behind a profile has to be asked for by name
  if (services.length === 0) names.filter((name) => listOf(mapOf(all[name])["profiles"]).length === 0).forEach(take)
  return names.filter((name) => found.has(name))
}

/** What an image that is built here is called, by the name that the file gives it: sessions must not build over each other. */
const builtImages = (all: Entries, { project }: Wanted): ReadonlyMap<string, string> =>
  new Map(
    Object.entries(all).flatMap(([name, entry]) => {
      const { build, image } = mapOf(entry)
      return build === undefined || build === null ? [] : [[String(image ?? name), `${project}-${name}`] as const]
    })
  )

const service = (
  name: string,
  from: Entries,
  context: { readonly wanted: Wanted; readonly images: ReadonlyMap<string, string>; readonly remarks: Remarks }
): Entries => {
  const { images, remarks, wanted } = context
  const at = `services.${name}`
  const { build, image, labels, network_mode, restart, volumes } = from
  const mode = String(network_mode ?? "")
  if (mode === "host" || mode.startsWith("container:")) {
    remarks.problems.push({ field: `${at}.network_mode`, message: `${mode} would leave the session's own network` })
  }
  for (const key of ["external_links", "volumes_from"]) {
    const others = listOf(from[key]).filter((one) => key === "external_links" || String(one).startsWith("container:"))
    if (others.length === 0) continue
    remarks.warnings.push({
      field: `${at}.${key}`,
      message: "is a container of others, and every session has the same"
    })
  }
  for (const entry of listOf(volumes)) {
    const { readOnly, source } = mountOf(entry)
    if (source !== undefined && isPath(source)) remarks.mounts.push({ field: `${at}.volumes`, path: source, readOnly })
  }
  const shown = listOf(volumes).map((entry) => (wanted.network === undefined ? entry : onlyRead(entry)))
  if (shown.some((entry, index) => entry !== listOf(volumes)[index])) {
    remarks.warnings.push({
      field: `${at}.volumes`,
      message: "shows it files of the checkout, which it can only read: beside a box they are a copy, made by `up`"
    })
  }
  const ports = published(name, from, context)
  const own = image === undefined ? undefined : images.get(String(image))
  const named = build === undefined || build === null ? (own ?? image) : images.get(String(image ?? name))
  return {
    ...without(
      from,
      ...["build", "container_name", "develop", "env_file", "extends", "image", "labels", "networks", "ports"],
      ...["profiles", "restart", "volumes"]
    ),
    ...(named === undefined ? {} : { image: named }),
    ...(build === undefined || build === null ? {} : { build: building(at, build, context) }),
    labels: labelled(labels, wanted),
    // what was halted on purpose must not come back with the engine
    ...(restart === undefined ? {} : { restart: restart === "always" ? "unless-stopped" : restart }),
    ...(ports.length === 0 ? {} : { ports }),
    ...(shown.length === 0 ? {} : { volumes: shown }),
    ...(network_mode === undefined || network_mode === null ? { networks: joined(name, from, context) } : {})
  }
}

/** Only what the setup declares is published, and on the loopback address alone. */
const published = (
  name: string,
  from: Entries,
  { remarks, wanted }: { readonly wanted: Wanted; readonly remarks: Remarks }
): ReadonlyArray<string> => {
  const ports = wanted.services.find((one) => one.name === name)?.ports ?? []
  const targets = targetsOf(from)
  const found = ports.flatMap(({ name: port, number, target = targets.length === 1 ? targets[0] : undefined }) => {
    if (target !== undefined) {
      remarks.targets[port] = target
      return [{ number, target }]
    }
    const which = targets.length === 0 ? "no port" : `several ports (${targets.join(", ")})`
    const message = `names ${which}, and what ${port} is must be said: set target in compose.services`
    remarks.problems.push({ field: `services.${name}.ports`, message })
    return []
  })
  const left = targetsOf({ ports: from["ports"] }).filter((target) => !found.some((one) => one.target === target))
  if (left.length > 0 && wanted.network === undefined) {
    const message = `${left.join(", ")} is not published: declare a port for ${name} in compose.services`
    remarks.warnings.push({ field: `services.${name}.ports`, message })
  }
  return found.map(({ number, target }) => `127.0.0.1:${number ?? ""}:${target}`)
}

/** A mount of the host's files that may not be written through. */
const onlyRead = (entry: unknown): unknown => {
  const { readOnly, source } = mountOf(entry)
  if (readOnly || source === undefined || !isPath(source)) return entry
  if (isMap(entry)) return { ...entry, read_only: true }
  const [from, to, mode = ""] = String(entry).split(":")
  return [from, to, [...mode.split(",").filter((word) => word !== "" && word !== "rw"), "ro"].join(",")].join(":")
}

/**
 * The networks of a service, in which it still answers to the name that its container had. A service that is meant for the
 * box is in the box's network too.
 */
const joined = (
  service: string,
  { container_name, networks }: Entries,
  { remarks: { warnings }, wanted }: { readonly wanted: Wanted; readonly remarks: Remarks }
): Entries => {
  const at = `services.${service}`
  const isForBox = wanted.services.length === 0 || wanted.services.some(({ name }) => name === service)
  const names = namesOf(networks)
  const needed = names.length === 0 || (wanted.network !== undefined && isForBox) ? ["default"] : []
  return Object.fromEntries(
    [...new Set([...names, ...needed])].map((name) => {
      const said = mapOf(mapOf(networks)[name])
      const fixed = ["ipv4_address", "ipv6_address", "link_local_ips", "mac_address"]
      const dropped = fixed.filter((key) => said[key] !== undefined)
      if (dropped.length > 0) {
        warnings.push({
          field: `${at}.networks.${name}`,
          message: `${dropped.join(", ")} is left out: sessions would meet`
        })
      }
      const aliases = [...listOf(said["aliases"]), ...(container_name === undefined ? [] : [String(container_name)])]
      return [name, { ...without(said, ...fixed, "aliases"), ...(aliases.length === 0 ? {} : { aliases }) }]
    })
  )
}

const building = (
  at: string,
  build: unknown,
  { remarks, wanted }: { readonly wanted: Wanted; readonly remarks: Remarks }
) => {
  const said: Entries = typeof build === "string" ? { context: build } : mapOf(build)
  const context = String(said["context"] ?? "")
  const local = isPath(context)
  const paths = [
    ...(local ? [["context", context] as const] : []),
    ...(local && said["dockerfile"] !== undefined
      ? [["dockerfile", within(context, String(said["dockerfile"]))] as const]
      : []),
    ...Object.values(pairsOf(said["additional_contexts"]))
      .filter(isPath)
      .map((path) => ["additional_contexts", path] as const)
  ]
  // a build sends all of it to the engine: nothing that the checkout has not got
  for (const [key, path] of paths) remarks.mounts.push({ field: `${at}.build.${key}`, path, readOnly: false })
  return { ...without(said, "tags"), labels: labelled(said["labels"], wanted) }
}

const within = (folder: string, path: string): string => (path.startsWith("/") ? path : `${folder}/${path}`)

const labelled = (labels: unknown, wanted: Wanted): Entries => ({
  ...pairsOf(labels),
  ...Object.fromEntries(Object.entries(wanted.labels).map(([name, value]) => [name, literal(value)]))
})

/** The names of one kind that a service that was rewritten refers to. */
const namesUsed = (service: unknown, key: string): ReadonlyArray<string> => {
  const value = mapOf(service)[key]
  switch (key) {
    case "networks":
      return namesOf(value)
    case "volumes":
      return listOf(value).flatMap((entry) => {
        const { source } = mountOf(entry)
        return source === undefined || isPath(source) ? [] : [source]
      })
    default:
      return listOf(value).map((entry) => String(mapOf(entry)["source"] ?? entry))
  }
}

/** The entries of one kind that are used. One that the file does not describe is one with nothing to say of it. */
const part = (
  top: Entries,
  key: string,
  used: ReadonlySet<string>,
  one: (name: string, from: Entries) => Entries
): Entries => {
  const all = mapOf(top[key])
  return Object.fromEntries([...used].map((name) => [name, one(name, mapOf(all[name]))]))
}

const shared = (field: string, { warnings }: Remarks): void =>
  void warnings.push({ field, message: "is external: every session has the same" })

const network =
  (wanted: Wanted, remarks: Remarks) =>
  (name: string, from: Entries): Entries => {
    if (name === "default" && wanted.network !== undefined) return { external: true, name: wanted.network }
    const at = `networks.${name}`
    if (isExternal(from)) {
      shared(at, remarks)
      return from
    }
    const ipam = mapOf(from["ipam"])
    if (listOf(ipam["config"]).length > 0) {
      remarks.warnings.push({ field: `${at}.ipam`, message: "is left out: the engine chooses addresses that are free" })
    }
    const options = without(mapOf(from["driver_opts"]), "com.docker.network.bridge.name")
    return {
      ...without(from, "driver_opts", "ipam", "labels", "name"),
      ...(Object.keys(options).length === 0 ? {} : { driver_opts: options }),
      labels: labelled(from["labels"], wanted)
    }
  }

const volume =
  (wanted: Wanted, remarks: Remarks) =>
  (name: string, from: Entries): Entries => {
    const at = `volumes.${name}`
    if (isExternal(from)) {
      shared(at, remarks)
      return from
    }
    const { device } = mapOf(from["driver_opts"])
    if (wanted.network !== undefined && device !== undefined && isPath(String(device))) {
      const message =
        "is a directory of this host, where a box's checkout is only a copy: let the engine keep the volume"
      remarks.problems.push({ field: `${at}.driver_opts`, message })
    } else if (device !== undefined && isPath(String(device))) {
      remarks.mounts.push({ field: `${at}.driver_opts`, path: String(device), readOnly: false })
    } else if (device !== undefined) {
      remarks.warnings.push({ field: `${at}.driver_opts`, message: "has a device: every session has the same" })
    }
    return { ...without(from, "labels", "name"), labels: labelled(from["labels"], wanted) }
  }

const file =
  (kind: "secrets" | "configs", remarks: Remarks) =>
  (name: string, from: Entries): Entries => {
    const at = `${kind}.${name}`
    if (isExternal(from)) shared(at, remarks)
    if (from["file"] !== undefined) remarks.mounts.push({ field: at, path: String(from["file"]), readOnly: true })
    return isExternal(from) ? from : without(from, "name")
  }
