/** Starts this very command line again as a process of its own: it outlives this one, its terminal and its session. */
import { Effect, FileSystem, Path, Stream } from "effect"
import { ChildProcess, ChildProcessSpawner } from "effect/process"

/** `"$0"` is the log: what the process writes is added to it. */
const script = 'exec "$@" >>"$0" 2>&1'

/** Answers once the process has begun and was given all of its input. */
export const start = Effect.fnUntraced(function* (options: {
  readonly args: ReadonlyArray<string>
  /** Beside the environment of this process. */
  readonly env: Readonly<Record<string, string>>
  /** What others must not see, as they see arguments. */
  readonly stdin: string
  /** Made where it is not there; its owner alone can read it. */
  readonly log: string
}) {
  const fs = yield* FileSystem.FileSystem
  const path = yield* Path.Path
  const spawner = yield* ChildProcessSpawner.ChildProcessSpawner
  const { args, env, log, stdin } = options
  yield* fs.makeDirectory(path.dirname(log), { recursive: true, mode: 0o700 })
  yield* fs.writeFileString(log, "", { flag: "a", mode: 0o600 })
  const self = [process.execPath, ...process.execArgv, process.argv[1] ?? ""]
  const handle = yield* spawner.spawn(
    ChildProcess.make("sh", ["-c", script, log, ...self, ...args], {
      stdout: "ignore",
      stderr: "ignore",
      env,
      extendEnv: true
    })
  )
  yield* Effect.asVoid(handle.unref)
  yield* Stream.run(Stream.make(new TextEncoder().encode(stdin)), handle.stdin)
}, Effect.scoped)
