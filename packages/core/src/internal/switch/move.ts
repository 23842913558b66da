/** The phases of a switch under its claim, each going on where a dead attempt stopped. */
import { Effect, Ref, Result } from "effect"
import type { Failure, Held } from "../../Claim.ts"
import { Ledger } from "../../Ledger.ts"
import type { Backend } from "../../Provisioners.ts"
import type { SwitchResult } from "../../Results.ts"
import { exitCode } from "../../SandboxError.ts"
import { Intent, type Session } from "../../Session.ts"
import * as box from "../box.ts"
import * as bringUp from "../bringUp.ts"
import { recorded } from "../failures.ts"
import { beforeHalt } from "../halt.ts"
import * as hooks from "../hooks.ts"
import * as ready from "../ready.ts"
import type { Resolved } from "../secrets.ts"
import * as back from "./back.ts"
import { isAdopted, isWritten } from "./between.ts"
import { letGo } from "./branch.ts"
import { type Carried, carry, caughtUp, keepOther } from "./carry.ts"
import * as gates from "./gates.ts"
import { type Left, leave, leftOn, write } from "./leave.ts"
import * as retire from "./retire.ts"
import { losses, refuseLosses, takesWork } from "./travel.ts"

/** A switch that was found possible. */
export interface Course {
  readonly old: Backend
  readonly to: Backend
  /** Where the new box is to be. */
  readonly scope: string
  readonly secrets: ReadonlyArray<Resolved>
  readonly acceptSetup: boolean
  readonly confirmDataLoss: boolean
  readonly onStopFailure: "record" | "abort"
  readonly onFailure: "restore" | "hold"
}

/** What a claim to switch does, and what it does when that fails. */
export const make = Effect.fnUntraced(function* (course: Course) {
  const progress = yield* Ref.make<back.Progress>({ begun: false, saved: false })
  const note = (more: Partial<back.Progress>) => Ref.update(progress, (all) => ({ ...all, ...more }))

  /** From the old box to a row that names the new provider. */
  const depart = Effect.fnUntraced(function* (held: Held) {
    const { acceptSetup, confirmDataLoss, old, onStopFailure, to } = course
    const row = yield* held.row
    yield* gates.refuse({ ...row, claim: null, state: held.prior?.state ?? row.state }, held.operationId)
    if (!confirmDataLoss) yield* refuseLosses(row, yield* losses(row, { from: old, to }), to)
    if (row.instance !== null) yield* beforeHalt(held, old, row.instance)
    const carried = yield* held.phase("capture", carry(held, old, confirmDataLoss))
    yield* note({ begun: true, saved: carried.fresh })
    const left = yield* leave(held, old, onStopFailure)
    // what was halted before has not been written in since
    const ran = held.prior?.state !== "stopped" && held.prior?.state !== "stopped_unpersisted"
    const whole = ran ? yield* verified(held, old, { carried, left }) : carried
    const checkpoint = whole.checkpoint?.id ?? null
    if (checkpoint !== null && !takesWork(to)) {
      yield* held.warn(`provider ${to.name} takes no work: what was saved of it stays in ${checkpoint}`)
    }
    const adopted = yield* leftOn(held, to)
    const place = { to: to.name, slot: wantedSlot(row, course), acceptSetup }
    yield* write(held, { ...place, left, saved: checkpoint, checkpoint: takesWork(to) ? checkpoint : null, adopted })
  })

  const use = Effect.fnUntraced(function* (held: Held) {
    const { scope, secrets, to } = course
    const { provider: from } = held.prior ?? (yield* held.row)
    if (to.isolation === "none") {
      yield* held.warn(`provider ${to.name} does not isolate: commands run on this machine, as you`)
    }
    if ((yield* held.row).provider !== to.name) yield* depart(held)
    yield* letGo(yield* held.row, held.prior, to)
    const { restoreFrom } = yield* held.row
    const ref = yield* arrive(held, to, scope)
    if (isAdopted(yield* held.row, held.prior!)) yield* keepOther(held, to)
    const finished = yield* ready.finish(held, to, { ref, secrets })
    const { row } = finished
    const result: SwitchResult = {
      sessionId: row.id,
      operationId: held.operationId,
      state: "ready",
      ...ready.described(row, finished.set.readyAt),
      from,
      to: to.name,
      checkpoint: restoreFrom,
      orphans: (yield* retire.open(row.id)).map(retire.view),
      envFile: finished.envFile,
      warnings: yield* held.warnings
    }
    const set = { ...finished.set, stoppedAt: null, completedAt: null }
    return ready.done({ ...result, operationId: held.operationId }, { move: yield* held.move("ready"), set })
  })

  const settle = Effect.fnUntraced(function* (held: Held, failure: Failure) {
    const { old, onFailure, secrets } = course
    const row = yield* held.row
    const isUntouched = failure.error.code === "ERR_INTERRUPTED" || exitCode(failure.error.code) === 1
    if (!isWritten(row, held.prior!)) {
      const seen = held.inherited ? undefined : yield* Ref.get(progress)
      if (seen?.begun === false && back.isBoxLost(failure)) return yield* back.lost(held, failure)
      // a refusal leaves no trace
      const lastError = isUntouched && seen?.begun === false ? undefined : recorded(failure.error)
      return yield* back.unmoved(held, old, { progress: seen, lastError })
    }
    // what a dead attempt has asked for may be there, whether this one came to it or not
    const isAsked = failure.undone.some(({ name }) => name === box.destroyUndo)
    const isUnseen = held.inherited && !isAsked
    // a box that was left once and is used again is not removed
    if (onFailure === "hold" || isAdopted(row, held.prior!)) return yield* back.stays(held, failure)
    const isLeft = isUnseen ? !(yield* back.isEmptied(held, course.to)) : box.isLeft(row, failure.undone)
    if (isLeft) return yield* back.stays(held, failure)
    const finished = yield* box.finished(held, failure.error)
    return (yield* back.goBack(held, { finished, lastError: recorded(failure.error), old, secrets })).settlement
  })

  return { verb: "switch", use, settle }
})

/** What the old box held last. One that could not be stopped may not be readable either, and holds nobody up. */
const verified = Effect.fnUntraced(function* (
  held: Held,
  old: Backend,
  { carried, left }: { readonly carried: Carried; readonly left: Left }
) {
  if (left._tag === "none" || left._tag === "gone") return carried
  const looked = yield* Effect.result(held.phase("verify", caughtUp(held, old, carried)))
  if (Result.isSuccess(looked)) return looked.success
  if (left._tag === "halted" || looked.failure.code === "ERR_CLAIM_LOST") return yield* looked.failure
  yield* held.warn(`what the old box holds by now could not be looked at: ${looked.failure.message}`)
  return carried
})

/** A slot where the new side listens on ports of a host. One of another host is given back for it. */
const wantedSlot = (row: Session, { scope, to }: Course) => {
  const wanted = bringUp.slot(to, row.setup, scope)
  return row.slot !== null && row.placementScope === wanted?.scope ? undefined : wanted
}

/** The box on the new side: made, or that of a dead attempt. */
const arrive = Effect.fnUntraced(function* (held: Held, to: Backend, scope: string) {
  const row = yield* held.row
  const { instance: ref } = row
  const make = box.make(held, to, {
    scope: Effect.succeed(scope),
    set: Effect.succeed({}),
    before: (key) => hooks.onHost(held, "preUp", key)
  })
  if (ref === null) return yield* make
  if (!isAdopted(row, held.prior!)) {
    yield* box.destroyOnRollback(held, to, { scope: ref.scope, key: ref.key, ref })
  }
  const seen = yield* to.inspect(ref)
  if (seen._tag === "unknown") return yield* box.notSeen(to.name, seen.why)
  if (seen._tag === "gone") {
    // it never was in use, and what it was to hold is saved
    const { intents } = yield* (yield* Ledger).history(row.id)
    yield* held.commit({
      move: row.state === "switching" ? undefined : yield* held.move("switching"),
      set: { instance: null, workspacePath: null },
      intents: intents.filter(({ key }) => key === ref.key).map((one) => new Intent({ ...one, status: "closed" }))
    })
    return yield* make
  }
  if (seen._tag === "stopped") yield* held.phase("start", to.start(ref))
  if ((yield* held.row).state === "provisioning") yield* held.commit({ move: yield* held.move("syncing") })
  return ref
})
