/** What a configuration means to the programs: their options and their settings. */
import { Duration, Layer } from "effect"
import * as Claim from "../Claim.ts"
import type { ComposeOptions, PortOptions, SecretOptions, ServiceOptions, SetupOptions, UpOptions } from "../Options.ts"
import { CallPolicy } from "../Provisioners.ts"
import { Limits } from "../Settings.ts"
import type { Configuration } from "./File.ts"

/** Leaves keys out that are undefined, as optional keys want it. */
const present = <A extends object>(value: A): { [K in keyof A]: Exclude<A[K], undefined> } =>
  Object.fromEntries(Object.entries(value).filter(([, inner]) => inner !== undefined)) as never

const list = (names: string | ReadonlyArray<string> | undefined): ReadonlyArray<string> =>
  names === undefined ? [] : typeof names === "string" ? [names] : names

const portsOf = ({
  extra_ports,
  name,
  port,
  port_env
}: Pick<
  Configuration["services"][number],
  "extra_ports" | "name" | "port" | "port_env"
>): ReadonlyArray<PortOptions> => [
  ...(port === undefined ? [] : [{ name, base: port, env: list(port_env) }]),
  ...extra_ports.map((extra) => ({ name: `${name}-${extra.name}`, base: extra.port, env: list(extra.port_env) }))
]

const healthOf = (health: Configuration["services"][number]["health"]): ServiceOptions["health"] => {
  if (typeof health === "string") return { kind: "http", path: health }
  if (health?.http !== undefined) return { kind: "http", path: health.http }
  if (health?.command !== undefined) return { kind: "command", command: health.command }
  return health?.tcp === true ? { kind: "tcp" } : undefined
}

const service = (from: Configuration["services"][number]): ServiceOptions => {
  const health = healthOf(from.health)
  return {
    name: from.name,
    command: from.command,
    env: from.env,
    ports: portsOf(from),
    deadlineS: from.health === undefined || typeof from.health === "string" ? 60 : from.health.timeout_s,
    primary: from.primary,
    ...(health === undefined ? {} : { health }),
    ...(from.cwd === undefined ? {} : { cwd: from.cwd }),
    ...(from.password_env === undefined ? {} : { passwordEnv: from.password_env }),
    ...(from.completes === undefined
      ? {}
      : { completes: from.completes === "exit" ? from.completes : { file: from.completes } })
  }
}

const compose = ({ file, services }: NonNullable<Configuration["compose"]>): ComposeOptions => ({
  files: list(file),
  services: services.map((from) => {
    const health = healthOf(from.health)
    const targets = [from.port === undefined ? [] : [from.target], from.extra_ports.map(({ target }) => target)].flat()
    return {
      name: from.name,
      ports: portsOf(from).map((port, index) => ({ ...port, ...present({ target: targets[index] }) })),
      hostEnv: list(from.host_env),
      deadlineS: from.health === undefined || typeof from.health === "string" ? 60 : from.health.timeout_s,
      ...(health === undefined ? {} : { health })
    }
  })
})

/** Where a secret is taken from: `env:NAME` or `file:path`. */
export const secretSource = (text: string, absolute: (path: string) => string): SecretOptions["from"] =>
  text.startsWith("file:") ? { file: absolute(text.slice("file:".length)) } : { env: text.slice("env:".length) }

/** What a session runs beside its checkout; `absolute` says what a path of a secret is relative to. */
export const setup = (configuration: Configuration, absolute: (path: string) => string): SetupOptions => {
  const { durability, env, github, hooks, inherit_env, sandbox, secrets, services, slots } = configuration
  return {
    services: services.map(service),
    ...(configuration.compose === undefined ? {} : { compose: compose(configuration.compose) }),
    hooks: present({
      preUp: hooks.pre_up,
      preSpawn: hooks.pre_spawn,
      postUp: hooks.post_up,
      preDown: hooks.pre_down,
      postDown: hooks.post_down,
      timeoutS: hooks.timeout_s
    }),
    env,
    inheritEnv: inherit_env.map((entry) => (typeof entry === "string" ? { file: entry } : entry)),
    secrets: secrets.map(({ from, name, to }) => ({ name, to, from: secretSource(from ?? `env:${name}`, absolute) })),
    keeping: {
      checkpoint: durability.checkpoint,
      include: durability.include,
      volume: durability.volume,
      autoTeardown: sandbox.auto_teardown,
      completedRetentionMins: sandbox.completed_retention_mins,
      ...present({ exportBranchPrefix: github.export_branch_prefix })
    },
    slots: { max: slots.max, stride: slots.stride, searchRange: slots.search_range, strict: slots.strict },
    ...(sandbox.web_base_url === undefined ? {} : { webBaseUrl: sandbox.web_base_url })
  }
}

/** What a box is made from: the chosen profile. */
export const spec = ({ sandbox }: Pick<Configuration, "sandbox">): NonNullable<UpOptions["spec"]> => {
  const { profile, profiles } = sandbox
  const chosen = profile !== undefined && Object.hasOwn(profiles, profile) ? profiles[profile] : undefined
  return present({ image: chosen?.image, cpus: chosen?.cpus, memory: chosen?.memory })
}

/** The settings of the programs that a configuration has a key for. */
export const settings = ({
  durability,
  list,
  timeouts
}: Pick<Configuration, "durability" | "list" | "timeouts">): Layer.Layer<never> => {
  const policy = CallPolicy.defaultValue()
  return Layer.mergeAll(
    Layer.succeed(CallPolicy)({
      provision: { ...policy.provision, limit: timeouts.provision },
      stop: { ...policy.stop, limit: timeouts.stop },
      look: { ...policy.look, limit: timeouts.look },
      workspace: { ...policy.workspace, limit: timeouts.workspace }
    }),
    Layer.succeed(Claim.Timings)({
      ...Claim.Timings.defaultValue(),
      lease: timeouts.lease,
      // a renewal that comes late twice must not lose the claim
      renewal: Duration.millis(Duration.toMillis(timeouts.lease) / 3),
      undo: timeouts.undo
    }),
    Layer.succeed(Limits)({
      ...Limits.defaultValue(),
      maxRecordBytes: durability.max_payload_bytes,
      recentWindow: list.recent_window
    })
  )
}
