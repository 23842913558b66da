/** A small deterministic world for the core's tests: counted ids, a host whose processes live as the test says. */
import { createHash } from "node:crypto"
import { Effect, Layer, Option, Stream } from "effect"
import { CheckpointStore } from "../../src/CheckpointStore.ts"
import { Hasher } from "../../src/Hasher.ts"
import { Holder, Host } from "../../src/Host.ts"
import * as Ids from "../../src/Ids.ts"
import type { ClaimRequest, OperationRequest, Reservation } from "../../src/Ledger.ts"
import * as Lifecycle from "../../src/Lifecycle.ts"
import { Principal } from "../../src/Principal.ts"
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

/** A checkpoint store in memory; `spoil` changes what is given back. */
export const makeStore = () => {
  const files = new Map<string, Uint8Array>()
  const log: Array<string> = []
  let spoil: (bytes: Uint8Array) => Uint8Array = (bytes) => bytes
  const layer = Layer.succeed(CheckpointStore)({
    write: (id, bytes) =>
      Effect.sync(() => {
        log.push(id)
        files.set(id, bytes)
      }),
    read: (id) => Effect.sync(() => Option.map(Option.fromNullishOr(files.get(id)), (bytes) => spoil(bytes)))
  })
  return {
    layer,
    files,
    log,
    spoilWith: (f: (bytes: Uint8Array) => Uint8Array) => {
      spoil = f
    }
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
