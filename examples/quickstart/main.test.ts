import { execFile, execFileSync } from "node:child_process"
import { mkdtempSync, readdirSync, realpathSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { promisify } from "node:util"
import { afterAll, assert, beforeAll, describe, it } from "vitest"

/** Nothing of a ledger or a configuration of whoever runs this. */
const inherited = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith("SANDBOX_")))

describe("the quickstart", () => {
  let root: string
  let repository: string
  const git = (...args: ReadonlyArray<string>) =>
    execFileSync("git", ["-c", "user.name=Test", "-c", "user.email=test@example.com", ...args], {
      cwd: repository,
      encoding: "utf8"
    })

  beforeAll(() => {
    root = realpathSync(mkdtempSync(join(tmpdir(), "quickstart-")))
    repository = join(root, "fruit")
    execFileSync("git", ["init", "--quiet", "--initial-branch=main", repository])
    writeFileSync(join(repository, "apple"), "red\n")
    git("add", ".")
    git("commit", "--quiet", "--message", "An apple")
  })

  afterAll(() => rmSync(root, { recursive: true, force: true }))

  it("brings a repository up, runs a command in it, halts it and leaves nothing", async () => {
    const { stdout } = await promisify(execFile)(
      process.execPath,
      ["--conditions=@org/source", join(import.meta.dirname, "main.ts"), repository],
      { env: { ...inherited, HOME: root, XDG_STATE_HOME: join(root, "state"), XDG_CACHE_HOME: join(root, "cache") } }
    )
    const lines = stdout.trimEnd().split("\n")
    assert.strictEqual(lines[0], `fruit-main is ready at ${git("rev-parse", "HEAD").trim()}`)
    assert.match(lines[1] ?? "", /^[0-9a-f]{7,} An apple$/)
    assert.strictEqual(lines[2], "git exited with 0")
    assert.match(lines[3] ?? "", /^fruit-main is stopped; its record is checkpoint \S+$/)
    assert.notInclude(lines[3], "undefined")
    assert.strictEqual(lines[4], "fruit-main is destroyed")
    assert.strictEqual(git("worktree", "list", "--porcelain").match(/^worktree /gm)?.length, 1)
    assert.isFalse(readdirSync(root).includes(".local"), "the example must keep to the folders it was given")
  })
})
