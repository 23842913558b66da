/** A provider with points around its calls, for the CLI under test. */
import {
  defineProvider,
  type ProviderModule,
  Provisioner,
  ProvisionerError,
  type ProvisionerShape
} from "@org/sandbox-core/Provisioner"
import { Effect, Layer, Stream } from "effect"
import { around } from "./points.ts"

const wrapped = (inner: ProvisionerShape): ProvisionerShape => {
  const { endpoint, exec, files, name: provider, start, workspace } = inner
  const call = <A, R>(operation: string, effect: Effect.Effect<A, ProvisionerError, R>) =>
    around(
      "provider",
      operation,
      effect,
      (fault) =>
        new ProvisionerError({
          provider,
          operation,
          reason: "Unreachable",
          outcome: fault === "lost" ? "unknown" : "not_applied",
          message: fault === "lost" ? "A test has the reply get lost." : "A test has this fail once."
        })
    )
  /** Collected first: what is lost of an answer is the whole of it. */
  const whole = <A>(operation: string, stream: Stream.Stream<A, ProvisionerError>) =>
    Stream.fromIterableEffect(call(operation, Stream.runCollect(stream)))
  return {
    ...inner,
    preflight: (spec) => call("preflight", inner.preflight(spec)),
    provision: (intent) => call("provision", inner.provision(intent)),
    find: (key) => call("find", inner.find(key)),
    inspect: (ref) => call("inspect", inner.inspect(ref)),
    stop: (ref) => call("stop", inner.stop(ref)),
    destroy: (target) => call("destroy", inner.destroy(target)),
    list: (ledgerId) => whole("list", inner.list(ledgerId)),
    ...(start && { start: (ref) => call("start", start(ref)) }),
    ...(exec && { exec: (ref, request) => call("exec", exec(ref, request)) }),
    ...(files && {
      files: {
        read: (ref, path) => whole("files.read", files.read(ref, path)),
        write: (ref, directory, archive) => call("files.write", files.write(ref, directory, archive))
      }
    }),
    ...(endpoint && { endpoint: (ref, port) => call("endpoint", endpoint(ref, port)) }),
    ...(workspace && {
      workspace: {
        attach: (ref, source) => call("workspace.attach", workspace.attach(ref, source)),
        status: (ref) => call("workspace.status", workspace.status(ref)),
        detach: (ref) => call("workspace.detach", workspace.detach(ref))
      }
    })
  }
}

/** The same provider, with points. */
export const instrumented = <Options>(real: ProviderModule<Options>): ProviderModule<Options> =>
  defineProvider({
    ...real,
    layer: (options) =>
      Layer.effect(Provisioner, Effect.map(Provisioner, wrapped)).pipe(Layer.provide(real.layer(options)))
  })
