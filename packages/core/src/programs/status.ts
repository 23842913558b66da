/** `status`: one session, as the ledger knows it and, when asked, as its provider sees it now. */
import { Effect, Result } from "effect"
import { signalOf } from "../internal/completion.ts"
import * as serviceViews from "../internal/serviceViews.ts"
import * as sessions from "../internal/sessions.ts"
import { Ledger } from "../Ledger.ts"
import type { StatusOptions } from "../Options.ts"
import type { Observation } from "../Provisioner.ts"
import { type Backend, Provisioners } from "../Provisioners.ts"
import type { HealthView, Recovery, ServiceView, StatusResult } from "../Results.ts"
import type { InstanceRef, Session } from "../Session.ts"
import * as Time from "../Time.ts"
import * as View from "../View.ts"

/**
 * `healthy` says whether the session is usable: `ready` or `completed`, and neither its box nor a service seen otherwise.
 *
 * Services are asked with `live`: then one that is down makes the session degraded, and one that says that the work is done
 * makes completing it the next step.
 */
export const status = Effect.fn("status")(function* (options: StatusOptions) {
  const session = yield* Effect.flatMap(sessions.find(options.session), sessions.current)
  const { checkpoints } = yield* (yield* Ledger).history(session.id)
  const view = yield* View.session(session)
  const up = session.state === "ready" || session.state === "completed"
  const seen = options.live === true ? yield* observed(session, up) : { ...nothing(session), health: view.health }
  const result: StatusResult = {
    ...view,
    recovery: view.recovery ?? (up ? wayOn(session, seen) : null),
    health: seen.health,
    healthy: up && seen.health?.status === "healthy",
    services: seen.services,
    checkpoint: View.lastCheckpoint(checkpoints),
    warnings: seen.warnings
  }
  return result
})

/** What to do with a session that is up by the ledger, and was seen otherwise. */
const wayOn = ({ id }: Session, { looked, services, signal }: Seen): Recovery | null => {
  const resume = (reason: string): Recovery => ({ command: `sandbox resume ${id}`, reason })
  if (looked === "stopped") return resume("its box has halted: this starts it again")
  if (looked === "gone") return resume("its box is gone: this brings it back from what was saved")
  if (signal !== undefined) return { command: `sandbox complete ${id}`, reason: `${signal}: its work is done` }
  const down = services.filter(({ healthy, managed }) => managed && healthy === false).map(({ name }) => name)
  return down.length === 0 ? null : resume(`${down.join(", ")} ${down.length === 1 ? "does" : "do"} not work`)
}

interface Seen {
  /** What its provider says of the box; none where nobody was asked. */
  readonly looked: Observation["_tag"] | undefined
  readonly health: HealthView | null
  readonly services: ReadonlyArray<ServiceView>
  /** What says that the work of the session is done. */
  readonly signal: string | undefined
  readonly warnings: ReadonlyArray<string>
}

/** From the ledger alone. */
const nothing = (session: Session): Seen => ({
  looked: undefined,
  health: null,
  services: serviceViews.recorded(session),
  signal: undefined,
  warnings: []
})

const observed = Effect.fnUntraced(function* (session: Session, up: boolean) {
  const { instance: ref } = session
  if (ref === null) return nothing(session)
  const provisioners = yield* Provisioners
  const looked = yield* provisioners.get(session.provider).pipe(
    Effect.flatMap((backend) => backend.inspect(ref)),
    Effect.catch((error) => Effect.succeed<Observation>({ _tag: "unknown", why: error.message }))
  )
  const asked =
    up && looked._tag === "running"
      ? yield* Effect.result(
          Effect.flatMap(provisioners.get(session.provider), (backend) => shown(backend, ref, session))
        )
      : Result.succeed<Pick<Seen, "services" | "signal">>(nothing(session))
  const { services, signal } = Result.getOrElse(asked, () => nothing(session))
  const works = services.every(({ healthy, managed }) => !managed || healthy !== false)
  const seen: Seen = {
    looked: looked._tag,
    health: {
      status: looked._tag === "running" && !works ? "degraded" : meaning[looked._tag],
      observedAt: View.iso(yield* Time.millis)
    },
    services,
    signal,
    warnings: Result.isFailure(asked) ? [`the services could not be looked at: ${asked.failure.message}`] : []
  }
  return seen
})

const shown = (backend: Backend, ref: InstanceRef, session: Session) =>
  Effect.all(
    { services: serviceViews.seen(backend, ref, session), signal: signalOf(backend, ref, session) },
    { concurrency: "unbounded" }
  )

const meaning: { readonly [T in Observation["_tag"]]: HealthView["status"] } = {
  running: "healthy",
  stopped: "degraded",
  gone: "gone",
  unknown: "unreachable"
}
