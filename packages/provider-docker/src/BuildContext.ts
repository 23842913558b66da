/** What an image is built from: the files of a directory of this host, their digest, and the archive that the engine is sent. */
import { Hasher } from "@org/sandbox-core/Hasher"
import { Effect, FileSystem, Option, type PlatformError, Stream } from "effect"
import { Refused } from "./DockerError.ts"
import * as DockerIgnore from "./DockerIgnore.ts"
import * as Tar from "./Tar.ts"

/** A directory of this host, and the path of the Dockerfile in it. */
export interface Place {
  readonly top: string
  readonly dockerfile: string
}

/** What is in a context: all entries with what they were when they were looked at, parents first. */
export type Listing = ReadonlyArray<Tar.Fields>

const ignoreFile = ".dockerignore"

/** All that a context has but what its `.dockerignore` leaves out; devices, pipes and sockets are left out as well. */
export const list = Effect.fnUntraced(function* ({ dockerfile, top }: Place) {
  const fs = yield* FileSystem.FileSystem
  const ignored = yield* ignoredIn(top)
  // what a build is told by is always sent; the engine leaves it out of what it copies where it is ignored
  const always = [ignoreFile, dockerfile]
  const entries: Array<Tar.Fields> = []

  const below = (directory: string): Effect.Effect<void, Refused> =>
    Effect.gen(function* () {
      const names = yield* fs.readDirectory(`${top}/${directory}`).pipe(unreadable(directory || "."))
      const found = yield* Effect.forEach([...names].sort(), (name) => look(directory, name), { concurrency: 16 })
      for (const entry of found) {
        if (entry === undefined) continue
        const { kind, path } = entry
        if (!ignored.leavesOut(path) || always.includes(path)) entries.push(entry)
        else if (kind !== "directory" || !mayHave(path)) continue
        if (kind === "directory") yield* below(path)
      }
    })

  const mayHave = (directory: string): boolean =>
    ignored.mayTakeFrom(directory) || always.some((path) => path.startsWith(`${directory}/`))

  const look = Effect.fnUntraced(function* (directory: string, name: string) {
    const path = directory === "" ? name : `${directory}/${name}`
    // a name that is not UTF-8 cannot be asked for
    if (name.includes("\ufffd")) {
      return ignored.leavesOut(path)
        ? undefined
        : yield* invalid(`${JSON.stringify(path)} has a name that is not UTF-8`)
    }
    const info = yield* fs.lstat(`${top}/${path}`).pipe(unreadable(path))
    const kind = kinds[info.type]
    if (kind === undefined) return undefined
    const entry: Tar.Fields = {
      ...{ path, kind, mode: info.mode & 0o7777, mtime: timeOf(info) },
      size: kind === "file" ? Number(info.size) : 0,
      target: kind === "link" ? yield* fs.readLink(`${top}/${path}`).pipe(unreadable(path)) : ""
    }
    return entry
  })

  yield* below("")
  return entries as Listing
})

const kinds: Partial<Record<FileSystem.File.Type, Tar.Fields["kind"]>> = {
  File: "file",
  Directory: "directory",
  SymbolicLink: "link"
}

const timeOf = ({ mtime }: FileSystem.File.Info): number =>
  Option.match(mtime, { onNone: () => 0, onSome: (date) => date.getTime() })

const ignoredIn = Effect.fnUntraced(function* (top: string) {
  const fs = yield* FileSystem.FileSystem
  const text = yield* fs.readFileString(`${top}/${ignoreFile}`).pipe(
    Effect.catchIf(
      ({ reason }) => reason._tag === "NotFound",
      () => Effect.succeed("")
    ),
    unreadable(ignoreFile)
  )
  const ignored = DockerIgnore.parse(text)
  if ("unusable" in ignored) {
    return yield* invalid(`its ${ignoreFile} has a pattern that makes no sense: ${ignored.unusable}`)
  }
  return ignored
})

/**
 * The digest of a context and of whatever else counts: of names, permissions and contents, not of times. Two checkouts of
 * one commit are alike.
 */
export const digest = Effect.fnUntraced(function* (top: string, entries: Listing, besides: unknown) {
  const line = (value: unknown) => Stream.make(new TextEncoder().encode(`${JSON.stringify(value)}\n`))
  const parts = Stream.flatMap(Stream.fromIterable(entries), (entry) => {
    const { kind, mode, path, size, target } = entry
    const said = line([kind, path, mode, kind === "file" ? size : target])
    return kind === "file" ? Stream.concat(said, contentOf(top, entry)) : said
  })
  return yield* (yield* Hasher).sha256(Stream.concat(line(besides), parts))
})

/** The archive of a context. Fails where a file is no longer what it was when it was listed. */
export const archive = (top: string, entries: Listing): Stream.Stream<Uint8Array, Refused, FileSystem.FileSystem> =>
  Stream.concat(
    Stream.flatMap(Stream.fromIterable(entries), (entry) => {
      const header = Stream.make(Tar.header(entry))
      if (entry.kind !== "file") return header
      return header.pipe(Stream.concat(contentOf(top, entry)), Stream.concat(Stream.make(Tar.padding(entry.size))))
    }),
    Stream.make(Tar.end)
  )

const contentOf = (top: string, { mtime, path, size }: Tar.Fields) =>
  Stream.unwrap(
    Effect.gen(function* () {
      const fs = yield* FileSystem.FileSystem
      const file = yield* fs.open(`${top}/${path}`).pipe(unreadable(path))
      const info = yield* file.stat.pipe(unreadable(path))
      if (info.type !== "File" || Number(info.size) !== size || timeOf(info) !== mtime) return yield* changed(path)
      return Stream.unfold(size, (missing) =>
        missing === 0
          ? Effect.succeed(undefined)
          : Effect.flatMap(file.readAlloc(Math.min(missing, 256 * 1024)).pipe(unreadable(path)), (chunk) =>
              Option.isNone(chunk)
                ? changed(path)
                : Effect.succeed([chunk.value, missing - chunk.value.length] as const)
            )
      )
    })
  )

/** Says that a context cannot be used, and why. */
export const invalid = (why: string) =>
  new Refused({ reason: "Invalid", message: `build.context cannot be used: ${why}.` })

const changed = (path: string) =>
  new Refused({
    reason: "NotReady",
    message: `${path} of build.context changed while it was read: try again, or name it in ${ignoreFile}.`
  })

const unreadable =
  (path: string) =>
  <A, R>(effect: Effect.Effect<A, PlatformError.PlatformError, R>): Effect.Effect<A, Refused, R> =>
    Effect.catch(effect, ({ message, reason }) =>
      reason._tag === "NotFound" ? changed(path) : invalid(`${path} cannot be read: ${message}`)
    )
