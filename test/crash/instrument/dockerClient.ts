/** Stands in for the Docker provider's client in the CLI under test: points around whatever changes something on the engine. */
import * as Real from "@org/sandbox-provider-docker/DockerClient"
import { Effect, Layer } from "effect"
import { around } from "./points.ts"

export * from "@org/sandbox-provider-docker/DockerClient"

const watched = <A, E, R>({ method, path }: Real.Request, call: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  method === "GET" || method === "HEAD"
    ? call
    : // ids are others in each run
      around("engine", `${method} ${path.replace(/^\/(\w+)\/[^/]{12,}/, "/$1/…")}`, call)

export const layer: typeof Real.layer = (options) =>
  Layer.effect(
    Real.DockerClient,
    Effect.map(Real.DockerClient, (real) => ({
      ...real,
      json: (request, schema) => watched(request, real.json(request, schema)),
      call: (request) => watched(request, real.call(request)),
      upgrade: (request) => watched(request, real.upgrade(request))
    }))
  ).pipe(Layer.provide(Real.layer(options)))
