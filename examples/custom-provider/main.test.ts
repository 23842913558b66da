import { execFile, execFileSync } from "node:child_process"
import { mkdtempSync, readdirSync, realpathSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { promisify } from "node:util"
import { afterAll, assert, beforeAll, describe, it } from "vitest"

/** Nothing of a ledger or a configuration of whoever runs this. */
const inherited = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith("SANDBOX_")))

describe("a program over a provider of its own", () => {
  let root: string
  let repository: string

  beforeAll(() => {
    root = realpathSync(mkdtempSync(join(tmpdir(), "custom-provider-")))
    repository = join(root, "fruit")
    const git = (...args: ReadonlyArray<string>) =>
      execFileSync("git", ["-c", "user.name=Test", "-c", "user.email=test@example.com", ...args], { cwd: repository })
    execFileSync("git", ["init", "--quiet", "--initial-branch=main", repository])
    writeFileSync(join(repository, "pear"), "green\n")
    git("add", ".")
    git("commit", "--quiet", "--message", "A pear")
  })

  afterAll(() => rmSync(root, { recursive: true, force: true }))

  it("brings a session up on it, runs a command there and leaves no box", async () => {
    const { stdout } = await promisify(execFile)(
      process.execPath,
      ["--conditions=@org/source", join(import.meta.dirname, "main.ts"), repository, join(root, "boxes")],
      { env: { ...inherited, HOME: root, XDG_STATE_HOME: join(root, "state"), XDG_CACHE_HOME: join(root, "cache") } }
    )
    assert.deepStrictEqual(stdout.trimEnd().split("\n"), [
      "folders-example is ready on folders, branch main",
      "its last commit says: A pear",
      "folders-example is destroyed"
    ])
    assert.deepStrictEqual(readdirSync(join(root, "boxes")), [])
  })
})
