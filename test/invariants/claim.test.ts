/** The claim itself, proven on a scripted program of kind `switch`, and on the operations that exist. */
import { assert, describe, it } from "@effect/vitest"
import { checkpoint, destroy, down, gc, list, resume, up } from "@org/sandbox-core"
import * as Claim from "@org/sandbox-core/Claim"
import type { Ledger } from "@org/sandbox-core/Ledger"
import * as SandboxError from "@org/sandbox-core/SandboxError"
import { InstanceRef, type Session } from "@org/sandbox-core/Session"
import { Deferred, Effect, Exit, Fiber, Option } from "effect"
import { TestClock } from "effect/testing"
import { databases, endAt, make, Points, type RuntimeOptions, repository, type World } from "./world.ts"

const repo = repository()
const upOptions = { repository: repo, branch: "main", provider: "memory", name: "work" }

const realPause = Effect.promise(() => new Promise((resolve) => setTimeout(resolve, 3)))

/** Lets time pass in steps, with room between them for what wakes up to do its work. */
const advance = Effect.fnUntraced(function* (seconds: number) {
  for (let passed = 0; passed < seconds; passed += 5) {
    yield* TestClock.adjust(`${Math.min(5, seconds - passed)} seconds`)
    yield* realPause
  }
})

const row = (world: World, id: string) => Effect.map(world.ledger.session(id), Option.getOrThrow)

const ready = Effect.fnUntraced(function* (world: World) {
  const { sessionId } = yield* Effect.provide(up(upOptions), world.runtime({ pid: 1 }))
  return yield* row(world, sessionId)
})

let requests = 0
const request = () => {
  requests += 1
  return { id: `op_switch${requests}`, verb: "switch", clientRequestId: null, requestHash: "" }
}

interface Script {
  readonly to?: string
  /** Calls to the providers, in order, with who made them. */
  readonly calls: Array<string>
  readonly inStop?: Effect.Effect<void>
  readonly afterClaim?: Effect.Effect<void>
  readonly force?: boolean
}

/** Claim, stop the old box, write the new provider, make the new box, ready: the order of a switch. */
const scripted = (session: Session, script: Script) => {
  const operation = request()
  const { to = "other" } = script
  const call = (name: string) => Effect.sync(() => script.calls.push(`${operation.id} ${name}`))
  return Claim.withClaim(
    {
      session,
      kind: "switch",
      operation,
      force: script.force,
      from: ["ready", "completed", "stopped", "failed"],
      enter: () => "switching"
    },
    {
      verb: "switch",
      use: (held) =>
        Effect.gen(function* () {
          yield* script.afterClaim ?? Effect.void
          yield* held.phase("stop", Effect.andThen(call("stop"), script.inStop ?? Effect.void))
          yield* held.commit({ set: { provider: to, instance: null, generation: session.generation + 1 } })
          yield* held.commit({ move: yield* held.move("provisioning") })
          yield* held.phase("provision", call("create"))
          const ref = new InstanceRef({
            version: 1,
            provider: to,
            scope: to,
            key: `${session.id}.g2`,
            id: "j1",
            data: {}
          })
          yield* held.commit({ move: yield* held.move("syncing"), set: { instance: ref } })
          return { result: to, change: { move: yield* held.move("ready") } }
        }),
      settle: (held) =>
        Effect.gen(function* () {
          const { state } = yield* held.row
          if (state !== "switching") return { move: yield* held.move("failed") }
          return { move: yield* held.move(held.prior!.state) }
        })
    }
  )
}

const withoutBookkeeping = ({ updatedAt: _, version: __, ...rest }: Session) => rest

for (const database of databases) {
  describe(`claims on ${database.name}`, () => {
    const run = <A, E>(name: string, body: (world: World) => Effect.Effect<A, E, import("effect").Scope.Scope>) =>
      it.effect(name, () => Effect.flatMap(make(database), body))
    const as = (world: World, options: RuntimeOptions = {}) => Effect.provide(world.runtime(options))

    run("I-1 a losing claim has no side effect: no call, no write, no record", (world) =>
      Effect.gen(function* () {
        const session = yield* ready(world)
        const calls: Array<string> = []
        const stopping = yield* Deferred.make<void>()
        const open = yield* Deferred.make<void>()
        const winner = yield* Effect.forkChild(
          scripted(session, {
            calls,
            inStop: Effect.andThen(Deferred.succeed(stopping, undefined), Deferred.await(open))
          }).pipe(as(world))
        )
        yield* Deferred.await(stopping)
        const [before, history] = [yield* row(world, session.id), yield* world.ledger.history(session.id)]
        const refused = yield* Effect.flip(scripted(before, { calls, to: "third" }).pipe(as(world, { pid: 7 })))
        assert.strictEqual(refused.code, "ERR_ALREADY_SWITCHING")
        assert.isTrue(refused.retryable)
        assert.match(refused.operationId ?? "", /^op_switch/)
        assert.deepStrictEqual(yield* row(world, session.id), before)
        assert.deepStrictEqual(yield* world.ledger.history(session.id), history)
        assert.strictEqual(calls.length, 1)
        yield* Deferred.succeed(open, undefined)
        assert.strictEqual(yield* Fiber.join(winner), "other")
      })
    )

    run("I-2 I-5 a claim on a row that has moved since it was read is refused, and rolls nothing back", (world) =>
      Effect.gen(function* () {
        const seen = yield* ready(world)
        const calls: Array<string> = []
        yield* down({ session: "work" }).pipe(as(world))
        const after = yield* row(world, seen.id)
        assert.strictEqual(after.state, "stopped")
        const history = yield* world.ledger.history(seen.id)
        const refused = yield* Effect.flip(scripted(seen, { calls }).pipe(as(world, { pid: 7 })))
        assert.strictEqual(refused.code, "ERR_OPERATION_CONFLICT")
        assert.deepStrictEqual(yield* row(world, seen.id), after)
        assert.deepStrictEqual(yield* world.ledger.history(seen.id), history)
        assert.deepStrictEqual(calls, [])
        // on the row as it is, the prior that is restored is the one the claim itself saw
        const interrupted = yield* Effect.exit(
          scripted(after, { calls, afterClaim: Effect.interrupt }).pipe(as(world, { pid: 7 }))
        )
        assert.isTrue(Exit.isFailure(interrupted))
        assert.strictEqual((yield* row(world, seen.id)).state, "stopped")
      })
    )

    run("I-3 a claim that the ledger failed to write arms nothing, for up and for down", (world) =>
      Effect.gen(function* () {
        const session = yield* ready(world)
        const { calls } = world.faults
        const made = calls.length
        const broken = Effect.fail(
          SandboxError.make("ERR_LEDGER_IO", { message: "the disk is gone", nextStep: "bring it back" })
        )
        world.interceptLedger((ledger): Ledger["Service"] => ({
          ...ledger,
          acquire: () => broken,
          reserve: () => broken
        }))
        for (const program of [down({ session: "work" }), up({ ...upOptions, name: "second" })]) {
          const error = yield* Effect.flip(
            (program as Effect.Effect<unknown, SandboxError.SandboxError>).pipe(as(world))
          )
          assert.strictEqual(error.code, "ERR_LEDGER_IO")
          assert.isTrue(error.retryable)
        }
        assert.deepStrictEqual(yield* row(world, session.id), session)
        const started = calls
          .slice(made)
          .filter(({ op, phase }) => phase === "start" && op !== "scope" && op !== "preflight")
        assert.deepStrictEqual(started, [])
        assert.strictEqual((yield* world.ledger.sessions({})).sessions.length, 1)
      })
    )

    run("I-4 a rollback that lost its claim to a namesake leaves the other's claim alone", (world) =>
      Effect.gen(function* () {
        const session = yield* ready(world)
        const calls: Array<string> = []
        const stopping = yield* Deferred.make<void>()
        const first = yield* Effect.forkChild(
          Effect.exit(
            scripted(session, {
              calls,
              inStop: Effect.andThen(Deferred.succeed(stopping, undefined), Effect.never)
            }).pipe(as(world))
          )
        )
        yield* Deferred.await(stopping)
        const second = yield* Deferred.make<void>()
        const open = yield* Deferred.make<void>()
        const other = yield* Effect.forkChild(
          scripted(yield* row(world, session.id), {
            calls,
            force: true,
            afterClaim: Effect.andThen(Deferred.succeed(second, undefined), Deferred.await(open))
          }).pipe(as(world, { pid: 7 }))
        )
        yield* Deferred.await(second)
        const held = yield* row(world, session.id)
        assert.strictEqual(held.state, "switching")
        yield* Fiber.interrupt(first)
        const exit = yield* Fiber.await(first)
        assert.isTrue(Exit.isFailure(exit))
        assert.deepStrictEqual(yield* row(world, session.id), held)
        yield* Deferred.succeed(open, undefined)
        yield* Fiber.join(other)
        assert.strictEqual((yield* row(world, session.id)).state, "ready")
      })
    )

    run(
      "I-5b I-36 interrupted right after the claim, the row is again what it was, and a retry wins at once",
      (world) =>
        Effect.gen(function* () {
          const session = yield* ready(world)
          const calls: Array<string> = []
          const exit = yield* Effect.exit(scripted(session, { calls, afterClaim: Effect.interrupt }).pipe(as(world)))
          assert.isTrue(Exit.isFailure(exit))
          const after = yield* row(world, session.id)
          assert.deepStrictEqual(withoutBookkeeping(after), withoutBookkeeping(session))
          assert.deepStrictEqual(calls, [])
          assert.strictEqual(yield* scripted(after, { calls }).pipe(as(world)), "other")
        })
    )

    run(
      "I-6 a claim states its source states: a destroyed session is not switched, resumed or halted back to life",
      (world) =>
        Effect.gen(function* () {
          const session = yield* ready(world)
          yield* destroy({ session: "work", force: true }).pipe(as(world))
          const tombstone = yield* row(world, session.id)
          const calls: Array<string> = []
          const attempts: ReadonlyArray<Effect.Effect<unknown, SandboxError.SandboxError>> = [
            scripted(session, { calls }).pipe(as(world)),
            scripted(tombstone, { calls }).pipe(as(world)),
            resume({ session: session.id }).pipe(as(world))
          ]
          for (const attempt of attempts) {
            assert.strictEqual((yield* Effect.flip(attempt)).code, "ERR_OPERATION_CONFLICT")
          }
          assert.isTrue((yield* down({ session: session.id }).pipe(as(world))).already)
          assert.deepStrictEqual(yield* row(world, session.id), tombstone)
          assert.deepStrictEqual(calls, [])
        })
    )

    run("I-7 of 20 concurrent switches of one session one wins, and stops the old box once", (world) =>
      Effect.gen(function* () {
        const session = yield* ready(world)
        const calls: Array<string> = []
        const exits = yield* Effect.forEach(
          Array.from({ length: 20 }, (_, n) => n),
          (n) => Effect.exit(scripted(session, { calls, to: `target-${n}` }).pipe(as(world, { pid: 200 + n }))),
          { concurrency: "unbounded" }
        )
        const winners = exits.filter(Exit.isSuccess)
        assert.strictEqual(winners.length, 1)
        assert.strictEqual((yield* row(world, session.id)).provider, winners[0]!.value)
        assert.strictEqual(calls.filter((call) => call.endsWith("stop")).length, 1)
        assert.strictEqual(calls.filter((call) => call.endsWith("create")).length, 1)
        const { operations } = yield* world.ledger.history(session.id)
        assert.strictEqual(operations.filter(({ verb }) => verb === "switch").length, 1)
      })
    )

    run("I-8 every mutating operation contends for the same claim", (world) =>
      Effect.gen(function* () {
        const session = yield* ready(world)
        const calls: Array<string> = []
        const stopping = yield* Deferred.make<void>()
        const open = yield* Deferred.make<void>()
        const holder = yield* Effect.forkChild(
          scripted(session, {
            calls,
            inStop: Effect.andThen(Deferred.succeed(stopping, undefined), Deferred.await(open))
          }).pipe(as(world))
        )
        yield* Deferred.await(stopping)
        const held = yield* row(world, session.id)
        const changing = () =>
          world.faults.calls.filter(({ op }) => !["scope", "preflight", "list"].includes(op)).length
        const made = changing()
        const others: ReadonlyArray<readonly [string, Effect.Effect<unknown, SandboxError.SandboxError>]> = [
          ["ERR_OPERATION_CONFLICT", down({ session: "work" }).pipe(as(world, { pid: 7 }))],
          ["ERR_OPERATION_CONFLICT", destroy({ session: "work", confirmDataLoss: true }).pipe(as(world, { pid: 7 }))],
          [
            "ERR_OPERATION_CONFLICT",
            destroy({ session: "work", forget: true, confirmDataLoss: true }).pipe(as(world, { pid: 7 }))
          ],
          ["ERR_OPERATION_CONFLICT", resume({ session: "work" }).pipe(as(world, { pid: 7 }))],
          ["ERR_OPERATION_CONFLICT", checkpoint({ session: "work" }).pipe(as(world, { pid: 7 }))],
          ["ERR_NAME_TAKEN", up(upOptions).pipe(as(world, { pid: 7 }))]
        ]
        for (const [code, other] of others) assert.strictEqual((yield* Effect.flip(other)).code, code)
        assert.deepStrictEqual((yield* gc({}).pipe(as(world, { pid: 7 }))).actions, [])
        assert.deepStrictEqual(yield* row(world, session.id), held)
        assert.strictEqual(changing(), made)
        yield* Deferred.succeed(open, undefined)
        yield* Fiber.join(holder)
      })
    )

    run(
      "I-9 a loser destroys the box it made when the session was destroyed meanwhile, and resurrects nothing",
      (world) =>
        Effect.gen(function* () {
          const gate = yield* world.faults.gate("provision", "after")
          const first = yield* Effect.forkChild(Effect.flip(up(upOptions).pipe(as(world, { pid: 1 }))))
          yield* gate.reached
          const { sessions } = yield* world.ledger.sessions({})
          const taken = yield* down({ session: sessions[0]!.id, force: true }).pipe(as(world, { pid: 7 }))
          assert.strictEqual(taken.state, "destroyed")
          const destroyed = world.faults.started("destroy").length
          yield* gate.open
          const error = yield* Fiber.join(first)
          assert.strictEqual(error.code, "ERR_CLAIM_LOST")
          assert.strictEqual(world.faults.started("destroy").length, destroyed + 1)
          assert.strictEqual(world.cloud.boxes.size, 0)
          const after = yield* row(world, sessions[0]!.id)
          assert.strictEqual(after.state, "destroyed")
          assert.isNull(after.claim)
        })
    )

    run("I-9 a process that cannot renew stands down, and leaves its box to whoever goes on", (world) =>
      Effect.gen(function* () {
        const gate = yield* world.faults.gate("provision", "after")
        const unreachable = Effect.fail(SandboxError.make("ERR_LEDGER_IO", { message: "no answer", nextStep: "wait" }))
        world.interceptLedger((ledger) => ({ ...ledger, renew: () => unreachable }))
        const first = yield* Effect.forkChild(Effect.flip(up(upOptions).pipe(as(world, { pid: 1 }))))
        yield* gate.reached
        world.interceptLedger((ledger) => ledger)
        yield* advance(31)
        assert.strictEqual((yield* Fiber.join(first)).code, "ERR_CLAIM_LOST")
        assert.strictEqual(world.running(), 1)
        const { sessions } = yield* world.ledger.sessions({})
        assert.strictEqual((yield* resume({ session: sessions[0]!.id }).pipe(as(world, { pid: 7 }))).state, "ready")
        assert.strictEqual(world.running(), 1)
        assert.strictEqual(world.cloud.created, 1)
      })
    )

    run("I-9 an operation that fails after it was taken over undoes nothing that the new holder has", (world) =>
      Effect.gen(function* () {
        const gate = yield* world.faults.gate("workspace.attach", "before")
        const first = yield* Effect.forkChild(Effect.exit(up(upOptions).pipe(as(world, { pid: 1 }))))
        yield* gate.reached
        const { sessions } = yield* world.ledger.sessions({})
        const taken = yield* Deferred.make<void>()
        const open = yield* Deferred.make<void>()
        const second = yield* Effect.forkChild(
          Claim.withClaim(
            { session: sessions[0]!, kind: "resume", operation: request(), from: ["syncing"], force: true },
            {
              verb: "resume",
              use: (held) =>
                Effect.gen(function* () {
                  yield* Deferred.succeed(taken, undefined)
                  yield* Deferred.await(open)
                  return { result: "kept", change: { move: yield* held.move("ready") } }
                }),
              settle: () => Effect.succeed({})
            }
          ).pipe(as(world, { pid: 7 }))
        )
        yield* Deferred.await(taken)
        yield* Fiber.interrupt(first)
        assert.strictEqual(world.running(), 1)
        yield* Deferred.succeed(open, undefined)
        assert.strictEqual(yield* Fiber.join(second), "kept")
        assert.strictEqual(world.running(), 1)
      })
    )

    run("I-10 a lost claim interrupts the work at the next renewal, also inside a call that hangs", (world) =>
      Effect.gen(function* () {
        const gate = yield* world.faults.gate("provision", "before")
        const first = yield* Effect.forkChild(Effect.flip(up(upOptions).pipe(as(world, { pid: 1 }))))
        yield* gate.reached
        yield* advance(60)
        const { sessions } = yield* world.ledger.sessions({})
        yield* down({ session: sessions[0]!.id, force: true }).pipe(as(world, { pid: 7 }))
        yield* advance(10)
        assert.strictEqual((yield* Fiber.join(first)).code, "ERR_CLAIM_LOST")
        const provision = world.faults.calls.filter(({ op, phase }) => op === "provision" && phase === "end")
        assert.deepStrictEqual(
          provision.map((entry) => (entry.phase === "end" ? entry.outcome : "")),
          ["interrupted"]
        )
      })
    )

    run("I-11 an operation that is alive is never taken over for being slow", (world) =>
      Effect.gen(function* () {
        const gate = yield* world.faults.gate("provision", "before")
        const slow = yield* Effect.forkChild(up(upOptions).pipe(as(world, { pid: 1 })))
        yield* gate.reached
        const { sessions } = yield* world.ledger.sessions({})
        const id = sessions[0]!.id
        for (const [wait, age] of [
          [31, 31],
          [268, 299]
        ] as const) {
          yield* advance(wait)
          const refused = yield* Effect.flip(down({ session: id }).pipe(as(world, { pid: 7, host: "host-2" })))
          assert.strictEqual(refused.code, "ERR_OPERATION_CONFLICT")
          const claim = refused.details?.["claim"]
          assert.deepInclude(claim, { kind: "up", age_s: age })
          assert.property(claim, "holder")
          assert.property(claim, "since")
        }
        yield* gate.open
        assert.strictEqual((yield* Fiber.join(slow)).state, "ready")
      })
    )

    run("I-39 a rollback is not cut short by a second interruption nor by a ledger that is slow", (world) =>
      Effect.gen(function* () {
        const session = yield* ready(world)
        const claimed = yield* Deferred.make<void>()
        world.interceptLedger((ledger) => ({
          ...ledger,
          commit: (write) => Effect.andThen(Effect.sleep("4 seconds"), ledger.commit(write))
        }))
        const fiber = yield* Effect.forkChild(
          scripted(session, {
            calls: [],
            afterClaim: Effect.andThen(Deferred.succeed(claimed, undefined), Effect.never)
          }).pipe(as(world))
        )
        yield* Deferred.await(claimed)
        fiber.interruptUnsafe()
        fiber.interruptUnsafe()
        while (fiber.pollUnsafe() === undefined) yield* advance(1)
        assert.deepStrictEqual(withoutBookkeeping(yield* row(world, session.id)), withoutBookkeeping(session))
      })
    )

    run("I-40 a rollback that cannot be written keeps the claim and says that recovery is needed", (world) =>
      Effect.gen(function* () {
        const session = yield* ready(world)
        world.interceptLedger((ledger) => ({ ...ledger, commit: () => Effect.never }))
        const fiber = yield* Effect.forkChild(
          Effect.flip(
            scripted(session, {
              calls: [],
              afterClaim: Effect.fail(
                SandboxError.make("ERR_STOP_FAILED", { message: "stop failed", nextStep: "again" })
              ) as Effect.Effect<never>
            }).pipe(as(world, { pid: 5 }))
          )
        )
        // the ledger answers in its own time, however far the clock has gone
        while (fiber.pollUnsafe() === undefined) yield* advance(5)
        const error = yield* Fiber.join(fiber)
        assert.strictEqual(error.code, "ERR_RECOVERY_REQUIRED")
        assert.strictEqual(SandboxError.exitCode(error.code), 3)
        assert.include(error.nextStep, `sandbox status ${session.id}`)
        const left = yield* row(world, session.id)
        assert.strictEqual(left.state, "switching")
        assert.isNotNull(left.claim)

        // whoever takes over records that the operation was abandoned
        world.interceptLedger((ledger) => ledger)
        world.bury(5)
        yield* down({ session: session.id }).pipe(as(world, { pid: 7 }))
        const { events, operations } = yield* world.ledger.history(session.id)
        assert.strictEqual(operations.find(({ id }) => id === left.claim!.operationId)?.status, "abandoned")
        assert.isTrue(events.some(({ type }) => type === "claim_taken_over"))
        assert.strictEqual((yield* row(world, session.id)).state, "stopped")
      })
    )

    run("I-81 list marks a claimed session with kind and age, and a stale one with its command", (world) =>
      Effect.gen(function* () {
        const session = yield* ready(world)
        const probe = new Points({ index: 1, ending: "kill" })
        yield* endAt(probe, down({ session: "work" }).pipe(as(world, { pid: 5, points: probe })))
        yield* TestClock.adjust("12 seconds")
        const [live] = (yield* list().pipe(as(world))).sessions
        assert.deepInclude(live!.claim, { kind: "down", ageS: 12, stale: false })
        world.bury(5)
        const [stale] = (yield* list().pipe(as(world))).sessions
        assert.deepInclude(stale!.claim, { kind: "down", ageS: 12, stale: true })
        assert.strictEqual(stale!.recovery?.command, `sandbox down ${session.id}`)
      })
    )
  })
}
