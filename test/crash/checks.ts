/** What must be true of a world in which nothing is under way: nothing leaked, nothing lost, a history that is allowed. */
import { existsSync } from "node:fs"
import { join } from "node:path"
import * as Lifecycle from "@org/sandbox-core/Lifecycle"
import { difference, type Held, held as holds, same, type Work, without } from "./held.ts"
import { bound, boxOf, nameOf } from "./side.ts"
import { answerOf, branches, told, until, type World } from "./world.ts"

/** What was found wrong; `kind` is what a run counts. */
export class Broken extends Error {
  readonly kind: "leaked" | "lost" | "stuck" | "wrong"
  constructor(kind: Broken["kind"], message: string) {
    super(message)
    this.kind = kind
  }
}

export const demand = (so: boolean, kind: Broken["kind"], message: () => string): void => {
  if (!so) throw new Broken(kind, message())
}

/** A row of the ledger, as far as these checks look into it. */
export interface Row {
  readonly id: string
  readonly owner: string
  readonly name: string
  readonly provider: string
  readonly state: Lifecycle.State
  readonly claim_token: string | null
  readonly export_lock: string | null
  readonly instance: string | null
  readonly repository: string
  readonly branch: string | null
  readonly work_branch: string | null
  readonly workspace_path: string | null
  readonly commit_id: string | null
  readonly setup: string | null
  readonly generation: number
  readonly ready_at: number | null
  readonly endpoint_url: string | null
  readonly placement_scope: string | null
}

export const rows = (w: World): ReadonlyArray<Row> => w.query<Row>("SELECT * FROM sessions ORDER BY created_at, id")

const live = (w: World) => rows(w).filter(({ state }) => state !== "destroyed")

/** A box that its session has left, as the ledger says. */
interface Orphan {
  readonly session_id: string
  readonly provider: string
  readonly key: string
  readonly reason: "retired" | "stop_exhausted" | "abandoned"
}

/** Those that nobody has removed yet. */
export const orphans = (w: World): ReadonlyArray<Orphan> =>
  w.query<Orphan>("SELECT * FROM orphans WHERE resolved_at IS NULL ORDER BY created_at")

/** Boxes that no row has and that may be there all the same: they were left, or their create was never answered. */
export const pending = (w: World): ReadonlyArray<string> => {
  const intents = w.query<Pick<Orphan, "provider" | "key">>("SELECT provider, key FROM intents WHERE status = 'open'")
  return [...orphans(w), ...intents].map(({ key, provider }) => nameOf(provider, key))
}

/** Nobody holds anything, and there is nothing that no row speaks of. */
export const accounted = async (w: World): Promise<void> => {
  for (const { claim_token, export_lock, id, state } of rows(w)) {
    demand(claim_token === null, "stuck", () => `${id} is ${state}, and still claimed`)
    // the lock of an export that died goes with its lease
    const free = () => export_lock === null || JSON.parse(export_lock).leaseUntil <= Date.now()
    demand(await until(free, 10_000), "stuck", () => `${id} is ${state}, and still locked for an export`)
    demand(Lifecycle.isSettled(state), "stuck", () => `${id} is ${state}, and nobody moves it`)
  }
  const having = rows(w).filter(bound)
  const boxes = w.boxes.names(w)
  const expected = having.map(boxOf).toSorted()
  // those may be there until `gc` has seen them gone
  const left = pending(w)
  demand(
    same(
      boxes.filter((name) => !left.includes(name)),
      expected
    ),
    "leaked",
    () => `there are the boxes ${boxes}, the rows speak of ${expected}, and ${left} are known besides`
  )
  const listed = w.git("worktree", "list", "--porcelain").matchAll(/^worktree (.+)$/gm)
  const worktrees = [...listed].map(([, path]) => path).filter((path) => path !== w.app)
  const paths = [
    ...having.filter(({ repository }) => repository === w.app).map((row) => row.workspace_path),
    ...left.map((name) => w.boxes.worktree(w, name))
  ]
  demand(
    worktrees.every((path) => paths.includes(path!)),
    "leaked",
    () => `there are the worktrees ${worktrees}, and the rows speak of ${paths}`
  )
  const heads = w.git("for-each-ref", "--format=%(refname:short) %(objectname)", "refs/heads").split("\n")
  const main = w.git("rev-parse", "main")
  for (const [branch = "", tip] of heads.map((line) => line.split(" "))) {
    // what was exported to `out…` is the user's
    const known =
      branches.includes(branch) ||
      branch.startsWith("out") ||
      having.some((row) => row.branch === branch || row.work_branch === branch)
    // a branch that has work on it is nobody's to remove, and one that a restore made is the user's from then on
    const kept = () => tip !== main || w.git("reflog", "show", branch).includes("sandbox: restored")
    demand(known || kept(), "leaked", () => `nobody speaks of the branch ${branch}`)
  }
  const serving = having.filter(({ setup, state }) => setup !== null && (state === "ready" || state === "completed"))
  // what runs in a box on this host has its key
  const isOf = (line: string, id: string, key: string) =>
    line.includes(`SANDBOX_SESSION_ID=${id} `) &&
    (!line.includes(" SANDBOX_BOX_KEY=") || line.includes(` SANDBOX_BOX_KEY=${key} `))
  const unstoppable = orphans(w).filter(({ reason }) => reason === "stop_exhausted")
  const served = [
    ...serving.map(({ id, instance }) => [id, JSON.parse(instance!).key as string] as const),
    ...unstoppable.map(({ key, session_id }) => [session_id, key] as const)
  ]
  const strays = () => w.marked().filter(({ line }) => !served.some(([id, key]) => isOf(`${line} `, id, key)))
  demand(
    await until(() => strays().length === 0, 8000),
    "leaked",
    () => `processes: ${strays().map(({ line }) => line.slice(0, 200))}`
  )
  const ports = w.query<{ session_id: string; scope: string }>("SELECT DISTINCT session_id, scope FROM ports")
  for (const { scope, session_id } of ports) {
    demand(
      serving.some(({ id, placement_scope }) => id === session_id && placement_scope === scope),
      "leaked",
      () => `${session_id} has ports of ${scope}, and serves nothing there`
    )
  }
}

/** Every session that is said to be usable is: its box runs, and what it serves answers. */
export const alive = async (w: World): Promise<void> => {
  const running = w.boxes.running(w)
  for (const row of live(w).filter(({ state }) => state === "ready" || state === "completed")) {
    demand(bound(row) && running.includes(boxOf(row)), "wrong", () => `${row.id} is ${row.state}, and its box is not`)
    if (row.endpoint_url === null) continue
    const answered = await fetch(row.endpoint_url).then(
      ({ status }) => `${status}`,
      (error: unknown) => String((error as Error).cause ?? error)
    )
    demand(answered === "200", "wrong", () => `${row.id} is ${row.state}, and ${row.endpoint_url} says ${answered}`)
  }
}

/** The transitions of every session: an unbroken chain of edges that the table has, up to the state of the row. */
export const historical = (w: World): void => {
  for (const { id, state } of rows(w)) {
    const events = w.query<{ data: string }>(
      "SELECT data FROM events WHERE session_id = ? AND type = 'transition' ORDER BY seq",
      id
    )
    const moves = events.map(({ data }) => JSON.parse(data) as { from: Lifecycle.State | null; to: Lifecycle.State })
    const passed: Array<Lifecycle.State> = []
    let at: Lifecycle.State | null = null
    for (const { from, to } of moves) {
      demand(from === at, "wrong", () => `${id} moved from ${from} although it was ${at}`)
      const allowed = Lifecycle.claimKinds.some((by) =>
        [undefined, ...passed].some((prior) => Lifecycle.allows({ from: from ?? undefined, to, by, prior }))
      )
      demand(allowed, "wrong", () => `${id} moved from ${from} to ${to}, which no operation may`)
      passed.push(to)
      at = to
    }
    demand(at === state, "wrong", () => `${id} is ${state}, and its history ends with ${at}`)
  }
}

/** After a `gc`: nothing is open any more, and the store has what the ledger says it has. */
export const collected = (w: World): void => {
  const open = w.query<{ key: string }>("SELECT key FROM intents WHERE status = 'open'")
  demand(open.length === 0, "leaked", () => `open intents: ${open.map(({ key }) => key)}`)
  const left = orphans(w)
  demand(left.length === 0, "leaked", () => `open orphans: ${left.map(({ key }) => key)}`)
  const running = w.query<{ id: string; verb: string }>("SELECT id, verb FROM operations WHERE status = 'running'")
  demand(
    running.length === 0,
    "stuck",
    () => `still running, with no claim: ${running.map(({ id, verb }) => `${verb} ${id}`)}`
  )
  const recorded = w.query<{ id: string }>("SELECT id FROM checkpoints ORDER BY id").map(({ id }) => id)
  const published = w.entries("checkpoints", "published")
  const bodies = w.entries("checkpoints", "bodies")
  // what was published and never recorded is kept as long as any checkpoint, in case somebody needs it
  const missing = recorded.filter((id) => !published.includes(id))
  demand(missing.length === 0, "lost", () => `the ledger knows ${missing}, which the store has not`)
  demand(bodies.length === published.length, "leaked", () => `bodies ${bodies} of ${published}`)
  const hidden = w.boxes.halves(w)
  demand(hidden.length === 0, "leaked", () => `half a box is left: ${hidden}`)
}

/** Every piece of work is byte for byte in its session's checkout, in a commit on a branch, or in a checkpoint that restores to it. */
export const intact = async (w: World, works: ReadonlyArray<Work>): Promise<void> => {
  for (const work of works) {
    const { held, session } = work
    const row = rows(w).find(({ id }) => id === session)
    const checkout = row === undefined ? undefined : w.boxes.checkout(w, row)
    if (checkout !== undefined && same(holds(checkout), held)) continue
    if (published(w, held)) continue
    const tried = await restore(w, work)
    demand(tried === undefined, "lost", () => `the work of ${session} (${row?.state}) is nowhere: ${tried}`)
  }
}

/** Whether all of it is in a commit that a branch of the user's repository has: `destroy` need not save that. */
const published = (w: World, { head, stashes, status }: Held): boolean => {
  if (status !== "" || stashes.length > 0) return false
  try {
    return w.git("for-each-ref", "--contains", head, "refs/heads") !== ""
  } catch {
    return false // a commit that the repository does not have
  }
}

/** Tries the checkpoints of a session, newest first, by making a session of each; says what none of them had. */
const restore = async (w: World, { changed = [], held, session }: Work): Promise<string | undefined> => {
  const saved = w.query<{ id: string }>(
    "SELECT id FROM checkpoints WHERE session_id = ? AND head = ? ORDER BY persisted_at DESC",
    session,
    held.head
  )
  const seen: Array<string> = []
  for (const [n, { id }] of saved.entries()) {
    const up = await w.run([
      "up",
      "--from-checkpoint",
      id,
      "--name",
      `probe-${n}`,
      "--provider",
      w.boxes.provider,
      "--json"
    ])
    demand(up.code === 0, "lost", () => `checkpoint ${id} does not restore: ${told(up)}`)
    const { session_id } = answerOf(up)
    const checkout = w.boxes.checkout(w, rows(w).find((row) => row.id === session_id)!)
    const found = holds(checkout!)
    const end = await w.run(["destroy", session_id, "--force", "--confirm-data-loss", "--json"])
    demand(end.code === 0, "stuck", () => told(end))
    if (same(found, held)) return undefined
    if (changed.length > 0 && same(without(found, changed), without(held, changed))) return undefined
    seen.push(`${id}: ${difference(held, found)}`)
  }
  return seen.length === 0 ? `no checkpoint is at ${held.head}` : seen.join("; ")
}

/** Types what `status` recommends, for every session, until it recommends nothing. */
export const recover = async (w: World, most = 4): Promise<ReadonlyArray<string>> => {
  const typed: Array<string> = []
  for (const { id } of live(w)) {
    const end = performance.now() + 60_000
    for (let steps = 0; ; ) {
      const status = await w.run(["status", id, "--json"])
      demand(status.code === 0 || status.code === 4, "stuck", () => told(status))
      const { recovery, state } = answerOf(status)
      if (recovery === null || state === "destroyed") break
      const [program, ...argv] = recovery.command.split(" ")
      demand(program === "sandbox", "wrong", () => `status recommends \`${recovery.command}\``)
      if (argv[0] === "status") {
        // a command is alive: it, or its lease, ends
        demand(performance.now() < end, "stuck", () => `${id} is never done: ${told(status)}`)
        await new Promise((resolve) => setTimeout(resolve, 100))
        continue
      }
      demand(steps++ < most, "stuck", () => `${typed.join("; ")}; and then again ${recovery.command}: ${told(status)}`)
      const ended = await w.run(argv)
      typed.push(recovery.command)
      demand(ended.code === 0, "stuck", () => `recommended, and failed: ${told(ended)}`)
    }
  }
  return typed
}

/**
 * Brings up the boxes that halted with their engine, those of the sessions that are chosen, and answers which sessions that
 * were. The engine is well, so that every box can be seen.
 */
export const repair = async (w: World, chosen: (row: Row) => boolean = () => true): Promise<ReadonlyArray<string>> => {
  const halted: Array<string> = []
  const seen = async (id: string) => {
    const status = await w.run(["status", id, "--live", "--json"])
    const health: string | undefined = JSON.parse(status.stdout).health?.status
    const known = health === "healthy" || health === "degraded"
    demand(known, "wrong", () => `the engine is well, and yet: ${told(status)}`)
    return health
  }
  for (const row of live(w).filter(({ state }) => state === "ready" || state === "completed")) {
    if (!chosen(row) || (await seen(row.id)) === "healthy") continue
    const resumed = await w.run(["resume", row.id, "--json"])
    demand(resumed.code === 0, "stuck", () => told(resumed))
    demand((await seen(row.id)) === "healthy", "stuck", () => `it is not healthy after ${told(resumed)}`)
    halted.push(row.id)
  }
  return halted
}

/** Brings back sessions whose box a late call has halted or removed. Of one that is gone, the first `resume` says so. */
export const revive = async (w: World): Promise<void> => {
  const running = w.boxes.running(w)
  for (const row of live(w).filter(({ state }) => state === "ready" || state === "completed")) {
    if (bound(row) && running.includes(boxOf(row))) continue
    const resume = () => w.run(["resume", row.id, "--json"])
    const first = await resume()
    const last = first.code === 2 ? await resume() : first
    demand(last.code === 0, "stuck", () => told(last))
  }
}

/** `.git/…` of the repository that no command holds any more. */
export const locks = (w: World): ReadonlyArray<string> =>
  ["sandbox.lock", "index.lock", "packed-refs.lock"].filter((name) => existsSync(join(w.app, ".git", name)))
