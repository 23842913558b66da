/** The other process: asked for it, lists a ledger again and again in a warm process and answers how long each took. */
import { list } from "@org/sandbox-core"
import { Effect } from "effect"
import * as Ledgers from "./ledgers.ts"

export interface Question {
  readonly file: string
  readonly times: number
  /** How many sessions the ledger has. */
  readonly expected: number
}

export type Answer = { readonly durations: ReadonlyArray<number> } | { readonly problem: string }

const measure = ({ expected, file, times }: Question) =>
  Effect.gen(function* () {
    const durations: Array<number> = []
    for (let turn = -50; turn < times; turn++) {
      const from = performance.now()
      const { sessions } = yield* list()
      if (turn >= 0) durations.push(performance.now() - from)
      if (sessions.length !== expected) return yield* Effect.die(`listed ${sessions.length} sessions, not ${expected}`)
      // as a person would: not in a tight loop, which would only measure how two processes share the cores
      yield* Effect.sleep("5 millis")
    }
    return { durations }
  }).pipe(Effect.provide(Ledgers.layer(file)))

process.on("message", async (question: Question) => {
  const answer: Answer = await Effect.runPromise(measure(question)).catch((error) => ({ problem: String(error) }))
  process.send?.(answer)
})
