/** What the programs answer, as plain data: no type of `effect` occurs here. Times are ISO 8601 in UTC. */
import type { ClaimKind, State } from "./Lifecycle.ts"

/** JSON that a record holds. */
export type Json = null | boolean | number | string | ReadonlyArray<Json> | { readonly [key: string]: Json }

/** A command to type as it stands, and why. */
export interface Recovery {
  readonly command: string
  readonly reason: string
}

/** Who is moving a session, as others see it. */
export interface ClaimView {
  readonly kind: ClaimKind
  readonly operationId: string
  readonly phase: string
  readonly ageS: number
  /** The holder is dead or silent for longer than its lease: the recovery command takes over. */
  readonly stale: boolean
  readonly holder: { readonly host: string; readonly pid: number }
}

export interface HealthView {
  readonly status: "healthy" | "degraded" | "unreachable" | "gone" | "unknown"
  readonly observedAt: string
}

export interface ErrorView {
  readonly errorCode: string
  readonly cause: string
  readonly nextStep: string
  readonly retryable: boolean
  readonly operationId: string | null
  readonly details?: Readonly<Record<string, Json>>
}

/** A session as `list` and `status` show it. */
export interface SessionView {
  readonly sessionId: string
  readonly name: string
  readonly owner: string
  /** The id of the session on whose behalf it was started; its record may be gone by now. */
  readonly parent: string | null
  readonly provider: string
  readonly state: State
  readonly claim: ClaimView | null
  readonly health: HealthView | null
  readonly recovery: Recovery | null
  readonly repository: string
  readonly branch: string | null
  readonly workBranch: string | null
  readonly targetCommitSha: string | null
  readonly worktreePath: string | null
  readonly slot: number | null
  /** By name; empty while the session is halted. */
  readonly ports: Readonly<Record<string, number>>
  /** Where the primary service answers. */
  readonly endpointUrl: string | null
  readonly generation: number
  readonly lastError: ErrorView | null
  readonly lastExport: ExportView | null
  /** When `gc` halts the session; never, when none. */
  readonly expiresAt: string | null
  readonly createdAt: string
  readonly updatedAt: string
  readonly readyAt: string | null
  readonly completedAt: string | null
  readonly stoppedAt: string | null
  readonly persistedAt: string | null
  readonly destroyedAt: string | null
}

/** What every operation answers. */
export interface OperationResult {
  readonly sessionId: string
  /** Null where nothing had to be done, so that no operation was recorded. */
  readonly operationId: string | null
  readonly state: State
  readonly warnings: ReadonlyArray<string>
}

export interface UpResult extends OperationResult {
  readonly operationId: string
  readonly name: string
  readonly provider: string
  readonly branch: string
  readonly workBranch: string
  readonly targetCommitSha: string
  readonly worktreePath: string | null
  readonly slot: number | null
  /** By name. */
  readonly ports: Readonly<Record<string, number>>
  readonly endpointUrl: string | null
  /** The variable, among the session's secrets, with the password that the primary service wants; none when it wants none. */
  readonly passwordEnv: string | null
  /** The file, in the box, with the environment of the session's commands; none where there is no setup. */
  readonly envFile: string | null
  /** What is generated for the session and what its setup says; no inherited file and no secret. */
  readonly env: Readonly<Record<string, string>>
  readonly readyAt: string
  readonly browserOpened: boolean
  /** This is the recorded answer to the same request; nothing was done now. */
  readonly replayed?: true
}

export interface TransitionView {
  readonly from: State | null
  readonly to: State
  readonly at: string
  readonly operationId: string
}

export interface CheckpointView {
  readonly id: string
  /** SHA-256, hexadecimal. */
  readonly digest: string
  readonly bytes: number
  readonly verified: boolean
  /** `down` also for what `destroy` saves. */
  readonly reason: "down" | "request" | "restore" | "complete" | "switch" | "left"
  /** The commit that was checked out; none for a checkpoint of the session's record alone. */
  readonly head: string | null
  /** Files, links and directories that are in no commit. */
  readonly files: number
  /** How many transitions compaction dropped. */
  readonly compacted: number
  readonly persistedAt: string
}

export interface CheckpointResult extends OperationResult {
  readonly name: string
  readonly checkpoint: CheckpointView
  readonly replayed?: true
}

export interface CheckpointsResult {
  readonly sessionId: string
  readonly name: string
  readonly state: State
  /** Oldest first. */
  readonly checkpoints: ReadonlyArray<CheckpointView>
  readonly warnings: ReadonlyArray<string>
}

/** What looking at a checkpoint came to. */
export interface VerificationView {
  readonly id: string
  readonly valid: boolean
  /** Why it cannot be used; none when it can. */
  readonly problem: string | null
  /** How much was read and compared. */
  readonly objects: number
  readonly bytes: number
}

export interface VerifyCheckpointResult {
  readonly sessionId: string
  readonly name: string
  /** Whether every one that was looked at can be used. */
  readonly valid: boolean
  readonly checkpoints: ReadonlyArray<VerificationView>
  readonly warnings: ReadonlyArray<string>
}

export interface RemoveCheckpointResult extends OperationResult {
  readonly name: string
  readonly checkpoint: string
  readonly already?: true
  readonly replayed?: true
}

export interface RestoreResult extends ResumeResult {
  readonly checkpoint: string
  /** The checkpoint that has what the checkout held before; none when it held nothing. */
  readonly before: string | null
}

export interface ExportView {
  readonly to: "branch" | "patch" | "bundle"
  readonly branch: string
  readonly commit: string
  /** The repository that was pushed to, or the file or directory that was written. */
  readonly target: string
  readonly exportedAt: string
}

export interface ExportResult extends OperationResult, ExportView {
  readonly name: string
  /** Whether work that was not committed is in `commit`, as a commit of its own. */
  readonly uncommitted: boolean
  /** A bundle of the exported work on this host, kept whatever becomes of the target. */
  readonly artifact: string | null
  /** This commit was exported there before; nothing was done now. */
  readonly already?: true
  /** Whether the session was destroyed because it is completed, saved and exported. */
  readonly autoTeardown: AutoTeardownView
  readonly replayed?: true
}

/** Whether a completed session was destroyed by itself, and if not, what kept it. */
export interface AutoTeardownView {
  readonly destroyed: boolean
  readonly reason: string
}

export interface CompleteResult extends OperationResult {
  readonly name: string
  readonly already?: true
  readonly completedAt: string
  readonly checkpoint: CheckpointView | null
  readonly autoTeardown: AutoTeardownView
  readonly replayed?: true
}

export interface ExtendResult extends OperationResult {
  readonly name: string
  /** When `gc` halts the session; never, when none. */
  readonly expiresAt: string | null
  readonly replayed?: true
}

/** Something that `doctor` looked at. */
export interface DiagnosisView {
  /** What was looked at: `git`, `ledger`, `provider local`, `session app-main`. */
  readonly about: string
  readonly status: "ok" | "warning" | "problem"
  readonly finding: string
  /** What to do about it, as a command where there is one; none when it is in order. */
  readonly nextStep: string | null
}

export interface DoctorResult {
  /** No problem was found; warnings may have been. */
  readonly healthy: boolean
  readonly diagnoses: ReadonlyArray<DiagnosisView>
  /** What `gc` would do now. */
  readonly actions: ReadonlyArray<GcAction>
  readonly warnings: ReadonlyArray<string>
}

export interface DownResult extends OperationResult {
  readonly name: string
  /** There was nothing left to do. */
  readonly already?: true
  readonly stoppedAt: string | null
  readonly persistedAt: string | null
  readonly checkpoint: CheckpointView | null
  readonly stateTransitions: ReadonlyArray<TransitionView>
  readonly replayed?: true
}

export interface DestroyResult extends OperationResult {
  readonly name: string
  readonly provider: string
  readonly already?: true
  readonly destroyedAt: string | null
  /** What is kept of its work for a while: `up` can begin with it. */
  readonly checkpoint: CheckpointView | null
  /** The box was given up, not removed: it may still exist. */
  readonly forgotten?: true
  readonly replayed?: true
}

export interface ResumeResult extends OperationResult {
  readonly already?: true
  readonly name: string
  readonly provider: string
  readonly branch: string | null
  readonly workBranch: string | null
  readonly targetCommitSha: string | null
  readonly worktreePath: string | null
  readonly slot: number | null
  readonly ports: Readonly<Record<string, number>>
  readonly endpointUrl: string | null
  readonly passwordEnv: string | null
  readonly envFile: string | null
  readonly env: Readonly<Record<string, string>>
  readonly readyAt: string | null
  readonly replayed?: true
}

/** A box that a session has left, and that may still exist. */
export interface OrphanView {
  readonly provider: string
  /** The key of the box: `<session>.g<generation>`. */
  readonly key: string
  readonly reason: "retired" | "stop_exhausted" | "abandoned"
  readonly createdAt: string
}

export interface SwitchResult extends Omit<ResumeResult, "operationId" | "already"> {
  /** None where there was nothing to do. */
  readonly operationId: string | null
  readonly from: string
  readonly to: string
  /** The session is on that provider already; nothing was done. */
  readonly noop?: true
  /** Another process goes on with it: `sandbox status --watch` follows. */
  readonly detached?: true
  /** The checkpoint that the work travelled in; none where there was none. */
  readonly checkpoint: string | null
  /** Boxes that the session has left and that are not removed yet. */
  readonly orphans: ReadonlyArray<OrphanView>
}

/** What a switch would do. */
export interface SwitchPlan {
  readonly sessionId: string
  readonly name: string
  readonly state: State
  readonly from: string
  readonly to: string
  /** In the order in which they are done; none for a session that is there already. */
  readonly phases: ReadonlyArray<string>
  /** What travels of the checkout; none where it cannot be seen. */
  readonly work: {
    readonly dirtyFiles: number
    readonly unpublishedCommits: number
    /** Of the files, links and directories that are in no commit. */
    readonly bytes: number
  } | null
  /** What does not travel, a sentence each. */
  readonly stays: ReadonlyArray<string>
  /** Whether something of `stays` is work, so that the switch is refused without `confirmDataLoss`. */
  readonly needsConfirmation: boolean
  readonly warnings: ReadonlyArray<string>
}

export interface DetachedResult {
  readonly sessionId: string
  /** The session's. */
  readonly name: string
  /** What its log is called: `sandbox logs <session> --service <run>`. */
  readonly run: string
  readonly warnings: ReadonlyArray<string>
}

export interface ListResult {
  readonly sessions: ReadonlyArray<SessionView>
  /** One sentence for each record that cannot be read; it hides no other. */
  readonly warnings: ReadonlyArray<string>
}

export interface StatusResult extends SessionView {
  /** Whether the session is usable as far as is known. */
  readonly healthy: boolean
  /** In the order in which they are started. */
  readonly services: ReadonlyArray<ServiceView>
  readonly checkpoint: CheckpointView | null
  readonly warnings: ReadonlyArray<string>
}

export interface OperationView {
  readonly operationId: string
  readonly verb: string
  readonly clientRequestId: string | null
  readonly attempt: number
  readonly status: "running" | "succeeded" | "failed" | "abandoned"
  readonly error: ErrorView | null
  readonly createdAt: string
  readonly updatedAt: string
}

export interface EventView {
  readonly seq: number
  readonly type: string
  readonly at: string
  readonly operationId: string
  readonly data: Readonly<Record<string, Json>>
}

export interface HistoryResult {
  readonly sessionId: string
  readonly name: string
  readonly state: State
  readonly stateTransitions: ReadonlyArray<TransitionView>
  readonly operations: ReadonlyArray<OperationView>
  readonly events: ReadonlyArray<EventView>
  readonly warnings: ReadonlyArray<string>
}

/** One thing that `gc` found, and what it does about it. */
export interface GcAction {
  /** None for what belongs to no session of this ledger. */
  readonly sessionId: string | null
  readonly name: string | null
  readonly finding: string
  readonly action:
    | "recover"
    | "destroy_box"
    | "close_intent"
    | "drop_claim"
    | "complete"
    | "halt"
    | "destroy"
    | "remove_checkpoint"
    | "purge"
    | "sweep"
    | "report"
  /** `planned` in a dry run. */
  readonly outcome: "planned" | "done" | "failed" | "skipped"
  readonly error?: ErrorView
}

export interface GcResult {
  readonly dryRun: boolean
  readonly actions: ReadonlyArray<GcAction>
  readonly warnings: ReadonlyArray<string>
}

export interface OpenResult {
  readonly sessionId: string
  readonly name: string
  readonly endpointUrl: string
  readonly browserOpened: boolean
  /** The environment variable in the session that carries the service's password; none when it wants none. */
  readonly passwordEnv: string | null
  readonly warnings: ReadonlyArray<string>
}

export interface HereResult {
  readonly sessionId: string
  readonly name: string
  readonly state: State
}

export interface OwnerOfResult {
  readonly sessionId: string
  readonly name: string
  readonly state: State
  readonly pid: number
  readonly port?: number
  /** The service that the process is part of. */
  readonly service?: string
  readonly warnings: ReadonlyArray<string>
}

export interface AuthSyncResult {
  readonly sessionId: string
  readonly name: string
  readonly providers: ReadonlyArray<string>
  /** The file in the box; none when nothing was copied. */
  readonly path: string | null
  readonly dryRun: boolean
  readonly warnings: ReadonlyArray<string>
}

/** A port that a service declares. */
export interface PortView {
  readonly name: string
  readonly service: string
  readonly port: number
  /** Where it can be reached from this host; none while its provider cannot tell. */
  readonly url: string | null
  /** Whose process listens on it: the session's, or somebody else's; none when nobody listens or that cannot be seen from here. */
  readonly whose: "session" | "other" | null
  /** The process that listens, where it can be seen. */
  readonly pid: number | null
  /** The program of that process. */
  readonly command: string | null
}

export interface PortsResult {
  readonly sessionId: string
  readonly name: string
  readonly state: State
  readonly slot: number | null
  /** As the services declare them; empty while the session is halted. */
  readonly ports: ReadonlyArray<PortView>
  readonly warnings: ReadonlyArray<string>
}

export interface EnvResult {
  readonly sessionId: string
  readonly name: string
  readonly state: State
  readonly provider: string
  readonly branch: string | null
  readonly worktreePath: string | null
  readonly slot: number | null
  readonly ports: Readonly<Record<string, number>>
  /** By name, beside what the box has by itself; secrets are among them only when they were asked for. */
  readonly env: Readonly<Record<string, string>>
  /** The names of those that are secrets. */
  readonly secrets: ReadonlyArray<string>
  readonly warnings: ReadonlyArray<string>
}

export interface CpResult {
  readonly sessionId: string
  /** Of all files' contents. */
  readonly bytes: number
  /** How many files and links. */
  readonly files: number
  readonly warnings: ReadonlyArray<string>
}

/** A service of a session. What only looking can tell is null until somebody looks. */
export interface ServiceView {
  readonly name: string
  /** Its own port; none when it has none, or while the session is halted. */
  readonly port: number | null
  readonly url: string | null
  /** What watches its command; none when it is not running. */
  readonly pid: number | null
  /** How its command ended, when it has. */
  readonly exitCode: number | null
  /** Whether we start and stop it. */
  readonly managed: boolean
  /** It runs, its health check says so, and its port is its own. */
  readonly healthy: boolean | null
  /** Who listens on its port, where that can be seen from here. */
  readonly listenerPid: number | null
  /** Somebody else listens on its port. */
  readonly wrongOwner: boolean | null
}

/** One step of an operation, or a sentence for the user. */
export type ProgressEvent =
  | {
      /** How much of the running phase has been read or written so far. */
      readonly type: "transfer"
      readonly operationId: string
      readonly sessionId: string
      /** Since the phase began. */
      readonly bytes: number
    }
  | {
      readonly type: "phase"
      readonly operationId: string
      readonly sessionId: string
      readonly verb: string
      readonly phase: string
      readonly status: "started" | "done" | "failed"
    }
  | { readonly type: "warning"; readonly operationId: string; readonly sessionId: string; readonly message: string }
  | {
      /** What a hook wrote. */
      readonly type: "output"
      readonly operationId: string
      readonly sessionId: string
      /** `hook post_up` */
      readonly source: string
      readonly text: string
    }
