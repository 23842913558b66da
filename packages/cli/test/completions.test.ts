import { execFileSync, spawnSync } from "node:child_process"
import { fileURLToPath } from "node:url"
import { assert, describe, it } from "@effect/vitest"

const main = fileURLToPath(new URL("../src/main.ts", import.meta.url))

const completions = (shell: string): string =>
  execFileSync(process.execPath, ["--conditions=@org/source", main, "--completions", shell], { encoding: "utf8" })

/** Whether a shell is installed that can say if it understands a script. */
const understands = (shell: string, script: string): boolean | undefined => {
  const { error, status } = spawnSync(shell, ["-n"], { input: script })
  return error === undefined ? status === 0 : undefined
}

describe("the completion script", () => {
  for (const shell of ["bash", "zsh", "fish"]) {
    it(`for ${shell} knows every verb and flag, and is understood where ${shell} is installed`, () => {
      const script = completions(shell)
      for (const word of [
        "up",
        "down",
        "resume",
        "switch",
        "destroy",
        "list",
        "status",
        "history",
        "exec",
        "gc",
        "branch",
        "json"
      ]) {
        assert.include(script, word)
      }
      assert.notStrictEqual(understands(shell, script), false)
    })
  }
})
