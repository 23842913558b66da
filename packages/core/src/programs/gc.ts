/** `gc`: puts right what operations left that died, on the evidence of ledger, providers and who is alive. */
import { Effect, Exit } from "effect"
import { recorded } from "../internal/failures.ts"
import { completed } from "../internal/gc/completed.ts"
import { signalled } from "../internal/gc/completion.ts"
import * as composed from "../internal/gc/composed.ts"
import { expired } from "../internal/gc/expiry.ts"
import type { Finding, Services } from "../internal/gc/finding.ts"
import * as inventory from "../internal/gc/inventory.ts"
import { openIntents, openOrphans } from "../internal/gc/leftovers.ts"
import { lostBoxes } from "../internal/gc/lost.ts"
import { deadOperations } from "../internal/gc/recover.ts"
import { expiredRecords } from "../internal/gc/retention.ts"
import * as stored from "../internal/gc/stored.ts"
import { Ledger, type UnreadableRow } from "../Ledger.ts"
import type { GcOptions } from "../Options.ts"
import { Principal } from "../Principal.ts"
import type { GcAction, GcResult } from "../Results.ts"
import * as SandboxError from "../SandboxError.ts"
import * as View from "../View.ts"

/**
 * Recovers the principal's sessions whose operation died or whose box is gone, removes boxes that belong to nobody, halts
 * what has expired, and lets go of what was kept for long enough.
 *
 * Never acts on what a provider cannot say, never on an operation that is alive, and never on boxes that do not carry this
 * ledger's label. One thing that cannot be put right does not stop the others. Boxes of sessions that this ledger has never
 * heard of are removed only where `only` names `orphans`.
 */
export const gc = Effect.fn("gc")(function* (options: GcOptions = {}) {
  const unreadable: Array<UnreadableRow> = []
  const actions: Array<GcAction> = []
  for (const finding of yield* findings(options, unreadable)) {
    actions.push(options.dryRun === true ? { ...about(finding), outcome: "planned" } : yield* carriedOut(finding))
  }
  const result: GcResult = { dryRun: options.dryRun === true, actions, warnings: unreadable.map(damaged) }
  return result
})

const damaged = ({ id, problem }: UnreadableRow): string =>
  `the record ${id} is damaged, and what may be left of it was not looked at: ${problem}`

const isWanted = ({ only }: GcOptions, kind: NonNullable<GcOptions["only"]>[number]): boolean =>
  only === undefined || only.length === 0 || only.includes(kind)

/** Everything that is not as it should be, in the order in which it is put right. Only looks. */
const findings = Effect.fnUntraced(function* (options: GcOptions, unreadable: Array<UnreadableRow>) {
  const ledger = yield* Ledger
  const owner = yield* Principal
  const all: Array<Finding> = []
  const { sessions, ...damage } = yield* ledger.sessions({ owner })
  unreadable.push(...damage.unreadable)
  const living = sessions.filter(({ state }) => state !== "destroyed")
  const leftovers = [...(yield* openIntents(options, unreadable)), ...(yield* openOrphans(options, unreadable))]
  const mentioned = living.filter(({ instance }) => instance !== null).map(({ provider }) => provider)
  const inventories = yield* inventory.takeInventory(mentioned)
  const asked = new Set(inventories.flatMap(({ backend, provider }) => (backend === undefined ? [] : [provider])))
  const lost = yield* lostBoxes(living, asked, options)
  if (isWanted(options, "recover")) all.push(...(yield* deadOperations(sessions, options)), ...lost)
  if (isWanted(options, "orphans")) {
    const named = options.only?.includes("orphans") === true
    // what stands in the network of a box keeps the box from going
    all.push(...(yield* composed.leftovers(options, named)))
    all.push(...leftovers, ...(yield* inventory.strayBoxes(inventories, options, named)))
  }
  if (isWanted(options, "retention")) {
    const gone = new Set(lost.flatMap(({ action, session }) => (action === "recover" ? [session!.id] : [])))
    all.push(...(yield* signalled(living, { asked, gone }, options)))
    const due = yield* completed(living, gone, options)
    // what is destroyed need not be halted first, and what cannot be seen is told of once
    const told = isWanted(options, "recover") ? lost.flatMap(({ session }) => session?.id ?? []) : gone
    const ended = new Set([
      ...told,
      ...due.flatMap(({ action, session }) => (action === "destroy" ? [session!.id] : []))
    ])
    all.push(...due, ...(yield* expired(living, ended, options)), ...(yield* expiredRecords(sessions, options)))
    all.push(...(yield* stored.leftovers))
  }
  return once([...all, ...inventory.unasked(inventories, mentioned)])
})

/** What several looks come to alike is said once. */
const once = (all: ReadonlyArray<Finding>): ReadonlyArray<Finding> => {
  const same = ({ action, finding, session }: Finding) => JSON.stringify([session?.id, action, finding])
  return [...new Map(all.map((finding) => [same(finding), finding])).values()]
}

const about = ({ action, finding, session }: Finding) => ({
  sessionId: session?.id ?? null,
  name: session?.name ?? null,
  finding,
  action
})

/** Somebody else was faster, or is at it now: that is no failure of ours. */
const outrun = SandboxError.hasCode(
  "ERR_OPERATION_CONFLICT",
  "ERR_ALREADY_SWITCHING",
  "ERR_EXPORT_IN_PROGRESS",
  "ERR_CLAIM_LOST",
  "ERR_SESSION_NOT_FOUND"
)

const carriedOut = Effect.fnUntraced(function* (finding: Finding): Effect.fn.Return<GcAction, never, Services> {
  const exit = yield* Effect.exit(finding.run)
  if (Exit.isSuccess(exit)) return { ...about(finding), outcome: exit.value }
  const failure = SandboxError.fromCause(exit.cause, null)
  const error = View.error(recorded(failure))
  return {
    ...about(finding),
    outcome: outrun(failure) ? "skipped" : "failed",
    ...(error === null ? {} : { error })
  }
})
