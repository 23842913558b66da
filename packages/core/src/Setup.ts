/**
 * What a session runs beside its checkout, with every default filled in: services, hooks, environment, secrets, slots.
 *
 * It is recorded with the session. Secrets are recorded by name and source, never by value.
 */
import { Effect, Schema } from "effect"
import type * as Options from "./Options.ts"

const withDefault =
  <A>(value: A) =>
  <S extends Schema.Top & { readonly Encoded: A }>(schema: S) =>
    Schema.withDecodingDefaultKey(Effect.succeed(value) as Effect.Effect<S["Encoded"]>)(schema)

const CommandLine = Schema.Union([Schema.String, Schema.Array(Schema.String)])
const Variables = Schema.Record(Schema.String, Schema.String)

export const Port = Schema.Struct({
  name: Schema.String,
  base: Schema.Int,
  env: Schema.Array(Schema.String).pipe(withDefault<ReadonlyArray<string>>([]))
})
export type Port = typeof Port.Type

export const HealthCheck = Schema.Union([
  Schema.Struct({ kind: Schema.Literal("http"), path: Schema.String }),
  Schema.Struct({ kind: Schema.Literal("tcp") }),
  Schema.Struct({ kind: Schema.Literal("command"), command: CommandLine })
])
export type HealthCheck = typeof HealthCheck.Type

export const Service = Schema.Struct({
  name: Schema.String,
  command: CommandLine,
  cwd: Schema.optionalKey(Schema.String),
  env: Variables.pipe(withDefault({})),
  ports: Schema.Array(Port).pipe(withDefault<ReadonlyArray<typeof Port.Encoded>>([])),
  health: Schema.optionalKey(HealthCheck),
  deadlineS: Schema.Finite.pipe(withDefault(60)),
  primary: Schema.Boolean.pipe(withDefault(false)),
  passwordEnv: Schema.optionalKey(Schema.String),
  completes: Schema.optionalKey(Schema.Union([Schema.Literal("exit"), Schema.Struct({ file: Schema.String })]))
})
export type Service = typeof Service.Type

export const ComposePort = Schema.Struct({ ...Port.fields, target: Schema.optionalKey(Schema.Int) })
export type ComposePort = typeof ComposePort.Type

export const ComposeService = Schema.Struct({
  name: Schema.String,
  ports: Schema.Array(ComposePort).pipe(withDefault<ReadonlyArray<typeof ComposePort.Encoded>>([])),
  hostEnv: Schema.Array(Schema.String).pipe(withDefault<ReadonlyArray<string>>([])),
  health: Schema.optionalKey(HealthCheck),
  deadlineS: Schema.Finite.pipe(withDefault(60))
})
export type ComposeService = typeof ComposeService.Type

/** Containers beside the session, from compose files of its checkout. */
export const Compose = Schema.Struct({
  files: Schema.Array(Schema.String),
  services: Schema.Array(ComposeService).pipe(withDefault<ReadonlyArray<typeof ComposeService.Encoded>>([])),
  digest: Schema.optionalKey(Schema.String)
})
export type Compose = typeof Compose.Type

export const hookNames = ["preUp", "preSpawn", "postUp", "preDown", "postDown"] as const
export type HookName = (typeof hookNames)[number]

export const Hooks = Schema.Struct({
  preUp: Schema.optionalKey(CommandLine),
  preSpawn: Schema.optionalKey(CommandLine),
  postUp: Schema.optionalKey(CommandLine),
  preDown: Schema.optionalKey(CommandLine),
  postDown: Schema.optionalKey(CommandLine),
  timeoutS: Schema.Finite.pipe(withDefault(60))
})

export const Inherit = Schema.Struct({
  file: Schema.String,
  mode: Schema.Literals(["symlink", "copy"]).pipe(withDefault<"symlink" | "copy">("symlink"))
})

export const Secret = Schema.Struct({
  name: Schema.String,
  from: Schema.Union([Schema.Struct({ env: Schema.String }), Schema.Struct({ file: Schema.String })]),
  to: Schema.Literals(["env", "file"]).pipe(withDefault<"env" | "file">("env"))
})
export type Secret = typeof Secret.Type

export const Slots = Schema.Struct({
  max: Schema.Int.pipe(withDefault(8)),
  stride: Schema.Int.pipe(withDefault(1)),
  searchRange: Schema.Int.pipe(withDefault(10)),
  strict: Schema.Boolean.pipe(withDefault(false))
})

/** What is kept of the session's work, and how long the session itself. */
export const Keeping = Schema.Struct({
  /** `on_down`: halting saves the work. `manual`: only what was asked for is saved, and halting saves the record. */
  checkpoint: Schema.Literals(["on_down", "manual"]).pipe(withDefault<"on_down" | "manual">("on_down")),
  /** Files that git ignores and checkpoints take along all the same: patterns as in `.gitignore`. */
  include: Schema.Array(Schema.String).pipe(withDefault<ReadonlyArray<string>>([])),
  /** `persist`: what the box has on its disk outside the checkout is wanted too, and no checkpoint has that. */
  volume: Schema.Literals(["ephemeral", "persist"]).pipe(withDefault<"ephemeral" | "persist">("ephemeral")),
  /** Destroy the session some time after it was completed, once all of it is saved. */
  autoTeardown: Schema.Boolean.pipe(withDefault(true)),
  /** Minutes from completion until then. */
  completedRetentionMins: Schema.Finite.pipe(withDefault(60)),
  /** What the name of an export's branch starts with, unless the branch is given. */
  exportBranchPrefix: Schema.String.pipe(withDefault("sandbox/"))
})
export type Keeping = typeof Keeping.Type

export const Setup = Schema.Struct({
  services: Schema.Array(Service).pipe(withDefault<ReadonlyArray<typeof Service.Encoded>>([])),
  compose: Schema.optionalKey(Compose),
  hooks: Hooks.pipe(withDefault({})),
  env: Variables.pipe(withDefault({})),
  inheritEnv: Schema.Array(Inherit).pipe(withDefault<ReadonlyArray<typeof Inherit.Encoded>>([])),
  secrets: Schema.Array(Secret).pipe(withDefault<ReadonlyArray<typeof Secret.Encoded>>([])),
  slots: Slots.pipe(withDefault({})),
  keeping: Keeping.pipe(withDefault({})),
  /** `{port}`, `{name}` and `{slot}` are filled in. */
  webBaseUrl: Schema.optionalKey(Schema.String),
  /** Take over the worktree that has the branch already. */
  reuseWorktree: Schema.Boolean.pipe(withDefault(false)),
  /** Commits of history that a clone gets; all, when absent. */
  depth: Schema.optionalKey(Schema.Int),
  /** Ports that were asked for by number, by name; they are taken as they are. */
  fixedPorts: Schema.Record(Schema.String, Schema.Int).pipe(withDefault({})),
  /** Whether it may also run where a box does not isolate: nobody has accepted what only was to run in one that does. */
  accepted: Schema.Boolean.pipe(withDefault(true))
})
export type Setup = typeof Setup.Type

/** A setup with its defaults. What callers may write and what is decoded here are the same, or this does not compile. */
export const from = (options: Options.SetupOptions): Setup => Schema.decodeSync(Setup)(options)

const untold = Schema.decodeSync(Keeping)({})

/** What is kept of a session, also of one that asked for nothing. */
export const keeping = (setup: Setup | null): Keeping => setup?.keeping ?? untold

/** Every port that the setup declares. */
export const ports = (setup: Pick<Setup, "compose" | "services">): ReadonlyArray<Port> =>
  [...setup.services, ...(setup.compose?.services ?? [])].flatMap((service) => service.ports)

/** The service whose URL is the session's. */
export const primary = (setup: Setup): Service | undefined =>
  setup.services.find((service) => service.primary) ?? setup.services.find((service) => service.ports.length > 0)

/** The variable with the password that the primary service wants; none when it wants none. */
export const passwordEnv = (setup: Setup | null): string | null =>
  (setup === null ? undefined : primary(setup)?.passwordEnv) ?? null

/** The variable that carries the number of a port. */
export const portVariable = (name: string): string => `SANDBOX_${name.toUpperCase().replaceAll(/[^A-Z0-9]/g, "_")}_PORT`

/** The variable that carries where a compose service is reached. */
export const hostVariable = (service: string): string => portVariable(service).replace(/_PORT$/, "_HOST")

/** The address of a session in a web of its own, such as `https://{name}.dev.example.com`. */
export const webAddress = (
  template: string,
  session: { readonly name: string; readonly slot: number | null; readonly port: number }
): string =>
  template
    .replaceAll("{name}", session.name)
    .replaceAll("{slot}", String(session.slot ?? ""))
    .replaceAll("{port}", String(session.port))

/** Whether a template makes addresses that a browser opens. */
export const isWebTemplate = (template: string): boolean => {
  const address = webAddress(template, { name: "n", slot: 1, port: 1 })
  return URL.canParse(address) && ["http:", "https:"].includes(new URL(address).protocol)
}

/** Whether there is anything to do for it at all. */
export const isEmpty = (setup: Setup): boolean =>
  !setup.reuseWorktree &&
  JSON.stringify(setup.keeping) === JSON.stringify(untold) &&
  setup.depth === undefined &&
  setup.services.length === 0 &&
  setup.compose === undefined &&
  setup.inheritEnv.length === 0 &&
  setup.secrets.length === 0 &&
  Object.keys(setup.env).length === 0 &&
  hookNames.every((name) => setup.hooks[name] === undefined)
