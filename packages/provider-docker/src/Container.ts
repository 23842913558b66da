/** What a box is as a container: what the engine is asked for, and whether it did all of that. */
import { boxVariables, labelNames } from "@org/sandbox-core/Provisioner"
import type { Spec } from "@org/sandbox-core/Session"
import { Schema } from "effect"
import type * as Engine from "./Engine.ts"
import { defaults, type Options } from "./Options.ts"

/** The one volume of a box, which has all that outlives its container. */
export const mount = "/sandbox"

/** Places in a box. */
export const places = { work: `${mount}/work`, run: `${mount}/run`, home: `${mount}/home` } as const

/** The variables of every command in a box. */
export const variables = { [boxVariables.workspace]: places.work, [boxVariables.run]: places.run } as const

/** The label that tells one box from a later one of the same key. */
export const boxLabel = "org.sandbox.docker.box"

/** The labels of everything of a box. */
export const labels = (box: { readonly id: string; readonly labels: Readonly<Record<string, string>> }) => ({
  ...box.labels,
  [boxLabel]: box.id
})

/** The label of a box's volume with what its container is made by, now and if it has to be made again. */
export const recipeLabel = "org.sandbox.docker.recipe"

/** What a container is made by. */
export const Recipe = Schema.Struct({
  image: Schema.String,
  cpus: Schema.Finite,
  memory: Schema.Int,
  pids: Schema.Int,
  /** `none`, `session`, or the name of a network that exists. */
  network: Schema.String,
  readOnlyRoot: Schema.Boolean,
  runtime: Schema.optionalKey(Schema.String),
  gpus: Schema.optionalKey(Schema.Union([Schema.Literal("all"), Schema.Int, Schema.Array(Schema.String)])),
  ports: Schema.Array(Schema.Struct({ port: Schema.Int, hostPort: Schema.optionalKey(Schema.Int) })),
  /** As the engine takes it. */
  user: Schema.String
})
export type Recipe = typeof Recipe.Type

/** What is asked for, filled up with what is configured and what a box gets anyway. */
export const limits = (spec: Spec, options: Options, engine: { readonly NCPU: number }) => ({
  cpus: spec.cpus ?? options.cpus ?? Math.min(defaults.cpus, engine.NCPU),
  memory: spec.memory ?? options.memory ?? defaults.memory,
  pids: options.pids ?? defaults.pids
})

/** What a box says once its first process does what it is there for. */
export const runs = "the box runs"

/**
 * Keeps a box running, and ends what runs in it before its own end: the engine kills at once whatever outlives the first
 * process. `kill -1` reaches all that this user may signal, but for itself and the init process.
 */
const keeper = `
command -v sleep >/dev/null || { echo 'the image has no sleep' >&2; exit 127; }
others() {
  for process in /proc/[0-9]*; do
    case $process in /proc/1|/proc/$$) ;; *) return 0 ;; esac
  done
  return 1
}
halt() {
  trap '' TERM
  kill -TERM -1 2>/dev/null
  tries=0
  while others && [ "$tries" -lt 50 ]; do tries=$((tries + 1)); sleep 0.1; done
  exit 0
}
trap halt TERM
echo '${runs}'
while :; do
  sleep 86400 &
  wait $!
done
`

/** How long a box may take to end what runs in it, in seconds; the keeper above gives up before that. */
export const grace = 10

const nano = 1e9

const devices = (gpus: Recipe["gpus"]) => {
  if (gpus === undefined) return {}
  const which = gpus === "all" ? { Count: -1 } : typeof gpus === "number" ? { Count: gpus } : { DeviceIDs: gpus }
  return { DeviceRequests: [{ ...which, Capabilities: [["gpu"]] }] }
}

/** What the engine calls the other parts of the box. */
export interface Parts {
  readonly network: string
  readonly volume: string
}

/** The home of a user that has none it may write to in the image. */
const home = ({ readOnlyRoot, user }: Recipe) => (/^\d/.test(user) || readOnlyRoot ? { HOME: places.home } : {})

/** The body of the create call. */
export const body = (
  recipe: Recipe,
  {
    labels,
    network,
    volume,
    volumeLabels
  }: Parts & {
    readonly labels: Readonly<Record<string, string>>
    readonly volumeLabels: Readonly<Record<string, string>>
  }
): Schema.Json => ({
  Image: recipe.image,
  Labels: labels,
  User: recipe.user,
  WorkingDir: mount,
  Env: Object.entries({ ...variables, SANDBOX_SESSION_ID: labels[labelNames.session] ?? "", ...home(recipe) }).map(
    ([name, value]) => `${name}=${value}`
  ),
  Entrypoint: ["sh", "-c", keeper],
  StopSignal: "SIGTERM",
  StopTimeout: grace,
  // an image's own check is one of its service, which is not what runs here
  Healthcheck: { Test: ["NONE"] },
  ExposedPorts: Object.fromEntries(recipe.ports.map(({ port }) => [`${port}/tcp`, {}])),
  HostConfig: {
    Init: true,
    CapDrop: ["ALL"],
    SecurityOpt: ["no-new-privileges:true"],
    Privileged: false,
    PidsLimit: recipe.pids,
    Memory: recipe.memory,
    // as much as memory: none of it is swap
    MemorySwap: recipe.memory,
    NanoCpus: Math.round(recipe.cpus * nano),
    ReadonlyRootfs: recipe.readOnlyRoot,
    ...(recipe.readOnlyRoot ? { Tmpfs: { "/tmp": "rw,nosuid,nodev,mode=1777" } } : {}),
    NetworkMode: network,
    PortBindings: Object.fromEntries(
      recipe.ports.map(({ hostPort, port }) => [
        `${port}/tcp`,
        [{ HostIp: "127.0.0.1", HostPort: hostPort === undefined ? "" : String(hostPort) }]
      ])
    ),
    RestartPolicy: { Name: "no" },
    LogConfig: { Type: "json-file", Config: { "max-size": "1m", "max-file": "2" } },
    // a volume that was removed in the meantime is made by this call, and must be found by its labels as well
    Mounts: [{ Type: "volume", Source: volume, Target: mount, VolumeOptions: { NoCopy: true, Labels: volumeLabels } }],
    ...(recipe.runtime === undefined ? {} : { Runtime: recipe.runtime }),
    ...devices(recipe.gpus)
  }
})

/** A volume without a name, which the engine makes for a place that an image says it keeps data in. */
const unnamed = /^volume [0-9a-f]{64} (?!\/sandbox(\/|$))/

/** The network of a container. Podman calls each that has a name `bridge`, and says beside it which it is. */
export const networkOf = ({ HostConfig, NetworkSettings }: Engine.Container): string => {
  const [joined, ...others] = Object.keys(NetworkSettings.Networks ?? {})
  const isSaidBeside = HostConfig.NetworkMode === "bridge" && joined !== undefined && others.length === 0
  return isSaidBeside ? joined : HostConfig.NetworkMode
}

const isOfItsOwn = (network: string, joined: string): boolean =>
  network === "session"
    ? !/^(host|default|bridge|podman|container:.*)$/.test(joined)
    : joined === network && !isShared(joined)

/** Whether a network is that of the host, or of another container. */
export const isShared = (network: string): boolean => network === "host" || network.startsWith("container:")

/** What containers have that nothing was said of: https://docs.docker.com/engine/security/#linux-kernel-capabilities */
const capabilities = [
  ...["AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD", "NET_BIND_SERVICE", "NET_RAW"],
  ...["SETFCAP", "SETGID", "SETPCAP", "SETUID", "SYS_CHROOT"]
]

/** Whether nothing is left of what containers have: Podman lists all of it instead of `ALL`. */
const isAll = (dropped: ReadonlyArray<string>): boolean => {
  const names = new Set(dropped.map((name) => name.replace(/^CAP_/, "")))
  return names.has("ALL") || capabilities.every((name) => names.has(name))
}

/** What the engine did not do of it, in words; an engine that leaves out a protection says so nowhere but here. */
export const deviations = (recipe: Recipe, volume: string, made: Engine.Container): ReadonlyArray<string> => {
  const { Config, HostConfig: host, Mounts } = made
  const mounts = Mounts.map(({ Destination, Name, Type }) => `${Type} ${Name ?? ""} ${Destination}`).filter(
    (text) => !unnamed.test(text)
  )
  const publics = Object.values(host.PortBindings ?? {})
    .flatMap((bindings) => bindings ?? [])
    .filter(({ HostIp }) => HostIp !== "127.0.0.1")
  const kept: ReadonlyArray<readonly [string, boolean]> = [
    [`a memory limit of ${recipe.memory} bytes`, host.Memory === recipe.memory],
    [`a limit of ${recipe.cpus} CPUs`, host.NanoCpus === Math.round(recipe.cpus * nano)],
    [`a limit of ${recipe.pids} processes`, host.PidsLimit === recipe.pids],
    ["no capabilities", isAll(host.CapDrop ?? []) && (host.CapAdd ?? []).length === 0],
    ["no new privileges", (host.SecurityOpt ?? []).some((option) => /^no-new-privileges(:true)?$/.test(option))],
    ["no privileges of the host", !host.Privileged],
    ["processes of its own", host.PidMode === "" || host.PidMode === "private"],
    ["shared memory of its own", host.IpcMode !== "host"],
    ["a network that is no other's", isOfItsOwn(recipe.network, networkOf(made))],
    ["a first process that collects others", host.Init === true],
    ["a root that is read-only", host.ReadonlyRootfs === recipe.readOnlyRoot],
    [`the user ${recipe.user}`, Config.User === recipe.user],
    ["ports of 127.0.0.1 alone", publics.length === 0],
    ["its own volume and nothing of the host", mounts.length === 1 && mounts[0] === `volume ${volume} ${mount}`],
    [`the runtime ${recipe.runtime}`, recipe.runtime === undefined || host.Runtime === recipe.runtime]
  ]
  return kept.flatMap(([what, isSo]) => (isSo ? [] : [what]))
}
