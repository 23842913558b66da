/** An engine behind a wire that can be cut exactly before or after what matters; everything else passes as it is. */
import { mkdtempSync, renameSync, rmSync } from "node:fs"
import { createServer, type Server, type Socket, connect as unix } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { Effect } from "effect"
import { socket } from "./docker.ts"
import { type Head, messages } from "./httpMessages.ts"

/** What happens to a request, once. */
export interface Fault {
  readonly method: string
  /** Of the path as it is sent, with the version and the query. */
  readonly path: RegExp
  /** Which of the requests that match from now on: the first, unless told. */
  readonly nth?: number
  /**
   * - `request`: the engine never hears it, and the connection is cut
   * - `reply`: the engine has done it, and the connection is cut instead of its reply, which has to be one that ends; that
   *   to an upgrade ends with its head
   * - `late`: the engine has done it, and its reply comes when `release` is run
   */
  readonly at: "request" | "reply" | "late"
}

export interface Armed {
  /** Waits until it has happened: what was asked is done, and nobody was told. */
  readonly met: Effect.Effect<void>
  /** Lets a late reply arrive. */
  readonly release: Effect.Effect<void>
}

export interface LossyEngine {
  /** The path of its socket. */
  readonly path: string
  /** As DOCKER_HOST and `--host` take it. */
  readonly address: string
  /** Every request so far, as its head arrived. */
  readonly requests: ReadonlyArray<{ readonly method: string; readonly path: string }>
  readonly arm: (fault: Fault) => Armed
  /** Cuts every connection there is. */
  readonly cutAll: Effect.Effect<void>
  /** Lets nobody connect, as an engine that does not run, or everybody again. What is connected stays. */
  readonly refuse: (refused: boolean) => Effect.Effect<void>
  /** Accepts, and lets nothing pass in either direction any more. */
  readonly freeze: Effect.Effect<void>
  /** Lets everything pass again, also what came in the meantime. */
  readonly thaw: Effect.Effect<void>
}

interface Doom {
  readonly fault: Fault
  /** How many that match are still to pass before. */
  ahead: number
  readonly met: PromiseWithResolvers<void>
  readonly released: PromiseWithResolvers<void>
}

/** Starts a wire to an engine, this machine's unless told; gone with the scope. */
export const lossyEngine = Effect.fnUntraced(function* (target: string = socket) {
  const directory = yield* Effect.acquireRelease(
    Effect.sync(() => mkdtempSync(join(tmpdir(), "lossy-"))),
    (directory) => Effect.sync(() => rmSync(directory, { recursive: true, force: true }))
  )
  const path = join(directory, "engine.sock")
  const open = new Set<Socket>()
  const requests: Array<{ method: string; path: string }> = []
  const armed = new Set<Doom>()
  let frozen = false

  /** What was armed for a request, if anything; it is then used up. */
  const doomOf = (method: string, path: string): Doom | undefined => {
    for (const doom of armed) {
      if (doom.fault.method !== method || !doom.fault.path.test(path)) continue
      if (doom.ahead-- > 0) continue
      armed.delete(doom)
      return doom
    }
    return undefined
  }

  const serve = (client: Socket) => {
    const engine = unix(target)
    const cut = () => {
      client.destroy()
      engine.destroy()
    }
    /** Requests whose reply is not complete, oldest first. */
    const asked: Array<{ readonly method: string; readonly doom: Doom | undefined }> = []
    let held: Array<Buffer> | undefined
    let upgraded = false

    const outward = messages({
      head: ({ start }: Head) => {
        const [method = "", path = ""] = start.split(" ")
        requests.push({ method, path })
        const doom = doomOf(method, path)
        asked.push({ method, doom })
        if (doom?.fault.at === "request") {
          cut()
          doom.met.resolve()
        }
        return "framed"
      },
      end: () => {}
    })
    const inward = messages({
      head: ({ start }: Head) => {
        const status = Number(start.split(" ")[1])
        if (status === 101) {
          upgraded = true
          return "raw"
        }
        if (status < 200) return "interim"
        return status === 204 || status === 304 || asked[0]?.method === "HEAD" ? "empty" : "framed"
      },
      end: () => {
        const doom = asked.shift()?.doom
        if (doom?.fault.at === "reply") cut()
        if (doom?.fault.at === "late") {
          doom.released.promise.then(() => {
            for (const chunk of held ?? []) client.write(chunk)
            held = undefined
            if (engine.readableEnded) client.end()
          })
        }
        doom?.met.resolve()
      }
    })

    const pump = (from: Socket, to: Socket, take: (chunk: Buffer) => boolean) => {
      open.add(from)
      if (frozen) from.pause()
      from.on("data", (chunk: Buffer) => {
        if (take(chunk) && !to.destroyed && !to.write(chunk)) from.pause()
      })
      to.on("drain", () => {
        if (!frozen) from.resume()
      })
      from.on("end", () => {
        if (from === client || held === undefined) to.end()
      })
      from.on("error", cut)
      from.on("close", (hadError: boolean) => {
        open.delete(from)
        if (hadError || !from.readableEnded) cut()
      })
    }
    pump(client, engine, (chunk) => {
      if (!upgraded) outward(chunk)
      return true
    })
    pump(engine, client, (chunk) => {
      const at = asked[0]?.doom?.fault.at
      if (at === "late") held ??= []
      held?.push(chunk)
      const passes = held === undefined && at !== "reply"
      inward(chunk)
      return passes
    })
  }

  const listening = Effect.callback<Server>((resume) => {
    const server = createServer({ allowHalfOpen: true }, serve).listen(path, () => resume(Effect.succeed(server)))
  })
  let server: Server | undefined
  const cutAll = Effect.sync(() => {
    for (const end of open) end.destroy()
  })
  const refuse = Effect.fnUntraced(function* (refused: boolean) {
    if (refused === (server === undefined)) return
    if (refused) {
      // closing it would take the socket's file along, and then there is nothing to be refused by
      renameSync(path, `${path}.stale`)
      server?.close()
      renameSync(`${path}.stale`, path)
      server = undefined
    } else {
      rmSync(path)
      server = yield* listening
    }
  })
  yield* Effect.acquireRelease(
    Effect.map(listening, (first) => {
      server = first
    }),
    () =>
      Effect.andThen(
        cutAll,
        Effect.sync(() => server?.close())
      )
  )
  const self: LossyEngine = {
    path,
    address: `unix://${path}`,
    requests,
    arm: (fault) => {
      const doom: Doom = {
        fault,
        ahead: (fault.nth ?? 1) - 1,
        met: Promise.withResolvers(),
        released: Promise.withResolvers()
      }
      armed.add(doom)
      return { met: Effect.promise(() => doom.met.promise), release: Effect.sync(doom.released.resolve) }
    },
    cutAll,
    refuse,
    freeze: Effect.sync(() => {
      frozen = true
      for (const end of open) end.pause()
    }),
    thaw: Effect.sync(() => {
      frozen = false
      for (const end of open) end.resume()
    })
  }
  return self
})
