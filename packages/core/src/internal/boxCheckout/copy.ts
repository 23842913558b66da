/** A copy on this host of the checkout that only the box can see. */
import { Effect, FileSystem, Path, Result, Stream } from "effect"
import * as archive from "../../Archive.ts"
import type { Backend } from "../../Provisioners.ts"
import * as SandboxError from "../../SandboxError.ts"
import type { InstanceRef } from "../../Session.ts"
import { refused, remove } from "../placing.ts"
import * as tar from "../tar.ts"
import * as transfer from "../transfer.ts"
import { staging as mark } from "../work/checkout.ts"
import { type Contents, distrust, type PutAside } from "./distrust.ts"
import { staging } from "./staging.ts"
import * as swap from "./swap.ts"

/** Safe for git, and gone with its scope. */
export interface Copy {
  /** Absolute. */
  readonly directory: string
  /** What git on this host must not see. */
  readonly aside: ReadonlyArray<PutAside>
  /** How many things are left out that are no files. */
  readonly special: number
}

/** What of a checkout there is: nothing, or a whole one, or what a replacement has begun to put in its place. */
export type Extent = "nothing" | "begun" | "whole"

/** What there is in the box, halted or not. Fails where that cannot be looked at. */
export const extent = Effect.fnUntraced(function* (backend: Backend, ref: InstanceRef) {
  // right below the mark, whatever the archive calls that
  const begun = (name: string) => name.slice(name.indexOf("/") + 1) === swap.begun
  const marked = yield* sees(backend.readFiles(ref, mark), begun).pipe(
    Effect.catchIf(isMissing, () => Effect.succeed(false)),
    Effect.mapError(unusable)
  )
  if (marked) return "begun" satisfies Extent
  let seen = 0
  // the first is the directory itself
  const some = yield* Effect.mapError(
    sees(backend.readFiles(ref, "."), () => ++seen > 1),
    unusable
  )
  return (some ? "whole" : "nothing") satisfies Extent
})

const isMissing = (error: unknown): boolean =>
  SandboxError.isSandboxError(error) && error.details?.["reason"] === "NotFound"

/** Whether an archive has such an entry; it is not read any further than that. */
const sees = Effect.fnUntraced(function* <E, R>(
  archived: Stream.Stream<Uint8Array, E, R>,
  such: (name: string) => boolean
) {
  let seen = false
  const check = ({ path }: archive.Entry) => {
    seen ||= such(path)
    return undefined
  }
  yield* Stream.runDrain(Stream.takeUntil(archive.rewrite(archived, archive.tally(), { check }), () => seen))
  return seen
})

/**
 * Copies the checkout out of the box; nothing where there is none. Fails where a replacement was begun: what is there is no
 * work of anybody's, and what it was made of may not be all there.
 */
export const copy = Effect.fnUntraced(function* (backend: Backend, ref: InstanceRef, known?: Extent) {
  const there = known ?? (yield* extent(backend, ref))
  if (there === "begun") return yield* unfinished()
  if (there === "nothing") return undefined
  const path = yield* Path.Path
  const staged = yield* staging
  for (let attempt = 1; ; attempt += 1) {
    const within = path.join(staged, String(attempt))
    const taken = yield* Effect.result(take(backend, ref, within))
    if (Result.isSuccess(taken)) return taken.success
    const { failure } = taken
    if (failure._tag !== "Unusable" || failure.early !== true) return yield* unusable(failure)
    if (attempt === attempts) return yield* restless()
    yield* Effect.ignore(remove(within), { log: "Debug" })
  }
})

/** A file that shrinks while it is read ends an archive before its time. */
const attempts = 3

/** What fits on the disks of most hosts beside what is there: a file of any size is made in a box in no time. */
const limit = 20 * 2 ** 30

/** Copies it into a directory that is not there yet. */
const take = Effect.fnUntraced(function* (backend: Backend, ref: InstanceRef, within: string) {
  const fs = yield* FileSystem.FileSystem
  const path = yield* Path.Path
  const counts = archive.tally()
  const seen = { repositories: [] as Array<string>, heads: [] as Array<string>, links: [] as Array<string> }
  /** The name by which the provider archives the checkout. */
  let top: string | undefined
  let bytes = 0
  const below = (name: string) => (top === "" ? name : name.slice(top!.length + 1))
  const check = ({ kind, path: name, size }: archive.Entry): string | undefined => {
    if (top === undefined) {
      top = name
      return kind === "directory" && !name.includes("/")
        ? undefined
        : "the provider's archive does not start with a directory"
    }
    if (top !== "" && !name.startsWith(`${top}/`)) return "the provider's archive has more in it than the checkout"
    bytes += size
    return bytes > limit ? tooLarge(below(name), size) : noted(below(name), kind, seen)
  }
  const rename = (name: string) => (name === top ? root : `${root}/${below(name)}`)
  const read = transfer.flowing(backend.readFiles(ref, "."))
  const archived = archive.rewrite(read, counts, { check, rename, mode: readable })
  yield* Effect.mapError(fs.makeDirectory(within), (error) => refused(`${within} cannot be made`, error))
  yield* tar.feed(archived, (whole) => tar.unpack(within, whole))
  const directory = path.join(within, root)
  const aside = yield* distrust(directory, path.join(within, "aside"), seen)
  return { directory, aside, special: counts.special } satisfies Copy
})

/** What the box lets nobody read is read here by whoever runs this, who need not be the superuser. */
const readable = (kind: archive.Kind, mode: number): number => {
  if (kind === "directory") return (mode & 0o500) === 0o500 ? mode : mode | 0o700
  return mode | 0o400
}

const tooLarge = (name: string, size: number): string => {
  const gib = (n: number) => `${(n / 2 ** 30).toFixed(1)} GiB`
  const [most, of] = [gib(limit), `${gib(size)} of ${archive.fromName(name)}`]
  return `with the ${of} there is more in it than the ${most} that are copied; remove what is not needed there`
}

const root = "checkout"

/** Takes down what may be of a repository; says what is wrong with it. */
const noted = (
  name: string,
  kind: archive.Kind,
  seen: { readonly [K in keyof Contents]: Array<string> }
): string | undefined => {
  const last = name.slice(name.lastIndexOf("/") + 1).toLowerCase()
  const isGit = last === ".git"
  const isLinked = kind === "symlink" || kind === "hardlink"
  if (!isGit && last !== "head" && !isLinked) return undefined
  const read = archive.fromName(name)
  if (isGit && archive.toName(read) !== name) {
    return `the checkout has a repository in a directory whose name is not UTF-8: ${read}`
  }
  if (isGit) seen.repositories.push(read)
  if (last === "head") seen.heads.push(read)
  if (isLinked) seen.links.push(read)
  return undefined
}

const unusable = (error: archive.Unusable | SandboxError.SandboxError) =>
  error._tag === "SandboxError"
    ? error
    : SandboxError.make("ERR_WORKSPACE_FAILED", {
        message: `the checkout cannot be copied out of the box: ${error.message}`,
        nextStep: "put that right in the session, and run the command again",
        retryable: false
      })

const restless = () =>
  SandboxError.make("ERR_WORKSPACE_FAILED", {
    message: "the checkout cannot be copied out of the box: something in it kept changing",
    nextStep: "run the command again, once what writes there is quieter",
    retryable: true
  })

const unfinished = () =>
  SandboxError.make("ERR_WORKSPACE_FAILED", {
    message: "a replacement of the checkout in the box was begun and not finished, so that there is no whole one",
    nextStep: "bring the session up with `sandbox resume`, which finishes it",
    retryable: false,
    details: { begun: true }
  })

/** Puts a copy, changed as it may be, in the place of the box's checkout, with what was put aside of it. */
export const giveBack = Effect.fnUntraced(function* (backend: Backend, ref: InstanceRef, { aside, directory }: Copy) {
  const fs = yield* FileSystem.FileSystem
  const path = yield* Path.Path
  // the last first: something was put aside of what then went as a whole
  const again = Effect.forEach(aside.toReversed(), ({ at, path: file }) =>
    Effect.gen(function* () {
      // what it was of may have been replaced
      if (!(yield* fs.exists(path.dirname(file)))) return
      yield* fs.remove(file, { recursive: true, force: true })
      yield* fs.rename(at, file)
    })
  )
  yield* Effect.mapError(again, (error) =>
    SandboxError.make("ERR_WORKSPACE_FAILED", {
      message: `the checkout cannot be put together again: ${error.message}`,
      nextStep: "run the command again"
    })
  )
  yield* send(backend, ref, directory)
})

/** Puts a directory of this host in the place of what the box has. */
export const send = Effect.fnUntraced(function* (backend: Backend, ref: InstanceRef, directory: string) {
  const counts = archive.tally()
  const packed = transfer.flowing(archive.rewrite(tar.pack(directory, ".", counts), counts))
  yield* tar.feed(Stream.mapError(packed, unusable), (whole) => swap.replace(backend, ref, whole))
})
