/** Breaks of what places a checkout in a box, and of what keeps this host from believing what is in it. */
const core = "packages/core/src"
const folder = `${core}/internal/boxCheckout`
const tests = { project: "system", file: "test/boxCheckout.test.ts" }
const traps = { project: "system", file: "test/boxCheckoutTraps.test.ts" }
const kept = { project: "system", file: "test/boxCheckoutKept.test.ts" }

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
    edits: [['  if (marked) return "begun" satisfies Extent\n', ""]],
    tests,
    only: "I-34 what is half in its place"
  },
  {
    invariant: "42",
    why: "gc does not look into boxes that keep their checkouts",
    file: `${core}/internal/visible.ts`,
    edits: [
      [
        "  return made === undefined ? nothing : yield* statusOf(made.directory, { base })\n",
        "  return made === undefined || base !== undefined ? nothing : yield* statusOf(made.directory, { base })\n"
      ]
    ],
    tests,
    only: "I-42 gc removes a box"
  },
  {
    invariant: "33",
    why: "a shell of a dead process makes its directory anew",
    file: `${folder}/swap.ts`,
    edits: [['    [ -d "$own/old" ] || mkdir "$own/old" || return\n', '    mkdir -p "$own/old" || return\n']],
    tests,
    only: "I-33 a move into the box that had not begun"
  },
  {
    invariant: "34",
    why: "whatever is called as the mark is one",
    file: `${folder}/copy.ts`,
    edits: [['name.slice(name.indexOf("/") + 1) === swap.begun', 'name !== ""']],
    tests: kept,
    only: "I-34 is saved beside"
  },
  {
    invariant: "67",
    why: "half a checkout is nothing to lose",
    file: `${folder}/copy.ts`,
    edits: [['  if (there === "begun") return yield* unfinished()\n', '  if (there === "begun") return undefined\n']],
    tests: kept,
    only: "I-67 is not given up"
  },
  {
    invariant: "53",
    why: "what a clone says of its remotes is believed",
    file: `${core}/internal/work/captureHistory.ts`,
    edits: [["  if (checkout.linked) return tips\n", "  if (checkout.linked || tips.length > 0) return tips\n"]],
    tests: kept,
    only: "I-53 is not published"
  },
  {
    invariant: "53",
    why: "what the repository is about to throw away counts as published",
    file: `${core}/internal/work/captureHistory.ts`,
    edits: [["  return there.filter((oid) => !loose.includes(oid))\n", "  return there.slice(loose.length * 0)\n"]],
    tests: kept,
    only: "I-53 is not published"
  },
  {
    invariant: "53",
    why: "a clone on this host is believed",
    file: `${core}/internal/work/captureHistory.ts`,
    edits: [["  if (checkout.linked) return tips\n", "  if (checkout.linked || tips.length > 0) return tips\n"]],
    tests: kept,
    only: "I-53 of a URL"
  },
  {
    invariant: "53",
    why: "what this host's user ignores is left out of a box's work",
    file: `${core}/internal/work/checkout.ts`,
    edits: [["...(copied ? filesOfUser : []), ", ""]],
    tests: kept,
    only: "I-53 is saved whatever"
  },
  {
    invariant: "53",
    why: "every file of a copy counts as changed",
    file: `${core}/internal/work/checkout.ts`,
    edits: [["  if (copied) yield* refresh(checkout)\n", ""]],
    tests: kept,
    only: "is saved where a file of the repository"
  },
  {
    invariant: "53",
    why: "a copy is as closed to its reader as what is in the box",
    file: `${folder}/copy.ts`,
    edits: [["{ check, rename, mode: readable }", "{ check, rename }"]],
    tests: kept,
    only: "is saved where its owner may not read"
  },
  {
    invariant: "31",
    why: "a box whose checkout is broken cannot be started to put it right",
    file: `${core}/internal/boxCheckout.ts`,
    edits: [['    if (broken === "refused") return', "    if (broken !== undefined) return"]],
    tests: kept,
    only: "I-31 in a checkout that has no repository"
  },
  {
    invariant: "91",
    why: "a file names a repository outside of the copy",
    file: `${folder}/distrust.ts`,
    edits: [["  return yield* out\n})\n\n/**\n * Whether a path", "  return real\n})\n\n/**\n * Whether a path"]],
    tests: traps,
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
    tests: traps,
    only: "I-91 leads to nothing"
  },
  {
    invariant: "91",
    why: "a repository borrows the host's objects",
    file: `${folder}/distrust.ts`,
    edits: [["  for (const name of borrowing) yield*", "  for (const name of borrowing.slice(2)) yield*"]],
    tests: traps,
    only: "I-91 leads to nothing"
  },
  {
    invariant: "91",
    why: "git believes the configuration of the box",
    file: `${folder}/distrust.ts`,
    edits: [["  if (yield* exists(config)) {", '  if (config === "") {']],
    tests: traps,
    only: "I-91 runs no program"
  },
  {
    invariant: "91",
    why: "a link of a repository may lead into the checkout, where the next one leads out",
    file: `${folder}/distrust.ts`,
    edits: [
      ["  const own = path.join(git, path.sep)\n", "  const own = path.join(copied.root, path.sep)\n"],
      ["  if (!link.startsWith(own)) return\n", "  if (!link.startsWith(path.join(git, path.sep))) return\n"]
    ],
    tests: traps,
    only: "by two hops"
  },
  {
    invariant: "91",
    why: "a file names a repository anywhere in the checkout",
    file: `${folder}/distrust.ts`,
    edits: [['path.join(around, ".git", path.sep)', "path.join(around, path.sep)"]],
    tests: traps,
    only: "I-91 leads nowhere but"
  },
  {
    invariant: "91",
    why: "a link goes down and up again",
    file: `${folder}/distrust.ts`,
    edits: [["  if (!isStraight(target) || !path.resolve", '  if (target === "" || !path.resolve']],
    tests: traps,
    only: "I-91 leads nowhere but"
  },
  {
    invariant: "91",
    why: "a file of any size is copied",
    file: `${folder}/copy.ts`,
    edits: [["    bytes += size\n", "    bytes += size % 512\n"]],
    tests: traps,
    only: "I-91 is not larger"
  },
  {
    invariant: "31",
    why: "an archive that is cut short once is a failure",
    file: `${folder}/copy.ts`,
    edits: [["    if (attempt === attempts) return", "    if (attempt <= attempts) return"]],
    tests: { project: "core", file: "packages/core/test/boxCopy.test.ts" },
    only: "is made anew"
  },
  {
    invariant: "83",
    why: "a copy that is being removed must be there to be removed",
    file: `${core}/internal/placing.ts`,
    edits: [
      [
        "    Effect.catchIf(isAbsent, () => Effect.void)\n",
        "    Effect.catchIf(isAbsent, (error) => Effect.fail(error))\n"
      ]
    ],
    tests: { project: "core", file: "packages/core/test/placing.test.ts" },
    only: "succeeds while the removal"
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
