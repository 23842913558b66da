/** A checkout on this host, and git run in it so that nothing of the user's configuration is executed or believed. */
import { Effect, FileSystem, Path, Stream } from "effect"
import * as Git from "../../Git.ts"
import * as SandboxError from "../../SandboxError.ts"
import { concat } from "../archiveHeader.ts"
import { unconfigured } from "../export/stage.ts"

/** A directory of the checkout that belongs to whoever restores into it, and to no work. */
export const staging = ".sandbox-restore"

/** A checkout, with what every command in it needs. */
export interface Checkout {
  /** Absolute, without links. */
  readonly directory: string
  /** The directory of this checkout's index, HEAD and state. */
  readonly gitDir: string
  /** The directory of the repository, which a linked worktree shares. */
  readonly commonDir: string
  /** It is a worktree of somebody else's repository, to whom branches, tags and stash belong. */
  readonly linked: boolean
  readonly objectFormat: "sha1" | "sha256"
  /** Commits whose parents the repository does not have. */
  readonly shallow: ReadonlyArray<string>
  /** Line endings are converted for every file, not only for those that attributes name. */
  readonly converts: boolean
  readonly env: Readonly<Record<string, string>>
}

/**
 * Settings that would run a program of the user's, or make git see something else than what is there.
 *
 * Filters are emptied one by one, because only a name can be.
 */
const pins: ReadonlyArray<readonly [key: string, value: string]> = [
  ["core.fsmonitor", "false"],
  ["core.hooksPath", "/dev/null"],
  ["core.untrackedCache", "false"],
  ["core.splitIndex", "false"],
  ["core.sparseCheckout", "false"],
  ["index.sparse", "false"],
  ["core.fileMode", "true"],
  ["core.symlinks", "true"],
  ["core.checkStat", "default"],
  ["core.trustctime", "true"],
  ["core.ignoreStat", "false"],
  ["core.precomposeUnicode", "false"],
  ["core.autocrlf", "false"],
  ["core.safecrlf", "false"],
  ["submodule.recurse", "false"],
  ["log.showSignature", "false"],
  ["gc.auto", "0"],
  ["maintenance.auto", "false"]
]

const variables = (settings: ReadonlyArray<readonly [string, string]>): Record<string, string> => ({
  GIT_CONFIG_COUNT: String(settings.length),
  ...Object.fromEntries(
    settings.flatMap(([key, value], at) => [
      [`GIT_CONFIG_KEY_${at}`, key],
      [`GIT_CONFIG_VALUE_${at}`, value]
    ])
  )
})

/** What the user of this host has set, and files of theirs that git reads without being told of them. */
const ofUser: Readonly<Record<string, string>> = { ...unconfigured, GIT_ATTR_NOSYSTEM: "1" }
const filesOfUser: ReadonlyArray<readonly [key: string, value: string]> = [
  ["core.excludesFile", "/dev/null"],
  ["core.attributesFile", "/dev/null"]
]

/** Whose a checkout is. */
export interface Whose {
  /** The path of a repository that is the user's, whatever of it is the checkout. */
  readonly repository?: string | undefined
  /** It is a copy of what only a box sees: nothing that the user of this host has set says what is in it. */
  readonly copied?: boolean | undefined
}

/** Opens the checkout whose top is this directory. Fails with `ERR_CHECKPOINT_FAILED` where there is none. */
export const open = Effect.fnUntraced(function* (wanted: string, { copied = false, repository }: Whose = {}) {
  const fs = yield* FileSystem.FileSystem
  const path = yield* Path.Path
  const directory = yield* fs.realPath(wanted)
  // a checkout that lost its repository must not be taken for a part of the one around it
  const outside = { GIT_CEILING_DIRECTORIES: path.dirname(directory), ...(copied ? ofUser : {}) }
  const asked = ["--git-dir", "--git-common-dir", "--show-toplevel", "--show-object-format"]
  const found = yield* Git.output(["rev-parse", "--path-format=absolute", ...asked], { cwd: directory, env: outside })
  const [gitDir = "", commonDir = "", top, format, ...rest] = found.trimEnd().split("\n")
  if (top !== directory || rest.length > 0) return yield* notOne(wanted)
  const place = { GIT_DIR: gitDir, GIT_WORK_TREE: directory, ...(copied ? ofUser : {}) }
  const named = yield* Git.run(["config", "-z", "--get-regexp", "^(filter\\..*|core\\.autocrlf$)"], {
    cwd: directory,
    env: place
  })
  const settings = named.stdout.split("\0").map((line) => line.split("\n") as [string, ...Array<string>])
  const filters = new Set(settings.map(([key]) => /^filter\.(.*)\.[^.]*$/s.exec(key)?.[1] ?? ""))
  const autocrlf = settings.findLast(([key]) => key === "core.autocrlf")?.[1]
  const unfiltered = [...filters].flatMap((name) =>
    ["clean", "smudge", "process"]
      .map((verb): readonly [string, string] => [`filter.${name}.${verb}`, ""])
      .concat([[`filter.${name}.required`, "false"]])
  )
  const shallow = yield* fs
    .readFileString(path.join(commonDir, "shallow"))
    .pipe(Effect.catchReason("PlatformError", "NotFound", () => Effect.succeed("")))
  const checkout: Checkout = {
    directory,
    gitDir,
    commonDir,
    linked: gitDir !== commonDir || directory === repository,
    objectFormat: format === "sha256" ? "sha256" : "sha1",
    shallow: shallow.split("\n").filter((line) => line !== ""),
    converts: autocrlf !== undefined && !["false", "0", "no", "off", ""].includes(autocrlf.toLowerCase()),
    env: {
      ...place,
      ...variables([...pins, ...(copied ? filesOfUser : []), ...unfiltered]),
      GIT_NO_REPLACE_OBJECTS: "1",
      GIT_NO_LAZY_FETCH: "1",
      GIT_LITERAL_PATHSPECS: "0"
    }
  }
  if (copied) yield* refresh(checkout)
  return checkout
})

/** Every file of a copy is a new one: git is told which of them are as its index has them. That others differ is no failure. */
const refresh = ({ directory, env }: Checkout) =>
  Git.run(["update-index", "-q", "--refresh"], { cwd: directory, env, timeout: "10 minutes" })

const notOne = (directory: string) =>
  SandboxError.make("ERR_CHECKPOINT_FAILED", {
    message: `${directory} is not the top of a git checkout`,
    nextStep: "look at what is there; `sandbox destroy` gives up what cannot be saved",
    details: { directory }
  })

/** More about one command. */
export interface More {
  /** What the command reads, each ended by a NUL. */
  readonly names?: ReadonlyArray<string> | undefined
  /** What the command reads, a line each. */
  readonly lines?: ReadonlyArray<string> | undefined
  /** What the command reads. */
  readonly stdin?: Stream.Stream<Uint8Array> | undefined
  readonly env?: Readonly<Record<string, string>> | undefined
  /** Exit codes that are answers; 0 alone when absent. */
  readonly codes?: ReadonlyArray<number> | undefined
}

const encoder = new TextEncoder()

const input = ({ lines, names, stdin }: More): Stream.Stream<Uint8Array> | undefined =>
  lines !== undefined
    ? Stream.make(encoder.encode(lines.map((line) => `${line}\n`).join("")))
    : names !== undefined
      ? Stream.make(encoder.encode(names.map((name) => `${name}\0`).join("")))
      : stdin

/** What a command prints, as it comes. */
export const stream = (checkout: Checkout, args: ReadonlyArray<string>, more: More = {}) =>
  Git.stream(
    args,
    { cwd: checkout.directory, env: { ...checkout.env, ...more.env }, stdin: input(more) },
    more.codes ?? [0]
  )

/** All that a command prints, as bytes. */
export const bytes = (checkout: Checkout, args: ReadonlyArray<string>, more: More = {}) =>
  Effect.map(Stream.runCollect(stream(checkout, args, more)), concat)

/** All that a command prints, as text. */
export const text = (checkout: Checkout, args: ReadonlyArray<string>, more: More = {}) =>
  Effect.map(bytes(checkout, args, more), (all) => new TextDecoder().decode(all))

/** The lines that a command prints. */
export const lines = (checkout: Checkout, args: ReadonlyArray<string>, more: More = {}) =>
  Effect.map(text(checkout, args, more), (all) => all.split("\n").filter((line) => line !== ""))

/** What a command prints, cut at each NUL. Refuses a name that is not UTF-8, which no document can hold. */
export const names = Effect.fnUntraced(function* (checkout: Checkout, args: ReadonlyArray<string>, more: More = {}) {
  const { known, strange } = split(yield* bytes(checkout, args, more))
  const [first] = strange
  return first === undefined ? known : yield* unreadable(first)
})

/** As `names`, without those that are not UTF-8. */
export const readableNames = (checkout: Checkout, args: ReadonlyArray<string>, more: More = {}) =>
  Effect.map(bytes(checkout, args, more), (all) => split(all).known)

/** The refusal of a name that is not UTF-8. */
export const unreadable = (escaped: string) =>
  SandboxError.make("ERR_CHECKPOINT_FAILED", {
    message: `the name "${escaped}" is not UTF-8, and cannot be saved`,
    nextStep: "rename that file in the session, and run the command again",
    retryable: false,
    details: { path: escaped }
  })

const decodes = (bytes: Uint8Array): string | undefined => {
  const lossy = new TextDecoder("utf-8", { ignoreBOM: true }).decode(bytes)
  // a replacement character may stand in a name: only where encoding gives back something else was one made up
  if (!lossy.includes("\ufffd")) return lossy
  const again = encoder.encode(lossy)
  return again.length === bytes.length && again.every((byte, at) => byte === bytes[at]) ? lossy : undefined
}

const split = (all: Uint8Array): { readonly known: ReadonlyArray<string>; readonly strange: ReadonlyArray<string> } => {
  const whole = decodes(all)
  if (whole !== undefined) return { known: whole.split("\0").slice(0, -1), strange: [] }
  const known: Array<string> = []
  const strange: Array<string> = []
  for (let from = 0; from < all.length; ) {
    const end = all.indexOf(0, from)
    const name = all.subarray(from, end === -1 ? all.length : end)
    const decoded = decodes(name)
    if (decoded === undefined) strange.push(escape(name))
    else known.push(decoded)
    from += name.length + 1
  }
  return { known, strange }
}

/** Printable ASCII as it is, every other byte as `\xhh`. */
const escape = (name: Uint8Array): string =>
  Array.from(name, (byte) =>
    byte > 31 && byte < 127 ? String.fromCharCode(byte) : `\\x${byte.toString(16).padStart(2, "0")}`
  ).join("")

/** The first few of many names. */
export const some = (names: ReadonlyArray<string>): string =>
  names.slice(0, 3).join(", ") + (names.length > 3 ? ` and ${names.length - 3} more` : "")
