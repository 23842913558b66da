/**
 * The caller's terminal while a command in a box has it: every key goes there, and the terminal is given back as it was,
 * whatever becomes of this process.
 */
import { type Provisioner, SandboxError } from "@org/sandbox-core"
import { type Cause, Effect, Exit, Queue, type Scope, Stdio, Stream } from "effect"
import { ChildProcess, type ChildProcessSpawner } from "effect/process"
import { write } from "./Output.ts"
import * as terminalModes from "./terminalModes.ts"

export interface Size {
  readonly cols: number
  readonly rows: number
}

export interface Ended {
  readonly code: number
  readonly signal?: string
}

/** Fails unless stdin is a terminal, and stdout too where `output` says so. */
export const required = Effect.fnUntraced(function* (options: {
  readonly what: string
  readonly nextStep: string
  readonly output: boolean
}) {
  const stdio = yield* Stdio.Stdio
  const missing = !(yield* stdio.stdinIsTerminal)
    ? "stdin"
    : options.output && !(yield* stdio.stdoutIsTerminal)
      ? "stdout"
      : undefined
  if (missing === undefined) return
  return yield* SandboxError.make("ERR_INVALID_ARGUMENT", {
    message: `${options.what} needs a terminal, and ${missing} is none`,
    nextStep: options.nextStep,
    details: { field: missing }
  })
})

/**
 * Runs a command that has a terminal, on ours. Resizing follows; with `keyboard` all keys go to the command, also those
 * that would otherwise end this process.
 */
export const attach = Effect.fnUntraced(function* <R>(options: {
  readonly keyboard: boolean
  readonly start: (request: {
    readonly tty: Size
    readonly stdin: Stream.Stream<Uint8Array> | undefined
  }) => Effect.Effect<Provisioner.ExecHandle<SandboxError.SandboxError>, SandboxError.SandboxError, R>
}) {
  const stdio = yield* Stdio.Stdio
  const sizes = yield* resizes
  // a terminal that is gone can be read no more
  const stdin = options.keyboard ? Stream.catch(stdio.stdin, () => Stream.empty) : undefined
  const guardian = options.keyboard ? yield* guard : undefined
  const running = yield* options.start({ tty: size(), stdin })
  const modes = terminalModes.make()
  yield* Effect.addFinalizer(() => Effect.suspend(() => restored(modes)))
  // until here Ctrl-C ends us, as nothing has begun
  if (guardian !== undefined) yield* raw(guardian)
  yield* Effect.forkScoped(
    Stream.runForEach(Stream.fromQueue(sizes), () => Effect.ignore(Effect.suspend(() => running.resize(size()))))
  )
  yield* Stream.runForEach(running.output, ({ bytes, fd }) => {
    if (modes.see(bytes)) guardian?.tellUnsafe(modes.reset())
    return write(fd === 1 ? process.stdout : process.stderr, bytes)
  })
  const ended: Ended = yield* running.exit
  // a command that ended by itself may have meant what it left
  if (ended.signal === undefined) modes.forget()
  return ended
})

/** Switches off again what the command has switched on. */
const restored = (modes: terminalModes.Modes) => {
  const reset = modes.reset()
  return reset === "" ? Effect.void : Effect.ignore(write(process.stdout, reset))
}

const screen = () => (process.stdout.isTTY ? process.stdout : process.stderr.isTTY ? process.stderr : undefined)

const size = (): Size => {
  const { columns = 0, rows = 0 } = screen() ?? {}
  return columns > 0 && rows > 0 ? { cols: columns, rows } : { cols: 80, rows: 24 }
}

/** An entry whenever the terminal's size has changed; only the last one counts. */
const resizes: Effect.Effect<Queue.Queue<void>, never, Scope.Scope> = Effect.gen(function* () {
  const queue = yield* Queue.sliding<void>(1)
  const changed = () => void Queue.offerUnsafe(queue, undefined)
  yield* Effect.acquireRelease(
    Effect.sync(() => screen()?.on("resize", changed)),
    (stream) => Effect.sync(() => stream?.off("resize", changed))
  )
  return queue
})

/** Takes line editing, echo, signals and all changes of output from the terminal until the scope closes. */
const raw = (guardian: Guardian) =>
  Effect.gen(function* () {
    const set = (on: boolean) => process.stdin.setRawMode?.(on)
    // whoever stopped and continued us has given the terminal back its own settings
    const continued = () => {
      set(false)
      set(true)
      guardian.tellUnsafe("raw")
    }
    yield* Effect.acquireRelease(
      Effect.sync(() => {
        process.on("SIGCONT", continued)
        set(true)
      }),
      () =>
        Effect.sync(() => {
          process.off("SIGCONT", continued)
          set(false)
        })
    )
    guardian.tellUnsafe("raw")
    yield* guardian.answer
  })

interface Guardian {
  /** Says `raw` once the terminal is, or how to reset what the command has switched on. */
  readonly tellUnsafe: (line: string) => void
  /** Waits a little for the answer to `raw`. */
  readonly answer: Effect.Effect<unknown>
}

/**
 * A process that outlives ours by a moment: once the pipe that only we hold is closed without an `ok`, it gives the
 * terminal back its settings. It stands in a session of its own, so that what ends ours does not end it.
 */
const guard: Effect.Effect<Guardian, never, Scope.Scope | ChildProcessSpawner.ChildProcessSpawner> = Effect.gen(
  function* () {
    const lines = yield* Queue.unbounded<string, Cause.Done>()
    const answers = yield* Queue.unbounded<string>()
    const encoder = new TextEncoder()
    const started = yield* Effect.exit(
      ChildProcess.make("sh", ["-c", watch], {
        cwd: "/",
        extendEnv: true,
        stdin: "inherit",
        stderr: "ignore",
        additionalFds: {
          fd3: { type: "input", stream: Stream.map(Stream.fromQueue(lines), (line) => encoder.encode(`${line}\n`)) }
        },
        forceKillAfter: "1 second"
      })
    )
    // without it all but the death of this process by SIGKILL is still taken care of
    if (Exit.isFailure(started)) return { tellUnsafe: () => {}, answer: Effect.void }
    const { exitCode, stdout } = started.value
    yield* Stream.splitLines(Stream.decodeText(stdout)).pipe(
      Stream.runForEach((line) => Queue.offer(answers, line)),
      Effect.ignore,
      Effect.forkScoped
    )
    yield* Effect.addFinalizer(() =>
      Queue.offer(lines, "ok").pipe(
        Effect.andThen(Queue.end(lines)),
        Effect.andThen(Effect.ignore(exitCode)),
        Effect.timeoutOption("1 second")
      )
    )
    const answer = Effect.timeoutOption(Queue.take(answers), "1 second")
    // what the terminal was like is known once it has said so
    yield* answer
    return { answer, tellUnsafe: (line: string) => void Queue.offerUnsafe(lines, line) }
  }
)

/**
 * Node leaves it to the terminal to begin each line at the margin, which a command with a screen of its own does itself.
 * Settings are only given back if they are still ours after a moment: a shell that was waiting for us brings its own, and
 * ours would come in between.
 */
const watch = `trap '' HUP INT QUIT TERM PIPE TSTP TTIN TTOU
before=$(stty -g) || exit 0
echo ready
while IFS= read -r line <&3; do
  case $line in
  ok) [ "$(stty -g)" = "$before" ] || stty "$before"; exit 0 ;;
  raw) stty -opost; during=$(stty -g); echo raw ;;
  *) reset=$line ;;
  esac
done
[ -z "\${reset-}" ] || printf %s "$reset" >&0
sleep 0.2 || sleep 1
[ "$(stty -g)" != "\${during-}" ] || stty "$before"`
