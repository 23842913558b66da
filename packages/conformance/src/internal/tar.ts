/** Small tar archives, honest ones and others, as the laws write and read them. */

export interface Entry {
  readonly name: string
  readonly kind: "file" | "directory" | "symlink"
  readonly mode: number
  readonly content: Uint8Array
  /** What a link points to; empty for anything else. */
  readonly target: string
}

const block = 512
const types = { file: "0", directory: "5", symlink: "2" } as const

export const file = (name: string, content: string | Uint8Array, mode = 0o644): Entry => ({
  name,
  kind: "file",
  mode,
  content: typeof content === "string" ? new TextEncoder().encode(content) : content,
  target: ""
})

export const directory = (name: string, mode = 0o755): Entry => ({
  ...file(name, "", mode),
  kind: "directory"
})

export const symlink = (name: string, target: string): Entry => ({ ...file(name, "", 0o777), kind: "symlink", target })

/** An archive of these entries, with their names as they are. */
export const write = (entries: ReadonlyArray<Entry>): Uint8Array => {
  const parts = entries.flatMap((entry) => [header(entry), entry.content, new Uint8Array(-entry.content.length & 511)])
  return concat([...parts, new Uint8Array(2 * block)])
}

/** The entries of an archive, by names without what is in front of and behind them, in order of their names. */
export const read = (bytes: Uint8Array): ReadonlyArray<Entry> => {
  const entries: Array<Entry> = []
  let extra: { readonly name?: string; readonly target?: string } = {}
  for (let at = 0; at + block <= bytes.length && bytes[at] !== 0; ) {
    const text = (from: number, length: number) => {
      const field = bytes.subarray(at + from, at + from + length)
      const end = field.indexOf(0)
      return decode(end < 0 ? field : field.subarray(0, end))
    }
    const size = Number.parseInt(text(124, 12), 8)
    const type = text(156, 1)
    const content = bytes.slice(at + block, at + block + size)
    const prefix = text(257, 6) === "ustar" ? text(345, 155) : ""
    const name = extra.name ?? (prefix === "" ? text(0, 100) : `${prefix}/${text(0, 100)}`)
    const target = extra.target ?? text(157, 100)
    const mode = Number.parseInt(text(100, 8), 8) & 0o777
    at += block + Math.ceil(size / block) * block
    if (type === "L") extra = { ...extra, name: decode(content).replace(/\0.*/s, "") }
    else if (type === "K") extra = { ...extra, target: decode(content).replace(/\0.*/s, "") }
    else if (type === "x") extra = { ...extra, ...records(content) }
    else if (type !== "g") {
      const kind = type === "5" ? "directory" : type === "2" ? "symlink" : "file"
      const plain = name.replace(/^(\.\/)+/, "").replace(/\/+$/, "")
      entries.push({ name: plain, kind, mode, content, target: kind === "symlink" ? target : "" })
      extra = {}
    }
  }
  return entries.sort((one, other) => (one.name < other.name ? -1 : 1))
}

/** The records `<length> <key>=<value>` of an extended header that are about names; lengths are in bytes. */
const records = (content: Uint8Array) => {
  const found: { name?: string; target?: string } = {}
  for (let at = 0; at < content.length && content[at] !== 0; ) {
    const blank = content.indexOf(32, at)
    const length = Number(decode(content.subarray(at, blank)))
    const [key, ...value] = decode(content.subarray(blank + 1, at + length - 1)).split("=")
    if (key === "path") found.name = value.join("=")
    if (key === "linkpath") found.target = value.join("=")
    at += length
  }
  return found
}

const header = ({ content, kind, mode, name, target }: Entry): Uint8Array => {
  const bytes = new Uint8Array(block)
  const put = (at: number, text: string) => bytes.set(new TextEncoder().encode(text), at)
  const octal = (value: number, digits: number) => `${value.toString(8).padStart(digits, "0")}\0`
  put(0, name)
  put(100, octal(mode, 7) + octal(0, 7) + octal(0, 7) + octal(content.length, 11) + octal(0, 11))
  // The sum counts its own field as blanks.
  put(148, `        ${types[kind]}${target}`)
  put(257, "ustar\x0000")
  put(
    148,
    octal(
      bytes.reduce((sum, byte) => sum + byte, 0),
      6
    )
  )
  return bytes
}

const decode = (bytes: Uint8Array) => new TextDecoder().decode(bytes)

const concat = (parts: ReadonlyArray<Uint8Array>): Uint8Array => {
  const whole = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0))
  let at = 0
  for (const part of parts) {
    whole.set(part, at)
    at += part.length
  }
  return whole
}
