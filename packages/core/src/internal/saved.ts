/** Whether what a checkout holds now is in a checkpoint. */
import { Effect } from "effect"
import type { Checkpoint } from "../Session.ts"
import * as checkpoints from "./checkpoints.ts"
import { type CaptureOptions, fingerprint } from "./work/capture.ts"

/**
 * Whether a checkpoint, which is read whole, has all of the work in a checkout, a clone's other branches and tags included.
 *
 * Fails with `ERR_CHECKPOINT_INVALID` when it is not whole.
 */
export const holds = Effect.fnUntraced(function* (checkpoint: Checkpoint, options: CaptureOptions) {
  if (!(yield* equals(checkpoint, options))) return false
  yield* checkpoints.verify(checkpoint)
  return true
})

/** As `holds`, of a checkpoint that was read whole before. */
export const equals = Effect.fnUntraced(function* (checkpoint: Checkpoint, options: CaptureOptions) {
  const manifest = yield* checkpoints.manifestOf(checkpoint)
  if (manifest.work === null) return false
  const { exclude, include } = manifest.work
  const there = yield* fingerprint({ ...options, include, exclude })
  if (there.fingerprint !== manifest.work.fingerprint) return false
  const { checkout } = yield* checkpoints.documentOf(checkpoint.id, manifest.work)
  const saved = new Map(checkout.refs.map(({ name, oid }) => [name, oid]))
  return there.refs.every(({ name, oid }) => saved.get(name) === oid)
})
