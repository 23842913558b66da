/** Deliberate breaks of what gc concludes and leaves alone. */
const gc = "packages/core/src/internal/gc"
const tests = { project: "system", file: "test/invariants/gc.test.ts" }

export const breaks = [
  {
    invariant: "42",
    why: "boxes that no row refers to are not looked for",
    file: `${gc}/inventory.ts`,
    edits: [
      [
        "    for (const box of backend === undefined ? [] : boxes) {",
        "    for (const box of boxes.slice(boxes.length)) {"
      ]
    ],
    tests,
    only: "I-42 of a destroyed session: goes"
  },
  {
    invariant: "42",
    why: "a box with work that nobody refers to is removed",
    file: `${gc}/inventory.ts`,
    edits: [
      [
        "  if (!present || (dirtyFiles === 0 && unpublishedCommits === 0)) return undefined",
        "  if (dirtyFiles >= 0) return undefined"
      ]
    ],
    tests,
    only: "I-42 of an earlier generation, with work"
  },
  {
    invariant: "42",
    why: "a box that is newer than its row is removed",
    file: `${gc}/inventory.ts`,
    edits: [
      ["  if (keyGeneration(key) > session.generation) {", "  if (keyGeneration(key) > session.generation + 9) {"],
      ["row.instance?.id === ref.id || keyGeneration(key) > row.generation || ", "row.instance?.id === ref.id || "]
    ],
    tests,
    only: "I-42 newer than the row: stays"
  },
  {
    invariant: "41",
    why: "a box that was listed and is gone by now has left something behind",
    file: `${gc}/inventory.ts`,
    edits: [['  if (seen._tag === "gone" && !(yield* isListed(backend, ref))) return []\n', ""]],
    tests,
    only: "I-41 a box that somebody removes between two looks"
  },
  {
    invariant: "42",
    why: "somebody else's boxes are judged",
    file: `${gc}/inventory.ts`,
    edits: [["  if (owner !== undefined && owner !== (yield* Principal)) return []\n", ""]],
    tests,
    only: "I-42 of somebody else's session that nobody has heard of: stays"
  },
  {
    invariant: "42",
    why: "gc acts on the row that it planned with, and not on the row as it is",
    file: `${gc}/finding.ts`,
    edits: [
      ["  return (yield* isIdle(session)) ? session : undefined", "  return session"],
      [
        '{ session, kind: "gc", operation, from: Lifecycle.settledStates }',
        '{ session, kind: "gc", operation, force: true, from: Lifecycle.states }'
      ]
    ],
    tests,
    only: "I-42 a row that moves"
  },
  {
    invariant: "41",
    why: "a box that cannot be seen is taken for gone",
    file: `${gc}/lost.ts`,
    edits: [
      [
        '      if (seen._tag === "unknown") return [report(session, `whether its box is there cannot be seen: ${seen.why}`)]\n',
        ""
      ],
      [
        'return seen._tag === "gone" ? yield* unlessDamaged(session, lost(session, now)) : []',
        'return seen._tag === "running" ? [] : yield* unlessDamaged(session, lost(session, now))'
      ]
    ],
    tests,
    only: "one whose box cannot be seen"
  },
  {
    invariant: "41",
    why: "a box that is gone is left to be found by somebody else",
    file: `${gc}/lost.ts`,
    edits: [['return seen._tag === "gone" ? yield* unlessDamaged(session, lost(session, now)) : []', "return []"]],
    tests,
    only: "I-41 one whose box is gone"
  },
  {
    invariant: "47",
    why: "a box that was left behind is removed while its session may still need it",
    file: `${gc}/leftovers.ts`,
    edits: [['  session.state === "destroyed" ||\n  (session.state', '  session.id !== "" ||\n  (session.state']],
    tests,
    only: "I-47 "
  },
  {
    invariant: "19",
    why: "the first thing that cannot be put right stops the rest",
    file: "packages/core/src/programs/gc.ts",
    edits: [
      [
        "  const exit = yield* Effect.exit(finding.run)\n",
        "  const exit = Exit.succeed(yield* Effect.orDie(finding.run))\n"
      ]
    ],
    tests,
    only: "I-19 one thing"
  },
  {
    invariant: "41",
    why: "what ended well between two looks is taken for dead",
    file: `${gc}/recover.ts`,
    edits: [["    if (!(yield* isCurrent(session))) continue\n", ""]],
    tests,
    only: "I-41 an operation that ends well"
  },
  {
    invariant: "62",
    why: "what is completed is destroyed although its work has changed since it was saved",
    file: `${gc}/completed.ts`,
    edits: [["      destroy ? {", '      destroy || reason !== "" ? {']],
    tests: { project: "system", file: "test/gc.test.ts" },
    only: "I-62 "
  },
  {
    invariant: "41",
    why: "a session past its time is halted although its box cannot be seen",
    file: `${gc}/expiry.ts`,
    edits: [
      ['      seen._tag === "unknown"\n', '      seen._tag === "unknown" && options.olderThan === -1\n'],
      [
        '  if (seen._tag === "unknown") return yield* cannotSee',
        '  if (seen._tag === "running" && false) return yield* cannotSee'
      ]
    ],
    tests,
    only: "I-41 one past its time whose box"
  },
  {
    invariant: "41",
    why: "what died is gone on with although its box cannot be seen, or not from here",
    file: `${gc}/recover.ts`,
    edits: [
      ["touchesBoxes(session) && !(yield* isHalfHalted(session)) ? yield* whyUnseen(session) : undefined", "undefined"]
    ],
    tests,
    only: "I-41 a dead operation on a box"
  },
  {
    invariant: "41",
    why: "what is on another machine is recovered from here",
    file: `${gc}/recover.ts`,
    edits: [
      ["touchesBoxes(session) && !(yield* isHalfHalted(session)) ? yield* whyUnseen(session) : undefined", "undefined"]
    ],
    tests: { project: "system", file: "test/gc.test.ts" },
    only: "I-41 leaves to another machine"
  },
  {
    invariant: "13",
    why: "everybody is told of records that cannot be read, whosever they are",
    file: `${gc}/leftovers.ts`,
    edits: [["unreadable.filter(({ owner }) => owner === null || owner === principal)", "principal && unreadable"]],
    tests: { project: "system", file: "test/gc.test.ts" },
    only: "I-13 a damaged record"
  },
  {
    invariant: "20",
    why: "a ledger that can be opened is taken for sound",
    file: "packages/core/src/SqlLedger/reads.ts",
    edits: [["PRAGMA quick_check(20)", "SELECT 'ok' AS quick_check"]],
    tests: { project: "system", file: "test/doctor.test.ts" },
    only: "I-20 names a ledger that can be opened"
  }
]
