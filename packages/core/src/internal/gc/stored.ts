/** What the checkpoint store has beside what the ledger says. */
import { Effect, Option, Result } from "effect"
import { CheckpointStore, type Swept } from "../../CheckpointStore.ts"
import { Ledger } from "../../Ledger.ts"
import * as Manifest from "../../Manifest.ts"
import { count } from "../unsaved.ts"
import { type Finding, report } from "./finding.ts"

/** A checkpoint that no record names. */
export interface Unnamed {
  readonly id: string
  readonly persistedAt: number
}

export interface Stored {
  /** All that the store has. */
  readonly ids: ReadonlySet<string>
  /** Those of them that the ledger does not know, by the session that they are of. */
  readonly unnamed: ReadonlyMap<string, ReadonlyArray<Unnamed>>
}

/**
 * Looks through the store. It may serve several ledgers: what is of a session that this one has never heard of is nobody's
 * to judge here.
 */
export const look = Effect.gen(function* () {
  const store = yield* CheckpointStore
  const ledger = yield* Ledger
  const unnamed = new Map<string, Array<Unnamed>>()
  const ids = yield* store.list
  for (const id of ids) {
    // a record that cannot be read is a record
    const known = yield* Effect.result(ledger.checkpoint(id))
    if (Result.isFailure(known) || (Option.isSome(known.success) && known.success.value.id === id)) continue
    const stored = yield* Effect.orElseSucceed(store.manifest(id), () => Option.none<Uint8Array>())
    const manifest = Option.flatMap(stored, (bytes) => Option.getSuccess(Manifest.decode(bytes)))
    if (Option.isNone(manifest)) continue
    const { persisted_at, session_id } = manifest.value
    unnamed.set(session_id, [...(unnamed.get(session_id) ?? []), { id, persistedAt: Date.parse(persisted_at) }])
  }
  return { ids: new Set(ids), unnamed } satisfies Stored
})

/** What cannot be looked through, of whose checkpoints nothing is concluded. */
export const unreadable = (why: string): Finding =>
  report(null, `the checkpoints cannot be looked through, so nothing is concluded about them: ${why}`)

/** What dead writers left in the store. */
export const leftovers = Effect.gen(function* () {
  const store = yield* CheckpointStore
  const left = yield* Effect.result(store.leftovers)
  if (Result.isFailure(left)) return [unreadable(left.failure.message)]
  if (isNothing(left.success)) return []
  const run = Effect.map(store.sweep, (swept) => (isNothing(swept) ? "skipped" : "done"))
  const finding: Finding = { session: null, finding: described(left.success), action: "sweep", run }
  return [finding]
})

const isNothing = ({ bytes, drafts }: Swept): boolean => drafts === 0 && bytes === 0

export const described = ({ bytes, drafts }: Swept): string =>
  `${count(drafts, "checkpoint")} that dead operations had begun, and ${count(bytes, "byte")} that no checkpoint needs`
