/** Breaks of the command `switch`, of the process that goes on with it, and of following one. */
const cli = "packages/cli/src"
const system = (name) => ({ project: "system", file: `test/${name}.test.ts` })

export const breaks = [
  {
    invariant: "switchCli",
    why: "the configuration says nothing of a switch that fails",
    file: `${cli}/commands/switch.ts`,
    edits: [["() => configured?.on_failure", "() => undefined"]],
    tests: system("switchCli"),
    only: "switch.on_failure: hold stays"
  },
  {
    invariant: "switchCli",
    why: "the configuration says nothing of a box that cannot be halted",
    file: `${cli}/commands/switch.ts`,
    edits: [["() => configured?.on_stop_failure", "() => undefined"]],
    tests: system("switchCli"),
    only: "switch.on_stop_failure: abort stays"
  },
  {
    invariant: "switchCli",
    why: "a dry run with --detach begins",
    file: `${cli}/commands/switch.ts`,
    edits: [["if (dryRun) {", "if (dryRun && !detach) {"]],
    tests: system("switchCli"),
    only: "dry-run says what would be done"
  },
  {
    invariant: "switchCli",
    why: "the command that is for ourselves is shown to everybody",
    file: `${cli}/commands/operate.ts`,
    edits: [[").pipe(Command.unlisted)", ").pipe()"]],
    tests: system("switchCli"),
    only: "is in the help with its other name"
  },
  {
    invariant: "detach",
    why: "everybody can read what the process writes",
    file: `${cli}/Detached.ts`,
    edits: [["mode: 0o600", "mode: 0o644"]],
    tests: system("switchDetach"),
    only: "keeps what is secret"
  },
  {
    invariant: "detach",
    why: "the token is in the environment",
    file: `${cli}/commands/operate.ts`,
    edits: [
      [
        "env: Option.isNone(ledger) ? {} : {",
        "env: { HANDOVER: JSON.stringify(handover), ...Option.isNone(ledger) ? {} : {"
      ],
      ["SANDBOX_LEDGER: ledger.value }", "SANDBOX_LEDGER: ledger.value } }"]
    ],
    tests: system("switchDetach"),
    only: "keeps what is secret"
  },
  {
    invariant: "detach",
    why: "the ledger's address is an argument",
    file: `${cli}/commands/operate.ts`,
    edits: [['...flag("config", config),', '...flag("config", config), ...flag("ledger", ledger),']],
    tests: system("switchDetach"),
    only: "keeps what is secret"
  },
  {
    invariant: "detach",
    why: "a terminal that closes ends what goes on by itself",
    file: `${cli}/main.ts`,
    edits: [['isDetached && signal === "SIGHUP"', "false"]],
    tests: system("switchDetach"),
    only: "has nothing to do with a terminal"
  },
  {
    invariant: "detach",
    why: "--timeout is forgotten on the way",
    file: `${cli}/commands/operate.ts`,
    edits: [
      [
        '        "timeout",\n        Option.map(timeout,',
        '        "timeout",\n        Option.map(Option.none<Duration.Duration>(),'
      ]
    ],
    tests: system("switchDetach"),
    only: "timeout holds"
  },
  {
    invariant: "bytes",
    why: "nobody hears how much has gone by",
    file: `${cli}/Progress.ts`,
    edits: [["current && { ...current, bytes: event.bytes }", "current"]],
    tests: { project: "cli", file: "packages/cli/test/Progress.test.ts" },
    only: "says in a log how much"
  },
  {
    invariant: "watch",
    why: "a session is given up the moment its operation is seen dead",
    file: "packages/core/src/programs/watch.ts",
    edits: [["const patience = 5000", "const patience = 0"]],
    tests: system("watch"),
    only: "goes on with whoever takes"
  },
  {
    invariant: "watch",
    why: "what is settled and has a claim counts as over",
    file: "packages/core/src/programs/watch.ts",
    edits: [["isLeft || (result.claim === null && isSettled(result.state))", "isLeft || isSettled(result.state)"]],
    tests: system("watch"),
    only: "goes on while a session"
  },
  {
    invariant: "watch",
    why: "the provider is asked once alone",
    file: "packages/core/src/programs/watch.ts",
    edits: [["now - before.lookedAt >= pace ||", ""]],
    tests: system("watch"),
    only: "looks at the box too"
  }
]
