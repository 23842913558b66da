/**
 * The connection to an engine: requests, streams and upgraded connections of its HTTP API, in the version that both sides
 * speak.
 *
 * What the API is: https://docs.docker.com/reference/api/engine/
 */
import { readFileSync } from "node:fs"
import { join } from "node:path"
import * as NodeHttpClient from "@effect/platform-node/NodeHttpClient"
import { Context, Effect, Layer, Schema, type Scope, Stream } from "effect"
import { HttpClient, type HttpClientError, HttpClientRequest, type HttpClientResponse } from "effect/http"
import { Socket } from "effect/socket"
import { type Address, isHere } from "./Address.ts"
import { EngineError, Refused, TransportError, UnreadableAnswer } from "./DockerError.ts"
import * as SshHost from "./SshHost.ts"

/** The versions of the API that this client knows: 1.41 is that of Docker 20.10. */
export const versions = { oldest: [1, 41], newest: [1, 51] } as const

export type ClientError = EngineError | TransportError | UnreadableAnswer | Refused

/** One request. The path is without the version. */
export interface Request {
  readonly method: "GET" | "HEAD" | "POST" | "PUT" | "DELETE"
  readonly path: string
  readonly query?: Readonly<Record<string, string | number | boolean | undefined>> | undefined
  /** Sent as JSON. */
  readonly body?: Schema.Json | undefined
  /** Sent as it is; a tar archive. */
  readonly archive?: Stream.Stream<Uint8Array> | undefined
  readonly headers?: Readonly<Record<string, string>> | undefined
}

/** A connection that was taken over for the input and output of a command. */
export interface Connection {
  /** What arrives; ends when the other side ends it. Run it once. */
  readonly input: Stream.Stream<Uint8Array, TransportError>
  /** Sends all of a stream; `end` says to the other side that there is no more. */
  readonly send: (bytes: Stream.Stream<Uint8Array>, end: boolean) => Effect.Effect<void, TransportError>
}

export class DockerClient extends Context.Service<
  DockerClient,
  {
    /** Whether the engine runs on this host, so that what it publishes here can be reached here. */
    readonly isHere: boolean
    /** The answer, decoded. */
    readonly json: <A>(request: Request, schema: Schema.Decoder<A>) => Effect.Effect<A, ClientError>
    /** For what answers with nothing of interest; the status. */
    readonly call: (request: Request) => Effect.Effect<number, ClientError>
    /** The headers of an answer. */
    readonly head: (request: Request) => Effect.Effect<Readonly<Record<string, string>>, ClientError>
    /** The body of an answer as it comes, with back-pressure. */
    readonly stream: (request: Request) => Stream.Stream<Uint8Array, ClientError>
    /** Takes the connection over; it is closed with the scope. */
    readonly upgrade: (request: Request) => Effect.Effect<Connection, ClientError, Scope.Scope>
  }
>()("@org/sandbox-provider-docker/DockerClient") {}

/** How to reach an engine. */
export interface Options {
  readonly address: Address
  /** A directory with `ca.pem`, `cert.pem` and `key.pem`. */
  readonly certificates?: string | undefined
  /** `false`: the engine's certificate is not checked, as without DOCKER_TLS_VERIFY. */
  readonly verify?: boolean | undefined
}

/** The client of the engine at an address. Nothing is asked before the first request. */
export const layer = (options: Options): Layer.Layer<DockerClient, TransportError> =>
  Layer.unwrap(
    Effect.map(connect(options), ({ agent, origin, said }) =>
      Layer.provide(
        Layer.effect(DockerClient, make({ origin, said, isHere: isHere(options.address) })),
        NodeHttpClient.layerUndiciOptions(agent)
      )
    )
  )

type Agent = NonNullable<Parameters<typeof NodeHttpClient.layerUndiciOptions>[0]>

const connect = Effect.fnUntraced(function* ({ address, certificates, verify = true }: Options) {
  const none = () => ""
  const timeout = 20_000
  switch (address._tag) {
    case "unix": {
      const agent: Agent = { connect: { socketPath: address.path, timeout } }
      return { agent, origin: "http://localhost", said: none }
    }
    case "ssh": {
      const { path, said } = yield* SshHost.relay(address)
      const agent: Agent = { connect: { socketPath: path, timeout: 60_000 } }
      return { agent, origin: "http://localhost", said }
    }
    case "tcp": {
      const origin = `${address.tls ? "https" : "http"}://${address.host}:${address.port}`
      const tls = address.tls ? yield* certified(certificates, verify) : {}
      const agent: Agent = { connect: { ...tls, timeout } }
      return { agent, origin, said: none }
    }
  }
})

const certified = (directory: string | undefined, verify: boolean) =>
  directory === undefined
    ? Effect.succeed({ rejectUnauthorized: verify })
    : Effect.try({
        try: () => ({
          ...(verify ? { ca: readFileSync(join(directory, "ca.pem")) } : {}),
          cert: readFileSync(join(directory, "cert.pem")),
          key: readFileSync(join(directory, "key.pem")),
          rejectUnauthorized: verify
        }),
        catch: (cause) => new TransportError({ code: undefined, message: (cause as Error).message })
      })

const ErrorBody = Schema.fromJsonString(Schema.Struct({ message: Schema.String }))

/** Which version the engine speaks; said in a header, also by those that are older than the client. */
const negotiated = (header: string | undefined): Effect.Effect<string, Refused | UnreadableAnswer> => {
  const [, major, minor] = /^(\d+)\.(\d+)$/.exec(header ?? "") ?? []
  if (major === undefined || minor === undefined) {
    return Effect.fail(
      new UnreadableAnswer({ message: "what answers there is no Docker engine: it names no API version" })
    )
  }
  const spoken = Number(minor)
  const [first, oldest] = versions.oldest
  if (Number(major) !== first || spoken < oldest) {
    return Effect.fail(
      new Refused({
        reason: "Unsupported",
        message: `the engine speaks version ${header} of its API, and ${first}.${oldest} is needed: that of Docker 20.10`
      })
    )
  }
  return Effect.succeed(`v1.${Math.min(spoken, versions.newest[1])}`)
}

const make = Effect.fnUntraced(function* (at: {
  readonly origin: string
  readonly said: () => string
  readonly isHere: boolean
}) {
  const client = yield* HttpClient.HttpClient

  const failed = (error: HttpClientError.HttpClientError | Socket.SocketError): TransportError => {
    const { code, message } = rootOf(error)
    const words = at.said()
    return new TransportError({ code, message: words === "" ? message : `${message}: ${words}` })
  }

  const textOf = (response: HttpClientResponse.HttpClientResponse) => Effect.mapError(response.text, failed)

  /** An answer that is not an error, whatever its body. */
  const accepted = (response: HttpClientResponse.HttpClientResponse) =>
    response.status < 400
      ? Effect.succeed(response)
      : Effect.flatMap(textOf(response), (text) =>
          Schema.decodeEffect(ErrorBody)(text).pipe(
            Effect.orElseSucceed(() => ({ message: text.trim() || `HTTP status ${response.status}` })),
            Effect.flatMap(({ message }) => new EngineError({ status: response.status, message }))
          )
        )

  // asked once: an engine that is replaced by an older one refuses what it does not know
  let known: string | undefined
  const version = Effect.suspend(() => (known === undefined ? ping : Effect.succeed(known)))
  const ping = Effect.gen(function* () {
    const response = yield* Effect.mapError(client.get(`${at.origin}/_ping`), failed)
    yield* Effect.flatMap(accepted(response), textOf)
    known = yield* negotiated(response.headers["api-version"])
    return known
  })

  const execute = Effect.fnUntraced(function* (request: Request, protocol?: string) {
    let made = HttpClientRequest.make(request.method)(`${at.origin}/${yield* version}${request.path}`)
    if (protocol !== undefined) made = HttpClientRequest.upgrade(made, protocol)
    const query = Object.entries(request.query ?? {}).flatMap(([name, value]) =>
      value === undefined ? [] : [[name, String(value)] as const]
    )
    if (query.length > 0) made = HttpClientRequest.setUrlParams(made, query)
    if (request.headers !== undefined) made = HttpClientRequest.setHeaders(made, request.headers)
    if (request.body !== undefined) made = HttpClientRequest.bodyJsonUnsafe(made, request.body)
    if (request.archive !== undefined) {
      made = HttpClientRequest.bodyStream(made, request.archive, { contentType: "application/x-tar" })
    }
    const response = yield* Effect.mapError(client.execute(made), failed)
    return yield* accepted(response)
  })

  // a body that is not read keeps its connection from being used again
  const drained = (response: HttpClientResponse.HttpClientResponse) =>
    Effect.mapError(Stream.runDrain(response.stream), failed)

  return DockerClient.of({
    isHere: at.isHere,
    json: (request, schema) =>
      Effect.flatMap(Effect.flatMap(execute(request), textOf), (text) =>
        Effect.mapError(
          Schema.decodeEffect(Schema.fromJsonString(schema))(text),
          ({ message }) =>
            new UnreadableAnswer({ message: `the engine's answer to ${request.path} is not as expected: ${message}` })
        )
      ),
    call: (request) => Effect.flatMap(execute(request), (response) => Effect.as(drained(response), response.status)),
    head: (request) => Effect.flatMap(execute(request), (response) => Effect.as(drained(response), response.headers)),
    stream: (request) =>
      Stream.unwrap(Effect.map(execute(request), (response) => Stream.mapError(response.stream, failed))),
    upgrade: Effect.fnUntraced(function* (request) {
      const response = yield* execute(request, "tcp")
      const socket = yield* Effect.mapError(response.upgrade, failed)
      const input = Socket.toStream(socket).pipe(
        // the end of a connection is an error to a socket: 1000 is an orderly one; one that ended before anybody read it had
        // nothing left to read
        Stream.catchIf(
          ({ reason }) =>
            reason._tag === "SocketOpenError" || (reason._tag === "SocketCloseError" && reason.code === 1000),
          () => Stream.empty
        ),
        Stream.mapError(failed)
      )
      const send = (bytes: Stream.Stream<Uint8Array>, end: boolean) =>
        Effect.scoped(
          Effect.gen(function* () {
            const writer = yield* socket.writer
            yield* Effect.mapError(
              Stream.runForEachArray(bytes, (chunk) => writer.writeAll(chunk)),
              failed
            )
            if (!end) return yield* Effect.never
          })
        )
      return { input, send }
    })
  })
})

/** The innermost cause, which is the system's. */
const rootOf = (error: unknown): { readonly code: string | undefined; readonly message: string } => {
  let at: unknown = error
  let code: string | undefined
  let message = error instanceof Error ? error.message : String(error)
  for (let depth = 0; depth < 8 && typeof at === "object" && at !== null; depth++) {
    if ("code" in at && typeof at.code === "string") code = at.code
    if ("message" in at && typeof at.message === "string" && at.message !== "") message = at.message
    at = "reason" in at ? at.reason : "cause" in at ? at.cause : undefined
  }
  return { code, message }
}
