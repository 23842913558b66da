import { assert, describe, it } from "@effect/vitest"
import { Result } from "effect"
import * as Credentials from "../src/Credentials.ts"

const text = JSON.stringify({
  openai: { type: "oauth", refresh: "r", access: "a", expires: 1763000000000 },
  anthropic: { type: "api", key: "k" },
  github: { type: "oauth", refresh: "g", access: "g", expires: 0 }
})

const parsed = () => Credentials.parse(text)!

describe("credentials", () => {
  it("I-94 only the chosen providers are selected, with everything that their entries hold", () => {
    const chosen = Result.getOrThrow(Credentials.select(parsed(), ["openai"]))
    assert.deepStrictEqual(JSON.parse(Credentials.format(chosen)), { openai: JSON.parse(text).openai })
    const two = Result.getOrThrow(Credentials.select(parsed(), ["github", "openai", "github"]))
    assert.deepStrictEqual(Object.keys(JSON.parse(Credentials.format(two))), ["github", "openai"])
  })

  it("nothing is selected when one of the names is unknown, and the known names are told", () => {
    const chosen = Credentials.select(parsed(), ["openai", "mistral", "toString", "constructor"])
    assert.deepStrictEqual(
      chosen,
      Result.fail({
        unknown: ["mistral", "toString", "constructor"],
        known: ["anthropic", "github", "openai"]
      })
    )
  })

  it("a name that objects have of their own is a provider like any other", () => {
    const odd = Credentials.parse(`{"__proto__": {"key": "p"}, "openai": {"key": "o"}}`)!
    const chosen = Result.getOrThrow(Credentials.select(odd, ["__proto__"]))
    assert.strictEqual(Credentials.format(chosen), `{\n  "__proto__": {\n    "key": "p"\n  }\n}\n`)
  })

  it("what is no object of objects is no file of credentials", () => {
    for (const bad of [
      "",
      "{",
      "null",
      "[]",
      `"openai"`,
      "{}x",
      `{"openai": "key"}`,
      `{"openai": null}`,
      `{"openai": []}`
    ]) {
      assert.isUndefined(Credentials.parse(bad), bad)
    }
    assert.deepStrictEqual(Credentials.parse("{}"), {})
  })
})
