/**
 * The local provider, as a platform whose boxes keep their checkouts to themselves: it makes the directory and places nothing
 * in it. Commands and files are real ones of this host.
 */
import { Directories } from "@org/sandbox-core/Host"
import { defineProvider, Provisioner, ProvisionerError, type ProvisionerShape } from "@org/sandbox-core/Provisioner"
import local from "@org/sandbox-provider-local"
import * as Boxes from "@org/sandbox-provider-local/Boxes"
import { Effect, FileSystem, Layer, Path, Schema } from "effect"

/** Below the state directory: its boxes are no other provider's. */
const apart = (terminal: boolean) =>
  Layer.effect(
    Directories,
    Effect.gen(function* () {
      const directories = yield* Directories
      const path = yield* Path.Path
      return { ...directories, state: path.join(directories.state, terminal ? "ending" : "box") }
    })
  )

const Options = Schema.Struct({
  /** Its boxes say that they are kept apart from this host. */
  isolating: Schema.optionalKey(Schema.Boolean),
  /** A box that is halted is gone. */
  terminal: Schema.optionalKey(Schema.Boolean)
})

const make = Effect.fnUntraced(function* ({ isolating = false, terminal = false }: typeof Options.Type) {
  const inner = yield* Provisioner
  const directories = yield* Directories
  const fs = yield* FileSystem.FileSystem
  const path = yield* Path.Path
  const failed = ({ message }: { readonly message: string }) =>
    new ProvisionerError({ provider: "box", operation: "provision", reason: "Unknown", outcome: "applied", message })
  const workspace = (key: string) =>
    Boxes.directory(key).pipe(
      Effect.flatMap((directory) => fs.makeDirectory(path.join(directory, "work"), { recursive: true })),
      Effect.provideService(Directories, directories),
      Effect.provideService(Path.Path, path),
      Effect.mapError(failed)
    )
  const { start, workspace: _, ...rest } = inner
  const box: ProvisionerShape = {
    ...rest,
    isolation: isolating ? "container" : rest.isolation,
    provision: (intent) => Effect.tap(inner.provision(intent), ({ key }) => workspace(key))
  }
  if (!terminal) return start === undefined ? box : { ...box, start }
  return { ...box, haltIsTerminal: true, stop: (ref) => Effect.andThen(inner.stop(ref), inner.destroy(ref)) }
})

export default defineProvider({
  ...local,
  name: "box",
  options: Options,
  layer: (options) =>
    Layer.effect(Provisioner, make(options)).pipe(
      Layer.provide(local.layer({})),
      Layer.provide(apart(options.terminal === true))
    )
})
