/**
 * The configuration: defaults, the user's file, the project's file, variables and flags, merged leaf by leaf.
 *
 * Layers come as plain values that know where in a file each of them stands; whoever reads files and YAML is not here.
 */
import { Effect, type FileSystem, type Path as Paths, Schema } from "effect"
import { decode, type Flaw } from "./Configuration/decode.ts"
import { type Configuration, File } from "./Configuration/File.ts"
import { formatPath, type Path, unknownKeys } from "./Configuration/keys.ts"
import { type Layer, leaves, merge, type Origin, originIn, originOf } from "./Configuration/layers.ts"
import { checkPaths } from "./Configuration/paths.ts"
import { check, type Surroundings } from "./Configuration/rules.ts"
import * as Repository from "./Repository.ts"
import * as SandboxError from "./SandboxError.ts"

export type { Configuration } from "./Configuration/File.ts"
export { formatPath, nearest, type Path, type ScalarKey, type Shape, scalars, shape } from "./Configuration/keys.ts"
export { type Layer, type LayerName, layerNames, leaves, type Origin, type Position } from "./Configuration/layers.ts"
export { secretSource, settings, setup, spec } from "./Configuration/meaning.ts"
export { type Declared, declared, nominal } from "./Configuration/ports.ts"
export { isolationOf, type Surroundings } from "./Configuration/rules.ts"
export { Memory, parseBytes } from "./Configuration/scalars.ts"

/** Something wrong or noteworthy, and where it was written. */
export interface Problem extends Origin {
  /** `services[1].port`; empty where a whole file is meant. */
  readonly path: string
  readonly message: string
}

/** A layer, or the part of one that could be read. */
export interface Source extends Layer {
  /** What kept the file from being read as it was meant. */
  readonly problems?: ReadonlyArray<{ readonly message: string; readonly line?: number; readonly column?: number }>
}

/** What holds, and where each part of it comes from. */
export interface Effective {
  readonly configuration: Configuration
  readonly warnings: ReadonlyArray<Problem>
  /** The lowest first. */
  readonly layers: ReadonlyArray<Source>
  readonly layerOf: (path: Path) => Layer | undefined
}

/** A configuration in which nothing is set. */
export const defaults: Configuration = Schema.decodeSync(File)({})

/**
 * The configuration that these layers make, the lowest first.
 *
 * Fails with `ERR_CONFIG_INVALID`, naming everything that is wrong and where. Nothing is changed, and of this host only
 * links of the repository's are looked at.
 */
export const load = Effect.fnUntraced(function* (
  layers: ReadonlyArray<Source>,
  /** `top`: the repository's directory on this host. */
  surroundings: Surroundings & { readonly top?: string | undefined }
): Effect.fn.Return<Effective, SandboxError.SandboxError, FileSystem.FileSystem | Paths.Path> {
  const merged = merge(layers)
  const { configuration, flaws, written } = decode(merged.value)
  const { problems: together, warnings } = check(configuration, surroundings)
  const rules = { problems: [...together, ...(yield* checkRepository(configuration))], warnings }
  const links = surroundings.top === undefined ? [] : yield* checkPaths(configuration, surroundings.top)
  const placed = ({ message, path }: Flaw): Problem => ({
    ...originOf(merged, path),
    path: formatPath(path),
    message
  })
  const moved = (flaw: Flaw): Flaw => ({ ...flaw, path: written(flaw.path) })
  const problems = [
    ...layers.flatMap(({ file, name, problems }) =>
      (problems ?? []).map((problem) => ({
        ...(file === undefined ? {} : { file }),
        ...problem,
        layer: name,
        path: ""
      }))
    ),
    ...flaws.map(placed),
    ...[...rules.problems, ...links]
      .map(moved)
      .filter(({ path }) => !isArgument(path, merged.layerOf(path)))
      .map(placed)
  ]
  if (problems.length > 0) return yield* invalid(problems)
  return {
    configuration,
    layers,
    layerOf: merged.layerOf,
    warnings: [
      ...layers.flatMap((layer) =>
        unknownKeys(layer.value).map(({ close, path }) => ({
          ...originIn(layer, path),
          path: formatPath(path),
          message: close === undefined ? "is unknown, and has no effect" : `is unknown; did you mean ${close}?`
        }))
      ),
      ...rules.warnings.map(placed)
    ]
  }
})

/** What git must not be given; never quotes it, because what is wrong may be a secret. */
const checkRepository = Effect.fnUntraced(function* ({ repo: { url } }: Configuration) {
  // a path is looked at once it is known what it is relative to
  if (url === undefined || /^\.{0,2}\//.test(url)) return []
  return yield* Repository.parse(url, "/").pipe(
    Effect.as<ReadonlyArray<Flaw>>([]),
    Effect.catch(({ message }) => Effect.succeed([{ path: ["repo", "url"], message: `is refused. ${message}` }]))
  )
})

/** What a command names for itself is its program's to refuse, in the words of the command. */
const isArgument = (path: Path, layer: Layer | undefined): boolean => {
  const key = formatPath(path)
  if (key === "provider") return !isWritten(layer)
  return layer?.name === "flags" && (key === "repo.branch" || key === "repo.base")
}

const isWritten = (layer: Layer | undefined): boolean => layer?.name === "user" || layer?.name === "project"

/** `services[1].port must be a port, 1 to 65535 (/app/sandbox.yaml:12:11)` */
export const describe = ({ column, file, line, message, path, source }: Problem): string => {
  const at = [file, line, column].filter((part) => part !== undefined).join(":")
  const where = at === "" ? source : at
  return `${[path, message].filter((part) => part !== "").join(" ")}${where === undefined ? "" : ` (${where})`}`
}

const invalid = (problems: ReadonlyArray<Problem>): SandboxError.SandboxError => {
  const [first] = problems
  const field = first?.source?.startsWith("--") ? first.source.slice(2) : first?.path
  const flags = problems.every(({ layer }) => layer === "flags")
  return SandboxError.make(flags ? "ERR_INVALID_ARGUMENT" : "ERR_CONFIG_INVALID", {
    message: `${problems.length === 1 ? "the configuration is not valid" : `the configuration has ${problems.length} problems`}: ${problems.map(describe).join("; ")}`,
    nextStep: flags ? "pass other flags" : "correct what is named, and look again with `sandbox validate`",
    details: { field, problems }
  })
}

/** Every leaf of what holds, with where it comes from, by path. */
export const provenance = (effective: Effective): Readonly<Record<string, Origin>> =>
  Object.fromEntries(
    leaves(encode(effective.configuration)).map(({ path }) => {
      const layer = effective.layerOf(path)
      return [formatPath(path), layer === undefined ? { layer: "default" as const } : originIn(layer, path)]
    })
  )

const encode = Schema.encodeSync(File)
const hidden = "<hidden>"

/** What holds, as a file would say it. Values of variables and providers' options are hidden: they may be secrets. */
export const shown = ({ configuration }: Effective): Readonly<Record<string, unknown>> => {
  const { env, providers, services, ...rest } = encode(configuration)
  const mask = (values: Readonly<Record<string, unknown>> | undefined) =>
    Object.fromEntries(Object.keys(values ?? {}).map((name) => [name, hidden]))
  return {
    ...rest,
    services: (services ?? []).map((service) => ({ ...service, env: mask(service.env) })),
    env: mask(env),
    providers: Object.fromEntries(
      Object.entries(providers ?? {}).map(([name, provider]) => [
        name,
        { ...provider, options: mask(provider.options) }
      ])
    )
  }
}

/** The keys as a JSON Schema, for editors. */
export const jsonSchema = (): Readonly<Record<string, unknown>> => {
  const { definitions, schema } = Schema.toJsonSchemaDocument(File, { onExcessProperty: "error" })
  return {
    $schema: "https://json-schema.org/draft/2020-12/schema",
    ...schema,
    ...(Object.keys(definitions).length === 0 ? {} : { $defs: definitions })
  }
}
