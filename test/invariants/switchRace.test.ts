/** Many switches of one session at once, in orders that a seed decides. */
import { assert, describe, it } from "@effect/vitest"
import * as SandboxError from "@org/sandbox-core/SandboxError"
import { Cause, Deferred, Effect, Exit } from "effect"
import { random, sampled } from "../support/sample.ts"
import { type Database, databases, make, move, Points, ready, row, type World } from "./switchWorld.ts"

/** Numbers below a bound; the same seed gives the same ones. */
const dice = (seed: number) => {
  const next = random(seed)
  return (bound: number): number => Math.floor(next() * bound)
}

const macrotask = Effect.promise(() => new Promise<void>((resolve) => setImmediate(resolve)))

interface Waiting {
  readonly actor: number
  readonly at: string
  readonly go: Deferred.Deferred<void>
}

/** One call of the ledger or of a provider at a time, of whichever process the seed says. */
class Turns {
  private waiting: ReadonlyArray<Waiting> = []
  private readonly busy = new Set<number>()
  private readonly actors = new Set<number>()

  /** What the process asks before every call, and after those that change something. */
  points(actor: number): Points {
    const wait = (at: string) => this.wait(actor, at)
    return new (class extends Points {
      override pass(name: string): Effect.Effect<void> {
        return wait(name)
      }
      override alive<A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> {
        return Effect.andThen(wait("a look"), effect)
      }
    })()
  }

  play<A, E, R>(actor: number, program: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> {
    this.actors.add(actor)
    this.busy.add(actor)
    const end = Effect.sync(() => {
      this.busy.delete(actor)
      this.actors.delete(actor)
    })
    return Effect.ensuring(program, end)
  }

  private wait(actor: number, at: string): Effect.Effect<void> {
    return Effect.suspend(() => {
      const go = Deferred.makeUnsafe<void>()
      this.waiting = [...this.waiting, { actor, at, go }]
      this.busy.delete(actor)
      return Deferred.await(go)
    })
  }

  /** Until all have ended. Whoever wins does not end before the others: what comes later is no race. */
  drive(seed: number): Effect.Effect<void> {
    const roll = dice(seed)
    // how much a process is left to itself: from strictly in turn to one after the other
    const patience = roll(10)
    let last: number | undefined
    const choose = (): Waiting | undefined => {
      const isLast = this.actors.size === 1
      const able = this.waiting.filter(({ at }) => isLast || at !== "ledger.commit.done:before")
      const again = able.find(({ actor }) => actor === last)
      return again !== undefined && roll(10) < patience ? again : able[roll(able.length || 1)]
    }
    const loop: Effect.Effect<void> = Effect.suspend(() => {
      if (this.actors.size === 0) return Effect.void
      if (this.busy.size > 0) return Effect.andThen(macrotask, loop)
      const chosen = choose()
      if (chosen === undefined) return Effect.die("nobody can go on")
      last = chosen.actor
      this.waiting = this.waiting.filter((one) => one !== chosen)
      this.busy.add(chosen.actor)
      return Effect.andThen(Deferred.succeed(chosen.go, undefined), loop)
    })
    return loop
  }
}

const processes = 20

/** Twenty switches at once, and everything that has to be true of them. */
const race = Effect.fnUntraced(function* (world: World, id: string, seed: number) {
  const roll = dice(seed * 7919)
  const before = yield* row(world, id)
  const history = yield* world.ledger.history(id)
  const steps = world.log.length
  const targets = Array.from({ length: processes }, () => (["a", "b", "c"] as const)[roll(3)]!)
  const turns = new Turns()
  const racing = Effect.forEach(
    targets,
    (to, index) => {
      const pid = 200 + index
      return Effect.exit(turns.play(pid, move(world, to, { pid, points: turns.points(pid) })))
    },
    { concurrency: "unbounded" }
  )
  const [exits] = yield* Effect.all([racing, Effect.andThen(Effect.yieldNow, turns.drive(seed))], {
    concurrency: "unbounded"
  })
  const after = yield* row(world, id)
  const log = world.log.slice(steps)

  const winners = exits.flatMap((exit, index) => (Exit.isSuccess(exit) && exit.value.noop !== true ? [index] : []))
  assert.strictEqual(winners.length, 1)
  const winner = winners[0]!
  const provider = targets[winner]!
  assert.deepInclude(after, { state: "ready", provider, claim: null })
  for (const [index, exit] of exits.entries()) {
    if (index === winner) continue
    if (Exit.isSuccess(exit)) assert.deepInclude(exit.value, { noop: true, operationId: null })
    else {
      const error = SandboxError.fromCause(exit.cause, null)
      assert.strictEqual(error.code, "ERR_ALREADY_SWITCHING", Cause.pretty(exit.cause))
      assert.strictEqual(SandboxError.exitCode(error.code), 1)
    }
    // nothing but, at most, a try to claim that failed
    const own = log.filter(({ by }) => by === 200 + index)
    assert.isTrue(
      own.every(({ at, what }) => at === "begun" && what === "ledger.acquire"),
      JSON.stringify(own)
    )
  }

  const calls = (what: string) => log.filter((step) => step.at === "begun" && step.what.endsWith(what))
  assert.deepStrictEqual(
    calls(".stop").map(({ of, what }) => `${what} ${of}`),
    [`${before.provider}.stop ${before.instance!.key}`]
  )
  assert.deepStrictEqual(
    calls(".provision").map(({ what }) => what),
    [`${provider}.provision`]
  )
  assert.deepStrictEqual(yield* world.boxes, [{ provider, key: after.instance!.key, is: "running" }])
  const { events, operations } = yield* world.ledger.history(id)
  const added = operations.slice(history.operations.length)
  assert.deepStrictEqual(
    added.map(({ status, verb }) => `${verb} ${status}`),
    ["switch succeeded", "gc succeeded"]
  )
  for (const event of events.slice(history.events.length)) {
    assert.include(
      added.map((one) => one.id),
      event.operationId
    )
  }
  return log.filter(({ at, by, what }) => at === "begun" && by !== 200 + winner && what === "ledger.acquire").length
})

const races = Effect.fnUntraced(function* (database: Database, seeds: ReadonlyArray<number>) {
  const world = yield* make(database)
  const { id } = yield* ready(world)
  let outrun = 0
  for (const seed of seeds) {
    outrun += yield* race(world, id, seed).pipe(
      Effect.catchCause((cause) => Effect.die(new Error(`seed ${seed}: ${Cause.pretty(cause)}`)))
    )
  }
  // the orders differ in what matters: some come to the claim itself, and find that the row has moved
  assert.isAbove(outrun, seeds.length)
}, Effect.scoped)

/** How many orders are tried, and in how many worlds. */
const rounds = { SQLite: 10, PostgreSQL: 3 } as Readonly<Record<string, number>>
const perRound = 20

for (const database of databases) {
  const all = Array.from({ length: rounds[database.name] ?? 1 }, (_, round) => round)
  const chosen = sampled(all, Math.ceil(all.length / 3))
  describe(`races on ${database.name}`, () => {
    it.effect(
      `I-7 of ${processes} switches at once one wins, in each of ${chosen.length * perRound} orders`,
      () =>
        Effect.forEach(
          chosen,
          (round) =>
            races(
              database,
              Array.from({ length: perRound }, (_, n) => round * perRound + n)
            ),
          { discard: true }
        ),
      300_000
    )
  })
}
