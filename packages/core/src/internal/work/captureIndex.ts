/** The index of a checkout, as far as it differs from the commit. */
import { Effect } from "effect"
import type { IndexEntry } from "../../Work.ts"
import { type Checkout, names, readableNames } from "./checkout.ts"

/** An entry of the index as git lists it. */
export interface Listed {
  readonly path: string
  readonly stage: 0 | 1 | 2 | 3
  readonly mode: string
  readonly oid: string
  readonly assumed: boolean
  readonly skipped: boolean
}

/** Which index is meant, when it is not the checkout's own. */
export interface Which {
  readonly index?: string | undefined
}

const environment = ({ index }: Which) => ({ env: index === undefined ? {} : { GIT_INDEX_FILE: index } })

const line = /^(\S) (\d{6}) ([0-9a-f]+) ([0-3])\t(.*)$/s

/** All entries. Those whose name is not UTF-8 are left out: one of them that has changed is refused where changes are listed. */
export const list = Effect.fnUntraced(function* (checkout: Checkout, which: Which = {}) {
  const rows = yield* readableNames(checkout, ["ls-files", "-z", "--stage", "-v"], environment(which))
  return rows.flatMap((row): ReadonlyArray<Listed> => {
    const [, tag = "", mode = "", oid = "", stage = "0", path] = line.exec(row) ?? []
    if (path === undefined) return []
    const skipped = tag.toUpperCase() === "S"
    return [{ path, mode, oid, stage: Number(stage) as Listed["stage"], skipped, assumed: tag !== tag.toUpperCase() }]
  })
})

/** The object of a file with nothing in it, which stands for what is only announced. */
const emptyBlob = (checkout: Checkout): string =>
  checkout.objectFormat === "sha1"
    ? "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391"
    : "473a0f4c3be8a93681a267e3b1e9a7dcda1185436fe141f7749120a303721813"

/** The tree that has nothing in it, which every repository knows. */
export const emptyTree = (checkout: Checkout): string =>
  checkout.objectFormat === "sha1"
    ? "4b825dc642cb6eb9a060e54bf8d69288fbee4904"
    : "6ef19b41225c5369f1c104d45d8d85efa9b057b53b14b4b9b939dd74decc5321"

/** What the index has that the commit does not have in this way, and what it lacks of the commit. */
export const changes = Effect.fnUntraced(function* (
  checkout: Checkout,
  head: string | null,
  entries: ReadonlyArray<Listed>
) {
  const compare = (visible: string) =>
    Effect.map(
      names(checkout, [
        ...["diff-index", "--cached", "--raw", "-z", "--no-abbrev", "--no-renames", "--ignore-submodules=none"],
        ...[`--ita-${visible}-in-index`, head ?? emptyTree(checkout), "--"]
      ]),
      rows
    )
  const changed = yield* compare("visible")
  const empty = emptyBlob(checkout)
  const candidates = entries.filter(({ oid, stage }) => stage === 0 && oid === empty).map(({ path }) => path)
  const invisible = candidates.length === 0 ? changed : yield* compare("invisible")
  // git has no word for what is only announced, but leaves it out of one of the two
  const announced = new Set(candidates.filter((path) => changed.get(path) !== invisible.get(path)))
  const present = new Set(entries.map(({ path }) => path))
  const index = entries.flatMap(({ assumed, mode, oid, path, skipped, stage }): ReadonlyArray<IndexEntry> => {
    if (stage === 0 && !assumed && !skipped && !changed.has(path) && !announced.has(path)) return []
    const flags = [
      ...(stage === 0 && announced.has(path) ? ["intent-to-add" as const] : []),
      ...(skipped ? ["skip-worktree" as const] : []),
      ...(assumed ? ["assume-unchanged" as const] : [])
    ]
    return [{ path, stage, mode: mode as IndexEntry["mode"], oid, flags }]
  })
  const blobs = index
    .filter(({ flags, mode, path }) => mode !== "160000" && changed.has(path) && !flags.includes("intent-to-add"))
    .map(({ oid }) => oid)
  return { index, blobs, unindexed: [...changed.keys()].filter((path) => !present.has(path)) }
})

/** What `--raw -z` says of each path. */
const rows = (fields: ReadonlyArray<string>): ReadonlyMap<string, string> =>
  new Map(fields.flatMap((_, at) => (at % 2 === 0 ? [] : [[fields[at] ?? "", fields[at - 1] ?? ""] as const])))
