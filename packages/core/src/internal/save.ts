/** Saving the record of a halted session: build, write, read back, compare. */
import { Effect, Option, Result, Stream } from "effect"
import { CheckpointStore } from "../CheckpointStore.ts"
import type { Held } from "../Claim.ts"
import { Hasher } from "../Hasher.ts"
import { Ledger } from "../Ledger.ts"
import * as SandboxError from "../SandboxError.ts"
import { Checkpoint, type Event } from "../Session.ts"
import * as SessionRecord from "../SessionRecord.ts"
import { Limits } from "../Settings.ts"

const persistingEntry = (event: Event): boolean => event.type === "transition" && event.data["to"] === "persisting"

/**
 * Publishes the session's record and proves it by reading it back.
 *
 * Everything follows from the move to `persisting` in the history: the time that record, row and checkpoint share, the
 * checkpoint's id, and how much of the history is saved. So a second attempt after a crash writes the same bytes.
 */
export const save = Effect.fnUntraced(function* (held: Held) {
  const store = yield* CheckpointStore
  const hasher = yield* Hasher
  const { maxRecordBytes: limit } = yield* Limits
  const session = yield* held.row
  const { events } = yield* (yield* Ledger).history(session.id)
  const entry = events.findLast(persistingEntry)
  if (entry === undefined) return yield* Effect.die(`session ${session.id} is persisting without having begun to`)

  const persistedAt = entry.at
  const history = events.filter((event) => event.seq <= entry.seq)
  const built = SessionRecord.build({ session, history, persistedAt, limit })
  if (Result.isFailure(built)) return yield* tooLarge(built.failure)
  const { bytes, compacted } = built.success
  const digest = yield* hasher.sha256(Stream.make(bytes))
  const id = `ckp_${session.id.slice("sbx_".length)}_${entry.seq}`
  yield* store.write(id, bytes)
  const stored = yield* store.read(id)
  const seen = Option.isNone(stored) ? null : yield* hasher.sha256(Stream.make(stored.value))
  if (seen !== digest) return yield* unverified({ id, digest, seen })
  return new Checkpoint({
    id,
    sessionId: session.id,
    digest,
    bytes: bytes.length,
    verified: true,
    compacted: compacted?.dropped_transitions ?? 0,
    persistedAt
  })
})

const tooLarge = ({ limit, size }: SessionRecord.TooLarge) =>
  SandboxError.make("ERR_PERSIST_PAYLOAD_TOO_LARGE", {
    message: `the session's record needs ${size} bytes even in its smallest form, and ${limit} are allowed`,
    nextStep: "raise the limit on the record's size",
    details: { field: "max_payload_bytes", size, limit }
  })

const unverified = (details: { readonly id: string; readonly digest: string; readonly seen: string | null }) =>
  SandboxError.make("ERR_PERSIST_UNVERIFIED", {
    message: "the checkpoint store took the session's record, but what it gives back is not the same",
    nextStep: "check the store's disk",
    details: { ...details }
  })
