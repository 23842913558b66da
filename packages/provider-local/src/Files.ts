/** Moving files in and out of a box, by this host's `tar`, GNU's or BSD's. */
import { Host } from "@org/sandbox-core/Host"
import { Deferred, Effect, FileSystem, Path, type PlatformError, Stream } from "effect"
import { ChildProcess, ChildProcessSpawner } from "effect/process"
import * as FilesHost from "./FilesHost.ts"
import { codeOf, isHarmless, leadsOut, type Problem, Refused, TarFailed } from "./LocalError.ts"

/** Where a box keeps things. */
export interface Place {
  /** What relative paths are relative to. */
  readonly base: string
  /** A directory of ours, for what is not in place yet. */
  readonly aside: string
}

export type FilesServices = FileSystem.FileSystem | Path.Path | ChildProcessSpawner.ChildProcessSpawner

/** One file or directory as an archive, under its own last name. */
export const read = (place: Place, target: string): Stream.Stream<Uint8Array, Problem, FilesServices> =>
  Stream.unwrap(
    Effect.gen(function* () {
      const path = yield* Path.Path
      const file = path.resolve(place.base, target)
      if (!(yield* isThere(file))) return yield* missing(`There is no ${target} in the box.`)
      const name = path.basename(file) || "."
      // Names are taken as they stand only from a list: as an argument one may look like an option or an archive.
      const tar = yield* start(
        ["-c", "-f", "-", "--format=pax", "-C", path.dirname(file), "--null", "-T", "-"],
        Stream.make(new TextEncoder().encode(`${name}\0`))
      )
      const said = yield* Deferred.make<string, PlatformError.PlatformError>()
      yield* Effect.forkScoped(Deferred.into(tail(tar.stderr), said))
      const ended = Effect.gen(function* () {
        const code = Number(yield* tar.exitCode)
        const text = yield* Deferred.await(said)
        if (code !== 0 && !isHarmless(text)) return yield* new TarFailed({ doing: "pack", code, said: text })
      })
      return Stream.concat(tar.stdout, Stream.fromEffectDrain(ended))
    })
  )

/**
 * Unpacks into a directory that exists.
 *
 * First aside, where the archive finds nothing that could lead it astray, and then moved: an archive that is damaged, or
 * that names a place outside of the directory, changes nothing.
 */
export const write = Effect.fnUntraced(function* (place: Place, directory: string, archive: Stream.Stream<Uint8Array>) {
  const fs = yield* FileSystem.FileSystem
  const path = yield* Path.Path
  const target = path.resolve(place.base, directory)
  const info = yield* fs
    .stat(target)
    .pipe(
      Effect.catchReason("PlatformError", "NotFound", () => missing(`There is no directory ${directory} in the box.`))
    )
  if (info.type !== "Directory") {
    return yield* new Refused({ reason: "Invalid", message: `${directory} is not a directory.` })
  }
  // A move is one step only within one file system.
  const near = (yield* fs.stat(place.aside)).dev === info.dev ? place.aside : target
  yield* sweep(near)
  const { self } = yield* Host
  const staging = yield* Effect.acquireRelease(
    fs.makeTempDirectory({ directory: near, prefix: `${incoming}${self.pid}-` }),
    (made) => Effect.ignore(fs.remove(made, { recursive: true, force: true }), { log: "Warn" })
  )
  const tar = yield* start(["-x", "-p", "--no-same-owner", "-f", "-", "-C", staging], archive)
  const [said, code] = yield* Effect.all([tail(tar.stderr), tar.exitCode, Stream.runDrain(tar.stdout)], {
    concurrency: "unbounded"
  })
  if (Number(code) !== 0 || leadsOut(said)) return yield* new TarFailed({ doing: "unpack", code: Number(code), said })
  yield* FilesHost.move(staging, target)
}, Effect.scoped)

const incoming = ".incoming-"

/** Removes what killed processes had begun to unpack here. */
const sweep = Effect.fnUntraced(function* (directory: string) {
  const fs = yield* FileSystem.FileSystem
  const path = yield* Path.Path
  const host = yield* Host
  for (const name of yield* fs.readDirectory(directory)) {
    const pid = name.startsWith(incoming) ? Number.parseInt(name.slice(incoming.length), 10) : Number.NaN
    if (Number.isNaN(pid) || (yield* host.startedAt(pid)) !== undefined) continue
    yield* Effect.ignore(remove(path.join(directory, name)), { log: "Warn" })
  }
})

/** Removes a directory with all that is in it, also what its owner may not change just now. Nothing there is success. */
export const remove = Effect.fnUntraced(function* (directory: string) {
  const fs = yield* FileSystem.FileSystem
  const attempt = fs.remove(directory, { recursive: true, force: true })
  yield* Effect.catchReason(attempt, "PlatformError", "PermissionDenied", () =>
    Effect.andThen(FilesHost.unlock(directory), attempt)
  )
})

const start = Effect.fnUntraced(function* (args: ReadonlyArray<string>, stdin: Stream.Stream<Uint8Array>) {
  const spawner = yield* ChildProcessSpawner.ChildProcessSpawner
  const command = ChildProcess.make("tar", args, {
    cwd: "/",
    env: FilesHost.tarEnvironment,
    extendEnv: true,
    stdin,
    forceKillAfter: "2 seconds"
  })
  return yield* Effect.mapError(
    spawner.spawn(command),
    () => new Refused({ reason: "Unsupported", message: "There is no tar on the PATH; install it to copy files." })
  )
})

/** The end of what a command says; the rest is read and dropped, so that it never waits for us. */
const tail = (stream: Stream.Stream<Uint8Array, PlatformError.PlatformError>) =>
  Stream.runFold(
    Stream.decodeText(stream),
    () => "",
    (said, text) => (said + text).slice(-8192)
  )

/** A dangling link is there as well. */
const isThere = Effect.fnUntraced(function* (file: string) {
  const fs = yield* FileSystem.FileSystem
  const exists = yield* Effect.as(fs.stat(file), true).pipe(Effect.catchIf(isAbsent, () => Effect.succeed(false)))
  return exists || (yield* Effect.isSuccess(fs.readLink(file)))
})

/** Nothing is below a file either. */
const isAbsent = ({ reason }: PlatformError.PlatformError) =>
  reason._tag === "NotFound" || codeOf(reason.cause) === "ENOTDIR"

const missing = (message: string) => new Refused({ reason: "NotFound", message })
