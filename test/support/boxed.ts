/** Sessions in boxes that keep their checkouts to themselves, through the command line. */
import { execFileSync } from "node:child_process"
import { existsSync, mkdirSync, readdirSync, rmSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { assert } from "@effect/vitest"
import { Effect } from "effect"
import { providerModule, type World } from "./sandbox.ts"

const provider = providerModule("boxProvider")

/** Two providers: of boxes that are halted, and of boxes that end with it. */
export const configure = (w: World): void => {
  mkdirSync(join(w.directory, "home/.config/sandbox"), { recursive: true })
  writeFileSync(
    join(w.directory, "home/.config/sandbox/config.yaml"),
    `providers:\n  box: {use: ${JSON.stringify(provider)}}\n  ending: {use: ${JSON.stringify(provider)}, options: {terminal: true}}\n`
  )
}

export type Provider = "box" | "ending"

export const boxesOf = (w: World, provider: Provider): ReadonlyArray<string> => {
  const directory = join(w.state, provider, "local")
  const names = existsSync(directory) ? readdirSync(directory).filter((name) => !name.startsWith(".")) : []
  return names.toSorted().map((name) => join(directory, name))
}

/** The directory of the checkout in the newest box. */
export const inBox = (w: World, provider: Provider = "box"): string => join(boxesOf(w, provider).at(-1)!, "work")

/** What a command answers. */
export const json = Effect.fnUntraced(function* (w: World, ...args: ReadonlyArray<string>) {
  return (yield* w.sandbox(...args, "--json")).json()
})

/** The same, of one that has to succeed. */
export const done = Effect.fnUntraced(function* (w: World, ...args: ReadonlyArray<string>) {
  const answer = yield* json(w, ...args)
  assert.isTrue(answer.ok, `${args.join(" ")}: ${JSON.stringify(answer)}`)
  return answer
})

export const upArguments = (w: World, ...args: ReadonlyArray<string>): ReadonlyArray<string> => [
  ...["up", w.repository, "-b", "feature", "-n", "app", "-p", "box"],
  ...args
]

/** Brings `app` up on branch `feature`. */
export const up = Effect.fnUntraced(function* (w: World, ...args: ReadonlyArray<string>) {
  configure(w)
  return yield* done(w, ...upArguments(w, ...args))
})

export const gitIn =
  (w: World, directory: string) =>
  (...args: ReadonlyArray<string>): string =>
    execFileSync("git", ["-C", directory, ...args], { env: w.env, encoding: "utf8", stdio: "pipe" }).trim()

/** Exports the session, and answers where to and which commit. */
export const exported = Effect.fnUntraced(function* (w: World, ...args: ReadonlyArray<string>) {
  const answer = yield* done(w, "export", "app", ...args)
  return answer as typeof answer & { readonly target: string; readonly commit: string }
})

/** What operations have left of their copies. */
export const copies = (w: World): ReadonlyArray<string> => {
  const directory = join(w.state, "copies")
  return existsSync(directory) ? readdirSync(directory) : []
}

export const loseBoxes = (w: World): void => {
  for (const box of boxesOf(w, "box")) rmSync(box, { recursive: true })
}

/** Starts a command that is held somewhere, kills it there, and answers what `status` says to do then. */
export const killed = Effect.fnUntraced(function* (
  w: World,
  args: ReadonlyArray<string>,
  { env, held }: { readonly env: Readonly<Record<string, string>>; readonly held: Effect.Effect<void> }
) {
  const running = yield* w.start(args, { env })
  yield* held
  running.signal("SIGKILL")
  yield* running.ended
  const { recovery } = yield* json(w, "status", "app")
  assert.isNotNull(recovery, "a killed operation is to be finished")
  return recovery!.command.replace(/^sandbox /, "").split(" ")
}, Effect.scoped)
