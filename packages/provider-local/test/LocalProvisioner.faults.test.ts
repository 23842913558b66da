/** The laws again, behind core's dispatcher, where calls fail, get lost or are late. */
import { mkdtempSync, realpathSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { assert, it } from "@effect/vitest"
import * as Faulted from "@org/sandbox-conformance/Faulted"
import * as Faults from "@org/sandbox-conformance/Faults"
import * as ProvisionerTest from "@org/sandbox-conformance/ProvisionerTest"
import { Provisioner } from "@org/sandbox-core/Provisioner"
import { Provisioners } from "@org/sandbox-core/Provisioners"
import { Spec } from "@org/sandbox-core/Session"
import { Effect } from "effect"
import { afterAll } from "vitest"
import { sampled } from "../../../test/support/sample.ts"
import { git, intent, layer, source } from "./host.ts"

const repository = realpathSync(mkdtempSync(join(tmpdir(), "sandbox-test-")))
afterAll(() => rmSync(repository, { recursive: true, force: true }))
git(repository, "init", "--quiet", "--initial-branch", "work")
writeFileSync(join(repository, "file"), "first\n")
git(repository, "add", "--all")
git(repository, "commit", "--quiet", "--message", "first")

for (const [index, kind] of sampled([...Faulted.kinds.entries()], 2)) {
  const seed = 4711 + index
  ProvisionerTest.suite({
    name: `local with ${kind}, seed ${seed},`,
    layer: Faulted.layer(layer, { kind, seed }),
    patience: "10 seconds",
    workspaceSource: source(repository)
  })
}

it.live("I-107 I-108 refuses what this host cannot honour by its name, at once and without a second try", () =>
  Effect.gen(function* () {
    const faults = Faults.make(yield* Provisioner)
    const backend = yield* Effect.flatMap(Provisioners, ({ get }) => get("local")).pipe(
      Effect.provide(Provisioners.layer({ local: faults.layer }))
    )
    const wanted = intent({ scope: yield* faults.provisioner.scope, spec: new Spec({ image: "debian", cpus: 2 }) })
    const error = yield* Effect.flip(backend.provision(wanted))
    assert.strictEqual(error.code, "ERR_UNSUPPORTED")
    assert.include(error.message, "image, cpus")
    assert.isFalse(error.retryable)
    assert.strictEqual(faults.started("provision").length, 1)
    assert.strictEqual((yield* backend.find(wanted))._tag, "absent")
  }).pipe(Effect.provide(layer))
)
