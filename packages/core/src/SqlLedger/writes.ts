/** The writes of a ledger: each one transaction that compares and sets, or changes nothing. */
import { Effect, Option, Result } from "effect"
import {
  type Acquisition,
  type Change,
  ClaimConflict,
  ClaimLost,
  type Ledger,
  NameTaken,
  type NewEvent,
  type OperationRequest,
  PortTaken,
  RequestKnown,
  type Reservation,
  type SlotRequest,
  SlotsExhausted
} from "../Ledger.ts"
import type { Session } from "../Session.ts"
import * as Time from "../Time.ts"
import { type Database, isUniqueViolation } from "./database.ts"
import * as Rows from "./rows.ts"

type Writes = Pick<Ledger["Service"], "reserve" | "acquire" | "renew" | "commit" | "purge">

export const make = (db: Database): Writes => {
  const { all, failure, first, repeatable, request, sql, transact } = db

  /** Locks what it reads, and so waits for a transaction that is still under way with it. */
  const forUpdate = sql.onDialectOrElse({ pg: () => sql` FOR UPDATE`, orElse: () => sql`` })

  let writes = 0
  /** By which one write of a claim is known again: the claim's token is its own, and one program counts for it. */
  const writeId = (token: string): string => {
    writes += 1
    return `${token}.${writes}`
  }

  const append = (sessionId: string, operationId: string, at: number, events: ReadonlyArray<NewEvent>) =>
    Effect.forEach(
      events,
      (event) =>
        sql`INSERT INTO events (session_id, seq, operation_id, type, data, at)
            SELECT ${sessionId}, COALESCE(MAX(seq), 0) + 1, ${operationId}, ${event.type}, ${JSON.stringify(event.data)}, ${at}
            FROM events WHERE session_id = ${sessionId}`,
      { discard: true }
    )

  const insertOperation = (
    session: { readonly id: string; readonly owner: string },
    request: OperationRequest,
    now: number
  ) =>
    sql`INSERT INTO operations ${sql.insert({
      id: request.id,
      session_id: session.id,
      owner: session.owner,
      verb: request.verb,
      client_request_id: request.clientRequestId,
      request_hash: request.requestHash,
      attempt: 1,
      status: "running",
      result: null,
      error: null,
      created_at: now,
      updated_at: now
    })}`

  const claimColumns = (claim: Acquisition["claim"], operationId: string, now: number) => ({
    claim_token: claim.token,
    claim_operation_id: operationId,
    claim_kind: claim.kind,
    claim_phase: "claimed",
    claim_acquired_at: now,
    claim_renewed_at: now,
    claim_lease_until: now + claim.lease,
    claim_holder: JSON.stringify(claim.holder),
    claim_prior: claim.prior === null ? null : JSON.stringify(claim.prior),
    ...(claim.exporting === undefined ? {} : { export_lock: lockOf(claim, operationId, now) })
  })

  const lockOf = (
    { exporting, lease }: { readonly exporting?: string | undefined; readonly lease: number },
    operationId: string,
    now: number
  ) => Rows.exportLock(exporting === undefined ? null : { operationId, branch: exporting, leaseUntil: now + lease })

  /** The export lock once this operation has ended: another one's stays. */
  const unlocked = (operationId: string) =>
    sql`CASE WHEN export_lock LIKE ${`{"operationId":"${operationId}",%`} THEN NULL ELSE export_lock END`

  const transition = (from: string | undefined, to: string): NewEvent => ({
    type: "transition",
    data: { from: from ?? null, to }
  })

  const refuseKnown = Effect.fnUntraced(function* (owner: string, operation: OperationRequest) {
    const { clientRequestId, verb } = operation
    if (clientRequestId === null) return
    const known = yield* request({ owner, verb, clientRequestId })
    if (Option.isSome(known)) return yield* new RequestKnown({ operation: known.value })
  })

  /** The columns of the lowest slot that nobody of the placement has. */
  const lowestSlot = Effect.fnUntraced(function* ({ max, scope }: SlotRequest) {
    const rows = yield* sql<Rows.Row>`SELECT * FROM sessions
      WHERE placement_scope = ${scope} AND slot IS NOT NULL ORDER BY slot`
    const taken = new Set(rows.map((row) => Number(row["slot"])))
    for (let slot = 1; slot <= max; slot++) {
      if (!taken.has(slot)) return { placement_scope: scope, slot }
    }
    // one that cannot be read holds its slot all the same, and hides no other
    const holders = rows.map(Rows.toSession).filter(Result.isSuccess)
    return yield* new SlotsExhausted({ max, holders: holders.map(({ success }) => success) })
  })

  /** Gives the session these ports instead of those it had. */
  const assignPorts = Effect.fnUntraced(function* (row: Rows.Row, ports: Readonly<Record<string, number>> | null) {
    const [id, scope] = [row["id"], row["placement_scope"]]
    yield* sql`DELETE FROM ports WHERE session_id = ${id}`
    // inside a box of its own every number is free
    if (scope === null) return
    // in one order for all: writers of the same ports would wait for each other in a circle
    const wanted = Object.values(ports ?? {}).toSorted((a, b) => a - b)
    if (wanted.length === 0) return
    const taken = yield* sql<{ readonly port: unknown }>`SELECT port FROM ports
      WHERE ${sql.and([sql`scope = ${scope}`, sql.in("port", wanted)])}`
    if (taken.length > 0) return yield* new PortTaken({ ports: taken.map(({ port }) => Number(port)) })
    for (const port of wanted) yield* sql`INSERT INTO ports ${sql.insert({ scope, port, session_id: id })}`
  })

  const reserve = Effect.fnUntraced(function* (reservation: Reservation) {
    const { claim, move, operation, session } = reservation
    const now = yield* Time.millis
    const refusal = Effect.gen(function* () {
      yield* refuseKnown(session.owner, operation)
      const holders = yield* sql<Rows.Row>`SELECT * FROM sessions
        WHERE owner = ${session.owner} AND reserved_name = ${session.name}`
      const holder = yield* first(holders, Rows.toSession)
      if (Option.isSome(holder)) return yield* new NameTaken({ holder: holder.value })
    })
    const write = Effect.gen(function* () {
      yield* refusal
      const placed = reservation.slot === undefined ? {} : yield* lowestSlot(reservation.slot)
      yield* sql`INSERT INTO sessions ${sql.insert({
        id: session.id,
        owner: session.owner,
        name: session.name,
        reserved_name: session.name,
        state: move.to,
        version: 1,
        provider: session.provider,
        generation: 0,
        spec: JSON.stringify(session.spec),
        cleanup_required: 0,
        repository: session.repository,
        branch: session.branch,
        setup: session.setup === null ? null : JSON.stringify(session.setup),
        expires_at: session.expiresAt ?? null,
        ...placed,
        ...claimColumns(claim, operation.id, now),
        created_at: now,
        updated_at: now
      })}`
      yield* insertOperation(session, operation, now)
      yield* append(session.id, operation.id, now, [transition(move.from, move.to)])
      return Option.getOrThrow(yield* db.session(session.id))
    })
    const applied = Effect.map(
      sql`SELECT id FROM sessions WHERE id = ${session.id}`,
      // nobody else makes a session of this id; one that is not visible yet is met by the next attempt
      (rows) => rows.length > 0
    )
    return yield* transact("reserve", write, applied).pipe(
      // the other writer's row is visible once its transaction ended, which the violation proves
      Effect.catchIf(isUniqueViolation, (error) => Effect.andThen(refusal, Effect.fail(error))),
      // neither name nor request: somebody was given the same slot in the same moment, and has it now
      Effect.retry({ times: reservation.slot?.max ?? 0, while: isUniqueViolation })
    )
  })

  const acquire = Effect.fnUntraced(function* (acquisition: Acquisition) {
    const { claim, force, move, observed, operation } = acquisition
    const now = yield* Time.millis
    const dead = observed.claim
    // renewals do not raise the version, so a claim judged stale is compared by its lease too
    const unchanged = sql.and([
      sql`id = ${observed.id}`,
      sql`version = ${observed.version}`,
      sql`COALESCE(claim_token, '') = ${dead?.token ?? ""}`,
      sql`COALESCE(export_lock, '') = ${Rows.exportLock(observed.exportLock) ?? ""}`,
      ...(dead === null || force ? [] : [sql`claim_lease_until = ${dead.leaseUntil}`])
    ])
    const unknownRequest = refuseKnown(observed.owner, operation)
    const repeated = dead !== null && dead.operationId === operation.id
    const write = Effect.gen(function* () {
      const claimed = yield* sql<Rows.Row>`UPDATE sessions SET ${sql.update({
        ...claimColumns(claim, operation.id, now),
        ...(move === undefined ? {} : { state: move.to }),
        version: observed.version + 1,
        updated_at: now
      })} WHERE ${unchanged} RETURNING *`
      if (claimed.length === 0) {
        return yield* new ClaimConflict({ current: Option.getOrNull(yield* db.session(observed.id)) })
      }
      if (repeated) {
        yield* sql`UPDATE operations SET attempt = attempt + 1, status = 'running', updated_at = ${now}
          WHERE id = ${operation.id}`
      } else {
        yield* unknownRequest
        yield* insertOperation(observed, operation, now)
      }
      if (dead !== null && !repeated) {
        yield* sql`UPDATE operations SET status = 'abandoned', updated_at = ${now}
          WHERE id = ${dead.operationId} AND status = 'running'`
      }
      yield* append(observed.id, operation.id, now, [
        ...(dead === null
          ? []
          : [
              {
                type: "claim_taken_over",
                data: { operation_id: dead.operationId, kind: dead.kind, phase: dead.phase, forced: force }
              }
            ]),
        ...(move === undefined || move.from === move.to ? [] : [transition(move.from, move.to)])
      ])
      return yield* all(claimed, Rows.toSession)
    })
    const applied = Effect.map(
      sql<Rows.Row>`SELECT claim_token FROM sessions WHERE id = ${observed.id}${forUpdate}`,
      (rows) => rows[0]?.["claim_token"] === claim.token
    )
    const [claimed] = yield* transact("acquire", write, applied).pipe(
      Effect.catchIf(isUniqueViolation, (error) => Effect.andThen(unknownRequest, Effect.fail(error)))
    )
    return claimed!
  })

  const renew = Effect.fnUntraced(function* (claim: Parameters<Ledger["Service"]["renew"]>[0]) {
    const now = yield* Time.millis
    const renewed = yield* sql`UPDATE sessions
      SET ${sql.update({
        claim_renewed_at: now,
        claim_lease_until: now + claim.lease,
        ...(claim.exporting === undefined ? {} : { export_lock: lockOf(claim, claim.operationId, now) })
      })}
      WHERE id = ${claim.sessionId} AND claim_token = ${claim.token} RETURNING id`.pipe(repeatable("renew"))
    if (renewed.length === 0) {
      const current = yield* repeatable("renew")(db.session(claim.sessionId))
      return yield* new ClaimLost({ sessionId: claim.sessionId, current: Option.getOrNull(current) })
    }
  })

  /** The columns of an operation that has ended. */
  const ended = (outcome: NonNullable<Change["outcome"]>, now: number) => ({
    status: outcome.status,
    result: outcome.status === "succeeded" ? JSON.stringify(outcome.result) : null,
    error: outcome.status === "failed" ? JSON.stringify(outcome.error) : null,
    updated_at: now
  })

  const commit = Effect.fnUntraced(function* (write: Parameters<Ledger["Service"]["commit"]>[0]) {
    const { change, operationId, sessionId, token } = write
    const now = yield* Time.millis
    const { move } = change
    const id = writeId(token)
    const settles = change.release === true || change.outcome !== undefined
    const body = Effect.gen(function* () {
      const placed = change.slot === undefined ? {} : yield* lowestSlot(change.slot)
      const written = yield* sql<Rows.Row>`UPDATE sessions
        SET ${sql.update({ ...Rows.changeColumns(change), ...placed, last_write: id, updated_at: now })}, version = version + 1,
          export_lock = ${change.release === true ? unlocked(operationId) : sql`export_lock`}
        WHERE id = ${sessionId} AND claim_token = ${token} RETURNING *`
      if (written.length === 0) {
        return yield* new ClaimLost({ sessionId, current: Option.getOrNull(yield* db.session(sessionId)) })
      }
      if (change.set?.ports !== undefined) yield* assignPorts(written[0]!, change.set.ports)
      for (const intent of change.intents ?? []) {
        yield* sql`INSERT INTO intents ${sql.insert(Rows.intentColumns(intent))}
          ON CONFLICT (key) DO UPDATE SET status = excluded.status, deadline = excluded.deadline`
      }
      for (const orphan of change.orphans ?? []) {
        yield* sql`INSERT INTO orphans ${sql.insert(Rows.orphanColumns(orphan))}
          ON CONFLICT (id) DO UPDATE SET resolved_at = excluded.resolved_at`
      }
      if (change.checkpoint !== undefined) {
        // a save that is done again replaces the whole of it
        yield* sql`DELETE FROM checkpoints WHERE id = ${change.checkpoint.id}`
        yield* sql`INSERT INTO checkpoints ${sql.insert(Rows.checkpointColumns(change.checkpoint))}`
      }
      for (const removed of change.removedCheckpoints ?? []) {
        yield* sql`DELETE FROM checkpoints WHERE id = ${removed} AND session_id = ${sessionId}`
      }
      if (settles) {
        const outcome = change.outcome === undefined ? {} : ended(change.outcome, now)
        yield* sql`UPDATE operations SET ${sql.update({ ...outcome, settled_by: id })} WHERE id = ${operationId}`
      }
      yield* append(sessionId, operationId, now, [
        ...(move === undefined || move.from === move.to ? [] : [transition(move.from, move.to)]),
        ...(change.events ?? [])
      ])
      return yield* all(written, Rows.toSession)
    })
    const applied = Effect.gen(function* () {
      const [row] = yield* sql<Rows.Row>`SELECT last_write FROM sessions WHERE id = ${sessionId}${forUpdate}`
      if (row?.["last_write"] === id) return true
      if (!settles) return false
      // dropped with this write, the claim may have been taken and written with by somebody else since
      const [operation] = yield* sql<Rows.Row>`SELECT settled_by FROM operations WHERE id = ${operationId}`
      return operation?.["settled_by"] === id
    })
    const ports = change.set?.ports
    const [claimed] = yield* transact("commit", body, applied).pipe(
      // somebody was given the same slot or port in the same moment, and has it now: the next look tells which
      Effect.retry({ times: change.slot?.max ?? 1, while: isUniqueViolation }),
      Effect.catchIf(isUniqueViolation, (error) =>
        Effect.fail(ports === undefined || ports === null ? error : new PortTaken({ ports: Object.values(ports) }))
      )
    )
    return claimed!
  })

  const purge = Effect.fnUntraced(function* (observed: Session) {
    const { id, version } = observed
    return yield* transact(
      "purge",
      Effect.gen(function* () {
        const held = yield* sql`SELECT id FROM sessions
          WHERE id = ${id} AND version = ${version} AND state = 'destroyed' AND claim_token IS NULL AND cleanup_required = 0
            AND NOT EXISTS (SELECT 1 FROM intents WHERE session_id = ${id} AND status = 'open')
            AND NOT EXISTS (SELECT 1 FROM orphans WHERE session_id = ${id} AND resolved_at IS NULL)
            AND NOT EXISTS (SELECT 1 FROM checkpoints WHERE session_id = ${id})`
        if (held.length === 0) return false
        for (const table of ["events", "operations", "intents", "orphans", "ports"]) {
          yield* sql`DELETE FROM ${sql.literal(table)} WHERE session_id = ${id}`
        }
        yield* sql`DELETE FROM sessions WHERE id = ${id}`
        return true
      }),
      Effect.map(sql`SELECT id FROM sessions WHERE id = ${id}${forUpdate}`, (rows) => rows.length === 0)
    )
  })

  return {
    reserve: (reservation) => failure("reserve")(reserve(reservation)),
    acquire: (acquisition) => failure("acquire")(acquire(acquisition)),
    renew: (claim) => failure("renew")(renew(claim)),
    commit: (write) => failure("commit")(commit(write)),
    purge: (observed) => failure("purge")(purge(observed))
  }
}
