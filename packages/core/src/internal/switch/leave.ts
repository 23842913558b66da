/** Leaving the old box: halted through its own provider, and put on record in the very commit that names the new one. */
import { Effect, Result } from "effect"
import type { Held } from "../../Claim.ts"
import { Ids } from "../../Ids.ts"
import { Ledger, type SlotRequest } from "../../Ledger.ts"
import type { Backend } from "../../Provisioners.ts"
import type { SandboxError } from "../../SandboxError.ts"
import { type InstanceRef, Intent, keyGeneration, Orphan, type Session } from "../../Session.ts"
import * as Time from "../../Time.ts"
import * as compose from "../compose/end.ts"
import { halt, unserved } from "../halt.ts"
import * as hooks from "../hooks.ts"
import { wasUp } from "./between.ts"

/** What became of the old box. `left`: it could not be stopped, and may run on. */
export type Left =
  | { readonly _tag: "none" }
  | { readonly _tag: "halted"; readonly ref: InstanceRef }
  | { readonly _tag: "gone"; readonly ref: InstanceRef }
  | { readonly _tag: "left"; readonly ref: InstanceRef; readonly problem: SandboxError }

/** Halts the old box and proves it. An interruption is no failed stop: it ends the switch, and leaves nothing on record. */
export const leave = Effect.fnUntraced(function* (held: Held, old: Backend, onStopFailure: "record" | "abort") {
  const row = yield* held.row
  const { instance: ref } = row
  if (ref === null) return { _tag: "none" } satisfies Left
  const stopped = yield* Effect.result(held.phase("stop", stop(row, old, ref)))
  if (Result.isFailure(stopped)) {
    const problem = stopped.failure
    if (onStopFailure === "abort" || problem.code === "ERR_CLAIM_LOST" || problem.code === "ERR_LEDGER_IO")
      return yield* problem
    yield* compose.haltOrWarn(held)
    yield* held.warn(`the old box could not be stopped, and \`sandbox gc\` removes it later: ${problem.message}`)
    return { _tag: "left", ref, problem } satisfies Left
  }
  yield* compose.haltOrWarn(held)
  const isGone = stopped.success
  // a box that is gone may have parts that are not, such as a network
  if (isGone && !old.haltIsTerminal)
    yield* held.phase("leftovers", old.destroy({ scope: ref.scope, key: ref.key, ref }))
  if (held.prior !== null && wasUp(held.prior)) yield* hooks.warned(held, hooks.onHost(held, "postDown", ref.key))
  yield* held.commit({
    phase: "stopped",
    set: { ...unserved, stoppedAt: yield* Time.millis, health: null, ...(isGone ? { instance: null } : {}) },
    intents: isGone ? yield* closed(row, ref.key) : []
  })
  return { _tag: isGone ? "gone" : "halted", ref } satisfies Left
})

/** Whether the box is gone altogether once it is halted. One whose stop failed and that is halted all the same is halted. */
const stop = Effect.fnUntraced(function* (row: Session, old: Backend, ref: InstanceRef) {
  yield* hooks.endLeftovers(row, ref.key)
  const halted = yield* Effect.result(halt(old, ref))
  if (Result.isSuccess(halted)) return halted.success
  const seen = yield* old.inspect(ref)
  if (seen._tag === "gone") return true
  if (seen._tag === "stopped" && !old.haltIsTerminal) return false
  return yield* halted.failure
})

/**
 * The provider, the box that is left, and the work that travels: one commit, so that no crash parts them. A box that was left on
 * the new side before, and is `adopted`, is there already.
 */
export const write = Effect.fnUntraced(function* (
  held: Held,
  {
    acceptSetup,
    adopted,
    checkpoint,
    left,
    saved,
    slot,
    to
  }: {
    readonly to: string
    /** Whether what the session runs may run on this host from now on. */
    readonly acceptSetup: boolean
    readonly left: Left
    /** The checkpoint that the new checkout is to be made of. */
    readonly checkpoint: string | null
    /** The one that has what the old box holds. */
    readonly saved: string | null
    /** Of the host that the new box listens on, where the session has none there. */
    readonly slot: SlotRequest | undefined
    readonly adopted: (Orphan & { readonly ref: InstanceRef }) | undefined
  }
) {
  const row = yield* held.row
  const ids = yield* Ids
  const { intents } = yield* (yield* Ledger).history(row.id)
  const now = yield* Time.millis
  const isThere = left._tag === "halted" || left._tag === "left"
  const orphan = isThere
    ? new Orphan({
        id: yield* ids.next("orp"),
        sessionId: row.id,
        operationId: held.operationId,
        provider: row.provider,
        scope: left.ref.scope,
        ref: left.ref,
        key: left.ref.key,
        reason: left._tag === "left" ? "stop_exhausted" : "retired",
        checkpoint: saved,
        workspacePath: row.workspacePath,
        createdAt: now,
        resolvedAt: null
      })
    : undefined
  const old = isThere ? left.ref.key : undefined
  const exhausted =
    left._tag === "left"
      ? [
          {
            type: "switch_stop_exhausted",
            data: { key: left.ref.key, provider: row.provider, problem: left.problem.message, recovery: "sandbox gc" }
          }
        ]
      : []
  yield* held.commit({
    phase: "written",
    move: adopted === undefined ? undefined : yield* held.move("provisioning"),
    slot,
    set: {
      ...unserved,
      ...(acceptSetup && row.setup !== null ? { setup: { ...row.setup, accepted: true } } : {}),
      provider: to,
      instance: adopted?.ref ?? null,
      workspacePath: adopted?.workspacePath ?? null,
      restoreFrom: checkpoint,
      cleanupRequired: false,
      health: null,
      stoppedAt: row.stoppedAt ?? now
    },
    intents: intents.flatMap((intent) => {
      if (intent.key === adopted?.key) return [new Intent({ ...intent, status: "bound" })]
      return intent.key === old ? [new Intent({ ...intent, status: "closed" })] : []
    }),
    orphans: [
      ...(orphan === undefined ? [] : [orphan]),
      ...(adopted === undefined ? [] : [new Orphan({ ...adopted, resolvedAt: now })])
    ],
    events: [
      ...exhausted,
      { type: "provider_changed", data: { from: row.provider, to, checkpoint, box: adopted?.key ?? null } }
    ]
  })
})

/** The newest box that the session has left on a provider, where it has not been ready without it since. */
export const leftOn = Effect.fnUntraced(function* (held: Held, to: Backend) {
  const row = yield* held.row
  if (row.restoreFrom === null || held.prior?.state !== "failed") return undefined
  const { orphans } = yield* (yield* Ledger).history(row.id)
  const [newest] = orphans
    .filter(({ createdAt, provider, resolvedAt }) => {
      const isLast = row.readyAt === null || row.readyAt < createdAt
      return resolvedAt === null && provider === to.name && isLast
    })
    .toSorted((a, b) => keyGeneration(b.key) - keyGeneration(a.key))
  if (newest === undefined || newest.ref === null) return undefined
  const { ref } = newest
  const seen = yield* to.inspect(ref)
  return seen._tag === "running" || seen._tag === "stopped" ? { ...newest, ref } : undefined
})

/** The intent of a box that the row refers to no more. */
const closed = Effect.fnUntraced(function* (row: Session, key: string) {
  const { intents } = yield* (yield* Ledger).history(row.id)
  return intents
    .filter((intent) => intent.key === key && intent.status !== "closed")
    .map((intent) => new Intent({ ...intent, status: "closed" }))
})
