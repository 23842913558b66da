/** Sessions that are up for longer than they were asked to be. */
import { Effect } from "effect"
import type { GcOptions } from "../../Options.ts"
import { Provisioners } from "../../Provisioners.ts"
import { halt, isLosing } from "../../programs/down.ts"
import type { Session } from "../../Session.ts"
import * as Time from "../../Time.ts"
import * as View from "../../View.ts"
import { nothingUnsaved, refuseVolume } from "../unsaved.ts"
import { cannotSee, type Finding, idle, isCurrent, isIdle, isRecent, report, request } from "./finding.ts"
import { isUp, observe } from "./lost.ts"

/** Halted and saved, never destroyed. `ended`: sessions of which there is nothing to halt. */
export const expired = Effect.fnUntraced(function* (
  sessions: ReadonlyArray<Session>,
  ended: ReadonlySet<string>,
  options: GcOptions
) {
  const now = yield* Time.millis
  const findings: Array<Finding> = []
  for (const session of sessions) {
    if (!isExpired(session, now) || ended.has(session.id) || !(yield* isIdle(session))) continue
    if (isRecent(now, session.updatedAt, options.olderThan)) continue
    const finding = `it was to be up until ${View.iso(session.expiresAt!)}`
    const seen = yield* observe(session)
    if (!(yield* isCurrent(session))) continue
    findings.push(
      seen._tag === "unknown"
        ? report(session, `${finding}; it is not halted, because its box cannot be seen: ${seen.why}`)
        : { session, finding, action: "halt", run: haltExpired(session.id) }
    )
  }
  return findings
})

/** A session that failed may have left its box running. */
export const isExpired = (session: Session, now: number): boolean =>
  session.expiresAt !== null &&
  session.expiresAt <= now &&
  (isUp(session) || (session.state === "failed" && session.instance !== null && session.readyAt !== null)) &&
  !session.cleanupRequired

const haltExpired = Effect.fnUntraced(function* (sessionId: string) {
  const row = yield* idle(sessionId)
  if (row === undefined || !isExpired(row, yield* Time.millis)) return "skipped" as const
  const backend = yield* (yield* Provisioners).get(row.provider)
  const seen = yield* observe(row)
  if (seen._tag === "unknown") return yield* cannotSee(row.provider, row.instance?.key ?? row.id, seen.why)
  if (backend.haltIsTerminal) yield* refuseVolume(row, "down")
  if (isLosing(row, backend, false)) yield* nothingUnsaved(row, "down")
  yield* halt(row, yield* request("down"))
  return "done" as const
})
