/** The host's cache of remote repositories: one bare clone per URL, shared by every process and every session. */
import { Duration, Effect, FileSystem, Option, Path, Random, Schema, Stream } from "effect"
import * as Git from "./Git.ts"
import { Hasher } from "./Hasher.ts"
import { Directories, Holder, Host } from "./Host.ts"
import * as RepositoryLock from "./RepositoryLock.ts"
import * as SandboxError from "./SandboxError.ts"
import * as Time from "./Time.ts"

/** How long cloning or fetching may take, the wait for another process that does the same included. */
export const timeout = Duration.minutes(10)

/** After this time the rest of a killed clone is removed even when nobody can tell whether its maker lives. */
const leftoverAfter = Duration.hours(1)

export type MirrorServices = Git.GitServices | Path.Path | Host | Directories | Hasher

/**
 * The absolute path of a bare repository that has a commit of a URL.
 *
 * Callers in any number of processes make one clone; a mirror that has the commit already is not fetched again. It answers
 * a request for any object that it has, so `git fetch <path> <commit>` works after the branch moved on.
 */
export const ensure: (url: string, commit: string) => Effect.Effect<string, SandboxError.SandboxError, MirrorServices> =
  Effect.fn("Mirror.ensure")(
    function* (url, commit) {
      const fs = yield* FileSystem.FileSystem
      const path = yield* Path.Path
      const hasher = yield* Hasher
      const mirrors = path.join((yield* Directories).cache, "mirrors")
      const digest = yield* hasher.sha256(Stream.make(new TextEncoder().encode(url)))
      const mirror = path.join(mirrors, `${digest.slice(0, 32)}.git`)
      if (yield* has(mirror, commit)) return mirror
      yield* fs.makeDirectory(mirrors, { recursive: true, mode: 0o700 })
      yield* Effect.gen(function* () {
        if (yield* has(mirror, commit)) return
        if (yield* fs.exists(mirror))
          yield* fetch(mirror, url, ["+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*"])
        else yield* clone(mirrors, mirror, url)
        // The branch may have been rewound since its commit was looked up; most servers still answer for the commit itself.
        if (!(yield* has(mirror, commit))) yield* fetch(mirror, url, [commit])
      }).pipe(RepositoryLock.withLock(`${mirror}.lock`, { timeout }))
      return mirror
    },
    (effect, url) =>
      effect.pipe(
        Effect.mapError((error) => (SandboxError.isSandboxError(error) ? error : failed(url, error.message, true))),
        Effect.timeoutOrElse({
          duration: timeout,
          orElse: () => Effect.fail(failed(url, `it took longer than ${Duration.format(timeout)}`, true))
        })
      )
  )

const has = Effect.fnUntraced(function* (mirror: string, commit: string) {
  const fs = yield* FileSystem.FileSystem
  if (!(yield* fs.exists(mirror))) return false
  return (yield* Git.run(["cat-file", "-e", `${commit}^{commit}`], { cwd: mirror })).code === 0
})

const fetch = (mirror: string, url: string, refs: ReadonlyArray<string>) =>
  Git.output(["fetch", "--quiet", "--prune", "--no-write-fetch-head", "--", url, ...refs], {
    cwd: mirror,
    timeout,
    remote: true
  })

/** Clones beside the mirror, so that a mirror is complete from the moment it has its name. */
const clone = Effect.fnUntraced(function* (mirrors: string, mirror: string, url: string) {
  const fs = yield* FileSystem.FileSystem
  const path = yield* Path.Path
  yield* removeLeftovers(mirrors)
  const directory = path.join(mirrors, `${temporary}${yield* Random.nextIntBetween(0, Number.MAX_SAFE_INTEGER)}`)
  const target = path.join(directory, "repository.git")
  yield* Effect.acquireUseRelease(
    fs.makeDirectory(directory, { mode: 0o700 }),
    () =>
      Effect.gen(function* () {
        yield* fs.writeFileString(path.join(directory, "maker.json"), encodeMaker((yield* Host).self))
        // No template: neither the samples of git nor the hooks of the user belong into a cache.
        const options = ["--bare", "--quiet", "--template=", "--config", "uploadpack.allowAnySHA1InWant=true"]
        yield* Git.output(["clone", ...options, "--", url, target], { timeout, remote: true })
        yield* fs.rename(target, mirror)
      }),
    () => Effect.ignore(fs.remove(directory, { recursive: true, force: true }), { log: "Warn" })
  )
})

const temporary = "clone-"

const removeLeftovers = Effect.fnUntraced(function* (mirrors: string) {
  const fs = yield* FileSystem.FileSystem
  const path = yield* Path.Path
  for (const name of yield* fs.readDirectory(mirrors)) {
    const directory = path.join(mirrors, name)
    if (!name.startsWith(temporary) || !(yield* isLeftover(directory))) continue
    // A git that outlived its killed parent may still write there; what cannot be removed now is removed next time.
    yield* Effect.ignore(fs.remove(directory, { recursive: true, force: true }), { log: "Debug" })
  }
})

const isLeftover = Effect.fnUntraced(function* (directory: string) {
  const fs = yield* FileSystem.FileSystem
  const path = yield* Path.Path
  const host = yield* Host
  const maker = yield* fs.readFileString(path.join(directory, "maker.json")).pipe(
    Effect.map(decodeMaker),
    Effect.orElseSucceed(() => Option.none<Holder>())
  )
  if (Option.isSome(maker) && maker.value.host === host.self.host) return !(yield* host.isAlive(maker.value))
  const now = yield* Time.millis
  const madeAt = yield* fs.stat(directory).pipe(
    Effect.map(({ mtime }) => Option.getOrUndefined(mtime)?.getTime() ?? now),
    Effect.orElseSucceed(() => now)
  )
  return now - madeAt > Duration.toMillis(leftoverAfter)
})

const Maker = Schema.fromJsonString(Holder)
const encodeMaker = Schema.encodeSync(Maker)
const decodeMaker = Schema.decodeUnknownOption(Maker)

const failed = (url: string, why: string, retryable: boolean): SandboxError.SandboxError =>
  SandboxError.make("ERR_WORKSPACE_FAILED", {
    message: `${url} could not be copied to this host: ${why}`,
    nextStep:
      "Check the network and your access to the repository (GITHUB_TOKEN for github.com, a git credential helper for others), then try again.",
    retryable,
    details: { repository: url }
  })
