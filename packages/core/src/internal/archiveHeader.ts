/** The headers of tar archives: POSIX's, with and without extended ones, GNU's and the old ones are read; GNU's are written. */

/** What an extended header holds: POSIX records, or one long name as GNU writes it. */
export type Extension = "pax" | "global" | "longName" | "longTarget"

/** What extended headers said about the entry that follows. */
export interface Extras {
  readonly name?: string
  readonly target?: string
  readonly size?: number
  readonly mtime?: number
  /** The content is not what is in the archive, such as that of a sparse file. */
  readonly odd?: true
}

export interface Fields {
  readonly name: string
  readonly kind: "file" | "directory" | "symlink" | "hardlink" | "special" | "unknown"
  /** Bytes of content that follow. */
  readonly size: number
  readonly target: string
  /** Permissions, without the bits that make a program run as somebody else. */
  readonly mode: number
  /** Seconds since the epoch. */
  readonly mtime: number
  /** Present: this is no entry, but says something about the next one. */
  readonly extension?: Extension | undefined
}

/** Numbers of a user and of a group. */
export interface Owner {
  readonly uid: number
  readonly gid: number
}

const nobody: Owner = { uid: 0, gid: 0 }

/** Bytes as text of one character each, and back. */
export const binary = (bytes: Uint8Array): string => {
  let text = ""
  for (const byte of bytes) text += String.fromCharCode(byte)
  return text
}

export const bytesOf = (text: string): Uint8Array => Uint8Array.from(text, (char) => char.charCodeAt(0))

export const concat = (parts: ReadonlyArray<Uint8Array>): Uint8Array => {
  if (parts.length === 1) return parts[0]!
  const whole = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0))
  let at = 0
  for (const part of parts) {
    whole.set(part, at)
    at += part.length
  }
  return whole
}

const block = 512
const field = {
  name: [0, 100],
  mode: [100, 8],
  uid: [108, 8],
  gid: [116, 8],
  size: [124, 12],
  mtime: [136, 12],
  checksum: [148, 8],
  type: [156, 1],
  target: [157, 100],
  magic: [257, 8],
  prefix: [345, 155]
} as const

const text = (bytes: Uint8Array, [at, length]: readonly [number, number]): string => {
  const value = binary(bytes.subarray(at, at + length))
  const end = value.indexOf("\0")
  return end < 0 ? value : value.slice(0, end)
}

/** A number in octal digits, or in binary where the first bit is set. */
const number = (bytes: Uint8Array, [at, length]: readonly [number, number]): number => {
  const value = bytes.subarray(at, at + length)
  if (((value[0] ?? 0) & 0x80) === 0) return Number.parseInt(text(bytes, [at, length]).trim() || "0", 8)
  return value.subarray(1).reduce((sum, byte) => sum * 256 + byte, 0)
}

/** The sum of all bytes, those of the sum itself counted as blanks. */
const sum = (bytes: Uint8Array): number => {
  const [at, length] = field.checksum
  let total = 0
  for (let i = 0; i < block; i++) total += i >= at && i < at + length ? 32 : bytes[i]!
  return total
}

const kinds: Readonly<Record<string, Fields["kind"]>> = {
  "": "file",
  "0": "file",
  "7": "file",
  "1": "hardlink",
  "2": "symlink",
  "3": "special",
  "4": "special",
  "5": "directory",
  "6": "special"
}

const extensions: Readonly<Record<string, Extension>> = { x: "pax", g: "global", L: "longName", K: "longTarget" }

/** Reads a block as a header; nothing when it is none. */
export const read = (bytes: Uint8Array, extra: Extras): Fields | undefined => {
  if (number(bytes, field.checksum) !== sum(bytes)) return undefined
  const type = text(bytes, field.type)
  const extension = extensions[type]
  const prefix = binary(bytes.subarray(257, 263)) === "ustar\0" ? text(bytes, field.prefix) : ""
  const short = text(bytes, field.name)
  const name = extra.name ?? (prefix === "" ? short : `${prefix}/${short}`)
  const said = extension === undefined ? (kinds[type] ?? "unknown") : "unknown"
  const kind = said === "file" && name.endsWith("/") ? "directory" : said
  const size = extra.size ?? number(bytes, field.size)
  const mtime = extra.mtime ?? number(bytes, field.mtime)
  if (!Number.isSafeInteger(size) || size < 0) return undefined
  return {
    name,
    kind: extra.odd === true ? "unknown" : kind,
    // only these are followed by content, whatever the field says
    size: extension !== undefined || kind === "file" || kind === "unknown" ? size : 0,
    target: extra.target ?? text(bytes, field.target),
    mode: number(bytes, field.mode) & 0o1777,
    mtime: Number.isSafeInteger(mtime) && mtime >= 0 && mtime < 2 ** 33 ? mtime : 0,
    extension
  }
}

/** Reads the content of an extended header; nothing when it makes no sense. What holds for all entries is passed over. */
export const extras = (extension: Extension, content: Uint8Array): Extras | undefined => {
  if (extension === "longName") return { name: text(content, [0, content.length]) }
  if (extension === "longTarget") return { target: text(content, [0, content.length]) }
  let found: Extras = {}
  for (let at = 0; at < content.length; ) {
    const blank = content.indexOf(32, at)
    const length = blank < 0 ? Number.NaN : Number(binary(content.subarray(at, blank)))
    const record = content.subarray(blank + 1, at + length - 1)
    const equals = record.indexOf(61)
    if (!Number.isInteger(length) || length < 5 || at + length > content.length || equals < 1) return undefined
    const key = binary(record.subarray(0, equals))
    const value = binary(record.subarray(equals + 1))
    if (key === "path") found = { ...found, name: value }
    if (key === "linkpath") found = { ...found, target: value }
    if (key === "size") found = { ...found, size: Number(value) }
    if (key === "mtime") found = { ...found, mtime: Math.floor(Number(value)) }
    if (key.startsWith("GNU.sparse.")) found = { ...found, odd: true }
    at += length
  }
  return extension === "global" ? {} : found
}

/**
 * A header for an entry, behind others where its names are too long. GNU's format, which everybody reads, takes names as
 * the bytes they are, whatever the reader's locale.
 */
export const write = (entry: Fields, owner: Owner = nobody): Uint8Array => {
  const name = entry.kind === "directory" ? `${entry.name}/` : entry.name
  const types = { file: "0", hardlink: "1", symlink: "2", directory: "5", special: "0", unknown: "0" } as const
  return concat([
    ...(name.length > 100 ? long("L", name) : []),
    ...(entry.target.length > 100 ? long("K", entry.target) : []),
    encode({ ...entry, name: name.slice(0, 100), target: entry.target.slice(0, 100) }, types[entry.kind], owner)
  ])
}

const long = (type: "L" | "K", name: string): ReadonlyArray<Uint8Array> => {
  const size = name.length + 1
  const body = new Uint8Array(Math.ceil(size / block) * block)
  body.set(bytesOf(name))
  return [encode({ name: "././@LongLink", target: "", mode: 0o644, mtime: 0, size }, type, nobody), body]
}

const encode = (
  entry: Pick<Fields, "name" | "target" | "mode" | "mtime" | "size">,
  type: string,
  { gid, uid }: Owner
): Uint8Array => {
  const bytes = new Uint8Array(block)
  const put = ([at]: readonly [number, number], value: string) => bytes.set(bytesOf(value), at)
  /** Octal digits or, where there is no room for them, bytes behind one whose first bit is set. */
  const count = (value: number, digits: number) =>
    value < 8 ** digits ? `${value.toString(8).padStart(digits, "0")}\0` : `\x80${binary(large(value, digits))}`
  put(field.name, entry.name)
  put(field.mode, count(entry.mode, 7))
  put(field.uid, count(uid, 7))
  put(field.gid, count(gid, 7))
  put(field.size, count(entry.size, 11))
  put(field.mtime, count(entry.mtime, 11))
  put(field.type, type)
  put(field.target, entry.target)
  put(field.magic, "ustar  ")
  put(field.checksum, `${sum(bytes).toString(8).padStart(6, "0")}\0 `)
  return bytes
}

const large = (value: number, length: number): Uint8Array =>
  Uint8Array.from({ length }, (_, at) => Math.floor(value / 256 ** (length - 1 - at)) % 256)
