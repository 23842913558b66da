/** Sessions that are up for longer than they were asked to be. */
import { Effect } from "effect"
import type { GcOptions } from "../../Options.ts"
import { Provisioners } from "../../Provisioners.ts"
import { halt, isLosing } from "../../programs/down.ts"
import type { Session } from "../../Session.ts"
import * as Time from "../../Time.ts"
import * as View from "../../View.ts"
import { nothingUnsaved } from "../unsaved.ts"
import { type Finding, idle, isIdle, isRecent, request } from "./finding.ts"
import { isUp } from "./lost.ts"

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
    findings.push({ session, finding, action: "halt", run: haltExpired(session.id) })
  }
  return findings
})

/** A session that failed may have left its box running. */
export const isExpired = (session: Session, now: number): boolean =>
  session.expiresAt !== null &&
  session.expiresAt <= now &&
  (isUp(session) || (session.state === "failed" && session.instance !== null && session.readyAt !== null))

const haltExpired = Effect.fnUntraced(function* (sessionId: string) {
  const row = yield* idle(sessionId)
  if (row === undefined || !isExpired(row, yield* Time.millis)) return "skipped" as const
  const backend = yield* (yield* Provisioners).get(row.provider)
  if (isLosing(row, backend, false)) yield* nothingUnsaved(row, "down")
  yield* halt(row, yield* request("down"))
  return "done" as const
})
