/** What gc concludes from ledger, providers and who is alive, and what it leaves alone. */
import { existsSync, mkdirSync, rmSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import * as Faults from "@org/sandbox-conformance/Faults"
import { destroy, down, gc, resume, up } from "@org/sandbox-core"
import { Holder } from "@org/sandbox-core/Host"
import type { Ledger } from "@org/sandbox-core/Ledger"
import * as MemoryProvisioner from "@org/sandbox-core/MemoryProvisioner"
import type { GcOptions } from "@org/sandbox-core/Options"
import { boxMarker, Processes } from "@org/sandbox-core/Processes"
import { labelNames } from "@org/sandbox-core/Provisioner"
import type { GcAction } from "@org/sandbox-core/Results"
import { intentKey, Orphan, Session, Spec } from "@org/sandbox-core/Session"
import { Effect, Exit, Fiber, type Scope } from "effect"
import { TestClock } from "effect/testing"
import { databases, endAt, make, Points, type RuntimeOptions, repository, type World } from "./world.ts"

const repo = repository()
const upOptions = { repository: repo, branch: "main", provider: "memory", name: "work" }
const as = (world: World, options: RuntimeOptions = {}) => Effect.provide(world.runtime(options))
const realPause = Effect.promise(() => new Promise((resolve) => setTimeout(resolve, 5)))

/** Waits for a program while the clock goes on, for whatever retries in it. */
const settle = Effect.fnUntraced(function* <A, E, R>(program: Effect.Effect<A, E, R>) {
  const fiber = yield* Effect.forkChild(program)
  while (fiber.pollUnsafe() === undefined) {
    yield* TestClock.adjust("1 second")
    yield* realPause
  }
  return yield* Fiber.join(fiber)
})

const collect = Effect.fnUntraced(function* (world: World, options: GcOptions = {}, runtime: RuntimeOptions = {}) {
  return (yield* settle(gc(options).pipe(as(world, { pid: 3, ...runtime })))).actions
})

const brief = (actions: ReadonlyArray<GcAction>) => actions.map(({ action, outcome }) => `${action} ${outcome}`)

const only = Effect.fnUntraced(function* (world: World) {
  const { sessions } = yield* world.ledger.sessions({})
  assert.strictEqual(sessions.length, 1)
  return sessions[0]!
})

/** All that the ledger holds. */
const everything = Effect.fnUntraced(function* (ledger: Ledger["Service"]) {
  const { sessions } = yield* ledger.sessions({})
  return yield* Effect.forEach(sessions, (session) =>
    Effect.map(ledger.history(session.id), (history) => ({ session, history }))
  )
})

/** The calls that change something. */
const changes = (world: World) =>
  world.faults.started("provision", "start", "stop", "destroy", "workspace.attach", "workspace.detach").length

interface Planted {
  readonly session: string
  readonly generation: number
  readonly owner?: string | null
  readonly ledger?: string
  readonly dirtyFiles?: number
}

/** A box that the platform has, whatever the ledger says. */
const plant = Effect.fnUntraced(function* (world: World, { dirtyFiles = 0, generation, ...of }: Planted) {
  const key = intentKey(of.session, generation)
  const owner = of.owner === undefined ? "ann" : of.owner
  const ref = yield* MemoryProvisioner.make({ cloud: world.cloud }).provision({
    key,
    scope: "memory",
    name: `planted-${generation}`,
    labels: {
      [labelNames.ledger]: of.ledger ?? world.ledger.id,
      [labelNames.session]: of.session,
      [labelNames.key]: key,
      ...(owner === null ? {} : { [labelNames.owner]: owner })
    },
    spec: new Spec({}),
    deadline: 0
  })
  const source = { repository: repo, branch: "main", commit: "0", fallbackBranch: "f" }
  world.cloud.boxes.get(ref.id)!.workspace = { source, dirtyFiles, unpublishedCommits: 0 }
  return () => world.cloud.boxes.has(ref.id)
})

/** A session that is ready in its second box. */
const second = Effect.fnUntraced(function* (world: World) {
  yield* up(upOptions).pipe(as(world))
  yield* down({ session: "work" }).pipe(as(world))
  world.cloud.boxes.clear()
  const { id } = yield* only(world)
  yield* Effect.ignore(settle(resume({ session: id, force: true }).pipe(as(world))))
  yield* settle(resume({ session: id, force: true }).pipe(as(world)))
  const row = yield* only(world)
  assert.strictEqual(row.state, "ready")
  assert.strictEqual(row.generation, 2)
  return row
})

for (const database of databases) {
  describe(`gc on ${database.name}`, () => {
    const run = <A, E>(name: string, body: (world: World) => Effect.Effect<A, E, Scope.Scope>) =>
      it.effect(name, () => Effect.flatMap(make(database), body))

    describe("boxes that no row refers to", () => {
      /** Which session there is, which box the platform has beside, what becomes of it. */
      const table: ReadonlyArray<{
        readonly title: string
        readonly row: (world: World) => Effect.Effect<Session, unknown>
        readonly box: (row: Session) => Planted
        readonly seen: string | null
        readonly kept: boolean
      }> = [
        {
          title: "of a destroyed session",
          row: (world) =>
            up(upOptions).pipe(
              Effect.andThen(destroy({ session: "work", force: true })),
              as(world),
              Effect.andThen(only(world))
            ),
          box: ({ id }) => ({ session: id, generation: 1, dirtyFiles: 3 }),
          seen: "destroy_box done",
          kept: false
        },
        {
          title: "of a session that never was ready",
          row: (world) =>
            world.faults
              .script("workspace.attach", Faults.fail("Invalid"))
              .pipe(Effect.andThen(Effect.ignore(settle(up(upOptions).pipe(as(world))))), Effect.andThen(only(world))),
          box: ({ id }) => ({ session: id, generation: 1 }),
          seen: "destroy_box done",
          kept: false
        },
        {
          title: "of an earlier generation, without work",
          row: second,
          box: ({ id }) => ({ session: id, generation: 1 }),
          seen: "destroy_box done",
          kept: false
        },
        {
          title: "of an earlier generation, with work",
          row: second,
          box: ({ id }) => ({ session: id, generation: 1, dirtyFiles: 1 }),
          seen: "report skipped",
          kept: true
        },
        {
          title: "newer than the row",
          row: second,
          box: ({ id }) => ({ session: id, generation: 3 }),
          seen: "report skipped",
          kept: true
        },
        {
          title: "of a session of somebody else",
          row: (world) => Effect.andThen(up(upOptions).pipe(as(world, { principal: "bob" })), only(world)),
          box: ({ id }) => ({ session: id, generation: 0, owner: "bob" }),
          seen: null,
          kept: true
        },
        {
          title: "with the label of another ledger",
          row: second,
          box: ({ id }) => ({ session: id, generation: 1, ledger: "ldg_other" }),
          seen: null,
          kept: true
        },
        {
          title: "of a session that nobody has heard of",
          row: second,
          box: () => ({ session: "sbx_unheard", generation: 1 }),
          seen: "report skipped",
          kept: true
        },
        {
          title: "of somebody else's session that nobody has heard of",
          row: second,
          box: () => ({ session: "sbx_unheard", generation: 1, owner: "bob" }),
          seen: null,
          kept: true
        }
      ]
      for (const { box, kept, row, seen, title } of table) {
        run(
          `I-42 ${title}: ${kept ? "stays" : "goes"}${seen?.startsWith("report") ? ", and is reported" : ""}`,
          (world) =>
            Effect.gen(function* () {
              const isThere = yield* plant(world, box(yield* row(world)))
              const own = world.cloud.boxes.size - 1
              const before = yield* everything(world.ledger)
              const made = changes(world)
              assert.deepStrictEqual(
                brief(yield* collect(world, { dryRun: true })),
                seen === null ? [] : [seen.replace(/ .*/, " planned")]
              )
              assert.deepStrictEqual(yield* everything(world.ledger), before)
              assert.strictEqual(changes(world), made)
              assert.deepStrictEqual(brief(yield* collect(world)), seen === null ? [] : [seen])
              assert.strictEqual(isThere(), kept)
              assert.strictEqual(world.cloud.boxes.size, own + (kept ? 1 : 0))
              if (kept) assert.deepStrictEqual(yield* everything(world.ledger), before)
            })
        )

        run(`I-42 ${title}: a provider that cannot say concludes nothing`, (world) =>
          Effect.gen(function* () {
            yield* plant(world, box(yield* row(world)))
            const before = yield* everything(world.ledger)
            const boxes = world.cloud.boxes.size
            const made = changes(world)
            for (const op of ["list", "inspect", "find"] as const) {
              yield* world.faults.always(op, Faults.fail("Unreachable"))
              assert.deepStrictEqual(
                (yield* collect(world, { only: ["recover", "orphans", "retention"] })).filter(
                  ({ action }) => action !== "report"
                ),
                []
              )
              assert.deepStrictEqual(yield* everything(world.ledger), before)
              assert.strictEqual(world.cloud.boxes.size, boxes)
              assert.strictEqual(changes(world), made)
            }
          })
        )
      }

      run("I-42 a box of a session that somebody is moving is left to whoever moves it", (world) =>
        Effect.gen(function* () {
          const row = yield* second(world)
          const isThere = yield* plant(world, { session: row.id, generation: 1 })
          const gate = yield* world.faults.gate("stop")
          const halting = yield* Effect.forkChild(down({ session: "work" }).pipe(as(world, { pid: 2 })))
          yield* gate.reached
          assert.deepStrictEqual((yield* gc({}).pipe(as(world, { pid: 3 }))).actions, [])
          assert.isTrue(isThere())
          yield* gate.open
          yield* Fiber.join(halting)
          assert.deepStrictEqual(brief(yield* collect(world)), ["destroy_box done"])
          assert.isFalse(isThere())
        })
      )

      run("I-42 a row that moves between the look and the act keeps its box", (world) =>
        Effect.gen(function* () {
          const row = yield* second(world)
          const isThere = yield* plant(world, { session: row.id, generation: 1 })
          // the plan's look at the box is the last thing before the act
          const gate = yield* world.faults.gate("workspace.status", "after")
          const collecting = yield* Effect.forkChild(gc({}).pipe(as(world, { pid: 3 })))
          yield* gate.reached
          const stopping = yield* world.faults.gate("stop")
          const halting = yield* Effect.forkChild(down({ session: "work" }).pipe(as(world, { pid: 2 })))
          yield* stopping.reached
          yield* gate.open
          assert.deepStrictEqual(brief((yield* Fiber.join(collecting)).actions), ["destroy_box skipped"])
          assert.isTrue(isThere())
          yield* stopping.open
          yield* Fiber.join(halting)
        })
      )

      run("I-42 work that appears between the look and the act keeps its box", (world) =>
        Effect.gen(function* () {
          const row = yield* second(world)
          const isThere = yield* plant(world, { session: row.id, generation: 1 })
          const gate = yield* world.faults.gate("workspace.status", "after")
          const collecting = yield* Effect.forkChild(gc({}).pipe(as(world, { pid: 3 })))
          yield* gate.reached
          for (const { ref, workspace } of world.cloud.boxes.values()) {
            if (ref.key === intentKey(row.id, 1)) workspace!.dirtyFiles = 1
          }
          yield* gate.open
          const [action] = (yield* Fiber.join(collecting)).actions
          assert.strictEqual(action?.error?.errorCode, "ERR_DATA_LOSS_UNCONFIRMED")
          assert.isTrue(isThere())
        })
      )

      run("a box of an unheard session goes when orphans are asked for by name, unless it may hold work", (world) =>
        Effect.gen(function* () {
          const clean = yield* plant(world, { session: "sbx_clean", generation: 1 })
          const worked = yield* plant(world, { session: "sbx_worked", generation: 1, dirtyFiles: 1 })
          const nobodys = yield* plant(world, { session: "sbx_nobodys", generation: 1, owner: null })
          assert.deepStrictEqual(brief(yield* collect(world)), Array(3).fill("report skipped"))
          const actions = yield* collect(world, { only: ["orphans"] })
          assert.deepStrictEqual(brief(actions).toSorted(), ["destroy_box done", "report skipped", "report skipped"])
          assert.deepStrictEqual(
            actions.map(({ sessionId }) => sessionId),
            [null, null, null]
          )
          assert.deepStrictEqual([clean(), worked(), nobodys()], [false, true, true])
        })
      )
    })

    describe("orphans", () => {
      /** Records that the box of the first generation was left behind. */
      const leave = Effect.fnUntraced(function* (world: World, observed: Session, reason: Orphan["reason"]) {
        const key = intentKey(observed.id, 1)
        const [ref = null] = [...world.cloud.boxes.values()].flatMap((box) => (box.ref.key === key ? [box.ref] : []))
        const holder = new Holder({ host: "host-1", pid: 9, startedAt: "1" })
        const operation = { id: "op_left", verb: "switch", clientRequestId: null, requestHash: "x" }
        const claim = { token: "clm_left", kind: "gc", holder, lease: 30_000, prior: null } as const
        yield* world.ledger.acquire({ observed, operation, force: false, claim })
        const orphan = new Orphan({
          id: "orp_left",
          sessionId: observed.id,
          operationId: operation.id,
          provider: "memory",
          scope: "memory",
          ref,
          key,
          reason,
          createdAt: 0,
          resolvedAt: null
        })
        const change = { orphans: [orphan], release: true }
        yield* world.ledger.commit({ sessionId: observed.id, token: claim.token, operationId: operation.id, change })
      })

      for (const reason of ["retired", "stop_exhausted"] as const) {
        run(`I-47 a box that was ${reason} goes once its session is ready in a later one, and not before`, (world) =>
          Effect.gen(function* () {
            const row = yield* second(world)
            const isThere = yield* plant(world, { session: row.id, generation: 1, dirtyFiles: 1 })
            yield* leave(world, row, reason)
            yield* down({ session: "work" }).pipe(as(world))
            assert.deepStrictEqual(brief(yield* collect(world)), ["report skipped"])
            assert.isTrue(isThere())
            // whoever brings it up removes it, if its provider lets them
            yield* world.faults.always("destroy", Faults.fail("Unreachable"))
            const resumed = yield* settle(resume({ session: "work" }).pipe(as(world)))
            assert.include(resumed.warnings.join(), ".g1")
            yield* world.faults.always("destroy", Faults.ok)
            yield* world.faults.always("inspect", Faults.fail("Unreachable"))
            const unseen = (yield* collect(world)).filter(({ finding }) => finding.includes(".g1"))
            assert.deepStrictEqual(brief(unseen), ["report skipped"])
            assert.strictEqual((yield* world.ledger.openOrphans).records.length, 1)
            yield* world.faults.always("inspect", Faults.ok)
            assert.deepStrictEqual(brief(yield* collect(world)), ["destroy_box done"])
            assert.isFalse(isThere())
            assert.deepStrictEqual((yield* world.ledger.openOrphans).records, [])
            const { events } = yield* world.ledger.history(row.id)
            assert.isTrue(events.some(({ type }) => type === "orphan_resolved"))
            assert.deepStrictEqual(brief(yield* collect(world)), [])
          })
        )
      }
    })

    describe("boxes that a dead operation was removing", () => {
      run("I-47 go with the same gc that drops its claim", (world) =>
        Effect.gen(function* () {
          const row = yield* second(world)
          const isThere = yield* plant(world, { session: row.id, generation: 1, dirtyFiles: 1 })
          const [ref = null] = [...world.cloud.boxes.values()].flatMap((box) =>
            box.ref.key === intentKey(row.id, 1) ? [box.ref] : []
          )
          const holder = new Holder({ host: "host-2", pid: 9, startedAt: "1" })
          const operation = { id: "op_dead", verb: "gc", clientRequestId: null, requestHash: "x" }
          const claim = { token: "clm_dead", kind: "gc", holder, lease: 30_000, prior: null } as const
          yield* world.ledger.acquire({ observed: row, operation, force: false, claim })
          const orphan = new Orphan({
            id: "orp_dead",
            sessionId: row.id,
            operationId: operation.id,
            provider: "memory",
            scope: "memory",
            ref,
            key: intentKey(row.id, 1),
            reason: "retired",
            createdAt: 0,
            resolvedAt: null
          })
          const write = { sessionId: row.id, token: claim.token, operationId: operation.id }
          yield* world.ledger.commit({ ...write, change: { orphans: [orphan] } })
          yield* TestClock.adjust("31 seconds")
          assert.deepStrictEqual(brief(yield* collect(world, { only: ["recover"] })), ["drop_claim done"])
          assert.isFalse(isThere())
          assert.deepStrictEqual((yield* world.ledger.openOrphans).records, [])
        })
      )
    })

    describe("sessions that are up", () => {
      run("I-41 one whose box is gone fails, with the last save in its history, and comes back", (world) =>
        Effect.gen(function* () {
          yield* up(upOptions).pipe(as(world))
          yield* down({ session: "work" }).pipe(as(world))
          yield* resume({ session: "work" }).pipe(as(world))
          const [saved] = (yield* world.ledger.history((yield* only(world)).id)).checkpoints
          world.cloud.boxes.clear()
          yield* TestClock.adjust("1 minute")
          const before = yield* everything(world.ledger)
          assert.deepStrictEqual(brief(yield* collect(world, { dryRun: true })), ["recover planned"])
          assert.deepStrictEqual(yield* everything(world.ledger), before)
          const [action] = yield* collect(world)
          assert.include(action?.finding, saved!.id)
          const row = yield* only(world)
          assert.deepInclude(row, { state: "failed", instance: null, claim: null })
          assert.strictEqual(row.health?.status, "gone")
          const { events, intents } = yield* world.ledger.history(row.id)
          const lost = events.find(({ type }) => type === "box_lost")
          assert.strictEqual(lost?.data["checkpoint"], saved!.id)
          assert.isAtLeast(Number(lost?.data["checkpoint_age_s"]), 60)
          assert.deepStrictEqual(
            intents.map(({ status }) => status),
            ["closed"]
          )
          assert.deepStrictEqual(brief(yield* collect(world)), [])
        })
      )

      run("one whose box cannot be seen stays what it is, and is reported", (world) =>
        Effect.gen(function* () {
          yield* up(upOptions).pipe(as(world))
          world.cloud.boxes.clear()
          const before = yield* everything(world.ledger)
          yield* world.faults.always("inspect", Faults.fail("Unreachable"))
          const [action, ...more] = yield* collect(world)
          assert.strictEqual(action?.action, "report")
          assert.deepStrictEqual(more, [])
          yield* world.faults.always("inspect", Faults.ok)
          yield* world.faults.always("scope", Faults.fail("Unreachable"))
          assert.deepStrictEqual(brief(yield* collect(world)), ["report skipped"])
          assert.deepStrictEqual(yield* everything(world.ledger), before)
        })
      )

      run("I-41 one past its time whose box cannot be seen is left as it is, and reported", (world) =>
        Effect.gen(function* () {
          yield* up({ ...upOptions, ttl: 60_000 }).pipe(as(world))
          yield* TestClock.adjust("2 minutes")
          const before = yield* everything(world.ledger)
          for (const blind of ["inspect", "scope"] as const) {
            yield* world.faults.always(blind, Faults.fail("Unreachable"))
            for (const dryRun of [true, false]) {
              const actions = yield* collect(world, { only: ["retention"], dryRun })
              assert.deepStrictEqual(brief(actions), [dryRun ? "report planned" : "report skipped"])
              assert.deepStrictEqual(yield* everything(world.ledger), before)
            }
            yield* world.faults.always(blind, Faults.ok)
          }
          assert.deepStrictEqual(brief(yield* collect(world)), ["halt done"])
        })
      )

      run("a provider that cannot list its boxes is reported once, whatever is on it", (world) =>
        Effect.gen(function* () {
          yield* up(upOptions).pipe(as(world))
          yield* up({ ...upOptions, name: "other" }).pipe(as(world))
          yield* world.faults.always("list", Faults.fail("Unreachable"))
          const actions = yield* collect(world)
          assert.deepStrictEqual(brief(actions), ["report skipped"])
          assert.include(actions[0]?.finding, "provider memory")
        })
      )

      run("one past its time is halted and saved, and never destroyed", (world) =>
        Effect.gen(function* () {
          yield* up({ ...upOptions, ttl: 60_000 }).pipe(as(world))
          yield* up({ ...upOptions, name: "longer", ttl: 86_400_000 }).pipe(as(world))
          yield* up({ ...upOptions, name: "hers", ttl: 60_000 }).pipe(as(world, { principal: "bob" }))
          assert.deepStrictEqual(brief(yield* collect(world)), [])
          yield* TestClock.adjust("2 minutes")
          const before = yield* everything(world.ledger)
          assert.deepStrictEqual(brief(yield* collect(world, { dryRun: true })), ["halt planned"])
          assert.deepStrictEqual(yield* everything(world.ledger), before)
          assert.deepStrictEqual(brief(yield* collect(world, { only: ["recover", "orphans"] })), [])
          assert.deepStrictEqual(brief(yield* collect(world)), ["halt done"])
          const { sessions } = yield* world.ledger.sessions({})
          const states = Object.fromEntries(sessions.map(({ name, state }) => [name, state]))
          assert.deepStrictEqual(states, { work: "stopped", longer: "ready", hers: "ready" })
          assert.strictEqual(world.cloud.boxes.size, 3)
          assert.strictEqual(world.store.ids().length, 1)
        })
      )
    })

    describe("retention", () => {
      const destroyed = Effect.fnUntraced(function* (world: World) {
        yield* up(upOptions).pipe(as(world))
        yield* destroy({ session: "work", force: true }).pipe(as(world))
        assert.strictEqual(world.store.ids().length, 1)
      })

      run("checkpoints outlive their session by 30 days, and its record goes with them", (world) =>
        Effect.gen(function* () {
          yield* destroyed(world)
          yield* TestClock.adjust("29 days")
          assert.deepStrictEqual(brief(yield* collect(world)), [])
          yield* TestClock.adjust("2 days")
          const before = yield* everything(world.ledger)
          const planned = ["remove_checkpoint planned", "purge planned"]
          assert.deepStrictEqual(brief(yield* collect(world, { dryRun: true })), planned)
          assert.deepStrictEqual(yield* everything(world.ledger), before)
          assert.deepStrictEqual(brief(yield* collect(world, {}, { principal: "bob" })), [])
          assert.deepStrictEqual(brief(yield* collect(world)), ["remove_checkpoint done", "purge done"])
          assert.deepStrictEqual(world.store.ids(), [])
          assert.deepStrictEqual((yield* world.ledger.sessions({})).sessions, [])
          assert.deepStrictEqual(brief(yield* collect(world)), [])
        })
      )

      run("what a kill leaves of a removal the next one finishes, wherever it was", (world) =>
        Effect.gen(function* () {
          const probe = yield* make(database)
          yield* destroyed(probe)
          yield* TestClock.adjust("31 days")
          const whole = new Points()
          yield* gc({}).pipe(as(probe, { pid: 2, points: whole }))
          assert.isAtLeast(whole.passed.length, 6)
          for (const index of whole.passed.keys()) {
            const one = yield* make(database)
            yield* destroyed(one)
            yield* TestClock.adjust("31 days")
            const points = new Points({ index, ending: "kill" })
            yield* endAt(points, gc({}).pipe(as(one, { pid: 2, points })))
            one.bury(2)
            yield* collect(one)
            yield* collect(one)
            const at = whole.passed[index]
            assert.deepStrictEqual(one.store.ids(), [], at)
            assert.deepStrictEqual((yield* one.ledger.sessions({})).sessions, [], at)
          }
          assert.strictEqual(world.cloud.boxes.size, 0)
        })
      )

      run("of a living session the last checkpoint stays, however old, and those it replaced go", (world) =>
        Effect.gen(function* () {
          yield* up(upOptions).pipe(as(world))
          yield* down({ session: "work" }).pipe(as(world))
          yield* TestClock.adjust("1 day")
          yield* resume({ session: "work" }).pipe(as(world))
          yield* down({ session: "work" }).pipe(as(world))
          const [older, last] = world.store.ids()
          yield* TestClock.adjust("31 days")
          const actions = yield* collect(world)
          assert.deepStrictEqual(brief(actions), ["remove_checkpoint done"])
          assert.include(actions[0]?.finding, older)
          assert.deepStrictEqual(world.store.ids(), [last])
          yield* TestClock.adjust("365 days")
          assert.deepStrictEqual(brief(yield* collect(world)), [])
          assert.strictEqual((yield* resume({ session: "work" }).pipe(as(world))).state, "ready")
        })
      )

      run("nothing goes while the store cannot be looked through, and no record before its checkpoint", (world) =>
        Effect.gen(function* () {
          yield* destroyed(world)
          yield* TestClock.adjust("31 days")
          const before = yield* everything(world.ledger)
          world.store.refuse("list")
          assert.deepStrictEqual(brief(yield* collect(world)), ["report skipped"])
          assert.deepStrictEqual(yield* everything(world.ledger), before)
          world.store.refuse("remove")
          assert.deepStrictEqual(brief(yield* collect(world)), ["remove_checkpoint failed", "purge skipped"])
          assert.deepStrictEqual(brief(yield* collect(world)), ["remove_checkpoint failed", "purge skipped"])
          assert.strictEqual((yield* world.ledger.sessions({})).sessions.length, 1)
          world.store.refuse()
          assert.deepStrictEqual(brief(yield* collect(world)), ["remove_checkpoint done", "purge done"])
          assert.deepStrictEqual(world.store.ids(), [])
        })
      )

      run("a session that was destroyed in the middle of a restore goes with its checkpoints", (world) =>
        Effect.gen(function* () {
          yield* up(upOptions).pipe(as(world))
          yield* down({ session: "work" }).pipe(as(world))
          const restoring = yield* only(world)
          const [saved] = world.store.ids()
          const holder = new Holder({ host: "host-1", pid: 9, startedAt: "1" })
          const claim = { token: "clm_r", kind: "resume", holder, lease: 30_000, prior: null } as const
          const operation = { id: "op_r", verb: "restore", clientRequestId: null, requestHash: "x" }
          yield* world.ledger.acquire({ observed: restoring, operation, force: false, claim })
          const change = { set: { restoreFrom: saved! }, release: true }
          yield* world.ledger.commit({ sessionId: restoring.id, token: claim.token, operationId: operation.id, change })
          yield* TestClock.adjust("31 days")
          assert.deepStrictEqual(brief(yield* collect(world)), [])
          yield* destroy({ session: "work" }).pipe(as(world))
          assert.strictEqual((yield* only(world)).restoreFrom, saved)
          yield* TestClock.adjust("31 days")
          assert.deepStrictEqual(brief(yield* collect(world)), ["remove_checkpoint done", "purge done"])
        })
      )

      run("a checkpoint that a session begins with after the plan was made stays", (world) =>
        Effect.gen(function* () {
          yield* destroyed(world)
          const [saved] = world.store.ids()
          yield* TestClock.adjust("31 days")
          yield* up({ ...upOptions, name: "next" }).pipe(as(world))
          let wanted = false
          world.interceptLedger((ledger) => ({
            ...ledger,
            sessions: (query) =>
              Effect.map(ledger.sessions(query), ({ sessions, unreadable }) => {
                const seen = sessions.map((row) =>
                  row.name === "next" && wanted ? new Session({ ...row, restoreFrom: saved! }) : row
                )
                wanted = true
                return { sessions: seen, unreadable }
              })
          }))
          assert.deepStrictEqual(brief(yield* collect(world)), ["remove_checkpoint skipped", "purge skipped"])
          assert.include(world.store.ids(), saved)
        })
      )

      run("a record whose checkpoint another host may have waits for that host, and not for ever", (world) =>
        Effect.gen(function* () {
          yield* destroyed(world)
          const [saved] = world.store.ids()
          world.store.lose(saved!)
          yield* TestClock.adjust("31 days")
          const gone = ["remove_checkpoint done", "purge done"]
          assert.deepStrictEqual(brief(yield* collect(world)), world.ledger.shared ? [] : gone)
          yield* TestClock.adjust("30 days")
          assert.deepStrictEqual(brief(yield* collect(world)), world.ledger.shared ? gone : [])
          assert.deepStrictEqual((yield* world.ledger.sessions({})).sessions, [])
        })
      )

      run("what dead writers left in the store is swept, and named before", (world) =>
        Effect.gen(function* () {
          assert.deepStrictEqual(brief(yield* collect(world)), [])
          world.store.leave({ drafts: 2, bytes: 10 })
          const [planned, ...more] = yield* collect(world, { dryRun: true })
          assert.deepStrictEqual(more, [])
          assert.deepInclude(planned, { action: "sweep", outcome: "planned", sessionId: null })
          assert.include(planned?.finding, "2 checkpoints")
          assert.include(planned?.finding, "10 bytes")
          assert.deepStrictEqual(brief(yield* collect(world, { only: ["recover", "orphans"] })), [])
          assert.deepStrictEqual(brief(yield* collect(world)), ["sweep done"])
          assert.deepStrictEqual(brief(yield* collect(world)), [])
          world.store.refuse("leftovers")
          assert.deepStrictEqual(brief(yield* collect(world)), ["report skipped"])
        })
      )

      run("what was exported goes with the record, and before it", (world) =>
        Effect.gen(function* () {
          yield* destroyed(world)
          const { id } = yield* only(world)
          const [own, other] = [id, "sbx_other"].map((name) => join(world.state, "exports", name))
          yield* TestClock.adjust("31 days")
          // a place that cannot be cleared keeps its record
          writeFileSync(join(world.state, "exports"), "")
          assert.deepStrictEqual(brief(yield* collect(world)), ["remove_checkpoint done", "purge failed"])
          assert.strictEqual((yield* only(world)).id, id)
          rmSync(join(world.state, "exports"))
          for (const directory of [own!, other!]) {
            mkdirSync(directory, { recursive: true })
            writeFileSync(join(directory, "work.bundle"), "")
          }
          yield* collect(world, { dryRun: true })
          assert.isTrue(existsSync(own!))
          assert.deepStrictEqual(brief(yield* collect(world)), ["purge done"])
          assert.isFalse(existsSync(own!))
          assert.isTrue(existsSync(other!))
        })
      )

      run("a record with an orphan is kept until the orphan is resolved", (world) =>
        Effect.gen(function* () {
          yield* up(upOptions).pipe(as(world))
          yield* destroy({ session: "work", forget: true, confirmDataLoss: true }).pipe(as(world))
          yield* TestClock.adjust("31 days")
          for (const op of ["scope", "inspect"] as const) {
            yield* world.faults.always(op, Faults.fail("Unreachable"))
          }
          assert.deepStrictEqual(brief(yield* collect(world)), ["report skipped"])
          for (const op of ["scope", "inspect"] as const) yield* world.faults.always(op, Faults.ok)
          assert.deepStrictEqual(brief(yield* collect(world)), ["destroy_box done"])
          assert.strictEqual(world.cloud.boxes.size, 0)
          assert.deepStrictEqual(brief(yield* collect(world)), ["purge done"])
        })
      )

      run("an up that failed long ago leaves nothing in the end", (world) =>
        Effect.gen(function* () {
          yield* world.faults.script("workspace.attach", Faults.fail("Invalid"))
          yield* Effect.ignore(settle(up(upOptions).pipe(as(world))))
          yield* TestClock.adjust("31 days")
          yield* collect(world)
          assert.strictEqual((yield* only(world)).state, "destroyed")
          yield* TestClock.adjust("31 days")
          assert.deepStrictEqual(brief(yield* collect(world)), ["purge done"])
          assert.deepStrictEqual((yield* world.ledger.sessions({})).sessions, [])
        })
      )
    })

    describe("beside others", () => {
      /** Three sessions whose up died after the box was made. */
      const dead = Effect.fnUntraced(function* (world: World) {
        const probe = yield* make(database)
        const whole = new Points()
        yield* up(upOptions).pipe(as(probe, { points: whole }))
        const index = whole.passed.indexOf("provider.provision:after")
        for (const [at, name] of ["a", "b", "c"].entries()) {
          const points = new Points({ index, ending: "kill" })
          yield* endAt(points, up({ ...upOptions, name }).pipe(as(world, { pid: 20 + at, points })))
          world.bury(20 + at)
        }
        assert.strictEqual(world.cloud.boxes.size, 3)
      })

      run("I-19 one thing that cannot be put right does not stop the others", (world) =>
        Effect.gen(function* () {
          yield* dead(world)
          yield* world.faults.script("destroy", ...Array(3).fill(Faults.failBefore))
          const actions = yield* collect(world)
          assert.deepStrictEqual(brief(actions).toSorted(), ["recover done", "recover done", "recover failed"])
          assert.strictEqual(world.cloud.boxes.size, 1)
          const again = (yield* collect(world)).filter(({ action }) => action !== "report")
          assert.deepStrictEqual(brief(again), ["recover done"])
          assert.strictEqual(world.cloud.boxes.size, 0)
        })
      )

      run("several at once do everything once, and none fails for the others", (world) =>
        Effect.gen(function* () {
          yield* dead(world)
          const row = yield* second(yield* make(database))
          assert.isNotNull(row.instance)
          yield* plant(world, { session: "sbx_clean", generation: 1 })
          const runs = yield* Effect.all(
            [4, 5, 6, 7].map((pid) => gc({ only: ["recover", "orphans"] }).pipe(as(world, { pid }))),
            { concurrency: "unbounded" }
          )
          const outcomes = runs.flatMap(({ actions }) => brief(actions))
          assert.strictEqual(outcomes.filter((outcome) => outcome === "recover done").length, 3)
          assert.deepStrictEqual(
            outcomes.filter((outcome) => outcome.endsWith("failed")),
            []
          )
          assert.strictEqual(world.cloud.boxes.size, 0)
          for (const { claim, state } of (yield* world.ledger.sessions({})).sessions) {
            assert.deepStrictEqual({ claim, state }, { claim: null, state: "failed" })
          }
        })
      )

      run("I-41 an operation that ends well between two looks is not taken for dead", (world) =>
        Effect.gen(function* () {
          yield* up(upOptions).pipe(as(world))
          const gate = yield* world.faults.gate("stop")
          const halting = yield* Effect.forkChild(down({ session: "work" }).pipe(as(world, { pid: 2 })))
          yield* gate.reached
          // as gc sees it, the process has ended by the time it looks; what it did last it did before
          world.bury(2)
          const ending = Effect.orDie(Effect.andThen(gate.open, Fiber.join(halting)))
          world.interceptLedger((ledger) => ({
            ...ledger,
            sessions: (query) => Effect.tap(ledger.sessions(query), () => ending)
          }))
          assert.deepStrictEqual((yield* gc({}).pipe(as(world, { pid: 3 }))).actions, [])
          assert.strictEqual((yield* only(world)).state, "stopped")
        })
      )

      run("I-41 a box that somebody removes between two looks left nothing behind", (world) =>
        Effect.gen(function* () {
          yield* up(upOptions).pipe(as(world))
          const before = yield* only(world)
          const ending = Effect.orDie(destroy({ session: "work", force: true }).pipe(as(world, { pid: 2 })))
          // after the boxes were listed, and before gc asks whose this one is
          let ended = false
          world.interceptLedger((ledger) => ({
            ...ledger,
            session: (id) =>
              Effect.suspend(() => {
                if (ended || world.faults.started("list").length === 0) return ledger.session(id)
                ended = true
                return Effect.andThen(ending, ledger.session(id))
              })
          }))
          assert.deepStrictEqual((yield* gc({}).pipe(as(world, { pid: 3 }))).actions, [])
          assert.isTrue(ended)
          const { operations } = yield* world.ledger.history(before.id)
          assert.notInclude(
            operations.map(({ verb }) => verb),
            "gc"
          )
        })
      )

      run("I-41 a dead operation on a box that cannot be seen is left as it is, and reported", (world) =>
        Effect.gen(function* () {
          const deaths: ReadonlyArray<{
            readonly where: string
            readonly run: (of: World, options: RuntimeOptions) => Effect.Effect<unknown, unknown>
          }> = [
            { where: "provider.provision:after", run: (of, o) => up({ ...upOptions, name: "up" }).pipe(as(of, o)) },
            { where: "provider.stop:before", run: (of, o) => down({ session: "down" }).pipe(as(of, o)) },
            {
              where: "provider.destroy:before",
              run: (of, o) => destroy({ session: "destroy", force: true }).pipe(as(of, o))
            },
            { where: "provider.start:after", run: (of, o) => resume({ session: "resume" }).pipe(as(of, o)) }
          ]
          const prepared = Effect.fnUntraced(function* (of: World) {
            for (const name of ["down", "destroy", "resume"]) yield* up({ ...upOptions, name }).pipe(as(of))
            yield* down({ session: "resume" }).pipe(as(of))
          })
          const probe = yield* make(database)
          yield* prepared(probe)
          yield* prepared(world)
          for (const [at, { run, where }] of deaths.entries()) {
            const whole = new Points()
            yield* run(probe, { points: whole })
            const points = new Points({ index: whole.passed.indexOf(where), ending: "kill" })
            yield* endAt(points, run(world, { pid: 20 + at, points }))
            world.bury(20 + at)
          }
          const before = yield* everything(world.ledger)
          const states = before.map(({ session }) => session.state).toSorted()
          assert.deepStrictEqual(states, ["provisioning", "provisioning", "stopping", "tearing_down"])
          for (const blind of ["inspect", "find", "scope"] as const) {
            for (const other of ["inspect", "find"] as const)
              yield* world.faults.always(other, Faults.fail("Unreachable"))
            yield* world.faults.always(blind, Faults.fail("Unreachable"))
            assert.deepStrictEqual(brief(yield* collect(world)), Array(4).fill("report skipped"))
            assert.deepStrictEqual(yield* everything(world.ledger), before)
            for (const seen of ["inspect", "find", "scope"] as const) yield* world.faults.always(seen, Faults.ok)
          }
          assert.deepStrictEqual(brief(yield* collect(world)), Array(4).fill("recover done"))
        })
      )

      run("what a hook of a dead up left running on this host ends with what the up had made", (world) =>
        Effect.gen(function* () {
          // the hook ends once what it leaves is in a session of its own, which nobody ends with it
          const preUp =
            'f=$(mktemp); setsid sh -c "rm $f; exec sleep 30" >/dev/null 2>&1 & while [ -e $f ]; do sleep 0.05; done'
          const setup = { hooks: { preUp } }
          // a memory box has no shell for what comes after
          const begin = (of: World, options: RuntimeOptions) =>
            Effect.ignore(up({ ...upOptions, setup }).pipe(as(of, options)))
          const whole = new Points()
          const probe = yield* make(database)
          yield* begin(probe, { points: whole })
          const points = new Points({ index: whole.passed.indexOf("provider.provision:after"), ending: "kill" })
          yield* endAt(points, begin(world, { pid: 20, points }))
          world.bury(20)
          const entry = `${boxMarker}=${intentKey((yield* only(world)).id, 1)}`
          const left = Effect.flatMap(Processes, ({ marked }) => marked(entry)).pipe(as(world))
          assert.isNotEmpty(yield* left)
          assert.deepStrictEqual(brief(yield* collect(world)), ["recover done"])
          assert.deepStrictEqual(yield* left, [])
        })
      )

      run("what was touched within the time that the caller names is left alone", (world) =>
        Effect.gen(function* () {
          yield* dead(world)
          assert.deepStrictEqual(brief(yield* collect(world, { olderThan: 60_000 })), [])
          yield* TestClock.adjust("2 minutes")
          assert.deepStrictEqual(brief(yield* collect(world, { olderThan: 60_000 })), Array(3).fill("recover done"))
        })
      )

      run("I-42 sessions of somebody else are neither touched nor shown", (world) =>
        Effect.gen(function* () {
          yield* dead(world)
          const before = yield* everything(world.ledger)
          const named: GcOptions = { only: ["recover", "orphans", "retention"] }
          assert.deepStrictEqual(yield* collect(world, named, { principal: "bob" }), [])
          assert.deepStrictEqual(yield* everything(world.ledger), before)
          assert.strictEqual(world.cloud.boxes.size, 3)
        })
      )

      run("a session that is being exported is left to its export", (world) =>
        Effect.gen(function* () {
          yield* up({ ...upOptions, ttl: 1000 }).pipe(as(world))
          yield* TestClock.adjust("1 minute")
          const observed = yield* only(world)
          yield* world.ledger.acquire({
            observed,
            operation: { id: "op_export", verb: "export", clientRequestId: null, requestHash: "x" },
            force: false,
            claim: {
              token: "clm_export",
              kind: "export",
              holder: new Holder({ host: "host-2", pid: 9, startedAt: "1" }),
              lease: 30_000,
              prior: null,
              exporting: "sandbox/work"
            }
          })
          const exit = yield* Effect.exit(gc({}).pipe(as(world, { pid: 3 })))
          assert.isTrue(Exit.isSuccess(exit) && exit.value.actions.length === 0)
          assert.strictEqual(world.running(), 1)
        })
      )
    })
  })
}
