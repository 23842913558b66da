/** `doctor`: what is wrong, and what would be done about it. Changes nothing. */
import { Effect } from "effect"
import { ok, problem, warning } from "../internal/doctor/diagnosis.ts"
import * as host from "../internal/doctor/host.ts"
import { providers, providersAlone } from "../internal/doctor/providers.ts"
import * as sessionsOf from "../internal/doctor/sessions.ts"
import { checkpointStore, checkpointStoreAlone } from "../internal/doctor/store.ts"
import { takeInventory } from "../internal/gc/inventory.ts"
import { count } from "../internal/unsaved.ts"
import { Ledger, type UnreadableRow } from "../Ledger.ts"
import type { DoctorOptions } from "../Options.ts"
import { Principal } from "../Principal.ts"
import type { DiagnosisView, DoctorResult, GcAction } from "../Results.ts"
import type * as SandboxError from "../SandboxError.ts"
import { gc } from "./gc.ts"

/** Looks at host, ledger, checkpoints, providers and the principal's sessions, and asks `gc` for its plan. */
export const doctor = Effect.fn("doctor")(function* (options: DoctorOptions = {}) {
  const ledger = yield* Ledger
  const owner = yield* Principal
  const unreadable: Array<UnreadableRow> = []
  const { sessions, ...damage } = yield* ledger.sessions({ owner })
  unreadable.push(...damage.unreadable)
  const living = sessions.filter(({ state }) => state !== "destroyed")
  const mentioned = living.filter(({ instance }) => instance !== null).map(({ provider }) => provider)
  const inventories = yield* takeInventory(mentioned)
  const left = yield* sessionsOf.leftovers(unreadable)
  const plan = yield* gc({ dryRun: true })
  return answer(
    [
      yield* host.git,
      ...(yield* host.stateDirectory),
      ...(yield* sessionsOf.ledgerHealth(sessions.length, unreadable)),
      ...(yield* checkpointStore),
      ...(yield* providers(inventories, mentioned)),
      ...(yield* host.mirrors),
      ...(yield* host.repositoryLocks(living)),
      ...(yield* sessionsOf.sessions(living, options.deep === true)),
      ...left,
      planned(plan.actions)
    ],
    plan.actions
  )
})

/** The same where no ledger is open: none was ever made, or `why` kept it from being opened. */
export const doctorWithout = Effect.fn("doctor")(function* (where: string, why: SandboxError.SandboxError | null) {
  const ledger =
    why === null
      ? ok("ledger", `there is none yet: the first session makes ${where}`)
      : problem("ledger", why.message, why.nextStep)
  return answer(
    [
      yield* host.git,
      ...(yield* host.stateDirectory),
      ledger,
      ...(yield* checkpointStoreAlone(why === null)),
      ...(yield* providersAlone),
      ...(yield* host.mirrors)
    ],
    []
  )
})

const answer = (diagnoses: ReadonlyArray<DiagnosisView>, actions: ReadonlyArray<GcAction>): DoctorResult => ({
  healthy: diagnoses.every(({ status }) => status !== "problem"),
  diagnoses,
  actions,
  warnings: []
})

/** What waits to be put right is no problem yet; a box that belongs to nobody costs money every day. */
const planned = (actions: ReadonlyArray<GcAction>): DiagnosisView => {
  const able = actions.filter(({ action }) => action !== "report")
  const told = actions.length - able.length
  if (actions.length === 0) return ok("gc", "there is nothing to put right")
  if (able.length === 0)
    return warning("gc", `${count(told, "thing")} that it can only report`, "see below what each is")
  const finding = `${count(able.length, "thing")} to put right${told === 0 ? "" : `, ${told} only to report`}`
  const wrong = able.some(({ action }) => action === "recover" || action === "destroy_box")
  return (wrong ? problem : warning)("gc", finding, "run `sandbox gc`")
}
