/** One file of a checkout, as one whole read of it. */
import { Effect, FileSystem, Option, Path, type PlatformError } from "effect"
import type { StoredObject } from "../../CheckpointStore.ts"
import type { WorkFile } from "../../Work.ts"
import { type Checkout, unreadable } from "./checkout.ts"
import { isAbsent } from "./look.ts"

/** What was read, and whether the file kept changing meanwhile; nothing when it was gone. */
export interface Read {
  readonly file: WorkFile
  readonly restless: boolean
}

const attempts = 3

/** Permission bits as the document has them. */
export const octal = (mode: number): string => (mode & 0o777).toString(8).padStart(3, "0")

/**
 * Reads a file until it stayed the same while it was read, three times at most; the last read is kept in any case.
 *
 * Fails with `ERR_CHECKPOINT_FAILED` when it may not be read.
 */
export const readFile = Effect.fnUntraced(function* <E, R>(
  checkout: Checkout,
  name: string,
  put: (path: string) => Effect.Effect<StoredObject, E, R>
) {
  const fs = yield* FileSystem.FileSystem
  const path = yield* Path.Path
  const at = path.join(checkout.directory, name)
  const lstat = fs.lstat(at).pipe(Effect.catchIf(isAbsent, () => Effect.undefined))
  let before = yield* lstat
  for (let attempt = 1; ; attempt += 1) {
    const seen = before
    if (seen === undefined || seen.type === "Directory") return undefined
    const last = attempt === attempts
    const file: Effect.Effect<WorkFile, E | Failure, R> =
      seen.type === "SymbolicLink"
        ? Effect.map(fs.readLink(at), (target) => ({ path: name, type: "link", target }))
        : Effect.map(put(at), (stored) => ({ path: name, type: "file", mode: octal(seen.mode), ...stored }))
    const read = yield* Effect.result(file)
    before = yield* lstat
    if (read._tag === "Failure") {
      // gone or replaced while it was read is no failure
      if (before === undefined || (before.type !== seen.type && !last)) continue
      return yield* Effect.fail(read.failure)
    }
    if (before === undefined) return undefined
    const steady = same(seen, before)
    if (!steady && !last) continue
    if (read.success.type === "link" && read.success.target.includes("\ufffd")) return yield* unreadable(`${name} -> …`)
    return { file: read.success, restless: !steady }
  }
})

type Failure = PlatformError.PlatformError

const same = (one: FileSystem.File.Info, other: FileSystem.File.Info): boolean =>
  one.type === other.type &&
  one.size === other.size &&
  one.mode === other.mode &&
  Option.getOrUndefined(one.ino) === Option.getOrUndefined(other.ino) &&
  Option.getOrUndefined(one.mtime)?.getTime() === Option.getOrUndefined(other.mtime)?.getTime()
