/**
 * The records of the ledger as plain data: sessions, claims, operations, intents, orphans, checkpoints, events.
 *
 * Times are milliseconds since the epoch, from the Effect clock.
 */
import { Schema } from "effect"
import { Holder } from "./Host.ts"
import * as Lifecycle from "./Lifecycle.ts"
import { Setup } from "./Setup.ts"

export const State = Schema.Literals(Lifecycle.states)
export const ClaimKind = Schema.Literals(Lifecycle.claimKinds)

/** JSON that a provider or a caller may put into a record. */
export const JsonRecord = Schema.Record(Schema.String, Schema.Json)

/**
 * Where a provider keeps its boxes: the host, the engine, the account and region, the project.
 *
 * Two scopes that differ are two places: what is absent in one says nothing about the other.
 */
export const Scope = Schema.NonEmptyString
export type Scope = typeof Scope.Type

/** What a box should be. Absent means the provider's default. */
export class Spec extends Schema.Class<Spec>("@org/sandbox-core/Spec")({
  image: Schema.optionalKey(Schema.String),
  /** Virtual CPUs. */
  cpus: Schema.optionalKey(Schema.Finite),
  /** Bytes. */
  memory: Schema.optionalKey(Schema.Int)
}) {}

/**
 * How to find a box again: everything a restarted process needs. Once written it is readable for ever.
 */
export class InstanceRef extends Schema.Class<InstanceRef>("@org/sandbox-core/InstanceRef")({
  /** Version of this format. */
  version: Schema.Literal(1),
  provider: Schema.String,
  scope: Scope,
  /** The intent's key that the box was made for. */
  key: Schema.String,
  /** The platform's own identifier of the box. */
  id: Schema.String,
  /** Whatever else the provider needs; never a secret. */
  data: JsonRecord
}) {}

/** The row as it was when a claim was first taken; a claim that inherits a dead one's work keeps it. */
export class Prior extends Schema.Class<Prior>("@org/sandbox-core/Prior")({
  state: State,
  provider: Schema.String,
  instance: Schema.NullOr(InstanceRef),
  generation: Schema.Int,
  /** What a move to another provider changes besides; absent in claims of earlier versions. */
  workspacePath: Schema.optionalKey(Schema.NullOr(Schema.String)),
  workBranch: Schema.optionalKey(Schema.NullOr(Schema.String)),
  restoreFrom: Schema.optionalKey(Schema.NullOr(Schema.String)),
  placementScope: Schema.optionalKey(Schema.NullOr(Scope))
}) {}

/** Who is moving a session now. */
export class Claim extends Schema.Class<Claim>("@org/sandbox-core/Claim")({
  /** Unique per attempt; every write of the holder is fenced by it. */
  token: Schema.String,
  operationId: Schema.String,
  kind: ClaimKind,
  /** The phase that the holder last committed in. */
  phase: Schema.String,
  acquiredAt: Schema.Int,
  renewedAt: Schema.Int,
  leaseUntil: Schema.Int,
  holder: Holder,
  /** None when the session did not exist before: an `up` is creating it. */
  prior: Schema.NullOr(Prior)
}) {}

/** Whether a claim has a holder. `stale`: its lease ran out, or its holder ran on this host and is provably dead. */
export type Liveness = "free" | "live" | "stale"

/** An export in flight; durable, so that nothing tears down what is being exported. */
export class ExportLock extends Schema.Class<ExportLock>("@org/sandbox-core/ExportLock")({
  operationId: Schema.String,
  branch: Schema.String,
  leaseUntil: Schema.Int
}) {}

/** How work leaves a session: pushed to a branch of its repository, or written to files of this host. */
export const ExportKind = Schema.Literals(["branch", "patch", "bundle"])
export type ExportKind = typeof ExportKind.Type

/** An export that succeeded. */
export class Exported extends Schema.Class<Exported>("@org/sandbox-core/Exported")({
  operationId: Schema.String,
  to: ExportKind,
  /** The branch that was pushed to, or that a bundle names. */
  branch: Schema.String,
  /** What was exported, work that was not committed included. */
  commit: Schema.String,
  /** The repository that was pushed to, or the file or directory that was written. */
  target: Schema.String,
  /** Whether `commit` was made for the export, of what was not committed. */
  uncommitted: Schema.optionalKey(Schema.Boolean),
  exportedAt: Schema.Int
}) {}

/** A failure as it is kept in a record. */
export class RecordedError extends Schema.Class<RecordedError>("@org/sandbox-core/RecordedError")({
  code: Schema.String,
  message: Schema.String,
  nextStep: Schema.String,
  retryable: Schema.Boolean,
  operationId: Schema.NullOr(Schema.String),
  sessionId: Schema.optionalKey(Schema.String),
  state: Schema.optionalKey(Schema.String),
  details: Schema.optionalKey(JsonRecord)
}) {}

export const HealthStatus = Schema.Literals(["healthy", "degraded", "unreachable", "gone", "unknown"])

/** What was last seen of the box, and when. An observation: it never moves a session. */
export class Health extends Schema.Class<Health>("@org/sandbox-core/Health")({
  status: HealthStatus,
  observedAt: Schema.Int
}) {}

/** A durable, owned, named piece of work. */
export class Session extends Schema.Class<Session>("@org/sandbox-core/Session")({
  id: Schema.String,
  owner: Schema.String,
  name: Schema.String,
  /** The session on whose behalf this one was started, such as an agent's for its sub-agent; its record may be gone by now. */
  parent: Schema.NullOr(Schema.String),
  /** The name while it is held; null once the session is destroyed or its first `up` failed. */
  reservedName: Schema.NullOr(Schema.String),
  state: State,
  /** Rises with every write but lease renewals. */
  version: Schema.Int,
  provider: Schema.String,
  /** Rises with every intent that may make a new box. */
  generation: Schema.Int,
  spec: Spec,
  instance: Schema.NullOr(InstanceRef),
  /** A box may still exist that the row does not know: `gc` or `destroy` must look for it. */
  cleanupRequired: Schema.Boolean,
  claim: Schema.NullOr(Claim),
  exportLock: Schema.NullOr(ExportLock),
  health: Schema.NullOr(Health),
  /** An absolute path or a URL, without user name or password. */
  repository: Schema.String,
  branch: Schema.NullOr(Schema.String),
  /** The branch that is checked out in the box, where it is not `branch` itself. */
  workBranch: Schema.NullOr(Schema.String),
  commit: Schema.NullOr(Schema.String),
  /** The checkout's path on this host, for providers that have one. */
  workspacePath: Schema.NullOr(Schema.String),
  /** What runs beside the checkout; none for a session that asked for nothing. */
  setup: Schema.NullOr(Setup),
  /** Where slots and ports are shared out: the scope of a provider whose boxes listen on their host. */
  placementScope: Schema.NullOr(Scope),
  /** Unique in its placement scope; kept while the session is halted. */
  slot: Schema.NullOr(Schema.Int),
  /** By name; unique in the placement scope. None while the session is halted. */
  ports: Schema.NullOr(Schema.Record(Schema.String, Schema.Int)),
  /** Where the primary service answers. */
  endpointUrl: Schema.NullOr(Schema.String),
  lastError: Schema.NullOr(RecordedError),
  /** The checkpoint that the checkout is to be made of and is not yet; whoever brings the session up goes on with it. */
  restoreFrom: Schema.NullOr(Schema.String),
  lastExport: Schema.NullOr(Exported),
  expiresAt: Schema.NullOr(Schema.Int),
  createdAt: Schema.Int,
  updatedAt: Schema.Int,
  readyAt: Schema.NullOr(Schema.Int),
  /** When the work was said to be done; none while it is not. */
  completedAt: Schema.NullOr(Schema.Int),
  stoppedAt: Schema.NullOr(Schema.Int),
  persistedAt: Schema.NullOr(Schema.Int),
  destroyedAt: Schema.NullOr(Schema.Int)
}) {}

/** Ledger columns that a holder may change along with a move. State and claim are not among them; a slot is only given back. */
export type SessionPatch = Partial<
  Omit<
    Session,
    | "id"
    | "owner"
    | "name"
    | "parent"
    | "state"
    | "version"
    | "claim"
    | "exportLock"
    | "slot"
    | "createdAt"
    | "updatedAt"
  >
> & { readonly slot?: null }

export const OperationStatus = Schema.Literals(["running", "succeeded", "failed", "abandoned"])

/** One request and what became of it; what makes a retry safe. */
export class Operation extends Schema.Class<Operation>("@org/sandbox-core/Operation")({
  id: Schema.String,
  sessionId: Schema.String,
  owner: Schema.String,
  verb: Schema.String,
  /** The caller's idempotency key. */
  clientRequestId: Schema.NullOr(Schema.String),
  requestHash: Schema.String,
  attempt: Schema.Int,
  status: OperationStatus,
  result: Schema.NullOr(JsonRecord),
  error: Schema.NullOr(RecordedError),
  createdAt: Schema.Int,
  updatedAt: Schema.Int
}) {}

export const IntentStatus = Schema.Literals(["open", "bound", "closed"])

/**
 * A box that is about to be made, committed before the provider is asked.
 *
 * `open`: a box may exist. `bound`: it does, and the session's row refers to it. `closed`: none does.
 */
export class Intent extends Schema.Class<Intent>("@org/sandbox-core/Intent")({
  /** `<session>.g<generation>`: the idempotency key of the create call. */
  key: Schema.String,
  sessionId: Schema.String,
  generation: Schema.Int,
  provider: Schema.String,
  scope: Scope,
  /** Deterministic; lower-case letters, digits and hyphens, at most 63 characters. */
  name: Schema.String,
  status: IntentStatus,
  /** After this time a late create is no longer expected. */
  deadline: Schema.Int,
  createdAt: Schema.Int
}) {}

export const OrphanReason = Schema.Literals(["retired", "stop_exhausted", "abandoned"])

/** A box that no session refers to any more and that may still exist. */
export class Orphan extends Schema.Class<Orphan>("@org/sandbox-core/Orphan")({
  id: Schema.String,
  sessionId: Schema.String,
  operationId: Schema.String,
  provider: Schema.String,
  scope: Scope,
  /** The box, or the intent's key where its reference was never learned. */
  ref: Schema.NullOr(InstanceRef),
  key: Schema.String,
  reason: OrphanReason,
  /** What it was left with: the checkpoint that has the work of its checkout, and the path of that where it is on this host. */
  checkpoint: Schema.optionalKey(Schema.NullOr(Schema.String)),
  workspacePath: Schema.optionalKey(Schema.NullOr(Schema.String)),
  createdAt: Schema.Int,
  resolvedAt: Schema.NullOr(Schema.Int)
}) {}

/** What a checkpoint was made for. */
export const CheckpointReason = Schema.Literals(["down", "request", "restore", "complete", "switch", "left"])
export type CheckpointReason = typeof CheckpointReason.Type

/** A durable copy of a session that was read back and compared: its record and, where they can be seen, its files. */
export class Checkpoint extends Schema.Class<Checkpoint>("@org/sandbox-core/Checkpoint")({
  id: Schema.String,
  sessionId: Schema.String,
  /** SHA-256 of the manifest, which has the digest of everything else; hexadecimal. */
  digest: Schema.String,
  /** Of the manifest and of all that it refers to. */
  bytes: Schema.Int,
  verified: Schema.Boolean,
  reason: CheckpointReason,
  /** The commit that was checked out; none for a checkpoint of the record alone. */
  head: Schema.NullOr(Schema.String),
  /** SHA-256 that two checkouts share when they hold the same work; none for a checkpoint of the record alone. */
  fingerprint: Schema.NullOr(Schema.String),
  /** Files, links and directories that are in no commit. */
  files: Schema.Int,
  /** How many transitions compaction dropped; 0 when the record is whole. */
  compacted: Schema.Int,
  persistedAt: Schema.Int
}) {}

/** One entry of the append-only history. */
export class Event extends Schema.Class<Event>("@org/sandbox-core/Event")({
  sessionId: Schema.String,
  /** Counts from 1 within a session. */
  seq: Schema.Int,
  operationId: Schema.String,
  type: Schema.String,
  data: JsonRecord,
  at: Schema.Int
}) {}

/** The key of a session's box of one generation. */
export const intentKey = (sessionId: string, generation: number): string => `${sessionId}.g${generation}`

/** The generation in a key made by `intentKey`. */
export const keyGeneration = (key: string): number => Number(key.slice(key.lastIndexOf(".g") + 2))

/** The deterministic name of the box for a key, in the strictest alphabet of any platform. */
export const instanceName = (key: string): string => key.replaceAll(/[^a-z0-9]+/g, "-")
