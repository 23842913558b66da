/**
 * The dispatcher: every provider call of every program goes through here, found by the provider's registered name.
 *
 * What surrounds a provider's member is written once, here: retries with the same key, time limits, spans, the check that
 * a reference belongs to the place the provider acts on now, and the translation into the errors of the output contract.
 */
import { Context, Duration, Effect, type Scope as EffectScope, Layer, Schedule, Stream } from "effect"
import {
  type ContainerNetwork,
  type ExecHandle,
  type ExecRequest,
  type Observation,
  type OwnedInstance,
  type Presence,
  Provisioner,
  type ProvisionerError,
  type ProvisionerShape,
  type ProvisionIntent,
  type Reason,
  type WorkspacePlacement,
  type WorkspaceSource,
  type WorkspaceStatus
} from "./Provisioner.ts"
import * as SandboxError from "./SandboxError.ts"
import type { InstanceRef, Scope, Spec } from "./Session.ts"

/** How often and how long providers are asked. Counts are attempts after the first. */
export const CallPolicy = Context.Reference("@org/sandbox-core/Provisioners/CallPolicy", {
  defaultValue: () => ({
    /** 2, 4, 8, 10, 10 s */
    provision: { retries: 5, base: Duration.seconds(2), cap: Duration.seconds(10), limit: Duration.minutes(12) },
    /** 1, 2 s */
    stop: { retries: 2, base: Duration.seconds(1), cap: Duration.seconds(10), limit: Duration.minutes(5) },
    /** For calls that only look. */
    look: { retries: 1, base: Duration.millis(250), cap: Duration.seconds(1), limit: Duration.seconds(30) },
    /** For placing and removing a checkout, which may move a whole repository. */
    workspace: { retries: 1, base: Duration.seconds(1), cap: Duration.seconds(1), limit: Duration.minutes(15) }
  })
})

/** A box, or the key of one whose reference was never learned, and where it is. */
export interface Target {
  readonly scope: Scope
  readonly key: string
  readonly ref: InstanceRef | null
}

/** A provider behind the dispatcher. */
export interface Backend {
  readonly name: string
  readonly isolation: ProvisionerShape["isolation"]
  readonly haltIsTerminal: boolean
  /** Which optional members the provider has. */
  readonly capabilities: ReadonlyArray<"start" | "exec" | "files" | "workspace" | "endpoint" | "network">
  /** Whether the provider places checkouts where this host can neither read work nor put any. */
  readonly unseen: boolean
  /** Whether what its boxes listen on are ports of this host. */
  readonly hostPorts: boolean
  /** Whether its boxes are somebody else's, which it adopts and lets go of. */
  readonly external: boolean
  /** Fails where the box is known to be at another place; what cannot be told is no failure. */
  readonly reaches: (ref: InstanceRef) => Effect.Effect<void, SandboxError.SandboxError>
  /** Checks the request and answers where a box would be made. */
  readonly preflight: (spec: Spec) => Effect.Effect<Scope, SandboxError.SandboxError>
  readonly provision: (intent: ProvisionIntent) => Effect.Effect<InstanceRef, SandboxError.SandboxError>
  /** Looks for a box by key. Cannot fail: what cannot be seen is `unknown`. */
  readonly find: (target: Omit<Target, "ref">) => Effect.Effect<Presence>
  /** Looks at a box. Cannot fail: what cannot be seen is `unknown`. */
  readonly inspect: (ref: InstanceRef) => Effect.Effect<Observation>
  readonly stop: (ref: InstanceRef) => Effect.Effect<void, SandboxError.SandboxError>
  readonly start: (ref: InstanceRef) => Effect.Effect<void, SandboxError.SandboxError>
  /** Removes the box and proves that it is gone; an answer of `unknown` is a failure. */
  readonly destroy: (target: Target) => Effect.Effect<void, SandboxError.SandboxError>
  readonly list: (ledgerId: string) => Stream.Stream<OwnedInstance, SandboxError.SandboxError>
  readonly exec: (
    ref: InstanceRef,
    request: ExecRequest
  ) => Effect.Effect<ExecHandle<SandboxError.SandboxError>, SandboxError.SandboxError, EffectScope.Scope>
  readonly attach: (
    ref: InstanceRef,
    source: WorkspaceSource
  ) => Effect.Effect<WorkspacePlacement, SandboxError.SandboxError>
  readonly workspaceStatus: (ref: InstanceRef) => Effect.Effect<WorkspaceStatus, SandboxError.SandboxError>
  readonly detach: (ref: InstanceRef) => Effect.Effect<void, SandboxError.SandboxError>
  readonly readFiles: (ref: InstanceRef, path: string) => Stream.Stream<Uint8Array, SandboxError.SandboxError>
  readonly writeFiles: (
    ref: InstanceRef,
    directory: string,
    archive: Stream.Stream<Uint8Array>
  ) => Effect.Effect<void, SandboxError.SandboxError>
  /** Where a port of the box can be reached from this host, as a URL without a path. */
  readonly endpoint: (ref: InstanceRef, port: number) => Effect.Effect<string, SandboxError.SandboxError>
  /** The network of a box's own, in which other containers see it. */
  readonly network: (ref: InstanceRef) => Effect.Effect<ContainerNetwork, SandboxError.SandboxError>
}

/** Providers by their registered names; each is built when it is first asked for. */
export type Registrations = Readonly<Record<string, Layer.Layer<Provisioner, SandboxError.SandboxError>>>

export class Provisioners extends Context.Service<
  Provisioners,
  {
    readonly names: ReadonlyArray<string>
    /** Fails with `ERR_PROVIDER_UNAVAILABLE` for a name that is not registered. */
    readonly get: (name: string) => Effect.Effect<Backend, SandboxError.SandboxError>
  }
>()("@org/sandbox-core/Provisioners") {
  static readonly layer = (registrations: Registrations): Layer.Layer<Provisioners> =>
    Layer.effect(
      Provisioners,
      Effect.gen(function* () {
        const scope = yield* Effect.scope
        const names = Object.keys(registrations)
        const backends = new Map<string, Effect.Effect<Backend, SandboxError.SandboxError>>()
        for (const [name, layer] of Object.entries(registrations)) {
          const build = Effect.map(Layer.buildWithScope(layer, scope), (services) =>
            guard(name, Context.get(services, Provisioner))
          )
          backends.set(name, yield* Effect.cached(build))
        }
        return {
          names,
          get: (name) => backends.get(name) ?? Effect.fail(unregistered(name, names))
        }
      })
    )
}

const unregistered = (name: string, names: ReadonlyArray<string>) =>
  SandboxError.make("ERR_PROVIDER_UNAVAILABLE", {
    message: `no provider is registered under the name ${name}`,
    nextStep: `register it, or use one of: ${names.join(", ") || "(none is registered)"}`,
    retryable: false,
    details: { provider: name, registered: names }
  })

/** Adds to a provider's members everything that core promises about them. */
const guard = (name: string, provider: ProvisionerShape): Backend => {
  const call = <A>(
    operation: string,
    policy: (typeof policies)[number],
    effect: Effect.Effect<A, ProvisionerError>
  ): Effect.Effect<A, SandboxError.SandboxError> =>
    Effect.flatMap(CallPolicy, ({ [policy]: { base, cap, limit, retries } }) => {
      // once one try may have been carried out, no later refusal takes that back
      let mayBeApplied = false
      const watched = Effect.tapError(effect, ({ outcome }) =>
        Effect.sync(() => {
          mayBeApplied ||= outcome === "unknown"
        })
      )
      return watched.pipe(
        Effect.retry(
          Schedule.min([Schedule.exponential(base), Schedule.spaced(cap)]).pipe(
            Schedule.jittered,
            Schedule.upTo({ times: retries }),
            Schedule.setInputType<ProvisionerError>(),
            Schedule.while(({ input }) => input.retryable)
          )
        ),
        Effect.mapError((error) => translate(name, operation, error, mayBeApplied ? "unknown" : error.outcome)),
        Effect.timeoutOrElse({ duration: limit, orElse: () => Effect.fail(timedOut(name, operation, limit)) }),
        Effect.withSpan(`Provisioner.${name}.${operation}`, { attributes: { "sandbox.provider": name } })
      )
    })

  /** Where the provider acts. What is under way when it does not answer has failed by its own name, and not without a trace. */
  const asked = (operation: string) =>
    Effect.mapError(call("scope", "look", provider.scope), (error) =>
      changing.includes(operation) && error.code === "ERR_PROVIDER_UNAVAILABLE"
        ? SandboxError.make(codeOf(operation, "Unreachable"), SandboxError.fields(error))
        : error
    )

  /** Runs an effect only where the reference belongs: absence here says nothing about another place. */
  const within = <A>(scope: Scope, operation: string, effect: Effect.Effect<A, SandboxError.SandboxError>) =>
    Effect.flatMap(asked(operation), (here) =>
      here === scope ? effect : Effect.fail(elsewhere(name, operation, { scope, here }))
    )

  const missing = (capability: string) =>
    Effect.fail(
      SandboxError.make("ERR_UNSUPPORTED", {
        message: `provider ${name} has no ${capability}`,
        nextStep: "use a provider that has it; `sandbox --help` lists what there is",
        details: { provider: name, capability }
      })
    )

  const find = (target: Omit<Target, "ref">) =>
    within(target.scope, "find", call("find", "look", provider.find(target.key))).pipe(
      Effect.catch((error) => Effect.succeed<Presence>({ _tag: "unknown", why: error.message }))
    )

  const inspect = (ref: InstanceRef) =>
    within(ref.scope, "inspect", call("inspect", "look", provider.inspect(ref))).pipe(
      Effect.catch((error) => Effect.succeed<Observation>({ _tag: "unknown", why: error.message }))
    )

  const destroy = Effect.fnUntraced(function* (target: Target) {
    yield* within(target.scope, "destroy", call("destroy", "stop", provider.destroy(target.ref ?? target.key)))
    const seen = target.ref === null ? yield* find(target) : yield* inspect(target.ref)
    if (seen._tag === "absent" || seen._tag === "gone") return
    return yield* SandboxError.make("ERR_DESTROY_FAILED", {
      message: `provider ${name} answered, but the box ${target.key} is not proven gone (${seen._tag})`,
      nextStep: "run the command again",
      details: { provider: name, operation: "destroy", reason: "Unknown", outcome: "unknown" }
    })
  })

  const failed = (error: ProvisionerError) => translate(name, "exec", error)
  const { endpoint, exec, files, network, start, workspace } = provider
  return {
    name,
    isolation: provider.isolation,
    haltIsTerminal: provider.haltIsTerminal,
    capabilities: (["start", "exec", "files", "workspace", "endpoint", "network"] as const).filter(
      (member) => provider[member] !== undefined
    ),
    unseen: workspace?.unseen === true,
    hostPorts: provider.hostPorts === true,
    external: provider.external === true,
    reaches: ({ scope }) =>
      call("scope", "look", provider.scope).pipe(
        Effect.orElseSucceed(() => scope),
        Effect.flatMap((here) => (here === scope ? Effect.void : Effect.fail(outOfReach(name, { scope, here }))))
      ),
    preflight: (spec) =>
      Effect.andThen(call("preflight", "look", provider.preflight(spec)), call("scope", "look", provider.scope)),
    provision: (intent) =>
      within(intent.scope, "provision", call("provision", "provision", provider.provision(intent))),
    find,
    inspect,
    stop: (ref) => within(ref.scope, "stop", call("stop", "stop", provider.stop(ref))),
    start: (ref) =>
      start === undefined ? missing("start") : within(ref.scope, "start", call("start", "stop", start(ref))),
    destroy,
    list: (ledgerId) => Stream.mapError(provider.list(ledgerId), (error) => translate(name, "list", error)),
    exec: (ref, request) =>
      exec === undefined
        ? missing("exec")
        : Effect.andThen(
            within(ref.scope, "exec", Effect.void),
            exec(ref, request).pipe(
              Effect.map(
                ({ exit, kill, output, resize }): ExecHandle<SandboxError.SandboxError> => ({
                  output: Stream.mapError(output, failed),
                  exit: Effect.mapError(exit, failed),
                  kill: (signal) => Effect.mapError(kill(signal), failed),
                  resize: (size) => Effect.mapError(resize(size), failed)
                })
              ),
              Effect.mapError(failed),
              Effect.withSpan(`Provisioner.${name}.exec`, { attributes: { "sandbox.provider": name } })
            )
          ),
    attach: (ref, source) =>
      workspace === undefined
        ? missing("workspace")
        : within(ref.scope, "workspace", call("attach", "workspace", workspace.attach(ref, source))),
    workspaceStatus: (ref) =>
      workspace === undefined
        ? missing("workspace")
        : within(ref.scope, "workspace", call("status", "workspace", workspace.status(ref))),
    detach: (ref) =>
      workspace === undefined
        ? Effect.void
        : within(ref.scope, "detach", call("detach", "workspace", workspace.detach(ref))),
    readFiles: (ref, path) =>
      files === undefined
        ? Stream.fromEffect(missing("files"))
        : Stream.concat(
            Stream.fromEffectDrain(within(ref.scope, "files", Effect.void)),
            Stream.mapError(files.read(ref, path), (error) => translate(name, "files", error))
          ),
    writeFiles: (ref, directory, archive) =>
      files === undefined
        ? missing("files")
        : within(
            ref.scope,
            "files",
            // an archive is a stream that can be read once, so that there is no second try
            files.write(ref, directory, archive).pipe(
              Effect.mapError((error) => translate(name, "files", error)),
              Effect.withSpan(`Provisioner.${name}.files`, { attributes: { "sandbox.provider": name } })
            )
          ),
    endpoint: (ref, port) =>
      endpoint === undefined
        ? missing("endpoint")
        : within(ref.scope, "endpoint", call("endpoint", "look", endpoint(ref, port))),
    network: (ref) =>
      network === undefined ? missing("network") : within(ref.scope, "network", call("network", "look", network(ref)))
  }
}

/** Members that a session is already being moved by when they are called. */
const changing: ReadonlyArray<string> = ["stop", "destroy", "detach"]

const policies = ["provision", "stop", "look", "workspace"] as const

/** The error code of a failed member. */
const codeOf = (operation: string, reason: Reason): SandboxError.ErrorCode => {
  if (reason === "Unsupported") return "ERR_UNSUPPORTED"
  switch (operation) {
    case "preflight":
    case "scope":
      return reason === "Unreachable" || reason === "RateLimited" ? "ERR_PROVIDER_UNAVAILABLE" : "ERR_PREFLIGHT_REFUSED"
    case "stop":
      return "ERR_STOP_FAILED"
    case "destroy":
    case "detach":
      return "ERR_DESTROY_FAILED"
    case "attach":
    case "status":
      return "ERR_WORKSPACE_FAILED"
    case "exec":
    case "files":
    case "endpoint":
    case "network":
      return reason === "NotReady" || reason === "NotFound" ? "ERR_NOT_READY" : "ERR_EXEC_FAILED"
    case "list":
      return "ERR_PROVIDER_UNAVAILABLE"
    default:
      return "ERR_SANDBOX_PROVISION_FAILED"
  }
}

const advice: { readonly [R in Reason]: string } = {
  NotFound: "check that what is named exists",
  NotReady: "try again in a moment",
  Conflict: "look at what holds it, and try again",
  QuotaExceeded: "free or raise the quota, and try again",
  CapacityExhausted: "try again later or elsewhere",
  RateLimited: "try again later",
  Unauthorized: "renew the provider's credentials, and try again",
  Invalid: "change the request: the provider can never accept it",
  Unreachable: "make the provider reachable, and try again",
  Unsupported: "leave the option out, or use a provider that has it",
  Unknown: "try again; if it stays, report it"
}

/** What to correct where it is not the box that was asked for. */
const corrections: Readonly<Record<string, string>> = {
  exec: "correct the command, its directory or its environment, and run it again",
  files: "correct what the message names, and run the command again",
  endpoint: "correct what the message names, and run the command again"
}

/** A provider's failure in the words of the output contract. */
export const translate = (
  provider: string,
  operation: string,
  error: ProvisionerError,
  outcome = error.outcome
): SandboxError.SandboxError =>
  SandboxError.make(codeOf(operation, error.reason), {
    message: error.message,
    nextStep: error.reason === "Invalid" ? (corrections[operation] ?? advice.Invalid) : advice[error.reason],
    retryable: error.retryable,
    details: { provider, operation, reason: error.reason, outcome }
  })

const timedOut = (provider: string, operation: string, limit: Duration.Duration) =>
  SandboxError.make(codeOf(operation, "Unreachable"), {
    message: `provider ${provider} did not finish ${operation} within ${Duration.format(limit)}`,
    nextStep: "try again",
    retryable: true,
    details: { provider, operation, reason: "Unreachable", outcome: "unknown" }
  })

const elsewhere = (provider: string, operation: string, place: { readonly scope: Scope; readonly here: Scope }) =>
  SandboxError.make(codeOf(operation, "Invalid"), {
    message: `the box belongs to ${provider} at ${place.scope}, and this is ${place.here}: nothing can be said or done about it from here`,
    nextStep: "run the command where the box is",
    retryable: false,
    details: { provider, operation, reason: "Invalid", outcome: "not_applied", ...place }
  })

/** The same before anything was begun: a refusal. */
const outOfReach = (provider: string, place: { readonly scope: Scope; readonly here: Scope }) =>
  SandboxError.make("ERR_PROVIDER_UNAVAILABLE", {
    message: `this box is on another machine: it belongs to ${provider} at ${place.scope}, and this is ${place.here}`,
    nextStep: "run the command there",
    retryable: false,
    details: { provider, operation: "scope", reason: "Invalid", outcome: "not_applied", ...place }
  })
