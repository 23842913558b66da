/** The root command with the flags that every verb has, and what a verb's handler runs in. */
import { SandboxError } from "@org/sandbox-core"
import * as Node from "@org/sandbox-core/node"
import * as Registration from "@org/sandbox-core/Registration"
import { type Cause, Duration, Effect, Exit, Fiber, Layer, Option } from "effect"
import { Command, Flag } from "effect/cli"
import { DurationText } from "./Duration.ts"
import * as Output from "./Output.ts"
import * as Progress from "./Progress.ts"
import { builtin } from "./Providers.ts"

export const root = Command.make("sandbox").pipe(
  Command.withSharedFlags({
    json: Flag.Boolean("json").pipe(
      Flag.withDescription("Print one JSON object on stdout, also for a failure"),
      Flag.withDefault(false)
    ),
    quiet: Flag.Boolean("quiet").pipe(
      Flag.withAlias("q"),
      Flag.withDescription("No progress on stderr; warnings stay"),
      Flag.withDefault(false)
    ),
    ledger: Flag.String("ledger").pipe(
      Flag.withDescription("A file, or a postgres:// URL of a shared ledger (SANDBOX_LEDGER)"),
      Flag.optional
    ),
    principal: Flag.String("principal").pipe(
      Flag.withDescription("Whose sessions are meant (SANDBOX_PRINCIPAL_ID; the user of this machine)"),
      Flag.optional
    ),
    timeout: Flag.String("timeout").pipe(
      Flag.withDescription("Give up and roll back after this long: 90s, 30m, 2h"),
      Flag.withMetavar("duration"),
      Flag.withSchema(DurationText),
      Flag.optional
    )
  }),
  Command.withDescription(
    "Sandboxes for agents and developers: a git repository at a branch, running where you say, under one durable session."
  )
)

/** Everything a program may ask for. */
export type Services = Layer.Success<ReturnType<typeof services>>

type Globals = Effect.Success<typeof root>

const color = (terminal: boolean): boolean => terminal && (process.env["NO_COLOR"] ?? "") === ""

const services = (globals: Globals) => {
  const terminal = process.stderr.isTTY === true
  return Registration.layerAll(builtin).pipe(
    Layer.provideMerge(
      Node.layer({
        ledger: Option.getOrUndefined(globals.ledger),
        principal: Option.getOrUndefined(globals.principal)
      })
    ),
    Layer.merge(Progress.layer({ quiet: globals.quiet, terminal, color: color(terminal) }))
  )
}

/** Runs a program in its services and under the caller's time limit. It is what a signal interrupts. */
export const perform = Effect.fnUntraced(function* <A, E>(program: Effect.Effect<A, E, Services>) {
  const globals = yield* root
  const limit = Option.getOrUndefined(globals.timeout)
  const bounded = limit === undefined ? program : within(limit, program)
  return yield* Effect.interruptible(Effect.provide(bounded, services(globals)))
})

/** Interrupts a program that takes longer, and then answers what truly became of it. */
const within = <A, E, R>(limit: Duration.Duration, program: Effect.Effect<A, E, R>) =>
  Effect.uninterruptibleMask((restore) =>
    Effect.gen(function* () {
      const fiber = yield* Effect.forkChild(Effect.interruptible(program))
      const waited = yield* Effect.exit(restore(Effect.timeoutOption(Fiber.await(fiber), limit)))
      const late = Exit.isSuccess(waited) && Option.isNone(waited.value)
      if (late || Exit.isFailure(waited)) yield* Fiber.interrupt(fiber)
      const exit = yield* Fiber.await(fiber)
      if (Exit.isSuccess(exit)) return exit.value
      const error = SandboxError.fromCause(exit.cause as Cause.Cause<never>, null)
      if (!late || error.code !== "ERR_INTERRUPTED") return yield* Effect.failCause(exit.cause)
      return yield* SandboxError.make("ERR_TIMEOUT", {
        ...SandboxError.fields(error),
        message: `not finished within ${Duration.format(limit)}, and rolled back`,
        nextStep: "try again with a longer --timeout"
      })
    })
  )

/** Runs a program and prints its answer: as JSON, or as `human` renders it. */
export const answer = Effect.fnUntraced(function* <A extends object, E>(
  program: Effect.Effect<A, E, Services>,
  human: (value: A) => string
) {
  const { json } = yield* root
  const value = yield* perform(program)
  yield* Output.result(value, { json, human })
  return value
})
