/** What the laws are written with. */
import {
  type ExecRequest,
  labelNames,
  type Observation,
  Provisioner,
  type ProvisionerShape,
  type ProvisionIntent,
  type WorkspaceSource
} from "@org/sandbox-core/Provisioner"
import { type InstanceRef, instanceName, intentKey } from "@org/sandbox-core/Session"
import { Clock, Effect, Equal, Schedule, Stream } from "effect"
import type { Argv } from "../Commands.ts"
import { type Capability, type Group, type Law, LawBroken, LawContext, randomName } from "../Law.ts"

/** A way to state the laws of a group. */
export const inGroup =
  (group: Group) =>
  (name: string, needs: Law["needs"], check: Law["check"]): Law => ({
    name,
    group,
    needs,
    check: Effect.mapError(check, (error) =>
      error._tag === "LawBroken" ? new LawBroken({ law: name, message: error.message }) : error
    )
  })

/** The law is broken; `inGroup` fills in its name. */
export const broken = (message: string) => new LawBroken({ law: "", message })

/** Breaks the law unless both are equal by value. */
export const same = <A>(what: string, seen: A, expected: A) =>
  Equal.equals(seen, expected)
    ? Effect.void
    : Effect.fail(broken(`${what}: expected ${JSON.stringify(expected)}, saw ${JSON.stringify(seen)}.`))

const patiently = Effect.map(LawContext, ({ patience }) =>
  Schedule.spaced("50 millis").pipe(Schedule.upTo({ duration: patience }))
)

/**
 * Looks until what is expected can be seen.
 *
 * A provider makes each call once and core does the waiting, so a platform may take a while to show what it was told.
 */
export const eventually = Effect.fnUntraced(function* <A, E, R>(
  what: string,
  look: Effect.Effect<A, E, R>,
  expected: A
) {
  const schedule = yield* patiently
  const seen = yield* Effect.repeat(look, { until: (seen) => Equal.equals(seen, expected), schedule })
  yield* same(what, seen, expected)
})

/** Breaks the law unless the effect ends within the patience. */
export const within = <A, E, R>(what: string, effect: Effect.Effect<A, E, R>) =>
  Effect.flatMap(LawContext, ({ patience }) =>
    Effect.timeoutOrElse(effect, {
      duration: patience,
      orElse: () => Effect.fail(broken(`${what}: nothing happened within the patience of the suite.`))
    })
  )

/** A capability that the law has declared a need for. */
export const capability = <K extends Capability>(name: K) =>
  Effect.flatMap(Provisioner, (provisioner): Effect.Effect<NonNullable<ProvisionerShape[K]>, LawBroken> => {
    const member = provisioner[name]
    return member === undefined ? Effect.fail(broken(`The provider has no ${name}.`)) : Effect.succeed(member)
  })

/** A ledger id of this run that no other box but those of the calling law carries. */
export const otherLedger = Effect.map(LawContext, ({ ledgerId }) => `${ledgerId}x`)

/** What services would listen on in every box of the laws. */
export const ports = [3000, 8080] as const

/** An intent of its own, whose box is destroyed when the scope closes. */
export const newIntent = Effect.fnUntraced(function* (ledgerId?: string) {
  const provisioner = yield* Provisioner
  const context = yield* LawContext
  const session = `sbx_${yield* randomName}`
  const key = intentKey(session, 1)
  const now = yield* Clock.currentTimeMillis
  yield* Effect.addFinalizer(() =>
    Effect.ignore(provisioner.destroy(key), { log: "Warn", message: `The box of ${key} may be left.` })
  )
  const intent: ProvisionIntent = {
    key,
    scope: yield* provisioner.scope,
    name: instanceName(key),
    labels: {
      [labelNames.ledger]: ledgerId ?? context.ledgerId,
      [labelNames.owner]: "ann@example.org",
      [labelNames.session]: session,
      [labelNames.generation]: "1",
      [labelNames.key]: key,
      [labelNames.expiresAt]: String(now + 3_600_000)
    },
    spec: context.spec,
    ports: ports.map((port) => ({ port })),
    deadline: now + 600_000
  }
  return intent
})

/** A box that runs, destroyed when the scope closes. */
export const newBox = Effect.gen(function* () {
  return yield* (yield* Provisioner).provision(yield* newIntent())
})

/** A box with a checkout in it, where the provider places checkouts and there is one to place. */
export const newWorkBox = Effect.gen(function* () {
  const { workspace } = yield* Provisioner
  const { workspaceSource } = yield* LawContext
  const ref = yield* newBox
  if (workspace !== undefined && workspaceSource !== undefined) yield* checkout(ref, workspaceSource)
  return ref
})

/** Places a checkout, removed when the scope closes. */
export const checkout = Effect.fnUntraced(function* (ref: InstanceRef, source: WorkspaceSource) {
  const { attach, detach } = yield* capability("workspace")
  yield* Effect.addFinalizer(() =>
    Effect.ignore(detach(ref), { log: "Warn", message: `The checkout of ${ref.id} may be left.` })
  )
  return yield* attach(ref, source)
})

/** The checkout that the law has declared a need for. */
export const workspaceSource = Effect.flatMap(LawContext, ({ workspaceSource }) =>
  workspaceSource === undefined
    ? Effect.fail(broken("The suite has no workspaceSource."))
    : Effect.succeed(workspaceSource)
)

/** Waits until the box is seen like this. */
export const observed = (ref: InstanceRef, expected: Observation["_tag"]) =>
  Effect.flatMap(Provisioner, ({ inspect }) =>
    eventually(
      "inspect",
      Effect.map(inspect(ref), ({ _tag }) => _tag),
      expected
    )
  )

/** Halts the box and waits until that can be seen. */
export const halt = Effect.fnUntraced(function* (ref: InstanceRef) {
  const provisioner = yield* Provisioner
  yield* provisioner.stop(ref)
  yield* observed(ref, provisioner.haltIsTerminal ? "gone" : "stopped")
})

/** The keys of the boxes of a ledger, in order. */
export const listed = (ledgerId: string) =>
  Effect.flatMap(Provisioner, ({ list }) =>
    Effect.map(Stream.runCollect(list(ledgerId)), (boxes) => boxes.map(({ ref }) => ref.key).sort())
  )

/** Starts a command, waiting for a box that is not ready yet. */
export const spawn = Effect.fnUntraced(function* (ref: InstanceRef, request: ExecRequest) {
  const exec = yield* capability("exec")
  return yield* Effect.retry(exec(ref, request), {
    while: ({ reason }) => reason === "NotReady",
    schedule: yield* patiently
  })
})

/** Runs a command to its end. */
export const run = (ref: InstanceRef, argv: Argv, request?: Omit<ExecRequest, "argv">) =>
  Effect.gen(function* () {
    const handle = yield* spawn(ref, { argv, ...request })
    const output = yield* Stream.runCollect(handle.output)
    const text = (fd: 1 | 2) =>
      Stream.fromIterable(output).pipe(
        Stream.filter((chunk) => chunk.fd === fd),
        Stream.map(({ bytes }) => bytes),
        Stream.decodeText(),
        Stream.mkString
      )
    return { ...(yield* handle.exit), stdout: yield* text(1), stderr: yield* text(2) }
  }).pipe(Effect.scoped, (effect) => within("exec", effect))

/** Bytes of a text, as a command's input. */
export const input = (text: string) => Stream.encodeText(Stream.make(text))
