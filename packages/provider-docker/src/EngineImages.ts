/** The calls of the engine's API that have to do with images. */
import { Effect, Schema, Stream } from "effect"
import { DockerClient, type Request } from "./DockerClient.ts"
import { EngineError } from "./DockerError.ts"
import { json, orNone } from "./Engine.ts"

const Image = Schema.Struct({
  Id: Schema.String,
  Config: Schema.optionalKey(Schema.NullOr(Schema.Struct({ User: Schema.optionalKey(Schema.String) })))
})
export type Image = typeof Image.Type

export const find = (name: string) =>
  orNone(json({ method: "GET", path: `/images/${name.split("/").map(encodeURIComponent).join("/")}/json` }, Image))

/** Asks the image of its registry; what it says on the way, line by line. */
export const pull = (name: string) => said({ method: "POST", path: "/images/create", query: tagged(name) })

/** An image's name without a tag would be asked for in all of its versions. */
const tagged = (name: string) => (/@|:[^/]*$/.test(name) ? { fromImage: name } : { fromImage: name, tag: "latest" })

/** What an image is built by, beside its context. */
export interface Recipe {
  readonly name: string
  readonly labels: Readonly<Record<string, string>>
  readonly dockerfile: string
  readonly args: Readonly<Record<string, string>>
  readonly target: string | undefined
  /** Whether the images that it begins with are asked of their registries, also where the engine has them. */
  readonly pull: boolean
}

/**
 * Builds an image of the files in an archive; what is said on the way. The name is given last, when all of it is there.
 * Who no longer listens ends the build, and the engine removes what runs for it.
 */
export const build = ({ args, dockerfile, labels, name, pull, target }: Recipe, archive: Stream.Stream<Uint8Array>) =>
  said({
    method: "POST",
    path: "/build",
    query: {
      ...{ t: name, dockerfile, target, pull, rm: true, forcerm: true },
      ...{ buildargs: JSON.stringify(args), labels: JSON.stringify(labels) }
    },
    archive
  })

const Line = Schema.fromJsonString(
  Schema.Struct({
    /** What a command of a build wrote, and what the engine says of the build; not always whole lines. */
    stream: Schema.optionalKey(Schema.String),
    status: Schema.optionalKey(Schema.String),
    id: Schema.optionalKey(Schema.String),
    error: Schema.optionalKey(Schema.String)
  })
)

/** The lines of an answer that goes on for as long as there is something to do; one that says an error fails. */
const said = (request: Request) =>
  Stream.unwrap(Effect.map(DockerClient, (client) => client.stream(request))).pipe(
    Stream.decodeText(),
    Stream.splitLines,
    Stream.filter((line) => line.trim() !== ""),
    Stream.mapEffect((line) =>
      Effect.orElseSucceed(Schema.decodeEffect(Line)(line), () => ({ status: line }) as typeof Line.Type)
    ),
    Stream.mapEffect((line) =>
      line.error === undefined ? Effect.succeed(line) : Effect.fail(new EngineError({ status: 0, message: line.error }))
    )
  )
