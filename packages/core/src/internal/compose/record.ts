/** What this host remembers of a session's compose services: written before anything is made, gone with the last of it. */
import { Effect, FileSystem, Option, Path, Schema } from "effect"
import { Directories } from "../../Host.ts"
import * as SandboxError from "../../SandboxError.ts"
import { remove } from "../placing.ts"

/** Where containers of a session may be. */
const Record = Schema.Struct({
  version: Schema.Literal(1),
  project: Schema.String,
  /** The engine's own id. */
  engine: Schema.String,
  /** The digest of the compose files that are brought up. */
  digest: Schema.optionalKey(Schema.String)
})
export type Record = typeof Record.Type

const decode = Schema.decodeUnknownEffect(Schema.fromJsonString(Record))
const encode = Schema.encodeSync(Schema.fromJsonString(Record))

const Names = Schema.fromJsonString(Schema.Array(Schema.String))
const decodeNames = Schema.decodeUnknownEffect(Names)
const encodeNames = Schema.encodeSync(Names)

/** What the engine and both compose commands take for the name of a project. */
export const projectOf = (session: string): string => `sandbox-${session.toLowerCase().replaceAll(/[^a-z0-9]/g, "-")}`

/** Where all of them are. That it is there says that this host has had any. */
export const top = Effect.gen(function* () {
  return (yield* Path.Path).join((yield* Directories).state, "compose")
})

const folderOf = Effect.fnUntraced(function* (session: string) {
  return (yield* Path.Path).join(yield* top, session)
})

const unusable = (file: string, why: string) =>
  SandboxError.make("ERR_SERVICE_FAILED", {
    message: `the record of compose services cannot be used (${file}): ${why}`,
    nextStep: `make ${file} readable and writable`,
    details: { field: "compose", file }
  })

/** A file of the session's own as it was written; none where there is none, and none is read that holds anything else. */
const stored = Effect.fnUntraced(function* <A>(
  session: string,
  name: string,
  read: (text: string) => Effect.Effect<A, unknown>
) {
  const fs = yield* FileSystem.FileSystem
  const path = yield* Path.Path
  const file = path.join(yield* folderOf(session), name)
  const text = yield* fs.readFileString(file).pipe(
    Effect.asSome,
    Effect.catchIf(
      ({ reason }) => reason._tag === "NotFound",
      () => Effect.succeedNone
    ),
    Effect.mapError((error) => unusable(file, error.message))
  )
  if (Option.isNone(text)) return undefined
  return yield* Effect.mapError(read(text.value), () => unusable(file, "it does not hold what was written to it"))
})

/** The record of a session; none where nothing was ever begun for it on this host. */
export const read = (session: string) => stored(session, "engine.json", decode)

/** The volumes without a name that were seen with its containers. */
export const volumes = (session: string) =>
  Effect.map(stored(session, "volumes.json", decodeNames), (names) => names ?? [])

export const keepVolumes = (session: string, names: ReadonlyArray<string>) =>
  write(session, "volumes.json", encodeNames(names))

/** Writes a file of the session's own and answers where it is; it may hold secrets. */
export const write = Effect.fnUntraced(function* (session: string, name: string, text: string) {
  const fs = yield* FileSystem.FileSystem
  const path = yield* Path.Path
  const folder = yield* folderOf(session)
  const file = path.join(folder, name)
  yield* Effect.gen(function* () {
    yield* fs.makeDirectory(folder, { recursive: true, mode: 0o700 })
    yield* fs.remove(`${file}.new`, { force: true })
    const open = yield* fs.open(`${file}.new`, { flag: "wx", mode: 0o600 })
    yield* open.writeAll(new TextEncoder().encode(text))
    yield* open.sync
    yield* fs.rename(`${file}.new`, file)
  }).pipe(
    Effect.scoped,
    Effect.mapError((error) => unusable(file, error.message))
  )
  return file
})

/** Says where containers are about to be made, and of which compose files. */
export const begin = (session: string, { digest, engine }: Pick<Record, "engine" | "digest">) =>
  write(
    session,
    "engine.json",
    encode({ version: 1, project: projectOf(session), engine, ...(digest === undefined ? {} : { digest }) })
  )

/**
 * Keeps a copy of a checkout that only its box can see, and answers where it is: what the services mount and are built from.
 * One that was kept before is replaced.
 */
export const keep = Effect.fnUntraced(function* (session: string, directory: string) {
  const fs = yield* FileSystem.FileSystem
  const path = yield* Path.Path
  const folder = yield* folderOf(session)
  const [kept, old] = [path.join(folder, "checkout"), path.join(folder, "checkout.old")]
  yield* Effect.gen(function* () {
    yield* fs.makeDirectory(folder, { recursive: true, mode: 0o700 })
    yield* remove(old)
    if (yield* fs.exists(kept)) yield* fs.rename(kept, old)
    yield* fs.rename(directory, kept)
    yield* remove(old)
  }).pipe(Effect.mapError((error) => unusable(kept, error.message)))
  return kept
})

/** The document that was last brought up; none where there is none that can be read. */
export const document = Effect.fnUntraced(function* (session: string) {
  const fs = yield* FileSystem.FileSystem
  const file = (yield* Path.Path).join(yield* folderOf(session), "compose.json")
  const text = yield* Effect.orElseSucceed(fs.readFileString(file), () => "{}")
  return yield* Effect.orElseSucceed(decodeJson(text), (): unknown => ({}))
})

const decodeJson = Schema.decodeUnknownEffect(Schema.fromJsonString(Schema.Unknown))

/** Nothing is left that it could speak of. */
export const forget = Effect.fnUntraced(function* (session: string) {
  const folder = yield* folderOf(session)
  yield* Effect.mapError(remove(folder), (error) => unusable(folder, error.message))
})
