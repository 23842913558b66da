/** Breaks of what forbids that a box is left or removed: paused parents, disks that are wanted; and of what is told meanwhile. */
const core = "packages/core/src"
const parents = { project: "system", file: "test/parents.test.ts" }
const volume = { project: "system", file: "test/volume.test.ts" }
const ancestors = { project: "core", file: "test/ancestors.test.ts" }
const bytes = { project: "core", file: "test/transfer.test.ts" }
const moved = { project: "system", file: "test/transfer.test.ts" }

export const breaks = [
  {
    invariant: "26",
    why: "a parent is no part of what makes two requests the same",
    file: `${core}/programs/up.ts`,
    edits: [["    parent: parent?.id,\n    ttl: request.ttl,", "    ttl: request.ttl,"]],
    tests: parents,
    only: "I-26 is part of what makes two requests the same"
  },
  {
    invariant: "parents",
    why: "a session is started on behalf of one that is destroyed",
    file: `${core}/programs/up.ts`,
    edits: [['if (parent?.state === "destroyed")', "if (parent === null)"]],
    tests: parents,
    only: "is refused where the other one"
  },
  {
    invariant: "parents",
    why: "a parent is named as it was typed, and not by its id",
    file: `${core}/programs/up.ts`,
    edits: [["        parent: parent?.id,\n        expiresAt", "        parent: request.parent,\n        expiresAt"]],
    tests: parents,
    only: "says whose it is"
  },
  {
    invariant: "parents",
    why: "only the parent itself is looked at",
    file: `${core}/internal/ancestors.ts`,
    edits: [["next = parent.parent", "next = null"]],
    tests: ancestors,
    only: "hinder it while one of them is paused"
  },
  {
    invariant: "parents",
    why: "a parent that is halted and not saved does not count as paused",
    file: `${core}/internal/ancestors.ts`,
    edits: [['"stopped_unpersisted", ', ""]],
    tests: ancestors,
    only: "hinder it while one of them is paused"
  },
  {
    invariant: "parents",
    why: "a ring of parents is walked for ever",
    file: `${core}/internal/ancestors.ts`,
    edits: [["next !== null && !seen.has(next)", "next !== null"]],
    tests: ancestors,
    only: "end where a record is gone"
  },
  {
    invariant: "53",
    why: "a box whose disk is wanted is destroyed because its checkout is saved",
    file: `${core}/programs/destroy.ts`,
    edits: [['if (!options.confirmDataLoss) yield* refuseVolume(session, "destroy")', ""]],
    tests: volume,
    only: "I-53 is removed by destroy only"
  },
  {
    invariant: "53",
    why: "the configuration's durability.volume does not reach the session",
    file: `${core}/Configuration/meaning.ts`,
    edits: [["      volume: durability.volume,\n", ""]],
    tests: volume,
    only: "I-53 is removed by destroy only"
  },
  {
    invariant: "volume",
    why: "gc halts a box whose disk is wanted, and ends it so",
    file: `${core}/internal/gc/expiry.ts`,
    edits: [['if (backend.haltIsTerminal) yield* refuseVolume(row, "down")', ""]],
    tests: volume,
    only: "is not halted either where a halt ends it"
  },
  {
    invariant: "volume",
    why: "a disk is kept that nobody ever had",
    file: `${core}/internal/unsaved.ts`,
    edits: [["  mayHaveWork(session) && Setup", "  session.instance !== null && Setup"]],
    tests: volume,
    only: "of a session that never became ready"
  },
  {
    invariant: "transfer",
    why: "every piece is told",
    file: `${core}/internal/transfer.ts`,
    edits: [["if (now < next) return Effect.void", ""]],
    tests: bytes,
    only: "are told every 200 ms"
  },
  {
    invariant: "transfer",
    why: "what came after the last event is not told",
    file: `${core}/internal/transfer.ts`,
    edits: [["Effect.suspend(() => (bytes === told ? Effect.void : tell))", "Effect.void"]],
    tests: bytes,
    only: "are told every 200 ms"
  },
  {
    invariant: "transfer",
    why: "files that are stored count for nothing",
    file: `${core}/internal/transfer.ts`,
    edits: [["  putFile: (path) => Effect.tap(draft.putFile(path), ({ size }) => add(size))\n", ""]],
    tests: moved,
    only: "are those of the work"
  },
  {
    invariant: "transfer",
    why: "what is copied out of a box counts for nothing",
    file: `${core}/internal/boxCheckout/copy.ts`,
    edits: [['transfer.flowing(backend.readFiles(ref, "."))', 'backend.readFiles(ref, ".")']],
    tests: moved,
    only: "are those of the checkout as well"
  }
]
