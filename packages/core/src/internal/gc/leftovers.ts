/** What the ledger itself says may be left: creates that were never answered, and boxes that were given up. */
import { Effect } from "effect"
import type { Held } from "../../Claim.ts"
import { Ledger, type UnreadableRow } from "../../Ledger.ts"
import type { GcOptions } from "../../Options.ts"
import { Principal } from "../../Principal.ts"
import type { Presence } from "../../Provisioner.ts"
import { Provisioners, type Target } from "../../Provisioners.ts"
import { Intent, keyGeneration, Orphan, type Session } from "../../Session.ts"
import * as Time from "../../Time.ts"
import { removeLeft } from "../left.ts"
import { cannotSee, type Finding, idle, isRecent, report, unlessDamaged, whileIdle } from "./finding.ts"

/** Damage that is not somebody else's. */
export const told = (unreadable: ReadonlyArray<UnreadableRow>) =>
  Effect.map(Principal, (principal) => unreadable.filter(({ owner }) => owner === null || owner === principal))

/** Creates that were never answered. */
export const openIntents = Effect.fnUntraced(function* (options: GcOptions, bad: Array<UnreadableRow>) {
  const now = yield* Time.millis
  const { records, unreadable } = yield* (yield* Ledger).openIntents
  bad.push(...(yield* told(unreadable)))
  const found = yield* Effect.forEach(
    records,
    Effect.fnUntraced(function* (intent) {
      const session = yield* idle(intent.sessionId)
      if (session === undefined || session.cleanupRequired) return []
      if (isRecent(now, intent.createdAt, options.olderThan)) return []
      return yield* unlessDamaged(session, unanswered(session, intent, now))
    })
  )
  return found.flat()
})

const unanswered = Effect.fnUntraced(function* (session: Session, intent: Intent, now: number) {
  // read before its session was: whoever moved that meanwhile may have closed it
  if (!(yield* isOpen(session, intent.key))) return []
  const what = `the create of ${intent.key} was never answered`
  const seen = yield* presence(intent.provider, { scope: intent.scope, key: intent.key, ref: null })
  const run = whileIdle(
    session.id,
    (row) => Effect.map(isOpen(row, intent.key), (open) => open && !row.cleanupRequired),
    () => settled(intent)
  )
  const found = (action: Finding["action"], finding: string): Finding => ({ session, finding, action, run })
  if (seen._tag === "unknown") {
    return [report(session, `${what}; its provider cannot be asked (${seen.why})`)]
  }
  if (seen._tag === "present") return [found("destroy_box", `${what}; its box exists and belongs to nobody`)]
  if (intent.deadline > now) return [report(session, `${what}; it may still happen`)]
  return [found("close_intent", `${what} in time; there is no box`)]
})

const isOpen = Effect.fnUntraced(function* (row: Session, key: string) {
  const { intents } = yield* (yield* Ledger).history(row.id)
  return intents.some((intent) => intent.key === key && intent.status === "open")
})

/** The intent with no box left, looked at again under the claim. */
const settled = Effect.fnUntraced(function* (intent: Intent) {
  const target: Target = { scope: intent.scope, key: intent.key, ref: null }
  const seen = yield* presence(intent.provider, target)
  if (seen._tag === "unknown") return yield* cannotSee(intent.provider, intent.key, seen.why)
  if (seen._tag === "present") {
    yield* (yield* (yield* Provisioners).get(intent.provider)).destroy({ ...target, ref: seen.ref })
  }
  return { intents: [new Intent({ ...intent, status: "closed" })] }
})

/** Boxes that no session refers to any more: given up while their provider could not be asked, or left behind on purpose. */
export const openOrphans = Effect.fnUntraced(function* (options: GcOptions, bad: Array<UnreadableRow>) {
  const now = yield* Time.millis
  const { records, unreadable } = yield* (yield* Ledger).openOrphans
  bad.push(...(yield* told(unreadable)))
  const found = yield* Effect.forEach(
    records,
    Effect.fnUntraced(function* (orphan) {
      const session = yield* idle(orphan.sessionId)
      if (session === undefined || isRecent(now, orphan.createdAt, options.olderThan)) return []
      return yield* unlessDamaged(session, leftBehind(session, orphan))
    })
  )
  return found.flat()
})

const leftBehind = Effect.fnUntraced(function* (session: Session, orphan: Orphan) {
  if (!(yield* isUnresolved(session, orphan.id))) return []
  const what = `the box ${orphan.key} was ${reasons[orphan.reason]}`
  if (!isDispensable(session, orphan)) {
    return [report(session, `${what}; it stays until ${session.name} is ready without it`)]
  }
  const seen = yield* presence(orphan.provider, orphan)
  if (seen._tag === "unknown") {
    return [report(session, `${what}, and may still exist: its provider cannot be asked (${seen.why})`)]
  }
  const run = removal(session.id, orphan)
  const left = seen._tag === "absent" ? "; there is nothing left of it" : ""
  const finding: Finding = { session, finding: `${what}${left}`, action: "destroy_box", run }
  return [finding]
})

/** Removes the box, once nobody can need it any more: of a session that nobody is moving. */
export const removal = (sessionId: string, orphan: Orphan) =>
  whileIdle(
    sessionId,
    (row) => Effect.map(isUnresolved(row, orphan.id), (open) => open && isDispensable(row, orphan)),
    (held) => resolved(held, orphan)
  )

const reasons: { readonly [R in Orphan["reason"]]: string } = {
  retired: "left for another one",
  stop_exhausted: "left behind because it could not be stopped",
  abandoned: "abandoned"
}

/** Whether nobody can need the box any more: its session is no more, or has been ready in another one since. */
const isDispensable = (session: Session, orphan: Orphan): boolean =>
  session.state === "destroyed" ||
  (session.state === "ready" &&
    session.instance !== null &&
    session.instance.key !== orphan.key &&
    (keyGeneration(session.instance.key) > keyGeneration(orphan.key) || (session.readyAt ?? 0) >= orphan.createdAt))

const isUnresolved = Effect.fnUntraced(function* (row: Session, id: string) {
  const { orphans } = yield* (yield* Ledger).history(row.id)
  return orphans.some((orphan) => orphan.id === id && orphan.resolvedAt === null)
})

const resolved = Effect.fnUntraced(function* (held: Held, orphan: Orphan) {
  yield* removeLeft(held, orphan)
  const resolvedAt = yield* Time.millis
  return {
    orphans: [new Orphan({ ...orphan, resolvedAt })],
    events: [{ type: "orphan_resolved", data: { key: orphan.key, provider: orphan.provider } }]
  }
})

/** Whether a box exists: by its reference where that was learned, because another one may have been made for its key. */
export const presence = Effect.fnUntraced(function* (provider: string, target: Target) {
  const { ref } = target
  return yield* (yield* Provisioners).get(provider).pipe(
    Effect.flatMap((backend) =>
      ref === null
        ? backend.find(target)
        : Effect.map(backend.inspect(ref), (seen): Presence => {
            if (seen._tag === "unknown") return seen
            return seen._tag === "gone" ? { _tag: "absent" } : { _tag: "present", ref }
          })
    ),
    Effect.catch((error) => Effect.succeed<Presence>({ _tag: "unknown", why: error.message }))
  )
})
