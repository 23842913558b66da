/** A checkpoint that is being written: a body of its own that no name leads to. */
import { hash } from "node:crypto"
import type { Stats } from "node:fs"
import { closeSync, fstatSync, mkdirSync, openSync, renameSync, symlinkSync, unlinkSync, writeFileSync } from "node:fs"
import { open } from "node:fs/promises"
import { join } from "node:path"
import { Effect, type Scope, Stream } from "effect"
import type { Draft, StoredObject } from "../../CheckpointStore.ts"
import type { Holder } from "../../Host.ts"
import * as SandboxError from "../../SandboxError.ts"
import { type Contents, noteFresh, small, take } from "./contents.ts"
import * as disk from "./disk.ts"
import { Incoming } from "./incoming.ts"
import * as layout from "./layout.ts"
import * as pool from "./pool.ts"
import { removeBody } from "./removal.ts"

export const begin = Effect.fnUntraced(function* (
  at: layout.Layout,
  self: Holder,
  id: string
): Effect.fn.Return<Draft, SandboxError.SandboxError, Scope.Scope> {
  const { later, now } = disk.attempting(at.directory)
  const name = layout.bodyName(id, self)
  const body = join(at.bodies, name)
  const draft: Contents = { at, body, objects: new Map(), fresh: new Set(), spoiled: new Set() }
  let published = false
  // what a finaliser cannot do is left to whoever sweeps
  const logged = Effect.catch((error: SandboxError.SandboxError) =>
    Effect.logWarning(`something of ${id} stays until the next sweep`, error)
  )
  yield* Effect.acquireRelease(
    now(() => {
      for (const directory of [at.directory, at.published, at.bodies, at.pool]) disk.makeDirectory(directory)
      mkdirSync(layout.objectsOf(body), { recursive: true, mode: 0o700 })
    }),
    () => Effect.suspend(() => (published ? Effect.void : logged(removeBody(at, name))))
  )

  const incoming = Effect.acquireRelease(
    Effect.sync(() => new Incoming(draft)),
    (staged) => logged(later(() => staged.close()))
  )
  const putLarge = Effect.fnUntraced(function* (path: string) {
    const source = yield* Effect.acquireRelease(
      Effect.tryPromise({ try: () => open(path, disk.readOnly), catch: unreadable(path) }),
      (handle) => Effect.promise(() => handle.close())
    )
    const { size } = yield* Effect.tryPromise({
      try: async () => regular(await source.stat()),
      catch: unreadable(path)
    })
    const staged = yield* incoming
    yield* later((signal) => staged.copy({ source, size, signal, unreadable: unreadable(path) }))
    return yield* later(() => staged.settle())
  }, Effect.scoped)

  return {
    put: (bytes) =>
      Effect.scoped(
        Effect.gen(function* () {
          const staged = yield* incoming
          yield* Stream.runForEach(bytes, (chunk) =>
            staged.fits(chunk) ? Effect.sync(() => staged.hold(chunk)) : later(() => staged.write(chunk))
          )
          const held = staged.held()
          return held === undefined ? yield* later(() => staged.settle()) : yield* now(() => keep(draft, held))
        })
      ),
    putFile: Effect.fnUntraced(function* (path) {
      const object = yield* now(() => keepFile(draft, path))
      return object ?? (yield* putLarge(path))
    }),
    publish: Effect.fnUntraced(function* (manifest) {
      yield* later((signal) => disk.syncAll(paths(draft), signal))
      yield* now(() => {
        const staged = `${layout.manifestOf(body)}.tmp`
        writeFileSync(staged, manifest, { mode: 0o600, flush: true })
        renameSync(staged, layout.manifestOf(body))
        for (const directory of [layout.objectsOf(body), body, at.bodies]) disk.sync(directory)
      })
      yield* Effect.forEach(
        draft.fresh,
        (digest) => now(() => pool.share(at, body, digest, draft.spoiled.has(digest))),
        { discard: true }
      )
      const replaced = yield* now(() => {
        const link = join(at.published, id)
        const staged = join(at.published, `.${name}`)
        disk.ifPresent(() => unlinkSync(staged))
        symlinkSync(layout.targetOf(name), staged)
        const before = disk.linkAt(link)
        renameSync(staged, link)
        published = true
        disk.sync(at.published)
        return before === undefined ? undefined : layout.nameOf(before)
      })
      if (replaced !== undefined && replaced !== name) yield* logged(removeBody(at, replaced))
    })
  }
})

function* paths({ body, fresh }: Contents): Iterable<string> {
  for (const digest of fresh) yield layout.objectOf(body, digest)
}

/** Adds bytes that are in memory. Nothing happens in between, so that two of one digest do not meet. */
const keep = (draft: Contents, bytes: Uint8Array): StoredObject => {
  const object = { digest: hash("sha256", bytes, "hex"), size: bytes.length }
  if (draft.objects.has(object.digest)) return object
  const seen = pool.compare(draft.at, object.digest, bytes)
  if (seen !== "same" || !take(draft, object.digest)) {
    disk.writeNew(layout.objectOf(draft.body, object.digest), bytes)
    noteFresh(draft, object.digest, seen)
  }
  draft.objects.set(object.digest, object.size)
  return object
}

/** Files are read into this one after the other: thousands of buffers would only wait to be collected. */
const scratch = Buffer.allocUnsafeSlow(small)

/** Adds a file that is small. Of one that grows, what it was when it was opened counts. */
const keepFile = (draft: Contents, path: string): StoredObject | undefined => {
  const bytes = readSmall(path)
  return bytes === undefined ? undefined : keep(draft, bytes)
}

const readSmall = (path: string): Uint8Array | undefined => {
  let fd: number | undefined
  try {
    fd = openSync(path, disk.readOnly)
    const { size } = regular(fstatSync(fd))
    return size > small ? undefined : scratch.subarray(0, disk.readInto(fd, scratch.subarray(0, size)))
  } catch (cause) {
    throw unreadable(path)(cause)
  } finally {
    if (fd !== undefined) closeSync(fd)
  }
}

const regular = (stat: Stats): Stats => {
  if (!stat.isFile()) throw new Error("it is no regular file")
  return stat
}

const unreadable = (path: string) => (cause: unknown) =>
  SandboxError.make("ERR_CHECKPOINT_FAILED", {
    message: `${JSON.stringify(path)} cannot be saved: ${disk.reasonOf(cause)}`,
    nextStep: "make it readable or leave it out, and run the command again",
    details: { path }
  })
