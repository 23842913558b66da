/** What must be true of what a command leaves, before anybody has done anything about it. */
import { instanceName } from "@org/sandbox-core/Session"
import { demand, orphans, pending, type Row, rows } from "./checks.ts"
import { bound, boxOf, nameOf } from "./side.ts"
import type { Ended, World } from "./world.ts"

/**
 * Wherever a command ended: every box is one that the ledger speaks of, no session has two that run, and none is said to be
 * usable that has none that runs.
 */
export const sound = (w: World): void => {
  const all = rows(w)
  const known = [...all.filter(bound).map(boxOf), ...pending(w)]
  const strays = w.boxes.names(w).filter((name) => !known.includes(name))
  demand(strays.length === 0, "leaked", () => `no row, intent or orphan speaks of ${strays}`)
  const running = w.boxes.running(w)
  for (const row of all) {
    const usable = row.state === "ready" || row.state === "completed"
    demand(
      !usable || (bound(row) && running.includes(boxOf(row))),
      "wrong",
      () => `it is ${row.state}, and its box is not`
    )
  }
  single(w)
}

/** No session has two boxes that run, but for one that could not be stopped. */
export const single = (w: World): void => {
  const unstoppable = orphans(w)
    .filter(({ reason }) => reason === "stop_exhausted")
    .map(({ key, provider }) => nameOf(provider, key))
  const running = w.boxes.running(w).filter((name) => !unstoppable.includes(name))
  for (const { id } of rows(w)) {
    const own = running.filter((name) => name.split(" ")[1]!.startsWith(`${instanceName(id)}-g`))
    demand(own.length <= 1, "wrong", () => `${own} run, and are of one session`)
  }
}

/** Who a session is does not change, whatever happens to it. */
export const unchanged = (before: ReadonlyArray<Row>, now: ReadonlyArray<Row>): void => {
  const identity = (row: Row | undefined) =>
    row && [row.id, row.name, row.owner, row.repository, row.branch, row.setup].join("\n")
  for (const row of before) {
    const is = now.find(({ id }) => id === row.id)
    demand(is === undefined || identity(is) === identity(row), "wrong", () => `${identity(row)} became ${identity(is)}`)
  }
}

/** A row as the table below tells it: its state, its provider (A is the one that it was on), and its box (i1 was its own). */
const told = (row: Row, before: Row): string => {
  const provider = row.provider === before.provider ? "A" : "B"
  const box = row.instance === null ? "∅" : keyOf(row) === keyOf(before) ? "i1" : "j1"
  return `${row.state} ${provider} ${box}`
}

const keyOf = ({ instance }: Row): string | undefined => (instance === null ? undefined : JSON.parse(instance).key)

interface Death {
  /** What the command had got to. */
  readonly after: string
  /** The point that it has passed then. */
  readonly point: RegExp
  /** The row that a kill leaves; `prior` is the one that the command found. */
  readonly kill: ReadonlyArray<string>
  /** The row that an interruption leaves. */
  readonly interrupt: ReadonlyArray<string>
  /** The boxes that may run then. */
  readonly running: ReadonlyArray<"i1" | "j1">
  /** The old box is on the record as one that was left. */
  readonly left?: true
}

/** I-35: what a switch leaves, by where it died. Of those that it has passed the last one counts. */
const deaths = (from: string, to: string): ReadonlyArray<Death> => [
  { after: "nothing", point: /^/, kill: ["prior"], interrupt: ["prior"], running: ["i1"] },
  {
    after: "claim",
    point: /^ledger after acquire for switch /,
    kill: ["switching A i1"],
    interrupt: ["prior"],
    running: ["i1"]
  },
  {
    after: "stop sent",
    point: new RegExp(`^provider ${from} before stop$`),
    kill: ["switching A i1"],
    interrupt: ["prior", "stopped A i1", "stopped A ∅", "failed A i1"],
    running: ["i1"]
  },
  {
    after: "stop confirmed",
    point: new RegExp(`^provider ${from} after stop$`),
    kill: ["switching A i1"],
    interrupt: ["stopped A i1", "stopped A ∅"],
    running: []
  },
  {
    after: "provider written",
    point: /^ledger after commit in written\b/,
    kill: ["switching B ∅"],
    interrupt: ["prior", "failed B ∅"],
    running: [],
    left: true
  },
  {
    after: "create sent",
    point: /^ledger after commit in intent to provisioning$/,
    kill: ["provisioning B ∅"],
    interrupt: ["prior", "failed B ∅"],
    running: [],
    left: true
  },
  {
    after: "create done",
    point: new RegExp(`^provider ${to} after provision$`),
    kill: ["provisioning B ∅"],
    interrupt: ["prior", "failed B ∅"],
    running: ["j1"],
    left: true
  },
  {
    after: "box recorded",
    point: /^ledger after commit to syncing$/,
    kill: ["syncing B j1"],
    interrupt: ["prior", "failed B ∅"],
    running: ["j1"],
    left: true
  },
  {
    after: "ready",
    point: /^ledger after commit in done to ready and release$/,
    kill: ["ready B j1"],
    interrupt: ["ready B j1"],
    running: ["j1"]
  }
]

/**
 * What a switch from a settled session left that was killed, or interrupted, after it had passed these points. Nothing else
 * had happened to it.
 */
export const leftBySwitch = (
  w: World,
  ended: Ended,
  { before, passed, to }: { readonly before: Row; readonly passed: ReadonlyArray<string>; readonly to: string }
): void => {
  const table = deaths(before.provider, to)
  const at = table.findLastIndex(({ point }) => passed.some((one) => point.test(one)))
  const row = rows(w).find(({ id }) => id === before.id)!
  const is = told(row, before)
  const expected = (allowed: ReadonlyArray<string>) => {
    const all = allowed.map((one) => (one === "prior" ? told(before, before) : one))
    return before.instance === null ? all.map((one) => one.replace("i1", "∅")) : all
  }
  const killed = ended.signal === "SIGKILL"
  // what is being written when the signal comes is written first
  const next = !killed && passed.at(-1)!.startsWith("ledger before ") ? table.slice(at, at + 2) : [table[at]!]
  const allowed =
    ended.code === 0 ? ["ready B j1"] : expected(next.flatMap((death) => (killed ? death.kill : death.interrupt)))
  const where = next.map(({ after }) => after).join(" or ")
  demand(
    allowed.includes(is),
    "wrong",
    () => `it ended after ${where}, and left ${is} in place of ${allowed.join(" or ")}`
  )
  if (!killed) return
  const [death] = next as [Death]
  const isLeft = keyOf(before) === undefined || orphans(w).some(({ key }) => key === keyOf(before))
  demand(death.left !== true || isLeft, "leaked", () => `it ended after ${where}, and the old box is no orphan`)
  const own = w.boxes.running(w).map((name) => (bound(before) && name === boxOf(before) ? "i1" : "j1"))
  demand(
    own.every((box) => death.running.includes(box)),
    "wrong",
    () => `it ended after ${where}, and ${own} runs`
  )
}
