/**
 * Which configurations that came with a repository may run something on this host.
 *
 * A file is accepted by its digest: another word in it, and it has to be accepted again. What a configuration runs inside
 * a box that isolates needs no acceptance.
 */
import { Effect, FileSystem, Path, Random, Schema, Stream } from "effect"
import { type Effective, formatPath, isolationOf, leaves, type Surroundings } from "./Configuration.ts"
import { Hasher } from "./Hasher.ts"
import { Directories } from "./Host.ts"
import { hookKeys } from "./internal/hooks.ts"
import * as RepositoryLock from "./RepositoryLock.ts"
import * as SandboxError from "./SandboxError.ts"
import * as Setup from "./Setup.ts"
import * as Time from "./Time.ts"

/** A file that somebody else may have written, as it was read. */
export interface Claimed {
  /** An absolute path, or `<URL>#sandbox.yaml`. */
  readonly file: string
  /** SHA-256 of its bytes, hexadecimal. */
  readonly digest: string
}

/** An accepted file. */
export interface Accepted extends Claimed {
  /** Milliseconds since the epoch. */
  readonly acceptedAt: number
}

const Entry = Schema.Struct({ digest: Schema.String, acceptedAt: Schema.Int })
const Store = Schema.Struct({ version: Schema.Literal(1), files: Schema.Record(Schema.String, Entry) })
const decode = Schema.decodeUnknownEffect(Schema.fromJsonString(Store))
const encode = Schema.encodeSync(Schema.fromJsonString(Store))

/** One digest of several files that count together, each by its name and its own digest; null where there is none. */
export const digestOf = Effect.fnUntraced(function* (
  files: ReadonlyArray<readonly [name: string, digest: string | null]>
) {
  return yield* (yield* Hasher).sha256(Stream.make(new TextEncoder().encode(JSON.stringify(files))))
})

/** The parts of the project's configuration that would run on this host, or hand a value of it to somebody. */
export const runs = (
  effective: Effective,
  { builtin, provider }: { readonly builtin: Surroundings["providers"]; readonly provider: string | undefined }
): ReadonlyArray<string> => {
  const { configuration, layerOf } = effective
  const { compose, env, github, hooks, inherit_env, providers, secrets, services } = configuration
  const ours = (path: ReadonlyArray<string | number>): boolean => layerOf(path)?.name === "project"
  // a provider that nobody vouches for is taken to be one that does not isolate
  const isolated = provider !== undefined && (isolationOf(configuration, builtin, provider) ?? "none") !== "none"
  const onHost: ReadonlyArray<ReadonlyArray<string | number>> = [
    ...(["pre_up", "post_down"] as const).filter((name) => hooks[name] !== undefined).map((name) => ["hooks", name]),
    ...Object.entries(providers).flatMap(([name, { options, use }]) => [
      ...(use === undefined ? [] : [["providers", name, "use"]]),
      ...leaves(options).map(({ path }) => ["providers", name, "options", ...path])
    ]),
    ...secrets.map((_, index) => ["secrets", index]),
    ...(github.token_env === undefined ? [] : [["github", "token_env"]]),
    // what it describes runs on this host's engine, whatever box the session is in
    ...(compose === undefined ? [] : [["compose", "file"]]),
    // which file it is says the repository: one that git carries is `env` by another name
    ...inherit_env.map((_, index) => ["inherit_env", index])
  ]
  const inBox: ReadonlyArray<ReadonlyArray<string | number>> = [
    ...(["pre_spawn", "post_up", "pre_down"] as const)
      .filter((name) => hooks[name] !== undefined)
      .map((name) => ["hooks", name]),
    ...services.map((_, index) => ["services", index, "command"]),
    ...services.flatMap(({ health }, index) =>
      typeof health === "object" && health.command !== undefined ? [["services", index, "health", "command"]] : []
    ),
    ...Object.keys(env).map((name) => ["env", name])
  ]
  return [...onHost, ...(isolated ? [] : inBox)].filter(ours).map(formatPath)
}

/**
 * Fails with `ERR_CONFIG_UNTRUSTED`, listing the keys, when something of a file that was not accepted would run on this
 * host. `claimed` is the project's file; none when the user chose it.
 */
export const check = Effect.fnUntraced(function* (
  effective: Effective,
  options: {
    readonly claimed: Claimed | undefined
    readonly builtin: Surroundings["providers"]
    readonly provider: string | undefined
  }
) {
  const { claimed } = options
  if (claimed === undefined) return
  const keys = runs(effective, options)
  if (keys.length === 0 || (yield* isAccepted(claimed))) return
  return yield* untrusted(claimed, keys)
})

/**
 * The parts of a session's setup that run, or are set for what runs, wherever the session is. A provider that does not isolate
 * has them on this host.
 */
export const runsOf = ({ compose, env, hooks, inheritEnv, services }: Setup.Setup): ReadonlyArray<string> =>
  [
    ...Setup.hookNames.filter((name) => hooks[name] !== undefined).map((name) => ["hooks", hookKeys[name]]),
    ...(compose === undefined ? [] : [["compose", "file"]]),
    ...inheritEnv.map((_, index) => ["inherit_env", index]),
    // by name, because some of those that the file lists may have been left out
    ...services.map(({ name }) => ["services", name, "command"]),
    ...services.flatMap(({ health, name }) =>
      health?.kind === "command" ? [["services", name, "health", "command"]] : []
    ),
    ...Object.keys(env).map((name) => ["env", name])
  ].map(formatPath)

/** The refusal of a file that was not accepted. */
export const untrusted = ({ digest, file }: Claimed, keys: ReadonlyArray<string>): SandboxError.SandboxError => {
  const repository = file.replace(/\/sandbox\.yaml$/, "")
  const way = repository === file ? "" : `accept it with \`sandbox trust ${quoted(repository)}\`, or `
  return SandboxError.make("ERR_CONFIG_UNTRUSTED", {
    message: `${file} came with the repository, and has commands or sources for this host that were not accepted: ${keys.join(", ")}`,
    nextStep: `read it; then ${way}pass --trust-config`,
    details: { file, digest, runs: keys }
  })
}

const quoted = (path: string): string => (/^[\w@%+=:,./-]+$/.test(path) ? path : `'${path.replaceAll("'", "'\\''")}'`)

/** Whether all that a configuration runs may run on this host, so that its session may go to any provider. */
export const mayRunHere = Effect.fnUntraced(function* (
  effective: Effective,
  { builtin, claimed }: { readonly claimed: Claimed; readonly builtin: Surroundings["providers"] }
) {
  return runs(effective, { builtin, provider: undefined }).length === 0 || (yield* isAccepted(claimed))
})

export const isAccepted = Effect.fnUntraced(function* ({ digest, file }: Claimed) {
  const { files } = yield* read
  return Object.hasOwn(files, file) && files[file]?.digest === digest
})

/** Accepts a file as it was read. */
export const accept = Effect.fnUntraced(function* ({ digest, file }: Claimed) {
  const acceptedAt = yield* Time.millis
  yield* change((files) => ({ ...files, [file]: { digest, acceptedAt } }))
})

/** Takes an acceptance back, and answers whether there was one. */
export const revoke = Effect.fnUntraced(function* (file: string) {
  let found = false
  yield* change((files) => {
    found = Object.hasOwn(files, file)
    return Object.fromEntries(Object.entries(files).filter(([name]) => name !== file))
  })
  return found
})

/** Every accepted file, by name. */
export const accepted = Effect.gen(function* () {
  const { files } = yield* read
  return Object.entries(files)
    .map(([file, entry]): Accepted => ({ file, ...entry }))
    .sort((a, b) => (a.file < b.file ? -1 : 1))
})

const storeFile = Effect.gen(function* () {
  const path = yield* Path.Path
  return path.join((yield* Directories).state, "trusted.json")
})

const read = Effect.gen(function* () {
  const fs = yield* FileSystem.FileSystem
  const file = yield* storeFile
  const text = yield* fs.readFileString(file).pipe(
    Effect.catchIf(
      (error) => error.reason._tag === "NotFound",
      () => Effect.undefined
    ),
    Effect.mapError((error) => unusable(file, error.message))
  )
  if (text === undefined) return { version: 1 as const, files: {} }
  return yield* Effect.mapError(decode(text), () => unusable(file, "it does not hold what was written to it"))
})

/** Written beside and renamed into place under a lock, for its owner only. */
const change = Effect.fnUntraced(function* (
  use: (files: (typeof Store.Type)["files"]) => (typeof Store.Type)["files"]
) {
  const fs = yield* FileSystem.FileSystem
  const path = yield* Path.Path
  const file = yield* storeFile
  const failed = Effect.mapError((error: { readonly message: string }) => unusable(file, error.message))
  yield* fs.makeDirectory(path.dirname(file), { recursive: true, mode: 0o700 }).pipe(failed)
  yield* Effect.gen(function* () {
    const { files } = yield* read
    const staged = `${file}.${yield* Random.nextIntBetween(0, Number.MAX_SAFE_INTEGER)}.tmp`
    yield* Effect.gen(function* () {
      const open = yield* fs.open(staged, { flag: "wx", mode: 0o600 })
      yield* open.writeAll(new TextEncoder().encode(`${encode({ version: 1, files: use(files) })}\n`))
      yield* open.sync
    }).pipe(Effect.scoped, Effect.andThen(fs.rename(staged, file)), failed)
  }).pipe(RepositoryLock.withLock(`${file}.lock`))
})

const unusable = (file: string, why: string): SandboxError.SandboxError =>
  SandboxError.make("ERR_CONFIG_INVALID", {
    message: `the record of accepted configurations cannot be used (${file}): ${why}`,
    nextStep: `make ${file} readable and writable, or remove it and accept configurations again with \`sandbox trust\``,
    details: { file }
  })
