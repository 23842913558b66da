/** `resume`: brings a session that is halted, broken or half-made back to `ready`. */
import { Effect, Exit, Result } from "effect"
import * as Claim from "../Claim.ts"
import * as box from "../internal/box.ts"
import * as bringUp from "../internal/bringUp.ts"
import { recorded } from "../internal/failures.ts"
import * as halting from "../internal/halt.ts"
import * as hooks from "../internal/hooks.ts"
import { boxLost, gone } from "../internal/lost.ts"
import { refuseElsewhere } from "../internal/reach.ts"
import * as ready from "../internal/ready.ts"
import { standing } from "../internal/requests.ts"
import { restoreUndo } from "../internal/restore.ts"
import * as revival from "../internal/revival.ts"
import * as secrets from "../internal/secrets.ts"
import * as services from "../internal/services.ts"
import * as sessions from "../internal/sessions.ts"
import { isWritten, leftAt } from "../internal/switch/between.ts"
import * as onward from "../internal/switch/onward.ts"
import { retire } from "../internal/switch/retire.ts"
import { canSee, hasOne, isWhole } from "../internal/visible.ts"
import { type Change, Ledger, type OperationRequest } from "../Ledger.ts"
import type { State } from "../Lifecycle.ts"
import { liveness } from "../Liveness.ts"
import type { ResumeOptions } from "../Options.ts"
import { type Backend, Provisioners } from "../Provisioners.ts"
import * as Repository from "../Repository.ts"
import type { ResumeResult } from "../Results.ts"
import * as SandboxError from "../SandboxError.ts"
import { type InstanceRef, Intent, type Session, type SessionPatch } from "../Session.ts"
import * as Time from "../Time.ts"
import * as View from "../View.ts"
import { settleFailedUp } from "./up.ts"

/**
 * Starts a halted box again, finishes what a dead `up` or `resume` began, or repairs a session whose box stopped.
 *
 * A failed resume leaves the session as it was. A box that is gone is never replaced silently: the session is `failed`
 * then, and resuming that makes a new box from the session's branch.
 */
export const resume = Effect.fn("resume")(function* (options: ResumeOptions) {
  const found = yield* sessions.find(options.session)
  const before = yield* standing("resume", { session: found.id }, options)
  if (before._tag === "succeeded") {
    return { ...(before.operation.result as unknown as ResumeResult), replayed: true as const }
  }
  const between = leftAt(found)
  if (between !== undefined && (yield* liveness(found.claim)) === "stale" && isWritten(found, between)) {
    return yield* onward.finish(found, before.operation)
  }
  const session = yield* onward.settled(found)
  if (session.state === "destroyed")
    return yield* impossible(session, "it is destroyed: make a new one with `sandbox up`")
  const isUnsaved = session.state === "stopped_unpersisted" || session.state === "persist_failed"
  if (isUnsaved && session.instance === null) {
    return yield* impossible(
      session,
      "what its box held is not saved yet",
      `save it with \`sandbox down ${session.id}\` first`
    )
  }
  if (isUnsaved && options.force !== true) {
    return yield* SandboxError.make("ERR_FORCE_REQUIRED", {
      message: `${session.name} was not saved when it was halted`,
      nextStep: `save it with \`sandbox down ${session.id}\`; where its checkout keeps it from that, start the box to put it right: \`sandbox resume ${session.id} --force\``,
      sessionId: session.id,
      state: session.state
    })
  }
  yield* refuseElsewhere(session)
  const backend = yield* (yield* Provisioners).get(session.provider)
  if (session.state === "ready" && session.claim === null && session.instance !== null) {
    const seen = yield* backend.inspect(session.instance)
    const isUp = Effect.andThen(services.allRunning(backend, session), (all) =>
      all ? isWhole(session, backend) : Effect.succeed(false)
    )
    if (seen._tag === "running" && (yield* isUp)) return already(session)
    if (seen._tag === "unknown") return yield* box.notSeen(backend.name, seen.why)
  }
  const { result } = yield* revive(session, backend, before.operation, { force: options.force })
  // boxes that it had left before it was ready again are needed no more
  const { warnings } = yield* retire(session.id)
  return { ...result, warnings: [...result.warnings, ...warnings] } satisfies ResumeResult
})

/** How to bring a session back. */
export interface Revival {
  readonly verb?: "resume" | "restore" | undefined
  /** Go on without a checkpoint that cannot be used, and with a checkout that has lost its repository. */
  readonly force?: boolean | undefined
  /** Put this work in the place of what the checkout holds. */
  readonly restore?: revival.Wanted | undefined
}

/** Resumes under a claim; what the checkout held is saved before other work takes its place. */
export const revive = Effect.fnUntraced(function* (
  session: Session,
  backend: Backend,
  operation: OperationRequest,
  options: Revival = {}
) {
  const found = yield* secrets.resolve(session.setup)
  // what is asked for was looked at already
  const plan: revival.Plan =
    options.restore === undefined
      ? yield* revival.plan(session, backend, options.force === true)
      : { missing: undefined, giveUp: false, warnings: [] }
  return yield* Claim.withClaim(
    {
      session,
      kind: "resume",
      operation,
      from: ["ready", "completed", "stopped", "stopped_unpersisted", "persist_failed", "failed"],
      enter: entrance
    },
    {
      verb: options.verb ?? "resume",
      use: (held) => use(held, backend, { found, plan, wanted: options.restore, force: options.force === true }),
      settle: (held, failure) => settle(held, backend, { failure, begun: session.restoreFrom })
    }
  )
})

const entrance = (row: Session): State | undefined =>
  row.state === "ready" || row.state === "completed" ? undefined : row.state === "syncing" ? "syncing" : "provisioning"

interface Given {
  readonly found: ReadonlyArray<secrets.Resolved>
  readonly plan: revival.Plan
  readonly wanted: revival.Wanted | undefined
  readonly force: boolean
}

const use = Effect.fnUntraced(function* (held: Claim.Held, backend: Backend, given: Given) {
  const { force, found, plan, wanted } = given
  const entered = yield* held.row
  yield* Effect.forEach(plan.warnings, held.warn)
  if (entered.expiresAt !== null && entered.expiresAt <= (yield* Time.millis)) {
    const until = View.iso(entered.expiresAt)
    yield* held.warn(
      `it was to be up until ${until}, and \`gc\` halts it again: \`sandbox extend ${entered.id}\` gives it more time`
    )
  }
  const saved = wanted === undefined ? undefined : yield* revival.saveFirst(held, backend, wanted)
  const restoring = {
    ...(plan.giveUp ? { restoreFrom: null } : {}),
    ...(wanted === undefined ? {} : { restoreFrom: wanted.id, persistedAt: saved?.persistedAt ?? entered.persistedAt })
  }
  const begun = { set: restoring, checkpoint: saved }
  if (entered.state === "ready" || entered.state === "completed") yield* beginRepair(held, backend, begun)
  else if (plan.giveUp || wanted !== undefined) yield* held.commit(begun)
  if (entered.reservedName === null) yield* reserveAgain(held)
  yield* slotAgain(held, backend)
  const { instance } = yield* held.row
  if (instance !== null && !(yield* box.wake(held, backend, instance))) yield* letGo(held)
  const row = yield* held.row
  const { missing } = plan
  const from = missing === undefined || (yield* revival.isOutrun(row, backend, missing)) ? null : missing.id
  const ref =
    row.instance ??
    (yield* box.make(held, backend, {
      scope: backend.preflight(row.spec),
      set: Effect.map(resolved(row), (set) => ({ ...set, restoreFrom: row.restoreFrom ?? from })),
      before: (key) => hooks.onHost(held, "preUp", key)
    }))
  if ((yield* held.row).state === "provisioning") yield* held.commit({ move: yield* held.move("syncing") })
  if (row.instance !== null && row.readyAt !== null) yield* catchUp(held, backend, row.instance, from)
  const finished = yield* ready.finish(held, backend, { broken: force ? "kept" : undefined, ref, secrets: found })
  const result: ResumeResult = {
    sessionId: row.id,
    operationId: held.operationId,
    state: "ready",
    ...ready.described(finished.row, finished.set.readyAt),
    envFile: finished.envFile,
    warnings: yield* held.warnings
  }
  const answer = { result, saved: saved?.id ?? null }
  const recordedResult = wanted === undefined ? result : { ...result, checkpoint: wanted.id, before: answer.saved }
  const { change } = ready.done(recordedResult, {
    move: yield* held.move("ready"),
    set: { ...finished.set, stoppedAt: null, completedAt: null }
  })
  return { result: answer, change }
})

/** Of a box that is gone: what is to be restored was never in it alone, and anything else is not replaced silently. */
const letGo = Effect.fnUntraced(function* (held: Claim.Held) {
  const row = yield* held.row
  if (row.restoreFrom === null || row.state !== "provisioning") return yield* gone(row)
  const { intents } = yield* (yield* Ledger).history(row.id)
  yield* held.commit({
    set: { instance: null, workspacePath: null },
    intents: intents
      .filter(({ key, status }) => key === row.instance?.key && status === "bound")
      .map((intent) => new Intent({ ...intent, status: "closed" }))
  })
})

/** From `ready` or `completed` into repair, or to `failed` when there is nothing left to repair. */
const beginRepair = Effect.fnUntraced(function* (
  held: Claim.Held,
  backend: Backend,
  begun: Pick<Change, "set" | "checkpoint">
) {
  const row = yield* held.row
  if (row.instance !== null) {
    const seen = yield* backend.inspect(row.instance)
    if (seen._tag === "unknown") return yield* box.notSeen(backend.name, seen.why)
  }
  // entered all the same: settling finds the box gone too, and records the loss
  yield* held.commit({ ...begun, move: yield* held.move("syncing") })
})

/** A first `up` that failed gave its name away; coming back needs it again. */
const reserveAgain = Effect.fnUntraced(function* (held: Claim.Held) {
  const row = yield* held.row
  const { sessions } = yield* (yield* Ledger).sessions({ owner: row.owner, reference: row.name })
  const holder = sessions.find((other) => other.owner === row.owner && other.reservedName === row.name)
  if (holder !== undefined) {
    return yield* SandboxError.make("ERR_NAME_TAKEN", {
      message: `the name ${row.name} is held by ${holder.id} now`,
      nextStep: `clear this one away with \`sandbox destroy ${row.id}\``,
      details: { holder: { session_id: holder.id, state: holder.state } }
    })
  }
  yield* held.commit({ set: { reservedName: row.name } })
})

/** A checkout that was removed is made again of what was saved or, where that is no more, where its branch is now. */
const catchUp = Effect.fnUntraced(function* (
  held: Claim.Held,
  backend: Backend,
  ref: InstanceRef,
  from: string | null
) {
  if (!canSee(backend) || (yield* hasOne(backend, ref))) return
  const row = yield* held.row
  if (row.restoreFrom === null && from !== null) yield* held.commit({ set: { restoreFrom: from } })
  const source = Repository.fromLocation(row.repository)
  const found = yield* Effect.result(Repository.resolve(source, { branch: row.workBranch ?? row.branch! }))
  // a branch that is nowhere but in the record starts there again
  if (Result.isSuccess(found)) yield* held.commit({ set: { commit: found.success.commit } })
  else if (found.failure.code !== "ERR_REPO_UNRESOLVED") return yield* found.failure
})

/** A failed `up` gave its slot away too. */
const slotAgain = Effect.fnUntraced(function* (held: Claim.Held, backend: Backend) {
  const row = yield* held.row
  if (row.slot !== null || row.setup === null) return
  const slot = bringUp.slot(backend, row.setup, row.placementScope ?? (yield* backend.preflight(row.spec)))
  if (slot !== undefined) yield* held.commit({ slot })
})

/** What an `up` that failed early never learned. */
const resolved = Effect.fnUntraced(function* (row: Session) {
  if (row.commit !== null) return {}
  const source = Repository.fromLocation(row.repository)
  const branch = row.branch ?? (yield* Repository.defaultBranch(source))
  const { commit } = yield* Repository.resolve(source, { branch })
  return { branch, commit }
})

/** After a failed resume: the state it came from, or `failed` where that would not be true any more. */
const settle = Effect.fnUntraced(function* (
  held: Claim.Held,
  backend: Backend,
  /** `begun`: the checkpoint that the checkout was to be made of before, and that must not be forgotten. */
  { begun, failure }: { readonly failure: Claim.Failure; readonly begun: string | null }
) {
  const row = yield* held.row
  const { prior } = held
  if (prior === null) return yield* settleFailedUp(held, failure)
  const lastError = recorded(failure.error)
  if (row.state !== "provisioning" && row.state !== "syncing") return { set: { lastError } }
  const wasUp = prior.state === "ready" || prior.state === "completed"
  const givenBack = failure.undone.some(({ exit, name }) => name === restoreUndo && Exit.isSuccess(exit))
  const left = box.isLeft(row, failure.undone)
  const back: SessionPatch = {
    lastError,
    // a checkout that is half restored has to be restored still; a new box starts from nothing again
    restoreFrom: givenBack || (prior.instance === null && !left) ? begun : row.restoreFrom,
    ...(wasUp ? {} : halting.unserved),
    // a session that never was ready holds no name and no slot while it is failed
    ...(row.readyAt === null ? { reservedName: null, slot: null } : {})
  }
  if (prior.instance === null) {
    const touched = failure.undone.some(({ name }) => name === box.destroyUndo)
    if (!touched && row.instance === null) return { move: yield* held.move(prior.state), set: back }
    return {
      move: yield* held.move(left ? "failed" : prior.state),
      set: {
        ...back,
        instance: left ? row.instance : null,
        workspacePath: left ? row.workspacePath : null,
        cleanupRequired: left
      },
      intents: left ? [] : yield* box.finished(held, failure.error)
    }
  }
  const seen = yield* backend.inspect(prior.instance)
  if (seen._tag === "gone") return yield* boxLost(held, lastError)
  const untouched = !held.inherited && !failure.undone.some(({ name }) => name === box.stopUndo)
  // nobody is to work on with a checkout that the next resume replaces
  if (back.restoreFrom !== null) return { move: yield* held.move("failed"), set: back }
  const asBefore = wasUp ? seen._tag === "running" : seen._tag === "stopped" || (seen._tag === "unknown" && untouched)
  return { move: yield* held.move(asBefore ? prior.state : "failed"), set: back }
})

const impossible = (session: Session, why: string, way = "see what there is with `sandbox list`") =>
  SandboxError.make("ERR_OPERATION_CONFLICT", {
    message: `${session.name} cannot be resumed: ${why}`,
    nextStep: way,
    retryable: false,
    sessionId: session.id,
    state: session.state
  })

const already = (session: Session): ResumeResult => ({
  sessionId: session.id,
  operationId: null,
  state: session.state,
  already: true,
  ...ready.described(session, session.readyAt!),
  envFile: null,
  warnings: []
})
