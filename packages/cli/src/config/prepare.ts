/** From the flags of `up` and a configuration to what the program is asked for. */
import { Ledger, type Options, SandboxError, type Session } from "@org/sandbox-core"
import * as Configuration from "@org/sandbox-core/Configuration"
import * as Trust from "@org/sandbox-core/Trust"
import { Duration, Effect, Option, Path } from "effect"
import * as Output from "../Output.ts"
import { builtin } from "../Providers.ts"
import type { Loaded } from "./Loaded.ts"

/** The flags of `up` that are no key of the configuration. */
export interface UpFlags {
  readonly name: Option.Option<string>
  readonly fromCheckpoint: Option.Option<string>
  readonly parent: Option.Option<string>
  readonly ttl: Option.Option<Duration.Duration>
  readonly profile: Option.Option<string>
  readonly image: Option.Option<string>
  readonly cpus: Option.Option<number>
  readonly memory: Option.Option<string>
  readonly services: ReadonlyArray<string>
  readonly skip: ReadonlyArray<string>
  readonly port: ReadonlyArray<string>
  readonly secret: ReadonlyArray<string>
  readonly reuseWorktree: boolean
  readonly noInheritEnv: boolean
  readonly open: boolean
  readonly trustConfig: boolean
  readonly clientRequestId: Option.Option<string>
  readonly wait: boolean
}

const invalid = (field: string, message: string, nextStep: string, more: Readonly<Record<string, unknown>> = {}) =>
  SandboxError.make("ERR_INVALID_ARGUMENT", { message, nextStep, details: { field, ...more } })

/**
 * What `up` is asked for, once the configuration may run on this host what it would run there. Nothing of it is run for a
 * request that has made a session already: then what is configured comes from that session's record.
 */
export const prepare = Effect.fnUntraced(function* (loaded: Loaded, flags: UpFlags, made: Session.Session | undefined) {
  const { claimed, effective, warnings } = loaded
  const path = yield* Path.Path
  if (Option.isNone(Option.liftThrowable(path.resolve)("."))) {
    return yield* invalid("repository", "the current directory is there no more", "change into one that exists")
  }
  const registered = [...new Set([...Object.keys(builtin), ...Object.keys(effective.configuration.providers)])]
  const typed = effective.layerOf(["provider"])?.name === "flags"
  const provider = made === undefined || typed ? effective.configuration.provider : made.provider
  if (provider === undefined) {
    return yield* SandboxError.make("ERR_INVALID_ARGUMENT", {
      message: "no provider was chosen",
      nextStep: `choose one with --provider or SANDBOX_PROVIDER: ${registered.join(", ")}`,
      details: { field: "provider", registered }
    })
  }
  const options = { ...(yield* upOptions(loaded, flags, made)), provider }
  for (const warning of warnings) yield* Output.note(`warning: ${warning}`)
  if (made !== undefined || claimed === undefined) return { options, warnings, accepting: undefined }
  if (!flags.trustConfig) yield* Trust.check(effective, { claimed, builtin, provider })
  // what runs in a box that isolates has not been accepted for one that does not
  const accepted = flags.trustConfig || (yield* Trust.mayRunHere(effective, { builtin, claimed }))
  // a record that cannot be used is refused before anything is made
  const accepting = flags.trustConfig && !(yield* Trust.isAccepted(claimed)) ? claimed : undefined
  return { options: { ...options, setup: { ...options.setup, accepted } }, warnings, accepting }
})

/** Runs a program that accepts the project's file once it has made a session: a refusal changes nothing. */
export const accepts = Effect.fnUntraced(function* <A, E, R>(claimed: Trust.Claimed, program: Effect.Effect<A, E, R>) {
  const ledger = yield* Ledger.Ledger
  const context = yield* Effect.context<Effect.Services<ReturnType<typeof Trust.accept>>>()
  const accept = Trust.accept(claimed).pipe(
    Effect.provideContext(context),
    // the session is there, and what it runs was accepted for it
    Effect.catch(({ message }) => Output.note(`warning: ${message}`))
  )
  const reserve: typeof ledger.reserve = (reservation) => Effect.tap(ledger.reserve(reservation), accept)
  return yield* Effect.provideService(program, Ledger.Ledger, { ...ledger, reserve })
})

const upOptions = Effect.fnUntraced(function* (loaded: Loaded, flags: UpFlags, made: Session.Session | undefined) {
  const path = yield* Path.Path
  const { configuration } = loaded.effective
  const { repo } = configuration
  const declared = [...configuration.services, ...(configuration.compose?.services ?? [])]
  const known = made === undefined ? declared.map(({ name }) => name) : undefined
  const services = yield* named("services", flags.services, known)
  const skip = yield* named("skip", flags.skip, known)
  const folder = loaded.folderOf(["secrets"])
  const from = yield* Effect.forEach(flags.secret, (text) => secret(text, (file) => path.resolve(file)))
  /** Whether it was typed, and not configured. */
  const isTyped = (...path: ReadonlyArray<string>) => loaded.effective.layerOf(path)?.name === "flags"
  const { base, branch, depth } = repo
  const profile = Configuration.spec(configuration)
  const chosen = isTyped("sandbox", "profile")
  const lost = !chosen && Option.isSome(flags.profile)
  const spec = {
    ...(chosen ? profile : {}),
    // what the profile said then; with one that is typed the record has nothing else in it
    ...(lost ? made?.spec : {}),
    ...optional("image", flags.image),
    ...optional("cpus", yield* cpusOf(flags.cpus)),
    ...optional("memory", yield* memoryOf(flags.memory))
  }
  const ports = yield* portsOf(flags.port)
  const options: Omit<Options.UpOptions, "provider"> = {
    repository: loaded.repository,
    ...(isTyped("repo", "branch") ? { branch } : {}),
    ...(isTyped("repo", "base") ? { base } : {}),
    ...(isTyped("repo", "depth") ? { depth } : {}),
    defaults: {
      ...(isTyped("repo", "branch") ? {} : { branch }),
      ...(isTyped("repo", "base") ? {} : { base }),
      ...(isTyped("repo", "depth") ? {} : { depth }),
      ...(chosen ? {} : { spec: profile })
    },
    name: Option.getOrUndefined(flags.name),
    fromCheckpoint: Option.getOrUndefined(flags.fromCheckpoint),
    parent: Option.getOrUndefined(flags.parent),
    ttl: Option.getOrUndefined(Option.map(flags.ttl, Duration.toMillis)),
    spec: Object.keys(spec).length === 0 ? undefined : spec,
    setup: withDigest(
      Configuration.setup(configuration, (file) =>
        folder === undefined ? path.resolve(file) : path.resolve(folder, file)
      ),
      loaded.composed
    ),
    services: flags.services.length === 0 ? undefined : services,
    skip: flags.skip.length === 0 ? undefined : skip,
    ports: flags.port.length === 0 ? undefined : ports,
    secrets: flags.secret.length === 0 ? undefined : from,
    reuseWorktree: flags.reuseWorktree || undefined,
    inheritEnv: flags.noInheritEnv ? false : undefined,
    open: flags.open || undefined,
    clientRequestId: Option.getOrUndefined(flags.clientRequestId),
    wait: flags.wait
  }
  return options
})

/** What runs is what was read beside the project's file, and accepted with it. */
const withDigest = (setup: Options.SetupOptions, digest: string | undefined): Options.SetupOptions =>
  setup.compose === undefined || digest === undefined ? setup : { ...setup, compose: { ...setup.compose, digest } }

const optional = <K extends string, A>(key: K, value: Option.Option<A>): { readonly [P in K]?: A } =>
  Option.isNone(value) ? {} : ({ [key]: value.value } as { readonly [P in K]: A })

const cpusOf = (cpus: Option.Option<number>) =>
  Option.exists(cpus, (count) => count <= 0)
    ? Effect.fail(invalid("cpus", "--cpus cannot be 0 or less", "pass more than 0"))
    : Effect.succeed(cpus)

const memoryOf = (text: Option.Option<string>) => {
  const bytes = Option.flatMap(text, Configuration.parseBytes)
  return Option.isSome(text) && Option.isNone(bytes)
    ? Effect.fail(
        invalid("memory", `--memory cannot be ${JSON.stringify(text.value)}`, "pass a size such as 512m or 8g")
      )
    : Effect.succeed(bytes)
}

/** The names in `a,b`, all of them known where it is said what is. */
const named = Effect.fnUntraced(function* (
  flag: string,
  texts: ReadonlyArray<string>,
  known: ReadonlyArray<string> | undefined
) {
  const names = texts.flatMap((text) => text.split(",")).map((name) => name.trim())
  const unknown = names.find((name) => known?.includes(name) === false)
  if (unknown === undefined || known === undefined) return names
  const close = Configuration.nearest(unknown, known)
  return yield* invalid(
    flag,
    `there is no service ${JSON.stringify(unknown)}${close === undefined ? "" : `; did you mean ${close}?`}`,
    known.length === 0
      ? `leave --${flag} out: the configuration has no services`
      : `name services of the configuration: ${known.join(", ")}`,
    { known }
  )
})

/** `name=n`, each name once. */
const portsOf = Effect.fnUntraced(function* (texts: ReadonlyArray<string>) {
  const ports: Record<string, number> = {}
  for (const text of texts) {
    const [, name, number] = /^([a-z0-9][a-z0-9_-]*)=(\d{1,5})$/.exec(text) ?? []
    if (name === undefined || Number(number) < 1 || Number(number) > 65_535) {
      return yield* invalid("port", `--port cannot be ${JSON.stringify(text)}`, "pass it as <name>=<1 to 65535>")
    }
    if (Object.hasOwn(ports, name)) return yield* invalid("port", `--port names ${name} twice`, "pass it once")
    ports[name] = Number(number)
  }
  return ports
})

/** `NAME`, `NAME=env:OTHER` or `NAME=file:path`. What is wrong is never quoted: it may be the secret itself. */
const secret = Effect.fnUntraced(function* (text: string, absolute: (path: string) => string) {
  const at = text.indexOf("=")
  const name = at < 0 ? text : text.slice(0, at)
  const from = at < 0 ? `env:${name}` : text.slice(at + 1)
  if (!/^[A-Za-z_][A-Za-z0-9_]*$/.test(name) || !/^(env:[A-Za-z_][A-Za-z0-9_]*|file:.*\S.*)$/.test(from)) {
    return yield* invalid(
      "secret",
      "--secret has neither of the forms that it can have",
      "pass the name of an environment variable as NAME or NAME=env:OTHER, or a file as NAME=file:<path>; never the value"
    )
  }
  return { name, from: Configuration.secretSource(from, absolute) }
})
