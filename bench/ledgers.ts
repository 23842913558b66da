/** Ledger files with as many sessions as a measurement asks for. */
import { DatabaseSync } from "node:sqlite"
import * as Node from "@org/sandbox-core/node"
import { Effect, Layer, References } from "effect"

export const owner = "bench"

/** Everything that programs need over the ledger at `file`; without spans, as in the client when nobody receives any. */
export const layer = (file: string) =>
  Layer.merge(Node.layer({ ledger: file, principal: owner }), Layer.succeed(References.TracerEnabled)(false))

/** The id and the name of the nth session of a filled ledger. */
export const idOf = (n: number): string => `sbx_${String(n).padStart(26, "0")}`
export const nameOf = (n: number): string => `session-${n}`

/**
 * Makes a ledger of `live` sessions that are ready and `ended` ones that were destroyed long before the recent window.
 * Each has the history that an `up` leaves, the ended ones also that of a `down` and a `destroy`.
 */
export const fill = async (
  file: string,
  { ended, live }: { readonly live: number; readonly ended: number }
): Promise<void> => {
  await Effect.runPromise(Effect.scoped(Layer.build(layer(file))))
  const db = new DatabaseSync(file)
  const now = Date.now()
  const instance = JSON.stringify({ version: 1, provider: "memory", scope: "memory", key: "k", id: "box", data: {} })
  const numbers = `WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < ${live + ended})`
  const id = "'sbx_' || printf('%026d', n)"
  const at = `CASE WHEN n <= ${live} THEN ${now} - n ELSE ${now} - 7776000000 - n END`
  db.exec("BEGIN")
  db.prepare(
    `${numbers} INSERT INTO sessions
       (id, owner, name, reserved_name, state, version, provider, generation, spec, instance, cleanup_required,
        repository, branch, commit_id, created_at, updated_at, ready_at, destroyed_at)
     SELECT ${id}, ?, 'session-' || n, IIF(n <= ${live}, 'session-' || n, NULL), IIF(n <= ${live}, 'ready', 'destroyed'),
       5, 'memory', 1, '{}', IIF(n <= ${live}, ?, NULL), 0, '/srv/repository', 'main',
       '0123456789abcdef0123456789abcdef01234567', ${at}, ${at}, ${at}, IIF(n <= ${live}, NULL, ${at})
     FROM numbers`
  ).run(owner, instance)
  const verbs = [
    { verb: "up", of: "n > 0", moves: ["requested", "provisioning", "syncing", "ready"] },
    { verb: "down", of: `n > ${live}`, moves: ["stopping", "persisting", "stopped"] },
    { verb: "destroy", of: `n > ${live}`, moves: ["tearing_down", "destroyed"] }
  ]
  let seq = 0
  for (const { moves, of, verb } of verbs) {
    db.prepare(
      `${numbers} INSERT INTO operations
         (id, session_id, owner, verb, request_hash, attempt, status, result, created_at, updated_at)
       SELECT 'op_${verb}' || n, ${id}, ?, ?, 'hash', 1, 'succeeded', '{}', ${at}, ${at} FROM numbers WHERE ${of}`
    ).run(owner, verb)
    for (const to of moves) {
      seq += 1
      db.prepare(
        `${numbers} INSERT INTO events (session_id, seq, operation_id, type, data, at)
         SELECT ${id}, ?, 'op_${verb}' || n, 'transition', ?, ${at} FROM numbers WHERE ${of}`
      ).run(seq, JSON.stringify({ to }))
    }
  }
  db.exec("COMMIT; PRAGMA wal_checkpoint(TRUNCATE)")
  db.close()
}
