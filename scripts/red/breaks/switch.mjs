/** One break per invariant of the switch: who may move a session, in which order, and what is left when that fails. */
const core = "packages/core/src"
const moving = (name) => `${core}/internal/switch/${name}.ts`
const suite = (name) => ({ project: "system", file: `test/invariants/switch${name}.test.ts` })
const [claim, order, gates, rollback] = ["Claim", "Order", "Gates", "Rollback"].map(suite)
const [crash, race, table] = ["Crash", "Race", "Table"].map(suite)

const acquire = `${core}/SqlLedger/claims.ts`
const noVersion = ["sql`version = ${observed.version}`,", ""]
const noToken = ["sql`COALESCE(claim_token, '') = ${dead?.token ?? \"\"}`,", ""]
const noLease = ["[sql`claim_lease_until = ${dead.leaseUntil}`]", "[]"]
const noFence = ["AND claim_token = ${token} RETURNING *", "AND ${token} <> '' RETURNING *"]

export const breaks = [
  {
    invariant: "1",
    why: "a switch that comes too late asks providers before it is refused",
    file: `${core}/programs/switchProvider.ts`,
    edits: [['if ((yield* liveness(session.claim)) === "live") return', "if (false) return"]],
    tests: claim,
    only: "I-1 a losing switch"
  },
  {
    invariant: "2",
    why: "a row that has moved since it was read is claimed",
    file: acquire,
    edits: [noVersion, noToken],
    tests: claim,
    only: "I-2 a switch that loses"
  },
  {
    invariant: "3",
    why: "the old box is stopped before the session is claimed",
    file: moving("onward"),
    edits: [
      [
        "  const work = yield* move.make(course)\n  return yield* ended(",
        "  const work = yield* move.make(course)\n  yield* course.old.stop(session.instance!)\n  return yield* ended("
      ]
    ],
    tests: claim,
    only: "I-3 a claim that the ledger failed"
  },
  {
    invariant: "4",
    why: "writes are not fenced by the claim",
    file: `${core}/SqlLedger/commit.ts`,
    edits: [noFence],
    tests: claim,
    only: "I-4 a switch that works on"
  },
  {
    invariant: "5",
    why: "a session is claimed as it was seen, and not as it is",
    file: acquire,
    edits: [noVersion],
    tests: claim,
    only: "I-5 a session that was halted"
  },
  {
    invariant: "5b",
    why: "the claim changes more than who has the session",
    file: acquire,
    edits: [["...(expired ? { export_lock: null } : {}),", "health: null,"]],
    tests: claim,
    only: "I-5b I-36"
  },
  {
    invariant: "6",
    why: "a session that was destroyed since it was read is claimed",
    file: acquire,
    edits: [noVersion],
    tests: claim,
    only: "I-6 a session that was destroyed"
  },
  {
    invariant: "7",
    why: "two of those that race for the claim get it",
    file: acquire,
    edits: [noVersion, noToken],
    tests: race,
    only: "I-7 of 20 switches"
  },
  {
    invariant: "7",
    why: "two processes that race for the claim get it",
    file: acquire,
    edits: [noVersion, noToken],
    tests: { project: "system", file: "test/switchContention.test.ts" },
    only: "I-7 that switch one session"
  },
  {
    invariant: "8",
    why: "a live claim is taken over",
    file: `${core}/Claim.ts`,
    edits: [['if (status === "live" && !force) return', "if (false) return"]],
    tests: claim,
    only: "I-8 whatever else"
  },
  {
    invariant: "9",
    why: "a box that was made for a session that is destroyed is left",
    file: `${core}/internal/box.ts`,
    edits: [['      current.state === "destroyed" ||\n', ""]],
    tests: claim,
    only: "I-9 a switch whose session"
  },
  {
    invariant: "10",
    why: "nobody looks whether the claim is held still",
    file: `${core}/Claim.ts`,
    edits: [["Effect.raceFirst(attempt, claimed.renewal)", "attempt"]],
    tests: claim,
    only: "I-10 a lost claim ends"
  },
  {
    invariant: "11",
    why: "a claim is not renewed",
    file: `${core}/Claim.ts`,
    edits: [
      [
        "const renewal = Effect.forever(Effect.andThen(Effect.sleep(timings.renewal), renewOnce))",
        "const renewal = Effect.never"
      ]
    ],
    tests: claim,
    only: "I-11 a switch is not taken over"
  },
  {
    invariant: "11",
    why: "a claim is not renewed while the session goes back",
    file: `${core}/Claim.ts`,
    edits: [
      [
        "yield* renewing(claimed, rolledBack(claimed, work, cause, error))",
        "yield* rolledBack(claimed, work, cause, error)"
      ]
    ],
    tests: claim,
    only: "I-11 nor while it goes back"
  },
  {
    invariant: "12",
    why: "a holder that is dead counts as alive until its lease is over",
    file: `${core}/Liveness.ts`,
    edits: [['? "live" : "stale"', '? "live" : "live"']],
    tests: claim,
    only: "I-12 a switch whose process"
  },
  {
    invariant: "13",
    why: "anybody's session is found",
    file: `${core}/internal/sessions.ts`,
    edits: [["const own = sessions.filter((session) => session.owner === owner)", "const own = sessions"]],
    tests: claim,
    only: "I-13 somebody else's session is not switched"
  },
  {
    invariant: "35",
    why: "the old box is not on record when the new provider is",
    file: moving("leave"),
    edits: [["      ...(orphan === undefined ? [] : [orphan]),\n", ""]],
    tests: table,
    only: "I-35 I-47 killed after the write, then resume"
  },
  {
    invariant: "35",
    why: "a session that goes back is ready, and its box halted",
    file: moving("back"),
    edits: [['  if (seen._tag === "stopped") yield* held.phase("start", old.start(ref))\n', ""]],
    tests: table,
    only: "I-35 I-47 interrupted after the write .restore."
  },
  {
    invariant: "35",
    why: "what a dead switch has made is not removed where the session goes back",
    file: moving("onward"),
    edits: [['    yield* held.phase("destroy", backend.destroy(target))\n', ""]],
    tests: table,
    only: "I-35 I-42 killed after the create, unrecorded, then switch back"
  },
  {
    invariant: "36",
    why: "an interruption that changed nothing is recorded as a failure",
    file: moving("move"),
    edits: [["const lastError = isUntouched && seen?.begun === false ? undefined :", "const lastError ="]],
    tests: claim,
    only: "I-5b I-36"
  },
  {
    invariant: "37",
    why: "a session whose box was halted is ready",
    file: moving("back"),
    edits: [
      [
        '  if (seen._tag === "unknown") return { move',
        '  if (seen._tag === "stopped") return asBefore\n  if (seen._tag === "unknown") return { move'
      ]
    ],
    tests: crash,
    only: "I-37 after the old box was stopped"
  },
  {
    invariant: "37",
    why: "a session whose box may be halted is ready",
    file: moving("back"),
    edits: [
      [
        '  if (seen._tag === "unknown") return { move: yield* held.move("failed"), set } satisfies Settlement',
        '  if (seen._tag === "unknown") return asBefore'
      ]
    ],
    tests: crash,
    only: "I-37 nor where it cannot be seen"
  },
  {
    invariant: "38",
    why: "a switch that failed on the new side is settled as one that had not begun",
    file: moving("move"),
    edits: [["if (!isWritten(row, held.prior!)) {", "if (row.id !== '') {"]],
    tests: crash,
    only: 'I-38 a ledger that fails to write "intent"'
  },
  {
    invariant: "39",
    why: "a second interruption cuts short what goes back",
    file: `${core}/Claim.ts`,
    edits: [
      [
        "return yield* release(claimed, work, Exit.isFailure(exit) ? exit.cause : Cause.empty)",
        "return yield* restore(release(claimed, work, Exit.isFailure(exit) ? exit.cause : Cause.empty))"
      ]
    ],
    tests: crash,
    only: "I-39 what goes back"
  },
  {
    invariant: "40",
    why: "what could not be written back is told as an interruption like any other",
    file: `${core}/Claim.ts`,
    edits: [["return yield* unsettled(failed, before.id,", "return yield* changedAnyway(failed, before.id,"]],
    tests: crash,
    only: "I-40 what cannot be written back"
  },
  {
    invariant: "41",
    why: "two go on with one dead switch",
    file: acquire,
    edits: [noVersion, noToken, noLease],
    tests: crash,
    only: "I-41 a dead switch"
  },
  {
    invariant: "42",
    why: "what goes on with a create that was not answered makes another box",
    file: `${core}/internal/box.ts`,
    edits: [['before.state === "provisioning" ? yield* openIntent(before) : undefined', "undefined"]],
    tests: crash,
    only: "I-41 I-42 a create that is answered"
  },
  {
    invariant: "43",
    why: "a switch whose last commit failed is told as done",
    file: `${core}/Claim.ts`,
    edits: [
      [
        "if (Option.isSome(answer) && ((yield* Ref.get(finished)) || (yield* claimed.succeeded)))",
        "if (Option.isSome(answer))"
      ]
    ],
    tests: crash,
    only: "I-43 a ready that"
  },
  {
    invariant: "44",
    why: "a session whose old box did not start is ready",
    file: moving("back"),
    edits: [
      [
        '{ move: yield* held.move("failed"), set: { lastError: lastError ?? recorded(why) }, events }',
        "{ move: yield* held.move(prior.state), set: { lastError: lastError ?? recorded(why) }, events }"
      ]
    ],
    tests: crash,
    only: "I-44 a failed takeover"
  },
  {
    invariant: "45",
    why: "the new provider is on record before the old box is stopped",
    file: moving("move"),
    edits: [
      [
        "    const left = yield* leave(",
        "    yield* held.commit({ set: { provider: to.name } })\n    const left = yield* leave("
      ]
    ],
    tests: order,
    only: "I-45 "
  },
  {
    invariant: "46",
    why: "the old box is stopped through the new provider",
    file: moving("move"),
    edits: [["leave(held, old, onStopFailure)", "leave(held, to, onStopFailure)"]],
    tests: order,
    only: "I-46 the old box"
  },
  {
    invariant: "46",
    why: "what is in the row now is taken for the old box",
    file: moving("back"),
    edits: [["      instance: isThere ? instance : null,", "      instance: isThere ? row.instance : null,"]],
    tests: order,
    only: "I-46 the snapshot"
  },
  {
    invariant: "47",
    why: "a box that could not be stopped is forgotten",
    file: moving("leave"),
    edits: [
      ['const isThere = left._tag === "halted" || left._tag === "left"', 'const isThere = left._tag === "halted"']
    ],
    tests: order,
    only: "I-47 a stop that fails three times"
  },
  {
    invariant: "47",
    why: "a box that could not be stopped is put on record after the new provider is",
    file: moving("leave"),
    edits: [
      ["      ...(orphan === undefined ? [] : [orphan]),\n", ""],
      [
        '{ type: "provider_changed", data: { from: row.provider, to, checkpoint, box: adopted?.key ?? null } }\n    ]\n  })\n',
        '{ type: "provider_changed", data: { from: row.provider, to, checkpoint, box: adopted?.key ?? null } }\n    ]\n  })\n  yield* held.commit({ orphans: orphan === undefined ? [] : [orphan] })\n'
      ]
    ],
    tests: order,
    only: "I-47 of a switch that is killed"
  },
  {
    invariant: "47",
    why: "a switch goes on without the stop that was asked for",
    file: moving("leave"),
    edits: [['if (onStopFailure === "abort" || ', "if ("]],
    tests: order,
    only: "I-47 a failed stop ends"
  },
  {
    invariant: "48",
    why: "an interrupted stop is tried to its end, as a failed one",
    file: moving("leave"),
    edits: [
      [
        'Effect.result(held.phase("stop", stop(row, old, ref)))',
        'Effect.result(Effect.uninterruptible(held.phase("stop", stop(row, old, ref))))'
      ]
    ],
    tests: order,
    only: "I-48 "
  },
  {
    invariant: "49",
    why: "the old box is in the row that names the new provider",
    file: moving("leave"),
    edits: [["      instance: adopted?.ref ?? null,", "      instance: adopted?.ref ?? row.instance,"]],
    tests: order,
    only: "I-49 I-56"
  },
  {
    invariant: "50",
    why: "a box that is halted is stopped once more",
    file: `${core}/internal/halt.ts`,
    edits: [['if (before._tag === "stopped" && !backend.haltIsTerminal) return false', ""]],
    tests: order,
    only: "I-50 a switch that is tried again"
  },
  {
    invariant: "51",
    why: "a provider that is not registered is replaced by another one",
    file: `${core}/Provisioners.ts`,
    edits: [
      ["get: (name) => backends.get(name) ??", "get: (name) => backends.get(name) ?? [...backends.values()][0] ??"]
    ],
    tests: order,
    only: "I-51 "
  },
  {
    invariant: "52",
    why: "a target is looked for when the session is claimed already",
    file: moving("gates"),
    edits: [["if (name !== undefined) return name", "if (names.length > 0) return name ?? given"]],
    tests: gates,
    only: "I-52 a target that nobody"
  },
  {
    invariant: "52",
    why: "a session goes back although there may be a box of it on the new side",
    file: moving("move"),
    edits: [["    if (isLeft) return yield* back.stays(held, failure)\n", ""]],
    tests: gates,
    only: "I-52 a target that disappears under way is never said to be switching .restore."
  },
  {
    invariant: "53",
    why: "what cannot travel is looked at under the claim alone",
    file: moving("onward"),
    edits: [["if (!confirmDataLoss && !isUnderWay)", "if (false)"]],
    tests: gates,
    only: "I-53 work that cannot travel"
  },
  {
    invariant: "53",
    why: "what cannot travel is looked at before the claim alone",
    file: moving("move"),
    edits: [["if (!confirmDataLoss) yield* refuseLosses", "if (false) yield* refuseLosses"]],
    tests: gates,
    only: "I-53 work that comes after the look"
  },
  {
    invariant: "53",
    why: "a disk that is wanted is left behind without a word",
    file: moving("travel"),
    edits: [['if (Setup.keeping(setup).volume === "persist") {', "if (setup === undefined) {"]],
    tests: gates,
    only: "I-53 is refused before the claim"
  },
  {
    invariant: "54",
    why: "a session is switched to where it is",
    file: `${core}/programs/switchProvider.ts`,
    edits: [["if (session.provider === to && leftAt(session) === undefined) {", "if (to === '') {"]],
    tests: gates,
    only: "I-54 "
  },
  {
    invariant: "55",
    why: "what the target says against the box is not heard",
    file: moving("onward"),
    edits: [
      [
        "const scope = yield* backend.preflight(session.spec)",
        "const scope = yield* Effect.orElseSucceed(backend.preflight(session.spec), () => to)"
      ]
    ],
    tests: gates,
    only: "I-55 a target that would not"
  },
  {
    invariant: "56",
    why: "a switch changes the branch of the session",
    file: moving("leave"),
    edits: [["      provider: to,\n      instance:", '      provider: to,\n      branch: "main",\n      instance:']],
    tests: order,
    only: "I-49 I-56"
  },
  {
    invariant: "56",
    why: "what is saved already is saved again",
    file: moving("carry"),
    edits: [["  if (isSaved) {", "  if (row.id === '') {"]],
    tests: order,
    only: "I-56 checkpoints"
  },
  {
    invariant: "57",
    why: "a new side that failed is never undone",
    file: moving("move"),
    edits: [['if (onFailure === "hold" || ', "if (row.id !== '' || "]],
    tests: rollback,
    only: "I-57 the session is where it was"
  },
  {
    invariant: "57",
    why: "a session goes back that was to be held",
    file: moving("move"),
    edits: [['if (onFailure === "hold" || ', "if ("]],
    tests: rollback,
    only: "I-57 and held on the new side"
  },
  {
    invariant: "57",
    why: "a halted session that goes back is started",
    file: moving("back"),
    edits: [["  if (!wasUp(prior)) return isBack({", "  if (prior === undefined) return isBack({"]],
    tests: rollback,
    only: "I-57 a session that was halted"
  },
  {
    invariant: "58",
    why: "a switch whose session is gone makes the new box",
    file: `${core}/SqlLedger/commit.ts`,
    edits: [noFence],
    tests: rollback,
    only: "I-58 a session that is destroyed by force meanwhile gets no new box .in a.stop."
  },
  {
    invariant: "58",
    why: "a box that could not be removed counts as removed with its session",
    file: `${core}/internal/teardown.ts`,
    edits: [["if (Result.isSuccess(ended)) removed.push(orphan)", "if (orphan.id !== '') removed.push(orphan)"]],
    tests: rollback,
    only: "I-58 nor is a box forgotten"
  },
  {
    invariant: "59",
    why: "the ledger is asked before the arguments are looked at",
    file: `${core}/programs/switchProvider.ts`,
    edits: [
      [
        "  const to = yield* gates.target(options.to)\n  const found = yield* sessions.current(yield* sessions.find(options.session))\n",
        "  const found = yield* sessions.current(yield* sessions.find(options.session))\n  const to = yield* gates.target(options.to)\n"
      ]
    ],
    tests: gates,
    only: "I-59 "
  }
]
