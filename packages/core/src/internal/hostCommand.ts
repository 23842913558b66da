/** Programs that run on this host for the user: hooks in a repository. */
import { Duration, Effect, Fiber, type PlatformError, Stream } from "effect"
import { ChildProcess, ChildProcessSpawner } from "effect/process"
import { grace, isInherited, Processes } from "../Processes.ts"

/** How long the rest of what a command wrote is waited for once it has ended. */
export const drain = Duration.millis(250)

/**
 * Runs a command in a process group of its own and answers its exit code; none when a signal ended it. Interrupted, it ends
 * the whole group.
 */
export const run = Effect.fnUntraced(function* (options: {
  readonly argv: readonly [string, ...ReadonlyArray<string>]
  readonly cwd: string
  readonly env: Readonly<Record<string, string>>
  readonly onOutput: (text: string, fd: 1 | 2) => Effect.Effect<void>
  /** Which of this process's own variables it has beside `env`; all that are not ours, when absent. */
  readonly keeps?: ((name: string) => boolean) | undefined
}) {
  const spawner = yield* ChildProcessSpawner.ChildProcessSpawner
  const { environment } = yield* Processes
  const theirs = Object.entries(yield* environment).filter(([name]) => isInherited(name))
  const inherited = Object.fromEntries(theirs.filter(([name]) => options.keeps?.(name) ?? true))
  const [program, ...args] = options.argv
  const handle = yield* spawner.spawn(
    ChildProcess.make(program, args, {
      cwd: options.cwd,
      env: { ...inherited, ...options.env },
      stdin: "ignore",
      forceKillAfter: grace
    })
  )
  const listen = (fd: 1 | 2, stream: Stream.Stream<Uint8Array, PlatformError.PlatformError>) =>
    Stream.runForEach(Stream.decodeText(stream), (text) => options.onOutput(text, fd))
  const output = yield* Effect.forkScoped(
    Effect.all([listen(1, handle.stdout), listen(2, handle.stderr)], { concurrency: "unbounded" })
  )
  const code = yield* Effect.orElseSucceed(Effect.map(handle.exitCode, Number), () => undefined)
  // what it left running may hold the output open; that ends with the scope
  yield* Effect.timeoutOption(Effect.exit(Fiber.join(output)), drain)
  return code
}, Effect.scoped)
