/** The checkpoint store as a directory: written beside, synced, then renamed into place. */
import { closeSync, fsyncSync, mkdirSync, openSync, readFileSync, renameSync, writeSync } from "node:fs"
import { join } from "node:path"
import { Effect, Layer, Option } from "effect"
import { CheckpointStore } from "../CheckpointStore.ts"
import * as SandboxError from "../SandboxError.ts"

const failed = (directory: string, cause: unknown) =>
  SandboxError.make("ERR_PERSIST_FAILED", {
    message: `the checkpoint store ${directory} failed: ${cause instanceof Error ? cause.message : String(cause)}`,
    nextStep: "free space there or make it writable",
    details: { store: directory }
  })

const sync = (path: string, flags: string, use: (fd: number) => void): void => {
  const fd = openSync(path, flags, 0o600)
  try {
    use(fd)
    fsyncSync(fd)
  } finally {
    closeSync(fd)
  }
}

const readIfPresent = (path: string): Uint8Array | undefined => {
  try {
    return readFileSync(path)
  } catch (cause) {
    if (cause instanceof Error && "code" in cause && cause.code === "ENOENT") return undefined
    throw cause
  }
}

/** `directory` is made on first use, for its owner only. */
export const layer = (directory: string): Layer.Layer<CheckpointStore> =>
  Layer.succeed(CheckpointStore)({
    write: (id, bytes) =>
      Effect.try({
        try: () => {
          mkdirSync(directory, { recursive: true, mode: 0o700 })
          const target = join(directory, `${id}.json`)
          const staged = `${target}.${process.pid}.tmp`
          sync(staged, "w", (fd) => {
            for (let at = 0; at < bytes.length; ) at += writeSync(fd, bytes, at)
          })
          renameSync(staged, target)
          sync(directory, "r", () => {})
        },
        catch: (cause) => failed(directory, cause)
      }),
    read: (id) =>
      Effect.try({
        try: () => Option.fromNullishOr(readIfPresent(join(directory, `${id}.json`))),
        catch: (cause) => failed(directory, cause)
      })
  })
