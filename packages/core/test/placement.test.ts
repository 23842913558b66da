import { spawn } from "node:child_process"
import { once } from "node:events"
import { createServer } from "node:net"
import { basename } from "node:path"
import { assert, describe, layer } from "@effect/vitest"
import { Deferred, Effect, Exit, Layer, Option, Scope } from "effect"
import * as Claim from "../src/Claim.ts"
import * as placement from "../src/internal/placement.ts"
import { Ledger } from "../src/Ledger.ts"
import * as NodePorts from "../src/node/NodePorts.ts"
import { type Listener, Ports } from "../src/Ports.ts"
import * as SandboxError from "../src/SandboxError.ts"
import type { Session } from "../src/Session.ts"
import * as Setup from "../src/Setup.ts"
import * as SqlLedger from "../src/SqlLedger.ts"
import { databases, sqlite } from "./support/databases.ts"
import { ids, makeHost, reservation } from "./support/world.ts"

const ledger = SqlLedger.layer({ where: "test", mayInitialise: true }).pipe(Layer.provide(ids))
const services = Layer.mergeAll(ledger, NodePorts.layer, makeHost().layer)

let next = 12_000 + (process.pid % 100) * 20

/** The first of some numbers, below those that the system gives out itself, on which nobody listens. */
const vacant = (count: number): Effect.Effect<number, never, Ports> =>
  Effect.gen(function* () {
    const { listeners } = yield* Ports
    const base = next
    next += count
    const numbers = Array.from({ length: count }, (_, index) => base + index)
    return (yield* listeners(numbers)).size === 0 ? base : yield* vacant(count)
  })

const portsOf = (bases: Readonly<Record<string, number>>) =>
  Object.entries(bases).map(([name, base]) => ({ name, command: "true", ports: [{ name, base }] }))

interface Options {
  readonly bases: Readonly<Record<string, number>>
  readonly slots?: Parameters<typeof Setup.from>[0]["slots"] & object
  readonly fixed?: Readonly<Record<string, number>>
}

const setupOf = ({ bases, fixed = {}, slots = {} }: Options): Setup.Setup => ({
  ...Setup.from({ services: portsOf(bases), slots: { max: 4, ...slots } }),
  fixedPorts: fixed
})

let sessions = 0
const scope = "host-1"

/** What `use` answers of a new session with a slot, which is given back afterwards, unless it is kept. */
const session = <A, E, R>(
  setup: Setup.Setup,
  use: (held: Claim.Held, row: Session) => Effect.Effect<A, E, R>,
  { keep = false, ...more }: Parameters<typeof reservation>[1] & { readonly keep?: boolean } = {}
) =>
  Effect.gen(function* () {
    sessions += 1
    const store = yield* Ledger
    const reserved = reservation(`sbx_${String(sessions).padStart(26, "0")}`, { setup, ...more })
    const exit = yield* Deferred.make<Exit.Exit<A, E>>()
    yield* Claim.bracket(
      {
        acquire: Effect.orDie(store.reserve({ ...reserved, slot: { scope, max: setup.slots.max } })),
        claim: reserved.claim,
        operationId: reserved.operation.id
      },
      {
        verb: "up",
        use: (held) =>
          Effect.gen(function* () {
            const row = yield* held.row
            yield* Deferred.succeed(exit, yield* Effect.exit(Effect.scoped(use(held, row))))
            return { result: undefined, change: keep ? {} : { set: { slot: null, ports: null } } }
          }),
        settle: () => Effect.succeed({})
      }
    )
    return yield* yield* Deferred.await(exit)
  })

const nobody = () => Effect.succeed(false)
const noPort: ReadonlySet<string> = new Set()
const me = (pid: number) => Effect.succeed(pid === process.pid)

const canListen = (port: number) =>
  Effect.callback<boolean>((resume) => {
    const server = createServer()
    server.once("error", () => resume(Effect.succeed(false)))
    server.listen({ host: "127.0.0.1", port, exclusive: true }, () => server.close(() => resume(Effect.succeed(true))))
  })

/** A process that listens there. */
const listenElsewhere = (port: number) =>
  Effect.acquireRelease(
    Effect.promise(async () => {
      const script = `require("node:net").createServer().listen(${port}, "127.0.0.1", () => console.log("up"))`
      const child = spawn(process.execPath, ["-e", script], { stdio: ["ignore", "pipe", "inherit"] })
      await once(child.stdout, "data")
      return child.pid!
    }),
    (pid) => Effect.sync(() => process.kill(pid, "SIGKILL"))
  )

const listenHere = (port: number) =>
  Effect.acquireRelease(
    Effect.promise(async () => {
      const server = createServer().listen({ port, host: "127.0.0.1" })
      await once(server, "listening")
      return server
    }),
    (server) => Effect.sync(() => server.close())
  )

const program = basename(process.execPath)
const given = Ledger.use((store) => store.ports(scope))

layer(services.pipe(Layer.provide(sqlite)), { excludeTestServices: true, timeout: "60 seconds" })(
  "placing ports",
  (it) => {
    it.effect("gives every port its number in the slot, keeps it from others, and records it", () =>
      Effect.gen(function* () {
        const base = yield* vacant(20)
        yield* session(setupOf({ bases: { web: base, api: base + 10 } }), (held, row) =>
          Effect.gen(function* () {
            const inner = yield* Scope.make()
            const slot = row.slot ?? 0
            const placed = yield* Scope.provide(
              placement.place(held, { setup: row.setup!, mine: nobody, keeps: noPort }),
              inner
            )
            assert.deepStrictEqual(placed.ports, { web: base + slot, api: base + 10 + slot })
            assert.deepStrictEqual((yield* held.row).ports, placed.ports)
            const numbers = Object.values(placed.ports)
            assert.deepStrictEqual(
              numbers.map((port) => port),
              [base + slot, base + 10 + slot]
            )
            for (const port of numbers) {
              assert.strictEqual((yield* given).get(port), row.id)
              assert.isFalse(yield* canListen(port))
            }
            yield* placed.release(["web"])
            yield* placed.release(["web", "unheard-of"])
            assert.isTrue(yield* canListen(placed.ports["web"]!))
            assert.isFalse(yield* canListen(placed.ports["api"]!))
            yield* Scope.close(inner, Exit.void)
            assert.isTrue(yield* canListen(placed.ports["api"]!))
          })
        )
      })
    )

    it.effect("I-87 moves a port whose number somebody has, never to one that is nominal in another slot", () =>
      Effect.gen(function* () {
        const base = yield* vacant(30)
        // api's numbers are in web's way: base + 4 + slot
        const setup = setupOf({ bases: { web: base, api: base + 4 }, slots: { searchRange: 3 } })
        yield* session(setup, (held, row) =>
          Effect.gen(function* () {
            const slot = row.slot ?? 0
            yield* listenElsewhere(base + slot)
            const { ports } = yield* placement.place(held, { setup, mine: nobody, keeps: noPort })
            assert.deepStrictEqual(ports, { web: base + slot + 8, api: base + 4 + slot })
          })
        )
      })
    )

    it.effect("I-87 names service, port and owner when there is no number left, and has nothing then", () =>
      Effect.gen(function* () {
        const base = yield* vacant(20)
        const setup = setupOf({ bases: { api: base + 10, web: base }, slots: { searchRange: 1 } })
        yield* session(setup, (held, row) =>
          Effect.gen(function* () {
            const slot = row.slot ?? 0
            const [first, second] = [base + slot, base + slot + 4]
            const pids = yield* Effect.forEach([first, second], listenElsewhere)
            const error = yield* Effect.flip(placement.place(held, { setup, mine: nobody, keeps: noPort }))
            assert.strictEqual(error.code, "ERR_PORT_IN_USE")
            assert.strictEqual(
              error.message,
              `port ${first} of web is taken by pid ${pids[0]} (${program}), and so is the other that may be tried: ${second} (pid ${pids[1]} (${program}))`
            )
            assert.strictEqual(
              error.nextStep,
              "end it and run the command again, or bring the session up with `--port web=<number>` or a larger `slots.search_range`"
            )
            assert.deepStrictEqual(error.details, {
              name: "web",
              ports: [first, second],
              holders: [
                { port: first, pid: pids[0], command: program, session_id: null },
                { port: second, pid: pids[1], command: program, session_id: null }
              ]
            })
            assert.isNull((yield* held.row).ports)
            assert.isTrue(yield* canListen(base + 10 + slot))
          })
        )
      })
    )

    it.effect("I-87 tries no other number when the slots are strict, and says so", () =>
      Effect.gen(function* () {
        const base = yield* vacant(20)
        const setup = setupOf({ bases: { web: base }, slots: { strict: true } })
        yield* session(setup, (held, row) =>
          Effect.gen(function* () {
            const port = base + (row.slot ?? 0)
            const pid = yield* listenElsewhere(port)
            const error = yield* Effect.flip(placement.place(held, { setup, mine: nobody, keeps: noPort }))
            assert.strictEqual(
              error.message,
              `port ${port} of web is taken by pid ${pid} (${program}); the slots are strict, so that no other was tried`
            )
            assert.include(error.nextStep, "`slots.strict: false`")
            assert.deepStrictEqual(error.details?.["ports"], [port])
          })
        )
      })
    )

    it.effect("takes a port that was asked for by number as it is, or not at all", () =>
      Effect.gen(function* () {
        const base = yield* vacant(20)
        const setup = setupOf({ bases: { web: base }, fixed: { web: base + 15 } })
        const place = (held: Claim.Held) => placement.place(held, { setup, mine: nobody, keeps: noPort })
        assert.deepStrictEqual((yield* session(setup, place)).ports, { web: base + 15 })
        const pid = yield* listenElsewhere(base + 15)
        const error = yield* Effect.flip(session(setup, place))
        assert.strictEqual(
          error.message,
          `port ${base + 15} of web is taken by pid ${pid} (${program}); it was asked for by number, so that no other was tried`
        )
      })
    )

    it.effect("says of another owner's session only that there is one", () =>
      Effect.gen(function* () {
        const base = yield* vacant(20)
        const setup = setupOf({ bases: { web: base }, fixed: { web: base + 15 } })
        const place = (held: Claim.Held) => placement.place(held, { setup, mine: nobody, keeps: noPort })
        const error = yield* session(setup, (held) =>
          Effect.andThen(Effect.scoped(place(held)), Effect.flip(session(setup, place, { owner: "bob" })))
        )
        assert.deepStrictEqual(SandboxError.isSandboxError(error) && error.details?.["holders"], [
          { port: base + 15, pid: null, command: null, session_id: null }
        ])
        assert.match(error.message, /of web is taken by another session; /)
      })
    )

    it.effect("refuses one number for two ports, and a number that is no port", () =>
      Effect.gen(function* () {
        const base = yield* vacant(20)
        const refused = (options: Options) => {
          const setup = setupOf(options)
          return Effect.flip(session(setup, (held) => placement.place(held, { setup, mine: nobody, keeps: noPort })))
        }
        const twice = yield* refused({ bases: { web: base, api: base + 5 }, fixed: { web: base + 9, api: base + 9 } })
        assert.strictEqual(twice.message, `port ${base + 9} is asked for twice, for web and for api`)
        const none = yield* refused({ bases: { web: 65_535 }, slots: { max: 20 } })
        assert.match(none.message, /^web would have port 655\d\d, and there is no such port: they go from 1 to 65535$/)
        assert.isFalse(SandboxError.isSandboxError(none) && none.retryable)
      })
    )

    it.effect("leaves a port alone whose service runs, whoever is seen on it", () =>
      Effect.gen(function* () {
        const base = yield* vacant(20)
        const setup = setupOf({ bases: { web: base, api: base + 5 } })
        yield* session(setup, (held) =>
          Effect.gen(function* () {
            const options = { setup, mine: nobody, keeps: noPort }
            const { ports, release } = yield* placement.place(held, options)
            yield* release(["web", "api"])
            for (const port of Object.values(ports)) yield* listenHere(port)
            const again = yield* placement.place(held, { ...options, keeps: new Set(["web"]) })
            assert.strictEqual(again.ports["web"], ports["web"])
            assert.notStrictEqual(again.ports["api"], ports["api"])
            yield* again.release(["web", "api"])
          })
        )
      })
    )

    it.effect("leaves a port alone that the session's own process listens on", () =>
      Effect.gen(function* () {
        const base = yield* vacant(20)
        const setup = setupOf({ bases: { web: base } })
        yield* session(setup, (held, row) =>
          Effect.gen(function* () {
            const port = base + (row.slot ?? 0)
            yield* listenHere(port)
            const placed = yield* placement.place(held, { setup, mine: me, keeps: noPort })
            assert.deepStrictEqual(placed.ports, { web: port })
            yield* placed.release(["web"])
            const { listener } = yield* Ports
            assert.strictEqual((yield* listener(port))?.pid, process.pid)
          })
        )
      })
    )

    it.effect("prefers what an earlier attempt was given", () =>
      Effect.gen(function* () {
        const base = yield* vacant(20)
        const setup = setupOf({ bases: { web: base } })
        yield* session(setup, (held, row) =>
          Effect.gen(function* () {
            const slot = row.slot ?? 0
            const place = Effect.map(
              placement.place(held, { setup, mine: nobody, keeps: noPort }),
              ({ ports }) => ports["web"]
            )
            const moved = yield* Effect.scoped(Effect.andThen(listenElsewhere(base + slot), place))
            assert.strictEqual(moved, base + slot + 4)
            assert.strictEqual(yield* Effect.scoped(place), moved)
            // no longer free: back to the best there is
            yield* listenElsewhere(moved ?? 0)
            assert.strictEqual(yield* Effect.scoped(place), base + slot)
            assert.deepStrictEqual(
              [...(yield* given)].filter(([, id]) => id === row.id),
              [[base + slot, row.id]]
            )
          })
        )
      })
    )

    it.effect("goes round a number that another session has, though nobody listens there", () =>
      Effect.gen(function* () {
        const base = yield* vacant(40)
        const rival = setupOf({ bases: { other: base } })
        yield* session(rival, (theirs, other) =>
          Effect.gen(function* () {
            const taken = (yield* Effect.scoped(placement.place(theirs, { setup: rival, mine: nobody, keeps: noPort })))
              .ports["other"]!
            // what is their number is ours in the next slot
            const mine = setupOf({ bases: { web: taken - (other.slot ?? 0) - 1 }, slots: { strict: true } })
            const error = yield* Effect.flip(
              session(mine, (held, row) => {
                assert.strictEqual(row.slot, (other.slot ?? 0) + 1)
                return placement.place(held, { setup: mine, mine: nobody, keeps: noPort })
              })
            )
            assert.include(error.message, `port ${taken} of web is taken by session ${other.name}; `)
            assert.deepNestedInclude(error, { "details.holders[0].session_id": other.id })
            const loose = { ...mine, slots: { ...mine.slots, strict: false } }
            const { ports } = yield* session(loose, (held) =>
              placement.place(held, { setup: loose, mine: nobody, keeps: noPort })
            )
            assert.deepStrictEqual(ports, { web: taken + 4 })
          })
        )
      })
    )

    it.effect(
      "chooses again when another session was given the number in the same moment, and gives up in the end",
      () =>
        Effect.gen(function* () {
          const base = yield* vacant(100)
          const store = yield* Ledger
          const setup = setupOf({ bases: { web: base }, slots: { max: 20, searchRange: 4 } })
          /** A ledger in which another session is given our next number whenever we have looked at what is taken. */
          const outrun = (times: number, rival: Claim.Held, mine: number) => {
            let seen = 0
            return Layer.succeed(Ledger)({
              ...store,
              ports: (where) =>
                Effect.tap(store.ports(where), () => {
                  seen += 1
                  const theirs = Array.from(
                    { length: Math.min(seen, times) },
                    (_, i) => [`p${i}`, mine + i * 20] as const
                  )
                  return rival.commit({ set: { ports: Object.fromEntries(theirs) } })
                })
            })
          }
          const rivalSetup = setupOf({ bases: { web: base + 50 }, slots: { max: 20 } })
          yield* session(rivalSetup, (rival) =>
            session(setup, (held, row) =>
              Effect.gen(function* () {
                const number = base + (row.slot ?? 0)
                const place = placement.place(held, { setup, mine: nobody, keeps: noPort })
                const { ports } = yield* Effect.scoped(Effect.provide(place, outrun(2, rival, number)))
                assert.deepStrictEqual(ports, { web: number + 40 })
                yield* held.commit({ set: { ports: null } })
                yield* rival.commit({ set: { ports: null } })
                const error = yield* Effect.flip(Effect.scoped(Effect.provide(place, outrun(9, rival, number))))
                assert.strictEqual(error.code, "ERR_PORT_IN_USE")
                assert.isNull((yield* held.row).ports)
                for (const i of [0, 1, 2, 3, 4]) assert.isTrue(yield* canListen(number + i * 20))
              })
            )
          )
        })
    )

    it.effect("tells whose a port is that a service cannot have had", () =>
      Effect.gen(function* () {
        const ports = yield* Ports
        const number = yield* vacant(1)
        const web = { name: "web", number }
        assert.isUndefined(yield* placement.conflict(ports, web, nobody))
        const pid = yield* listenElsewhere(number)
        assert.isUndefined(yield* placement.conflict(ports, web, (other) => Effect.succeed(other === pid)))
        const error = yield* placement.conflict(ports, web, nobody)
        assert.strictEqual(error?.code, "ERR_PORT_IN_USE")
        assert.strictEqual(
          error?.message,
          `port ${number} of web was taken by pid ${pid} (${program}) before the service could listen on it`
        )
        const hidden: Listener = { port: number, pid: null, command: null }
        const others = { ...ports, listener: () => Effect.succeed(hidden) }
        const unseen = yield* placement.conflict(others, web, () => Effect.succeed(true))
        assert.include(unseen?.message ?? "", "was taken by a program of another user before")
      })
    )
  }
)

for (const database of databases) {
  describe(`on ${database.name}`, () => {
    layer(services.pipe(Layer.provide(database.layer)), { excludeTestServices: true, timeout: "120 seconds" })((it) => {
      it.effect("I-87 30 sessions with 20 ports each, placed at the same time, have 600 numbers", () =>
        Effect.gen(function* () {
          const [many, each] = [30, 20]
          const base = yield* vacant(many * each * 4)
          const bases = Object.fromEntries(Array.from({ length: each }, (_, i) => [`p${i}`, base + i]))
          const setup = setupOf({ bases, slots: { max: many, stride: each, searchRange: 2 } })
          // every seventh nominal number is taken already, by somebody else
          const taken = Array.from({ length: Math.floor((many * each) / 7) }, (_, i) => base + each + i * 7)
          yield* Effect.forEach(taken, listenHere)
          const placed = yield* Deferred.make<void>()
          let waiting = many
          const all = yield* Effect.forEach(
            Array.from({ length: many }),
            () =>
              session(
                setup,
                (held, row) =>
                  Effect.gen(function* () {
                    const { ports } = yield* placement.place(held, { setup, mine: nobody, keeps: noPort })
                    waiting -= 1
                    if (waiting === 0) yield* Deferred.succeed(placed, undefined)
                    yield* Deferred.await(placed) // nobody lets go before everybody has placed
                    return { slot: row.slot, id: row.id, ports }
                  }),
                { keep: true }
              ),
            { concurrency: "unbounded" }
          )
          assert.deepStrictEqual(
            all.map(({ slot }) => slot ?? 0).toSorted((a, b) => a - b),
            Array.from({ length: many }, (_, i) => i + 1)
          )
          const numbers = all.flatMap(({ ports }) => Object.values(ports))
          assert.strictEqual(new Set(numbers).size, many * each)
          assert.deepStrictEqual(
            numbers.filter((number) => taken.includes(number)),
            []
          )
          const recorded = yield* given
          for (const { id, ports } of all) {
            const row = Option.getOrThrow(yield* Ledger.use((store) => store.session(id)))
            assert.deepStrictEqual(row.ports, ports)
            for (const number of Object.values(ports)) assert.strictEqual(recorded.get(number), id)
          }
          assert.strictEqual(recorded.size, many * each)
        })
      )
    })
  })
}
