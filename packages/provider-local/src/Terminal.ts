/** A command in a terminal of its own: the leader of a process session, which ends as a whole. */
import type { Host } from "@org/sandbox-core/Host"
import * as Processes from "@org/sandbox-core/Processes"
import type { ExecHandle, ExecRequest } from "@org/sandbox-core/Provisioner"
import { Deferred, Duration, Effect, Path, Stream } from "effect"
import type { Box } from "./Boxes.ts"
import { classify, type Problem, Refused, unstartable } from "./LocalError.ts"
import * as LocalHost from "./LocalHost.ts"
import * as TerminalHost from "./TerminalHost.ts"

/** What would tell a program about the terminal that we run in, which is not the one it gets. */
export const foreign = ["COLUMNS", "LINES", "TERMCAP", "TMUX", "TMUX_PANE", "STY", "WINDOW", "WINDOWID"]

export interface Command {
  readonly argv: readonly [string, ...ReadonlyArray<string>]
  readonly size: TerminalHost.Size
  readonly cwd: string
  readonly env: Readonly<Record<string, string>>
  readonly stdin: ExecRequest["stdin"]
}

/** Starts a command in a terminal; closing the scope ends its whole session. */
export const start = Effect.fnUntraced(function* (box: Box, command: Command) {
  const { argv, cwd, env, size, stdin } = command
  yield* checkSize(size)
  yield* checkCommand(command)
  const services = yield* Effect.context<Processes.Processes | Host>()
  const terminal = yield* Effect.acquireRelease(
    Effect.mapError(TerminalHost.open(argv, { cwd, env: { ...env, PWD: cwd }, size }), unavailable),
    (terminal) => end(box, terminal)
  )
  yield* Effect.forkScoped(feed(terminal, stdin ?? Stream.empty))
  const resize = (size: TerminalHost.Size): Effect.Effect<void, Problem> =>
    Effect.andThen(checkSize(size), terminal.resize(size))
  return {
    output: Stream.map(terminal.output, (bytes) => ({ fd: 1, bytes })),
    exit: Effect.map(Deferred.await(terminal.ended), ({ code, signal }) =>
      signal === 0 ? { code } : { code: 128 + signal, signal: LocalHost.signalName(signal) ?? `SIG${signal}` }
    ),
    kill: (name) => Effect.provideContext(signalAll(box, terminal, name), services),
    resize: (size) => Effect.mapError(resize(size), classify("exec"))
  } satisfies ExecHandle
})

/** Ctrl-D, which is how a terminal tells the end of input: of a line that has begun at the first, of the input at the next. */
const endOfInput = 4
const newline = 10

const feed = Effect.fnUntraced(function* (terminal: TerminalHost.Terminal, stdin: Stream.Stream<Uint8Array>) {
  let last = newline
  yield* Stream.runForEach(stdin, (bytes) => {
    last = bytes.at(-1) ?? last
    return terminal.write(bytes)
  })
  yield* terminal.write(Uint8Array.from(last === newline ? [endOfInput] : [endOfInput, endOfInput]))
})

/**
 * What is left of the session that can be proven ours. While its leader has not been collected, nobody else's session can
 * have its number; after that only those count that carry the mark of the box.
 */
const left = Effect.fnUntraced(function* (box: Box, terminal: TerminalHost.Terminal) {
  const pids = yield* terminal.members
  if (!Deferred.isDoneUnsafe(terminal.ended)) return pids
  const { variable } = yield* Processes.Processes
  return yield* Effect.filter(pids, (pid) =>
    Effect.map(variable(pid, Processes.boxMarker), (value) => value === box.key)
  )
})

const signalAll = Effect.fnUntraced(function* (box: Box, terminal: TerminalHost.Terminal, name: NodeJS.Signals) {
  const once = Effect.gen(function* () {
    const pids = yield* left(box, terminal)
    yield* Effect.forEach(pids, (pid) => TerminalHost.signal(pid, name), { discard: true })
    return pids.length
  })
  if (name !== "SIGKILL") return yield* Effect.asVoid(once)
  // One that was just being started is seen by the next look.
  const none = Effect.andThen(Effect.sleep("10 millis"), once)
  if ((yield* once) > 0) yield* Effect.repeat(none, { until: (count) => count === 0, times: 100 })
})

/** Hangs up, as a terminal that is closed does, and kills what is deaf to it. Whoever writes meanwhile is not held up. */
const end = Effect.fnUntraced(function* (box: Box, terminal: TerminalHost.Terminal) {
  yield* terminal.discard
  yield* signalAll(box, terminal, "SIGHUP")
  // A stopped job takes no signal until it goes on.
  yield* signalAll(box, terminal, "SIGCONT")
  yield* Effect.repeat(Effect.delay(left(box, terminal), "10 millis"), { until: (pids) => pids.length === 0 }).pipe(
    Effect.timeoutOption(Processes.grace)
  )
  yield* signalAll(box, terminal, "SIGKILL")
  yield* Effect.timeoutOption(Deferred.await(terminal.ended), Duration.seconds(1))
  yield* terminal.close
})

/** A terminal's child could only print that it cannot be started, so that we look first. */
const checkCommand = Effect.fnUntraced(function* ({ argv, cwd, env }: Command) {
  const path = yield* Path.Path
  const [program] = argv
  const words = [...argv, ...Object.entries(env).flat()]
  if (words.some((word) => word.includes("\0"))) {
    return yield* new Refused({
      reason: "Invalid",
      message: "A word of the command or its environment has a NUL in it."
    })
  }
  const folders = program.includes("/") ? [""] : (env["PATH"] ?? "").split(":")
  let code: "ENOENT" | "EACCES" = "ENOENT"
  for (const folder of folders) {
    const problem = program === "" ? "ENOENT" : yield* TerminalHost.obstacle(path.resolve(cwd, folder, program))
    if (problem === undefined) return
    if (problem === "EACCES") code = problem
  }
  return yield* unstartable(program, { code })
})

const checkSize = Effect.fnUntraced(function* ({ cols, rows }: TerminalHost.Size) {
  if ([cols, rows].every((count) => Number.isInteger(count) && count > 0 && count < 65_536)) return
  return yield* new Refused({
    reason: "Invalid",
    message: `A terminal of ${cols} by ${rows} characters cannot be had.`
  })
})

const unavailable = ({ cause }: TerminalHost.Unopened): Problem => {
  const text = cause instanceof Error ? cause.message : ""
  if (/^(forkpty|openpty|posix_spawn)/.test(text)) {
    return new Refused({
      reason: "CapacityExhausted",
      message: "This host has no more terminals or processes to give."
    })
  }
  const message = "Terminals are not to be had here: the package @lydell/node-pty does not work on this platform."
  return new Refused({ reason: "Unsupported", message })
}
