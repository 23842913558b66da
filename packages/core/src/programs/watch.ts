/** `watch`: the status of a session, again whenever it has changed, until nobody moves it any more. */
import { Clock, Effect, Option, Stream } from "effect"
import * as sessions from "../internal/sessions.ts"
import { Ledger } from "../Ledger.ts"
import { isSettled } from "../Lifecycle.ts"
import { liveness } from "../Liveness.ts"
import type { StatusOptions } from "../Options.ts"
import type { StatusResult } from "../Results.ts"
import { status } from "./status.ts"

/** Between two looks at the ledger. */
const pause = "500 millis"

/** Between two looks at the provider, in milliseconds. */
const pace = 5000

/** How long a session that a dead operation has left in the middle is watched still: another process may be taking it over. */
const patience = 5000

/** What was seen so far. */
interface Watched {
  /** What in the row tells that something has changed. */
  readonly mark: string
  /** What was answered last, without what only tells how late it is. */
  readonly shown: string
  readonly lookedAt: number
  /** Since when nobody moves it. */
  readonly stillSince: number | undefined
}

const nothing: Watched = { mark: "", shown: "", lookedAt: Number.NEGATIVE_INFINITY, stillSince: undefined }

/**
 * Begins with the status as it is, and ends once the session is settled and nobody has a claim on it.
 *
 * With `live` its provider and services are asked too: every five seconds, and when it ends.
 */
export const watch = ({ live = false, session }: StatusOptions) =>
  Stream.unwrap(
    Effect.map(sessions.find(session), ({ id }) =>
      Stream.paginate(nothing, (before) =>
        before === nothing ? look(id, live, before) : Effect.delay(look(id, live, before), pause)
      )
    )
  )

const look = Effect.fnUntraced(function* (id: string, live: boolean, before: Watched) {
  const row = Option.getOrUndefined(yield* (yield* Ledger).session(id))
  if (row === undefined) return ended([])
  const standing = yield* liveness(row.claim)
  const now = yield* Clock.currentTimeMillis
  const stillSince = standing === "live" ? undefined : (before.stillSince ?? now)
  const isLeft = stillSince !== undefined && now - stillSince >= patience
  const mark = `${row.version} ${standing}`
  const hasChanged = mark !== before.mark
  const isDue = live && (now - before.lookedAt >= pace || (hasChanged && standing !== "live"))
  if (!hasChanged && !isDue) return isLeft ? ended([]) : going([], { ...before, stillSince })
  const result: StatusResult = yield* status({ session: id, live: isDue })
  const shown = shape(result)
  const answers = shown === before.shown ? [] : [result]
  if (isLeft || (result.claim === null && isSettled(result.state))) return ended(answers)
  return going(answers, { mark, shown, lookedAt: isDue ? now : before.lookedAt, stillSince })
})

type Page = readonly [ReadonlyArray<StatusResult>, Option.Option<Watched>]

const going = (answers: ReadonlyArray<StatusResult>, next: Watched): Page => [answers, Option.some(next)]

const ended = (answers: ReadonlyArray<StatusResult>): Page => [answers, Option.none()]

const shape = ({ claim, health, ...rest }: StatusResult): string =>
  JSON.stringify({
    ...rest,
    updatedAt: "",
    health: health?.status,
    claim: claim === null ? null : { ...claim, ageS: 0 }
  })
