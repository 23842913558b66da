import { mkdtempSync, realpathSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as ProvisionerTest from "@org/sandbox-conformance/ProvisionerTest"
import { afterAll } from "vitest"
import { git, layer, source } from "./host.ts"

const repository = realpathSync(mkdtempSync(join(tmpdir(), "sandbox-test-")))
afterAll(() => rmSync(repository, { recursive: true, force: true }))
git(repository, "init", "--quiet", "--initial-branch", "work")
writeFileSync(join(repository, "file"), "first\n")
git(repository, "add", "--all")
git(repository, "commit", "--quiet", "--message", "first")

const options = { layer, patience: "10 seconds" } as const

ProvisionerTest.suite({ ...options, name: "local with worktrees", workspaceSource: source(repository) })

ProvisionerTest.suite({
  ...options,
  name: "local with clones",
  workspaceSource: { ...source(repository), repository: `file://${repository}` }
})
