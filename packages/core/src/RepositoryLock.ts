/**
 * A lock on one repository, held by one process for one git command that changes it.
 *
 * The lock is a symbolic link whose target is the holder as JSON: a link comes into being whole and only once, so there is
 * never a lock that does not say whose it is. Whoever finds a dead holder takes the lock on breaking that lock first,
 * which is the same kind of lock and broken the same way; so nobody can remove a lock that somebody has just taken.
 */
import { Duration, Effect, FileSystem, Option, type PlatformError, Random, Schema } from "effect"
import * as Git from "./Git.ts"
import { Holder, Host } from "./Host.ts"
import * as SandboxError from "./SandboxError.ts"
import * as Time from "./Time.ts"

/** How long to wait for a lock when the caller names no bound. */
export const defaultTimeout = Duration.seconds(60)

/** How old the lock of another host or an earlier boot, whose holder cannot be asked, must be to count as abandoned. */
export const abandonedAfter = Duration.hours(1)

/** The lock file of a repository on this host: one for all its worktrees. */
export const fileOf: (repository: string) => Effect.Effect<string, Git.GitError, Git.GitServices> = Effect.fnUntraced(
  function* (repository) {
    const args = ["rev-parse", "--path-format=absolute", "--git-common-dir"]
    return `${(yield* Git.output(args, { cwd: repository })).trim()}/sandbox.lock`
  }
)

/**
 * Runs an effect while holding a lock file, and waits for it up to `timeout`.
 *
 * Not re-entrant. The wait can be interrupted; the lock is released however the effect ends.
 */
export const withLock =
  (file: string, options: { readonly timeout?: Duration.Input | undefined } = {}) =>
  <A, E, R>(
    effect: Effect.Effect<A, E, R>
  ): Effect.Effect<A, E | SandboxError.SandboxError, R | Host | FileSystem.FileSystem> =>
    Effect.uninterruptibleMask((restore) =>
      Effect.gen(function* () {
        const mine = yield* acquire(file, Duration.fromInputUnsafe(options.timeout ?? defaultTimeout), restore)
        return yield* Effect.ensuring(restore(effect), release(file, mine))
      })
    )

const acquire: (
  file: string,
  timeout: Duration.Duration,
  restore: <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
) => Effect.Effect<string, SandboxError.SandboxError, Host | FileSystem.FileSystem> = Effect.fnUntraced(
  function* (file, timeout, restore) {
    const fs = yield* FileSystem.FileSystem
    const { self } = yield* Host
    const mine = encode({ ...self, nonce: yield* Random.nextIntBetween(0, Number.MAX_SAFE_INTEGER) })
    const deadline = (yield* Time.millis) + Duration.toMillis(timeout)
    while (true) {
      const taken = yield* fs.symlink(mine, file).pipe(
        Effect.as(false),
        Effect.catchIf(has("AlreadyExists"), () => Effect.succeed(true)),
        Effect.mapError((error) => unusable(file, error))
      )
      if (!taken) return mine
      const remaining = deadline - (yield* Time.millis)
      const held = yield* read(file)
      if (remaining <= 0) return yield* timedOut(file, held)
      if (held === undefined) continue
      if (yield* isAbandoned(file, held)) yield* restore(breakLock(file, held, remaining))
      else yield* restore(Effect.sleep(yield* Random.nextIntBetween(20, 80)))
    }
  }
)

const release = Effect.fnUntraced(
  function* (file: string, mine: string) {
    const fs = yield* FileSystem.FileSystem
    if ((yield* read(file)) === mine) yield* fs.remove(file)
  },
  Effect.ignore({ log: "Warn", message: "a repository lock could not be released" })
)

const breakLock = (file: string, judged: string, timeout: number) =>
  Effect.gen(function* () {
    const fs = yield* FileSystem.FileSystem
    if ((yield* read(file)) !== judged) return
    yield* Effect.mapError(fs.remove(file), (error) => unusable(file, error))
  }).pipe(withLock(`${file}.break`, { timeout }))

/** The text of a lock; undefined when nobody holds it, empty when it is not one that we wrote. */
const read = Effect.fnUntraced(function* (file: string) {
  const fs = yield* FileSystem.FileSystem
  return yield* fs.readLink(file).pipe(
    Effect.map((text): string | undefined => text),
    Effect.catch((error) => Effect.succeed(has("NotFound")(error) ? undefined : ""))
  )
})

const isAbandoned = Effect.fnUntraced(function* (file: string, held: string) {
  const host = yield* Host
  const holder = decode(held)
  if (Option.isSome(holder) && holder.value.host === host.self.host) return !(yield* host.isAlive(holder.value))
  const fs = yield* FileSystem.FileSystem
  const now = yield* Time.millis
  const madeAt = yield* fs.lstat(file).pipe(
    Effect.map(({ mtime }) => Option.getOrUndefined(mtime)?.getTime() ?? now),
    Effect.orElseSucceed(() => now)
  )
  return now - madeAt > Duration.toMillis(abandonedAfter)
})

const Lock = Schema.fromJsonString(Schema.Struct({ ...Holder.fields, nonce: Schema.Int }))
const encode = Schema.encodeSync(Lock)
const decode = Schema.decodeUnknownOption(Lock)

const has = (tag: PlatformError.SystemErrorTag) => (error: PlatformError.PlatformError) => error.reason._tag === tag

const unusable = (file: string, error: PlatformError.PlatformError): SandboxError.SandboxError =>
  SandboxError.make("ERR_WORKSPACE_FAILED", {
    message: `The lock ${file} can be neither taken nor broken: ${error.message}`,
    nextStep: "Make sure that the repository exists and that you may write to it.",
    retryable: false
  })

const timedOut = (file: string, held: string | undefined): SandboxError.SandboxError => {
  const holder = Option.getOrUndefined(decode(held))
  const who = holder === undefined ? "somebody" : `process ${holder.pid}`
  return SandboxError.make("ERR_LOCK_TIMEOUT", {
    message: `The lock ${file} is held by ${who}.`,
    nextStep: `Try again; if nothing works on this repository any more, free it with \`rm ${file}\`.`,
    details: { file, ...(holder === undefined ? {} : { pid: holder.pid, host: holder.host }) }
  })
}
