/**
 * Images that are built of a directory of this host.
 *
 * An image's name is the digest of all that it is built from: what has not changed is not built again, and whoever needs it
 * at the same time waits for the one who builds it.
 */
import { Directories } from "@org/sandbox-core/Host"
import type { OptionPlace } from "@org/sandbox-core/Provisioner"
import * as RepositoryLock from "@org/sandbox-core/RepositoryLock"
import { Deferred, Effect, FileSystem, Path, Stream } from "effect"
import * as BuildContext from "./BuildContext.ts"
import { type EngineError, Refused, reasonOfText, TransportError } from "./DockerError.ts"
import * as EngineImages from "./EngineImages.ts"
import * as Images from "./Images.ts"
import type { Options } from "./Options.ts"

/** What to build, as it is configured, and where that was written down. */
export type Build = NonNullable<Options["build"]> & { readonly place: OptionPlace }

type Report = ((line: string) => Effect.Effect<void>) | undefined

const repository = "sandbox-build"

/** The label of every image that was built here, for whoever removes them. */
const label = "org.sandbox.docker.build"

/** Whether an image was built here, so that no registry has it. */
export const isBuilt = (image: string): boolean => image.startsWith(`${repository}:`)

/** Whether there is something to build; nothing of it is sent. */
export const check = (build: Build) => Effect.asVoid(placeOf(build))

/** The image of the directory as it is, built unless the engine has it; its name, and its own user. */
export const obtain = Effect.fnUntraced(function* (build: Build, pull: Images.Pull, report: Report) {
  const context = yield* read(build)
  return { name: context.name, ...Images.described(yield* ensure(build, context, pull, report)) }
})

/** Builds an image once more that was removed since, when its directory is still what it was built of. */
export const again = Effect.fnUntraced(function* (image: string, build: Build | undefined, pull: Images.Pull) {
  const gone = `The engine no longer has the image ${image}, which the box was built of`
  if (build === undefined) {
    const message = `${gone}, and the provider's options name nothing to build: run this where they have \`build\`.`
    return yield* new Refused({ reason: "NotFound", message })
  }
  const context = yield* read(build)
  if (context.name !== image) {
    const message = `${gone}, and ${context.top} has changed since: put its files back as they were, or make a new box.`
    return yield* new Refused({ reason: "NotFound", message })
  }
  yield* ensure(build, context, pull, undefined)
})

/** Where everything is that is built of, looked at before it is read. */
const placeOf = Effect.fnUntraced(function* ({ context, dockerfile = "Dockerfile", place }: Build) {
  const fs = yield* FileSystem.FileSystem
  const path = yield* Path.Path
  const kindOf = (place: string) =>
    Effect.orElseSucceed(
      Effect.map(fs.stat(place), ({ type }) => type),
      () => undefined
    )
  const real = (place: string) =>
    Effect.mapError(fs.realPath(place), ({ message }) => BuildContext.invalid(`${place} cannot be read: ${message}`))
  const refuse = (reason: "Invalid" | "NotFound", message: string) => new Refused({ reason, message })
  const isOutside = (relative: string) => path.isAbsolute(relative) || /^\.\.(\/|$)/.test(relative)

  if (place.folder === undefined) {
    const message = `build.context is ${context}, and the repository that says so is not on this host: clone it, or name an image.`
    return yield* refuse("Invalid", message)
  }
  const named = path.resolve(place.folder, context)
  if ((yield* kindOf(named)) !== "Directory") {
    return yield* refuse("NotFound", `build.context is ${context}: there is no directory ${named} on this host.`)
  }
  const top = yield* real(named)
  // whoever wrote the repository is not to have another directory of this host copied into a box of theirs
  if (place.isTheirs && isOutside(path.relative(yield* real(place.folder), top))) {
    const message = `build.context is ${context}: that leads out of the repository which says so; say it in a configuration of your own.`
    return yield* refuse("Invalid", message)
  }
  const within = path.normalize(dockerfile)
  const said = `build.dockerfile is ${dockerfile}`
  if (isOutside(within)) return yield* refuse("Invalid", `${said}: name a file in build.context, relative to that.`)
  if ((yield* kindOf(path.join(top, within))) !== "File") {
    return yield* refuse("NotFound", `${said}: there is no such file in ${top}.`)
  }
  if (isOutside(path.relative(top, yield* real(path.join(top, within))))) {
    return yield* refuse("Invalid", `${said}: that is a link which leads out of ${top}.`)
  }
  return { top, dockerfile: within } satisfies BuildContext.Place
})

interface Context extends BuildContext.Place {
  readonly entries: BuildContext.Listing
  /** That of the image which is built of it. */
  readonly name: string
}

const read = Effect.fnUntraced(function* (build: Build) {
  const place = yield* placeOf(build)
  const entries = yield* BuildContext.list(place)
  const args = Object.entries(build.args ?? {}).sort(([one], [other]) => (one < other ? -1 : 1))
  const digest = yield* BuildContext.digest(place.top, entries, [place.dockerfile, args, build.target ?? null])
  return { ...place, entries, name: `${repository}:${digest}` } satisfies Context as Context
})

/** The image that is there, or a new one. */
const ensure = Effect.fnUntraced(function* (build: Build, context: Context, pull: Images.Pull, report: Report) {
  const there = pull === "always" ? Effect.succeed(undefined) : EngineImages.find(context.name)
  const made = Effect.gen(function* () {
    // somebody else may have built it while this waited
    return (yield* there) ?? (yield* run(build, context, pull, report))
  })
  return (yield* there) ?? (yield* alone(context.name)(made))
})

/** Sends the files, and listens until the image is there. */
const run = Effect.fnUntraced(function* (build: Build, context: Context, pull: Images.Pull, report: Report) {
  const { dockerfile, entries, name, top } = context
  yield* report?.(`building an image of ${top}`) ?? Effect.void
  const services = yield* Effect.context<FileSystem.FileSystem>()
  // what is sent has no way to fail but this one, which ends the sending as well
  const failed = yield* Deferred.make<never, Refused>()
  const archive = BuildContext.archive(top, entries).pipe(
    Stream.catch((error) => Stream.fromEffectDrain(Effect.andThen(Deferred.fail(failed, error), Effect.never))),
    Stream.provideContext(services)
  )
  const recipe: EngineImages.Recipe = {
    ...{ name, dockerfile, args: build.args ?? {}, target: build.target, pull: pull === "always" },
    labels: { [label]: "true" }
  }
  let output = ""
  const heard = Stream.runForEach(EngineImages.build(recipe, archive), ({ stream = "", ...line }) => {
    const isStep = /^step \d/i.test(stream)
    output = isStep ? "" : (output + stream).slice(-longest)
    const news = isStep ? stream.trim() : Images.news(line)
    return news === undefined || report === undefined ? Effect.void : report(news)
  })
  yield* heard.pipe(
    Effect.catchTag("EngineError", (error) => unbuilt(error, { top, output })),
    Effect.raceFirst(Deferred.await(failed))
  )
  const built = yield* EngineImages.find(name)
  if (built !== undefined) return built
  // an engine that ends in the middle of it may end what it says in an orderly way
  return yield* new TransportError({ code: undefined, message: `The engine ended the build of ${top} before its end.` })
})

/** How much of the output of a command is kept, in characters, to be told when it fails. */
const longest = 2000

/** What the engine puts around what a command writes to its standard error, and what such commands may write. */
const colors = new RegExp(`${String.fromCharCode(27)}\\[[\\d;]*m`, "g")

const unbuilt = (
  error: EngineError,
  { output, top }: { readonly top: string; readonly output: string }
): Effect.Effect<never, EngineError | Refused> => {
  const message = error.message.trim()
  // what the engine itself could not do, not what it was asked for
  if (error.status >= 500 && !/dockerfile/i.test(message)) return Effect.fail(error)
  // as Docker says it, and as Podman does
  const isCommand = /(returned a non-zero code:|: exit status) \d+$/.test(message)
  const last = output
    .replaceAll(colors, "")
    .split("\n")
    .filter((line) => !/^( --->|Removing intermediate container|\s*$)/.test(line))
    .slice(-10)
  return Effect.fail(
    new Refused({
      reason: isCommand ? "Invalid" : (reasonOfText(message) ?? "Invalid"),
      message: [
        `No image could be built of build.context ${top}: ${message}`,
        ...(last.length > 0 ? [`The last it said: ${last.join(" | ")}`] : []),
        ...(/buildkit|unknown (flag|instruction)/i.test(message)
          ? ["What BuildKit alone can do, `docker build` can: use that, and name the image."]
          : [])
      ].join(". ")
    })
  )
}

/** Lets one process of this host at a time build an image. */
const alone =
  (name: string) =>
  <A, E, R>(effect: Effect.Effect<A, E, R>) =>
    Effect.gen(function* () {
      const fs = yield* FileSystem.FileSystem
      const path = yield* Path.Path
      const folder = path.join((yield* Directories).cache, "docker-builds")
      yield* Effect.mapError(
        fs.makeDirectory(folder, { recursive: true, mode: 0o700 }),
        ({ message }) => new Refused({ reason: "Invalid", message: `${folder} cannot be made: ${message}` })
      )
      const file = path.join(folder, `${name.slice(repository.length + 1)}.lock`)
      const held = RepositoryLock.withLock(file, { timeout: "1 hour" })(Effect.result(effect))
      const result = yield* Effect.mapError(held, ({ message }) => new Refused({ reason: "NotReady", message }))
      return yield* Effect.fromResult(result)
    })
