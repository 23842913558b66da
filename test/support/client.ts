/** The plain asynchronous client in a world that this very process is in. */
import { assert } from "@effect/vitest"
import { type Client, createClient, type ProgressEvent } from "@org/sandbox-core/promise"
import { Context, Effect, Layer } from "effect"
import { vi } from "vitest"
import { type World, world } from "./sandbox.ts"

export const providers = { local: { use: () => import("@org/sandbox-provider-local") } }

/** A world that this very process is in, and a client in it: one for all, because a process has one environment. */
export class Connected extends Context.Service<
  Connected,
  { readonly w: World; readonly client: Client; readonly events: ReadonlyArray<ProgressEvent> }
>()("Connected") {
  static readonly layer = Layer.effect(
    Connected,
    Effect.gen(function* () {
      const w = yield* world
      yield* Effect.acquireRelease(
        Effect.sync(() => {
          for (const [name, value] of Object.entries(w.env)) vi.stubEnv(name, value)
        }),
        () => Effect.sync(() => vi.unstubAllEnvs())
      )
      const events: Array<ProgressEvent> = []
      const client = yield* Effect.acquireRelease(
        Effect.sync(() => createClient({ providers, onEvent: (event) => void events.push(event) })),
        (client) => Effect.promise(client.close)
      )
      return { w, client, events }
    })
  )
}

export const collected = (output: AsyncIterable<{ readonly fd: 1 | 2; readonly bytes: Uint8Array }>) =>
  Effect.tryPromise(async () => {
    const text = { 1: "", 2: "" }
    for await (const { bytes, fd } of output) text[fd] += new TextDecoder().decode(bytes)
    return text
  })

export const rejection = (promise: Promise<unknown>): Effect.Effect<unknown> =>
  Effect.promise(() =>
    promise.then(
      (value) => assert.fail(`it succeeded: ${JSON.stringify(value)}`),
      (error: unknown) => error
    )
  )
