/** Why services did not come up, in the words of whoever knows. */
import { Effect } from "effect"
import { Ports } from "../../Ports.ts"
import * as SandboxError from "../../SandboxError.ts"
import type * as Setup from "../../Setup.ts"
import * as Slots from "../../Slots.ts"
import * as placement from "../placement.ts"
import { redact } from "../secrets.ts"
import * as engine from "./engine.ts"
import * as tool from "./tool.ts"

/** How many lines of its log are quoted when a service fails. */
const quoted = 20

interface Hiding {
  /** What no message may show. */
  readonly hidden: ReadonlyArray<string>
}

/** The failure of a service, with the last that it wrote. */
export const failed = Effect.fnUntraced(function* (
  { hidden }: Hiding,
  project: engine.Project,
  { code, how, name }: { readonly name: string; readonly how: string; readonly code: number | null }
) {
  const [container] = (yield* engine.containers(project)).filter(({ service }) => service === name)
  const log =
    container === undefined
      ? ""
      : (yield* tool.docker(["logs", "--tail", String(quoted), "--", container.id], { session: project.session }))
          .output
  const output = redact(log, hidden).trim()
  return yield* SandboxError.make("ERR_SERVICE_FAILED", {
    message: `the compose service ${name} ${how}${output === "" ? ", and wrote nothing" : ""}`,
    nextStep: `correct the compose file or what ${name} complains about, and try again`,
    details: { service: name, exit_code: code, output }
  })
})

/** The failure of the tool: a port that somebody else took in the last moment, a service that ended, or what it says itself. */
export const notMade = Effect.fnUntraced(function* (
  place: Hiding & { readonly chosen: Readonly<Record<string, number>> },
  project: engine.Project,
  {
    before,
    compose,
    output
  }: {
    readonly compose: Setup.Compose
    readonly before: ReadonlyArray<engine.Container>
    readonly output: string
  }
) {
  const clean = redact(output, place.hidden)
  if (/already allocated|already in use/i.test(output)) {
    for (const { name: service, ports } of compose.services) {
      for (const { name } of ports) {
        const number = Slots.numberOf(place.chosen, name)
        if (number === undefined || !new RegExp(`:${number}\\b`).test(output)) continue
        const lost = yield* placement.conflict(yield* Ports, { name, number }, () => Effect.succeed(false))
        return yield* SandboxError.extend(lost ?? taken(name, number), { details: { ...lost?.details, name, service } })
      }
    }
  }
  const earlier = new Set(before.map(({ id, startedAt }) => `${id} ${startedAt}`))
  const tried = (yield* engine.containers(project)).filter(({ id, startedAt }) => !earlier.has(`${id} ${startedAt}`))
  const ended = tried.find(
    (container) => container.health === "unhealthy" || (container.status === "exited" && container.exitCode !== 0)
  )
  if (ended !== undefined) {
    const how = ended.health === "unhealthy" ? "is unhealthy" : `ended with exit code ${ended.exitCode}`
    return yield* failed(place, project, { name: ended.service, how, code: ended.exitCode })
  }
  return yield* SandboxError.make("ERR_SERVICE_FAILED", {
    message: `the compose services could not be brought up: ${tool.lastOf(clean)}`,
    nextStep: "correct the compose file, or make its images available, and try again",
    details: { service: "compose", exit_code: null, output: clean.trim().split("\n").slice(-quoted).join("\n") }
  })
})

const taken = (name: string, number: number) =>
  SandboxError.make("ERR_PORT_IN_USE", {
    message: `port ${number} of ${name} was taken before its container could listen on it`,
    nextStep: "run the command again",
    details: { ports: [number] }
  })
