/** Breaks of what places a checkout in a box, and of what keeps this host from believing what is in it. */
const core = "packages/core/src"
const folder = `${core}/internal/boxCheckout`
const tests = { project: "system", file: "test/boxCheckout.test.ts" }

export const breaks = [
  {
    invariant: "31",
    why: "a restored copy stays on this host",
    file: `${core}/internal/restore.ts`,
    edits: [["  if (row.instance !== null) yield* giveBack(backend, row.instance, copy)\n", ""]],
    tests,
    only: "is restored byte for byte"
  },
  {
    invariant: "33",
    why: "nobody finishes what a dead process had begun to move",
    file: `${folder}/swap.ts`,
    edits: [['  [ -d "$left" ] || continue\n', "  continue\n"]],
    tests,
    only: "I-33 a move into the box that was left half in its place"
  },
  {
    invariant: "33",
    why: "what killed operations have copied stays",
    file: `${folder}/staging.ts`,
    edits: [
      ["return yield* within(copies)", "return yield* Effect.orDie(fs.makeTempDirectoryScoped({ directory: copies }))"]
    ],
    tests,
    only: "I-33 placing is finished"
  },
  {
    invariant: "34",
    why: "half a checkout is taken for one",
    file: `${folder}/copy.ts`,
    edits: [["  if (marked > 0) return false\n", ""]],
    tests,
    only: "I-34 what is half in its place"
  },
  {
    invariant: "42",
    why: "gc does not look into boxes that keep their checkouts",
    file: `${core}/internal/visible.ts`,
    edits: [
      [
        "  return made === undefined ? nothing : yield* statusOf(made.directory, base)\n",
        "  return made === undefined || base !== undefined ? nothing : yield* statusOf(made.directory, base)\n"
      ]
    ],
    tests,
    only: "I-42 gc removes a box"
  },
  {
    invariant: "91",
    why: "a repository is looked for outside of the copy",
    file: `${folder}/distrust.ts`,
    edits: [
      [
        "return real.startsWith(`${root}${path.sep}`) ? real : yield* leadsOut(path.relative(root, git))",
        'return root === "" ? yield* leadsOut(path.relative(root, git)) : real'
      ]
    ],
    tests,
    only: "I-91 leads to nothing"
  },
  {
    invariant: "91",
    why: "links in a repository are followed wherever they lead",
    file: `${folder}/distrust.ts`,
    edits: [
      [
        "  for (const link of links) yield* checkLink",
        "  for (const link of links.slice(links.length)) yield* checkLink"
      ]
    ],
    tests,
    only: "I-91 leads to nothing"
  },
  {
    invariant: "91",
    why: "a repository borrows the host's objects",
    file: `${folder}/distrust.ts`,
    edits: [["  for (const name of borrowing) yield*", "  for (const name of borrowing.slice(2)) yield*"]],
    tests,
    only: "I-91 leads to nothing"
  },
  {
    invariant: "91",
    why: "git believes the configuration of the box",
    file: `${folder}/distrust.ts`,
    edits: [["  if (yield* exists(config)) {", '  if (config === "") {']],
    tests,
    only: "I-91 runs no program"
  },
  {
    invariant: "107",
    why: "a worktree of the user's is silently not used",
    file: `${core}/programs/up.ts`,
    edits: [["if (setup?.reuseWorktree === true && isOurs(backend)) return", "if (setup === undefined) return"]],
    tests,
    only: "I-107 what needs the checkout"
  }
]
