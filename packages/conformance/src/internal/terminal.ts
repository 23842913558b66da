import type { ExecRequest } from "@org/sandbox-core/Provisioner"
import type { InstanceRef } from "@org/sandbox-core/Session"
import { type Cause, Effect, Queue, Stream } from "effect"
import type { Argv } from "../Commands.ts"
import { LawContext } from "../Law.ts"
import { capability, eventually, inGroup, input, newWorkBox, same, spawn, within } from "./kit.ts"

const law = inGroup("terminal")

const size = { cols: 80, rows: 24 }

/** A command in a terminal, what it has shown so far, and its keyboard. */
const atTerminal = Effect.fnUntraced(function* (ref: InstanceRef, argv: Argv, request: Partial<ExecRequest> = {}) {
  const keys = yield* Queue.unbounded<Uint8Array, Cause.Done>()
  const handle = yield* spawn(ref, { argv, tty: size, stdin: Stream.fromQueue(keys), ...request })
  let screen = ""
  yield* handle.output.pipe(
    Stream.map(({ bytes }) => bytes),
    Stream.decodeText(),
    Stream.runForEach((text) =>
      Effect.sync(() => {
        screen += text
      })
    ),
    Effect.forkScoped
  )
  const shows = (text: string) =>
    eventually(
      `the screen shows ${JSON.stringify(text)}`,
      Effect.sync(() => screen.includes(text)),
      true
    )
  return { handle, shows, press: (key: number) => Queue.offer(keys, Uint8Array.of(key)) }
})

/** Whether commands can have a terminal: no member of the port says so, but the answer to the first that asks for one. */
export const hasTerminal = Effect.gen(function* () {
  const exec = yield* capability("exec")
  const { commands } = yield* LawContext
  return yield* exec(yield* newWorkBox, { argv: commands.exit(0), tty: size }).pipe(
    Effect.as(true),
    Effect.catchIf(
      ({ reason }) => reason === "Unsupported",
      () => Effect.succeed(false)
    )
  )
}).pipe(Effect.scoped)

/** Commands run in a terminal as at a prompt of the box's own. */
export const terminal = [
  law(
    "a command has a terminal of the size that was asked for, and hears of a new one",
    ["exec", "terminal"],
    Effect.gen(function* () {
      const { commands } = yield* LawContext
      const { handle, shows } = yield* atTerminal(yield* newWorkBox, commands.sizes)
      yield* shows("24 80")
      yield* handle.resize({ cols: 132, rows: 43 })
      yield* shows("43 132")
    })
  ),
  law(
    "Ctrl-C interrupts the command in a terminal",
    ["exec", "terminal"],
    Effect.gen(function* () {
      const { commands } = yield* LawContext
      const { handle, press, shows } = yield* atTerminal(yield* newWorkBox, commands.wait(600))
      yield* shows("up")
      yield* press(3)
      yield* same("exit", yield* within("Ctrl-C", handle.exit), { code: 130, signal: "SIGINT" })
    })
  ),
  law(
    "input that ends is the end of input for the command in a terminal",
    ["exec", "terminal"],
    Effect.gen(function* () {
      const { commands } = yield* LawContext
      const stdin = input("a line\n")
      const { handle, shows } = yield* atTerminal(yield* newWorkBox, commands.copy, { stdin })
      yield* shows("a line")
      yield* same("exit", yield* within("the end of input", handle.exit), { code: 0 })
    })
  ),
  law(
    "killing a command in a terminal ends it with everything it started, and says by which signal",
    ["exec", "terminal"],
    Effect.gen(function* () {
      const { commands } = yield* LawContext
      const { handle } = yield* atTerminal(yield* newWorkBox, commands.sleep(600))
      yield* handle.kill("SIGKILL")
      yield* same("exit", yield* within("kill", handle.exit), { code: 137, signal: "SIGKILL" })
    })
  )
]
