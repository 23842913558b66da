import { ownerOf as program, SandboxError } from "@org/sandbox-core"
import { Effect, Option } from "effect"
import { Argument, Command, Flag } from "effect/cli"
import * as Output from "../Output.ts"
import { answer, root } from "../root.ts"

const human = ({ name, pid, port, service, sessionId }: Effect.Success<ReturnType<typeof program>>): string =>
  `${name}  ${sessionId}  process ${pid}${port === undefined ? "" : `, port ${port}`}${service === undefined ? "" : `, service ${service}`}`

export const ownerOf = Command.make(
  "owner-of",
  {
    target: Argument.String("pid|port").pipe(
      Argument.withDescription("A process's number, or a port with a listener; `:3000` is a port in any case"),
      Argument.optional
    ),
    pid: Flag.Int("pid").pipe(Flag.withDescription("The process of this number"), Flag.optional),
    port: Flag.Int("port").pipe(Flag.withDescription("The process that listens on this port"), Flag.optional)
  },
  ({ pid, port, target }) =>
    Effect.gen(function* () {
      const { json } = yield* root
      if (Option.isSome(target) && (Option.isSome(pid) || Option.isSome(port))) {
        const field = Option.isSome(pid) ? "pid" : "port"
        return yield* SandboxError.make("ERR_INVALID_ARGUMENT", {
          message: `${JSON.stringify(target.value)} and --${field} name two things`,
          nextStep: `give one of them: \`sandbox owner-of --${field} <n>\`, or \`sandbox owner-of <n>\``,
          details: { field }
        })
      }
      const options = Option.isSome(target)
        ? yield* named(target.value)
        : { pid: Option.getOrUndefined(pid), port: Option.getOrUndefined(port) }
      const { warnings } = yield* answer(program(options), human)
      if (!json) yield* Effect.forEach(warnings, (warning) => Output.note(`warning: ${warning}`))
    })
).pipe(
  Command.withDescription(
    "Which session a process of this machine belongs to, or the listener of a port. The proof is the session's mark in the environment that the process was started with. Exits 1 when it belongs to none of yours."
  ),
  Command.withShortDescription("Show whose a process or a port is"),
  Command.withExamples([
    { command: "sandbox owner-of 4711", description: "A process" },
    { command: "sandbox owner-of :3000 --json", description: "Who listens on a port" }
  ])
)

/** A plain number may be either. */
const named = Effect.fnUntraced(function* (target: string) {
  const [, colon, digits] = /^(:?)(\d{1,10})$/.exec(target) ?? []
  if (digits === undefined) {
    return yield* SandboxError.make("ERR_INVALID_ARGUMENT", {
      message: `${JSON.stringify(target)} is neither the number of a process nor a port`,
      nextStep: "give a number such as 4711, or a port as :3000",
      details: { field: "pid|port" }
    })
  }
  const number = Number(digits)
  return colon === ":" ? { port: number } : { pid: number, port: number }
})
