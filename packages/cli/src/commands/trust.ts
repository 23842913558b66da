import { Repository, SandboxError } from "@org/sandbox-core"
import { Effect, FileSystem, Option, Path } from "effect"
import { Argument, Command, Flag } from "effect/cli"
import * as Output from "../Output.ts"
import { builtin } from "../Providers.ts"
import * as Render from "../Render.ts"
import { load, onPlatform, root } from "../root.ts"

const toggle = (name: string, description: string) =>
  Flag.Boolean(name).pipe(Flag.withDescription(description), Flag.withDefault(false))

export const trust = Command.make(
  "trust",
  {
    path: Argument.String("path").pipe(
      Argument.withDescription("A repository on this host, or its sandbox.yaml; the one here, when absent"),
      Argument.optional
    ),
    list: toggle("list", "Show what was accepted"),
    revoke: toggle("revoke", "Take the acceptance back")
  },
  ({ list, path, revoke }) =>
    Effect.gen(function* () {
      const { json } = yield* root
      if (list && (revoke || Option.isSome(path))) {
        return yield* SandboxError.make("ERR_INVALID_ARGUMENT", {
          message: "--list shows every file that was accepted, and takes neither a path nor --revoke",
          nextStep: "pass --list alone",
          details: { field: "list" }
        })
      }
      const place = Option.getOrElse(path, () => ".")
      const show = <A extends { readonly human: string }, R>(program: Effect.Effect<A, SandboxError.SandboxError, R>) =>
        Effect.flatMap(onPlatform(program), ({ human, ...value }) => Output.result(value, { json, human: () => human }))
      yield* list ? show(listed) : revoke ? show(revoked(place)) : show(accepted(place))
    })
).pipe(
  Command.withDescription(
    "Accept a repository's sandbox.yaml as it is now, so that its hooks, services, providers and secrets may use this host. Read it first; after any change it has to be accepted again."
  ),
  Command.withShortDescription("Accept a repository's sandbox.yaml"),
  Command.withExamples([
    { command: "sandbox trust", description: "Accept the file of the repository here" },
    { command: "sandbox trust --list", description: "What was accepted" }
  ])
)

const core = Effect.promise(() => import("@org/sandbox-core/Trust"))

const listed = Effect.gen(function* () {
  const Trust = yield* core
  const files = (yield* Trust.accepted).map(({ acceptedAt, digest, file }) => ({
    file,
    digest,
    acceptedAt: new Date(acceptedAt).toISOString()
  }))
  const rows = files.map(({ acceptedAt, digest, file }) => [file, digest.slice(0, 12), acceptedAt])
  return {
    files,
    warnings: [],
    human: files.length === 0 ? "Nothing was accepted." : Render.table([["FILE", "SHA256", "ACCEPTED"], ...rows])
  }
})

/** The file that a path means, whether it is there or not. */
const fileOf = Effect.fnUntraced(function* (place: string) {
  const path = yield* Path.Path
  const source = yield* Repository.parse(place, path.resolve("."))
  if (source._tag === "url") {
    return yield* SandboxError.make("ERR_INVALID_ARGUMENT", {
      message: `${source.location} is not on this host`,
      nextStep: "accept what a remote repository has with `sandbox up <url> --trust-config`",
      details: { field: "path" }
    })
  }
  const real = yield* Effect.orElseSucceed((yield* FileSystem.FileSystem).realPath(path.resolve(place)), () => place)
  return path.basename(real) === "sandbox.yaml" ? real : path.join(source.location, "sandbox.yaml")
})

const revoked = Effect.fnUntraced(function* (place: string) {
  const Trust = yield* core
  // what a remote repository had is known by its full name alone
  const file = place.endsWith("#sandbox.yaml") ? place : yield* fileOf(place)
  const found = yield* Trust.revoke(file)
  return {
    file,
    revoked: found,
    warnings: [],
    human: found ? `${file}  not trusted any more` : `${file}  was not trusted`
  }
})

const accepted = Effect.fnUntraced(function* (place: string) {
  const Trust = yield* core
  const path = yield* Path.Path
  const file = yield* fileOf(place)
  const { claimed, effective } = yield* load({ repository: path.dirname(file), ownOnly: true })
  if (claimed?.file !== file) {
    return yield* SandboxError.make("ERR_CONFIG_MISSING", {
      message: `there is no ${file}`,
      nextStep: "name a repository that has one, or make one with `sandbox init`",
      details: { field: "path", file }
    })
  }
  const runs = Trust.runs(effective, { builtin, provider: effective.configuration.provider })
  yield* Trust.accept(claimed)
  return {
    file,
    digest: claimed.digest,
    runs,
    warnings: [],
    human: [`${file}  trusted`, ...runs.map((key) => `  ${key}`)].join("\n")
  }
})
