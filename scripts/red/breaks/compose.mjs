/** Breaks of what keeps compose services apart, inside the repository, and found again. */
const folder = "packages/core/src/internal/compose"
const unit = { project: "core", file: "packages/core/test/compose.test.ts" }
const system = { project: "system", file: "test/compose.test.ts" }

export const breaks = [
  {
    invariant: "91",
    why: "what the checkout has not got is shown to a service",
    file: `${folder}/render.ts`,
    edits: [["    fatal: !isShown,", "    fatal: false,"]],
    tests: system,
    only: "I-91 "
  },
  {
    invariant: "91",
    why: "the file of a secret is not told of",
    file: `${folder}/rewrite.ts`,
    edits: [['if (from["file"] !== undefined) remarks', 'if (from["file"] === null) remarks']],
    tests: unit,
    only: "I-91 "
  },
  {
    invariant: "91",
    why: "another compose file is drawn in",
    file: `${folder}/references.ts`,
    edits: [['isMap(from) && from["file"] !== undefined', 'isMap(from) && from["file"] === null']],
    tests: unit,
    only: "I-91 "
  },
  {
    invariant: "92",
    why: "the services of another ledger are taken for ours",
    file: `${folder}/engine.ts`,
    edits: [['  ...["--filter", `label=${labelNames.ledger}=${ledger}`],\n', ""]],
    tests: system,
    only: "I-92 "
  },
  {
    invariant: "92",
    why: "an engine that does not answer has nothing",
    file: `${folder}/end.ts`,
    edits: [
      [
        "  yield* here(row.id).pipe(\n    Effect.andThen(engine.remove(project)),",
        "  yield* here(row.id).pipe(\n    Effect.andThen(engine.remove(project)),\n    Effect.ignore,"
      ]
    ],
    tests: system,
    only: "I-92 "
  },
  {
    invariant: "96",
    why: "the rendered document can be read by everybody",
    file: `${folder}/record.ts`,
    edits: [["mode: 0o600", "mode: 0o644"]],
    tests: system,
    only: "I-96 fills"
  },
  {
    invariant: "87",
    why: "a service listens on every address",
    file: `${folder}/rewrite.ts`,
    edits: [["`127.0.0.1:${number}:${target}`", "`${number}:${target}`"]],
    tests: unit,
    only: "publishes what is declared"
  }
]
