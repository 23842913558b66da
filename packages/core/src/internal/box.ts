/** Making, starting and removing the box of a session, as phases of an operation that holds its claim. */
import { Duration, Effect, Exit, Result } from "effect"
import type { Held } from "../Claim.ts"
import { Ledger } from "../Ledger.ts"
import { publish } from "../Progress.ts"
import { labelNames, type PortRequest, type ProvisionIntent } from "../Provisioner.ts"
import { type Backend, CallPolicy, type Target } from "../Provisioners.ts"
import type { UndoOutcome } from "../Rollback.ts"
import * as SandboxError from "../SandboxError.ts"
import {
  type InstanceRef,
  Intent,
  instanceName,
  intentKey,
  keyGeneration,
  type Session,
  type SessionPatch
} from "../Session.ts"
import * as Slots from "../Slots.ts"
import * as Time from "../Time.ts"

/** The name of the undo that removes a new box; `settle` asks how it went. */
export const destroyUndo = "destroy the new box"
export const stopUndo = "stop the box again"

/** The open intent of the row's generation: what a dead attempt may have made. */
const openIntent = Effect.fnUntraced(function* (row: Session) {
  const { intents } = yield* (yield* Ledger).history(row.id)
  return intents.find(
    ({ generation, provider, status }) =>
      status === "open" && generation === row.generation && provider === row.provider
  )
})

const newIntent = Effect.fnUntraced(function* (row: Session, scope: string) {
  const now = yield* Time.millis
  const { provision } = yield* CallPolicy
  const generation = row.generation + 1
  const key = intentKey(row.id, generation)
  return new Intent({
    key,
    sessionId: row.id,
    generation,
    provider: row.provider,
    scope,
    name: instanceName(key),
    status: "open",
    deadline: now + Duration.toMillis(provision.limit),
    createdAt: now
  })
})

const labels = (ledgerId: string, row: Session, key: string): Readonly<Record<string, string>> => ({
  [labelNames.ledger]: ledgerId,
  [labelNames.owner]: row.owner,
  [labelNames.session]: row.id,
  [labelNames.generation]: String(keyGeneration(key)),
  [labelNames.key]: key,
  ...(row.expiresAt === null ? {} : { [labelNames.expiresAt]: String(row.expiresAt) })
})

/** A create that is asked for again may happen as late as one that is asked for first. */
const prolonged = Effect.fnUntraced(function* (intent: Intent) {
  const { provision } = yield* CallPolicy
  return new Intent({ ...intent, deadline: (yield* Time.millis) + Duration.toMillis(provision.limit) })
})

/** What services listen on; a port that was asked for by number is one of this host, too. */
const published = ({ setup }: Session): ReadonlyArray<PortRequest> =>
  setup === null
    ? []
    : setup.services
        .flatMap(({ ports }) => ports)
        .map(({ base, name }) => {
          const fixed = Slots.numberOf(setup.fixedPorts, name)
          return fixed === undefined ? { port: base } : { port: fixed, hostPort: fixed }
        })

/** Registers that a new box is removed again, if only by its key. */
export const destroyOnRollback = (held: Held, backend: Backend, target: Target) =>
  held.onRollback({
    name: destroyUndo,
    run: backend.destroy(target),
    evenIfLost: (current) =>
      current === null ||
      current.state === "tearing_down" ||
      current.state === "destroyed" ||
      current.generation > keyGeneration(target.key)
  })

/**
 * A new box for the session: the intent is committed, then the provider asked, then the reference committed.
 *
 * Re-entry goes on with the intent of the dead attempt, so that its box is adopted and never a second one made.
 */
export const make = Effect.fnUntraced(function* <R, R2, R3>(
  held: Held,
  backend: Backend,
  options: {
    /** Where to make it; asked only when no dead attempt has begun. */
    readonly scope: Effect.Effect<string, SandboxError.SandboxError, R>
    /** What is written with the intent; asked likewise. */
    readonly set: Effect.Effect<SessionPatch, SandboxError.SandboxError, R2>
    /** What is to happen before the provider is asked, given the key of the box. */
    readonly before: (key: string) => Effect.Effect<void, SandboxError.SandboxError, R3>
  }
) {
  const ledger = yield* Ledger
  const before = yield* held.row
  const inherited = before.state === "provisioning" ? yield* openIntent(before) : undefined
  const intent = inherited === undefined ? yield* newIntent(before, yield* options.scope) : yield* prolonged(inherited)
  // registered before the call: an interrupted create, also one of a dead attempt, may have made a box that only its key finds
  yield* destroyOnRollback(held, backend, { scope: intent.scope, key: intent.key, ref: null })
  if (inherited === undefined) {
    const set = yield* options.set
    const move = before.state === "provisioning" ? undefined : yield* held.move("provisioning")
    yield* held.commit({
      phase: "intent",
      move,
      set: { ...set, generation: intent.generation, instance: null },
      intents: [intent]
    })
  } else {
    yield* held.commit({ phase: "intent", intents: [intent] })
  }
  const row = yield* held.row
  const request: ProvisionIntent = {
    key: intent.key,
    scope: intent.scope,
    name: intent.name,
    labels: labels(ledger.id, row, intent.key),
    spec: row.spec,
    ports: published(row),
    deadline: intent.deadline,
    report: (text) =>
      publish({
        type: "output",
        operationId: held.operationId,
        sessionId: row.id,
        source: "provision",
        text: `${text}\n`
      })
  }
  yield* options.before(intent.key)
  const ref = yield* held.phase("provision", backend.provision(request))
  yield* held.commit({
    move: yield* held.move("syncing"),
    set: { instance: ref },
    intents: [new Intent({ ...intent, status: "bound" })]
  })
  return ref
})

/**
 * Brings an existing box to run; `false` when it is gone.
 *
 * On rollback a box that only a dead attempt had made is removed, and one that was halted before is halted again, whoever
 * started it.
 */
export const wake = Effect.fnUntraced(function* (held: Held, backend: Backend, ref: InstanceRef) {
  const { prior } = held
  const wasUp = prior !== null && (prior.state === "ready" || prior.state === "completed")
  if (prior === null || prior.instance === null) {
    yield* destroyOnRollback(held, backend, { scope: ref.scope, key: ref.key, ref })
  }
  const haltOnRollback =
    prior === null || prior.instance === null || wasUp
      ? Effect.void
      : held.onRollback({ name: stopUndo, run: backend.stop(ref) })
  const seen = yield* backend.inspect(ref)
  switch (seen._tag) {
    case "running":
      yield* haltOnRollback
      return true
    case "gone":
      return false
    case "unknown":
      yield* haltOnRollback
      yield* roused(held, backend, { ref, why: seen.why })
      return true
    case "stopped":
      yield* haltOnRollback
      yield* held.phase("start", backend.start(ref))
      return true
  }
})

/** Starts a box that cannot say what it is: its halt may have been cut short, and a start finishes that first. */
export const roused = Effect.fnUntraced(function* (
  held: Held,
  backend: Backend,
  { ref, why }: { readonly ref: InstanceRef; readonly why: string }
) {
  const started = yield* Effect.result(held.phase("start", backend.start(ref)))
  if (Result.isFailure(started) && started.failure.code === "ERR_CLAIM_LOST") return yield* started.failure
  if (Result.isFailure(started) || (yield* backend.inspect(ref))._tag !== "running")
    return yield* notSeen(backend.name, why)
})

/** A provider that cannot be asked: nothing may be concluded about the box. */
export const notSeen = (provider: string, why: string) =>
  SandboxError.make("ERR_SANDBOX_PROVISION_FAILED", {
    message: `provider ${provider} cannot say what became of the box: ${why}`,
    nextStep: "make the provider reachable, and try again",
    retryable: true,
    details: { provider, operation: "inspect", reason: "Unreachable", outcome: "not_applied" }
  })

/** Where the boxes of a session may be: the one its row refers to, and those that open intents may have made. */
export const targets = Effect.fnUntraced(function* (row: Session) {
  const { intents } = yield* (yield* Ledger).history(row.id)
  const open = intents.filter((intent) => intent.status === "open")
  const found: Array<Target & { readonly provider: string; readonly intent: Intent | null }> = open.map((intent) => ({
    provider: intent.provider,
    scope: intent.scope,
    key: intent.key,
    ref: null,
    intent
  }))
  const { instance } = row
  if (instance !== null) {
    found.push({
      provider: row.provider,
      scope: instance.scope,
      key: instance.key,
      ref: instance,
      intent: intents.find((intent) => intent.key === instance.key) ?? null
    })
  }
  return found
})

/**
 * The intents that are over when an operation that made a box has failed and been undone.
 *
 * A create whose answer never came may still happen: its intent stays open, and gc looks again until its deadline.
 */
export const finished = Effect.fnUntraced(function* (held: Held, error: SandboxError.SandboxError) {
  const row = yield* held.row
  const refused = error.details?.["outcome"] === "not_applied" && !held.inherited
  const answered = row.instance !== null || refused
  if (!answered) return []
  const { intents } = yield* (yield* Ledger).history(row.id)
  return intents
    .filter(
      ({ generation, provider, status }) =>
        generation === row.generation && provider === row.provider && status !== "closed"
    )
    .map((intent) => new Intent({ ...intent, status: "closed" }))
})

/** Whether a box of the session's newest generation may be left after the undos of a failed operation. */
export const isLeft = (row: Session, undone: ReadonlyArray<UndoOutcome>): boolean => {
  const removal = undone.find(({ name }) => name === destroyUndo)
  return removal === undefined ? row.instance !== null : Exit.isFailure(removal.exit)
}

/** The intent, closed, once its box was removed: unless its create was never answered and may still happen. */
export const over = (intent: Intent | null, now: number): ReadonlyArray<Intent> =>
  intent !== null && (intent.status === "bound" || intent.deadline <= now)
    ? [new Intent({ ...intent, status: "closed" })]
    : []
