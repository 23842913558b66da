import { Effect } from "effect"
import { LawContext, randomName } from "../Law.ts"
import { broken, eventually, inGroup, newBox, run, same, spawn } from "./kit.ts"

const law = inGroup("security")

const needs = ["isolation", "exec"] as const

const linesOf = (text: string) => text.split("\n").filter((line) => line.trim() !== "")

/** What a box is kept from, where the provider says that it is kept from anything. */
export const security = [
  law(
    "a box does not see the socket of an engine that makes boxes",
    needs,
    Effect.gen(function* () {
      const { commands } = yield* LawContext
      const { code, stdout } = yield* run(yield* newBox, commands.engineSockets)
      yield* same("exit", code, 0)
      yield* same("sockets", linesOf(stdout), [])
    })
  ),
  law(
    "a box sees its own processes and none of another box",
    needs,
    Effect.gen(function* () {
      const { commands } = yield* LawContext
      const [one, other] = [yield* newBox, yield* newBox]
      const mark = `law-${yield* randomName}`
      // a name that stands in no other command line: the last words of a script that does nothing
      yield* spawn(one, { argv: [...commands.sleep(600), mark] })
      const marked = (ref: typeof one) =>
        Effect.map(run(ref, commands.processes), ({ stdout }) => linesOf(stdout).some((line) => line.includes(mark)))
      yield* eventually("its own process in its list", marked(one), true)
      if (yield* marked(other)) return yield* broken("A box sees the processes of another, and so of its host.")
    })
  )
]
