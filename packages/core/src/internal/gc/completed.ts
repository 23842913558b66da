/** Sessions whose work is done, and that have been kept for as long as they were to be. */
import { Duration, Effect } from "effect"
import type { GcOptions } from "../../Options.ts"
import type { Session } from "../../Session.ts"
import { keeping } from "../../Setup.ts"
import * as Time from "../../Time.ts"
import * as autoTeardown from "../autoTeardown.ts"
import { type Finding, isIdle, isRecent, report } from "./finding.ts"

/** Destroyed where nothing can be lost with them; where that is not proven, it is said why they stay. */
export const completed = Effect.fnUntraced(function* (
  sessions: ReadonlyArray<Session>,
  gone: ReadonlySet<string>,
  options: GcOptions
) {
  const now = yield* Time.millis
  const findings: Array<Finding> = []
  for (const session of sessions) {
    if (!isDue(session, now) || gone.has(session.id) || !(yield* isIdle(session))) continue
    if (isRecent(now, session.updatedAt, options.olderThan)) continue
    const { destroy, reason } = yield* autoTeardown.judge(session)
    const run = Effect.map(autoTeardown.run(session.id), ({ destroyed }) => (destroyed ? "done" : "skipped"))
    findings.push(
      destroy ? { session, finding: reason, action: "destroy", run } : report(session, `it is completed; ${reason}`)
    )
  }
  return findings
})

const isDue = (session: Session, now: number): boolean => {
  const { autoTeardown, completedRetentionMins } = keeping(session.setup)
  const since = session.completedAt ?? session.updatedAt
  return (
    session.state === "completed" &&
    autoTeardown &&
    (session.exportLock === null || session.exportLock.leaseUntil <= now) &&
    since + Duration.toMillis(Duration.minutes(completedRetentionMins)) <= now
  )
}
