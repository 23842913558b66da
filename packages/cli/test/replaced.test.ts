import { execFileSync } from "node:child_process"
import { assert, describe, it } from "@effect/vitest"
import { replaced } from "../src/replaced.ts"

const command = (...argv: ReadonlyArray<string>): string | undefined => replaced(argv)?.nextStep

describe("a verb of earlier tools", () => {
  it("is refused with the command that replaces it", () => {
    assert.strictEqual(command("create", ".", "--branch", "main"), "sandbox up . --branch main")
    assert.strictEqual(command("launch"), "sandbox up")
    assert.strictEqual(command("launch", "app", "-p", "local"), "sandbox up app -p local")
    assert.strictEqual(command("launch", "app", "--repo", "."), "sandbox up . --name app")
    assert.strictEqual(command("launch", "--repo=.", "app", "-q"), "sandbox up . --name app -q")
    assert.strictEqual(command("launch", "--repo", "."), "sandbox up .")
    assert.strictEqual(command("teardown", "app"), "sandbox destroy app")
    assert.strictEqual(command("shutdown"), "sandbox down --all")
    assert.strictEqual(command("flush", "--yes"), "sandbox gc")
  })

  it("carries the fields of the output contract", () => {
    const refusal = replaced(["flush"])
    assert.deepInclude(refusal, {
      code: "ERR_COMMAND_REPLACED",
      retryable: false,
      operationId: null,
      details: { command: "sandbox gc" }
    })
  })

  it("has its arguments quoted so that a shell reads them back as they were", () => {
    const words = [
      "",
      "two words",
      "it's",
      '"',
      "$HOME",
      "`date`",
      "a;b",
      "*",
      "\\",
      "-x",
      "a=b",
      "ä",
      "line\nbreak",
      "~"
    ]
    const text = command("create", ...words) ?? ""
    const seen = execFileSync("sh", ["-c", `sandbox() { printf '%s\\0' "$@"; }; ${text}`]).toString()
    assert.deepEqual(seen.split("\0").slice(0, -1), ["up", ...words])
  })
})

describe("any other command line", () => {
  it("is not refused", () => {
    for (const argv of [[], ["up", "create"], ["down"], ["--json"], ["constructor"], ["__proto__"], ["toString"]]) {
      assert.isUndefined(replaced(argv), argv.join(" "))
    }
  })
})
