/** Real repositories for tests, made with the git on this machine and removed with the test's scope. */
import { execFileSync, spawn, spawnSync } from "node:child_process"
import { once } from "node:events"
import { createServer } from "node:net"
import { fileURLToPath } from "node:url"
import * as NodeServices from "@effect/platform-node/NodeServices"
import { Directories } from "@org/sandbox-core/Host"
import { Effect, FileSystem, Layer } from "effect"
import * as NodeHost from "../src/node/NodeHost.ts"

export const layer = Layer.mergeAll(NodeServices.layer, Layer.orDie(NodeHost.layerHost), NodeHost.layerHasher)

/** State and cache below one directory. */
export const directories = (base: string) => Directories.of({ state: `${base}/state`, cache: `${base}/cache` })

const author = {
  ...process.env,
  GIT_CONFIG_GLOBAL: "/dev/null",
  GIT_AUTHOR_NAME: "t",
  GIT_AUTHOR_EMAIL: "t@example.com",
  GIT_COMMITTER_NAME: "t",
  GIT_COMMITTER_EMAIL: "t@example.com"
}

/** Runs git and answers what it printed, without the last line break. */
export const git = (cwd: string, ...args: ReadonlyArray<string>): string =>
  execFileSync("git", ["-C", cwd, ...args], { env: author, encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] }).trim()

/** A fresh directory by its real path. */
export const directory = Effect.gen(function* () {
  const fs = yield* FileSystem.FileSystem
  return yield* fs.realPath(yield* fs.makeTempDirectoryScoped({ prefix: "sandbox-test-" }))
})

/** A repository on branch `main` with one commit. */
export const repository = Effect.gen(function* () {
  const path = yield* directory
  git(path, "init", "--quiet", "--initial-branch", "main")
  commit(path, "first")
  return path
})

/** Records an empty commit and answers its name. */
export const commit = (path: string, message: string): string => {
  git(path, "commit", "--quiet", "--allow-empty", "--message", message)
  return git(path, "rev-parse", "HEAD")
}

const freePort = Effect.promise(async () => {
  const server = createServer().listen(0, "127.0.0.1")
  await once(server, "listening")
  const { port } = server.address() as { port: number }
  server.close()
  await once(server, "close")
  return port
})

/** The URL of a `git daemon` on loopback that serves a repository. */
export const served = Effect.fnUntraced(function* (path: string) {
  const port = yield* freePort
  const args = ["daemon", "--reuseaddr", "--export-all", "--listen=127.0.0.1", `--port=${port}`, `--base-path=${path}`]
  yield* Effect.acquireRelease(
    Effect.sync(() => spawn("git", [...args, path], { stdio: "ignore", detached: true })),
    (daemon) => Effect.sync(() => process.kill(-daemon.pid!, "SIGKILL"))
  )
  const url = `git://127.0.0.1:${port}/.git`
  yield* Effect.try(() => git("/", "ls-remote", url)).pipe(Effect.retry({ times: 200 }), Effect.orDie)
  return url
})

/** Whether a process still runs; a zombie that nobody has collected yet does not. */
export const alive = (pid: number): boolean => {
  const state = spawnSync("ps", ["-o", "stat=", "-p", String(pid)], { encoding: "utf8" }).stdout.trim()
  return state !== "" && !state.startsWith("Z")
}

/** What node compiled for one worker serves the next ones, whose start is mostly that. */
const compiled = fileURLToPath(new URL("../../../node_modules/.cache/compiled", import.meta.url))

/** Starts a script of this folder as a process of its own, which dies with the test's scope. */
export const worker = (script: string, args: ReadonlyArray<string>, env: NodeJS.ProcessEnv = {}) =>
  Effect.acquireRelease(
    Effect.sync(() => {
      const file = fileURLToPath(new URL(script, import.meta.url))
      const node = [...["--conditions=@org/source", "--disable-warning=ExperimentalWarning"], file, ...args]
      const child = spawn(process.execPath, node, {
        env: { ...process.env, NODE_COMPILE_CACHE: compiled, ...env },
        stdio: ["ignore", "pipe", "inherit"]
      })
      let stdout = ""
      child.stdout.on("data", (bytes) => (stdout += bytes))
      const ended = once(child, "close").then(([code, signal]) => ({ code, signal, stdout }))
      return { child, ended: Effect.promise(() => ended) }
    }),
    ({ child, ended }) =>
      Effect.andThen(
        Effect.sync(() => child.kill("SIGKILL")),
        ended
      )
  )
