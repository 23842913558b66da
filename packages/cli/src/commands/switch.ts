import { type Options, planSwitch, switchProvider as program, SandboxError, switchDetached } from "@org/sandbox-core"
import { Effect, FileSystem, Option } from "effect"
import { Command, Flag } from "effect/cli"
import * as args from "../arguments.ts"
import * as Output from "../Output.ts"
import { builtin } from "../Providers.ts"
import * as Render from "../RenderSwitch.ts"
import { performWith, root, type Services } from "../root.ts"
import * as operation from "./operate.ts"

export const switchProvider = Command.make(
  "switch",
  {
    session: args.optionalSession,
    to: Flag.String("to").pipe(
      Flag.withDescription(
        `Where it goes: ${Object.keys(builtin).join(", ")}, or a provider of the configuration; nothing else chooses it`
      ),
      Flag.withMetavar("provider"),
      // what is missing is refused with the names that there are
      Flag.withDefault("")
    ),
    dryRun: Flag.Boolean("dry-run").pipe(
      Flag.withDescription("Say what would be done, what travels and what stays, and do nothing"),
      Flag.withDefault(false)
    ),
    confirmDataLoss: args.confirmDataLoss,
    onStopFailure: Flag.Literals("on-stop-failure", ["record", "abort"]).pipe(
      Flag.withDescription(
        "When the old box cannot be halted: go on and leave it to `gc`, or stay there; switch.on_stop_failure, when absent"
      ),
      Flag.optional
    ),
    onFailure: Flag.Literals("on-failure", ["restore", "hold"]).pipe(
      Flag.withDescription(
        "When the new box cannot be made ready: go back to the old one, or stay there as failed with the work saved; switch.on_failure, when absent"
      ),
      Flag.optional
    ),
    trustConfig: Flag.Boolean("trust-config").pipe(
      Flag.withDescription(
        "Accept what the session runs for this host too, where its repository's sandbox.yaml was not accepted"
      ),
      Flag.withDefault(false)
    ),
    detach: Flag.Boolean("detach").pipe(
      Flag.withAlias("d"),
      Flag.withDescription("Answer once it is under way, and let it go on by itself; `sandbox status --watch` follows"),
      Flag.withDefault(false)
    ),
    ...args.request
  },
  ({ clientRequestId, confirmDataLoss, detach, dryRun, onFailure, onStopFailure, session, to, trustConfig, wait }) =>
    Effect.gen(function* () {
      const globals = yield* root
      const { json } = globals
      const performed = <A>(
        make: (options: Options.SwitchOptions) => Effect.Effect<A, SandboxError.SandboxError, Services>
      ) =>
        performWith((loaded) => {
          const configured = loaded?.effective.configuration.switch
          const options = {
            to,
            acceptSetup: trustConfig,
            confirmDataLoss,
            wait,
            clientRequestId: Option.getOrUndefined(clientRequestId),
            onFailure: Option.getOrElse(onFailure, () => configured?.on_failure),
            onStopFailure: Option.getOrElse(onStopFailure, () => configured?.on_stop_failure)
          }
          return Effect.flatMap(args.chosen(session), (session) => make({ ...options, session }))
        })
      if (dryRun) {
        const plan = yield* performed(planSwitch)
        yield* Output.result({ dryRun, ...plan }, { json, human: Render.plan })
        if (!json) yield* Effect.forEach(plan.warnings, (warning) => Output.note(`warning: ${warning}`))
        return
      }
      const result = yield* performed<Render.Switched>(detach ? detached(globals) : program)
      yield* Output.result(result, { json, human: Render.switched })
    })
).pipe(
  Command.withAlias("move"),
  Command.withDescription(
    "Move a session to another provider without changing who it is: its work is saved and verified, its box there is halted, and a box on the other side gets the work and is looked at before the old one is removed. When the new side fails the session goes back. What cannot travel is refused without --confirm-data-loss."
  ),
  Command.withShortDescription("Move a session to another provider"),
  Command.withExamples([
    {
      command: "sandbox switch app-main --to docker --dry-run",
      description: "What would be done, and what would stay"
    },
    { command: "sandbox switch app-main --to docker", description: "Go on in a container" },
    { command: "sandbox move app-main --to docker --detach", description: "The same, without waiting for it" }
  ])
)

/** Answers once another process goes on with it, and where that writes. */
const detached = (globals: Effect.Success<typeof root>) => (options: Options.SwitchOptions) =>
  switchDetached(options, (handover) => operation.begin(globals, handover)).pipe(
    Effect.flatMap((result) =>
      result.detached === true && result.operationId !== null
        ? Effect.map(operation.logOf(result.operationId), (log) => ({ ...result, log }))
        : Effect.succeed(result)
    ),
    Effect.catch(withLog)
  )

/** What the other process said is why it did not go on. */
const withLog = Effect.fnUntraced(function* (error: SandboxError.SandboxError) {
  if (error.operationId === null) return yield* error
  const log = yield* operation.logOf(error.operationId)
  if (!(yield* Effect.orElseSucceed((yield* FileSystem.FileSystem).exists(log), () => false))) return yield* error
  return yield* SandboxError.extend(error, {
    nextStep: `${error.nextStep}; what it wrote is in ${log}`,
    details: { ...error.details, log }
  })
})
