/** Sessions whose own services say that their work is done. */
import { Effect } from "effect"
import type { GcOptions } from "../../Options.ts"
import { Provisioners } from "../../Provisioners.ts"
import { finish } from "../../programs/complete.ts"
import type { SandboxError } from "../../SandboxError.ts"
import type { Session } from "../../Session.ts"
import * as Time from "../../Time.ts"
import { signalOf } from "../completion.ts"
import { type Finding, idle, isIdle, isRecent, report, request, type Services } from "./finding.ts"

/** Completed as `complete` does it. `asked` are the providers that answered, `gone` the sessions whose box is not there. */
export const signalled = Effect.fnUntraced(function* (
  sessions: ReadonlyArray<Session>,
  { asked, gone }: { readonly asked: ReadonlySet<string>; readonly gone: ReadonlySet<string> },
  options: GcOptions
) {
  const now = yield* Time.millis
  const looked = yield* Effect.forEach(
    sessions.filter((session) => maySignal(session) && asked.has(session.provider) && !gone.has(session.id)),
    Effect.fnUntraced(function* (session): Effect.fn.Return<ReadonlyArray<Finding>, SandboxError, Services> {
      if (isRecent(now, session.updatedAt, options.olderThan) || !(yield* isIdle(session))) return []
      return yield* seen(session).pipe(
        Effect.map((signal): ReadonlyArray<Finding> => {
          return signal === undefined
            ? []
            : [{ session, finding: signal, action: "complete", run: completeSignalled(session.id) }]
        }),
        Effect.catch(({ message }) =>
          Effect.succeed([report(session, `whether its work is done cannot be seen: ${message}`)])
        )
      )
    }),
    { concurrency: 8 }
  )
  return looked.flat()
})

const maySignal = ({ instance, setup, state }: Session): boolean =>
  state === "ready" && instance !== null && setup?.services.some(({ completes }) => completes !== undefined) === true

/** What the session's services say now; nothing where its box does not run. */
const seen = Effect.fnUntraced(function* (session: Session) {
  const { instance, provider } = session
  if (instance === null) return undefined
  const backend = yield* (yield* Provisioners).get(provider)
  if ((yield* backend.inspect(instance))._tag !== "running") return undefined
  return yield* signalOf(backend, instance, session)
})

const completeSignalled = Effect.fnUntraced(function* (sessionId: string) {
  const row = yield* idle(sessionId)
  const signal = row === undefined ? undefined : yield* seen(row)
  if (row === undefined || signal === undefined) return "skipped" as const
  yield* finish(row, yield* request("complete"), { signal })
  return "done" as const
})
