/** The files that an image is built of: told alike whatever their times, and told when they change on the way. */
import { execFileSync } from "node:child_process"
import { appendFileSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, utimesSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import * as Archive from "@org/sandbox-core/Archive"
import { layerPlatform } from "@org/sandbox-core/node"
import * as BuildContext from "@org/sandbox-provider-docker/BuildContext"
import * as Tar from "@org/sandbox-provider-docker/Tar"
import { Effect, Layer, Stream } from "effect"

/** A directory that is gone with the scope. */
const directory = Effect.acquireRelease(
  Effect.sync(() => mkdtempSync(join(tmpdir(), "build-context-"))),
  (path) => Effect.sync(() => rmSync(path, { recursive: true, force: true }))
)

const list = (top: string) => BuildContext.list({ top, dockerfile: "Dockerfile" })

const digest = (top: string) => Effect.flatMap(list(top), (entries) => BuildContext.digest(top, entries, []))

const here = Effect.provide(Layer.orDie(layerPlatform))

describe("the files that an image is built of", () => {
  it.live("are the same in another place, at another time, and others with another name, content or link", () =>
    Effect.gen(function* () {
      const make = Effect.map(directory, (top) => {
        mkdirSync(join(top, "sub"))
        writeFileSync(join(top, "sub/file"), "content")
        symlinkSync("file", join(top, "sub/link"))
        return top
      })
      const first = yield* digest(yield* make)
      const changes: ReadonlyArray<readonly [isSame: boolean, change: (top: string) => void]> = [
        [true, (top) => utimesSync(join(top, "sub/file"), 1, 1)],
        [false, (top) => writeFileSync(join(top, "sub/file"), "Content")],
        [false, (top) => writeFileSync(join(top, "sub/other"), "")],
        [false, (top) => mkdirSync(join(top, "sub/empty"))],
        [false, (top) => execFileSync("ln", ["-sfn", "other", join(top, "sub/link")])]
      ]
      for (const [isSame, change] of changes) {
        const top = yield* make
        change(top)
        assert.strictEqual((yield* digest(top)) === first, isSame, change.toString())
      }
    }).pipe(Effect.scoped, here)
  )

  it.live("are not sent when one has changed since they were listed, and nothing else is", () =>
    Effect.gen(function* () {
      const top = yield* directory
      const send = (entries: BuildContext.Listing) => Stream.mkUint8Array(BuildContext.archive(top, entries))
      writeFileSync(join(top, "first"), "content")
      writeFileSync(join(top, "second"), "content")
      const entries = yield* list(top)
      writeFileSync(join(top, "third"), "new")
      const names = execFileSync("tar", ["--list"], { input: yield* send(entries), encoding: "utf8" })
      assert.strictEqual(names, "first\nsecond\n")
      appendFileSync(join(top, "second"), "more")
      const grown = yield* Effect.flip(send(entries))
      assert.strictEqual(grown.reason, "NotReady")
      assert.match(grown.message, /^second of build\.context changed while it was read: .*\.dockerignore/)
      rmSync(join(top, "second"))
      assert.strictEqual((yield* Effect.flip(send(entries))).message, grown.message)
      symlinkSync("first", join(top, "second"))
      utimesSync(join(top, "first"), 1, 1)
      assert.match((yield* Effect.flip(send(entries))).message, /^first of build\.context changed/)
    }).pipe(Effect.scoped, here)
  )

  it.live("may be larger than eight gigabytes, and have names of any length", () =>
    Effect.gen(function* () {
      for (const length of [1, 99, 100, 101, 990, 991, 4000]) {
        const path = "é".repeat(length)
        const header = Tar.header({ path, kind: "file", mode: 0o644, mtime: 0, size: 2 ** 33 + length, target: "" })
        const seen = yield* Archive.first(Stream.make(header))
        assert.strictEqual(Archive.fromName(seen?.path ?? ""), path)
        assert.strictEqual(seen?.size, 2 ** 33 + length)
      }
    })
  )
})
