/** `cp` over a provider whose boxes are directories of this host and whose archives the system's tar makes. */
import { execFileSync, spawnSync } from "node:child_process"
import * as fs from "node:fs"
import { createServer, type Server } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as NodeServices from "@effect/platform-node/NodeServices"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, type Scope, Stream } from "effect"
import * as header from "../src/internal/archiveHeader.ts"
import { Ledger } from "../src/Ledger.ts"
import * as MemoryProvisioner from "../src/MemoryProvisioner.ts"
import { Provisioner, ProvisionerError, type Reason } from "../src/Provisioner.ts"
import { Provisioners } from "../src/Provisioners.ts"
import { type CpOptions, cp } from "../src/programs/cp.ts"
import { make, type SandboxError } from "../src/SandboxError.ts"
import { InstanceRef, Session, Spec } from "../src/Session.ts"
import { makeHost, principal } from "./support/world.ts"

const ref = new InstanceRef({ version: 1, provider: "memory", scope: "memory", key: "sbx_1.g1", id: "box", data: {} })

const session = (state: Session["state"], instance: InstanceRef | null = ref) =>
  new Session({
    ...{
      id: "sbx_1",
      owner: "ann",
      name: "app",
      parent: null,
      reservedName: "app",
      state,
      version: 1,
      provider: "memory"
    },
    ...{ generation: 1, spec: new Spec({}), instance, cleanupRequired: false, claim: null, exportLock: null },
    ...{ health: null, repository: "/repo", branch: "main", workBranch: null, commit: null, workspacePath: null },
    ...{ setup: null, placementScope: null, slot: null, ports: null, endpointUrl: null, lastError: null },
    ...{ expiresAt: null, createdAt: 0, updatedAt: 0, readyAt: 0, stoppedAt: null, persistedAt: null },
    ...{ restoreFrom: null, lastExport: null, completedAt: null },
    destroyedAt: null
  })

interface World {
  /** The checkout in the box. */
  readonly work: string
  /** A directory beside it, for this side of a copy. */
  readonly here: string
  readonly cp: (from: string, to: string, more?: Partial<CpOptions>) => Effect.Effect<Copied, SandboxError>
}

interface Copied {
  readonly bytes: number
  readonly files: number
  readonly warnings: ReadonlyArray<string>
}

interface Changes {
  readonly state?: Session["state"]
  readonly instance?: null
  /** Given for every read, instead of what tar makes. */
  readonly bytes?: Uint8Array
  readonly without?: "files"
  readonly halted?: boolean
}

const fail = (reason: Reason, message: string) =>
  new ProvisionerError({ provider: "memory", operation: "files", reason, outcome: "not_applied", message })

/** Bytes in pieces that fit no block. */
const pieces = (bytes: Uint8Array) =>
  Stream.fromIterable(
    Array.from({ length: Math.ceil(bytes.length / 700) }, (_, at) => bytes.subarray(at * 700, (at + 1) * 700))
  )

const files = (work: string, { bytes, halted }: Changes) => ({
  read: (_: InstanceRef, path: string) =>
    Stream.suspend(() => {
      if (halted) return Stream.fail(fail("NotReady", "The box is halted."))
      if (bytes !== undefined) return pieces(bytes)
      const target = join(work, path).replace(/\/$/, "")
      if (!fs.lstatSync(target, { throwIfNoEntry: false })) return Stream.fail(fail("NotFound", `no ${path}`))
      const at = target.lastIndexOf("/")
      const args = ["-c", "-f", "-", "-C", target.slice(0, at), target.slice(at + 1)]
      return pieces(execFileSync("tar", args, { maxBuffer: 2 ** 30 }))
    }),
  write: (_: InstanceRef, directory: string, packed: Stream.Stream<Uint8Array>) =>
    Effect.flatMap(Stream.mkUint8Array(packed), (input) =>
      Effect.suspend(() => {
        const { status, stderr } = spawnSync("tar", ["-x", "-p", "-f", "-", "-C", join(work, directory)], { input })
        return status === 0 ? Effect.void : Effect.fail(fail("Invalid", String(stderr)))
      })
    )
})

const host = makeHost()

const world = (changes: Changes = {}): Effect.Effect<World, never, Scope.Scope> =>
  Effect.map(
    Effect.acquireRelease(
      Effect.sync(() => fs.realpathSync(fs.mkdtempSync(join(tmpdir(), "sandbox-cp-test-")))),
      (directory) => Effect.sync(() => execFileSync("sh", ["-c", 'chmod -R u+rwx "$0"; rm -rf "$0"', directory]))
    ),
    (directory) => {
      const work = join(directory, "box", "work")
      const here = join(directory, "here")
      fs.mkdirSync(work, { recursive: true })
      fs.mkdirSync(here)
      const memory = MemoryProvisioner.make({ cloud: MemoryProvisioner.makeCloud() })
      const provider = { ...memory, files: files(work, changes) }
      const { files: _, ...bare } = provider
      const sessions = [session(changes.state ?? "ready", changes.instance)]
      const layer = Layer.mergeAll(
        Layer.mock(Ledger)({
          id: "ldg_1",
          shared: false,
          sessions: () => Effect.succeed({ sessions, unreadable: [] })
        }),
        Provisioners.layer({ memory: Layer.succeed(Provisioner, changes.without === undefined ? provider : bare) }),
        principal("ann"),
        host.layer,
        NodeServices.layer
      )
      const place = (text: string) => (text.includes(":") || text === "-" ? text : `${here}/${text}`)
      return {
        work,
        here,
        cp: (from, to, more = {}) =>
          cp({ from: place(from), to: place(to), ...more }).pipe(Effect.provide(layer)) as Effect.Effect<
            Copied,
            SandboxError
          >
      }
    }
  )

const put = (...parts: ReadonlyArray<string>) => {
  const [text = "", ...path] = [...parts].reverse()
  const target = join(...path.reverse())
  fs.mkdirSync(join(target, ".."), { recursive: true })
  fs.writeFileSync(target, text)
}

/** Everything below a directory, with type, mode, content. */
const tree = (directory: string, below = ""): Record<string, string> =>
  Object.assign(
    {},
    ...fs
      .readdirSync(join(directory, below))
      .sort()
      .map((entry) => {
        const name = join(below, entry)
        const target = join(directory, name)
        const info = fs.lstatSync(target)
        const mode = (info.mode & 0o7777).toString(8)
        if (info.isSymbolicLink()) return { [name]: `-> ${fs.readlinkSync(target)}` }
        if (info.isDirectory()) return { [name]: `${mode} directory`, ...tree(directory, name) }
        return { [name]: `${mode} ${fs.readFileSync(target, "hex")}` }
      })
  )

type Packed = Partial<header.Fields> & { readonly content?: string }

const tar = (...entries: ReadonlyArray<Packed>): Uint8Array =>
  header.concat([
    ...entries.flatMap(({ content = "", ...fields }) => {
      const body = new Uint8Array(Math.ceil(content.length / 512) * 512)
      body.set(new TextEncoder().encode(content))
      const size = content.length
      return [header.write({ name: "x", kind: "file", target: "", mode: 0o644, mtime: 1, ...fields, size }), body]
    }),
    new Uint8Array(1024)
  ])

const odd = [
  "a b",
  "new\nline",
  "ünïcode-日本",
  "-rf",
  "@list",
  "'quo\"te$(x)`",
  "*",
  "back\\slash",
  `${"n".repeat(200)}`
]

const plant = (directory: string) => {
  for (const name of odd) put(directory, name, `in ${name}`)
  put(directory, "deep", ...odd.slice(0, 3), "x".repeat(120), "end.txt", "deep")
  fs.mkdirSync(join(directory, "empty"), { mode: 0o750 })
  put(directory, "run.sh", "#!/bin/sh\n")
  fs.chmodSync(join(directory, "run.sh"), 0o755)
  put(directory, "secret", "s")
  fs.chmodSync(join(directory, "secret"), 0o600)
  fs.symlinkSync("/etc/passwd", join(directory, "absolute"))
  fs.symlinkSync("nowhere", join(directory, "broken"))
  fs.symlinkSync("deep", join(directory, "inside"))
  put(directory, "closed", "file", "x")
  fs.linkSync(join(directory, "secret"), join(directory, "twin"))
  fs.chmodSync(join(directory, "closed"), 0o555)
}

describe("cp", () => {
  it.live("keeps names, modes, links and content both ways", () =>
    Effect.gen(function* () {
      const w = yield* world()
      plant(join(w.here, "tree"))
      const before = tree(join(w.here, "tree"))
      const sent = yield* w.cp("tree", "app:there")
      assert.deepEqual(tree(join(w.work, "there")), before)
      const fetched = yield* w.cp("app:there", "back")
      assert.deepEqual(tree(join(w.here, "back")), before)
      assert.deepEqual(fetched, sent)
      assert.strictEqual(sent.files, Object.values(before).filter((what) => !what.endsWith("directory")).length)
      assert.deepEqual(fs.readdirSync(w.here).sort(), ["back", "tree"])
    })
  )

  it.live("copies into an existing directory, and otherwise under the new name", () =>
    Effect.gen(function* () {
      const w = yield* world()
      put(w.work, "src", "one", "1")
      put(w.here, "mine", "2")
      fs.mkdirSync(join(w.here, "d"))
      yield* w.cp("app:src", "d")
      yield* w.cp("app:src", "new")
      yield* w.cp("app:src/", "d/e")
      yield* w.cp("app:src/.", "d")
      yield* w.cp("app:src/one", "d/")
      yield* w.cp("app:src/one", "uno")
      assert.deepEqual(Object.keys(tree(w.here)), [
        "d",
        "d/e",
        "d/e/one",
        "d/one",
        "d/src",
        "d/src/one",
        "mine",
        "new",
        "new/one",
        "uno"
      ])

      yield* w.cp("mine", "app:src")
      yield* w.cp("mine", "app:")
      yield* w.cp("mine", "app:src/two")
      yield* w.cp("d", "app:src")
      yield* w.cp("d/.", "app:src")
      yield* w.cp("d/.", "app:fresh")
      yield* w.cp("d", "app:./other/.")
      assert.deepEqual(
        Object.keys(tree(w.work)).filter((name) => !name.includes("/d/")),
        [
          "fresh",
          "fresh/e",
          "fresh/e/one",
          "fresh/one",
          "fresh/src",
          "fresh/src/one",
          "mine",
          "other",
          "other/e",
          "other/e/one",
          "other/one",
          "other/src",
          "other/src/one",
          "src",
          "src/d",
          "src/e",
          "src/e/one",
          "src/mine",
          "src/one",
          "src/src",
          "src/src/one",
          "src/two"
        ]
      )
    })
  )

  it.live("replaces a file, adds to a directory, and refuses one for the other before anything has changed", () =>
    Effect.gen(function* () {
      const w = yield* world()
      put(w.work, "d", "a", "new")
      put(w.work, "d", "sub", "b", "new")
      put(w.here, "d", "a", "old")
      put(w.here, "d", "kept", "old")
      yield* w.cp("app:d", ".")
      assert.strictEqual(fs.readFileSync(join(w.here, "d", "a"), "utf8"), "new")
      assert.deepEqual(Object.keys(tree(w.here)), ["d", "d/a", "d/kept", "d/sub", "d/sub/b"])

      put(w.here, "e", "d", "sub", "a file")
      put(w.here, "e", "d", "a", "old")
      const before = tree(w.here)
      for (const [from, to] of [
        ["app:d", "e"],
        ["app:d", "d/a"],
        ["app:d/a", "d/sub/"],
        ["app:d/a/.", "e"]
      ] as const) {
        if (to === "d/sub/") {
          fs.mkdirSync(join(w.here, "d", "sub", "a"))
          Object.assign(before, tree(w.here))
        }
        const error = yield* Effect.flip(w.cp(from, to))
        assert.include(["ERR_INVALID_ARGUMENT", "ERR_EXEC_FAILED"], error.code)
        assert.deepEqual(tree(w.here), before)
      }
      const error = yield* Effect.flip(w.cp("d", "app:d/a"))
      assert.strictEqual(error.code, "ERR_INVALID_ARGUMENT")
    })
  )

  it.live("follows links where a path ends, and keeps them in what it copies", () =>
    Effect.gen(function* () {
      const w = yield* world()
      put(w.work, "real", "f", "1")
      fs.symlinkSync("real", join(w.work, "link"))
      fs.symlinkSync("link", join(w.work, "more"))
      put(w.here, "real", "g", "2")
      fs.symlinkSync("real", join(w.here, "link"))
      yield* w.cp("app:link", "as-link")
      assert.strictEqual(fs.readlinkSync(join(w.here, "as-link")), "real")
      yield* w.cp("app:more/.", "followed")
      assert.deepEqual(Object.keys(tree(join(w.here, "followed"))), ["f"])
      yield* w.cp("app:real/f", "link")
      assert.deepEqual(Object.keys(tree(join(w.here, "real"))), ["f", "g"])
      yield* w.cp("real/g", "app:more")
      assert.deepEqual(Object.keys(tree(join(w.work, "real"))), ["f", "g"])
      yield* w.cp("link", "app:sent")
      assert.strictEqual(fs.readlinkSync(join(w.work, "sent")), "real")
    })
  )

  it.live("carries whole archives on stdin and stdout", () =>
    Effect.gen(function* () {
      const w = yield* world()
      plant(join(w.work, "tree"))
      const parts: Array<Uint8Array> = []
      const stdout = (bytes: Uint8Array) => Effect.sync(() => void parts.push(bytes))
      yield* w.cp("app:tree", "-", { stdout })
      const packed = header.concat(parts)
      assert.lengthOf(
        execFileSync("tar", ["-t", "-f", "-"], { input: packed }).toString().trim().split("\n"),
        Object.keys(tree(join(w.work, "tree"))).length + 1
      )
      fs.mkdirSync(join(w.work, "d"))
      yield* w.cp("-", "app:d", { stdin: pieces(packed) })
      assert.deepEqual(tree(join(w.work, "d", "tree")), tree(join(w.work, "tree")))
      for (const stdin of [pieces(packed.subarray(0, 5000)), pieces(new Uint8Array(4096).fill(31))]) {
        assert.strictEqual((yield* Effect.flip(w.cp("-", "app:d", { stdin }))).code, "ERR_INVALID_ARGUMENT")
      }
      assert.strictEqual(
        (yield* Effect.flip(w.cp("-", "app:none", { stdin: pieces(packed) }))).code,
        "ERR_INVALID_ARGUMENT"
      )
    })
  )

  const x = { name: "x", kind: "directory" } as const
  const up = { name: "x/l", kind: "symlink", target: ".." } as const
  for (const [what, message, ...entries] of [
    ["an absolute name", "outside of it", x, { name: "/tmp/sandbox-cp-evil", content: "x" }],
    ["a name that leads up", "outside of it", x, { name: "x/../../evil", content: "x" }],
    ["a name through a link", "outside of it", x, up, { name: "x/l/evil" }],
    ["a link replaced by a directory", "twice", x, up, { name: "x/l", kind: "directory" }, { name: "x/l/evil" }],
    ["a hard link to what is outside", "outside of it", x, { name: "x/h", kind: "hardlink", target: "../here/mine" }],
    [
      "a hard link to a link",
      "outside of it",
      x,
      up,
      { name: "x/h", kind: "hardlink", target: "x/l" },
      { name: "x/h/evil" }
    ],
    ["another name beside the first", "more in it", { name: "x" }, { name: "evil" }]
  ] as ReadonlyArray<readonly [string, string, ...Array<Packed>]>) {
    it.live(`writes nothing for an archive with ${what}`, () =>
      Effect.gen(function* () {
        const w = yield* world({ bytes: tar(...entries) })
        put(w.here, "mine", "mine")
        const before = tree(join(w.here, ".."))
        const error = yield* Effect.flip(w.cp("app:x", "copied"))
        assert.strictEqual(error.code, "ERR_EXEC_FAILED")
        assert.include(error.message, message)
        assert.deepEqual(tree(join(w.here, "..")), before)
        assert.isFalse(fs.existsSync("/tmp/sandbox-cp-evil"))
      })
    )
  }

  it.live("leaves devices out and says so", () =>
    Effect.gen(function* () {
      const bytes = tar(x, { name: "x/null" })
      // the writer knows no devices: the type is put in by hand, with the sum that it makes
      bytes[512 + 156] = "3".charCodeAt(0)
      const sum = bytes.subarray(512, 1024).reduce((all, byte, at) => all + (at >= 148 && at < 156 ? 32 : byte), 0)
      bytes.set(new TextEncoder().encode(sum.toString(8).padStart(6, "0")), 512 + 148)
      const w = yield* world({ bytes })
      const { files, warnings } = yield* w.cp("app:x", "copied")
      assert.deepInclude({ files, warnings: warnings.length }, { files: 0, warnings: 1 })
      assert.deepEqual(tree(join(w.here, "copied")), {})
    })
  )

  it.live("leaves nothing of an archive that is cut short, and of one that makes no sense", () =>
    Effect.gen(function* () {
      const whole = tar({ name: "x", kind: "directory" }, { name: "x/a", content: "a".repeat(3000) })
      for (const bytes of [whole.subarray(0, 2000), whole.subarray(0, whole.length - 1024), whole.subarray(0, 700)]) {
        const w = yield* world({ bytes })
        const error = yield* Effect.flip(w.cp("app:x", "copied"))
        assert.strictEqual(error.code, "ERR_EXEC_FAILED")
        assert.deepEqual(fs.readdirSync(w.here), [])
      }
    })
  )

  it.live("refuses what is not there, with the way out, and changes nothing", () =>
    Effect.gen(function* () {
      const w = yield* world()
      put(w.here, "mine", "x")
      put(w.work, "theirs", "x")
      for (const [from, to, message] of [
        ["app:none", "x", "there is no app:none"],
        ["none", "app:x", "there is no "],
        ["app:theirs", "no/where", "does not exist"],
        ["app:theirs", "nowhere/", "does not exist"],
        ["mine", "app:no/where", "there is no directory app:no"],
        ["mine", "app:nowhere/", "there is no directory app:nowhere"],
        ["mine/.", "app:x", "is no directory"],
        ["mine", "mine", "neither side is in a session"],
        ["app:theirs", "app:x", "both sides are in sessions"]
      ] as const) {
        const error = yield* Effect.flip(w.cp(from, to))
        assert.strictEqual(
          error.code,
          from === "app:theirs" && to === "nowhere/" ? "ERR_EXEC_FAILED" : "ERR_INVALID_ARGUMENT",
          message
        )
        assert.include(error.message, message)
      }
      assert.deepEqual(fs.readdirSync(w.here), ["mine"])
      assert.deepEqual(fs.readdirSync(w.work), ["theirs"])
    })
  )

  it.live("works on a halted box, and says what to do where the provider cannot or has no files", () =>
    Effect.gen(function* () {
      const able = yield* world({ state: "stopped" })
      put(able.work, "a", "x")
      assert.strictEqual((yield* able.cp("app:a", "a")).files, 1)
      const unable = yield* world({ state: "stopped", halted: true })
      const error = yield* Effect.flip(unable.cp("app:a", "a"))
      assert.deepInclude(error, { code: "ERR_NOT_READY", nextStep: "run `sandbox resume sbx_1`", state: "stopped" })
      const gone = yield* world({ state: "destroyed", instance: null })
      assert.strictEqual((yield* Effect.flip(gone.cp("app:a", "a"))).code, "ERR_NOT_READY")
      const bare = yield* world({ without: "files" })
      assert.strictEqual((yield* Effect.flip(bare.cp("app:a", "a"))).code, "ERR_UNSUPPORTED")
    })
  )

  it.live("sends nothing more once the archive on stdin fails, and answers its failure", () =>
    Effect.gen(function* () {
      const w = yield* world()
      const broken = make("ERR_INVALID_ARGUMENT", { message: "stdin cannot be read", nextStep: "try again" })
      const stdin = Stream.concat(pieces(tar({ name: "a", content: "1" }).subarray(0, 1024)), Stream.fail(broken))
      assert.deepEqual(yield* Effect.flip(w.cp("-", "app:", { stdin })), broken)
      assert.deepEqual(fs.readdirSync(w.work), [])
    })
  )

  it.live("says how many sockets it left out", () =>
    Effect.gen(function* () {
      const w = yield* world()
      put(w.here, "d", "file: socket ignored", "x")
      fs.mkdirSync(join(w.here, "d", "below"))
      for (const name of ["d/one", "d/below/two"]) {
        const server = yield* Effect.callback<Server>((resume) => {
          // an address has little room: Linux takes at most 108 bytes
          const server = createServer().listen(join(w.here, name), () => resume(Effect.succeed(server)))
        })
        yield* Effect.addFinalizer(() => Effect.sync(() => server.close()))
      }
      execFileSync("mkfifo", [join(w.here, "d", "pipe")])
      const { files, warnings } = yield* w.cp("d", "app:d")
      assert.strictEqual(files, 1)
      assert.deepEqual(warnings, ["left out: 3 that are no files (devices, pipes or sockets)"])
      assert.deepEqual(Object.keys(tree(join(w.work, "d"))), ["below", "file: socket ignored"])
    })
  )

  it.live("removes what a copy left that was killed, and what a running one has is let be", () =>
    Effect.gen(function* () {
      const w = yield* world()
      put(w.work, "a", "x")
      host.dead.add(4711)
      const left = (maker: string, pid: number) =>
        `.sandbox-cp-${maker}.${pid}.${encodeURIComponent("Sat 1:00")}.AbCdEf`
      const dead = left(host.self.host, 4711)
      const others = [left(host.self.host, 4712), left("elsewhere", 4711), ".sandbox-cp-mine"]
      for (const name of [dead, ...others]) put(w.here, name, "copy", "closed", "half")
      fs.chmodSync(join(w.here, dead, "copy", "closed"), 0o444)
      fs.chmodSync(join(w.here, dead, "copy"), 0o555)
      yield* w.cp("app:a", "b")
      assert.sameMembers(fs.readdirSync(w.here), [...others, "b"])
    })
  )

  it.live("keeps names that are no text", () =>
    Effect.gen(function* () {
      const w = yield* world()
      fs.mkdirSync(join(w.here, "d"))
      const name = Buffer.from([0x61, 0xff, 0x80, 0xe4])
      fs.writeFileSync(Buffer.concat([Buffer.from(`${w.here}/d/`), name]), "x")
      yield* w.cp("d", "app:d")
      yield* w.cp("app:d", "e")
      assert.deepEqual(fs.readdirSync(join(w.here, "e"), "buffer"), [name])
    })
  )
})
