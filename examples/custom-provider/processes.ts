/**
 * The processes of a box. Each is written down while it runs, as a file named by its process id that holds its start
 * time, so that any process can end what another one has started.
 */
import { constants } from "node:os"
import { Host } from "@org/sandbox-core/Host"
import type { ExecHandle, ExecRequest } from "@org/sandbox-core/Provisioner"
import { Effect, FileSystem, Path, Stream } from "effect"
import { ChildProcess, ChildProcessSpawner } from "effect/process"
import { classify, orWhenMissing, Refusal } from "./errors.ts"

/** Starts a command; closing the scope ends it. */
export const start = Effect.fnUntraced(function* (
  request: ExecRequest,
  place: { readonly directory: string; readonly records: string }
) {
  const fs = yield* FileSystem.FileSystem
  const path = yield* Path.Path
  const host = yield* Host
  const spawner = yield* ChildProcessSpawner.ChildProcessSpawner
  if (request.tty !== undefined || request.user !== undefined) {
    return yield* new Refusal({ reason: "Unsupported", message: "A folder has no terminals or users; leave them out." })
  }
  const [program = "", ...args] = request.argv
  const child = yield* spawner.spawn(
    ChildProcess.make(program, args, {
      cwd: path.resolve(place.directory, request.cwd ?? "."),
      // Nothing of our own environment: it may hold credentials.
      env: { PATH: "/usr/local/bin:/usr/bin:/bin", HOME: place.directory, ...request.env },
      stdin: request.stdin ?? "ignore",
      forceKillAfter: "1 second"
    })
  )
  const record = path.join(place.records, String(child.pid))
  yield* fs.writeFileString(record, (yield* host.startedAt(child.pid)) ?? "")
  yield* Effect.addFinalizer(() =>
    Effect.ignore(fs.remove(record, { force: true }), { log: "Warn", message: `${record} is left.` })
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
        const name = /'(SIG[A-Z]+)'/.exec(String(error.reason.cause))?.[1]
        const signal = Object.entries(constants.signals).find(([known]) => known === name)
        return signal === undefined
          ? Effect.fail(failed(error))
          : Effect.succeed({ code: 128 + signal[1], signal: signal[0] })
      })
    ),
    // `child.kill` goes on to wait for the end, which a command may put off; only the signal was asked for. It fails
    // when the command has ended by itself, and then there is nothing to do.
    kill: (killSignal) => child.kill({ killSignal }).pipe(Effect.ignore, Effect.forkIn(scope), Effect.asVoid),
    resize: () => Effect.fail(failed(new Refusal({ reason: "Unsupported", message: "A folder has no terminals." })))
  } satisfies ExecHandle
})

/** Ends everything that is written down, with all that it started. */
export const killAll = Effect.fnUntraced(function* (records: string) {
  const fs = yield* FileSystem.FileSystem
  const path = yield* Path.Path
  const host = yield* Host
  for (const pid of yield* orWhenMissing(fs.readDirectory(records), [])) {
    const startedAt = yield* orWhenMissing(fs.readFileString(path.join(records, pid)), "")
    // A dead process's id is given to another one: only the start time proves that this one is ours.
    if (startedAt === "" || startedAt !== (yield* host.startedAt(Number(pid)))) continue
    yield* Effect.try({ try: () => process.kill(-Number(pid), "SIGKILL"), catch: (cause) => cause })
  }
})
