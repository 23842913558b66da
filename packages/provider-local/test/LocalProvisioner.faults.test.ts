/** The laws again, behind core's dispatcher, where calls fail, get lost or are late. */
import { mkdtempSync, realpathSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as Faulted from "@org/sandbox-conformance/Faulted"
import * as ProvisionerTest from "@org/sandbox-conformance/ProvisionerTest"
import { afterAll } from "vitest"
import { git, layer, source } from "./host.ts"

const repository = realpathSync(mkdtempSync(join(tmpdir(), "sandbox-test-")))
afterAll(() => rmSync(repository, { recursive: true, force: true }))
git(repository, "init", "--quiet", "--initial-branch", "work")
writeFileSync(join(repository, "file"), "first\n")
git(repository, "add", "--all")
git(repository, "commit", "--quiet", "--message", "first")

for (const [index, kind] of Faulted.kinds.entries()) {
  const seed = 4711 + index
  ProvisionerTest.suite({
    name: `local with ${kind}, seed ${seed},`,
    layer: Faulted.layer(layer, { kind, seed }),
    patience: "10 seconds",
    workspaceSource: source(repository)
  })
}
