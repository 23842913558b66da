/**
 * The commands of a box. Each carries the box's key in its environment, and so does whatever it starts: that is how any
 * process can end what another one has started, wherever it has gone.
 */
import { boxMarker } from "@org/sandbox-core/Processes"
import { boxVariables, type ExecHandle, type ExecRequest } from "@org/sandbox-core/Provisioner"
import { Effect, Path, Stream } from "effect"
import { ChildProcess, ChildProcessSpawner } from "effect/process"
import { classify, Refusal } from "./errors.ts"

/** The signals that end a process, by which a shell reports one as 128 + number. */
const signals: Readonly<Record<string, number>> = {
  SIGHUP: 1,
  SIGINT: 2,
  SIGQUIT: 3,
  SIGILL: 4,
  SIGABRT: 6,
  SIGFPE: 8,
  SIGKILL: 9,
  SIGSEGV: 11,
  SIGPIPE: 13,
  SIGALRM: 14,
  SIGTERM: 15
}

/** Starts a command; closing the scope ends it. */
export const start = Effect.fnUntraced(function* (
  request: ExecRequest,
  place: { readonly key: string; readonly directory: string; readonly run: string }
) {
  const path = yield* Path.Path
  const spawner = yield* ChildProcessSpawner.ChildProcessSpawner
  if (request.tty !== undefined || request.user !== undefined) {
    return yield* new Refusal({ reason: "Unsupported", message: "A folder has no terminals or users; leave them out." })
  }
  const [program = "", ...args] = request.argv
  const child = yield* spawner.spawn(
    ChildProcess.make(program, args, {
      cwd: path.resolve(place.directory, request.cwd ?? "."),
      // Nothing of our own environment: it may hold credentials.
      env: {
        PATH: "/usr/local/bin:/usr/bin:/bin",
        HOME: place.directory,
        ...request.env,
        [boxMarker]: place.key,
        [boxVariables.workspace]: place.directory,
        [boxVariables.run]: place.run
      },
      stdin: request.stdin ?? "ignore",
      forceKillAfter: "1 second"
    })
  )
  const scope = yield* Effect.scope
  const failed = classify("exec")
  return {
    output: Stream.merge(
      Stream.map(child.stdout, (bytes) => ({ fd: 1 as const, bytes })),
      Stream.map(child.stderr, (bytes) => ({ fd: 2 as const, bytes }))
    ).pipe(Stream.mapError(failed)),
    exit: child.exitCode.pipe(
      Effect.map((code): { readonly code: number; readonly signal?: string } => ({ code })),
      Effect.catch((error) => {
        // What a signal has ended has no exit code: the error names the signal instead.
        const signal = /'(SIG[A-Z]+)'/.exec(String(error.reason.cause))?.[1]
        const number = signal === undefined ? undefined : signals[signal]
        return signal === undefined || number === undefined
          ? Effect.fail(failed(error))
          : Effect.succeed({ code: 128 + number, signal })
      })
    ),
    // `child.kill` goes on to wait for the end, which a command may put off; only the signal was asked for. It fails
    // when the command has ended by itself, and then there is nothing to do.
    kill: (killSignal) => child.kill({ killSignal }).pipe(Effect.ignore, Effect.forkIn(scope), Effect.asVoid),
    resize: () => Effect.fail(failed(new Refusal({ reason: "Unsupported", message: "A folder has no terminals." })))
  } satisfies ExecHandle
})
