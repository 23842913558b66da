/** Sessions whose operation died: brought on, or back, by what the operation had begun. */
import { Effect, Result } from "effect"
import type * as Claim from "../../Claim.ts"
import { Ledger, type OperationRequest } from "../../Ledger.ts"
import * as Lifecycle from "../../Lifecycle.ts"
import { liveness } from "../../Liveness.ts"
import type { GcOptions } from "../../Options.ts"
import { Provisioners } from "../../Provisioners.ts"
import { remove } from "../../programs/destroy.ts"
import { halt } from "../../programs/down.ts"
import { revive } from "../../programs/resume.ts"
import * as SandboxError from "../../SandboxError.ts"
import type { Session } from "../../Session.ts"
import * as Time from "../../Time.ts"
import * as box from "../box.ts"
import * as compose from "../compose/end.ts"
import { recorded } from "../failures.ts"
import { unserved } from "../halt.ts"
import * as hooks from "../hooks.ts"
import { isWritten, leftAt } from "../switch/between.ts"
import * as onward from "../switch/onward.ts"
import { retire } from "../switch/retire.ts"
import {
  type Finding,
  isCurrent,
  isRecent,
  report,
  request,
  type Services,
  underClaim,
  unlessDamaged
} from "./finding.ts"
import { presence } from "./leftovers.ts"

/** Sessions whose claim is dead, or that stand in a state that nobody is moving, or that may have left a box. */
export const deadOperations = Effect.fnUntraced(function* (sessions: ReadonlyArray<Session>, options: GcOptions) {
  const now = yield* Time.millis
  const findings: Array<Finding> = []
  for (const session of sessions) {
    const status = yield* liveness(session.claim)
    if (status === "live" || isRecent(now, session.updatedAt, options.olderThan)) continue
    if (status === "free" && Lifecycle.isSettled(session.state) && !session.cleanupRequired) continue
    if (!(yield* isCurrent(session))) continue
    const died = session.claim === null ? "" : `${session.claim.kind} died in phase ${session.claim.phase}; `
    const finding = `${died}the session is ${session.state}`
    findings.push(
      ...(yield* unlessDamaged(
        session,
        Effect.map(seenOf(session, finding), (found) => [found])
      ))
    )
  }
  return findings
})

/** Nothing is begun with boxes that cannot be seen, or not from here: what is half done stays as it is. */
const seenOf = Effect.fnUntraced(function* (session: Session, finding: string) {
  const why = touchesBoxes(session) && !(yield* isHalfHalted(session)) ? yield* whyUnseen(session) : undefined
  return why === undefined
    ? yield* recoveryOf(session, finding)
    : report(session, `${finding}; it is left so, because its box cannot be seen: ${why}`)
})

/** Whether a switch may have died while it halted the box: that cannot say what it is then, although its provider can be asked. */
const isHalfHalted = Effect.fnUntraced(function* (session: Session) {
  const prior = leftAt(session)
  if (prior === undefined || isWritten(session, prior)) return false
  const asked = Effect.flatMap(Provisioners, (all) => all.get(session.provider)).pipe(
    Effect.flatMap((backend) => backend.preflight(session.spec))
  )
  return Result.isSuccess(yield* Effect.result(asked))
})

const touchesBoxes = ({ cleanupRequired, state }: Session): boolean => !Lifecycle.isSettled(state) || cleanupRequired

/** Where no box is left to look at, the place of the last one is asked. */
const whyUnseen = Effect.fnUntraced(function* (session: Session) {
  const { intents } = yield* (yield* Ledger).history(session.id)
  const left = yield* box.targets(session)
  const places = left.length > 0 ? left : intents.slice(-1).map((intent) => ({ ...intent, ref: null }))
  for (const { key, provider, ref, scope } of places) {
    const seen = yield* presence(provider, { key, ref, scope })
    if (seen._tag === "unknown") return seen.why
  }
  return undefined
})

const recoveryOf = Effect.fnUntraced(function* (session: Session, finding: string) {
  const found = (
    action: Finding["action"],
    run: Effect.Effect<unknown, SandboxError.SandboxError, Services>
  ): Finding => ({
    session,
    finding,
    action,
    run: Effect.as(run, "done" as const)
  })
  const between = leftAt(session)
  if (between !== undefined) {
    const operation = yield* request("switch")
    return found(
      "recover",
      isWritten(session, between) ? onward.finish(session, operation) : onward.undo(session, between)
    )
  }
  switch (session.state) {
    case "requested":
    case "provisioning":
    case "syncing": {
      // a row that lost its claim tells by itself whether anybody ever had the session
      const madeByUp = session.claim === null ? session.readyAt === null : session.claim.prior === null
      if (madeByUp) return found("recover", rollBackUp(session, yield* request("gc")))
      const operation = yield* request("resume")
      const backend = Effect.flatMap(Provisioners, (all) => all.get(session.provider))
      return found(
        "recover",
        Effect.flatMap(backend, (backend) => revive(session, backend, operation)).pipe(
          Effect.andThen(retire(session.id))
        )
      )
    }
    case "stopping":
    case "persisting":
      return found("recover", halt(session, yield* request("down")))
    case "tearing_down": {
      const given = { confirmDataLoss: true, force: false, forget: false, noPersist: false }
      return found("recover", remove(session, yield* request("destroy"), given))
    }
    case "failed":
      return session.cleanupRequired
        ? found("destroy_box", cleanUp(session, yield* request("gc")))
        : found("drop_claim", dropClaim(session, yield* request("gc")))
    case "switching":
      return found("recover", halt(session, yield* request("down")))
    default:
      // whoever died may have been removing what the session has left
      return found("drop_claim", Effect.andThen(dropClaim(session, yield* request("gc")), retire(session.id)))
  }
})

const removeBoxes = Effect.fnUntraced(function* (held: Claim.Held) {
  const backends = yield* Provisioners
  const now = yield* Time.millis
  const row = yield* held.row
  const targets = yield* box.targets(row)
  const remove = Effect.fnUntraced(function* (target: (typeof targets)[number]) {
    const backend = yield* backends.get(target.provider)
    yield* hooks.endLeftovers(row, target.key)
    yield* held.phase("destroy", backend.destroy(target))
  })
  yield* compose.removeWith(row, Effect.forEach(targets, remove, { discard: true }))
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
