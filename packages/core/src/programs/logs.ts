/** `logs`: what a session's services wrote, and what was started in it to run on by itself. */

import { Effect, Stream } from "effect"
import * as compose from "../internal/compose/view.ts"
import * as inBox from "../internal/inBox.ts"
import { dropCut, type LogChunk, type LogLine, liner, reader } from "../internal/logFrames.ts"
import * as logPlan from "../internal/logPlan.ts"
import * as logScripts from "../internal/logScripts.ts"
import * as sessions from "../internal/sessions.ts"
import * as supervisor from "../internal/supervisor.ts"
import { usable } from "../internal/usable.ts"
import type { LogsOptions } from "../Options.ts"
import { type Backend, Provisioners } from "../Provisioners.ts"
import * as SandboxError from "../SandboxError.ts"
import type { Session } from "../Session.ts"

export interface Logs {
  readonly sessionId: string
  readonly name: string
  /** Whose logs are shown, in order. */
  readonly services: ReadonlyArray<string>
  /** What was written, byte for byte, roughly in the order in which it was. */
  readonly output: Stream.Stream<LogChunk, SandboxError.SandboxError>
  /** The same by lines, the last ones also without an end. */
  readonly lines: Stream.Stream<LogLine, SandboxError.SandboxError>
}

/**
 * Answers what was written so far, in bounded memory, and then what is being written.
 *
 * Fails with `ERR_NOT_READY` when the session is not up, and with `ERR_INVALID_ARGUMENT` for a service it has not.
 */
export const logs = Effect.fn("logs")(function* (options: LogsOptions) {
  const { follow = false, since, tail } = options
  if (tail !== undefined && !(Number.isSafeInteger(tail) && tail >= 0)) {
    return yield* invalid("the number of lines is a whole number from 0", "give another --tail", "tail")
  }
  const session = yield* sessions.find(options.session)
  yield* usable(session)
  const { service } = options
  if (service !== undefined && (yield* compose.has(session, service))) {
    const output = yield* compose.logs(session, { name: service, follow, since, tail })
    const result: Logs = {
      sessionId: session.id,
      name: session.name,
      services: [service],
      output,
      lines: byLines(output)
    }
    return result
  }
  const backend = yield* (yield* Provisioners).get(session.provider)
  const ref = session.instance!
  const services = yield* chosen(backend, session, options.service)
  const survey = yield* inBox.mustRun(backend, ref, "looking at logs", {
    script: logScripts.survey,
    args: [tail === undefined ? "" : String(tail), ...services],
    env: { LC_ALL: "C" }
  })
  const plan = logPlan.plan(logPlan.parseSurvey(survey), { since: since === undefined ? undefined : since / 1000 })
  const output = read(backend, session, { plan, follow })
  const result: Logs = { sessionId: session.id, name: session.name, services, output, lines: byLines(output) }
  return result
})

const byLines = <E>(output: Stream.Stream<LogChunk, E>): Stream.Stream<LogLine, E> =>
  Stream.suspend(() => {
    const { push, rest } = liner()
    return Stream.concat(
      Stream.flattenIterable(Stream.map(output, push)),
      Stream.suspend(() => Stream.fromIterable(rest()))
    )
  })

/** A name that was given, or every service and every detached run that has not ended. */
const chosen = Effect.fnUntraced(function* (backend: Backend, session: Session, wanted: string | undefined) {
  const ref = session.instance!
  const declared = session.setup?.services.map(({ name }) => name) ?? []
  if (wanted !== undefined && declared.includes(wanted)) return [wanted]
  const known = yield* supervisor.known(backend, ref)
  if (wanted !== undefined) {
    if (known.includes(wanted)) return [wanted]
    const names = [...new Set([...declared, ...known])].join(", ")
    return yield* invalid(
      `${session.name} has no service or run ${JSON.stringify(wanted)}`,
      names === "" ? "it has none at all: declare services in sandbox.yaml" : `it has ${names}`,
      "service"
    )
  }
  const others = known.filter((name) => !declared.includes(name))
  const seen = yield* supervisor.status(backend, ref, others)
  return [...declared, ...others.filter((name) => seen.get(name)?._tag === "running")]
})

const read = (
  backend: Backend,
  session: Session,
  { follow, plan }: { readonly plan: logPlan.Plan; readonly follow: boolean }
): Stream.Stream<LogChunk, SandboxError.SandboxError> => {
  const { cut, followed, segments } = plan
  const lines = segments.map(({ at, file, from, name, to }) => `${name} ${file} ${from} ${to} ${at}\n`)
  const input = Stream.make(new TextEncoder().encode(`${lines.join("")}.\n`))
  return Stream.unwrap(
    Effect.gen(function* () {
      const handle = yield* backend.exec(session.instance!, {
        argv: [
          ...["sh", "-c", logScripts.read, "sandbox", follow ? "follow" : ""],
          ...[...followed].flatMap(([name, offset]) => [name, String(offset)])
        ],
        // whoever follows stays connected: the end of the input tells the box that nobody reads any more
        stdin: follow ? Stream.concat(input, Stream.never) : input,
        env: { LC_ALL: "C" }
      })
      const frames = reader()
      const whole = dropCut(cut)
      return Stream.concat(
        handle.output.pipe(
          Stream.filter(({ fd }) => fd === 1),
          Stream.map(({ bytes }) => frames(bytes).flatMap(whole)),
          Stream.flattenIterable
        ),
        Stream.fromEffectDrain(Effect.flatMap(handle.exit, ended))
      )
    })
  )
}

/** The box may be halted under a reader's feet: that ends the log, and is no failure. */
const ended = ({ code }: { readonly code: number }) =>
  code === 0 || code > 128
    ? Effect.void
    : SandboxError.make("ERR_EXEC_FAILED", {
        message: `reading logs failed in the box with exit code ${code}`,
        nextStep: "make sure that the box has `sh` and the usual tools, and that its disk is not full",
        details: { exit_code: code }
      })

const invalid = (message: string, nextStep: string, field: string) =>
  SandboxError.make("ERR_INVALID_ARGUMENT", { message, nextStep, details: { field } })
