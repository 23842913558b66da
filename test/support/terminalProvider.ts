/** The local provider, as a platform on which a box that is halted is gone. */
import { defineProvider, Provisioner } from "@org/sandbox-core/Provisioner"
import local from "@org/sandbox-provider-local"
import { Effect, Layer } from "effect"

export default defineProvider({
  ...local,
  name: "terminal",
  layer: (options) =>
    Layer.effect(
      Provisioner,
      Effect.map(Provisioner, (inner) => {
        const { start: _, ...rest } = inner
        return { ...rest, haltIsTerminal: true, stop: (ref) => Effect.andThen(inner.stop(ref), inner.destroy(ref)) }
      })
    ).pipe(Layer.provide(local.layer(options)))
})
