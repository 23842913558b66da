import { execFile, execFileSync } from "node:child_process"
import { copyFileSync, mkdirSync, mkdtempSync, readdirSync, realpathSync, rmSync, symlinkSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { promisify } from "node:util"
import { afterAll, assert, beforeAll, describe, it, vi } from "vitest"
import { type Browser, installed, launch } from "./browser.ts"
import { install } from "./install.ts"

const root = join(import.meta.dirname, "../..")
const cli = process.env["SANDBOX_TEST_CLI"] ?? join(root, "packages/cli/src/main.ts")

/** Nothing of a ledger or a configuration of whoever runs this. */
const inherited = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith("SANDBOX_")))

/** Why something that is needed is not there; a failure, when SANDBOX_TEST_REQUIRE names it. */
const missing = (name: string, why: string): string => {
  if (!(process.env["SANDBOX_TEST_REQUIRE"] ?? "").split(",").includes(name)) return why
  throw new Error(`SANDBOX_TEST_REQUIRE names ${name}, but ${why}`)
}

const opencode = await install(join(root, "node_modules", ".cache")).then(
  (bin) => ({ bin }),
  (error: Error) => ({ why: missing("opencode", error.message) })
)
const program = installed()
const chromium = program === undefined ? { why: missing("chromium", "Chromium is not installed") } : { program }

const [suite, skipped] = "bin" in opencode ? [describe, ""] : [describe.skip, ` (skipped: ${opencode.why})`]

suite(`OpenCode as a session's primary service${skipped}`, () => {
  const marker = "OPENCODE_TEST"
  let directory: string
  let env: NodeJS.ProcessEnv
  let session: { readonly url: string; readonly checkout: string; readonly password: string }

  const sandbox = async (...args: ReadonlyArray<string>) => {
    const node = ["--conditions=@org/source", cli, ...args]
    return await promisify(execFile)(process.execPath, node, { env, cwd: join(directory, "app") })
  }
  const request = (path: string, password?: string, body?: unknown) =>
    fetch(new URL(path, session.url), {
      method: body === undefined ? "GET" : "POST",
      headers: {
        "content-type": "application/json",
        ...(password && { authorization: `Basic ${Buffer.from(`opencode:${password}`).toString("base64")}` })
      },
      ...(body !== undefined && { body: JSON.stringify(body) }),
      signal: AbortSignal.timeout(20_000)
    })
  /** Whatever was started here, by what each process of it carries. */
  const running = () =>
    execFileSync("ps", ["axeww", "-o", "pid=,command="], { encoding: "utf8", maxBuffer: 2 ** 28 })
      .split("\n")
      .filter((line) => line.includes(` ${marker}=${directory}`))
      .map((line) => Number.parseInt(line, 10))

  beforeAll(async () => {
    directory = realpathSync(mkdtempSync(join(tmpdir(), "opencode-")))
    for (const name of ["app", "bin", "home", "profile"]) mkdirSync(join(directory, name))
    symlinkSync(process.execPath, join(directory, "bin", "node"))
    env = {
      ...inherited,
      PATH: [join(directory, "bin"), "bin" in opencode ? opencode.bin : "", process.env["PATH"]].join(":"),
      HOME: join(directory, "home"),
      XDG_CONFIG_HOME: join(directory, "config"),
      XDG_STATE_HOME: join(directory, "state"),
      XDG_CACHE_HOME: join(directory, "cache"),
      [marker]: directory
    }
    const git = (...args: ReadonlyArray<string>) =>
      execFileSync("git", ["-c", "user.name=Ann", "-c", "user.email=ann@example.com", ...args], {
        cwd: join(directory, "app"),
        env
      })
    git("init", "--quiet", "--initial-branch=main")
    copyFileSync(join(import.meta.dirname, "sandbox.yaml"), join(directory, "app", "sandbox.yaml"))
    git("add", ".")
    git("commit", "--quiet", "--message=OpenCode")

    const up = await sandbox("up", ".", "--branch=agent", "--base=main", "--trust-config", "--json")
    const shown = await sandbox("env", "app-agent", "--json", "--show-secrets")
    session = {
      url: JSON.parse(up.stdout).endpoint_url,
      checkout: JSON.parse(up.stdout).worktree_path,
      password: JSON.parse(shown.stdout).env.OPENCODE_SERVER_PASSWORD
    }
    assert.match(session.password, /^[0-9a-z]{32}$/)
    assert.notInclude(up.stdout + up.stderr, session.password)
  }, 180_000)

  afterAll(() => {
    for (const pid of running()) process.kill(pid, "SIGKILL")
    rmSync(directory, { recursive: true, force: true, maxRetries: 5 })
  })

  it("has a URL that asks for the session's own password", async () => {
    const { stderr, stdout } = await sandbox("open", "app-agent", "--print")
    assert.strictEqual(stdout, `${session.url}\n`)
    assert.include(stderr, "OPENCODE_SERVER_PASSWORD")
    assert.notInclude(stderr, session.password)

    for (const path of ["/", "/global/health", "/project/current"]) {
      assert.strictEqual((await request(path)).status, 401, path)
      assert.strictEqual((await request(path, "another")).status, 401, path)
      assert.strictEqual((await request(path, session.password)).status, 200, path)
    }
    const argv = execFileSync("ps", ["axww", "-o", "command="], { encoding: "utf8", maxBuffer: 2 ** 28 })
    assert.include(argv, "opencode serve")
    assert.notInclude(argv, session.password)
    assert.notInclude((await sandbox("history", "app-agent", "--json")).stdout, session.password)
  }, 60_000)

  const [shows, withoutBrowser] = "program" in chromium ? [it, ""] : [it.skip, ` (skipped: ${chromium.why})`]
  shows(
    `shows its page in a browser, at work in the session's checkout${withoutBrowser}`,
    async () => {
      assert.isDefined(program)
      const browser: Browser = await launch(program, join(directory, "profile"))
      try {
        assert.strictEqual((await browser.open(session.url)).status, 401)
        const page = await browser.open(session.url, { username: "opencode", password: session.password })
        assert.strictEqual(page.status, 200)
        await vi.waitFor(
          async () => assert.include(await page.evaluate("document.body.innerText"), "Create a session to get started"),
          { timeout: 60_000, interval: 100 }
        )
        assert.strictEqual(await page.evaluate("document.title"), "OpenCode")
        // it answers with nothing as long as it still looks at the checkout
        await vi.waitFor(
          async () => {
            const place = await page.evaluate("fetch('/project/current').then((r) => r.json())")
            assert.deepInclude(place, { worktree: session.checkout, vcs: "git" })
          },
          { timeout: 30_000, interval: 200 }
        )
      } finally {
        await browser.close()
      }
    },
    120_000
  )

  it("keeps its password and its conversations while it is halted, and nothing outside of the session", async () => {
    const title = "before the halt"
    assert.strictEqual((await request("/session", session.password, { title })).status, 200)
    await sandbox("down", "app-agent")
    const { password, url } = session
    const refused = await request("/", password).catch((error: Error) => error.message)
    assert.strictEqual(refused, "fetch failed")

    const resumed = JSON.parse((await sandbox("resume", "app-agent", "--json")).stdout)
    session = { ...session, url: resumed.endpoint_url }
    assert.strictEqual(session.url, url)
    const conversations = (await (await request("/session", password)).json()) as ReadonlyArray<object>
    assert.strictEqual(conversations.length, 1)
    assert.deepInclude(conversations[0], { title, directory: session.checkout })

    await sandbox("destroy", "app-agent", "--force")
    await vi.waitFor(() => assert.deepStrictEqual(running(), []), { timeout: 20_000, interval: 50 })
    assert.deepStrictEqual(readdirSync(join(directory, "home")), [])
    assert.deepStrictEqual(readdirSync(directory).sort(), ["app", "bin", "home", "profile", "state"])
    assert.deepStrictEqual(readdirSync(join(directory, "state", "sandbox", "local")), [])
  }, 120_000)
})
