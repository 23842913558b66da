/** `sandbox` in a real terminal, started by a plain shell as somebody at a prompt would. */
import { readFileSync } from "node:fs"
import { join } from "node:path"
import * as pty from "@lydell/node-pty"
import { Effect, type Scope } from "effect"
import { command, eventually, type World } from "./sandbox.ts"

export interface Screen {
  readonly type: (text: string) => void
  readonly resize: (cols: number, rows: number) => void
  /** Everything that was printed, and waiting until a text is in it. */
  readonly text: () => string
  readonly saw: (text: string) => Effect.Effect<void>
  /** Waits until a shell asks for the next command: what is typed while it handles a signal may be lost. */
  readonly prompted: Effect.Effect<void>
  /** Process id of `sandbox`. */
  readonly pid: () => number
  /** Its exit code, once it has ended, the terminal is as it was before, and the shell that started it has ended too. */
  readonly ended: Effect.Effect<number>
}

/** A plain shell that starts `sandbox` and itself leaves the terminal alone. */
const script = `before=$(stty -g)
tty >"$DIRECTORY/tty"
sh -c 'echo $$ >"$0"; exec "$@"' "$DIRECTORY/pid" "$@"
code=$?
until [ "$(stty -g)" = "$before" ]; do sleep 0.02; done
echo "ended with <$code>"
cat`

/** Starts `sandbox` with these arguments; ended with the scope. */
export const terminal = (w: World, ...args: ReadonlyArray<string>): Effect.Effect<Screen, never, Scope.Scope> =>
  Effect.map(
    Effect.acquireRelease(
      Effect.sync(() => {
        let text = ""
        const env = { ...w.env, DIRECTORY: w.directory, SHELL: "/bin/sh", PS1: "$ ", ENV: "", TERM: "xterm-256color" }
        const process_ = pty.spawn("sh", ["-c", script, "sh", ...command, ...args], {
          cwd: w.directory,
          cols: 80,
          rows: 24,
          env
        })
        let ended = false
        process_.onData((data) => (text += data))
        process_.onExit(() => (ended = true))
        return { process_, text: () => text, hasEnded: () => ended }
      }),
      ({ process_ }) => Effect.sync(() => process_.kill("SIGKILL"))
    ),
    ({ hasEnded, process_, text }) => {
      const saw = (wanted: string) =>
        eventually(JSON.stringify(wanted), () => text().includes(wanted), 20).pipe(
          Effect.catchDefect(() => Effect.die(`${JSON.stringify(wanted)} is not in ${JSON.stringify(text())}`))
        )
      const pid = () => Number(readFileSync(join(w.directory, "pid"), "utf8"))
      return {
        type: (keys) => process_.write(keys),
        resize: (cols, rows) => process_.resize(cols, rows),
        text,
        saw,
        prompted: eventually("the shell asks", () => /[$#] $/.test(text())),
        pid,
        ended: Effect.gen(function* () {
          yield* saw("ended with <")
          process_.write("\x04")
          yield* eventually("the terminal is closed", hasEnded)
          return Number(/ended with <(\d+)>/.exec(text())?.[1])
        })
      }
    }
  )
