/** Running a command in a box, and ending it with everything it started. */
import type { ExecHandle, ExecRequest } from "@org/sandbox-core/Provisioner"
import { Effect, Random, Schedule, Stream } from "effect"
import { places, variables } from "./Container.ts"
import type { DockerClient } from "./DockerClient.ts"
import { classify, type Problem, Refused, TransportError } from "./DockerError.ts"
import * as Engine from "./Engine.ts"

/** The variable by which the processes of one command are known; its value is nobody else's. */
const marker = "SANDBOX_EXEC"

/** Signals by number, as they are on Linux, where every box runs: signal(7). */
const signals: Readonly<Record<number, string>> = {
  1: "SIGHUP",
  2: "SIGINT",
  3: "SIGQUIT",
  4: "SIGILL",
  6: "SIGABRT",
  7: "SIGBUS",
  8: "SIGFPE",
  9: "SIGKILL",
  11: "SIGSEGV",
  13: "SIGPIPE",
  14: "SIGALRM",
  15: "SIGTERM"
}

/**
 * `$1` is the entry of the environment to look for, `$2` the signal. Written for a shell alone: an image need not have
 * `grep` or `pkill`. A shell drops the zero bytes that stand between entries, and reads line by line.
 */
const signalAll = `
found=
for process in /proc/[0-9]*; do
  { while IFS= read -r line || [ -n "$line" ]; do
    case $line in *"$1"*) found="$found \${process#/proc/}"; break ;; esac
  done <"$process/environ"; } 2>/dev/null
done
[ -n "$found" ] || exit 0
# none of them is to see another end before its own end
[ "$2" != KILL ] || kill -s STOP $found 2>/dev/null
kill -s "$2" $found 2>/dev/null
exit 0
`

/** Starts a command in a container. */
export const start = Effect.fnUntraced(function* (container: string, request: ExecRequest) {
  const [program] = request.argv
  if (program === undefined) return yield* new Refused({ reason: "Invalid", message: "The command is empty." })
  const mark = (yield* Random.nextIntBetween(0, Number.MAX_SAFE_INTEGER)).toString(36)
  const tty = request.tty !== undefined
  const env = { ...(tty ? { TERM: "xterm-256color" } : {}), ...request.env, ...variables, [marker]: mark }
  const as = request.user === undefined ? {} : { User: request.user }
  const id = yield* Engine.createExec(container, {
    Cmd: request.argv,
    ...as,
    WorkingDir: resolved(request.cwd ?? "."),
    Env: Object.entries(env).map(([name, value]) => `${name}=${value}`),
    Tty: tty,
    // before API 1.42 it is told in a call of its own, which a quick command may outrun
    ...(request.tty === undefined ? {} : { ConsoleSize: [request.tty.rows, request.tty.cols] }),
    AttachStdin: true,
    AttachStdout: true,
    AttachStderr: true,
    // else Ctrl-P waits for the next key: nobody types this by accident
    DetachKeys: Array.from({ length: 8 }, () => "ctrl-@").join(",")
  })
  const context = yield* Effect.context<DockerClient>()
  const port = <A>(effect: Effect.Effect<A, Problem, DockerClient>) =>
    effect.pipe(Effect.mapError(classify("exec")), Effect.provideContext(context))

  const kill = (signal: string) =>
    Effect.scoped(
      Effect.gen(function* () {
        const killer = yield* Engine.createExec(container, {
          Cmd: ["sh", "-c", signalAll, "sh", `${marker}=${mark}`, signal.slice(3)],
          ...as,
          AttachStdout: true
        })
        yield* Stream.runDrain((yield* Engine.startExec(killer, false)).input)
      })
    )
  const state = Engine.execState(id)
  const running = Effect.map(state, ({ Running }) => Running)
  // what a quick command prints may be here before the engine has written down that it started it
  const known = Effect.repeat(state, {
    until: ({ ExitCode, Pid }) => Pid !== 0 || ExitCode !== null,
    schedule: Schedule.max([Schedule.spaced("20 millis"), Schedule.recurs(50)])
  })
  const isStarted = Effect.map(known, ({ Pid }) => Pid !== 0)
  // a process that is started while others are looked for is found the next time
  const end = Effect.andThen(kill("SIGKILL"), running).pipe(
    Effect.repeat({
      while: (still) => still,
      schedule: Schedule.max([Schedule.spaced("50 millis"), Schedule.recurs(20)])
    })
  )
  // an engine that was asked to start it may still be about to, whether it has answered or not
  const settled = Effect.repeat(state, {
    until: ({ ExitCode, Running }) => Running || ExitCode !== null,
    schedule: Schedule.max([Schedule.spaced("20 millis"), Schedule.recurs(50)])
  })
  let ended = false
  // before it is started, for whoever is interrupted while it is
  yield* Effect.addFinalizer(() =>
    Effect.gen(function* () {
      if (!ended && (yield* settled).Running) yield* end
    }).pipe(Effect.ignore({ log: "Debug" }), Effect.timeoutOption("10 seconds"), Effect.provideContext(context))
  )
  const connection = yield* Engine.startExec(id, tty)
  const size = request.tty
  if (size !== undefined) {
    // the terminal is there a moment after the connection, and no longer than the command
    yield* Effect.retry(Engine.resizeExec(id, size), {
      while: () => Effect.map(state, ({ ExitCode }) => ExitCode === null),
      schedule: Schedule.max([Schedule.spaced("20 millis"), Schedule.recurs(50)])
    }).pipe(Effect.ignore)
  }
  const given = request.stdin ?? Stream.empty
  // a terminal has no end of input but the key for it
  const input = tty && request.stdin !== undefined ? Stream.concat(given, Stream.make(Uint8Array.of(4))) : given
  // a command may end without having read all of it
  yield* Effect.forkScoped(Effect.ignore(connection.send(input, !tty)))

  const frames = tty
    ? Stream.map(connection.input, (bytes) => ({ fd: 1 as const, bytes }))
    : demultiplexed(connection.input)
  const exit = Effect.gen(function* () {
    const ending = Effect.repeat(state, {
      until: ({ Running }) => !Running,
      schedule: Schedule.min([Schedule.exponential("5 millis"), Schedule.spaced("250 millis")])
    })
    const { ExitCode: code } = yield* Effect.filterOrElse(
      settled,
      ({ Running }) => !Running,
      () => ending
    )
    ended = true
    if (code === null) {
      return yield* new Refused({ reason: "NotReady", message: "The box ended before the command did." })
    }
    const signal = signals[code - 128]
    return signal === undefined ? { code } : { code, signal }
  })
  const handle: ExecHandle = {
    output: started(frames, { isStarted, program }).pipe(
      Stream.mapError(classify("exec")),
      Stream.provideContext(context)
    ),
    exit: port(exit),
    kill: (signal) => port(kill(signal)),
    resize: (to) => port(Effect.asVoid(Engine.resizeExec(id, to)))
  }
  return handle
})

const resolved = (cwd: string): string => (cwd.startsWith("/") ? cwd : `${places.work}/${cwd}`)

type Frame = { readonly fd: 1 | 2; readonly bytes: Uint8Array }

const none = new Uint8Array(0)

/**
 * Taken apart again: a byte that tells the descriptor, three of zero, the length as four bytes, then so many bytes. Where
 * pieces begin and end on the wire means nothing, but that it ends in the middle of a frame means that it broke.
 * https://docs.docker.com/reference/api/engine/version/v1.41/#tag/Container/operation/ContainerAttach
 */
export const demultiplexed = <E, R>(
  wire: Stream.Stream<Uint8Array, E, R>
): Stream.Stream<Frame, E | TransportError, R> =>
  Stream.suspend(() => {
    let [fd, head, left] = [1 as 1 | 2, none, 0]
    const take = (bytes: Uint8Array): ReadonlyArray<Frame> => {
      const frames: Array<Frame> = []
      for (let at = 0; at < bytes.length; ) {
        if (left > 0) {
          const part = bytes.subarray(at, at + left)
          frames.push({ fd, bytes: part })
          at += part.length
          left -= part.length
          continue
        }
        const more = bytes.subarray(at, at + 8 - head.length)
        const joined = new Uint8Array(head.length + more.length)
        joined.set(head)
        joined.set(more, head.length)
        head = joined
        at += more.length
        if (head.length < 8) continue
        fd = head[0] === 2 ? 2 : 1
        left = new DataView(head.buffer).getUint32(4)
        head = none
      }
      return frames
    }
    const whole = Effect.suspend(() => (left === 0 && head.length === 0 ? Effect.void : Effect.fail(broken)))
    return Stream.concat(
      Stream.mapAccum(
        wire,
        () => undefined,
        (none, bytes) => [none, take(bytes)]
      ),
      Stream.fromEffectDrain(whole)
    )
  })

const broken = new TransportError({ code: "ECONNRESET", message: "the connection ended in the middle of the output" })

/** The engine tells of a command that it could not start as if that were the command's output; which it may be. */
const started = <E, R, E2, R2>(
  frames: Stream.Stream<Frame, E, R>,
  { isStarted, program }: { readonly isStarted: Effect.Effect<boolean, E2, R2>; readonly program: string }
): Stream.Stream<Frame, E | E2 | Refused, R | R2> =>
  Stream.mapAccumEffect(
    frames,
    () => true,
    Effect.fnUntraced(function* (isFirst, frame) {
      const text = isFirst ? new TextDecoder().decode(frame.bytes.subarray(0, 2000)) : ""
      if (/^(OCI runtime exec failed: |unable to find (user|group) )/.test(text) && !(yield* isStarted)) {
        return yield* new Refused({ reason: "Invalid", message: unstartable(program, text) })
      }
      return [false, [frame]] as const
    })
  )

const unstartable = (program: string, text: string): string => {
  const [, what, name] = /unable to find (user|group) ([^:]*)/.exec(text) ?? []
  if (what !== undefined) return `There is no ${what} ${name} in the box.`
  if (/executable file not found/.test(text)) return `There is no command ${program} in the box.`
  if (/chdir to cwd|no such file or directory.*cwd/.test(text)) return "The directory to run in is not in the box."
  if (/no such file or directory/.test(text)) return `There is no command ${program} in the box, or not what runs it.`
  if (/permission denied/.test(text)) return `The command ${program} may not be run in the box.`
  return `The command ${program} cannot be started in the box: ${text.replace(/^OCI runtime exec failed: /, "").trim()}`
}
