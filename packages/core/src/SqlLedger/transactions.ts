/**
 * Writes on a server that may go away: each is answered as what truly happened to it.
 *
 * A connection that ends before `COMMIT` was said took its transaction with it. One that ends before the answer leaves
 * the outcome open, and neither "done" nor "not done" may be guessed: the database is asked.
 */
import { Cause, Duration, Effect, Option } from "effect"
import type { SqlClient, SqlError } from "effect/sql"
import { InTransaction } from "../Ledger.ts"
import type { SandboxError } from "../SandboxError.ts"
import * as Time from "../Time.ts"
import { classify, isPassing, isPatient, isSqlError } from "./errors.ts"

/** How long a server is waited for that cannot be reached or has no time: as long as for a file that is busy. */
const patience = Duration.seconds(10)
const longestPause = 500

export const make = ({ sql, where }: { readonly sql: SqlClient.SqlClient; readonly where: string }) => {
  // a file's answers are not lost, and whoever keeps it busy is waited for by its client
  const remote = sql.onDialectOrElse({ pg: () => true, orElse: () => false })

  const transaction = <A, E>(body: Effect.Effect<A, E>) =>
    body.pipe(Effect.provideService(InTransaction, true), sql.withTransaction, failedRollback)

  /** Repeats what a lost connection or another's transaction ended, first at once, for as long as there is patience. */
  const patiently = <A, E, R>(self: Effect.Effect<A, E, R>) => (remote ? untilPatienceEnds(self) : self)

  const untilPatienceEnds = Effect.fnUntraced(function* <A, E, R>(self: Effect.Effect<A, E, R>) {
    const since = yield* Time.millis
    for (let attempt = 0; ; attempt++) {
      // a connection that died while nobody looked is replaced at once
      if (attempt > 1) yield* Effect.sleep(Math.min(12.5 * 2 ** attempt, longestPause))
      const exit = yield* Effect.exit(self)
      if (exit._tag === "Success") return exit.value
      const error = Option.getOrUndefined(Cause.findErrorOption(exit.cause))
      const waited = (yield* Time.millis) - since
      if (!isPassing(error)) return yield* exit
      // one that said nothing has used the patience up, and is still asked once more by another connection
      if (attempt > 0 && waited >= Duration.toMillis(patience)) return yield* exit
    }
  })

  const resolved = <A, E, E2>(
    operation: string,
    body: Effect.Effect<A, E>,
    applied: Effect.Effect<boolean, E2>
  ): Effect.Effect<A, E | E2 | SqlError.SqlError | SandboxError> =>
    Effect.suspend(() => {
      /** What the last transaction would have answered whose `COMMIT` was not answered. */
      let doubted: { readonly value: A } | undefined
      let unknown = false
      const once = Effect.suspend(() => {
        let said: { readonly value: A } | undefined
        return transaction(
          Effect.tap(body, (value) =>
            Effect.sync(() => {
              said = { value }
            })
          )
        ).pipe(
          Effect.tapError((error) =>
            Effect.sync(() => {
              if (said === undefined || !isPassing(error)) return
              doubted = said
              unknown = true
            })
          )
        )
      })
      const orElse = <E3>(otherwise: Effect.Effect<A, E3>) =>
        Effect.suspend((): Effect.Effect<A, E2 | E3> => {
          if (doubted === undefined) return otherwise
          const { value } = doubted
          return Effect.flatMap(applied, (did) => {
            unknown = false
            return did ? Effect.succeed(value) : otherwise
          })
        })
      // refused the second time: what it met may be what the first one wrote after it was asked for
      const again = Effect.catchIf(
        once,
        (error) => !isPassing(error),
        (error) => orElse(Effect.fail(error))
      )
      return Effect.mapError(patiently(orElse(again)), (error) =>
        isSqlError(error) && (unknown || isPassing(error) || isPatient(error))
          ? classify(where, operation, error, unknown ? "unknown" : "not_applied")
          : error
      )
    })

  /**
   * One short transaction; nothing that waits may run inside.
   *
   * `applied` tells, whenever it is asked, whether the transaction took effect. It has to wait for one that is still under
   * way. Fails with `ERR_LEDGER_IO` and the outcome `unknown` when the server does not come back in time to be asked.
   */
  const transact: typeof resolved = (operation, body, applied) =>
    Effect.withSpan(remote ? resolved(operation, body, applied) : transaction(body), `Ledger.${operation}`)

  return { patiently, transact }
}

/** A connection that is gone cannot be told to roll back, which effect takes for a bug; it is what was lost. */
const failedRollback = <A, E>(self: Effect.Effect<A, E>) =>
  Effect.catchCause(self, (cause): Effect.Effect<never, E | SqlError.SqlError> => {
    const lost = cause.reasons.find((reason) => reason._tag === "Die" && isSqlError(reason.defect))
    return lost?._tag === "Die" && !Cause.hasInterrupts(cause)
      ? Effect.fail(lost.defect as SqlError.SqlError)
      : Effect.failCause(cause)
  })
