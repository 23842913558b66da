/** Breaks that only a command that ends at a bad moment shows. */
const tests = { project: "system", file: "test/crash/matrix.test.ts" }

export const breaks = [
  {
    invariant: "33",
    why: "an interrupted up does not take its new box back",
    file: "packages/core/src/internal/box.ts",
    edits: [["    run: backend.destroy(target),", "    run: Effect.void,"]],
    tests,
    only: "I-33 an up that ends with a box"
  },
  {
    invariant: "34",
    why: "a checkpoint has the record of the session, and not its work",
    file: "packages/core/src/internal/save.ts",
    edits: [
      [
        '  if (options !== undefined) return { _tag: "checkout", options } satisfies Source',
        "  if (options !== undefined) return undefined"
      ]
    ],
    tests,
    only: "I-34 a destroy that ends with work"
  }
]
