/**
 * The points of a command: the moments just before and just after each write of the ledger, each call of a provider and
 * each step of the checkpoint store. They are counted as they are passed, so that nobody has to list them.
 */
import { appendFileSync } from "node:fs"
import { Effect } from "effect"
import type { Disturbance } from "../../support/ownEngine.ts"

/**
 * How a call of a provider fails. `lost`: done, but the answer never came; `once`: not done, and repeating it helps;
 * `failing`: from then on it is refused each time; `silent`: from then on the provider answers nothing, whatever it is asked.
 */
export type Spoiling = "lost" | "once" | "failing" | "silent"

/**
 * What happens at a point. `late`: the process sleeps until somebody else has gone on; then the provider does what it was asked
 * for, and the process is gone; what disturbs the engine, somebody else does while the command is halted for a moment.
 */
export type Fault = "SIGKILL" | "SIGINT" | "SIGSTOP" | "late" | Spoiling | Disturbance

/** How a process is told, in `CRASH_CONTROL`, what to do. */
export interface Control {
  /** A file that gets one line for every point that is passed. */
  readonly record: string
  /** The point, counted from 1, or the first one of a name, and what happens there; nothing ever does, when absent. */
  readonly at?: number | string | undefined
  readonly fault?: Fault | undefined
  /** Calls that are refused each time, such as `provider other provision`. */
  readonly refused?: ReadonlyArray<string> | undefined
}

const text = process.env["CRASH_CONTROL"]
export const control: Control | undefined = text === undefined ? undefined : JSON.parse(text)

let passed = 0
let isDone = false

const refused = new Set(control?.refused)
const silent = new Set<string>()

/** Whether nothing of this kind answers any more. */
export const isSilent = (kind: string): boolean => silent.has(kind)

/** Counts the point, and answers what is to happen there. */
const pass = (kind: string, name: string, side: "before" | "after"): Fault | undefined => {
  if (control === undefined) return undefined
  passed += 1
  const point = `${kind} ${side} ${name}`
  appendFileSync(control.record, `${point}\n`)
  if (isDone || (passed !== control.at && point !== control.at)) return undefined
  isDone = true
  return control.fault
}

/** Signals this very process, and goes on only when the signal has had its effect. */
const signal = (name: NodeJS.Signals): Effect.Effect<void> =>
  Effect.callback((resume) => {
    process.kill(process.pid, name)
    // a handler runs in a later turn of the event loop, and what it interrupts is this very wait
    setTimeout(() => resume(Effect.void), 20)
  })

const killedAfter = <A, E, R>(call: Effect.Effect<A, E, R>) => Effect.onExit(call, () => signal("SIGKILL"))

const spoiling: ReadonlyArray<Fault | undefined> = ["lost", "once", "failing", "silent"]

const struck = (fault: Fault | undefined): Effect.Effect<void> => {
  if (fault === undefined || spoiling.includes(fault)) return Effect.void
  return signal(fault === "SIGKILL" || fault === "SIGINT" ? fault : "SIGSTOP")
}

/** A call with a point on either side. `spoiled` makes the error of a call that a fault spoils; none, where it cannot fail so. */
export const around = <A, E, R, E2 = never>(
  kind: string,
  name: string,
  call: Effect.Effect<A, E, R>,
  spoiled?: (fault: Spoiling) => E2
): Effect.Effect<A, E | E2, R> =>
  Effect.gen(function* () {
    const before = pass(kind, name, "before")
    if (before === "failing") refused.add(`${kind} ${name}`)
    if (before === "silent") silent.add(kind)
    // who wakes and sees that somebody else has gone on does not ask any more: here it was asked already
    if (before === "late") return yield* Effect.uninterruptible(Effect.andThen(struck(before), killedAfter(call)))
    yield* struck(before)
    const how = before === "once" ? before : isSilent(kind) ? "silent" : refused.has(`${kind} ${name}`) && "failing"
    if (how !== false && spoiled !== undefined) return yield* Effect.fail(spoiled(how))
    const answer = yield* Effect.onError(call, () => Effect.suspend(() => struck(pass(kind, name, "after"))))
    const after = pass(kind, name, "after")
    yield* struck(after)
    if (after === "lost" && spoiled !== undefined) return yield* Effect.fail(spoiled(after))
    return answer
  })
