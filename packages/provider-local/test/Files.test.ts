import { execFileSync, spawnSync } from "node:child_process"
import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  symlinkSync,
  writeFileSync
} from "node:fs"
import { join } from "node:path"
import { assert, layer } from "@effect/vitest"
import { Provisioner, type ProvisionerError } from "@org/sandbox-core/Provisioner"
import type { InstanceRef } from "@org/sandbox-core/Session"
import { Effect, Stream } from "effect"
import { box, directory, heldBuffers, local, layer as provisioner, repository, source } from "./host.ts"

/** A box with a checkout, and where that is. */
const workBox = Effect.gen(function* () {
  const ref = yield* box
  const { path = "" } = yield* (yield* local).workspace.attach(ref, source(yield* repository))
  return { ref, path }
})

const read = (ref: InstanceRef, path: string) =>
  Effect.flatMap(local, ({ files }) => Effect.map(Stream.mkUint8Array(files.read(ref, path)), Buffer.from))

const write = (ref: InstanceRef, directory: string, archive: Uint8Array) =>
  Effect.flatMap(local, ({ files }) => files.write(ref, directory, Stream.make(archive)))

const reasonOf = <A, R>(effect: Effect.Effect<A, ProvisionerError, R>) =>
  Effect.map(Effect.flip(effect), ({ outcome, reason }) => [reason, outcome])

const tar = (directory: string, ...args: ReadonlyArray<string>) =>
  execFileSync("tar", ["-C", directory, "-cf", "-", ...args])

/** An archive of entries that no honest tar would make: a name and its content, or what a link of that name points to. */
const forged = (
  ...entries: ReadonlyArray<{
    readonly name: string
    readonly content?: string
    readonly link?: [type: "1" | "2", target: string]
  }>
) =>
  Buffer.concat([
    ...entries.flatMap(({ content = "", link: [type, target] = ["0", ""], name }) => {
      const header = Buffer.alloc(512)
      const octal = (value: number, digits: number) => `${value.toString(8).padStart(digits, "0")}\0`
      header.write(name, 0)
      header.write(
        `${octal(0o644, 7)}${octal(0, 7)}${octal(0, 7)}${octal(content.length, 11)}${octal(0, 11)}        ${type}${target}`,
        100
      )
      header.write("ustar\x0000", 257)
      header.write(
        octal(
          header.reduce((sum, byte) => sum + byte, 0),
          6
        ),
        148
      )
      return [header, Buffer.from(content.padEnd(Math.ceil(content.length / 512) * 512, "\0"))]
    }),
    Buffer.alloc(1024)
  ])

/** Everything below a directory: kind, permissions, content or target. */
const tree = (root: string | Buffer, at = ""): ReadonlyArray<string> =>
  readdirSync(root, { encoding: "buffer" })
    .flatMap((name) => {
      const file = Buffer.concat([Buffer.from(root), Buffer.from("/"), name])
      const info = lstatSync(file)
      const path = `${at}/${name.toString("latin1")}`
      if (info.isSymbolicLink()) return [`${path} -> ${readlinkSync(file)}`]
      const line = `${path} ${(info.mode & 0o7777).toString(8)}`
      return info.isDirectory() ? [line, ...tree(file, path)] : [`${line} ${readFileSync(file).toString("base64")}`]
    })
    .sort()

layer(provisioner, { excludeTestServices: true })("the files of a local box", (it) => {
  it.effect("come and go as they are: odd names, permissions, links, empty directories, halted or not", () =>
    Effect.gen(function* () {
      const { stop } = yield* Provisioner
      const { path, ref } = yield* workBox
      const from = join(yield* directory, "from")
      const into = yield* directory
      // For whoever removes them in the end; the box's own are the provider's to remove.
      yield* Effect.addFinalizer(() => Effect.sync(() => execFileSync("chmod", ["-R", "u+rwX", from, into])))
      for (const name of ["a b", "line\nbreak", "ünïcode ✓", "-rf", "@archive", "*", "empty", "closed"]) {
        mkdirSync(join(from, name), { recursive: true })
        if (name !== "empty") writeFileSync(join(from, name, name), name)
      }
      writeFileSync(Buffer.concat([Buffer.from(`${from}/`), Buffer.from([0x66, 0xff])]), "not UTF-8")
      writeFileSync(join(from, "run"), "#!/bin/sh\n", { mode: 0o755 })
      writeFileSync(join(from, "x".repeat(150)), "long")
      writeFileSync(join(from, "secret"), "s", { mode: 0o600 })
      symlinkSync("a b/a b", join(from, "link"))
      symlinkSync("/nowhere", join(from, "dangling"))
      chmodSync(join(from, "closed"), 0o500)
      const expected = tree(from)

      yield* write(ref, ".", tar(join(from, ".."), "from"))
      assert.deepStrictEqual(tree(join(path, "from")), expected)
      yield* stop(ref)
      const archive = yield* read(ref, "from")
      execFileSync("tar", ["-C", into, "-xpf", "-"], { input: archive })
      assert.deepStrictEqual(readdirSync(into), ["from"])
      assert.deepStrictEqual(tree(join(into, "from")), expected)
      yield* write(ref, "from/empty", archive)
      assert.deepStrictEqual(tree(join(path, "from/empty/from")), expected)
      for (const name of ["-rf", "@archive", "*", "dangling"]) {
        const names = execFileSync("tar", ["-tf", "-"], { input: yield* read(ref, `from/${name}`), encoding: "utf8" })
        assert.strictEqual(names.split("\n")[0]!.replace(/\/$/, ""), name)
      }
      yield* (yield* Provisioner).destroy(ref)
      assert.isFalse(existsSync(join(path, "..")))
    })
  )

  it.effect("are read and written by absolute paths too, and by what is in them, not beside them", () =>
    Effect.gen(function* () {
      const { path, ref } = yield* workBox
      const elsewhere = yield* directory
      mkdirSync(join(elsewhere, "there"))
      writeFileSync(join(elsewhere, "there", "kept"), "kept")
      chmodSync(join(elsewhere, "there"), 0o700)
      writeFileSync(join(path, "file"), "new")
      yield* write(ref, elsewhere, tar(path, "file"))
      // What is there already stays as it is, but for the files that come.
      yield* write(ref, elsewhere, forged({ name: "there/file", content: "new" }))
      assert.strictEqual(lstatSync(join(elsewhere, "there")).mode & 0o777, 0o700)
      assert.deepStrictEqual(readdirSync(join(elsewhere, "there")).sort(), ["file", "kept"])
      assert.strictEqual((yield* read(ref, join(elsewhere, "there/kept"))).subarray(512, 516).length, 4)
      const entries = execFileSync("tar", ["-tf", "-"], { input: yield* read(ref, elsewhere), encoding: "utf8" })
      assert.include(entries, "/there/kept")
      assert.deepStrictEqual(readdirSync(elsewhere).sort(), ["file", "there"])
      yield* write(ref, ".", tar(elsewhere, "file"))
      assert.strictEqual(readFileSync(join(path, "file"), "utf8"), "new")
    })
  )

  it.effect("that are not there are NotFound, and so are those of a box that is gone", () =>
    Effect.gen(function* () {
      const { destroy } = yield* Provisioner
      const { ref, path } = yield* workBox
      const archive = tar(path, "file")
      assert.deepStrictEqual(yield* reasonOf(read(ref, "nothing")), ["NotFound", "not_applied"])
      assert.deepStrictEqual(yield* reasonOf(read(ref, "file/below")), ["NotFound", "not_applied"])
      assert.deepStrictEqual(yield* reasonOf(write(ref, "nothing", archive)), ["NotFound", "not_applied"])
      assert.deepStrictEqual(yield* reasonOf(write(ref, "file", archive)), ["Invalid", "not_applied"])
      yield* destroy(ref)
      assert.deepStrictEqual(yield* reasonOf(read(ref, "file")), ["NotFound", "not_applied"])
      assert.deepStrictEqual(yield* reasonOf(write(ref, ".", archive)), ["NotFound", "not_applied"])
    })
  )

  it.effect("I-91 never come from an archive that leads out of its directory, of which nothing stays", () =>
    Effect.gen(function* () {
      const { path, ref } = yield* workBox
      const base = yield* directory
      const outside = join(base, "outside")
      mkdirSync(outside)
      writeFileSync(join(outside, "secret"), "secret")
      // In the checkout: a link of the repository's, and what is in the way.
      symlinkSync(outside, join(path, "tracked"))
      mkdirSync(join(path, "in-the-way"))
      writeFileSync(join(path, "no-directory"), "")
      const before = tree(path)
      const good = { name: "good", content: "good" }
      const named = (name: string) => forged(good, { name, content: "evil" })
      const hostile = {
        absolute: named(`${outside}/evil`),
        upwards: named("../evil"),
        "upwards in the middle": named("a/../../evil"),
        "through a link of its own": forged(
          { name: "out", link: ["2", outside] },
          { name: "out/evil", content: "evil" }
        ),
        "through a link of the checkout": named("tracked/evil"),
        "over a directory": named("in-the-way"),
        "below a file": named("no-directory/evil"),
        "a hard link to outside": forged(good, { name: "x", link: ["1", `${outside}/secret`] }),
        "a device": tar("/dev", "null"),
        garbage: Buffer.from("x".repeat(2000)),
        torn: forged({ name: "good", content: "x".repeat(1000) }).subarray(0, 700)
      }
      for (const [name, archive] of Object.entries(hostile)) {
        const [reason, outcome] = yield* reasonOf(write(ref, ".", archive))
        assert.deepStrictEqual([reason, outcome], ["Invalid", "not_applied"], name)
        assert.deepStrictEqual(tree(path), before, name)
        assert.deepStrictEqual(readdirSync(outside), ["secret"], name)
      }
      assert.deepStrictEqual(readdirSync(join(path, "..")).sort(), ["box.json", "run", "work"])
    })
  )

  it.effect("pass through in bounded memory, however many there are", () =>
    Effect.gen(function* () {
      const { path, ref } = yield* workBox
      const bytes = 100_000_000
      spawnSync("sh", ["-c", `head -c ${bytes} /dev/urandom > "$1"`, "sh", join(path, "large")])
      const { files } = yield* local
      mkdirSync(join(path, "copy"))
      const before = heldBuffers()
      let [most, chunks] = [0, 0]
      const watched = files.read(ref, "large").pipe(
        Stream.orDie,
        Stream.tap(() =>
          Effect.sync(() => {
            if (++chunks % 100 === 1) most = Math.max(most, heldBuffers() - before)
          })
        )
      )
      yield* files.write(ref, "copy", watched)
      assert.strictEqual(spawnSync("cmp", [join(path, "large"), join(path, "copy/large")]).status, 0)
      assert.isBelow(most, bytes / 10)
    })
  )

  it.effect("may be given up in the middle, which leaves nothing half-written", () =>
    Effect.gen(function* () {
      const { path, ref } = yield* workBox
      const { files } = yield* local
      const archive = Stream.concat(Stream.make(tar(path, "file").subarray(0, 800)), Stream.never)
      assert.strictEqual((yield* Effect.timeoutOption(files.write(ref, ".", archive), "300 millis"))._tag, "None")
      assert.deepStrictEqual(readdirSync(join(path, "..")).sort(), ["box.json", "run", "work"])
      // A reader that has seen enough, such as of what kind a path is.
      const [first] = yield* Stream.runCollect(Stream.take(files.read(ref, "."), 1))
      assert.isAtLeast(first!.length, 512)
    })
  )
})
