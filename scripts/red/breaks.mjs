/**
 * One deliberate break per invariant: the edits that undo what holds it, and the tests that must then fail.
 *
 * `file` is below the repository's root; each edit replaces text that occurs exactly once. `tests` names the vitest
 * project and file, `only` picks the titles.
 */
const core = "packages/core/src"
const claims = { project: "system", file: "test/invariants/claim.test.ts" }
const crash = { project: "system", file: "test/invariants/crash.test.ts" }
const life = { project: "system", file: "test/invariants/life.test.ts" }
const persist = { project: "system", file: "test/invariants/persist.test.ts" }
const unit = (name) => ({ project: "core", file: `packages/core/test/${name}.test.ts` })
const local = (name) => ({ project: "provider-local", file: `packages/provider-local/test/${name}.test.ts` })
const localSource = "packages/provider-local/src"
const system = (name) => ({ project: "system", file: `test/${name}.test.ts` })

const noLiveness = ['if (status === "live" && !force) return', "if (false) return"]
const noVersion = ["sql`version = ${observed.version}`,", "sql`version >= 0`,"]
const noRenewal = ["Effect.raceFirst(attempt, claimed.renewal)", "attempt"]

export const breaks = [
  {
    invariant: "1",
    why: "a live claim is taken over",
    file: `${core}/Claim.ts`,
    edits: [noLiveness],
    tests: claims,
    only: "I-1 a losing"
  },
  {
    invariant: "2",
    why: "a row that has moved is claimed",
    file: `${core}/SqlLedger/claims.ts`,
    edits: [noVersion],
    tests: claims,
    only: "I-2 "
  },
  {
    invariant: "3",
    why: "the provider is called before the claim is taken",
    file: `${core}/programs/down.ts`,
    edits: [
      [
        "  const result = yield* halt(session",
        '  const { Provisioners } = yield* Effect.promise(() => import("../Provisioners.ts"))\n  yield* (yield* (yield* Provisioners).get(session.provider)).stop(session.instance!)\n  const result = yield* halt(session'
      ]
    ],
    tests: claims,
    only: "I-3 "
  },
  {
    invariant: "4",
    why: "writes are not fenced by the token",
    file: `${core}/SqlLedger/commit.ts`,
    edits: [["AND claim_token = ${token} RETURNING *", "AND ${token} <> '' RETURNING *"]],
    tests: unit("Ledger"),
    only: "I-4 "
  },
  {
    invariant: "5",
    why: "the prior state is not the claimed row's",
    file: `${core}/Claim.ts`,
    edits: [["    state: session.state,\n    provider", '    state: "ready",\n    provider']],
    tests: claims,
    only: "I-2 I-5 "
  },
  {
    invariant: "5b",
    why: "the claim changes more than claim and state",
    file: `${core}/SqlLedger/claims.ts`,
    edits: [
      [
        "...(move === undefined ? {} : { state: move.to }),",
        "...(move === undefined ? {} : { state: move.to }), branch: null,"
      ]
    ],
    tests: unit("Ledger"),
    only: "I-5b "
  },
  {
    invariant: "6",
    why: "source states are not looked at",
    file: `${core}/Claim.ts`,
    edits: [["if (!options.from.includes(session.state) && !reenters)", "if (false)"]],
    tests: claims,
    only: "I-6 "
  },
  {
    invariant: "7",
    why: "the compare in compare-and-set is gone",
    file: `${core}/SqlLedger/claims.ts`,
    edits: [noVersion, ["sql`COALESCE(claim_token, '') = ${dead?.token ?? \"\"}`,", "sql`1 = 1`,"]],
    tests: claims,
    only: "I-7 "
  },
  {
    invariant: "8",
    why: "other operations take a live claim over",
    file: `${core}/Claim.ts`,
    edits: [noLiveness],
    tests: claims,
    only: "I-8 "
  },
  {
    invariant: "9",
    why: "a loser leaves the box of a destroyed session",
    file: `${core}/internal/box.ts`,
    edits: [['      current.state === "destroyed" ||\n', ""]],
    tests: claims,
    only: "I-9 a loser destroys"
  },
  {
    invariant: "9",
    why: "a release undoes without looking whose the claim is",
    file: `${core}/Claim.ts`,
    edits: [[": yield* claimed.confirm", ': "ours"']],
    tests: claims,
    only: "I-9 an operation that fails"
  },
  {
    invariant: "10",
    why: "nothing notices a lost claim",
    file: `${core}/Claim.ts`,
    edits: [noRenewal],
    tests: claims,
    only: "I-10 "
  },
  {
    invariant: "11",
    why: "leases are not renewed",
    file: `${core}/Claim.ts`,
    edits: [noRenewal],
    tests: claims,
    only: "I-11 "
  },
  {
    invariant: "12",
    why: "a dead holder counts as alive",
    file: `${core}/Liveness.ts`,
    edits: [['(yield* host.isAlive(claim.holder)) ? "live" : "stale"', '"live"']],
    tests: crash,
    only: "I-12 "
  },
  {
    invariant: "13",
    why: "owners are not compared",
    file: `${core}/internal/sessions.ts`,
    edits: [["sessions.filter((session) => session.owner === owner)", "sessions"]],
    tests: life,
    only: "I-13 "
  },
  {
    invariant: "14",
    why: "phases run as if inside a transaction",
    file: `${core}/Claim.ts`,
    edits: [
      ["Effect.andThen(counted(body,", "Effect.andThen(counted(Effect.provideService(body, InTransaction, true),"],
      ["type ClaimRequest, Ledger,", "type ClaimRequest, InTransaction, Ledger,"]
    ],
    tests: life,
    only: "I-14 "
  },
  {
    invariant: "15",
    why: "list waits for operations in flight",
    file: `${core}/programs/list.ts`,
    edits: [
      [
        "  const result: ListResult",
        '  for (const { claim } of sessions) if (claim !== null) yield* Effect.sleep("1 hour")\n  const result: ListResult'
      ]
    ],
    tests: life,
    only: "I-15 "
  },
  {
    invariant: "16",
    why: "creates wait for each other",
    file: `${core}/Provisioners.ts`,
    edits: [
      [
        'call("provision", "provision", provider.provision(intent))',
        'serial.withPermits(1)(call("provision", "provision", provider.provision(intent)))'
      ],
      [
        "const policies = [",
        'import { Semaphore } from "effect"\nconst serial = Semaphore.makeUnsafe(1)\nconst policies = ['
      ]
    ],
    tests: life,
    only: "I-16 "
  },
  {
    invariant: "17",
    why: "a busy ledger is waited for without end",
    file: `${core}/node/SqliteClient.ts`,
    edits: [["waited >= patience", "waited >= 1e9"]],
    tests: system("ledger"),
    only: "I-17 "
  },
  {
    invariant: "18",
    why: "an operation in flight keeps other sessions from moving",
    file: `${core}/programs/list.ts`,
    edits: [
      [
        "  const result: ListResult",
        '  for (const { claim } of sessions) if (claim !== null) yield* Effect.sleep("1 hour")\n  const result: ListResult'
      ]
    ],
    tests: life,
    only: "I-18 "
  },
  {
    invariant: "19",
    why: "gc's work keeps readers waiting",
    file: `${core}/programs/list.ts`,
    edits: [
      [
        "  const result: ListResult",
        '  for (const { claim } of sessions) if (claim !== null) yield* Effect.sleep("1 hour")\n  const result: ListResult'
      ]
    ],
    tests: life,
    only: "I-19 "
  },
  {
    invariant: "20",
    why: "another program's database is made into a ledger",
    file: `${core}/node/NodeLedger.ts`,
    edits: [
      [
        "SqlLedger.layer({ where: file, mayInitialise: false })",
        "SqlLedger.layer({ where: file, mayInitialise: true })"
      ]
    ],
    tests: system("ledger"),
    only: "I-20 another"
  },
  {
    invariant: "21",
    why: "two may win a stale claim",
    file: `${core}/SqlLedger/claims.ts`,
    edits: [
      noVersion,
      ["sql`COALESCE(claim_token, '') = ${dead?.token ?? \"\"}`,", "sql`1 = 1`,"],
      ["[sql`claim_lease_until = ${dead.leaseUntil}`]", "[]"]
    ],
    tests: system("contention"),
    only: "I-21 "
  },
  {
    invariant: "22",
    why: "a recorded failure is answered as a success",
    file: `${core}/internal/requests.ts`,
    edits: [
      [
        "return yield* failedBefore(operation, operation.error!, session)",
        'return { _tag: "succeeded" as const, operation, session }'
      ]
    ],
    tests: system("idempotency"),
    only: "I-22 a replayed"
  },
  {
    invariant: "23",
    why: "a recorded success is not replayed",
    file: `${core}/internal/requests.ts`,
    edits: [
      [
        '    case "succeeded":\n      return {',
        '    case "succeeded":\n      return yield* abandoned(operation, session)\n      return {'
      ]
    ],
    tests: system("idempotency"),
    only: "I-23 "
  },
  {
    invariant: "24",
    why: "a request that runs is taken over",
    file: `${core}/internal/requests.ts`,
    edits: [['if ((yield* liveness(session.claim)) === "live") return "running" as const', ""]],
    tests: system("idempotency"),
    only: "I-24 "
  },
  {
    invariant: "25",
    why: "a later attempt makes a box of its own",
    file: `${core}/internal/box.ts`,
    edits: [
      [
        'before.state === "provisioning" ? yield* openIntent(before) : undefined',
        "(yield* openIntent(before)) && undefined"
      ]
    ],
    tests: crash,
    only: "I-25 "
  },
  {
    invariant: "26",
    why: "arguments are not compared",
    file: `${core}/internal/requests.ts`,
    edits: [["if (operation.requestHash !== requestHash)", "if (false)"]],
    tests: system("idempotency"),
    only: "I-26 "
  },
  {
    invariant: "27",
    why: "request ids are shared between owners",
    file: `${core}/SqlLedger/database.ts`,
    edits: [["WHERE owner = ${key.owner} AND verb", "WHERE '' <> ${key.owner} AND verb"]],
    tests: unit("Ledger"),
    only: "I-27 "
  },
  {
    invariant: "28",
    why: "a repeated create has another key",
    file: `${core}/Provisioners.ts`,
    edits: [
      [
        "provider.provision(intent))",
        "Effect.suspend(() => provider.provision({ ...intent, key: `${intent.key}${performance.now()}` })))"
      ]
    ],
    tests: life,
    only: "I-28 "
  },
  {
    invariant: "29",
    why: "a second down starts over",
    file: `${core}/programs/down.ts`,
    edits: [['if ((yield* liveness(session.claim)) !== "live" && nothing)', "if (false)"]],
    tests: persist,
    only: "I-29 "
  },
  {
    invariant: "30",
    why: "an interruption forgets its ids",
    file: `${core}/Claim.ts`,
    edits: [["Cause.combine(cause, Cause.fail(clean ? told : notUndone(told, row, way)))", "cause"]],
    tests: system("idempotency"),
    only: "I-30 "
  },
  {
    invariant: "31",
    why: "the advice for an unsaved session does not help",
    file: `${core}/Recovery.ts`,
    edits: [
      [
        'return { command: command("down"), reason: "the box is halted',
        'return { command: command("resume"), reason: "the box is halted'
      ]
    ],
    tests: life,
    only: "I-31 .* a store that lies"
  },
  {
    invariant: "32",
    why: "a dead down is not re-entered",
    file: `${core}/Lifecycle.ts`,
    edits: [['  { in: ["stopping", "persisting"], by: ["down", "destroy"] },\n', ""]],
    tests: crash,
    only: "I-32 what"
  },
  {
    invariant: "33",
    why: "a dead up is not re-entered",
    file: `${core}/Lifecycle.ts`,
    edits: [
      [
        '{ in: ["provisioning", "syncing"], by: ["up", "resume", "switch", "gc"] }',
        '{ in: ["provisioning", "syncing"], by: ["switch"] }'
      ]
    ],
    tests: crash,
    only: "I-33 what"
  },
  {
    invariant: "34",
    why: "a second attempt saves under another id",
    file: `${core}/internal/halt.ts`,
    edits: [
      [
        '    case "persisting":\n    case "tearing_down":\n      return row.state',
        '    case "tearing_down":\n      return row.state'
      ]
    ],
    tests: crash,
    only: "I-34 "
  },
  {
    invariant: "36",
    why: "a rollback keeps its claim",
    file: `${core}/Claim.ts`,
    edits: [
      [
        "undone.flatMap(Rollback.failedEvent)],\n      release: true",
        "undone.flatMap(Rollback.failedEvent)],\n      release: false"
      ]
    ],
    tests: claims,
    only: "I-36 "
  },
  {
    invariant: "39",
    why: "a rollback has no time for a slow ledger",
    file: `${core}/Claim.ts`,
    edits: [["ledgerWrite: Duration.seconds(5)", "ledgerWrite: Duration.seconds(3)"]],
    tests: claims,
    only: "I-39 "
  },
  {
    invariant: "40",
    why: "a rollback that failed is not owned up to",
    file: `${core}/Claim.ts`,
    edits: [
      [
        "return yield* unsettled(failed, before.id, SandboxError.fromCause(",
        "return yield* failed\n    return yield* unsettled(failed, before.id, SandboxError.fromCause("
      ]
    ],
    tests: claims,
    only: "I-40 "
  },
  {
    invariant: "41",
    why: "gc leaves a dead up where it is",
    file: `${core}/internal/gc/recover.ts`,
    edits: [['        move: yield* held.move("failed"),\n', ""]],
    tests: life,
    only: "I-41 "
  },
  {
    invariant: "42",
    why: "open intents are not looked for",
    file: `${core}/internal/box.ts`,
    edits: [
      ['const open = intents.filter((intent) => intent.status === "open")', "const open = intents.filter(() => false)"]
    ],
    tests: crash,
    only: "I-42 "
  },
  {
    invariant: "43",
    why: "a new box is not removed on rollback",
    file: `${core}/internal/box.ts`,
    edits: [["run: backend.destroy(target),", "run: Effect.void,"]],
    tests: life,
    only: "I-43 "
  },
  {
    invariant: "44",
    why: "a removal that failed counts as done",
    file: `${core}/internal/halt.ts`,
    edits: [
      [
        '  if (row.state === "stopping") return yield* settleStop',
        '  if (row.state === "tearing_down") return { move: yield* held.move("destroyed"), set }\n  if (row.state === "stopping") return yield* settleStop'
      ]
    ],
    tests: life,
    only: "I-44 "
  },
  {
    invariant: "63",
    why: "moves are not checked against the table",
    file: `${core}/Lifecycle.ts`,
    edits: [["if (!allows(options)) {", "if (false) {"]],
    tests: unit("Lifecycle"),
    only: "I-63 "
  },
  {
    invariant: "64",
    why: "a ready session is destroyed without force",
    file: `${core}/Teardown.ts`,
    edits: [['return request.force ? proceed(true) : refuse("ERR_FORCE_REQUIRED")', "return proceed(true)"]],
    tests: life,
    only: "I-64 "
  },
  {
    invariant: "67",
    why: "what was stored is not compared",
    file: `${core}/internal/save.ts`,
    edits: [["  yield* Effect.mapError(checkpoints.verify(checkpoint), unverified)\n", ""]],
    tests: life,
    only: "I-67 "
  },
  {
    invariant: "68",
    why: "the row bears another time than the record",
    file: `${core}/internal/halt.ts`,
    edits: [["persistedAt: checkpoint.persistedAt,", "persistedAt: checkpoint.persistedAt + 1,"]],
    tests: persist,
    only: "I-68 "
  },
  {
    invariant: "69",
    why: "compaction keeps the wrong end",
    file: `${core}/SessionRecord.ts`,
    edits: [["...transitions.slice(-kept)", "...transitions.slice(kept, 2 * kept)"]],
    tests: unit("SessionRecord"),
    only: "I-69 "
  },
  {
    invariant: "70",
    why: "a record that is too large counts as unverified",
    file: `${core}/internal/halt.ts`,
    edits: [['failure.error.code === "ERR_PERSIST_PAYLOAD_TOO_LARGE"', "false"]],
    tests: persist,
    only: "I-70 "
  },
  {
    invariant: "71",
    why: "what was stored is not compared",
    file: `${core}/internal/save.ts`,
    edits: [["  yield* Effect.mapError(checkpoints.verify(checkpoint), unverified)\n", ""]],
    tests: persist,
    only: "I-71 "
  },
  {
    invariant: "72",
    why: "a retried save halts again",
    file: `${core}/internal/halt.ts`,
    edits: [
      [
        '    case "stopped_unpersisted":\n      return "persisting"',
        '    case "stopped_unpersisted":\n      return "stopping"'
      ]
    ],
    tests: persist,
    only: "I-72 "
  },
  {
    invariant: "77",
    why: "a reservation holds no name",
    file: `${core}/SqlLedger/reserve.ts`,
    edits: [["reserved_name: session.name,", "reserved_name: null,"]],
    tests: life,
    only: "I-77 "
  },
  {
    invariant: "78",
    why: "a failed up keeps its name",
    file: `${core}/programs/up.ts`,
    edits: [["      reservedName: null,\n", ""]],
    tests: life,
    only: "I-78 "
  },
  {
    invariant: "80",
    why: "exec does not ask whether the session is up",
    file: `${core}/internal/usable.ts`,
    edits: [["if (up && !isMoved(session)) return", "return"]],
    tests: life,
    only: "I-80 "
  },
  {
    invariant: "81",
    why: "stale claims are not marked",
    file: `${core}/View.ts`,
    edits: [['stale: status === "stale",', "stale: false,"]],
    tests: claims,
    only: "I-81 "
  },
  {
    invariant: "83",
    why: "undos run in the order of the work",
    file: `${core}/Claim.ts`,
    edits: [["(registered) => [undo, ...registered]", "(registered) => [...registered, undo]"]],
    tests: life,
    only: "I-83 undoes"
  },
  {
    invariant: "90",
    why: "a branch may look like an option",
    file: `${core}/Repository.ts`,
    edits: [['if (name.startsWith("-")) return', "if (false) return"]],
    tests: unit("Repository"),
    only: "I-90 "
  },
  {
    invariant: "92",
    why: "a recycled pid is signalled",
    file: `${core}/Processes.ts`,
    edits: [["if (yield* isSame(process)) yield*", "yield*"]],
    tests: unit("Processes"),
    only: "I-92 never signals"
  },
  {
    invariant: "96",
    why: "the token goes to commands that talk to nobody",
    file: `${core}/Git.ts`,
    edits: [["options.remote === true ? yield* askpass : {}", "yield* askpass"]],
    tests: unit("Git"),
    only: "I-96 "
  },
  {
    invariant: "97",
    why: "an error leaves a key out",
    file: "packages/cli/src/Output.ts",
    edits: [["  retryable: error.retryable,\n", ""]],
    tests: system("output"),
    only: "I-97 "
  },
  {
    invariant: "98",
    why: "a code changes its exit class",
    file: `${core}/SandboxError.ts`,
    edits: [["ERR_NAME_TAKEN: { exit: 1,", "ERR_NAME_TAKEN: { exit: 2,"]],
    tests: system("output"),
    only: "I-98 "
  },
  {
    invariant: "99",
    why: "a last commit that failed is answered as done",
    file: `${core}/Claim.ts`,
    edits: [
      [
        'Effect.andThen(held.commit({ ...change, phase: "done", release: true })),',
        'Effect.andThen(Effect.ignore(held.commit({ ...change, phase: "done", release: true }))),'
      ]
    ],
    tests: system("output"),
    only: "I-99 "
  },
  {
    invariant: "100",
    why: "notes go to stdout",
    file: "packages/cli/src/Output.ts",
    edits: [
      ["Effect.ignore(write(process.stderr, `${text}\\n`))", "Effect.ignore(write(process.stdout, `${text}\\n`))"]
    ],
    tests: system("output"),
    only: "I-100 stdout"
  },
  {
    invariant: "101",
    why: "a replaced verb names the wrong one",
    file: "packages/cli/src/replaced.ts",
    edits: [['teardown: (args) => ["destroy", ...args]', 'teardown: (args) => ["down", ...args]']],
    tests: system("output"),
    only: "I-101 "
  },
  {
    invariant: "102",
    why: "the window hides what is stuck",
    file: `${core}/SqlLedger/migrations.ts`,
    edits: [["state NOT IN ('destroyed', 'failed') OR", "state NOT IN ('destroyed', 'failed', 'provisioning') OR"]],
    tests: unit("Ledger"),
    only: "I-102 "
  },
  {
    invariant: "84",
    why: "a hook's exit code is not looked at",
    file: `${core}/internal/hooks.ts`,
    edits: [["if (code !== 0) {", "if (code === undefined) {"]],
    tests: system("setup"),
    only: "I-84 I-78 a post_up"
  },
  {
    invariant: "84",
    why: "a hook on the way down that fails stops the down",
    file: `${core}/internal/hooks.ts`,
    edits: [['error.code === "ERR_HOOK_FAILED" ||', ""]],
    tests: system("setup"),
    only: "I-84 a pre_down"
  },
  {
    invariant: "85",
    why: "a hook sees our own variables",
    file: `${core}/internal/hostCommand.ts`,
    edits: [["([name]) => isInherited(name)", "() => true"]],
    tests: system("setup"),
    only: "I-85 hooks have"
  },
  {
    invariant: "86",
    why: "a value with a single quote is put into single quotes",
    file: `${core}/Dotenv.ts`,
    edits: [[`if (!value.includes("'")) return`, "if (value !== null) return"]],
    tests: unit("Dotenv"),
    only: "I-86 gives back every"
  },
  {
    invariant: "86",
    why: "an inherited file wins over the setup",
    file: `${core}/internal/bringUp.ts`,
    edits: [["{ ...inherited, ...setup.env, ", "{ ...setup.env, ...inherited, "]],
    tests: system("setup"),
    only: "I-86 "
  },
  {
    invariant: "87",
    why: "whoever answers on the port is taken for the service",
    file: `${core}/internal/services.ts`,
    edits: [["if (lost !== undefined) return yield* lost", ""]],
    tests: system("setup"),
    only: "I-87 "
  },
  {
    invariant: "91",
    why: "a file outside of the repository is inherited",
    file: `${core}/internal/inherit.ts`,
    edits: [["return isInside(path, root, real) ? real : yield* outside(file)", "return real"]],
    tests: system("setup"),
    only: "I-91 "
  },
  {
    invariant: "92",
    why: "a recorded number is enough to be the service",
    file: `${core}/internal/supervisor.ts`,
    edits: [['[ "$(token "$pid")" = "$start" ]', 'kill -0 "$pid" 2>/dev/null']],
    tests: system("setup"),
    only: "I-92 "
  },
  {
    invariant: "95",
    why: "the files of a session are made first and closed to others then",
    file: `${core}/internal/environment.ts`,
    edits: [
      ["umask 077\n", ""],
      ['cat >"$file.new" && ', 'cat >"$file.new" && chmod 600 "$file.new" && ']
    ],
    tests: system("setup"),
    only: "I-95 makes"
  },
  {
    invariant: "95",
    why: "a secret's own file is made first and closed to others then",
    file: `${core}/internal/secrets.ts`,
    edits: [
      ["umask 077\n", ""],
      ['cat >"$1"', 'cat >"$1" && chmod 600 "$1"']
    ],
    tests: system("setup"),
    only: "I-95 makes"
  },
  {
    invariant: "96",
    why: "secrets stand in the file that is shown",
    file: `${core}/internal/environment.ts`,
    edits: [["file(variablesFile, environment.variables)", "file(variablesFile, all(environment))"]],
    tests: system("setup"),
    only: "I-95 I-96 "
  },
  {
    invariant: "77",
    why: "a slot is given whether somebody has it or not",
    file: `${core}/SqlLedger/placement.ts`,
    edits: [["if (!taken.has(slot)) return", "if (slot > 0) return"]],
    tests: system("slots"),
    only: "I-77 "
  },
  {
    invariant: "79",
    why: "there is one slot more than there may be",
    file: `${core}/SqlLedger/placement.ts`,
    edits: [["slot <= max; slot++", "slot <= max + 1; slot++"]],
    tests: unit("SqlLedger.slots"),
    only: "I-79 "
  },
  {
    invariant: "79",
    why: "halted and dead sessions are not named among those that hold slots",
    file: `${core}/internal/failures.ts`,
    edits: [["holders.filter((holder) => holder.owner === owner)", 'holders.filter(({ state }) => state === "ready")']],
    tests: system("slots"),
    only: "I-79 that are all held"
  },
  {
    invariant: "82",
    why: "an older ledger is left as it is",
    file: `${core}/SqlLedger.ts`,
    edits: [["if (found !== schemaVersion) {", "if (found === undefined) {"]],
    tests: unit("SqlLedger.migrations"),
    only: "I-82 "
  },
  {
    invariant: "87",
    why: "a search ends on another slot's nominal port",
    file: `${core}/Slots.ts`,
    edits: [[".filter((number) => !isNominal(setup, slot, number))", ""]],
    tests: unit("Slots"),
    only: "I-87 never"
  },
  {
    invariant: "87",
    why: "strict slots are searched",
    file: `${core}/Slots.ts`,
    edits: [["if (strict || round <= 0)", "if (round <= 0)"]],
    tests: unit("placement"),
    only: "I-87 tries no other"
  },
  {
    invariant: "87",
    why: "only one family of addresses is held",
    file: `${core}/node/NodePorts.ts`,
    edits: [["addresses.slice(2) : addresses", "addresses.slice(3) : addresses"]],
    tests: unit("NodePorts"),
    only: "I-87 cannot"
  },
  {
    invariant: "87",
    why: "ports are looked at and not held",
    file: `${core}/internal/placement.ts`,
    edits: [["Scope.provide(hold(port), ours)", "Effect.void"]],
    tests: system("slots"),
    only: "I-77 "
  },
  {
    invariant: "80",
    why: "shell does not ask whether the session is up",
    file: `${core}/internal/usable.ts`,
    edits: [["if (up && !isMoved(session)) return", "return"]],
    tests: system("terminal"),
    only: "I-80 "
  },
  {
    invariant: "92",
    why: "a process is taken for a session's without the mark of its box",
    file: `${core}/programs/ownerOf.ts`,
    edits: [
      [
        "const key = yield* variable(pid, boxMarker)",
        'const weak = yield* variable(pid, "SANDBOX_SESSION_ID")\n  const key = (yield* variable(pid, boxMarker)) ?? (weak === undefined ? undefined : `${weak}.g1`)'
      ]
    ],
    tests: system("owner"),
    only: "I-92 takes nothing but"
  },
  {
    invariant: "94",
    why: "credentials that nobody chose are copied",
    file: `${core}/Credentials.ts`,
    edits: [["Object.fromEntries(wanted.map((name) => [name, credentials[name]!]))", "credentials"]],
    tests: system("auth"),
    only: "I-94 "
  },
  {
    invariant: "95",
    why: "a file of credentials is made first and closed to others then",
    file: `${core}/programs/authSync.ts`,
    edits: [
      ["umask 077\ntarget=$1", "target=$1"],
      ['mv -f -- "$part" "$name"', 'chmod 600 "$part"; mv -f -- "$part" "$name"']
    ],
    tests: system("auth"),
    only: "I-95 "
  },
  {
    invariant: "96",
    why: "credentials travel in a command's environment",
    file: `${core}/programs/authSync.ts`,
    edits: [["stdin: Stream.make(bytes)", "stdin: Stream.make(bytes), env: { CREDENTIALS: file.text }"]],
    tests: system("auth"),
    only: "I-96 "
  },
  {
    invariant: "86",
    why: "a shell reads what is in a value",
    file: "packages/cli/src/commands/env.ts",
    edits: [["export ${name}='${value.replaceAll(\"'\", `'\\\\''`)}'", 'export ${name}="${value}"']],
    tests: system("env"),
    only: "I-86 "
  },
  {
    invariant: "80",
    why: "env does not ask whether the session is up",
    file: `${core}/programs/env.ts`,
    edits: [["  yield* usable(session)\n", ""]],
    tests: system("env"),
    only: "I-80 "
  },
  {
    invariant: "91",
    why: "what would be reached through a link is put in place",
    file: `${localSource}/FilesHost.ts`,
    edits: [["if (there !== undefined && !there.isDirectory()) {", "if (there?.isFile() === true) {"]],
    tests: local("Files"),
    only: "I-91 "
  },
  {
    invariant: "91",
    why: "a name that tar has changed is taken as it is then",
    file: `${localSource}/Files.ts`,
    edits: [["Number(code) !== 0 || leadsOut(said)", "Number(code) !== 0"]],
    tests: local("Files"),
    only: "I-91 "
  },
  {
    invariant: "89",
    why: "a worktree that was taken over is removed like the box's own",
    file: `${localSource}/Worktree.ts`,
    edits: [
      ['  if (checkout.kind === "adopted") return yield* place.record(null)\n', ""],
      ["yield* clear(place, checkout)\n  if", "yield* clear({ ...place, path: pathOf(place) }, checkout)\n  if"]
    ],
    tests: local("Worktree"),
    only: "I-89 "
  },
  {
    invariant: "92",
    why: "a terminal's session is looked for by the box's mark alone",
    file: `${localSource}/Terminal.ts`,
    edits: [
      ["  if (!Deferred.isDoneUnsafe(terminal.ended)) return pids\n", ""],
      [
        "const pids = yield* terminal.members",
        "const pids = yield* (yield* Processes.Processes).marked(`${Processes.boxMarker}=${box.key}`)"
      ]
    ],
    tests: local("Terminal"),
    only: "I-92 leaves"
  },
  {
    invariant: "96",
    why: "the whole environment of this process goes into a terminal",
    file: `${localSource}/Exec.ts`,
    edits: [["Processes.isInherited(name) && ", ""]],
    tests: local("Terminal"),
    only: "I-96 "
  },
  {
    invariant: "106",
    why: "a key without a box has no processes",
    file: `${localSource}/LocalProvisioner.ts`,
    edits: [['    yield* endStrays(typeof target === "string" ? target : target.key)\n', ""]],
    tests: local("LocalProvisioner.integration"),
    only: "I-106 that were never"
  },
  {
    invariant: "73",
    why: "a section that is set loses the defaults of its other keys",
    file: `${core}/Configuration.ts`,
    edits: [
      [
        "  const { configuration, flaws, written } = decode(merged.value)\n",
        "  const { configuration: all, flaws, written } = decode(merged.value)\n" +
          '  const { slots } = merged.value as { readonly slots?: Configuration["slots"] }\n' +
          "  const configuration = { ...all, slots: slots ?? all.slots }\n"
      ]
    ],
    tests: unit("Configuration"),
    only: "I-73 stay"
  },
  {
    invariant: "74",
    why: "an explicit false or 0 counts as absent",
    file: `${core}/Configuration/keys.ts`,
    edits: [["inner === null && at.keys.has(key)", "!inner && at.keys.has(key)"]],
    tests: unit("Configuration.keys"),
    only: "I-74 "
  },
  {
    invariant: "75",
    why: "what is wrong with single values hides what does not go together",
    file: `${core}/Configuration.ts`,
    edits: [["...[...rules.problems, ...links]", "...(flaws.length > 0 ? [] : [...rules.problems, ...links])"]],
    tests: unit("Configuration"),
    only: "I-75 is told all at once"
  },
  {
    invariant: "76",
    why: "a map of a higher layer replaces the lower one as a whole",
    file: `${core}/Configuration/layers.ts`,
    edits: [
      [
        "new Map(isMap(under) ? Object.entries(under) : [])",
        "new Map(isMap(under) && path.length === 0 ? Object.entries(under) : [])"
      ]
    ],
    tests: unit("Configuration"),
    only: "I-76 win leaf by leaf"
  },
  {
    invariant: "88",
    why: "init writes without having asked anybody",
    file: "packages/cli/src/commands/init.ts",
    edits: [["if (flags.noInput || !canAsk()) {", "if (flags.noInput && !canAsk()) {"]],
    tests: system("config"),
    only: "I-88 "
  },
  {
    invariant: "91",
    why: "links are not followed",
    file: `${core}/Configuration/paths.ts`,
    edits: [
      [
        "const top = yield* real(repository)",
        "const top = yield* Effect.as(real(repository), undefined as string | undefined)"
      ]
    ],
    tests: unit("Configuration"),
    only: "I-91 "
  },
  {
    invariant: "85",
    why: "what does not end when asked is left running",
    file: `${core}/internal/hostCommand.ts`,
    edits: [["      forceKillAfter: grace\n", ""]],
    tests: system("setup"),
    only: "I-85 a post_down"
  },
  {
    invariant: "85",
    why: "a hook starts out of the group that is ended",
    file: `${core}/internal/hostCommand.ts`,
    edits: [["ChildProcess.make(program, args, {", 'ChildProcess.make("setsid", ["-w", program, ...args], {']],
    tests: system("setup"),
    only: "I-85 a post_down"
  },
  {
    invariant: "89",
    why: "a worktree that its user locked is removed like any other",
    file: `${localSource}/Worktree.ts`,
    edits: [['if (lock !== undefined && lock !== "initializing") {', 'if (lock === "no such") {']],
    tests: system("cli"),
    only: "I-89 "
  },
  {
    invariant: "92",
    why: "a post_down whose down was killed runs on beside the next one",
    file: `${core}/internal/hooks.ts`,
    edits: [["  if (held.inherited) yield* endLeftovers(row, key)\n", ""]],
    tests: system("killServices"),
    only: "I-32 I-92 "
  }
]
