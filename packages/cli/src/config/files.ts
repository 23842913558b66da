/** Configuration files: where they are, and reading one as a layer. */
import { Git, Hasher, Mirror, type Repository, SandboxError } from "@org/sandbox-core"
import type * as Configuration from "@org/sandbox-core/Configuration"
import { Effect, FileSystem, Path, Stream } from "effect"
import type { Variables } from "./environment.ts"
import * as Yaml from "./Yaml.ts"

/** The file at the top of a repository. */
export const projectName = "sandbox.yaml"

/** A file that is larger is none of ours. */
export const maxBytes = 1024 * 1024

/** A layer that was read from a file, and the digest of what was read. */
export interface FileLayer extends Configuration.Source {
  readonly file: string
  readonly digest: string
  /** Where the rest of its commit is, for one that is not on this host. */
  readonly remote?: { readonly mirror: string; readonly commit: string }
}

/** `$XDG_CONFIG_HOME/sandbox/config.yaml`, or its usual place below the home directory. */
export const userFile = Effect.fnUntraced(function* (variables: Variables) {
  const path = yield* Path.Path
  const home = variables["HOME"] ?? ""
  const base = variables["XDG_CONFIG_HOME"] || (home === "" ? "" : path.join(home, ".config"))
  return base === "" ? undefined : path.join(path.resolve(base), "sandbox", "config.yaml")
})

/** The layer of a file; none where there is no such file. */
export const read = Effect.fnUntraced(function* (name: "user" | "project", file: string) {
  const fs = yield* FileSystem.FileSystem
  const path = yield* Path.Path
  const unreadable = (why: string) => invalid(file, `cannot be read: ${why}`)
  const found = yield* fs.stat(file).pipe(
    Effect.catchIf(
      ({ reason }) => reason._tag === "NotFound" || reason._tag === "BadResource",
      () => Effect.succeed(undefined)
    ),
    Effect.mapError((error) => unreadable(error.message))
  )
  if (found === undefined) return undefined
  if (found.type !== "File") return yield* unreadable("it is no file")
  if (Number(found.size) > maxBytes) return yield* tooLarge(file)
  const bytes = yield* Effect.mapError(fs.readFile(file), (error) => unreadable(error.message))
  return yield* layerOf({ name, file, bytes, folder: path.dirname(file) })
})

/** The digest of a file beside a layer's; null where there is none that may be read. */
export const digestBeside = Effect.fnUntraced(function* ({ folder, remote }: FileLayer, name: string) {
  const { sha256 } = yield* Hasher.Hasher
  if (remote !== undefined) {
    const object = `${remote.commit}:${name}`
    const found = yield* Effect.option(Git.output(["cat-file", "blob", object], { cwd: remote.mirror }))
    return found._tag === "None" ? null : yield* sha256(Stream.make(new TextEncoder().encode(found.value)))
  }
  if (folder === undefined) return null
  const fs = yield* FileSystem.FileSystem
  const file = (yield* Path.Path).join(folder, name)
  const read = Effect.gen(function* () {
    const { size, type } = yield* fs.stat(file)
    if (type !== "File" || Number(size) > maxBytes) return null
    return yield* sha256(Stream.make(yield* fs.readFile(file)))
  })
  return yield* Effect.orElseSucceed(read, () => null)
})

/** The layer of the file that a remote repository has at a commit; none where it has none. */
export const readRemote = Effect.fnUntraced(function* (url: string, commit: string) {
  const mirror = yield* Mirror.ensure(url, commit)
  const file = `${url}#${projectName}`
  const object = `${commit}:${projectName}`
  const unreadable = Effect.mapError((error: Git.GitError) => invalid(file, `cannot be read: ${error.message}`))
  const size = yield* Git.run(["cat-file", "-s", object], { cwd: mirror }).pipe(unreadable)
  if (size.code !== 0) return undefined
  if (Number(size.stdout) > maxBytes) return yield* tooLarge(file)
  const text = yield* Git.output(["cat-file", "blob", object], { cwd: mirror }).pipe(unreadable)
  const layer = yield* layerOf({ name: "project", file, bytes: new TextEncoder().encode(text), folder: undefined })
  const remote: FileLayer = { ...layer, remote: { mirror, commit } }
  return remote
})

/** The file that a user named: it has to be there. */
export const readChosen = Effect.fnUntraced(function* (file: string, by: string) {
  const layer = yield* read("project", (yield* Path.Path).resolve(file))
  if (layer !== undefined) return layer
  return yield* SandboxError.make("ERR_CONFIG_MISSING", {
    message: `there is no configuration ${file}, which ${by} names`,
    nextStep: `name a file that exists with ${by}, or make one with \`sandbox init\``,
    details: { field: by === "--config" ? "config" : by, file }
  })
})

/** Where a repository on this host has its file. */
export const projectFile = Effect.fnUntraced(function* (source: Repository.Source) {
  return (yield* Path.Path).join(source.location, projectName)
})

const layerOf = Effect.fnUntraced(function* (from: {
  readonly name: "user" | "project"
  readonly file: string
  readonly bytes: Uint8Array
  readonly folder: string | undefined
}): Effect.fn.Return<FileLayer, never, Hasher.Hasher> {
  const { bytes, file, folder, name } = from
  const digest = yield* (yield* Hasher.Hasher).sha256(Stream.make(bytes))
  const text = new TextDecoder("utf-8").decode(bytes)
  const parsed = text.includes("\ufffd")
    ? { value: {}, problems: [{ message: "is not UTF-8" }], position: () => undefined }
    : Yaml.parse(text)
  return { name, file, folder, digest, ...parsed }
})

const tooLarge = (file: string) => invalid(file, `is larger than ${maxBytes} bytes, and no configuration`)

const invalid = (file: string, why: string): SandboxError.SandboxError =>
  SandboxError.make("ERR_CONFIG_INVALID", {
    message: `the configuration ${file} ${why}`,
    nextStep: "put a readable file there, or take it away",
    details: { file }
  })
