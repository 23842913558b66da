/** Removing trees of our own from this host. */
import { existsSync, mkdirSync, rmdirSync } from "node:fs"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Effect, FileSystem, PlatformError } from "effect"
import { remove } from "../src/internal/placing.ts"
import { directory, layer } from "./git.ts"

describe("removing a tree", () => {
  it.effect("succeeds while the removal that failed at first goes on beside it", () =>
    Effect.gen(function* () {
      const root = join(yield* directory, "tree")
      mkdirSync(join(root, "going"), { recursive: true })
      mkdirSync(join(root, "staying/below"), { recursive: true })
      const fs = yield* FileSystem.FileSystem
      let removals = 0
      const racing = FileSystem.FileSystem.of({
        ...fs,
        remove: (path, options) => {
          removals += 1
          return removals > 1
            ? fs.remove(path, options)
            : Effect.fail(
                PlatformError.systemError({ _tag: "PermissionDenied", module: "FileSystem", method: "remove" })
              )
        },
        // the first removal takes a directory away after it was listed
        readDirectory: (path, options) =>
          Effect.tap(fs.readDirectory(path, options), () =>
            Effect.sync(() => {
              if (path === root) rmdirSync(join(root, "going"))
            })
          )
      })
      yield* Effect.provideService(remove(root), FileSystem.FileSystem, racing)
      assert.isFalse(existsSync(root))
    }).pipe(Effect.scoped, Effect.provide(layer))
  )
})
