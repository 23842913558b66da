/** Giving a repository the history of restored work: its objects, HEAD, branches, stash, and what had begun. */
import { Effect, FileSystem, Path, Stream } from "effect"
import * as SandboxError from "../../SandboxError.ts"
import { type Checkout as Captured, operationDirectories, operationFiles } from "../../Work.ts"
import { restoredMessage } from "../restoredBranches.ts"
import { feed } from "../tar.ts"
import { blobs, types } from "./blobs.ts"
import { headOf, ownBranches, ownStash, refsBelow, stashesOf } from "./captureHistory.ts"
import { bytes, type Checkout, text } from "./checkout.ts"

/** Reads an object of the checkpoint; what it gives is what the digest says, or it fails. */
export type ReadObject = (digest: string) => Stream.Stream<Uint8Array, SandboxError.SandboxError>

/** Git writes who moved a ref into its log, and refuses when nobody is configured. */
const committer = { GIT_COMMITTER_NAME: "sandbox", GIT_COMMITTER_EMAIL: "sandbox@localhost" }

const invalid = (message: string, commit: string | null) =>
  SandboxError.make("ERR_CHECKPOINT_INVALID", {
    message: `the work cannot be restored: ${message}`,
    nextStep: "fetch that commit into the repository, or restore another checkpoint",
    details: { problem: "missing", ...(commit === null ? {} : { commit }) }
  })

/** Adds the objects to the repository. Fails with `ERR_CHECKPOINT_INVALID` when it lacks what they build on. */
export const unpack = Effect.fnUntraced(function* (checkout: Checkout, work: Captured, object: ReadObject) {
  if (checkout.objectFormat !== work.object_format) {
    return yield* invalid(`it has ${work.object_format} objects, and the repository has ${checkout.objectFormat}`, null)
  }
  const there = yield* types(checkout, work.requires)
  const lacking = work.requires.find((oid) => there.get(oid)?.type !== "commit")
  if (lacking !== undefined) return yield* invalid(`the repository does not have commit ${lacking}`, lacking)
  if (work.pack !== null) {
    yield* feed(object(work.pack.digest), (stdin) => bytes(checkout, ["index-pack", "--stdin"], { stdin }))
  }
  yield* graft(checkout, work.shallow)
  if (work.head !== null && (yield* types(checkout, [work.head])).size === 0) {
    return yield* invalid(`neither it nor the repository has commit ${work.head}`, work.head)
  }
})

/** Tells the repository which commits have parents that nobody has. */
const graft = Effect.fnUntraced(function* (checkout: Checkout, shallow: ReadonlyArray<string>) {
  const fs = yield* FileSystem.FileSystem
  const path = yield* Path.Path
  const known = new Set(checkout.shallow)
  const here = [...(yield* types(checkout, shallow)).keys()].filter((oid) => !known.has(oid))
  if (here.length === 0) return
  const commits = yield* blobs(checkout, here)
  const parents = new Map(
    here.map((oid) => [
      oid,
      [...(commits.get(oid) ?? "").split("\n\n")[0]!.matchAll(/^parent (\S+)$/gm)].map(([, one]) => one!)
    ])
  )
  const there = yield* types(checkout, [...parents.values()].flat())
  const cut = here.filter((oid) => parents.get(oid)?.some((parent) => !there.has(parent)))
  if (cut.length === 0) return
  const file = path.join(checkout.commonDir, "shallow")
  yield* fs.writeFileString(`${file}.sandbox-new`, [...checkout.shallow, ...cut].map((oid) => `${oid}\n`).join(""))
  yield* fs.rename(`${file}.sandbox-new`, file)
})

const update = (checkout: Checkout, ...args: ReadonlyArray<string>) =>
  bytes(checkout, ["update-ref", "--create-reflog", "-m", restoredMessage, ...args], { env: committer })

const attach = (checkout: Checkout, branch: string) =>
  Effect.as(
    bytes(checkout, ["symbolic-ref", "-m", restoredMessage, "HEAD", `refs/heads/${branch}`], { env: committer }),
    branch
  )

interface Heading {
  readonly work: Captured
  /** The branch for work that goes on none of the others. */
  readonly fallback: string
  /** Branches that may be moved forward beside the work's own; all, when absent. */
  readonly forward: ReadonlyArray<string> | undefined
}

/** Moves HEAD, and answers which branch it is on then. A branch of the user's is only ever moved forward. */
export const moveHead = Effect.fnUntraced(function* (
  checkout: Checkout,
  { fallback, forward, work }: Heading,
  warnings: Array<string>
) {
  const { branch, head } = work
  const now = yield* headOf(checkout)
  if (head === null) return branch === null ? null : yield* attach(checkout, branch)
  if (branch === null) {
    if (now.branch !== null || now.head !== head) yield* update(checkout, "--no-deref", "HEAD", head)
    return null
  }
  if (!checkout.linked) {
    yield* update(checkout, `refs/heads/${branch}`, head)
    return yield* attach(checkout, branch)
  }
  if (now.branch !== null && now.head === head) return now.branch
  if ((yield* tipOf(checkout, branch)) === head && !(yield* isTaken(checkout, branch))) {
    return yield* attach(checkout, branch)
  }
  const isOurs = now.branch === branch || now.branch === null || (forward?.includes(now.branch) ?? true)
  if (isOurs && now.branch !== null && now.head !== null && (yield* isAncestor(checkout, now.head, head))) {
    yield* update(checkout, `refs/heads/${now.branch}`, head, now.head)
    return now.branch
  }
  for (let at = 1; ; at += 1) {
    const name = at === 1 ? fallback : `${fallback}-${at}`
    const tip = yield* tipOf(checkout, name)
    if (tip !== undefined && (tip !== head || (yield* isTaken(checkout, name)))) continue
    if (tip === undefined) yield* update(checkout, `refs/heads/${name}`, head, "")
    warnings.push(`the work is on branch ${name}: ${now.branch ?? "what was checked out"} has other commits, and stays`)
    return yield* attach(checkout, name)
  }
})

const tipOf = Effect.fnUntraced(function* (checkout: Checkout, branch: string) {
  const args = ["rev-parse", "--verify", "--quiet", `refs/heads/${branch}^{commit}`]
  const said = (yield* text(checkout, args, { codes: [0, 1, 128] })).trim()
  return said === "" ? undefined : said
})

/** Whether another checkout has the branch. */
const isTaken = Effect.fnUntraced(function* (checkout: Checkout, branch: string) {
  const at = yield* text(checkout, ["for-each-ref", "--format=%(worktreepath)", `refs/heads/${branch}`])
  return at.trim() !== "" && at.trim() !== checkout.directory
})

const isAncestor = Effect.fnUntraced(function* (checkout: Checkout, old: string, young: string) {
  const args = ["rev-list", "--max-count=1", old, `^${young}`]
  return (yield* text(checkout, args)).trim() === ""
})

/** Makes the refs below some names exactly these. */
const setRefs = Effect.fnUntraced(function* (checkout: Checkout, below: ReadonlyArray<string>, refs: Captured["refs"]) {
  const now = yield* refsBelow(checkout, ...below)
  const kept = new Set(refs.map(({ name }) => name))
  yield* write(
    checkout,
    refs,
    now.filter(({ name }) => !kept.has(name)).map(({ name }) => name)
  )
})

const write = Effect.fnUntraced(function* (
  checkout: Checkout,
  refs: Captured["refs"],
  gone: ReadonlyArray<string> = []
) {
  if (refs.length + gone.length === 0) return
  const names = [
    ...gone.map((name) => [`delete ${name}`, ""]),
    ...refs.map(({ name, oid }) => [`update ${name}`, oid, ""])
  ]
  yield* bytes(checkout, ["update-ref", "--no-deref", "-z", "--stdin"], { env: committer, names: names.flat() })
})

/** Branches, tags and stash of a clone. In a linked worktree they are kept where they are no part of the user's. */
export const restoreRefs = Effect.fnUntraced(function* (checkout: Checkout, work: Captured, warnings: Array<string>) {
  const { refs, stashes } = work
  if (!checkout.linked) {
    yield* write(checkout, refs)
    const now = yield* stashesOf(checkout)
    if (now.map(({ oid }) => oid).join() === stashes.map(({ oid }) => oid).join()) return
    if (now.length > 0) yield* bytes(checkout, ["update-ref", "-d", "refs/stash"])
    for (const { message, oid } of stashes.toReversed()) {
      yield* bytes(checkout, ["stash", "store", "--quiet", "-m", message, oid], { env: committer })
    }
    return
  }
  const own = refs.filter(({ name }) => name.startsWith("refs/heads/") && name !== `refs/heads/${work.branch}`)
  const kept = own.map(({ name, oid }) => ({ oid, name: name.replace(/^refs\/heads/, ownBranches) }))
  yield* setRefs(checkout, [ownBranches], kept)
  const entries = stashes.map(({ oid }, at) => ({ oid, name: `${ownStash}/${String(at).padStart(4, "0")}` }))
  yield* setRefs(checkout, [ownStash], entries)
  if (kept.length > 0) warnings.push(`${kept.length} further branches are kept below ${ownBranches}`)
  const [first] = entries
  if (first !== undefined) {
    warnings.push(`${entries.length} stash entries are kept below ${ownStash}: \`git stash apply ${first.name}\``)
  }
})

/** Makes git believe that what had begun has begun, and nothing else. */
export const restoreOperation = Effect.fnUntraced(function* (checkout: Checkout, work: Captured, object: ReadObject) {
  const fs = yield* FileSystem.FileSystem
  const path = yield* Path.Path
  for (const name of [...operationFiles, ...operationDirectories]) {
    yield* fs.remove(path.join(checkout.gitDir, name), { recursive: true, force: true })
  }
  yield* setRefs(checkout, ["refs/bisect", "refs/rewritten"], work.operation.refs)
  for (const { digest, path: name } of work.operation.files) {
    const at = path.join(checkout.gitDir, name)
    yield* fs.makeDirectory(path.dirname(at), { recursive: true })
    yield* Stream.run(object(digest), fs.sink(at))
  }
})
