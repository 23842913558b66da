/**
 * Stands in for `@org/sandbox-provider-local` in the CLI under test. Where its options name a place, it is another platform of
 * that name: boxes are in a directory of its own, and what one of the two says is nothing that the other could know.
 */
import { Directories, Host } from "@org/sandbox-core/Host"
import { Processes } from "@org/sandbox-core/Processes"
import { defineProvider } from "@org/sandbox-core/Provisioner"
import real from "@org/sandbox-provider-local"
import { Effect, Layer, Schema } from "effect"
import { around } from "./points.ts"
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

/** What runs in a box is looked for in the middle of a halt. */
const processes = Layer.effect(
  Processes,
  Effect.map(Processes, (real) => ({
    ...real,
    marked: (entry) => around("host", "look for processes", real.marked(entry))
  }))
)

export default defineProvider({
  ...real,
  options: Schema.Struct({ place: Schema.optionalKey(Schema.String) }),
  layer: ({ place }) => {
    const watched = Layer.provide(real.layer({}), processes)
    return place === undefined ? instrumented("local", watched) : instrumented(place, Layer.provide(watched, at(place)))
  }
})
