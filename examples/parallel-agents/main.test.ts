import { execFile, execFileSync } from "node:child_process"
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  symlinkSync,
  writeFileSync
} from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { promisify } from "node:util"
import { afterAll, assert, beforeAll, describe, it } from "vitest"

const cli = process.env["SANDBOX_TEST_CLI"] ?? join(import.meta.dirname, "../../packages/cli/src/main.ts")
const agents = Array.from({ length: 8 }, (_, index) => `agent-${index + 1}`)

/** Nothing of a ledger or a configuration of whoever runs this. */
const inherited = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith("SANDBOX_")))

describe("eight agents on one repository", () => {
  let root: string
  let env: NodeJS.ProcessEnv
  const marker = "PARALLEL_AGENTS_TEST"

  beforeAll(() => {
    root = realpathSync(mkdtempSync(join(tmpdir(), "parallel-agents-")))
    for (const name of ["bin", "home", "tmp"]) mkdirSync(join(root, name))
    symlinkSync(process.execPath, join(root, "bin", "node"))
    const script = `#!/bin/sh\nexec node --conditions=@org/source '${cli}' "$@"\n`
    writeFileSync(join(root, "bin", "sandbox"), script, { mode: 0o755 })
    env = {
      ...inherited,
      PATH: `${join(root, "bin")}:${process.env["PATH"]}`,
      HOME: join(root, "home"),
      TMPDIR: join(root, "tmp"),
      [marker]: root
    }
  })

  afterAll(() => {
    for (const pid of running()) process.kill(pid, "SIGKILL")
    rmSync(root, { recursive: true, force: true })
  })

  /** Whatever the example has started, by what each process of it carries. */
  const running = () =>
    execFileSync("ps", ["axeww", "-o", "pid=,command="], { encoding: "utf8", maxBuffer: 2 ** 28 })
      .split("\n")
      .filter((line) => line.includes(` ${marker}=${root}`))
      .map((line) => Number.parseInt(line, 10))

  it("gives each its own app, data and branch at the same time, and leaves nothing but their commits", async () => {
    const directory = join(root, "work")
    const node = ["--conditions=@org/source", join(import.meta.dirname, "main.ts"), directory]
    const { stdout } = await promisify(execFile)(process.execPath, node, { env })
    const lines = stdout.split("\n")

    const works = agents.map((name, index) => {
      const [, url, rest] = lines[index]?.match(/^\S+ at (http:\/\/127\.0\.0\.1:\d+): (.*)$/) ?? []
      const notes = `"hello from app-${name} (3 words)", "${name} was here (3 words)"`
      assert.match(rest ?? "", new RegExp(`^${escaped(notes)}, commit [0-9a-f]{7,} ${name}: the second part$`), stdout)
      return url
    })
    assert.strictEqual(new Set(works).size, agents.length)
    for (const name of agents) assert.match(stdout, new RegExp(`^app-${name} +ready +local +${name} `, "m"))
    assert.include(lines, `app-agent-3 is open at ${works[2]}`)

    const [, processes] = stdout.match(/^in use: (\d+) processes, 16 ports, 8 worktrees, 8 boxes$/m) ?? []
    assert.isAtLeast(Number(processes), 16, stdout)
    assert.include(lines, "left: 0 processes, 0 ports, 0 worktrees, 0 boxes")

    const git = (...args: ReadonlyArray<string>) =>
      execFileSync("git", ["-C", join(directory, "app"), ...args], { encoding: "utf8", env }).trim()
    for (const name of agents) {
      assert.strictEqual(
        git("log", "--format=%an: %s", `main..${name}`),
        `${name}: ${name}: the second part\n${name}: ${name}: the first part`
      )
      assert.strictEqual(git("diff", "--name-only", `main...${name}`), `${name}.md`)
    }
    assert.strictEqual(git("status", "--porcelain"), "")
    assert.strictEqual(git("worktree", "list", "--porcelain").match(/^worktree /gm)?.length, 1)

    assert.deepStrictEqual(running(), [])
    assert.deepStrictEqual(readdirSync(join(root, "tmp")), [])
    assert.deepStrictEqual(readdirSync(join(root, "home")), [])
    const state = join(directory, "state", "sandbox")
    assert.deepStrictEqual(readdirSync(state).sort(), ["checkpoints", "ledger.db", "local", "trusted.json"])
    assert.deepStrictEqual(readdirSync(join(state, "local")), [])
    const list = await promisify(execFile)("sandbox", ["list", "--all", "--json"], {
      env: { ...env, XDG_STATE_HOME: join(directory, "state"), XDG_CONFIG_HOME: join(directory, "config") }
    })
    const { sessions } = JSON.parse(list.stdout) as { sessions: ReadonlyArray<Record<string, unknown>> }
    assert.deepStrictEqual(
      sessions.map(({ name, ports, slot, state }) => ({ name, ports, slot, state })).sort(byName),
      agents.map((name) => ({ name: `app-${name}`, ports: {}, slot: null, state: "destroyed" }))
    )
  }, 180_000)

  it("touches no session of whoever runs it, wherever that is recorded, also when it fails at once", async () => {
    const repository = join(root, "precious")
    const own = { ...env, XDG_STATE_HOME: join(root, "own"), SANDBOX_LEDGER: join(root, "own.db") }
    const git = ["-c", "user.name=Ann", "-c", "user.email=ann@example.com", "-C", repository]
    execFileSync("git", ["init", "--quiet", "--initial-branch=main", repository])
    execFileSync("git", [...git, "commit", "--quiet", "--allow-empty", "--message=Precious"])
    const sandbox = (...args: ReadonlyArray<string>) => promisify(execFile)("sandbox", [...args], { env: own })
    const up = JSON.parse(
      (await sandbox("up", repository, "-b", "mine", "--base", "main", "-p", "local", "--json")).stdout
    )
    writeFileSync(join(up.worktree_path, "work"), "nowhere else")
    const status = async () => JSON.parse((await sandbox("status", up.session_id, "--json")).stdout)
    const before = await status()

    const broken = join(root, "broken")
    mkdirSync(broken)
    writeFileSync(join(broken, "sandbox"), "#!/bin/sh\nexit 1\n", { mode: 0o755 })
    const node = ["--conditions=@org/source", join(import.meta.dirname, "main.ts"), join(root, "failed")]
    const failed = await promisify(execFile)(process.execPath, node, {
      env: { ...own, PATH: `${broken}:${env["PATH"]}` }
    }).catch((error: { readonly code: number }) => error)
    assert.strictEqual("code" in failed ? failed.code : 0, 1)

    assert.deepStrictEqual(await status(), before)
    assert.strictEqual(readFileSync(join(up.worktree_path, "work"), "utf8"), "nowhere else")
    await sandbox("destroy", up.session_id, "--force", "--confirm-data-loss")
  }, 60_000)
})

const byName = (a: { readonly name: unknown }, b: { readonly name: unknown }) =>
  String(a.name).localeCompare(String(b.name))

const escaped = (text: string) => text.replaceAll(/[()]/g, "\\$&")
