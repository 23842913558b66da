/** Breaks of the export lock, and of what auto-teardown needs. */
const core = "packages/core/src"
const lock = { project: "system", file: "test/exportLock.test.ts" }
const teardown = { project: "system", file: "test/invariants/export.test.ts" }

export const breaks = [
  {
    invariant: "60",
    why: "the lock is not taken with the claim",
    file: `${core}/programs/exportSession.ts`,
    edits: [["from, exporting: request.branch }", "from }"]],
    tests: lock,
    only: "I-60 is moved"
  },
  {
    invariant: "61",
    why: "an export that fails is recorded as one that succeeded",
    file: `${core}/programs/exportSession.ts`,
    edits: [
      [
        "settle: () => Effect.succeed({})",
        'settle: () => Effect.succeed({ set: { lastExport: new Exported({ operationId: before.operation.id, to: "branch", branch: "x", commit: "x", target: "x", exportedAt: 0 }) } })'
      ]
    ],
    tests: lock,
    only: "I-61 and failed"
  },
  {
    invariant: "62",
    why: "a checkpoint that was recorded counts, whatever the store has of it",
    file: `${core}/internal/saved.ts`,
    edits: [["yield* checkpoints.verify(checkpoint)", "{ manifest: yield* checkpoints.manifestOf(checkpoint) }"]],
    tests: teardown,
    only: "I-62 keeps what is not verified"
  },
  {
    invariant: "62",
    why: "a session is not kept for any time",
    file: `${core}/internal/autoTeardown.ts`,
    edits: [["  if (now < keptUntil) return", "  if (now < 0) return"]],
    tests: teardown,
    only: "I-62 keeps what is not elapsed"
  },
  {
    invariant: "66",
    why: "who forces is not asked about the lock",
    file: `${core}/internal/failures.ts`,
    edits: [
      [
        "  if (lock === null || lock.leaseUntil <= (yield* Time.millis)) return\n",
        '  if (lock === null || kind === "destroy" || lock.leaseUntil <= (yield* Time.millis)) return\n'
      ]
    ],
    tests: teardown,
    only: "I-66 a lock"
  }
]
