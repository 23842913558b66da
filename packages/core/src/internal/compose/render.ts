/** From the compose files of a checkout to a document of the session's own. */
import { Effect, FileSystem, Option, Path, Schema } from "effect"
import { leaves } from "../../Configuration/rules.ts"
import * as SandboxError from "../../SandboxError.ts"
import type { Session } from "../../Session.ts"
import type * as Setup from "../../Setup.ts"
import { Yaml } from "../../Yaml.ts"
import { redact } from "../secrets.ts"
import * as accepted from "./accepted.ts"
import * as mounts from "./mounts.ts"
import { projectOf } from "./record.ts"
import { references } from "./references.ts"
import { rewrite } from "./rewrite.ts"
import * as tool from "./tool.ts"
import type { Rewritten, Wanted } from "./wanted.ts"

export interface Rendering {
  readonly row: Session
  readonly compose: Setup.Compose
  /** The checkout, on this host. */
  readonly checkout: string
  readonly command: tool.Compose
  /** What is filled in. */
  readonly variables: Readonly<Record<string, string>>
  /** What no message may show. */
  readonly hidden: ReadonlyArray<string>
  readonly wanted: Omit<Wanted, "project">
  /** The digest of the files that the session was first brought up with, where no others may be. */
  readonly first: string | undefined
}

/** The document, and the digest of the files that it was made of. */
export interface Rendered extends Rewritten {
  readonly digest: string
}

/** Renders the document. Nothing of the engine is asked, and nothing is written. */
export const render = Effect.fnUntraced(function* (rendering: Rendering) {
  const { checkout, command, compose, first, hidden, row, variables, wanted } = rendering
  const files = yield* Effect.forEach(compose.files, (file) => located(checkout, file))
  const digest = yield* accepted.digestOf(compose, files)
  yield* accepted.check({ row, compose, digest, first })
  for (const [index, file] of files.entries()) yield* selfContained(rendering, compose.files[index]!, file)
  yield* dotenv(rendering)
  const project = projectOf(row.id)
  const asked = yield* tool.run(
    [
      ...command.argv,
      ...["--project-name", project, "--project-directory", checkout],
      ...files.flatMap((file) => ["--file", file]),
      // which of its profiles are meant is seen by the services that are named
      ...(command.version === 2 ? ["--profile", "*"] : []),
      "config",
      ...(command.version === 2 ? ["--format", "json"] : [])
    ],
    { session: row.id, cwd: checkout, env: variables }
  )
  if (asked?.code !== 0) {
    return yield* refused(
      compose.files[0] ?? "",
      `${command.argv.join(" ")} refuses it: ${redact(said(asked?.output ?? ""), hidden)}`
    )
  }
  const unreadable = () => refused(compose.files[0] ?? "", `${command.argv.join(" ")} answered what cannot be read`)
  const resolved = yield* command.version === 2
    ? Effect.mapError(decodeJson(asked.stdout), unreadable)
    : Effect.mapError((yield* Yaml)(asked.stdout), unreadable)
  const rewritten = rewrite(resolved, { ...wanted, project })
  const shown = yield* mounts.judge({ session: row.id, checkout, isolated: wanted.isolated === true }, rewritten.mounts)
  const [problem] = [...rewritten.problems, ...shown.problems]
  if (problem !== undefined) return yield* refused(problem.field, problem.message)
  return { ...rewritten, digest, warnings: [...rewritten.warnings, ...shown.warnings] } satisfies Rendered
})

const decodeJson = Schema.decodeUnknownEffect(Schema.fromJsonString(Schema.Unknown))

const refused = (field: string, message: string) =>
  SandboxError.make("ERR_CONFIG_INVALID", {
    message: `compose: ${field} ${message}`,
    nextStep:
      "correct the compose file, leave the service out with `compose.services`, or run it yourself, outside of the session",
    details: { field, compose: true }
  })

/** What a tool complains about, on one line. */
const said = (output: string): string =>
  output
    .split("\n")
    .map((line) => line.trim())
    .filter((line) => line !== "" && !/level=warning|^WARNING:/i.test(line))
    .slice(-5)
    .join(" ") || "it does not say why"

/** The real path of a file of the checkout. */
export const located = Effect.fnUntraced(function* (checkout: string, file: string) {
  const fs = yield* FileSystem.FileSystem
  const path = yield* Path.Path
  if (leaves(file)) return yield* refused(file, "is not in the repository")
  const real = (one: string) => Effect.option(fs.realPath(one))
  const root = Option.getOrElse(yield* real(checkout), () => checkout)
  const found = Option.getOrUndefined(yield* real(path.join(root, file)))
  if (found === undefined) return yield* refused(file, "is not in the checkout: is it committed on this branch?")
  if (!mounts.isInside(path, root, found)) return yield* refused(file, "leads out of the repository, through a link")
  return found
})

/** Refuses a file that draws in what nobody has accepted, or what is not in the checkout. */
const selfContained = Effect.fnUntraced(function* ({ checkout }: Rendering, name: string, file: string) {
  const fs = yield* FileSystem.FileSystem
  const path = yield* Path.Path
  const text = yield* Effect.mapError(fs.readFileString(file), (error) => refused(name, error.message))
  const document = yield* Effect.mapError((yield* Yaml)(text), ({ message }) =>
    refused(name, `is no valid YAML: ${message}`)
  )
  const { files, others } = references(document)
  const [other] = others
  if (other !== undefined) {
    return yield* refused(other.field, `draws in ${other.path}: name it in compose.file, beside ${name}`)
  }
  for (const reference of files) {
    if (reference.path.includes("$")) return yield* refused(reference.field, "must be a plain path")
    // relative to the project, which is the checkout
    const target = path.resolve(checkout, reference.path)
    if (!(yield* mounts.isOfCheckout(checkout, target)))
      return yield* refused(reference.field, "is not in the repository")
  }
})

/** `.env`, which both tools read by themselves. One that was inherited leads to the repository, unless a box has written it. */
const dotenv = Effect.fnUntraced(function* ({ checkout, row, wanted }: Rendering) {
  const fs = yield* FileSystem.FileSystem
  const path = yield* Path.Path
  const real = yield* Effect.option(fs.realPath(path.join(checkout, ".env")))
  if (Option.isNone(real) || (yield* mounts.isOfCheckout(checkout, path.join(checkout, ".env")))) return
  const repository = yield* Effect.option(fs.realPath(row.repository))
  const isOfRepository = Option.isSome(repository) && mounts.isInside(path, repository.value, real.value)
  if (isOfRepository && wanted.isolated !== true) return
  return yield* refused(".env", "leads out of the repository, through a link")
})
