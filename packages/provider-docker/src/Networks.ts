/** The network of a box: one of its own, none, or one that was named. */
import { Clock, Effect, Random } from "effect"
import * as Container from "./Container.ts"
import { EngineError, Refused } from "./DockerError.ts"
import * as Engine from "./Engine.ts"

/** What the network of a box is made by. */
interface Box {
  readonly id: string
  readonly volume: string
  readonly labels: Readonly<Record<string, string>>
}

/** Text that nothing else on the engine has in its name. */
export const nonce = Effect.gen(function* () {
  const random = yield* Random.nextIntBetween(0, Number.MAX_SAFE_INTEGER)
  return `${(yield* Clock.currentTimeMillis).toString(36)}-${random.toString(36)}`
})

/** The name of a box's own network: one that is there, or a new one of a name that nothing else has. */
export const ensure = Effect.fnUntraced(function* (box: Box) {
  const [there] = yield* Engine.networks([Container.boxLabel, box.id])
  if (there !== undefined) return there.Name
  const name = `${box.volume}-${yield* nonce}`
  yield* Engine.createNetwork(name, Container.labels(box))
  return name
})

/** Whether the engine says that a container's network was removed. */
export const isGone = (error: unknown): boolean =>
  error instanceof EngineError && error.status === 404 && /network .* not found/i.test(error.message)

/**
 * Gives a halted container a network in place of the one that was removed: the engine takes that of a halted box for unused.
 *
 * The engine knows the old one by its id, so that one of the same name has to be joined anew.
 */
export const rejoin = Effect.fnUntraced(function* (
  box: Box,
  { network }: Container.Recipe,
  container: Engine.Container
) {
  const name = Container.networkOf(container)
  if ((yield* Engine.network(name)) === undefined) {
    if (network !== "session") return yield* missing(name)
    yield* Engine.createNetwork(name, Container.labels(box))
  }
  yield* Engine.leaveNetwork(name, container.Id)
  yield* Engine.joinNetwork(name, container.Id)
})

export const missing = (name: string) =>
  new Refused({
    reason: "NotFound",
    message: `The engine has no network ${name}; make it with \`docker network create ${name}\`.`
  })
