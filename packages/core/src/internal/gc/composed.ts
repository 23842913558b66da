/** Compose services that their session does not account for any more. */
import { Effect, FileSystem, Option, Result } from "effect"
import { Ledger } from "../../Ledger.ts"
import type { GcOptions } from "../../Options.ts"
import { Principal } from "../../Principal.ts"
import type { Session } from "../../Session.ts"
import * as Time from "../../Time.ts"
import * as end from "../compose/end.ts"
import * as engine from "../compose/engine.ts"
import * as record from "../compose/record.ts"
import { type Finding, isIdle, isRecent, report, whileIdle } from "./finding.ts"

/** Asks the engine where this host has ever brought any up. `removeUnknown`: also those of sessions nobody has heard of. */
export const leftovers = Effect.fnUntraced(function* (options: GcOptions, removeUnknown: boolean) {
  const fs = yield* FileSystem.FileSystem
  const kept = yield* Effect.orElseSucceed(fs.readDirectory(yield* record.top), () => undefined)
  if (kept === undefined) return []
  const found = yield* Effect.result(engine.projects((yield* Ledger).id))
  if (Result.isFailure(found)) {
    const why = `what compose services have left cannot be told, so nothing is concluded about them: ${found.failure.message}`
    return kept.length === 0 ? [] : [report(null, why)]
  }
  const projects = new Set(found.success.map(({ session }) => session))
  const alone = kept.filter((session) => !projects.has(session))
  return [
    ...(yield* Effect.forEach(found.success, (project) => judge(project, options, removeUnknown))),
    ...(yield* Effect.forEach(alone, (session) => remembered(session, options)))
  ].flat()
})

/** A session that is no more, and of which this host remembers services that the engine has not got. */
const remembered = Effect.fnUntraced(function* (id: string, options: GcOptions) {
  const known = yield* Effect.result((yield* Ledger).session(id))
  // other ledgers may have sessions on this host
  if (Result.isFailure(known) || Option.isNone(known.success)) return []
  const session = known.success.value
  if (session.owner !== (yield* Principal) || !isOver(session) || !(yield* isIdle(session))) return []
  if (isRecent(yield* Time.millis, session.updatedAt, options.olderThan)) return []
  const what = "what this host remembers of its compose services is left"
  const here = yield* Effect.result(end.here(id))
  if (Result.isFailure(here)) return [report(session, `${what}, and nothing is concluded: ${here.failure.message}`)]
  const run = whileIdle(
    id,
    (row) => Effect.succeed(isOver(row)),
    (held) => Effect.as(held.phase("compose", end.remove(session)), {})
  )
  const finding: Finding = { session, finding: `${what}, and the engine has none of them`, action: "destroy_box", run }
  return [finding]
})

type Found = Effect.Success<ReturnType<typeof engine.projects>>[number]

const judge = Effect.fnUntraced(function* (project: Found, options: GcOptions, removeUnknown: boolean) {
  if (project.owner !== (yield* Principal)) return []
  const known = yield* Effect.result((yield* Ledger).session(project.session))
  // a row that cannot be read is told of with the sessions, and nothing can be said of what it has
  if (Result.isFailure(known)) return []
  if (Option.isNone(known.success)) return unknown(project, removeUnknown)
  const session = known.success.value
  if (!(yield* isIdle(session)) || isRecent(yield* Time.millis, session.updatedAt, options.olderThan)) return []
  if (isOver(session)) {
    const run = whileIdle(
      session.id,
      (row) => Effect.succeed(isOver(row)),
      (held) => Effect.as(held.phase("compose", engine.remove(project)), { events: [removed(project)] })
    )
    const what = `its compose services are left on the engine (${project.project})`
    const finding: Finding = { session, finding: what, action: "destroy_box", run: Effect.tap(run, forgotten(session)) }
    return [finding]
  }
  if (!project.runs || !isHalted(session)) return []
  const run = whileIdle(
    session.id,
    (row) => Effect.succeed(isHalted(row)),
    (held) => Effect.as(held.phase("compose", end.halt(session)), {})
  )
  const finding: Finding = { session, finding: "its compose services run on, and it is halted", action: "halt", run }
  return [finding]
})

/** Nothing of them can be wanted: the session is no more, or never came to be. */
const isOver = ({ instance, readyAt, state }: Session): boolean =>
  state === "destroyed" || (state === "failed" && instance === null && readyAt === null)

const isHalted = ({ state }: Session): boolean =>
  state === "stopped" || state === "stopped_unpersisted" || state === "persist_failed"

const removed = ({ project }: Found) => ({ type: "compose_removed", data: { project } })

const forgotten = (session: Session) => record.forget(session.id)

const unknown = (project: Found, removeUnknown: boolean): ReadonlyArray<Finding> => {
  const what = `the compose services ${project.project} are of a session that this ledger has never heard of`
  if (!removeUnknown) return [report(null, `${what}; \`sandbox gc --orphans\` removes them`)]
  const run = Effect.gen(function* () {
    if (Option.isSome(yield* (yield* Ledger).session(project.session))) return "skipped" as const
    yield* engine.remove(project)
    yield* record.forget(project.session)
    return "done" as const
  })
  return [{ session: null, finding: what, action: "destroy_box", run }]
}
