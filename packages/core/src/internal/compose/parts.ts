/** Networks, volumes, secrets and configs of a document, each of the session's own: pure. */
import { type Entries, isExternal, isPath, labelled, listOf, mapOf, without } from "./document.ts"
import type { Context } from "./wanted.ts"

/** The entries of one kind that are used. One that the file does not describe is one with nothing to say of it. */
export const part = (
  top: Entries,
  key: string,
  used: ReadonlySet<string>,
  one: (name: string, from: Entries) => Entries
): Entries => {
  const all = mapOf(top[key])
  return Object.fromEntries([...used].map((name) => [name, one(name, mapOf(all[name]))]))
}

const shared = (field: string, { remarks: { warnings } }: Context): void =>
  void warnings.push({ field, message: "is external: every session has the same" })

/** What the engine calls something that is external. */
const nameOf = (name: string, { external, name: own }: Entries): string =>
  String(mapOf(external)["name"] ?? own ?? name)

export const network =
  (context: Context) =>
  (name: string, from: Entries): Entries => {
    const { remarks, wanted } = context
    if (name === "default" && wanted.network !== undefined) return { external: true, name: wanted.network }
    const at = `networks.${name}`
    if (isExternal(from)) {
      const called = nameOf(name, from)
      if (/^(host|bridge|none)$/.test(called)) {
        const message = `is the engine's own network ${called}, which is no session's`
        remarks.problems.push({ field: at, message })
      } else shared(at, context)
      return from
    }
    const driver = String(from["driver"] ?? "bridge")
    if (wanted.isolated === true && !/^(bridge|default|)$/.test(driver)) {
      remarks.problems.push({ field: `${at}.driver`, message: `${driver} would lead into networks of this host` })
    }
    const ipam = mapOf(from["ipam"])
    if (listOf(ipam["config"]).length > 0) {
      remarks.warnings.push({ field: `${at}.ipam`, message: "is left out: the engine chooses addresses that are free" })
    }
    const options = without(mapOf(from["driver_opts"]), "com.docker.network.bridge.name")
    return {
      ...without(from, "driver_opts", "ipam", "labels", "name"),
      ...(Object.keys(options).length === 0 ? {} : { driver_opts: options }),
      labels: labelled(from["labels"], wanted.labels)
    }
  }

export const volume =
  (context: Context) =>
  (name: string, from: Entries): Entries => {
    const { remarks, wanted } = context
    const at = `volumes.${name}`
    if (isExternal(from)) {
      shared(at, context)
      return from
    }
    const driver = String(from["driver"] ?? "local")
    if (wanted.isolated === true && !/^(local|default|)$/.test(driver)) {
      const message = `${driver} keeps it where only the engine knows: leave the driver out`
      remarks.problems.push({ field: `${at}.driver`, message })
    }
    mounted(`${at}.driver_opts`, mapOf(from["driver_opts"]), context)
    return { ...without(from, "labels", "name"), labels: labelled(from["labels"], wanted.labels) }
  }

/** What the engine is to mount as a volume: memory, somebody's export, or a directory that the session may show. */
const mounted = (field: string, { device, o, type }: Entries, { remarks, wanted }: Context): void => {
  if ([device, o, type].every((option) => option === undefined || option === null)) return
  const words = String(o ?? "").split(",")
  const isBind = words.includes("bind") || words.includes("rbind")
  const kind = String(type ?? "")
  const path = String(device ?? "")
  if (isBind && isPath(path) && wanted.network === undefined) {
    remarks.mounts.push({ field, path, readOnly: false })
  } else if (isBind) {
    const message = isPath(path)
      ? "is a directory of this host, where a box's checkout is only a copy: let the engine keep the volume"
      : "binds what is no path"
    remarks.problems.push({ field, message })
  } else if (!/^(tmpfs|nfs4?)$/.test(kind)) {
    const message = `mounts ${kind || "what has no type"}: it can be tmpfs, nfs or a directory of the checkout`
    remarks.problems.push({ field, message })
  } else if (kind !== "tmpfs") {
    remarks.warnings.push({ field, message: "has a device: every session has the same" })
  }
}

export const file =
  (kind: "secrets" | "configs", context: Context) =>
  (name: string, from: Entries): Entries => {
    const at = `${kind}.${name}`
    if (isExternal(from)) shared(at, context)
    if (from["file"] !== undefined)
      context.remarks.mounts.push({ field: at, path: String(from["file"]), readOnly: true })
    return isExternal(from) ? from : without(from, "name")
  }
