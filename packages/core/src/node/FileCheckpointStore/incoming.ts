/** An object on its way into a draft, in bounded memory: small ones are held, larger ones go to the disk as they come. */
import { createHash } from "node:crypto"
import { renameSync, unlinkSync } from "node:fs"
import { type FileHandle, open } from "node:fs/promises"
import type { StoredObject } from "../../CheckpointStore.ts"
import { type Contents, noteFresh, small, take } from "./contents.ts"
import * as disk from "./disk.ts"
import * as layout from "./layout.ts"
import * as pool from "./pool.ts"

/** Bytes that are read at once. Two such buffers are all that an object of any size needs. */
const piece = 2 ** 20

/** To be closed, whatever becomes of it: what is no object by then is gone. */
export class Incoming {
  readonly #draft: Contents
  readonly #path: string
  readonly #hash = createHash("sha256")
  #chunks: Array<Uint8Array> | undefined = []
  #size = 0
  #handle: FileHandle | undefined
  #closed = false

  constructor(draft: Contents) {
    this.#draft = draft
    this.#path = layout.objectOf(draft.body, `.${layout.nonce()}`)
  }

  /** Whether all of it, with this chunk, may be held in memory. */
  fits(chunk: Uint8Array): boolean {
    return this.#chunks !== undefined && this.#size + chunk.length <= small
  }

  hold(chunk: Uint8Array): void {
    this.#chunks?.push(chunk)
    this.#size += chunk.length
  }

  /** All of it, if it was never more than may be held. */
  held(): Uint8Array | undefined {
    return this.#chunks === undefined ? undefined : Buffer.concat(this.#chunks)
  }

  /** Adds to what is on the disk. */
  async write(chunk: Uint8Array): Promise<void> {
    const handle = await this.#open()
    const writing = this.#toDisk(handle, chunk)
    this.#hash.update(chunk)
    await writing
    this.#size += chunk.length
  }

  /** Reads a file and writes it, both at once. */
  async copy(options: {
    readonly source: FileHandle
    readonly size: number
    readonly signal: AbortSignal
    readonly unreadable: (cause: unknown) => unknown
  }): Promise<void> {
    let [current, other] = [Buffer.allocUnsafe(piece), Buffer.allocUnsafe(piece)]
    let left = options.size
    const next = async (buffer: Buffer) => {
      const { bytesRead } = await options.source.read(buffer, 0, Math.min(piece, left), null).catch((cause) => {
        throw options.unreadable(cause)
      })
      left -= bytesRead
      return bytesRead
    }
    for (let got = await next(current); got > 0 && !options.signal.aborted; ) {
      const [more] = await Promise.all([next(other), this.write(current.subarray(0, got))])
      got = more
      ;[current, other] = [other, current]
    }
  }

  /** Makes an object of what was written. */
  async settle(): Promise<StoredObject> {
    const handle = await this.#open()
    const object = { digest: this.#hash.digest("hex"), size: this.#size }
    const { at, body, objects } = this.#draft
    if (!objects.has(object.digest)) {
      const seen = await pool.rehash(at, object, Buffer.allocUnsafe(piece))
      if (seen !== "same" || !take(this.#draft, object.digest)) {
        await handle.close()
        renameSync(this.#path, layout.objectOf(body, object.digest))
        noteFresh(this.#draft, object.digest, seen)
      }
      objects.set(object.digest, object.size)
    }
    return object
  }

  async close(): Promise<void> {
    this.#closed = true
    if (this.#handle === undefined) return
    await this.#handle.close()
    disk.ifPresent(() => unlinkSync(this.#path))
  }

  async #open(): Promise<FileHandle> {
    if (this.#handle !== undefined) return this.#handle
    const handle = await open(this.#path, "wx", 0o600)
    this.#handle = handle
    // nobody waited for it
    if (this.#closed) await this.close()
    for (const chunk of this.#chunks ?? []) {
      this.#hash.update(chunk)
      await this.#toDisk(handle, chunk)
    }
    this.#chunks = undefined
    return handle
  }

  async #toDisk(handle: FileHandle, chunk: Uint8Array): Promise<void> {
    for (let at = 0; at < chunk.length; ) at += (await handle.write(chunk, at)).bytesWritten
  }
}
