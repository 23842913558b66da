import { assert, describe, it } from "@effect/vitest"
import { parse } from "../src/config/Yaml.ts"

describe("a file", () => {
  it("is plain values, and knows where each of them stands", () => {
    const { position, problems, value } = parse(
      ["slots:", "  max: 3", "services:", "  - name: a", "    command: b", "  - {name: c, port: 1}", "empty:"].join(
        "\n"
      )
    )
    assert.deepEqual(problems, [])
    assert.deepEqual(value, {
      slots: { max: 3 },
      services: [
        { name: "a", command: "b" },
        { name: "c", port: 1 }
      ],
      empty: null
    })
    for (const [path, line, column] of [
      [["slots"], 1, 1],
      [["slots", "max"], 2, 8],
      [["services"], 3, 1],
      [["services", 0, "command"], 5, 14],
      [["services", 1], 6, 5],
      [["services", 1, "port"], 6, 21],
      [["empty"], 7, 1],
      // what is not there is where it would be
      [["services", 0, "port"], 4, 5],
      [["slots", "stride"], 1, 1]
    ] as const) {
      assert.deepEqual(position(path), { line, column }, path.join("."))
    }
  })

  it("finds what an alias stands for where it was written", () => {
    const { position, value } = parse("a: &x\n  b: 1\nc: *x\n")
    assert.deepEqual(value, { a: { b: 1 }, c: { b: 1 } })
    assert.deepEqual(position(["c", "b"]), { line: 2, column: 6 })
  })

  it("that is empty, or all comments, says nothing", () => {
    for (const text of ["", "\n", "# a: 1\n", "---\n", "\ufeff# x\n"]) {
      assert.deepEqual(parse(text).value, {}, JSON.stringify(text))
      assert.deepEqual(parse(text).problems, [], JSON.stringify(text))
    }
  })

  it("that is no YAML, or no map, is told with the place of everything that is wrong", () => {
    const lines = (text: string) => parse(text).problems.map(({ line }) => line)
    assert.deepEqual(lines("a: 1\nb: 2\na: 3\nb: 4\n"), [3, 4])
    assert.deepEqual(lines("- a\n"), [1])
    assert.deepEqual(lines("text"), [1])
    assert.deepEqual(lines("a: 1\nb: [1, 2\n").length, 1)
    assert.deepEqual(lines("a: 1\n---\nb: 2\n"), [2])
    assert.deepEqual(lines("a: !env HOME\n"), [1])
    assert.deepEqual(lines("a: *nowhere\n"), [1])
  })

  it("cannot stand for more than it is", () => {
    const bomb = [
      "a: &a [x,x,x,x,x,x,x,x,x]",
      ..."bcdefgh".split("").map((name, index) => {
        const before = "abcdefgh"[index]
        return `${name}: &${name} [${Array(9).fill(`*${before}`).join(",")}]`
      })
    ].join("\n")
    assert.strictEqual(parse(bomb).problems.length, 1)
  })

  it("cannot be part of itself", () => {
    for (const text of [
      "env: &a { x: *a }",
      "a: 1\nb: &b\n  - 1\n  - [*b]\n",
      "a: 1\nb: &b\n  c: &c { d: [*c, *b] }"
    ]) {
      const { problems, value } = parse(text)
      assert.deepEqual(value, {}, text)
      assert.match(problems[0]?.message ?? "", /stands for what it is part of/)
      assert.strictEqual(problems[0]?.line, text.split("\n").findIndex((line) => line.includes("*")) + 1)
    }
    const twice = parse("a: &a { x: 1 }\nb: [*a, *a]\nc: { d: *a }")
    assert.deepEqual(twice.problems, [])
    assert.deepEqual(twice.value, { a: { x: 1 }, b: [{ x: 1 }, { x: 1 }], c: { d: { x: 1 } } })
  })
})
