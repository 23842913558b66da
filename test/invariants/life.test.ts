/** What holds of sessions over their life: gates, faults of the provider and the ledger, and random histories. */
import { assert, describe, it } from "@effect/vitest"
import * as Faults from "@org/sandbox-conformance/Faults"
import { destroy, down, exec, gc, list, resume, status, up } from "@org/sandbox-core"
import * as Claim from "@org/sandbox-core/Claim"
import { InTransaction } from "@org/sandbox-core/Ledger"
import * as Lifecycle from "@org/sandbox-core/Lifecycle"
import * as SandboxError from "@org/sandbox-core/SandboxError"
import { Effect, Exit, Fiber, Option, Random, type Scope } from "effect"
import { TestClock } from "effect/testing"
import { databases, endAt, make, Points, type RuntimeOptions, repository, type World } from "./world.ts"

const repo = repository()
const upOptions = { repository: repo, branch: "main", provider: "memory", name: "work" }
type Failing<A> = Effect.Effect<A, SandboxError.SandboxError>

/** Long enough for a disk to answer between two seconds of the test's clock. */
const realPause = Effect.promise(() => new Promise((resolve) => setTimeout(resolve, 20)))

/** Lets time pass until a fiber is done. */
const finish = Effect.fnUntraced(function* <A, E>(fiber: Fiber.Fiber<A, E>) {
  while (fiber.pollUnsafe() === undefined) {
    yield* TestClock.adjust("1 second")
    yield* realPause
  }
  return yield* Fiber.await(fiber)
})

const as = (world: World, options: RuntimeOptions = {}) => Effect.provide(world.runtime(options))

/** Runs a program to its end, however much time it needs. */
const settle = <A, E, R>(program: Effect.Effect<A, E, R>) => Effect.flatMap(Effect.forkChild(program), finish)
const failureOf = Effect.fnUntraced(function* <A, R>(program: Effect.Effect<A, SandboxError.SandboxError, R>) {
  const exit = yield* settle(Effect.flip(program))
  if (Exit.isFailure(exit)) return assert.fail("it should have failed")
  return exit.value
})

const only = Effect.fnUntraced(function* (world: World) {
  const { sessions } = yield* world.ledger.sessions({})
  assert.strictEqual(sessions.length, 1)
  return sessions[0]!
})

const command = (line: string): Failing<unknown> => {
  const [, verb, reference = "", ...flags] = line.split(" ")
  const options = {
    session: reference,
    force: flags.includes("--force"),
    confirmDataLoss: flags.includes("--confirm-data-loss")
  }
  const programs = {
    up: up(upOptions),
    down: down(options),
    resume: resume(options),
    destroy: destroy(options),
    status: status(options),
    gc: gc({})
  }
  const program = programs[verb as keyof typeof programs]
  assert.isDefined(program, line)
  return program as Failing<unknown>
}

for (const database of databases) {
  describe(`the life of sessions on ${database.name}`, () => {
    const run = <A, E>(name: string, body: (world: World) => Effect.Effect<A, E, Scope.Scope>, timeout?: number) =>
      it.effect(name, () => Effect.flatMap(make(database), body), timeout)

    run("I-14 nothing that waits runs inside a ledger transaction", (world) =>
      Effect.gen(function* () {
        const outside: Faults.Fault = (call) =>
          Effect.flatMap(InTransaction, (inside) => (inside ? Effect.die("called inside a transaction") : call))
        for (const op of [
          "scope",
          "preflight",
          "provision",
          "find",
          "inspect",
          "stop",
          "start",
          "destroy",
          "workspace.attach",
          "workspace.status",
          "workspace.detach"
        ] as const) {
          yield* world.faults.always(op, outside)
        }
        yield* up(upOptions).pipe(as(world))
        yield* down({ session: "work" }).pipe(as(world))
        yield* resume({ session: "work" }).pipe(as(world))
        yield* status({ session: "work", live: true }).pipe(as(world))
        yield* gc({}).pipe(as(world))
        yield* destroy({ session: "work", force: true }).pipe(as(world))
        assert.isAbove(world.faults.calls.length, 10)
      })
    )

    run("I-15 I-18 reads and other sessions wait for no operation in flight", (world) =>
      Effect.gen(function* () {
        yield* up(upOptions).pipe(as(world))
        const gate = yield* world.faults.gate("stop")
        const halting = yield* Effect.forkChild(down({ session: "work" }).pipe(as(world, { pid: 2 })))
        yield* gate.reached
        // no time passes from here on: whatever waited would wait for ever
        const [shown] = (yield* list().pipe(as(world))).sessions
        assert.strictEqual(shown?.state, "stopping")
        assert.strictEqual(shown?.claim?.kind, "down")
        assert.strictEqual((yield* status({ session: "work" }).pipe(as(world))).state, "stopping")
        yield* up({ ...upOptions, name: "other" }).pipe(as(world))
        yield* destroy({ session: "other", force: true }).pipe(as(world))
        yield* gate.open
        assert.strictEqual((yield* Fiber.join(halting)).state, "stopped")
      })
    )

    run("I-19 gc keeps nobody waiting while it removes what a dead up left", (world) =>
      Effect.gen(function* () {
        const points = new Points({ index: 5, ending: "kill" })
        yield* endAt(points, up(upOptions).pipe(as(world, { pid: 2, points })))
        world.bury(2)
        const gate = yield* world.faults.gate("destroy")
        const sweeping = yield* Effect.forkChild(gc({}).pipe(as(world, { pid: 3 })))
        yield* gate.reached
        const [shown] = (yield* list().pipe(as(world))).sessions
        assert.strictEqual(shown?.claim?.kind, "gc")
        yield* up({ ...upOptions, name: "other" }).pipe(as(world))
        yield* gate.open
        assert.deepStrictEqual(
          (yield* Fiber.join(sweeping)).actions.map(({ outcome }) => outcome),
          ["done"]
        )
      })
    )

    run("I-16 eight ups of 20 s each take 20 s together", (world) =>
      Effect.gen(function* () {
        yield* world.faults.always("provision", Faults.delay("20 seconds"))
        const names = Array.from({ length: 8 }, (_, n) => `work-${n}`)
        const fiber = yield* Effect.forkChild(
          Effect.forEach(names, (name, n) => up({ ...upOptions, name }).pipe(as(world, { pid: 10 + n })), {
            concurrency: "unbounded"
          })
        )
        while (world.faults.started("provision").length < 8) yield* realPause
        assert.isFalse(world.faults.calls.some(({ op, phase }) => op === "provision" && phase === "end"))
        yield* TestClock.adjust("20 seconds")
        const results = yield* Fiber.join(fiber)
        assert.deepStrictEqual(
          results.map(({ state }) => state),
          names.map(() => "ready")
        )
        assert.strictEqual(world.running(), 8)
      })
    )

    run("I-13 another principal learns nothing and changes nothing", (world) =>
      Effect.gen(function* () {
        const { sessionId } = yield* up(upOptions).pipe(as(world))
        const before = [yield* only(world), yield* world.ledger.history(sessionId)]
        const calls = world.faults.calls.length
        const attempts: ReadonlyArray<Failing<unknown>> = [
          status({ session: sessionId }).pipe(as(world, { principal: "bob" })),
          down({ session: sessionId, force: true, clientRequestId: "k" }).pipe(as(world, { principal: "bob" })),
          destroy({ session: sessionId, force: true, confirmDataLoss: true }).pipe(as(world, { principal: "bob" })),
          resume({ session: sessionId }).pipe(as(world, { principal: "bob" }))
        ]
        for (const attempt of attempts) {
          const error = yield* Effect.flip(attempt)
          assert.strictEqual(error.code, "ERR_SESSION_FORBIDDEN")
          assert.isFalse(error.retryable)
          assert.notMatch(JSON.stringify(SandboxError.fields(error)), /work|main|memory|ann/)
        }
        assert.deepStrictEqual([yield* only(world), yield* world.ledger.history(sessionId)], before)
        assert.strictEqual(world.faults.calls.length, calls)
        assert.deepStrictEqual((yield* list().pipe(as(world, { principal: "bob" }))).sessions, [])
        assert.isTrue(Option.isNone(yield* world.ledger.request({ owner: "bob", verb: "down", clientRequestId: "k" })))
      })
    )

    run("I-28 a create whose reply is lost is repeated with the same key, and there is one box", (world) =>
      Effect.gen(function* () {
        yield* world.faults.script("provision", Faults.okThenLoseReply)
        const exit = yield* settle(up(upOptions).pipe(as(world)))
        assert.isTrue(Exit.isSuccess(exit))
        const keys = world.faults.started("provision").map(({ target }) => target)
        assert.strictEqual(keys.length, 2)
        assert.strictEqual(new Set(keys).size, 1)
        assert.strictEqual(world.cloud.created, 1)
        assert.strictEqual((yield* only(world)).instance?.key, keys[0])
      })
    )

    run("I-41 a stale up is failed by gc once, and its late success flips nothing and leaks nothing", (world) =>
      Effect.gen(function* () {
        const gate = yield* world.faults.gate("provision", "before")
        const points = new Points()
        const paused = yield* Effect.forkChild(Effect.exit(up(upOptions).pipe(as(world, { pid: 2, points }))))
        yield* gate.reached
        points.dead = true // as after SIGSTOP: not even renewals
        yield* TestClock.adjust("31 seconds")
        yield* gc({}).pipe(as(world, { pid: 3, host: "host-2" }))
        const failed = yield* only(world)
        assert.strictEqual(failed.state, "failed")
        assert.include(failed.lastError?.message, "up died")
        assert.isNull(failed.reservedName)
        points.dead = false
        yield* gate.open
        assert.isTrue(Exit.isSuccess(yield* finish(paused)))
        assert.strictEqual((yield* only(world)).state, "failed")
        yield* gc({}).pipe(as(world, { pid: 3 }))
        assert.strictEqual(world.cloud.boxes.size, 0)
        yield* TestClock.adjust("13 minutes")
        yield* gc({}).pipe(as(world, { pid: 3 }))
        assert.deepStrictEqual((yield* world.ledger.openIntents).records, [])
      })
    )

    run("I-43 a box that cannot be recorded as ready is removed, and nothing is ever called ready", (world) =>
      Effect.gen(function* () {
        const full = Effect.fail(SandboxError.make("ERR_LEDGER_IO", { message: "disk full", nextStep: "free space" }))
        world.interceptLedger((ledger) => ({
          ...ledger,
          commit: (write) => (write.change.move?.to === "ready" ? full : ledger.commit(write))
        }))
        const error = yield* failureOf(up(upOptions).pipe(as(world)))
        assert.strictEqual(error.code, "ERR_LEDGER_IO")
        assert.strictEqual(SandboxError.exitCode(error.code), 2)
        assert.strictEqual(world.cloud.boxes.size, 0)
        const row = yield* only(world)
        assert.strictEqual(row.state, "failed")
        assert.isFalse((yield* world.ledger.history(row.id)).events.some(({ data }) => data["to"] === "ready"))
      })
    )

    run("I-44 a down that cannot remove what a dead up left stays in tearing_down, and can be repeated", (world) =>
      Effect.gen(function* () {
        const probe = yield* make(database)
        const points = new Points()
        yield* up(upOptions).pipe(as(probe, { points }))
        const index = points.passed.indexOf("provider.provision:after")
        const cut = new Points({ index, ending: "kill" })
        yield* endAt(cut, up(upOptions).pipe(as(world, { pid: 2, points: cut })))
        world.bury(2)
        yield* world.faults.always("destroy", Faults.failBefore)
        const { id } = yield* only(world)
        const error = yield* failureOf(down({ session: id }).pipe(as(world, { pid: 3 })))
        assert.strictEqual(error.code, "ERR_DESTROY_FAILED")
        assert.isTrue(error.retryable)
        const row = yield* only(world)
        assert.strictEqual(row.state, "tearing_down")
        assert.isNull(row.claim)
        assert.strictEqual(row.lastError?.code, "ERR_DESTROY_FAILED")
        yield* world.faults.always("destroy", Faults.ok)
        assert.strictEqual((yield* down({ session: id }).pipe(as(world, { pid: 3 }))).state, "destroyed")
        assert.strictEqual(world.cloud.boxes.size, 0)
      })
    )

    run("I-64 destroy keeps to the teardown matrix", (world) =>
      Effect.gen(function* () {
        yield* up(upOptions).pipe(as(world))
        const plain = yield* Effect.flip(destroy({ session: "work" }).pipe(as(world)))
        assert.strictEqual(plain.code, "ERR_FORCE_REQUIRED")
        const gate = yield* world.faults.gate("stop")
        const halting = yield* Effect.forkChild(down({ session: "work" }).pipe(as(world, { pid: 2 })))
        yield* gate.reached
        const live = yield* Effect.flip(destroy({ session: "work", confirmDataLoss: true }).pipe(as(world)))
        assert.strictEqual(live.code, "ERR_OPERATION_CONFLICT")
        yield* gate.open
        yield* Fiber.join(halting)
        const box = [...world.cloud.boxes.values()][0]!
        box.workspace!.dirtyFiles = 2
        const dirty = yield* Effect.flip(destroy({ session: "work" }).pipe(as(world)))
        assert.strictEqual(dirty.code, "ERR_DATA_LOSS_UNCONFIRMED")
        assert.strictEqual((yield* only(world)).state, "stopped")
        assert.strictEqual(
          (yield* destroy({ session: "work", confirmDataLoss: true }).pipe(as(world))).state,
          "destroyed"
        )
        assert.isTrue((yield* destroy({ session: "work" }).pipe(as(world))).already)
        assert.strictEqual(world.faults.started("destroy").length, 1)
      })
    )

    run(
      "a session whose box is gone can be resumed from its branch, or destroyed without giving anything up",
      (world) =>
        Effect.gen(function* () {
          const { sessionId } = yield* up(upOptions).pipe(as(world))
          world.cloud.boxes.clear()
          const lost = yield* failureOf(resume({ session: "work" }).pipe(as(world)))
          assert.strictEqual(lost.code, "ERR_SANDBOX_PROVISION_FAILED")
          assert.include(lost.nextStep, `sandbox resume ${sessionId}`)
          const row = yield* only(world)
          assert.strictEqual(row.state, "failed")
          assert.isNull(row.instance)
          assert.isTrue((yield* world.ledger.history(sessionId)).events.some(({ type }) => type === "box_lost"))
          assert.strictEqual((yield* resume({ session: "work" }).pipe(as(world))).state, "ready")
          assert.strictEqual((yield* only(world)).generation, 2)
          world.cloud.boxes.clear()
          assert.strictEqual((yield* destroy({ session: "work", force: true }).pipe(as(world))).state, "destroyed")
        })
    )

    run("a session whose provider is gone for good is given up by name, and what may be left stays listed", (world) =>
      Effect.gen(function* () {
        const { sessionId } = yield* up(upOptions).pipe(as(world))
        for (const op of ["scope", "inspect", "stop", "destroy", "workspace.status"] as const) {
          yield* world.faults.always(op, Faults.failBefore)
        }
        const unconfirmed = yield* failureOf(destroy({ session: "work", force: true, forget: true }).pipe(as(world)))
        assert.strictEqual(unconfirmed.code, "ERR_DATA_LOSS_UNCONFIRMED")
        const given = yield* destroy({ session: "work", force: true, forget: true, confirmDataLoss: true }).pipe(
          as(world)
        )
        assert.isTrue(given.forgotten)
        const row = yield* only(world)
        assert.strictEqual(row.state, "destroyed")
        assert.isNull(row.reservedName)
        const [orphan] = (yield* world.ledger.openOrphans).records
        assert.deepInclude(orphan, { sessionId, reason: "abandoned", provider: "memory" })
        for (const op of ["scope", "inspect", "stop", "destroy", "workspace.status"] as const) {
          yield* world.faults.always(op, Faults.ok)
        }
        yield* gc({}).pipe(as(world))
        assert.deepStrictEqual((yield* world.ledger.openOrphans).records, [])
        assert.strictEqual(world.cloud.boxes.size, 0)
      })
    )

    run("I-67 destroy never goes on after a save that failed", (world) =>
      Effect.gen(function* () {
        yield* up(upOptions).pipe(as(world))
        world.store.spoilWith((bytes) => bytes.slice(1))
        const error = yield* failureOf(destroy({ session: "work", force: true }).pipe(as(world)))
        assert.strictEqual(error.code, "ERR_PERSIST_UNVERIFIED")
        assert.strictEqual((yield* only(world)).state, "stopped_unpersisted")
        assert.deepStrictEqual(world.faults.started("destroy"), [])
      })
    )

    run("I-77 a name is held from the first moment of an up", (world) =>
      Effect.gen(function* () {
        const gate = yield* world.faults.gate("provision", "before")
        const first = yield* Effect.forkChild(up(upOptions).pipe(as(world, { pid: 2 })))
        yield* gate.reached
        const taken = yield* Effect.flip(up(upOptions).pipe(as(world, { pid: 3 })))
        assert.strictEqual(taken.code, "ERR_NAME_TAKEN")
        const { id } = yield* only(world)
        assert.deepInclude(taken.details?.["holder"], { session_id: id, state: "provisioning" })
        assert.include(taken.nextStep, id)
        yield* up({ ...upOptions, name: "other" }).pipe(as(world, { pid: 3 }))
        yield* gate.open
        yield* Fiber.join(first)
        assert.strictEqual(world.faults.started("provision").length, 2)
      })
    )

    run("I-78 a failed up leaves its record and nothing else, and its name is free", (world) =>
      Effect.gen(function* () {
        yield* world.faults.script("workspace.attach", Faults.fail("Invalid"))
        const error = yield* failureOf(up(upOptions).pipe(as(world)))
        assert.strictEqual(error.code, "ERR_WORKSPACE_FAILED")
        assert.strictEqual(error.state, "failed")
        assert.strictEqual(world.cloud.boxes.size, 0)
        assert.deepStrictEqual((yield* world.ledger.openIntents).records, [])
        const [shown] = (yield* list().pipe(as(world))).sessions
        assert.strictEqual(shown?.state, "failed")
        assert.isNull(shown?.claim)
        assert.strictEqual(shown?.lastError?.errorCode, "ERR_WORKSPACE_FAILED")
        assert.strictEqual((yield* up(upOptions).pipe(as(world))).state, "ready")
      })
    )

    run("I-80 exec on a claimed or halted session names the command that goes on", (world) =>
      Effect.gen(function* () {
        const { sessionId } = yield* up(upOptions).pipe(as(world))
        const refused = Effect.flip(Effect.scoped(exec({ session: "work", argv: ["echo", "x"] })).pipe(as(world)))
        const gate = yield* world.faults.gate("stop")
        const halting = yield* Effect.forkChild(down({ session: "work" }).pipe(as(world, { pid: 2 })))
        yield* gate.reached
        const claimed = yield* refused
        assert.strictEqual(claimed.code, "ERR_NOT_READY")
        assert.include(claimed.nextStep, `sandbox down ${sessionId} --force`)
        yield* gate.open
        yield* Fiber.join(halting)
        const halted = yield* refused
        assert.strictEqual(halted.code, "ERR_NOT_READY")
        assert.strictEqual(halted.nextStep, `run \`sandbox resume ${sessionId}\``)
      })
    )

    run("I-83 undoes in reverse order exactly what was done, and one failing undo stops no other", (world) =>
      Effect.gen(function* () {
        yield* up(upOptions).pipe(as(world))
        const order: Array<number> = []
        const session = yield* only(world)
        const operation = { id: "op_undo", verb: "gc", clientRequestId: null, requestHash: "" }
        const error = yield* Effect.flip(
          Claim.withClaim(
            { session, kind: "gc", operation, from: ["ready"] },
            {
              verb: "gc",
              use: (held) =>
                Effect.gen(function* () {
                  for (const step of [1, 2, 3, 4]) {
                    const undo = Effect.andThen(
                      Effect.sync(() => order.push(step)),
                      step === 3
                        ? Effect.fail(SandboxError.make("ERR_STOP_FAILED", { message: "no", nextStep: "-" }))
                        : Effect.void
                    )
                    yield* held.onRollback({ name: `undo ${step}`, run: undo })
                  }
                  return yield* SandboxError.make("ERR_HOOK_FAILED", { message: "step 5", nextStep: "mend it" })
                }),
              settle: () => Effect.succeed({})
            }
          ).pipe(as(world))
        )
        assert.deepStrictEqual(order, [4, 3, 2, 1])
        assert.strictEqual(error.code, "ERR_HOOK_FAILED")
        assert.deepStrictEqual(error.details?.["rollback"], [
          { undo: "undo 4", ok: true },
          { undo: "undo 3", ok: false, problem: "no" },
          { undo: "undo 2", ok: true },
          { undo: "undo 1", ok: true }
        ])
      })
    )

    run("I-83 a box whose removal failed is owned up to, and gc finishes it", (world) =>
      Effect.gen(function* () {
        yield* world.faults.script("workspace.attach", Faults.fail("Invalid"))
        yield* world.faults.always("destroy", Faults.failBefore)
        const error = yield* failureOf(up(upOptions).pipe(as(world)))
        assert.strictEqual(error.code, "ERR_WORKSPACE_FAILED")
        const row = yield* only(world)
        assert.strictEqual(row.state, "failed")
        assert.isTrue(row.cleanupRequired)
        assert.strictEqual(world.cloud.boxes.size, 1)
        yield* world.faults.always("destroy", Faults.ok)
        yield* gc({}).pipe(as(world))
        assert.strictEqual(world.cloud.boxes.size, 0)
        assert.isFalse((yield* only(world)).cleanupRequired)
      })
    )

    run("I-92 nothing that is not in this ledger is touched by gc", (world) =>
      Effect.gen(function* () {
        const other = yield* make(database)
        yield* up(upOptions).pipe(as(world))
        const [mine] = [...world.cloud.boxes.values()]
        other.cloud.boxes.set(mine!.ref.id, mine!)
        yield* gc({}).pipe(as(other))
        assert.strictEqual(other.cloud.boxes.size, 1)
        assert.deepStrictEqual(other.faults.started("destroy", "stop"), [])
      })
    )

    const breakages: ReadonlyArray<
      readonly [string, Effect.Effect<unknown, unknown>, string, (world: World) => Effect.Effect<void>, string]
    > = [
      [
        "a provider that refuses",
        Effect.void,
        "up",
        (world) => world.faults.script("provision", Faults.fail("Invalid")),
        "sandbox up"
      ],
      [
        "a provider out of reach at create",
        Effect.void,
        "up",
        (world) => world.faults.always("provision", Faults.failBefore),
        "sandbox up"
      ],
      [
        "a checkout that fails",
        Effect.void,
        "up",
        (world) => world.faults.script("workspace.attach", Faults.fail("Conflict")),
        "sandbox up"
      ],
      [
        "a stop that fails",
        up(upOptions) as Failing<unknown>,
        "down",
        (world) => world.faults.always("stop", Faults.fail("Unreachable", "unknown")),
        "sandbox down work"
      ],
      [
        "a store that lies",
        up(upOptions) as Failing<unknown>,
        "down",
        (world) => Effect.sync(() => world.store.spoilWith((bytes) => bytes.slice(1))),
        "sandbox down work"
      ],
      [
        "a start that fails",
        Effect.andThen(up(upOptions), down({ session: "work" })) as Failing<unknown>,
        "resume",
        (world) => world.faults.always("start", Faults.fail("CapacityExhausted")),
        "sandbox resume work"
      ],
      [
        "a removal that fails",
        up(upOptions) as Failing<unknown>,
        "destroy",
        (world) => world.faults.always("destroy", Faults.failBefore),
        "sandbox destroy work --force"
      ],
      ["a session in use", up(upOptions) as Failing<unknown>, "destroy", () => Effect.void, "sandbox destroy work"],
      [
        "a name that is held by a halted one",
        Effect.andThen(up(upOptions), down({ session: "work" })) as Failing<unknown>,
        "up",
        () => Effect.void,
        "sandbox up"
      ]
    ]
    for (const [name, before, , breaking, line] of breakages) {
      run(`I-31 the next step after ${name} makes progress`, (world) =>
        Effect.gen(function* () {
          yield* (before as Effect.Effect<unknown>).pipe(as(world))
          yield* breaking(world)
          const error = yield* failureOf(command(line).pipe(as(world)))
          for (const op of ["provision", "stop", "start", "destroy", "workspace.attach"] as const) {
            yield* world.faults.always(op, Faults.ok)
          }
          world.store.spoilWith((bytes) => bytes)
          let next: string | undefined = /`(sandbox [^`]+)`/.exec(error.nextStep)?.[1] ?? line
          for (let step = 0; step < 2 && next !== undefined; step++) {
            const exit: Exit.Exit<unknown, unknown> = yield* settle(Effect.result(command(next).pipe(as(world))))
            assert.isTrue(Exit.isSuccess(exit))
            const state = (yield* world.ledger.sessions({})).sessions[0]!.state
            if (["ready", "stopped", "destroyed"].includes(state)) next = undefined
          }
          assert.isUndefined(next, error.nextStep)
        })
      )
    }

    run(
      "I-63 random operations, faults and deaths never leave the transition table",
      (world) =>
        Effect.gen(function* () {
          const rounds = database.name === "SQLite" ? 40 : 6
          const seed = process.env["SANDBOX_TEST_SEED"] ?? String(Math.floor(performance.timeOrigin))
          for (let round = 0; round < rounds; round++) {
            yield* Effect.scoped(randomLife(database, `${seed}-${round}`)).pipe(
              Effect.catchCause((cause) => Effect.die(new Error(`SANDBOX_TEST_SEED=${seed}, round ${round}: ${cause}`)))
            )
          }
          assert.strictEqual((yield* world.ledger.sessions({})).sessions.length, 0)
        }),
      120_000
    )
  })
}

const randomLife = Effect.fnUntraced(function* (database: (typeof databases)[number], seed: string) {
  const world = yield* make(database)
  const lines = [
    "sandbox up",
    "sandbox down work",
    "sandbox resume work",
    "sandbox destroy work --force",
    "sandbox destroy work --force --confirm-data-loss",
    "sandbox gc"
  ]
  const faults = [Faults.ok, Faults.fail("Invalid"), Faults.failBefore, Faults.okThenLoseReply]
  const members = ["provision", "stop", "start", "destroy", "workspace.attach", "inspect", "find"] as const
  const pick = <A>(from: ReadonlyArray<A>) => Effect.map(Random.nextIntBetween(0, from.length - 1), (n) => from[n]!)
  yield* Effect.gen(function* () {
    for (let step = 0; step < 8; step++) {
      const pid = 100 + step
      if (yield* Random.nextBoolean) yield* world.faults.script(yield* pick(members), yield* pick(faults))
      const dies = (yield* Random.nextIntBetween(0, 3)) === 0
      const points = new Points(
        dies
          ? { index: yield* Random.nextIntBetween(0, 20), ending: yield* pick(["kill", "interrupt"] as const) }
          : undefined
      )
      const program = command(yield* pick(lines)).pipe(as(world, { pid, points }))
      const fiber = yield* Effect.forkChild(endAt(points, program))
      yield* finish(fiber)
      if (points.dead) world.bury(pid)
    }
    // in the end whatever was left can be brought to rest
    for (const op of members) yield* world.faults.always(op, Faults.ok)
    for (const op of members) yield* world.faults.script(op)
    for (let n = 0; n < 3; n++) {
      yield* settle(gc({}).pipe(as(world, { pid: 1 })))
      yield* TestClock.adjust("13 minutes")
    }
  }).pipe(Random.withSeed(seed))

  const { sessions } = yield* world.ledger.sessions({})
  let boxes = 0
  for (const session of sessions) {
    const { events } = yield* world.ledger.history(session.id)
    let at: Lifecycle.State | null = null
    for (const { data, type } of events) {
      if (type !== "transition") continue
      const { from, to } = data as { from: Lifecycle.State | null; to: Lifecycle.State }
      assert.strictEqual(from, at)
      assert.isTrue(
        Lifecycle.claimKinds.some((by) =>
          Lifecycle.states.some((prior) => Lifecycle.allows({ from: from ?? undefined, to, by, prior }))
        ),
        `${from} -> ${to}`
      )
      at = to
    }
    assert.strictEqual(session.state, at)
    assert.isNull(session.claim, `${session.state} is still claimed`)
    assert.isTrue(Lifecycle.isSettled(session.state) || session.state === "stopping", session.state)
    if (session.instance !== null) boxes += 1
  }
  assert.isAtMost(world.cloud.boxes.size, boxes)
})
