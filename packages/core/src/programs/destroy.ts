/** `destroy`: removes a session's box and frees its name, losing nothing that was not given up by name. */
import { Effect, Result } from "effect"
import * as Claim from "../Claim.ts"
import { Ids } from "../Ids.ts"
import * as box from "../internal/box.ts"
import { isOurs } from "../internal/boxCheckout.ts"
import * as checkpoints from "../internal/checkpoints.ts"
import { refuseDuringExport } from "../internal/failures.ts"
import * as halting from "../internal/halt.ts"
import { refuseElsewhere } from "../internal/reach.ts"
import * as ready from "../internal/ready.ts"
import { standing } from "../internal/requests.ts"
import * as sessions from "../internal/sessions.ts"
import { removed, tearDown } from "../internal/teardown.ts"
import { count, nothingUnsaved, refuseVolume } from "../internal/unsaved.ts"
import { Ledger, type OperationRequest } from "../Ledger.ts"
import type { State } from "../Lifecycle.ts"
import { liveness } from "../Liveness.ts"
import type { DestroyOptions } from "../Options.ts"
import { type Backend, Provisioners } from "../Provisioners.ts"
import type { DestroyResult } from "../Results.ts"
import * as SandboxError from "../SandboxError.ts"
import { Intent, Orphan, type Prior, type Session } from "../Session.ts"
import * as Setup from "../Setup.ts"
import * as Teardown from "../Teardown.ts"
import * as Time from "../Time.ts"
import * as View from "../View.ts"

/**
 * Brings a session to `destroyed`: its box proven gone, its name free; destroyed already is success.
 *
 * A session in use is halted and saved first, and a save that fails stops there. Fails with `ERR_FORCE_REQUIRED` for a
 * `ready` session without `force`, and with `ERR_DATA_LOSS_UNCONFIRMED` while there is work nobody else has.
 */
export const destroy = Effect.fn("destroy")(function* (options: DestroyOptions) {
  const session = yield* sessions.find(options.session)
  const { confirmDataLoss = false, force = false, forget = false, noPersist = false } = options
  const before = yield* standing("destroy", { session: session.id, noPersist, forget }, options)
  if (before._tag === "succeeded") {
    return { ...(before.operation.result as unknown as DestroyResult), replayed: true as const }
  }
  const decision = Teardown.decide(session.state, { force, confirmDataLoss })
  if (decision._tag === "already") {
    const { withWork } = yield* checkpoints.newest(session)
    return already(session, withWork === undefined ? null : View.checkpoint(withWork))
  }
  yield* refuseDuringExport(session, "destroy", before.operation.id)
  if ((noPersist || forget) && !confirmDataLoss) {
    return yield* refused("ERR_DATA_LOSS_UNCONFIRMED", session, noPersist ? "--no-persist" : "--forget")
  }
  if (decision._tag === "refuse" && !forget) return yield* refused(decision.code, session, "destroy")
  if (!forget) yield* refuseElsewhere(session)
  // a session that somebody is moving is refused by the claim, before anything of it is looked at
  const moved = (yield* liveness(session.claim)) === "live"
  const doubt = forget || moved ? undefined : yield* doubtOf(session, force || confirmDataLoss)
  // a provider that cannot be called at all is a refusal now, and a half-done teardown later
  const backend = forget ? undefined : yield* (yield* Provisioners).get(session.provider)
  const halts = decision._tag === "proceed" && decision.save && !noPersist
  const saving = halts && backend !== undefined && isSaving(session, backend)
  if (!confirmDataLoss && !moved && !saving) yield* nothingUnsaved(session, "destroy")
  return yield* remove(session, before.operation, { confirmDataLoss, doubt, force, forget, noPersist })
})

/** Whether halting saves the work: what is there is looked at again then. */
const isSaving = (session: Session, backend: Backend): boolean =>
  (session.workspacePath !== null || isOurs(backend)) && Setup.keeping(session.setup).checkpoint === "on_down"

/** What is wrong with the save of a halted session, once that was overlooked by force; a refusal until then. */
const doubtOf = Effect.fnUntraced(function* (session: Session, overlooked: boolean) {
  if (session.state !== "stopped") return undefined
  const looked = yield* Effect.result(checkpoints.requireValid(session))
  if (Result.isSuccess(looked)) return undefined
  if (overlooked && looked.failure.code === "ERR_CHECKPOINT_INVALID") return looked.failure.message
  return yield* SandboxError.extend(looked.failure, {
    nextStep: `save what the box still holds with \`sandbox checkpoint create ${session.id}\`, or go on without: \`sandbox destroy ${session.id} --force\``,
    sessionId: session.id,
    state: session.state
  })
})

/** Halts, saves and removes under a claim, as far as each is still to be done. */
export const remove = Effect.fnUntraced(function* (
  session: Session,
  operation: OperationRequest,
  options: {
    readonly confirmDataLoss: boolean
    /** What is wrong with the last save, and was overlooked. */
    readonly doubt?: string | undefined
    readonly force: boolean
    readonly forget: boolean
    readonly noPersist: boolean
  }
) {
  // the claim is taken of the row as it is here, or not at all
  if (!options.confirmDataLoss) yield* refuseVolume(session, "destroy")
  return yield* Claim.withClaim(
    {
      session,
      kind: "destroy",
      operation,
      force: options.force,
      from: [
        "ready",
        "completed",
        "stopped",
        "failed",
        "persist_failed",
        "stopped_unpersisted",
        "requested",
        "provisioning",
        "syncing",
        "switching"
      ],
      enter: entrance
    },
    {
      verb: "destroy",
      use: Effect.fnUntraced(function* (held: Claim.Held) {
        if (options.forget) return yield* forgotten(held)
        const entered = (yield* held.row).state
        if (entered === "stopping") {
          if (options.noPersist) yield* held.commit({ move: yield* held.move("tearing_down") })
          else yield* halting.stop(held, options.confirmDataLoss ? undefined : "destroy")
        }
        if ((yield* held.row).state === "persisting") {
          yield* held.commit((yield* halting.persist(held)).change)
        }
        const row = yield* held.row
        if (row.state !== "tearing_down") {
          // looked at again under the claim, with nothing running any more
          if (!options.confirmDataLoss) yield* nothingUnsaved(row, "destroy", entered !== row.state)
          const { doubt } = options
          if (doubt !== undefined) yield* held.warn(doubt)
          yield* held.commit({
            move: yield* held.move("tearing_down"),
            events: doubt === undefined ? [] : [{ type: "checkpoint_overlooked", data: { problem: doubt } }]
          })
        }
        const { change, destroyedAt } = yield* tearDown(held)
        return ready.done(yield* result(held, destroyedAt), change)
      }),
      settle: halting.settle
    }
  )
})

const entrance = (row: Session, prior: Prior | null): State => {
  switch (row.state) {
    case "stopped":
    case "failed":
    case "persist_failed":
    case "stopped_unpersisted":
      // stays until what would be lost has been looked at under the claim
      return row.state
    default:
      return halting.entrance(row, prior)
  }
}

/** The way out of a row whose provider is gone for good: every step is recorded, and no provider is asked. */
const forgotten = Effect.fnUntraced(function* (held: Claim.Held) {
  const ids = yield* Ids
  const row = yield* held.row
  const now = yield* Time.millis
  const targets = yield* box.targets(row)
  const orphans: Array<Orphan> = []
  for (const { key, provider, ref, scope } of targets) {
    orphans.push(
      new Orphan({
        id: yield* ids.next("orp"),
        sessionId: row.id,
        operationId: held.operationId,
        provider,
        scope,
        ref,
        key,
        reason: "abandoned",
        createdAt: now,
        resolvedAt: null
      })
    )
  }
  if (row.setup?.compose !== undefined)
    yield* held.warn("its compose services may still exist: `sandbox gc` removes them")
  if (row.state === "persisting") yield* held.commit({ move: yield* held.move("stopped_unpersisted") })
  if ((yield* held.row).state !== "tearing_down") yield* held.commit({ move: yield* held.move("tearing_down") })
  yield* held.warn(`${count(orphans.length, "box")} of ${row.name} may still exist and cost money: nobody was asked`)
  return ready.done(
    { ...(yield* result(held, now)), forgotten: true as const },
    {
      move: yield* held.move("destroyed"),
      set: removed(now),
      orphans,
      intents: targets.flatMap(({ intent }) => (intent === null ? [] : [new Intent({ ...intent, status: "closed" })])),
      events: [{ type: "box_forgotten", data: { boxes: orphans.map(({ key, provider }) => ({ key, provider })) } }]
    }
  )
})

const result = Effect.fnUntraced(function* (held: Claim.Held, destroyedAt: number) {
  const { id, name, provider } = yield* held.row
  const { checkpoints } = yield* (yield* Ledger).history(id)
  const kept = checkpoints.findLast(({ fingerprint }) => fingerprint !== null)
  const answer: DestroyResult = {
    sessionId: id,
    name,
    provider,
    operationId: held.operationId,
    state: "destroyed",
    destroyedAt: View.iso(destroyedAt),
    checkpoint: kept === undefined ? null : View.checkpoint(kept),
    warnings: yield* held.warnings
  }
  return answer
})

const already = (session: Session, checkpoint: DestroyResult["checkpoint"]): DestroyResult => ({
  sessionId: session.id,
  name: session.name,
  provider: session.provider,
  operationId: null,
  state: session.state,
  already: true,
  destroyedAt: View.isoOrNull(session.destroyedAt),
  checkpoint,
  warnings: []
})

const refused = (code: "ERR_FORCE_REQUIRED" | "ERR_DATA_LOSS_UNCONFIRMED", session: Session, what: string) => {
  const command =
    what === "destroy"
      ? `sandbox destroy ${session.id} --force${code === "ERR_DATA_LOSS_UNCONFIRMED" ? " --confirm-data-loss" : ""}`
      : `sandbox destroy ${session.id} --force ${what} --confirm-data-loss`
  return SandboxError.make(code, {
    message:
      code === "ERR_FORCE_REQUIRED"
        ? `${session.name} is ${session.state}: destroying it must be asked for explicitly`
        : `${what} gives up what is not saved of ${session.name}`,
    nextStep: `keep the work with \`sandbox down ${session.id}\`, or go on with \`${command}\``,
    sessionId: session.id,
    state: session.state
  })
}
