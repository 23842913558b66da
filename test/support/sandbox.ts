/** A world of its own for one test: directories, a repository, and `sandbox` as real processes run from the sources. */
import { execFileSync, spawn } from "node:child_process"
import { existsSync, mkdirSync, mkdtempSync, readdirSync, realpathSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { dirname, join } from "node:path"
import { DatabaseSync, type SQLInputValue } from "node:sqlite"
import type { Readable, Writable } from "node:stream"
import { fileURLToPath } from "node:url"
import { Duration, Effect, Schedule, type Scope } from "effect"
import { afterAll } from "vitest"
import type { Answer } from "./Answer.ts"

const bundled = process.env["SANDBOX_TEST_CLI"]

/** Where a provider of the tests is, for `use`. */
export const providerModule = (name: "boxProvider" | "terminalProvider"): string =>
  bundled === undefined ? join(import.meta.dirname, `${name}.ts`) : join(dirname(bundled), `${name}.js`)

/** The published command line, see `test/cli.ts`; its sources, for programs that no test runner starts. */
export const command = [
  process.execPath,
  "--conditions=@org/source",
  bundled ?? fileURLToPath(new URL("../../packages/cli/src/main.ts", import.meta.url))
]

/** How a process ended and what it wrote. */
export interface Outcome {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
  readonly stdout: string
  readonly stderr: string
  /** stdout as the one JSON object that it must be. */
  readonly json: () => Answer
}

export interface StartOptions {
  readonly cwd?: string | undefined
  readonly env?: Readonly<Record<string, string>> | undefined
  /** What stdin holds; a string is followed by its end. Nothing, when absent. */
  readonly stdin?: string | "open" | undefined
  /** Turns the command into one that runs it, such as `setpriv …`. */
  readonly through?: ((command: ReadonlyArray<string>) => ReadonlyArray<string>) | undefined
}

/** A process that was started and not waited for. Killed with the test's scope. */
export interface Running {
  readonly pid: number
  readonly stdin: Writable | null
  readonly stdout: Readable
  readonly stderr: Readable
  readonly signal: (name: NodeJS.Signals) => void
  readonly hasEnded: () => boolean
  readonly ended: Effect.Effect<Outcome>
  /** Waits until stderr has this text, or the process has ended. */
  readonly saw: (text: string) => Effect.Effect<boolean>
}

export interface World {
  readonly directory: string
  readonly repository: string
  readonly url: string
  /** `$XDG_STATE_HOME/sandbox`. */
  readonly state: string
  readonly ledger: string
  readonly env: Readonly<Record<string, string>>
  /** Runs git in the repository and answers what it printed. */
  readonly git: (...args: ReadonlyArray<string>) => string
  /** Runs `sandbox` with these arguments to its end. */
  readonly sandbox: (...args: ReadonlyArray<string>) => Effect.Effect<Outcome>
  readonly run: (args: ReadonlyArray<string>, options?: StartOptions) => Effect.Effect<Outcome>
  readonly start: (args: ReadonlyArray<string>, options?: StartOptions) => Effect.Effect<Running, never, Scope.Scope>
}

/** Compiled sources, shared by the processes of one test file. */
const compiled = mkdtempSync(join(tmpdir(), "sandbox-system-cache-"))
afterAll(() => rmSync(compiled, { recursive: true, force: true }))

/** Marks every process of a world, whoever started it. */
const marker = "SYSTEM_TEST_WORLD"

const identity = { NAME: "t", EMAIL: "t@example.com" }

/** What the processes of a world have in their environment, and nothing of ours beside it. */
const environment = (directory: string): Readonly<Record<string, string>> => ({
  PATH: process.env["PATH"] ?? "",
  HOME: join(directory, "home"),
  TMPDIR: join(directory, "tmp"),
  XDG_STATE_HOME: join(directory, "state"),
  XDG_CACHE_HOME: join(directory, "cache"),
  NODE_COMPILE_CACHE: compiled,
  GIT_CONFIG_NOSYSTEM: "1",
  ...Object.fromEntries(
    Object.entries(identity).flatMap(([name, value]) => [
      [`GIT_AUTHOR_${name}`, value],
      [`GIT_COMMITTER_${name}`, value]
    ])
  ),
  [marker]: directory
})

/** The processes that carry `NAME=value` in their environment. */
export const processesWith = (entry: string): ReadonlyArray<number> =>
  execFileSync("ps", ["axeww", "-o", "pid=,command="], {
    encoding: "utf8",
    env: { PATH: process.env["PATH"] }, // it must not find itself
    maxBuffer: 2 ** 28
  })
    .split("\n")
    .filter((line) => ` ${line} `.includes(` ${entry} `))
    .map((line) => Number.parseInt(line, 10))

/** Those of one service of one session. */
export const processesOf = (session: { readonly sessionId: string }, service: string): ReadonlyArray<number> => {
  const own = processesWith(`SANDBOX_SESSION_ID=${session.sessionId}`)
  return processesWith(`SANDBOX_SERVICE=${service}`).filter((pid) => own.includes(pid))
}

const kill = (pid: number): void => {
  try {
    process.kill(pid, "SIGKILL")
  } catch {
    // it has ended by itself
  }
}

/** The branches that the repository of a world has before anything is done to it. */
export const branches = ["feature", "main", "topic/one"]

const repository = (directory: string, git: World["git"]): void => {
  mkdirSync(directory)
  git("init", "--quiet", "--initial-branch", "main")
  for (const [file, text] of [
    ["README.md", "# app\n"],
    ["src.txt", "one\n"]
  ] as const) {
    writeFileSync(join(directory, file), text)
    git("add", file)
    git("commit", "--quiet", "--message", `add ${file}`)
  }
  git("branch", "topic/one", "HEAD~1")
  git("switch", "--quiet", "--create", "feature")
  git("commit", "--quiet", "--allow-empty", "--message", "on feature")
  git("switch", "--quiet", "main")
}

/** A fresh world, removed with everything that runs in it when the scope closes. */
export const world: Effect.Effect<World, never, Scope.Scope> = Effect.gen(function* () {
  const directory = yield* Effect.acquireRelease(
    Effect.sync(() => realpathSync(mkdtempSync(join(tmpdir(), "sandbox-system-")))),
    (directory) =>
      Effect.sync(() => {
        for (const pid of processesWith(`${marker}=${directory}`)) kill(pid)
        rmSync(directory, { recursive: true, force: true, maxRetries: 5 })
      })
  )
  const env = environment(directory)
  const app = join(directory, "app")
  const git: World["git"] = (...args) =>
    execFileSync("git", ["-C", app, ...args], { env, encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] }).trim()
  const start: World["start"] = (args, options = {}) =>
    Effect.acquireRelease(
      Effect.sync(() => launch({ cwd: directory, ...options, env: { ...env, ...options.env } }, args)),
      (running) =>
        Effect.suspend(() => {
          running.signal("SIGKILL")
          return running.ended
        })
    )
  const run: World["run"] = (args, options) =>
    Effect.scoped(Effect.flatMap(start(args, options), (running) => running.ended))

  mkdirSync(join(directory, "home"))
  mkdirSync(join(directory, "tmp"))
  repository(app, git)
  const state = join(directory, "state", "sandbox")
  return {
    directory,
    repository: app,
    url: `file://${app}`,
    state,
    ledger: join(state, "ledger.db"),
    env,
    git,
    start,
    run,
    sandbox: (...args) => run(args)
  }
})

const launch = (options: StartOptions, args: ReadonlyArray<string>): Running => {
  const whole = [...command, ...args]
  const [program = "", ...rest] = options.through?.(whole) ?? whole
  const { cwd, env, stdin } = options
  const child = spawn(program, rest, {
    cwd,
    env,
    stdio: [stdin === undefined ? "ignore" : "pipe", "pipe", "pipe"]
  })
  let stdout = ""
  let stderr = ""
  child.stdout!.setEncoding("utf8").on("data", (text: string) => (stdout += text))
  child.stderr!.setEncoding("utf8").on("data", (text: string) => (stderr += text))
  if (stdin !== undefined && stdin !== "open") child.stdin!.end(stdin)
  child.stdin?.on("error", () => {}) // it need not read what it is given
  const outcome = new Promise<Outcome>((resolve) =>
    child.once("close", (code, signal) => {
      resolve({ code, signal, stdout, stderr, json: () => parse(stdout, stderr) })
    })
  )
  const hasEnded = () => child.exitCode !== null || child.signalCode !== null
  return {
    pid: child.pid!,
    stdin: child.stdin,
    stdout: child.stdout!,
    stderr: child.stderr!,
    signal: (name) => void child.kill(name),
    hasEnded,
    ended: Effect.promise(() => outcome),
    saw: (text) =>
      Effect.callback<boolean>((resume) => {
        const look = () => {
          if (stderr.includes(text)) resume(Effect.succeed(true))
        }
        child.stderr!.on("data", look)
        child.once("close", () => resume(Effect.succeed(stderr.includes(text))))
        look()
      })
  }
}

const parse = (stdout: string, stderr: string): Answer => {
  const [line = "", ...rest] = stdout.split("\n")
  if (line === "" || rest.join("\n") !== "") {
    throw new Error(`stdout is not one line: ${JSON.stringify(stdout)}; stderr: ${stderr}`)
  }
  return JSON.parse(line)
}

interface Id {
  readonly id: string
}

/** Asks the ledger itself; `A` is what a row has. */
export const query = <A extends object = Id>(
  file: string,
  sql: string,
  ...values: ReadonlyArray<SQLInputValue>
): ReadonlyArray<A> => {
  const db = new DatabaseSync(file, { timeout: 5000 })
  try {
    return db
      .prepare(sql)
      .all(...values)
      .map((row) => ({ ...row }) as A)
  } finally {
    db.close()
  }
}

/** Everything that the ledger holds, to be compared. */
export const dump = (file: string) =>
  Object.fromEntries(
    ["sessions", "operations", "events", "intents", "orphans", "checkpoints", "meta"].map((table) => [
      table,
      query(file, `SELECT * FROM ${table} ORDER BY rowid`)
    ])
  )

/** What there is of sessions outside the ledger, and claims inside it. */
export const remains = (w: World) => {
  const boxes = join(w.state, "local")
  const worktrees = w.git("worktree", "list", "--porcelain").matchAll(/^worktree (.+)$/gm)
  return {
    worktrees: Array.from(worktrees, (match) => match[1]).filter((path) => path !== w.repository),
    branches: w.git("for-each-ref", "--format=%(refname:short)", "refs/heads").split("\n"),
    boxes: existsSync(boxes) ? readdirSync(boxes).filter((name) => !name.startsWith(".")) : [],
    processes: processesWith(`${marker}=${w.directory}`),
    claims: existsSync(w.ledger) ? query(w.ledger, "SELECT id, state FROM sessions WHERE claim_token IS NOT NULL") : []
  }
}

/** `remains` of a world in which there is no session any more. */
export const nothing = { worktrees: [], branches, boxes: [], processes: [], claims: [] }

/** Looks again every 20 ms until it is so; fails as a defect after `seconds`. */
export const eventually = (what: string, isSo: () => boolean, seconds = 30): Effect.Effect<void> =>
  Effect.sync(isSo).pipe(
    Effect.repeat({ until: (so) => so, schedule: Schedule.spaced("20 millis") }),
    Effect.asVoid,
    Effect.timeoutOrElse({
      duration: Duration.seconds(seconds),
      orElse: () => Effect.die(`not so within ${seconds} s: ${what}`)
    })
  )
