/** A PostgreSQL server behind a wire that can be cut exactly before or after what matters. */
import { createServer, type Server, type Socket, connect as tcp } from "node:net"
import { Effect } from "effect"

/** Which statement the wire is cut at, once. */
export interface Cut {
  readonly statement: RegExp
  /**
   * - `request`: the server never hears it
   * - `answer`: the server has done it, and nobody is told
   * - `late`: nobody is told, and the server hears it only when `deliver` says so
   * - `silence`: the server never hears it, neither end is told, and nothing passes any more
   */
  readonly at: "request" | "answer" | "late" | "silence"
}

export interface Proxy {
  /** The server's URL, by way of the wire. */
  readonly url: string
  readonly arm: (cut: Cut) => void
  /** How often an armed cut came to be. */
  readonly cuts: () => number
  /** Cuts every connection there is. */
  readonly cutAll: () => void
  /** Lets nobody connect, or everybody again. */
  readonly refuse: (refused: boolean) => void
  /** Lets nothing pass, on connections that there are and that are made, or everything on those made from now on. */
  readonly mute: (muted: boolean) => void
  /** What was held back reaches the server. */
  readonly deliver: () => void
  /** What happens with the next cut, before anybody is told. */
  readonly onCut: (then: () => void) => void
}

const protocol3 = 0x0003_0000

interface Message {
  readonly type: string
  readonly body: Buffer
}

/**
 * Takes messages out of a stream: a letter, a length, a body. While `preface` says so of the one before, or there was none,
 * a message has no letter, as at the start of a connection.
 */
const messages = (preface?: (body: Buffer) => boolean) => {
  let rest = Buffer.alloc(0)
  let starting = preface !== undefined
  return (chunk: Buffer): ReadonlyArray<Message> => {
    rest = Buffer.concat([rest, chunk])
    const found: Array<Message> = []
    while (true) {
      const head = starting ? 0 : 1
      if (rest.length < head + 4) return found
      const end = head + rest.readInt32BE(head)
      if (rest.length < end) return found
      const body = rest.subarray(head + 4, end)
      if (starting) starting = preface?.(body) === true
      else found.push({ type: String.fromCharCode(rest[0]!), body })
      rest = rest.subarray(end)
    }
  }
}

/** Starts a wire to the server at a URL; gone with the scope. */
export const proxied = (target: string) =>
  Effect.acquireRelease(
    Effect.callback<Proxy & { readonly server: Server }>((resume) => {
      const { hostname, port } = new URL(target)
      const open = new Set<Socket>()
      let armed: Cut | undefined
      let refused = false
      let muted = false
      let cuts = 0
      let held: (() => void) | undefined
      let then: () => void = () => {}

      const serve = (client: Socket) => {
        if (refused) {
          client.destroy()
          return
        }
        const upstream = tcp(Number(port), hostname)
        const met = () => {
          cuts += 1
          then()
          then = () => {}
        }
        const cut = () => {
          met()
          client.destroy()
        }
        for (const [end, other] of [
          [client, upstream],
          [upstream, client]
        ] as const) {
          open.add(end)
          end.setNoDelay(true)
          end.on("error", () => {})
          end.on("close", () => {
            open.delete(end)
            // what is held back goes out on a connection of which only the server knows, as it does of one gone silent
            if (!holding) other.destroy()
          })
        }
        let holding = false
        let silent = false
        let lost: ((chunk: Buffer) => ReadonlyArray<Message>) | undefined
        const statements = new Map<string, string>()
        const asked = messages((body) => body.readInt32BE(0) !== protocol3)
        client.on("data", (chunk: Buffer) => {
          if (silent || muted) {
            silent = holding = true
            return
          }
          const executed = asked(chunk).flatMap(({ body, type }) => {
            const [first = "", second = ""] = body.toString("latin1").split("\0", 2)
            if (type === "P") statements.set(first, second)
            return type === "Q" ? [first] : type === "B" ? [statements.get(second) ?? ""] : []
          })
          const due = executed.some((sql) => armed?.statement.test(sql)) ? armed?.at : undefined
          if (due !== undefined) armed = undefined
          if (due === "late") {
            holding = true
            held = () => upstream.write(chunk)
          }
          if (due === "silence") {
            silent = holding = true
            met()
          } else if (due === "answer") lost = messages()
          else if (due !== undefined) cut()
          if (due === undefined || due === "answer") upstream.write(chunk)
        })
        upstream.on("data", (chunk: Buffer) => {
          if (silent || muted) return
          if (lost === undefined) client.write(chunk)
          // the server is ready for the next: it has done this one
          else if (lost(chunk).some(({ type }) => type === "Z")) cut()
        })
      }
      const server = createServer(serve).listen(0, "127.0.0.1", () => {
        const address = server.address()
        const url = new URL(target)
        url.port = String(typeof address === "object" && address !== null ? address.port : 0)
        resume(
          Effect.succeed({
            server,
            url: url.href,
            arm: (cut) => {
              armed = cut
            },
            cuts: () => cuts,
            cutAll: () => open.forEach((socket) => socket.destroy()),
            refuse: (value) => {
              refused = value
            },
            mute: (value) => {
              muted = value
            },
            deliver: () => {
              held?.()
              held = undefined
            },
            onCut: (f) => {
              then = f
            }
          })
        )
      })
    }),
    (proxy) =>
      Effect.sync(() => {
        proxy.cutAll()
        proxy.server.close()
      })
  )
