/** An engine on another host, reached as the docker command reaches it: `ssh` runs `docker system dial-stdio` there. */
import { spawn } from "node:child_process"
import { chmodSync, mkdtempSync, rmSync } from "node:fs"
import { createServer, type Server } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { Effect, type Scope } from "effect"
import type { Address } from "./Address.ts"
import { TransportError } from "./DockerError.ts"

interface Relay {
  /** A socket of this host behind which the engine answers; gone with the scope. */
  readonly path: string
  /** What ssh said last, which tells why a connection broke. */
  readonly said: () => string
}

/** Each connection to the socket is one `ssh`; none is made before the first. */
export const relay = (address: Address & { readonly _tag: "ssh" }): Effect.Effect<Relay, TransportError, Scope.Scope> =>
  Effect.map(
    Effect.acquireRelease(open(address), ({ directory, server, stop }) =>
      Effect.callback<void>((resume) => {
        stop()
        server.close(() => {
          rmSync(directory, { recursive: true, force: true })
          resume(Effect.void)
        })
      })
    ),
    ({ path, said }) => ({ path, said })
  )

const open = (address: Address & { readonly _tag: "ssh" }) =>
  Effect.callback<Relay & { directory: string; server: Server; stop: () => void }, TransportError>((resume) => {
    const directory = mkdtempSync(join(tmpdir(), "sandbox-ssh-"))
    chmodSync(directory, 0o700)
    const path = join(directory, "engine.sock")
    const running = new Set<() => void>()
    let words = ""
    const server = createServer({ allowHalfOpen: true }, (socket) => {
      const ssh = spawn("ssh", argv(address), { stdio: ["pipe", "pipe", "pipe"] })
      const end = () => {
        ssh.kill("SIGTERM")
        socket.destroy()
      }
      running.add(end)
      ssh.once("error", (error) => {
        words = error.message
        socket.destroy()
      })
      ssh.stderr.on("data", (bytes) => {
        words = `${words}${bytes}`.slice(-2000)
      })
      for (const stream of [ssh.stdin, ssh.stdout, socket]) stream.on("error", () => {})
      socket.pipe(ssh.stdin)
      ssh.stdout.pipe(socket)
      socket.once("close", end)
      ssh.once("close", () => running.delete(end))
    })
    server.once("error", (error: NodeJS.ErrnoException) =>
      resume(Effect.fail(new TransportError({ code: error.code, message: error.message })))
    )
    server.listen(path, () =>
      resume(
        Effect.succeed({
          directory,
          path,
          server,
          said: () => words.trim(),
          stop: () => running.forEach((end) => end())
        })
      )
    )
  })

const argv = ({ path, port, target }: Address & { readonly _tag: "ssh" }): ReadonlyArray<string> => [
  // nobody is there to be asked, and a host that is silent is to be told from a slow one
  ...["-o", "BatchMode=yes", "-o", "ConnectTimeout=30", "-T"],
  ...(port === undefined ? [] : ["-p", String(port)]),
  "--",
  target,
  ...(path === undefined ? ["docker"] : ["docker", "--host", `unix://${path}`]),
  ...["system", "dial-stdio"]
]
