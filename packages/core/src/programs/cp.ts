/** `cp`: files between a session's box and this host, with the meanings of `docker cp`. */

import { Effect, FileSystem, Path, Stream } from "effect"
import * as archive from "../Archive.ts"
import * as boxPaths from "../internal/boxPaths.ts"
import * as placing from "../internal/placing.ts"
import * as tar from "../internal/tar.ts"
import type { CpResult } from "../Results.ts"
import * as SandboxError from "../SandboxError.ts"

export interface CpOptions {
  /** `<session>:<path>`, a path on this host, or `-` for the tar archive `stdin`. */
  readonly from: string
  /** `<session>:<path>`, a path on this host, or `-` for a tar archive given to `stdout`. */
  readonly to: string
  readonly stdin?: Stream.Stream<Uint8Array, SandboxError.SandboxError> | undefined
  readonly stdout?: ((bytes: Uint8Array) => Effect.Effect<void, SandboxError.SandboxError>) | undefined
  /** Called as the copy goes on; must not throw. */
  readonly onProgress?: ((copied: { readonly files: number; readonly bytes: number }) => void) | undefined
}

/**
 * Copies a file or directory into a box or out of one. Relative paths in a box are relative to the checkout.
 *
 * An existing directory is copied into, anything else is the new name; `/.` behind a directory means what is in it.
 * Links stay links. On this host a copy is unpacked aside and renamed, so that it is there as a whole or not at all.
 * Takes no claim, and works on a halted box where the provider can.
 */
export const cp = Effect.fn("cp")(function* (options: CpOptions) {
  const from = boxPaths.parse(options.from)
  const to = boxPaths.parse(options.to)
  if (from.session !== undefined && to.session !== undefined) {
    return yield* invalid("to", {
      message: "both sides are in sessions",
      nextStep: `copy through here: \`sandbox cp ${options.from} - | sandbox cp - ${options.to}\``
    })
  }
  if (from.session === undefined && to.session === undefined) {
    return yield* invalid("from", {
      message: "neither side is in a session",
      nextStep: "name the session before a colon: `sandbox cp <session>:<path> <path>`, or the other way round"
    })
  }
  const box = yield* boxPaths.open(from.session ?? to.session!)
  const counts = archive.tally()
  const work = from.session !== undefined ? out(box, from.path, options, counts) : into(box, to.path, options, counts)
  yield* boxPaths.explained(box, work)
  const { bytes, files, special } = counts
  const warnings = special === 0 ? [] : [`left out: ${special} that are no files (devices, pipes or sockets)`]
  return { sessionId: box.session.id, bytes, files, warnings } satisfies CpResult
})

const invalid = (field: "from" | "to", options: { readonly message: string; readonly nextStep: string }) =>
  SandboxError.make("ERR_INVALID_ARGUMENT", { ...options, details: { field } })

/** A failure of the archive's own, from a box or from a caller. */
const unusable = (field: "from" | "box") => (error: archive.Unusable | SandboxError.SandboxError) =>
  error._tag === "SandboxError"
    ? error
    : SandboxError.make(field === "from" ? "ERR_INVALID_ARGUMENT" : "ERR_EXEC_FAILED", {
        message: error.message,
        nextStep: "nothing was put in place; look at what is being copied, and try again",
        retryable: false,
        details: field === "from" ? { field } : { operation: "files" }
      })

const watched = <E, R>(
  stream: Stream.Stream<Uint8Array, E, R>,
  counts: archive.Tally,
  { onProgress }: CpOptions
): Stream.Stream<Uint8Array, E, R> =>
  onProgress === undefined ? stream : Stream.tap(stream, () => Effect.sync(() => onProgress(counts)))

const join = (...parts: ReadonlyArray<string>): string => parts.filter((part) => part !== "").join("/")

/** From the box to this host. */
const out = Effect.fnUntraced(function* (box: boxPaths.Box, given: string, options: CpOptions, counts: archive.Tally) {
  const path = yield* Path.Path
  const fs = yield* FileSystem.FileSystem
  const { contents, follow, path: source } = boxPaths.meaning(given)
  const real = follow ? yield* boxPaths.followed(box, source) : source
  const stream = boxPaths.read(box, real)
  if (options.to === "-") {
    const write = options.stdout
    if (write === undefined) {
      return yield* invalid("to", { message: "nothing takes the archive", nextStep: "give a path to copy to" })
    }
    return yield* archive
      .rewrite(stream, counts)
      .pipe(
        (archived) => watched(archived, counts, options),
        Stream.mapError(unusable("box")),
        Stream.runForEach(write)
      )
  }

  const asked = path.resolve(options.to)
  const here = yield* placing.look(asked, { follow: true })
  if (here === "other") {
    return yield* invalid("to", {
      message: `${asked} is neither a file nor a directory`,
      nextStep: "copy to a file or a directory, or to - for an archive on stdout"
    })
  }
  const target = here === "nothing" ? asked : yield* Effect.orElseSucceed(fs.realPath(asked), () => asked)
  const parent = here === "directory" ? target : path.dirname(target)
  if (here === "nothing" && (yield* placing.look(parent, { follow: true })) !== "directory") {
    return yield* invalid("to", {
      message: `the directory ${parent} does not exist`,
      nextStep: `make it with \`mkdir -p ${parent}\`, or copy to another place`
    })
  }
  /** Of the one thing that is copied: all the archive has stands below its name. */
  let name: string | undefined
  const check = (entry: archive.Entry): string | undefined => {
    const [top = ""] = entry.path.split("/", 1)
    if (name === undefined) {
      name = top
      const isDirectory = entry.kind === "directory"
      if (top === "" || top !== entry.path) return "the provider's archive does not start with what was asked for"
      if (isDirectory && here !== "directory" && here !== "nothing") return `a directory cannot replace ${target}`
      if (!isDirectory && contents) return `${source} is no directory`
      if (!isDirectory && here === "nothing" && /[/\\]$/.test(options.to)) {
        return `the directory ${target} does not exist`
      }
    }
    return top === name ? undefined : "the provider's archive has more in it than what was asked for"
  }
  yield* Effect.scoped(
    Effect.gen(function* () {
      const staged = yield* placing.staging(parent)
      const rename = (entry: string) => join("copy", entry.split("/").slice(1).join("/"))
      const archived = watched(archive.rewrite(stream, counts, { check, rename }), counts, options)
      yield* tar.feed(Stream.mapError(archived, unusable("box")), (archived) => tar.unpack(staged, archived))
      if (counts.first === undefined) return yield* boxPaths.absent(box, source)
      const within = here === "directory" && !contents
      yield* placing.place(path.join(staged, "copy"), within ? path.join(target, archive.fromName(name!)) : target)
    })
  )
})

/** From this host to the box. */
const into = Effect.fnUntraced(function* (box: boxPaths.Box, given: string, options: CpOptions, counts: archive.Tally) {
  const { follow, path: target } = boxPaths.meaning(given)
  const send = Effect.fnUntraced(function* <R>(
    directory: string,
    archived: Stream.Stream<Uint8Array, archive.Unusable | SandboxError.SandboxError, R>,
    field: "from" | "box"
  ) {
    yield* tar.feed(Stream.mapError(watched(archived, counts, options), unusable(field)), (archived) =>
      boxPaths.write(box, directory, archived)
    )
  })

  if (options.from === "-") {
    if (options.stdin === undefined) {
      return yield* invalid("from", { message: "there is no archive to copy", nextStep: "give a path to copy from" })
    }
    const directory = yield* boxPaths.followed(box, target)
    if ((yield* boxPaths.look(box, directory))?.kind !== "directory") return yield* boxPaths.noDirectory(box, target)
    return yield* send(directory, archive.rewrite(options.stdin, counts), "from")
  }

  const source = yield* localSource(options.from)
  const there = yield* boxPaths.look(box, target)
  const real = there?.kind === "symlink" ? yield* boxPaths.followed(box, target) : target
  const kind = there?.kind === "symlink" ? (yield* boxPaths.look(box, real))?.kind : there?.kind
  if (kind === undefined) {
    const parent = boxPaths.parentOf(real)
    if ((follow && !source.isDirectory) || (yield* boxPaths.lookThrough(box, parent)) !== "directory") {
      return yield* boxPaths.noDirectory(box, follow && !source.isDirectory ? target : parent)
    }
  }
  if (source.isDirectory && kind !== undefined && kind !== "directory") {
    return yield* invalid("to", {
      message: `a directory cannot replace ${boxPaths.shown(box, target)}`,
      nextStep: "copy to another name"
    })
  }
  const inside = kind === "directory"
  const wanted = archive.toName(inside ? (source.contents ? "" : source.name) : boxPaths.nameOf(real))
  const rename = (entry: string) => (source.isDirectory ? join(wanted, entry) : wanted)
  const packed = tar.pack(source.directory, source.isDirectory ? "." : source.name, counts)
  yield* send(inside ? real : boxPaths.parentOf(real), archive.rewrite(packed, counts, { rename }), "from")
})

/** What to copy from this host, as a directory to archive all of, or one name in a directory. */
const localSource = Effect.fnUntraced(function* (given: string) {
  const path = yield* Path.Path
  const fs = yield* FileSystem.FileSystem
  const contents = /(^|\/)\.$/.test(given)
  const follow = contents || given.endsWith("/")
  const asked = path.resolve(given)
  const source = follow ? yield* Effect.orElseSucceed(fs.realPath(asked), () => asked) : asked
  const what = yield* placing.look(source, { follow: false })
  if (what === "nothing" || (contents && what !== "directory")) {
    return yield* invalid("from", {
      message: what === "nothing" ? `there is no ${source}` : `${source} is no directory`,
      nextStep: "check the path; a session's file is written `<session>:<path>`"
    })
  }
  if (what === "other") {
    return yield* invalid("from", {
      message: `${source} is neither a file nor a directory`,
      nextStep: "save what it gives in a file, and copy that"
    })
  }
  const isDirectory = what === "directory"
  const name = path.basename(asked)
  return {
    isDirectory,
    contents: contents || name === "",
    name,
    directory: isDirectory ? source : path.dirname(source)
  }
})
