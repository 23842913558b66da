/** Which command brings a session on: a pure function of its row and of whether anybody is moving it. */
import * as Lifecycle from "./Lifecycle.ts"
import type { Recovery } from "./Results.ts"
import type { Liveness, Session } from "./Session.ts"

/** What to do about a session that is not where it should be; none when it is. */
export const recovery = (session: Session, claim: Liveness): Recovery | null => {
  const command = (verb: string) => `sandbox ${verb} ${session.id}`
  if (claim === "live" && session.claim !== null) {
    return {
      command: command("status"),
      reason: `${session.claim.kind} is in progress (${session.claim.phase}); wait for it`
    }
  }
  const died = session.claim === null ? "" : `${session.claim.kind} died in phase ${session.claim.phase}; `
  if (session.state === "stopped" && session.restoreFrom !== null) {
    // whoever works on with the checkout as it is would see it replaced by the next resume
    return { command: command("resume"), reason: `${died}this finishes restoring ${session.restoreFrom}` }
  }
  switch (session.state) {
    case "requested":
      return { command: command("down"), reason: `${died}nothing was made yet: this clears the name` }
    case "provisioning":
    case "syncing":
      return { command: command("resume"), reason: `${died}this finishes what it began` }
    case "switching":
      if (session.claim === null)
        return { command: command("down"), reason: "nobody is moving it any more: this halts it" }
      return { command: command("resume"), reason: `${died}this brings the session to one provider` }
    case "stopping":
      return { command: command("down"), reason: `${died}this finishes stopping and saving` }
    case "persisting":
      return { command: command("down"), reason: `${died}this finishes saving` }
    case "persist_failed":
    case "stopped_unpersisted":
      return { command: command("down"), reason: "the box is halted, but its record is not saved: this saves it" }
    case "tearing_down":
      return { command: command("destroy"), reason: `${died}this finishes removing it` }
    case "failed":
      if (session.readyAt === null || (session.cleanupRequired && session.restoreFrom === null)) {
        return {
          command: command("destroy"),
          reason: session.cleanupRequired
            ? "a box may have been left: this looks for it and removes it"
            : "it never became ready: this clears it away"
        }
      }
      return {
        command: command("resume"),
        reason:
          session.restoreFrom === null
            ? "it was ready once: this brings it back"
            : `it was ready once: this brings it back with the work of ${session.restoreFrom}`
      }
    default:
      return Lifecycle.isSettled(session.state) && session.claim === null
        ? null
        : { command: command("gc").replace(` ${session.id}`, ""), reason: `${died}this drops the dead claim` }
  }
}
