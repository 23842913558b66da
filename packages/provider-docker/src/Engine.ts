/** The calls of the engine's API that this provider makes, each with what it answers. */
import { Effect, Fiber, Schema, Stream } from "effect"
import { DockerClient } from "./DockerClient.ts"
import { EngineError, UnreadableAnswer } from "./DockerError.ts"

const Labels = Schema.NullOr(Schema.Record(Schema.String, Schema.String))

const Info = Schema.Struct({
  ID: Schema.String,
  Name: Schema.String,
  DockerRootDir: Schema.String,
  /** Only Podman has one; it makes up its ID each time it is asked. */
  BuildahVersion: Schema.optionalKey(Schema.String),
  OSType: Schema.String,
  NCPU: Schema.Int,
  Runtimes: Schema.optionalKey(Schema.NullOr(Schema.Record(Schema.String, Schema.Unknown)))
})

const PortBinding = Schema.Struct({ HostIp: Schema.String, HostPort: Schema.String })
const PortBindings = Schema.NullOr(Schema.Record(Schema.String, Schema.NullOr(Schema.Array(PortBinding))))

/** A container, as far as anything here looks into it. */
export const Container = Schema.Struct({
  Id: Schema.String,
  Name: Schema.String,
  State: Schema.Struct({
    Status: Schema.String,
    Running: Schema.Boolean,
    Paused: Schema.Boolean,
    OOMKilled: Schema.Boolean,
    ExitCode: Schema.Int,
    Error: Schema.String,
    StartedAt: Schema.optionalKey(Schema.String)
  }),
  Config: Schema.Struct({ User: Schema.String, Labels }),
  HostConfig: Schema.Struct({
    Memory: Schema.Int,
    NanoCpus: Schema.Int,
    PidsLimit: Schema.NullOr(Schema.Int),
    CapAdd: Schema.NullOr(Schema.Array(Schema.String)),
    CapDrop: Schema.NullOr(Schema.Array(Schema.String)),
    SecurityOpt: Schema.NullOr(Schema.Array(Schema.String)),
    Privileged: Schema.Boolean,
    ReadonlyRootfs: Schema.Boolean,
    Init: Schema.optionalKey(Schema.NullOr(Schema.Boolean)),
    NetworkMode: Schema.String,
    PidMode: Schema.String,
    IpcMode: Schema.String,
    Runtime: Schema.optionalKey(Schema.String),
    PortBindings
  }),
  Mounts: Schema.Array(
    Schema.Struct({
      Type: Schema.String,
      Name: Schema.optionalKey(Schema.String),
      Source: Schema.String,
      Destination: Schema.String,
      RW: Schema.Boolean
    })
  ),
  NetworkSettings: Schema.Struct({
    Ports: Schema.optionalKey(PortBindings),
    Networks: Schema.optionalKey(Schema.NullOr(Schema.Record(Schema.String, Schema.Unknown)))
  })
})
export type Container = typeof Container.Type

const Listed = Schema.Struct({ Id: Schema.String, Labels })
const Network = Schema.Struct({ Id: Schema.String, Name: Schema.String, Labels })
const Volume = Schema.Struct({ Name: Schema.String, Labels })
export type Volume = typeof Volume.Type
/** `Pid` is 0 of what was never started. */
const ExecState = Schema.Struct({
  Running: Schema.Boolean,
  ExitCode: Schema.NullOr(Schema.Int),
  Pid: Schema.optionalKey(Schema.Int)
})
const Made = Schema.Struct({ Id: Schema.String })

/** The answer to a request, decoded. */
export const json = <A>(request: Parameters<DockerClient["Service"]["json"]>[0], schema: Schema.Decoder<A>) =>
  Effect.flatMap(DockerClient, (client) => client.json(request, schema))

const call = (request: Parameters<DockerClient["Service"]["call"]>[0]) =>
  Effect.flatMap(DockerClient, (client) => client.call(request))

/**
 * The engine finishes what it has begun to make, whether anybody waits for that or not: so who is interrupted waits a moment
 * for it, and what is removed afterwards is all there is.
 */
const settled = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.uninterruptibleMask((restore) =>
    Effect.flatMap(Effect.forkChild(effect), (fiber) =>
      Effect.onInterrupt(restore(Fiber.join(fiber)), () => Effect.timeoutOption(Fiber.await(fiber), "5 seconds"))
    )
  )

/** Nothing where the engine says that there is none. */
export const orNone = <A, E, R>(effect: Effect.Effect<A, E | EngineError, R>) =>
  Effect.catchIf(
    effect,
    (error) => error instanceof EngineError && error.status === 404,
    () => Effect.succeed(undefined)
  )

const labelled = (...labels: ReadonlyArray<readonly [string, string]>) =>
  JSON.stringify({ label: labels.map(([name, value]) => `${name}=${value}`) })

const at = encodeURIComponent

export const info = json({ method: "GET", path: "/info" }, Info)

/** Containers in any state. */
export const containers = (...labels: ReadonlyArray<readonly [string, string]>) =>
  json(
    { method: "GET", path: "/containers/json", query: { all: true, filters: labelled(...labels) } },
    Schema.Array(Listed)
  )

export const container = (id: string) => orNone(json({ method: "GET", path: `/containers/${at(id)}/json` }, Container))

export const createContainer = (name: string, body: Schema.Json) =>
  settled(json({ method: "POST", path: "/containers/create", query: { name }, body }, Made))

/** Also of one that runs. */
export const startContainer = (id: string) => call({ method: "POST", path: `/containers/${at(id)}/start` })

/** Asks the first process to end, and kills it after so many seconds. Also of one that has ended. */
export const stopContainer = (id: string, seconds: number) =>
  orNone(call({ method: "POST", path: `/containers/${at(id)}/stop`, query: { t: seconds } }))

export const unpauseContainer = (id: string) => call({ method: "POST", path: `/containers/${at(id)}/unpause` })

/** Kills and removes one in whatever state it is. */
export const removeContainer = (id: string) =>
  orNone(call({ method: "DELETE", path: `/containers/${at(id)}`, query: { force: true, v: true } }))

/** The end of what the first process wrote, since some second of the engine's clock. */
export const tail = (id: string, since = 0) =>
  Stream.unwrap(
    Effect.map(DockerClient, (client) =>
      client.stream({
        method: "GET",
        path: `/containers/${at(id)}/logs`,
        query: { stdout: true, stderr: true, tail: 20, since }
      })
    )
  )

export const volume = (name: string) => orNone(json({ method: "GET", path: `/volumes/${at(name)}` }, Volume))

export const volumes = (...labels: ReadonlyArray<readonly [string, string]>) =>
  Effect.map(
    json(
      { method: "GET", path: "/volumes", query: { filters: labelled(...labels) } },
      Schema.Struct({ Volumes: Schema.NullOr(Schema.Array(Volume)) })
    ),
    ({ Volumes }) => Volumes ?? []
  )

/** Answers the volume of that name that is there already, if there is one. */
export const createVolume = (name: string, labels: Readonly<Record<string, string>>) =>
  settled(json({ method: "POST", path: "/volumes/create", body: { Name: name, Labels: labels } }, Volume))

export const removeVolume = (name: string) => orNone(call({ method: "DELETE", path: `/volumes/${at(name)}` }))

export const networks = (...labels: ReadonlyArray<readonly [string, string]>) =>
  json({ method: "GET", path: "/networks", query: { filters: labelled(...labels) } }, Schema.Array(Network))

export const network = (name: string) => orNone(json({ method: "GET", path: `/networks/${at(name)}` }, Network))

/** Names of networks need not be unique; what refers to one by a name that two have is refused. */
export const createNetwork = (name: string, labels: Readonly<Record<string, string>>) =>
  settled(json({ method: "POST", path: "/networks/create", body: { Name: name, Labels: labels } }, Made))

/** Also of one that was removed. */
export const leaveNetwork = (name: string, container: string) =>
  call({ method: "POST", path: `/networks/${at(name)}/disconnect`, body: { Container: container, Force: true } })

export const joinNetwork = (name: string, container: string) =>
  call({ method: "POST", path: `/networks/${at(name)}/connect`, body: { Container: container } })

export const removeNetwork = (id: string) => orNone(call({ method: "DELETE", path: `/networks/${at(id)}` }))

export const createExec = (id: string, body: Schema.Json) =>
  Effect.map(json({ method: "POST", path: `/containers/${at(id)}/exec`, body }, Made), ({ Id }) => Id)

export const startExec = (id: string, tty: boolean) =>
  settled(
    Effect.flatMap(DockerClient, (client) =>
      client.upgrade({ method: "POST", path: `/exec/${id}/start`, body: { Detach: false, Tty: tty } })
    )
  )

export const execState = (id: string) => json({ method: "GET", path: `/exec/${id}/json` }, ExecState)

export const resizeExec = (id: string, { cols, rows }: { readonly cols: number; readonly rows: number }) =>
  call({ method: "POST", path: `/exec/${id}/resize`, query: { w: cols, h: rows } })

/** An archive of one path of a container, also of one that is halted. */
export const readArchive = (id: string, path: string) =>
  Stream.unwrap(
    Effect.map(DockerClient, (client) =>
      client.stream({ method: "GET", path: `/containers/${at(id)}/archive`, query: { path } })
    )
  )

/** Whether the engine says that nothing stands at a path; what is asked for below a file is an error of its own. */
export const isNoPath = (error: unknown): boolean =>
  error instanceof EngineError && (error.status === 404 || /not a directory/.test(error.message))

/** What a path of a container is, if there is anything; links are not followed. */
export const pathInfo = Effect.fnUntraced(function* (id: string, path: string) {
  const client = yield* DockerClient
  const asked = client.head({ method: "HEAD", path: `/containers/${at(id)}/archive`, query: { path } })
  const headers = yield* asked.pipe(
    // such an answer has no text that would tell what is wrong, and this one has; nothing there is told by the status
    Effect.tapErrorTag("EngineError", ({ status }) =>
      status === 404 ? Effect.void : Stream.runHead(readArchive(id, path))
    ),
    Effect.catchIf(isNoPath, () => Effect.succeed(undefined))
  )
  if (headers === undefined) return undefined
  return yield* Effect.mapError(
    Schema.decodeEffect(PathInfo)(headers["x-docker-container-path-stat"] ?? ""),
    ({ message }) => new UnreadableAnswer({ message: `the engine does not say what ${path} is: ${message}` })
  )
})

const PathInfo = Schema.StringFromBase64.pipe(
  Schema.decodeTo(Schema.fromJsonString(Schema.Struct({ linkTarget: Schema.String })))
)

/** Unpacks into a directory that exists, also of a container that is halted. */
export const writeArchive = (id: string, path: string, archive: Stream.Stream<Uint8Array>) =>
  call({
    method: "PUT",
    path: `/containers/${at(id)}/archive`,
    query: { path, noOverwriteDirNonDir: true },
    archive
  })
