/** Which bytes of which log to show, and in what order: pure. */

/** One of the two files of a command's log, as it was seen. */
export interface LogFile {
  readonly name: string
  readonly file: "log.1" | "log"
  readonly size: number
  /** Where its last lines begin that were asked for. */
  readonly tail: number
  /** How large it was at what time, in seconds, oldest first. */
  readonly index: ReadonlyArray<{ readonly at: number; readonly size: number }>
}

/** What there is, and the box's own time in seconds. */
export interface Survey {
  readonly now: number
  /** Of each command the older file before the newer. */
  readonly files: ReadonlyArray<LogFile>
}

/** Bytes of a log that were written at about the same time. */
export interface Segment {
  readonly name: string
  readonly file: LogFile["file"]
  readonly from: number
  readonly to: number
  /** Seconds; no byte of it is younger. */
  readonly at: number
}

export interface Plan {
  /** In the order in which to show them. */
  readonly segments: ReadonlyArray<Segment>
  /** How much of its `log` is covered, by name: where to go on. */
  readonly followed: ReadonlyMap<string, number>
  /** Those whose first segment may begin inside a line, and one byte before what was asked for. */
  readonly cut: ReadonlySet<string>
}

/** More segments than this are not worth their order: each costs two processes. */
const maxSegments = 400

/** Reads what the survey's script wrote: `T`, then for each file an `F` line and the `I` lines of its index. */
export const parseSurvey = (text: string): Survey => {
  const files: Array<LogFile & { readonly index: Array<{ at: number; size: number }> }> = []
  let now = 0
  for (const line of text.split("\n")) {
    const [tag, ...words] = line.split(" ")
    if (tag === "T") now = Number(words[0])
    if (tag === "F") {
      const [name = "", file, size, tail] = words
      files.push({ name, file: file as LogFile["file"], size: Number(size), tail: Number(tail), index: [] })
    }
    const [at, size] = words.map(Number)
    if (tag === "I" && Number.isFinite(at) && Number.isFinite(size)) files.at(-1)?.index.push({ at: at!, size: size! })
  }
  return { now, files }
}

/** What to show: from the beginning, or the last lines of each, or what is no older than some seconds. */
export const plan = (survey: Survey, options: { readonly since?: number | undefined }): Plan => {
  const cutoff = options.since === undefined ? undefined : survey.now - options.since
  const cut = new Set<string>()
  const shown: Array<Segment> = []
  for (const file of survey.files) {
    const parts = segmentsOf(file, survey.now).filter(({ at }) => cutoff === undefined || at >= cutoff)
    const [first, ...rest] = parts
    if (first === undefined) continue
    const begun = shown.some(({ name }) => name === file.name)
    // a time falls anywhere in a line: one byte more tells whether it began there
    const inside = cutoff !== undefined && !begun && first.from > file.tail
    if (inside) cut.add(file.name)
    shown.push(inside ? { ...first, from: first.from - 1 } : first, ...rest)
  }
  return {
    segments: merged(shown),
    followed: new Map(survey.files.flatMap(({ file, name, size }) => (file === "log" ? [[name, size] as const] : []))),
    cut
  }
}

const segmentsOf = (file: LogFile, now: number): ReadonlyArray<Segment> => {
  const segments: Array<Segment> = []
  let from = file.tail
  for (const { at, size } of [...file.index, { at: now, size: file.size }]) {
    const to = Math.min(size, file.size)
    if (to <= from) continue
    segments.push({ name: file.name, file: file.file, from, to, at })
    from = to
  }
  return segments
}

/** In the order of time, each command's own order kept; neighbours of one file become one. */
const merged = (segments: ReadonlyArray<Segment>, grain = 1): ReadonlyArray<Segment> => {
  const latest = new Map<string, number>()
  const timed = segments.map((segment) => {
    const at = Math.max(Math.floor(segment.at / grain), latest.get(segment.name) ?? 0)
    latest.set(segment.name, at)
    return { segment, at }
  })
  const joined: Array<Segment> = []
  for (const { segment } of timed.toSorted((a, b) => a.at - b.at)) {
    const last = joined.at(-1)
    const continues = last?.name === segment.name && last.file === segment.file && last.to === segment.from
    if (continues) joined[joined.length - 1] = { ...last, to: segment.to, at: segment.at }
    else joined.push(segment)
  }
  return joined.length > maxSegments && grain < 1e9 ? merged(segments, grain * 4) : joined
}
