// placeholder until helper A's file is here (A: overwrite it)
import { Effect } from "effect"
import type { Draft, StoredObject } from "../CheckpointStore.ts"
import type * as Git from "../Git.ts"
import * as SandboxError from "../SandboxError.ts"
export interface CaptureOptions {
  readonly directory: string
  readonly base: string | null
  readonly include: ReadonlyArray<string>
  readonly exclude: ReadonlyArray<string>
}
export type Sink = Pick<Draft, "put" | "putFile">
export interface Captured {
  readonly document: StoredObject
  readonly head: string
  readonly fingerprint: string
  readonly files: number
  readonly bytes: number
  readonly warnings: ReadonlyArray<string>
}
const no = SandboxError.make("ERR_CHECKPOINT_FAILED", { message: "not built", nextStep: "wait" })
export const capture = (
  _: CaptureOptions,
  __: Sink
): Effect.Effect<Captured, SandboxError.SandboxError, Git.GitServices> => Effect.fail(no)
export const fingerprint = (
  _: CaptureOptions
): Effect.Effect<{ head: string; fingerprint: string; files: number }, SandboxError.SandboxError, Git.GitServices> =>
  Effect.fail(no)
