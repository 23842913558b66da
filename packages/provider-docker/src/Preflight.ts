/** What an engine can be asked for, before anything is made. */
import type { Spec } from "@org/sandbox-core/Session"
import { Effect } from "effect"
import * as Container from "./Container.ts"
import { Refused } from "./DockerError.ts"
import * as Engine from "./Engine.ts"
import * as Networks from "./Networks.ts"
import { defaults, type Options } from "./Options.ts"
import * as Users from "./Users.ts"

/** Whether the engine could make a box of this spec, whatever its image. */
export const check = Effect.fnUntraced(function* (spec: Spec, options: Options) {
  const engine = yield* Engine.info
  const refuse = (reason: "Invalid" | "NotFound" | "Unsupported", message: string) => new Refused({ reason, message })
  if (engine.OSType !== "linux") {
    return yield* refuse("Unsupported", `The engine runs ${engine.OSType} containers; boxes are Linux ones.`)
  }
  const { cpus, memory, pids } = Container.limits(spec, options, engine)
  if (cpus < fewest || cpus > engine.NCPU) {
    return yield* refuse(
      "Invalid",
      `cpus is ${cpus}, and the engine has ${engine.NCPU}: ask for ${fewest} or more, and no more than that.`
    )
  }
  // the engine's own least: https://docs.docker.com/engine/containers/resource_constraints/
  if (memory < smallest) return yield* refuse("Invalid", `memory is ${memory} bytes, and the least is 6m.`)
  if (pids < 1) return yield* refuse("Invalid", `pids is ${pids}, and must be 1 or more.`)
  if (options.user !== undefined && !Users.isUsable(options.user)) {
    return yield* refuse(
      "Invalid",
      `user is ${JSON.stringify(options.user)}: write a name of the image's, or numbers such as 1000:1000.`
    )
  }
  if (options.runtime !== undefined && engine.Runtimes?.[options.runtime] === undefined) {
    const known = Object.keys(engine.Runtimes ?? {}).join(", ")
    return yield* refuse("Unsupported", `The engine has no runtime ${options.runtime}; it has ${known}.`)
  }
  const network = options.network ?? defaults.network
  if (Container.isShared(network)) {
    return yield* refuse(
      "Invalid",
      `network is ${network}, which would share another's network: name one, or write session or none.`
    )
  }
  if (network !== "session" && network !== "none" && (yield* Engine.network(network)) === undefined) {
    return yield* Networks.missing(network)
  }
})

/** The least that the engine gives, of memory and of CPUs. */
const smallest = 6 * 2 ** 20
const fewest = 0.01
