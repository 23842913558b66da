/** Breaks that only a switch that ends at a bad moment shows. */
const tests = { project: "system", file: "test/crash/matrix.test.ts" }
const only = "I-35 a switch that ends"
const within = (name) => `packages/core/src/internal/switch/${name}.ts`

export const breaks = [
  {
    invariant: "35",
    why: "the commit that names the new provider forgets the old box",
    file: within("leave"),
    edits: [["      ...(orphan === undefined ? [] : [orphan]),", ""]],
    tests,
    only
  },
  {
    invariant: "37",
    why: "an interrupted switch whose box is halted says that the session is ready",
    file: within("back"),
    edits: [
      ['  if (seen._tag === "running")\n    return isServed', '  if (seen._tag !== "gone")\n    return isServed']
    ],
    tests,
    only
  },
  {
    invariant: "57",
    why: "a session that goes back to its old box does not start it",
    file: within("back"),
    edits: [['  if (seen._tag === "stopped") yield* held.phase("start", old.start(ref))', ""]],
    tests,
    only
  }
]
