/** Every crash point of up, down, destroy and resume, discovered by running them once. */
import { assert, describe, it } from "@effect/vitest"
import { destroy, down, gc, list, resume, status, up } from "@org/sandbox-core"
import * as Lifecycle from "@org/sandbox-core/Lifecycle"
import { Cause, Effect, Exit, Option } from "effect"
import { TestClock } from "effect/testing"
import { databases, type Ending, endAt, make, Points, repository, type World } from "./world.ts"

const repo = repository()
const upOptions = { repository: repo, branch: "main", provider: "memory", name: "work" }

const only = Effect.fnUntraced(function* (world: World) {
  const { sessions } = yield* world.ledger.sessions({})
  assert.strictEqual(sessions.length, 1)
  return sessions[0]!
})

/** Every recorded step of every session is an edge of the table, and the row stands where the last one led. */
const historyIsConsistent = Effect.fnUntraced(function* (world: World) {
  const { sessions } = yield* world.ledger.sessions({})
  for (const session of sessions) {
    const { events } = yield* world.ledger.history(session.id)
    let at: Lifecycle.State | null = null
    for (const event of events.filter(({ type }) => type === "transition")) {
      const { from, to } = event.data as { from: Lifecycle.State | null; to: Lifecycle.State }
      assert.strictEqual(from, at)
      const possible = Lifecycle.claimKinds.some((by) =>
        Lifecycle.states.some((prior) => Lifecycle.allows({ from: from ?? undefined, to, by, prior }))
      )
      assert.isTrue(possible, `${from} -> ${to}`)
      at = to
    }
    assert.strictEqual(session.state, at)
  }
})

/** Types the command that status recommends, until there is none. */
const followAdvice = Effect.fnUntraced(function* (world: World, pid: number) {
  for (let step = 0; step < 3; step++) {
    const session = yield* only(world)
    const { recovery } = yield* Effect.provide(status({ session: session.id }), world.runtime({ pid }))
    if (recovery === null) return step
    const [, verb, reference] = recovery.command.split(" ")
    const program =
      verb === "resume"
        ? resume({ session: reference! })
        : verb === "down"
          ? down({ session: reference! })
          : verb === "destroy"
            ? destroy({ session: reference! })
            : gc({})
    yield* Effect.provide(Effect.asVoid(program as Effect.Effect<unknown>), world.runtime({ pid }))
  }
  return assert.fail("three recommendations did not settle the session")
})

const settledWell = Effect.fnUntraced(function* (world: World) {
  const session = yield* only(world)
  assert.include(["ready", "stopped", "destroyed"], session.state)
  assert.isNull(session.claim)
  assert.isFalse(session.cleanupRequired)
  const boxes = world.cloud.boxes.size
  if (session.state === "destroyed") assert.strictEqual(boxes, 0)
  else assert.strictEqual(boxes, 1)
  assert.strictEqual(world.running(), session.state === "ready" ? 1 : 0)
  yield* historyIsConsistent(world)
})

/** What the crash is tried on: how the session is made, and which operation is cut. */
const operations = {
  up: { before: Effect.void, cut: up(upOptions) },
  down: { before: up(upOptions), cut: down({ session: "work" }) },
  destroy: { before: up(upOptions), cut: destroy({ session: "work", force: true }) },
  resume: { before: Effect.andThen(up(upOptions), down({ session: "work" })), cut: resume({ session: "work" }) }
} as const

type Database = (typeof databases)[number]
type Name = keyof typeof operations

/** Makes the session, then cuts the operation at a point. */
const cut = Effect.fnUntraced(function* (
  database: Database,
  name: Name,
  stopAt?: { readonly index: number; readonly ending: Ending }
) {
  const world = yield* make(database)
  const { before, cut: program } = operations[name]
  yield* Effect.provide(Effect.asVoid(before as Effect.Effect<unknown>), world.runtime({ pid: 1 }))
  const points = new Points(stopAt)
  const ended = yield* endAt(
    points,
    Effect.provide(program as Effect.Effect<unknown>, world.runtime({ pid: 2, points }))
  )
  return { world, points, ended }
})

const forEachPoint = Effect.fnUntraced(function* (
  database: Database,
  name: Name,
  ending: Ending,
  check: (crashed: Effect.Success<ReturnType<typeof cut>>, point: string) => Effect.Effect<void, unknown>
) {
  const whole = yield* Effect.scoped(cut(database, name))
  assert.isTrue(whole.ended !== "killed" && Exit.isSuccess(whole.ended))
  const names = whole.points.passed
  assert.isAtLeast(names.length, 6)
  for (const [index, point] of names.entries()) {
    yield* Effect.scoped(
      Effect.flatMap(cut(database, name, { index, ending }), (crashed) =>
        check(crashed, point).pipe(
          Effect.catchCause((cause) =>
            Effect.die(new Error(`${name} ${ending} at ${index} ${point}: ${Cause.pretty(cause)}`))
          )
        )
      )
    )
  }
  return names.length
})

for (const database of databases) {
  describe(`crash points on ${database.name}`, () => {
    for (const name of Object.keys(operations) as ReadonlyArray<Name>) {
      const numbers = { up: "I-33", down: "I-34 I-32", destroy: "I-34 I-44", resume: "I-33" }[name]
      describe(name, () => {
        it.effect(`${numbers} what status recommends recovers a killed ${name}, wherever it died`, () =>
          forEachPoint(database, name, "kill", ({ ended, world }) =>
            Effect.gen(function* () {
              assert.strictEqual(ended, "killed")
              world.bury(2)
              const { sessions } = yield* world.ledger.sessions({})
              if (sessions.length === 0) return // died before the reservation: there is nothing
              yield* followAdvice(world, 3)
              yield* settledWell(world)
            })
          )
        )

        it.effect(`${numbers} gc alone recovers a killed ${name}, wherever it died`, () =>
          forEachPoint(database, name, "kill", ({ world }) =>
            Effect.gen(function* () {
              world.bury(2)
              yield* Effect.provide(gc({}), world.runtime({ pid: 3 }))
              yield* TestClock.adjust("13 minutes")
              yield* Effect.provide(gc({}), world.runtime({ pid: 3 }))
              const { sessions } = yield* world.ledger.sessions({})
              const [session] = sessions
              if (session === undefined) return
              assert.isNull(session.claim)
              assert.isTrue(Lifecycle.isSettled(session.state), session.state)
              const expected = session.state === "destroyed" || session.state === "failed" ? 0 : 1
              assert.strictEqual(world.cloud.boxes.size, expected, session.state)
              assert.deepStrictEqual((yield* world.ledger.openIntents).records, [])
              yield* historyIsConsistent(world)
            })
          )
        )

        it.effect(`${numbers} an interrupted ${name} leaves the truth, no claim and no second box`, () =>
          forEachPoint(database, name, "interrupt", ({ ended, world }) =>
            Effect.gen(function* () {
              if (ended === "killed") return assert.fail("an interrupted process answers")
              const { sessions } = yield* world.ledger.sessions({})
              const [session] = sessions
              if (session === undefined) return
              assert.isNull(session.claim)
              assert.isTrue(Lifecycle.isSettled(session.state) || session.state === "tearing_down", session.state)
              if (session.state === "ready") assert.strictEqual(world.running(), 1)
              if (session.state === "stopped") assert.strictEqual(world.running(), 0)
              // what was committed before the interruption was noticed is done
              const { operations } = yield* world.ledger.history(session.id)
              const last = operations.at(-1)!
              if (last.status === "succeeded") return yield* historyIsConsistent(world)
              assert.strictEqual(last.status, "failed")
              assert.strictEqual(last.error?.code, "ERR_INTERRUPTED")
              assert.isTrue(Exit.isFailure(ended))
              if (name === "up") {
                assert.strictEqual(session.state, "failed")
                assert.isNull(session.reservedName)
                assert.strictEqual(world.cloud.boxes.size, 0)
              }
              if (name === "resume") assert.strictEqual(session.state, "stopped")
              assert.isAtMost(world.cloud.boxes.size, 1)
              yield* historyIsConsistent(world)
            })
          )
        )
      })
    }

    describe("one by one", () => {
      it.effect("I-25 I-33 the same request after a kill goes on under the same operation and makes one box", () =>
        Effect.gen(function* () {
          const request = up({ ...upOptions, clientRequestId: "k" })
          const probe = new Points()
          const first = yield* make(database)
          yield* Effect.provide(request, first.runtime({ points: probe }))
          for (const index of probe.passed.keys()) {
            const world = yield* make(database)
            const points = new Points({ index, ending: "kill" })
            yield* endAt(points, Effect.provide(request, world.runtime({ pid: 2, points })))
            const before = yield* world.ledger.request({ owner: "ann", verb: "up", clientRequestId: "k" })
            world.bury(2)
            const result = yield* Effect.provide(request, world.runtime({ pid: 3 }))
            assert.strictEqual(result.state, "ready")
            if (Option.isSome(before)) {
              assert.strictEqual(result.operationId, before.value.id)
              assert.strictEqual(result.sessionId, before.value.sessionId)
            }
            assert.strictEqual(world.cloud.boxes.size, 1, points.passed[index])
            assert.strictEqual(world.cloud.created, 1, points.passed[index])
            yield* historyIsConsistent(world)
          }
        })
      )

      it.effect(
        "I-42 a box that was made just before its maker died is found by key: removed by gc, adopted by resume",
        () =>
          Effect.gen(function* () {
            for (const recover of ["gc", "resume"] as const) {
              const world = yield* make(database)
              const probe = new Points()
              const reference = yield* make(database)
              yield* Effect.provide(up(upOptions), reference.runtime({ points: probe }))
              const index = probe.passed.indexOf("provider.provision:after")
              const points = new Points({ index, ending: "kill" })
              yield* endAt(points, Effect.provide(up(upOptions), world.runtime({ pid: 2, points })))
              assert.strictEqual(world.cloud.boxes.size, 1)
              world.bury(2)
              const session = yield* only(world)
              assert.isNull(session.instance)
              if (recover === "gc") {
                const planned = yield* Effect.provide(gc({ dryRun: true }), world.runtime({ pid: 3 }))
                assert.deepStrictEqual(
                  planned.actions.map(({ action, outcome }) => [action, outcome]),
                  [["recover", "planned"]]
                )
                assert.strictEqual(world.cloud.boxes.size, 1)
                yield* Effect.provide(gc({}), world.runtime({ pid: 3 }))
                assert.strictEqual(world.cloud.boxes.size, 0)
                assert.strictEqual((yield* only(world)).state, "failed")
              } else {
                yield* Effect.provide(resume({ session: session.id }), world.runtime({ pid: 3 }))
                assert.strictEqual((yield* only(world)).state, "ready")
                assert.strictEqual(world.cloud.created, 1)
              }
            }
          })
      )

      it.effect(
        "I-12 a claim whose holder is dead on this host is stale at once, and on another host after its lease",
        () =>
          Effect.gen(function* () {
            const world = yield* make(database)
            yield* Effect.provide(up(upOptions), world.runtime({ pid: 1 }))
            const points = new Points({ index: 2, ending: "kill" })
            yield* endAt(points, Effect.provide(down({ session: "work" }), world.runtime({ pid: 2, points })))
            const elsewhere = world.runtime({ pid: 3, host: "host-2" })
            world.bury(2)
            const refused = yield* Effect.flip(Effect.provide(down({ session: "work" }), elsewhere))
            assert.strictEqual(refused.code, "ERR_OPERATION_CONFLICT")
            const shown = yield* Effect.provide(list(), world.runtime({ pid: 3 }))
            assert.isTrue(shown.sessions[0]!.claim!.stale)
            yield* TestClock.adjust("31 seconds")
            yield* Effect.provide(down({ session: "work" }), elsewhere)
            assert.strictEqual((yield* only(world)).state, "stopped")
          })
      )
    })
  })
}
