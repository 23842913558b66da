/** The commands `docker` and `docker compose`, or `docker-compose` where that is all there is, on this host. */
import { Duration, Effect } from "effect"
import { end } from "../../Processes.ts"
import * as SandboxError from "../../SandboxError.ts"
import * as hostCommand from "../hostCommand.ts"

/** Marks what runs for a session, so that what a killed attempt left is found. Its value is the session's id. */
export const marker = "SANDBOX_COMPOSE"

/** How a command ended and what it wrote. */
export interface Outcome {
  /** None where a signal ended it. */
  readonly code: number | undefined
  /** Whole, unless somebody listens to it. */
  readonly stdout: string
  /** Both, in the order in which they came: at most the last 64 KiB. */
  readonly output: string
}

/** How long a question to the engine may take. */
export const brief = Duration.seconds(30)

const outputLimit = 64 * 1024

/** What a tool needs to find the engine and its own files. Everything else it has from the session, or from nobody. */
const own =
  /^(PATH|HOME|USER|LOGNAME|TMPDIR|LANG|LC_\w+|DOCKER_\w+|BUILDKIT_\w+|XDG_\w+|SSH_AUTH_SOCK|(https?|no|all)_proxy)$/i

/** Whether a variable would change what a tool does, instead of what it fills in. */
export const steers = (name: string): boolean =>
  own.test(name) || /^(COMPOSE|LD|DYLD|PYTHON|NODE|GIT|SSL|SANDBOX_COMPOSE)(_|$|HOME$|PATH$)/.test(name)

export interface RunOptions {
  /** The session's id. */
  readonly session: string
  readonly cwd?: string | undefined
  /** Filled into the files; none of them steers the tool. */
  readonly env?: Readonly<Record<string, string>> | undefined
  readonly limit?: Duration.Duration | undefined
  readonly onOutput?: ((text: string) => Effect.Effect<void>) | undefined
}

/** Runs a command to its end; none where there is no such command. Ended with all that it started when it takes too long. */
export const run = Effect.fnUntraced(function* (
  argv: readonly [string, ...ReadonlyArray<string>],
  options: RunOptions
) {
  const { limit = brief, onOutput = () => Effect.void, session } = options
  const env = Object.fromEntries(Object.entries(options.env ?? {}).filter(([name]) => !steers(name)))
  let stdout = ""
  let output = ""
  const code = yield* hostCommand
    .run({
      argv,
      cwd: options.cwd ?? "/",
      env: { ...env, [marker]: session },
      keeps: (name) => own.test(name),
      onOutput: (text, fd) => {
        if (fd === 1 && options.onOutput === undefined) stdout += text
        output = (output + text).slice(-outputLimit)
        return onOutput(text)
      }
    })
    .pipe(
      Effect.map((code) => ({ code })),
      Effect.catchIf(
        ({ reason }) => reason._tag === "NotFound",
        () => Effect.undefined
      ),
      Effect.mapError((error) => unusable(argv[0], error.message)),
      Effect.timeoutOrElse({ duration: limit, orElse: () => Effect.fail(tooLong(argv[0], limit)) })
    )
  if (code === undefined) return undefined
  const outcome: Outcome = { ...code, stdout, output }
  return outcome
})

const unusable = (command: string, why: string) =>
  SandboxError.make("ERR_UNSUPPORTED", {
    message: `${command} cannot be run: ${why}`,
    nextStep: `make sure that ${command} works on this host, or leave \`compose\` out`,
    details: { field: "compose", command }
  })

const tooLong = (command: string, limit: Duration.Duration) =>
  SandboxError.make("ERR_TIMEOUT", {
    message: `${command} did not end within ${Duration.format(limit)}, and was ended`,
    nextStep: "make sure that the Docker engine answers, and try again",
    details: { field: "compose", command }
  })

/** Runs `docker`; the engine's refusals are the outcome's. */
export const docker = Effect.fnUntraced(function* (args: ReadonlyArray<string>, options: RunOptions) {
  return (yield* run(["docker", ...args], options)) ?? (yield* missing("docker"))
})

const missing = (command: string) =>
  SandboxError.make("ERR_UNSUPPORTED", {
    message: `compose services need the command ${command}, which is not on this host's PATH`,
    nextStep: "install Docker with its compose plugin (or docker-compose), or leave `compose` out",
    details: { field: "compose", command }
  })

/** The engine's own id: what one engine has, another cannot speak of. Fails where no engine answers. */
export const engine = Effect.fnUntraced(function* (session: string) {
  const { code, output, stdout } = yield* docker(["info", "--format", "{{json .ID}}"], { session })
  const id = /"([^"]+)"/.exec(stdout)?.[1]
  if (code === 0 && id !== undefined) return id
  // some clients trip over the missing answer, and say nothing else
  const asked = yield* docker(["version", "--format", "{{.Server.Version}}"], { session })
  return yield* SandboxError.make("ERR_PROVIDER_UNAVAILABLE", {
    message: `no Docker engine answers: ${lastOf(asked.code === 0 ? output : asked.output)}`,
    nextStep: "start Docker, or make DOCKER_HOST right, and try again",
    details: { field: "compose", command: "docker" }
  })
})

/** The compose command of this host. */
export interface Compose {
  readonly argv: readonly [string, ...ReadonlyArray<string>]
  /** Version 1 answers YAML and nothing else. */
  readonly version: 1 | 2
}

const candidates = [["docker", "compose"] as const, ["docker-compose"] as const]

/** The newer one, where there are two. */
export const find = Effect.fnUntraced(function* (session: string) {
  for (const argv of candidates) {
    const asked = yield* run([...argv, "version", "--short"], { session })
    const major = asked?.code === 0 ? /^v?(\d+)\.(\d+)/.exec(asked.stdout.trim()) : undefined
    if (major === undefined || major === null) continue
    if (Number(major[1]) >= 2) return { argv, version: 2 } satisfies Compose
    // earlier ones read neither conditions of depends_on nor files without a version
    if (Number(major[2]) >= 27) return { argv, version: 1 } satisfies Compose
  }
  return yield* missing("docker compose")
})

/** Ends what an attempt left running that was killed: it would go on making containers. */
export const endLeftovers = Effect.fnUntraced(function* (session: string) {
  yield* Effect.mapError(end(marker, session), ({ pids }) =>
    SandboxError.make("ERR_DESTROY_FAILED", {
      message: `the processes ${pids.join(", ")}, which work on the session's compose services, do not end`,
      nextStep: "end them, and run the command again",
      details: { pids }
    })
  )
})

/** The line that says why: the last that tells of an error, or the last at all. */
export const lastOf = (output: string): string => {
  const lines = output
    .split("\n")
    .map((line) => line.trim())
    // that there were errors says none of them
    .filter((line) => line !== "" && !/Encountered errors while/i.test(line))
  const why = lines.findLast((line) => /^ERROR\b|Error response from daemon|Cannot connect to/i.test(line))
  return (why ?? lines.at(-1) ?? "it said nothing").replace(/^ERROR: +/i, "")
}
