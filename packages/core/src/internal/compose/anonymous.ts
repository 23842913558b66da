/**
 * Volumes that have no name in the compose file: the engine makes them for a container, without a label. A container that
 * takes another's place takes them along by the engine's name, and from then on they go with no container. So which ones a
 * session has is written down, and what none of its containers has any more is removed.
 */
import { Effect } from "effect"
import * as SandboxError from "../../SandboxError.ts"
import { isExternal, mapOf } from "./document.ts"
import * as record from "./record.ts"
import * as tool from "./tool.ts"

/** What the engine calls a volume that nobody gave a name. */
const isAnonymous = (name: string): boolean => /^[0-9a-f]{64}$/.test(name)

/** Writes down those among the volumes of a session's containers. Before containers go, so that a kill loses none. */
export const note = Effect.fnUntraced(function* (session: string, volumes: ReadonlyArray<string>) {
  const noted = yield* record.volumes(session)
  const found = volumes.filter((name) => isAnonymous(name) && !noted.includes(name))
  if (found.length === 0) return
  const all = Object.entries(mapOf(mapOf(yield* record.document(session))["volumes"]))
  const shared = new Set(all.flatMap(([key, one]) => (isExternal(one) ? [String(mapOf(one)["name"] ?? key)] : [])))
  const own = found.filter((name) => !shared.has(name))
  if (own.length > 0) yield* record.keepVolumes(session, [...noted, ...own])
})

/** Removes those that were written down and that none of its containers has: `kept` are the volumes that they have. */
export const sweep = Effect.fnUntraced(function* (session: string, kept: ReadonlyArray<string>) {
  const noted = yield* record.volumes(session)
  const gone = noted.filter((name) => !kept.includes(name))
  if (gone.length === 0) return
  const { code, output } = yield* tool.docker(["volume", "rm", "--force", "--", ...gone], { session })
  // one that a container of somebody else has is theirs
  const said = output.split("\n").map((line) => line.trim())
  const isRefusal = (line: string) => line !== "" && !isAnonymous(line) && !/volume is in use/i.test(line)
  if (code !== 0 && said.some(isRefusal)) {
    return yield* SandboxError.make("ERR_PROVIDER_UNAVAILABLE", {
      message: `volumes of compose services cannot be removed: ${tool.lastOf(output)}`,
      nextStep: "start Docker, or make DOCKER_HOST right, and try again",
      details: { field: "compose", command: "docker" }
    })
  }
  yield* record.keepVolumes(
    session,
    noted.filter((name) => kept.includes(name))
  )
})
