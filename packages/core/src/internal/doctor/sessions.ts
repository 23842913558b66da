/** The principal's sessions that are not where they should be, and what is left of those that were. */
import { Duration, Effect, Result } from "effect"
import { Ledger, type UnreadableRow } from "../../Ledger.ts"
import * as Lifecycle from "../../Lifecycle.ts"
import { liveness } from "../../Liveness.ts"
import { Principal } from "../../Principal.ts"
import { Provisioners } from "../../Provisioners.ts"
import { recovery } from "../../Recovery.ts"
import type { DiagnosisView } from "../../Results.ts"
import * as SandboxError from "../../SandboxError.ts"
import type { Liveness, Session } from "../../Session.ts"
import * as Time from "../../Time.ts"
import * as View from "../../View.ts"
import * as checkpoints from "../checkpoints.ts"
import { isExpired } from "../gc/expiry.ts"
import { isCurrent } from "../gc/finding.ts"
import { told } from "../gc/leftovers.ts"
import { isUp, observe } from "../gc/lost.ts"
import { count } from "../unsaved.ts"
import { failed, ok, problem, warning } from "./diagnosis.ts"

/** How long an operation may take before somebody should look at it. */
const long = Duration.minutes(15)

const aboutOf = (session: Session): string => `session ${session.name}`

/** One entry for each that needs something, and one for all that need nothing. `deep`: their checkpoints are read whole. */
export const sessions = Effect.fnUntraced(function* (living: ReadonlyArray<Session>, deep: boolean) {
  const found = yield* Effect.forEach(
    living,
    (session) =>
      Effect.catchIf(examine(session, deep), SandboxError.hasCode("ERR_LEDGER_CORRUPT"), (error) =>
        Effect.succeed([problem(aboutOf(session), error.message, error.nextStep)])
      ),
    { concurrency: 4 }
  )
  const fine = found.filter((diagnoses) => diagnoses.length === 0).length
  const summary = living.length === 0 ? "there are none" : `${fine} of ${living.length} need nothing`
  return [ok("sessions", summary), ...found.flat()]
})

const examine = Effect.fnUntraced(function* (session: Session, deep: boolean) {
  const status = yield* liveness(session.claim)
  const now = yield* Time.millis
  const about = aboutOf(session)
  if (status === "live" && session.claim !== null) {
    const { acquiredAt, holder, kind, phase } = session.claim
    if (now - acquiredAt < Duration.toMillis(long)) return []
    const finding = `${kind} has been at it for ${Math.floor((now - acquiredAt) / 60_000)} min (pid ${holder.pid}, ${phase})`
    return [warning(about, finding, `wait for it, or take the session over: \`sandbox down ${session.id} --force\``)]
  }
  const standing = stands(session, status)
  const box = isUp(session) && status === "free" ? yield* boxOf(session) : []
  const overdue = isExpired(session, now)
    ? [
        warning(
          about,
          `it was to be up until ${View.iso(session.expiresAt!)}`,
          "run `sandbox gc`: it halts the session"
        )
      ]
    : []
  const found = [...standing, ...box, ...overdue, ...(yield* saved(session, deep))]
  return found.length === 0 || (yield* isCurrent(session)) ? found : []
})

/** What the row alone tells. */
const stands = (session: Session, status: Liveness): ReadonlyArray<DiagnosisView> => {
  const way = recovery(session, status)
  if (way === null) return []
  const harmless = session.state === "failed" && status === "free" && !session.cleanupRequired
  const why = session.lastError === null ? "" : `: ${session.lastError.message}`
  const finding = `${session.state}${status === "stale" ? ", and its operation is dead" : ""}${harmless ? why : ""}; ${way.reason}`
  return [(harmless ? warning : problem)(aboutOf(session), finding, `run \`${way.command}\``)]
}

const boxOf = Effect.fnUntraced(function* (session: Session) {
  const about = aboutOf(session)
  const seen = yield* observe(session)
  switch (seen._tag) {
    case "running":
      return []
    case "stopped":
      return [warning(about, `${session.state}, but its box is halted`, `run \`sandbox resume ${session.id}\``)]
    case "gone":
      return [problem(about, `${session.state}, but its box is gone`, `run \`sandbox resume ${session.id}\``)]
    case "unknown":
      return [warning(about, `its box cannot be seen: ${seen.why}`, "make its provider reachable, and look again")]
  }
})

/** Whether the newest checkpoints can be used: their manifests at least. */
const saved = Effect.fnUntraced(function* (session: Session, deep: boolean) {
  const { last, withWork } = yield* checkpoints.newest(session)
  const recorded = deep
    ? (yield* (yield* Ledger).history(session.id)).checkpoints
    : [...new Set([withWork, last])].filter((checkpoint) => checkpoint !== undefined)
  const found = yield* Effect.forEach(
    recorded,
    Effect.fnUntraced(function* (checkpoint) {
      const seen = yield* Effect.result(
        deep ? Effect.asVoid(checkpoints.verify(checkpoint)) : Effect.asVoid(checkpoints.manifestOf(checkpoint))
      )
      return Result.isSuccess(seen) ? [] : [yield* unusable(session, seen.failure)]
    })
  )
  return found.flat()
})

/** A store that cannot be read says nothing of what is in it, and one on this host nothing of what another host saved. */
const unusable = Effect.fnUntraced(function* (session: Session, failure: SandboxError.SandboxError) {
  const about = aboutOf(session)
  const told = checkpoints.problemOf(failure)
  if (told === undefined)
    return warning(about, `what was saved cannot be looked at: ${failure.message}`, failure.nextStep)
  const elsewhere = told === "missing" && (yield* Ledger).shared && !(yield* isHere(session))
  if (!elsewhere) return problem(about, failure.message, instead(session))
  return warning(
    about,
    `${failure.message}; another host may have it`,
    "look at it with `sandbox doctor` where it was saved"
  )
})

const isHere = Effect.fnUntraced(function* ({ instance, provider }: Session) {
  if (instance === null) return false
  const reached = Effect.flatMap((yield* Provisioners).get(provider), (backend) => backend.inspect(instance))
  return yield* Effect.match(reached, { onFailure: () => false, onSuccess: ({ _tag }) => _tag !== "unknown" })
})

/** What to do about a checkpoint that cannot be used. */
const instead = (session: Session): string => {
  if (isUp(session)) return `save the work again with \`sandbox checkpoint create ${session.id}\``
  return session.instance === null
    ? `see which can be used with \`sandbox checkpoint verify ${session.id}\``
    : `go on with what its box still holds: \`sandbox resume ${session.id} --force\``
}

/** Boxes that may exist although no row refers to them, as far as the ledger knows. */
export const leftovers = Effect.fnUntraced(function* (unreadable: Array<UnreadableRow>) {
  const ledger = yield* Ledger
  const owner = yield* Principal
  const now = yield* Time.millis
  const orphans = yield* ledger.openOrphans
  const intents = yield* ledger.openIntents
  unreadable.push(...(yield* told([...orphans.unreadable, ...intents.unreadable])))
  const own = (sessionId: string) =>
    Effect.map(
      Effect.orElseSucceed(
        Effect.map(ledger.session(sessionId), (row) => (row._tag === "Some" ? row.value : undefined)),
        () => undefined
      ),
      (session) => (session?.owner === owner ? session : undefined)
    )
  const found: Array<DiagnosisView> = []
  for (const { key, provider, reason, scope, sessionId } of orphans.records) {
    const session = yield* own(sessionId)
    if (session === undefined) continue
    const finding = `the box ${key} (${provider} at ${scope}) was ${reason.replace("_", " ")}, and may still exist`
    found.push(
      problem(aboutOf(session), finding, "run `sandbox gc`: it removes the box once its provider can be asked")
    )
  }
  for (const { deadline, key, provider, sessionId } of intents.records) {
    const session = yield* own(sessionId)
    // whoever is at it, or recovers it, knows of it
    if (session === undefined || deadline > now || !Lifecycle.isSettled(session.state)) continue
    const finding = `the create of ${key} was never answered by ${provider}`
    found.push(warning(aboutOf(session), finding, "run `sandbox gc`: it looks for the box and removes it"))
  }
  return found
})

/** What of the ledger can be read. */
export const ledgerHealth = Effect.fnUntraced(function* (rows: number, unreadable: ReadonlyArray<UnreadableRow>) {
  const ledger = yield* Ledger
  const way = "restore the ledger from a backup; nothing else is hidden by it"
  const checked = yield* Effect.result(ledger.check)
  const wrong = Result.isFailure(checked)
    ? [failed("ledger", checked.failure)]
    : checked.success.map((said) =>
        problem("ledger", `its file is damaged: ${said}`, "restore the ledger from a backup")
      )
  const damaged = unreadable.map(({ id, problem: why }) =>
    problem("ledger", `the record ${id} is damaged: ${why}`, way)
  )
  const found = [...wrong, ...damaged]
  return found.length === 0 ? [ok("ledger", `${ledger.id}; ${count(rows, "session")} of yours`)] : found
})
