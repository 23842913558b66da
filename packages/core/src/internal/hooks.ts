/** Hooks: the project's own commands at five moments of a session's life. */
import { Duration, Effect, Fiber, Path, Stream } from "effect"
import type { Held } from "../Claim.ts"
import { boxMarker, end } from "../Processes.ts"
import * as Progress from "../Progress.ts"
import type { Backend } from "../Provisioners.ts"
import type * as Repository from "../Repository.ts"
import * as SandboxError from "../SandboxError.ts"
import type { InstanceRef, Session } from "../Session.ts"
import type * as Setup from "../Setup.ts"
import { all, type Environment, generated } from "./environment.ts"
import * as hostCommand from "./hostCommand.ts"
import * as supervisor from "./supervisor.ts"

/** As they are called in a configuration, in messages and in `SANDBOX_HOOK`. */
export const hookKeys: { readonly [N in Setup.HookName]: string } = {
  preUp: "pre_up",
  preSpawn: "pre_spawn",
  postUp: "post_up",
  preDown: "pre_down",
  postDown: "post_down"
}

/** The words of a command line, for whatever runs it. */
export const argv = (command: Setup.Service["command"]): readonly [string, ...ReadonlyArray<string>] => {
  if (typeof command === "string") return ["sh", "-c", command]
  const [program = "", ...args] = command
  return [program, ...args]
}

/** The variables that every hook has, beside the session's environment for those that run in the box. */
const documented = (row: Session, name: Setup.HookName): Readonly<Record<string, string>> => ({
  ...generated(row),
  SANDBOX_HOOK: hookKeys[name],
  SANDBOX_SESSION_ID: row.id,
  SANDBOX_REPOSITORY: row.repository,
  ...(row.commit === null ? {} : { SANDBOX_COMMIT: row.commit })
})

const listener = (held: Held, row: Session, name: Setup.HookName) => (text: string) =>
  Progress.publish({
    type: "output",
    operationId: held.operationId,
    sessionId: row.id,
    source: `hook ${hookKeys[name]}`,
    text
  })

/** `pre_spawn`, `post_up`, `pre_down`: in the checkout, with the session's environment. */
export const inBox = Effect.fnUntraced(function* (
  held: Held,
  backend: Backend,
  options: { readonly ref: InstanceRef; readonly name: Setup.HookName; readonly environment: Environment }
) {
  const row = yield* held.row
  const { environment, name, ref } = options
  const command = row.setup?.hooks[name]
  if (row.setup === null || command === undefined) return
  // one that a killed attempt had started must not run on beside its rerun
  if (held.inherited) yield* supervisor.endMarked(backend, ref, `SANDBOX_HOOK=${hookKeys[name]}`)
  const say = listener(held, row, name)
  const run = Effect.gen(function* () {
    const handle = yield* backend.exec(ref, {
      argv: argv(command),
      env: { ...all(environment), ...documented(row, name) }
    })
    const decoder = { 1: new TextDecoder(), 2: new TextDecoder() }
    const output = yield* Effect.forkScoped(
      Stream.runForEach(handle.output, ({ bytes, fd }) => say(decoder[fd].decode(bytes, { stream: true })))
    )
    const { code } = yield* handle.exit
    // what it left running may hold the output open; that ends with the scope
    yield* Effect.timeoutOption(Effect.exit(Fiber.join(output)), hostCommand.drain)
    return code
  }).pipe(
    Effect.scoped,
    Effect.mapError((error) => failed(name, `could not be run: ${error.message}`, null))
  )
  yield* held.phase(`hook.${hookKeys[name]}`, bounded(row.setup, name, run))
})

/**
 * `pre_up`, `post_down`: in the repository on this host. What it leaves running carries the mark of the box with this key,
 * and ends with that.
 */
export const onHost = Effect.fnUntraced(function* (held: Held, name: Setup.HookName, key: string) {
  const row = yield* held.row
  const command = row.setup?.hooks[name]
  if (row.setup === null || command === undefined) return
  if (held.inherited) yield* endLeftovers(row, key)
  const run = hostCommand
    .run({
      argv: argv(command),
      cwd: row.repository,
      env: { ...documented(row, name), ...row.setup.env, [boxMarker]: key },
      onOutput: listener(held, row, name)
    })
    .pipe(Effect.mapError((error) => failed(name, `could not be run: ${error.message}`, null)))
  yield* held.phase(`hook.${hookKeys[name]}`, bounded(row.setup, name, run))
})

/** Ends the hook with its whole process group when it takes too long. */
const bounded = <R>(
  setup: Setup.Setup,
  name: Setup.HookName,
  run: Effect.Effect<number | undefined, SandboxError.SandboxError, R>
) =>
  Effect.gen(function* () {
    const limit = Duration.seconds(setup.hooks.timeoutS)
    const code = yield* run.pipe(
      Effect.timeoutOrElse({
        duration: limit,
        orElse: () => Effect.fail(failed(name, `did not end within ${Duration.format(limit)} and was killed`, null))
      })
    )
    if (code !== 0) {
      const how = code === undefined ? "was ended by a signal" : `ended with exit code ${code}`
      return yield* failed(name, how, code ?? null)
    }
  })

const failed = (name: Setup.HookName, how: string, exitCode: number | null) =>
  SandboxError.make("ERR_HOOK_FAILED", {
    message: `the hook ${hookKeys[name]} ${how}`,
    nextStep: `correct \`hooks.${hookKeys[name]}\`, and try again; what it wrote is on stderr`,
    details: { hook: hookKeys[name], exit_code: exitCode }
  })

/** A hook on the way down warns and stops nothing; only a claim that is lost does. */
export const warned = <R>(held: Held, hook: Effect.Effect<void, SandboxError.SandboxError, R>) =>
  Effect.catchIf(
    hook,
    (error) => error.code === "ERR_HOOK_FAILED" || error.code === "ERR_EXEC_FAILED" || error.code === "ERR_NOT_READY",
    (error) => held.warn(error.message)
  )

/** Ends what a hook on this host left running, for boxes whose provider does not see this host's processes. */
export const endLeftovers = Effect.fnUntraced(function* (row: Session, key: string) {
  if (row.setup?.hooks.preUp === undefined && row.setup?.hooks.postDown === undefined) return
  yield* Effect.mapError(end(boxMarker, key), ({ pids }) =>
    SandboxError.make("ERR_DESTROY_FAILED", {
      message: `the processes ${pids.join(", ")}, which a hook of ${row.name} started, do not end, even when killed`,
      nextStep: "end them, and run the command again",
      details: { pids }
    })
  )
})

/** What cannot be run at all, before anything is done: a hook on this host needs the repository to be here. */
export const check = Effect.fnUntraced(function* (setup: Setup.Setup, source: Repository.Source) {
  const path = yield* Path.Path
  for (const name of ["preUp", "postDown"] as const) {
    if (setup.hooks[name] === undefined || path.isAbsolute(source.location)) continue
    return yield* SandboxError.make("ERR_INVALID_ARGUMENT", {
      message: `the hook ${hookKeys[name]} runs in the repository on this host, and ${source.location} is elsewhere`,
      nextStep: `use \`hooks.${name === "preUp" ? "pre_spawn" : "pre_down"}\`, which runs in the checkout, or clone the repository first`,
      details: { field: `hooks.${hookKeys[name]}` }
    })
  }
})
