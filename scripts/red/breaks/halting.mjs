/** Breaks of what a halt may say of itself. */
const file = "packages/core/src/internal/halt.ts"
const tests = { project: "system", file: "test/invariants/halting.test.ts" }

export const breaks = [
  {
    invariant: "37",
    why: "a box that is halted counts as running",
    file,
    edits: [
      ['  if (seen._tag === "running") {\n    const { prior }', '  if (seen._tag !== "gone") {\n    const { prior }']
    ],
    tests,
    only: "I-37 interrupted after"
  },
  {
    invariant: "38",
    why: "whatever happened, the session is as it was before",
    file,
    edits: [
      [
        'if (row.state === "stopping") return yield* settleStop(held, row, set)',
        'if (row.state === "stopping") return { move: yield* held.move(held.prior!.state), set }'
      ]
    ],
    tests,
    only: "I-38 a commit that fails after"
  },
  {
    invariant: "48",
    why: "an interruption does not end the tries",
    file,
    edits: [
      ["  yield* backend.stop(ref)\n  const after", "  yield* Effect.uninterruptible(backend.stop(ref))\n  const after"]
    ],
    tests,
    only: "I-48 "
  }
]
