/** The other half of `--detach`: the command that goes on with an operation that another process has begun, and its start. */
import { Host, type Options, operateSwitch, SandboxError } from "@org/sandbox-core"
import { Duration, Effect, Option, Path, Schema, Stdio, Stream } from "effect"
import { Argument, Command } from "effect/cli"
import * as Detached from "../Detached.ts"
import * as Render from "../RenderSwitch.ts"
import { answer, type root } from "../root.ts"

/** Every field that there is: what is not named here would get lost on the way. */
const fields = {
  sessionId: Schema.String,
  operationId: Schema.String,
  token: Schema.String,
  inherited: Schema.Boolean,
  to: Schema.String,
  confirmDataLoss: Schema.optional(Schema.Boolean),
  onStopFailure: Schema.optional(Schema.Literals(["record", "abort"])),
  onFailure: Schema.optional(Schema.Literals(["restore", "hold"])),
  acceptSetup: Schema.optional(Schema.Boolean)
} satisfies { readonly [K in keyof Options.Handover]-?: Schema.Top }

/** What goes through the pipe between the two processes, and nowhere else: it holds the claim's token. */
const Handover = Schema.fromJsonString(Schema.Struct(fields))

export const operate = Command.make("operate", { operation: Argument.String("operation") }, ({ operation }) =>
  Effect.gen(function* () {
    const stdio = yield* Stdio.Stdio
    if (yield* stdio.stdinIsTerminal) return yield* foreign
    const text = yield* Stream.mkString(Stream.decodeText(stdio.stdin)).pipe(Effect.interruptible)
    const handover = yield* Schema.decodeEffect(Handover)(text)
    if (handover.operationId !== operation) return yield* foreign
    yield* answer(operateSwitch(handover), Render.switched)
  }).pipe(Effect.catchTags({ PlatformError: () => foreign, SchemaError: () => foreign }))
).pipe(Command.unlisted)

/** Nothing of what was read is quoted: it may hold a token. */
const foreign = SandboxError.make("ERR_INVALID_ARGUMENT", {
  message: "stdin has no operation that was begun for this command: `sandbox switch --detach` starts it",
  nextStep: "see what is under way with `sandbox list`",
  details: { field: "operation" }
})

/** Where an operation that goes on by itself writes its progress and its answer. */
export const logOf = Effect.fnUntraced(function* (operationId: string) {
  const { state } = yield* Host.Directories
  return (yield* Path.Path).join(state, "operations", `${operationId}.log`)
})

/**
 * Starts it for an operation. It reads the same configuration from the same place, and means the same ledger and principal; a
 * ledger's URL may hold a password, and so is no argument.
 */
export const begin = Effect.fnUntraced(function* (globals: Effect.Success<typeof root>, handover: Options.Handover) {
  const { config, ledger, principal, timeout } = globals
  const flag = (name: string, value: Option.Option<string>) =>
    Option.isNone(value) ? [] : [`--${name}=${value.value}`]
  const log = yield* logOf(handover.operationId)
  yield* Detached.start({
    args: [
      ...["operate", handover.operationId, "--json", ...flag("config", config), ...flag("principal", principal)],
      ...flag(
        "timeout",
        Option.map(timeout, (limit) => `${Duration.toMillis(limit)}ms`)
      )
    ],
    env: Option.isNone(ledger) ? {} : { SANDBOX_LEDGER: ledger.value },
    stdin: JSON.stringify(handover),
    log
  }).pipe(
    Effect.mapError(({ message }) =>
      SandboxError.make("ERR_EXEC_FAILED", {
        message: `the process that goes on by itself could not be started: ${message}`,
        nextStep: "try again, or leave --detach out"
      })
    )
  )
})
