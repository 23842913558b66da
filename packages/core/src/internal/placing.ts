/** Putting what was unpacked in its place on this host: renames only, and none before all of them are known to fit. */
import { Effect, FileSystem, Path, type PlatformError } from "effect"
import { Host } from "../Host.ts"
import * as SandboxError from "../SandboxError.ts"

/** What a path is: followed, a link is what it points to. */
export type What = "directory" | "file" | "link" | "nothing" | "other"

/** Something on this host that cannot be read, made or changed. */
export const refused = (what: string, error: PlatformError.PlatformError) =>
  SandboxError.make("ERR_EXEC_FAILED", {
    message: `${what} (${error.reason._tag})`,
    nextStep: "make the place readable and writable for you, and copy again",
    retryable: false,
    details: { operation: "files" }
  })

const kinds: Readonly<Record<string, What>> = { Directory: "directory", File: "file", SymbolicLink: "link" }

const isAbsent = ({ reason }: PlatformError.PlatformError) =>
  reason._tag === "NotFound" || (reason.cause as { readonly code?: string } | undefined)?.code === "ENOTDIR"

export const look = Effect.fnUntraced(function* (target: string, options: { readonly follow: boolean }) {
  const fs = yield* FileSystem.FileSystem
  const seen = options.follow ? fs.stat(target) : fs.lstat(target)
  return yield* seen.pipe(
    Effect.map(({ type }): What => kinds[type] ?? "other"),
    Effect.catchIf(isAbsent, () => Effect.succeed<What>("nothing")),
    Effect.mapError((error) => refused(`${target} cannot be looked at`, error))
  )
})

const prefix = ".sandbox-cp-"

/**
 * A directory of our own beside or in the target, gone with the scope whatever is in it. Its name says whose it is: those
 * of copies that were killed are removed first.
 */
export const staging = Effect.fnUntraced(function* (directory: string) {
  const fs = yield* FileSystem.FileSystem
  const { host, pid, startedAt } = (yield* Host).self
  yield* sweep(directory)
  const own = `${prefix}${host}.${pid}.${encodeURIComponent(startedAt)}.`
  return yield* Effect.acquireRelease(
    Effect.mapError(fs.makeTempDirectory({ directory, prefix: own }), (error) =>
      refused(`nothing can be made in ${directory}`, error)
    ),
    (made) =>
      Effect.catch(remove(made), ({ message }) =>
        Effect.logWarning(`${made} could not be removed, and is by the next copy: ${message}`)
      )
  )
})

/** Removes what copies left whose process is provably dead. What cannot be removed is in nobody's way. */
const sweep = Effect.fnUntraced(
  function* (directory: string) {
    const fs = yield* FileSystem.FileSystem
    const path = yield* Path.Path
    const host = yield* Host
    for (const name of yield* fs.readDirectory(directory)) {
      if (!name.startsWith(prefix)) continue
      const [, maker, pid, startedAt = ""] = /^(.+)\.(\d+)\.([^.]+)\.[^.]+$/.exec(name.slice(prefix.length)) ?? []
      if (maker !== host.self.host) continue
      if (yield* host.isAlive({ pid: Number(pid), startedAt: decodeURIComponent(startedAt) })) continue
      const left = path.join(directory, name)
      if ((yield* fs.lstat(left)).type === "Directory") yield* remove(left)
    }
  },
  Effect.ignore({ log: "Debug" })
)

/** Removes a tree, also one with directories that may not be written. */
export const remove = Effect.fnUntraced(function* (target: string) {
  const fs = yield* FileSystem.FileSystem
  yield* Effect.catch(fs.remove(target, { recursive: true, force: true }), () =>
    Effect.andThen(open(target), fs.remove(target, { recursive: true, force: true }))
  )
})

/** What is gone meanwhile is what was wanted: a removal that failed at one place may still go on at others. */
const open: (directory: string) => Effect.Effect<void, PlatformError.PlatformError, FileSystem.FileSystem | Path.Path> =
  Effect.fnUntraced(
    function* (directory) {
      const fs = yield* FileSystem.FileSystem
      const path = yield* Path.Path
      if ((yield* fs.lstat(directory)).type !== "Directory") return
      yield* fs.chmod(directory, 0o700)
      for (const name of yield* fs.readDirectory(directory)) yield* open(path.join(directory, name))
    },
    Effect.catchIf(isAbsent, () => Effect.void)
  )

/** Moves a file, link or tree to where it belongs; a directory that is there keeps what it has. */
export const place = Effect.fnUntraced(function* (from: string, to: string) {
  const moves = yield* plan(from, to)
  // half of a tree is worse than a late answer to an interruption
  yield* Effect.uninterruptible(Effect.forEach(moves, move, { discard: true }))
})

interface Move {
  readonly from: string
  readonly to: string
}

const plan: (
  from: string,
  to: string
) => Effect.Effect<ReadonlyArray<Move>, SandboxError.SandboxError, FileSystem.FileSystem | Path.Path> =
  Effect.fnUntraced(function* (from, to) {
    const fs = yield* FileSystem.FileSystem
    const path = yield* Path.Path
    const here = yield* look(to, { follow: false })
    if (here === "nothing") return [{ from, to }]
    const isDirectory = (yield* look(from, { follow: false })) === "directory"
    if (isDirectory !== (here === "directory")) {
      const [new_, old] = isDirectory ? ["a directory", "something that is none"] : ["a file", "a directory"]
      return yield* SandboxError.make("ERR_INVALID_ARGUMENT", {
        message: `${new_} cannot take the place of ${old}: ${to}`,
        nextStep: "move what is there out of the way, or copy to another name",
        details: { field: "to" }
      })
    }
    if (!isDirectory) return [{ from, to }]
    const names = yield* Effect.mapError(fs.readDirectory(from), (error) => refused(`${from} cannot be read`, error))
    const moves = yield* Effect.forEach(names, (name) => plan(path.join(from, name), path.join(to, name)))
    return moves.flat()
  })

const move = Effect.fnUntraced(function* ({ from, to }: Move) {
  const fs = yield* FileSystem.FileSystem
  const failed = (error: PlatformError.PlatformError) => refused(`${to} cannot be put in place`, error)
  const attempt = fs.rename(from, to)
  // a directory that its owner may not write cannot change its parent
  const opened = Effect.gen(function* () {
    const { mode, type } = yield* fs.lstat(from)
    if (type !== "Directory") return yield* attempt
    yield* fs.chmod(from, 0o700)
    yield* attempt
    yield* fs.chmod(to, mode & 0o7777)
  })
  yield* attempt.pipe(
    Effect.catch(() => opened),
    Effect.mapError(failed)
  )
})
