/**
 * Where checkpoints are kept, apart from the ledger and for longer than a box.
 *
 * A checkpoint is a manifest and the objects that it names. An object is bytes under their own SHA-256, so that what two
 * checkpoints share need be kept only once, and so that whatever is read can be told from what was stored.
 */
import { Context, type Effect, type Option, Schema, type Scope, type Stream } from "effect"
import type { SandboxError } from "./SandboxError.ts"

/** Bytes in the store. */
export const StoredObject = Schema.Struct({
  /** SHA-256, hexadecimal. */
  digest: Schema.String,
  /** Bytes. */
  size: Schema.Int
})
export type StoredObject = typeof StoredObject.Type

/** A checkpoint that is being written: nobody sees it until it is published. */
export interface Draft {
  /** Adds an object, in bounded memory. Fails with `ERR_PERSIST_FAILED`, or as the stream does. */
  readonly put: <E, R>(bytes: Stream.Stream<Uint8Array, E, R>) => Effect.Effect<StoredObject, E | SandboxError, R>
  /** Adds the content of a file of this host as it is while it is read. Fails with `ERR_CHECKPOINT_FAILED` where it cannot be read. */
  readonly putFile: (path: string) => Effect.Effect<StoredObject, SandboxError>
  /**
   * Makes everything durable, then visible at once: when it answers, a crash of the machine loses nothing. Replaces what was
   * published under the same id.
   */
  readonly publish: (manifest: Uint8Array) => Effect.Effect<void, SandboxError>
}

/** What a sweep removed, or would remove. */
export interface Swept {
  /** Drafts that nobody writes any more. */
  readonly drafts: number
  /** Bytes that no checkpoint needs. */
  readonly bytes: number
}

export class CheckpointStore extends Context.Service<
  CheckpointStore,
  {
    /** How error messages and `doctor` name the store. */
    readonly where: string
    /** Begins a checkpoint; what is not published when the scope closes is dropped. */
    readonly begin: (id: string) => Effect.Effect<Draft, SandboxError, Scope.Scope>
    /** The manifest as it is in the store now, read anew. None when there is no such checkpoint. */
    readonly manifest: (id: string) => Effect.Effect<Option.Option<Uint8Array>, SandboxError>
    /**
     * An object of a checkpoint, read anew and in bounded memory. Ends with `ERR_CHECKPOINT_INVALID` when it is missing, or
     * when what was read is not what the digest says.
     */
    readonly object: (id: string, digest: string) => Stream.Stream<Uint8Array, SandboxError>
    /** The ids of all published checkpoints. */
    readonly list: Effect.Effect<ReadonlyArray<string>, SandboxError>
    /** Removes a checkpoint, with the objects that no other one has; one that is not there is success. */
    readonly remove: (id: string) => Effect.Effect<void, SandboxError>
    /** What a sweep would remove now; removes nothing. */
    readonly leftovers: Effect.Effect<Swept, SandboxError>
    /** Removes what dead writers left. Safe beside writers that are alive. */
    readonly sweep: Effect.Effect<Swept, SandboxError>
  }
>()("@org/sandbox-core/CheckpointStore") {}
