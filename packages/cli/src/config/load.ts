/** Everything that says how a command behaves, gathered from files, variables and flags. */
import { Git, Repository } from "@org/sandbox-core"
import * as Configuration from "@org/sandbox-core/Configuration"
import { Config, Effect, Layer, Option, Path } from "effect"
import * as Output from "../Output.ts"
import { builtin } from "../Providers.ts"
import * as compose from "./compose.ts"
import * as environment from "./environment.ts"
import * as files from "./files.ts"
import type { Loaded, Request } from "./Loaded.ts"
import * as registered from "./registered.ts"

/** A request in an environment. */
type Asked = Request & { readonly variables: environment.Variables }

/** Where a project's file comes from, and which repository is meant. */
interface Project {
  readonly layer: files.FileLayer | undefined
  readonly source: Repository.Source | undefined
  readonly repository: string
  readonly chosen: boolean
}

/** Loads the configuration. Fails with `ERR_CONFIG_INVALID` and everything that is wrong, or `ERR_CONFIG_MISSING`. */
export const load = Effect.fnUntraced(function* (request: Asked) {
  if (request.typedOnly === true) {
    const nowhere = { layer: undefined, source: undefined, repository: ".", chosen: false }
    return yield* loaded(request, [flagLayer(request.flags ?? [])], nowhere)
  }
  const userFile = yield* files.userFile(request.variables)
  const user = userFile === undefined ? undefined : yield* files.read("user", userFile)
  const above = [environment.layer(request.variables), flagLayer(request.flags ?? [])]
  const without = (source: Repository.Source | undefined) =>
    Configuration.load([...(user === undefined ? [] : [user]), ...above], surroundings(source))
  const project = yield* find(request, without)
  const layers = [user, project.layer, ...above].filter((layer) => layer !== undefined)
  return yield* loaded(request, layers, project)
})

const loaded = Effect.fnUntraced(function* (
  request: Asked,
  layers: ReadonlyArray<Configuration.Source>,
  project: Project
) {
  const path = yield* Path.Path
  const effective = yield* Configuration.load(layers, surroundings(project.source))
  const { layer } = project
  const repository = request.repository ?? named(effective, path)
  const { configuration } = effective
  const own = layer === undefined || project.chosen ? undefined : layer
  const composed = own === undefined ? undefined : yield* compose.digest(effective, own)
  const found = {
    effective,
    claimed: own === undefined ? undefined : { file: own.file, digest: yield* compose.together(own.digest, composed) },
    composed,
    repository: repository ?? project.repository,
    folderOf: (path: Configuration.Path) => effective.layerOf(path)?.folder
  }
  const trusted = request.accepted === true ? { ...found, claimed: undefined } : found
  const loaded: Loaded = {
    ...found,
    warnings: [...effective.warnings.map(Configuration.describe), ...environment.warnings(request.variables)],
    providers: registered.layer({ ...trusted, isTheirs: own !== undefined }),
    settings: Layer.merge(Configuration.settings(configuration), token(trusted))
  }
  return loaded
})

const surroundings = (source: Repository.Source | undefined) => ({
  providers: builtin,
  repository: source?._tag,
  top: source?._tag === "path" ? source.location : undefined
})

/** `repo.url`: a path that starts with a dot is relative to the file that says it. */
const named = (effective: Configuration.Effective, path: Path.Path): string | undefined => {
  const { url } = effective.configuration.repo
  const folder = effective.layerOf(["repo", "url"])?.folder
  return url !== undefined && folder !== undefined && /^\.{1,2}(\/|$)/.test(url) ? path.resolve(folder, url) : url
}

const flagLayer = (flags: NonNullable<Request["flags"]>): Configuration.Layer => {
  const given = flags.filter(([, , value]) => value !== undefined)
  const value: Record<string, unknown> = {}
  for (const [path, , set] of given) environment.put(value, path, set)
  const sources = new Map(given.map(([path, flag]) => [Configuration.formatPath(path), flag]))
  return { name: "flags", value, source: (path) => sources.get(Configuration.formatPath(path)) }
}

/** The project's file: the one the user chose, that of the working tree, or that of a remote branch. */
const find = Effect.fnUntraced(function* <E, R>(
  request: Asked,
  without: (source: Repository.Source | undefined) => Effect.Effect<Configuration.Effective, E, R>
) {
  const path = yield* Path.Path
  const chosen =
    request.ownOnly === true ? undefined : (request.config ?? (request.variables["SANDBOX_CONFIG"] || undefined))
  // what cannot be a repository is refused by the program; a shell may stand in a directory that was removed
  const cwd = Option.liftThrowable(path.resolve)(".")
  const parsed = (input: string) =>
    Option.match(cwd, {
      onNone: () => Effect.succeed(undefined),
      onSome: (cwd) => Effect.orElseSucceed(Repository.parse(input, cwd), () => undefined)
    })
  const found = (
    source: Repository.Source | undefined,
    layer: files.FileLayer | undefined,
    repository: string
  ): Project => ({ source, layer, repository, chosen: chosen !== undefined })

  if (chosen !== undefined) {
    const by = request.config === undefined ? "SANDBOX_CONFIG" : "--config"
    const layer = yield* files.readChosen(chosen, by)
    const repository = request.repository ?? "."
    return found(yield* parsed(repository), layer, repository)
  }
  if (request.repository === undefined) {
    const here = yield* parsed(".")
    const layer = here === undefined ? undefined : yield* files.read("project", yield* files.projectFile(here))
    if (layer !== undefined || request.remote === undefined) return found(here, layer, ".")
    const url = named(yield* without(undefined), path)
    if (url === undefined) return found(here, undefined, ".")
    return yield* of(url)
  }
  return yield* of(request.repository)

  function of(repository: string) {
    return Effect.gen(function* () {
      const source = yield* parsed(repository)
      if (source === undefined) return found(undefined, undefined, repository)
      if (source._tag === "path") {
        return found(source, yield* files.read("project", yield* files.projectFile(source)), repository)
      }
      if (request.remote === undefined) return found(source, undefined, repository)
      return found(source, yield* remote(source, yield* without(source), request.remote), repository)
    })
  }
})

/** The file at the commit that the branch has there. A branch that cannot be is left to the program. */
const remote = Effect.fnUntraced(function* (
  source: Repository.Source,
  { configuration: { github, repo } }: Configuration.Effective,
  { quiet, required = false }: NonNullable<Request["remote"]>
) {
  if ([repo.branch, repo.base].some((name) => name !== undefined && Repository.checkBranch(name) !== undefined)) {
    return undefined
  }
  if (!quiet) yield* Output.note(`reading the repository's ${files.projectName} …`)
  return yield* Effect.gen(function* () {
    const branch = repo.branch ?? (yield* Repository.defaultBranch(source))
    const { commit } = yield* Repository.resolve(source, { branch, base: repo.base })
    return yield* files.readRemote(source.location, commit)
  }).pipe(
    Effect.catchIf(
      (error) => !required && error.code === "ERR_REPO_UNRESOLVED" && !error.retryable,
      () => Effect.succeed(undefined)
    ),
    Effect.provide(credentials(github.token_env))
  )
})

/** A token that the project's file names is used once that was accepted, which the commands that make sessions check. */
const token = ({ claimed, effective }: Pick<Loaded, "claimed" | "effective">): Layer.Layer<never> =>
  claimed !== undefined && effective.layerOf(["github", "token_env"])?.name === "project"
    ? Layer.empty
    : credentials(effective.configuration.github.token_env)

/** The token for github.com from the variable that the configuration names. */
const credentials = (variable: string | undefined): Layer.Layer<never> =>
  variable === undefined
    ? Layer.empty
    : Layer.effect(Git.GitCredentials, Effect.orDie(Effect.option(Config.Redacted(variable))))
