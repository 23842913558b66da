/** A copy on this host of the checkout that only the box can see. */
import { Effect, FileSystem, Path, Stream } from "effect"
import * as archive from "../../Archive.ts"
import type { Backend } from "../../Provisioners.ts"
import * as SandboxError from "../../SandboxError.ts"
import type { InstanceRef } from "../../Session.ts"
import * as tar from "../tar.ts"
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

/** Whether there is a whole checkout in the box, halted or not. Fails where the box cannot be looked at. */
export const isThere = Effect.fnUntraced(function* (backend: Backend, ref: InstanceRef) {
  const marked = yield* few(backend.readFiles(ref, mark), 1).pipe(
    Effect.catchIf(isMissing, () => Effect.succeed(0)),
    Effect.mapError(unusable)
  )
  if (marked > 0) return false
  // the first is the directory itself
  return (yield* Effect.mapError(few(backend.readFiles(ref, "."), 2), unusable)) > 1
})

const isMissing = (error: unknown): boolean =>
  SandboxError.isSandboxError(error) && error.details?.["reason"] === "NotFound"

/** How many entries an archive has, as far as this many. */
const few = Effect.fnUntraced(function* <E, R>(archived: Stream.Stream<Uint8Array, E, R>, enough: number) {
  let seen = 0
  const check = () => {
    seen += 1
    return undefined
  }
  yield* Stream.runDrain(Stream.takeUntil(archive.rewrite(archived, archive.tally(), { check }), () => seen >= enough))
  return seen
})

/** Copies the checkout out of the box; nothing where there is no whole one. */
export const copy = Effect.fnUntraced(function* (backend: Backend, ref: InstanceRef) {
  if (!(yield* isThere(backend, ref))) return undefined
  const path = yield* Path.Path
  const staged = yield* staging
  const counts = archive.tally()
  const seen = { repositories: [] as Array<string>, heads: [] as Array<string>, links: [] as Array<string> }
  /** The name by which the provider archives the checkout. */
  let top: string | undefined
  const below = (name: string) => (top === "" ? name : name.slice(top!.length + 1))
  const check = ({ kind, path: name }: archive.Entry): string | undefined => {
    if (top === undefined) {
      top = name
      return kind === "directory" && !name.includes("/")
        ? undefined
        : "the provider's archive does not start with a directory"
    }
    if (top !== "" && !name.startsWith(`${top}/`)) return "the provider's archive has more in it than the checkout"
    return noted(below(name), kind, seen)
  }
  const rename = (name: string) => (name === top ? root : `${root}/${below(name)}`)
  const archived = archive.rewrite(backend.readFiles(ref, "."), counts, { check, rename })
  yield* tar.feed(Stream.mapError(archived, unusable), (whole) => tar.unpack(staged, whole))
  const directory = path.join(staged, root)
  const aside = yield* distrust(directory, path.join(staged, "aside"), seen)
  return { directory, aside, special: counts.special } satisfies Copy
})

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
  const packed = archive.rewrite(tar.pack(directory, ".", counts), counts)
  yield* tar.feed(Stream.mapError(packed, unusable), (whole) => swap.replace(backend, ref, whole))
})
