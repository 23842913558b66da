/** A new session that starts with the work of a checkpoint. */
import { Effect, Option } from "effect"
import { Ledger } from "../Ledger.ts"
import { Principal } from "../Principal.ts"
import type * as Repository from "../Repository.ts"
import * as SandboxError from "../SandboxError.ts"
import type { Checkpoint, Session } from "../Session.ts"
import * as checkpoints from "./checkpoints.ts"

/** A checkpoint, and the session that it was made of. */
export interface Beginning {
  readonly checkpoint: Checkpoint
  readonly session: Session
}

/** The checkpoint of this principal with that id, or with an id that starts so. */
export const find = Effect.fnUntraced(function* (reference: string) {
  const ledger = yield* Ledger
  const checkpoint = reference === "" ? undefined : Option.getOrUndefined(yield* ledger.checkpoint(reference))
  const session = checkpoint && Option.getOrUndefined(yield* ledger.session(checkpoint.sessionId))
  // whose it is cannot be told from whether there is one
  if (checkpoint === undefined || session === undefined || session.owner !== (yield* Principal)) {
    return yield* invalid(`you have no checkpoint ${JSON.stringify(reference)}, or several that start so`)
  }
  if (checkpoint.fingerprint === null) {
    return yield* invalid(`checkpoint ${checkpoint.id} holds the record of ${session.name} and none of its work`)
  }
  return { checkpoint, session } satisfies Beginning
})

/** Proves, before anything is made, that the work is whole and of the repository that is asked for. */
export const check = Effect.fnUntraced(function* ({ checkpoint, session }: Beginning, source: Repository.Source) {
  yield* checkpoints.verify(checkpoint)
  if (source.location === session.repository) return
  return yield* invalid(`checkpoint ${checkpoint.id} is of ${session.repository}, and not of ${source.location}`)
})

/** The branch that the work was on, unless it has a name that only its own session can have. */
export const branchOf = ({ session }: Beginning): string | undefined => session.branch ?? undefined

/** What is recorded with the first intent: the commit that the repository has, and what is to be put on top. */
export const of = ({ checkpoint, session }: Beginning, row: Session) => ({
  branch: row.branch ?? session.branch,
  commit: session.commit,
  restoreFrom: checkpoint.id
})

const invalid = (message: string) =>
  SandboxError.make("ERR_INVALID_ARGUMENT", {
    message,
    nextStep: "see the checkpoints of a session with `sandbox checkpoint list <session>`",
    details: { field: "from_checkpoint" }
  })
