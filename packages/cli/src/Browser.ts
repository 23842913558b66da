/** Opens pages with `$BROWSER`, or with what the system opens them with. */
import { Browser } from "@org/sandbox-core"
import { Config, Effect, Layer, Option } from "effect"
import { ChildProcess, ChildProcessSpawner } from "effect/process"

/** `BROWSER` is a list of commands in order of preference; `%s` stands for the address, which comes last without it. */
const commands = (browser: Option.Option<string>, platform: string): ReadonlyArray<ReadonlyArray<string>> =>
  Option.match(browser, {
    onNone: () => [[platform === "darwin" ? "open" : "xdg-open"]],
    onSome: (list) => list.split(":").map((command) => command.split(" ").filter((word) => word !== ""))
  })

/** The words to run for an address: no shell reads them. */
export const argv = (command: ReadonlyArray<string>, url: string): ReadonlyArray<string> =>
  command.some((word) => word.includes("%s"))
    ? command.map((word) => word.replaceAll("%s", () => url))
    : [...command, url]

/**
 * A command that ends with 0 has opened the page. Whatever it started is left alone, also when it does not end in time:
 * it may be the browser itself.
 */
export const layer: Layer.Layer<never, never, ChildProcessSpawner.ChildProcessSpawner> = Layer.effect(
  Browser.Browser,
  Effect.gen(function* () {
    const spawner = yield* ChildProcessSpawner.ChildProcessSpawner
    const show = Effect.fnUntraced(function* ([program = "", ...args]: ReadonlyArray<string>) {
      const quiet = { stdin: "ignore", stdout: "ignore", stderr: "ignore" } as const
      const handle = yield* spawner.spawn(ChildProcess.make(program, args, { ...quiet, extendEnv: true }))
      yield* Effect.asVoid(handle.unref)
      return (yield* handle.exitCode) === 0
    }, Effect.scoped)
    return Effect.fnUntraced(function* (url: string) {
      const browser = yield* Effect.orDie(Effect.option(Config.NonEmptyString("BROWSER")))
      for (const command of commands(browser, process.platform)) {
        if (yield* Effect.orElseSucceed(show(argv(command, url)), () => false)) return true
      }
      return false
    })
  })
)
