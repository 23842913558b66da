/**
 * A box on an engine: a volume, a network and a container that carry its key.
 *
 * The volume is made first and removed last, under the box's name, which no two volumes of an engine share: a box exists
 * while its volume does. It holds the checkout, what belongs to the session, and how its container is made; a container that
 * somebody removed is made again without a loss.
 */
import { labelNames, type ProvisionIntent } from "@org/sandbox-core/Provisioner"
import { InstanceRef, instanceName } from "@org/sandbox-core/Session"
import { Effect, Schedule, Schema, Stream } from "effect"
import * as Container from "./Container.ts"
import { EngineError, type Problem, provider, Refused, UnreadableAnswer } from "./DockerError.ts"
import * as Engine from "./Engine.ts"
import * as Networks from "./Networks.ts"
import * as Users from "./Users.ts"

/** A box whose volume is there. */
export interface Box {
  readonly id: string
  readonly key: string
  readonly volume: string
  readonly labels: Readonly<Record<string, string>>
}

const RecipeText = Schema.fromJsonString(Container.Recipe)

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
  // a box that is there comes before what is left of an earlier one of its key
  for (const { Labels } of [...volumes, ...networks, ...containers]) {
    const { [Container.boxLabel]: id, [Container.recipeLabel]: _, ...labels } = Labels ?? {}
    if (id !== undefined && labels[labelNames.key] !== undefined) boxes.set(id, labels)
  }
  return [...boxes].map(([id, labels]) => ({ id, key: labels[labelNames.key]!, labels }))
})

/** The box of an intent, its volume made where it is not there; and whether it was made here. */
export const ensure = Effect.fnUntraced(function* ({ key, labels, name }: ProvisionIntent, recipe: Container.Recipe) {
  const id = yield* Networks.nonce
  yield* Engine.createVolume(name, yield* volumeLabels({ id, labels }, recipe))
  // of two processes that make it at once, one finds what the other one made
  const box = (yield* ofKey(key)) ?? (yield* taken("volume", name))
  return { box, isNew: box.id === id }
})

const volumeLabels = Effect.fnUntraced(function* (box: Pick<Box, "id" | "labels">, recipe: Container.Recipe) {
  const text = yield* Effect.orDie(Schema.encodeEffect(RecipeText)(recipe))
  return { ...Container.labels(box), [Container.recipeLabel]: text }
})

/** Gets an image that the engine had when a box was first made. */
export type Again<R> = (image: string) => Effect.Effect<unknown, Problem, R>

/** Makes whatever is missing of a box but its volume, and starts it. Whole already is success. */
export const start = Effect.fnUntraced(function* <R>(box: Box, again: Again<R>) {
  const recipe = yield* recipeOf(box)
  const container = (yield* containerOf(box.id)) ?? (yield* make(box, recipe, again))
  if (container.State.Running && !container.State.Paused) return
  const anew = Effect.gen(function* () {
    yield* Engine.removeContainer(container.Id)
    return yield* run(box, recipe, yield* make(box, recipe, again))
  })
  const id = yield* Effect.catchIf(run(box, recipe, container), isHalfStarted, () => anew)
  yield* stillRuns(box, id, recipe)
})

const run = Effect.fnUntraced(function* (box: Box, recipe: Container.Recipe, container: Engine.Container) {
  // one that has never run may have lost its maker before it was looked at and furnished
  if (container.State.Status === "created") yield* furnish(box, recipe, container)
  const started = Engine.startContainer(container.Id)
  if (container.State.Paused) yield* Engine.unpauseContainer(container.Id)
  else
    yield* Effect.catchIf(started, Networks.isGone, () =>
      Effect.andThen(Networks.rejoin(box, recipe, container), started)
    )
  return container.Id
})

/** An engine that died in the middle of a start takes the container for started from then on, and does not run it. */
const isHalfStarted = (error: unknown): boolean =>
  error instanceof EngineError && /\btask \S+ already exists/.test(error.message)

/** How a box's container is made. */
export const recipeOf = Effect.fnUntraced(function* (box: Box) {
  const text = (yield* Engine.volume(box.volume))?.Labels?.[Container.recipeLabel] ?? ""
  return yield* Effect.mapError(
    Schema.decodeEffect(RecipeText)(text),
    () => new UnreadableAnswer({ message: `The volume ${box.volume} does not say how its container is made.` })
  )
})

const make = Effect.fnUntraced(function* <R>(box: Box, recipe: Container.Recipe, again: Again<R>) {
  const labels = Container.labels(box)
  const own = recipe.network === "session" ? yield* Networks.ensure(box) : undefined
  const network = own ?? recipe.network
  const body = Container.body(recipe, {
    ...{ labels, network, volume: box.volume },
    volumeLabels: yield* volumeLabels(box, recipe)
  })
  const create = Engine.createContainer(box.volume, body)
  // an image that was removed since the box was first made is to be got once more
  const made = yield* Effect.result(
    Effect.catchIf(create, hasNoImage, () => Effect.andThen(again(recipe.image), create))
  )
  if (made._tag === "Failure" && !isConflict(made.failure)) return yield* made.failure
  // of two processes that make it at once, one finds the other's
  const container = yield* containerOf(box.id)
  if (container === undefined) return yield* made._tag === "Failure" ? taken("container", box.volume) : vanished(box)
  if (own !== undefined && Container.networkOf(container) !== own) yield* Effect.ignore(Engine.removeNetwork(own))
  return container
})

/** Looks whether the engine did all it was asked for, and makes the directories. Again is success. */
const furnish = Effect.fnUntraced(function* (box: Box, recipe: Container.Recipe, container: Engine.Container) {
  const missing = Container.deviations(recipe, box.volume, container)
  if (missing.length > 0) {
    yield* Engine.removeContainer(container.Id)
    return yield* new Refused({
      reason: "Unsupported",
      message: `The engine did not give the box ${missing.join(", ")}; no box was made without it.`
    })
  }
  yield* Users.prepare(container)
})

/** Podman says 500 where a name is taken. */
const isConflict = (error: unknown): boolean =>
  error instanceof EngineError && (error.status === 409 || /\bname .* is already in use/.test(error.message))

const hasNoImage = (error: unknown): boolean =>
  error instanceof EngineError && error.status === 404 && /no such image/i.test(error.message)

const taken = (what: "container" | "volume", name: string) =>
  new Refused({
    reason: "Conflict",
    message: `A ${what} called ${name} is on the engine already, and is not ours: rename or remove it.`
  })

const vanished = (box: Box) =>
  new Refused({ reason: "NotReady", message: `The container ${box.volume} was removed while it was made.` })

/** What a container wrote since it was last started; nothing where the engine keeps none of it. */
const saidBy = ({ Id, State }: Engine.Container) => {
  const started = Date.parse(State.StartedAt ?? "")
  const since = Number.isNaN(started) ? 0 : Math.floor(started / 1000)
  return Stream.mkString(Stream.decodeText(Engine.tail(Id, since))).pipe(Effect.orElseSucceed(() => ""))
}

/**
 * Waits until a box says that it runs: for the engine it does before its first process was even found. One that ends at once
 * says why, where it says anything.
 */
const stillRuns = Effect.fnUntraced(function* (box: Box, id: string, recipe: Container.Recipe) {
  const look = Effect.gen(function* () {
    const container = yield* Engine.container(id)
    if (container === undefined) return yield* vanished(box)
    const said = yield* saidBy(container)
    return { said, isSettled: !container.State.Running || said.includes(Container.runs), ...container.State }
  })
  const patience = Schedule.max([Schedule.spaced("20 millis"), Schedule.recurs(100)])
  const seen = yield* Effect.repeat(look, { until: ({ isSettled }) => isSettled, schedule: patience })
  if (seen.Running) return
  const words =
    seen.said
      .replaceAll(/[^\n\x20-\x7e]/g, "")
      .trim()
      .split("\n")
      .at(-1) ?? ""
  return yield* new Refused({
    reason: "Invalid",
    message: `The box ended right after its start with exit code ${seen.ExitCode}${words === "" ? "" : `: ${words}`}. The image ${recipe.image} must have \`sh\` and \`sleep\`.`
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
export const remove = (name: string, value: string) =>
  // a provision that is under way may have put a container into the network since the containers were removed
  Effect.retry(removed(name, value), {
    while: (error) => error._tag === "Refused" && error.reason === "Conflict",
    schedule: Schedule.max([Schedule.spaced("100 millis"), Schedule.recurs(5)])
  })

const removed = Effect.fnUntraced(function* (name: string, value: string) {
  for (const { Id } of yield* Engine.containers([name, value])) {
    yield* Engine.removeContainer(Id).pipe(Effect.catchIf(isConflict, () => Effect.void))
    // somebody else may be removing it just now
    yield* Engine.container(Id).pipe(
      Effect.flatMap((still) =>
        still === undefined
          ? Effect.void
          : new Refused({ reason: "NotReady", message: `The container ${still.Name} is still being removed.` })
      ),
      Effect.retry({
        while: ({ _tag }) => _tag === "Refused",
        schedule: Schedule.max([Schedule.spaced("100 millis"), Schedule.recurs(100)])
      })
    )
  }
  for (const { Id, Name } of yield* Engine.networks([name, value])) {
    yield* Effect.catchTag(Engine.removeNetwork(Id), "EngineError", unremoved("network", Name))
  }
  for (const { Name } of yield* Engine.volumes([name, value])) {
    yield* Effect.catchTag(Engine.removeVolume(Name), "EngineError", unremoved("volume", Name))
  }
})

/** The engine keeps what a container has, and says so with more than one status. */
const unremoved =
  (what: "network" | "volume", name: string) =>
  (error: EngineError): Effect.Effect<never, EngineError | Refused> =>
    /is in use|has active endpoints/.test(error.message)
      ? new Refused({
          reason: "Conflict",
          message: `The ${what} ${name} of the box is used by a container that is not of the box; remove or disconnect that, and destroy the box again. The engine says: ${error.message}`
        })
      : error

export const refOf = ({ id, key }: Pick<Box, "id" | "key">, scope: string) =>
  new InstanceRef({ version: 1, provider, scope, key, id, data: {} })
