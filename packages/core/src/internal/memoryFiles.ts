/** The files of a memory box as tar archives. */
import { Data, Effect, Stream } from "effect"
import * as archive from "../Archive.ts"
import * as header from "./archiveHeader.ts"

/** A path that is not there, or an archive that cannot be unpacked. */
export class Refused extends Data.TaggedError("Refused")<{
  readonly reason: "NotFound" | "Invalid"
  readonly message: string
}> {}

/** What stands at a path: an ordinary file, where nothing is said. */
export interface Node {
  readonly kind: "file" | "directory" | "symlink"
  readonly mode: number
  /** What a link points to. */
  readonly target: string
}

/** By absolute path. */
export interface Disk {
  /** The contents of files. */
  readonly files: Map<string, Uint8Array>
  /** What is known beside the contents; directories on the way to a path need not be here. */
  readonly nodes: Map<string, Node>
}

/** An absolute path without `.` and `..`. */
export const resolve = (base: string, path: string): string => {
  const parts: Array<string> = []
  for (const part of (path.startsWith("/") ? path : `${base}/${path}`).split("/")) {
    if (part === "..") parts.pop()
    else if (part !== "" && part !== ".") parts.push(part)
  }
  return `/${parts.join("/")}`
}

const paths = (disk: Disk) => [...new Set([...disk.files.keys(), ...disk.nodes.keys()])].sort()

const below = (path: string) => (other: string) => other.startsWith(path === "/" ? path : `${path}/`)

const nodeAt = (disk: Disk, path: string): Node | undefined => {
  const known = disk.nodes.get(path)
  if (known !== undefined) return known
  if (disk.files.has(path)) return { kind: "file", mode: 0o644, target: "" }
  return path === "/" || paths(disk).some(below(path)) ? { kind: "directory", mode: 0o755, target: "" } : undefined
}

/** One file or directory as an archive, under its own last name. */
export const read = (disk: Disk, path: string): Stream.Stream<Uint8Array, Refused> =>
  Stream.suspend(() => {
    if (nodeAt(disk, path) === undefined) {
      return Stream.fail(new Refused({ reason: "NotFound", message: `There is no ${path} in the box.` }))
    }
    const above = path.slice(0, path.lastIndexOf("/") + 1)
    const all = [path, ...paths(disk).filter(below(path))]
    const parts = all.flatMap((at) => {
      const content = disk.files.get(at) ?? new Uint8Array(0)
      const name = archive.toName(at.slice(above.length) || ".")
      const { kind, mode, target } = nodeAt(disk, at)!
      const fields = { name, kind, size: content.length, target: archive.toName(target), mode, mtime: 0 }
      return [header.write(fields), content, new Uint8Array(-content.length & 511)]
    })
    return Stream.fromIterable([...parts, new Uint8Array(1024)].filter(({ length }) => length > 0))
  })

/** Unpacks into a directory: all of the archive, or nothing. */
export const write = Effect.fnUntraced(function* (disk: Disk, directory: string, stream: Stream.Stream<Uint8Array>) {
  const there = nodeAt(disk, directory)
  if (there?.kind !== "directory") {
    const reason = there === undefined ? "NotFound" : "Invalid"
    return yield* new Refused({ reason, message: `There is no directory ${directory} in the box.` })
  }
  const unusable = ({ message }: archive.Unusable) => new Refused({ reason: "Invalid", message: `${message}.` })
  const checked = archive.rewrite(stream, archive.tally())
  const bytes = yield* Effect.mapError(Stream.mkUint8Array(checked), unusable)
  const entries = parse(bytes).map((entry) => ({ ...entry, path: resolve(directory, entry.name) }))
  for (const { kind, path } of entries) {
    const before = nodeAt(disk, path)
    const isInTheWay = before !== undefined && (before.kind === "directory") !== (kind === "directory")
    if (!isInTheWay && !isThroughLink(disk, path)) continue
    return yield* new Refused({ reason: "Invalid", message: `Something is in the way of ${path}.` })
  }
  for (const { content, kind, mode, path, target } of entries) {
    const isFile = kind === "file" || kind === "hardlink"
    if (kind === "directory" && nodeAt(disk, path) !== undefined) continue
    disk.nodes.set(path, { kind: kind === "directory" || kind === "symlink" ? kind : "file", mode, target })
    if (isFile) disk.files.set(path, kind === "file" ? content : disk.files.get(resolve(directory, target))!)
    else disk.files.delete(path)
  }
})

const isThroughLink = (disk: Disk, path: string): boolean =>
  path.split("/").some((_, n, parts) => n > 0 && disk.nodes.get(parts.slice(0, n).join("/"))?.kind === "symlink")

/** The entries of an archive that `rewrite` has written. */
const parse = (bytes: Uint8Array) => {
  const entries: Array<header.Fields & { readonly content: Uint8Array }> = []
  let extra: header.Extras = {}
  for (let at = 0; at < bytes.length && bytes[at] !== 0; ) {
    const fields = header.read(bytes.subarray(at, at + 512), extra)!
    const content = bytes.slice(at + 512, at + 512 + fields.size)
    at += 512 + Math.ceil(fields.size / 512) * 512
    extra = fields.extension === undefined ? {} : { ...extra, ...header.extras(fields.extension, content) }
    if (fields.extension !== undefined) continue
    const [name, target] = [archive.fromName(fields.name), archive.fromName(fields.target)]
    entries.push({ ...fields, name, target, content })
  }
  return entries
}
