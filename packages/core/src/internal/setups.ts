/** The setup of a new session: what was configured, with what was asked for on top, checked before anything is done. */
import { Effect, Schema } from "effect"
import { leaves } from "../Configuration/rules.ts"
import * as Dotenv from "../Dotenv.ts"
import type { UpOptions } from "../Options.ts"
import * as SandboxError from "../SandboxError.ts"
import * as Setup from "../Setup.ts"

/** The options that are part of what makes two requests the same. */
export const explicit = ({ depth, inheritEnv, ports, reuseWorktree, secrets, services, skip }: UpOptions) => ({
  depth,
  inheritEnv,
  ports,
  reuseWorktree,
  secrets,
  services,
  skip
})

/** The setup that is recorded; none where there is nothing to do. */
export const effective = Effect.fnUntraced(function* (options: UpOptions) {
  const { depth } = options
  if (depth !== undefined && !(Number.isInteger(depth) && depth >= 1)) {
    return yield* invalid(
      "depth",
      `a clone cannot have ${depth} commits`,
      "pass a whole number of at least 1 as --depth"
    )
  }
  const configured = yield* decode(options.setup ?? {})
  yield* checkServices(configured.services)
  if (configured.compose !== undefined) yield* checkCompose(configured, configured.compose)
  const wanted = yield* select(configured, options)
  const extra = (yield* decode({ secrets: options.secrets ?? [] })).secrets
  const names = new Set(extra.map(({ name }) => name))
  const { compose, ...rest } = configured
  const setup: Setup.Setup = {
    ...rest,
    ...wanted,
    inheritEnv: options.inheritEnv === false ? [] : configured.inheritEnv,
    secrets: [...configured.secrets.filter(({ name }) => !names.has(name)), ...extra],
    fixedPorts: options.ports ?? {},
    reuseWorktree: options.reuseWorktree ?? false,
    ...(depth === undefined ? {} : { depth })
  }
  yield* checkPorts(setup)
  yield* checkVariables(setup)
  const { webBaseUrl: address } = setup
  if (address !== undefined && !Setup.isWebTemplate(address)) {
    return yield* invalid(
      "web_base_url",
      `${JSON.stringify(address)} is no web address`,
      "write it as http://host:{port} or https://{name}.host"
    )
  }
  return Setup.isEmpty(setup) ? null : setup
})

const invalid = (field: string, message: string, nextStep: string) =>
  SandboxError.make("ERR_INVALID_ARGUMENT", { message, nextStep, details: { field } })

const decode = (options: unknown) =>
  Effect.mapError(Schema.decodeUnknownEffect(Setup.Setup)(options), (error) =>
    invalid("setup", `the setup is not valid: ${String(error)}`, "correct what is named")
  )

const serviceName = /^[a-z0-9][a-z0-9_-]{0,62}$/

const checkServices = Effect.fnUntraced(function* (services: ReadonlyArray<Setup.Service>) {
  const seen = new Set<string>()
  for (const { command, completes, health, name, ports } of services) {
    if (!serviceName.test(name)) {
      return yield* invalid(
        "services",
        `the service name ${JSON.stringify(name)} is not 1 to 63 lower-case letters, digits, hyphens and underscores`,
        "give it another name"
      )
    }
    if (seen.has(name)) return yield* invalid("services", `two services are called ${name}`, "rename one of them")
    seen.add(name)
    if (command.length === 0 || command[0] === "") {
      return yield* invalid("services", `the service ${name} has no command`, "say what to run")
    }
    if (typeof completes === "object" && (completes.file === "" || leaves(completes.file))) {
      return yield* invalid(
        "services",
        `the file by which ${name} completes the session is not below the checkout`,
        "name one relative to the checkout"
      )
    }
    if (ports.length === 0 && (health?.kind === "http" || health?.kind === "tcp")) {
      return yield* invalid(
        "services",
        `the health of ${name} is asked at its port, and it has none`,
        "declare a port, or check with a command"
      )
    }
  }
  if (services.filter(({ primary }) => primary).length > 1) {
    return yield* invalid("services", "more than one service is the primary one", "leave `primary` at one of them")
  }
})

const checkCompose = Effect.fnUntraced(function* (
  { services }: Setup.Setup,
  { files, services: containers }: Setup.Compose
) {
  const outside = files.find((file) => file === "" || leaves(file))
  if (files.length === 0 || outside !== undefined) {
    const what =
      outside === undefined ? "no compose file is named" : `the compose file ${outside} is not in the checkout`
    return yield* invalid("compose.file", what, "name one relative to the checkout")
  }
  const seen = new Set(services.map(({ name }) => name))
  for (const { health, name, ports } of containers) {
    if (!serviceName.test(name)) {
      return yield* invalid("compose.services", `${JSON.stringify(name)} is no name of a service here`, "rename it")
    }
    if (seen.has(name)) {
      return yield* invalid("compose.services", `two services are called ${name}`, "rename one of them")
    }
    seen.add(name)
    if (ports.length > 0 || (health?.kind !== "http" && health?.kind !== "tcp")) continue
    return yield* invalid(
      "compose.services",
      `the health of ${name} is asked at its port, and it has none`,
      "declare a port, or check with a command"
    )
  }
})

/** `services` and `skip` by name; one that does not exist is a mistake and not an empty choice. */
const select = Effect.fnUntraced(function* ({ compose, services }: Setup.Setup, options: UpOptions) {
  const names = [...services, ...(compose?.services ?? [])].map(({ name }) => name)
  for (const field of ["services", "skip"] as const) {
    const unknown = options[field]?.find((name) => !names.includes(name))
    if (unknown === undefined) continue
    return yield* invalid(
      field,
      `there is no service ${unknown}`,
      names.length === 0 ? "the setup has no services" : `the setup has ${names.join(", ")}`
    )
  }
  const isWanted = ({ name }: { readonly name: string }) =>
    (options.services?.includes(name) ?? true) && !(options.skip?.includes(name) ?? false)
  const containers = compose?.services.filter(isWanted) ?? []
  // none of those that are named is none; where none is named, all are meant
  const none = compose === undefined || (compose.services.length > 0 && containers.length === 0)
  return {
    services: services.filter(isWanted),
    ...(none ? {} : { compose: { ...compose, services: containers } })
  }
})

const isPort = (port: number): boolean => Number.isInteger(port) && port >= 1 && port <= 65_535

const checkPorts = Effect.fnUntraced(function* (setup: Setup.Setup) {
  const declared = Setup.ports(setup)
  const names = declared.map(({ name }) => name)
  const twice = names.find((name, at) => names.indexOf(name) !== at)
  if (twice !== undefined) return yield* invalid("services", `two ports are called ${twice}`, "rename one of them")
  const bad = declared.find(({ base }) => !isPort(base))
  if (bad !== undefined) {
    return yield* invalid("services", `the port ${bad.name} cannot be ${bad.base}`, "choose one from 1 to 65535")
  }
  const { max, searchRange, stride } = setup.slots
  if (max < 1 || stride < 1 || searchRange < 0) {
    return yield* invalid("slots", "slots need a max and a stride of at least 1", "correct `slots`")
  }
  const chosen = new Map<number, string>()
  for (const [name, port] of Object.entries(setup.fixedPorts)) {
    if (!names.includes(name)) {
      const known = names.length === 0 ? "the setup declares no ports" : `the setup declares ${names.join(", ")}`
      return yield* invalid("ports", `there is no port ${name}`, known)
    }
    if (!isPort(port))
      return yield* invalid("ports", `the port ${name} cannot be ${port}`, "choose one from 1 to 65535")
    const other = chosen.get(port)
    if (other !== undefined) {
      return yield* invalid("ports", `${other} and ${name} cannot both have port ${port}`, "choose another for one")
    }
    chosen.set(port, name)
  }
})

/** Whether a variable may be set by a setup: the names that start with ours are ours. */
const isFree = (name: string): boolean => Dotenv.isName(name) && !name.startsWith("SANDBOX_")

const checkVariables = Effect.fnUntraced(function* (setup: Setup.Setup) {
  const wanted = [
    ...Object.keys(setup.env).map((name) => ["env", name] as const),
    ...(setup.compose?.services ?? []).flatMap(({ hostEnv, ports }) =>
      [...hostEnv, ...ports.flatMap((port) => port.env)].map((name) => ["compose.services", name] as const)
    ),
    ...setup.services.flatMap(({ env, passwordEnv, ports }) =>
      [
        ...Object.keys(env),
        ...ports.flatMap((port) => port.env),
        ...(passwordEnv === undefined ? [] : [passwordEnv])
      ].map((name) => ["services", name] as const)
    ),
    ...setup.secrets.map(({ name }) => ["secrets", name] as const)
  ]
  const bad = wanted.find(([, name]) => !isFree(name))
  if (bad === undefined) return
  return yield* invalid(
    bad[0],
    `${JSON.stringify(bad[1])} cannot be the name of an environment variable here`,
    "use letters, digits and underscores, and no name that starts with SANDBOX_"
  )
})
