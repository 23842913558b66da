/** What a memory box can run, and what a terminal of one does. */
import { type Cause, Deferred, Duration, Effect, Fiber, Queue, Stream } from "effect"
import type { ExecHandle, ExecRequest } from "../Provisioner.ts"
import { resolve } from "./memoryFiles.ts"

/** The box that a command runs in. */
export interface Place {
  readonly files: Map<string, Uint8Array>
  /** What relative paths are relative to. */
  readonly directory: string
  readonly env: Readonly<Record<string, string>>
  /** Completes when the box halts. */
  readonly power: Deferred.Deferred<"SIGKILL">
}

interface Size {
  readonly cols: number
  readonly rows: number
}

interface Io extends Place {
  readonly args: ReadonlyArray<string>
  readonly stdin: Stream.Stream<Uint8Array>
  /** The size of the terminal, now and whenever it changes; ends at once without one. */
  readonly sizes: Stream.Stream<Size>
  readonly write: (fd: 1 | 2, output: string | Uint8Array) => Effect.Effect<unknown>
}

/** An effect that gives the exit code. */
type Command = (io: Io) => Effect.Effect<number>

const encoder = new TextEncoder()

const commands: ReadonlyMap<string, Command> = new Map<string, Command>([
  ["echo", ({ args, write }) => Effect.as(write(1, `${args.join(" ")}\n`), 0)],
  ["stderr", ({ args, write }) => Effect.as(write(2, `${args.join(" ")}\n`), 0)],
  ["exit", ({ args }) => Effect.succeed(Number(args[0] ?? 0))],
  ["sleep", ({ args }) => Effect.as(Effect.sleep(Duration.seconds(Number(args[0] ?? 0))), 0)],
  [
    "wait",
    ({ args, write }) => Effect.as(Effect.andThen(write(1, "up\n"), Effect.sleep(Duration.seconds(Number(args[0])))), 0)
  ],
  ["pwd", ({ directory, write }) => Effect.as(write(1, `${directory}\n`), 0)],
  [
    "printenv",
    ({ args: [variable = ""], env, write }) =>
      env[variable] === undefined ? Effect.succeed(1) : Effect.as(write(1, `${env[variable]}\n`), 0)
  ],
  [
    "sizes",
    ({ sizes, write }) =>
      Effect.as(
        Stream.runForEach(sizes, ({ cols, rows }) => write(1, `${rows} ${cols}\n`)),
        0
      )
  ],
  [
    "cat",
    ({ args: [path], directory, files, stdin, write }) => {
      if (path === undefined)
        return Effect.as(
          Stream.runForEach(stdin, (bytes) => write(1, bytes)),
          0
        )
      const content = files.get(resolve(directory, path))
      return content === undefined
        ? Effect.as(write(2, `cat: ${path}: no such file\n`), 1)
        : Effect.as(write(1, content), 0)
    }
  ],
  [
    "tee",
    ({ args: [path = "out"], directory, files, stdin, write }) =>
      Effect.flatMap(Stream.mkUint8Array(stdin), (bytes) => {
        files.set(resolve(directory, path), bytes)
        return Effect.as(write(1, bytes), 0)
      })
  ],
  [
    // leaves something running, as a daemon is, that ends with the box
    "beat",
    ({ args: [path = "out"], directory, files, power }) => {
      const file = resolve(directory, path)
      const beat = Effect.sync(() => files.set(file, new Uint8Array((files.get(file)?.length ?? 0) + 1)))
      return Effect.andThen(beat, Effect.delay(beat, "20 millis")).pipe(
        Effect.forever,
        Effect.raceFirst(Deferred.await(power)),
        Effect.forkDetach({ startImmediately: true }),
        Effect.as(0)
      )
    }
  ]
])

/** The names of all commands. */
export const names: ReadonlyArray<string> = [...commands.keys()]

export const has = (name: string): boolean => commands.has(name)

const signalNumbers = { SIGHUP: 1, SIGINT: 2, SIGKILL: 9, SIGTERM: 15 } as const

/** Runs a command of that name; closing the scope ends it. */
export const run = Effect.fnUntraced(function* (place: Place, request: ExecRequest) {
  const [program = "", ...args] = request.argv
  // Bounded: a command that nobody reads waits, instead of filling memory.
  const output = yield* Queue.bounded<{ readonly fd: 1 | 2; readonly bytes: Uint8Array }, Cause.Done>(16)
  const killed = yield* Deferred.make<keyof typeof signalNumbers>()
  const sizes = yield* Queue.unbounded<Size, Cause.Done>()
  if (request.tty === undefined) yield* Queue.end(sizes)
  else yield* Queue.offer(sizes, request.tty)
  const given = request.stdin ?? Stream.empty
  const interrupt = Effect.asVoid(Deferred.succeed(killed, "SIGINT"))
  const fiber = yield* commands.get(program)!({
    ...place,
    args,
    stdin: request.tty === undefined ? given : yield* keyboard(given, interrupt),
    sizes: Stream.fromQueue(sizes),
    write: (fd, text) =>
      Queue.offer(output, {
        fd: request.tty === undefined ? fd : 1,
        bytes: typeof text === "string" ? encoder.encode(text) : text
      })
  }).pipe(
    Effect.map((code): { readonly code: number; readonly signal?: string } => ({ code })),
    Effect.raceFirst(
      Effect.map(Effect.raceFirst(Deferred.await(killed), Deferred.await(place.power)), (signal) => ({
        code: 128 + signalNumbers[signal],
        signal
      }))
    ),
    Effect.ensuring(Queue.end(output)),
    Effect.forkScoped
  )
  return {
    output: Stream.fromQueue(output),
    exit: Fiber.join(fiber),
    kill: (signal) => Effect.asVoid(Deferred.succeed(killed, signal)),
    resize: (size) => Effect.asVoid(Queue.offer(sizes, size))
  } satisfies ExecHandle
})

/** What a terminal makes of keys: Ctrl-C interrupts, whether the command reads or not, and Ctrl-D ends the input. */
const keyboard = Effect.fnUntraced(function* (keys: Stream.Stream<Uint8Array>, interrupt: Effect.Effect<void>) {
  const typed = yield* Queue.unbounded<Uint8Array, Cause.Done>()
  yield* keys.pipe(
    Stream.tap((bytes) => (bytes.includes(3) ? interrupt : Effect.void)),
    Stream.takeUntil((bytes) => bytes.includes(4)),
    Stream.runForEach((bytes) =>
      Queue.offer(
        typed,
        bytes.filter((key) => key !== 3 && key !== 4)
      )
    ),
    Effect.ensuring(Queue.end(typed)),
    Effect.forkScoped
  )
  return Stream.fromQueue(typed)
})
