/** Where HTTP/1.1 messages begin and end in one direction of a connection. */

export interface Head {
  /** The request line, or the status line. */
  readonly start: string
  /** By lower-case name. */
  readonly headers: ReadonlyMap<string, string>
}

/**
 * What follows a head.
 *
 * - `framed`: a body as the headers tell
 * - `empty`: none, whatever the headers tell
 * - `interim`: none, and it was not yet the message itself
 * - `raw`: bytes until the connection ends, and no message any more: this one ends with its head
 */
export type Follows = "framed" | "empty" | "interim" | "raw"

const headOf = (text: string): Head => {
  const [start = "", ...lines] = text.split("\r\n")
  const headers = lines.map((line) => {
    const colon = line.indexOf(":")
    return [line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim()] as const
  })
  return { start, headers: new Map(headers) }
}

/** Reads a stream of bytes chunk by chunk, and says of each message when its head and when its end was read. */
export const messages = (on: { readonly head: (head: Head) => Follows; readonly end: () => void }) => {
  let rest: Buffer = Buffer.alloc(0)
  let next: "head" | "body" | "size" | "trailer" | "raw" = "head"
  /** What a body, or a chunk of it with its line break, has still to come. */
  let left = 0
  let chunked = false

  /** Takes what ends with a mark, which goes with it; nothing while the mark is to come. */
  const until = (mark: string): string | undefined => {
    const end = rest.indexOf(mark)
    if (end < 0) return undefined
    const text = rest.toString("latin1", 0, end)
    rest = rest.subarray(end + mark.length)
    return text
  }
  const end = (then: "head" | "raw" = "head") => {
    next = then
    on.end()
  }
  const begin = (head: Head) => {
    const follows = on.head(head)
    const length = head.headers.get("content-length")
    chunked = head.headers.get("transfer-encoding")?.toLowerCase() === "chunked"
    left = chunked ? 0 : Number(length ?? 0)
    if (follows === "raw") end("raw")
    else if (follows === "empty") end()
    else if (follows === "interim") next = "head"
    else if (chunked) next = "size"
    else if (left > 0) next = "body"
    // a reply without a length lasts as long as its connection
    else end(length === undefined && head.start.startsWith("HTTP/") ? "raw" : "head")
  }

  const steps = {
    head: () => {
      const text = until("\r\n\r\n")
      if (text !== undefined) begin(headOf(text))
      return text !== undefined
    },
    body: () => {
      const taken = Math.min(left, rest.length)
      rest = rest.subarray(taken)
      left -= taken
      if (left === 0 && chunked) next = "size"
      else if (left === 0) end()
      return taken > 0
    },
    size: () => {
      const size = until("\r\n")
      if (size !== undefined) left = Number.parseInt(size, 16) + 2
      if (size !== undefined) next = left === 2 ? "trailer" : "body"
      return size !== undefined
    },
    trailer: () => {
      const line = until("\r\n")
      if (line === "") end()
      return line !== undefined
    },
    raw: () => {
      rest = Buffer.alloc(0)
      return false
    }
  }

  return (chunk: Buffer): void => {
    rest = rest.length === 0 ? chunk : Buffer.concat([rest, chunk])
    while (rest.length > 0 && steps[next]()) {}
  }
}
