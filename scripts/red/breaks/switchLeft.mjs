/** Deliberate breaks of what becomes of a checkout that its session has left. */
const core = "packages/core/src/internal"
const tests = { project: "system", file: "test/switchLeft.test.ts" }

export const breaks = [
  {
    invariant: "switchLeft",
    why: "what was written to the old checkout meanwhile goes with it",
    file: `${core}/left.ts`,
    edits: [["  yield* saveChanged(held, backend, orphan)\n", ""]],
    tests,
    only: "is saved before it is removed"
  },
  {
    invariant: "switchLeft",
    why: "the old worktree keeps the branch from the new one",
    file: `${core}/switch/move.ts`,
    edits: [["    yield* letGo(yield* held.row, held.prior, to)\n", ""]],
    tests,
    only: "keeps its branch for the session"
  },
  {
    invariant: "switchLeft",
    why: "what was done by hand in a box that is taken up again is overwritten",
    file: `${core}/switch/move.ts`,
    edits: [["    if (isAdopted(yield* held.row, held.prior!)) yield* keepOther(held, to)\n", ""]],
    tests,
    only: "is taken up again after a switch that was held"
  },
  {
    invariant: "switchGc",
    why: "one gc drops a dead claim and leaves the box that its operation was removing",
    file: `${core}/gc/recover.ts`,
    edits: [
      [
        'Effect.andThen(dropClaim(session, yield* request("gc")), retire(session.id))',
        'dropClaim(session, yield* request("gc"))'
      ]
    ],
    tests: { project: "system", file: "test/invariants/gc.test.ts" },
    only: "go with the same gc that drops its claim"
  }
]
