/**
 * The connection to an engine: requests, streams and upgraded connections of its HTTP API, in the version that both sides
 * speak.
 *
 * What the API is: https://docs.docker.com/reference/api/engine/
 */
import * as Http from "node:http"
import * as Https from "node:https"
import * as NodeHttpClient from "@effect/platform-node/NodeHttpClient"
import { Cause, Context, Effect, Layer, Redacted, Schema, type Scope, Stream } from "effect"
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

/** How an encrypted connection is made; PEM. */
export interface Tls {
  /** Whom to trust; whom this host trusts anyway, when absent. */
  readonly ca?: string | undefined
  /** Who we are, for an engine that asks. */
  readonly identity?: { readonly cert: string; readonly key: Redacted.Redacted<string> } | undefined
  /** `false`: whoever answers is taken for the engine. */
  readonly verify: boolean
}

/** How to reach an engine. */
export interface Options {
  readonly address: Address
  readonly tls: Tls
}

/** The client of the engine at an address. Nothing is asked before the first request. */
export const layer = (options: Options): Layer.Layer<DockerClient> =>
  Layer.provide(
    Layer.effect(DockerClient, make({ origin: originOf(options.address), isHere: isHere(options.address) })),
    // not undici: it is CommonJS, which a bundled command line cannot load
    Layer.provide(NodeHttpClient.layerNodeHttpNoAgent, Layer.effect(NodeHttpClient.HttpAgent, agents(options)))
  )

const originOf = (address: Address): string =>
  address._tag === "tcp" ? `${address.tls ? "https" : "http"}://${address.host}:${address.port}` : "http://localhost"

/** Keep connections for the next request, and close them with the scope. */
const agents = ({ address, tls: { ca, identity, verify } }: Options) => {
  const made = Effect.sync(() => {
    switch (address._tag) {
      case "unix":
        // a Unix socket is an option of requests, which an agent merges into them
        return new Http.Agent({ keepAlive: true, socketPath: address.path } as Http.AgentOptions)
      case "ssh":
        return new SshHost.Agent(address)
      case "tcp":
        return address.tls
          ? new Https.Agent({
              keepAlive: true,
              rejectUnauthorized: verify,
              ...(ca === undefined ? {} : { ca }),
              ...(identity === undefined ? {} : { cert: identity.cert, key: Redacted.value(identity.key) })
            })
          : new Http.Agent({ keepAlive: true })
    }
  })
  return Effect.map(
    Effect.acquireRelease(made, (agent) => Effect.sync(() => agent.destroy())),
    // the one that the address has no use for is never asked
    (agent) => ({ http: agent, https: agent as Https.Agent })
  )
}

const ErrorBody = Schema.fromJsonString(Schema.Struct({ message: Schema.String }))

/** Which version the engine speaks; said in a header, also by those that are older than the client. */
const negotiated = (header: string | undefined): Effect.Effect<string, Refused | UnreadableAnswer> => {
  const [, major, minor] = /^(\d+)\.(\d+)$/.exec(header ?? "") ?? []
  if (major === undefined || minor === undefined) return Effect.fail(stranger("it names no version of the API"))
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

const stranger = (why: string) => new UnreadableAnswer({ message: `what answers there is no Docker engine: ${why}` })

/** Refusals that mean the same from whoever stands between us and the engine. */
const anybodys = [401, 403, 407, 429, 502, 503, 504]

const make = Effect.fnUntraced(function* (at: { readonly origin: string; readonly isHere: boolean }) {
  const client = yield* HttpClient.HttpClient

  // spans are those of the port's members, and no engine is told of them
  const send = (request: HttpClientRequest.HttpClientRequest) =>
    Effect.mapError(
      Effect.provideService(client.execute(request), HttpClient.TracerDisabledWhen, () => true),
      failed
    )

  const textOf = (response: HttpClientResponse.HttpClientResponse) => Effect.mapError(response.text, failed)

  /** An answer that is neither an error nor somebody else's, whatever its body. */
  const accepted = Effect.fnUntraced(function* (response: HttpClientResponse.HttpClientResponse) {
    const { headers, status } = response
    if (status < 300 || status === 304) return response
    const text = yield* textOf(response)
    const words = text.trim().slice(0, 500)
    // that somebody else has no such page says nothing about what the engine has
    if (headers["api-version"] === undefined && !anybodys.includes(status)) {
      return yield* stranger(words === "" ? `HTTP status ${status}` : words)
    }
    const { message } = yield* Effect.orElseSucceed(Schema.decodeEffect(ErrorBody)(text), () => ({
      message: words || `HTTP status ${status}`
    }))
    return yield* new EngineError({ status, message })
  })

  // asked once: an engine that is replaced by an older one refuses what it does not know
  let known: string | undefined
  const version = Effect.suspend(() => (known === undefined ? ping : Effect.succeed(known)))
  const ping = Effect.gen(function* () {
    const response = yield* send(HttpClientRequest.get(`${at.origin}/_ping`))
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
    const response = yield* send(made)
    return response.status === 101 ? response : yield* accepted(response)
  })

  // a body that is not read keeps its connection from being used again
  const drained = (response: HttpClientResponse.HttpClientResponse) =>
    Effect.mapError(Stream.runDrain(response.stream), failed)

  const upgrade = Effect.fnUntraced(function* (request: Request) {
    const socket = yield* Effect.flatMap(execute(request, "tcp"), ({ upgrade }) => Effect.mapError(upgrade, failed))
    // taken at once, not when somebody reads: what is sent before is sent, and what nobody reads is closed with the scope
    const pull = yield* Effect.option(Socket.readerBytes(socket))
    // a connection that has ended already had nothing left to read
    if (pull._tag === "None") return { input: Stream.empty, send: () => Effect.void } satisfies Connection as Connection
    // the end of a connection is an error to a socket: 1000 is an orderly one
    const next = Effect.catchIf(
      pull.value,
      ({ reason }) => reason._tag === "SocketCloseError" && reason.code === 1000,
      () => Cause.done()
    )
    const input = Stream.mapError(Stream.fromPull(Effect.succeed(next)), failed)
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
    return { input, send } satisfies Connection as Connection
  })

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
    upgrade
  })
})

const failed = (error: HttpClientError.HttpClientError | Socket.SocketError) => new TransportError(rootOf(error))

/** The innermost cause, which is the system's. */
const rootOf = (error: unknown): { readonly code: string | undefined; readonly message: string } => {
  let at: unknown = error
  let code: string | undefined
  let message = error instanceof Error ? error.message : String(error)
  for (let depth = 0; depth < 8 && typeof at === "object" && at !== null; depth++) {
    if ("code" in at && typeof at.code === "string") code = at.code
    if ("message" in at && typeof at.message === "string" && at.message !== "") message = at.message
    // of several addresses of one name, each was tried
    at =
      "errors" in at && Array.isArray(at.errors)
        ? at.errors[0]
        : "reason" in at
          ? at.reason
          : "cause" in at
            ? at.cause
            : undefined
  }
  return { code, message }
}
