/** Ports for tests that name theirs: nobody else's, in this run or another, and none that the system gives out itself. */
import { createServer, type Server } from "node:net"
import { Effect } from "effect"

/** A server on a port of this host, or nothing where somebody else is. It keeps no process alive. */
const listen = (port: number): Effect.Effect<Server | undefined> =>
  Effect.callback((resume) => {
    const server = createServer().unref()
    server.once("error", () => resume(Effect.succeed(undefined)))
    server.listen({ host: "127.0.0.1", port, exclusive: true }, () => resume(Effect.succeed(server)))
  })

/** Whether somebody listens there. */
export const listens = (port: number): Effect.Effect<boolean> =>
  Effect.flatMap(listen(port), (server) =>
    server === undefined
      ? Effect.succeed(true)
      : Effect.callback<boolean>((resume) => {
          server.close(() => resume(Effect.succeed(false)))
        })
  )

/** Whoever listens on the guard of a block has its ports, until its process or thread ends. */
const [guards, first, size, blocks] = [23_900, 24_000, 100, 80]

let next = process.pid % blocks
let block: { readonly end: number; free: number } | undefined

/** As many blocks behind each other as are needed, and not one that somebody else is working in. */
const claim = Effect.fnUntraced(function* (count: number) {
  const needed = Math.ceil(count / size)
  for (let tries = 0; tries < blocks; tries++) {
    const start = next % blocks
    const wanted = Array.from({ length: needed }, (_, index) => start + index)
    next = start + needed
    if (next > blocks) {
      next = 0
      continue
    }
    const servers = yield* Effect.forEach(wanted, (index) => listen(guards + index))
    const numbers = Array.from({ length: needed * size }, (_, index) => first + start * size + index)
    if (servers.every((server) => server !== undefined) && (yield* Effect.filter(numbers, listens)).length === 0) {
      return { free: numbers[0]!, end: numbers[0]! + numbers.length }
    }
    for (const server of servers) server?.close()
  }
  return yield* Effect.die(`no ${needed} blocks of ${size} ports are free`)
})

/** The first of as many numbers on which nobody listens, and which are given to no other test. */
export const vacant = Effect.fnUntraced(function* (count: number) {
  if (block === undefined || block.end - block.free < count) block = yield* claim(count)
  const base = block.free
  block.free += count
  return base
})
