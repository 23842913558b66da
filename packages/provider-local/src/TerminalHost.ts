/** A pseudo-terminal and the process session that runs in it: what only Node and a native add-on can do. */
import { execFile } from "node:child_process"
import { accessSync, constants, readdirSync, readFileSync, statSync, writeSync } from "node:fs"
import { createRequire } from "node:module"
import { arch, platform } from "node:process"
import { ReadStream } from "node:tty"
import { type Cause, Data, Deferred, Effect, Exit, Queue, Stream } from "effect"

/** What node-pty's add-on does. `utf8` makes the terminal's own line editing erase whole characters. */
interface Native {
  readonly fork: (
    file: string,
    args: ReadonlyArray<string>,
    env: ReadonlyArray<string>,
    cwd: string,
    cols: number,
    rows: number,
    uid: number,
    gid: number,
    utf8: boolean,
    helper: string,
    onExit: (code: number, signal: number) => void
  ) => { readonly fd: number; readonly pid: number; readonly pty: string }
  readonly resize: (fd: number, cols: number, rows: number) => void
}

/**
 * Loaded when the first terminal is asked for, and below node-pty's own class: that one drops what was not read 200 ms
 * after the command's end, and a write to a terminal that is full stops this whole process.
 */
const load = (): { readonly native: Native; readonly helper: string } => {
  const inside = createRequire(createRequire(import.meta.url).resolve("@lydell/node-pty"))
  const helper = platform === "darwin" ? inside.resolve(`@lydell/node-pty-${platform}-${arch}/spawn-helper`) : ""
  return { native: inside("./requireBinary.js").requireBinary("pty.node"), helper }
}

export interface Size {
  readonly cols: number
  readonly rows: number
}

export interface Ending {
  readonly code: number
  /** The number of the signal that ended the command; 0 when none did. */
  readonly signal: number
}

export interface Terminal {
  /** What is written to it, while somebody pulls; ends with the last process that has it, or soon after the command. */
  readonly output: Stream.Stream<Uint8Array>
  readonly ended: Deferred.Deferred<Ending>
  /** Waits while the terminal is full. What nobody can read any more is dropped. */
  readonly write: (bytes: Uint8Array) => Effect.Effect<void>
  readonly resize: (size: Size) => Effect.Effect<void>
  /** The processes of its session, the command first among them, that have not ended. */
  readonly members: Effect.Effect<ReadonlyArray<number>>
  /** Reads on for nobody, so that no process waits for a reader. */
  readonly discard: Effect.Effect<void>
  readonly close: Effect.Effect<void>
}

/** How long what is left of a command may be silent until nothing more is expected of it, in milliseconds. */
const silence = 200

/** What the add-on, or loading it, failed with. */
export class Unopened extends Data.TaggedError("Unopened")<{ readonly cause: unknown }> {}

/** Starts a command in a new terminal, as the leader of a new session. Fails with what the add-on says. */
export const open = Effect.fnUntraced(function* (
  argv: readonly [string, ...ReadonlyArray<string>],
  options: { readonly cwd: string; readonly env: Readonly<Record<string, string>>; readonly size: Size }
) {
  const output = yield* Queue.unbounded<Uint8Array, Cause.Done>()
  const ended = yield* Deferred.make<Ending>()
  return yield* Effect.try({
    try: (): Terminal => {
      const { cwd, env, size } = options
      const { helper, native } = load()
      const variables = Object.entries(env).map(([name, value]) => `${name}=${value}`)
      const [file, ...args] = argv
      let timer: NodeJS.Timeout | undefined
      const finish = () => {
        clearTimeout(timer)
        Queue.endUnsafe(output)
      }
      /** A process in the background may hold the terminal for ever; what the command itself wrote is there by now. */
      const expect = () => {
        clearTimeout(timer)
        if (Deferred.isDoneUnsafe(ended) && !socket.isPaused()) timer = setTimeout(finish, silence)
      }
      const { fd, pid, pty } = native.fork(
        file,
        args,
        variables,
        cwd,
        size.cols,
        size.rows,
        -1,
        -1,
        true,
        helper,
        (code, signal) => {
          Deferred.doneUnsafe(ended, Exit.succeed({ code, signal }))
          expect()
        }
      )
      const socket = new ReadStream(fd)
      socket.pause()
      socket.on("data", (bytes: Uint8Array) => {
        socket.pause()
        clearTimeout(timer)
        Queue.offerUnsafe(output, bytes)
      })
      // Linux tells the end of a terminal as EIO.
      socket.on("error", finish)
      socket.on("close", finish)
      const pull = Effect.suspend(() => {
        socket.resume()
        expect()
        return Queue.takeAll(output)
      })
      return {
        output: Stream.fromPull(Effect.succeed(pull)),
        ended,
        write: (bytes) => writeAll(socket, fd, bytes),
        resize: ({ cols, rows }) =>
          Effect.sync(() => {
            if (!socket.destroyed) native.resize(fd, cols, rows)
          }),
        members: platform === "linux" ? Effect.sync(() => linuxMembers(pid)) : psMembers(pid, pty),
        discard: Effect.sync(() => {
          socket.removeAllListeners("data")
          socket.resume()
        }),
        close: Effect.sync(() => {
          finish()
          socket.destroy()
        })
      }
    },
    catch: (cause) => new Unopened({ cause })
  })
})

/** Never through the stream: on a full terminal that would spin, with nobody left to read what the other side waits for. */
const writeAll = (socket: ReadStream, fd: number, bytes: Uint8Array): Effect.Effect<void> =>
  Effect.suspend(() => {
    let rest = bytes
    while (rest.length > 0 && !socket.destroyed) {
      try {
        rest = rest.subarray(writeSync(fd, rest))
      } catch (cause) {
        if ((cause as NodeJS.ErrnoException).code !== "EAGAIN") return Effect.void
        const left = rest
        return Effect.andThen(
          Effect.sleep("5 millis"),
          Effect.suspend(() => writeAll(socket, fd, left))
        )
      }
    }
    return Effect.void
  })

const linuxMembers = (leader: number): ReadonlyArray<number> =>
  readdirSync("/proc").flatMap((name) => {
    if (!/^\d+$/.test(name)) return []
    try {
      const stat = readFileSync(`/proc/${name}/stat`, "latin1")
      // The second field may hold anything; behind it are state, parent, group and session.
      const [state, , , session] = stat.slice(stat.lastIndexOf(")") + 2).split(" ")
      return state !== "Z" && Number(session) === leader ? [Number(name)] : []
    } catch {
      return [] // it has ended
    }
  })

/** macOS tells nobody the session of a process: those that have the terminal, and those of the command's own group. */
const psMembers = (leader: number, pty: string): Effect.Effect<ReadonlyArray<number>> =>
  Effect.callback((resume) => {
    const child = execFile("ps", ["-A", "-o", "pid=,pgid=,tty=,stat="], (error, stdout) =>
      resume(error === null ? Effect.succeed(parseMembers(stdout, leader, pty)) : Effect.die(error))
    )
    return Effect.sync(() => child.kill())
  })

/** Reads lines of `pid group terminal state`. */
export const parseMembers = (text: string, leader: number, pty: string): ReadonlyArray<number> =>
  text.split("\n").flatMap((line) => {
    const [pid, group, tty, state = "Z"] = line.trim().split(/\s+/)
    const ours = Number(group) === leader || `/dev/${tty}` === pty
    return ours && !state.startsWith("Z") ? [Number(pid)] : []
  })

/** Whether a file can be run, by the error a system call would give; none when it can. */
export const obstacle = (file: string): Effect.Effect<"ENOENT" | "EACCES" | undefined> =>
  Effect.sync(() => {
    try {
      if (!statSync(file).isFile()) return "EACCES"
    } catch {
      return "ENOENT"
    }
    try {
      accessSync(file, constants.X_OK)
      return undefined
    } catch {
      return "EACCES"
    }
  })

/** Signals one process. One that has ended meanwhile is left alone. */
export const signal = (pid: number, name: NodeJS.Signals): Effect.Effect<void> =>
  Effect.sync(() => {
    try {
      process.kill(pid, name)
    } catch {
      // it has ended, or runs as somebody else
    }
  })
