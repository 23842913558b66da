/** The claim of a switch: who loses it does nothing, and who has it is not disturbed. */
import { assert, describe, it } from "@effect/vitest"
import {
  checkpoint,
  complete,
  destroy,
  down,
  exportSession,
  gc,
  planSwitch,
  restore,
  resume,
  status,
  up
} from "@org/sandbox-core"
import * as SandboxError from "@org/sandbox-core/SandboxError"
import { Effect, Exit, Fiber, type Scope } from "effect"
import {
  advance,
  as,
  asked,
  begun,
  begunBy,
  databases,
  endedAt,
  gatedAcquire,
  heldAt,
  ledgerFailure,
  make,
  move,
  ready,
  recordsOf,
  row,
  type World,
  withoutBookkeeping
} from "./switchWorld.ts"

type Attempt = Effect.Effect<unknown, SandboxError.SandboxError>

const upOptions = (world: World) => ({ repository: world.repository, branch: "topic", provider: "a", name: "work" })

/** Everything that changes a session, as process 7. */
const others = (world: World): ReadonlyArray<readonly [name: string, code: string, attempt: Attempt]> => {
  const by = as(world, { pid: 7 })
  const session = "work"
  const refused = "ERR_OPERATION_CONFLICT"
  return [
    ["switch", "ERR_ALREADY_SWITCHING", move(world, "c", { pid: 7 })],
    ["down", refused, down({ session }).pipe(by)],
    ["destroy", refused, destroy({ session, confirmDataLoss: true }).pipe(by)],
    ["destroy --forget", refused, destroy({ session, forget: true, confirmDataLoss: true }).pipe(by)],
    ["resume", refused, resume({ session }).pipe(by)],
    ["checkpoint", refused, checkpoint({ session }).pipe(by)],
    ["complete", refused, complete({ session }).pipe(by)],
    ["up --name", "ERR_NAME_TAKEN", up(upOptions(world)).pipe(by)]
  ]
}

for (const database of databases) {
  describe(`the claim of a switch on ${database.name}`, () => {
    const run = <A, E>(name: string, body: (world: World) => Effect.Effect<A, E, Scope.Scope>) =>
      it.effect(name, () => Effect.flatMap(make(database), body))

    run("I-1 a losing switch has no side effect: no call of a provider, no write, no record", (world) =>
      Effect.gen(function* () {
        const { id } = yield* ready(world)
        const winner = yield* heldAt(world, ["a", "stop"], move(world, "b", { pid: 2 }))
        const [before, calls] = [yield* recordsOf(world, id), asked(world)]
        const refused = yield* Effect.flip(move(world, "c", { pid: 7 }))
        assert.strictEqual(refused.code, "ERR_ALREADY_SWITCHING")
        assert.strictEqual(SandboxError.exitCode(refused.code), 1)
        assert.isTrue(refused.retryable)
        assert.match(refused.operationId ?? "", /^op_/)
        assert.notStrictEqual(refused.operationId, (yield* row(world, id)).claim!.operationId)
        assert.strictEqual(yield* recordsOf(world, id), before)
        assert.strictEqual(asked(world), calls)
        assert.deepStrictEqual(begunBy(world, 7), [])
        yield* winner.open
        assert.deepInclude(yield* Fiber.join(winner.fiber), { to: "b", state: "ready" })
      })
    )

    run("I-2 a switch that loses between its look and its claim writes nothing back", (world) =>
      Effect.gen(function* () {
        const { id } = yield* ready(world)
        const gate = yield* gatedAcquire(world)
        const loser = yield* Effect.forkChild(Effect.flip(move(world, "c", { pid: 7 })))
        yield* gate.reached
        const winner = yield* heldAt(world, ["a", "stop"], move(world, "b", { pid: 2 }))
        const before = yield* recordsOf(world, id)
        yield* gate.open
        assert.strictEqual((yield* Fiber.join(loser)).code, "ERR_ALREADY_SWITCHING")
        assert.strictEqual(yield* recordsOf(world, id), before)
        assert.deepStrictEqual(begunBy(world, 7), ["ledger.acquire switch"])
        yield* winner.open
        yield* Fiber.join(winner.fiber)
        const after = yield* row(world, id)
        assert.deepInclude(after, { state: "ready", provider: "b", claim: null, lastError: null })
        const { events, operations } = yield* world.ledger.history(id)
        assert.strictEqual(operations.filter(({ verb }) => verb === "switch").length, 1)
        assert.isFalse(events.some(({ type }) => type === "claim_taken_over" || type === "rolled_back"))
      })
    )

    run("I-3 a claim that the ledger failed to write arms nothing", (world) =>
      Effect.gen(function* () {
        const { id } = yield* ready(world)
        const before = yield* recordsOf(world, id)
        world.interceptLedger((service) => ({ ...service, acquire: () => Effect.fail(ledgerFailure) }))
        const error = yield* Effect.flip(move(world, "b", { pid: 2 }))
        assert.strictEqual(error.code, "ERR_LEDGER_IO")
        assert.strictEqual(SandboxError.exitCode(error.code), 2)
        assert.isTrue(error.retryable)
        assert.deepStrictEqual(begunBy(world, 2), ["ledger.acquire switch"])
        assert.strictEqual(yield* recordsOf(world, id), before)
      })
    )

    run("I-4 what goes back is fenced by the claim, and not by a state that looks the same", (world) =>
      Effect.gen(function* () {
        const { id } = yield* ready(world)
        const first = yield* heldAt(world, ["a", "stop"], Effect.exit(move(world, "b", { pid: 2 })))
        // said to be dead, although it is not
        world.bury(2)
        const second = yield* heldAt(world, ["a", "stop"], move(world, "c", { pid: 7 }))
        const [before, changed] = [yield* row(world, id), begunBy(world, 2)]
        assert.strictEqual(before.state, "switching")
        yield* Fiber.interrupt(first.fiber)
        assert.deepStrictEqual(yield* row(world, id), before)
        assert.deepStrictEqual(begunBy(world, 2), changed)
        yield* second.open
        yield* Fiber.join(second.fiber)
        assert.deepInclude(yield* row(world, id), { state: "ready", provider: "c", claim: null })
        assert.strictEqual((yield* world.running).length, 1)
      })
    )

    run("I-4 a switch that works on after it was taken over is told so at its next write", (world) =>
      Effect.gen(function* () {
        const { id } = yield* ready(world)
        const first = yield* heldAt(world, ["a", "stop"], Effect.flip(move(world, "b", { pid: 2 })))
        world.bury(2)
        const second = yield* heldAt(world, ["a", "stop"], move(world, "c", { pid: 7 }))
        const before = yield* row(world, id)
        yield* first.open
        const error = yield* Fiber.join(first.fiber)
        assert.strictEqual(error.code, "ERR_CLAIM_LOST")
        assert.strictEqual(SandboxError.exitCode(error.code), 2)
        assert.deepStrictEqual(yield* row(world, id), before)
        assert.deepStrictEqual(begun(world, "b.provision"), [])
        yield* second.open
        yield* Fiber.join(second.fiber)
        assert.deepInclude(yield* row(world, id), { state: "ready", provider: "c" })
      })
    )

    run("I-5 a session that was halted between look and claim is not switched as the one that was seen", (world) =>
      Effect.gen(function* () {
        const { id } = yield* ready(world)
        const gate = yield* gatedAcquire(world)
        const late = yield* Effect.forkChild(Effect.flip(move(world, "b", { pid: 7 })))
        yield* gate.reached
        yield* down({ session: "work" }).pipe(as(world, { pid: 2 }))
        const before = yield* recordsOf(world, id)
        yield* gate.open
        assert.strictEqual((yield* Fiber.join(late)).code, "ERR_OPERATION_CONFLICT")
        assert.strictEqual(yield* recordsOf(world, id), before)
        assert.deepStrictEqual(begunBy(world, 7), ["ledger.acquire switch"])

        // the claim records the row that it is taken on, and what goes back goes there
        const point = "ledger.acquire.switch:after"
        yield* endedAt(world, [point, "interrupt", 8], (options) => move(world, "b", options))
        assert.deepInclude(yield* row(world, id), { state: "stopped", provider: "a", claim: null })
        yield* endedAt(world, [point, "kill", 9], (options) => move(world, "b", options))
        assert.strictEqual((yield* row(world, id)).claim?.prior?.state, "stopped")
      })
    )

    run("I-5b I-36 interrupted right after its claim, the row is what it was, and another try wins at once", (world) =>
      Effect.gen(function* () {
        const before = yield* ready(world)
        yield* endedAt(world, ["ledger.acquire.switch:after", "kill", 2], (options) => move(world, "b", options))
        const claimed = yield* row(world, before.id)
        // the claim itself changes who has it, and the state
        const { claim: _, ...unclaimed } = withoutBookkeeping(claimed)
        const { claim: __, ...was } = withoutBookkeeping(before)
        assert.deepStrictEqual(unclaimed, { ...was, state: "switching" })

        yield* move(world, "b", { pid: 3 })
        const there = yield* row(world, before.id)
        const exit = yield* endedAt(world, ["ledger.acquire.switch:after", "interrupt", 4], (options) =>
          move(world, "c", options)
        )
        assert.isTrue(exit !== "killed" && Exit.isFailure(exit))
        assert.deepStrictEqual(withoutBookkeeping(yield* row(world, before.id)), withoutBookkeeping(there))
        assert.deepInclude(yield* move(world, "c", { pid: 5 }), { to: "c", state: "ready" })
      })
    )

    run("I-6 a session that was destroyed between look and claim stays that", (world) =>
      Effect.gen(function* () {
        const { id } = yield* ready(world)
        const gate = yield* gatedAcquire(world)
        const late = yield* Effect.forkChild(Effect.flip(move(world, "b", { pid: 7 })))
        yield* gate.reached
        yield* destroy({ session: "work", force: true }).pipe(as(world, { pid: 2 }))
        const tombstone = yield* recordsOf(world, id)
        yield* gate.open
        assert.strictEqual((yield* Fiber.join(late)).code, "ERR_OPERATION_CONFLICT")
        const again = yield* Effect.flip(move(world, "b", { pid: 7, policies: { session: id } }))
        assert.strictEqual(again.code, "ERR_OPERATION_CONFLICT")
        assert.isFalse(again.retryable)
        assert.strictEqual(yield* recordsOf(world, id), tombstone)
        assert.deepStrictEqual(begunBy(world, 7), ["ledger.acquire switch"])
        assert.deepStrictEqual(yield* world.boxes, [])
      })
    )

    for (const [name, op] of [
      ["a", "stop"],
      ["b", "provision"]
    ] as const) {
      run(`I-8 whatever else would change the session is refused while a switch is in ${name}.${op}`, (world) =>
        Effect.gen(function* () {
          const { id } = yield* ready(world)
          const holder = yield* heldAt(world, [name, op], move(world, "b", { pid: 2 }))
          const before = yield* recordsOf(world, id)
          for (const [verb, code, attempt] of others(world)) {
            assert.strictEqual((yield* Effect.flip(attempt)).code, code, verb)
          }
          for (const attempt of [exportSession({ session: "work" }), restore({ session: "work" })]) {
            const exit = yield* Effect.exit((attempt as Attempt).pipe(as(world, { pid: 7 })))
            assert.isTrue(Exit.isFailure(exit))
          }
          const { actions } = yield* gc({}).pipe(as(world, { pid: 7 }))
          assert.deepStrictEqual(
            actions.filter(({ outcome }) => outcome === "done"),
            []
          )
          assert.strictEqual(yield* recordsOf(world, id), before)
          // a name is tried for, and found taken by the write itself
          assert.deepStrictEqual(begunBy(world, 7), ["ledger.reserve up"])
          yield* holder.open
          yield* Fiber.join(holder.fiber)
          assert.strictEqual((yield* row(world, id)).provider, "b")
          assert.strictEqual(begun(world, "a.provision").length, 1)
        })
      )
    }

    run("I-8 a switch is refused while anything else moves the session", (world) =>
      Effect.gen(function* () {
        const { id } = yield* ready(world)
        const by = as(world, { pid: 2 })
        const holders = [
          [["a", "stop"], down({ session: "work" }).pipe(by)],
          [["a", "start"], resume({ session: "work" }).pipe(by)],
          [["a", "destroy"], destroy({ session: "work", force: true }).pipe(by)]
        ] as const
        for (const [at, attempt] of holders) {
          const holder = yield* heldAt(world, at, attempt as Attempt)
          const before = yield* recordsOf(world, id)
          const refused = yield* Effect.flip(move(world, "b", { pid: 7 }))
          assert.strictEqual(refused.code, "ERR_OPERATION_CONFLICT", at.join("."))
          assert.strictEqual(yield* recordsOf(world, id), before)
          yield* holder.open
          yield* Fiber.join(holder.fiber)
        }
        assert.deepStrictEqual(begunBy(world, 7), [])
        assert.strictEqual(begun(world, "b.provision").length, 0)
      })
    )

    run(
      "I-9 a switch whose session was destroyed meanwhile removes the box that it made, and resurrects nothing",
      (world) =>
        Effect.gen(function* () {
          const { id } = yield* ready(world)
          const first = yield* heldAt(world, ["b", "provision", "after"], Effect.flip(move(world, "b", { pid: 2 })))
          yield* destroy({ session: "work", force: true, confirmDataLoss: true }).pipe(as(world, { pid: 7 }))
          const tombstone = yield* recordsOf(world, id)
          yield* first.open
          assert.strictEqual((yield* Fiber.join(first.fiber)).code, "ERR_CLAIM_LOST")
          assert.deepStrictEqual(
            begunBy(world, 2).filter((one) => one.includes("destroy")),
            [`b.destroy ${id}.g2`]
          )
          assert.strictEqual(yield* recordsOf(world, id), tombstone)
          assert.deepInclude(yield* row(world, id), { state: "destroyed", claim: null })
          assert.deepStrictEqual(yield* world.boxes, [])
        })
    )

    run("I-10 a lost claim ends a switch at its next renewal, also in a call that hangs", (world) =>
      Effect.gen(function* () {
        yield* ready(world)
        const first = yield* heldAt(world, ["b", "provision"], Effect.flip(move(world, "b", { pid: 2 })))
        yield* advance(60)
        yield* destroy({ session: "work", force: true, confirmDataLoss: true }).pipe(as(world, { pid: 7 }))
        yield* advance(10)
        assert.strictEqual((yield* Fiber.join(first.fiber)).code, "ERR_CLAIM_LOST")
        const ends = world.faults.b.calls.flatMap((one) =>
          one.op === "provision" && one.phase === "end" ? [one.outcome] : []
        )
        assert.deepStrictEqual(ends, ["interrupted"])
        assert.deepStrictEqual(yield* world.boxes, [])
      })
    )

    run("I-11 a switch is not taken over for being slow: five minutes of provision", (world) =>
      Effect.gen(function* () {
        const { id } = yield* ready(world)
        const slow = yield* heldAt(world, ["b", "provision"], move(world, "b", { pid: 2 }))
        const from = yield* Effect.clockWith((clock) => clock.currentTimeMillis)
        for (const at of [31, 299]) {
          const now = yield* Effect.clockWith((clock) => clock.currentTimeMillis)
          yield* advance(at - (now - from) / 1000)
          for (const [code, attempt] of [
            ["ERR_OPERATION_CONFLICT", down({ session: "work" }).pipe(as(world, { pid: 7, host: "host-2" }))],
            ["ERR_ALREADY_SWITCHING", move(world, "c", { pid: 7, host: "host-2" })]
          ] as const) {
            const refused = yield* Effect.flip(attempt as Attempt)
            assert.strictEqual(refused.code, code)
            const claim = refused.details?.["claim"]
            assert.deepInclude(claim, { kind: "switch", age_s: at })
            assert.property(claim, "holder")
            assert.property(claim, "since")
          }
        }
        yield* slow.open
        assert.deepInclude(yield* Fiber.join(slow.fiber), { state: "ready", provider: "b" })
        assert.deepInclude(yield* row(world, id), { provider: "b", claim: null })
      })
    )

    run("I-11 nor while it goes back, however long the old box takes to start", (world) =>
      Effect.gen(function* () {
        const { id, instance } = yield* ready(world)
        yield* world.faults.b.always("provision", (_, error) =>
          Effect.fail(error("QuotaExceeded", "not_applied", "there is no room"))
        )
        const slow = yield* heldAt(world, ["a", "start"], Effect.flip(move(world, "b", { pid: 2 })))
        for (const at of [45, 120]) {
          yield* advance(at)
          const before = yield* recordsOf(world, id)
          const refused = yield* Effect.flip(move(world, "c", { pid: 7, host: "host-2" }))
          assert.strictEqual(refused.code, "ERR_ALREADY_SWITCHING")
          assert.strictEqual(yield* recordsOf(world, id), before)
        }
        yield* slow.open
        const error = yield* Fiber.join(slow.fiber)
        assert.strictEqual(error.code, "ERR_SANDBOX_PROVISION_FAILED")
        assert.strictEqual(error.details?.["rolled_back"], true)
        const after = yield* row(world, id)
        assert.deepInclude(after, { state: "ready", provider: "a", claim: null })
        assert.deepStrictEqual(after.instance, instance)
      })
    )

    run(
      "I-12 a switch whose process is dead on this host is taken over at once, and elsewhere after its lease",
      (world) =>
        Effect.gen(function* () {
          const { id } = yield* ready(world)
          yield* endedAt(world, ["a.stop:after", "kill", 2], (options) => move(world, "b", options))
          const elsewhere = { pid: 7, host: "host-2" }
          assert.strictEqual((yield* Effect.flip(move(world, "c", elsewhere))).code, "ERR_ALREADY_SWITCHING")
          assert.deepInclude(yield* move(world, "b", { pid: 3 }), { state: "ready", provider: "b" })
          yield* endedAt(world, ["b.stop:after", "kill", 4], (options) => move(world, "c", options))
          yield* advance(31)
          assert.deepInclude(yield* move(world, "c", elsewhere), { state: "ready", provider: "c" })
          assert.deepInclude(yield* row(world, id), { provider: "c", claim: null })
          assert.strictEqual((yield* world.running).length, 1)
        })
    )

    run("I-13 somebody else's session is not switched, and nothing of it is said", (world) =>
      Effect.gen(function* () {
        const { id } = yield* ready(world)
        const [before, calls] = [yield* recordsOf(world, id), asked(world)]
        const bob = as(world, { pid: 7, principal: "bob" })
        const session = id
        const attempts: ReadonlyArray<Attempt> = [
          move(world, "b", { pid: 7, principal: "bob", policies: { session, clientRequestId: "k" } }),
          move(world, "a", { pid: 7, principal: "bob", policies: { session } }),
          planSwitch({ session, to: "b" }).pipe(bob),
          status({ session }).pipe(bob)
        ]
        for (const attempt of attempts) {
          const refused = yield* Effect.flip(attempt)
          assert.strictEqual(refused.code, "ERR_SESSION_FORBIDDEN")
          assert.isFalse(refused.retryable)
          const said = JSON.stringify([refused.message, refused.nextStep, refused.details])
          for (const part of ["work", "topic", "ann", "ready", world.repository]) assert.notInclude(said, part)
        }
        assert.strictEqual(yield* recordsOf(world, id), before)
        const known = yield* world.ledger.request({ owner: "bob", verb: "switch", clientRequestId: "k" })
        assert.strictEqual(known._tag, "None")
        assert.strictEqual(asked(world), calls)
      })
    )
  })
}
