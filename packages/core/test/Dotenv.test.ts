import { execFileSync } from "node:child_process"
import { assert, describe, it } from "@effect/vitest"
import { Schema } from "effect"
import * as Dotenv from "../src/Dotenv.ts"

const odd = {
  PLAIN: "one",
  EMPTY: "",
  SPACES: "  two  words ",
  QUOTES: `it's "so"`,
  DOLLAR: `$HOME $\{X} \`id\` $(id)`,
  LINES: "first\nsecond\n",
  WINDOWS: "first\r\nsecond\r",
  EQUALS: "a=b=c",
  HASH: "a # b",
  BACKSLASH: "a\\n\\'",
  UNICODE: "grüße 🎈"
}

describe("Dotenv", () => {
  it("I-86 gives back every value that it wrote, byte for byte, and so does a shell", () => {
    const text = Dotenv.format(odd)
    assert.deepStrictEqual(Dotenv.parse(text), odd)
    for (const [name, value] of Object.entries(odd)) {
      const printed = execFileSync("sh", ["-c", `set -a; eval "$1"; printenv ${name}`, "sh", text])
      assert.strictEqual(printed.toString(), `${value}\n`)
    }
  })

  it.prop("I-86 gives back any value", [Schema.String], ([value]) => {
    const safe = value.replaceAll("\0", "")
    assert.deepStrictEqual(Dotenv.parse(Dotenv.format({ A: safe, B: "next" })), { A: safe, B: "next" })
  })

  it("I-86 writes variables sorted by name", () => {
    assert.strictEqual(Dotenv.format({ B: "2", A: "1" }), "A=1\nB=2\n")
  })

  it("I-86 strips matching quotes, knows comments and expands nothing", () => {
    const text = [
      "# a comment",
      "A=1 # one",
      "export B = 'two' # more",
      `C="a\\nb"`,
      "D=a#b",
      "E=$A",
      "no assignment",
      "F=",
      'G="x',
      "H=last"
    ].join("\r\n")
    assert.deepStrictEqual(Dotenv.parse(text), {
      A: "1",
      B: "two",
      C: "a\nb",
      D: "a#b",
      E: "$A",
      F: "",
      G: '"x',
      H: "last"
    })
  })
})
