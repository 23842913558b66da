/** What stands at a path of a checkout, never seen through a link that leads to it. */
import { Effect, FileSystem, Path, type PlatformError } from "effect"
import type { Checkout } from "./checkout.ts"

/** Whether nothing is there: also where a file stands in the way of the directory. */
export const isAbsent = (error: PlatformError.PlatformError): boolean => {
  if (error.reason._tag === "NotFound") return true
  const { cause } = error.reason
  return typeof cause === "object" && cause !== null && "code" in cause && cause.code === "ENOTDIR"
}

export type Look = (name: string) => Effect.Effect<FileSystem.File.Info | undefined, PlatformError.PlatformError>

/** Answers for paths of one checkout; a directory is looked at once, so this is for one look at the whole. */
export const looker = Effect.fnUntraced(function* (checkout: Checkout) {
  const fs = yield* FileSystem.FileSystem
  const path = yield* Path.Path
  const real = new Map<string, boolean>([["", true]])
  const lstat: Look = (name) =>
    fs.lstat(path.join(checkout.directory, name)).pipe(Effect.catchIf(isAbsent, () => Effect.undefined))
  const isReal = (directory: string): Effect.Effect<boolean, PlatformError.PlatformError> =>
    Effect.gen(function* () {
      const known = real.get(directory)
      if (known !== undefined) return known
      const answer = (yield* isReal(above(directory))) && (yield* lstat(directory))?.type === "Directory"
      real.set(directory, answer)
      return answer
    })
  const look: Look = (name) => Effect.flatMap(isReal(above(name)), (is) => (is ? lstat(name) : Effect.undefined))
  return look
})

/** The directory that a path is in; empty for the checkout itself. */
export const above = (name: string): string => name.slice(0, Math.max(name.lastIndexOf("/"), 0))

/** The directories that a path is in, the nearest first. */
export const parents = (name: string): ReadonlyArray<string> => {
  const all: Array<string> = []
  for (let at = above(name); at !== ""; at = above(at)) all.push(at)
  return all
}
