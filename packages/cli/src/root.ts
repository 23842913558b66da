/** The root command with the flags that every verb has, and what a verb's handler runs in. */
import { SandboxError } from "@org/sandbox-core"
import * as Node from "@org/sandbox-core/node"
import * as Registration from "@org/sandbox-core/Registration"
import { Cause, Duration, Effect, Exit, Fiber, FileSystem, Layer, Option, Path } from "effect"
import { Command, Flag } from "effect/cli"
import * as Browser from "./Browser.ts"
import type { Loaded, Request } from "./config/Loaded.ts"
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
    ),
    config: Flag.String("config").pipe(
      Flag.withDescription("A configuration of yours instead of the project's sandbox.yaml (SANDBOX_CONFIG)"),
      Flag.withMetavar("file"),
      Flag.optional
    ),
    noInput: Flag.Boolean("no-input").pipe(
      Flag.withDescription("Ask nothing, even on a terminal"),
      Flag.withDefault(false)
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

const progress = (globals: Globals) => {
  const terminal = process.stderr.isTTY === true
  return Progress.layer({ quiet: globals.quiet, terminal, color: color(terminal) })
}

const services = (globals: Globals, loaded?: Loaded) =>
  (loaded?.providers ?? Registration.layerAll(builtin)).pipe(
    Layer.merge(Browser.layer),
    Layer.provideMerge(
      Node.layer({
        ledger: Option.getOrUndefined(globals.ledger),
        principal: Option.getOrUndefined(globals.principal)
      })
    ),
    Layer.merge(progress(globals)),
    Layer.merge(loaded?.settings ?? Layer.empty)
  )

/** Runs a program in its services and under the caller's time limit. It is what a signal interrupts. */
export const perform = <A, E>(program: Effect.Effect<A, E, Services>) => performWith(() => program)

/** The same of a program that the configuration of the current directory has a say in, where there is one. */
export const performWith = Effect.fnUntraced(function* <A, E>(
  program: (loaded: Loaded | undefined) => Effect.Effect<A, E, Services>
) {
  if (!(yield* isConfigured(yield* root))) return yield* unconfigured(program(undefined))
  return yield* performConfigured({ load: {}, before: Effect.succeed, program })
})

/** Runs a program that no configuration has a say in. */
export const unconfigured = Effect.fnUntraced(function* <A, E>(program: Effect.Effect<A, E, Services>) {
  const globals = yield* root
  return yield* bounded(globals, Effect.provide(program, services(globals)))
})

/** Runs a program that is made from the configuration of the repository it is about. */
export const performConfigured = Effect.fnUntraced(function* <A, E, B, F>(options: {
  readonly load: Omit<Request, "config">
  /** Runs before the ledger is opened. */
  readonly before: (loaded: Loaded) => Effect.Effect<B, F, Node.Platform>
  readonly program: (before: B) => Effect.Effect<A, E, Services>
}) {
  const globals = yield* root
  return yield* onPlatform(
    Effect.gen(function* () {
      const loaded = yield* load(options.load)
      const before = yield* options.before(loaded)
      return yield* Effect.provide(options.program(before), services(globals, loaded))
    })
  )
})

/** The configuration for a command; only one that has a configuration pays for reading it. Runs on the platform. */
export const load = Effect.fnUntraced(function* (request: Omit<Request, "config">) {
  const { load } = yield* Effect.promise(() => import("./config/load.ts"))
  const config = Option.getOrUndefined((yield* root).config)
  return yield* load({ ...request, config, variables: process.env })
})

/** Runs what needs neither ledger nor providers, under the caller's time limit. */
export const onPlatform = Effect.fnUntraced(function* <A, E, R>(program: Effect.Effect<A, E, R>) {
  return yield* bounded(yield* root, Effect.provide(program, Node.layerPlatform))
})

const bounded = <A, E, R>(globals: Globals, program: Effect.Effect<A, E, R>) =>
  Effect.interruptible(Option.isNone(globals.timeout) ? program : within(globals.timeout.value, program))

/** Variables with a meaning of their own, and those that name a place where no configuration is looked for. */
const noConfiguration = ["SANDBOX_LEDGER", "SANDBOX_PRINCIPAL_ID", "SANDBOX_HOST_ID", "SANDBOX_PROVIDER"]

/** Whether there may be a configuration: told by a few names alone, so that without one nothing is read. */
const isConfigured = Effect.fnUntraced(function* (globals: Globals) {
  if (Option.isSome(globals.config)) return true
  const set = ([name, value]: readonly [string, string | undefined]) =>
    name.startsWith("SANDBOX_") && value !== undefined && value !== "" && !noConfiguration.includes(name)
  if (Object.entries(process.env).some(set)) return true
  const fs = yield* FileSystem.FileSystem
  const path = yield* Path.Path
  const there = (file: string) => Effect.orElseSucceed(fs.exists(file), () => true)
  const base = process.env["XDG_CONFIG_HOME"] || path.join(process.env["HOME"] ?? "/", ".config")
  if (yield* there(path.join(base, "sandbox", "config.yaml"))) return true
  // a shell may stand in a directory that was removed
  const here = Option.liftThrowable(path.resolve)(".")
  for (let at = Option.getOrElse(here, () => "/"); ; at = path.dirname(at)) {
    if (yield* there(path.join(at, "sandbox.yaml"))) return true
    if ((yield* there(path.join(at, ".git"))) || path.dirname(at) === at) return false
  }
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
        // an interruption that nobody has answered undid nothing, because nothing had begun to change
        message: `not finished within ${Duration.format(limit)}${Cause.hasInterruptsOnly(exit.cause) ? "" : ", and rolled back"}`,
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
