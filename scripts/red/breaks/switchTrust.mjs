/** Deliberate breaks of what keeps a repository's own commands off this host when their session is moved there. */
const core = "packages/core/src"
const cli = "packages/cli/src"
const system = { project: "system", file: "test/switchTrust.test.ts" }
const unit = { project: "core", file: "packages/core/test/Trust.test.ts" }
const refused = "is refused there before anything is done"

export const breaks = [
  {
    invariant: "switchTrust",
    why: "a switch runs on this host whatever there is to run",
    file: `${core}/internal/switch/onward.ts`,
    edits: [["  if (!acceptSetup) yield* gates.refuseUnaccepted(session, backend)\n", ""]],
    tests: system,
    only: refused
  },
  {
    invariant: "switchTrust",
    why: "a plan promises what the switch would refuse",
    file: `${core}/internal/switch/plan.ts`,
    edits: [["  if (!acceptSetup) yield* gates.refuseUnaccepted(session, route.to)\n", ""]],
    tests: system,
    only: refused
  },
  {
    invariant: "switchTrust",
    why: "a container asks for acceptance too",
    file: `${core}/internal/switch/gates.ts`,
    edits: [
      [
        'if (setup === null || setup.accepted || to.isolation !== "none") return',
        "if (setup === null || setup.accepted) return"
      ]
    ],
    tests: system,
    only: "where it runs nothing, or in a box that isolates"
  },
  {
    invariant: "switchTrust",
    why: "acceptance is asked for where there is nothing to accept",
    file: `${core}/internal/switch/gates.ts`,
    edits: [["  if (runs.length === 0) return\n", ""]],
    tests: system,
    only: "where it runs nothing, or in a box that isolates"
  },
  {
    invariant: "switchTrust",
    why: "what was accepted is not recorded with the new provider",
    file: `${core}/internal/switch/leave.ts`,
    edits: [["{ setup: { ...row.setup, accepted: true } }", "{ setup: row.setup }"]],
    tests: system,
    only: "is gone on with by resume"
  },
  {
    invariant: "switchTrust",
    why: "the process that goes on by itself is not told",
    file: `${core}/programs/switchProvider.ts`,
    edits: [["      to,\n      acceptSetup,\n", "      to,\n"]],
    tests: system,
    only: "is taken along by --detach"
  },
  {
    invariant: "switchTrust",
    why: "whether a file was accepted is not looked up",
    file: `${core}/Trust.ts`,
    edits: [
      ["provider: undefined }).length === 0 || (yield* isAccepted(claimed))", "provider: undefined }).length === 0"]
    ],
    tests: system,
    only: "of a file that was accepted by sandbox trust"
  },
  {
    invariant: "switchTrust",
    why: "what runs in a container counts as accepted everywhere",
    file: `${cli}/config/prepare.ts`,
    edits: [
      [
        "const accepted = flags.trustConfig || (yield* Trust.mayRunHere(effective, { builtin, claimed }))",
        "const accepted = true"
      ]
    ],
    tests: system,
    only: "runs in a container without acceptance"
  },
  {
    invariant: "switchTrust",
    why: "checks of services run unseen",
    file: `${core}/Trust.ts`,
    edits: [['health?.kind === "command" ? [["services", name, "health", "command"]] : []', "[]"]],
    tests: unit,
    only: "is what a file of the same meaning runs there"
  }
]
