/** What no single key can say: how the keys of a configuration go together. Pure; nothing on this host is looked at. */
import { Duration } from "effect"
import type { CommandLine } from "../Options.ts"
import * as Repository from "../Repository.ts"
import * as Setup from "../Setup.ts"
import type { Flaw } from "./decode.ts"
import type { Configuration } from "./File.ts"
import type { Path } from "./keys.ts"
import { portRules } from "./ports.ts"

/** What a configuration is held against. */
export interface Surroundings {
  /** The built-in providers, and how far each keeps a box from this host, where that is known. */
  readonly providers: Readonly<Record<string, { readonly isolation?: "none" | "container" | "vm" | undefined }>>
  /** Whether the repository is on this host. */
  readonly repository?: "path" | "url" | undefined
}

/** What is wrong, and what is only worth a warning. */
export interface Findings {
  readonly problems: ReadonlyArray<Flaw>
  readonly warnings: ReadonlyArray<Flaw>
}

export const check = (configuration: Configuration, surroundings: Surroundings): Findings => {
  const found = [
    general(configuration, surroundings),
    ...configuration.services.map((service, index) => serviceRules(service, ["services", index])),
    compose(configuration),
    together(configuration),
    variables(configuration),
    hooks(configuration, surroundings),
    portRules(configuration)
  ]
  return {
    problems: found.flatMap(({ problems }) => problems),
    warnings: found.flatMap(({ warnings }) => warnings)
  }
}

const collect = (): Findings & {
  readonly problem: (path: Path, message: string) => void
  readonly warning: (path: Path, message: string) => void
} => {
  const problems: Array<Flaw> = []
  const warnings: Array<Flaw> = []
  return {
    problems,
    warnings,
    problem: (path, message) => void problems.push({ path, message }),
    warning: (path, message) => void warnings.push({ path, message })
  }
}

const listed = (names: Iterable<string>): string => [...names].join(", ") || "(none)"

const general = (configuration: Configuration, { providers: builtin, repository }: Surroundings): Findings => {
  const { problem, warning, ...findings } = collect()
  const { control_plane_url, durability, github, inherit_env, provider, providers, repo, sandbox, slots, timeouts } =
    configuration
  const names = new Set([...Object.keys(builtin), ...Object.keys(providers)])
  if (control_plane_url !== undefined) {
    problem(["control_plane_url"], "is set, and a control plane is not supported by this version: leave the key out")
  }
  if (provider !== undefined && !names.has(provider)) {
    problem(["provider"], `is no provider that is registered: use one of ${listed(names)}, or add it to providers`)
  }
  for (const [name, { use }] of Object.entries(providers)) {
    checkName(["providers", name], name, problem)
    if (use === undefined && !Object.hasOwn(builtin, name)) {
      problem(
        ["providers", name],
        `has no use, and there is no built-in provider of that name: ${listed(Object.keys(builtin))}`
      )
    }
  }
  for (const name of Object.keys(sandbox.profiles)) checkName(["sandbox", "profiles", name], name, problem)
  if (sandbox.profile !== undefined && !Object.hasOwn(sandbox.profiles, sandbox.profile)) {
    problem(["sandbox", "profile"], `is none of sandbox.profiles: ${listed(Object.keys(sandbox.profiles))}`)
  }
  const isolation = provider === undefined ? undefined : isolationOf(configuration, builtin, provider)
  if (sandbox.mode === "host" && isolation !== undefined && isolation !== "none") {
    problem(
      ["sandbox", "mode"],
      `is host, and provider ${provider} keeps its boxes apart from this host (${isolation})`
    )
  }
  if (sandbox.mode === "container" && isolation === "none") {
    problem(["sandbox", "mode"], `is container, and provider ${provider} does not isolate: commands run on this host`)
  }
  for (const key of ["branch", "base"] as const) {
    const wrong = repo[key] === undefined ? undefined : Repository.checkBranch(repo[key])
    if (wrong !== undefined) problem(["repo", key], `is no name that git takes. ${wrong}`)
  }
  const prefix = github.export_branch_prefix
  const unfit = prefix === undefined ? undefined : Repository.checkBranch(`${prefix}x`)
  if (unfit !== undefined) problem(["github", "export_branch_prefix"], `is no start of a branch's name. ${unfit}`)
  durability.include.forEach((pattern, index) => {
    if (/[\r\n]/.test(pattern)) problem(["durability", "include", index], "must be one pattern, on one line")
  })
  if (sandbox.web_base_url !== undefined && !Setup.isWebTemplate(sandbox.web_base_url)) {
    problem(["sandbox", "web_base_url"], "is no web address: write it as http://host:{port} or https://{name}.host")
  }
  if (Duration.isLessThan(timeouts.lease, Duration.seconds(3))) {
    problem(["timeouts", "lease"], "must be 3s or more: it has to be renewed in time")
  }
  if (slots.max > 64) warning(["slots", "max"], "is more than 64: every slot keeps ports of this host to itself")
  if (repository === "url" && inherit_env.length > 0) {
    warning(["inherit_env"], "has no effect: the repository is a URL, and has no such files on this host")
  }
  return findings
}

/** How far a provider keeps its boxes from this host, where that is known without loading it. */
export const isolationOf = (
  { providers }: Pick<Configuration, "providers">,
  builtin: Surroundings["providers"],
  name: string
): "none" | "container" | "vm" | undefined => {
  const used = (Object.hasOwn(providers, name) ? providers[name]?.use : undefined) ?? name
  return Object.hasOwn(builtin, used) ? builtin[used]?.isolation : undefined
}

const checkName = (path: Path, name: string, problem: (path: Path, message: string) => void): void => {
  if (!/^[a-z0-9][a-z0-9_-]*$/.test(name)) {
    problem(path, "must be called by lower-case letters, digits, hyphens and underscores, with a letter or digit first")
  }
}

const says = (command: CommandLine): boolean =>
  typeof command === "string" ? command.trim() !== "" : (command[0] ?? "").trim() !== ""

const serviceRules = (service: Configuration["services"][number], at: Path): Findings => {
  const { problem, warning, ...findings } = collect()
  const { command, completes, cwd, port } = service
  if (!says(command)) problem([...at, "command"], "is empty, and cannot run")
  if (cwd !== undefined && leaves(cwd)) problem([...at, "cwd"], "must be a path below the checkout")
  if (completes !== undefined && leaves(completes)) {
    problem([...at, "completes"], "must be exit, or the path of a file below the checkout")
  }
  if (service.primary && port === undefined) problem([...at, "primary"], "needs the service to have a port")
  return both(findings, reachRules(service, at))
}

const both = (one: Findings, other: Findings): Findings => ({
  problems: [...one.problems, ...other.problems],
  warnings: [...one.warnings, ...other.warnings]
})

/** What a service's ports and its health have to do with each other, whatever runs it. */
const reachRules = (
  service: Pick<Configuration["services"][number], "extra_ports" | "health" | "port" | "port_env"> & {
    readonly host_env?: unknown
  },
  at: Path
): Findings => {
  const { problem, warning, ...findings } = collect()
  const { health, port } = service
  for (const key of ["port_env", "host_env"] as const) {
    if (port === undefined && service[key] !== undefined) problem([...at, key], "needs the service to have a port")
  }
  if (port === undefined && service.extra_ports.length > 0) {
    problem([...at, "extra_ports"], "needs the service to have a port of its own")
  }
  if (health === undefined) return findings
  const path = typeof health === "string" ? health : health.http
  if (path !== undefined && !path.startsWith("/")) {
    problem([...at, "health", ...(typeof health === "string" ? [] : ["http"])], "must be a path that starts with /")
  }
  const kinds =
    typeof health === "string"
      ? ["http"]
      : (["http", "tcp", "command"] as const).filter((kind) => health[kind] !== undefined)
  if (kinds.length !== 1) problem([...at, "health"], "must have exactly one of http, tcp and command")
  if (port === undefined && kinds.some((kind) => kind !== "command")) {
    problem([...at, "health"], "needs the service to have a port")
  }
  if (typeof health !== "string" && health.command !== undefined && !says(health.command)) {
    problem([...at, "health", "command"], "is empty, and cannot run")
  }
  return findings
}

/** Every compose file, with where the configuration says it. */
export const composeFiles = (
  compose: Configuration["compose"]
): ReadonlyArray<{ readonly file: string; readonly path: Path }> => {
  const file = compose?.file ?? []
  return typeof file === "string"
    ? [{ file, path: ["compose", "file"] }]
    : file.map((one, index) => ({ file: one, path: ["compose", "file", index] }))
}

const compose = ({ compose }: Configuration): Findings => {
  const { problem, warning, ...findings } = collect()
  if (compose === undefined) return findings
  const files = composeFiles(compose)
  if (files.length === 0) problem(["compose", "file"], "names no file")
  for (const { file, path } of files) {
    if (leaves(file)) problem(path, "must be a path in the repository")
  }
  return compose.services.reduce((all, service, index) => {
    const at = ["compose", "services", index]
    const targeted: Findings =
      service.target !== undefined && service.port === undefined
        ? { problems: [{ path: [...at, "target"], message: "needs the service to have a port" }], warnings: [] }
        : { problems: [], warnings: [] }
    return both(all, both(targeted, reachRules(service, at)))
  }, findings as Findings)
}

/** Whether a relative path ends outside of what it is relative to, or is none. */
export const leaves = (path: string): boolean => {
  if (path.startsWith("/") || path.includes("\0")) return true
  let depth = 0
  for (const part of path.split("/")) {
    if (part === "..") depth -= 1
    else if (part !== "" && part !== ".") depth += 1
    if (depth < 0) return true
  }
  return false
}

const together = ({ compose, inherit_env, secrets, services }: Configuration): Findings => {
  const { problem, warning, ...findings } = collect()
  const first = (names: ReadonlyArray<string>, index: number): number => names.indexOf(names[index] ?? "")
  const names = services.map(({ name }) => name)
  const primaries = services.flatMap(({ primary }, index) => (primary ? [index] : []))
  names.forEach((name, index) => {
    if (first(names, index) < index) {
      problem(["services", index, "name"], `is the name of services[${first(names, index)}] too: ${name}`)
    }
  })
  const all = [...names, ...(compose?.services ?? []).map(({ name }) => name)]
  all.forEach((name, at) => {
    if (at < names.length || first(all, at) === at) return
    const index = first(all, at)
    const other = index < names.length ? `services[${index}]` : `compose.services[${index - names.length}]`
    problem(["compose", "services", at - names.length, "name"], `is the name of ${other} too: ${name}`)
  })
  for (const index of primaries.slice(1)) {
    problem(["services", index, "primary"], `is true for services[${primaries[0]}] already, and one service can be it`)
  }
  const secretNames = secrets.map(({ name }) => name)
  secretNames.forEach((name, index) => {
    if (first(secretNames, index) < index) {
      problem(["secrets", index, "name"], `is the name of secrets[${first(secretNames, index)}] too: ${name}`)
    }
  })
  inherit_env.forEach((entry, index) => {
    const at: Path = ["inherit_env", index, ...(typeof entry === "string" ? [] : ["file"])]
    if (leaves(typeof entry === "string" ? entry : entry.file)) problem(at, "must be a path in the repository")
  })
  return findings
}

const variables = ({ env, services }: Configuration): Findings => {
  const { problem, warning, ...findings } = collect()
  const maps: ReadonlyArray<readonly [Path, Readonly<Record<string, string>>]> = [
    [["env"], env],
    ...services.map(({ env }, index) => [["services", index, "env"], env] as const)
  ]
  for (const [at, map] of maps) {
    for (const name of Object.keys(map)) {
      if (!/^[A-Za-z_][A-Za-z0-9_]*$/.test(name)) problem([...at, name], "is no name of an environment variable")
      else if (name.startsWith("SANDBOX_"))
        problem([...at, name], "starts with SANDBOX_, which is kept for our own variables")
    }
  }
  return findings
}

const hooks = ({ hooks }: Configuration, { repository }: Surroundings): Findings => {
  const { problem, warning, ...findings } = collect()
  for (const key of ["pre_up", "pre_spawn", "post_up", "pre_down", "post_down"] as const) {
    const command = hooks[key]
    if (command === undefined) continue
    if (!says(command)) problem(["hooks", key], "is empty, and cannot run")
    else if (repository === "url" && (key === "pre_up" || key === "post_down")) {
      problem(["hooks", key], "cannot run: it runs in the repository on this host, and the repository is a URL")
    }
  }
  return findings
}
