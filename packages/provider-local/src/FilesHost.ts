/** Moving unpacked files to where they belong: what needs names as bytes, and links seen as links. */
import { Buffer } from "node:buffer"
import type { Dirent } from "node:fs"
import { chmod, lstat, readdir, rename } from "node:fs/promises"
import { platform } from "node:process"
import { Effect } from "effect"
import { Refused } from "./LocalError.ts"

/** What makes `tar` speak English, keep names that are not ASCII, and take no options of the user's own. */
export const tarEnvironment: Readonly<Record<string, string | undefined>> = {
  LC_ALL: platform === "darwin" ? "en_US.UTF-8" : "C.UTF-8",
  TAR_OPTIONS: undefined,
  // macOS adds a file beside each file otherwise
  COPYFILE_DISABLE: "1"
}

/**
 * Moves everything in one directory into another one on the same file system.
 *
 * Looks at all of it first: where something is in the way, or would be reached through a symbolic link, nothing is moved.
 * Files are replaced one by one, each in one step; directories that are there stay as they are, with what they hold.
 */
export const move = (from: string, to: string): Effect.Effect<void, Refused> =>
  Effect.tryPromise({
    try: async () => {
      const plan = await look({ from: Buffer.from(from), to: Buffer.from(to), isNew: false, at: "" })
      for (const { source, target } of plan.moves) await rename(source, target)
      for (const { mode, target } of plan.modes) await chmod(target, mode)
    },
    catch: (cause) => (cause instanceof Refused ? cause : obstacle("the archive", (cause as Error).message))
  })

/** Makes every directory in one ours to change, itself too; what cannot be is left for whoever tries. */
export const unlock = (directory: string): Effect.Effect<void> => Effect.promise(() => open(Buffer.from(directory)))

const open = async (directory: Buffer): Promise<void> => {
  try {
    await chmod(directory, 0o700)
    for (const entry of await readdir(directory, { withFileTypes: true, encoding: "buffer" })) {
      if (entry.isDirectory()) await open(join(directory, entry.name))
    }
  } catch {
    // somebody else's, or gone
  }
}

interface Plan {
  readonly moves: ReadonlyArray<{ readonly source: Buffer; readonly target: Buffer }>
  /** What a directory is to be like in the end that could not be moved like that; the innermost first. */
  readonly modes: ReadonlyArray<{ readonly target: Buffer; readonly mode: number }>
}

interface Place {
  readonly from: Buffer
  readonly to: Buffer
  /** Nothing is there yet: it comes into being with a directory that is moved as a whole. */
  readonly isNew: boolean
  /** For a person. */
  readonly at: string
}

const look = async ({ at, from, isNew, to }: Place): Promise<Plan> => {
  const moves: Array<Plan["moves"][number]> = []
  const modes: Array<Plan["modes"][number]> = []
  const entries: ReadonlyArray<Dirent<Buffer>> = await readdir(from, { withFileTypes: true, encoding: "buffer" })
  for (const entry of entries) {
    const [source, target] = [join(from, entry.name), join(to, entry.name)]
    const name = `${at}${entry.name.toString()}`
    const there = isNew ? undefined : await statusOf(target)
    if (entry.isDirectory()) {
      if (there !== undefined && !there.isDirectory()) {
        throw obstacle(name, there.isSymbolicLink() ? "a symbolic link stands in its place" : "it is no directory here")
      }
      const { mode } = await lstat(source)
      // Neither looking into it nor moving it would be ours to do.
      if ((mode & 0o700) !== 0o700) await chmod(source, mode | 0o700)
      const inner = await look({ from: source, to: target, isNew: there === undefined, at: `${name}/` })
      if (there !== undefined) moves.push(...inner.moves)
      else if (!isNew) moves.push({ source, target })
      modes.push(...inner.modes)
      if (there === undefined && (mode & 0o700) !== 0o700) modes.push({ target, mode: mode & 0o7777 })
    } else if (entry.isFile() || entry.isSymbolicLink()) {
      if (there?.isDirectory() === true) throw obstacle(name, "it is a directory here")
      if (!isNew) moves.push({ source, target })
    } else {
      throw obstacle(name, "it is neither a file nor a directory nor a symbolic link")
    }
  }
  return { moves, modes }
}

const statusOf = (file: Buffer) =>
  lstat(file).catch((cause: NodeJS.ErrnoException) => {
    if (cause.code === "ENOENT") return undefined
    throw cause
  })

const slash = Buffer.from("/")

const join = (directory: Buffer, name: Buffer) => Buffer.concat([directory, slash, name])

const obstacle = (name: string, why: string) =>
  new Refused({ reason: "Invalid", message: `${JSON.stringify(name)} cannot be put in place: ${why}.` })
