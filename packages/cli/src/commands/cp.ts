import { cp as program, SandboxError } from "@org/sandbox-core"
import { Effect, Stdio, Stream } from "effect"
import { Argument, Command } from "effect/cli"
import { note, write } from "../Output.ts"
import { answer, perform, root } from "../root.ts"

export const cp = Command.make(
  "cp",
  {
    from: Argument.String("from").pipe(
      Argument.withDescription("<session>:<path>, a path here, or - for a tar archive on stdin")
    ),
    to: Argument.String("to").pipe(
      Argument.withDescription("<session>:<path>, a path here, or - for a tar archive on stdout")
    )
  },
  ({ from, to }) =>
    Effect.gen(function* () {
      const { json, quiet } = yield* root
      const stdio = yield* Stdio.Stdio
      if (from === "-" && (yield* stdio.stdinIsTerminal))
        return yield* refuse("from", "stdin is a terminal, and no archive")
      if (to === "-" && (yield* stdio.stdoutIsTerminal))
        return yield* refuse("to", "an archive is nothing for a terminal")
      if (to === "-" && json) return yield* refuse("to", "stdout cannot carry an archive and the answer of --json")
      const copied = { files: 0, bytes: 0 }
      const copy = program({
        from,
        to,
        stdin: Stream.mapError(stdio.stdin, (cause) => unreadable(String(cause.message))),
        stdout: (bytes) => write(process.stdout, bytes),
        onProgress: (now) => Object.assign(copied, { files: now.files, bytes: now.bytes })
      })
      const shown = quiet ? copy : Effect.raceFirst(copy, progress(copied))
      if (to === "-") {
        const { warnings } = yield* perform(shown)
        return yield* Effect.forEach(warnings, (warning) => note(`warning: ${warning}`), { discard: true })
      }
      const { warnings } = yield* answer(shown, ({ bytes, files }) => `copied ${count(files)}, ${amount(bytes)}`)
      if (!json) yield* Effect.forEach(warnings, (warning) => note(`warning: ${warning}`), { discard: true })
    })
).pipe(
  Command.withDescription(
    "Copy a file or directory into a session or out of one. An existing directory is copied into, anything else is the new name; `/.` behind a directory means what is in it. Paths in a session that do not start with / start at its checkout. Works while the session is halted, where the provider can."
  ),
  Command.withShortDescription("Copy files into a session or out of it"),
  Command.withExamples([
    { command: "sandbox cp app-main:dist ./dist", description: "Out of the session" },
    { command: "sandbox cp notes.md app-main:docs/", description: "Into a directory of the checkout" },
    { command: "sandbox cp app-main:src - | tar -t", description: "As a tar archive" }
  ])
)

/** Bytes in the largest unit that leaves a number of one digit or more. */
const amount = (bytes: number): string => {
  const units = ["B", "kB", "MB", "GB", "TB"]
  const unit = Math.min(units.length - 1, Math.floor(Math.log10(Math.max(1, bytes)) / 3))
  return `${unit === 0 ? bytes : (bytes / 1000 ** unit).toFixed(1)} ${units[unit]}`
}

const count = (files: number): string => (files === 1 ? "1 file" : `${files} files`)

const refuse = (field: "from" | "to", message: string) =>
  SandboxError.make("ERR_INVALID_ARGUMENT", {
    message,
    nextStep:
      field === "from"
        ? "pipe one in: `tar -c <files> | sandbox cp - <session>:<directory>`"
        : "pipe it on: `sandbox cp <session>:<path> - | tar -x`",
    details: { field }
  })

const unreadable = (why: string) =>
  SandboxError.make("ERR_INVALID_ARGUMENT", {
    message: `stdin cannot be read (${why})`,
    nextStep: "give an archive on stdin, or a path",
    details: { field: "from" }
  })

/** What was copied so far, for copies that take long. Never ends by itself. */
const progress = (copied: { readonly files: number; readonly bytes: number }) =>
  Effect.suspend(() => {
    const terminal = process.stderr.isTTY === true
    const line = () => `cp: ${amount(copied.bytes)}, ${count(copied.files)}`
    const show = Effect.suspend(() =>
      terminal ? Effect.ignore(write(process.stderr, `\r\x1b[2K  ${line()} …`)) : note(`${line()} …`)
    )
    let drawn = false
    const mark = Effect.sync(() => {
      drawn = true
    })
    const clear = Effect.suspend(() =>
      terminal && drawn ? Effect.ignore(write(process.stderr, "\r\x1b[2K")) : Effect.void
    )
    return Effect.sleep(terminal ? "1 second" : "5 seconds").pipe(
      Effect.andThen(mark),
      Effect.andThen(Effect.forever(Effect.andThen(show, Effect.sleep(terminal ? "200 millis" : "5 seconds")))),
      Effect.ensuring(clear)
    )
  })
