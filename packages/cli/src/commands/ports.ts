import { ports as program } from "@org/sandbox-core"
import { Effect } from "effect"
import { Command } from "effect/cli"
import * as args from "../arguments.ts"
import * as Output from "../Output.ts"
import * as Render from "../Render.ts"
import { answer, root } from "../root.ts"

type Result = Effect.Success<ReturnType<typeof program>>

const listener = ({ command, pid, whose }: Result["ports"][number], slot: number | null): string => {
  // without a slot these are no ports of this host, and who listens in a box is not seen from here
  if (whose === null) return slot === null ? "-" : "nobody"
  if (whose === "session" && pid === null) return "its container"
  const process = pid === null ? "another user's" : `pid ${pid}${command === null ? "" : ` (${command})`}`
  return whose === "session" ? process : `${process}, not of this session`
}

const table = ({ ports, slot }: Result): string =>
  ports.length === 0
    ? ""
    : Render.table([
        ["NAME", "PORT", "URL", "LISTENS"],
        ...ports.map((port) => [port.name, String(port.port), port.url ?? "-", listener(port, slot)])
      ])

export const ports = Command.make("ports", { session: args.optionalSession }, ({ session }) =>
  Effect.gen(function* () {
    const { json } = yield* root
    const { warnings } = yield* answer(
      Effect.flatMap(args.chosen(session), (session) => program({ session })),
      table
    )
    if (!json) yield* Effect.forEach(warnings, (warning) => Output.note(`warning: ${warning}`))
  })
).pipe(
  Command.withDescription(
    "The ports of a session's services: their numbers, where they answer, and which process listens on each."
  ),
  Command.withShortDescription("Show a session's ports")
)
