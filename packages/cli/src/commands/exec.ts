import { execDetached, exec as program, SandboxError } from "@org/sandbox-core"
import { Data, Effect, Stdio, Stream } from "effect"
import { Argument, Command, Flag } from "effect/cli"
import * as args from "../arguments.ts"
import { note, Quit, write } from "../Output.ts"
import { answer, perform, root, type Services } from "../root.ts"
import * as Terminal from "../Terminal.ts"

/** What `shell` takes too. */
export const flags = {
  cwd: Flag.String("cwd").pipe(
    Flag.withAlias("w"),
    Flag.withDescription("Where to run it: absolute, or below the checkout"),
    Flag.withDefault(undefined)
  ),
  env: Flag.String("env").pipe(
    Flag.withAlias("e"),
    Flag.withDescription("NAME=value for the command; may be repeated"),
    Flag.withMetavar("NAME=value"),
    Flag.atLeast(0)
  )
}

const toggle = (name: string, alias: string, what: string) =>
  Flag.Boolean(name).pipe(Flag.withAlias(alias), Flag.withDescription(what), Flag.withDefault(false))

export const exec = Command.make(
  "exec",
  {
    words: Argument.String("session> -- <command").pipe(
      Argument.withDescription(
        "The session, that of the current directory when absent; behind two dashes the command and its arguments, which no shell reads"
      ),
      Argument.variadic()
    ),
    interactive: toggle("interactive", "i", "Pass stdin through although it is a terminal"),
    tty: toggle("tty", "t", "Give the command a terminal, which is ours; with -i the keys too"),
    detach: toggle("detach", "d", "Start it and leave it running; `sandbox logs` shows what it writes"),
    ...flags
  },
  ({ cwd, detach, env, interactive, tty, words }) =>
    Effect.gen(function* () {
      const stdio = yield* Stdio.Stdio
      const { command: argv, session } = args.words(yield* stdio.args, words)
      const request = Effect.gen(function* () {
        if (detach && (interactive || tty)) return yield* alone
        if (tty) yield* Terminal.required({ what: "--tty", nextStep: "leave --tty (-t) out", output: false })
        return { session: yield* args.chosen(session), argv, cwd, env: yield* environment(env) }
      })
      if (detach) {
        const started = Effect.provideService(Effect.flatMap(request, execDetached), Stdio.Stdio, stdio)
        const { name, run } = yield* Effect.mapError(
          answer(started, ({ run }) => run),
          owned
        )
        const { json, quiet } = yield* root
        return yield* json || quiet ? Effect.void : note(`read what it writes: sandbox logs ${name} --service ${run}`)
      }
      const attached = Effect.gen(function* () {
        const asked = yield* request
        return yield* Terminal.attach({ keyboard: interactive, start: (more) => program({ ...asked, ...more }) })
      })
      const piped = Effect.gen(function* () {
        const stdin = !interactive && (yield* stdio.stdinIsTerminal) ? undefined : Stream.orDie(stdio.stdin)
        const running = yield* program({ ...(yield* request), stdin })
        yield* Stream.runForEach(running.output, ({ bytes, fd }) =>
          write(fd === 1 ? process.stdout : process.stderr, bytes)
        )
        return yield* running.exit
      })
      const { code } = yield* own(Effect.scoped(tty ? attached : piped))
      if (code !== 0) return yield* new Quit({ code })
    })
).pipe(
  Command.withDescription(
    "Run a command in a session. Its output and its exit code are passed through as they are; 125 is our own failure, and 128 + n means that signal n ended it."
  ),
  Command.withShortDescription("Run a command in a session"),
  Command.withExamples([
    { command: "sandbox exec app-main -- git status --short", description: "Two dashes before the command" },
    {
      command: "echo hello | sandbox exec app-main -- cat",
      description: "stdin is passed through when it is not a terminal"
    },
    { command: "sandbox exec -it app-main -- vi README.md", description: "With a terminal" }
  ])
)

/** A failure of `exec` itself: printed like any other, but with an exit code of its own. */
export class OwnFailure extends Data.TaggedError("OwnFailure")<{ readonly error: SandboxError.SandboxError }> {
  /** As other tools that run commands elsewhere do it. */
  readonly code = 125
}

const owned = (error: SandboxError.SandboxError) => new OwnFailure({ error: told(error) })

/** What a failure means for a command, which leaves nothing that could be undone. */
const told = (error: SandboxError.SandboxError): SandboxError.SandboxError => {
  switch (error.code) {
    case "ERR_TIMEOUT":
      return SandboxError.extend(error, {
        message: "the command took longer than --timeout, and was ended with all it had started",
        nextStep: "give it longer, or start it with `sandbox exec --detach`"
      })
    case "ERR_INTERRUPTED":
      return SandboxError.extend(error, {
        message: "the command was interrupted, and ended with all it had started",
        nextStep: "run it again"
      })
    case "ERR_OUTPUT_CLOSED":
      return SandboxError.extend(error, {
        message: "nobody reads the command's output any more: it was ended with all it had started",
        nextStep: "run it again, or start it with `sandbox exec --detach`"
      })
    default:
      return error
  }
}

/** Runs something whose failures are not the command's. */
export const own = <A>(effect: Effect.Effect<A, SandboxError.SandboxError, Services | Stdio.Stdio>) =>
  Effect.flatMap(Stdio.Stdio, (stdio) =>
    Effect.mapError(perform(Effect.provideService(effect, Stdio.Stdio, stdio)), owned)
  )

const alone = SandboxError.make("ERR_INVALID_ARGUMENT", {
  message: "a command that is left running has neither stdin nor a terminal",
  nextStep: "leave out --detach (-d), or --interactive (-i) and --tty (-t)",
  details: { field: "detach" }
})

/** The variables of `--env`. */
export const environment = Effect.fnUntraced(function* (pairs: ReadonlyArray<string>) {
  const variables: Record<string, string> = {}
  for (const pair of pairs) {
    const at = pair.indexOf("=")
    if (at < 1) {
      return yield* SandboxError.make("ERR_INVALID_ARGUMENT", {
        message: "an --env is not of the form NAME=value",
        nextStep: "write it as --env NAME=value",
        details: { field: "env" }
      })
    }
    variables[pair.slice(0, at)] = pair.slice(at + 1)
  }
  return variables
})
