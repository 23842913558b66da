/** Removing what writers left that are no more. */
import { readdirSync, readlinkSync, unlinkSync } from "node:fs"
import { join } from "node:path"
import { Clock, Effect } from "effect"
import type { Swept } from "../../CheckpointStore.ts"
import type { Host } from "../../Host.ts"
import type * as SandboxError from "../../SandboxError.ts"
import { attempting, ifPresent } from "./disk.ts"
import { type Layout, nameOf, tagOf, type Writer, writerOf } from "./layout.ts"
import { dropLast, lastTouched, removeBody } from "./removal.ts"

/** Of a writer on another host, or from before a reboot, nothing can be learned; it is waited for, for a day in milliseconds. */
const patience = 24 * 60 * 60 * 1000

export const sweep = Effect.fnUntraced(function* (
  at: Layout,
  host: Host["Service"]
): Effect.fn.Return<Swept, SandboxError.SandboxError> {
  const { now } = attempting(at.directory)
  const entries = (directory: string) => now(() => ifPresent(() => readdirSync(directory)) ?? [])
  const ours = tagOf(host.self.host)

  const isOver = Effect.fnUntraced(function* (name: string, writer: Writer) {
    if (writer.host === ours) return !(yield* host.isAlive(writer))
    const touched = yield* now(() => lastTouched(at, name))
    return touched === undefined || touched < (yield* Clock.currentTimeMillis) - patience
  })

  const drafts: Array<number> = []
  for (const name of yield* entries(at.bodies)) {
    const writer = writerOf(name)
    if (writer === undefined || !(yield* isOver(name, writer))) continue
    // what is over publishes nothing any more: only after that is this look the last word
    const target = yield* now(() => ifPresent(() => readlinkSync(join(at.published, writer.id))))
    if (target !== undefined && nameOf(target) === name) continue
    drafts.push(yield* removeBody(at, name))
  }

  const bodies = new Set(yield* entries(at.bodies))
  for (const link of yield* entries(at.published)) {
    // the link of a publication that did not come to its end
    if (link.startsWith(".") && !bodies.has(link.slice(1))) {
      yield* now(() => ifPresent(() => unlinkSync(join(at.published, link))))
    }
  }

  let pooled = 0
  for (const shard of yield* entries(at.pool)) {
    for (const name of yield* entries(join(at.pool, shard))) {
      pooled += yield* now(() => dropLast(join(at.pool, shard, name)))
    }
  }
  return { drafts: drafts.length, bytes: drafts.reduce((sum, bytes) => sum + bytes, pooled) }
})
