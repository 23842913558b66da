/** Breaks that only show when an engine goes away and comes back, or when who asks it is killed. */
const tests = { project: "system", file: "test/crash/engine.test.ts" }

export const breaks = [
  {
    invariant: "engine",
    why: "a box that halted with its engine is not started again",
    file: "packages/provider-docker/src/Boxes.ts",
    edits: [
      [
        "  if (container.State.Running && !container.State.Paused) return\n",
        '  if (container.State.Status === "exited" || container.State.Running) return\n'
      ]
    ],
    tests,
    only: "a box that halted with its engine"
  },
  {
    invariant: "engine",
    why: "silence is taken for absence",
    file: "packages/core/src/Provisioners.ts",
    edits: [
      [
        'Effect.succeed<Observation>({ _tag: "unknown", why: error.message })',
        'Effect.succeed<Observation>({ _tag: "gone" })'
      ]
    ],
    tests,
    only: "a box whose engine cannot be reached"
  },
  {
    invariant: "engine",
    why: "a box that is removed leaves its network",
    file: "packages/provider-docker/src/Boxes.ts",
    edits: [
      ["for (const { Id, Name } of yield* Engine.networks([name, value])) {", "for (const { Id, Name } of []) {"]
    ],
    tests,
    only: "one gc puts right what they leave"
  }
]
