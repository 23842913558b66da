/** What a service asks of the engine that leads out of its containers, to this host or to containers of others: pure. */
import { isMap } from "../../Configuration/keys.ts"
import { type Entries, listOf, mapOf, type Remark } from "./document.ts"
import type { Context } from "./wanted.ts"

/** Refuses what would give a service this host; beside a box that isolates also whatever is not known to be harmless. */
export const check = (at: string, service: Entries, { remarks, wanted }: Context): void => {
  const refuse = ({ field, message }: Remark) => remarks.problems.push({ field: `${at}.${field}`, message })
  for (const found of beyond(service)) refuse(found)
  if (wanted.isolated === true) {
    for (const found of beyondBox(service)) refuse(found)
    return
  }
  const added = listOf(service["cap_add"])
  if (added.length > 0) {
    const message = `gives it ${added.join(", ")}, with which it may reach this host`
    remarks.warnings.push({ field: `${at}.cap_add`, message })
  }
}

/** Whether a key is there and asks for something. */
const isSet = (value: unknown): boolean =>
  isMap(value)
    ? Object.keys(value).length > 0
    : Array.isArray(value)
      ? value.length > 0
      : value !== undefined && value !== null && value !== false && value !== "" && value !== "false"

/** Each of them would make the container, or a part of it, one of the host's own. */
const keys: Readonly<Record<string, string>> = {
  privileged: "would give it all of this host",
  devices: "would give it devices of this host",
  device_cgroup_rules: "would give it devices of this host",
  use_api_socket: "would give it the engine, and with that this host",
  provider: "would run a program on this host"
}

/** Namespaces, and the modes of them that stay among the session's own services. */
const namespaces = ["pid", "ipc", "uts", "userns_mode", "cgroup"]
const ownMode = /^(|none|private|shareable|service:.*)$/

const beyond = (service: Entries): ReadonlyArray<Remark> => {
  const network = String(service["network_mode"] ?? "")
  const hooks = [...listOf(service["post_start"]), ...listOf(service["pre_stop"])]
  return [
    ...Object.entries(keys).flatMap(([field, message]) => (isSet(service[field]) ? [{ field, message }] : [])),
    ...namespaces.flatMap((field) => {
      const mode = String(service[field] ?? "")
      return ownMode.test(mode) ? [] : [{ field, message: `${mode} would leave the session's own containers` }]
    }),
    ...(/^(|none|bridge|default|service:.*)$/.test(network)
      ? []
      : [{ field: "network_mode", message: `${network} would leave the session's own network` }]),
    ...listOf(service["security_opt"])
      .map(String)
      .filter((option) => !keeps.test(option))
      .map((option) => ({ field: "security_opt", message: `${option} may take away what keeps it from this host` })),
    ...(hooks.some((hook) => isSet(mapOf(hook)["privileged"]))
      ? [{ field: "post_start", message: "privileged would give it all of this host" }]
      : []),
    ...["privileged", "entitlements"]
      .filter((key) => isSet(mapOf(service["build"])[key]))
      .map((key) => ({ field: `build.${key}`, message: "would give its build all of this host" }))
  ]
}

/** Options that give nothing up; a profile of one's own can allow anything. */
const keeps =
  /^(no-new-privileges([:=]true)?|seccomp[:=]builtin|apparmor[:=](?!unconfined$)[\w-]+|label[:=](user|role|level):[\w.:,-]+)$/

/** What stays in a container, or is looked at here by its value. Compose learns new keys, and some of them lead to the host. */
const harmless = new Set(
  `attach blkio_config build cap_add cap_drop cgroup command configs container_name cpu_count cpu_percent cpu_period cpu_quota
   cpu_rt_period cpu_rt_runtime cpu_shares cpus cpuset depends_on deploy develop device_cgroup_rules devices dns dns_opt
   dns_search domainname entrypoint env_file environment expose extends external_links extra_hosts group_add healthcheck
   hostname image init ipc labels links logging mac_address mem_limit mem_reservation mem_swappiness memswap_limit
   network_mode networks oom_kill_disable pid pids_limit platform ports post_start pre_stop privileged profiles provider
   pull_policy read_only restart scale secrets security_opt shm_size stdin_open stop_grace_period stop_signal storage_opt
   sysctls tmpfs tty ulimits use_api_socket user userns_mode uts volumes volumes_from working_dir`.split(/\s+/)
)

/** The engine keeps what a service writes to these; others send it somewhere in the engine's own name. */
const ownLogs = /^(|json-file|local|none|journald)$/

const beyondBox = (service: Entries): ReadonlyArray<Remark> => {
  const build = mapOf(service["build"])
  const reserved = mapOf(mapOf(mapOf(service["deploy"])["resources"])["reservations"])
  const context = typeof service["build"] === "string" ? service["build"] : build["context"]
  const network = String(build["network"] ?? "")
  const driver = String(mapOf(service["logging"])["driver"] ?? "")
  const others = listOf(service["volumes_from"]).map(String)
  const found: ReadonlyArray<readonly [field: string, is: boolean, message: string]> = [
    ["cap_add", isSet(service["cap_add"]), "would give it more of this host than a box has"],
    ["deploy.resources", isSet(reserved["devices"]), "would give it devices of this host"],
    ["logging", !ownLogs.test(driver), `${driver} has the engine send what it writes to others`],
    ["external_links", isSet(service["external_links"]), "leads to containers that are not the session's"],
    [
      "volumes_from",
      others.some((from) => from.startsWith("container:")),
      "shows it what containers have that are not the session's"
    ],
    ["build.ssh", isSet(build["ssh"]), "would lend its build your keys"],
    ["build.network", /^(host|container:.*)$/.test(network), `${network} would leave the session's own network`],
    ["build.context", isSet(context) && !isLocal(String(context)), "is fetched with what this host knows of you"]
  ]
  return [
    ...found.flatMap(([field, is, message]) => (is ? [{ field, message }] : [])),
    ...Object.keys(service)
      .filter((key) => !harmless.has(key) && !key.startsWith("x-") && isSet(service[key]))
      .map((field) => ({ field, message: "is not known to keep it from this host" }))
  ]
}

const isLocal = (context: string): boolean => /^[/.~]/.test(context)
