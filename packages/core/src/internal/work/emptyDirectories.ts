/** Directories with nothing in them, which git does not know. */
import { Effect, FileSystem, Path } from "effect"
import { type Checkout, names, unreadable } from "./checkout.ts"
import { isAbsent, type Look, parents } from "./look.ts"

/** What is known of the checkout already. */
export interface Known {
  readonly deleted: ReadonlyArray<string>
  readonly untracked: ReadonlyArray<string>
  /** Repositories of their own, which are not looked into. */
  readonly nested: ReadonlyArray<string>
  readonly env: Record<string, string>
  readonly look: Look
}

/** All that are empty and not ignored, below directories that git does not track and where tracked files were deleted. */
export const emptyDirectories = Effect.fnUntraced(function* (checkout: Checkout, known: Known) {
  const fs = yield* FileSystem.FileSystem
  const path = yield* Path.Path
  const { deleted, env, look, nested, untracked } = known
  const entries = (name: string) =>
    fs.readDirectoryEntries(path.join(checkout.directory, name)).pipe(
      Effect.catchIf(isAbsent, () =>
        // what was listed a moment ago and cannot be found by its name has another one than we were told
        name.includes("\ufffd") ? unreadable(name) : Effect.undefined
      ),
      Effect.map((found) => ({ name, found }))
    )
  const concurrency = 8

  const left = new Set(deleted.flatMap((name) => [name, ...parents(name)]))
  const standing = yield* Effect.filter([...left], (name) =>
    Effect.map(look(name), (info) => info?.type === "Directory")
  )
  const emptied = yield* Effect.forEach(standing, entries, { concurrency })
  const empty = new Set(emptied.filter(({ found }) => found?.length === 0).map(({ name }) => name))

  const listed = yield* names(checkout, ["ls-files", "-z", "--others", "--directory", "--exclude-standard"], { env })
  const closed = new Set(nested)
  const lived = new Set(untracked.flatMap(parents))
  let level = listed.flatMap((name) =>
    name.endsWith("/") && !closed.has(name.slice(0, -1)) ? [name.slice(0, -1)] : []
  )
  while (level.length > 0) {
    const rows = yield* Effect.forEach(level, entries, { concurrency })
    for (const { found, name } of rows) if (found?.length === 0) empty.add(name)
    const below = rows
      .flatMap(({ found, name }) =>
        (found ?? []).flatMap((entry) => (entry.type === "Directory" ? [`${name}/${entry.name}`] : []))
      )
      .filter((name) => !closed.has(name) && !name.endsWith("/.git"))
    const doubtful = below.filter((name) => !lived.has(name))
    const asked = { names: doubtful, codes: [0, 1], env }
    const ignored = new Set(
      doubtful.length === 0 ? [] : yield* names(checkout, ["check-ignore", "-z", "--stdin"], asked)
    )
    level = below.filter((name) => !ignored.has(name))
  }
  return [...empty]
})
