/**
 * What is where in a checkpoint store's directory:
 *
 * ```
 * published/<id>                   a link to the body of a checkpoint: whoever is in here is published
 * bodies/<id>@<writer>@<nonce>/    a checkpoint, or a draft of one: a directory that can be copied away and is whole
 *   manifest.json
 *   objects/<digest>
 * objects/<ab>/<digest>            a further hard link to an object that some body has, for those that come after
 * ```
 *
 * A name in `published` appears, moves on to another body and goes in one step each, so nobody ever sees half of a
 * checkpoint. An object is on disk as long as a body has it, whoever removes what beside it at the same time: the last link
 * to go takes the bytes along, and no one counts.
 */
import { createHash, randomBytes } from "node:crypto"
import { basename, join } from "node:path"
import type { Holder } from "../../Host.ts"

export interface Layout {
  readonly directory: string
  readonly published: string
  readonly bodies: string
  readonly pool: string
}

export const layout = (directory: string): Layout => ({
  directory,
  published: join(directory, "published"),
  bodies: join(directory, "bodies"),
  pool: join(directory, "objects")
})

/** Nothing that is a path, hidden, or of another kind. */
export const isId = (id: string): boolean => /^ckp_[a-z0-9_]+$/.test(id)

export const isDigest = (text: string): boolean => /^[0-9a-f]{64}$/.test(text)

export const objectsOf = (body: string): string => join(body, "objects")

export const objectOf = (body: string, digest: string): string => join(body, "objects", digest)

export const manifestOf = (body: string): string => join(body, "manifest.json")

export const shardOf = (at: Layout, digest: string): string => join(at.pool, digest.slice(0, 2))

export const pooledOf = (at: Layout, digest: string): string => join(shardOf(at, digest), digest)

/** What a link in `published` says. */
export const targetOf = (name: string): string => join("..", "bodies", name)

/** The body that such a link names. */
export const nameOf = (target: string): string => basename(target)

export const nonce = (): string => randomBytes(8).toString("hex")

/** Hosts can be named by their users, with anything. */
export const tagOf = (host: string): string => createHash("sha256").update(host).digest("hex").slice(0, 16)

/** Whose draft it is stands in its name, so that there is no moment in which it is nobody's. */
export const bodyName = (id: string, self: Holder): string =>
  [id, tagOf(self.host), self.pid, Buffer.from(self.startedAt).toString("hex"), nonce()].join("@")

export interface Writer {
  readonly id: string
  /** The `tagOf` its host. */
  readonly host: string
  readonly pid: number
  readonly startedAt: string
}

/** None for what no store made. */
export const writerOf = (name: string): Writer | undefined => {
  const [id = "", host = "", pid = "", startedAt, ...rest] = name.split("@")
  if (!isId(id) || !/^\d+$/.test(pid) || startedAt === undefined || rest.length !== 1) return undefined
  return { id, host, pid: Number(pid), startedAt: Buffer.from(startedAt, "hex").toString() }
}
