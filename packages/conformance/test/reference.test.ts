import { execFileSync } from "node:child_process"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, assert, describe, it } from "@effect/vitest"
import * as Faulted from "@org/sandbox-conformance/Faulted"
import * as ProvisionerTest from "@org/sandbox-conformance/ProvisionerTest"
import folders from "@org/sandbox-conformance/reference"
import { layerPlatform } from "@org/sandbox-core/node"
import { Provisioner, type ProvisionerError } from "@org/sandbox-core/Provisioner"
import { InstanceRef } from "@org/sandbox-core/Session"
import { Effect, Layer, Stream } from "effect"

const directory = mkdtempSync(join(tmpdir(), "reference-provider-"))
afterAll(() => rmSync(directory, { recursive: true }))

const repository = join(directory, "repository")
const git = (...args: ReadonlyArray<string>) =>
  execFileSync("git", ["-c", "user.name=Ann", "-c", "user.email=ann@example.org", ...args], { encoding: "utf8" }).trim()
git("init", "--quiet", "--initial-branch=main", repository)
git("-C", repository, "commit", "--quiet", "--allow-empty", "--message=first")

const provider = (root: string) => folders.layer({ root }).pipe(Layer.provide(layerPlatform))

const options = {
  // what it leaves out, it says
  capabilities: { files: false, terminal: false },
  patience: "10 seconds",
  workspaceSource: {
    repository,
    branch: "main",
    commit: git("-C", repository, "rev-parse", "HEAD"),
    fallbackBranch: "sandbox/main"
  }
} as const

ProvisionerTest.suite({ ...options, name: "folders", layer: provider(join(directory, "boxes")) })

ProvisionerTest.suite({
  ...options,
  name: "folders with lost replies, seed 11,",
  layer: Faulted.layer(provider(join(directory, "faulted")), { kind: "lost replies", seed: 11 })
})

describe("folders", () => {
  it.live(
    "I-104 takes a root that is not mounted for unreachable, and its boxes for neither gone nor destroyed",
    () => {
      const root = join(directory, "unmounted")
      return Effect.gen(function* () {
        const { destroy, find, inspect, list, name, scope } = yield* Provisioner
        const key = "sbx_1.g1"
        const ref = new InstanceRef({ version: 1, provider: name, scope: yield* scope, key, id: "sbx-1-g1", data: {} })
        rmSync(root, { recursive: true })
        const calls: ReadonlyArray<Effect.Effect<unknown, ProvisionerError>> = [
          find(key),
          inspect(ref),
          destroy(ref),
          Stream.runCollect(list("ldg_1"))
        ]
        const reasons = yield* Effect.forEach(calls, (call) => Effect.map(Effect.flip(call), ({ reason }) => reason))
        assert.deepStrictEqual(new Set(reasons), new Set(["Unreachable"]))
      }).pipe(Effect.provide(provider(root)))
    }
  )

  it.live("refuses a root that is no directory, before anything is asked of it", () =>
    Effect.gen(function* () {
      const root = join(repository, ".git", "HEAD")
      const error = yield* Effect.flip(Effect.scoped(Layer.build(provider(root))))
      assert.strictEqual(error.code, "ERR_CONFIG_INVALID")
    })
  )
})
