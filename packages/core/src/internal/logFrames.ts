/** What the log scripts write: a line `<name> <seconds> <count>`, then that many bytes of the log as they are. */

/** Bytes of one command's log. */
export interface LogChunk {
  /** The service, or the run of `exec --detach`. */
  readonly service: string
  /** When they were written, in seconds and not before; the clock is the box's, and right to two seconds. */
  readonly at: number
  readonly bytes: Uint8Array
}

/** A line of a log; the last one of a log may lack its end. */
export interface LogLine {
  readonly service: string
  readonly at: number
  /** Without its line feed. */
  readonly bytes: Uint8Array
}

const lineFeed = 10

/** Reads frames from pieces of any size. Feed it in order; it keeps at most the head of one frame. */
export const reader = (): ((bytes: Uint8Array) => ReadonlyArray<LogChunk>) => {
  let head = ""
  let frame: { readonly service: string; readonly at: number } | undefined
  let missing = 0
  return (bytes) => {
    const chunks: Array<LogChunk> = []
    for (let at = 0; at < bytes.length; ) {
      if (frame !== undefined) {
        const part = bytes.subarray(at, at + missing)
        chunks.push({ ...frame, bytes: part })
        at += part.length
        missing -= part.length
        if (missing === 0) frame = undefined
        continue
      }
      const end = bytes.indexOf(lineFeed, at)
      head += new TextDecoder().decode(bytes.subarray(at, end < 0 ? bytes.length : end))
      if (end < 0) break
      at = end + 1
      const [service = "", seconds, count] = head.split(" ")
      head = ""
      missing = Number(count)
      if (missing > 0) frame = { service, at: Number(seconds) }
    }
    return chunks
  }
}

/** Drops what is before the first line feed of each of these commands: the end of a line that began too early. */
export const dropCut = (cut: ReadonlySet<string>): ((chunk: LogChunk) => ReadonlyArray<LogChunk>) => {
  const waiting = new Set(cut)
  return (chunk) => {
    if (!waiting.has(chunk.service)) return [chunk]
    const end = chunk.bytes.indexOf(lineFeed)
    if (end < 0) return []
    waiting.delete(chunk.service)
    return end + 1 === chunk.bytes.length ? [] : [{ ...chunk, bytes: chunk.bytes.subarray(end + 1) }]
  }
}

/** Puts lines together, of each command for itself; `rest` gives those that never ended. */
export const liner = () => {
  const begun = new Map<string, { readonly at: number; readonly parts: ReadonlyArray<Uint8Array> }>()
  const push = ({ at, bytes, service }: LogChunk): ReadonlyArray<LogLine> => {
    const lines: Array<LogLine> = []
    let from = 0
    for (let end = bytes.indexOf(lineFeed); end >= 0; end = bytes.indexOf(lineFeed, from)) {
      lines.push({ service, at, bytes: join([...(begun.get(service)?.parts ?? []), bytes.subarray(from, end)]) })
      begun.delete(service)
      from = end + 1
    }
    if (from < bytes.length) {
      begun.set(service, { at, parts: [...(begun.get(service)?.parts ?? []), bytes.slice(from)] })
    }
    return lines
  }
  const rest = (): ReadonlyArray<LogLine> =>
    [...begun].map(([service, { at, parts }]) => ({ service, at, bytes: join(parts) }))
  return { push, rest }
}

const join = (parts: ReadonlyArray<Uint8Array>): Uint8Array => {
  if (parts.length === 1) return parts[0]!
  const whole = new Uint8Array(parts.reduce((length, part) => length + part.length, 0))
  let at = 0
  for (const part of parts) {
    whole.set(part, at)
    at += part.length
  }
  return whole
}
