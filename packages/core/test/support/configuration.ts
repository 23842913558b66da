/** Configurations for tests, made of plain values. */
import { Duration, Effect, FileSystem, Layer, Path } from "effect"
import * as Configuration from "../../src/Configuration.ts"
import type * as SandboxError from "../../src/SandboxError.ts"

export const providers = { local: { isolation: "none" }, docker: { isolation: "container" }, odd: {} } as const

const platform = Layer.merge(FileSystem.layerNoop({}), Path.layer)

/** Loads these layers where no repository is on this host. */
export const loadLayers = (
  layers: ReadonlyArray<Configuration.Source>,
  repository?: "path" | "url"
): Effect.Effect<Configuration.Effective, SandboxError.SandboxError> =>
  Effect.provide(Configuration.load(layers, { providers, repository }), platform)

/** Loads one project file that says this. */
export const load = (value: unknown, repository?: "path" | "url") =>
  loadLayers([{ name: "project", file: "/app/sandbox.yaml", value }], repository)

/** What a refusal names. */
export const problemsOf = ({ details = {} }: SandboxError.SandboxError) =>
  details["problems"] as ReadonlyArray<Configuration.Problem>

/** `path: message` of everything that is wrong, or nothing. */
export const problems = (value: unknown, repository?: "path" | "url") =>
  load(value, repository).pipe(
    Effect.map((): ReadonlyArray<string> => []),
    Effect.catch((error) => Effect.succeed(problemsOf(error).map(({ message, path }) => `${path}: ${message}`)))
  )

/** Of a value that was decoded, what can be compared. */
export const plain = (value: unknown): unknown => {
  if (Duration.isDuration(value)) return `${Duration.toMillis(value)}ms`
  if (Array.isArray(value)) return value.map(plain)
  if (typeof value !== "object" || value === null) return value
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, plain(inner)]))
}
