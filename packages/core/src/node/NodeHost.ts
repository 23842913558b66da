/** The `Host`, `Directories`, `Ids` and `Hasher` ports on Node. */
import { execFile } from "node:child_process"
import { createHash, randomBytes } from "node:crypto"
import { readFileSync, readlinkSync } from "node:fs"
import { homedir, hostname, platform, userInfo } from "node:os"
import { join, resolve } from "node:path"
import { Config, Effect, Layer, Option, Stream } from "effect"
import { Hasher } from "../Hasher.ts"
import { Directories, Holder, Host } from "../Host.ts"
import * as Ids from "../Ids.ts"
import * as SandboxError from "../SandboxError.ts"

const read = (path: string): Option.Option<string> => Option.liftThrowable(() => readFileSync(path, "utf8").trim())()

/** The token that tells a process from a later one with the same pid: its start time, in clock ticks since boot. */
const linuxStartedAt = (pid: number): string | undefined =>
  Option.getOrUndefined(
    Option.map(read(`/proc/${pid}/stat`), (stat) => {
      // the second field is the command in parentheses and may itself hold spaces and parentheses
      const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ")
      // 3rd field of the file is the state, 22nd the start time (proc(5))
      return fields[0] === "Z" ? undefined : fields[19]
    })
  )

const psStartedAt = (pid: number): Effect.Effect<string | undefined> =>
  Effect.callback((resume) => {
    execFile(
      "ps",
      ["-o", "stat=,lstart=", "-p", String(pid)],
      { env: { LC_ALL: "C", TZ: "UTC", PATH: process.env["PATH"] ?? "" } },
      (error, stdout) => {
        const text = stdout.trim()
        resume(
          Effect.succeed(
            error !== null || text === "" || text.startsWith("Z") ? undefined : text.replace(/^\S+\s+/, "")
          )
        )
      }
    )
  })

const startedAt = (pid: number): Effect.Effect<string | undefined> =>
  platform() === "linux" ? Effect.sync(() => linuxStartedAt(pid)) : psStartedAt(pid)

const digest = (parts: ReadonlyArray<string>): string =>
  createHash("sha256").update(parts.join("\n")).digest("hex").slice(0, 16)

const machineId = (): string =>
  Option.getOrElse(Option.firstSomeOf([read("/etc/machine-id"), read("/var/lib/dbus/machine-id")]), hostname)

/** Machine, boot and pid namespace: two containers on one machine must not judge each other's processes. */
const hostId = (): string => {
  const boot = read("/proc/sys/kernel/random/boot_id")
  const namespace = Option.liftThrowable(() => readlinkSync("/proc/self/ns/pid"))()
  return digest([machineId(), ...[boot, namespace].map(Option.getOrElse(() => ""))])
}

const isZombie = (pid: number): boolean =>
  Option.exists(read(`/proc/${pid}/stat`), (stat) => stat.slice(stat.lastIndexOf(")") + 2).startsWith("Z"))

/** Whether nothing of that pid exists. A process that may not be looked at exists. */
const isAbsent = (pid: number): boolean => {
  try {
    process.kill(pid, 0)
    return false
  } catch (cause) {
    return cause instanceof Error && "code" in cause && cause.code === "ESRCH"
  }
}

/** The token of a process whose start time nobody could learn: it lives as long as its pid does. */
const unknownStart = "unknown"

export const layerHost: Layer.Layer<Host, SandboxError.SandboxError> = Layer.effect(
  Host,
  Effect.gen(function* () {
    if (platform() === "win32") {
      return yield* SandboxError.make("ERR_UNSUPPORTED", {
        message: "sandbox runs on Linux and macOS",
        nextStep: "on Windows, run it inside WSL"
      })
    }
    const override = yield* Effect.orDie(Effect.option(Config.String("SANDBOX_HOST_ID")))
    const self = new Holder({
      host: Option.getOrElse(override, hostId),
      pid: process.pid,
      startedAt: (yield* startedAt(process.pid)) ?? unknownStart
    })
    return {
      self,
      machine: Option.getOrElse(override, () => digest([machineId()])),
      user: Option.getOrElse(Option.liftThrowable(() => userInfo().username)(), () => `uid-${process.getuid?.() ?? 0}`),
      startedAt,
      isAlive: (holder) =>
        Effect.map(startedAt(holder.pid), (token) =>
          // no token is a zombie, or a process that hidepid hides from us, which only a signal can tell from none
          token === undefined || holder.startedAt === unknownStart
            ? !isAbsent(holder.pid) && !isZombie(holder.pid)
            : token === holder.startedAt
        )
    }
  })
)

/** `$XDG_STATE_HOME/sandbox` and `$XDG_CACHE_HOME/sandbox`, or their usual places below the home directory. */
export const layerDirectories: Layer.Layer<Directories> = Layer.effect(
  Directories,
  Effect.gen(function* () {
    const base = (name: string, fallback: string) =>
      Effect.map(Effect.orDie(Effect.option(Config.NonEmptyString(name))), (set) =>
        resolve(
          Option.getOrElse(set, () => join(homedir(), fallback)),
          "sandbox"
        )
      )
    return { state: yield* base("XDG_STATE_HOME", ".local/state"), cache: yield* base("XDG_CACHE_HOME", ".cache") }
  })
)

export const layerIds: Layer.Layer<Ids.Ids> = Ids.layer(() => randomBytes(10))

export const layerHasher: Layer.Layer<Hasher> = Layer.succeed(Hasher)({
  sha256: (bytes) =>
    Effect.map(
      Stream.runFold(
        bytes,
        () => createHash("sha256"),
        (hash, chunk) => hash.update(chunk)
      ),
      (hash) => hash.digest("hex")
    )
})
