/** Whether checkpoints can be kept, and whether all that are kept are of something. */
import { Effect, FileSystem, Option, Result } from "effect"
import { CheckpointStore } from "../../CheckpointStore.ts"
import { Ledger } from "../../Ledger.ts"
import type { DiagnosisView } from "../../Results.ts"
import { described } from "../gc/stored.ts"
import { count } from "../unsaved.ts"
import { failed, ok, problem, warning } from "./diagnosis.ts"

const about = "checkpoints"

/** The store, and whose its checkpoints are by the ledger. */
export const checkpointStore = Effect.gen(function* () {
  const { diagnoses, ids } = yield* looked
  const ledger = yield* Ledger
  let unknown = 0
  for (const id of ids) {
    const known = yield* Effect.result(ledger.checkpoint(id))
    // another one may begin with the same letters
    if (Result.isSuccess(known) && !Option.exists(known.success, (checkpoint) => checkpoint.id === id)) unknown += 1
  }
  if (unknown === 0) return diagnoses
  const way = "nothing: `sandbox gc` removes those of its own sessions, and another ledger may have the rest"
  return [...diagnoses, warning(about, `${count(unknown, "checkpoint")} of no record in this ledger`, way)]
})

/** The store alone, where there is no ledger to ask. `missing`: none was ever made, or what there was is gone. */
export const checkpointStoreAlone = Effect.fnUntraced(function* (missing: boolean) {
  const { diagnoses, ids } = yield* looked
  if (!missing || ids.length === 0) return diagnoses
  const way = "put the ledger back from a backup, or name the one that has them with --ledger"
  return [...diagnoses, warning(about, `${count(ids.length, "checkpoint")} of no ledger that there is`, way)]
})

const looked = Effect.gen(function* () {
  const fs = yield* FileSystem.FileSystem
  const store = yield* CheckpointStore
  const none = (diagnosis: DiagnosisView) => ({ diagnoses: [diagnosis], ids: [] })
  const listed = yield* Effect.result(store.list)
  if (Result.isFailure(listed)) return none(failed(about, listed.failure))
  // a store that is a directory is named by its path
  if (store.where.startsWith("/") && (yield* Effect.orElseSucceed(fs.exists(store.where), () => true))) {
    const writable = yield* Effect.result(fs.access(store.where, { readable: true, writable: true }))
    if (Result.isFailure(writable)) {
      return none(
        problem(
          about,
          `${store.where} cannot be written to, and nothing can be saved`,
          `run \`chmod u+rwx ${store.where}\``
        )
      )
    }
  }
  const ids = listed.success
  const left = yield* Effect.result(store.leftovers)
  if (Result.isFailure(left)) return { diagnoses: [failed(about, left.failure)], ids }
  const { bytes, drafts } = left.success
  const total = ok(about, `${count(ids.length, "checkpoint")} in ${store.where}`)
  if (drafts === 0 && bytes === 0) return { diagnoses: [total], ids }
  const way = "run `sandbox gc`: it removes them"
  return { diagnoses: [total, warning(about, described(left.success), way)], ids }
})
