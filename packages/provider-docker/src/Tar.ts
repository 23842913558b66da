/** Headers of a tar archive that is packed here, in POSIX's format. */

export interface Fields {
  /** Of whatever length. */
  readonly path: string
  readonly kind: "file" | "directory" | "link"
  /** Bytes of content that follow, filled up by `padding`. */
  readonly size: number
  /** Permissions. */
  readonly mode: number
  /** Milliseconds since the epoch. */
  readonly mtime: number
  /** What a link points to; else empty. */
  readonly target: string
}

const block = 512

const encoder = new TextEncoder()

/** The header of an entry that belongs to the superuser. */
export const header = ({ kind, mode, mtime, path, size, target }: Fields): Uint8Array => {
  const name = encoder.encode(kind === "directory" ? `${path}/` : path)
  const link = encoder.encode(target)
  const records = [
    ...(name.length > 100 ? [record("path", name)] : []),
    ...(link.length > 100 ? [record("linkpath", link)] : []),
    // what eleven octal digits can say
    ...(size >= 8 ** 11 ? [record("size", encoder.encode(String(size)))] : [])
  ]
  const seconds = Math.min(Math.max(0, Math.floor(mtime / 1000)), 8 ** 11 - 1)
  const plain = encode({ name, link, size: size % 8 ** 11, mode, seconds, type: types[kind] })
  if (records.length === 0) return plain
  const extension = joined(records)
  const before = { name: encoder.encode("extended"), link: new Uint8Array(0), mode: 0o644, seconds, type: "x" }
  return joined([encode({ ...before, size: extension.length }), extension, padding(extension.length), plain])
}

/** What follows after so many bytes of content, to a whole block. */
export const padding = (size: number): Uint8Array => new Uint8Array(-size & (block - 1))

/** The end of an archive. */
export const end = new Uint8Array(2 * block)

const types = { file: "0", link: "2", directory: "5" } as const

/** A record says its own length, of which its digits are a part. */
const record = (key: string, value: Uint8Array): Uint8Array => {
  const length = key.length + value.length + 3
  const digits = String(length + String(length).length).length
  return joined([encoder.encode(`${length + digits} ${key}=`), value, encoder.encode("\n")])
}

const encode = (fields: {
  readonly name: Uint8Array
  readonly link: Uint8Array
  readonly size: number
  readonly mode: number
  readonly seconds: number
  readonly type: string
}): Uint8Array => {
  const bytes = new Uint8Array(block)
  const put = (at: number, value: string) => bytes.set(encoder.encode(value), at)
  const octal = (value: number, digits: number) => `${value.toString(8).padStart(digits, "0")}\0`
  bytes.set(fields.name.subarray(0, 100), 0)
  put(100, octal(fields.mode, 7))
  put(108, octal(0, 7))
  put(116, octal(0, 7))
  put(124, octal(fields.size, 11))
  put(136, octal(fields.seconds, 11))
  // the sum counts its own field as blanks
  put(148, " ".repeat(8))
  put(156, fields.type)
  bytes.set(fields.link.subarray(0, 100), 157)
  put(257, "ustar\x0000")
  put(
    148,
    `${octal(
      bytes.reduce((sum, byte) => sum + byte, 0),
      6
    )} `
  )
  return bytes
}

const joined = (parts: ReadonlyArray<Uint8Array>): Uint8Array => {
  const whole = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0))
  let at = 0
  for (const part of parts) {
    whole.set(part, at)
    at += part.length
  }
  return whole
}
