/** Reading objects: whatever is given out was compared with its digest, and the end comes only when all of it was. */
import { createHash, hash } from "node:crypto"
import { closeSync, fstatSync, lstatSync, openSync } from "node:fs"
import { open } from "node:fs/promises"
import { join } from "node:path"
import { Effect, Stream } from "effect"
import * as SandboxError from "../../SandboxError.ts"
import * as disk from "./disk.ts"
import { isDigest, type Layout, objectOf } from "./layout.ts"

/** Bytes up to which nothing is given out before all of it was compared. */
const small = 2 ** 20

/** Bytes that are read at once. */
const piece = 2 ** 18

/**
 * Ends with `ERR_CHECKPOINT_INVALID` when the object is missing or damaged, and with `ERR_PERSIST_FAILED` when nothing can
 * be told of it, because it could not be read.
 */
export const object = (
  at: Layout,
  id: string,
  digest: string
): Stream.Stream<Uint8Array, SandboxError.SandboxError> => {
  const { now } = disk.attempting(at.directory)
  const invalid = (problem: "missing" | "damaged") =>
    SandboxError.make("ERR_CHECKPOINT_INVALID", {
      message: `checkpoint ${id} cannot be used: its object ${digest} is ${problem} in ${at.directory}`,
      nextStep: "see which can with `sandbox checkpoint verify`, and use another one",
      details: { checkpoint: id, digest, problem }
    })
  const path = objectOf(join(at.published, id), digest)
  return Stream.unwrap(
    Effect.gen(function* () {
      if (!isDigest(digest)) return yield* invalid("missing")
      const bytes = yield* now(() => readSmall(path))
      if (bytes === undefined) return yield* invalid("missing")
      if (bytes === "large") {
        return Stream.fromAsyncIterable(pieces(path, digest, invalid), (cause) => disk.failed(at.directory, cause))
      }
      if (bytes === "damaged" || hash("sha256", bytes, "hex") !== digest) return yield* invalid("damaged")
      return Stream.make(bytes)
    })
  )
}

const readSmall = (path: string): Uint8Array | "large" | "damaged" | undefined => {
  if (disk.ifPresent(() => lstatSync(path))?.isFile() === false) return "damaged"
  const fd = disk.ifPresent(() => openSync(path, disk.readOnly))
  if (fd === undefined) return undefined
  try {
    const { size } = fstatSync(fd)
    if (size > small) return "large"
    const bytes = new Uint8Array(size)
    return bytes.subarray(0, disk.readInto(fd, bytes))
  } finally {
    closeSync(fd)
  }
}

async function* pieces(path: string, digest: string, invalid: (problem: "missing" | "damaged") => unknown) {
  const handle = await open(path, disk.readOnly).catch((cause) => {
    throw cause.code === "ENOENT" ? invalid("missing") : cause
  })
  try {
    const seen = createHash("sha256")
    for (;;) {
      const buffer = new Uint8Array(piece)
      const { bytesRead } = await handle.read(buffer, 0, piece, null)
      if (bytesRead === 0) break
      const bytes = buffer.subarray(0, bytesRead)
      seen.update(bytes)
      yield bytes
    }
    if (seen.digest("hex") !== digest) throw invalid("damaged")
  } finally {
    await handle.close()
  }
}
