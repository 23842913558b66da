/** The `Ports` port on Node: `/proc/net` on Linux, `lsof` elsewhere. */
import { execFile } from "node:child_process"
import { readdirSync, readFileSync, readlinkSync } from "node:fs"
import { connect, createServer, type Server } from "node:net"
import { basename } from "node:path"
import { platform } from "node:process"
import { Duration, Effect, Layer, type Scope } from "effect"
import { type Listener, PortInUse, Ports } from "../Ports.ts"

/** Every address that a listener may be on: what one of them has, a program that wants it cannot bind. */
const addresses = ["127.0.0.1", "::1", "0.0.0.0", "::"] as const

/** How long one question to a port may take, in milliseconds. */
const patience = 2000

const attempt = <A>(read: () => A): A | undefined => {
  try {
    return read()
  } catch {
    return undefined // it has ended, or belongs to somebody else
  }
}

/** Inodes of listening sockets, by port. proc(5): state 0A is LISTEN, addresses are hexadecimal. */
const linuxSockets = (): ReadonlyMap<number, ReadonlyArray<string>> => {
  const sockets = new Map<number, Array<string>>()
  for (const file of ["/proc/net/tcp", "/proc/net/tcp6"]) {
    for (const line of (attempt(() => readFileSync(file, "latin1")) ?? "").split("\n").slice(1)) {
      const fields = line.trim().split(/\s+/)
      if (fields[3] !== "0A") continue
      const port = Number.parseInt(fields[1]!.slice(fields[1]!.lastIndexOf(":") + 1), 16)
      sockets.set(port, [...(sockets.get(port) ?? []), fields[9]!])
    }
  }
  return sockets
}

const socketsOf = (pid: string): ReadonlyArray<string> =>
  (attempt(() => readdirSync(`/proc/${pid}/fd`)) ?? []).flatMap((fd) => {
    const target = attempt(() => readlinkSync(`/proc/${pid}/fd/${fd}`))
    return target?.startsWith("socket:[") === true ? [target.slice("socket:[".length, -1)] : []
  })

/** The program of a process: of the file that it runs, because a process may call itself as it likes. */
const programOf = (pid: string): string | null => {
  const file = attempt(() => readlinkSync(`/proc/${pid}/exe`))
  if (file !== undefined) return basename(file.replace(/ \(deleted\)$/, ""))
  return attempt(() => readFileSync(`/proc/${pid}/comm`, "utf8").trim()) ?? null
}

/** Looks through the processes once, and no further than until the owners of all are known. */
const linuxListeners = (ports: ReadonlyArray<number>): ReadonlyMap<number, Listener> => {
  const sockets = linuxSockets()
  const found = new Map<number, Listener>()
  const unowned = new Map<string, number>()
  for (const port of ports) {
    const inodes = sockets.get(port)
    if (inodes === undefined) continue
    found.set(port, { port, pid: null, command: null })
    for (const inode of inodes) unowned.set(inode, port)
  }
  for (const pid of unowned.size === 0 ? [] : readdirSync("/proc").filter((name) => /^\d+$/.test(name))) {
    for (const inode of socketsOf(pid)) {
      const port = unowned.get(inode)
      if (port === undefined) continue
      found.set(port, { port, pid: Number(pid), command: programOf(pid) })
      for (const other of sockets.get(port) ?? []) unowned.delete(other)
    }
    if (unowned.size === 0) break
  }
  return found
}

const lsof = (args: ReadonlyArray<string>): Effect.Effect<string> =>
  Effect.callback((resume) => {
    // it answers with 1 when there is nothing to list
    const child = execFile("lsof", ["-nP", "+c0", "-sTCP:LISTEN", "-Fpcn", ...args], (_, stdout) =>
      resume(Effect.succeed(stdout))
    )
    return Effect.sync(() => child.kill())
  })

/** Reads `lsof -F` output: a line per field, `p` pid, `c` command, `n` address:port. */
export const parseLsof = (text: string): ReadonlyArray<Listener> => {
  const listeners: Array<Listener> = []
  let pid: number | null = null
  let command: string | null = null
  for (const line of text.split("\n")) {
    const value = line.slice(1)
    if (line.startsWith("p")) pid = Number(value)
    if (line.startsWith("c")) command = value
    if (line.startsWith("n")) listeners.push({ port: Number(value.slice(value.lastIndexOf(":") + 1)), pid, command })
  }
  return listeners
}

const listeners = (ports: ReadonlyArray<number>): Effect.Effect<ReadonlyMap<number, Listener>> => {
  if (ports.length === 0) return Effect.succeed(new Map())
  return platform === "linux"
    ? Effect.sync(() => linuxListeners(ports))
    : Effect.map(lsof([`-iTCP:${ports.join(",")}`]), (text) => new Map(parseLsof(text).map((row) => [row.port, row])))
}

const listener = (port: number): Effect.Effect<Listener | undefined> =>
  Effect.map(listeners([port]), (found) => found.get(port))

const listeningOn = (pid: number): Effect.Effect<ReadonlyArray<number>> =>
  platform === "linux"
    ? Effect.sync(() => {
        const own = new Set(socketsOf(String(pid)))
        return [...linuxSockets()].flatMap(([port, inodes]) => (inodes.some((inode) => own.has(inode)) ? [port] : []))
      })
    : Effect.map(lsof(["-a", "-p", String(pid), "-iTCP"]), (text) => [
        ...new Set(parseLsof(text).map(({ port }) => port))
      ])

/** An address family that this host has not got cannot be held by anybody either. */
const impossible = ["EADDRNOTAVAIL", "EAFNOSUPPORT"]

const bind = (host: string, port: number): Effect.Effect<Server | undefined, PortInUse> =>
  Effect.callback((resume) => {
    // A connection that we closed politely would stay behind for a minute, in the way of programs that insist on a clean port.
    const server = createServer((socket) => socket.resetAndDestroy())
    server.once("error", (error: NodeJS.ErrnoException) =>
      resume(impossible.includes(error.code ?? "") ? Effect.undefined : Effect.fail(new PortInUse({ port })))
    )
    // Without ipv6Only the wildcard of one family would take the other's too.
    server.listen({ host, port, exclusive: true, ipv6Only: true }, () => resume(Effect.succeed(server)))
  })

const close = (server: Server | undefined): Effect.Effect<void> =>
  Effect.callback((resume) => {
    if (server === undefined) return resume(Effect.void)
    server.close(() => resume(Effect.void))
  })

/**
 * What has to be ours so that nobody else can bind anything. Linux refuses a wildcard beside any other address of the
 * port, our own included; elsewhere both can be had at the same time, and so must be.
 */
const held = platform === "linux" ? addresses.slice(2) : addresses

const hold = (port: number): Effect.Effect<void, PortInUse, Scope.Scope> =>
  Effect.forEach(held, (host) => Effect.acquireRelease(bind(host, port), close), { discard: true })

/** Programs choose one of the loopback addresses as they like. */
const loopback = ["127.0.0.1", "::1"] as const

const connects = (host: string, port: number, lasting: Duration.Duration | undefined): Effect.Effect<boolean> =>
  Effect.callback((resume) => {
    const socket = connect({ host, port })
    const answer = (accepted: boolean) => {
      socket.destroy()
      resume(Effect.succeed(accepted))
    }
    socket.setTimeout(patience, () => answer(false))
    socket.once("connect", () => {
      if (lasting === undefined) return answer(true)
      // what it says is not waited for, and only its end is looked at
      socket.removeAllListeners("timeout").resume()
      socket.setTimeout(Duration.toMillis(lasting), () => answer(true))
    })
    socket.once("error", () => answer(false))
    socket.once("end", () => answer(false))
    return Effect.sync(() => socket.destroy())
  })

const accepts = Effect.fnUntraced(function* (port: number, lasting?: Duration.Duration) {
  for (const host of loopback) {
    if (yield* connects(host, port, lasting)) return true
  }
  return false
})

const statusAt = Effect.fnUntraced(function* (url: URL, host: string) {
  // no command has to load it that asks for nothing: with it comes all of fetch
  const { get } = yield* Effect.promise(() => import("node:http"))
  return yield* Effect.callback<number | undefined>((resume) => {
    const request = get(
      {
        host,
        port: url.port,
        path: `${url.pathname}${url.search}`,
        // Whoever closes a connection first keeps its port busy for a minute: that must not be the service.
        headers: { host: url.host, connection: "keep-alive" },
        agent: false,
        // For the whole answer: a body without end is let go of with it.
        signal: AbortSignal.timeout(patience)
      },
      (response) => {
        response.on("error", () => {}).on("end", () => request.destroy())
        response.resume()
        resume(Effect.succeed(response.statusCode))
      }
    )
    request.on("error", () => resume(Effect.undefined))
    return Effect.sync(() => request.destroy())
  })
})

const httpStatus = Effect.fnUntraced(function* (url: string) {
  const asked = new URL(url)
  const named = asked.hostname.replace(/^\[(.*)\]$/, "$1")
  const isLocal = named === "localhost" || loopback.some((host) => host === named)
  for (const host of isLocal ? new Set([...loopback.filter((host) => host === named), ...loopback]) : [named]) {
    const status = yield* statusAt(asked, host)
    if (status !== undefined) return status
  }
  return undefined
})

export const layer: Layer.Layer<Ports> = Layer.succeed(Ports)({
  listener,
  listeners,
  listeningOn,
  hold,
  accepts,
  httpStatus
})
