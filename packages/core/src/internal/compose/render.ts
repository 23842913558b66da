/** From the compose files of a checkout to a document of the session's own. */
import { Effect, FileSystem, Option, Path, Schema, Stream } from "effect"
import { leaves } from "../../Configuration/rules.ts"
import { Hasher } from "../../Hasher.ts"
import * as SandboxError from "../../SandboxError.ts"
import type { Session } from "../../Session.ts"
import type * as Setup from "../../Setup.ts"
import * as Trust from "../../Trust.ts"
import { Yaml } from "../../Yaml.ts"
import { redact } from "../secrets.ts"
import type { Mount } from "./document.ts"
import { projectOf } from "./record.ts"
import { references } from "./references.ts"
import { type Rewritten, rewrite, type Wanted } from "./rewrite.ts"
import * as tool from "./tool.ts"

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
}

/** Renders the document. Nothing of the engine is asked, and nothing is written. */
export const render = Effect.fnUntraced(function* (rendering: Rendering) {
  const { checkout, command, compose, hidden, row, variables, wanted } = rendering
  const files = yield* Effect.forEach(compose.files, (file) => located(checkout, file))
  yield* trusted(rendering, files)
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
  const kept = yield* Effect.forEach(rewritten.mounts, (mount) => allowed(checkout, mount))
  const [problem] = [...rewritten.problems, ...kept.flatMap((one) => (one?.fatal === true ? [one] : []))]
  if (problem !== undefined) return yield* refused(problem.field, problem.message)
  const warnings = [...rewritten.warnings, ...kept.flatMap((one) => (one === undefined ? [] : [one]))]
  return { ...rewritten, warnings } satisfies Rewritten
})

const decodeJson = Schema.decodeUnknownEffect(Schema.fromJsonString(Schema.Unknown))

const refused = (field: string, message: string) =>
  SandboxError.make("ERR_CONFIG_INVALID", {
    message: `compose: ${field} ${message}`,
    nextStep: "correct the compose file, or leave the service out with `compose.services`",
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

const isInside = (path: Path.Path, root: string, target: string): boolean =>
  target === root || target.startsWith(`${root}${path.sep}`)

/** The real path of a file of the checkout. */
export const located = Effect.fnUntraced(function* (checkout: string, file: string) {
  const fs = yield* FileSystem.FileSystem
  const path = yield* Path.Path
  if (leaves(file)) return yield* refused(file, "is not in the repository")
  const real = (one: string) => Effect.option(fs.realPath(one))
  const root = Option.getOrElse(yield* real(checkout), () => checkout)
  const found = Option.getOrUndefined(yield* real(path.join(root, file)))
  if (found === undefined) return yield* refused(file, "is not in the checkout: is it committed on this branch?")
  if (!isInside(path, root, found)) return yield* refused(file, "leads out of the repository, through a link")
  return found
})

/** The digest of compose files, each by the name that the setup gives it. */
const trusted = Effect.fnUntraced(function* ({ compose, row }: Rendering, files: ReadonlyArray<string>) {
  if (compose.digest === undefined) return
  const fs = yield* FileSystem.FileSystem
  const { sha256 } = yield* Hasher
  const digests = yield* Effect.forEach(
    compose.files,
    Effect.fnUntraced(function* (name, index) {
      const bytes = yield* Effect.mapError(fs.readFile(files[index]!), () => refused(name, "cannot be read"))
      return [name, yield* sha256(Stream.make(bytes))] as const
    })
  )
  if ((yield* Trust.digestOf(digests)) === compose.digest) return
  return yield* SandboxError.make("ERR_CONFIG_UNTRUSTED", {
    message: `${compose.files.join(", ")} on ${row.workBranch ?? row.branch} is not what was read, and accepted, beside the repository's sandbox.yaml`,
    nextStep:
      "bring the session up where the repository has the branch's compose file checked out, or name a configuration of your own with --config",
    details: { field: "compose.file", file: compose.files[0], runs: ["compose.file"] }
  })
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
    if (!(yield* isOfCheckout(checkout, target))) return yield* refused(reference.field, "is not in the repository")
  }
})

/** Whether a path is in the checkout, wherever links lead; one that is not there by where it would be. */
const isOfCheckout = Effect.fnUntraced(function* (checkout: string, target: string) {
  const fs = yield* FileSystem.FileSystem
  const path = yield* Path.Path
  const root = yield* Effect.orElseSucceed(fs.realPath(checkout), () => checkout)
  let nearest = path.resolve(root, path.relative(checkout, target))
  if (!isInside(path, root, nearest)) return false
  while (nearest !== root) {
    const real = yield* Effect.option(fs.realPath(nearest))
    if (Option.isSome(real)) return isInside(path, root, real.value)
    // a link that leads nowhere may lead somewhere soon
    if (Option.isSome(yield* Effect.option(fs.readLink(nearest)))) return false
    nearest = path.dirname(nearest)
  }
  return true
})

/** `.env`, which both tools read by themselves. One that was inherited leads to the repository. */
const dotenv = Effect.fnUntraced(function* ({ checkout, row }: Rendering) {
  const fs = yield* FileSystem.FileSystem
  const path = yield* Path.Path
  const real = yield* Effect.option(fs.realPath(path.join(checkout, ".env")))
  if (Option.isNone(real) || (yield* isOfCheckout(checkout, path.join(checkout, ".env")))) return
  const repository = yield* Effect.option(fs.realPath(row.repository))
  if (Option.isSome(repository) && isInside(path, repository.value, real.value)) return
  return yield* refused(".env", "leads out of the repository, through a link")
})

/** What is to be said of a path of this host that a service would see; nothing where it is the checkout's own. */
const allowed = Effect.fnUntraced(function* (checkout: string, { field, path: target, readOnly }: Mount) {
  const fs = yield* FileSystem.FileSystem
  const path = yield* Path.Path
  if (yield* isOfCheckout(checkout, path.resolve(checkout, target))) return undefined
  const kind = yield* Effect.orElseSucceed(
    Effect.map(fs.stat(target), ({ type }) => type),
    () => undefined
  )
  const isShown = readOnly && kind !== "Socket"
  return {
    field,
    fatal: !isShown,
    message: isShown
      ? `shows ${target} of this host, which every session sees`
      : `has ${target}, which is not in the repository: mount a directory of the repository, a named volume, or read-only`
  }
})
