/**
 * The boxes of this host: a directory each, with a record that comes into being, changes and goes in one step.
 *
 * Names with a leading dot are not boxes: locks, boxes that are not made yet, and boxes that are gone already.
 */
import { Directories, type Host } from "@org/sandbox-core/Host"
import type { Processes } from "@org/sandbox-core/Processes"
import * as RepositoryLock from "@org/sandbox-core/RepositoryLock"
import { instanceName } from "@org/sandbox-core/Session"
import { Clock, Duration, Effect, FileSystem, Option, Path, type PlatformError, Random, Schema } from "effect"
import * as Files from "./Files.ts"
import { codeOf, type Problem, Refused } from "./LocalError.ts"

/** A checkout, written before git is asked for it and until git has removed it. */
export class Checkout extends Schema.Class<Checkout>("@org/sandbox-provider-local/Checkout")({
  /** Anything but `placed` is unfinished, and holds no work of anybody. */
  state: Schema.Literals(["placing", "placed", "removing"]),
  /** `adopted`: a worktree of the user's own, which is never removed. */
  kind: Schema.Literals(["worktree", "clone", "adopted"]),
  /** Where an adopted one is; any other is in the directory of its box. */
  path: Schema.optionalKey(Schema.String),
  repository: Schema.String,
  /** The branch that it was placed on; null until it was. */
  branch: Schema.NullOr(Schema.String),
  /** The branch that was made for this checkout in the user's repository, or is about to be, and where. */
  created: Schema.NullOr(Schema.Struct({ branch: Schema.String, commit: Schema.String })),
  warnings: Schema.Array(Schema.String)
}) {}

/** The record of a box. */
export class Box extends Schema.Class<Box>("@org/sandbox-provider-local/Box")({
  version: Schema.Literal(1),
  /** Unique among all boxes ever made, also of the same key. */
  id: Schema.String,
  key: Schema.String,
  scope: Schema.String,
  labels: Schema.Record(Schema.String, Schema.String),
  /** `stopping`: nothing may be started any more, and something may still run. */
  status: Schema.Literals(["running", "stopping", "stopped"]),
  checkout: Schema.NullOr(Checkout)
}) {
  with(change: Partial<Pick<Box, "status" | "checkout">>): Box {
    return new Box({ ...this, ...change })
  }
}

export type BoxServices = FileSystem.FileSystem | Path.Path | Directories | Host | Processes

/** What `read` found in a directory: a box, or a record that nobody can read. */
export type Entry = { readonly name: string; readonly box: Box } | { readonly name: string; readonly problem: Problem }

const json = Schema.fromJsonString(Box)

/** Where all boxes are. */
export const root: Effect.Effect<string, never, Directories | Path.Path> = Effect.gen(function* () {
  return (yield* Path.Path).join((yield* Directories).state, "local")
})

/** The directory of the box of a key. */
export const directory = Effect.fnUntraced(function* (key: string) {
  const name = instanceName(key)
  if (name === "" || name === "-") return yield* new Refused({ reason: "Invalid", message: "The box's key is empty." })
  return (yield* Path.Path).join(yield* root, name)
})

/** Where a box keeps what belongs to its session and not to the repository; made for a box that is older than this. */
export const runDirectory = Effect.fnUntraced(function* (key: string) {
  const fs = yield* FileSystem.FileSystem
  const target = (yield* Path.Path).join(yield* directory(key), run)
  // Not with what is above it: a box that was just removed must not come back as a directory without a record.
  yield* Effect.catchIf(fs.makeDirectory(target, { mode: 0o700 }), isTaken, () => Effect.void)
  return target
})

/** Holds the lock of one box, so that one process at a time changes it. */
export const locked =
  (key: string) =>
  <A, E, R>(effect: Effect.Effect<A, E, R>) =>
    Effect.gen(function* () {
      const path = yield* Path.Path
      const box = yield* directory(key)
      yield* makeRoot
      const file = path.join(path.dirname(box), `.${path.basename(box)}.lock`)
      return yield* RepositoryLock.withLock(file)(effect)
    })

/** The box of a key; undefined when there is none. */
export const read: (
  key: string
) => Effect.Effect<Box | undefined, Problem, FileSystem.FileSystem | Path.Path | Directories> = Effect.fnUntraced(
  function* (key) {
    const box = yield* readIn(yield* directory(key))
    if (box === undefined || box.key === key) return box
    return yield* new Refused({ reason: "Conflict", message: `The directory of the box ${key} belongs to ${box.key}.` })
  }
)

/** Makes a box, or returns the one that is there already. */
export const create = Effect.fnUntraced(function* (box: Box) {
  const fs = yield* FileSystem.FileSystem
  const path = yield* Path.Path
  yield* makeRoot
  const target = yield* directory(box.key)
  const prepared = path.join(path.dirname(target), `${preparing}${yield* nonce}`)
  const rename = fs.rename(prepared, target).pipe(Effect.andThen(sync(path.dirname(target))), Effect.as(true))
  const made = yield* Effect.acquireUseRelease(
    fs.makeDirectory(prepared, { mode: 0o700 }),
    () =>
      fs
        .makeDirectory(path.join(prepared, run), { mode: 0o700 })
        .pipe(
          Effect.andThen(write(prepared, box)),
          Effect.andThen(Effect.catchIf(rename, isTaken, () => Effect.succeed(false)))
        ),
    () => Effect.ignore(fs.remove(prepared, { recursive: true, force: true }), { log: "Warn" })
  )
  const there = made ? box : yield* read(box.key)
  return there ?? (yield* new Refused({ reason: "NotReady", message: `The box ${box.key} is just being removed.` }))
})

/** Replaces the record of a box. Only under the box's lock. */
export const update = Effect.fnUntraced(function* (box: Box) {
  yield* write(yield* directory(box.key), box)
})

/** Makes a box disappear in one step; `sweep` then removes what it consisted of. Only under the box's lock. */
export const remove = Effect.fnUntraced(function* (key: string) {
  const fs = yield* FileSystem.FileSystem
  const path = yield* Path.Path
  const target = yield* directory(key)
  yield* fs.rename(target, path.join(path.dirname(target), `${trash}${yield* nonce}`))
  yield* sync(path.dirname(target))
})

/**
 * Removes what is of no box any more, whoever left it: what destroyed boxes consisted of, boxes whose making was given up
 * for dead, and locks of dead processes. Never under a lock.
 */
export const sweep = Effect.gen(function* () {
  const fs = yield* FileSystem.FileSystem
  const path = yield* Path.Path
  const base = yield* root
  const names = yield* fs
    .readDirectory(base)
    .pipe(Effect.catchIf(isMissing, () => Effect.succeed<ReadonlyArray<string>>([])))
  for (const name of names) {
    const target = path.join(base, name)
    if (name.startsWith(trash) || (name.startsWith(preparing) && (yield* isOld(target)))) {
      // Others may be sweeping too; what is left is swept next time.
      yield* Effect.ignore(Files.remove(target), { log: "Debug" })
    }
    // Taking a lock breaks that of a dead holder, and releasing it removes it.
    const owner = /^\.(.+?)\.lock/.exec(name)?.[1]
    if (owner !== undefined && !names.includes(owner)) {
      yield* Effect.ignore(RepositoryLock.withLock(target, { timeout: "1 millis" })(Effect.void))
    }
  }
})

/** Every box of this host, and every directory that should be one. Fails where the directory cannot be read. */
export const all: Effect.Effect<
  ReadonlyArray<Entry>,
  Problem,
  FileSystem.FileSystem | Path.Path | Directories
> = Effect.gen(function* () {
  const fs = yield* FileSystem.FileSystem
  const path = yield* Path.Path
  const base = yield* root
  // No directory means that no box was ever made; one that cannot be read means nothing at all.
  const names = yield* fs
    .readDirectory(base)
    .pipe(Effect.catchIf(isMissing, () => Effect.succeed<ReadonlyArray<string>>([])))
  const entries = [...names].sort().map((name) =>
    name.startsWith(".")
      ? Effect.succeed([])
      : readIn(path.join(base, name)).pipe(
          Effect.map((box): ReadonlyArray<Entry> => (box === undefined ? [] : [{ name, box }])),
          Effect.catch((problem) => Effect.succeed<ReadonlyArray<Entry>>([{ name, problem }]))
        )
  )
  return (yield* Effect.all(entries, { concurrency: 16 })).flat()
})

/** A text that no other box, directory or process has. */
export const nonce: Effect.Effect<string> = Effect.gen(function* () {
  const random = yield* Random.nextIntBetween(0, Number.MAX_SAFE_INTEGER)
  return `${(yield* Clock.currentTimeMillis).toString(36)}-${random.toString(36)}`
})

const preparing = ".new-"
const trash = ".trash-"
const file = "box.json"
const run = "run"

const makeRoot = Effect.gen(function* () {
  yield* (yield* FileSystem.FileSystem).makeDirectory(yield* root, { recursive: true, mode: 0o700 })
})

const readIn = Effect.fnUntraced(function* (target: string) {
  const fs = yield* FileSystem.FileSystem
  const path = yield* Path.Path
  const record = path.join(target, file)
  const attempt = fs.readFileString(record).pipe(Effect.catchIf(isMissing, () => Effect.undefined))
  let text = yield* attempt
  // A box may come or go between two looks; a record that stays missing from a directory that is there is damage.
  for (let looks = 0; text === undefined && looks < 3; looks++) {
    if (!(yield* fs.exists(target))) return undefined
    text = yield* attempt
  }
  const message = `${record} cannot be read as a box; repair it, or remove its directory.`
  return yield* Effect.mapError(
    Schema.decodeUnknownEffect(json)(text),
    () => new Refused({ reason: "Unknown", message })
  )
})

const write = Effect.fnUntraced(function* (target: string, box: Box) {
  const fs = yield* FileSystem.FileSystem
  const path = yield* Path.Path
  const temporary = path.join(target, `.${file}-${yield* nonce}`)
  yield* Effect.scoped(
    Effect.gen(function* () {
      const handle = yield* fs.open(temporary, { flag: "wx", mode: 0o600 })
      yield* handle.writeAll(new TextEncoder().encode(Schema.encodeSync(json)(box)))
      yield* handle.sync
    })
  )
  yield* fs.rename(temporary, path.join(target, file))
  yield* sync(target)
})

/** Makes a rename survive a power cut. */
const sync = (target: string) =>
  Effect.scoped(
    Effect.gen(function* () {
      yield* (yield* (yield* FileSystem.FileSystem).open(target)).sync
    })
  )

const isOld = Effect.fnUntraced(
  function* (target: string) {
    const now = yield* Clock.currentTimeMillis
    const { mtime } = yield* (yield* FileSystem.FileSystem).stat(target)
    return now - Option.getOrThrow(mtime).getTime() > Duration.toMillis("1 hour")
  },
  Effect.orElseSucceed(() => false)
)

const isMissing = (error: PlatformError.PlatformError) => error.reason._tag === "NotFound"

/** Something is there: a directory with something in it cannot be replaced by a rename either. */
const isTaken = ({ reason }: PlatformError.PlatformError) =>
  ["ENOTEMPTY", "EEXIST"].includes(codeOf(reason.cause) ?? "")
