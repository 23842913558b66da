/**
 * A provider as the programs meet it on a bad day: behind core's dispatcher, over a platform that spoils a call now and
 * then.
 *
 * It is a provider again, so the laws can be run on it. They hold for a provider that keeps them without faults exactly
 * when repeating its calls is safe, which is all that the dispatcher does about a fault.
 */
import {
  type ExecHandle,
  type Outcome,
  Provisioner,
  ProvisionerError,
  type ProvisionerShape,
  type Reason,
  reasons
} from "@org/sandbox-core/Provisioner"
import type { SandboxError } from "@org/sandbox-core/SandboxError"
import { Context, Effect, Layer, Stream } from "effect"
import * as Faults from "./Faults.ts"
import { backendOf, hurried } from "./internal/dispatch.ts"

/**
 * What happens to a spoiled call: it fails once with a reason that may pass (`refusals`), its request or its reply is lost,
 * or it is carried out late.
 */
export const kinds = ["refusals", "lost requests", "lost replies", "delays"] as const
export type Kind = (typeof kinds)[number]

export interface Options {
  readonly kind: Kind
  /** Decides which calls are spoiled; the same seed spoils the same ones. */
  readonly seed: number
  /** One in so many calls is spoiled, on average; 3 when absent. */
  readonly every?: number | undefined
}

/** How many more calls of the port may pass in this call of the dispatcher until one is spoiled; never, when negative. */
const Fuse = Context.Reference<{ left: number }>("@org/sandbox-conformance/Faulted/Fuse", {
  defaultValue: () => ({ left: -1 })
})

/** The members that the dispatcher repeats. What it does not repeat may be late, and its failures are the caller's. */
const repeated = [
  "scope",
  "preflight",
  "provision",
  "find",
  "inspect",
  "stop",
  "start",
  "destroy",
  "endpoint",
  "network",
  "workspace.attach",
  "workspace.status",
  "workspace.detach"
] as const satisfies ReadonlyArray<Faults.Operation>

const single = ["list", "exec", "files.read", "files.write"] as const satisfies ReadonlyArray<Faults.Operation>

const passing = (Object.keys(reasons) as ReadonlyArray<Reason>).filter((reason) => reasons[reason].retryable)

/** Wraps a provider. A call of the dispatcher meets one fault at most, at one of the calls of the port that it makes. */
export const make = Effect.fnUntraced(function* (inner: ProvisionerShape, options: Options) {
  const { every = 3, kind, seed } = options
  const below = dice(seed)
  const faults = Faults.make(inner)
  const backend = yield* backendOf(faults)
  const { name } = inner

  const fault: Faults.Fault = (call, error) => {
    if (kind === "lost requests") return Faults.failBefore(call, error)
    if (kind === "lost replies") return Faults.okThenLoseReply(call, error)
    if (kind === "delays") return Faults.delay(`${20 + below(60)} millis`)(call, error)
    return Faults.fail(passing[below(passing.length)] ?? "Unreachable")(call, error)
  }
  const spoil: Faults.Fault = (call, error) =>
    Effect.flatMap(Fuse, (fuse) => {
      fuse.left -= 1
      return fuse.left === -1 ? fault(call, error) : call
    })
  const spoiled = kind === "delays" ? [...repeated, ...single] : repeated
  yield* Effect.forEach(spoiled, (op) => faults.always(op, spoil))

  let calls = 1 + below(every)
  /** A fuse for a call of the dispatcher, which first asks for the scope. */
  const lit = () => {
    calls -= 1
    if (calls > 0) return { left: Number.NEGATIVE_INFINITY }
    calls = 1 + below(2 * every - 1)
    return { left: below(2) }
  }

  const failed =
    (operation: string) =>
    ({ details, message }: SandboxError) =>
      new ProvisionerError({
        provider: name,
        operation,
        reason: (details?.["reason"] as Reason | undefined) ?? "Unknown",
        outcome: (details?.["outcome"] as Outcome | undefined) ?? "unknown",
        message
      })
  const through = <A, R>(operation: string, effect: Effect.Effect<A, SandboxError, R>) =>
    Effect.suspend(() => hurried(Effect.provideService(effect, Fuse, lit()))).pipe(Effect.mapError(failed(operation)))
  const flowing = <A>(operation: string, stream: Stream.Stream<A, SandboxError>) =>
    Stream.suspend(() => Stream.provideService(stream, Fuse, lit())).pipe(Stream.mapError(failed(operation)))

  const { endpoint, exec, external, files, hostPorts, network, start, workspace } = inner
  const target = Effect.fnUntraced(function* (of: Parameters<ProvisionerShape["destroy"]>[0]) {
    if (typeof of !== "string") return { scope: of.scope, key: of.key, ref: of }
    return { scope: yield* inner.scope, key: of, ref: null }
  })

  const provisioner: ProvisionerShape = {
    name,
    isolation: inner.isolation,
    haltIsTerminal: inner.haltIsTerminal,
    scope: inner.scope,
    preflight: (spec) => Effect.asVoid(through("preflight", backend.preflight(spec))),
    provision: (intent) => through("provision", backend.provision(intent)),
    find: (key) =>
      Effect.flatMap(inner.scope, (scope) =>
        through(
          "find",
          Effect.suspend(() => backend.find({ scope, key }))
        )
      ),
    inspect: (ref) => through("inspect", backend.inspect(ref)),
    stop: (ref) => through("stop", backend.stop(ref)),
    destroy: (of) => Effect.flatMap(target(of), (found) => through("destroy", backend.destroy(found))),
    list: (ledgerId) => flowing("list", backend.list(ledgerId)),
    ...(start && { start: (ref) => through("start", backend.start(ref)) }),
    ...(exec && {
      exec: (ref, request) =>
        Effect.map(
          through("exec", backend.exec(ref, request)),
          ({ exit, kill, output, resize }): ExecHandle => ({
            output: Stream.mapError(output, failed("exec")),
            exit: Effect.mapError(exit, failed("exec")),
            kill: (signal) => Effect.mapError(kill(signal), failed("exec")),
            resize: (size) => Effect.mapError(resize(size), failed("exec"))
          })
        )
    }),
    ...(files && {
      files: {
        read: (ref, path) => flowing("files.read", backend.readFiles(ref, path)),
        write: (ref, directory, archive) => through("files.write", backend.writeFiles(ref, directory, archive))
      }
    }),
    ...(endpoint && { endpoint: (ref, port) => through("endpoint", backend.endpoint(ref, port)) }),
    ...(network && { network: (ref) => through("network", backend.network(ref)) }),
    ...(hostPorts && { hostPorts }),
    ...(external && { external }),
    ...(workspace && {
      workspace: {
        attach: (ref, source) => through("workspace.attach", backend.attach(ref, source)),
        status: (ref) => through("workspace.status", backend.workspaceStatus(ref)),
        detach: (ref) => through("workspace.detach", backend.detach(ref))
      }
    })
  }
  return { provisioner, faults }
})

/** The provider of a layer on a bad day. */
export const layer = <E, R>(inner: Layer.Layer<Provisioner, E, R>, options: Options): Layer.Layer<Provisioner, E, R> =>
  Layer.effect(
    Provisioner,
    Effect.gen(function* () {
      return (yield* make(yield* Provisioner, options)).provisioner
    })
  ).pipe(Layer.provide(inner))

/** Numbers below a bound that a seed determines (mulberry32). */
const dice = (seed: number) => {
  let state = seed | 0
  return (bound: number) => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) % bound
  }
}
