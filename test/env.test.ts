/** The environment of a session's commands, as it is shown. */
import { execFileSync } from "node:child_process"
import { assert, layer } from "@effect/vitest"
import { Effect } from "effect"
import { vi } from "vitest"
import { Connected } from "./support/client.ts"
import { assertFailure } from "./support/contract.ts"
import { query } from "./support/sandbox.ts"

const odd = {
  ODD_QUOTES: `it's "so"`,
  ODD_DOLLAR: "$HOME $X `id` $(id) \\ \\n !",
  ODD_LINES: "first\nsecond\n",
  ODD_EQUALS: "a=b = c",
  ODD_SPACES: "  two  words ",
  ODD_UNICODE: "grüße 🎈",
  ODD_HASH: "#no comment",
  ODD_EMPTY: "",
  oddCase: "x"
}

const canary = "canary-password-0123456789"

const up = Effect.fnUntraced(function* (name: string) {
  const { client, w } = yield* Connected
  vi.stubEnv("TEST_SECRET_SOURCE", canary)
  const setup = { env: odd, secrets: [{ name: "API_KEY", from: { env: "TEST_SECRET_SOURCE" } }] } as const
  return yield* Effect.promise(() =>
    client.up({ repository: w.repository, branch: name, base: "main", name, provider: "local", setup })
  )
})

/** What a shell has after it has read the text. */
const read = (shell: string, text: string, prefix = ""): Readonly<Record<string, string>> => {
  const script = `${prefix}eval "$1"; exec "$2" -e 'process.stdout.write(JSON.stringify(process.env))'`
  return JSON.parse(
    execFileSync(shell, ["-c", script, "sh", text, process.execPath], {
      env: {},
      encoding: "utf8",
      stdio: ["ignore", "pipe", "inherit"]
    })
  )
}

layer(Connected.layer, { excludeTestServices: true })("env", (it) => {
  it.effect("I-86 every format gives back the values that commands see, byte for byte", () =>
    Effect.gen(function* () {
      const { w } = yield* Connected
      yield* up("values")
      const { env } = (yield* w.sandbox("env", "values", "--json")).json() as unknown as { env: Record<string, string> }
      assert.deepInclude(env, { ...odd, SANDBOX_NAME: "values", SANDBOX_PROVIDER: "local" })
      const print = "process.stdout.write(JSON.stringify(process.env))"
      const inside = JSON.parse((yield* w.sandbox("exec", "values", "--", process.execPath, "-e", print)).stdout)
      assert.deepInclude(inside, env)
      const shell = (yield* w.sandbox("env", "values", "--format", "shell")).stdout
      const dotenv = (yield* w.sandbox("env", "values")).stdout
      assert.strictEqual((yield* w.sandbox("env", "values", "--format", "dotenv")).stdout, dotenv)
      for (const sh of ["sh", "bash"]) {
        assert.deepInclude(read(sh, shell), env, sh)
        assert.deepInclude(read(sh, dotenv, "set -a; "), env, sh)
      }
    })
  )

  it.effect("names secrets, and shows them only when it is asked to", () =>
    Effect.gen(function* () {
      const { w } = yield* Connected
      yield* up("hidden")
      const hidden = yield* Effect.forEach([["--json"], [], ["--format", "shell"]], (args) =>
        w.sandbox("env", "hidden", ...args)
      )
      for (const { code, stderr, stdout } of hidden) {
        assert.strictEqual(code, 0)
        assert.notInclude(stdout + stderr, canary)
        assert.include(stdout, "API_KEY")
      }
      assert.notProperty(read("sh", hidden[2]!.stdout), "API_KEY")
      const shown = yield* w.sandbox("env", "hidden", "--format", "shell", "--show-secrets")
      assert.strictEqual(read("sh", shown.stdout)["API_KEY"], canary)
      const json = (yield* w.sandbox("env", "hidden", "--show-secrets", "--json")).json()
      assert.deepInclude<object>(json, { secrets: ["API_KEY"] })
      assert.notInclude(JSON.stringify(query(w.ledger, "SELECT * FROM sessions")), canary)
    })
  )

  it.effect("I-80 is refused while the session is not up, with the command that brings it up", () =>
    Effect.gen(function* () {
      const { client, w } = yield* Connected
      const { sessionId } = yield* up("halted")
      yield* Effect.promise(() => client.down({ session: "halted" }))
      const { next_step } = assertFailure(yield* w.sandbox("env", "halted", "--json"), "ERR_NOT_READY")
      assert.strictEqual(next_step, `run \`sandbox resume ${sessionId}\``)
      const both = yield* w.sandbox("env", "halted", "--json", "--format", "shell")
      assert.strictEqual(assertFailure(both, "ERR_INVALID_ARGUMENT").details.field, "format")
    })
  )
})
