/** A box that died by itself: what is recorded of it, and what is told. */
import { Effect } from "effect"
import type { Held } from "../Claim.ts"
import { Ledger } from "../Ledger.ts"
import * as SandboxError from "../SandboxError.ts"
import { Health, Intent, type RecordedError, type Session } from "../Session.ts"
import * as Time from "../Time.ts"
import * as View from "../View.ts"
import { unserved } from "./halt.ts"

/** From a state in which the box was up to `failed`, with the last verified checkpoint and its age in the history. */
export const boxLost = Effect.fnUntraced(function* (held: Held, lastError: RecordedError | null) {
  const row = yield* held.row
  const now = yield* Time.millis
  const { checkpoints, intents } = yield* (yield* Ledger).history(row.id)
  const last = checkpoints.findLast(({ reason, verified }) => verified && reason !== "left")
  return {
    move: yield* held.move("failed"),
    set: {
      instance: null,
      workspacePath: null,
      ...unserved,
      health: new Health({ status: "gone", observedAt: now }),
      lastError
    },
    intents: intents
      .filter(({ key, status }) => key === row.instance?.key && status === "bound")
      .map((intent) => new Intent({ ...intent, status: "closed" })),
    events: [
      {
        type: "box_lost",
        data: {
          key: row.instance?.key ?? null,
          checkpoint: last?.id ?? null,
          checkpoint_age_s: last === undefined ? null : Math.floor((now - last.persistedAt) / 1000)
        }
      }
    ]
  }
})

/** What is told of a session whose box is gone. */
export const gone = (row: Session) =>
  SandboxError.make("ERR_SANDBOX_PROVISION_FAILED", {
    message: `the box of ${row.name} is gone: it was removed by something else, with what was only in it`,
    nextStep: `start again from ${row.persistedAt === null ? `branch ${row.branch}` : `what was saved at ${View.iso(row.persistedAt)}`} with \`sandbox resume ${row.id}\``,
    retryable: false,
    details: { provider: row.provider, operation: "inspect", reason: "NotFound", outcome: "not_applied" }
  })
