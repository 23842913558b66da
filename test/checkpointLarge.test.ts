/** A checkpoint of a large dirty tree, taken while somebody writes in it. */
import { createHash } from "node:crypto"
import { chmodSync, mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { eventually, world } from "./support/sandbox.ts"
import { everything, listing, status } from "./support/work.ts"

/** Bytes that a number determines. */
const bytesOf = (seed: number): Uint8Array =>
  createHash("sha512")
    .update(String(seed))
    .digest()
    .subarray(0, 1 + (seed % 64))

const odd = ["with blank", "línea", "-dash", "a\nbreak", 'quo"te', "back\\slash", "🦊", "#hash", "dot.", "%41"]

/** 5 000 files, links and directories; every third is known to git and changed. */
const fill = (directory: string): void => {
  for (let at = 0; at < 5000; at++) {
    const folder = join(directory, "tree", String(at % 50), odd[at % odd.length]!)
    mkdirSync(folder, { recursive: true })
    const path = join(folder, `${at}-${odd[(at * 7) % odd.length]}`)
    if (at % 25 === 0) symlinkSync(at % 50 === 0 ? "../elsewhere" : `${at}`, path)
    else writeFileSync(path, at % 2 === 0 ? bytesOf(at) : `text ${at}\n`)
    if (at % 10 === 1) chmodSync(path, 0o755)
  }
  mkdirSync(join(directory, "tree/empty/nested"), { recursive: true })
}

describe("a large checkpoint", { timeout: 180_000 }, () => {
  it.live("5 000 dirty files come back with identical digests, and one that was being written as it once was", () =>
    Effect.gen(function* () {
      const w = yield* world
      const up = (yield* w.sandbox("up", w.repository, "-b", "feature", "-n", "app", "-p", "local", "--json")).json()
      const directory = up.worktree_path
      const git = (...args: ReadonlyArray<string>) => w.git("-C", directory, ...args)
      fill(directory)
      git("add", "tree/1", "tree/2", "tree/3")
      git("commit", "--quiet", "--message", "some of it")
      for (let at = 1; at < 5000; at += 50) {
        if (at % 25 !== 0)
          writeFileSync(
            join(directory, "tree", "1", odd[at % odd.length]!, `${at}-${odd[(at * 7) % odd.length]}`),
            bytesOf(at + 1)
          )
      }
      const before = everything(directory)
      const busy = join(directory, "busy.log")
      const writer = yield* w.sandbox(
        ...["exec", "-d", "app", "--", "sh", "-c", "n=0; while :; do n=$((n+1)); echo line $n >> busy.log; done"]
      )
      assert.strictEqual(writer.code, 0, writer.stderr)
      yield* eventually("somebody writes", () => readFileSync(busy).length > 1000)
      const made = (yield* w.sandbox("checkpoint", "create", "app", "--json")).json()
      assert.isTrue(made.ok, JSON.stringify(made))
      assert.isAbove(made.checkpoint!.files, 4000)
      // ends the writer, and saves what it has written in the end
      assert.strictEqual((yield* w.sandbox("down", "app")).code, 0)
      const written = readFileSync(busy, "utf8")
      rmSync(join(directory, "tree"), { recursive: true })
      git("reset", "--quiet", "--hard")
      writeFileSync(join(directory, "other"), "other")

      const restored = (yield* w.sandbox("restore", "app", made.checkpoint!.id, "--json")).json()
      assert.isTrue(restored.ok, JSON.stringify(restored))
      const then = readFileSync(busy, "utf8")
      assert.isTrue(written.startsWith(then) && then.length > 0, "what was read of it at one time")
      assert.match(then, /^line 1\n/)
      rmSync(busy)
      assert.deepEqual(listing(directory), before.files)
      assert.strictEqual(status(directory), before.status)
      assert.strictEqual(git("rev-parse", "HEAD"), before.head)
    })
  )
})
