/** Which compose files are run: those that somebody has accepted as they are. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as NodeServices from "@effect/platform-node/NodeServices"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Result } from "effect"
import * as accepted from "../src/internal/compose/accepted.ts"
import * as NodeHost from "../src/node/NodeHost.ts"

const host = Layer.mergeAll(NodeServices.layer, NodeHost.layerHasher)
const compose = { files: ["compose.yaml", "more.yaml"], services: [] }
const row = { id: "sbx_1", branch: "main", workBranch: null }

const checked = (digest: string, known: { readonly first?: string; readonly digest?: string }) => {
  const { digest: trusted, first } = known
  const named = trusted === undefined ? compose : { ...compose, digest: trusted }
  return Effect.map(Effect.result(accepted.check({ row, compose: named, digest, first })), (result) =>
    Result.isFailure(result) ? result.failure : undefined
  )
}

describe("which compose files are run", () => {
  it.live("I-91 one digest is of all of them, by name and content", () =>
    Effect.gen(function* () {
      const folder = yield* Effect.acquireRelease(
        Effect.sync(() => mkdtempSync(join(tmpdir(), "compose-accepted-"))),
        (folder) => Effect.sync(() => rmSync(folder, { recursive: true }))
      )
      const at = compose.files.map((name) => join(folder, name))
      const digest = (first: string, second: string) => {
        writeFileSync(at[0]!, first)
        writeFileSync(at[1]!, second)
        return accepted.digestOf(compose, at)
      }
      const one = yield* digest("a", "b")
      assert.strictEqual(yield* digest("a", "b"), one)
      assert.notStrictEqual(yield* digest("a", "c"), one)
      assert.notStrictEqual(yield* digest("b", "a"), one)
    }).pipe(Effect.provide(host))
  )

  it.effect("I-91 what a box has changed is not, and neither is what nobody has accepted", () =>
    Effect.gen(function* () {
      for (const known of [{}, { first: "d" }, { digest: "d" }, { first: "d", digest: "d" }]) {
        assert.isUndefined(yield* checked("d", known))
      }
      const changed = yield* checked("e", { first: "d" })
      assert.strictEqual(changed?.code, "ERR_CONFIG_UNTRUSTED")
      assert.match(changed?.message ?? "", /^compose\.yaml, more\.yaml in the box is not what/)
      assert.include(changed?.nextStep, "sandbox cp FILE sbx_1:compose.yaml")
      const other = yield* checked("e", { digest: "d" })
      assert.strictEqual(other?.code, "ERR_CONFIG_UNTRUSTED")
      assert.include(other?.message, "on main is not what was read")
    })
  )
})
