/** Breaks of what checkpoints must prove before they are used. */
const core = "packages/core/src"
const tests = { project: "system", file: "test/checkpoint.test.ts" }

export const breaks = [
  {
    invariant: "65",
    why: "objects are not read again",
    file: `${core}/internal/checkpoints.ts`,
    edits: [
      [
        "yield* Effect.forEach([...once.keys()], (digest) =>",
        "yield* Effect.forEach([...once.keys()].slice(0, 0), (digest) =>"
      ]
    ],
    tests,
    only: "I-65 a flipped byte"
  },
  {
    invariant: "65",
    why: "a checkpoint from before the last use counts",
    file: `${core}/internal/checkpoints.ts`,
    edits: [["last.persistedAt < session.readyAt", "last.persistedAt < 0"]],
    tests,
    only: "I-65 a checkpoint from before"
  },
  {
    invariant: "65",
    why: "force overlooks another session's identity",
    file: `${core}/internal/revival.ts`,
    edits: [['problem === undefined || problem === "foreign" || !force', "problem === undefined || !force"]],
    tests,
    only: "I-65 a checkpoint of another"
  }
]
