/** The composition root: one process, one command, one exit code. */

import * as NodeServices from "@effect/platform-node/NodeServices"
import { SandboxError } from "@org/sandbox-core"
import { Cause, Effect, Exit, Layer, Option, References } from "effect"
import { CliConfig, CliError, CliOutput, Command, GlobalFlag } from "effect/cli"
import { OwnFailure } from "./commands/exec.ts"
import * as Output from "./Output.ts"
import { replaced } from "./replaced.ts"
import { sandbox } from "./sandbox.ts"
import * as usage from "./usage.ts"
import { version } from "./version.ts"

const argv = process.argv.slice(2)
const operands = argv.indexOf("--")
/** Whether an argument is the flag, and not a word of a command behind two dashes. */
const isJson = (arg: string, at: number): boolean => arg === "--json" && (operands < 0 || at < operands)
const json = argv.some(isJson)

const signals = { SIGINT: 130, SIGTERM: 143, SIGHUP: 129 } as const
let received: keyof typeof signals | undefined

/** Help that nobody asked for would share stdout with results; the error says how to get it. */
const presenter = CliOutput.layerPresenter({
  present: (event) =>
    event._tag === "InvalidInvocation" || (event._tag === "Help" && event.reason === "Implicit" && json)
      ? Effect.void
      : CliOutput.defaultPresenter.present(event)
})

const builtIns = CliConfig.layer({ builtIns: [GlobalFlag.Help, GlobalFlag.Version, GlobalFlag.Completions] })

const command = Effect.suspend(() => {
  const refusal = replaced(argv.filter((arg, at) => !isJson(arg, at)))
  return refusal === undefined ? Command.runWith(sandbox, { version, renderErrors: true })(argv) : Effect.fail(refusal)
})

/** Prints what went wrong and answers the exit code. */
const report = (cause: Cause.Cause<unknown>): Effect.Effect<number> => {
  const failed = Option.getOrUndefined(Cause.findErrorOption(cause))
  if (failed instanceof Output.Quit) {
    // 130 says that it was interrupted; which signal it was is known here
    return Effect.succeed(failed.code === 130 && received !== undefined ? signals[received] : failed.code)
  }
  if (failed instanceof OwnFailure) return Effect.as(Output.failure(failed.error, json), failed.code)
  if (failed instanceof CliError.ShowHelp) {
    // `sandbox` alone has shown its help
    if (failed.errors.length === 0 && !json) return Effect.succeed(0)
    return Effect.as(Output.failure(usage.invalid(failed), json), 1)
  }
  const error = SandboxError.isSandboxError(failed) ? failed : SandboxError.fromCause(cause as Cause.Cause<never>, null)
  const code =
    error.code === "ERR_INTERRUPTED" && received !== undefined ? signals[received] : SandboxError.exitCode(error.code)
  return Effect.as(Output.failure(error, json), code)
}

// only `perform` can be interrupted: what it says of an interruption would be lost on the way out of a fiber that can
const fiber = Effect.runFork(
  Effect.uninterruptible(command).pipe(
    Effect.provide(
      Layer.mergeAll(
        NodeServices.layer,
        presenter,
        builtIns,
        Layer.succeed(References.LogToStderr)(true),
        Layer.succeed(References.TracerEnabled)(false)
      )
    )
  )
)

/** What happens at a signal, where that is no rollback: nothing worth a word for verbs that only look. */
const farewell: Readonly<Record<string, string>> = {
  ...Object.fromEntries(
    [
      "list",
      "ls",
      "status",
      "history",
      "logs",
      "env",
      "ports",
      "open",
      "owner-of",
      "validate",
      "doctor",
      "providers"
    ].map((verb) => [verb, ""])
  ),
  provider: "removing what the laws made",
  exec: "ending the command",
  shell: "ending the shell"
}

/** Whether this process goes on with what another has begun, and so has nothing to do with the terminal of that one. */
const isDetached = argv[0] === "operate"

for (const signal of Object.keys(signals) as ReadonlyArray<keyof typeof signals>) {
  process.on(signal, () => {
    if (isDetached && signal === "SIGHUP") return
    if (received !== undefined) {
      // the second one does not wait for the rollback
      process.stderr.write("left at once; `sandbox list` names the command that recovers what was under way\n")
      process.exit(SandboxError.exitCode("ERR_RECOVERY_REQUIRED"))
    }
    received = signal
    const doing = farewell[argv.find((arg) => !arg.startsWith("-")) ?? ""] ?? "rolling back"
    if (process.stderr.isTTY === true && doing !== "") process.stderr.write(`\n${doing}; once more to leave at once\n`)
    fiber.interruptUnsafe()
  })
}
// a write to a closed pipe is answered to the writer; without a listener it would end the process instead
process.stdout.on("error", () => {})
process.stderr.on("error", () => {})

fiber.addObserver((exit) => {
  const ended = Exit.isSuccess(exit) ? Effect.succeed(0) : report(exit.cause)
  Effect.runFork(ended).addObserver((code) => process.exit(Exit.isSuccess(code) ? code.value : 3))
})
