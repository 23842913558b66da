/** Breaks of what brings saved work back, and of what keeps it from being put over other work. */
const core = "packages/core/src"
const tests = { project: "system", file: "test/checkpointEdges.test.ts" }

export const breaks = [
  {
    invariant: "31",
    why: "a halted session whose checkout is half restored is called stopped",
    file: `${core}/programs/resume.ts`,
    edits: [["if (back.restoreFrom !== null) return", "if (back.restoreFrom !== null && wasUp) return"]],
    tests,
    only: "I-31 is finished by what status says"
  },
  {
    invariant: "34",
    why: "what was put aside goes before it is recorded that it is saved",
    file: `${core}/internal/halt.ts`,
    edits: [
      [
        'const { checkpoint, staged } = yield* held.phase("save", save(held))',
        'const { checkpoint, staged } = yield* held.phase("save", save(held))\n  if (staged !== undefined) yield* unstage(staged)'
      ]
    ],
    tests,
    only: "I-34 outlives a down that SIGKILL"
  },
  {
    invariant: "34",
    why: "a session whose work is only put aside is resumed by force",
    file: `${core}/programs/resume.ts`,
    edits: [["isUnsaved && session.instance === null", "false"]],
    tests,
    only: "I-34 outlives a down that SIGINT"
  },
  {
    invariant: "83",
    why: "a new box puts a checkpoint over the worktree that is reused",
    file: `${core}/internal/revival.ts`,
    edits: [["return (yield* isKept(row, branch)) || (yield*", "return (yield*"]],
    tests,
    only: "I-83 stays in a worktree"
  },
  {
    invariant: "83",
    why: "up puts a checkpoint over the worktree that is reused",
    file: `${core}/programs/up.ts`,
    edits: [["fromCheckpoint !== undefined && reuseWorktree === true", "false"]],
    tests,
    only: "I-83 is never put over"
  },
  {
    invariant: "83",
    why: "the user's own checkout counts as a clone",
    file: `${core}/internal/work/checkout.ts`,
    edits: [["gitDir !== commonDir || directory === repository", "gitDir !== commonDir"]],
    tests,
    only: "I-83 comes back into a repository"
  },
  {
    invariant: "83",
    why: "whatever branch is checked out is moved forward",
    file: `${core}/internal/work/applyHistory.ts`,
    edits: [["if (isOurs && now.branch !== null", "if (now.branch !== null"]],
    tests,
    only: "I-83 comes back without moving a branch"
  },
  {
    invariant: "83",
    why: "the branch of a restore that was undone stays in the record",
    file: `${core}/internal/revival.ts`,
    edits: [["if (branch !== null) yield* held.commit({ set: { workBranch: branch } })", ""]],
    tests,
    only: "I-83 stays on its branch"
  },
  {
    invariant: "33",
    why: "a resume that failed forgets what the session was to begin with",
    file: `${core}/programs/resume.ts`,
    edits: [
      [
        "givenBack || (prior.instance === null && !left) ? begun",
        "givenBack || (prior.instance === null && !left) ? null"
      ]
    ],
    tests,
    only: "is what a session begins with"
  },
  {
    invariant: "33",
    why: "a resume that left its box forgets what that was to hold",
    file: `${core}/programs/resume.ts`,
    edits: [["(prior.instance === null && !left) ? begun", "prior.instance === null ? null"]],
    tests,
    only: "is still to be put in place"
  },
  {
    invariant: "65",
    why: "a save of the record alone hides the work that was saved before",
    file: `${core}/internal/revival.ts`,
    edits: [
      [
        "if (last !== undefined && last.fingerprint !== null) return last",
        "if (last !== undefined) return last.fingerprint === null ? undefined : last"
      ]
    ],
    tests,
    only: "comes back from a save by hand"
  }
]
