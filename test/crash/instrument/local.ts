/**
 * Stands in for `@org/sandbox-provider-local` in the CLI under test. Where its options name a place, it is another platform of
 * that name: boxes are in a directory of its own, and what one of the two says is nothing that the other could know.
 */
import { Directories, Host } from "@org/sandbox-core/Host"
import { defineProvider } from "@org/sandbox-core/Provisioner"
import real from "@org/sandbox-provider-local"
import { Effect, Layer, Schema } from "effect"
import { instrumented } from "./provider.ts"

const at = (place: string) =>
  Layer.mergeAll(
    Layer.effect(
      Directories,
      Effect.map(Directories, (real) => ({ ...real, state: `${real.state}/${place}` }))
    ),
    Layer.effect(
      Host,
      Effect.map(Host, (real) => ({ ...real, machine: `${real.machine}-${place}` }))
    )
  )

export default defineProvider({
  ...real,
  options: Schema.Struct({ place: Schema.optionalKey(Schema.String) }),
  layer: ({ place }) =>
    place === undefined
      ? instrumented("local", real.layer({}))
      : instrumented(place, Layer.provide(real.layer({}), at(place)))
})
