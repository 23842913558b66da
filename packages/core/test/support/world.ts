/** A small deterministic world for the core's tests: counted ids, a host whose processes live as the test says. */
import { createHash } from "node:crypto"
import { readFileSync } from "node:fs"
import { Effect, Layer, Option, Result, Stream } from "effect"
import { CheckpointStore, type Draft, type StoredObject, type Swept } from "../../src/CheckpointStore.ts"
import { Hasher } from "../../src/Hasher.ts"
import { Holder, Host } from "../../src/Host.ts"
import * as Ids from "../../src/Ids.ts"
import type { ClaimRequest, OperationRequest, Reservation } from "../../src/Ledger.ts"
import * as Lifecycle from "../../src/Lifecycle.ts"
import * as Manifest from "../../src/Manifest.ts"
import { Principal } from "../../src/Principal.ts"
import * as SandboxError from "../../src/SandboxError.ts"
import { Spec } from "../../src/Session.ts"

/** Process ids that the host says are dead. */
export const makeHost = (options: { readonly host?: string; readonly pid?: number } = {}) => {
  const dead = new Set<number>()
  const self = new Holder({ host: options.host ?? "host-1", pid: options.pid ?? 100, startedAt: "1" })
  const layer = Layer.succeed(Host)({
    self,
    machine: self.host,
    user: "tester",
    startedAt: (pid) => Effect.succeed(dead.has(pid) ? undefined : "1"),
    isAlive: ({ pid }) => Effect.sync(() => !dead.has(pid))
  })
  return { layer, dead, self }
}

export const hasher = Layer.succeed(Hasher)({
  sha256: (bytes) =>
    Effect.map(
      Stream.runFold(
        bytes,
        () => createHash("sha256"),
        (hash, chunk) => hash.update(chunk)
      ),
      (hash) => hash.digest("hex")
    )
})

/** Why an object cannot be used, as a store says it. */
const invalid = (checkpoint: string, digest: string, problem: "missing" | "damaged") =>
  SandboxError.make("ERR_CHECKPOINT_INVALID", {
    message: `object ${digest} of checkpoint ${checkpoint} is ${problem}`,
    nextStep: "use another checkpoint",
    details: { checkpoint, digest, problem }
  })

interface Stored {
  readonly manifest: Uint8Array
  readonly objects: ReadonlyMap<string, Uint8Array>
}

/** A checkpoint store in memory, and the means to spoil it. */
export const makeStore = () => {
  const published = new Map<string, Stored>()
  const log: Array<string> = []
  let spoil: (bytes: Uint8Array) => Uint8Array = (bytes) => bytes
  let left: Swept = { drafts: 0, bytes: 0 }
  const refused = new Set<string>()
  /** What a store says whose disk cannot be reached. */
  const unless = <A>(operation: string, effect: Effect.Effect<A>) =>
    Effect.suspend(() =>
      refused.has(operation)
        ? Effect.fail(
            SandboxError.make("ERR_PERSIST_FAILED", { message: "the store cannot be read", nextStep: "try again" })
          )
        : effect
    )
  const draft = (id: string): Draft => {
    const objects = new Map<string, Uint8Array>()
    const keep = (bytes: Uint8Array): StoredObject => {
      const digest = createHash("sha256").update(bytes).digest("hex")
      objects.set(digest, bytes)
      return { digest, size: bytes.length }
    }
    return {
      put: (bytes) => Effect.map(Stream.runCollect(bytes), (chunks) => keep(Buffer.concat([...chunks]))),
      putFile: (path) =>
        Effect.try({
          try: () => keep(readFileSync(path)),
          catch: (cause) =>
            SandboxError.make("ERR_CHECKPOINT_FAILED", {
              message: `${path} cannot be read: ${String(cause)}`,
              nextStep: "make it readable",
              details: { path }
            })
        }),
      publish: (manifest) =>
        Effect.sync(() => {
          log.push(id)
          published.set(id, { manifest, objects })
        })
    }
  }
  const layer = Layer.succeed(CheckpointStore)({
    where: "memory",
    begin: (id) => Effect.sync(() => draft(id)),
    manifest: (id) =>
      Effect.sync(() => Option.map(Option.fromNullishOr(published.get(id)), ({ manifest }) => spoil(manifest))),
    object: (id, digest) =>
      Stream.unwrap(
        Effect.suspend(() => {
          const stored = published.get(id)?.objects.get(digest)
          if (stored === undefined) return Effect.fail(invalid(id, digest, "missing"))
          const bytes = spoil(stored)
          return createHash("sha256").update(bytes).digest("hex") === digest
            ? Effect.succeed(Stream.make(bytes))
            : Effect.fail(invalid(id, digest, "damaged"))
        })
      ),
    list: unless(
      "list",
      Effect.sync(() => [...published.keys()])
    ),
    remove: (id) =>
      unless(
        "remove",
        Effect.sync(() => void published.delete(id))
      ),
    leftovers: unless(
      "leftovers",
      Effect.sync(() => left)
    ),
    sweep: Effect.sync(() => {
      const swept = left
      left = { drafts: 0, bytes: 0 }
      return swept
    })
  })
  return {
    layer,
    /** The manifests, by checkpoint. */
    files: {
      get: (id: string) => published.get(id)?.manifest
    },
    /** The session's record that a checkpoint holds. */
    record: (id: string): Uint8Array | undefined => {
      const stored = published.get(id)
      if (stored === undefined) return undefined
      return stored.objects.get(Result.getOrThrow(Manifest.decode(stored.manifest)).record.digest)
    },
    /** The checkpoints that are there. */
    ids: () => [...published.keys()],
    /** What was published, in order; a repeated one again. */
    log,
    spoilWith: (f: (bytes: Uint8Array) => Uint8Array) => {
      spoil = f
    },
    /** From now on these operations fail. */
    refuse: (...operations: ReadonlyArray<"list" | "remove" | "leftovers">) => {
      refused.clear()
      for (const operation of operations) refused.add(operation)
    },
    /** What dead writers are to have left. */
    leave: (swept: Swept) => {
      left = swept
    },
    /** Takes a checkpoint away behind everybody's back. */
    lose: (id: string) => published.delete(id)
  }
}

export const ids = Ids.layerCounting
export const principal = (name: string) => Layer.succeed(Principal)(name)

let operations = 0

/** A request with an id of its own. */
export const operation = (verb: string, clientRequestId: string | null = null): OperationRequest => {
  operations += 1
  return { id: `op_test${operations}`, verb, clientRequestId, requestHash: `hash-${clientRequestId}` }
}

export const claim = (token: string, kind: Lifecycle.ClaimKind, more: Partial<ClaimRequest> = {}): ClaimRequest => ({
  token,
  kind,
  holder: new Holder({ host: "host-1", pid: 100, startedAt: "1" }),
  lease: 30_000,
  prior: null,
  ...more
})

export const reservation = (
  id: string,
  more: Partial<Reservation["session"]> = {},
  key: string | null = null
): Reservation => ({
  move: Lifecycle.move({ from: undefined, to: "requested", by: "up" }),
  session: {
    id,
    owner: "ann",
    name: `name-${id}`,
    provider: "memory",
    spec: new Spec({}),
    repository: "/repo",
    branch: "main",
    setup: null,
    ...more
  },
  operation: operation("up", key),
  claim: claim(`token-${id}`, "up")
})
