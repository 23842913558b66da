import { assert, describe, it } from "@effect/vitest"
import { dropCut, type LogChunk, liner, reader } from "../src/internal/logFrames.ts"
import * as logPlan from "../src/internal/logPlan.ts"

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text)
const text = (data: Uint8Array): string => new TextDecoder().decode(data)
const chunk = (service: string, content: string, at = 1): LogChunk => ({ service, at, bytes: bytes(content) })

describe("log frames", () => {
  const frames = ["web 5 12\nline\nweb 1 2", "db 6 1\n\n", "web 7 0\n", "db 8 3\n\u0000\nx"].join("")

  it("are read alike in pieces of any size", () => {
    for (let size = 1; size <= frames.length; size++) {
      const push = reader()
      const found = new Map<string, string>()
      for (let from = 0; from < frames.length; from += size) {
        for (const { at, bytes: part, service } of push(bytes(frames.slice(from, from + size)))) {
          found.set(`${service} ${at}`, (found.get(`${service} ${at}`) ?? "") + text(part))
        }
      }
      assert.deepStrictEqual(
        Object.fromEntries(found),
        { "web 5": "line\nweb 1 2", "db 6": "\n", "db 8": "\u0000\nx" },
        `pieces of ${size}`
      )
    }
  })

  it("become lines of each command for itself, those without an end last", () => {
    const { push, rest } = liner()
    const lines = [chunk("a", "on"), chunk("b", "x\ny"), chunk("a", "e\n\ntwo", 2)].flatMap(push)
    const shown = ({ service, bytes }: { readonly service: string; readonly bytes: Uint8Array }) =>
      `${service}:${text(bytes)}`
    assert.deepStrictEqual(lines.map(shown), ["b:x", "a:one", "a:"])
    assert.deepStrictEqual(rest().map(shown), ["b:y", "a:two"])
  })

  it("lose the end of a line that began too early, and nothing else", () => {
    const whole = dropCut(new Set(["a"]))
    const kept = [chunk("a", "cut"), chunk("b", "cut\n"), chunk("a", " off\nall\n"), chunk("a", "more\n")].flatMap(
      whole
    )
    assert.deepStrictEqual(
      kept.map(({ service, bytes }) => `${service}:${text(bytes)}`),
      ["b:cut\n", "a:all\n", "a:more\n"]
    )
  })
})

describe("a plan of logs", () => {
  const survey = logPlan.parseSurvey(
    [
      "F web log.1 100 0",
      "I 10 40",
      "I 12 100",
      "F web log 50 0",
      "I 20 10",
      "I 30 50",
      "F db log 30 0",
      "I 11 20",
      "T 40"
    ].join("\n")
  )
  const shown = ({ at, file, from, name, to }: logPlan.Segment) => `${name} ${file} ${from}-${to} @${at}`

  it("shows what was written in the order in which it was, the older file before the newer", () => {
    const { cut, followed, segments } = logPlan.plan(survey, {})
    assert.deepStrictEqual(segments.map(shown), [
      "web log.1 0-40 @10",
      "db log 0-20 @11",
      "web log.1 40-100 @12",
      "web log 0-50 @30",
      "db log 20-30 @40"
    ])
    assert.deepStrictEqual(
      [...followed],
      [
        ["web", 50],
        ["db", 30]
      ]
    )
    assert.strictEqual(cut.size, 0)
  })

  it("leaves out what is too old, and begins one byte early to see whether a line begins there", () => {
    const { cut, segments } = logPlan.plan(survey, { since: 20 })
    assert.deepStrictEqual(segments.map(shown), ["web log 0-50 @30", "db log 19-30 @40"])
    assert.deepStrictEqual([...cut], ["db"])
    assert.deepStrictEqual(logPlan.plan(survey, { since: 12 }).segments.map(shown), [
      "web log 9-50 @30",
      "db log 19-30 @40"
    ])
  })

  it("begins where the last lines do that were asked for", () => {
    const tail = logPlan.parseSurvey(["F web log.1 100 90", "I 12 100", "F web log 50 0", "I 30 50", "T 40"].join("\n"))
    assert.deepStrictEqual(logPlan.plan(tail, {}).segments.map(shown), ["web log.1 90-100 @12", "web log 0-50 @30"])
    const none = logPlan.parseSurvey(["F web log 50 50", "I 30 50", "T 40"].join("\n"))
    assert.deepStrictEqual(logPlan.plan(none, {}).segments, [])
    assert.deepStrictEqual([...logPlan.plan(none, {}).followed], [["web", 50]])
  })

  it("keeps few segments of logs that took turns for long, and every byte in its order", () => {
    const turns = Array.from({ length: 5000 }, (_, i) => i + 1)
    const index = (parity: number) => turns.filter((i) => i % 2 === parity).map((i) => `I ${i} ${i}`)
    const long = logPlan.parseSurvey(
      ["F a log 4999 0", ...index(1), "F b log 5000 0", ...index(0), "T 5001"].join("\n")
    )
    const { segments } = logPlan.plan(long, {})
    assert.isAtMost(segments.length, 400)
    for (const [name, size] of [
      ["a", 4999],
      ["b", 5000]
    ] as const) {
      let at = 0
      for (const segment of segments.filter((segment) => segment.name === name)) {
        assert.strictEqual(segment.from, at)
        at = segment.to
      }
      assert.strictEqual(at, size)
    }
  })
})
