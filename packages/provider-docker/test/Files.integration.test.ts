/** Files in and out of boxes: whose they are, what they are, and how much of them is held on the way. */
import { execFileSync } from "node:child_process"
import { chmodSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { assert, it } from "@effect/vitest"
import type { InstanceRef } from "@org/sandbox-core/Session"
import { Effect, Stream } from "effect"
import { describeDocker } from "../../../test/docker.ts"
import { archive, docker, heldBuffers, newLedger, on, sh } from "./boxes.ts"

const newBox = Effect.gen(function* () {
  return yield* (yield* docker).provision((yield* newLedger).intent())
})

/** What stands in an archive, as tar lists it. */
const listed = Effect.fnUntraced(function* (ref: InstanceRef, path: string) {
  const bytes = yield* Stream.mkUint8Array((yield* docker).files.read(ref, path))
  return execFileSync("tar", ["--list"], { input: bytes, encoding: "utf8" }).trim().split("\n").sort()
})

const refusal = Effect.fnUntraced(function* <A, E extends { readonly message: string; readonly reason: string }, R>(
  call: Effect.Effect<A, E, R>
) {
  const { message, reason } = yield* Effect.flip(call)
  return { message, reason }
})

describeDocker("files of a box", () => {
  it.live("belong to its user, whoever they belonged to, with their modes and links", () =>
    Effect.gen(function* () {
      const { files } = yield* docker
      const ref = yield* newBox
      const directory = mkdtempSync(join(tmpdir(), "files-"))
      mkdirSync(join(directory, "closed"))
      writeFileSync(join(directory, "closed", "key"), "key")
      writeFileSync(join(directory, "program"), "#!/bin/sh\necho runs\n")
      symlinkSync("closed/key", join(directory, "link"))
      chmodSync(join(directory, "closed", "key"), 0o600)
      chmodSync(join(directory, "program"), 0o755)
      chmodSync(join(directory, "closed"), 0o700)
      const options = ["--create", "--owner=0", "--group=0", "--directory", directory, "closed", "program", "link"]
      const bytes = Uint8Array.from(execFileSync("tar", options))
      rmSync(directory, { recursive: true })
      yield* files.write(ref, ".", Stream.make(bytes))
      assert.strictEqual(
        yield* sh(ref, "stat -c '%u:%g %a %N' closed closed/key program link; cat link; ./program"),
        [
          "1000:1000 700 closed",
          "1000:1000 600 closed/key",
          "1000:1000 755 program",
          "1000:1000 777 'link' -> 'closed/key'",
          "keyruns"
        ].join("\n")
      )
      // and its user can do with them what owners do
      assert.strictEqual(yield* sh(ref, "rm -r closed program link && ls -A"), "")
    }).pipe(on())
  )

  it.live("can be read and written while it is halted, and on a root that is read-only", () =>
    Effect.gen(function* () {
      const { files, start, stop } = yield* docker
      const ref = yield* newBox
      yield* stop(ref)
      yield* files.write(ref, ".", archive({ halted: "written while halted" }))
      assert.deepStrictEqual(yield* listed(ref, "halted"), ["halted"])
      assert.deepStrictEqual(yield* listed(ref, "/etc/passwd"), ["passwd"])
      yield* start(ref)
      assert.strictEqual(yield* sh(ref, "stat -c '%u %n' halted; cat halted"), "1000 halted\nwritten while halted")
      const elsewhere = yield* refusal(files.write(ref, "/etc", archive({ file: "x" })))
      assert.strictEqual(elsewhere.reason, "Invalid")
      assert.match(elsewhere.message, /\/etc .*read-only/)
    }).pipe(on({ read_only_root: true }))
  )

  it.live("are refused where the engine would put them beside what commands see", () =>
    Effect.gen(function* () {
      const { files } = yield* docker
      const ref = yield* newBox
      yield* sh(ref, "echo here >/dev/shm/file; echo here >/tmp/file")
      for (const place of ["/dev/shm", "/proc/self", "/sys", "/dev/../dev/shm/."]) {
        const written = yield* refusal(files.write(ref, place, archive({ other: "x" })))
        assert.strictEqual(written.reason, "Invalid", place)
        assert.match(written.message, /in memory.*sandbox exec/)
      }
      assert.strictEqual((yield* refusal(Stream.runDrain(files.read(ref, "/dev/shm/file")))).reason, "Invalid")
      assert.strictEqual(yield* sh(ref, "ls /dev/shm"), "file")
      // which /tmp is as well, where the root is read-only
      assert.deepStrictEqual(yield* listed(ref, "/tmp/file"), ["file"])
      const readOnly = Effect.gen(function* () {
        const ref = yield* newBox
        yield* sh(ref, "echo here >/tmp/file")
        assert.strictEqual((yield* refusal(Stream.runDrain(files.read(ref, "/tmp/file")))).reason, "Invalid")
        assert.strictEqual((yield* refusal(files.write(ref, "/tmp", archive({ other: "x" })))).reason, "Invalid")
      })
      yield* on({ read_only_root: true })(readOnly)
    }).pipe(on())
  )

  it.live("go through a link to a directory that is named, and are refused for a link to anything else", () =>
    Effect.gen(function* () {
      const { files } = yield* docker
      const ref = yield* newBox
      yield* sh(ref, "mkdir real && touch plain && ln -s real linked && ln -s plain file && ln -s nowhere dangling")
      yield* files.write(ref, "linked", archive({ inside: "x" }))
      assert.strictEqual(yield* sh(ref, "ls real; readlink linked"), "inside\nreal")
      assert.deepStrictEqual(yield* listed(ref, "linked"), ["linked"])
      for (const [path, reason] of [
        ["file", "Invalid"],
        ["plain", "Invalid"],
        ["dangling", "Invalid"],
        ["absent", "NotFound"],
        ["plain/below", "NotFound"]
      ] as const) {
        const seen = yield* refusal(files.write(ref, path, archive({ evil: "x" })))
        assert.strictEqual(seen.reason, reason, `${path}: ${seen.message}`)
      }
      assert.strictEqual(yield* sh(ref, "find . -name evil; ls -A"), "dangling\nfile\nlinked\nplain\nreal")
    }).pipe(on())
  )

  it.live("I-91 that an archive would put beyond a link in the box are refused, and the link's target stays", () =>
    Effect.gen(function* () {
      const { files } = yield* docker
      const ref = yield* newBox
      yield* sh(ref, "mkdir -p /tmp/outside deep/er && ln -s /tmp/outside deep/er/up")
      const directory = mkdtempSync(join(tmpdir(), "files-"))
      mkdirSync(join(directory, "deep/er/up"), { recursive: true })
      writeFileSync(join(directory, "deep/er/up/evil"), "evil")
      const bytes = Uint8Array.from(execFileSync("tar", ["--create", "--directory", directory, "deep/er/up/evil"]))
      rmSync(directory, { recursive: true })
      const { message, reason } = yield* refusal(files.write(ref, ".", Stream.make(bytes)))
      assert.strictEqual(reason, "Invalid")
      assert.match(message, /"deep\/er\/up", which is a link/)
      assert.strictEqual(yield* sh(ref, "ls -A /tmp/outside"), "")
    }).pipe(on())
  )

  it.live("I-91 are refused for one link among many directories, whether little or much is in the box already", () =>
    Effect.gen(function* () {
      const { files } = yield* docker
      const directory = mkdtempSync(join(tmpdir(), "files-"))
      for (let index = 0; index < 20; index++) mkdirSync(join(directory, `${index}/below/it`), { recursive: true })
      writeFileSync(join(directory, "13/below/it/evil"), "evil")
      const bytes = Uint8Array.from(execFileSync("tar", ["--create", "--directory", directory, "."]))
      rmSync(directory, { recursive: true })
      const ref = yield* newBox
      const refused = Effect.gen(function* () {
        const { message, reason } = yield* refusal(files.write(ref, ".", Stream.make(bytes)))
        assert.strictEqual(reason, "Invalid", message)
        assert.match(message, /"13\/below", which is a link/)
        assert.strictEqual(yield* sh(ref, "ls -A /tmp/outside; ls -d 1 2>/dev/null"), "")
      })
      yield* sh(ref, "mkdir -p /tmp/outside/it 13 && rmdir /tmp/outside/it && ln -s /tmp/outside 13/below")
      yield* refused
      // more than is looked through for so few
      yield* sh(ref, "mkdir 0 && dd if=/dev/zero of=0/first bs=1M count=16 2>/dev/null")
      yield* refused
      yield* sh(ref, "rm 13/below")
      yield* files.write(ref, ".", Stream.make(bytes))
      assert.strictEqual(yield* sh(ref, "cat 13/below/it/evil; ls -A /tmp/outside"), "evil")
    }).pipe(on())
  )

  it.live("keep links that lead out of their directory, to wherever in the box", () =>
    Effect.gen(function* () {
      const { files } = yield* docker
      const ref = yield* newBox
      const directory = mkdtempSync(join(tmpdir(), "files-"))
      mkdirSync(join(directory, "deep"))
      symlinkSync("../shared/conf", join(directory, "beside"))
      symlinkSync("../../../etc/hostname", join(directory, "deep", "above"))
      symlinkSync("/etc/hostname", join(directory, "absolute"))
      const bytes = Uint8Array.from(execFileSync("tar", ["--create", "--directory", directory, "."]))
      rmSync(directory, { recursive: true })
      yield* files.write(ref, ".", Stream.make(bytes))
      assert.strictEqual(
        yield* sh(ref, "for link in beside deep/above absolute; do readlink $link; done; stat -c %u:%g beside deep"),
        ["../shared/conf", "../../../etc/hostname", "/etc/hostname", "1000:1000", "1000:1000"].join("\n")
      )
    }).pipe(on())
  )

  it.live("keep names that are no UTF-8", () =>
    Effect.gen(function* () {
      const { files } = yield* docker
      const ref = yield* newBox
      yield* sh(ref, `mkdir from to && printf content >"from/$(printf 'a\\377\\376b')"`)
      yield* files.write(ref, "to", files.read(ref, "from") as Stream.Stream<Uint8Array>)
      assert.strictEqual(
        yield* sh(ref, 'for file in to/from/*; do printf %s "$file" | od -An -tx1 | tr -d \' \\n\'; cat "$file"; done'),
        "746f2f66726f6d2f61fffe62content"
      )
    }).pipe(on())
  )

  it.live("of a hundred megabytes come and go, and no third of them is held at any time", () =>
    Effect.gen(function* () {
      const { files } = yield* docker
      const ref = yield* newBox
      const size = 100 * 2 ** 20
      const sum = yield* sh(
        ref,
        [
          "mkdir from to && dd if=/dev/urandom of=block bs=1M count=1 2>/dev/null",
          "for _ in $(seq 100); do cat block; done >from/big",
          "sha256sum <from/big"
        ].join("\n")
      )
      const before = heldBuffers()
      let most = 0
      let seen = 0
      const watched = Stream.tap(files.read(ref, "from/big"), (bytes) =>
        Effect.sync(() => {
          const last = seen
          seen += bytes.length
          if (Math.floor(last / 2 ** 23) !== Math.floor(seen / 2 ** 23)) most = Math.max(most, heldBuffers() - before)
        })
      )
      yield* files.write(ref, "to", watched as Stream.Stream<Uint8Array>)
      assert.isAbove(seen, size)
      assert.strictEqual(yield* sh(ref, "sha256sum <to/big"), sum)
      assert.isBelow(most, size / 3)
      assert.isBelow(heldBuffers() - before, size / 3)
    }).pipe(on())
  )

  it.live("are not there in part when their archive ends early", () =>
    Effect.gen(function* () {
      const { files } = yield* docker
      const ref = yield* newBox
      const bytes = yield* Stream.mkUint8Array(archive({ one: "x".repeat(100_000), two: "y".repeat(100_000) }))
      const { message, reason } = yield* refusal(files.write(ref, ".", Stream.make(bytes.subarray(0, 150_000))))
      assert.strictEqual(reason, "Invalid", message)
      assert.strictEqual(yield* sh(ref, "ls -A"), "")
    }).pipe(on())
  )
})
