import { execFileSync } from "node:child_process"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Stream } from "effect"
import * as archive from "../src/Archive.ts"
import * as header from "../src/internal/archiveHeader.ts"

const entry = { name: "a", kind: "file", target: "", mode: 0o644, mtime: 1_700_000_000, size: 0 } as const

describe("archive", () => {
  it("reads back what it writes: long names, long targets, large sizes", () => {
    for (const fields of [
      entry,
      { ...entry, size: 8 ** 11 - 1 },
      { ...entry, size: 8 ** 11 },
      { ...entry, size: 2 ** 45 + 12_345 },
      { ...entry, kind: "directory", name: "d", mode: 0o1755 },
      { ...entry, kind: "symlink", name: "l", target: "../x" },
      { ...entry, kind: "hardlink", name: "h", target: "a" }
    ] as const) {
      const { extension: _, ...read } = header.read(header.write(fields), {})!
      assert.deepEqual(read, { ...fields, name: fields.kind === "directory" ? "d/" : fields.name })
    }
  })

  it("makes archives that the system's tar reads", () => {
    const name = archive.toName(`${"long/".repeat(30)}ünï\ncode`)
    const target = "t".repeat(300)
    const bytes = header.concat([header.write({ ...entry, kind: "symlink", name, target }), new Uint8Array(1024)])
    const listed = execFileSync("tar", ["-t", "-v", "-f", "-"], { input: bytes, encoding: "latin1" })
    assert.include(listed, "long/".repeat(30))
    assert.include(listed, target)
  })

  it.effect("reads what tar makes in each of its formats, in pieces of any size", () =>
    Effect.gen(function* () {
      const deep = `${"n".repeat(60)}/${"m".repeat(60)}/${"o".repeat(60)}`
      const script = `d=$(mktemp -d) && cd "$d" && mkdir -p ${deep} && echo hello >${deep}/f && ln -s "$1" ${deep}/l && tar -c -f - --format="$0" n*; rm -r "$d"`
      for (const format of ["ustar", "pax", "gnu"]) {
        const target = format === "ustar" ? "f" : deep
        const known = execFileSync("tar", ["--version"], { encoding: "utf8" }).startsWith("bsdtar")
        const bytes = execFileSync("sh", ["-c", script, known && format === "gnu" ? "gnutar" : format, target])
        for (const size of [1, 511, 512, 10_240]) {
          const pieces = Array.from({ length: Math.ceil(bytes.length / size) }, (_, at) =>
            bytes.subarray(at * size, (at + 1) * size)
          )
          const seen: Array<string> = []
          const check = ({ kind, path, target }: archive.Entry) => void seen.push(`${kind} ${path} ${target}`)
          const counts = archive.tally()
          const anew = yield* Stream.mkUint8Array(archive.rewrite(Stream.fromIterable(pieces), counts, { check }))
          assert.sameMembers(seen.slice(3), [`file ${deep}/f `, `symlink ${deep}/l ${target}`], format)
          assert.deepInclude(counts, { files: 2, bytes: 6, special: 0 })
          const listed = execFileSync("tar", ["-t", "-f", "-"], { input: anew, encoding: "utf8" })
          assert.sameMembers(listed.trim().split("\n").slice(3), [`${deep}/f`, `${deep}/l`])
        }
      }
    })
  )

  it.effect("refuses what is no archive, and the sparse files that nobody else reads", () =>
    Effect.gen(function* () {
      const run = (bytes: Uint8Array) =>
        Effect.flip(Stream.runDrain(archive.rewrite(Stream.make(bytes), archive.tally())))
      const gzip = new Uint8Array(1024).fill(31)
      assert.include((yield* run(gzip)).message, "no tar archive")
      assert.include((yield* run(new Uint8Array(0))).message, "ended early")
      const records = "22 GNU.sparse.major=1\n"
      const body = new Uint8Array(512)
      body.set(header.bytesOf(records))
      const pax = header.write({ ...entry, name: "x", size: records.length })
      pax[156] = "x".charCodeAt(0)
      const sum = pax.reduce((all, byte, at) => all + (at >= 148 && at < 156 ? 32 : byte), 0)
      pax.set(header.bytesOf(sum.toString(8).padStart(6, "0")), 148)
      const sparse = header.concat([pax, body, header.write(entry), new Uint8Array(1024)])
      assert.include((yield* run(sparse)).message, "cannot be copied")
    })
  )
})
