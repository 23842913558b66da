import { execFileSync, spawnSync } from "node:child_process"
import { createHash, randomBytes } from "node:crypto"
import * as fs from "node:fs"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { assert, describe, it } from "@effect/vitest"
import { CheckpointStore, type Draft } from "@org/sandbox-core/CheckpointStore"
import { Host } from "@org/sandbox-core/Host"
import { Effect, Exit, Fiber, Option, type Scope, Stream } from "effect"
import { times } from "../../../test/support/sample.ts"
import { bodyName } from "../src/node/FileCheckpointStore/layout.ts"
import * as FileCheckpointStore from "../src/node/FileCheckpointStore.ts"
import { directory, layer as services, worker } from "./git.ts"

type Store = CheckpointStore["Service"]

/** A store in a fresh directory. */
const run = <A, E>(body: (store: Store, at: string) => Effect.Effect<A, E, Scope.Scope | Host>) =>
  Effect.gen(function* () {
    const at = join(yield* directory, "store")
    return yield* runAt(at, (store) => body(store, at))
  }).pipe(Effect.scoped, Effect.provide(services))

const runAt = <A, E, R>(at: string, body: (store: Store) => Effect.Effect<A, E, R>) =>
  Effect.flatMap(CheckpointStore, body).pipe(Effect.provide(FileCheckpointStore.layer(at)))

const bytes = (text: string) => new TextEncoder().encode(text)
const sha256 = (content: Uint8Array) => createHash("sha256").update(content).digest("hex")
const large = (seed: number) => Buffer.alloc(5 * 2 ** 20 + 17, bytes(`large ${seed} `))

const save = Effect.fnUntraced(function* (store: Store, id: string, contents: ReadonlyArray<Uint8Array>) {
  const draft = yield* store.begin(id)
  const objects = yield* Effect.forEach(contents, (content) => draft.put(Stream.make(content)))
  yield* draft.publish(bytes(`manifest of ${id}`))
  return objects
}, Effect.scoped)

const read = (store: Store, id: string, digest: string) =>
  Effect.map(Stream.runCollect(store.object(id, digest)), (chunks) => Buffer.concat([...chunks]))

/** The body of a checkpoint. */
const bodyOf = (at: string, id: string) => fs.realpathSync(join(at, "published", id))
const objectFile = (at: string, id: string, digest: string) => join(bodyOf(at, id), "objects", digest)
const poolFile = (at: string, digest: string) => join(at, "objects", digest.slice(0, 2), digest)

/** All files below a directory. */
const filesBelow = (path: string): ReadonlyArray<string> =>
  fs
    .readdirSync(path, { recursive: true, withFileTypes: true })
    .filter((entry) => !entry.isDirectory())
    .map((entry) => join(entry.parentPath, entry.name))

/** Bytes on the disk, each inode once. */
const used = (at: string): number => {
  const inodes = new Map(filesBelow(at).map((path) => [fs.lstatSync(path).ino, fs.lstatSync(path).size]))
  return [...inodes.values()].reduce((sum, size) => sum + size, 0)
}

const flip = (path: string, at: number) => {
  const fd = fs.openSync(path, "r+")
  const byte = Buffer.alloc(1)
  fs.readSync(fd, byte, 0, 1, at)
  byte[0]! ^= 1
  fs.writeSync(fd, byte, 0, 1, at)
  fs.closeSync(fd)
}

const assertInvalid = (error: unknown, checkpoint: string, digest: string, problem: string) => {
  assert.deepInclude({ ...(error as object) }, { code: "ERR_CHECKPOINT_INVALID" })
  assert.deepStrictEqual((error as { details: unknown }).details, { checkpoint, digest, problem })
}

describe("a checkpoint store in a directory", () => {
  it.live("shows a checkpoint when it is published, whole, and not before", () =>
    run((store, at) =>
      Effect.gen(function* () {
        assert.strictEqual(store.where, at)
        assert.deepStrictEqual(yield* store.list, [])
        assert.isTrue(Option.isNone(yield* store.manifest("ckp_1")))
        const contents = [bytes("a"), bytes(""), large(1)]
        const objects = yield* Effect.scoped(
          Effect.gen(function* () {
            const draft = yield* store.begin("ckp_1")
            const put = yield* Effect.forEach(contents, (content) => draft.put(Stream.make(content)))
            assert.deepStrictEqual(yield* store.list, [])
            assert.isTrue(Option.isNone(yield* store.manifest("ckp_1")))
            yield* draft.publish(bytes("the manifest"))
            return put
          })
        )
        assert.deepStrictEqual(
          objects,
          contents.map((content) => ({ digest: sha256(content), size: content.length }))
        )
        // another process has nothing but the directory
        yield* runAt(at, (other) =>
          Effect.gen(function* () {
            assert.deepStrictEqual(yield* other.list, ["ckp_1"])
            assert.strictEqual(
              Buffer.from(Option.getOrThrow(yield* other.manifest("ckp_1"))).toString(),
              "the manifest"
            )
            for (const content of contents) {
              assert.isTrue((yield* read(other, "ckp_1", sha256(content))).equals(content))
            }
          })
        )
      })
    )
  )

  it.live("keeps a checkpoint as a directory that is whole by itself, for its owner only", () =>
    run((store, at) =>
      Effect.gen(function* () {
        const contents = [bytes("a"), large(1)]
        yield* save(store, "ckp_1", contents)
        yield* save(store, "ckp_2", contents)
        const copy = `${at}-copy`
        fs.cpSync(bodyOf(at, "ckp_2"), copy, { recursive: true })
        fs.rmSync(at, { recursive: true })
        assert.strictEqual(fs.readFileSync(join(copy, "manifest.json"), "utf8"), "manifest of ckp_2")
        for (const content of contents) {
          assert.isTrue(fs.readFileSync(join(copy, "objects", sha256(content))).equals(content))
        }
        yield* save(store, "ckp_3", contents)
        for (const entry of fs.readdirSync(at, { recursive: true, withFileTypes: true })) {
          if (entry.isSymbolicLink()) continue
          const mode = fs.lstatSync(join(entry.parentPath, entry.name)).mode & 0o777
          assert.strictEqual(mode, entry.isDirectory() ? 0o700 : 0o600, entry.name)
        }
        assert.strictEqual(fs.statSync(at).mode & 0o777, 0o700)
      })
    )
  )

  it.live("refuses ids that would leave it, and touches nothing", () =>
    run((store, at) =>
      Effect.gen(function* () {
        const outside = `${at}-outside`
        fs.mkdirSync(outside)
        fs.writeFileSync(join(outside, "manifest.json"), "{}")
        for (const id of ["../../store-outside", "..", "", "ckp_/../x", ".hidden", "ckp_A", "ckp_a\0"]) {
          const exits = [
            yield* Effect.exit(Effect.scoped(store.begin(id))),
            yield* Effect.exit(store.manifest(id)),
            yield* Effect.exit(store.remove(id)),
            yield* Effect.exit(Stream.runDrain(store.object(id, sha256(bytes("")))))
          ]
          for (const exit of exits) {
            const error = Option.getOrThrow(Exit.findErrorOption(exit as Exit.Exit<unknown, { readonly code: string }>))
            assert.strictEqual(error.code, "ERR_INVALID_ARGUMENT", id)
          }
        }
        assert.isFalse(fs.existsSync(at))
        assert.deepStrictEqual(fs.readdirSync(outside), ["manifest.json"])
        yield* save(store, "ckp_1", [bytes("a")])
        const digest = "../manifest.json"
        assertInvalid(yield* Effect.flip(read(store, "ckp_1", digest)), "ckp_1", digest, "missing")
      })
    )
  )

  it.live("drops what is not published, and fails as the stream does that it is fed with", () =>
    run((store, at) =>
      Effect.gen(function* () {
        const failing = Stream.concat(Stream.make(large(1), large(2)), Stream.fail("broken" as const))
        const error = yield* Effect.flip(
          Effect.scoped(
            Effect.gen(function* () {
              const draft = yield* store.begin("ckp_1")
              yield* draft.put(Stream.make(large(3), bytes("b")))
              assert.strictEqual(yield* Effect.flip(draft.put(failing)), "broken")
              assert.lengthOf(
                filesBelow(at).filter((path) => !/\/[0-9a-f]{64}$/.test(path)),
                0
              )
              return yield* draft.put(failing)
            })
          )
        )
        assert.strictEqual(error, "broken")
        assert.deepStrictEqual(filesBelow(at), [])
        const draft = yield* Effect.forkChild(
          Effect.scoped(
            Effect.gen(function* () {
              const draft = yield* store.begin("ckp_2")
              return yield* draft.put(Stream.concat(Stream.make(large(1)), Stream.never))
            })
          )
        )
        while (filesBelow(at).length === 0) yield* Effect.yieldNow
        yield* Fiber.interrupt(draft)
        assert.deepStrictEqual(filesBelow(at), [])
        assert.deepStrictEqual(fs.readdirSync(join(at, "bodies")), [])
      })
    )
  )

  it.live("saves files of any size as they are", () =>
    run((store, at) =>
      Effect.gen(function* () {
        const sizes = [0, 1, 4096, 2 ** 18 + 1, 2 ** 20 + 1, 2 ** 22 - 1, 2 ** 22, 2 ** 22 + 1, 5 * 2 ** 20 + 3]
        const contents = sizes.map((size) => randomBytes(size))
        yield* Effect.scoped(
          Effect.gen(function* () {
            const draft = yield* store.begin("ckp_1")
            yield* Effect.forEach(
              contents,
              Effect.fnUntraced(function* (content, n) {
                const path = `${at}-${n}\n"odd"`
                fs.writeFileSync(path, content)
                const object = { digest: sha256(content), size: content.length }
                assert.deepStrictEqual(yield* draft.putFile(path), object)
                assert.deepStrictEqual(yield* draft.put(Stream.make(content)), object)
              }),
              { concurrency: 4 }
            )
            yield* draft.publish(bytes("{}"))
          })
        )
        for (const content of contents) {
          assert.isTrue((yield* read(store, "ckp_1", sha256(content))).equals(content))
        }
        assert.lengthOf(fs.readdirSync(join(bodyOf(at, "ckp_1"), "objects")), sizes.length)
      })
    )
  )

  it.live("refuses what is no file, or no longer there, without following or waiting", () =>
    run((store, at) =>
      Effect.gen(function* () {
        const path = (name: string) => `${at}-${name}`
        fs.writeFileSync(path("file"), "secret of somebody else")
        fs.symlinkSync(path("file"), path("link"))
        fs.mkdirSync(path("folder"))
        execFileSync("mkfifo", [path("pipe")])
        const draft = yield* store.begin("ckp_1")
        for (const name of ["link", "folder", "pipe", "absent"]) {
          const error = yield* Effect.flip(draft.putFile(path(name)))
          assert.strictEqual(error.code, "ERR_CHECKPOINT_FAILED", name)
          assert.deepStrictEqual(error.details, { path: path(name) })
          assert.include(error.message, path(name))
          assert.notInclude(error.message, "\n")
        }
        yield* draft.putFile(path("file"))
      })
    )
  )

  it.live("keeps what checkpoints share once, and as long as one of them has it", () =>
    run((store, at) =>
      Effect.gen(function* () {
        const shared = [large(1), bytes("small")]
        yield* save(store, "ckp_1", [...shared, bytes("only in 1")])
        const before = used(at)
        yield* save(store, "ckp_2", [...shared, ...shared, bytes("only in 2")])
        assert.isBelow(used(at) - before, 200)
        for (const content of shared) {
          const links = ["ckp_1", "ckp_2"].map((id) => fs.statSync(objectFile(at, id, sha256(content))))
          assert.deepStrictEqual(
            links.map(({ ino, nlink }) => [ino, nlink]),
            [1, 2].map(() => [links[0]!.ino, 3])
          )
        }
        yield* store.remove("ckp_1")
        yield* store.remove("ckp_1")
        assert.deepStrictEqual(yield* store.list, ["ckp_2"])
        assert.isTrue(Option.isNone(yield* store.manifest("ckp_1")))
        for (const content of [...shared, bytes("only in 2")]) {
          assert.isTrue((yield* read(store, "ckp_2", sha256(content))).equals(content))
        }
        assert.isFalse(fs.existsSync(poolFile(at, sha256(bytes("only in 1")))))
        yield* store.remove("ckp_2")
        assert.deepStrictEqual(filesBelow(at), [])
        assert.deepStrictEqual(yield* store.sweep, { drafts: 0, bytes: 0 })
      })
    )
  )

  for (const [size, content] of [
    ["small", bytes("what was saved")],
    ["large", large(1)]
  ] as const) {
    it.live(`I-71 a ${size} object is read anew, and given out as whole only when it is what was stored`, () =>
      run((store, at) =>
        Effect.gen(function* () {
          const digest = sha256(content)
          const breaks = {
            damaged: [
              (path: string) => flip(path, 5),
              (path: string) => flip(path, content.length - 1),
              (path: string) => fs.truncateSync(path, content.length - 1),
              (path: string) => fs.truncateSync(path, 0),
              (path: string) => fs.appendFileSync(path, "more"),
              (path: string) => {
                fs.rmSync(path)
                fs.symlinkSync("/dev/zero", path)
              },
              (path: string) => {
                fs.rmSync(path)
                fs.mkdirSync(path)
              }
            ],
            missing: [(path: string) => fs.rmSync(path)]
          }
          let n = 0
          for (const [problem, ways] of Object.entries(breaks)) {
            for (const breaking of ways) {
              n += 1
              const id = `ckp_${n}`
              // whatever spoiled the one before does not come into this one
              yield* save(store, id, [content, bytes("untouched")])
              assert.isTrue((yield* read(store, id, digest)).equals(content))
              breaking(objectFile(at, id, digest))
              assertInvalid(yield* Effect.flip(read(store, id, digest)), id, digest, problem)
              assert.isTrue((yield* read(store, id, sha256(bytes("untouched")))).equals(bytes("untouched")))
            }
          }
        })
      )
    )

    it.live(
      `writes a ${size} object anew where the one that it would share is spoiled, and shares that from then on`,
      () =>
        run((store, at) =>
          Effect.gen(function* () {
            const digest = sha256(content)
            yield* save(store, "ckp_1", [content])
            flip(objectFile(at, "ckp_1", digest), 5)
            yield* save(store, "ckp_2", [content])
            yield* save(store, "ckp_3", [content])
            assertInvalid(yield* Effect.flip(read(store, "ckp_1", digest)), "ckp_1", digest, "damaged")
            assert.isTrue((yield* read(store, "ckp_2", digest)).equals(content))
            assert.isTrue((yield* read(store, "ckp_3", digest)).equals(content))
            assert.strictEqual(fs.statSync(objectFile(at, "ckp_3", digest)).nlink, 3)
            // to save the same once more puts it right
            yield* save(store, "ckp_1", [content])
            assert.isTrue((yield* read(store, "ckp_1", digest)).equals(content))
          })
        )
    )
  }

  it.live("replaces what has the same id at once, and leaves nothing of it", () =>
    run((store, at) =>
      Effect.gen(function* () {
        yield* save(store, "ckp_1", [bytes("old"), bytes("both")])
        const draft = yield* store.begin("ckp_1")
        yield* draft.put(Stream.make(bytes("both")))
        yield* draft.put(Stream.make(bytes("new")))
        assert.strictEqual(
          Buffer.from(Option.getOrThrow(yield* store.manifest("ckp_1"))).toString(),
          "manifest of ckp_1"
        )
        assert.isTrue((yield* read(store, "ckp_1", sha256(bytes("old")))).equals(bytes("old")))
        yield* draft.publish(bytes("second"))
        assert.strictEqual(Buffer.from(Option.getOrThrow(yield* store.manifest("ckp_1"))).toString(), "second")
        const gone = sha256(bytes("old"))
        assertInvalid(yield* Effect.flip(read(store, "ckp_1", gone)), "ckp_1", gone, "missing")
        assert.lengthOf(fs.readdirSync(join(at, "bodies")), 1)
        assert.isFalse(fs.existsSync(poolFile(at, gone)))
        yield* draft.publish(bytes("third"))
        assert.strictEqual(Buffer.from(Option.getOrThrow(yield* store.manifest("ckp_1"))).toString(), "third")
        assert.isTrue((yield* read(store, "ckp_1", sha256(bytes("new")))).equals(bytes("new")))
      })
    )
  )

  it.live("says that it failed, not that a checkpoint is invalid, where an object cannot be read", () =>
    run((store, at) =>
      Effect.gen(function* () {
        const [object] = yield* save(store, "ckp_1", [bytes("a")])
        const asked = (uid?: number) =>
          spawnSync(
            process.execPath,
            [
              "--conditions=@org/source",
              fileURLToPath(new URL("storeWorker.ts", import.meta.url)),
              ...["read", at, "ckp_1", object!.digest]
            ],
            { encoding: "utf8", ...(uid === undefined ? {} : { uid }) }
          ).stdout
        const path = objectFile(at, "ckp_1", object!.digest)
        if (process.getuid?.() === 0) {
          // nothing is closed to root; the directories are opened for somebody else
          for (const part of [join(at, ".."), at, join(at, "published"), join(at, "bodies"), bodyOf(at, "ckp_1")]) {
            fs.chmodSync(part, 0o755)
          }
          fs.chmodSync(join(bodyOf(at, "ckp_1"), "objects"), 0o755)
          assert.strictEqual(asked(65534), "ERR_PERSIST_FAILED")
        } else {
          fs.chmodSync(path, 0)
          assert.strictEqual(asked(), "ERR_PERSIST_FAILED")
          fs.chmodSync(path, 0o600)
        }
        fs.rmSync(path)
        assert.strictEqual(asked(), "ERR_CHECKPOINT_INVALID")
      })
    )
  )

  it.live("does not know what earlier versions put there, and leaves it alone", () =>
    run((store, at) =>
      Effect.gen(function* () {
        fs.mkdirSync(at)
        fs.writeFileSync(join(at, "ckp_old.json"), "{}")
        yield* save(store, "ckp_1", [bytes("a")])
        assert.isTrue(Option.isNone(yield* store.manifest("ckp_old")))
        assert.deepStrictEqual(yield* store.list, ["ckp_1"])
        yield* store.remove("ckp_old")
        yield* store.sweep
        assert.strictEqual(fs.readFileSync(join(at, "ckp_old.json"), "utf8"), "{}")
      })
    )
  )

  describe("a sweep", () => {
    /** What a writer leaves that ends in the middle. */
    const leave = (at: string, name: string, content: string) => {
      const objects = join(at, "bodies", name, "objects")
      fs.mkdirSync(objects, { recursive: true })
      fs.writeFileSync(join(objects, sha256(bytes(content))), content)
      fs.symlinkSync(`../bodies/${name}`, join(at, "published", `.${name}`))
    }

    it.live("removes the drafts of dead writers, and those of unknown ones after a day", () =>
      run((store, at) =>
        Effect.gen(function* () {
          const { self } = yield* Host
          yield* save(store, "ckp_1", [bytes("a")])
          const draft = yield* store.begin("ckp_2")
          yield* draft.put(Stream.make(bytes("in the making")))
          const writers = {
            dead: { ...self, pid: 2 ** 22 + 1 },
            // the pid was given to somebody else
            recycled: { ...self, startedAt: "0" },
            foreign: { ...self, host: "another" },
            forgotten: { ...self, host: "another" }
          }
          const names = Object.entries(writers).map(([name, holder]) => {
            const body = bodyName(`ckp_${name}`, holder)
            leave(at, body, name)
            return body
          })
          fs.mkdirSync(join(at, "bodies", "whose is this"))
          const yesterday = Date.now() / 1000 - 25 * 60 * 60
          for (const part of ["", "objects"]) fs.utimesSync(join(at, "bodies", names[3]!, part), yesterday, yesterday)
          const over = { drafts: 3, bytes: "dead".length + "recycled".length + "forgotten".length }
          const before = filesBelow(at)
          assert.deepStrictEqual(yield* store.leftovers, over)
          assert.deepStrictEqual(filesBelow(at), before)
          assert.deepStrictEqual(yield* store.sweep, over)
          const left = fs.readdirSync(join(at, "bodies"))
          assert.lengthOf(left, 4)
          assert.include(left, names[2]!)
          assert.include(left, "whose is this")
          assert.deepStrictEqual(
            fs.readdirSync(join(at, "published")).filter((name) => name.startsWith(".")),
            [`.${names[2]}`]
          )
          assert.deepStrictEqual(yield* store.leftovers, { drafts: 0, bytes: 0 })
          assert.deepStrictEqual(yield* store.sweep, { drafts: 0, bytes: 0 })
          yield* draft.publish(bytes("{}"))
          assert.deepStrictEqual(yield* store.list, ["ckp_1", "ckp_2"])
          assert.isTrue((yield* read(store, "ckp_2", sha256(bytes("in the making")))).equals(bytes("in the making")))
        })
      )
    )

    it.live("counts what would go as it counts what goes, whatever the objects are shared with", () =>
      run((store, at) =>
        Effect.gen(function* () {
          const { self } = yield* Host
          const [kept, gone] = [bytes("kept by a checkpoint"), bytes("only in drafts and in the pool")]
          yield* save(store, "ckp_1", [kept])
          yield* save(store, "ckp_2", [kept, gone])
          // two drafts that share both, and the link of a third whose removal was cut short
          for (const pid of [2 ** 22 + 1, 2 ** 22 + 2]) {
            const body = join(at, "bodies", bodyName("ckp_3", { ...self, pid }))
            fs.mkdirSync(join(body, "objects"), { recursive: true })
            for (const content of [kept, gone]) {
              fs.linkSync(objectFile(at, "ckp_2", sha256(content)), join(body, "objects", sha256(content)))
            }
          }
          fs.symlinkSync("../bodies/x", join(at, "published", `.${bodyName("ckp_4", { ...self, pid: 2 ** 22 + 3 })}`))
          const before = filesBelow(at)
          assert.deepStrictEqual(yield* store.leftovers, { drafts: 3, bytes: 0 })
          yield* store.remove("ckp_2")
          const left = { drafts: 3, bytes: gone.length }
          assert.deepStrictEqual(yield* store.leftovers, left)
          assert.isBelow(filesBelow(at).length, before.length)
          assert.deepStrictEqual(yield* store.sweep, left)
          assert.deepStrictEqual(yield* store.leftovers, { drafts: 0, bytes: 0 })
          assert.deepStrictEqual(fs.readdirSync(join(at, "published")), ["ckp_1"])
          assert.isTrue((yield* read(store, "ckp_1", sha256(kept))).equals(kept))
        })
      )
    )

    it.live("keeps what a writer published before it died, and forgets objects that nobody has", () =>
      run((store, at) =>
        Effect.gen(function* () {
          const { self } = yield* Host
          yield* save(store, "ckp_1", [bytes("a"), large(1)])
          const body = bodyOf(at, "ckp_1")
          const dead = bodyName("ckp_1", { ...self, pid: 2 ** 22 + 1 })
          fs.renameSync(body, join(at, "bodies", dead))
          fs.rmSync(join(at, "published", "ckp_1"))
          fs.symlinkSync(`../bodies/${dead}`, join(at, "published", "ckp_1"))
          assert.deepStrictEqual(yield* store.sweep, { drafts: 0, bytes: 0 })
          assert.isTrue((yield* read(store, "ckp_1", sha256(large(1)))).equals(large(1)))
          fs.rmSync(join(at, "bodies", dead, "objects", sha256(large(1))))
          assert.deepStrictEqual(yield* store.leftovers, { drafts: 0, bytes: large(1).length })
          assert.deepStrictEqual(yield* store.sweep, { drafts: 0, bytes: large(1).length })
          assert.isTrue((yield* read(store, "ckp_1", sha256(bytes("a")))).equals(bytes("a")))
        })
      )
    )
  })

  describe("with several processes", () => {
    it.live(
      "loses nothing while they save the same, remove and sweep at once",
      () =>
        run((store, at) =>
          Effect.gen(function* () {
            const workers = yield* Effect.forEach(["a", "b", "c", "d"], (name) =>
              worker("storeWorker.ts", ["contend", at, name, "40"])
            )
            for (const { ended } of workers) assert.strictEqual((yield* ended).code, 0)
            const left = yield* store.list
            assert.lengthOf(left, 4 * 3)
            for (const id of left) {
              for (const digest of fs.readdirSync(join(bodyOf(at, id), "objects"))) yield* read(store, id, digest)
            }
            yield* Effect.forEach(left, store.remove)
            yield* store.sweep
            assert.deepStrictEqual(filesBelow(at), [])
          })
        ),
      { timeout: 120_000 }
    )

    const kills = times(200, 40)
    it.live(
      `has whole checkpoints or none after ${kills} writers were killed, and sweeps the rest`,
      () =>
        run((store, at) =>
          Effect.gen(function* () {
            let swept = 0
            let seen = 0
            const one = Effect.fnUntraced(function* (n: number) {
              const { child, ended } = yield* worker("storeWorker.ts", ["save", at, `w${n % 4}`])
              yield* Effect.promise(() => new Promise((resolve) => child.stdout.once("data", resolve)))
              // all moments of a few rounds, one after the other
              const until = performance.now() + ((n * 7) % 50) * 2
              while (performance.now() < until) yield* Effect.yieldNow
              child.kill("SIGKILL")
              yield* ended
            }, Effect.scoped)
            for (let n = 0; n < kills; n += 4) {
              yield* Effect.forEach([n, n + 1, n + 2, n + 3], one, { concurrency: 4 })
              const published = yield* store.list
              seen += published.length
              for (const id of published) {
                const digests: ReadonlyArray<string> = JSON.parse(
                  Buffer.from(Option.getOrThrow(yield* store.manifest(id))).toString()
                )
                for (const digest of digests) yield* read(store, id, digest)
              }
              swept += (yield* store.sweep).drafts
              if (!fs.existsSync(join(at, "objects"))) continue
              assert.lengthOf(fs.readdirSync(join(at, "bodies")), published.length)
              assert.lengthOf(fs.readdirSync(join(at, "published")), published.length)
              const alone = filesBelow(join(at, "objects")).filter((path) => fs.statSync(path).nlink === 1)
              assert.deepStrictEqual(alone, [])
            }
            // it was in the middle often enough for this to mean something
            assert.isAbove(swept, kills / 10)
            assert.isAbove(seen, kills / 10)
            yield* Effect.forEach(yield* store.list, store.remove)
            assert.deepStrictEqual(filesBelow(at), [])
          })
        ),
      { timeout: 300_000 }
    )

    it.live(
      "needs no more memory for a large object than for a small one",
      () =>
        run((_, at) =>
          Effect.gen(function* () {
            const peak = Effect.fnUntraced(function* (megabytes: number) {
              const path = `${at}-${megabytes}`
              const fd = fs.openSync(path, "w")
              for (let n = 0; n < megabytes; n++) fs.writeSync(fd, randomBytes(2 ** 20))
              fs.closeSync(fd)
              const { ended } = yield* worker("storeWorker.ts", ["measure", `${at}-of-${megabytes}`, path])
              const { code, stdout } = yield* ended
              assert.strictEqual(code, 0)
              return Number(stdout)
            })
            const [little, much] = [yield* peak(1), yield* peak(times(600, 200))]
            // what was read and not collected yet counts as used, and is a matter of the collector
            assert.isBelow(much - little, times(300, 100) * 2 ** 20)
          })
        ),
      { timeout: 120_000 }
    )
  })

  const mounts = spawnSync("sh", [
    "-c",
    'd=$(mktemp -d) && mount -t tmpfs -o size=1m none "$d" && umount "$d"; rmdir "$d"'
  ])
  const mounted = (path: string, size: string) =>
    Effect.acquireRelease(
      Effect.sync(() => {
        fs.mkdirSync(path, { recursive: true })
        execFileSync("mount", ["-t", "tmpfs", "-o", `size=${size}`, "none", path])
      }),
      () => Effect.sync(() => execFileSync("umount", ["-l", path]))
    )

  describe.skipIf(mounts.status !== 0)("on file systems that this test mounts (needs the right to mount)", () => {
    const overflow = {
      "an object": (draft: Draft) => draft.put(Stream.make(randomBytes(8 * 2 ** 20))),
      "many small objects": (draft: Draft) =>
        Effect.forEach(
          Array.from({ length: 60 }, () => randomBytes(2 ** 17)),
          (content) => draft.put(Stream.make(content))
        )
    }
    for (const [what, fill] of Object.entries(overflow)) {
      it.live(`fails when the disk is full with ${what}, and shows and keeps nothing of it`, () =>
        run((_, at) =>
          Effect.gen(function* () {
            yield* mounted(at, "9m")
            yield* runAt(at, (store) =>
              Effect.gen(function* () {
                yield* save(store, "ckp_1", [large(1)])
                const before = filesBelow(at)
                const error = yield* Effect.flip(
                  Effect.scoped(
                    Effect.gen(function* () {
                      const draft = yield* store.begin("ckp_2")
                      yield* fill(draft)
                      yield* draft.publish(bytes("{}"))
                    })
                  )
                )
                assert.strictEqual(error.code, "ERR_PERSIST_FAILED")
                assert.deepStrictEqual(error.details, { store: at, problem: "ENOSPC" })
                assert.include(error.nextStep, "free space")
                assert.deepStrictEqual(yield* store.list, ["ckp_1"])
                assert.deepStrictEqual(filesBelow(at), before)
                assert.isTrue((yield* read(store, "ckp_1", sha256(large(1)))).equals(large(1)))
                // there is room again
                yield* save(store, "ckp_2", [large(2).subarray(0, 2 ** 21)])
              })
            )
          })
        )
      )
    }

    it.live("copies where no link can be made", () =>
      run((_, at) =>
        Effect.gen(function* () {
          yield* mounted(join(at, "objects"), "16m")
          yield* runAt(at, (store) =>
            Effect.gen(function* () {
              const contents = [bytes("a"), large(1)]
              yield* save(store, "ckp_1", contents)
              yield* save(store, "ckp_2", contents)
              yield* store.remove("ckp_1")
              assert.deepStrictEqual(yield* store.sweep, { drafts: 0, bytes: 0 })
              for (const content of contents) {
                assert.isTrue((yield* read(store, "ckp_2", sha256(content))).equals(content))
                assert.strictEqual(fs.statSync(objectFile(at, "ckp_2", sha256(content))).nlink, 1)
              }
            })
          )
        })
      )
    )
  })
})
