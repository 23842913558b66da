/** Copying a checkout out of a box whose files change meanwhile. */
import { execFileSync } from "node:child_process"
import { readdirSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Directories } from "@org/sandbox-core/Host"
import { Effect, Stream } from "effect"
import { copy } from "../src/internal/boxCheckout/copy.ts"
import type { Backend } from "../src/Provisioners.ts"
import * as SandboxError from "../src/SandboxError.ts"
import { directories, directory, layer, repository } from "./git.ts"

const missing = SandboxError.make("ERR_EXEC_FAILED", {
  message: "there is nothing",
  nextStep: "look",
  details: { reason: "NotFound" }
})

/** A box that has a repository, whose archives the first times end early as when a file of it shrinks. */
const shrinking = (from: string, times: number): Pick<Backend, "readFiles"> => {
  const whole = execFileSync("tar", ["-c", "-f", "-", "-C", from, "."])
  let reads = 0
  return {
    readFiles: (_, path) => {
      if (path !== ".") return Stream.fail(missing)
      reads += 1
      // the first one only looks whether there is anything
      const early = reads > 1 && reads <= times + 1
      return Stream.make(early ? whole.subarray(0, whole.length - 20 * 512) : whole)
    }
  }
}

const ref = { scope: "here", key: "box" } as Parameters<typeof copy>[1]

const copied = (times: number) =>
  Effect.gen(function* () {
    const from = yield* repository
    const base = yield* directory
    const backend = shrinking(from, times) as Backend
    const made = yield* Effect.provideService(copy(backend, ref), Directories, directories(base))
    const staged = readdirSync(join(base, "state/copies"))
    const name = staged[0]!
    return { from, made, left: readdirSync(join(base, "state/copies", name)) }
  })

describe("a copy of a checkout", () => {
  it.effect("is made anew while something shrinks in it, and keeps nothing of what was cut short", () =>
    Effect.gen(function* () {
      const { from, left, made } = yield* copied(2)
      const head = (at: string) => readFileSync(join(at, ".git/HEAD"), "utf8")
      assert.strictEqual(head(made!.directory), head(from))
      assert.lengthOf(left, 1)
    }).pipe(Effect.scoped, Effect.provide(layer))
  )

  it.effect("fails once that goes on, and can be tried again", () =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(copied(3))
      assert.isTrue(SandboxError.isSandboxError(error))
      assert.deepInclude(error, { code: "ERR_WORKSPACE_FAILED", retryable: true })
      assert.include(error.message, "something in it kept changing")
    }).pipe(Effect.scoped, Effect.provide(layer))
  )
})
