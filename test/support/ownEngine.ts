/**
 * An engine of a test's own beside the machine's: it can be ended, halted and cut off, and nobody else notices.
 *
 * It has a network, mounts and processes of its own, and what it keeps is in memory: with the process that started it, it is
 * gone, and everything on it. Ports of its containers are not ports of this host.
 */
import { type ChildProcess, execFileSync, spawn, spawnSync } from "node:child_process"
import {
  closeSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync
} from "node:fs"
import { tmpdir } from "node:os"
import { basename, join } from "node:path"
import { Effect } from "effect"
import { request, socket } from "./docker.ts"

/**
 * What can happen to it:
 *
 * - `restart`: it is told to end, which halts its containers, and is started again
 * - `crash`: it is killed, and started again
 * - `runtime`: the part of it that runs containers is killed, which it starts again by itself
 * - `pause`: it does nothing for a while, not even answer, and then goes on with what it was asked
 * - `unreachable`: every connection is cut, and no other one is made
 */
export const disturbances = ["restart", "crash", "runtime", "pause", "unreachable"] as const
export type Disturbance = (typeof disturbances)[number]

/** Debian's own client speaks the version of Debian's engine. */
export const client = existsSync("/usr/bin/docker") ? "/usr/bin/docker" : "docker"

const apart = ["--net", "--mount", "--pid"]
const unshared = [...apart, "--fork", "--kill-child=KILL", "--mount-proc"]

/** Why there can be none here; nothing where there can. */
export const obstacle = (): string | undefined => {
  if (process.platform !== "linux" || process.getuid?.() !== 0) return "another engine needs root of a Linux host"
  const missing = ["dockerd", "ip", "nsenter", "setpriv", client].filter(
    (program) => spawnSync("sh", ["-c", `command -v ${program}`]).status !== 0
  )
  if (missing.length > 0) return `another engine needs ${missing.join(", ")}`
  const { status, stderr } = spawnSync("unshare", [...unshared, "true"], { encoding: "utf8" })
  return status === 0 ? undefined : `another engine needs namespaces of its own: ${stderr?.trim()}`
}

/** The first process of its own: ends with whoever holds it, and collects what others leave. */
const first = `
set -e
ip link set lo up
for place in "$0/data" "$0/exec"; do mount -t tmpfs own "$place"; done
# the machine's engine has its settings there, and its identity
[ ! -d /etc/docker ] || mount -t tmpfs own /etc/docker
echo ready
while :; do sleep 86400 & wait; done
`

/** Passes everything on in both directions. */
const passing = `
const { connect, createServer } = require("node:net")
const [at, to] = process.argv.slice(1)
createServer({ allowHalfOpen: true }, (client) => {
  const engine = connect({ path: to, allowHalfOpen: true })
  client.pipe(engine).pipe(client)
  for (const end of [client, engine]) end.on("error", () => { client.destroy(); engine.destroy() })
}).listen(at, () => console.log("ready"))
`

/** Starts a program that does not outlive this process, and waits until it says that it is ready. */
const started = (program: string, argv: ReadonlyArray<string>): Promise<ChildProcess> => {
  const child = spawn("setpriv", ["--pdeathsig", "KILL", program, ...argv], { stdio: ["ignore", "pipe", "pipe"] })
  let said = ""
  child.stderr.setEncoding("utf8").on("data", (text: string) => (said += text))
  return new Promise((resolve, reject) => {
    child.stdout.once("data", () => resolve(child))
    child.once("error", reject)
    child.once("exit", (code) => reject(new Error(`${program} ended with ${code}: ${said}`)))
  })
}

/** The process of a name that another one has started. */
const childOf = (pid: number, name: RegExp): number | undefined => {
  const { stdout } = spawnSync("ps", ["-o", "pid=,comm=", "--ppid", String(pid)], { encoding: "utf8" })
  const line = stdout.split("\n").find((line) => name.test(line.trim().split(/\s+/)[1] ?? ""))
  return line === undefined ? undefined : Number.parseInt(line, 10)
}

const isAlive = (pid: number): boolean => spawnSync("ps", ["-o", "pid=", "-p", String(pid)]).status === 0

/** Looks again every 50 ms until there is an answer. */
const eventually = async <A>(what: string, look: () => A | undefined | Promise<A | undefined>): Promise<A> => {
  for (const end = performance.now() + 60_000; performance.now() < end; ) {
    const found = await look()
    if (found !== undefined) return found
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
  throw new Error(`not so within a minute: ${what}`)
}

export class OwnEngine {
  /** As DOCKER_HOST takes it, for what is tested: here it can be cut off. */
  readonly address: string
  /** The same, for what tests. */
  readonly direct: string
  private readonly directory: string
  private readonly holder: ChildProcess
  /** The first of its processes. */
  private readonly init: number
  private gate: ChildProcess | undefined
  private daemon: ChildProcess | undefined
  /** Nothing is on it any more. */
  hasEnded = false

  private constructor(directory: string, holder: ChildProcess, init: number) {
    this.directory = directory
    this.holder = holder
    this.init = init
    this.address = `unix://${this.path("docker")}`
    this.direct = `unix://${this.path("engine")}`
  }

  /** One that is well, and has these images of the machine's engine. */
  static async start(images: ReadonlyArray<string>): Promise<OwnEngine> {
    const why = obstacle()
    if (why !== undefined) throw new Error(why)
    const directory = mkdtempSync(join(tmpdir(), "own-engine-"))
    for (const name of ["data", "exec"]) mkdirSync(join(directory, name))
    const holder = await started("unshare", [...unshared, "sh", "-c", first, directory])
    const self = new OwnEngine(directory, holder, childOf(holder.pid!, /./)!)
    process.once("exit", self.close)
    try {
      self.launch()
      await self.well()
      await self.open()
      const copy = `"$0" -H unix://${socket} save "$@" | "$0" -H ${self.direct} load`
      execFileSync("sh", ["-c", copy, client, ...images])
    } catch (error) {
      self.close()
      throw error
    }
    return self
  }

  private path(name: string): string {
    return join(this.directory, `${name}.sock`)
  }

  /** Where those that are tested connect to from now on. */
  private lead(to: "gate" | "engine"): void {
    symlinkSync(this.path(to), this.path("next"))
    renameSync(this.path("next"), this.path("docker"))
  }

  private launch(): void {
    const log = openSync(join(this.directory, "log"), "a")
    const flags = {
      "data-root": join(this.directory, "data"),
      "exec-root": join(this.directory, "exec"),
      pidfile: join(this.directory, "exec/pid"),
      host: this.direct,
      "cgroup-parent": this.group,
      // many networks, none of which is anybody else's
      "default-address-pool": "base=10.128.0.0/9,size=24"
    }
    const argv = Object.entries(flags).map(([name, value]) => `--${name}=${value}`)
    this.daemon = spawn("nsenter", ["--target", String(this.init), ...apart, "dockerd", ...argv], {
      stdio: ["ignore", log, log]
    })
    closeSync(log)
  }

  private get group(): string {
    return basename(this.directory)
  }

  private get dockerd(): number {
    const pid = childOf(this.daemon!.pid!, /^dockerd$/)
    if (pid === undefined) throw new Error(`the engine has ended: ${this.log()}`)
    return pid
  }

  /** Waits until it answers, and can run containers. */
  private async well(): Promise<void> {
    const asked = request("GET", "/version", { at: this.path("engine") }).pipe(
      Effect.map((answer) => answer.json().Components as ReadonlyArray<{ readonly Name: string }>),
      Effect.timeout("2 seconds"),
      Effect.orElseSucceed(() => [])
    )
    await eventually("the engine is well", async () => {
      const { exitCode, signalCode } = this.daemon!
      if (exitCode !== null || signalCode !== null) throw new Error(`the engine has ended: ${this.log()}`)
      return (await Effect.runPromise(asked)).some(({ Name }) => Name === "containerd") ? true : undefined
    })
  }

  private async open(): Promise<void> {
    rmSync(this.path("gate"), { force: true })
    this.gate = await started(process.execPath, ["-e", passing, this.path("gate"), this.path("engine")])
    this.lead("gate")
  }

  /** Begins at once, and answers when it is well again; what can last lasts until `over`. */
  async disturb(kind: Disturbance, over: Promise<unknown>): Promise<void> {
    const undo = this.begin(kind)
    await over
    await undo()
    await this.well()
    this.lead("gate")
  }

  /** Answers what ends it. */
  private begin(kind: Disturbance): () => Promise<void> | void {
    const { daemon, dockerd, gate } = this
    switch (kind) {
      case "restart":
      case "crash": {
        const ended = new Promise((resolve) => daemon!.once("exit", resolve))
        // one that does not run is not there, or takes no connection; the gate would
        this.lead("engine")
        process.kill(dockerd, kind === "crash" ? "SIGKILL" : "SIGTERM")
        return async () => {
          await ended
          this.launch()
        }
      }
      case "runtime": {
        const runtime = childOf(dockerd, /^containerd$/)!
        process.kill(runtime, "SIGKILL")
        return async () => {
          await eventually("another containerd", () => {
            const now = childOf(dockerd, /^containerd$/)
            return now === runtime ? undefined : now
          })
        }
      }
      case "pause":
        process.kill(dockerd, "SIGSTOP")
        return () => {
          process.kill(dockerd, "SIGCONT")
          // it halts with what it has started
          daemon!.kill("SIGCONT")
        }
      case "unreachable":
        // its socket stays, and refuses
        gate!.kill("SIGKILL")
        return () => this.open()
    }
  }

  private log(): string {
    return readFileSync(join(this.directory, "log"), "utf8").slice(-2000)
  }

  /** Ends it and whatever runs on it. */
  readonly close = (): void => {
    process.off("exit", this.close)
    this.hasEnded = true
    this.gate?.kill("SIGKILL")
    this.holder.kill("SIGKILL")
    for (let tries = 0; isAlive(this.init) && tries < 200; tries++) {
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 25)
    }
    spawnSync("sh", ["-c", `find /sys/fs/cgroup -depth -type d -path '*/${this.group}*' -exec rmdir {} +`])
    rmSync(this.directory, { recursive: true, force: true })
  }
}
