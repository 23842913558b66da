/** Finding out whether a switch is possible, and carrying it through: for whoever asks for one, and for whoever finds one dead. */
import { Effect, Exit, Ref, Result } from "effect"
import * as Claim from "../../Claim.ts"
import { Ids } from "../../Ids.ts"
import { Ledger, type OperationRequest } from "../../Ledger.ts"
import { liveness } from "../../Liveness.ts"
import type { SwitchOptions } from "../../Options.ts"
import { type Backend, Provisioners } from "../../Provisioners.ts"
import type { SwitchResult } from "../../Results.ts"
import * as SandboxError from "../../SandboxError.ts"
import type { Prior, Session } from "../../Session.ts"
import * as Time from "../../Time.ts"
import * as box from "../box.ts"
import * as bringUp from "../bringUp.ts"
import * as compose from "../compose/end.ts"
import { conflict, recorded, refuseDuringExport } from "../failures.ts"
import { unserved } from "../halt.ts"
import * as hooks from "../hooks.ts"
import { refuseElsewhere } from "../reach.ts"
import * as ready from "../ready.ts"
import * as secrets from "../secrets.ts"
import { canSee } from "../visible.ts"
import * as back from "./back.ts"
import { isAdopted, isWritten, leftAt, wasUp } from "./between.ts"
import * as gates from "./gates.ts"
import * as move from "./move.ts"
import { retire } from "./retire.ts"
import { losses, refuseLosses } from "./travel.ts"

/** How the parts of a switch that may fail are to end. */
export type Policies = Pick<SwitchOptions, "confirmDataLoss" | "onStopFailure" | "onFailure" | "acceptSetup">

/** States a session may be moved from while nobody is moving it. */
export const from = ["ready", "completed", "stopped", "stopped_unpersisted", "failed"] as const

/** Everything that is looked at before anything is claimed: the session, both providers, secrets, and what would be lost. */
export const prepare = Effect.fnUntraced(function* (
  session: Session,
  { operationId, policies, to }: { readonly to: string; readonly policies: Policies; readonly operationId: string }
) {
  const { acceptSetup = false, confirmDataLoss = false, onFailure = "restore", onStopFailure = "record" } = policies
  const backends = yield* Provisioners
  yield* gates.refuse(session, operationId)
  yield* refuseDuringExport(session, "switch", operationId)
  const prior = leftAt(session)
  const old = yield* backends.get(prior?.provider ?? session.provider)
  const isUnderWay = prior !== undefined && isWritten(session, prior)
  if (!isUnderWay) yield* gates.refuseExternal(session, old)
  const backend = yield* backends.get(to)
  if (!canSee(backend)) return yield* takesNoCheckout(backend.name)
  yield* refuseElsewhere(session)
  if (!acceptSetup) yield* gates.refuseUnaccepted(session, backend)
  if (session.setup !== null) yield* bringUp.check(backend, session.setup)
  const found = yield* secrets.resolve(session.setup)
  const scope = yield* backend.preflight(session.spec)
  if (!confirmDataLoss && !isUnderWay)
    yield* refuseLosses(session, yield* losses(session, { from: old, to: backend }), backend)
  const course: move.Course = {
    old,
    to: backend,
    scope,
    secrets: found,
    acceptSetup,
    confirmDataLoss,
    onFailure,
    onStopFailure
  }
  return course
})

/** Claims the session, moves it, and removes what it has left. */
export const carryOut = Effect.fnUntraced(function* (
  session: Session,
  operation: OperationRequest,
  course: move.Course
) {
  const work = yield* move.make(course)
  return yield* ended(yield* Claim.withClaim({ session, kind: "switch", operation, from, enter }, work))
})

/** As `carryOut`, under a claim that another process has taken for this one, which is taken over before anything is looked at. */
export const takeOver = Effect.fnUntraced(function* (
  session: Session,
  operation: OperationRequest,
  options: { readonly to: string; readonly policies: Policies; readonly inherited: boolean }
) {
  const prior = leftAt(session)
  const old = yield* (yield* Provisioners).get(prior?.provider ?? session.provider)
  const begun = yield* Ref.make<Effect.Success<ReturnType<typeof move.make>> | undefined>(undefined)
  const result = yield* Claim.withClaim(
    { session, kind: "switch", operation, from, handedOver: { inherited: options.inherited } },
    {
      verb: "switch",
      use: Effect.fnUntraced(function* (held: Claim.Held) {
        const course = yield* prepare(session, { ...options, operationId: operation.id })
        const work = yield* move.make(course)
        yield* Ref.set(begun, work)
        return yield* work.use(held)
      }),
      settle: Effect.fnUntraced(function* (held: Claim.Held, failure: Claim.Failure) {
        const work = yield* Ref.get(begun)
        if (work !== undefined) return yield* work.settle(held, failure)
        return yield* back.notBegun(held, old, failure)
      })
    }
  )
  return yield* ended(result)
})

/** Removes what the session has left. It is ready without: neither a failure nor an interruption of that takes anything back. */
const ended = (result: SwitchResult) =>
  Effect.uninterruptibleMask((restore) =>
    Effect.map(Effect.exit(restore(retire(result.sessionId))), (exit) => {
      if (Exit.isFailure(exit))
        return { ...result, warnings: [...result.warnings, `\`sandbox gc\` removes what it has left`] }
      const { orphans, warnings } = exit.value
      return { ...result, orphans, warnings: [...result.warnings, ...warnings] } satisfies SwitchResult
    })
  )

/** What was begun on the new side goes on from the state that it is in. */
export const enter = ({ state }: Session) => (from.some((one) => one === state) ? ("switching" as const) : undefined)

/** Goes on with a switch that died after the new provider was on record. */
export const finish = Effect.fnUntraced(function* (session: Session, operation: OperationRequest) {
  const options = { to: session.provider, policies: {}, operationId: operation.id }
  return yield* carryOut(session, operation, yield* prepare(session, options))
})

/** An operation of our own, for what nobody asked for by name. */
export const request = Effect.map(
  Effect.flatMap(Ids, (ids) => ids.next("op")),
  (id): OperationRequest => ({ id, verb: "switch", clientRequestId: null, requestHash: "recovery" })
)

/** The session once a dead switch is ended that had not named the new provider yet; as it is, where there is none. */
export const settled = Effect.fnUntraced(function* (session: Session) {
  const prior = leftAt(session)
  if (prior === undefined || isWritten(session, prior) || (yield* liveness(session.claim)) !== "stale") return session
  return yield* undo(session, prior)
})

/** Ends a switch that died, where it came from, and answers the session as it is then. */
export const undo = Effect.fnUntraced(function* (session: Session, prior: Prior) {
  const operation = yield* request
  // a box that was taken up again is not removed for one that there never was
  if (isWritten(session, prior) && isAdopted(session, prior)) return yield* conflict(session, "switch", operation.id)
  const old = yield* (yield* Provisioners).get(prior.provider)
  yield* refuseElsewhere(session)
  // before the claim, and a failure only where something is to be brought up
  const resolved = yield* Effect.result(wasUp(prior) ? secrets.resolve(session.setup) : Effect.succeed([]))
  const found = Effect.fromResult(resolved)
  const there = Effect.fnUntraced(function* (held: Claim.Held) {
    const row = yield* held.row
    const { completedAt, instance } = row
    if (isWritten(row, prior)) return yield* returned(held, { old, secrets: yield* found })
    const seen = instance === null ? undefined : yield* old.inspect(instance)
    // one that cannot say what it is may have been in the middle of its halt
    const isHalted = seen?._tag === "stopped" || seen?._tag === "unknown"
    const isTouched = isHalted || (seen?._tag === "running" && row.stoppedAt !== null)
    if (!wasUp(prior) || !isTouched)
      return yield* back.unmoved(held, old, { progress: undefined, lastError: undefined })
    // on the row before the box is touched: one that runs again was not brought up yet
    yield* held.commit({ set: { ...unserved, stoppedAt: row.stoppedAt ?? (yield* Time.millis) } })
    return yield* proven(old, yield* back.upAgain(held, { completedAt, lastError: null, old, secrets: yield* found }))
  })
  yield* Claim.withClaim(
    { session, kind: "switch", operation, from: [] },
    {
      verb: "switch",
      use: Effect.fnUntraced(function* (held: Claim.Held) {
        const change = yield* there(held)
        const row = yield* held.row
        const result = {
          sessionId: row.id,
          operationId: held.operationId,
          state: change.move?.to ?? row.state,
          warnings: []
        }
        return ready.done(result, change)
      }),
      settle: Effect.fnUntraced(function* (held: Claim.Held, failure: Claim.Failure) {
        const row = yield* held.row
        const backend = yield* (yield* Provisioners).get(row.provider)
        const isOver = isWritten(row, prior) && (yield* back.isEmptied(held, backend))
        if (!isOver || Result.isFailure(resolved)) return yield* back.notBegun(held, old, failure)
        // nothing of the new side is left: what was asked for is all but done
        const now = yield* Time.millis
        const finished = (yield* box.targets(row)).flatMap(({ intent }) => box.over(intent, now))
        const about = { finished, lastError: recorded(failure.error), old, secrets: resolved.success }
        return (yield* back.goBack(held, about)).settlement
      })
    }
  )
  const row = yield* (yield* Ledger).session(session.id)
  return row._tag === "Some" ? row.value : session
})

/** Removes what the new side has, and takes the old box back. */
const returned = Effect.fnUntraced(function* (
  held: Claim.Held,
  { old, secrets }: Pick<move.Course, "old" | "secrets">
) {
  const backends = yield* Provisioners
  const row = yield* held.row
  const targets = yield* box.targets(row)
  // what stands in the network of a box keeps the box from going
  yield* compose.haltOrWarn(held)
  for (const target of targets) {
    const backend = yield* backends.get(target.provider)
    yield* hooks.endLeftovers(row, target.key)
    yield* held.phase("destroy", backend.destroy(target))
  }
  const now = yield* Time.millis
  const finished = targets.flatMap(({ intent }) => box.over(intent, now))
  return yield* proven(old, yield* back.goBack(held, { finished, lastError: null, old, secrets }))
})

/** The last commit of a session that is back; a failure where it is not. */
const proven = (old: Backend, { isBack, settlement, why }: back.Back) =>
  isBack
    ? Effect.succeed(settlement)
    : Effect.fail(
        SandboxError.make("ERR_SANDBOX_PROVISION_FAILED", {
          message: `the box that the session had on provider ${old.name} does not come up again: ${why}`,
          nextStep: "look at what the provider says of it, and run the command again",
          details: { provider: old.name, operation: "start", reason: "NotReady", outcome: "unknown" }
        })
      )

const takesNoCheckout = (provider: string) =>
  SandboxError.make("ERR_UNSUPPORTED", {
    message: `provider ${provider} can neither place a checkout nor take one`,
    nextStep: "use a provider that can",
    details: { provider, capability: "workspace" }
  })
