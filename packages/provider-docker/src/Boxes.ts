/**
 * A box on an engine: a volume, a network and a container that carry its key.
 *
 * The volume is made first and removed last, under the box's name, which no two volumes of an engine share: a box exists
 * while its volume does. It holds the checkout, what belongs to the session, and how its container is made; a container that
 * somebody removed is made again without a loss.
 */
import { labelNames, type ProvisionIntent } from "@org/sandbox-core/Provisioner"
import { InstanceRef, instanceName } from "@org/sandbox-core/Session"
import { Clock, Effect, Random, Schedule, Schema, Stream } from "effect"
import * as Container from "./Container.ts"
import { EngineError, provider, Refused, UnreadableAnswer } from "./DockerError.ts"
import * as Engine from "./Engine.ts"
import * as Users from "./Users.ts"

/** A box whose volume is there. */
export interface Box {
  readonly id: string
  readonly key: string
  readonly volume: string
  readonly labels: Readonly<Record<string, string>>
}

const RecipeText = Schema.fromJsonString(Container.Recipe)

const nonce = Effect.gen(function* () {
  const random = yield* Random.nextIntBetween(0, Number.MAX_SAFE_INTEGER)
  return `${(yield* Clock.currentTimeMillis).toString(36)}-${random.toString(36)}`
})

/** The box of a key; nothing where there is none, or something of somebody else's under that name. */
export const ofKey = Effect.fnUntraced(function* (key: string) {
  const volume = yield* Engine.volume(instanceName(key))
  return volume === undefined ? undefined : boxOf(volume, key)
})

const boxOf = ({ Labels, Name }: Engine.Volume, key: string): Box | undefined => {
  const { [Container.boxLabel]: id, [Container.recipeLabel]: _, ...labels } = Labels ?? {}
  return id === undefined || labels[labelNames.key] !== key ? undefined : { id, key, volume: Name, labels }
}

/** The box of a reference; another box of the same key is not it. */
export const ofRef = (ref: Pick<InstanceRef, "id" | "key">) =>
  Effect.map(ofKey(ref.key), (box) => (box?.id === ref.id ? box : undefined))

/** Its container, whatever somebody may have renamed it to. */
export const containerOf = Effect.fnUntraced(function* (id: string) {
  for (const { Id } of yield* Engine.containers([Container.boxLabel, id])) {
    const container = yield* Engine.container(Id)
    if (container !== undefined) return container
  }
  return undefined
})

/** Everything of the boxes that carry a label, also of those whose volume somebody removed. */
export const labelled = Effect.fnUntraced(function* (name: string, value: string) {
  const [volumes, networks, containers] = yield* Effect.all(
    [Engine.volumes([name, value]), Engine.networks([name, value]), Engine.containers([name, value])],
    { concurrency: "unbounded" }
  )
  const boxes = new Map<string, Readonly<Record<string, string>>>()
  for (const { Labels } of [...containers, ...networks, ...volumes]) {
    const { [Container.boxLabel]: id, [Container.recipeLabel]: _, ...labels } = Labels ?? {}
    if (id !== undefined && labels[labelNames.key] !== undefined) boxes.set(id, labels)
  }
  return [...boxes].map(([id, labels]) => ({ id, key: labels[labelNames.key]!, labels }))
})

/** The box of an intent, its volume made where it is not there. */
export const ensure = Effect.fnUntraced(function* ({ key, labels, name }: ProvisionIntent, recipe: Container.Recipe) {
  const text = yield* Effect.orDie(Schema.encodeEffect(RecipeText)(recipe))
  yield* Engine.createVolume(name, { ...labels, [Container.boxLabel]: yield* nonce, [Container.recipeLabel]: text })
  // of two processes that make it at once, one finds what the other one made
  const box = yield* ofKey(key)
  return box ?? (yield* taken("volume", name))
})

/** Makes whatever is missing of a box but its volume, and starts it. Whole already is success. */
export const start = Effect.fnUntraced(function* (box: Box) {
  const recipe = yield* recipeOf(box)
  const found = yield* containerOf(box.id)
  const container = found ?? (yield* make(box, recipe))
  if (container.State.Running && !container.State.Paused) return
  if (container.State.Paused) yield* Engine.unpauseContainer(container.Id)
  else yield* Engine.startContainer(container.Id)
  yield* stillRuns(container.Id, recipe)
})

/** How a box's container is made. */
export const recipeOf = Effect.fnUntraced(function* (box: Box) {
  const text = (yield* Engine.volume(box.volume))?.Labels?.[Container.recipeLabel] ?? ""
  return yield* Effect.mapError(
    Schema.decodeEffect(RecipeText)(text),
    () => new UnreadableAnswer({ message: `The volume ${box.volume} does not say how its container is made.` })
  )
})

const make = Effect.fnUntraced(function* (box: Box, recipe: Container.Recipe) {
  const labels = { ...box.labels, [Container.boxLabel]: box.id }
  const own = recipe.network === "session" ? yield* networkOf(box, labels) : undefined
  const network = own ?? recipe.network
  const body = Container.body(recipe, { labels, network, volume: box.volume })
  const made = yield* Effect.result(Engine.createContainer(box.volume, body))
  if (made._tag === "Failure" && !isConflict(made.failure)) return yield* made.failure
  // of two processes that make it at once, one finds the other's
  const container = yield* containerOf(box.id)
  if (container === undefined) return yield* made._tag === "Failure" ? taken("container", box.volume) : vanished(box)
  if (own !== undefined && container.HostConfig.NetworkMode !== own) yield* Effect.ignore(Engine.removeNetwork(own))
  const missing = Container.deviations(recipe, box.volume, container)
  if (missing.length > 0) {
    yield* Engine.removeContainer(container.Id)
    return yield* new Refused({
      reason: "Unsupported",
      message: `The engine did not give the box ${missing.join(", ")}; no box was made without it.`
    })
  }
  yield* Users.prepare(container)
  return container
})

/** The name of the box's network: one that is there, or a new one of a name that nothing else has. */
const networkOf = Effect.fnUntraced(function* (box: Box, labels: Readonly<Record<string, string>>) {
  const [there] = yield* Engine.networks([Container.boxLabel, box.id])
  if (there !== undefined) return there.Name
  const name = `${box.volume}-${yield* nonce}`
  yield* Engine.createNetwork(name, labels)
  return name
})

const isConflict = (error: unknown): boolean => error instanceof EngineError && error.status === 409

const taken = (what: "container" | "volume", name: string) =>
  new Refused({
    reason: "Conflict",
    message: `A ${what} called ${name} is on the engine already, and is not ours: rename or remove it.`
  })

const vanished = (box: Box) =>
  new Refused({ reason: "NotReady", message: `The container ${box.volume} was removed while it was made.` })

/** A box that ends as soon as it was started says why, where it says anything. */
const stillRuns = Effect.fnUntraced(function* (id: string, recipe: Container.Recipe) {
  const container = yield* Engine.container(id)
  if (container?.State.Running === true) return
  const said = yield* Stream.mkString(Stream.decodeText(Engine.tail(id))).pipe(Effect.orElseSucceed(() => ""))
  const words =
    said
      .replaceAll(/[^\n\x20-\x7e]/g, "")
      .trim()
      .split("\n")
      .at(-1) ?? ""
  const code = container?.State.ExitCode
  return yield* new Refused({
    reason: "Invalid",
    message: `The box ended right after its start${code === undefined ? "" : ` with exit code ${code}`}${words === "" ? "" : `: ${words}`}. The image ${recipe.image} must have \`sh\` and \`sleep\`.`
  })
})

/** Ends what runs in a box; its files stay. */
export const stop = Effect.fnUntraced(function* (box: Box) {
  const container = yield* containerOf(box.id)
  if (container === undefined) return
  // a box that is paused hears nothing
  if (container.State.Paused) yield* Engine.unpauseContainer(container.Id)
  if (container.State.Running) yield* Engine.stopContainer(container.Id, Container.grace)
})

/** Removes everything that carries the label, the volumes last. */
export const remove = Effect.fnUntraced(function* (name: string, value: string) {
  for (const { Id } of yield* Engine.containers([name, value])) {
    yield* Engine.removeContainer(Id).pipe(Effect.catchIf(isConflict, () => Effect.void))
    // somebody else may be removing it just now
    yield* Engine.container(Id).pipe(
      Effect.flatMap((still) =>
        still === undefined
          ? Effect.void
          : new Refused({ reason: "NotReady", message: `The container ${still.Name} is still being removed.` })
      ),
      Effect.retry({ schedule: Schedule.max([Schedule.spaced("100 millis"), Schedule.recurs(100)]) })
    )
  }
  for (const { Id } of yield* Engine.networks([name, value])) yield* Engine.removeNetwork(Id)
  for (const { Name } of yield* Engine.volumes([name, value])) yield* Engine.removeVolume(Name)
})

export const refOf = ({ id, key }: Pick<Box, "id" | "key">, scope: string) =>
  new InstanceRef({ version: 1, provider, scope, key, id, data: {} })
