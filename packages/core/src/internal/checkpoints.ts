/** Checkpoints of a session: finding one, and proving that it can be used. */
import { Effect, Option, Result, Stream } from "effect"
import { CheckpointStore } from "../CheckpointStore.ts"
import { Hasher } from "../Hasher.ts"
import { Ledger } from "../Ledger.ts"
import * as Manifest from "../Manifest.ts"
import * as SandboxError from "../SandboxError.ts"
import type { Checkpoint, Session } from "../Session.ts"
import * as View from "../View.ts"
import * as Work from "../Work.ts"
import { concat } from "./archiveHeader.ts"

/** Why a checkpoint cannot be used. `foreign`: it is another session's, which no force can overlook. */
export type Problem = "missing" | "damaged" | "foreign" | "stale"

/** How much of a checkpoint was read and compared. */
export interface Read {
  readonly manifest: Manifest.Manifest
  readonly objects: number
  readonly bytes: number
}

const invalid = (id: string, problem: Problem, message: string) =>
  SandboxError.make("ERR_CHECKPOINT_INVALID", {
    message: `checkpoint ${id} cannot be used: ${message}`,
    nextStep: "see which can with `sandbox checkpoint verify`, and use another one",
    details: { checkpoint: id, problem }
  })

/** Which problem an `ERR_CHECKPOINT_INVALID` tells of. */
export const problemOf = (error: SandboxError.SandboxError): Problem | undefined =>
  error.code === "ERR_CHECKPOINT_INVALID" ? (error.details?.["problem"] as Problem) : undefined

/**
 * The manifest of a checkpoint, once it is proven to be the one that was recorded. Its objects are not looked at.
 *
 * Fails with `ERR_CHECKPOINT_INVALID`.
 */
export const manifestOf = Effect.fnUntraced(function* (checkpoint: Checkpoint) {
  const { digest, id, sessionId } = checkpoint
  const { manifest, where } = yield* CheckpointStore
  const stored = yield* manifest(id)
  if (Option.isNone(stored)) return yield* invalid(id, "missing", `the store ${where} does not have it`)
  const decoded = Manifest.decode(stored.value)
  if (Result.isSuccess(decoded) && decoded.success.session_id !== sessionId) {
    return yield* invalid(id, "foreign", `it is a checkpoint of ${decoded.success.session_id}`)
  }
  const seen = yield* (yield* Hasher).sha256(Stream.make(stored.value))
  if (seen !== digest) return yield* invalid(id, "damaged", "its manifest is not what was stored")
  return Result.isSuccess(decoded) ? decoded.success : yield* invalid(id, "damaged", decoded.failure)
})

/** Reads all of a checkpoint and compares it with its digests. Fails with `ERR_CHECKPOINT_INVALID`. */
export const verify = Effect.fnUntraced(function* (checkpoint: Checkpoint) {
  const manifest = yield* manifestOf(checkpoint)
  const document = manifest.work === null ? undefined : yield* documentOf(checkpoint.id, manifest.work)
  const objects = [
    manifest.record,
    ...(manifest.work === null ? [] : [manifest.work.document]),
    ...(document === undefined ? [] : Work.objects(document))
  ]
  const once = new Map(objects.map((object) => [object.digest, object]))
  const store = yield* CheckpointStore
  yield* Effect.forEach([...once.keys()], (digest) => Stream.runDrain(store.object(checkpoint.id, digest)), {
    concurrency: 4,
    discard: true
  })
  const bytes = [...once.values()].reduce((sum, { size }) => sum + size, 0)
  return { manifest, objects: once.size, bytes } satisfies Read
})

/** What the work of a checkpoint consists of. Fails with `ERR_CHECKPOINT_INVALID`. */
export const documentOf = Effect.fnUntraced(function* (id: string, { document }: Manifest.ManifestWork) {
  const store = yield* CheckpointStore
  const chunks = yield* Stream.runCollect(store.object(id, document.digest))
  const decoded = Work.decode(concat(chunks))
  return Result.isSuccess(decoded) ? decoded.success : yield* invalid(id, "damaged", decoded.failure)
})

/** The session's newest checkpoint, and its newest one that has work. */
export const newest = Effect.fnUntraced(function* (session: Session) {
  const { checkpoints } = yield* (yield* Ledger).history(session.id)
  // what a box held after the session had left it is not the session's
  const own = checkpoints.filter(({ reason }) => reason !== "left")
  return { last: own.at(-1), withWork: own.findLast(({ fingerprint }) => fingerprint !== null) }
})

/**
 * Proves that the last save of a halted session can be used: read, compared, its own, and of the time when it was halted.
 *
 * Fails with `ERR_CHECKPOINT_INVALID`.
 */
export const requireValid = Effect.fnUntraced(function* (session: Session) {
  const { last } = yield* newest(session)
  if (last === undefined) return yield* invalid(`of ${session.name}`, "missing", "nothing was ever saved")
  if (session.readyAt !== null && last.persistedAt < session.readyAt) {
    const [saved, worked] = [View.iso(last.persistedAt), View.iso(session.readyAt)]
    return yield* invalid(last.id, "stale", `it was saved at ${saved}, and the session was in use from ${worked} on`)
  }
  yield* verify(last)
  return last
})

/** A checkpoint of any session by its id. Fails with `ERR_CHECKPOINT_INVALID` when it is not recorded. */
export const recorded = Effect.fnUntraced(function* (id: string) {
  const found = yield* (yield* Ledger).checkpoint(id)
  return Option.isSome(found) ? found.value : yield* invalid(id, "missing", "it is not recorded")
})

/** The checkpoint of a session by its id, or by a prefix that no other one of it has. */
export const find = Effect.fnUntraced(function* (session: Session, reference: string) {
  const { checkpoints } = yield* (yield* Ledger).history(session.id)
  const found = checkpoints.filter(({ id }) => id.startsWith(reference))
  const [one] = found
  const exact = checkpoints.find(({ id }) => id === reference) ?? (found.length === 1 ? one : undefined)
  if (exact !== undefined && reference !== "") return exact
  return yield* SandboxError.make("ERR_INVALID_ARGUMENT", {
    message:
      found.length > 1 && reference !== ""
        ? `${reference} is the start of ${found.length} checkpoint ids`
        : `${session.name} has no checkpoint ${JSON.stringify(reference)}`,
    nextStep: `see which there are with \`sandbox checkpoint list ${session.id}\``,
    sessionId: session.id,
    state: session.state,
    details: { field: "checkpoint" }
  })
})
