/** Where saved records are kept, apart from the ledger and for longer than a box. */
import { Context, type Effect, type Option } from "effect"
import type { SandboxError } from "./SandboxError.ts"

export class CheckpointStore extends Context.Service<
  CheckpointStore,
  {
    /**
     * Stores bytes under an id, durably: when it answers, a crash of the machine loses nothing. Writing the same id again
     * replaces the whole of it or nothing. Fails with `ERR_PERSIST_FAILED`.
     */
    readonly write: (id: string, bytes: Uint8Array) => Effect.Effect<void, SandboxError>
    /** The bytes as they are in the store now, read anew. None when there are none. */
    readonly read: (id: string) => Effect.Effect<Option.Option<Uint8Array>, SandboxError>
  }
>()("@org/sandbox-core/CheckpointStore") {}
