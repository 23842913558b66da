/** The provider behind core's dispatcher, as the programs meet it, with faults between the two. */
import { Provisioner } from "@org/sandbox-core/Provisioner"
import { CallPolicy, Provisioners } from "@org/sandbox-core/Provisioners"
import type { SandboxError } from "@org/sandbox-core/SandboxError"
import { Context, Duration, Effect, Layer } from "effect"
import * as Faults from "../Faults.ts"
import { broken } from "./kit.ts"

/** Tries as often as core does and waits less in between: nobody has to be spared by a fault that we make. */
export const hurried = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.flatMap(CallPolicy, ({ look, provision, stop, workspace }) => {
    const soon = { base: Duration.millis(5), cap: Duration.millis(20) }
    return Effect.provideService(effect, CallPolicy, {
      look: { ...look, ...soon },
      provision: { ...provision, ...soon },
      stop: { ...stop, ...soon },
      workspace: { ...workspace, ...soon }
    })
  })

/** The dispatcher's side of a provider, which lives as long as the scope. */
export const backendOf = Effect.fnUntraced(function* (provider: Faults.Faults) {
  const { name } = provider.provisioner
  const services = yield* Layer.build(Provisioners.layer({ [name]: provider.layer }))
  // an unregistered name or a layer that fails: neither can be here
  return yield* Effect.orDie(Context.get(services, Provisioners).get(name))
})

/** The provider of the laws between faults and the dispatcher. */
export const dispatched = Effect.gen(function* () {
  const faults = Faults.make(yield* Provisioner)
  return { backend: yield* backendOf(faults), faults }
})

/** What the dispatcher has to achieve in spite of the fault; the law is broken where it does not. */
export const achieved = <A, R>(what: string, effect: Effect.Effect<A, SandboxError, R>) =>
  Effect.mapError(hurried(effect), ({ code, message }) => broken(`${what}: expected success, saw ${code}: ${message}`))

/** What the dispatcher has to refuse; the law is broken where it does not. */
export const refused = <A, R>(what: string, effect: Effect.Effect<A, SandboxError, R>) =>
  Effect.mapError(Effect.flip(hurried(effect)), (value) =>
    broken(`${what}: expected a failure, saw ${JSON.stringify(value)}.`)
  )
