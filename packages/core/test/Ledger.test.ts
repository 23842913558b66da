import { assert, describe, layer } from "@effect/vitest"
import { Effect, Exit, Layer, Option } from "effect"
import { SqlClient } from "effect/sql"
import { TestClock } from "effect/testing"
import { Ledger } from "../src/Ledger.ts"
import * as Lifecycle from "../src/Lifecycle.ts"
import { Checkpoint, InstanceRef, Intent, Orphan, Prior, type Session } from "../src/Session.ts"
import * as SqlLedger from "../src/SqlLedger.ts"
import { databases } from "./support/databases.ts"
import { claim, ids, operation, reservation } from "./support/world.ts"

const ledger = SqlLedger.layer({ where: "test", mayInitialise: true }).pipe(Layer.provide(ids))

let sessions = 0
const freshId = () => {
  sessions += 1
  return `sbx_${String(sessions).padStart(26, "0")}`
}

const priorOf = (session: Session) =>
  new Prior({
    state: session.state,
    provider: session.provider,
    instance: session.instance,
    generation: session.generation
  })

const move = (from: Lifecycle.State, to: Lifecycle.State, by: Lifecycle.ClaimKind, prior?: Lifecycle.State) =>
  Lifecycle.move({ from, to, by, prior })

/** A session that is `ready` and unclaimed, by the moves of an up. */
const readySession = Effect.fnUntraced(function* (more: Parameters<typeof reservation>[1] = {}) {
  const store = yield* Ledger
  const id = freshId()
  const reserved = reservation(id, more)
  yield* store.reserve(reserved)
  const fence = { sessionId: id, token: reserved.claim.token, operationId: reserved.operation.id }
  for (const [from, to] of [
    ["requested", "provisioning"],
    ["provisioning", "syncing"]
  ] as const) {
    yield* store.commit({ ...fence, change: { move: move(from, to, "up") } })
  }
  return yield* store.commit({
    ...fence,
    change: {
      move: move("syncing", "ready", "up"),
      release: true,
      outcome: { status: "succeeded", result: { done: true } }
    }
  })
})

const acquisition = (observed: Session, token: string, kind: Lifecycle.ClaimKind = "down") => ({
  observed,
  claim: claim(token, kind, { prior: priorOf(observed) }),
  operation: operation(kind),
  force: false
})

for (const database of databases) {
  describe(`the ledger on ${database.name}`, () => {
    layer(ledger.pipe(Layer.provideMerge(database.layer)), { timeout: "60 seconds" })((it) => {
      it.effect("reads back what was reserved, as it was written (I-82)", () =>
        Effect.gen(function* () {
          const store = yield* Ledger
          const id = freshId()
          const written = yield* store.reserve(reservation(id))
          const read = Option.getOrThrow(yield* store.session(id))
          assert.deepStrictEqual(read, written)
          assert.strictEqual(read.state, "requested")
          assert.strictEqual(read.claim?.token, `token-${id}`)
          assert.isNull(read.claim?.prior ?? null)
          assert.strictEqual(read.version, 1)
          const history = yield* store.history(id)
          assert.deepStrictEqual(
            history.events.map(({ data, seq, type }) => ({ seq, type, data })),
            [{ seq: 1, type: "transition", data: { from: null, to: "requested" } }]
          )
          assert.deepStrictEqual(
            history.operations.map(({ attempt, status, verb }) => ({ attempt, status, verb })),
            [{ attempt: 1, status: "running", verb: "up" }]
          )
        })
      )

      it.effect("gives a name to one live session of an owner", () =>
        Effect.gen(function* () {
          const store = yield* Ledger
          const [first, second, foreign] = [freshId(), freshId(), freshId()]
          yield* store.reserve(reservation(first, { name: "api" }))
          const refused = yield* Effect.flip(store.reserve(reservation(second, { name: "api" })))
          assert.strictEqual(refused._tag, "NameTaken")
          assert.isTrue(refused._tag === "NameTaken" && refused.holder.id === first)
          assert.isTrue(Option.isNone(yield* store.session(second)))
          yield* store.reserve(reservation(foreign, { name: "api", owner: "bob" }))
        })
      )

      it.effect("gives one of 20 concurrent reservations the name, and the others its holder", () =>
        Effect.gen(function* () {
          const store = yield* Ledger
          const exits = yield* Effect.forEach(
            Array.from({ length: 20 }, freshId),
            (id) => Effect.exit(store.reserve(reservation(id, { name: "contended" }))),
            { concurrency: "unbounded" }
          )
          assert.strictEqual(exits.filter(Exit.isSuccess).length, 1)
          const { sessions } = yield* store.sessions({ owner: "ann", reference: "contended" })
          assert.strictEqual(sessions.length, 1)
        })
      )

      it.effect("I-27 knows a client request id per owner and verb", () =>
        Effect.gen(function* () {
          const store = yield* Ledger
          const first = reservation(freshId(), {}, "k1")
          yield* store.reserve(first)
          const again = yield* Effect.flip(store.reserve(reservation(freshId(), {}, "k1")))
          assert.isTrue(again._tag === "RequestKnown" && again.operation.id === first.operation.id)
          yield* store.reserve(reservation(freshId(), { owner: "bob" }, "k1"))
          const known = yield* store.request({ owner: "ann", verb: "up", clientRequestId: "k1" })
          assert.strictEqual(Option.getOrThrow(known).id, first.operation.id)
          assert.isTrue(Option.isNone(yield* store.request({ owner: "ann", verb: "down", clientRequestId: "k1" })))
        })
      )

      it.effect("I-7 lets exactly one of 20 concurrent claims win", () =>
        Effect.gen(function* () {
          const store = yield* Ledger
          const session = yield* readySession()
          const exits = yield* Effect.forEach(
            Array.from({ length: 20 }, (_, n) => `w${n}-${session.id}`),
            (token) => Effect.exit(store.acquire(acquisition(session, token))),
            { concurrency: "unbounded" }
          )
          const winners = exits.filter(Exit.isSuccess)
          assert.strictEqual(winners.length, 1)
          const row = Option.getOrThrow(yield* store.session(session.id))
          assert.deepStrictEqual(row, winners[0]!.value)
          const { operations } = yield* store.history(session.id)
          assert.strictEqual(operations.filter(({ verb }) => verb === "down").length, 1)
        })
      )

      it.effect("I-5b changes only the claim and the state when it is taken", () =>
        Effect.gen(function* () {
          const store = yield* Ledger
          const session = yield* readySession()
          const claimed = yield* store.acquire({
            ...acquisition(session, `t-${session.id}`),
            move: move("ready", "stopping", "down")
          })
          const { claim: held, state, updatedAt: _, version, ...after } = claimed
          const { claim: __, state: ___, updatedAt: ____, version: _____, ...before } = session
          assert.deepStrictEqual(after, before)
          assert.strictEqual(state, "stopping")
          assert.strictEqual(version, session.version + 1)
          assert.deepStrictEqual(held?.prior, priorOf(session))
        })
      )

      it.effect("I-4 fences the holder's writes by the claim's token, whatever the state is called", () =>
        Effect.gen(function* () {
          const store = yield* Ledger
          const session = yield* readySession()
          const first = yield* store.acquire(acquisition(session, `a-${session.id}`))
          yield* TestClock.adjust("31 seconds")
          const second = yield* store.acquire(acquisition(first, `b-${session.id}`))
          const late = yield* Effect.flip(
            store.commit({
              sessionId: session.id,
              token: `a-${session.id}`,
              operationId: first.claim!.operationId,
              change: { set: { commit: "late" }, events: [{ type: "late", data: {} }], release: true }
            })
          )
          assert.strictEqual(late._tag, "ClaimLost")
          assert.deepStrictEqual(Option.getOrThrow(yield* store.session(session.id)), second)
          const { events, operations } = yield* store.history(session.id)
          assert.isFalse(events.some(({ type }) => type === "late"))
          assert.isTrue(events.some(({ type }) => type === "claim_taken_over"))
          assert.strictEqual(operations.find(({ id }) => id === first.claim!.operationId)?.status, "abandoned")
        })
      )

      it.effect("renews a lease without touching the version, and not for a claim that is gone", () =>
        Effect.gen(function* () {
          const store = yield* Ledger
          const session = yield* readySession()
          const held = yield* store.acquire(acquisition(session, `r-${session.id}`))
          yield* TestClock.adjust("10 seconds")
          const renewal = { sessionId: session.id, operationId: held.claim!.operationId, lease: 30_000 }
          yield* store.renew({ ...renewal, token: `r-${session.id}` })
          const row = Option.getOrThrow(yield* store.session(session.id))
          assert.strictEqual(row.version, held.version)
          assert.strictEqual(row.claim!.leaseUntil, held.claim!.leaseUntil + 10_000)
          const lost = yield* Effect.flip(store.renew({ ...renewal, token: "other" }))
          assert.strictEqual(lost._tag, "ClaimLost")
        })
      )

      it.effect("I-11 does not take a claim over that was renewed after it was judged stale", () =>
        Effect.gen(function* () {
          const store = yield* Ledger
          const session = yield* readySession()
          const held = yield* store.acquire(acquisition(session, `s-${session.id}`))
          yield* TestClock.adjust("31 seconds")
          yield* store.renew({
            sessionId: session.id,
            token: `s-${session.id}`,
            operationId: held.claim!.operationId,
            lease: 30_000
          })
          const refused = yield* Effect.flip(store.acquire(acquisition(held, `x-${session.id}`)))
          assert.strictEqual(refused._tag, "ClaimConflict")
          yield* store.acquire({ ...acquisition(held, `f-${session.id}`), force: true })
        })
      )

      it.effect("commits everything of a change together", () =>
        Effect.gen(function* () {
          const store = yield* Ledger
          const session = yield* readySession()
          const held = yield* store.acquire(acquisition(session, `c-${session.id}`))
          const key = `${session.id}.g1`
          const intent = new Intent({
            key,
            sessionId: session.id,
            generation: 1,
            provider: "memory",
            scope: "here",
            name: "box",
            status: "open",
            deadline: 10,
            createdAt: 0
          })
          const ref = new InstanceRef({
            version: 1,
            provider: "memory",
            scope: "here",
            key,
            id: "i1",
            data: { a: [1] }
          })
          const orphan = new Orphan({
            id: `orp-${session.id}`,
            sessionId: session.id,
            operationId: held.claim!.operationId,
            provider: "memory",
            scope: "here",
            ref,
            key,
            reason: "retired",
            checkpoint: "ckp_it",
            workspacePath: "/where/it/was",
            createdAt: 5,
            resolvedAt: null
          })
          const checkpoint = new Checkpoint({
            id: `ckp-${session.id}`,
            sessionId: session.id,
            digest: "d",
            bytes: 3,
            verified: true,
            reason: "down",
            head: "c0ffee",
            fingerprint: "f",
            files: 2,
            compacted: 0,
            persistedAt: 7
          })
          const fence = { sessionId: session.id, token: `c-${session.id}`, operationId: held.claim!.operationId }
          const row = yield* store.commit({
            ...fence,
            change: {
              phase: "p1",
              set: { instance: ref, generation: 1, cleanupRequired: true, lastError: null },
              intents: [intent],
              orphans: [orphan],
              checkpoint,
              events: [{ type: "noted", data: { n: 1 } }]
            }
          })
          assert.deepStrictEqual(row.instance, ref)
          assert.strictEqual(row.claim?.phase, "p1")
          assert.isTrue(row.cleanupRequired)
          const history = yield* store.history(session.id)
          assert.deepStrictEqual(history.intents, [intent])
          assert.deepStrictEqual(history.orphans, [orphan])
          assert.deepStrictEqual(history.checkpoints, [checkpoint])
          assert.isTrue((yield* store.openIntents).records.some((open) => open.key === key))
          assert.isTrue((yield* store.openOrphans).records.some((open) => open.id === orphan.id))

          // a checkpoint of a session that is not there cannot be: nothing else of that change may stay
          const foreign = new Checkpoint({ ...checkpoint, sessionId: "sbx_nobody" })
          const refused = yield* Effect.flip(
            store.commit({
              ...fence,
              change: { set: { commit: "half" }, checkpoint: foreign, events: [{ type: "half", data: {} }] }
            })
          )
          assert.isTrue(refused._tag === "SandboxError" && refused.code === "ERR_LEDGER_IO")
          assert.deepStrictEqual(Option.getOrThrow(yield* store.session(session.id)), row)
          assert.deepStrictEqual(yield* store.history(session.id), history)

          yield* store.commit({
            ...fence,
            change: {
              intents: [new Intent({ ...intent, status: "closed" })],
              orphans: [new Orphan({ ...orphan, resolvedAt: 9 })],
              release: true
            }
          })
          assert.isFalse((yield* store.openIntents).records.some((open) => open.key === key))
          assert.isFalse((yield* store.openOrphans).records.some((open) => open.id === orphan.id))
        })
      )

      it.effect("I-60 the export lock is taken, renewed and dropped with the claim, by one write each", () =>
        Effect.gen(function* () {
          const store = yield* Ledger
          const session = yield* readySession()
          const wanted = acquisition(session, `e-${session.id}`, "export")
          const exporting = { ...wanted, claim: { ...wanted.claim, exporting: "topic" } }
          const locked = yield* store.acquire(exporting)
          const operationId = locked.claim!.operationId
          assert.deepStrictEqual(
            { ...locked.exportLock },
            { operationId, branch: "topic", leaseUntil: locked.claim!.leaseUntil }
          )
          yield* TestClock.adjust("10 seconds")
          const fence = { sessionId: session.id, token: wanted.claim.token, operationId }
          yield* store.renew({ ...fence, lease: 30_000, exporting: "topic" })
          const renewed = Option.getOrThrow(yield* store.session(session.id))
          assert.strictEqual(renewed.exportLock?.leaseUntil, renewed.claim?.leaseUntil)
          assert.strictEqual(renewed.exportLock?.leaseUntil, locked.exportLock!.leaseUntil + 10_000)
          const working = yield* store.commit({ ...fence, change: { phase: "push" } })
          assert.deepStrictEqual(working.exportLock, renewed.exportLock)
          const released = yield* store.commit({ ...fence, change: { release: true } })
          assert.deepStrictEqual([released.exportLock, released.claim], [null, null])
        })
      )

      it.effect("I-66 an export lock that was renewed after the look refuses the claim, whatever is forced", () =>
        Effect.gen(function* () {
          const store = yield* Ledger
          const session = yield* readySession()
          const wanted = acquisition(session, `l-${session.id}`, "export")
          const locked = yield* store.acquire({ ...wanted, claim: { ...wanted.claim, exporting: "topic" } })
          const fence = { sessionId: session.id, token: wanted.claim.token, operationId: locked.claim!.operationId }
          yield* TestClock.adjust("31 seconds")
          yield* store.renew({ ...fence, lease: 30_000, exporting: "topic" })
          const before = [yield* store.session(session.id), yield* store.history(session.id)]
          const destroying = acquisition(locked, `d-${session.id}`, "destroy")
          const refused = yield* Effect.flip(store.acquire({ ...destroying, force: true }))
          assert.isTrue(
            refused._tag === "ClaimConflict" &&
              refused.current?.exportLock?.leaseUntil === locked.exportLock!.leaseUntil + 31_000
          )
          assert.deepStrictEqual([yield* store.session(session.id), yield* store.history(session.id)], before)
          // one that nobody renews any more goes with its claim
          const observed = Option.getOrThrow(yield* store.session(session.id))
          yield* TestClock.adjust("31 seconds")
          const taken = yield* store.acquire({ ...acquisition(observed, `d-${session.id}`, "destroy"), force: false })
          assert.deepStrictEqual([taken.claim?.token, taken.exportLock], [`d-${session.id}`, null])
          const late = yield* Effect.flip(store.renew({ ...fence, lease: 30_000, exporting: "topic" }))
          assert.strictEqual(late._tag, "ClaimLost")
          assert.deepStrictEqual(Option.getOrThrow(yield* store.session(session.id)), taken)
        })
      )

      it.effect(
        "I-61 an export lock outlives the claim that is taken from its operation, until its lease is over",
        () =>
          Effect.gen(function* () {
            const store = yield* Ledger
            const session = yield* readySession()
            const wanted = acquisition(session, `l-${session.id}`, "export")
            const locked = yield* store.acquire({ ...wanted, claim: { ...wanted.claim, exporting: "topic" } })
            const clearing = acquisition(locked, `g-${session.id}`, "gc")
            const taken = yield* store.acquire({ ...clearing, force: true })
            const fence = { sessionId: session.id, token: clearing.claim.token, operationId: clearing.operation.id }
            const released = yield* store.commit({ ...fence, change: { release: true } })
            assert.deepStrictEqual([taken.exportLock, released.exportLock], [locked.exportLock, locked.exportLock])
            yield* TestClock.adjust("30 seconds")
            // the next export has one of its own
            const next = acquisition(released, `n-${session.id}`, "export")
            const again = yield* store.acquire({ ...next, claim: { ...next.claim, exporting: "other" } })
            assert.strictEqual(again.exportLock?.branch, "other")
          })
      )

      it.effect("finds a checkpoint by its id or a prefix of its own, and forgets those that are removed", () =>
        Effect.gen(function* () {
          const store = yield* Ledger
          const [session, foreign] = [yield* readySession(), yield* readySession()]
          const of = (id: string, sessionId: string) =>
            new Checkpoint({
              ...{ id, sessionId, digest: "d", bytes: 1, verified: true, reason: "request", head: null },
              ...{ fingerprint: null, files: 0, compacted: 0, persistedAt: 1 }
            })
          const name = `ckp_${session.id}`
          // a whole id is its own, however many go on from it, and whichever was there first
          const kept = new Map(["a2", "a1", "a", "b"].map((end) => [`${name}${end}`, of(`${name}${end}`, session.id)]))
          const held = yield* store.acquire(acquisition(session, `p-${session.id}`))
          const fence = { sessionId: session.id, token: `p-${session.id}`, operationId: held.claim!.operationId }
          for (const checkpoint of kept.values()) yield* store.commit({ ...fence, change: { checkpoint } })
          const theirs = yield* store.acquire(acquisition(foreign, `p-${foreign.id}`))
          const other = { sessionId: foreign.id, token: `p-${foreign.id}`, operationId: theirs.claim!.operationId }
          yield* store.commit({ ...other, change: { checkpoint: of(`ckp_${foreign.id}z`, foreign.id) } })

          const found = (id: string) => Effect.map(store.checkpoint(id), (it) => Option.getOrNull(it)?.id ?? null)
          assert.strictEqual(yield* found(`${name}b`), `${name}b`)
          assert.strictEqual(yield* found(`${name}a1`), `${name}a1`)
          assert.strictEqual(yield* found(`${name}a`), `${name}a`)
          assert.isNull(yield* found(name))
          assert.isNull(yield* found("%"))
          assert.deepStrictEqual(Option.getOrNull(yield* store.checkpoint(`${name}b`)), kept.get(`${name}b`))

          // replaced as a whole when it is done again, and another session's is not ours to remove
          yield* store.commit({
            ...fence,
            change: { checkpoint: new Checkpoint({ ...kept.get(`${name}b`)!, bytes: 2 }) }
          })
          yield* store.commit({ ...fence, change: { removedCheckpoints: [`${name}a`, `ckp_${foreign.id}z`] } })
          const left = (yield* store.history(session.id)).checkpoints
          assert.deepStrictEqual(
            left.map(({ bytes, id }) => [id, bytes]),
            [
              [`${name}a1`, 1],
              [`${name}a2`, 1],
              [`${name}b`, 2]
            ]
          )
          assert.strictEqual((yield* store.history(foreign.id)).checkpoints.length, 1)
        })
      )

      it.effect("forgets a destroyed session of which nothing is left, and no other", () =>
        Effect.gen(function* () {
          const store = yield* Ledger
          const sql = yield* SqlClient.SqlClient
          const of = Effect.fnUntraced(function* (columns: Readonly<Record<string, unknown>> = {}) {
            const session = yield* readySession()
            yield* sql`UPDATE sessions SET ${sql.update({ state: "destroyed", ...columns })} WHERE id = ${session.id}`
            return Option.getOrThrow(yield* store.session(session.id))
          })
          const refused = [
            yield* of({ state: "failed" }),
            yield* of({ cleanup_required: 1 }),
            yield* Effect.tap(of(), (row) => store.acquire(acquisition(row, `g-${row.id}`, "destroy"))),
            yield* Effect.tap(
              of(),
              (
                row
              ) => sql`INSERT INTO intents (key, session_id, generation, provider, scope, name, status, deadline, created_at)
                VALUES (${`${row.id}.g1`}, ${row.id}, 1, 'memory', 'here', 'box', 'open', 1, 1)`
            ),
            yield* Effect.tap(
              of(),
              (row) => sql`INSERT INTO orphans (id, session_id, operation_id, provider, scope, key, reason, created_at)
                VALUES (${`orp-${row.id}`}, ${row.id}, 'op', 'memory', 'here', 'k', 'retired', 1)`
            ),
            yield* Effect.tap(
              of(),
              (row) => sql`INSERT INTO checkpoints (id, session_id, digest, bytes, verified, compacted, persisted_at)
                VALUES (${`ckp-${row.id}`}, ${row.id}, 'd', 1, 1, 0, 1)`
            )
          ]
          for (const [at, row] of refused.entries()) {
            const current = Option.getOrThrow(yield* store.session(row.id))
            assert.isFalse(yield* store.purge(current), `${at}`)
            assert.isNotEmpty((yield* store.history(row.id)).events)
          }
          const row = yield* of()
          assert.isFalse(yield* store.purge({ ...row, version: row.version - 1 } as Session))
          assert.isTrue(yield* store.purge(row))
          assert.isTrue(Option.isNone(yield* store.session(row.id)))
          const { events, operations } = yield* store.history(row.id)
          assert.deepStrictEqual([events, operations], [[], []])
          assert.isFalse(yield* store.purge(row))
          yield* sql`UPDATE intents SET status = 'closed' WHERE deadline = 1`
          yield* sql`UPDATE orphans SET resolved_at = 2 WHERE operation_id = 'op'`
        })
      )

      it.effect("keeps events as they were written", () =>
        Effect.gen(function* () {
          const sql = yield* SqlClient.SqlClient
          const session = yield* readySession()
          const exit = yield* Effect.exit(sql`UPDATE events SET type = 'forged' WHERE session_id = ${session.id}`)
          assert.isTrue(Exit.isFailure(exit))
          const { events } = yield* (yield* Ledger).history(session.id)
          assert.deepStrictEqual(
            events.map(({ seq, type }) => [seq, type]),
            [1, 2, 3, 4].map((seq) => [seq, "transition"])
          )
        })
      )

      it.effect("I-102 hides by the window only what has ended and left nothing", () =>
        Effect.gen(function* () {
          const store = yield* Ledger
          const sql = yield* SqlClient.SqlClient
          const owner = `window-${database.name}`
          const make = (state: string, more: Record<string, unknown> = {}) =>
            Effect.gen(function* () {
              const session = yield* readySession({ owner })
              yield* sql`UPDATE sessions SET ${sql.update({ state, updated_at: 1000, ...more })} WHERE id = ${session.id}`
              return session.id
            })
          const stuck = yield* make("provisioning")
          const stopped = yield* make("stopped")
          const leftover = yield* make("failed", { cleanup_required: 1 })
          yield* make("destroyed")
          yield* make("failed")
          const recent = yield* make("destroyed", { updated_at: 2000 })
          const shown = yield* store.sessions({ owner, endedAfter: 1500 })
          assert.sameMembers(
            shown.sessions.map(({ id }) => id),
            [stuck, stopped, leftover, recent]
          )
          assert.strictEqual((yield* store.sessions({ owner })).sessions.length, 6)
          assert.strictEqual((yield* store.sessions({ owner: "nobody" })).sessions.length, 0)
        })
      )

      it.effect("finds sessions by id, by the start of an id, and by the owner's name for them", () =>
        Effect.gen(function* () {
          const store = yield* Ledger
          const mine = yield* readySession({ owner: "finder", name: "wanted" })
          const theirs = yield* readySession({ owner: "other", name: "wanted" })
          const found = (reference: string) =>
            Effect.map(store.sessions({ owner: "finder", reference }), ({ sessions }) => sessions.map(({ id }) => id))
          assert.deepStrictEqual(yield* found("wanted"), [mine.id])
          assert.deepStrictEqual(yield* found(theirs.id), [theirs.id])
          assert.isTrue((yield* found(mine.id.slice(0, -1))).includes(mine.id))
          assert.deepStrictEqual(yield* found("sbx_zzz"), [])
          assert.deepStrictEqual(yield* found("%"), [])
        })
      )

      it.effect("I-20 shows every other row when one is damaged, and names that one", () =>
        Effect.gen(function* () {
          const store = yield* Ledger
          const sql = yield* SqlClient.SqlClient
          const owner = `damaged-${database.name}`
          const [good, bad] = [yield* readySession({ owner }), yield* readySession({ owner })]
          yield* sql`UPDATE sessions SET spec = '{broken' WHERE id = ${bad.id}`
          const page = yield* store.sessions({ owner })
          assert.deepStrictEqual(
            page.sessions.map(({ id }) => id),
            [good.id]
          )
          assert.deepStrictEqual(
            page.unreadable.map(({ id }) => id),
            [bad.id]
          )
          const intents = yield* store.openIntents
          yield* sql`INSERT INTO intents (key, session_id, generation, provider, scope, name, status, deadline, created_at)
            VALUES (${`${bad.id}.g9`}, ${bad.id}, 9, 'memory', '', 'box', 'open', 1, 1)`
          const withBad = yield* store.openIntents
          assert.deepStrictEqual(withBad.records, intents.records)
          assert.deepStrictEqual(
            withBad.unreadable.map(({ id }) => id),
            [`${bad.id}.g9`]
          )
          const refused = yield* Effect.flip(store.session(bad.id))
          assert.strictEqual(refused.code, "ERR_LEDGER_CORRUPT")
        })
      )

      it.effect("I-82 refuses a schema from the future, and keeps its id over restarts", () =>
        Effect.gen(function* () {
          const sql = yield* SqlClient.SqlClient
          const open = Effect.scoped(
            Effect.map(
              Layer.build(SqlLedger.layer({ where: "test", mayInitialise: false }).pipe(Layer.provide(ids))),
              () => "opened"
            )
          )
          assert.strictEqual(yield* open, "opened")
          yield* sql`UPDATE meta SET value = '99' WHERE name = 'schema_version'`
          const refused = yield* Effect.flip(open)
          assert.strictEqual(refused.code, "ERR_LEDGER_VERSION")
          yield* sql`UPDATE meta SET value = '1' WHERE name = 'schema_version'`
          const [row] = yield* sql<{ value: string }>`SELECT value FROM meta WHERE name = 'ledger_id'`
          assert.strictEqual(row?.value, (yield* Ledger).id)
        })
      )
    })
  })
}
