/** The phases of a switch under its claim, each going on where a dead attempt stopped. */
import { Effect, Ref } from "effect"
import type { Failure, Held } from "../../Claim.ts"
import type { Backend } from "../../Provisioners.ts"
import type { SwitchResult } from "../../Results.ts"
import * as box from "../box.ts"
import * as bringUp from "../bringUp.ts"
import { recorded } from "../failures.ts"
import { beforeHalt } from "../halt.ts"
import * as hooks from "../hooks.ts"
import { gone } from "../lost.ts"
import * as ready from "../ready.ts"
import type { Resolved } from "../secrets.ts"
import * as back from "./back.ts"
import { isAdopted, isWritten } from "./between.ts"
import { carry, caughtUp } from "./carry.ts"
import * as gates from "./gates.ts"
import { leave, leftOn, write } from "./leave.ts"
import * as retire from "./retire.ts"
import { losses, refuseLosses, takesWork } from "./travel.ts"

/** A switch that was found possible. */
export interface Course {
  readonly old: Backend
  readonly to: Backend
  /** Where the new box is to be. */
  readonly scope: string
  readonly secrets: ReadonlyArray<Resolved>
  readonly confirmDataLoss: boolean
  readonly onStopFailure: "record" | "abort"
  readonly onFailure: "restore" | "hold"
}

/** What a claim to switch does, and what it does when that fails. */
export const make = Effect.fnUntraced(function* (course: Course) {
  const progress = yield* Ref.make<back.Progress>({ begun: false, saved: false, slotted: false })
  const note = (more: Partial<back.Progress>) => Ref.update(progress, (all) => ({ ...all, ...more }))

  /** From the old box to a row that names the new provider. */
  const depart = Effect.fnUntraced(function* (held: Held) {
    const { confirmDataLoss, old, onStopFailure, to } = course
    const row = yield* held.row
    yield* gates.refuse({ ...row, claim: null, state: held.prior?.state ?? row.state }, held.operationId)
    if (!confirmDataLoss) yield* refuseLosses(row, yield* losses(row, { from: old, to }), to)
    if (yield* takeSlot(held, course)) yield* note({ slotted: true })
    if (row.instance !== null) yield* beforeHalt(held, old, row.instance)
    const carried = yield* held.phase("capture", carry(held, old, confirmDataLoss))
    yield* note({ begun: true, saved: carried.fresh })
    const left = yield* leave(held, old, onStopFailure)
    // what was halted before has not been written in since
    const ran = held.prior?.state !== "stopped" && held.prior?.state !== "stopped_unpersisted"
    const whole = left._tag === "halted" && ran ? yield* held.phase("verify", caughtUp(held, old, carried)) : carried
    const checkpoint = whole.checkpoint?.id ?? null
    if (checkpoint !== null && !takesWork(to)) {
      yield* held.warn(`provider ${to.name} takes no work: what was saved of it stays in ${checkpoint}`)
    }
    const adopted = yield* leftOn(held, to)
    yield* write(held, { to: to.name, left, checkpoint: takesWork(to) ? checkpoint : null, adopted })
    if (adopted !== undefined) yield* held.commit({ move: yield* held.move("provisioning") })
  })

  const use = Effect.fnUntraced(function* (held: Held) {
    const { scope, secrets, to } = course
    const { provider: from } = held.prior ?? (yield* held.row)
    if (to.isolation === "none") {
      yield* held.warn(`provider ${to.name} does not isolate: commands run on this machine, as you`)
    }
    if ((yield* held.row).provider !== to.name) yield* depart(held)
    const { restoreFrom } = yield* held.row
    const ref = yield* arrive(held, to, scope)
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
    const isUntouched = failure.error.code === "ERR_INTERRUPTED"
    if (!isWritten(row, held.prior!)) {
      const seen = held.inherited ? undefined : yield* Ref.get(progress)
      if (seen?.begun === false && back.isBoxLost(failure)) return yield* back.lost(held, failure)
      const lastError = isUntouched && seen?.begun === false ? undefined : recorded(failure.error)
      return yield* back.unmoved(held, old, { progress: seen, lastError })
    }
    // a box that was left once and is used again is not removed
    if (onFailure === "hold" || isAdopted(row, held.prior!) || box.isLeft(row, failure.undone)) {
      return yield* back.stays(held, failure)
    }
    const finished = yield* box.finished(held, failure.error)
    return (yield* back.goBack(held, { finished, lastError: recorded(failure.error), old, secrets })).settlement
  })

  return { verb: "switch", use, settle }
})

/** A slot where the new side listens on ports of a host. One of another host is given back for it. */
const takeSlot = Effect.fnUntraced(function* (held: Held, { scope, to }: Course) {
  const row = yield* held.row
  const wanted = bringUp.slot(to, row.setup, scope)
  if (wanted === undefined || (row.slot !== null && row.placementScope === wanted.scope)) return false
  yield* held.commit({ slot: wanted })
  return row.slot === null
})

/** The box on the new side: made, or that of a dead attempt. */
const arrive = Effect.fnUntraced(function* (held: Held, to: Backend, scope: string) {
  const row = yield* held.row
  const { instance: ref } = row
  if (ref === null) {
    return yield* box.make(held, to, {
      scope: Effect.succeed(scope),
      set: Effect.succeed({}),
      before: (key) => hooks.onHost(held, "preUp", key)
    })
  }
  if (!isAdopted(row, held.prior!)) {
    yield* box.destroyOnRollback(held, to, { scope: ref.scope, key: ref.key, ref })
  }
  const seen = yield* to.inspect(ref)
  if (seen._tag === "unknown") return yield* box.notSeen(to.name, seen.why)
  if (seen._tag === "gone") return yield* gone(row)
  if (seen._tag === "stopped") yield* held.phase("start", to.start(ref))
  if ((yield* held.row).state === "provisioning") yield* held.commit({ move: yield* held.move("syncing") })
  return ref
})
