/** A provider with points around its calls, for the CLI under test. */
import { Provisioner, ProvisionerError, type ProvisionerShape } from "@org/sandbox-core/Provisioner"
import { Effect, Layer, Stream } from "effect"
import { around, isSilent, type Spoiling } from "./points.ts"

const how = {
  once: { reason: "Unreachable", outcome: "not_applied", message: "A test has this fail once." },
  lost: { reason: "Unreachable", outcome: "unknown", message: "A test has the reply get lost." },
  failing: { reason: "Invalid", outcome: "not_applied", message: "A test has this refused each time." },
  silent: { reason: "Unreachable", outcome: "unknown", message: "A test has the provider say nothing any more." }
} as const satisfies Record<Spoiling, unknown>

/** `as` is what its points are of: the name that it is registered by. */
const wrapped = (inner: ProvisionerShape, as: string): ProvisionerShape => {
  const { endpoint, exec, files, name: provider, network, start, workspace } = inner
  const kind = `provider ${as}`
  const failed = (operation: string) => (fault: Spoiling) =>
    new ProvisionerError({ provider, operation, ...how[fault] })
  const call = <A, R>(operation: string, effect: Effect.Effect<A, ProvisionerError, R>) =>
    around(kind, operation, effect, failed(operation))
  /** Collected first: what is lost of an answer is the whole of it. */
  const whole = <A>(operation: string, stream: Stream.Stream<A, ProvisionerError>) =>
    Stream.fromIterableEffect(call(operation, Stream.runCollect(stream)))
  return {
    ...inner,
    // asked all the time, and no point
    scope: Effect.suspend(() => (isSilent(kind) ? Effect.fail(failed("scope")("silent")) : inner.scope)),
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
    ...(network && { network: (ref) => call("network", network(ref)) }),
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
export const instrumented = <E, R>(as: string, real: Layer.Layer<Provisioner, E, R>): Layer.Layer<Provisioner, E, R> =>
  Layer.effect(
    Provisioner,
    Effect.map(Provisioner, (inner) => wrapped(inner, as))
  ).pipe(Layer.provide(real))
