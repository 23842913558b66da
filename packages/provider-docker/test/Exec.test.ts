import { assert, describe, it } from "@effect/vitest"
import { demultiplexed } from "@org/sandbox-provider-docker/Exec"
import { Effect, Schema, Stream } from "effect"

const Frames = Schema.Array(
  Schema.Struct({ fd: Schema.Literals([1, 2]), text: Schema.String.check(Schema.isMaxLength(40)) })
)
const Cuts = Schema.Array(Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 11 })))

const frame = (fd: number, bytes: Uint8Array): Uint8Array => {
  const framed = new Uint8Array(8 + bytes.length)
  framed[0] = fd
  new DataView(framed.buffer).setUint32(4, bytes.length)
  framed.set(bytes, 8)
  return framed
}

/** Bytes in pieces of the lengths that are given, and one byte each after those. */
const cut = (bytes: Uint8Array, lengths: ReadonlyArray<number>): ReadonlyArray<Uint8Array> => {
  const pieces: Array<Uint8Array> = []
  for (let at = 0, n = 0; at < bytes.length; n++) {
    const length = lengths[n] ?? 1
    pieces.push(bytes.slice(at, at + length))
    at += length
  }
  return pieces
}

const joined = (frames: ReadonlyArray<{ readonly fd: 1 | 2; readonly bytes: Uint8Array }>) =>
  [1, 2].map((fd) =>
    Buffer.concat(frames.flatMap((frame) => (frame.fd === fd ? [frame.bytes] : []))).toString("latin1")
  )

describe("the output of a command", () => {
  it.effect.prop("is taken apart again however the wire was cut", [Frames, Cuts], ([frames, cuts]) =>
    Effect.gen(function* () {
      const sent = frames.map(({ fd, text }) => ({ fd, bytes: new Uint8Array(Buffer.from(text)) }))
      const wire = Buffer.concat(sent.map(({ bytes, fd }) => frame(fd, bytes)))
      const got = yield* Stream.runCollect(demultiplexed(Stream.fromIterable(cut(wire, cuts))))
      assert.deepStrictEqual(joined(got), joined(sent))
      // also which of the two came first
      const order = (all: ReadonlyArray<{ readonly fd: number; readonly bytes: Uint8Array }>) =>
        all.flatMap(({ bytes, fd }) => Array.from(bytes, () => fd)).join("")
      assert.strictEqual(order(got), order(sent))
    })
  )

  it.effect("of more than 2 GiB in one frame is not read as a negative length", () =>
    Effect.gen(function* () {
      const head = Uint8Array.of(1, 0, 0, 0, 0xff, 0xff, 0xff, 0xff)
      const got = yield* Stream.runCollect(
        Stream.take(demultiplexed(Stream.make(head, Uint8Array.of(2, 0, 0, 0), Uint8Array.of(0, 0, 0, 0))), 2)
      )
      assert.deepStrictEqual(
        got.map(({ bytes, fd }) => [fd, bytes.length]),
        [
          [1, 4],
          [1, 4]
        ]
      )
    })
  )

  it.effect("passes on what has come of a frame before the rest of it has", () =>
    Effect.gen(function* () {
      const wire = Stream.concat(
        Stream.make(Uint8Array.of(1, 0, 0, 0, 0, 0, 0, 9, 65, 66)),
        Stream.fail("the connection broke")
      )
      const seen: Array<string> = []
      const error = yield* Effect.flip(
        Stream.runForEach(demultiplexed(wire), ({ bytes }) =>
          Effect.sync(() => void seen.push(Buffer.from(bytes).toString()))
        )
      )
      assert.deepStrictEqual([seen, error], [["AB"], "the connection broke"])
    })
  )

  it.effect("fails where the wire ends in the middle of a frame, or of its head", () =>
    Effect.gen(function* () {
      for (const bytes of [Uint8Array.of(1, 0, 0, 0, 0, 0, 0, 9, 65), Uint8Array.of(1, 0, 0)]) {
        const error = yield* Effect.flip(Stream.runDrain(demultiplexed(Stream.make(bytes))))
        assert.strictEqual(error._tag, "TransportError")
      }
    })
  )
})
