/** What a draft has so far, and how more comes into it. */
import * as disk from "./disk.ts"
import * as layout from "./layout.ts"
import type { Seen } from "./pool.ts"

/** Bytes up to which an object is held in memory: read, hashed and written at one go. */
export const small = 2 ** 22

export interface Contents {
  readonly at: layout.Layout
  readonly body: string
  /** Sizes, by digest. */
  readonly objects: Map<string, number>
  /** Digests of those that this draft wrote itself, and that nobody has synced. */
  readonly fresh: Set<string>
  /** Digests of those that the pool has, and has spoiled. */
  readonly spoiled: Set<string>
}

/** Takes an object from the pool. Not, when it is there no more, or may have no further link. */
export const take = ({ at, body }: Contents, digest: string): boolean =>
  disk.link(layout.pooledOf(at, digest), layout.objectOf(body, digest)) === "linked"

/** Notes an object that the draft wrote, as `seen` in the pool. */
export const noteFresh = ({ fresh, spoiled }: Contents, digest: string, seen: Seen): void => {
  fresh.add(digest)
  if (seen === "other") spoiled.add(digest)
}
