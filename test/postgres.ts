/**
 * One throw-away PostgreSQL for the whole run.
 *
 * Where no server is installed its tests are skipped with that reason; naming `postgres` in SANDBOX_TEST_REQUIRE turns
 * that into a failure.
 */
import { execFileSync } from "node:child_process"
import { chmodSync, existsSync, mkdtempSync, readdirSync, rmSync } from "node:fs"
import { createServer } from "node:net"
import { tmpdir } from "node:os"
import { delimiter, join } from "node:path"
import type { TestProject } from "vitest/node"

declare module "vitest" {
  interface ProvidedContext {
    postgres: string | undefined
  }
}

const debian = "/usr/lib/postgresql"
const installed = existsSync(debian) ? readdirSync(debian).map((version) => join(debian, version, "bin")) : []
/** `off` leaves the databases' tests to SQLite alone: for runs that repeat a few tests many times. */
const wanted = process.env["SANDBOX_TEST_POSTGRES"] !== "off"
const bin = [...(process.env["PATH"] ?? "").split(delimiter), ...installed.sort().reverse()].find((directory) =>
  ["postgres", "initdb", "pg_ctl"].every((program) => existsSync(join(directory, program)))
)

const freePort = () =>
  new Promise<number>((resolve) => {
    const server = createServer().listen(0, "127.0.0.1", () => {
      const address = server.address()
      server.close(() => resolve(typeof address === "object" && address !== null ? address.port : 0))
    })
  })

// postgres refuses to run as root
const asServer = (command: string, args: ReadonlyArray<string>) =>
  process.getuid?.() === 0
    ? execFileSync("runuser", ["-u", "postgres", "--", command, ...args], { stdio: "pipe", cwd: "/" })
    : execFileSync(command, args, { stdio: "pipe" })

/** A PostgreSQL server that was started for tests. */
export interface Server {
  readonly url: string
  /** As its administrator does it: `fast` ends every session, `immediate` is a crash. Waits until it serves again. */
  readonly restart: (mode: "fast" | "immediate") => void
  readonly stop: () => void
}

/** Starts a server of its own on loopback; none where PostgreSQL is not installed or not wanted. */
export const startServer = async (): Promise<Server | undefined> => {
  if (bin === undefined || !wanted) return undefined
  const directory = mkdtempSync(join(tmpdir(), "sandbox-postgres-"))
  chmodSync(directory, 0o777)
  const data = join(directory, "data")
  const port = await freePort()
  const settings = `-c listen_addresses=127.0.0.1 -c port=${port} -c unix_socket_directories='' -c fsync=off -c max_connections=200`
  const control = (...args: ReadonlyArray<string>) => asServer(join(bin, "pg_ctl"), ["-D", data, "-w", ...args])
  asServer(join(bin, "initdb"), ["-D", data, "-U", "sandbox", "-A", "trust", "--no-sync", "-E", "UTF8", "--locale=C"])
  control("-l", join(data, "log"), "-o", settings, "start")
  return {
    url: `postgres://sandbox@127.0.0.1:${port}/postgres`,
    restart: (mode) => void control("-l", join(data, "log"), "-o", settings, "-m", mode, "restart"),
    stop: () => {
      control("-m", "immediate", "stop")
      rmSync(directory, { recursive: true, force: true })
    }
  }
}

export default async function (project: TestProject) {
  const server = await startServer()
  if (server === undefined && (process.env["SANDBOX_TEST_REQUIRE"] ?? "").split(",").includes("postgres")) {
    throw new Error("SANDBOX_TEST_REQUIRE names postgres, but postgres, initdb and pg_ctl are not installed")
  }
  project.provide("postgres", server?.url)
  return server?.stop
}
