/**
 * The life of a session as pure data: its states, the moves between them, and who may make each move.
 *
 * Nothing here performs an effect. A state can be written to the ledger only as a `Move`, and `move` is the only way to
 * get one, so an edge that is not in `edges` cannot be recorded.
 */

/** Every state a session can be in, in the order of its life. */
export const states = [
  "requested",
  "provisioning",
  "syncing",
  "ready",
  "completed",
  "switching",
  "stopping",
  "persisting",
  "persist_failed",
  "stopped_unpersisted",
  "stopped",
  "tearing_down",
  "destroyed",
  "failed"
] as const

/** Where a session is in its life. */
export type State = (typeof states)[number]

/** The kinds of claim: which operation is moving a session. */
export const claimKinds = [
  "up",
  "resume",
  "switch",
  "down",
  "destroy",
  "checkpoint",
  "export",
  "complete",
  "gc"
] as const

/** Which operation is moving a session. */
export type ClaimKind = (typeof claimKinds)[number]

/** States in which no operation is expected to be in flight. */
export const settledStates: ReadonlyArray<State> = [
  "ready",
  "completed",
  "persist_failed",
  "stopped_unpersisted",
  "stopped",
  "destroyed",
  "failed"
]

export const isSettled = (state: State): boolean => settledStates.includes(state)

interface Edge {
  /** `undefined` is a session that does not exist yet. */
  readonly from: ReadonlyArray<State | undefined>
  /** `"prior"`: back to the state that the claim recorded when it was taken. */
  readonly to: ReadonlyArray<State | "prior">
  readonly by: ReadonlyArray<ClaimKind>
  /** For `"prior"`: which prior states may be restored. Any, when absent. */
  readonly priors?: ReadonlyArray<State>
}

/** The transition table. Anything that is not here is a defect. */
export const edges: ReadonlyArray<Edge> = [
  { from: [undefined], to: ["requested"], by: ["up"] },
  { from: ["requested"], to: ["provisioning"], by: ["up"] },
  { from: ["provisioning"], to: ["syncing"], by: ["up", "resume", "switch"] },
  { from: ["syncing"], to: ["ready"], by: ["up", "resume", "switch"] },
  { from: ["requested", "provisioning", "syncing"], to: ["failed"], by: ["up", "resume", "switch", "gc"] },
  { from: ["provisioning", "syncing"], to: ["prior"], by: ["resume"] },
  { from: ["provisioning", "syncing"], to: ["switching"], by: ["switch"] },
  { from: ["ready"], to: ["completed"], by: ["complete", "resume"] },
  { from: ["completed"], to: ["ready"], by: ["complete", "resume"] },
  { from: ["ready", "completed"], to: ["stopping"], by: ["down", "destroy"] },
  { from: ["stopping"], to: ["prior"], by: ["down", "destroy"], priors: ["ready", "completed"] },
  { from: ["stopping"], to: ["persisting"], by: ["down", "destroy"] },
  { from: ["stopping"], to: ["tearing_down"], by: ["destroy"] },
  { from: ["requested", "provisioning", "syncing", "switching"], to: ["tearing_down"], by: ["down", "destroy"] },
  { from: ["provisioning", "syncing", "switching", "failed"], to: ["stopping"], by: ["down", "destroy"] },
  { from: ["ready", "completed"], to: ["failed"], by: ["resume", "switch", "gc"] },
  { from: ["ready", "completed"], to: ["syncing"], by: ["resume"] },
  { from: ["persisting"], to: ["stopped", "persist_failed", "stopped_unpersisted"], by: ["down", "destroy"] },
  { from: ["persist_failed", "stopped_unpersisted"], to: ["persisting"], by: ["down"] },
  { from: ["stopped", "stopped_unpersisted", "persist_failed", "failed"], to: ["provisioning"], by: ["resume"] },
  { from: ["ready", "completed", "stopped", "stopped_unpersisted", "failed"], to: ["switching"], by: ["switch"] },
  { from: ["switching"], to: ["prior", "stopped", "failed"], by: ["switch", "gc"] },
  { from: ["switching"], to: ["provisioning"], by: ["switch"] },
  {
    from: ["stopped", "completed", "failed", "persist_failed", "stopped_unpersisted"],
    to: ["tearing_down"],
    by: ["destroy", "gc"]
  },
  { from: ["requested", "provisioning", "syncing", "switching"], to: ["tearing_down"], by: ["gc"] },
  { from: ["tearing_down"], to: ["destroyed"], by: ["down", "destroy", "gc"] }
]

/** States in which a later attempt may take over where a dead one stopped, and which operations may do so. */
export const reentry: ReadonlyArray<{ readonly in: ReadonlyArray<State>; readonly by: ReadonlyArray<ClaimKind> }> = [
  { in: ["requested"], by: ["up", "gc"] },
  { in: ["provisioning", "syncing"], by: ["up", "resume", "switch", "gc"] },
  { in: ["switching"], by: ["switch", "gc"] },
  { in: ["stopping", "persisting"], by: ["down", "destroy"] },
  { in: ["tearing_down"], by: ["down", "destroy", "gc"] }
]

/** One permitted step of a session's life; made by `move` alone. */
export class Move {
  readonly from: State | undefined
  readonly to: State
  readonly by: ClaimKind
  private constructor(from: State | undefined, to: State, by: ClaimKind) {
    this.from = from
    this.to = to
    this.by = by
  }
  /** @internal */
  static readonly unchecked = (from: State | undefined, to: State, by: ClaimKind): Move => new Move(from, to, by)
}

/** Whether the table has an edge between two states for this kind of claim. */
export const allows = (options: {
  readonly from: State | undefined
  readonly to: State
  readonly by: ClaimKind
  /** The state that the claim recorded when it was taken; none for a session that an `up` is creating. */
  readonly prior?: State | undefined
}): boolean =>
  edges.some(
    (edge) =>
      edge.by.includes(options.by) &&
      edge.from.includes(options.from) &&
      (edge.to.includes(options.to) ||
        (edge.to.includes("prior") &&
          options.prior === options.to &&
          (edge.priors === undefined || edge.priors.includes(options.to))))
  )

/**
 * A step from one state to another.
 *
 * Throws when the table has no such edge: that is a bug in the caller, never a condition to handle.
 */
export const move = (options: Parameters<typeof allows>[0]): Move => {
  if (!allows(options)) {
    throw new Error(`no transition from ${options.from ?? "nothing"} to ${options.to} by ${options.by}`)
  }
  return Move.unchecked(options.from, options.to, options.by)
}
