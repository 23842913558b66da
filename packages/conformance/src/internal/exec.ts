import { boxVariables, Provisioner, type Reason } from "@org/sandbox-core/Provisioner"
import type { InstanceRef } from "@org/sandbox-core/Session"
import { Effect, Stream } from "effect"
import { LawContext } from "../Law.ts"
import {
  broken,
  capability,
  eventually,
  halt,
  inGroup,
  input,
  newWorkBox,
  observed,
  run,
  same,
  spawn,
  within
} from "./kit.ts"

const law = inGroup("exec")

const refusedAs = Effect.fnUntraced(function* (ref: InstanceRef, expected: Reason) {
  const exec = yield* capability("exec")
  const { commands } = yield* LawContext
  const seen = yield* exec(ref, { argv: commands.exit(0) }).pipe(
    Effect.match({ onSuccess: () => "success", onFailure: ({ reason }) => reason })
  )
  if (seen !== expected) return yield* broken(`exec: expected to be refused as ${expected}, saw ${seen}.`)
})

/** Commands run in the box as they would at its own prompt. */
export const exec = [
  law(
    "an exit code arrives exactly",
    ["exec"],
    Effect.gen(function* () {
      const { commands } = yield* LawContext
      const ref = yield* newWorkBox
      for (const code of [0, 1, 42, 255]) {
        yield* same("exit", yield* run(ref, commands.exit(code)), { code, stdout: "", stderr: "" })
      }
    })
  ),
  law(
    "stdout and stderr arrive apart",
    ["exec"],
    Effect.gen(function* () {
      const { commands } = yield* LawContext
      const ref = yield* newWorkBox
      yield* same("output", yield* run(ref, commands.print("to out")), { code: 0, stdout: "to out\n", stderr: "" })
      yield* same("output", yield* run(ref, commands.complain("to err")), { code: 0, stdout: "", stderr: "to err\n" })
    })
  ),
  law(
    "words reach a command as they are, with no shell in between",
    ["exec"],
    Effect.gen(function* () {
      const { commands } = yield* LawContext
      const words = "$HOME `id` 'a' \"b\" ; exit 3 \\ ü *"
      const { code, stdout } = yield* run(yield* newWorkBox, commands.print(words))
      yield* same("argv", { code, stdout }, { code: 0, stdout: `${words}\n` })
    })
  ),
  law(
    "stdin reaches a command, and has an end",
    ["exec"],
    Effect.gen(function* () {
      const { commands } = yield* LawContext
      const ref = yield* newWorkBox
      yield* same("stdin", (yield* run(ref, commands.copy, { stdin: input("in") })).stdout, "in")
      yield* same("no stdin", (yield* run(ref, commands.copy)).stdout, "")
    })
  ),
  law(
    "a megabyte passes through a command whole and in order",
    ["exec"],
    Effect.gen(function* () {
      const { commands } = yield* LawContext
      const pieces = Array.from({ length: 256 }, (_, n) => `${n}`.padStart(4096, "."))
      const stdin = Stream.encodeText(Stream.fromIterable(pieces, { chunkSize: 1 }))
      const { stdout } = yield* run(yield* newWorkBox, commands.copy, { stdin })
      const text = pieces.join("")
      if (stdout !== text)
        return yield* broken(`output: ${stdout.length} of ${text.length} bytes came back, not all of them in order.`)
    })
  ),
  law(
    "the environment reaches a command exactly",
    ["exec"],
    Effect.gen(function* () {
      const { commands } = yield* LawContext
      const value = "a 'b' \"c\" $d =e ü"
      const env = { LAW_VARIABLE: value }
      const { stdout } = yield* run(yield* newWorkBox, commands.variable("LAW_VARIABLE"), { env })
      yield* same("env", stdout, `${value}\n`)
    })
  ),
  law(
    "a command runs in the directory that was asked for",
    ["exec"],
    Effect.gen(function* () {
      const { commands } = yield* LawContext
      yield* same("cwd", (yield* run(yield* newWorkBox, commands.directory, { cwd: "/" })).stdout, "/\n")
    })
  ),
  law(
    "every command knows its checkout, and a directory beside it",
    ["exec"],
    Effect.gen(function* () {
      const { commands } = yield* LawContext
      const ref = yield* newWorkBox
      const value = (name: string) =>
        Effect.map(run(ref, commands.variable(name), { env: { [name]: "forged" } }), ({ stdout }) => stdout.trim())
      const [workspace, own] = [yield* value(boxVariables.workspace), yield* value(boxVariables.run)]
      for (const path of [workspace, own]) {
        if (!path.startsWith("/")) return yield* broken(`the environment: expected an absolute path, saw ${path}.`)
      }
      if (`${own}/`.startsWith(`${workspace}/`)) {
        return yield* broken(`${boxVariables.run}: expected a place outside of ${workspace}, saw ${own}.`)
      }
    })
  ),
  law(
    "what a command leaves running in a session of its own goes on without it, and no longer than the box",
    ["exec", "start"],
    Effect.gen(function* () {
      const { commands } = yield* LawContext
      const ref = yield* newWorkBox
      const size = Effect.map(run(ref, commands.load("law-beats")), ({ stdout }) => stdout.length)
      yield* same("exit", (yield* run(ref, commands.beat("law-beats"))).code, 0)
      const first = yield* size
      const grows = Effect.map(size, (now) => now > first)
      yield* eventually("a file that is written without an end grows", grows, true)
      yield* halt(ref)
      yield* (yield* capability("start"))(ref)
      const last = yield* size
      yield* run(ref, commands.sleep(0.3))
      yield* same("a file that was written until the halt", yield* size, last)
    })
  ),
  law(
    "killing a command ends it with everything it started, and says by which signal",
    ["exec"],
    Effect.gen(function* () {
      const { commands } = yield* LawContext
      const handle = yield* spawn(yield* newWorkBox, { argv: commands.sleep(600) })
      yield* handle.kill("SIGKILL")
      yield* within("kill", Stream.runDrain(handle.output))
      yield* same("exit", yield* within("kill", handle.exit), { code: 137, signal: "SIGKILL" })
    })
  ),
  law(
    "halting a box ends what runs in it",
    ["exec"],
    Effect.gen(function* () {
      const { commands } = yield* LawContext
      const ref = yield* newWorkBox
      const handle = yield* spawn(ref, { argv: commands.sleep(600) })
      yield* halt(ref)
      yield* within("stop", Effect.exit(handle.exit))
    })
  ),
  law(
    "destroying a box ends what runs in it",
    ["exec"],
    Effect.gen(function* () {
      const { commands } = yield* LawContext
      const ref = yield* newWorkBox
      const handle = yield* spawn(ref, { argv: commands.sleep(600) })
      yield* (yield* Provisioner).destroy(ref)
      yield* within("destroy", Effect.exit(handle.exit))
    })
  ),
  law(
    "a command for a halted box is refused as NotReady",
    ["exec", "start"],
    Effect.gen(function* () {
      const ref = yield* newWorkBox
      yield* halt(ref)
      yield* refusedAs(ref, "NotReady")
    })
  ),
  law(
    "a command for a box that is gone is refused as NotFound",
    ["exec"],
    Effect.gen(function* () {
      const ref = yield* newWorkBox
      yield* (yield* Provisioner).destroy(ref)
      yield* observed(ref, "gone")
      yield* refusedAs(ref, "NotFound")
    })
  )
]
