/** Running a command in a box: a process group or a terminal of its own on this host, in the box's checkout. */
import { Host } from "@org/sandbox-core/Host"
import * as Processes from "@org/sandbox-core/Processes"
import { boxVariables, type ExecHandle, type ExecRequest, labelNames } from "@org/sandbox-core/Provisioner"
import { Effect, FileSystem, Path, type PlatformError, Stream } from "effect"
import { ChildProcess, ChildProcessSpawner } from "effect/process"
import * as Boxes from "./Boxes.ts"
import { classify, Refused, signalOf, unstartable } from "./LocalError.ts"
import * as LocalHost from "./LocalHost.ts"
import * as Terminal from "./Terminal.ts"

/** Starts a command; `directory` is where it runs when it names no other place, and what its paths are relative to. */
export const start = Effect.fnUntraced(function* (box: Boxes.Box, directory: string, request: ExecRequest) {
  const spawner = yield* ChildProcessSpawner.ChildProcessSpawner
  const path = yield* Path.Path
  const [program, ...args] = request.argv
  if (program === undefined) return yield* new Refused({ reason: "Invalid", message: "The command is empty." })
  if (request.user !== undefined && request.user !== (yield* Host).user) {
    return yield* unsupported(`A local box runs commands as ${(yield* Host).user} only, who runs this process.`)
  }
  const cwd = path.resolve(directory, request.cwd ?? ".")
  yield* checkDirectory(cwd)
  if (request.tty !== undefined) {
    const env = yield* environment(box, directory, { TERM: "xterm-256color", ...request.env }, Terminal.foreign)
    return yield* Terminal.start(box, { argv: [program, ...args], size: request.tty, cwd, env, stdin: request.stdin })
  }
  const handle = yield* spawner
    .spawn(
      ChildProcess.make(program, args, {
        cwd,
        env: yield* environment(box, directory, request.env ?? {}),
        stdin: request.stdin ?? "ignore",
        forceKillAfter: Processes.grace
      })
    )
    .pipe(
      Effect.mapError((error) => unstartable(program, error)),
      // Node throws what it knows before it has asked the system, such as arguments that are too long.
      Effect.catchDefect((defect) => Effect.fail(unstartable(program, defect)))
    )
  const failed = classify("exec")
  const tagged = (fd: 1 | 2, stream: Stream.Stream<Uint8Array, PlatformError.PlatformError>) =>
    stream.pipe(
      Stream.map((bytes) => ({ fd, bytes })),
      Stream.mapError(failed)
    )
  return {
    output: Stream.merge(tagged(1, handle.stdout), tagged(2, handle.stderr)),
    exit: handle.exitCode.pipe(
      Effect.map((code): { readonly code: number; readonly signal?: string } => ({ code: Number(code) })),
      Effect.catch((error) => {
        const signal = signalOf(error)
        const number = signal === undefined ? undefined : LocalHost.signalNumber(signal)
        return signal === undefined || number === undefined
          ? Effect.fail(failed(error))
          : Effect.succeed({ code: 128 + number, signal })
      })
    ),
    // Once the leader was collected, its number may be another's; what it left in its group ends with the scope.
    kill: (signal) =>
      Effect.when(
        LocalHost.signalGroup(handle.pid, signal),
        Effect.orElseSucceed(handle.isRunning, () => false)
      ).pipe(Effect.asVoid),
    resize: () => Effect.fail(failed(unsupported("This command has no terminal.")))
  } satisfies ExecHandle
})

/** The user's environment without what is ours, then what was asked for, then what marks the box. */
const environment = Effect.fnUntraced(function* (
  box: Boxes.Box,
  workspace: string,
  extra: Readonly<Record<string, string>>,
  without: ReadonlyArray<string> = []
) {
  const { environment: own } = yield* Processes.Processes
  const inherited = Object.entries(yield* own).filter(
    ([name]) => Processes.isInherited(name) && !without.includes(name)
  )
  return {
    ...Object.fromEntries(inherited),
    ...extra,
    [Processes.boxMarker]: box.key,
    SANDBOX_SESSION_ID: box.labels[labelNames.session] ?? "",
    [boxVariables.run]: yield* Boxes.runDirectory(box.key),
    [boxVariables.workspace]: workspace
  }
})

const checkDirectory = Effect.fnUntraced(function* (cwd: string) {
  const fs = yield* FileSystem.FileSystem
  const type = yield* fs.stat(cwd).pipe(
    Effect.map((info) => info.type),
    Effect.orElseSucceed(() => undefined)
  )
  if (type === "Directory") return
  return yield* new Refused({ reason: "Invalid", message: `The working directory ${cwd} is not a directory.` })
})

const unsupported = (message: string) => new Refused({ reason: "Unsupported", message })
