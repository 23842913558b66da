/** `status`: one session, as the ledger knows it and, when asked, as its provider sees it now. */
import { Effect } from "effect"
import * as sessions from "../internal/sessions.ts"
import { Ledger } from "../Ledger.ts"
import type { StatusOptions } from "../Options.ts"
import type { Observation } from "../Provisioner.ts"
import { Provisioners } from "../Provisioners.ts"
import type { HealthView, StatusResult } from "../Results.ts"
import type { Session } from "../Session.ts"
import * as Time from "../Time.ts"
import * as View from "../View.ts"

/** `healthy` says whether the session is usable: `ready` or `completed`, and not seen otherwise. */
export const status = Effect.fn("status")(function* (options: StatusOptions) {
  const session = yield* sessions.find(options.session)
  const { checkpoints } = yield* (yield* Ledger).history(session.id)
  const view = yield* View.session(session)
  const health = options.live === true ? yield* observed(session) : view.health
  const up = session.state === "ready" || session.state === "completed"
  const result: StatusResult = {
    ...view,
    health,
    healthy: up && health?.status === "healthy",
    checkpoint: View.lastCheckpoint(checkpoints),
    warnings: []
  }
  return result
})

const observed = Effect.fnUntraced(function* (session: Session) {
  if (session.instance === null) return null
  const seen = yield* (yield* Provisioners).get(session.provider).pipe(
    Effect.flatMap((backend) => backend.inspect(session.instance!)),
    Effect.catch((error) => Effect.succeed<Observation>({ _tag: "unknown", why: error.message }))
  )
  const view: HealthView = { status: meaning[seen._tag], observedAt: View.iso(yield* Time.millis) }
  return view
})

const meaning: { readonly [T in Observation["_tag"]]: HealthView["status"] } = {
  running: "healthy",
  stopped: "degraded",
  gone: "gone",
  unknown: "unreachable"
}
