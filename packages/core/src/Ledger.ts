/**
 * The truth about sessions: one port over a transactional store.
 *
 * Every write is one short transaction that either compares and sets, or changes nothing. No caller can hold one open:
 * a write is described by data and carried out whole, so no network call, git command, hook or prompt can stand inside.
 * Reads take no lock and never wait for an operation in flight.
 */
import { Context, type Effect, type Option, Schema } from "effect"
import type { Holder } from "./Host.ts"
import type * as Lifecycle from "./Lifecycle.ts"
import type { SandboxError } from "./SandboxError.ts"
import {
  type Checkpoint,
  type Event,
  type Intent,
  Operation,
  type Orphan,
  type Prior,
  type RecordedError,
  Session,
  type SessionPatch
} from "./Session.ts"

/** The row was not as the caller had seen it, so nothing was written. */
export class ClaimConflict extends Schema.TaggedError<ClaimConflict>("@org/sandbox-core/ClaimConflict")(
  "ClaimConflict",
  { current: Schema.NullOr(Session) }
) {}

/** The claim that should have fenced a write belongs to somebody else now; nothing was written. */
export class ClaimLost extends Schema.TaggedError<ClaimLost>("@org/sandbox-core/ClaimLost")("ClaimLost", {
  sessionId: Schema.String,
  current: Schema.NullOr(Session)
}) {}

/** Another live session of this owner holds the name. */
export class NameTaken extends Schema.TaggedError<NameTaken>("@org/sandbox-core/NameTaken")("NameTaken", {
  holder: Session
}) {}

/** Every slot of the placement is held by some session. */
export class SlotsExhausted extends Schema.TaggedError<SlotsExhausted>("@org/sandbox-core/SlotsExhausted")(
  "SlotsExhausted",
  {
    max: Schema.Int,
    /** By slot; also of other owners. */
    holders: Schema.Array(Session)
  }
) {}

/** Another session of the placement was given one of these ports; nothing was written. */
export class PortTaken extends Schema.TaggedError<PortTaken>("@org/sandbox-core/PortTaken")("PortTaken", {
  ports: Schema.Array(Schema.Int)
}) {}

/** The owner used this request id before, for the same verb. */
export class RequestKnown extends Schema.TaggedError<RequestKnown>("@org/sandbox-core/RequestKnown")("RequestKnown", {
  operation: Operation
}) {}

/** What a new operation is; the ledger adds attempt, status and times. */
export interface OperationRequest {
  readonly id: string
  readonly verb: string
  readonly clientRequestId: string | null
  readonly requestHash: string
}

/** A claim that is about to be taken. */
export interface ClaimRequest {
  readonly token: string
  readonly kind: Lifecycle.ClaimKind
  readonly holder: Holder
  /** Milliseconds from now until the claim may be taken over, unless renewed. */
  readonly lease: number
  readonly prior: Prior | null
  /** Taken with the claim, kept with it, and dropped with it: the branch that the session is being exported to. */
  readonly exporting?: string | undefined
}

/** Where a slot is wanted, and how many there are: the lowest free one is given. */
export interface SlotRequest {
  readonly scope: string
  readonly max: number
}

export interface NewSession {
  readonly id: string
  readonly owner: string
  readonly name: string
  readonly provider: string
  readonly spec: Session["spec"]
  readonly repository: string
  readonly branch: string | null
  readonly setup: Session["setup"]
  /** The id of the session on whose behalf it is started; nobody's, when none. */
  readonly parent?: string | null | undefined
  /** Milliseconds since the epoch; never, when none. */
  readonly expiresAt?: number | null | undefined
}

export interface Reservation {
  readonly move: Lifecycle.Move
  readonly session: NewSession
  /** None for a session that listens on no port of its host. */
  readonly slot?: SlotRequest | undefined
  readonly operation: OperationRequest
  readonly claim: ClaimRequest
}

export interface Acquisition {
  /** The row as the caller saw it: the claim is taken only if nobody has written to it since. */
  readonly observed: Session
  readonly move?: Lifecycle.Move | undefined
  readonly claim: ClaimRequest
  readonly operation: OperationRequest
  /** Take the claim although its holder may be alive. */
  readonly force: boolean
}

export interface NewEvent {
  readonly type: string
  readonly data: Event["data"]
}

/** Everything that one commit of a claim's holder may change, together or not at all. */
export interface Change {
  readonly move?: Lifecycle.Move | undefined
  readonly set?: SessionPatch | undefined
  readonly phase?: string | undefined
  readonly events?: ReadonlyArray<NewEvent> | undefined
  /** New or changed intents, by key. */
  readonly intents?: ReadonlyArray<Intent> | undefined
  /** New or changed orphans, by id. */
  readonly orphans?: ReadonlyArray<Orphan> | undefined
  readonly checkpoint?: Checkpoint | undefined
  /** Ids of checkpoints of this session that are no more. */
  readonly removedCheckpoints?: ReadonlyArray<string> | undefined
  /** A slot for a session that has none. */
  readonly slot?: SlotRequest | undefined
  /** How the holder's operation ended. */
  readonly outcome?:
    | { readonly status: "succeeded"; readonly result: Operation["result"] }
    | { readonly status: "failed"; readonly error: RecordedError }
    | undefined
  /** Drop the claim, and the export lock that was taken with it, with this very commit. */
  readonly release?: boolean | undefined
}

export interface SessionQuery {
  /** Sessions of this owner only; of every owner when absent. */
  readonly owner?: string | undefined
  /**
   * A session id, a prefix of one, or a name of this owner's. A row found by its id is returned whoever owns it: the
   * caller must look.
   */
  readonly reference?: string | undefined
  /** Leave out what ended before this time, in milliseconds since the epoch. */
  readonly endedAfter?: number | undefined
  readonly states?: ReadonlyArray<Lifecycle.State> | undefined
  readonly provider?: string | undefined
}

/** A row that cannot be read; it hides no other. */
export interface UnreadableRow {
  readonly id: string
  /** Whose it is, where that can be read. */
  readonly owner: string | null
  readonly problem: string
}

export interface SessionPage {
  /** Newest first. */
  readonly sessions: ReadonlyArray<Session>
  readonly unreadable: ReadonlyArray<UnreadableRow>
}

/** Records of every session, oldest first, with those that cannot be read apart. */
export interface Records<A> {
  readonly records: ReadonlyArray<A>
  readonly unreadable: ReadonlyArray<UnreadableRow>
}

/** Everything recorded about one session beside its row, oldest first. */
export interface SessionHistory {
  readonly events: ReadonlyArray<Event>
  readonly operations: ReadonlyArray<Operation>
  readonly intents: ReadonlyArray<Intent>
  readonly orphans: ReadonlyArray<Orphan>
  readonly checkpoints: ReadonlyArray<Checkpoint>
}

export class Ledger extends Context.Service<
  Ledger,
  {
    /** Random, made with the ledger: the label by which boxes are known to be ours. */
    readonly id: string
    /** Whether other hosts may write to it too, each of which has a checkpoint store and boxes of its own. */
    readonly shared: boolean
    /** What is wrong with the store itself, in words: reads all of a file, and nothing of a server, which looks to that itself. */
    readonly check: Effect.Effect<ReadonlyArray<string>, SandboxError>

    readonly session: (id: string) => Effect.Effect<Option.Option<Session>, SandboxError>
    readonly sessions: (query: SessionQuery) => Effect.Effect<SessionPage, SandboxError>
    readonly history: (sessionId: string) => Effect.Effect<SessionHistory, SandboxError>
    readonly request: (key: {
      readonly owner: string
      readonly verb: string
      readonly clientRequestId: string
    }) => Effect.Effect<Option.Option<Operation>, SandboxError>
    /** A checkpoint by its id, or by a prefix that no other has; of whatever session. */
    readonly checkpoint: (id: string) => Effect.Effect<Option.Option<Checkpoint>, SandboxError>
    /** Intents that may still have a box: status `open`, of every session. */
    readonly openIntents: Effect.Effect<Records<Intent>, SandboxError>
    /** Orphans that nobody resolved yet, of every session. */
    readonly openOrphans: Effect.Effect<Records<Orphan>, SandboxError>
    /** Ports of a placement and the sessions that have them. */
    readonly ports: (scope: string) => Effect.Effect<ReadonlyMap<number, string>, SandboxError>

    /** Creates a session with its name, its slot, its operation and its claim. */
    readonly reserve: (
      reservation: Reservation
    ) => Effect.Effect<Session, NameTaken | SlotsExhausted | RequestKnown | SandboxError>
    /** Takes the claim of a session if the row is still as observed; records the operation in the same commit. */
    readonly acquire: (acquisition: Acquisition) => Effect.Effect<Session, ClaimConflict | RequestKnown | SandboxError>
    /** Extends the lease, and that of the export lock. Touches nothing else, not even the version. */
    readonly renew: (claim: {
      readonly sessionId: string
      readonly token: string
      readonly operationId: string
      readonly lease: number
      readonly exporting?: string | undefined
    }) => Effect.Effect<void, ClaimLost | SandboxError>
    /** Writes for the holder of the claim, fenced by its token. Ports that are set replace those the session had. */
    readonly commit: (write: {
      readonly sessionId: string
      readonly token: string
      readonly operationId: string
      readonly change: Change
    }) => Effect.Effect<Session, ClaimLost | SlotsExhausted | PortTaken | SandboxError>
    /**
     * Forgets a session with everything recorded about it. `false`, and nothing done, unless it is destroyed and as observed,
     * without a claim, an open intent or orphan, or a checkpoint.
     */
    readonly purge: (observed: Session) => Effect.Effect<boolean, SandboxError>
  }
>()("@org/sandbox-core/Ledger") {}

/**
 * Set to `true` while a ledger transaction is open.
 *
 * Nothing that waits may run then; provider calls, git and prompts are never made with it set.
 */
export const InTransaction = Context.Reference<boolean>("@org/sandbox-core/Ledger/InTransaction", {
  defaultValue: () => false
})
