/** `down`: halts a session and saves its record, keeping the work. */
import { Effect } from "effect"
import * as Claim from "../Claim.ts"
import { isOurs } from "../internal/boxCheckout.ts"
import * as halting from "../internal/halt.ts"
import { refuseElsewhere } from "../internal/reach.ts"
import * as ready from "../internal/ready.ts"
import { standing } from "../internal/requests.ts"
import * as sessions from "../internal/sessions.ts"
import { tearDown } from "../internal/teardown.ts"
import { nothingUnsaved, refuseVolume } from "../internal/unsaved.ts"
import { type Change, Ledger, type OperationRequest } from "../Ledger.ts"
import { liveness } from "../Liveness.ts"
import type { DownOptions } from "../Options.ts"
import { type Backend, Provisioners } from "../Provisioners.ts"
import type { DownResult } from "../Results.ts"
import * as SandboxError from "../SandboxError.ts"
import type { Session } from "../Session.ts"
import * as Setup from "../Setup.ts"
import * as View from "../View.ts"

/**
 * Brings a session to `stopped`: the box is halted, its record saved and read back.
 *
 * On an `up` that died it removes what that had made and ends in `destroyed`. Re-enters where an earlier `down` died, and
 * on a session that is stopped it does nothing.
 */
export const down = Effect.fn("down")(function* (options: DownOptions) {
  const session = yield* sessions.find(options.session)
  const { deleteWorktree } = options
  const before = yield* standing("down", { session: session.id, deleteWorktree }, options)
  if (before._tag === "succeeded") {
    const replayed = before.operation.result as unknown as Halted
    return { ...replayed, stateTransitions: yield* transitions(session.id), replayed: true as const }
  }
  const nothing = nothingToDo(session) && !(deleteWorktree === true && session.state === "stopped")
  if ((yield* liveness(session.claim)) !== "live" && nothing) return yield* already(session)
  yield* refuseElsewhere(session)
  const backend = yield* (yield* Provisioners).get(session.provider)
  if (deleteWorktree === true && isOurs(backend)) return yield* inItsBox(session, backend)
  if (options.confirmDataLoss !== true && backend.haltIsTerminal) yield* refuseVolume(session, "down")
  if (options.confirmDataLoss !== true && isLosing(session, backend, deleteWorktree === true)) {
    yield* nothingUnsaved(session, deleteWorktree === true ? "down --delete-worktree" : "down")
  }
  const result = yield* halt(session, before.operation, options)
  const answer: DownResult = { ...result, stateTransitions: yield* transitions(session.id) }
  return answer
})

/** Whether something may go with the box or the checkout that halting does not save. */
export const isLosing = (session: Session, backend: Backend, deleteWorktree: boolean): boolean => {
  const unsaved = Setup.keeping(session.setup).checkpoint === "manual" || session.state === "stopped"
  const unseen = session.workspacePath === null && !isOurs(backend)
  return (backend.haltIsTerminal && unseen) || ((backend.haltIsTerminal || deleteWorktree) && unsaved)
}

const inItsBox = (session: Session, { name }: Backend) =>
  SandboxError.make("ERR_UNSUPPORTED", {
    message: `the checkout of ${session.name} is in its box alone, and stays there until that is destroyed`,
    nextStep: `leave --delete-worktree out, or remove both with \`sandbox destroy ${session.id}\``,
    sessionId: session.id,
    state: session.state,
    details: { provider: name, capability: "workspace", field: "delete_worktree" }
  })

/** Halts and saves under a claim. */
export const halt = Effect.fnUntraced(function* (
  session: Session,
  operation: OperationRequest,
  options: Pick<DownOptions, "force" | "deleteWorktree" | "confirmDataLoss"> = {}
) {
  return yield* Claim.withClaim(
    {
      session,
      kind: "down",
      operation,
      force: options.force,
      from: [
        "ready",
        "completed",
        ...(options.deleteWorktree === true ? (["stopped"] as const) : []),
        "failed",
        "persist_failed",
        "stopped_unpersisted",
        "requested",
        "provisioning",
        "syncing",
        "switching"
      ],
      enter: (row, prior) => (row.state === "stopped" ? "stopped" : halting.entrance(row, prior))
    },
    { verb: "down", use: (held) => use(held, options), settle: halting.settle }
  )
})

const use = Effect.fnUntraced(function* (
  held: Claim.Held,
  options: Pick<DownOptions, "deleteWorktree" | "confirmDataLoss">
) {
  const entered = yield* held.row
  if (entered.state === "tearing_down") {
    const { change, destroyedAt: _ } = yield* tearDown(held)
    return ready.done(yield* result(held, { state: "destroyed", checkpoint: null, persistedAt: null }), change)
  }
  if (entered.state === "stopped") {
    const { checkpoints } = yield* (yield* Ledger).history(entered.id)
    const end = { state: "stopped", checkpoint: View.lastCheckpoint(checkpoints) } as const
    const answer = { ...end, persistedAt: View.isoOrNull(entered.persistedAt) }
    return ready.done(yield* result(held, answer), yield* detach(held, {}, options))
  }
  if (entered.state === "stopping") {
    yield* halting.stop(held, options.confirmDataLoss === true ? undefined : "down")
  }
  const { change, checkpoint } = yield* halting.persist(held)
  const last = options.deleteWorktree === true ? yield* detach(held, change, options) : change
  return ready.done(
    yield* result(held, {
      state: "stopped",
      checkpoint: View.checkpoint(checkpoint),
      persistedAt: View.iso(checkpoint.persistedAt)
    }),
    last
  )
})

/** Removes the checkout of a session that is halted and saved already, so that a refusal leaves it just that. */
const detach = Effect.fnUntraced(function* (
  held: Claim.Held,
  saved: Change,
  options: Pick<DownOptions, "confirmDataLoss">
) {
  const row = yield* held.commit(saved)
  if (row.instance === null) return {}
  const backend = yield* (yield* Provisioners).get(row.provider)
  // looked at again with nothing running any more
  if (options.confirmDataLoss !== true) yield* nothingUnsaved(row, "down --delete-worktree", true)
  yield* held.phase("detach", backend.detach(row.instance))
  return { set: { workspacePath: null } } satisfies Change
})

/** What is recorded; the transitions are read when it is answered, the last one being part of the same commit. */
type Halted = Omit<DownResult, "stateTransitions">

const result = Effect.fnUntraced(function* (
  held: Claim.Held,
  end: Pick<DownResult, "state" | "checkpoint" | "persistedAt">
) {
  const row = yield* held.row
  const answer: Halted = {
    sessionId: row.id,
    name: row.name,
    operationId: held.operationId,
    ...end,
    stoppedAt: View.isoOrNull(row.stoppedAt),
    warnings: yield* held.warnings
  }
  return answer
})

const transitions = Effect.fnUntraced(function* (sessionId: string) {
  return View.transitions((yield* (yield* Ledger).history(sessionId)).events)
})

const nothingToDo = (session: Session): boolean =>
  session.state === "stopped" ||
  session.state === "destroyed" ||
  (session.state === "failed" && (session.instance === null || session.readyAt === null))

const already = Effect.fnUntraced(function* (session: Session) {
  const { checkpoints, events } = yield* (yield* Ledger).history(session.id)
  const answer: DownResult = {
    sessionId: session.id,
    name: session.name,
    operationId: null,
    state: session.state,
    already: true,
    stoppedAt: View.isoOrNull(session.stoppedAt),
    persistedAt: View.isoOrNull(session.persistedAt),
    checkpoint: View.lastCheckpoint(checkpoints),
    stateTransitions: View.transitions(events),
    warnings: session.cleanupRequired ? ["a box may have been left: `sandbox gc` looks for it and removes it"] : []
  }
  return answer
})
