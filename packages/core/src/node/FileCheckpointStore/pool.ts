/** Objects that bodies share. What is in the pool is a hint: nothing is taken from it that was not looked at. */
import { createHash } from "node:crypto"
import { closeSync, fstatSync, mkdirSync, openSync, renameSync } from "node:fs"
import { open } from "node:fs/promises"
import type { StoredObject } from "../../CheckpointStore.ts"
import { ifPresent, link, readInto, readOnly } from "./disk.ts"
import { type Layout, nonce, objectOf, pooledOf, shardOf } from "./layout.ts"

/** Whether the pool has an object, and as what. */
export type Seen = "same" | "other" | "none"

/** What is compared at once; nothing else happens while it is in use. */
const piece = Buffer.allocUnsafeSlow(2 ** 18)

/** Compares byte by byte: reading is cheaper than writing, and a spoiled object is not to spoil what is saved after it. */
export const compare = (at: Layout, digest: string, bytes: Uint8Array): Seen => {
  try {
    const fd = ifPresent(() => openSync(pooledOf(at, digest), readOnly))
    if (fd === undefined) return "none"
    try {
      const { size } = fstatSync(fd)
      if (size !== bytes.length) return "other"
      const there = piece.subarray(0, Math.min(size, piece.length))
      for (let at = 0; at < size; ) {
        const got = readInto(fd, there)
        if (got === 0 || !there.subarray(0, got).equals(bytes.subarray(at, at + got))) return "other"
        at += got
      }
      return "same"
    } finally {
      closeSync(fd)
    }
  } catch {
    return "other" // what cannot be read is not shared, and replaced by what can be
  }
}

/** As `compare`, by reading it whole: for objects that nobody has in memory. */
export const rehash = async (at: Layout, { digest, size }: StoredObject, buffer: Uint8Array): Promise<Seen> => {
  const handle = await open(pooledOf(at, digest), readOnly).catch((cause) =>
    cause.code === "ENOENT" ? "none" : "other"
  )
  if (typeof handle === "string") return handle as Seen
  try {
    if ((await handle.stat()).size !== size) return "other"
    const hash = createHash("sha256")
    for (;;) {
      const { bytesRead } = await handle.read(buffer, 0, buffer.length, null)
      if (bytesRead === 0) return hash.digest("hex") === digest ? "same" : "other"
      hash.update(buffer.subarray(0, bytesRead))
    }
  } catch {
    return "other"
  } finally {
    await handle.close()
  }
}

/**
 * Offers an object of a body, which is synced, to those that come after; `replace` where the pool's own is spoiled.
 *
 * A file system that cannot link shares nothing, and every body has all of its own.
 */
export const share = (at: Layout, body: string, digest: string, replace: boolean): void => {
  const own = objectOf(body, digest)
  const pooled = pooledOf(at, digest)
  const target = replace ? `${pooled}.${nonce()}` : pooled
  let linked = link(own, target)
  if (linked === "gone") {
    mkdirSync(shardOf(at, digest), { recursive: true, mode: 0o700 })
    linked = link(own, target)
  }
  if (linked === "linked" && replace) renameSync(target, pooled)
}
