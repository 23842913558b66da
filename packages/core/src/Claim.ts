/**
 * The one way to move a session: a bracket around the claim on its row.
 *
 * Acquire is a single compare-and-set, and whoever loses it has no finalizer: it cannot stop, roll back or record
 * anything. While the work runs the lease is renewed beside it; when renewal finds the claim gone, the work is
 * interrupted and stands down. Release commits the final state and drops the claim in one transaction, or, on failure
 * and interruption, undoes what was done in reverse order and then writes what is true.
 */
import { Cause, Context, Duration, Effect, Exit, Fiber, Option, Ref, Result, Schedule } from "effect"
import { Host } from "./Host.ts"
import { Ids } from "./Ids.ts"
import {
  changedAnyway,
  claimLost,
  conflict,
  midOperation,
  notUndone,
  portsTaken,
  recorded,
  refuseDuringExport,
  reused,
  slotsExhausted,
  unsettled,
  withCommand
} from "./internal/failures.ts"
import { counted } from "./internal/transfer.ts"
import { type Change, type ClaimRequest, Ledger, type OperationRequest } from "./Ledger.ts"
import * as Lifecycle from "./Lifecycle.ts"
import { liveness } from "./Liveness.ts"
import * as Progress from "./Progress.ts"
import { recovery } from "./Recovery.ts"
import * as Rollback from "./Rollback.ts"
import * as SandboxError from "./SandboxError.ts"
import { Prior, type Session } from "./Session.ts"
import * as Time from "./Time.ts"

/** How long claims live and how long a release may take. */
export const Timings = Context.Reference("@org/sandbox-core/Claim/Timings", {
  defaultValue: () => ({
    lease: Duration.seconds(30),
    renewal: Duration.seconds(10),
    /** Each ledger write of a release. */
    ledgerWrite: Duration.seconds(5),
    /** Each undo of a release. */
    undo: Duration.seconds(60)
  })
})

/** A claim that is ours, as the work sees it. */
export interface Held {
  readonly operationId: string
  readonly kind: Lifecycle.ClaimKind
  /** The row before the claim was first taken; none when this operation created the session. */
  readonly prior: Prior | null
  /** Whether this operation goes on with what a dead one began, and so cannot know all that was done. */
  readonly inherited: boolean
  /** The row as of our last write. */
  readonly row: Effect.Effect<Session>
  /** One fenced write. Fails with `ERR_CLAIM_LOST` when the claim is somebody else's by now. */
  readonly commit: (change: Change) => Effect.Effect<Session, SandboxError.SandboxError>
  /** The step from the row's state to another. */
  readonly move: (to: Lifecycle.State) => Effect.Effect<Lifecycle.Move>
  /** Registers an inverse, to run before those registered earlier. */
  readonly onRollback: (undo: Rollback.Undo) => Effect.Effect<void>
  /** Names what is about to be done: in the claim, in spans and for whoever listens. */
  readonly phase: <A, E, R>(
    name: string,
    body: Effect.Effect<A, E, R>
  ) => Effect.Effect<A, E | SandboxError.SandboxError, R>
  /** A sentence for the user, kept for the result. */
  readonly warn: (message: string) => Effect.Effect<void>
  readonly warnings: Effect.Effect<ReadonlyArray<string>>
}

/** How the work ended well: what to answer, and the last commit, which also drops the claim. */
export interface Done<A> {
  readonly result: A
  readonly change: Change
}

/** What a release knows when it has to write the truth. */
export interface Failure {
  readonly error: SandboxError.SandboxError
  readonly undone: ReadonlyArray<Rollback.UndoOutcome>
}

export interface Work<A, R> {
  readonly verb: string
  readonly use: (held: Held) => Effect.Effect<Done<A>, SandboxError.SandboxError, R>
  /** After the undos of a failed operation: what is true now. */
  readonly settle: (held: Held, failure: Failure) => Effect.Effect<Settlement, SandboxError.SandboxError, R>
}

/** The last commit of an operation that failed. */
export interface Settlement extends Change {
  /**
   * How the failure is to be told. When absent, one that leaves the session in the state that it was in tells of a refusal as
   * such, and any other of something that was done.
   */
  readonly told?: ((error: SandboxError.SandboxError) => SandboxError.SandboxError) | undefined
}

export interface ClaimOptions {
  /** The row as the caller saw it. */
  readonly session: Session
  readonly kind: Lifecycle.ClaimKind
  readonly operation: OperationRequest
  /** States a session may be claimed from while nobody holds it. Dead operations are re-entered besides. */
  readonly from: ReadonlyArray<Lifecycle.State>
  /** The state to enter with the claim; none leaves it. */
  readonly enter?: ((row: Session, prior: Prior | null) => Lifecycle.State | undefined) | undefined
  /** Take over a live claim. */
  readonly force?: boolean | undefined
  /** The live claim is given by its holder, who has done nothing under it: it is taken over as it is. */
  readonly handedOver?: { readonly inherited: boolean } | undefined
  /** The branch that the session is exported to: nothing else moves it meanwhile, whatever is forced. */
  readonly exporting?: string | undefined
}

/** A fresh claim for this process. */
export const request = Effect.fnUntraced(function* (kind: Lifecycle.ClaimKind, prior: Prior | null) {
  const { lease } = yield* Timings
  const claim: ClaimRequest = {
    token: yield* (yield* Ids).next("clm"),
    kind,
    holder: (yield* Host).self,
    lease: Duration.toMillis(lease),
    prior
  }
  return claim
})

/** Claims a session, works, and releases. */
export const withClaim = Effect.fnUntraced(function* <A, R>(options: ClaimOptions, work: Work<A, R>) {
  const ledger = yield* Ledger
  const { handedOver, kind, operation, session } = options
  const force = options.force === true || handedOver !== undefined
  const status = yield* liveness(session.claim)
  const reenters =
    status !== "free" || !Lifecycle.isSettled(session.state)
      ? Lifecycle.reentry.some((rule) => rule.in.includes(session.state) && rule.by.includes(kind))
      : false
  // an export is named before the claim that it has
  yield* refuseDuringExport(session, kind, operation.id)
  if (status === "live" && !force) return yield* conflict(session, kind, operation.id)
  if (!options.from.includes(session.state) && !reenters) return yield* conflict(session, kind, operation.id)

  const prior = priorOf(session)
  const target = options.enter?.(session, prior)
  const move =
    target === undefined || target === session.state
      ? undefined
      : Lifecycle.move({ from: session.state, to: target, by: kind, prior: prior?.state })
  const claim: ClaimRequest = { ...(yield* request(kind, prior)), exporting: options.exporting }
  const acquire = ledger.acquire({ observed: session, move, claim, operation, force }).pipe(
    Effect.catchTags({
      ClaimConflict: ({ current }) =>
        Effect.andThen(
          current === null ? Effect.void : refuseDuringExport(current, kind, operation.id),
          conflict(current, kind, operation.id)
        ),
      RequestKnown: (known) => reused(known, operation)
    })
  )
  return yield* bracket(
    {
      acquire,
      claim,
      operationId: operation.id,
      inherited: handedOver?.inherited ?? !Lifecycle.isSettled(session.state)
    },
    work
  )
})

/**
 * What a new claim goes back to when it fails.
 *
 * A settled row is its own answer. One that a dead operation left in the middle keeps what that operation recorded; when
 * even that is gone, a session that nobody ever had is a dead `up`'s.
 */
const priorOf = (session: Session): Prior | null => {
  const settled = Lifecycle.isSettled(session.state)
  if (!settled && session.claim !== null) return session.claim.prior
  if (!settled && session.readyAt === null) return null
  return new Prior({
    state: session.state,
    provider: session.provider,
    instance: session.instance,
    generation: session.generation,
    workspacePath: session.workspacePath,
    workBranch: session.workBranch,
    restoreFrom: session.restoreFrom,
    placementScope: session.placementScope
  })
}

/** The bracket itself, for whatever write takes the claim. `acquire` must write `claim`, or nothing. */
export const bracket = <A, R, E, R2>(
  options: {
    readonly acquire: Effect.Effect<Session, E, R2>
    readonly claim: ClaimRequest
    readonly operationId: string
    /** The claim goes on with what a dead operation began. */
    readonly inherited?: boolean | undefined
  },
  work: Work<A, R>
): Effect.Effect<A, E | SandboxError.SandboxError, R | R2 | Ledger> =>
  Effect.uninterruptibleMask((restore) =>
    Effect.gen(function* () {
      const row = yield* options.acquire
      const claimed = yield* hold(row, options.claim, { verb: work.verb, inherited: options.inherited ?? false })
      const { held } = claimed
      const last = yield* Ref.make(Option.none<A>())
      const finished = yield* Ref.make(false)
      // an interruption that arrives with the last commit comes too late: what is committed is not undone
      const finish = ({ change, result }: Done<A>) =>
        Ref.set(last, Option.some(result)).pipe(
          Effect.andThen(held.commit({ ...change, phase: "done", release: true })),
          Effect.andThen(Ref.set(finished, true)),
          Effect.uninterruptible
        )
      const attempt = Effect.flatMap(work.use(held), finish)
      const exit = yield* Effect.exit(restore(Effect.raceFirst(attempt, claimed.renewal)))
      const answer = yield* Ref.get(last)
      if (Option.isSome(answer) && ((yield* Ref.get(finished)) || (yield* claimed.succeeded))) return answer.value
      return yield* release(claimed, work, Exit.isFailure(exit) ? exit.cause : Cause.empty)
    })
  )

interface Claimed {
  readonly held: Held
  readonly renewal: Effect.Effect<never, SandboxError.SandboxError>
  /** Whether the claim is ours still, as far as can be known; extends the lease when it is. */
  readonly confirm: Effect.Effect<"ours" | "lost" | "unknown">
  /** Whether the last write of a success took effect after all, although the ledger did not say so in time. */
  readonly succeeded: Effect.Effect<boolean>
  readonly undos: Ref.Ref<ReadonlyArray<Rollback.Undo>>
  readonly lost: Ref.Ref<boolean>
  /** Whether the work is over, so that no write is waited for longer than a release may take. */
  readonly releasing: Ref.Ref<boolean>
}

const hold = Effect.fnUntraced(function* (
  row: Session,
  claim: ClaimRequest,
  { inherited, verb }: { readonly verb: string; readonly inherited: boolean }
) {
  const ledger = yield* Ledger
  const timings = yield* Timings
  const operationId = row.claim!.operationId
  const current = yield* Ref.make(row)
  const undos = yield* Ref.make<ReadonlyArray<Rollback.Undo>>([])
  const lost = yield* Ref.make(false)
  const warnings = yield* Ref.make<ReadonlyArray<string>>([])
  /** Whether a write may have taken effect or not, so that even a lease that has not run out proves nothing. */
  const doubt = yield* Ref.make(false)

  const releasing = yield* Ref.make(false)

  const stoodDown = Effect.andThen(
    Ref.set(lost, true),
    Effect.suspend(() => Effect.fail(claimLost(row.id, operationId)))
  )

  const commit = Effect.fnUntraced(function* (change: Change) {
    const write = ledger
      .commit({
        sessionId: row.id,
        token: claim.token,
        operationId,
        change
      })
      .pipe(
        Effect.retry(ledgerRetry),
        Effect.tapError((error) =>
          error._tag === "SandboxError" && error.details?.["outcome"] === "unknown" ? Ref.set(doubt, true) : Effect.void
        ),
        Effect.mapError((error) => (error._tag === "SandboxError" ? midOperation(error, operationId) : error)),
        Effect.catchTags({
          ClaimLost: () => stoodDown,
          SlotsExhausted: (exhausted) => Effect.fail(slotsExhausted(exhausted, row.owner, operationId)),
          PortTaken: (taken) => Effect.fail(portsTaken(taken, operationId))
        })
      )
    const written = yield* (yield* Ref.get(releasing)) ? withinTime(write, timings.ledgerWrite) : write
    yield* Ref.set(current, written)
    yield* Ref.set(doubt, false)
    return written
  }, Effect.uninterruptible)

  const leaseUntil = yield* Ref.make(row.claim!.leaseUntil)
  const renew = Effect.gen(function* () {
    const now = yield* Time.millis
    yield* ledger.renew({
      sessionId: row.id,
      token: claim.token,
      operationId,
      lease: claim.lease,
      exporting: claim.exporting
    })
    yield* Ref.set(leaseUntil, now + claim.lease)
  })

  // a ledger that cannot be reached until the lease is over is as good as a lost claim: somebody else may have it
  const renewOnce = renew.pipe(
    Effect.retry({ while: (error) => error._tag === "SandboxError", schedule: Schedule.spaced("1 second") }),
    Effect.timeoutOrElse({ duration: Duration.subtract(timings.lease, timings.renewal), orElse: () => stoodDown }),
    Effect.catch(() => stoodDown)
  )

  const confirm = Effect.gen(function* () {
    const renewed = yield* Effect.result(Effect.timeout(renew, timings.ledgerWrite))
    if (Result.isSuccess(renewed)) return "ours" as const
    if (renewed.failure._tag === "ClaimLost") return "lost" as const
    if (yield* Ref.get(doubt)) return "unknown" as const
    return (yield* Time.millis) < (yield* Ref.get(leaseUntil)) ? ("ours" as const) : ("unknown" as const)
  })

  const succeeded = Effect.gen(function* () {
    // a renewal waits for the write where that is still under way, and is not possible once the claim was dropped
    if (!(yield* Ref.get(doubt)) || (yield* confirm) === "ours") return false
    const { operations } = yield* Effect.timeout(ledger.history(row.id), timings.ledgerWrite)
    return operations.some(({ id, status }) => id === operationId && status === "succeeded")
  }).pipe(Effect.orElseSucceed(() => false))

  const held: Held = {
    operationId,
    kind: claim.kind,
    prior: claim.prior,
    inherited,
    row: Ref.get(current),
    commit,
    move: (to) =>
      Effect.map(Ref.get(current), ({ state }) =>
        Lifecycle.move({ from: state, to, by: claim.kind, prior: claim.prior?.state })
      ),
    onRollback: (undo) => Ref.update(undos, (registered) => [undo, ...registered]),
    phase: (name, body) => {
      const publish = (status: "started" | "done" | "failed") =>
        Progress.publish({ type: "phase", operationId, sessionId: row.id, verb, phase: name, status })
      return commit({ phase: name }).pipe(
        Effect.andThen(publish("started")),
        Effect.andThen(counted(body, { operationId, sessionId: row.id })),
        Effect.onExit((exit) => publish(Exit.isSuccess(exit) ? "done" : "failed")),
        Effect.withSpan(`${verb}.${name}`, {
          attributes: { "sandbox.session_id": row.id, "sandbox.operation_id": operationId }
        })
      )
    },
    warn: (message) =>
      Effect.andThen(
        Ref.update(warnings, (said) => [...said, message]),
        Progress.publish({ type: "warning", operationId, sessionId: row.id, message })
      ),
    warnings: Ref.get(warnings)
  }
  const renewal = Effect.forever(Effect.andThen(Effect.sleep(timings.renewal), renewOnce))
  const claimed: Claimed = { held, renewal, confirm, succeeded, undos, lost, releasing }
  return claimed
})

/** Undoes, settles and answers why the operation failed. */
const release = Effect.fnUntraced(function* <A, R>(
  claimed: Claimed,
  work: Work<A, R>,
  cause: Cause.Cause<SandboxError.SandboxError>
): Effect.fn.Return<never, SandboxError.SandboxError, R | Ledger> {
  const { held } = claimed
  const timings = yield* Timings
  const before = yield* held.row
  const error = SandboxError.fromCause(cause, held.operationId)

  const standing = (yield* Ref.get(claimed.lost)) ? "lost" : yield* claimed.confirm
  if (standing === "lost") {
    const ledger = yield* Ledger
    const current = yield* ledger
      .session(before.id)
      .pipe(Effect.timeout(timings.ledgerWrite), Effect.map(Option.getOrNull), Effect.option)
    // without a look at the row nothing may be touched: the box may be the new holder's
    if (Option.isSome(current)) {
      const owed = (yield* Ref.get(claimed.undos)).filter((undo) => undo.evenIfLost?.(current.value) === true)
      yield* Rollback.run(owed, timings.undo)
    }
    return yield* claimLost(before.id, held.operationId)
  }
  if (standing === "unknown")
    return yield* unsettled(error, before.id, "the ledger did not answer until the lease was over")

  return yield* renewing(claimed, rolledBack(claimed, work, cause, error))
})

/** Keeps the lease meanwhile: putting things right may take longer than one. */
const renewing = <A, E, R>(claimed: Claimed, effect: Effect.Effect<A, E, R>) =>
  Effect.flatMap(Effect.forkChild(Effect.interruptible(claimed.renewal)), (renewal) =>
    Effect.ensuring(effect, Fiber.interrupt(renewal))
  )

const rolledBack = Effect.fnUntraced(function* <A, R>(
  claimed: Claimed,
  work: Work<A, R>,
  cause: Cause.Cause<SandboxError.SandboxError>,
  error: SandboxError.SandboxError
): Effect.fn.Return<never, SandboxError.SandboxError, R | Ledger> {
  const { held } = claimed
  const timings = yield* Timings
  const before = yield* held.row
  yield* Ref.set(claimed.releasing, true)
  const undone = yield* Rollback.run(yield* Ref.get(claimed.undos), timings.undo)
  const rollback = undone.map(({ exit, name }) => ({
    undo: name,
    ...(Exit.isSuccess(exit)
      ? { ok: true }
      : { ok: false, problem: SandboxError.fromCause(exit.cause, held.operationId).message })
  }))
  const failed = SandboxError.extend(error, {
    operationId: held.operationId,
    sessionId: before.id,
    ...(rollback.length === 0 ? {} : { details: { ...error.details, rollback } })
  })
  const truth = Effect.flatMap(work.settle(held, { error: failed, undone }), ({ told: tell, ...change }) => {
    // only what leaves the session as it was is a refusal
    const asBefore = (change.move?.to ?? before.state) === held.prior?.state
    const told = tell?.(failed) ?? (asBefore ? failed : changedAnyway(failed))
    const commit = held.commit({
      outcome: { status: "failed", error: recorded(told) },
      ...change,
      events: [...(change.events ?? []), ...undone.flatMap(Rollback.failedEvent)],
      release: true
    })
    return Effect.map(commit, (row) => ({ row, told }))
  })
  const settled = yield* Effect.exit(truth)
  if (Exit.isFailure(settled)) {
    if (yield* Ref.get(claimed.lost)) return yield* claimLost(before.id, held.operationId)
    // a ledger that fails from the work to the release is one failure, and the row still says what was last committed
    if (failed.code === "ERR_LEDGER_IO") return yield* withCommand(failed, `sandbox status ${before.id}`)
    return yield* unsettled(failed, before.id, SandboxError.fromCause(settled.cause, held.operationId).message)
  }
  const { row, told } = settled.value
  const way = recovery(row, "free")
  if (Cause.hasInterruptsOnly(cause)) {
    const { cleanupRequired, state } = row
    const clean = Lifecycle.isSettled(state) && !cleanupRequired && undone.every(({ exit }) => Exit.isSuccess(exit))
    // still an interruption, and one that says which operation of which session it was, and whether all of it is undone
    return yield* Effect.failCause(Cause.combine(cause, Cause.fail(clean ? told : notUndone(told, row, way))))
  }
  const ended = SandboxError.extend(told, { state: row.state })
  return yield* way === null ? ended : withCommand(ended, way.command)
})

/** Waits for a write no longer than a time, without cutting it short: a write that is under way may still happen. */
const withinTime = <A, E, R>(write: Effect.Effect<A, E, R>, duration: Duration.Duration) =>
  Effect.flatMap(Effect.forkDetach(write), (fiber) =>
    Effect.timeoutOrElse(Fiber.join(fiber), {
      duration,
      orElse: () =>
        Effect.fail(
          SandboxError.make("ERR_LEDGER_IO", { message: "the ledger did not answer in time", nextStep: "try again" })
        )
    })
  )

/**
 * Short waits for a ledger that is busy or unavailable for a moment: 100, 200, 400 ms.
 *
 * None where the ledger itself has waited for its server: it says what became of the write, and one whose outcome is
 * unknown must not be done a second time.
 */
const ledgerRetry = Schedule.exponential("100 millis").pipe(
  Schedule.upTo({ times: 3 }),
  Schedule.setInputType<{ readonly _tag: string }>(),
  Schedule.while(({ input }) => {
    if (input._tag !== "SandboxError") return false
    const { details, retryable } = input as SandboxError.SandboxError
    return retryable && details?.["outcome"] === undefined
  })
)
