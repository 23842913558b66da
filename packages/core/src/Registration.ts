/** From a provider's package to a provider behind the dispatcher. */
import { Effect, Layer, Predicate } from "effect"
import {
  type OptionPlace,
  OptionPlaces,
  type ProviderModule,
  type ProviderServices,
  type Provisioner
} from "./Provisioner.ts"
import { Provisioners } from "./Provisioners.ts"
import * as SandboxError from "./SandboxError.ts"

/** A provider to register: where its module is loaded from, and its own options. */
export interface Registration {
  /** Loads the module whose default export `defineProvider` made; called when the provider is first used. */
  readonly use: () => Promise<unknown>
  /** Decoded by the provider's own schema. */
  readonly options?: unknown
  /** Where each option was written down, by its path; where the program runs, when absent. */
  readonly placeOf?: ((option: ReadonlyArray<string>) => OptionPlace) | undefined
}

const isProviderModule = (value: unknown): value is ProviderModule =>
  Predicate.hasProperty(value, "apiVersion") &&
  value.apiVersion === 1 &&
  Predicate.hasProperty(value, "layer") &&
  Predicate.hasProperty(value, "decode")

/** The provider of a registration. Fails with `ERR_CONFIG_INVALID` when it is none, or refuses its options. */
export const layer = (
  name: string,
  registration: Registration
): Layer.Layer<Provisioner, SandboxError.SandboxError, ProviderServices> =>
  Layer.unwrap(
    Effect.gen(function* () {
      const invalid = (problem: string) =>
        SandboxError.make("ERR_CONFIG_INVALID", {
          message: `provider ${name}: ${problem}`,
          nextStep: `correct providers.${name} in the configuration`,
          details: { field: `providers.${name}` }
        })
      const loaded = yield* Effect.tryPromise({
        try: registration.use,
        catch: (cause) => invalid(`its module could not be loaded (${String(cause)})`)
      })
      const module = Predicate.hasProperty(loaded, "default") ? loaded.default : loaded
      if (!isProviderModule(module)) {
        return yield* invalid("its module's default export was not made by defineProvider, or for another version")
      }
      const options = yield* Effect.mapError(module.decode(registration.options ?? {}), (error) =>
        invalid(`its options are not valid: ${error.message.replaceAll(/\s*\n\s*/g, " ")}`)
      )
      const { placeOf } = registration
      return placeOf === undefined
        ? module.layer(options)
        : Layer.provide(module.layer(options), Layer.succeed(OptionPlaces, placeOf))
    })
  )

/** The dispatcher over these registrations, by name. No module is loaded before its provider is used. */
export const layerAll = (
  registrations: Readonly<Record<string, Registration>>
): Layer.Layer<Provisioners, never, ProviderServices> =>
  Layer.unwrap(
    Effect.map(Effect.context<ProviderServices>(), (services) =>
      Provisioners.layer(
        Object.fromEntries(
          Object.entries(registrations).map(([name, registration]) => [
            name,
            Layer.provide(layer(name, registration), Layer.succeedContext(services))
          ])
        )
      )
    )
  )
