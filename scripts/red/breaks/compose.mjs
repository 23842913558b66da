/** Breaks of what keeps compose services apart, inside the repository, and found again. */
const folder = "packages/core/src/internal/compose"
const unit = { project: "core", file: "packages/core/test/compose.test.ts" }
const limits = { project: "core", file: "packages/core/test/composeLimits.test.ts" }
const mounts = { project: "core", file: "packages/core/test/composeMounts.test.ts" }
const accepted = { project: "core", file: "packages/core/test/composeAccepted.test.ts" }
const tool = { project: "core", file: "packages/core/test/composeTool.test.ts" }
const boxes = { project: "system", file: "test/composeBoxes.test.ts" }
const system = { project: "system", file: "test/compose.test.ts" }

export const breaks = [
  {
    invariant: "91",
    why: "what the checkout has not got is shown to a service",
    file: `${folder}/render.ts`,
    edits: [["[...rewritten.problems, ...shown.problems]", "[...rewritten.problems]"]],
    tests: system,
    only: "I-91 "
  },
  {
    invariant: "91",
    why: "the file of a secret is not told of",
    file: `${folder}/parts.ts`,
    edits: [['if (from["file"] !== undefined)', 'if (from["file"] === null)']],
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
    file: `${folder}/ports.ts`,
    edits: [["`127.0.0.1:${number", "`${number"]],
    tests: unit,
    only: "publishes what is declared"
  },
  {
    invariant: "91",
    why: "a service is as good as this host",
    file: `${folder}/limits.ts`,
    edits: [['  privileged: "would give it all of this host",\n', ""]],
    tests: limits,
    only: "I-91 refuses"
  },
  {
    invariant: "91",
    why: "a service is in a namespace of this host",
    file: `${folder}/limits.ts`,
    edits: [["const ownMode = /^(|", "const ownMode = /^(|host|"]],
    tests: limits,
    only: "I-91 refuses"
  },
  {
    invariant: "91",
    why: "beside a box counts what does on this host",
    file: `${folder}/limits.ts`,
    edits: [["if (wanted.isolated === true) {", "if (wanted.isolated === null) {"]],
    tests: limits,
    only: "I-91 beside a box"
  },
  {
    invariant: "91",
    why: "keys that nobody here has heard of are taken for harmless",
    file: `${folder}/limits.ts`,
    edits: [["!harmless.has(key) && ", "harmless.has(key) && "]],
    tests: limits,
    only: "I-91 beside a box"
  },
  {
    invariant: "91",
    why: "a disk of this host is a volume",
    file: `${folder}/parts.ts`,
    edits: [["!/^(tmpfs|nfs4?)$/.test(kind)", "false"]],
    tests: limits,
    only: "I-91 refuses a volume"
  },
  {
    invariant: "91",
    why: "the engine's own networks can be joined",
    file: `${folder}/parts.ts`,
    edits: [["/^(host|bridge|none)$/.test(called)", "false"]],
    tests: limits,
    only: "I-91 refuses the engine's own networks"
  },
  {
    invariant: "91",
    why: "a path is not the one that the engine reads",
    file: `${folder}/document.ts`,
    edits: [['  text.replaceAll("$$", "").includes("$") ? undefined : text.replaceAll("$$", "$")', "  text"]],
    tests: mounts,
    only: "I-91 is what the checkout has"
  },
  {
    invariant: "91",
    why: "a directory with the engine's socket in it can be shown",
    file: `${folder}/mounts.ts`,
    edits: [["if (holds || ", "if ("]],
    tests: mounts,
    only: "I-91 is never"
  },
  {
    invariant: "91",
    why: "beside a box this host is shown to be read",
    file: `${folder}/mounts.ts`,
    edits: [["const why = isolated\n", "const why = !isolated && isolated\n"]],
    tests: mounts,
    only: "I-91 on this host"
  },
  {
    invariant: "91",
    why: "what a box wrote into its compose file counts",
    file: `${folder}/accepted.ts`,
    edits: [["first !== undefined && digest !== first", "first !== undefined && digest === null"]],
    tests: accepted,
    only: "I-91 what a box"
  },
  {
    invariant: "91",
    why: "what was brought up first is not remembered",
    file: `${folder}/start.ts`,
    edits: [["first: found.isolated ? before?.digest : undefined", "first: undefined"]],
    tests: boxes,
    only: "I-91 what a box"
  },
  {
    invariant: "91",
    why: "a file of the repository on this host is read for a box that links to it",
    file: `${folder}/render.ts`,
    edits: [["isOfRepository && wanted.isolated !== true", "isOfRepository"]],
    tests: boxes,
    only: "I-91 what a box"
  },
  {
    invariant: "92",
    why: "volumes without a name stay behind",
    file: `${folder}/anonymous.ts`,
    edits: [["if (gone.length === 0) return", "if (gone.length >= 0) return"]],
    tests: system,
    only: "what the engine made without a name"
  },
  {
    invariant: "87",
    why: "a port of UDP is published as one of TCP",
    file: `${folder}/ports.ts`,
    edits: [['protocol: String(protocol ?? suffix ?? "tcp")', 'protocol: String(protocol === null ? suffix : "tcp")']],
    tests: unit,
    only: "publishes a port by every protocol"
  },
  {
    invariant: "97",
    why: "a tool that failed is quoted with its last words, which say nothing",
    file: `${folder}/tool.ts`,
    edits: [["(why ?? lines.at(-1)", "(lines.at(-1)"]],
    tests: tool,
    only: "is the last line that tells"
  }
]
