/** Forgetting a session that was destroyed long ago, with all that is kept in its name. */
import { Effect, FileSystem, Option, Path } from "effect"
import { CheckpointStore } from "../../CheckpointStore.ts"
import { Directories } from "../../Host.ts"
import { Ledger } from "../../Ledger.ts"
import * as SandboxError from "../../SandboxError.ts"
import type { Session } from "../../Session.ts"
import { type Finding, idle } from "./finding.ts"

/** Whether a session is no more, and was not before a time in milliseconds since the epoch. */
export const isTombstone = (session: Session, before: number): boolean =>
  session.state === "destroyed" &&
  session.destroyedAt !== null &&
  session.destroyedAt <= before &&
  session.claim === null &&
  !session.cleanupRequired

/** The record goes last: as long as something is kept in its name, it says whose that is. `checkpoints` are to be gone before. */
export const purge = (session: Session, before: number, checkpoints: ReadonlyArray<string>): Finding => ({
  session,
  finding: "it was destroyed long ago: its record is kept no longer",
  action: "purge",
  run: Effect.gen(function* () {
    const store = yield* CheckpointStore
    const row = yield* idle(session.id)
    if (row === undefined || !isTombstone(row, before)) return "skipped" as const
    for (const id of checkpoints) if (Option.isSome(yield* store.manifest(id))) return "skipped" as const
    yield* removeExports(row)
    return (yield* (yield* Ledger).purge(row)) ? ("done" as const) : ("skipped" as const)
  })
})

/** What exports of the session left on this host. */
const removeExports = Effect.fnUntraced(function* ({ id, name }: Session) {
  // a shared ledger is written by others, and this becomes a path
  if (!/^sbx_[0-9a-z]+$/.test(id)) return
  const fs = yield* FileSystem.FileSystem
  const path = yield* Path.Path
  const directory = path.join((yield* Directories).state, "exports", id)
  yield* Effect.mapError(fs.remove(directory, { recursive: true, force: true }), ({ message }) =>
    SandboxError.make("ERR_PERSIST_FAILED", {
      message: `what was exported of ${name} cannot be removed: ${message}`,
      nextStep: `make ${directory} writable for this user, and run \`sandbox gc\` again`,
      details: { directory }
    })
  )
})
