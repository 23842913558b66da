/** The token for repositories reaches git, and nothing else ever shows it. */
import { readdirSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { world } from "./support/sandbox.ts"

const canary = "ghp_canary_0123456789"

/** Every file below a directory that holds the canary. */
const spilled = (directory: string): ReadonlyArray<string> =>
  readdirSync(directory, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
    .filter((file) => readFileSync(file).includes(canary))

describe("a token for repositories", () => {
  it.live("I-96 is in no output, no record, no box and no file, whether things go well or not", () =>
    Effect.gen(function* () {
      const w = yield* world
      const env = { GITHUB_TOKEN: canary }
      const commands: ReadonlyArray<ReadonlyArray<string>> = [
        ["up", w.repository, "-b", "main", "-p", "local", "-n", "app", "--json"],
        ["up", `${w.url}-missing`, "-b", "main", "-p", "local", "-n", "none", "--json"],
        ["exec", "app", "--", "env"],
        ["exec", "app", "--json", "--", "no-such-command"],
        ["list", "--json"],
        ["history", "app", "--json"],
        ["down", "app"],
        ["status", "app", "--json"],
        ["destroy", "app"],
        ["gc", "--json"]
      ]
      for (const command of commands) {
        const { stdout, stderr } = yield* w.run(command, { env })
        assert.notInclude(stdout + stderr, canary, command.join(" "))
      }
      assert.deepStrictEqual(spilled(w.directory), [])
    })
  )
})
