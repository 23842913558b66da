/**
 * Git on the host, run so that it never prompts, never inherits a repository from our own environment, and never
 * outlives the call that started it.
 */
import {
  Context,
  Duration,
  Effect,
  Fiber,
  FileSystem,
  Option,
  type PlatformError,
  type Redacted,
  Schema,
  Stream
} from "effect"
import { ChildProcess, ChildProcessSpawner } from "effect/process"

/** Why git gave no usable answer. */
export const GitReason = Schema.Literals(["not_installed", "timed_out", "failed"])

/** A git command that did not succeed. */
export class GitError extends Schema.TaggedError<GitError>("@org/sandbox-core/GitError")("GitError", {
  reason: GitReason,
  /** The subcommand alone, such as `fetch`: never its arguments. */
  command: Schema.String,
  /** The exit code; null when git did not exit by itself. */
  code: Schema.NullOr(Schema.Int),
  /** The end of what git wrote to its standard error. */
  stderr: Schema.String,
  message: Schema.String
}) {}

/** What git answered. */
export interface GitResult {
  readonly code: number
  readonly stdout: string
  /** At most the last 8 KiB. */
  readonly stderr: string
}

/** How to run one git command. */
export interface GitOptions {
  /** The directory to run in. The root, when absent: such a command must name everything it touches. */
  readonly cwd?: string | undefined
  /** The command is killed after this time; `defaultTimeout` when absent. */
  readonly timeout?: Duration.Input | undefined
  /** The command talks to a remote, and may be given `GitCredentials`. */
  readonly remote?: boolean | undefined
  readonly env?: Readonly<Record<string, string | undefined>> | undefined
  /** What the command reads; nothing, when absent. */
  readonly stdin?: Stream.Stream<Uint8Array> | undefined
}

export type GitServices = ChildProcessSpawner.ChildProcessSpawner | FileSystem.FileSystem

/** How long a command may take that names no bound of its own. */
export const defaultTimeout = Duration.minutes(2)

/**
 * A token for `https://github.com`, none by default.
 *
 * It reaches git through `GIT_ASKPASS` alone: never argv, a URL, a file, or the answer to any other host.
 */
export const GitCredentials = Context.Reference<Option.Option<Redacted.Redacted<string>>>(
  "@org/sandbox-core/GitCredentials",
  { defaultValue: () => Option.none() }
)

const start = Effect.fnUntraced(function* (args: ReadonlyArray<string>, options: GitOptions) {
  const spawner = yield* ChildProcessSpawner.ChildProcessSpawner
  const credentials = options.remote === true ? yield* askpass : {}
  return yield* spawner.spawn(
    ChildProcess.make("git", [...(options.cwd === undefined ? [] : ["-C", options.cwd]), ...args], {
      cwd: "/",
      // a program that a checkout's configuration names has no use for the user's token
      env: { ...environment, ...(options.remote === true ? credentials : { GITHUB_TOKEN: undefined }), ...options.env },
      extendEnv: true,
      stdin: options.stdin ?? "ignore",
      forceKillAfter: "2 seconds"
    })
  )
})

/** Runs a command, `args[0]` being the subcommand, and answers whatever its exit code is. */
export const run = Effect.fnUntraced(
  function* (args: ReadonlyArray<string>, options: GitOptions = {}) {
    const handle = yield* start(args, options)
    const [stdout, stderr, code] = yield* Effect.all(
      [Stream.mkString(Stream.decodeText(handle.stdout)), tail(handle.stderr), handle.exitCode],
      { concurrency: "unbounded" }
    )
    return { code: Number(code), stdout, stderr } satisfies GitResult
  },
  Effect.scoped,
  (effect, args, options = {}) =>
    effect.pipe(
      Effect.mapError((error) => fromPlatform(args, error)),
      Effect.timeoutOrElse({
        duration: options.timeout ?? defaultTimeout,
        orElse: () => Effect.fail(timedOut(args, options.timeout ?? defaultTimeout))
      })
    )
)

/**
 * The standard output of a command as it comes, for what is large or no text; `timeout` does not bound it.
 *
 * Ends with the error of the command when its exit code is none of `codes`.
 */
export const stream = (
  args: ReadonlyArray<string>,
  options: GitOptions = {},
  codes: ReadonlyArray<number> = [0]
): Stream.Stream<Uint8Array, GitError, GitServices> =>
  Stream.unwrap(
    Effect.gen(function* () {
      const handle = yield* start(args, options)
      const said = yield* Effect.forkScoped(tail(handle.stderr))
      const ended = Effect.gen(function* () {
        const code = Number(yield* handle.exitCode)
        const stderr = yield* Fiber.join(said)
        if (!codes.includes(code)) return yield* failure(args, { code, stdout: "", stderr })
      })
      return Stream.concat(handle.stdout, Stream.fromEffectDrain(ended))
    })
  ).pipe(Stream.mapError((error) => (error instanceof GitError ? error : fromPlatform(args, error))))

/** Runs a command that must succeed, and answers its standard output. */
export const output = Effect.fnUntraced(function* (args: ReadonlyArray<string>, options: GitOptions = {}) {
  const result = yield* run(args, options)
  return result.code === 0 ? result.stdout : yield* failure(args, result)
})

/** The error of a command that answered with an exit code its caller has no use for. */
export const failure = (args: ReadonlyArray<string>, result: GitResult): GitError => {
  const stderr = redact(result.stderr).trim()
  const said = stderr.split("\n").findLast((line) => line.trim() !== "" && !line.startsWith("hint:"))
  return new GitError({
    reason: "failed",
    command: commandOf(args),
    code: result.code,
    stderr,
    message: `git ${commandOf(args)} failed with exit code ${result.code}${said === undefined ? "" : `: ${said}`}`
  })
}

const commandOf = (args: ReadonlyArray<string>): string => args[0] ?? "git"

const timedOut = (args: ReadonlyArray<string>, after: Duration.Input): GitError =>
  new GitError({
    reason: "timed_out",
    command: commandOf(args),
    code: null,
    stderr: "",
    message: `git ${commandOf(args)} did not finish within ${Duration.format(Duration.fromInputUnsafe(after))} and was killed`
  })

const fromPlatform = (args: ReadonlyArray<string>, error: PlatformError.PlatformError): GitError => {
  const missing = error.reason._tag === "NotFound" && error.reason.module === "ChildProcess"
  return new GitError({
    reason: missing ? "not_installed" : "failed",
    command: commandOf(args),
    code: null,
    stderr: "",
    message: missing
      ? "git was not found; install git 2.31 or later and make sure that it is on the PATH"
      : `git ${commandOf(args)} ended without an exit code: it could not be started, or a signal ended it`
  })
}

const tailLength = 8192

const tail = (bytes: Stream.Stream<Uint8Array, PlatformError.PlatformError>) =>
  Stream.runFold(
    Stream.decodeText(bytes),
    () => "",
    (text, more) => (text + more).slice(-tailLength)
  )

/** A user's own configuration may put credentials into the URLs that git reports. */
const redact = (text: string): string => text.replaceAll(/\/\/[^/@\s]+@/g, "//<redacted>@")

/**
 * The variables by which git finds a repository, `git rev-parse --local-env-vars`: what inherits them works on the repository
 * of whoever set them, whatever directory it runs in.
 */
export const repositoryVariables: ReadonlyArray<string> = [
  ...["GIT_ALTERNATE_OBJECT_DIRECTORIES", "GIT_CONFIG", "GIT_CONFIG_PARAMETERS", "GIT_CONFIG_COUNT", "GIT_PREFIX"],
  ...["GIT_OBJECT_DIRECTORY", "GIT_DIR", "GIT_WORK_TREE", "GIT_IMPLICIT_WORK_TREE", "GIT_GRAFT_FILE"],
  ...["GIT_INDEX_FILE", "GIT_NO_REPLACE_OBJECTS", "GIT_REPLACE_REF_BASE", "GIT_SHALLOW_FILE", "GIT_COMMON_DIR"],
  ...["GIT_INTERNAL_SUPER_PREFIX", "GIT_NAMESPACE"]
]

/** Traces go to standard error and may quote headers; a diff program of the user's would change what git prints. */
const meddling = ["GIT_TRACE", "GIT_TRACE_CURL", "GIT_TRACE_PACKET", "GIT_CURL_VERBOSE", "GIT_EXTERNAL_DIFF"]

/** What git must not inherit, and what keeps it quiet. */
const environment: Readonly<Record<string, string | undefined>> = {
  ...Object.fromEntries([...repositoryVariables, ...meddling].map((name) => [name, undefined])),
  LC_ALL: "C",
  GIT_TERMINAL_PROMPT: "0",
  // Empty, not unset: an unset one makes git ask `core.askPass` and `SSH_ASKPASS`, which open windows.
  GIT_ASKPASS: "",
  SSH_ASKPASS_REQUIRE: "never",
  GCM_INTERACTIVE: "never",
  GIT_PAGER: "cat",
  GIT_EDITOR: ":",
  GIT_SEQUENCE_EDITOR: ":",
  // `status` must not take the index lock away from the user who works there.
  GIT_OPTIONAL_LOCKS: "0"
}

const tokenVariable = "SANDBOX_GIT_TOKEN"

/** Answers git's two questions for exactly this host, whatever it was redirected to. */
const script = `#!/bin/sh
case "$1" in
  "Username for 'https://github.com'"* | "Username for 'https://github.com/"*) echo x-access-token ;;
  "Password for 'https://x-access-token@github.com'"* | "Password for 'https://x-access-token@github.com/"*)
    printf '%s\\n' "$${tokenVariable}" ;;
  *) exit 1 ;;
esac
`

const askpass = Effect.gen(function* () {
  const token = yield* GitCredentials
  if (Option.isNone(token)) return {}
  const fs = yield* FileSystem.FileSystem
  const directory = yield* fs.makeTempDirectoryScoped({ prefix: "sandbox-askpass-" })
  const file = `${directory}/askpass`
  yield* fs.writeFileString(file, script, { flag: "wx", mode: 0o700 })
  return { GIT_ASKPASS: file, [tokenVariable]: token.value }
})
