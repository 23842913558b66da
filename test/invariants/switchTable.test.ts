/** Where a switch dies, what that leaves, and what brings the session on: the table, row by row. */
import { assert, describe, it } from "@effect/vitest"
import { down, gc, resume, status } from "@org/sandbox-core"
import type { State } from "@org/sandbox-core/Lifecycle"
import type { SandboxError } from "@org/sandbox-core/SandboxError"
import { Effect, Exit } from "effect"
import { TestClock } from "effect/testing"
import { sampled } from "../support/sample.ts"
import {
  advance,
  as,
  type Database,
  databases,
  type Ending,
  endedAt,
  type MovingOptions,
  make,
  move,
  type Name,
  Points,
  ready,
  row,
  seenIn,
  type World,
  workIn
} from "./switchWorld.ts"

interface Left {
  readonly state: State
  readonly on: Name
  /** Whether the row has a box. */
  readonly box: boolean
  /** The boxes that run. */
  readonly running: ReadonlyArray<Name>
}

interface Row {
  readonly after: string
  readonly point: string
  readonly numbers: string
  readonly killed: Left & { readonly phase: string; readonly orphan: boolean; readonly intent: boolean }
  readonly interrupted: Left
  /** Interrupted, where a switch that fails is to stay on the new side. */
  readonly held: Left
}

const stays: Left = { state: "ready", on: "a", box: true, running: ["a"] }
const halts: Left = { state: "stopped", on: "a", box: true, running: [] }
const moved: Left = { state: "ready", on: "b", box: true, running: ["b"] }
const held: Left = { state: "failed", on: "b", box: false, running: [] }
const still = { state: "switching", on: "a", box: true, orphan: false, intent: false } as const
const gone = { on: "b", box: false, orphan: true } as const

const table: ReadonlyArray<Row> = [
  {
    after: "the claim",
    point: "ledger.acquire.switch:after",
    numbers: "I-35 I-36",
    killed: { ...still, phase: "claimed", running: ["a"] },
    interrupted: stays,
    held: stays
  },
  {
    after: "the stop was about to be sent",
    point: "a.stop:before",
    numbers: "I-35",
    killed: { ...still, phase: "stop", running: ["a"] },
    interrupted: stays,
    held: stays
  },
  {
    after: "the stop, unconfirmed",
    point: "a.stop:after",
    numbers: "I-35 I-37",
    killed: { ...still, phase: "stop", running: [] },
    interrupted: halts,
    held: halts
  },
  {
    after: "the stop, confirmed",
    point: "ledger.commit.stopped:after",
    numbers: "I-35 I-37",
    killed: { ...still, phase: "stopped", running: [] },
    interrupted: halts,
    held: halts
  },
  {
    after: "the write",
    point: "ledger.commit.written:after",
    numbers: "I-35 I-47",
    killed: { ...gone, state: "switching", phase: "written", running: [], intent: false },
    interrupted: stays,
    held
  },
  {
    after: "the create was about to be sent",
    point: "b.provision:before",
    numbers: "I-35 I-42",
    killed: { ...gone, state: "provisioning", phase: "provision", running: [], intent: true },
    interrupted: stays,
    held
  },
  {
    after: "the create, unrecorded",
    point: "b.provision:after",
    numbers: "I-35 I-42",
    killed: { ...gone, state: "provisioning", phase: "provision", running: ["b"], intent: true },
    interrupted: stays,
    held
  },
  {
    after: "the new box is ready, unsaid",
    point: "ledger.commit.done:before",
    numbers: "I-35 I-57",
    killed: { ...gone, state: "syncing", phase: "health", box: true, running: ["b"], intent: false },
    // what is about to be committed is no longer cut short
    interrupted: moved,
    held: moved
  }
]

type Recovery = "switch" | "switch back" | "resume" | "down" | "gc"

const recover = (world: World, by: Recovery, options: MovingOptions): Effect.Effect<unknown, SandboxError> => {
  switch (by) {
    case "switch":
      return move(world, "b", options)
    case "switch back":
      return move(world, "a", options)
    case "resume":
      return resume({ session: "work" }).pipe(as(world, options))
    case "down":
      return down({ session: "work" }).pipe(as(world, options))
    case "gc":
      return gc({}).pipe(as(world, options))
  }
}

/** Where each recovery leads to, from a switch that died before or after the new provider was written. */
const led = (by: Recovery, { killed }: Row): { readonly on: Name; readonly state: State } => {
  if (by === "switch") return { on: "b", state: "ready" }
  if (by === "switch back") return { on: "a", state: "ready" }
  return { on: killed.on, state: by === "down" ? "stopped" : "ready" }
}

/** In no case: ready without a live box, two live boxes, a box that the ledger does not know of. */
const isSound = Effect.fnUntraced(function* (world: World, id: string) {
  const session = yield* row(world, id)
  const { intents, orphans } = yield* world.ledger.history(id)
  const boxes = yield* world.boxes
  const known = [
    session.instance?.key,
    ...intents.flatMap(({ key, status }) => (status === "open" ? [key] : [])),
    ...orphans.flatMap(({ key, resolvedAt }) => (resolvedAt === null ? [key] : []))
  ]
  for (const { key } of boxes) assert.include(known, key)
  assert.isAtMost(boxes.filter(({ is }) => is === "running").length, 1)
  if (session.state === "ready" || session.state === "completed") {
    const own = boxes.find(({ key, provider }) => provider === session.provider && key === session.instance?.key)
    assert.strictEqual(own?.is, "running")
  }
  return session
})

const isLeft = Effect.fnUntraced(function* (world: World, id: string, left: Left) {
  const session = yield* isSound(world, id)
  assert.deepInclude(session, { state: left.state, provider: left.on })
  assert.strictEqual(session.instance !== null, left.box)
  const running = (yield* world.boxes).flatMap(({ is, provider }) => (is === "running" ? [provider] : []))
  assert.deepStrictEqual(running, [...left.running])
  return session
})

/** Whatever it took: ready in one box, with all of its work, and nothing else is left anywhere. */
const isWell = Effect.fnUntraced(function* (world: World, id: string, work: string | undefined, pid: number) {
  if ((yield* row(world, id)).state !== "ready") yield* resume({ session: "work" }).pipe(as(world, { pid }))
  // a create that was never answered is waited for
  yield* TestClock.adjust("13 minutes")
  yield* gc({}).pipe(as(world, { pid }))
  const session = yield* isSound(world, id)
  assert.deepInclude(session, { state: "ready", claim: null, restoreFrom: null, cleanupRequired: false })
  const { provider, instance } = session
  assert.deepStrictEqual(yield* world.boxes, [{ provider: provider as Name, key: instance!.key, is: "running" }])
  const { intents, orphans } = yield* world.ledger.history(id)
  assert.deepStrictEqual(
    [...intents.filter(({ status }) => status === "open"), ...orphans.filter(({ resolvedAt }) => resolvedAt === null)],
    []
  )
  if (work !== undefined) assert.strictEqual(seenIn(session.workspacePath), work)
})

/** A session with work in it, whose switch was cut short. */
const cut = Effect.fnUntraced(function* (
  database: Database,
  { ending, point, real }: { readonly point: string; readonly ending: Ending; readonly real: boolean },
  onFailure: "restore" | "hold" = "restore"
) {
  const world = yield* make(database, { real })
  const before = yield* ready(world)
  if (real) workIn(before.workspacePath!)
  const work = seenIn(before.workspacePath)
  const exit = yield* endedAt(world, [point, ending, 2], (options) =>
    move(world, "b", { ...options, policies: { onFailure } })
  )
  return { before, exit, work, world }
})

for (const { database, name, recoveries, real, rows, holders } of [
  ...databases.map((database) => ({
    database,
    name: database.name,
    recoveries: ["switch", "switch back", "resume", "down", "gc"] as ReadonlyArray<Recovery>,
    real: false,
    rows: table,
    holders: ["dead", "silent"] as const
  })),
  // with checkouts that hold work, which takes its time: what the ledger is stored in makes no difference there
  ...databases.slice(0, 1).map((database) => ({
    database,
    name: `${database.name} with real checkouts`,
    recoveries: ["switch", "switch back", "resume", "down", "gc"] as ReadonlyArray<Recovery>,
    real: true,
    rows: sampled(
      table.filter(({ point }) => !/^[ab].*:before$/.test(point)),
      3
    ),
    holders: ["dead"] as const
  }))
]) {
  describe(`a switch that dies, on ${name}`, () => {
    for (const line of rows) {
      for (const onFailure of ["restore", "hold"] as const) {
        it.effect(`${line.numbers} interrupted after ${line.after} (${onFailure})`, () =>
          Effect.gen(function* () {
            const { point } = line
            const { before, exit, work, world } = yield* cut(database, { ending: "interrupt", point, real }, onFailure)
            const left = onFailure === "hold" ? line.held : line.interrupted
            const session = yield* isLeft(world, before.id, left)
            assert.isNull(session.claim)
            // one that has come through may have been interrupted only when it cleared the old box away
            if (left !== moved) assert.isTrue(exit !== "killed" && Exit.isFailure(exit))
            if (left.on === "a") assert.deepStrictEqual(session.instance, before.instance)
            const shown = yield* status({ session: "work" }).pipe(as(world))
            assert.strictEqual(shown.recovery === null, left.state !== "failed")
            assert.strictEqual(shown.state, left.state)
            // another try is not told that one is under way; where it is held, it is there already
            assert.deepInclude(yield* move(world, "b", { pid: 3 }), {
              provider: "b",
              state: left === held ? "failed" : "ready"
            })
            yield* isWell(world, before.id, work, 4)
          })
        )
      }
      for (const by of recoveries) {
        for (const holder of by === "resume" ? holders : holders.slice(0, 1)) {
          it.effect(`${line.numbers} killed after ${line.after}, then ${by} (the holder is ${holder})`, () =>
            Effect.gen(function* () {
              const { killed, point } = line
              const { before, work, world } = yield* cut(database, { ending: "kill", point, real })
              const left = yield* isLeft(world, before.id, killed)
              assert.strictEqual(left.claim?.phase, killed.phase)
              assert.strictEqual(left.claim?.kind, "switch")
              assert.deepInclude(left.claim?.prior, { state: "ready", provider: "a", generation: before.generation })
              const { intents, orphans } = yield* world.ledger.history(before.id)
              assert.strictEqual(
                intents.some(({ status }) => status === "open"),
                killed.intent
              )
              assert.deepStrictEqual(
                orphans.map(({ key, reason, resolvedAt }) => [key, reason, resolvedAt]),
                killed.orphan ? [[before.instance!.key, "retired", null]] : []
              )
              const shown = yield* status({ session: "work" }).pipe(as(world))
              assert.strictEqual(shown.recovery?.command, `sandbox resume ${before.id}`)

              const options = holder === "dead" ? { pid: 3 } : { pid: 3, host: "host-2" }
              if (holder === "silent") yield* advance(31)
              const exit = yield* Effect.exit(recover(world, by, options))
              assert.isTrue(Exit.isSuccess(exit), String(exit))
              const after = yield* isSound(world, before.id)
              const { on, state } = led(by, line)
              assert.deepInclude(after, { provider: on, state, claim: null })
              if (by === "gc") yield* gc({}).pipe(as(world, { pid: 4 }))
              yield* isWell(world, before.id, work, 5)
              assert.isAtMost(world.cloud.created, 2)
            })
          )
        }
      }
    }

    if (!real) {
      it.effect("I-35 wherever a switch dies, what status recommends brings the session to one provider", () =>
        Effect.gen(function* () {
          const points = new Points()
          const whole = yield* make(database)
          yield* ready(whole)
          yield* move(whole, "b", { points })
          const names = new Set(points.passed)
          assert.isAtLeast(names.size, 25)
          for (const point of names) {
            yield* Effect.scoped(
              Effect.gen(function* () {
                const { before, world } = yield* cut(database, { ending: "kill", point, real })
                yield* isSound(world, before.id)
                for (let step = 0; step < 3; step++) {
                  const { recovery } = yield* status({ session: "work" }).pipe(as(world))
                  if (recovery === null) break
                  const [, verb] = recovery.command.split(" ")
                  yield* recover(world, verb as Recovery, { pid: 3 })
                  yield* isSound(world, before.id)
                }
                assert.deepInclude(yield* row(world, before.id), { state: "ready", claim: null }, point)
                yield* isWell(world, before.id, undefined, 4)
              })
            )
          }
        })
      )
    }
  })
}
