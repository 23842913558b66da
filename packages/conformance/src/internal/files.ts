import { Provisioner, type ProvisionerError, type Reason } from "@org/sandbox-core/Provisioner"
import type { InstanceRef } from "@org/sandbox-core/Session"
import { Effect, Stream } from "effect"
import { LawContext, randomName } from "../Law.ts"
import { broken, capability, halt, inGroup, input, newBox, newWorkBox, observed, run, same, within } from "./kit.ts"
import * as tar from "./tar.ts"

const law = inGroup("files")

const read = Effect.fnUntraced(function* (ref: InstanceRef, path: string) {
  const files = yield* capability("files")
  return tar.read(yield* Stream.mkUint8Array(files.read(ref, path)))
})

const write = Effect.fnUntraced(function* (ref: InstanceRef, directory: string, entries: ReadonlyArray<tar.Entry>) {
  const files = yield* capability("files")
  yield* within("files.write", files.write(ref, directory, Stream.make(tar.write(entries))))
})

const refusedAs = Effect.fnUntraced(function* <A, E extends { readonly _tag: string }, R>(
  what: string,
  call: Effect.Effect<A, E | ProvisionerError, R>,
  expected: Reason
) {
  const seen = yield* Effect.match(call, {
    onSuccess: () => "success",
    onFailure: (error) => ("reason" in error ? error.reason : error._tag)
  })
  if (seen !== expected) return yield* broken(`${what}: expected to be refused as ${expected}, saw ${seen}.`)
})

/** What can be compared and shown: everything but the content itself, of which its length and a sum are left. */
const outline = ({ content, kind, mode, name, target }: tar.Entry) => ({
  name,
  kind,
  // Nobody asks for the permissions of a link.
  mode: kind === "symlink" ? "" : mode.toString(8),
  target,
  bytes: content.length,
  sum: content.reduce((sum, byte) => (sum * 31 + byte) % 4_294_967_291, 7)
})

/** Bytes that hold every value, and no pattern that would hide a shift. */
const noise = (length: number) => {
  let state = 1
  return Uint8Array.from({ length }, () => {
    state = (state * 48_271) % 2_147_483_647
    return state & 255
  })
}

const tree = [
  tar.directory("tree"),
  tar.file("tree/.hidden", "hidden"),
  tar.file("tree/a name with blanks", "blanks"),
  tar.directory("tree/closed", 0o700),
  tar.file("tree/closed/secret", "secret", 0o600),
  tar.directory("tree/empty"),
  tar.file("tree/empty file", ""),
  tar.symlink("tree/link", "closed/secret"),
  tar.symlink("tree/link to nothing", "/nowhere/at/all"),
  tar.file("tree/program", "#!/bin/sh\n", 0o755),
  tar.file("tree/two\nlines", "lines"),
  tar.file("tree/ünïcode ✓", "ünïcode")
]

/** Files come and go as they are, and nowhere else. */
export const files = [
  law(
    "a tree comes back as it was written: names, permissions, links, empty directories",
    ["files"],
    Effect.gen(function* () {
      const ref = yield* newWorkBox
      yield* write(ref, ".", tree)
      const seen = (yield* read(ref, "tree")).map(outline)
      const expected = [...tree].sort((one, other) => (one.name < other.name ? -1 : 1)).map(outline)
      yield* same(
        "names",
        seen.map(({ name }) => name),
        expected.map(({ name }) => name)
      )
      yield* Effect.forEach(expected, (entry, n) => same("files.read", seen[n], entry), { discard: true })
    })
  ),
  law(
    "five megabytes come back byte by byte",
    ["files"],
    Effect.gen(function* () {
      const ref = yield* newWorkBox
      const large = tar.file("large", noise(5_000_000))
      yield* write(ref, ".", [large])
      yield* same("files.read", (yield* read(ref, "large")).map(outline), [outline(large)])
    })
  ),
  law(
    "a command sees the files that were written, and what a command writes can be read",
    ["files", "exec"],
    Effect.gen(function* () {
      const { commands } = yield* LawContext
      const ref = yield* newWorkBox
      yield* write(ref, ".", [tar.file("from-outside", "from outside")])
      yield* same("output", (yield* run(ref, commands.load("from-outside"))).stdout, "from outside")
      yield* run(ref, commands.save("from-inside"), { stdin: input("from inside") })
      const [entry] = yield* read(ref, "from-inside")
      yield* same("content", new TextDecoder().decode(entry?.content), "from inside")
    })
  ),
  law(
    "a path that is not there is refused as NotFound, and is not made",
    ["files"],
    Effect.gen(function* () {
      const ref = yield* newWorkBox
      yield* refusedAs("files.read", read(ref, "no-such-file"), "NotFound")
      yield* refusedAs("files.write", write(ref, "no-such-place", [tar.file("file", "content")]), "NotFound")
      yield* refusedAs("files.read", read(ref, "no-such-place"), "NotFound")
    })
  ),
  law(
    "I-91 an archive that leads out of its directory is refused, and writes nothing there",
    ["files"],
    Effect.gen(function* () {
      const ref = yield* newWorkBox
      const outside = `/tmp/law-${yield* randomName}`
      yield* write(ref, ".", [tar.directory("inside"), tar.symlink("inside/up", "..")])
      const evil = (name: string) => [tar.file("good", "good"), tar.file(name, "evil")]
      const hostile = {
        "an absolute name": evil(outside),
        "a name with ..": evil("../escape"),
        "a name with .. in the middle": evil("a/../../escape"),
        "a name below a link of the archive": [tar.symlink("out", ".."), tar.file("out/escape", "evil")],
        "a name below a link that is there": evil("up/escape")
      }
      for (const [what, entries] of Object.entries(hostile)) {
        const result = yield* Effect.result(write(ref, "inside", entries))
        if (result._tag === "Success") return yield* broken(`files.write: ${what} was not refused.`)
        for (const path of [outside, "escape"]) yield* refusedAs(`after ${what}`, read(ref, path), "NotFound")
      }
    })
  ),
  law(
    "the checkout's directory of a new box is there and is empty",
    ["files", "emptyCheckout"],
    Effect.gen(function* () {
      const entries = yield* read(yield* newBox, ".")
      yield* same(
        "files.read",
        entries.map(({ kind }) => kind),
        ["directory"]
      )
    })
  ),
  law(
    "the checkout of a halted box can be read, unless the halt was the end of it",
    ["files", "emptyCheckout"],
    Effect.gen(function* () {
      const { haltIsTerminal } = yield* Provisioner
      const ref = yield* newBox
      yield* write(ref, ".", [tar.file("law-file", "kept")])
      yield* halt(ref)
      if (haltIsTerminal) return yield* refusedAs("files.read", read(ref, "law-file"), "NotFound")
      yield* same("files.read", (yield* read(ref, "law-file")).map(outline), [outline(tar.file("law-file", "kept"))])
    })
  ),
  law(
    "files of a box that is gone are refused as NotFound",
    ["files"],
    Effect.gen(function* () {
      const ref = yield* newWorkBox
      yield* (yield* Provisioner).destroy(ref)
      yield* observed(ref, "gone")
      yield* refusedAs("files.read", read(ref, "."), "NotFound")
      yield* refusedAs("files.write", write(ref, ".", [tar.file("file", "content")]), "NotFound")
    })
  )
]
