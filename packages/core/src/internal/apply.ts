// placeholder until helper A's file is here (A: overwrite it)
import { Effect, type Stream } from "effect"
import type { StoredObject } from "../CheckpointStore.ts"
import type * as Git from "../Git.ts"
import * as SandboxError from "../SandboxError.ts"
export const apply = (_: {
  readonly directory: string
  readonly document: StoredObject
  readonly object: (digest: string) => Stream.Stream<Uint8Array, SandboxError.SandboxError>
  readonly fallbackBranch: string
}): Effect.Effect<
  { readonly branch: string | null; readonly warnings: ReadonlyArray<string> },
  SandboxError.SandboxError,
  Git.GitServices
> => Effect.fail(SandboxError.make("ERR_CHECKPOINT_FAILED", { message: "not built", nextStep: "wait" }))
