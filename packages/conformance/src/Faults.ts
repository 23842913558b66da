/**
 * A provider that fails on demand: wraps a working one, records every call, and spoils those that a test has scripted.
 *
 * What it wraps stays a real provider, so what a fault leaves behind is what a real platform would have: after
 * `okThenLoseReply` the box exists, after `failBefore` it does not, and the caller cannot tell which.
 */

import {
  type FilesCapability,
  type Outcome,
  Provisioner,
  ProvisionerError,
  type ProvisionerShape,
  type Reason,
  type WorkspaceCapability
} from "@org/sandbox-core/Provisioner"
import type { InstanceRef } from "@org/sandbox-core/Session"
import { Cause, Deferred, type Duration, Effect, Exit, Layer, Stream } from "effect"

/** The members of the port, as they are scripted and recorded. */
export type Operation =
  | Exclude<
      keyof ProvisionerShape,
      "name" | "isolation" | "haltIsTerminal" | "hostPorts" | "external" | "files" | "workspace"
    >
  | `files.${keyof FilesCapability}`
  | `workspace.${keyof WorkspaceCapability}`

/** How a call ended; a reason when it failed. `died` is a bug in the provider. */
export type Ending = "ok" | "interrupted" | "died" | Reason

/** One entry of the log. A call's two entries share their `seq`; a call that has no end is still in flight. */
export type Entry = {
  readonly seq: number
  readonly provider: string
  readonly op: Operation
  /** What it is about: a box's id, an intent's key, a ledger's id; empty for `scope` and `preflight`. */
  readonly target: string
} & ({ readonly phase: "start" } | { readonly phase: "end"; readonly outcome: Ending })

/** What happens to a call: a function of the call as it would have been. */
export type Fault = <A, R>(
  call: Effect.Effect<A, ProvisionerError, R>,
  error: (reason: Reason, outcome: Outcome, message: string) => ProvisionerError
) => Effect.Effect<A, ProvisionerError, R>

/** The call goes through. */
export const ok: Fault = (call) => call

/** Not done, and the platform says why. */
export const fail =
  (reason: Reason, outcome: Outcome = "not_applied"): Fault =>
  (_, error) =>
    Effect.fail(error(reason, outcome, `A test has the platform answer ${reason}.`))

/** Not done, and the caller cannot know: the request was lost. */
export const failBefore: Fault = (_, error) =>
  Effect.fail(error("Unreachable", "unknown", "A test has the request get lost on its way."))

/** Done, and the caller cannot know: the reply was lost. */
export const okThenLoseReply: Fault = (call, error) =>
  Effect.andThen(call, Effect.fail(error("Unreachable", "unknown", "A test has the reply get lost on its way.")))

/** Not done, and no answer until the caller gives up. */
export const hang: Fault = () => Effect.never

/** Done, after a while. */
export const delay =
  (duration: Duration.Input): Fault =>
  (call) =>
    Effect.delay(call, duration)

/** A point that calls stop at until the test lets them through. */
export interface Gate {
  /** Completes when a call has arrived. */
  readonly reached: Effect.Effect<void>
  /** Lets it through, and whatever comes later. */
  readonly open: Effect.Effect<void>
}

export interface Faults {
  /** The provider to hand to what is tested. */
  readonly provisioner: ProvisionerShape
  readonly layer: Layer.Layer<Provisioner>
  /** Every call in order, including those that never end. Append-only. */
  readonly calls: ReadonlyArray<Entry>
  /** The calls to these members (to any, when none is named) that began, in order. */
  readonly started: (...ops: ReadonlyArray<Operation>) => ReadonlyArray<Entry>
  /** One fault for each of the next calls of a member, in order; calls beyond the script go through. */
  readonly script: (op: Operation, ...faults: ReadonlyArray<Fault>) => Effect.Effect<void>
  /** The fault of every call that has none in the script; `ok` heals. */
  readonly always: (op: Operation, fault: Fault) => Effect.Effect<void>
  /** Scripts one call to wait before it reaches the platform, or `after` the platform has carried it out. */
  readonly gate: (op: Operation, side?: "before" | "after") => Effect.Effect<Gate>
}

export interface Options {
  /** A log to write to as well, which several providers may share to learn the order between them. */
  readonly log?: Array<Entry> | undefined
}

/** Wraps a provider. Without a script it does exactly what the wrapped one does. */
export const make = (inner: ProvisionerShape, options: Options = {}): Faults => {
  const calls: Array<Entry> = []
  const scripts = new Map<Operation, Array<Fault>>()
  const defaults = new Map<Operation, Fault>()
  let count = 0

  const record = (entry: Entry) => {
    calls.push(entry)
    options.log?.push(entry)
  }

  const around = <A, R>(op: Operation, target: string, call: Effect.Effect<A, ProvisionerError, R>) =>
    Effect.suspend(() => {
      count += 1
      const entry = { seq: count, provider: inner.name, op, target }
      record({ ...entry, phase: "start" })
      const fault = scripts.get(op)?.shift() ?? defaults.get(op) ?? ok
      return fault(
        call,
        (reason, outcome, message) =>
          new ProvisionerError({ provider: inner.name, operation: op, reason, outcome, message })
      ).pipe(Effect.onExit((exit) => Effect.sync(() => record({ ...entry, phase: "end", outcome: ending(exit) }))))
    })

  const { endpoint, exec, external, files, hostPorts, network, start, workspace } = inner

  // Collected first: a fault is about the whole answer, and half of one is none of the answers it may give.
  const whole = <A>(op: Operation, target: string, answer: Stream.Stream<A, ProvisionerError>) =>
    Stream.fromIterableEffect(around(op, target, Stream.runCollect(answer)))

  const provisioner: ProvisionerShape = {
    name: inner.name,
    isolation: inner.isolation,
    haltIsTerminal: inner.haltIsTerminal,
    scope: around("scope", "", inner.scope),
    preflight: (spec) => around("preflight", "", inner.preflight(spec)),
    provision: (intent) => around("provision", intent.key, inner.provision(intent)),
    find: (key) => around("find", key, inner.find(key)),
    inspect: (ref) => around("inspect", ref.id, inner.inspect(ref)),
    stop: (ref) => around("stop", ref.id, inner.stop(ref)),
    destroy: (target) => around("destroy", idOf(target), inner.destroy(target)),
    list: (ledgerId) => whole("list", ledgerId, inner.list(ledgerId)),
    ...(start && { start: (ref) => around("start", ref.id, start(ref)) }),
    ...(exec && { exec: (ref, request) => around("exec", ref.id, exec(ref, request)) }),
    ...(files && {
      files: {
        read: (ref, path) => whole("files.read", ref.id, files.read(ref, path)),
        write: (ref, directory, archive) => around("files.write", ref.id, files.write(ref, directory, archive))
      }
    }),
    ...(endpoint && { endpoint: (ref, port) => around("endpoint", ref.id, endpoint(ref, port)) }),
    ...(network && { network: (ref) => around("network", ref.id, network(ref)) }),
    ...(hostPorts && { hostPorts }),
    ...(external && { external }),
    ...(workspace && {
      workspace: {
        attach: (ref, source) => around("workspace.attach", ref.id, workspace.attach(ref, source)),
        status: (ref) => around("workspace.status", ref.id, workspace.status(ref)),
        detach: (ref) => around("workspace.detach", ref.id, workspace.detach(ref))
      }
    })
  }

  const script = (op: Operation, ...faults: ReadonlyArray<Fault>) =>
    Effect.sync(() => {
      scripts.set(op, [...(scripts.get(op) ?? []), ...faults])
    })

  return {
    provisioner,
    layer: Layer.succeed(Provisioner, provisioner),
    calls,
    started: (...ops) => calls.filter(({ op, phase }) => phase === "start" && (ops.length === 0 || ops.includes(op))),
    script,
    always: (op, fault) =>
      Effect.sync(() => {
        defaults.set(op, fault)
      }),
    gate: Effect.fnUntraced(function* (op, side = "before") {
      const reached = yield* Deferred.make<void>()
      const opened = yield* Deferred.make<void>()
      const wait = Effect.andThen(Deferred.succeed(reached, undefined), Deferred.await(opened))
      yield* script(op, (call) => (side === "before" ? Effect.andThen(wait, call) : Effect.tap(call, wait)))
      return { reached: Deferred.await(reached), open: Effect.asVoid(Deferred.succeed(opened, undefined)) }
    })
  }
}

const idOf = (target: InstanceRef | string) => (typeof target === "string" ? target : target.id)

const ending = (exit: Exit.Exit<unknown, ProvisionerError>): Ending => {
  if (Exit.isSuccess(exit)) return "ok"
  const failure = exit.cause.reasons.find(Cause.isFailReason)
  if (failure !== undefined) return failure.error.reason
  return Cause.hasInterruptsOnly(exit.cause) ? "interrupted" : "died"
}
