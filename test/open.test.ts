/** Opening a session's page: in whatever stands for a browser, and never at the cost of the command. */
import { existsSync, readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { assert, layer } from "@effect/vitest"
import type { UpResult } from "@org/sandbox-core/promise"
import { Effect } from "effect"
import { Connected } from "./support/client.ts"
import { assertFailure } from "./support/contract.ts"
import { vacant } from "./support/ports.ts"
import { eventually, processesWith, type World } from "./support/sandbox.ts"

const server = `
  require("node:http").createServer((_, response) => response.end("hello")).listen(process.env.PORT, "127.0.0.1")
`

const up = Effect.fnUntraced(function* (name: string, base?: number) {
  const { client, w } = yield* Connected
  const web = {
    name: "web",
    command: ["node", "-e", server],
    ports: [{ name: "web", base: base ?? 0 }],
    health: { kind: "http", path: "/" },
    passwordEnv: "WEB_PASSWORD"
  } as const
  const setup = base === undefined ? {} : { services: [web] }
  return yield* Effect.promise(() =>
    client.up({ repository: w.repository, branch: name, base: "main", name, provider: "local", setup })
  )
})

/** What stands for a browser: notes what it was given, and then does as the script says. */
const browser = (w: World, name: string, script: string) => {
  const file = join(w.directory, name)
  const given = `${file}-given`
  writeFileSync(file, `#!/bin/sh\nprintf '%s\\n' "$#" "$@" > ${given}\n${script}\n`, { mode: 0o755 })
  return { env: { BROWSER: file }, given: () => (existsSync(given) ? readFileSync(given, "utf8") : undefined) }
}

const open = (w: World, session: UpResult, env: Readonly<Record<string, string>>, ...more: ReadonlyArray<string>) =>
  w.run(["open", session.name, ...more], { env })

layer(Connected.layer, { excludeTestServices: true })("open", (it) => {
  it.effect("opens the primary service's page, prints it, and tells how to see the password", () =>
    Effect.gen(function* () {
      const { w } = yield* Connected
      const session = yield* up("opened", yield* vacant(10))
      const url = `http://127.0.0.1:${session.ports["web"]}`
      const good = browser(w, "good", "exit 0")
      const json = yield* open(w, session, good.env, "--json")
      assert.deepEqual<object>(json.json(), {
        ok: true,
        session_id: session.sessionId,
        name: "opened",
        endpoint_url: url,
        browser_opened: true,
        password_env: "WEB_PASSWORD",
        warnings: []
      })
      assert.strictEqual(good.given(), `1\n${url}\n`)
      const human = yield* open(w, session, good.env)
      assert.strictEqual(human.stdout, `${url}\n`)
      assert.strictEqual(human.stderr, "it wants a password: WEB_PASSWORD in `sandbox env opened --show-secrets`\n")
      const here = yield* w.run(["open", "--print"], { cwd: session.worktreePath! })
      assert.strictEqual(here.stdout, `${url}\n`)
    })
  )

  it.effect("opens nothing when it is only to print", () =>
    Effect.gen(function* () {
      const { w } = yield* Connected
      const session = yield* up("printed", yield* vacant(10))
      const unused = browser(w, "unused", "exit 0")
      const { browser_opened, warnings } = (yield* open(w, session, unused.env, "--print", "--json")).json()
      assert.deepEqual({ browser_opened, warnings }, { browser_opened: false, warnings: [] })
      assert.isUndefined(unused.given())
    })
  )

  it.effect("succeeds with a warning when no browser opens, and waits for none that hangs", () =>
    Effect.gen(function* () {
      const { w } = yield* Connected
      const session = yield* up("closed", yield* vacant(10))
      const warning = `no browser said within 3s that it opened the page, which is at http://127.0.0.1:${session.ports["web"]}`
      const hanging = browser(w, "hanging", `HANGING=${w.directory} exec sleep 300`)
      for (const env of [{ BROWSER: "/nowhere/browser" }, browser(w, "bad", "exit 3").env, hanging.env]) {
        const outcome = yield* open(w, session, env, "--json")
        assert.strictEqual(outcome.code, 0, outcome.stdout)
        assert.include(outcome.json(), { browser_opened: false })
        assert.deepEqual(outcome.json().warnings, [warning])
      }
      // it may be a browser with somebody's pages in it
      const isAlone = () => processesWith(`HANGING=${w.directory}`).length === 1
      yield* eventually("the one that hangs was left alone", isAlone)
      const human = yield* open(w, session, { BROWSER: "/nowhere/browser" })
      assert.include(human.stderr, `warning: ${warning}\n`)
    })
  )

  it.effect("refuses a session without a page, and one that is not up", () =>
    Effect.gen(function* () {
      const { client, w } = yield* Connected
      const bare = yield* up("bare")
      const none = assertFailure(yield* open(w, bare, {}, "--json"), "ERR_INVALID_ARGUMENT")
      assert.strictEqual(none.cause, "bare has no page: none of its services has a port")
      yield* Effect.promise(() => client.down({ session: "bare" }))
      const halted = assertFailure(yield* open(w, bare, {}, "--json"), "ERR_NOT_READY")
      assert.strictEqual(halted.next_step, `run \`sandbox resume ${bare.sessionId}\``)
    })
  )
})
