/** A small world on this host for one cell of the matrix, or for a soak: a repository, and `sandbox` as real processes. */
import { type ChildProcess, execFileSync, spawn } from "node:child_process"
import { existsSync, mkdirSync, readdirSync, rmSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { DatabaseSync, type SQLInputValue } from "node:sqlite"
import type { Answer } from "../support/Answer.ts"
import type { Boxes } from "./boxes.ts"
import type { Control } from "./instrument/points.ts"

/** How a process ended. A command that hangs is ended after `patience`, and `hung`. */
export interface Ended {
  readonly argv: ReadonlyArray<string>
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
  readonly stdout: string
  readonly stderr: string
  readonly hung: boolean
}

export interface Running {
  readonly process: ChildProcess
  readonly ended: Promise<Ended>
}

const patience = 90_000

/** Marks every process of a world, whoever started it. */
const marker = "CRASH_WORLD"

/** The branches that the repository has before anything is done to it. */
export const branches: ReadonlyArray<string> = ["feature", "main"]

/** What the one object on stdout says. */
export const answerOf = (ended: Ended): Answer => {
  try {
    return JSON.parse(ended.stdout)
  } catch {
    throw new Error(`${told(ended)} printed no JSON`)
  }
}

/** A command and its end, in one line. */
export const told = ({ argv, code, hung, signal, stderr, stdout }: Ended): string =>
  `sandbox ${argv.join(" ")} (${hung ? "hung" : (signal ?? code)}) ${stdout.trim().slice(0, 900)} | ${stderr.trim().slice(-500)}`

/** Waits until it is so, looking every 20 ms; `false` when it never was. */
export const until = async (isSo: () => boolean, ms: number): Promise<boolean> => {
  const end = performance.now() + ms
  while (!isSo()) {
    if (performance.now() > end) return false
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
  return true
}

export class World {
  readonly directory: string
  readonly main: string
  readonly app: string
  readonly state: string
  readonly ledger: string
  readonly env: Readonly<Record<string, string>>

  readonly boxes: Boxes

  /** `main` is the bundled CLI. Nothing is made yet. */
  constructor(directory: string, main: string, boxes: Boxes) {
    this.directory = directory
    this.boxes = boxes
    this.main = main
    this.app = join(directory, "app")
    this.state = join(directory, "state", "sandbox")
    this.ledger = join(this.state, "ledger.db")
    this.env = {
      PATH: process.env["PATH"] ?? "",
      HOME: join(directory, "home"),
      TMPDIR: join(directory, "tmp"),
      XDG_STATE_HOME: join(directory, "state"),
      XDG_CACHE_HOME: join(directory, "cache"),
      NODE_COMPILE_CACHE: join(main, "..", "compiled"),
      NODE_NO_WARNINGS: "1",
      GIT_CONFIG_NOSYSTEM: "1",
      GIT_AUTHOR_NAME: "t",
      GIT_AUTHOR_EMAIL: "t@example.com",
      GIT_COMMITTER_NAME: "t",
      GIT_COMMITTER_EMAIL: "t@example.com",
      [marker]: directory
    }
  }

  /** Makes the world anew: a repository with two branches and nothing else. */
  make(): void {
    this.clear()
    for (const name of ["home", "tmp", "app"]) mkdirSync(join(this.directory, name), { recursive: true })
    this.git("init", "--quiet", "--initial-branch", "main")
    writeFileSync(join(this.app, "README.md"), "# app\n")
    writeFileSync(join(this.app, "src.txt"), "one\n")
    writeFileSync(join(this.app, ".gitignore"), "*.log\n")
    this.git("add", "--all")
    this.git("commit", "--quiet", "--message", "first")
    this.git("branch", "feature")
    this.boxes.prepare(this)
  }

  /** Ends everything that runs in it and removes it. */
  clear(): void {
    for (const pid of this.processes()) {
      try {
        process.kill(pid, "SIGKILL")
      } catch {
        // it has ended by itself
      }
    }
    this.boxes.clear(this)
    rmSync(this.directory, { recursive: true, force: true, maxRetries: 5 })
  }

  /** Keeps the world as it is; nothing may run in it. */
  save(copy: string): void {
    rmSync(copy, { recursive: true, force: true })
    execFileSync("cp", ["-a", this.directory, copy])
  }

  /** Makes the world what it was, at the same path. */
  load(copy: string): void {
    this.clear()
    execFileSync("cp", ["-a", copy, this.directory])
  }

  git(...args: ReadonlyArray<string>): string {
    return execFileSync("git", ["-C", this.app, ...args], {
      env: this.env,
      encoding: "utf8",
      stdio: ["ignore", "pipe", "pipe"]
    }).trim()
  }

  start(argv: ReadonlyArray<string>, control?: Control): Running {
    const process_ = spawn(process.execPath, [this.main, ...argv], {
      cwd: existsSync(this.app) ? this.app : this.directory,
      env: control === undefined ? this.env : { ...this.env, CRASH_CONTROL: JSON.stringify(control) },
      stdio: ["ignore", "pipe", "pipe"]
    })
    let [stdout, stderr, hung] = ["", "", false]
    process_.stdout!.setEncoding("utf8").on("data", (text: string) => (stdout += text))
    process_.stderr!.setEncoding("utf8").on("data", (text: string) => (stderr += text))
    const impatient = setTimeout(() => {
      hung = true
      process_.kill("SIGKILL")
    }, patience)
    const ended = new Promise<Ended>((resolve) =>
      process_.once("exit", (code, signal) => {
        clearTimeout(impatient)
        const end = () => resolve({ argv, code, signal, stdout, stderr, hung })
        process_.once("close", end)
        // a child that a killed command leaves may hold its output open
        setTimeout(end, 500).unref()
      })
    )
    return { process: process_, ended }
  }

  run(argv: ReadonlyArray<string>, control?: Control): Promise<Ended> {
    return this.start(argv, control).ended
  }

  /** Asks the ledger itself. */
  query<A extends object>(sql: string, ...values: ReadonlyArray<SQLInputValue>): ReadonlyArray<A> {
    if (!existsSync(this.ledger)) return []
    const db = new DatabaseSync(this.ledger, { timeout: 5000 })
    try {
      const tables = db.prepare("SELECT name FROM sqlite_master WHERE name = 'sessions'").all()
      if (tables.length === 0) return []
      return db
        .prepare(sql)
        .all(...values)
        .map((row) => ({ ...row }) as A)
    } finally {
      db.close()
    }
  }

  /** As if so much time had passed that no late answer of a provider is waited for any more. */
  passTime(): void {
    const db = new DatabaseSync(this.ledger, { timeout: 5000 })
    try {
      db.exec("UPDATE intents SET deadline = 1 WHERE status = 'open'")
    } finally {
      db.close()
    }
  }

  /** The processes that were started by anything in this world, with their environment. */
  marked(): ReadonlyArray<{ readonly pid: number; readonly line: string }> {
    const text = execFileSync("ps", ["axeww", "-o", "pid=,command="], {
      encoding: "utf8",
      env: { PATH: process.env["PATH"] },
      maxBuffer: 2 ** 28
    })
    return text
      .split("\n")
      .filter((line) => ` ${line} `.includes(` ${marker}=${this.directory} `))
      .map((line) => ({ pid: Number.parseInt(line, 10), line }))
  }

  processes(): ReadonlyArray<number> {
    return this.marked().map(({ pid }) => pid)
  }

  /** Entries of a directory below the state directory; none, where it does not exist. */
  entries(...path: ReadonlyArray<string>): ReadonlyArray<string> {
    const directory = join(this.state, ...path)
    return existsSync(directory) ? readdirSync(directory).toSorted() : []
  }
}
