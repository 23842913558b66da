/** Removing what writers left that are no more. */
import { lstatSync, readdirSync, type Stats, unlinkSync } from "node:fs"
import { join } from "node:path"
import { Clock, Effect } from "effect"
import type { Swept } from "../../CheckpointStore.ts"
import type { Host } from "../../Host.ts"
import { attempting, ifPresent, linkAt } from "./disk.ts"
import { type Layout, nameOf, objectsOf, tagOf, type Writer, writerOf } from "./layout.ts"
import { dropLast, lastTouched, removeBody } from "./removal.ts"

/** Of a writer on another host, or from before a reboot, nothing can be learned; it is waited for, for a day in milliseconds. */
const patience = 24 * 60 * 60 * 1000

const entries = (directory: string): ReadonlyArray<string> => ifPresent(() => readdirSync(directory)) ?? []

/** Bodies that nobody publishes any more, and links of publications that did not come to their end, by the body's name. */
const abandoned = Effect.fnUntraced(function* (at: Layout, host: Host["Service"]) {
  const { now } = attempting(at.directory)
  const ours = tagOf(host.self.host)
  const isOver = Effect.fnUntraced(function* (name: string, writer: Writer) {
    if (writer.host === ours) return !(yield* host.isAlive(writer))
    const touched = yield* now(() => lastTouched(at, name))
    return touched === undefined || touched < (yield* Clock.currentTimeMillis) - patience
  })
  // a link is made after its body: one that was there before the bodies were looked at, and has none, never gets one
  const links = (yield* now(() => entries(at.published))).flatMap((link) =>
    link.startsWith(".") ? [link.slice(1)] : []
  )
  const found = yield* now(() => entries(at.bodies))
  const bodies: Array<string> = []
  const standing = new Set(found)
  for (const name of found) {
    const writer = writerOf(name)
    if (writer === undefined || !(yield* isOver(name, writer))) continue
    // what is over publishes nothing any more: only after that is this look the last word
    const target = yield* now(() => linkAt(join(at.published, writer.id)))
    if (target !== undefined && nameOf(target) === name) continue
    bodies.push(name)
    standing.delete(name)
  }
  return { bodies, links: links.filter((name) => !standing.has(name)) }
})

const drafts = ({ bodies, links }: Effect.Success<ReturnType<typeof abandoned>>): number =>
  new Set([...bodies, ...links]).size

const pooled = (at: Layout) =>
  Effect.map(
    attempting(at.directory).now(() => entries(at.pool)),
    (shards) => shards.map((shard) => join(at.pool, shard))
  )

export const sweep = Effect.fnUntraced(function* (at: Layout, host: Host["Service"]) {
  const { now } = attempting(at.directory)
  const over = yield* abandoned(at, host)
  let bytes = 0
  for (const name of over.bodies) bytes += yield* removeBody(at, name)
  for (const name of over.links) yield* now(() => ifPresent(() => unlinkSync(join(at.published, `.${name}`))))
  for (const shard of yield* pooled(at)) {
    for (const name of yield* now(() => entries(shard))) bytes += yield* now(() => dropLast(join(shard, name)))
  }
  return { drafts: drafts(over), bytes } satisfies Swept
})

/** As `sweep`, by looking: an object is over when all of its links are. */
export const leftovers = Effect.fnUntraced(function* (at: Layout, host: Host["Service"]) {
  const { now } = attempting(at.directory)
  const over = yield* abandoned(at, host)
  const links = new Map<number, number>()
  let bytes = 0
  const seen = ({ ino, nlink, size }: Stats) => {
    const all = (links.get(ino) ?? 0) + 1
    links.set(ino, all)
    if (all === nlink) bytes += size
  }
  for (const directory of over.bodies.map((name) => objectsOf(join(at.bodies, name)))) {
    for (const file of yield* now(() => entries(directory))) yield* now(() => look(join(directory, file), seen))
  }
  for (const shard of yield* pooled(at)) {
    for (const name of yield* now(() => entries(shard))) {
      yield* now(() =>
        look(join(shard, name), (stat) => {
          if (stat.nlink === 1 || links.has(stat.ino)) seen(stat)
        })
      )
    }
  }
  return { drafts: drafts(over), bytes } satisfies Swept
})

const look = (path: string, use: (stat: Stats) => void): void => {
  const stat = ifPresent(() => lstatSync(path))
  if (stat !== undefined) use(stat)
}
