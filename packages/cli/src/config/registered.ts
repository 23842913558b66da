/** The providers of a configuration beside the built-in ones, loaded from where the configuration says. */
import { type Provisioner, Provisioners, Registration } from "@org/sandbox-core"
import { formatPath, leaves, type Path } from "@org/sandbox-core/Configuration"
import * as Trust from "@org/sandbox-core/Trust"
import { Effect, Layer, Path as Paths } from "effect"
import { moduleOf } from "../moduleOf.ts"
import { builtin } from "../Providers.ts"
import type { Loaded } from "./Loaded.ts"

type Found = Pick<Loaded, "claimed" | "effective" | "folderOf"> & {
  /** Whether the project's file is the repository's own, and not one that the user chose. */
  readonly isTheirs: boolean
}

/** The dispatcher over all of them. A provider of a file that was not accepted is refused when it is asked for. */
export const layer = (loaded: Found): Layer.Layer<Provisioners.Provisioners, never, Provisioner.ProviderServices> =>
  Layer.unwrap(
    Effect.gen(function* () {
      const services = yield* Effect.context<Provisioner.ProviderServices>()
      const paths = yield* Paths.Path
      const { providers } = loaded.effective.configuration
      const names = new Set([...Object.keys(builtin), ...Object.keys(providers)])
      return Provisioners.Provisioners.layer(
        Object.fromEntries(
          [...names].map((name) => {
            const own = Object.hasOwn(providers, name) ? providers[name] : undefined
            const use = own?.use ?? name
            const folder = loaded.folderOf(["providers", name, "use"]) ?? "."
            const registration = {
              use: Object.hasOwn(builtin, use) ? builtin[use]!.use : () => moduleOf(paths, use, folder),
              ...(own === undefined ? {} : { options: own.options, placeOf: placeOf(loaded, name) })
            }
            return [
              name,
              Layer.provide(
                accepted(loaded, name, Registration.layer(name, registration)),
                Layer.succeedContext(services)
              )
            ]
          })
        )
      )
    })
  )

/** Where the options of a provider were written down. */
const placeOf =
  ({ effective, isTheirs }: Found, name: string) =>
  (option: ReadonlyArray<string>): Provisioner.OptionPlace => {
    const layer = effective.layerOf(["providers", name, "options", ...option])
    // variables and flags are typed where the command runs
    if (layer?.file === undefined) return { folder: ".", isTheirs: false }
    return { folder: layer.folder, isTheirs: isTheirs && layer.name === "project" }
  }

/** A provider, once what the project's file says of it was accepted. */
const accepted = <A, E, R>(loaded: Found, name: string, provider: Layer.Layer<A, E, R>) =>
  Layer.unwrap(
    Effect.gen(function* () {
      const { claimed, effective } = loaded
      const { options = {}, use } = effective.configuration.providers[name] ?? {}
      const theirs: ReadonlyArray<Path> = [
        ...(use === undefined ? [] : [["providers", name, "use"]]),
        ...leaves(options).map(({ path }) => ["providers", name, "options", ...path])
      ].filter((path) => effective.layerOf(path)?.name === "project")
      if (claimed === undefined || theirs.length === 0 || (yield* Trust.isAccepted(claimed))) return provider
      return yield* Trust.untrusted(claimed, theirs.map(formatPath))
    })
  )
