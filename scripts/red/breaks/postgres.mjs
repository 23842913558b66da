/** Breaks of the ledger where its answers may be lost, and of the export lock in it. */
const ledger = "packages/core/src/SqlLedger"
// `postgres`: the break is seen on a server only
const lost = { project: "core", file: "packages/core/test/SqlLedger.lost.test.ts", postgres: true }
const contention = { project: "system", file: "test/postgresContention.test.ts", postgres: true }
const both = { project: "core", file: "packages/core/test/Ledger.test.ts" }

export const breaks = [
  {
    invariant: "60",
    why: "a renewal extends the claim and forgets the export lock",
    file: `${ledger}/claims.ts`,
    edits: [
      ["...(claim.exporting === undefined ? {} : { export_lock: lockOf(claim, claim.operationId, now) })", "...{}"]
    ],
    tests: both,
    only: "I-60 the export lock is taken"
  },
  {
    invariant: "66",
    why: "the claim is taken whatever the export lock has become",
    file: `${ledger}/claims.ts`,
    edits: [["sql`COALESCE(export_lock, '') = ${Rows.exportLock(lock) ?? \"\"}`,", ""]],
    tests: both,
    only: "I-66 an export lock that was renewed"
  },
  {
    invariant: "11",
    why: "the processes of another host are looked for on this one",
    file: "packages/core/src/Liveness.ts",
    edits: [['  if (claim.holder.host !== host.self.host) return "live"\n', ""]],
    tests: contention,
    only: "I-11 do not believe"
  },
  {
    invariant: "77",
    why: "no name is held",
    file: `${ledger}/reserve.ts`,
    edits: [["reserved_name: session.name,", "reserved_name: null,"]],
    tests: contention,
    only: "I-77 that want one of four names"
  },
  {
    invariant: "20",
    why: "a write whose answer was lost is taken for one that was not done",
    file: `${ledger}/transactions.ts`,
    edits: [["return did ? Effect.succeed(value) : otherwise", "return did ? otherwise : otherwise"]],
    tests: lost,
    only: "I-20 has done a commit once when the answer of its last word was lost"
  },
  {
    invariant: "20",
    why: "whether a write was done is asked without waiting for it",
    file: `${ledger}/database.ts`,
    edits: [["pg: () => sql` FOR UPDATE`", "pg: () => sql``"]],
    tests: lost,
    only: "I-20 has done a commit once when its last word arrives"
  },
  {
    invariant: "79",
    why: "everybody is given the first slot",
    file: `${ledger}/placement.ts`,
    edits: [["if (!taken.has(slot)) return", "if (slot > 0) return"]],
    tests: contention,
    only: "I-79 are given as many slots"
  },
  {
    invariant: "20",
    why: "a connection on which nothing is heard is waited for",
    file: "packages/core/src/node/PostgresClient.ts",
    edits: [["...(URL.canParse(url) ? {", '...(url === "" ? {']],
    tests: lost,
    only: "I-20 has done a renew once when the connection fell silent"
  },
  {
    invariant: "61",
    why: "an export lock goes with the claim that is taken from its operation, however long it is leased",
    file: `${ledger}/claims.ts`,
    edits: [["lock !== null && lock.leaseUntil <= now", "lock !== null"]],
    tests: both,
    only: "I-61 an export lock outlives"
  },
  {
    invariant: "66",
    why: "an export lock whose lease is over stays in the row",
    file: `${ledger}/claims.ts`,
    edits: [["...(expired ? { export_lock: null } : {}),", ""]],
    tests: both,
    only: "I-66 an export lock that was renewed"
  }
]
