/** Files that last: what is written is synced before anybody is told, and what is not there is no error. */
import {
  closeSync,
  constants,
  fsyncSync,
  linkSync,
  mkdirSync,
  openSync,
  readlinkSync,
  readSync,
  unlinkSync,
  writeSync
} from "node:fs"
import { open } from "node:fs/promises"
import { dirname } from "node:path"
import { Effect } from "effect"
import * as SandboxError from "../../SandboxError.ts"

/** Opens what is there itself, not what it links to, and never waits for somebody at the other end of a pipe. */
export const readOnly = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK

const codeOf = (cause: unknown): string =>
  cause instanceof Error && "code" in cause && typeof cause.code === "string" ? cause.code : ""

/** What a system call said, in its own words and without the paths. */
export const reasonOf = (cause: unknown): string => {
  const text = cause instanceof Error ? cause.message : String(cause)
  const [known] = /^[A-Z0-9]+: [^,]+/.exec(text) ?? []
  return known ?? text.replaceAll(/\s+/g, " ")
}

const wayOut = (cause: unknown): string => {
  switch (codeOf(cause)) {
    case "ENOSPC":
    case "EDQUOT":
      return "free space there, or remove checkpoints that nobody needs, and run the command again"
    case "EACCES":
    case "EPERM":
    case "EROFS":
      return "make it readable and writable for this user, and run the command again"
    default:
      return "see whether its disk is sound, and run the command again"
  }
}

export const failed = (directory: string, cause: unknown): SandboxError.SandboxError =>
  SandboxError.isSandboxError(cause)
    ? cause
    : SandboxError.make("ERR_PERSIST_FAILED", {
        message: `the checkpoint store ${directory} failed: ${reasonOf(cause)}`,
        nextStep: wayOut(cause),
        details: { store: directory, problem: codeOf(cause) || "unknown" }
      })

/** Runs a piece of input and output; what it throws is `ERR_PERSIST_FAILED`. */
export const attempting = (directory: string) => ({
  now: <A>(f: () => A): Effect.Effect<A, SandboxError.SandboxError> =>
    Effect.try({ try: f, catch: (cause) => failed(directory, cause) }),
  later: <A>(f: (signal: AbortSignal) => Promise<A>): Effect.Effect<A, SandboxError.SandboxError> =>
    Effect.tryPromise({ try: f, catch: (cause) => failed(directory, cause) })
})

/** None when there is nothing of that name. */
export const ifPresent = <A>(f: () => A): A | undefined => {
  try {
    return f()
  } catch (cause) {
    if (codeOf(cause) === "ENOENT") return undefined
    throw cause
  }
}

/** Where a link leads; none when there is none, or something that is no link. */
export const linkAt = (path: string): string | undefined => {
  try {
    return readlinkSync(path)
  } catch (cause) {
    if (["ENOENT", "EINVAL"].includes(codeOf(cause))) return undefined
    throw cause
  }
}

export const sync = (path: string): void => {
  const fd = openSync(path, constants.O_RDONLY)
  try {
    fsyncSync(fd)
  } finally {
    closeSync(fd)
  }
}

/** How many syncs are under way at once: a disk puts together what it is asked for at once. */
const syncs = 16

export const syncAll = async (paths: Iterable<string>, signal: AbortSignal): Promise<void> => {
  const left = paths[Symbol.iterator]()
  const work = async () => {
    for (let next = left.next(); next.done !== true && !signal.aborted; next = left.next()) {
      const handle = await open(next.value)
      try {
        await handle.sync()
      } finally {
        await handle.close()
      }
    }
  }
  await Promise.all(Array.from({ length: syncs }, work))
}

/** Made for its owner only, with what is missing above it, and there after a crash. */
export const makeDirectory = (path: string): void => {
  const first = mkdirSync(path, { recursive: true, mode: 0o700 })
  if (first === undefined) return
  for (let at = path; at.length >= first.length; at = dirname(at)) sync(dirname(at))
}

export const writeAll = (fd: number, bytes: Uint8Array): void => {
  for (let at = 0; at < bytes.length; ) at += writeSync(fd, bytes, at)
}

/** Reads until the buffer is full or the file ends, and says how many bytes. */
export const readInto = (fd: number, buffer: Uint8Array): number => {
  let got = 0
  for (let read = -1; got < buffer.length && read !== 0; got += read) {
    read = readSync(fd, buffer, got, buffer.length - got, null)
  }
  return got
}

/** A file that was not there before; nothing of it stays when it cannot be written whole. */
export const writeNew = (path: string, bytes: Uint8Array): void => {
  const fd = openSync(path, "wx", 0o600)
  try {
    writeAll(fd, bytes)
  } catch (cause) {
    unlinkSync(path)
    throw cause
  } finally {
    closeSync(fd)
  }
}

/** The codes of file systems without hard links, and of files that have as many as they can. */
const unlinkable = ["EPERM", "ENOTSUP", "EOPNOTSUPP", "ENOSYS", "EXDEV", "EMLINK"]

export type Linked = "linked" | "gone" | "taken" | "impossible"

export const link = (existing: string, path: string): Linked => {
  try {
    linkSync(existing, path)
    return "linked"
  } catch (cause) {
    if (codeOf(cause) === "ENOENT") return "gone"
    if (codeOf(cause) === "EEXIST") return "taken"
    if (unlinkable.includes(codeOf(cause))) return "impossible"
    throw cause
  }
}
