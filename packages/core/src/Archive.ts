/**
 * Tar archives as they stream by: read, checked, and written anew.
 *
 * What comes out is made of what was understood here, entry by entry, so that whoever unpacks it can see nothing that
 * was not checked. Names are bytes, one to a character, until somebody reads them: a file's name need not be UTF-8.
 */
import { Data, Effect, Stream } from "effect"
import * as header from "./internal/archiveHeader.ts"

/** An archive that cannot be used, as a sentence. */
export class Unusable extends Data.TaggedError("Unusable")<{
  readonly message: string
  /** It ended before its end mark: made anew it may be whole. */
  readonly early?: true | undefined
}> {}

export type Kind = "file" | "directory" | "symlink" | "hardlink"

/** One entry, by the name that it has in the archive: relative, without `.` and `..`; empty for the archive's root. */
export interface Entry {
  readonly path: string
  readonly kind: Kind
  /** Bytes of content. */
  readonly size: number
  /** What a link points to. */
  readonly target: string
}

export interface Options {
  /** The name to write instead; nothing leaves the entry out. */
  readonly rename?: ((path: string) => string | undefined) | undefined
  /** Says what is wrong with an entry, or nothing. */
  readonly check?: ((entry: Entry) => string | undefined) | undefined
  /** The permissions to write instead. */
  readonly mode?: ((kind: Kind, mode: number) => number) | undefined
  /** Whose everything is; the superuser's, when absent, which only the superuser would unpack so. */
  readonly owner?: header.Owner | undefined
}

/** What went by so far. */
export interface Tally {
  /** Entries that are no directories. */
  files: number
  /** Bytes of content. */
  bytes: number
  /** Devices, pipes and sockets, which are left out. */
  special: number
  first: Entry | undefined
}

export const tally = (): Tally => ({ files: 0, bytes: 0, special: 0, first: undefined })

const block = 512

/** The archive anew; counts in `counts`. An archive that ends before its end mark is unusable. */
export const rewrite = <E, R>(
  archive: Stream.Stream<Uint8Array, E, R>,
  counts: Tally,
  options: Options = {}
): Stream.Stream<Uint8Array, E | Unusable, R> =>
  Stream.suspend(() => {
    const reader = makeReader(counts, options)
    const settle = (output: Uint8Array | Unusable) =>
      output instanceof Unusable ? Effect.fail(output) : Effect.succeed(output)
    return Stream.mapEffect(archive, (bytes) => settle(reader.push(bytes))).pipe(
      Stream.concat(Stream.fromEffect(Effect.suspend(() => settle(reader.end())))),
      Stream.filter(({ length }) => length > 0)
    )
  })

/** The first entry of an archive, which is not read any further; nothing of an empty one. */
export const first = Effect.fnUntraced(function* <E, R>(archive: Stream.Stream<Uint8Array, E, R>) {
  const counts = tally()
  yield* Stream.runDrain(Stream.takeUntil(rewrite(archive, counts), () => counts.first !== undefined))
  return counts.first
})

/** An archive of directories and nothing else, parents first. */
export const directories = (
  entries: ReadonlyArray<{ readonly path: string; readonly mode: number }>,
  owner: header.Owner
): Uint8Array =>
  header.concat([
    ...entries.map(({ mode, path }) =>
      header.write({ name: toName(path), kind: "directory", size: 0, target: "", mode, mtime: 0 }, owner)
    ),
    new Uint8Array(2 * block)
  ])

/** Text as the bytes of a name, and back. */
export const toName = (text: string): string => header.binary(new TextEncoder().encode(text))
export const fromName = (name: string): string => new TextDecoder().decode(header.bytesOf(name))

/** A name without `.` and empty parts; nothing for one that leads out of the archive. */
const normalize = (name: string): string | undefined => {
  if (name.startsWith("/") || name.includes("\0")) return undefined
  const parts = name.split("/").filter((part) => part !== "" && part !== ".")
  return parts.includes("..") ? undefined : parts.join("/")
}

const makeReader = (counts: Tally, options: Options) => {
  const { check, owner, mode: permit = (_, given) => given, rename = (path) => path } = options
  /** What the bytes at hand are. */
  let mode: "header" | "extension" | "content" | "dropped" | "ended" = "header"
  /** Bytes until that is whole, with what fills up its last block. */
  let missing = block
  /** Of an entry, bytes without what fills up the last block; of an extended header, how long it is. */
  let size = block
  /** A header or an extended header that is not whole yet. */
  let held: Array<Uint8Array> = []
  let extension: header.Extension = "pax"
  let extra: header.Extras = {}
  const symlinks = new Set<string>()

  const expect = (next: typeof mode, length: number) => {
    mode = length === 0 ? "header" : next
    size = length === 0 ? block : length
    missing = size + (-size & (block - 1))
    held = []
  }

  /** Whether something on the way to the path is a symbolic link of this archive. */
  const throughLink = (path: string): boolean => {
    if (symlinks.size === 0) return false
    for (let at = path.indexOf("/"); at >= 0; at = path.indexOf("/", at + 1)) {
      if (symlinks.has(path.slice(0, at))) return true
    }
    return false
  }

  /** Takes an entry's header and answers what to write for it. */
  const entry = (fields: header.Fields): Uint8Array | Unusable => {
    const given = JSON.stringify(fromName(fields.name))
    const path = normalize(fields.name)
    if (path === undefined || throughLink(path) || (path === "" && fields.kind !== "directory")) {
      return new Unusable({ message: `the archive names ${given}, which is outside of it` })
    }
    expect("dropped", fields.size)
    if (fields.kind === "special") {
      counts.special += 1
      return nothing
    }
    if (fields.kind === "unknown") {
      return new Unusable({ message: `the archive's entry ${given} is of a kind that cannot be copied` })
    }
    const target = fields.kind === "hardlink" ? normalize(fields.target) : fields.target
    if (target === undefined || (fields.kind === "hardlink" && (target === "" || throughLink(target)))) {
      return new Unusable({ message: `the archive links ${given} to something outside of it` })
    }
    if (symlinks.has(path)) return new Unusable({ message: `the archive names ${given} twice, once as a link` })
    if (fields.kind === "symlink" || (fields.kind === "hardlink" && symlinks.has(target))) symlinks.add(path)
    const seen: Entry = { path, kind: fields.kind, size: fields.size, target }
    const problem = check?.(seen)
    if (problem !== undefined) return new Unusable({ message: problem })
    counts.first ??= seen
    const name = rename(path)
    const linked = fields.kind === "hardlink" ? rename(target) : target
    // the root of what unpacks the archive is there already
    if (name === undefined || name === "" || linked === undefined) return nothing
    if (fields.kind !== "directory") counts.files += 1
    if (mode === "dropped") mode = "content"
    return header.write({ ...fields, name, target: linked, mode: permit(fields.kind, fields.mode) }, owner)
  }

  const whole = (bytes: Uint8Array): Uint8Array | Unusable => {
    if (mode === "extension") {
      const read = header.extras(extension, bytes)
      if (read === undefined) return new Unusable({ message: "the archive has an extended header that makes no sense" })
      extra = { ...extra, ...read }
      expect("header", block)
      return nothing
    }
    if (bytes.every((byte) => byte === 0)) {
      mode = "ended"
      return new Uint8Array(2 * block)
    }
    const fields = header.read(bytes, extra)
    if (fields === undefined) {
      return new Unusable({ message: "this is no tar archive; one that is compressed has to be expanded first" })
    }
    if (fields.extension === undefined) {
      extra = {}
      return entry(fields)
    }
    if (fields.size === 0 || fields.size > 2 ** 20) {
      return new Unusable({ message: "the archive has an extended header that is empty or longer than 1 MiB" })
    }
    extension = fields.extension
    expect("extension", fields.size)
    return nothing
  }

  const push = (input: Uint8Array): Uint8Array | Unusable => {
    const output: Array<Uint8Array> = []
    let at = 0
    while (at < input.length && mode !== "ended") {
      const part = input.subarray(at, at + missing)
      at += part.length
      missing -= part.length
      if (mode === "content" || mode === "dropped") {
        if (mode === "content") {
          output.push(part)
          counts.bytes += Math.min(part.length, size)
          size = Math.max(0, size - part.length)
        }
        if (missing === 0) expect("header", block)
        continue
      }
      held.push(part)
      if (missing > 0) continue
      const result = whole(header.concat(held).subarray(0, size))
      if (result instanceof Unusable) return result
      output.push(result)
      if (mode === "header") held = []
    }
    return header.concat(output)
  }

  const end = (): Uint8Array | Unusable =>
    mode === "ended"
      ? nothing
      : new Unusable({ message: "the archive ended early: the copy was cut short", early: true })

  return { push, end }
}

const nothing = new Uint8Array(0)
