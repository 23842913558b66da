/**
 * The points of a command: the moments just before and just after each write of the ledger, each call of a provider and
 * each step of the checkpoint store. They are counted as they are passed, so that nobody has to list them.
 */
import { appendFileSync } from "node:fs"
import { Effect } from "effect"
import type { Disturbance } from "../../support/ownEngine.ts"

/**
 * What happens at a point. `lost`: done, but the answer never came; `once`: not done, and repeating it helps; what disturbs
 * the engine, somebody else does while the command is halted for a moment.
 */
export type Fault = "SIGKILL" | "SIGINT" | "SIGSTOP" | "lost" | "once" | Disturbance

/** How a process is told, in `CRASH_CONTROL`, what to do. */
export interface Control {
  /** A file that gets one line for every point that is passed. */
  readonly record: string
  /** The point, counted from 1, and what happens there; nothing ever does, when absent. */
  readonly at?: number | undefined
  readonly fault?: Fault | undefined
}

const text = process.env["CRASH_CONTROL"]
export const control: Control | undefined = text === undefined ? undefined : JSON.parse(text)

let passed = 0

/** Counts the point, and answers what is to happen there. */
const pass = (kind: string, name: string, side: "before" | "after"): Fault | undefined => {
  if (control === undefined) return undefined
  passed += 1
  appendFileSync(control.record, `${kind} ${side} ${name}\n`)
  return passed === control.at ? control.fault : undefined
}

/** Signals this very process, and goes on only when the signal has had its effect. */
const signal = (name: NodeJS.Signals): Effect.Effect<void> =>
  Effect.callback((resume) => {
    process.kill(process.pid, name)
    // a handler runs in a later turn of the event loop, and what it interrupts is this very wait
    setTimeout(() => resume(Effect.void), 20)
  })

const struck = (fault: Fault | undefined): Effect.Effect<void> => {
  if (fault === undefined || fault === "lost" || fault === "once") return Effect.void
  return signal(fault === "SIGKILL" || fault === "SIGINT" ? fault : "SIGSTOP")
}

/** A call with a point on either side. `spoiled` makes the error of a call that a fault spoils; none, where it cannot fail so. */
export const around = <A, E, R, E2 = never>(
  kind: string,
  name: string,
  call: Effect.Effect<A, E, R>,
  spoiled?: (fault: "lost" | "once") => E2
): Effect.Effect<A, E | E2, R> =>
  Effect.gen(function* () {
    const before = pass(kind, name, "before")
    yield* struck(before)
    if (before === "once" && spoiled !== undefined) return yield* Effect.fail(spoiled(before))
    const answer = yield* Effect.onError(call, () => Effect.suspend(() => struck(pass(kind, name, "after"))))
    const after = pass(kind, name, "after")
    yield* struck(after)
    if (after === "lost" && spoiled !== undefined) return yield* Effect.fail(spoiled(after))
    return answer
  })
