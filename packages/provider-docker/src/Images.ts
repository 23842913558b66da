/** The images that boxes are made from: those that the engine has, and those that it can get. */
import type { Reason } from "@org/sandbox-core/Provisioner"
import { Effect, Stream } from "effect"
import { type EngineError, Refused } from "./DockerError.ts"
import * as EngineImages from "./EngineImages.ts"
import type { Options } from "./Options.ts"

/** When an image is asked of its registry. */
export type Pull = NonNullable<Options["pull"]>

/** Names as the engine takes them: [host[:port]/]path[:tag][@digest]. None of their parts is `..`: they stand in URLs. */
const pattern = (() => {
  const host = "(?:[a-zA-Z0-9-]+(?:\\.[a-zA-Z0-9-]+)*(?::\\d+)?\\/)?"
  const part = "[a-z0-9]+(?:(?:\\.|__?|-+)[a-z0-9]+)*"
  return new RegExp(`^${host}${part}(?:\\/${part})*(?::\\w[\\w.-]{0,127})?(?:@[a-z0-9+._-]+:[0-9a-f]+)?$`)
})()

/** Whether there can be an image of this name; nothing is downloaded. */
export const check = Effect.fnUntraced(function* (name: string, pull: Pull) {
  if (!pattern.test(name)) {
    return yield* new Refused({ reason: "Invalid", message: `${JSON.stringify(name)} is no name of an image.` })
  }
  if (pull !== "never" || (yield* EngineImages.find(name)) !== undefined) return
  return yield* missing(name, "pull is never")
})

/** The image's name and its own user, once the engine has it. */
export const obtain = Effect.fnUntraced(function* (
  name: string,
  pull: Pull,
  report: ((line: string) => Effect.Effect<void>) | undefined
) {
  const there = yield* EngineImages.find(name)
  if (there !== undefined && pull !== "always") return { name, ...described(there) }
  if (pull === "never") return yield* missing(name, "pull is never")
  // a registry that does not answer is silent for a long time
  yield* report?.(`asking for the image ${name}`) ?? Effect.void
  yield* download(name, report).pipe(
    Effect.catchTag("EngineError", (error) =>
      there === undefined
        ? missing(name, error.message, reasonOf(error))
        : (report?.(`the image ${name} stays as it is here: ${error.message}`) ?? Effect.void)
    )
  )
  const got = yield* EngineImages.find(name)
  return got === undefined ? yield* missing(name, "the registry did not send it") : { name, ...described(got) }
})

/** What a box needs to know of its image. */
export const described = ({ Config }: EngineImages.Image) => ({ user: Config?.User ?? "" })

const download = (name: string, report: ((line: string) => Effect.Effect<void>) | undefined) =>
  Stream.runForEach(EngineImages.pull(name), (line) => {
    const said = news(line)
    return said === undefined || report === undefined ? Effect.void : report(said)
  })

/** What is worth telling of how an image comes from its registry. */
export const news = ({ id, status }: { readonly id?: string; readonly status?: string }): string | undefined => {
  // the bars of each layer are for a screen that is drawn over; what has come and what is done is enough
  if (status === undefined || /^(Downloading|Extracting|Waiting|Verifying|Pulling fs layer)/.test(status))
    return undefined
  return id === undefined ? status : `${id}: ${status}`
}

const reasonOf = ({ message }: EngineError): Reason =>
  /dial tcp|lookup|timeout|refused|no route|no such host/i.test(message)
    ? "Unreachable"
    : /toomanyrequests|rate limit/i.test(message)
      ? "RateLimited"
      : /unauthorized|authentication|no basic auth/i.test(message)
        ? "Unauthorized"
        : "NotFound"

const missing = (name: string, why: string, reason: Reason = "NotFound") =>
  new Refused({
    reason,
    message: `The engine has no image ${name}, and could not get it: ${why}. Build or import it, \`docker pull\` it yourself, or name another image.`
  })
