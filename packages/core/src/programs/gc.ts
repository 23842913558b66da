/** `gc`: puts right what operations left that died, on the evidence of ledger and providers. */
import { Effect, Exit, type Path } from "effect"
import type { CheckpointStore } from "../CheckpointStore.ts"
import * as Claim from "../Claim.ts"
import type { GitServices } from "../Git.ts"
import type { Hasher } from "../Hasher.ts"
import type { Host } from "../Host.ts"
import { Ids } from "../Ids.ts"
import * as box from "../internal/box.ts"
import { recorded } from "../internal/failures.ts"
import { unserved } from "../internal/halt.ts"
import * as ready from "../internal/ready.ts"
import { type Change, Ledger, type OperationRequest, type UnreadableRow } from "../Ledger.ts"
import * as Lifecycle from "../Lifecycle.ts"
import { liveness } from "../Liveness.ts"
import type { GcOptions } from "../Options.ts"
import type { Ports } from "../Ports.ts"
import { Principal } from "../Principal.ts"
import type { Processes } from "../Processes.ts"
import { Provisioners } from "../Provisioners.ts"
import type { GcAction, GcResult, OperationResult } from "../Results.ts"
import * as SandboxError from "../SandboxError.ts"
import { Intent, Orphan, type Session } from "../Session.ts"
import * as Time from "../Time.ts"
import * as View from "../View.ts"
import { remove } from "./destroy.ts"
import { halt } from "./down.ts"
import { revive } from "./resume.ts"

type Services =
  | Ledger
  | Host
  | Processes
  | Ports
  | Path.Path
  | Ids
  | Hasher
  | CheckpointStore
  | Provisioners
  | Principal
  | GitServices

interface Finding {
  readonly session: Session
  readonly finding: string
  readonly action: GcAction["action"]
  readonly run: Effect.Effect<void, SandboxError.SandboxError, Services>
}

/**
 * Recovers the principal's sessions whose operation died, and resolves intents and orphans that may still have a box.
 *
 * Never acts on what a provider cannot say, never on an operation that is alive, and never on boxes that are not in this
 * ledger. One thing that cannot be put right does not stop the others.
 */
export const gc = Effect.fn("gc")(function* (options: GcOptions = {}) {
  const unreadable: Array<UnreadableRow> = []
  const findings = [
    ...(yield* deadOperations(options, unreadable)),
    ...(yield* openIntents(options, unreadable)),
    ...(yield* openOrphans(unreadable))
  ]
  const actions: Array<GcAction> = []
  for (const { action, finding, run, session } of findings) {
    const about = { sessionId: session.id, name: session.name, finding, action }
    if (options.dryRun === true) {
      actions.push({ ...about, outcome: "planned" })
      continue
    }
    const exit = yield* Effect.exit(action === "report" ? Effect.void : run)
    if (Exit.isSuccess(exit)) {
      actions.push({ ...about, outcome: action === "report" ? "skipped" : "done" })
    } else {
      const error = View.error(recorded(SandboxError.fromCause(exit.cause, null)))
      actions.push({ ...about, outcome: "failed", ...(error === null ? {} : { error }) })
    }
  }
  const result: GcResult = { dryRun: options.dryRun === true, actions, warnings: unreadable.map(damaged) }
  return result
})

const damaged = ({ id, problem }: UnreadableRow): string =>
  `the record ${id} is damaged, and what may be left of it was not looked at: ${problem}`

/** Sessions whose claim is dead, or that stand in a state that nobody is moving, or that may have left a box. */
const deadOperations = Effect.fnUntraced(function* (options: GcOptions, bad: Array<UnreadableRow>) {
  const owner = yield* Principal
  const now = yield* Time.millis
  // whatever has ended and left nothing cannot need recovery
  const { sessions, unreadable } = yield* (yield* Ledger).sessions({ owner, endedAfter: Number.MAX_SAFE_INTEGER })
  bad.push(...unreadable)
  const findings: Array<Finding> = []
  for (const session of sessions) {
    const status = yield* liveness(session.claim)
    if (status === "live" || now - session.updatedAt < (options.olderThan ?? 0)) continue
    if (status === "free" && Lifecycle.isSettled(session.state) && !session.cleanupRequired) continue
    const died = session.claim === null ? "" : `${session.claim.kind} died in phase ${session.claim.phase}; `
    findings.push({ session, finding: `${died}the session is ${session.state}`, ...(yield* recoveryOf(session)) })
  }
  return findings
})

const request = Effect.fnUntraced(function* (verb: string) {
  const operation: OperationRequest = {
    id: yield* (yield* Ids).next("op"),
    verb,
    clientRequestId: null,
    requestHash: "gc"
  }
  return operation
})

const recoveryOf = Effect.fnUntraced(function* (session: Session) {
  const recover = "recover" as const
  switch (session.state) {
    case "requested":
    case "provisioning":
    case "syncing": {
      const madeByUp = session.claim === null || session.claim.prior === null
      if (madeByUp) return { action: recover, run: rollBackUp(session, yield* request("gc")) }
      const operation = yield* request("resume")
      const run = Effect.flatMap(Provisioners, (all) =>
        Effect.flatMap(all.get(session.provider), (backend) => revive(session, backend, operation))
      )
      return { action: recover, run: Effect.asVoid(run) }
    }
    case "stopping":
    case "persisting":
      return { action: recover, run: Effect.asVoid(halt(session, yield* request("down"))) }
    case "tearing_down": {
      const given = { confirmDataLoss: true, force: false, forget: false, noPersist: false }
      return { action: recover, run: Effect.asVoid(remove(session, yield* request("destroy"), given)) }
    }
    case "failed":
      if (session.cleanupRequired) {
        return { action: "destroy_box" as const, run: cleanUp(session, yield* request("gc")) }
      }
      return { action: "drop_claim" as const, run: dropClaim(session, yield* request("gc")) }
    case "switching":
      return { action: "report" as const, run: Effect.void }
    default:
      return { action: "drop_claim" as const, run: dropClaim(session, yield* request("gc")) }
  }
})

/** Claims as gc, works, and leaves the row as it is when that fails. */
const underClaim = <R>(
  session: Session,
  operation: OperationRequest,
  use: (held: Claim.Held) => Effect.Effect<Change, SandboxError.SandboxError, R>
) =>
  Claim.withClaim(
    { session, kind: "gc", operation, from: Lifecycle.settledStates },
    {
      verb: "gc",
      use: (held) =>
        Effect.map(use(held), (change) => {
          const result: OperationResult = {
            sessionId: session.id,
            operationId: operation.id,
            state: change.move?.to ?? session.state,
            warnings: []
          }
          return ready.done(result, change)
        }),
      settle: (_, failure) => Effect.succeed({ set: { lastError: recorded(failure.error) } })
    }
  ).pipe(Effect.asVoid)

const removeBoxes = Effect.fnUntraced(function* (held: Claim.Held) {
  const backends = yield* Provisioners
  const now = yield* Time.millis
  const targets = yield* box.targets(yield* held.row)
  for (const target of targets) {
    const backend = yield* backends.get(target.provider)
    yield* held.phase("destroy", backend.destroy(target))
  }
  return targets.flatMap(({ intent }) => box.over(intent, now))
})

const rollBackUp = (session: Session, operation: OperationRequest) =>
  underClaim(session, operation, (held) =>
    Effect.gen(function* () {
      const intents = yield* removeBoxes(held)
      const died = SandboxError.make("ERR_SANDBOX_PROVISION_FAILED", {
        message: `up died in phase ${session.claim?.phase ?? "unknown"}; gc removed what it had made`,
        nextStep: "run up again",
        operationId: session.claim?.operationId ?? null,
        sessionId: session.id
      })
      return {
        move: yield* held.move("failed"),
        set: {
          instance: null,
          workspacePath: null,
          reservedName: null,
          slot: null,
          ...unserved,
          cleanupRequired: false,
          lastError: recorded(died)
        },
        intents
      }
    })
  )

const cleanUp = (session: Session, operation: OperationRequest) =>
  underClaim(session, operation, (held) =>
    Effect.map(removeBoxes(held), (intents) => ({
      set: { instance: null, workspacePath: null, cleanupRequired: false },
      intents
    }))
  )

const dropClaim = (session: Session, operation: OperationRequest) =>
  underClaim(session, operation, () => Effect.succeed({}))

/** The session of a leftover, when it is ours and nobody is moving it. */
const idleSession = Effect.fnUntraced(function* (sessionId: string) {
  // a damaged row is reported with the sessions; what belongs to it cannot be judged
  const found = yield* (yield* Ledger)
    .session(sessionId)
    .pipe(Effect.catchIf(SandboxError.hasCode("ERR_LEDGER_CORRUPT"), () => Effect.succeedNone))
  const session = found._tag === "Some" ? found.value : undefined
  if (session === undefined || session.owner !== (yield* Principal)) return undefined
  return (yield* liveness(session.claim)) === "free" && Lifecycle.isSettled(session.state) ? session : undefined
})

/** Creates that were never answered. */
const openIntents = Effect.fnUntraced(function* (options: GcOptions, bad: Array<UnreadableRow>) {
  const backends = yield* Provisioners
  const now = yield* Time.millis
  const findings: Array<Finding> = []
  const { records, unreadable } = yield* (yield* Ledger).openIntents
  bad.push(...unreadable)
  for (const intent of records) {
    const session = yield* idleSession(intent.sessionId)
    if (session === undefined || session.cleanupRequired || now - intent.createdAt < (options.olderThan ?? 0)) continue
    const operation = yield* request("gc")
    const seen = yield* Effect.flatMap(backends.get(intent.provider), (backend) => backend.find(intent)).pipe(
      Effect.catch((error) => Effect.succeed({ _tag: "unknown" as const, why: error.message }))
    )
    const close = underClaim(session, operation, () =>
      Effect.succeed({ intents: [new Intent({ ...intent, status: "closed" })] })
    )
    const what = `the create of ${intent.key} was never answered`
    if (seen._tag === "present") {
      const target = { scope: intent.scope, key: intent.key, ref: seen.ref }
      const destroy = Effect.flatMap(backends.get(intent.provider), (backend) => backend.destroy(target))
      const run = underClaim(session, operation, () =>
        Effect.as(destroy, { intents: [new Intent({ ...intent, status: "closed" })] })
      )
      findings.push({ session, finding: `${what}; its box exists and belongs to nobody`, action: "destroy_box", run })
    } else if (seen._tag === "absent" && intent.deadline <= now) {
      findings.push({ session, finding: `${what} in time; there is no box`, action: "close_intent", run: close })
    } else {
      const why = seen._tag === "absent" ? "it may still happen" : `its provider cannot be asked (${seen.why})`
      findings.push({ session, finding: `${what}; ${why}`, action: "report", run: Effect.void })
    }
  }
  return findings
})

/** Boxes that were given up while their provider could not be asked. */
const openOrphans = Effect.fnUntraced(function* (bad: Array<UnreadableRow>) {
  const backends = yield* Provisioners
  const findings: Array<Finding> = []
  const { records, unreadable } = yield* (yield* Ledger).openOrphans
  bad.push(...unreadable)
  for (const orphan of records) {
    const session = yield* idleSession(orphan.sessionId)
    if (session === undefined || session.state !== "destroyed") continue
    const operation = yield* request("gc")
    const run = underClaim(session, operation, () =>
      Effect.gen(function* () {
        const backend = yield* backends.get(orphan.provider)
        yield* backend.destroy(orphan)
        const resolvedAt = yield* Time.millis
        return {
          orphans: [new Orphan({ ...orphan, resolvedAt })],
          events: [{ type: "orphan_resolved", data: { key: orphan.key, provider: orphan.provider } }]
        }
      })
    )
    findings.push({ session, finding: `the box ${orphan.key} was ${orphan.reason}`, action: "destroy_box", run })
  }
  return findings
})
