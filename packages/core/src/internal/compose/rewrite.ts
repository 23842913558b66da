/**
 * From what a compose file resolves to, to a document of one session's own: pure.
 *
 * Two sessions that come from one file share no name, no port, no volume and no network; everything that the engine makes of
 * it carries the session's labels from its first moment.
 */
import { isMap } from "../../Configuration/keys.ts"
import { building, builtImages } from "./building.ts"
import { type Entries, isPath, labelled, listOf, mapOf, mountOf, namesOf, neededBy, without } from "./document.ts"
import * as limits from "./limits.ts"
import { file, network, part, volume } from "./parts.ts"
import { published } from "./ports.ts"
import type { Context, Remarks, Rewritten, Wanted } from "./wanted.ts"

export const rewrite = (resolved: unknown, wanted: Wanted): Rewritten => {
  const top = mapOf(resolved)
  const remarks: Remarks = { problems: [], warnings: [], mounts: [], targets: {} }
  const all = mapOf(top["services"])
  const context: Context = { wanted, remarks }
  const kept = chosen(all, context)
  const images = builtImages(all, wanted.project)
  const services = Object.fromEntries(
    kept.map((name) => [name, service(name, mapOf(all[name]), { ...context, images })])
  )
  const used = (key: string): ReadonlySet<string> =>
    new Set(Object.values(services).flatMap((one) => namesUsed(one, key)))
  const parts = {
    networks: part(top, "networks", used("networks"), network(context)),
    volumes: part(top, "volumes", used("volumes"), volume(context)),
    secrets: part(top, "secrets", used("secrets"), file("secrets", context)),
    configs: part(top, "configs", used("configs"), file("configs", context))
  }
  const present = Object.entries(parts).filter(([, entries]) => Object.keys(entries).length > 0)
  return { document: { services, ...Object.fromEntries(present) }, ...remarks }
}

/** The services that are meant and those that they need, in the order of the file. */
const chosen = (all: Entries, { remarks: { problems }, wanted: { services } }: Context): ReadonlyArray<string> => {
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

const service = (
  name: string,
  from: Entries,
  context: Context & { readonly images: ReadonlyMap<string, string> }
): Entries => {
  const { images, remarks, wanted } = context
  const at = `services.${name}`
  const { build, image, labels, network_mode, volumes } = from
  const restart = restarting(from)
  limits.check(at, from, context)
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
      ...[
        "build",
        "container_name",
        "deploy",
        "develop",
        "env_file",
        "extends",
        "image",
        "labels",
        "networks",
        "ports"
      ],
      ...["profiles", "restart", "volumes"]
    ),
    ...(named === undefined ? {} : { image: named }),
    ...(build === undefined || build === null ? {} : { build: building(at, build, context) }),
    labels: labelled(labels, wanted.labels),
    ...(restart === undefined ? {} : { restart }),
    ...(isMap(from["deploy"]) ? { deploy: without(mapOf(from["deploy"]), "restart_policy") } : {}),
    ...(ports.length === 0 ? {} : { ports }),
    ...(shown.length === 0 ? {} : { volumes: shown }),
    ...(network_mode === undefined || network_mode === null ? { networks: joined(name, from, context) } : {})
  }
}

/**
 * When the engine starts it again, in the words of both keys that say so. What was halted on purpose must not come back with
 * the engine.
 */
const restarting = ({ deploy, restart }: Entries): unknown => {
  const { condition, max_attempts: attempts } = mapOf(mapOf(deploy)["restart_policy"])
  switch (condition ?? restart) {
    case "any":
    case "always":
      return "unless-stopped"
    case "none":
      return "no"
    case "on-failure":
      return condition === undefined || attempts === undefined ? "on-failure" : `on-failure:${attempts}`
    default:
      return condition ?? restart
  }
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
  { remarks: { warnings }, wanted }: Context
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
      // a build has secrets of its own
      return [...listOf(value), ...listOf(mapOf(mapOf(service)["build"])[key])].map((entry) =>
        String(mapOf(entry)["source"] ?? entry)
      )
  }
}
