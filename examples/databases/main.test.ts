import { execFile } from "node:child_process"
import { mkdirSync, mkdtempSync, realpathSync, rmSync, symlinkSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { promisify } from "node:util"
import { afterAll, assert, beforeAll, it } from "vitest"
import { describeDocker } from "../../test/docker.ts"

const cli = process.env["SANDBOX_TEST_CLI"] ?? join(import.meta.dirname, "../../packages/cli/src/main.ts")

/** Nothing of a ledger or a configuration of whoever runs this. */
const inherited = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith("SANDBOX_")))

describeDocker("a database for every session", () => {
  let root: string

  beforeAll(() => {
    root = realpathSync(mkdtempSync(join(tmpdir(), "databases-")))
    for (const name of ["bin", "home"]) mkdirSync(join(root, name))
    symlinkSync(process.execPath, join(root, "bin", "node"))
    const script = `#!/bin/sh\nexec node --conditions=@org/source '${cli}' "$@"\n`
    writeFileSync(join(root, "bin", "sandbox"), script, { mode: 0o755 })
  })

  afterAll(() => rmSync(root, { recursive: true, force: true }))

  it("is its own, outlives a halt, and goes with the session", { timeout: 300_000 }, async () => {
    const { stdout } = await promisify(execFile)(
      process.execPath,
      ["--conditions=@org/source", join(import.meta.dirname, "main.ts"), join(root, "work")],
      { env: { ...inherited, PATH: `${join(root, "bin")}:${process.env["PATH"]}`, HOME: join(root, "home") } }
    )
    const lines = stdout.trimEnd().split("\n")
    assert.strictEqual(lines[0], `ann's database has "ann: hello from app-ann", bob's has "bob: hello from app-bob"`)
    assert.match(lines[2] ?? "", /^db +5432 +http:\/\/127\.0\.0\.1:\d+ +its container$/)
    assert.deepEqual(lines.slice(-3), [
      `ann is down; bob's database still has "bob: hello from app-bob"`,
      `ann is back, and her database has "ann: hello from app-ann"`,
      "left: 0, 0, 0 containers, volumes, networks"
    ])
  })
})
