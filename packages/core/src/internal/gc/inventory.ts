/** What the providers have under this ledger's label, beside what the ledger says they should have. */
import { Duration, Effect, Option, Stream } from "effect"
import { Ledger } from "../../Ledger.ts"
import type { GcOptions } from "../../Options.ts"
import { Principal } from "../../Principal.ts"
import { labelNames, type OwnedInstance } from "../../Provisioner.ts"
import { type Backend, CallPolicy, Provisioners } from "../../Provisioners.ts"
import * as SandboxError from "../../SandboxError.ts"
import { type InstanceRef, keyGeneration, type Session } from "../../Session.ts"
import * as Time from "../../Time.ts"
import { count } from "../unsaved.ts"
import { canSee, status } from "../visible.ts"
import { cannotSee, type Finding, isCurrent, isIdle, isRecent, report, unlessDamaged, whileIdle } from "./finding.ts"

/** What a provider answered: as much of the list as came, and why there is no more of it. */
export interface Inventory {
  readonly provider: string
  readonly backend: Backend | undefined
  readonly boxes: ReadonlyArray<OwnedInstance>
  readonly problem: string | undefined
}

/** Asks every registered provider, and those that `mentioned` sessions are on even where they are not registered. */
export const takeInventory = Effect.fnUntraced(function* (mentioned: ReadonlyArray<string>) {
  const ledger = yield* Ledger
  const provisioners = yield* Provisioners
  const { look } = yield* CallPolicy
  const names = [...new Set([...mentioned, ...provisioners.names])].toSorted()
  return yield* Effect.forEach(
    names,
    Effect.fnUntraced(function* (provider) {
      const boxes: Array<OwnedInstance> = []
      const loaded = yield* Effect.result(provisioners.get(provider))
      if (loaded._tag === "Failure") {
        return { provider, backend: undefined, boxes, problem: loaded.failure.message } satisfies Inventory
      }
      const backend = loaded.success
      const listed = yield* Stream.runForEach(backend.list(ledger.id), (box) =>
        Effect.sync(() => boxes.push(box))
      ).pipe(
        Effect.timeoutOrElse({ duration: look.limit, orElse: () => Effect.fail(silent(provider, look.limit)) }),
        Effect.result
      )
      const problem = listed._tag === "Failure" ? listed.failure.message : undefined
      return { provider, backend, boxes, problem } satisfies Inventory
    }),
    { concurrency: 4 }
  )
})

const silent = (provider: string, limit: Duration.Duration) =>
  SandboxError.make("ERR_PROVIDER_UNAVAILABLE", {
    message: `provider ${provider} did not list its boxes within ${Duration.format(limit)}`,
    nextStep: "try again"
  })

/** Providers that could not be asked, once each; one that nobody ever used is nobody's concern. */
export const unasked = (inventories: ReadonlyArray<Inventory>, mentioned: ReadonlyArray<string>) =>
  inventories.flatMap(({ problem, provider }) =>
    problem === undefined || !mentioned.includes(provider)
      ? []
      : [report(null, `what provider ${provider} has cannot be told, so nothing is concluded about it: ${problem}`)]
  )

/** Boxes that no row refers to. `destroyUnknown`: also those of sessions that this ledger has never heard of. */
export const strayBoxes = Effect.fnUntraced(function* (
  inventories: ReadonlyArray<Inventory>,
  options: GcOptions,
  destroyUnknown: boolean
) {
  const findings: Array<Finding> = []
  for (const { backend, boxes } of inventories) {
    for (const box of backend === undefined ? [] : boxes) {
      findings.push(...(yield* judge(backend!, box, options, destroyUnknown)))
    }
  }
  return findings
})

const judge = Effect.fnUntraced(function* (
  backend: Backend,
  box: OwnedInstance,
  options: GcOptions,
  destroyUnknown: boolean
) {
  const { key } = box.ref
  const found = yield* Effect.result((yield* Ledger).session(sessionOf(key)))
  // a row that cannot be read is told of with the sessions, and nothing can be said of its boxes
  if (found._tag === "Failure") {
    if (found.failure.code === "ERR_LEDGER_CORRUPT") return []
    return yield* found.failure
  }
  if (Option.isNone(found.success)) return yield* unknownSession(backend, box, destroyUnknown)
  const session = found.success.value
  if (session.owner !== (yield* Principal) || session.cleanupRequired || !(yield* isIdle(session))) return []
  if (isRecent(yield* Time.millis, session.updatedAt, options.olderThan)) return []
  return yield* unlessDamaged(session, judgeOf(session, backend, box.ref))
})

/** A box of an idle session. */
const judgeOf = Effect.fnUntraced(function* (session: Session, backend: Backend, ref: InstanceRef) {
  const { key } = ref
  if (session.instance?.id === ref.id || (yield* isAccounted(session, key))) return []
  if (keyGeneration(key) > session.generation) {
    return [
      report(
        session,
        `the box ${key} is newer than what the ledger knows of it: was the ledger restored from a backup?`
      )
    ]
  }
  const seen = yield* backend.inspect(ref)
  if (!(yield* isCurrent(session))) return []
  if (seen._tag === "unknown")
    return [report(session, `the box ${key} belongs to nobody, and cannot be seen: ${seen.why}`)]
  // what somebody has removed since it was listed has left nothing
  if (seen._tag === "gone" && !(yield* isListed(backend, ref))) return []
  const kept = seen._tag === "gone" ? undefined : yield* whyKept(session, backend, ref)
  if (kept !== undefined) return [report(session, `the box ${key} belongs to nobody; it is kept, because ${kept}`)]
  const run = whileIdle(
    session.id,
    Effect.fnUntraced(function* (row) {
      if (row.instance?.id === ref.id || keyGeneration(key) > row.generation || row.cleanupRequired) return false
      return !(yield* isAccounted(row, key)) && (yield* isListed(backend, ref))
    }),
    (held) =>
      Effect.gen(function* () {
        yield* held.phase("destroy", destroyUnlessWorkedIn(yield* held.row, backend, ref))
        return { events: [{ type: "box_removed", data: { key, provider: backend.name } }] }
      })
  )
  const what =
    seen._tag === "gone" ? `the box ${key} is gone, and left something behind` : `the box ${key} belongs to nobody`
  const finding: Finding = { session, finding: what, action: "destroy_box", run }
  return [finding]
})

/** Whether the provider still has anything of the box. What cannot be told now is told by a later look. */
const isListed = Effect.fnUntraced(function* (backend: Backend, ref: InstanceRef) {
  const { look } = yield* CallPolicy
  return yield* backend.list((yield* Ledger).id).pipe(
    Stream.filter((box) => box.ref.id === ref.id),
    Stream.runHead,
    Effect.map(Option.isSome),
    Effect.timeoutOrElse({ duration: look.limit, orElse: () => Effect.succeed(false) }),
    Effect.orElseSucceed(() => false)
  )
})

/** Looked at again under the claim: what may hold work by now stays. */
const destroyUnlessWorkedIn = Effect.fnUntraced(function* (row: Session, backend: Backend, ref: InstanceRef) {
  const seen = yield* backend.inspect(ref)
  if (seen._tag === "unknown") return yield* cannotSee(backend.name, ref.key, seen.why)
  const kept = seen._tag === "gone" ? undefined : yield* whyKept(row, backend, ref)
  if (kept !== undefined) return yield* keeps(ref.key, kept)
  yield* backend.destroy({ scope: ref.scope, key: ref.key, ref })
})

const keeps = (key: string, why: string) =>
  SandboxError.make("ERR_DATA_LOSS_UNCONFIRMED", {
    message: `the box ${key} is kept, because ${why}`,
    nextStep: "save what is in it"
  })

/** Whether open intents or orphans speak of the box: they are judged by themselves. */
const isAccounted = Effect.fnUntraced(function* (session: Session, key: string) {
  const { intents, orphans } = yield* (yield* Ledger).history(session.id)
  return (
    intents.some((intent) => intent.key === key && intent.status === "open") ||
    orphans.some((orphan) => orphan.key === key && orphan.resolvedAt === null)
  )
})

/** Why a box that no row refers to must stay all the same. */
const whyKept = Effect.fnUntraced(function* (session: Session, backend: Backend, ref: InstanceRef) {
  // nobody ever had it, or it was given up with its session
  if (session.readyAt === null || session.state === "destroyed") return undefined
  const later = session.instance !== null && keyGeneration(session.instance.key) > keyGeneration(ref.key)
  const moved = later && (session.state === "ready" || session.state === "completed")
  return canSee(backend) || !moved ? yield* work(backend, ref, session.commit) : undefined
})

/** What may be lost with a box, in words; none where nothing can be. */
const work = Effect.fnUntraced(function* (backend: Backend, ref: InstanceRef, base: string | null) {
  if (!canSee(backend)) {
    return `whether there is work in it cannot be seen by provider ${backend.name}`
  }
  const seen = yield* Effect.result(status(backend, ref, base))
  if (seen._tag === "Failure") return `whether there is work in it could not be seen: ${seen.failure.message}`
  const { dirtyFiles, present, unpublishedCommits } = seen.success
  if (!present || (dirtyFiles === 0 && unpublishedCommits === 0)) return undefined
  return `${count(dirtyFiles, "changed or untracked file")} and ${count(unpublishedCommits, "commit")} are nowhere else`
})

/** A box with our label whose session is in no row: of a ledger that was restored, or that somebody else has. */
const unknownSession = Effect.fnUntraced(function* (
  backend: Backend,
  { labels, ref }: OwnedInstance,
  destroyUnknown: boolean
) {
  const owner = labels[labelNames.owner]
  if (owner !== undefined && owner !== (yield* Principal)) return []
  const what = `the box ${ref.key} of provider ${backend.name} is of a session that this ledger has never heard of`
  const kept = owner === undefined ? "nobody's name is on it" : yield* work(backend, ref, null)
  if (kept !== undefined) {
    return [
      report(null, `${what}; it is kept, because ${kept}: look into it, and remove it with the provider's own tools`)
    ]
  }
  if (!destroyUnknown) return [report(null, `${what}; \`sandbox gc --orphans\` removes it`)]
  const ledger = yield* Ledger
  const run = Effect.gen(function* () {
    if (Option.isSome(yield* ledger.session(sessionOf(ref.key)))) return "skipped" as const
    const why = yield* work(backend, ref, null)
    if (why !== undefined) return yield* keeps(ref.key, why)
    yield* backend.destroy({ scope: ref.scope, key: ref.key, ref })
    return "done" as const
  })
  const finding: Finding = { session: null, finding: what, action: "destroy_box", run }
  return [finding]
})

/** The session in a key made by `intentKey`. */
const sessionOf = (key: string): string => key.slice(0, Math.max(0, key.lastIndexOf(".g")))
