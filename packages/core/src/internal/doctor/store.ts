/** Whether checkpoints can be kept, and whether all that are kept are of something. */
import { Effect, FileSystem, Option, Result } from "effect"
import { CheckpointStore } from "../../CheckpointStore.ts"
import { Ledger } from "../../Ledger.ts"
import { count } from "../unsaved.ts"
import { failed, ok, problem, warning } from "./diagnosis.ts"

export const checkpointStore = Effect.gen(function* () {
  const fs = yield* FileSystem.FileSystem
  const store = yield* CheckpointStore
  const ledger = yield* Ledger
  const about = "checkpoints"
  const listed = yield* Effect.result(store.list)
  if (Result.isFailure(listed)) return [failed(about, listed.failure)]
  // a store that is a directory is named by its path
  if (store.where.startsWith("/") && (yield* Effect.orElseSucceed(fs.exists(store.where), () => true))) {
    const writable = yield* Effect.result(fs.access(store.where, { readable: true, writable: true }))
    if (Result.isFailure(writable)) {
      return [
        problem(
          about,
          `${store.where} cannot be written to, and nothing can be saved`,
          `run \`chmod u+rwx ${store.where}\``
        )
      ]
    }
  }
  let unknown = 0
  for (const id of listed.success) {
    const known = yield* Effect.result(ledger.checkpoint(id))
    if (Result.isSuccess(known) && Option.isNone(known.success)) unknown += 1
  }
  const total = ok(about, `${count(listed.success.length, "checkpoint")} in ${store.where}`)
  if (unknown === 0) return [total]
  const way = "nothing: `sandbox gc` removes those of its own sessions, and another ledger may have the rest"
  return [total, warning(about, `${count(unknown, "checkpoint")} of no record in this ledger`, way)]
})
