/** Destroying what is completed, once nothing can be lost with it. */
import { Duration, Effect, Option } from "effect"
import { Ids } from "../Ids.ts"
import { Ledger, type OperationRequest } from "../Ledger.ts"
import type { State } from "../Lifecycle.ts"
import { Provisioners } from "../Provisioners.ts"
import { remove } from "../programs/destroy.ts"
import type { AutoTeardownView } from "../Results.ts"
import type { Session } from "../Session.ts"
import { keeping } from "../Setup.ts"
import * as Time from "../Time.ts"
import * as View from "../View.ts"
import * as checkpoints from "./checkpoints.ts"
import { holds } from "./saved.ts"
import { hasVolume } from "./unsaved.ts"
import { visible } from "./visible.ts"

/** Whether a session is to be destroyed now, and why, or why not. */
export interface Judgement {
  readonly destroy: boolean
  readonly reason: string
}

export interface Facts {
  readonly state: State
  readonly enabled: boolean
  /** An export is under way. */
  readonly exporting: boolean
  /** Milliseconds since the epoch; the session is kept until then. */
  readonly keptUntil: number
  readonly now: number
  /** Why it is not proven that all of the work is saved; none when it is. */
  readonly doubt: string | null
}

/** Only a session of which everything is true is destroyed. */
export const decide = ({ doubt, enabled, exporting, keptUntil, now, state }: Facts): Judgement => {
  const keep = (reason: string): Judgement => ({ destroy: false, reason })
  if (state !== "completed") return keep(`it is ${state}, and only completed sessions are destroyed by themselves`)
  if (!enabled) return keep("auto-teardown is off for it")
  if (exporting) return keep("it is being exported")
  if (now < keptUntil) return keep(`it is kept until ${View.iso(keptUntil)}`)
  if (doubt !== null) return keep(doubt)
  return { destroy: true, reason: "it is completed, and all of its work is saved" }
}

/** Judges a session by its row, by its newest checkpoint as the store has it, and by what the checkout holds now. */
export const judge = Effect.fnUntraced(function* (session: Session) {
  const now = yield* Time.millis
  const { autoTeardown, completedRetentionMins } = keeping(session.setup)
  const { completedAt, exportLock, state, updatedAt } = session
  const facts: Facts = {
    state,
    enabled: autoTeardown,
    exporting: exportLock !== null && exportLock.leaseUntil > now,
    keptUntil: (completedAt ?? updatedAt) + Duration.toMillis(Duration.minutes(completedRetentionMins)),
    now,
    doubt: null
  }
  const cheap = decide(facts)
  // nothing is read of a session that is kept anyway
  return cheap.destroy ? decide({ ...facts, doubt: yield* doubtOf(session) }) : cheap
})

const doubtOf = Effect.fnUntraced(
  function* (session: Session) {
    if (hasVolume(session)) return "what its box has on its disk outside the checkout is to be kept"
    const { withWork } = yield* checkpoints.newest(session)
    const save = `save it with \`sandbox checkpoint create ${session.id}\``
    if (withWork === undefined || !withWork.verified) return `its work was never saved: ${save}`
    if (withWork.persistedAt < (session.completedAt ?? session.updatedAt)) {
      return `its work was not saved since it was completed: ${save}`
    }
    const backend = yield* (yield* Provisioners).get(session.provider)
    const options = yield* visible(session, backend)
    if (options === undefined) return "its checkout cannot be seen from this host"
    return (yield* holds(withWork, options)) ? null : `its work has changed since it was saved: ${save}`
  },
  Effect.scoped,
  // whatever keeps it from being proven, it is not proven
  Effect.catch((error) => Effect.succeed(`whether its work is saved could not be proven: ${error.message}`))
)

/** Judges a session as it is now and, where that is the judgement, destroys it. Fails as `destroy` does. */
export const run = Effect.fnUntraced(function* (sessionId: string) {
  const found = yield* (yield* Ledger).session(sessionId)
  if (Option.isNone(found)) return { destroyed: false, reason: "it is no more" } satisfies AutoTeardownView
  const { destroy, reason } = yield* judge(found.value)
  if (!destroy) return { destroyed: false, reason } satisfies AutoTeardownView
  const operation: OperationRequest = {
    id: yield* (yield* Ids).next("op"),
    verb: "destroy",
    clientRequestId: null,
    requestHash: "auto-teardown"
  }
  // what the claim finds has changed since is refused there, with nothing given up
  yield* remove(found.value, operation, { confirmDataLoss: false, force: false, forget: false, noPersist: false })
  return { destroyed: true, reason } satisfies AutoTeardownView
})

/** What became of a session, for an operation that is answered again: nothing is done. */
export const look = Effect.fnUntraced(function* (session: Session) {
  if (session.state === "destroyed") return { destroyed: true, reason: "it is destroyed" } satisfies AutoTeardownView
  const { reason } = yield* judge(session)
  return { destroyed: false, reason } satisfies AutoTeardownView
})

/** As `run`, after an operation that has succeeded whatever becomes of this. */
export const after = (sessionId: string) =>
  run(sessionId).pipe(
    Effect.catch((error) =>
      Effect.succeed<AutoTeardownView>({ destroyed: false, reason: `it could not be destroyed: ${error.message}` })
    )
  )
