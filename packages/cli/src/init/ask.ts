/** One question, on stderr, answered on a terminal. */
import { Effect } from "effect"
import * as Output from "../Output.ts"

/** Whether there is somebody to ask. */
export const canAsk = (): boolean => process.stdin.isTTY === true && process.stderr.isTTY === true

/** `true` for yes and for nothing but Enter. The end of the input is a no. */
export const confirm = Effect.fnUntraced(function* (question: string) {
  yield* Effect.ignore(Output.write(process.stderr, `${question} [Y/n] `))
  const line = yield* Effect.callback<string | undefined>((resume) => {
    const { stdin } = process
    let typed = ""
    const data = (bytes: Buffer) => {
      typed += bytes.toString("utf8")
      if (typed.includes("\n")) resume(Effect.succeed(typed))
    }
    const end = () => resume(Effect.succeed(undefined))
    stdin.on("data", data).on("end", end)
    stdin.resume()
    return Effect.sync(() => {
      stdin.off("data", data).off("end", end).pause()
    })
  })
  process.stdin.pause()
  return line !== undefined && /^\s*(y|yes)?\s*$/i.test(line.split("\n")[0] ?? "")
})
