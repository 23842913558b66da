/** What a switch would do, for whoever asks before: looks, and changes nothing. */
import { Effect } from "effect"
import type { SwitchPlanOptions } from "../../Options.ts"
import { Provisioners } from "../../Provisioners.ts"
import type { SwitchPlan } from "../../Results.ts"
import type { Session } from "../../Session.ts"
import * as bringUp from "../bringUp.ts"
import { refuseDuringExport } from "../failures.ts"
import { refuseElsewhere } from "../reach.ts"
import { look } from "../visible.ts"
import { capture, nowhere } from "../work/capture.ts"
import { leftAt, wasUp } from "./between.ts"
import * as gates from "./gates.ts"
import { givesWork, losses, type Route, stays, takesWork } from "./travel.ts"

/** The plan, refused as the switch itself would be; but not for work that stays behind, which it tells of. */
export const plan = Effect.fnUntraced(function* (
  session: Session,
  { acceptSetup = false, to }: Pick<SwitchPlanOptions, "acceptSetup" | "to">
) {
  const { id: sessionId, name, provider, state } = session
  const from = leftAt(session)?.provider ?? provider
  const about = { sessionId, name, state, from, to }
  if (provider === to && leftAt(session) === undefined) {
    const nothing: SwitchPlan = { ...about, phases: [], work: null, stays: [], needsConfirmation: false, warnings: [] }
    return nothing
  }
  yield* gates.refuse(session, null)
  yield* refuseDuringExport(session, "switch", null)
  const backends = yield* Provisioners
  const route: Route = { from: yield* backends.get(from), to: yield* backends.get(to) }
  yield* gates.refuseExternal(session, route.from)
  yield* refuseElsewhere(session)
  if (!acceptSetup) yield* gates.refuseUnaccepted(session, route.to)
  if (session.setup !== null) yield* bringUp.check(route.to, session.setup)
  yield* route.to.preflight(session.spec)
  const lost = yield* losses(session, route)
  const answer: SwitchPlan = {
    ...about,
    phases: phases(session, route),
    work: yield* work(session, route),
    stays: [...lost, ...stays(session, route)],
    needsConfirmation: lost.length > 0,
    warnings:
      route.to.isolation === "none" ? [`provider ${to} does not isolate: commands run on this machine, as you`] : []
  }
  return answer
})

/** In order, as progress and the history name them. */
const phases = ({ instance, setup, state }: Session, { to }: Route): ReadonlyArray<string> => {
  const isUp = wasUp({ state })
  return [
    ...(isUp && setup?.hooks.preDown !== undefined ? ["hook.pre_down"] : []),
    "capture",
    ...(instance === null ? [] : ["stop"]),
    ...(setup?.compose === undefined ? [] : ["compose"]),
    ...(setup?.hooks.postDown === undefined ? [] : ["hook.post_down"]),
    ...(instance === null || state === "stopped" || state === "stopped_unpersisted" ? [] : ["verify"]),
    "written",
    ...(setup?.hooks.preUp === undefined ? [] : ["hook.pre_up"]),
    "provision",
    "workspace",
    ...(takesWork(to) ? ["restore"] : []),
    ...(setup === null ? [] : ["environment", ...setup.services.map(({ name }) => `service.${name}`)]),
    "health",
    ...(instance === null ? [] : ["destroy"])
  ]
}

/** What is in the checkout beside what its repository has; none where it cannot be read. */
const work = Effect.fnUntraced(function* (session: Session, { from }: Route) {
  if (session.instance === null || !givesWork(session, from)) return null
  const { options, status } = yield* look(session, from)
  if (options === undefined) return null
  const { bytes } = yield* capture(options, yield* nowhere)
  const { dirtyFiles, unpublishedCommits } = status
  return { dirtyFiles, unpublishedCommits, bytes }
}, Effect.scoped)
