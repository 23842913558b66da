/** The ledger on a PostgreSQL whose wire is cut, and which goes away. */
import { randomUUID } from "node:crypto"
import { PgClient } from "@effect/sql-pg"
import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, Fiber, Layer, Option, Redacted, type Scope } from "effect"
import { SqlClient } from "effect/sql"
import { TestClock } from "effect/testing"
import { inject } from "vitest"
import { bracket, Timings } from "../src/Claim.ts"
import { Ledger } from "../src/Ledger.ts"
import * as Lifecycle from "../src/Lifecycle.ts"
import * as PostgresClient from "../src/node/PostgresClient.ts"
import { Checkpoint, Intent, Prior, type Session } from "../src/Session.ts"
import * as SqlLedger from "../src/SqlLedger.ts"
import { type Cut, type Proxy, proxied } from "./support/postgresProxy.ts"
import { claim, ids, operation, reservation } from "./support/world.ts"

const server = inject("postgres") ?? ""

type Store = Ledger["Service"]

interface World {
  readonly proxy: Proxy
  /** The ledger by way of the proxy. */
  readonly store: Store
  /** The same by a way of its own: what another program has. */
  readonly other: Store
  readonly sql: SqlClient.SqlClient
}

/** How a ledger gets its connections, all of which see one schema. */
type Connect = (url: string, search_path: string) => Layer.Layer<SqlClient.SqlClient, unknown>

const plainly: Connect = (url, search_path) =>
  PgClient.layer({ url: Redacted.make(url), maxConnections: 4, startupParameters: { search_path } })

/** As the program does it, only that less is waited for. */
const impatiently: Connect = (url, search_path) => {
  const own = new URL(url)
  own.searchParams.set("options", `-c search_path=${search_path}`)
  return PostgresClient.layer(own.href, {
    abandoned: Duration.millis(600),
    locked: Duration.millis(2000),
    silent: Duration.millis(3000)
  })
}

/** A fresh ledger. */
const worldBy = Effect.fnUntraced(function* (connect: Connect): Effect.fn.Return<World, unknown, Scope.Scope> {
  const search_path = `t${randomUUID().replaceAll("-", "")}`
  const client = (url: string) => Layer.fresh(connect(url, search_path))
  const sql = yield* Effect.flatMap(Layer.build(client(server)), (context) =>
    Effect.provide(SqlClient.SqlClient, context)
  )
  yield* sql`CREATE SCHEMA ${sql(search_path)}`
  const ledger = (url: string) =>
    SqlLedger.layer({ where: "test", mayInitialise: true }).pipe(
      Layer.provide([Layer.fresh(ids), client(url)]),
      Layer.fresh,
      Layer.build,
      Effect.flatMap((context) => Effect.provide(Ledger, context))
    )
  const proxy = yield* proxied(server)
  return { proxy, sql, store: yield* ledger(proxy.url), other: yield* ledger(server) }
})

const world = worldBy(plainly)

const tables = ["sessions", "operations", "events", "intents", "orphans", "checkpoints", "ports"]

/** Every row that there is, with what the write left for itself to be known by. */
const dump = ({ sql }: World) =>
  Effect.map(
    Effect.forEach(tables, (table) => sql<object>`SELECT * FROM ${sql(table)} ORDER BY 1, 2`),
    (found) => Object.fromEntries(tables.map((table, at) => [table, found[at]?.map((row) => ({ ...row }))]))
  )

const id = "sbx_00000000000000000000000001"
const [up, down, resume] = [operation("up"), operation("down"), operation("resume")]
const reserved = { ...reservation(id), operation: up, slot: { scope: "here", max: 3 } }
const fence = { sessionId: id, token: reserved.claim.token, operationId: up.id }
const held = { ...fence, token: "t-down", operationId: down.id }
const move = (from: Lifecycle.State, to: Lifecycle.State, by: Lifecycle.ClaimKind) => Lifecycle.move({ from, to, by })
const priorOf = ({ generation, instance, provider, state }: Session) =>
  new Prior({ state, provider, instance, generation })

const ready = Effect.fnUntraced(function* (store: Store) {
  yield* store.reserve(reserved)
  yield* store.commit({ ...fence, change: { move: move("requested", "provisioning", "up") } })
  yield* store.commit({ ...fence, change: { move: move("provisioning", "syncing", "up") } })
  const result = { done: true }
  return yield* store.commit({
    ...fence,
    change: { move: move("syncing", "ready", "up"), release: true, outcome: { status: "succeeded", result } }
  })
})

const taken = (store: Store, observed: Session, token: string, request: typeof down) =>
  store.acquire({
    observed,
    claim: claim(token, "down", { prior: priorOf(observed), exporting: "main" }),
    operation: request,
    force: false
  })

const halting = Effect.fnUntraced(function* (store: Store) {
  return yield* taken(store, yield* ready(store), held.token, down)
})

const destroyed = Effect.fnUntraced(function* (world: World) {
  const row = yield* ready(world.store)
  yield* world.sql`UPDATE sessions SET state = 'destroyed' WHERE id = ${id}`
  return { ...row, state: "destroyed" } as Session
})

const intent = new Intent({
  ...{ key: `${id}.g1`, sessionId: id, generation: 1, provider: "memory", scope: "here", name: "box" },
  ...{ status: "open", deadline: 10, createdAt: 0 }
})
const checkpoint = new Checkpoint({
  ...{ id: "ckp_1", sessionId: id, digest: "d", bytes: 3, verified: true, reason: "down", head: null },
  ...{ fingerprint: null, files: 1, compacted: 0, persistedAt: 7 }
})

/** What is done while the wire is cut; the effect before it prepares. */
const writes: Readonly<Record<string, (world: World) => Effect.Effect<Effect.Effect<unknown, unknown>, unknown>>> = {
  reserve: ({ store }) => Effect.succeed(store.reserve(reserved)),
  "acquire of a free session": ({ store }) => Effect.map(ready(store), (row) => taken(store, row, held.token, down)),
  "acquire of a dead program's": ({ store }) =>
    Effect.map(halting(store), (row) =>
      Effect.andThen(TestClock.adjust("31 seconds"), taken(store, row, "t-resume", resume))
    ),
  commit: ({ store }) =>
    Effect.as(
      halting(store),
      store.commit({
        ...held,
        change: {
          phase: "p",
          set: { commit: "c0ffee", ports: { web: 3000 } },
          intents: [intent],
          checkpoint,
          events: [{ type: "noted", data: { n: 1 } }]
        }
      })
    ),
  "commit that releases": ({ store }) =>
    Effect.as(
      halting(store),
      store.commit({ ...held, change: { release: true, outcome: { status: "succeeded", result: { done: 1 } } } })
    ),
  "commit that releases and says no outcome": ({ store }) =>
    Effect.as(halting(store), store.commit({ ...held, change: { release: true } })),
  renew: ({ store }) =>
    Effect.as(
      halting(store),
      Effect.andThen(TestClock.adjust("10 seconds"), store.renew({ ...held, lease: 30_000, exporting: "main" }))
    ),
  purge: (world) => Effect.map(destroyed(world), (row) => world.store.purge(row))
}

/** The same write in a world that is left alone, and in one whose wire is cut. */
const compared = Effect.fnUntraced(function* (write: keyof typeof writes, cut: Cut, connect = plainly) {
  const run = Effect.fnUntraced(function* (prepare: (world: World) => void) {
    const here = yield* worldBy(connect)
    const act = yield* writes[write]!(here)
    prepare(here)
    const answer = yield* Effect.exit(act)
    return { answer, rows: yield* dump(here), cuts: here.proxy.cuts() }
  })
  const alone = yield* run(() => {})
  // every run's clock starts at the same time
  yield* TestClock.setTime(0)
  const disturbed = yield* run(({ proxy }) => proxy.arm(cut))
  assert.deepStrictEqual([alone.cuts, disturbed.cuts], [0, 1])
  assert.strictEqual(alone.answer._tag, "Success")
  assert.deepStrictEqual({ ...disturbed, cuts: 0 }, { ...alone, cuts: 0 })
})

/** Lets time pass, some twenty times as fast as it does, while real sockets do their part, until the effect has ended. */
const through = Effect.fnUntraced(function* <A, E>(effect: Effect.Effect<A, E>) {
  const fiber = yield* Effect.forkChild(Effect.exit(effect))
  while (fiber.pollUnsafe() === undefined) {
    yield* TestClock.adjust("20 millis")
    yield* Effect.promise(() => new Promise((resolve) => setTimeout(resolve, 1)))
  }
  return yield* yield* Fiber.join(fiber)
})

/** Until somebody waits for a lock that somebody else has. */
const waits = ({ sql }: World) =>
  Effect.gen(function* () {
    const [schema] = yield* sql<{ readonly oid: number }>`SELECT 'sessions'::regclass::oid::int AS oid`
    while (true) {
      const [row] = yield* sql<{ readonly waiting: unknown }>`SELECT count(*) AS waiting FROM pg_locks WHERE NOT granted
        AND pid IN (SELECT pid FROM pg_locks WHERE relation = ${schema!.oid})`
      if (Number(row?.waiting) > 0) return
    }
  })

describe.skipIf(server === "")("a PostgreSQL whose connection is cut", () => {
  for (const write of Object.keys(writes)) {
    const statement = write === "renew" ? /claim_renewed_at/ : /^COMMIT/
    for (const at of ["request", "answer"] as const) {
      it.effect(`I-20 has done a ${write} once when the ${at} of its last word was lost`, () =>
        compared(write, { statement, at })
      )
    }
    if (write === "renew") continue
    it.effect(`I-20 has done a ${write} once when the connection ended in the middle of it`, () =>
      compared(write, { statement: /(INTO|UPDATE|FROM) (operations|events)/, at: "answer" })
    )
  }

  for (const write of ["reserve", "acquire of a free session", "commit", "commit that releases"]) {
    it.effect(`I-20 has done a ${write} once when its last word arrives after it was asked for`, () =>
      Effect.gen(function* () {
        const alone = yield* world
        const expected = [yield* yield* writes[write]!(alone), yield* dump(alone)]
        yield* TestClock.setTime(0)
        const here = yield* world
        const act = yield* writes[write]!(here)
        here.proxy.arm({ statement: /^COMMIT/, at: "late" })
        const fiber = yield* Effect.forkChild(act)
        yield* waits(here)
        here.proxy.deliver()
        assert.deepStrictEqual([yield* Fiber.join(fiber), yield* dump(here)], expected)
      })
    )
  }

  for (const write of ["acquire of a free session", "commit that releases"]) {
    it.effect(`I-20 has done a ${write} once when its last word fell into silence`, () =>
      compared(write, { statement: /^COMMIT/, at: "silence" }, impatiently)
    )
  }

  for (const [write, statement] of [
    ["commit", /INTO events/],
    ["renew", /claim_renewed_at/]
  ] as const) {
    it.effect(`I-20 has done a ${write} once when the connection fell silent in the middle of it`, () =>
      compared(write, { statement, at: "silence" }, impatiently)
    )
  }

  it.effect("does not wait for ever for a server of which nothing is heard, and says what it does not know", () =>
    Effect.gen(function* () {
      const { proxy, store } = yield* worldBy(impatiently)
      yield* halting(store)
      proxy.arm({ statement: /^COMMIT/, at: "silence" })
      proxy.onCut(() => proxy.mute(true))
      const change = { events: [{ type: "noted", data: {} }] }
      const failed = yield* through(Effect.flip(store.commit({ ...held, change })))
      if (failed._tag !== "SandboxError") return assert.fail(failed._tag)
      assert.deepInclude(failed, { code: "ERR_LEDGER_IO", retryable: true })
      assert.deepStrictEqual(failed.details, { ledger: "test", operation: "commit", outcome: "unknown" })
      const read = yield* through(Effect.flip(store.session(id)))
      assert.strictEqual(read.code, "ERR_LEDGER_IO")
      proxy.mute(false)
      assert.strictEqual(Option.getOrThrow(yield* store.session(id)).claim?.token, held.token)
    })
  )

  it.live("is found to have done a release although somebody has claimed and written since", () =>
    Effect.gen(function* () {
      const here = yield* world
      const { other, proxy, store } = here
      yield* halting(store)
      proxy.refuse(true)
      proxy.arm({ statement: /^COMMIT/, at: "answer" })
      const released = store.commit({
        ...held,
        change: { release: true, set: { commit: "ours" }, outcome: { status: "succeeded", result: null } }
      })
      const fiber = yield* Effect.forkChild(released)
      while (proxy.cuts() === 0) yield* Effect.promise(() => new Promise((resolve) => setImmediate(resolve)))
      const free = Option.getOrThrow(yield* other.session(id))
      assert.isNull(free.claim)
      yield* taken(other, free, "t-resume", resume)
      const theirs = { sessionId: id, token: "t-resume", operationId: resume.id }
      yield* other.commit({ ...theirs, change: { set: { commit: "theirs" }, events: [{ type: "noted", data: {} }] } })
      const before = yield* dump(here)
      proxy.refuse(false)
      const row = yield* Fiber.join(fiber)
      assert.deepStrictEqual([row.commit, row.version, row.claim], ["ours", free.version, null])
      assert.deepStrictEqual(yield* dump(here), before)
    })
  )

  it.live("is never done to a claim that somebody else has taken since", () =>
    Effect.gen(function* () {
      const here = yield* world
      const { other, proxy, store } = here
      const row = yield* halting(store)
      proxy.refuse(true)
      proxy.arm({ statement: /^COMMIT/, at: "request" })
      const fiber = yield* Effect.forkChild(Effect.flip(store.commit({ ...held, change: { set: { commit: "late" } } })))
      while (proxy.cuts() === 0) yield* Effect.promise(() => new Promise((resolve) => setImmediate(resolve)))
      yield* other.acquire({ observed: row, claim: claim("t-resume", "resume"), operation: resume, force: true })
      const before = yield* dump(here)
      proxy.refuse(false)
      assert.strictEqual((yield* Fiber.join(fiber))._tag, "ClaimLost")
      assert.deepStrictEqual(yield* dump(here), before)
    })
  )

  it.effect("says that the outcome is unknown when the server stays away, and so does nothing twice", () =>
    Effect.gen(function* () {
      const here = yield* world
      const { proxy, store } = here
      yield* halting(store)
      proxy.arm({ statement: /^COMMIT/, at: "answer" })
      proxy.onCut(() => proxy.refuse(true))
      const change = { events: [{ type: "noted", data: {} }] }
      const failed = yield* through(Effect.flip(store.commit({ ...held, change })))
      if (failed._tag !== "SandboxError") return assert.fail(failed._tag)
      assert.deepInclude(failed, { code: "ERR_LEDGER_IO", retryable: true })
      assert.deepStrictEqual(failed.details, { ledger: "test", operation: "commit", outcome: "unknown" })
      const again = yield* through(Effect.flip(store.commit({ ...held, change })))
      assert.isTrue(again._tag === "SandboxError" && again.details?.["outcome"] === "not_applied")
      proxy.refuse(false)
      const { events } = yield* store.history(id)
      assert.strictEqual(events.filter(({ type }) => type === "noted").length, 1)
    })
  )

  /** A `down` whose last word is lost, and after which nobody can connect for a while; what it would undo. */
  const doubted = Effect.fnUntraced(function* ({ proxy, store }: World, away: Duration.Input) {
    const row = yield* ready(store)
    const undone: Array<string> = []
    const request = claim(held.token, "down", { prior: priorOf(row) })
    const work = bracket(
      {
        acquire: store.acquire({ observed: row, claim: request, operation: down, force: false }),
        claim: request,
        operationId: down.id
      },
      {
        verb: "down",
        use: (claimed) =>
          Effect.gen(function* () {
            yield* claimed.onRollback({ name: "it", run: Effect.sync(() => void undone.push("it")) })
            proxy.arm({ statement: /^COMMIT/, at: "answer" })
            proxy.onCut(() => proxy.refuse(true))
            yield* Effect.forkDetach(
              Effect.andThen(
                Effect.sleep(away),
                Effect.sync(() => proxy.refuse(false))
              )
            )
            return { result: "done", change: { outcome: { status: "succeeded" as const, result: null } } }
          }),
        settle: () => Effect.succeed({})
      }
    ).pipe(Effect.provideService(Ledger, store))
    return { work, undone }
  })

  it.effect("has nothing undone by an operation that cannot know whether it has ended well", () =>
    Effect.gen(function* () {
      const here = yield* world
      const { undone, work } = yield* doubted(here, "1 hour")
      const failed = yield* through(Effect.flip(work))
      assert.deepInclude(failed, { code: "ERR_RECOVERY_REQUIRED", sessionId: id })
      assert.deepStrictEqual(undone, [])
      const now = Option.getOrThrow(yield* here.other.session(id))
      assert.deepStrictEqual([now.state, now.claim], ["ready", null])
    })
  )

  for (const [when, away] of [
    ["while it is asked for and the claim is renewed", "3 seconds"],
    ["only after it was given up", "13 seconds"]
  ] as const) {
    it.effect(`is told that it has ended well when the server comes back ${when}`, () =>
      Effect.gen(function* () {
        const here = yield* world
        const { undone, work } = yield* doubted(here, away)
        const timings = { ...(yield* Timings), renewal: Duration.seconds(1) }
        assert.strictEqual(yield* through(Effect.provideService(work, Timings, timings)), "done")
        assert.deepStrictEqual(undone, [])
      })
    )
  }

  it.live("does not purge what somebody has claimed between the look and the act", () =>
    Effect.gen(function* () {
      const here = yield* world
      const row = yield* destroyed(here)
      const history = yield* here.other.history(id)
      const purging = yield* here.sql.withTransaction(
        Effect.gen(function* () {
          yield* here.sql`UPDATE sessions SET version = version + 1, claim_token = 'theirs' WHERE id = ${id}`
          const fiber = yield* Effect.forkDetach(here.store.purge(row))
          yield* waits(here)
          return fiber
        })
      )
      assert.isFalse(yield* Fiber.join(purging))
      assert.deepStrictEqual(yield* here.other.history(id), history)
    })
  )

  it.live("is read and written again when every connection that was idle is dead", () =>
    Effect.gen(function* () {
      const { proxy, store } = yield* world
      yield* ready(store)
      yield* Effect.all(
        Array.from({ length: 4 }, () => store.history(id)),
        { concurrency: "unbounded" }
      )
      proxy.cutAll()
      assert.strictEqual(Option.getOrThrow(yield* store.session(id)).state, "ready")
      proxy.cutAll()
      yield* taken(store, Option.getOrThrow(yield* store.session(id)), held.token, down)
      proxy.arm({ statement: /SELECT \* FROM sessions/, at: "request" })
      assert.strictEqual(Option.getOrThrow(yield* store.session(id)).claim?.token, held.token)
      assert.strictEqual(proxy.cuts(), 1)
    })
  )

  it.live("is made a ledger once by 8 programs that open it in the same moment", () =>
    Effect.gen(function* () {
      const search_path = `t${randomUUID().replaceAll("-", "")}`
      const client = Layer.fresh(PgClient.layer({ url: Redacted.make(server), startupParameters: { search_path } }))
      const context = yield* Layer.build(client)
      yield* Effect.provide(
        SqlClient.SqlClient.use((sql) => sql`CREATE SCHEMA ${sql(search_path)}`),
        context
      )
      const open = Effect.suspend(() =>
        Layer.build(
          Layer.fresh(
            SqlLedger.layer({ where: "test", mayInitialise: true }).pipe(Layer.provide([Layer.fresh(ids), client]))
          )
        )
      ).pipe(
        Effect.flatMap((built) => Effect.provide(Ledger, built)),
        Effect.map((store) => store.id)
      )
      const opened = yield* Effect.all(
        Array.from({ length: 8 }, () => open),
        { concurrency: "unbounded" }
      )
      assert.strictEqual(new Set(opened).size, 1)
    })
  )
})
