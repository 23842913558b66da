/** Saving a session: build its record, capture its work, write, read back, compare. */
import { Effect, Option, Result, Stream } from "effect"
import { CheckpointStore, type Draft } from "../CheckpointStore.ts"
import type { Held } from "../Claim.ts"
import { Hasher } from "../Hasher.ts"
import { Ids } from "../Ids.ts"
import { Ledger } from "../Ledger.ts"
import * as Manifest from "../Manifest.ts"
import { type Backend, Provisioners } from "../Provisioners.ts"
import * as SandboxError from "../SandboxError.ts"
import { Checkpoint, type CheckpointReason, type Event, type Session } from "../Session.ts"
import * as SessionRecord from "../SessionRecord.ts"
import { Limits } from "../Settings.ts"
import * as Setup from "../Setup.ts"
import * as Time from "../Time.ts"
import * as View from "../View.ts"
import * as Work from "../Work.ts"
import * as checkpoints from "./checkpoints.ts"
import * as transfer from "./transfer.ts"
import { visible } from "./visible.ts"
import { type CaptureOptions, capture } from "./work/capture.ts"

const entered =
  (state: "stopping" | "persisting") =>
  (event: Event): boolean =>
    event.type === "transition" && event.data["to"] === state

const idOf = (session: Session, entry: Event): string => `ckp_${session.id.slice("sbx_".length)}_${entry.seq}`

/**
 * Publishes a halted session and proves it by reading it back.
 *
 * Id, time and history follow from the move to `persisting`: the time that record, row and checkpoint share, the
 * checkpoint's id, and how much of the history is saved. So a second attempt after a crash saves the same.
 */
export const save = Effect.fnUntraced(function* (held: Held) {
  const session = yield* held.row
  const { events } = yield* (yield* Ledger).history(session.id)
  const entry = events.findLast(entered("persisting"))
  if (entry === undefined) return yield* Effect.die(`session ${session.id} is persisting without having begun to`)
  const source = yield* workToSave(session, events)
  const saved = yield* publish({
    session,
    id: idOf(session, entry),
    persistedAt: entry.at,
    history: events.filter((event) => event.seq <= entry.seq),
    reason: "down",
    source
  }).pipe(
    Effect.mapError(rejected),
    Effect.mapError((error) => (source?._tag === "checkout" && source.options.copied ? halted(session, error) : error))
  )
  yield* Effect.forEach(saved.warnings, held.warn)
  return { checkpoint: saved.checkpoint, staged: source?._tag === "staged" ? source.id : undefined }
}, Effect.scoped)

/** Lets go of what was put aside, once what was saved of it is committed. What stays is found by `gc`. */
export const unstage = (id: string) =>
  Effect.flatMap(CheckpointStore, (store) => store.remove(id)).pipe(
    Effect.catch((error) => Effect.logWarning(`checkpoint ${id} is not needed any more, and stays`, error))
  )

/** A save that could not be made is one thing, whatever kept it from being made. */
const rejected = (error: SandboxError.SandboxError) =>
  error.code === "ERR_CHECKPOINT_FAILED" ? SandboxError.make("ERR_PERSIST_FAILED", SandboxError.fields(error)) : error

/** What is wrong with a checkout that its box alone has can be put right only while that runs. */
const halted = ({ id }: Session, error: SandboxError.SandboxError) =>
  error.code === "ERR_PERSIST_FAILED" && !error.retryable
    ? SandboxError.extend(error, {
        nextStep: `start the box with \`sandbox resume ${id} --force\`: ${error.nextStep}`
      })
    : error

/** Where the work of a checkpoint comes from: the checkout, or what was put aside before a halt that ended the box. */
type Source =
  | { readonly _tag: "checkout"; readonly options: CaptureOptions }
  | { readonly _tag: "staged"; readonly id: string; readonly manifest: Manifest.Manifest }

const workToSave = Effect.fnUntraced(function* (session: Session, events: ReadonlyArray<Event>) {
  if (Setup.keeping(session.setup).checkpoint === "manual") return undefined
  const backend = yield* (yield* Provisioners).get(session.provider)
  const options = yield* visible(session, backend)
  if (options !== undefined) return { _tag: "checkout", options } satisfies Source
  const halt = events.findLast(entered("stopping"))
  if (halt === undefined) return undefined
  const id = idOf(session, halt)
  const stored = yield* (yield* CheckpointStore).manifest(id)
  if (Option.isNone(stored)) return undefined
  const decoded = Manifest.decode(stored.value)
  return Result.isSuccess(decoded) ? ({ _tag: "staged", id, manifest: decoded.success } satisfies Source) : undefined
})

/**
 * Puts the work aside before a halt that ends the box; what is saved afterwards is made of it. `false` where nothing was put
 * aside: it is not to be saved, or cannot be seen.
 */
export const stage = Effect.fnUntraced(function* (held: Held, backend: Backend) {
  const session = yield* held.row
  if (Setup.keeping(session.setup).checkpoint === "manual") return false
  const { events } = yield* (yield* Ledger).history(session.id)
  const entry = events.findLast(entered("stopping"))
  const options = yield* visible(session, backend).pipe(
    // a box that is gone was halted by an attempt that died, and has been put aside by that
    Effect.catchIf(
      (error) => error.details?.["reason"] === "NotFound",
      () => Effect.undefined
    )
  )
  if (entry === undefined || options === undefined) return false
  const { warnings } = yield* publish({
    session,
    id: idOf(session, entry),
    persistedAt: entry.at,
    history: events,
    reason: "down",
    source: { _tag: "checkout", options }
  }).pipe(Effect.mapError(rejected))
  yield* Effect.forEach(warnings, held.warn)
  return true
}, Effect.scoped)

/**
 * A checkpoint of a session as it is now, for the caller to commit.
 *
 * Fails with `ERR_UNSUPPORTED` where the checkout cannot be seen from here.
 */
export const checkpointNow = Effect.fnUntraced(function* (held: Held, reason: CheckpointReason) {
  const session = yield* held.row
  return yield* checkpointOf(held, session, { backend: yield* (yield* Provisioners).get(session.provider), reason })
})

/** As `checkpointNow`, of the session as it was in another box. */
export const checkpointOf = Effect.fnUntraced(function* (
  held: Held,
  session: Session,
  { backend, reason }: { readonly backend: Backend; readonly reason: CheckpointReason }
) {
  const options = yield* visible(session, backend)
  if (options === undefined) return yield* unseen(session, backend.name)
  const { events } = yield* (yield* Ledger).history(session.id)
  const { checkpoint, warnings } = yield* publish({
    session,
    id: yield* (yield* Ids).next("ckp"),
    persistedAt: yield* Time.millis,
    history: events,
    reason,
    source: { _tag: "checkout", options }
  })
  yield* Effect.forEach(warnings, held.warn)
  return checkpoint
}, Effect.scoped)

/** A checkpoint of the session's record and none of its work, for the caller to commit. */
export const recordNow = Effect.fnUntraced(function* (held: Held, reason: CheckpointReason) {
  const session = yield* held.row
  const { events } = yield* (yield* Ledger).history(session.id)
  const id = yield* (yield* Ids).next("ckp")
  const persistedAt = yield* Time.millis
  return (yield* publish({ session, id, persistedAt, history: events, reason, source: undefined })).checkpoint
}, Effect.scoped)

const unseen = (session: Session, provider: string) =>
  SandboxError.make("ERR_UNSUPPORTED", {
    message: `the checkout of ${session.name} cannot be seen from this host, so that nothing can be saved of it`,
    nextStep: "push the work to a branch from inside the session",
    sessionId: session.id,
    state: session.state,
    details: { provider, capability: "checkout" }
  })

const publish = Effect.fnUntraced(function* (from: {
  readonly session: Session
  readonly id: string
  readonly persistedAt: number
  readonly history: ReadonlyArray<Event>
  readonly reason: CheckpointReason
  readonly source: Source | undefined
}) {
  const { history, id, persistedAt, reason, session, source } = from
  const { maxRecordBytes: limit } = yield* Limits
  const built = SessionRecord.build({ session, history, persistedAt, limit })
  if (Result.isFailure(built)) return yield* tooLarge(built.failure)
  const draft = transfer.into(yield* (yield* CheckpointStore).begin(id))
  const record = yield* draft.put(Stream.make(built.success.bytes))
  const { warnings, work } = source === undefined ? { work: null, warnings: [] } : yield* workOf(source, draft)
  const manifest = Manifest.encode({
    format: 1,
    id,
    session_id: session.id,
    owner: session.owner,
    persisted_at: View.iso(persistedAt),
    reason,
    record,
    work
  })
  yield* draft.publish(manifest)
  const checkpoint = new Checkpoint({
    id,
    sessionId: session.id,
    digest: yield* (yield* Hasher).sha256(Stream.make(manifest)),
    bytes: manifest.length + record.size + (work === null ? 0 : work.document.size + work.bytes),
    verified: true,
    reason,
    head: work?.head ?? null,
    fingerprint: work?.fingerprint ?? null,
    files: work?.files ?? 0,
    compacted: built.success.compacted?.dropped_transitions ?? 0,
    persistedAt
  })
  yield* Effect.mapError(checkpoints.verify(checkpoint), unverified)
  return { checkpoint, warnings }
}, Effect.scoped)

const workOf = Effect.fnUntraced(function* (source: Source, draft: Draft) {
  if (source._tag === "checkout") {
    const { include, exclude } = source.options
    const { warnings, ...work } = yield* capture(source.options, draft)
    return { work: { ...work, include, exclude }, warnings }
  }
  const { id, manifest } = source
  if (manifest.work === null) return { work: null, warnings: [] }
  const document = yield* checkpoints.documentOf(id, manifest.work)
  const store = yield* CheckpointStore
  for (const { digest } of [manifest.work.document, ...Work.objects(document)]) {
    yield* draft.put(store.object(id, digest))
  }
  return { work: manifest.work, warnings: [] }
})

const tooLarge = ({ limit, size }: SessionRecord.TooLarge) =>
  SandboxError.make("ERR_PERSIST_PAYLOAD_TOO_LARGE", {
    message: `the session's record needs ${size} bytes even in its smallest form, and ${limit} are allowed`,
    nextStep: "raise the limit on the record's size",
    details: { field: "max_payload_bytes", size, limit }
  })

const unverified = (error: SandboxError.SandboxError) =>
  error.code !== "ERR_CHECKPOINT_INVALID"
    ? error
    : SandboxError.make("ERR_PERSIST_UNVERIFIED", {
        message: "the checkpoint store took the session, but what it gives back is not the same",
        nextStep: "check the store's disk",
        details: { ...error.details }
      })
