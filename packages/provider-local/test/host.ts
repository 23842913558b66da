/** A host for tests: the real one, with state and cache in a directory of their own, and real repositories. */
import { execFileSync, spawn, spawnSync } from "node:child_process"
import { once } from "node:events"
import { fileURLToPath } from "node:url"
import { setFlagsFromString } from "node:v8"
import { runInNewContext } from "node:vm"
import { Directories } from "@org/sandbox-core/Host"
import { layerPlatform } from "@org/sandbox-core/node"
import { labelNames, Provisioner, type ProvisionIntent, type WorkspaceSource } from "@org/sandbox-core/Provisioner"
import { instanceName, intentKey, Spec } from "@org/sandbox-core/Session"
import * as LocalProvisioner from "@org/sandbox-provider-local/LocalProvisioner"
import { Effect, FileSystem, Layer, Stream } from "effect"

setFlagsFromString("--expose-gc")
const collectGarbage: () => void = runInNewContext("gc")

/** The bytes of all buffers that somebody still refers to. */
export const heldBuffers = () => {
  collectGarbage()
  return process.memoryUsage().arrayBuffers
}

/** The provider over a directory, with everything that it needs. */
export const layerAt = (base: string) =>
  Layer.fresh(LocalProvisioner.layer).pipe(
    Layer.provideMerge(Layer.succeed(Directories)({ state: `${base}/state`, cache: `${base}/cache` })),
    Layer.provideMerge(Layer.orDie(layerPlatform))
  )

/** A fresh directory by its real path. */
export const directory = Effect.gen(function* () {
  const fs = yield* FileSystem.FileSystem
  return yield* fs.realPath(yield* fs.makeTempDirectoryScoped({ prefix: "sandbox-test-" }))
})

/** The provider in a directory that is removed with the layer. */
export const layer = Layer.unwrap(Effect.map(directory, layerAt)).pipe(Layer.provide(Layer.orDie(layerPlatform)))

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

/** Records an empty commit and answers its name. */
export const commit = (path: string, message: string): string => {
  git(path, "commit", "--quiet", "--allow-empty", "--message", message)
  return git(path, "rev-parse", "HEAD")
}

/** A repository on branch `main` with a file, and a branch `work`. */
export const repository = Effect.gen(function* () {
  const fs = yield* FileSystem.FileSystem
  const path = yield* directory
  git(path, "init", "--quiet", "--initial-branch", "main")
  yield* fs.writeFileString(`${path}/file`, "first\n")
  yield* fs.writeFileString(`${path}/.gitignore`, "ignored\n")
  git(path, "add", "--all")
  commit(path, "first")
  git(path, "branch", "work")
  return path
})

/** What to check out of a repository. */
export const source = (path: string, more: Partial<WorkspaceSource> = {}): WorkspaceSource => ({
  repository: path,
  branch: "work",
  commit: more.commit ?? git(path, "rev-parse", more.branch ?? "work"),
  fallbackBranch: "sandbox/x",
  ...more
})

let count = 0

/** An intent for a box of its own. */
export const intent = (more: Partial<ProvisionIntent> = {}): ProvisionIntent => {
  count += 1
  const session = `sbx_test${process.pid}x${count}`
  const key = more.key ?? intentKey(session, 1)
  return {
    key,
    scope: "here",
    name: instanceName(key),
    labels: { [labelNames.ledger]: "ldg_test", [labelNames.session]: session, [labelNames.key]: key },
    spec: new Spec({}),
    deadline: 0,
    ...more
  }
}

/** A new box, destroyed with the scope. */
export const box = Effect.gen(function* () {
  const { destroy, provision } = yield* Provisioner
  return yield* Effect.acquireRelease(provision(intent()), (ref) => Effect.ignore(destroy(ref)))
})

/** The members that are optional in the port and that this provider has. */
export const local = Effect.map(Provisioner, (all) => {
  const { endpoint, exec, files, start, workspace } = all
  if (endpoint === undefined || exec === undefined || files === undefined || start === undefined) {
    throw new Error("a capability is missing")
  }
  if (workspace === undefined) throw new Error("a capability is missing")
  return { ...all, endpoint, exec, files, start, workspace }
})

/** Runs a command in a box to its end. */
export const run = Effect.fnUntraced(function* (
  ref: Parameters<NonNullable<Provisioner["Service"]["exec"]>>[0],
  argv: ReadonlyArray<string>,
  more: { readonly cwd?: string; readonly env?: Readonly<Record<string, string>> } = {}
) {
  const handle = yield* (yield* local).exec(ref, { argv, ...more })
  const text = { 1: "", 2: "" }
  yield* Stream.runForEach(handle.output, ({ bytes, fd }) =>
    Effect.sync(() => {
      text[fd] += Buffer.from(bytes).toString()
    })
  )
  return { ...(yield* handle.exit), out: text[1], err: text[2] }
}, Effect.scoped)

/** Whether a process still runs; a zombie that nobody has collected yet does not. */
export const alive = (pid: number): boolean => {
  const state = spawnSync("ps", ["-o", "stat=", "-p", String(pid)], { encoding: "utf8" }).stdout.trim()
  return state !== "" && !state.startsWith("Z")
}

/** What node compiled for one worker serves the next ones, whose start is mostly that. */
const compiled = fileURLToPath(new URL("../../../node_modules/.cache/compiled", import.meta.url))

/** Starts `worker.ts` as a process of its own, which dies with the scope. */
export const worker = (...args: ReadonlyArray<string>) => workerWith({}, ...args)

/** The same, with more in its environment. */
export const workerWith = (env: Readonly<Record<string, string>>, ...args: ReadonlyArray<string>) =>
  Effect.acquireRelease(
    Effect.sync(() => {
      const file = fileURLToPath(new URL("worker.ts", import.meta.url))
      const node = ["--conditions=@org/source", "--disable-warning=ExperimentalWarning", file, ...args]
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
