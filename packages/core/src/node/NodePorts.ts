/** The `Ports` port on Node: `/proc/net` on Linux, `lsof` elsewhere. */
import { execFile } from "node:child_process"
import { readdirSync, readFileSync, readlinkSync } from "node:fs"
import { get } from "node:http"
import { connect, createServer, type Server } from "node:net"
import { platform } from "node:process"
import { Effect, Layer } from "effect"
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

const linuxListener = (port: number): Listener | undefined => {
  const inodes = linuxSockets().get(port)
  if (inodes === undefined) return undefined
  for (const pid of readdirSync("/proc").filter((name) => /^\d+$/.test(name))) {
    if (!socketsOf(pid).some((inode) => inodes.includes(inode))) continue
    const command = attempt(() => readFileSync(`/proc/${pid}/comm`, "utf8").trim()) ?? null
    return { port, pid: Number(pid), command }
  }
  return { port, pid: null, command: null }
}

const lsof = (args: ReadonlyArray<string>): Effect.Effect<string> =>
  Effect.callback((resume) => {
    // it answers with 1 when there is nothing to list
    const child = execFile("lsof", ["-nP", "-sTCP:LISTEN", "-Fpcn", ...args], (_, stdout) =>
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

const listener = (port: number): Effect.Effect<Listener | undefined> =>
  platform === "linux"
    ? Effect.sync(() => linuxListener(port))
    : Effect.map(lsof([`-iTCP:${port}`]), (text) => parseLsof(text)[0])

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
    const server = createServer((socket) => socket.destroy())
    server.once("error", (error: NodeJS.ErrnoException) =>
      resume(impossible.includes(error.code ?? "") ? Effect.succeed(undefined) : Effect.fail(new PortInUse({ port })))
    )
    // without ipv6Only the wildcard of one family would take the other's too
    server.listen({ host, port, exclusive: true, ipv6Only: true }, () => resume(Effect.succeed(server)))
  })

const close = (server: Server | undefined): Effect.Effect<void> =>
  Effect.callback((resume) => {
    if (server === undefined) return resume(Effect.void)
    server.close(() => resume(Effect.void))
  })

/** The wildcards only: where they are ours nobody binds a loopback address. A loopback listener of somebody is seen first. */
const hold = Effect.fnUntraced(function* (port: number) {
  for (const host of addresses.slice(0, 2)) {
    yield* Effect.scoped(Effect.acquireRelease(bind(host, port), close))
  }
  for (const host of addresses.slice(2)) yield* Effect.acquireRelease(bind(host, port), close)
})

const accepts = (port: number): Effect.Effect<boolean> =>
  Effect.callback((resume) => {
    const socket = connect({ host: "localhost", port, autoSelectFamily: true })
    const answer = (accepted: boolean) => {
      socket.destroy()
      resume(Effect.succeed(accepted))
    }
    socket.setTimeout(patience, () => answer(false))
    socket.once("connect", () => answer(true))
    socket.once("error", () => answer(false))
    return Effect.sync(() => socket.destroy())
  })

const httpStatus = (url: string): Effect.Effect<number | undefined> =>
  Effect.callback((resume) => {
    const request = get(url, { timeout: patience, agent: false }, (response) => {
      response.resume()
      resume(Effect.succeed(response.statusCode))
    })
    request.once("timeout", () => request.destroy())
    request.once("error", () => resume(Effect.undefined))
    return Effect.sync(() => request.destroy())
  })

export const layer: Layer.Layer<Ports> = Layer.succeed(Ports)({ listener, listeningOn, hold, accepts, httpStatus })
