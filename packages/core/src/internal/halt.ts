/** From a session that may run to one that is halted and saved: the phases that `down` and `destroy` share. */
import { Effect } from "effect"
import type { Failure, Held } from "../Claim.ts"
import type { Change } from "../Ledger.ts"
import type { State } from "../Lifecycle.ts"
import { type Backend, Provisioners } from "../Provisioners.ts"
import * as SandboxError from "../SandboxError.ts"
import { type InstanceRef, Intent, intentKey, type Prior, type Session, type SessionPatch } from "../Session.ts"
import * as Time from "../Time.ts"
import * as box from "./box.ts"
import * as compose from "./compose/end.ts"
import { read as readEnvironment } from "./environment.ts"
import { recorded } from "./failures.ts"
import * as hooks from "./hooks.ts"
import { save, stage, unstage } from "./save.ts"
import { nothingUnsaved } from "./unsaved.ts"

/** Where a claim to halt a session enters, by what an inherited crash left. */
export const entrance = (row: Session, prior: Prior | null): State => {
  switch (row.state) {
    case "requested":
    case "provisioning":
    case "syncing":
    case "switching":
      // nobody ever had this session to lose work in; it is simply removed
      return prior === null ? "tearing_down" : "stopping"
    case "persist_failed":
    case "stopped_unpersisted":
      return "persisting"
    case "persisting":
    case "tearing_down":
      return row.state
    default:
      return "stopping"
  }
}

/** A session that is halted listens on nothing, and keeps its slot. */
export const unserved = { ports: null, endpointUrl: null } as const

/** Stops the box unless it is seen halted, and proves it: ends in `persisting`. */
export const stop = Effect.fnUntraced(function* (
  held: Held,
  /** Who is refused where the box would take unsaved work along; none when that was given up. */
  refusing: "down" | "destroy" | undefined
) {
  const backends = yield* Provisioners
  const row = yield* held.row
  const stopped: Array<{ readonly ref: InstanceRef; readonly gone: boolean }> = []
  const closed: Array<Intent> = []
  const all = yield* box.targets(row)
  // creates that nobody answered, and that are not how this session came by its box, are for `gc` to look after
  const targets = all.filter(({ provider, ref }) => (row.instance === null ? provider === row.provider : ref !== null))
  for (const target of targets) {
    const backend = yield* backends.get(target.provider)
    const ref = target.ref ?? (yield* lookFor(backend, target))
    if (ref === null) {
      // nothing came of it; the intent stays open, because its create may still be answered late
      continue
    }
    if (target.ref !== null) yield* beforeHalt(held, backend, ref)
    // what cannot be read any more once it is halted is put aside before
    if (backend.haltIsTerminal && target.ref !== null) {
      const putAside = yield* held.phase("capture", stage(held, backend))
      // looked at again under the claim: work may have been done since
      if (!putAside && refusing !== undefined) yield* nothingUnsaved(row, refusing)
    }
    yield* hooks.endLeftovers(row, target.key)
    const gone = yield* held.phase("stop", halt(backend, ref))
    // a box that is gone may have parts that are not, such as a network
    if (gone && !backend.haltIsTerminal) yield* held.phase("leftovers", backend.destroy({ ...target, ref }))
    stopped.push({ ref, gone })
    if (target.intent !== null) closed.push(new Intent({ ...target.intent, status: gone ? "closed" : "bound" }))
  }
  const [kept] = stopped.filter(({ gone }) => !gone)
  const now = yield* Time.millis
  yield* held.commit({
    move: yield* held.move("persisting"),
    set: {
      instance: kept?.ref ?? null,
      cleanupRequired: false,
      stoppedAt: now,
      ...unserved,
      // what was seen of a running box says nothing about a halted one
      health: null
    },
    intents: closed
  })
})

/** The session's own `pre_down`, while it can still run: in a box that is up, of a session that was. */
export const beforeHalt = Effect.fnUntraced(function* (held: Held, backend: Backend, ref: InstanceRef) {
  const row = yield* held.row
  if (row.setup?.hooks.preDown === undefined || row.readyAt === null) return
  if ((yield* backend.inspect(ref))._tag !== "running") return
  const run = Effect.gen(function* () {
    const environment = yield* readEnvironment(backend, row)
    yield* hooks.inBox(held, backend, { ref, name: "preDown", environment })
  })
  yield* hooks.warned(held, run)
})

const lookFor = Effect.fnUntraced(function* (
  backend: Backend,
  target: { readonly scope: string; readonly key: string }
) {
  const seen = yield* backend.find(target)
  if (seen._tag === "unknown") return yield* cannotSee(backend.name, seen.why)
  return seen._tag === "present" ? seen.ref : null
})

/** Whether the box is gone altogether once it is halted. */
export const halt = Effect.fnUntraced(function* (backend: Backend, ref: InstanceRef) {
  const before = yield* backend.inspect(ref)
  // where halting ends the box, one that is still there was not halted to the end
  if (before._tag === "stopped" && !backend.haltIsTerminal) return false
  if (before._tag === "gone") return true
  yield* backend.stop(ref)
  const after = yield* backend.inspect(ref)
  if (after._tag === "unknown") return yield* cannotSee(backend.name, after.why)
  if (after._tag === "running") {
    return yield* SandboxError.make("ERR_STOP_FAILED", {
      message: `provider ${backend.name} answered that it stopped the box, but it still runs`,
      nextStep: "run the command again",
      details: { provider: backend.name, operation: "stop", reason: "Unknown", outcome: "unknown" }
    })
  }
  return after._tag === "gone"
})

const cannotSee = (provider: string, why: string) =>
  SandboxError.make("ERR_STOP_FAILED", {
    message: `provider ${provider} cannot say whether the box is halted: ${why}`,
    nextStep: "make the provider reachable, and run the command again",
    details: { provider, operation: "inspect", reason: "Unreachable", outcome: "unknown" }
  })

/** Saves the record and the work: ends in `stopped`, with the checkpoint in the same commit. `change` is what is left to commit. */
export const persist = Effect.fnUntraced(function* (held: Held) {
  const { checkpoint, staged } = yield* held.phase("save", save(held))
  yield* compose.haltOrWarn(held)
  const row = yield* held.row
  const key = row.instance?.key ?? intentKey(row.id, row.generation)
  yield* hooks.warned(held, hooks.onHost(held, "postDown", key))
  const change: Change = {
    move: yield* held.move("stopped"),
    set: { persistedAt: checkpoint.persistedAt, lastError: null },
    checkpoint
  }
  if (staged === undefined) return { checkpoint, change }
  // until it is recorded that the work is saved, what was put aside may be all there is of it
  yield* held.commit(change)
  yield* unstage(staged)
  return { checkpoint, change: {} satisfies Change }
})

/** The truth after a halt that failed or was interrupted. */
export const settle = Effect.fnUntraced(function* (held: Held, failure: Failure) {
  const row = yield* held.row
  const set = { lastError: recorded(failure.error) }
  if (row.state === "stopping") return yield* settleStop(held, row, set)
  if (row.state === "persisting") {
    const rejected =
      failure.error.code === "ERR_PERSIST_FAILED" || failure.error.code === "ERR_PERSIST_PAYLOAD_TOO_LARGE"
    return { move: yield* held.move(rejected ? "persist_failed" : "stopped_unpersisted"), set }
  }
  return { set }
})

/** A box that runs is as it was before; one that is halted is halted, unsaved; one that cannot be seen stays in `stopping`. */
const settleStop = Effect.fnUntraced(function* (held: Held, row: Session, set: SessionPatch) {
  if (row.instance === null) return { set }
  const { instance: ref } = row
  const seen = yield* (yield* Provisioners).get(row.provider).pipe(
    Effect.flatMap((backend) => backend.inspect(ref)),
    Effect.catch((error) => Effect.succeed({ _tag: "unknown" as const, why: error.message }))
  )
  if (seen._tag === "unknown") return { set }
  if (seen._tag === "running") {
    const { prior } = held
    const wasUp = prior !== null && (prior.state === "ready" || prior.state === "completed")
    // the box of a switch that died was never the one that was ready
    return wasUp && prior.provider === row.provider ? { move: yield* held.move(prior.state), set } : { set }
  }
  const stoppedAt = yield* Time.millis
  const instance = seen._tag === "gone" ? null : row.instance
  yield* held.commit({ move: yield* held.move("persisting"), set: { stoppedAt, instance, health: null, ...unserved } })
  return { move: yield* held.move("stopped_unpersisted"), set }
})
