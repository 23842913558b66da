/**
 * The laws as a program: runs them on a provider and says which it keeps, without a test runner.
 */
import { Provisioner, type ProvisionerError } from "@org/sandbox-core/Provisioner"
import { Cause, Clock, Duration, Effect, Exit } from "effect"
import { type Capabilities, type Group, type Law, LawBroken, LawContext, membersOf, skipReason } from "./Law.ts"
import { capabilities, laws } from "./ProvisionerLaws.ts"

/** What became of a law. */
export type Verdict = {
  readonly name: string
  readonly group: Group
  /** How long the check took, in milliseconds. */
  readonly ms: number
} & (
  | { readonly status: "passed" }
  /** `problem`: what was expected and what was seen, or the failure that came instead. */
  | { readonly status: "failed"; readonly problem: string }
  /** `reason`: what the law needs and the provider has not. */
  | { readonly status: "skipped"; readonly reason: string }
)

/** What became of all of them. */
export interface Report {
  /** The provider's own name. */
  readonly provider: string
  readonly isolation: "none" | "container" | "vm"
  /** No law that could be checked is broken, and there was one to check. */
  readonly conforms: boolean
  readonly passed: number
  readonly failed: number
  readonly skipped: number
  /** In the order in which they were run. */
  readonly laws: ReadonlyArray<Verdict>
}

export interface Options {
  /** The groups to run; all, when absent. */
  readonly only?: ReadonlyArray<Group> | undefined
  /** Told of each law when it is done. */
  readonly onVerdict?: ((verdict: Verdict, done: number, total: number) => Effect.Effect<void>) | undefined
}

/**
 * Runs the laws, one after the other. A broken law is part of the answer and no failure.
 *
 * What a law made is removed before the next one starts; that holds too when the run is interrupted.
 */
export const run = Effect.fn("Conformance.run")(function* (
  options: Options = {}
): Effect.fn.Return<Report, never, Provisioner | LawContext> {
  const provisioner = yield* Provisioner
  const { patience, workspaceSource } = yield* LawContext
  const { only, onVerdict = () => Effect.void } = options
  const chosen = laws.filter(({ group }) => only === undefined || only.includes(group))
  const has = { ...(yield* capabilitiesFor(chosen)), workspaceSource: workspaceSource !== undefined }
  // a law waits for the platform a few times at most; the rest is room for the calls themselves
  const limit = Duration.times(Duration.fromInputUnsafe(patience), 4)

  const verdicts: Array<Verdict> = []
  for (const law of chosen) {
    const verdict = yield* judge(law, skipReason(law, has), limit)
    verdicts.push(verdict)
    yield* onVerdict(verdict, verdicts.length, chosen.length)
  }
  const count = (status: Verdict["status"]) => verdicts.filter((verdict) => verdict.status === status).length
  return {
    provider: provisioner.name,
    isolation: provisioner.isolation,
    conforms: count("failed") === 0 && count("passed") > 0,
    passed: count("passed"),
    failed: count("failed"),
    skipped: count("skipped"),
    laws: verdicts
  }
})

/** What the provider can do. One that gives no box to be asked in fails the laws that need one, and says why there. */
const capabilitiesFor = Effect.fnUntraced(function* (chosen: ReadonlyArray<Law>) {
  const provisioner = yield* Provisioner
  const members = membersOf(provisioner)
  const assumed: Capabilities = { ...members, isolation: provisioner.isolation !== "none", terminal: members.exec }
  if (!chosen.some(({ needs }) => needs.includes("terminal"))) return assumed
  return yield* Effect.catchCause(Effect.scoped(capabilities), (cause) =>
    Cause.hasInterruptsOnly(cause) ? Effect.interrupt : Effect.succeed(assumed)
  )
})

const judge = Effect.fnUntraced(function* (
  law: Law,
  reason: string | undefined,
  limit: Duration.Duration
): Effect.fn.Return<Verdict, never, Provisioner | LawContext> {
  const { group, name } = law
  if (reason !== undefined) return { name, group, ms: 0, status: "skipped", reason }
  const from = yield* Clock.currentTimeMillis
  const late = new LawBroken({ law: name, message: `It was not done within ${Duration.format(limit)}.` })
  const exit = yield* Effect.scoped(law.check).pipe(
    Effect.timeoutOrElse({ duration: limit, orElse: () => Effect.fail(late) }),
    Effect.exit
  )
  const ms = (yield* Clock.currentTimeMillis) - from
  if (Exit.isSuccess(exit)) return { name, group, ms, status: "passed" }
  if (Cause.hasInterruptsOnly(exit.cause)) return yield* Effect.interrupt
  return { name, group, ms, status: "failed", problem: problemOf(exit.cause) }
})

const problemOf = (cause: Cause.Cause<LawBroken | ProvisionerError>): string => {
  const error = cause.reasons.find(Cause.isFailReason)?.error
  if (error === undefined) return `The provider has a bug: ${String(Cause.squash(cause))}`
  return error._tag === "LawBroken" ? error.message : `${error.operation} failed with ${error.reason}: ${error.message}`
}
