/** Claim and release against the same two transactions made by hand, on two files with the same pragmas. */
import { join } from "node:path"
import { DatabaseSync } from "node:sqlite"
import { Effect } from "effect"
import { claimAndRelease } from "./claims.ts"
import * as Ledgers from "./ledgers.ts"
import type { Comparison } from "./measure.ts"

const batch = 40
const batches = 30

export const run = async (folder: string): Promise<ReadonlyArray<Comparison>> => {
  const file = join(folder, "claim.db")
  const bareFile = join(folder, "bare.db")
  await Ledgers.fill(file, { live: 20, ended: 80 })
  await Ledgers.fill(bareFile, { live: 20, ended: 80 })
  const bare = makeBare(bareFile)
  const session = Ledgers.idOf(1)
  // one of each in turn: a commit is cheaper right after another one, which a loop of bare transactions would enjoy alone
  const pair = Effect.gen(function* () {
    const measured: [number, number] = [0, 0]
    for (let i = 0; i < batch; i++) {
      const from = performance.now()
      yield* claimAndRelease(session)
      const between = performance.now()
      bare.claimAndRelease(session)
      measured[0] += between - from
      measured[1] += performance.now() - between
    }
    return measured
  })
  const measured = await Effect.runPromise(
    Effect.provide(
      Effect.andThen(Effect.repeat(pair, { times: 5 }), Effect.replicateEffect(pair, batches)),
      Ledgers.layer(file)
    )
  )
  bare.close()
  return [{ what: `claim + release (${batch} times)`, against: "two bare transactions", target: 1.5, pairs: measured }]
}

/** What a program without this library would write: a read, and two transactions of three statements. */
const makeBare = (file: string) => {
  const db = new DatabaseSync(file, { enableForeignKeyConstraints: true, timeout: 0 })
  db.exec("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL")
  const read = db.prepare("SELECT * FROM sessions WHERE id = ?")
  const begin = db.prepare("BEGIN IMMEDIATE")
  const commit = db.prepare("COMMIT")
  const claim = db.prepare(
    `UPDATE sessions SET claim_token = ?, claim_operation_id = ?, claim_kind = 'resume', claim_phase = 'claimed',
       claim_acquired_at = ?, claim_renewed_at = ?, claim_lease_until = ?, claim_holder = ?, claim_prior = ?,
       state = 'syncing', version = ?, updated_at = ?
     WHERE id = ? AND version = ? AND COALESCE(claim_token, '') = '' RETURNING *`
  )
  const operation = db.prepare(
    `INSERT INTO operations (id, session_id, owner, verb, client_request_id, request_hash, attempt, status, result, error,
       created_at, updated_at) VALUES (?, ?, ?, 'resume', NULL, 'hash', 1, 'running', NULL, NULL, ?, ?)`
  )
  const event = db.prepare(
    `INSERT INTO events (session_id, seq, operation_id, type, data, at)
     SELECT ?, COALESCE(MAX(seq), 0) + 1, ?, 'transition', ?, ? FROM events WHERE session_id = ?`
  )
  const release = db.prepare(
    `UPDATE sessions SET state = 'ready', claim_token = NULL, claim_operation_id = NULL, claim_kind = NULL,
       claim_phase = NULL, claim_acquired_at = NULL, claim_renewed_at = NULL, claim_lease_until = NULL,
       claim_holder = NULL, claim_prior = NULL, updated_at = ?, version = version + 1
     WHERE id = ? AND claim_token = ? RETURNING *`
  )
  const finish = db.prepare(
    "UPDATE operations SET status = 'succeeded', result = '{}', error = NULL, updated_at = ? WHERE id = ?"
  )
  const holder = JSON.stringify({ host: "host", pid: process.pid, startedAt: "1" })
  const prior = JSON.stringify({ state: "ready", provider: "memory", instance: null, generation: 1 })
  let count = 0
  return {
    claimAndRelease: (id: string) => {
      count += 1
      const [token, operationId, now] = [`clm_${count}`, `op_bare${count}`, Date.now()]
      const version = read.get(id)?.["version"] as number
      begin.run()
      claim.all(token, operationId, now, now, now + 30_000, holder, prior, version + 1, now, id, version)
      operation.run(operationId, id, Ledgers.owner, now, now)
      event.run(id, operationId, '{"from":"ready","to":"syncing"}', now, id)
      commit.run()
      begin.run()
      release.all(now, id, token)
      finish.run(now, operationId)
      event.run(id, operationId, '{"from":"syncing","to":"ready"}', now, id)
      commit.run()
    },
    close: () => db.close()
  }
}
