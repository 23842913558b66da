/** Sessions that should be up and whose box is gone. */
import { Effect } from "effect"
import { Ledger } from "../../Ledger.ts"
import type { GcOptions } from "../../Options.ts"
import type { Observation } from "../../Provisioner.ts"
import { Provisioners } from "../../Provisioners.ts"
import type { SandboxError } from "../../SandboxError.ts"
import type { Checkpoint, Session } from "../../Session.ts"
import * as Time from "../../Time.ts"
import { recorded } from "../failures.ts"
import { boxLost, gone } from "../lost.ts"
import {
  cannotSee,
  type Finding,
  isCurrent,
  isIdle,
  isRecent,
  report,
  type Services,
  unlessDamaged,
  whileIdle
} from "./finding.ts"

export const isUp = ({ state }: Session): boolean => state === "ready" || state === "completed"

/**
 * Looks at the box of every session that is up. `asked` are the providers that answered; of the others it is known already
 * that nothing can be said.
 */
export const lostBoxes = Effect.fnUntraced(function* (
  sessions: ReadonlyArray<Session>,
  asked: ReadonlySet<string>,
  options: GcOptions
) {
  const now = yield* Time.millis
  const looked = yield* Effect.forEach(
    sessions.filter((session) => isUp(session) && asked.has(session.provider)),
    Effect.fnUntraced(function* (session): Effect.fn.Return<ReadonlyArray<Finding>, SandboxError, Services> {
      if (isRecent(now, session.updatedAt, options.olderThan) || !(yield* isIdle(session))) return []
      const seen = yield* observe(session)
      if (seen._tag === "running" || !(yield* isCurrent(session))) return []
      if (seen._tag === "unknown") return [report(session, `whether its box is there cannot be seen: ${seen.why}`)]
      return seen._tag === "gone" ? yield* unlessDamaged(session, lost(session, now)) : []
    }),
    { concurrency: 8 }
  )
  return looked.flat()
})

/** What is seen of the box that the row refers to. */
export const observe = Effect.fnUntraced(function* (session: Session) {
  const { instance, provider } = session
  if (instance === null) return { _tag: "gone" } satisfies Observation
  return yield* (yield* Provisioners).get(provider).pipe(
    Effect.flatMap((backend) => backend.inspect(instance)),
    Effect.catch((error) => Effect.succeed<Observation>({ _tag: "unknown", why: error.message }))
  )
})

const lost = Effect.fnUntraced(function* (session: Session, now: number) {
  const { checkpoints } = yield* (yield* Ledger).history(session.id)
  const run = whileIdle(
    session.id,
    (row) => Effect.succeed(isUp(row) && row.instance?.id === session.instance?.id),
    (held) =>
      Effect.gen(function* () {
        const row = yield* held.row
        const seen = yield* observe(row)
        if (seen._tag === "unknown") return yield* cannotSee(row.provider, row.instance?.key ?? row.id, seen.why)
        return seen._tag === "gone" ? yield* boxLost(held, recorded(gone(row))) : {}
      })
  )
  const finding: Finding = {
    session,
    finding: `its box is gone; ${saved(
      checkpoints.findLast(({ reason, verified }) => verified && reason !== "left"),
      now
    )}`,
    action: "recover",
    run
  }
  return [finding]
})

const saved = (checkpoint: Checkpoint | undefined, now: number): string =>
  checkpoint === undefined
    ? "nothing was ever saved of it"
    : `it was last saved ${Math.floor((now - checkpoint.persistedAt) / 1000)} s ago, in ${checkpoint.id}`
