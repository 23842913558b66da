/**
 * The checkpoint store as a directory: written beside, synced, then given its name.
 *
 * Any number of processes may use one directory, on a file system that several hosts share too. What a checkpoint has in
 * common with others is a hard link; where there are none, it is a copy.
 */
import { lstatSync, readdirSync, readFileSync, renameSync, unlinkSync } from "node:fs"
import { join } from "node:path"
import { Effect, Layer, Option, Stream } from "effect"
import { CheckpointStore } from "../CheckpointStore.ts"
import { type Holder, Host } from "../Host.ts"
import * as SandboxError from "../SandboxError.ts"
import { attempting, ifPresent, linkAt, makeDirectory, sync } from "./FileCheckpointStore/disk.ts"
import * as draft from "./FileCheckpointStore/draft.ts"
import { bodyName, isId, type Layout, layout, manifestOf, nameOf } from "./FileCheckpointStore/layout.ts"
import { object } from "./FileCheckpointStore/objects.ts"
import { removeBody } from "./FileCheckpointStore/removal.ts"
import { leftovers, sweep } from "./FileCheckpointStore/sweep.ts"

/** Every id becomes a file's name. */
const checked = (id: string) =>
  isId(id)
    ? Effect.void
    : Effect.fail(
        SandboxError.make("ERR_INVALID_ARGUMENT", {
          message: `${JSON.stringify(id)} is no checkpoint's id`,
          nextStep: "see which there are with `sandbox checkpoint list`",
          details: { field: "checkpoint" }
        })
      )

/**
 * `directory` is made on first use, for its owner only.
 *
 * Input and output that fails is `ERR_PERSIST_FAILED`, of reading too: what cannot be read may still be whole.
 */
export const layer = (directory: string): Layer.Layer<CheckpointStore, never, Host> =>
  Layer.effect(
    CheckpointStore,
    Effect.map(Host, (host) => {
      const at = layout(directory)
      const { now } = attempting(directory)
      return {
        where: directory,
        begin: (id) => Effect.andThen(checked(id), draft.begin(at, host.self, id)),
        manifest: (id) =>
          Effect.andThen(
            checked(id),
            now(() => Option.fromNullishOr(ifPresent(() => readFileSync(manifestOf(join(at.published, id))))))
          ),
        object: (id, digest) => Stream.unwrap(Effect.as(checked(id), object(at, id, digest))),
        list: now(() => (ifPresent(() => readdirSync(at.published)) ?? []).filter(isId).toSorted()),
        remove: Effect.fnUntraced(function* (id) {
          yield* checked(id)
          const name = yield* now(() => unpublish(at, host.self, id))
          if (name !== undefined) yield* removeBody(at, name)
        }),
        leftovers: leftovers(at, host),
        sweep: sweep(at, host)
      }
    })
  )

/** From now on there is no such checkpoint; what it consisted of is still there. */
const unpublish = (at: Layout, self: Holder, id: string): string | undefined => {
  const link = join(at.published, id)
  const target = linkAt(link)
  if (target !== undefined) ifPresent(() => unlinkSync(link))
  else if (ifPresent(() => lstatSync(link)) === undefined) return undefined
  const name = target === undefined ? bodyName(id, self) : nameOf(target)
  if (target === undefined) {
    // a copy that was put back stands there itself
    makeDirectory(at.bodies)
    renameSync(link, join(at.bodies, name))
  }
  sync(at.published)
  return name
}
