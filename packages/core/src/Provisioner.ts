/**
 * The port that a provider implements.
 *
 * A provider translates; it does not decide. Retries, waiting, timeouts, progress and the check that a reference belongs
 * to the place we are looking at are written once in core (`Provisioners`), so an implementation makes each call once and
 * reports truthfully what it saw. A capability is a member that is present: it cannot disagree with the code.
 */

import type { FileSystem, Path } from "effect"
import { Context, type Effect, type Scope as EffectScope, type Layer, Schema, type Stream } from "effect"
import type { ChildProcessSpawner } from "effect/process"
import type { Hasher } from "./Hasher.ts"
import type { Directories, Host } from "./Host.ts"
import type { Processes } from "./Processes.ts"
import type { SandboxError } from "./SandboxError.ts"
import type { InstanceRef, Scope, Spec } from "./Session.ts"

/** Why a provider call failed, in terms of what the caller can do about it. */
export const reasons = {
  /** The box, image or other thing named does not exist. */
  NotFound: { retryable: false },
  /** It exists and cannot serve yet. */
  NotReady: { retryable: true },
  /** Something of that name exists and is not ours, or is being changed by somebody else. */
  Conflict: { retryable: false },
  QuotaExceeded: { retryable: false },
  CapacityExhausted: { retryable: true },
  RateLimited: { retryable: true },
  Unauthorized: { retryable: false },
  /** The request can never succeed as it is. */
  Invalid: { retryable: false },
  /** No answer: nothing is known about what exists. */
  Unreachable: { retryable: true },
  Unsupported: { retryable: false },
  /** The provider's `classify` has no rule for it. */
  Unknown: { retryable: false }
} as const

export type Reason = keyof typeof reasons

/** Whether the platform carried the call out. `unknown` must be resolved by looking, never by assuming. */
export const Outcome = Schema.Literals(["not_applied", "applied", "unknown"])
export type Outcome = typeof Outcome.Type

/** A failed provider call. */
export class ProvisionerError extends Schema.TaggedError<ProvisionerError>("@org/sandbox-core/ProvisionerError")(
  "ProvisionerError",
  {
    provider: Schema.String,
    /** The member of the port that failed, such as `provision`. */
    operation: Schema.String,
    reason: Schema.Literals(Object.keys(reasons) as ReadonlyArray<Reason>),
    outcome: Outcome,
    /** What happened, for a person; never a secret, a command's text or an environment value. */
    message: Schema.String,
    cause: Schema.optionalKey(Schema.Defect())
  }
) {
  get retryable(): boolean {
    return reasons[this.reason].retryable
  }
}

/** Everything a provider needs to make one box. */
export interface ProvisionIntent {
  /** The idempotency key: the same key never makes a second box, in any process, at any time. */
  readonly key: string
  readonly scope: Scope
  /** Deterministic name of the box: lower-case letters, digits and hyphens, at most 63 characters. */
  readonly name: string
  /** Must be set by the create call itself, before anything else can fail. */
  readonly labels: Readonly<Record<string, string>>
  readonly spec: Spec
  /** What the session's services listen on in the box: `endpoint` is asked for these. */
  readonly ports?: ReadonlyArray<PortRequest> | undefined
  /** Milliseconds since the epoch; after it nobody waits for the box any more. */
  readonly deadline: number
  /** Tells whoever waits how far a long step is, such as the download of an image. */
  readonly report?: ((line: string) => Effect.Effect<void>) | undefined
}

/** A port that is listened on in a box. */
export interface PortRequest {
  readonly port: number
  /** The port of this host where it is to be reached; any that is free, when absent. */
  readonly hostPort?: number | undefined
}

/** A network of one box alone: containers of the same engine that join it see the box, and it them by their names. */
export interface ContainerNetwork {
  /** The engine's own id, as `docker info` tells it. */
  readonly engine: string
  readonly name: string
}

/** What `find` saw. `unknown` is an answer: it is never read as `absent`. */
export type Presence =
  | { readonly _tag: "present"; readonly ref: InstanceRef }
  | { readonly _tag: "absent" }
  | { readonly _tag: "unknown"; readonly why: string }

/** What `inspect` saw of a box. `gone` needs positive evidence. */
export type Observation =
  | { readonly _tag: "running" }
  | { readonly _tag: "stopped" }
  | { readonly _tag: "gone" }
  | { readonly _tag: "unknown"; readonly why: string }

/** A box found by its ownership label. */
export interface OwnedInstance {
  readonly ref: InstanceRef
  readonly labels: Readonly<Record<string, string>>
}

/** The environment variables that a provider sets for every command in a box. Both are absolute paths in the box. */
export const boxVariables = {
  /**
   * The checkout. A provider that has `files` and places no checkout itself gives a new box this directory, empty, and later
   * never changes what is in it: core puts a clone there, and takes an empty directory for a checkout that is still to be made.
   * It is of the user that commands run as, and on one file system with the run directory, so that `mv` between them renames.
   */
  workspace: "SANDBOX_WORKSPACE",
  /**
   * A directory for what belongs to the session and not to its repository: logs, the environment, secrets. Outside of the
   * checkout, of mode 0700, kept as long as the box is, and gone with it.
   */
  run: "SANDBOX_RUN_DIR"
} as const

/** A command to run in a box. `argv[0]` is looked up in the box's own PATH; no shell is involved. */
export interface ExecRequest {
  readonly argv: ReadonlyArray<string>
  /** Absolute, or relative to the workspace. The workspace, when absent. */
  readonly cwd?: string | undefined
  readonly env?: Readonly<Record<string, string>> | undefined
  readonly user?: string | undefined
  /**
   * Give the command a terminal of this size: one output, as descriptor 1; the end of `stdin` is sent as Ctrl-D. A provider
   * that has none answers `Unsupported`.
   */
  readonly tty?: { readonly cols: number; readonly rows: number } | undefined
  /** Empty input, when absent. */
  readonly stdin?: Stream.Stream<Uint8Array> | undefined
}

/** A running command. Closing its scope ends it, with everything it started. */
export interface ExecHandle<E = ProvisionerError> {
  /** Everything it writes, in order, with back-pressure; ends when both descriptors are closed. Run it once. */
  readonly output: Stream.Stream<{ readonly fd: 1 | 2; readonly bytes: Uint8Array }, E>
  /** Completes when the command has ended. `signal` is set when one ended it, and `code` is then 128 + its number. */
  readonly exit: Effect.Effect<{ readonly code: number; readonly signal?: string }, E>
  /** Signals the command and everything it started. */
  readonly kill: (signal: "SIGTERM" | "SIGKILL" | "SIGINT" | "SIGHUP") => Effect.Effect<void, E>
  readonly resize: (size: { readonly cols: number; readonly rows: number }) => Effect.Effect<void, E>
}

/**
 * Moving files in and out of a box, as streams of a POSIX tar archive. Relative paths are relative to the checkout.
 *
 * Of a provider that places no checkout itself, `read` answers for a halted box too: that is how its work is saved.
 */
export interface FilesCapability {
  /** One file or directory, archived under its own last name, a directory before what is in it; symbolic links as links. */
  readonly read: (ref: InstanceRef, path: string) => Stream.Stream<Uint8Array, ProvisionerError>
  /** Unpacks into a directory that exists, for the user that commands run as. What the archive names outside of it is refused. */
  readonly write: (
    ref: InstanceRef,
    directory: string,
    archive: Stream.Stream<Uint8Array>
  ) => Effect.Effect<void, ProvisionerError>
}

/** What to check out. */
export interface WorkspaceSource {
  /** An absolute path of a repository on this host, or a URL without credentials. */
  readonly repository: string
  /** Checked out as it stands; created at `commit` where it does not exist. */
  readonly branch: string
  /** Full object name; the commit that the checkout starts at. */
  readonly commit: string
  /** The branch to use where `branch` itself cannot be checked out, because another worktree has it. */
  readonly fallbackBranch: string
  /** Take the worktree over that has `branch` already, if there is one; it stays when the checkout is detached. */
  readonly reuse?: boolean | undefined
  /** How many commits of history a clone gets; all, when absent. A worktree shares its repository's history anyway. */
  readonly depth?: number | undefined
}

/** A checkout that is in place. */
export interface WorkspacePlacement {
  /** The branch that is checked out. */
  readonly branch: string
  /** Where it is on this host; none for a checkout that only the box can see. */
  readonly path?: string | undefined
  /** Sentences for the user: what is different from what was asked. */
  readonly warnings: ReadonlyArray<string>
}

/** What would be lost if a checkout were removed. */
export interface WorkspaceStatus {
  /** `false`: there is no checkout, and so nothing to lose. */
  readonly present: boolean
  /** Changed and untracked files that are not ignored. */
  readonly dirtyFiles: number
  /** Commits that are on no branch outside the box. */
  readonly unpublishedCommits: number
}

/**
 * The provider places the checkout itself. One that does not, and has `files` and `exec`, has it copied in: core makes a clone
 * on its own host, where the credentials are, and looks at the work through copies. The box needs `sh`, `mkdir`, `mv`, `rm`
 * and `chmod` for it, and no git.
 */
export interface WorkspaceCapability {
  /** Idempotent: a checkout of the same box that is already there is kept, with all its work. */
  readonly attach: (ref: InstanceRef, source: WorkspaceSource) => Effect.Effect<WorkspacePlacement, ProvisionerError>
  /** Answers for a halted box too. */
  readonly status: (ref: InstanceRef) => Effect.Effect<WorkspaceStatus, ProvisionerError>
  /** Removes the checkout with everything in it and verifies that it is gone; already gone is success. */
  readonly detach: (ref: InstanceRef) => Effect.Effect<void, ProvisionerError>
  /** Present: its checkouts are no directories of this host, so that work is neither read from them nor put into them here. */
  readonly unseen?: true
}

export interface ProvisionerShape {
  /** The provider's own name, as it stands in references. */
  readonly name: string
  /** How far a box is kept from its host. */
  readonly isolation: "none" | "container" | "vm"
  /** Whether `stop` destroys the box. */
  readonly haltIsTerminal: boolean
  /** The place this provider acts on now. Cheap, and asked before every answer about what exists. */
  readonly scope: Effect.Effect<Scope, ProvisionerError>
  /** Whether a box of this spec could be made: credentials, quota, image. No side effect. */
  readonly preflight: (spec: Spec) => Effect.Effect<void, ProvisionerError>
  /**
   * Makes the box for an intent, or returns the one already made for its key. Labels are part of the create call.
   * Interrupted or unanswered, it leaves either no box or one that `find` finds by key.
   */
  readonly provision: (intent: ProvisionIntent) => Effect.Effect<InstanceRef, ProvisionerError>
  /** Looks for a box by its intent's key. */
  readonly find: (key: string) => Effect.Effect<Presence, ProvisionerError>
  readonly inspect: (ref: InstanceRef) => Effect.Effect<Observation, ProvisionerError>
  /** Halts the box and everything in it, keeping its data. A box that is halted or gone is success. Never destroys. */
  readonly stop: (ref: InstanceRef) => Effect.Effect<void, ProvisionerError>
  /** Removes the box in whatever state it is, by reference or by key. Already gone is success. */
  readonly destroy: (target: InstanceRef | string) => Effect.Effect<void, ProvisionerError>
  /** Every box that carries this ledger's label. An unreachable platform is an error, never an empty list. */
  readonly list: (ledgerId: string) => Stream.Stream<OwnedInstance, ProvisionerError>
  /** Starts a halted box again, with its data. Running already is success. */
  readonly start?: (ref: InstanceRef) => Effect.Effect<void, ProvisionerError>
  readonly exec?: (
    ref: InstanceRef,
    request: ExecRequest
  ) => Effect.Effect<ExecHandle, ProvisionerError, EffectScope.Scope>
  readonly files?: FilesCapability
  readonly workspace?: WorkspaceCapability
  /** Where a port of the box can be reached from this host, as a URL without a path. */
  readonly endpoint?: (ref: InstanceRef, port: number) => Effect.Effect<string, ProvisionerError>
  /** For boxes that are containers: the network of a box that runs. Compose services beside the session join it. */
  readonly network?: (ref: InstanceRef) => Effect.Effect<ContainerNetwork, ProvisionerError>
  /** Present: what a box listens on is a port of this host, so that sessions have to share the ports out. */
  readonly hostPorts?: true
  /**
   * Present: the boxes are somebody else's. `provision` adopts one that exists; `stop` and `destroy` let go of it and leave it
   * running. What is answered about a box is about our hold on it: one that was let go of is `stopped` or `gone` for us, however
   * it runs on. Sessions are not moved away from such a box.
   */
  readonly external?: true
}

/** A provider, as one service. */
export class Provisioner extends Context.Service<Provisioner, ProvisionerShape>()("@org/sandbox-core/Provisioner") {}

/** What core offers a provider's layer. */
export type ProviderServices =
  | FileSystem.FileSystem
  | Path.Path
  | ChildProcessSpawner.ChildProcessSpawner
  | Host
  | Directories
  | Processes
  | Hasher

/** Where an option of a provider was written down, for one that names a place on this host. */
export interface OptionPlace {
  /** What a relative path in it is relative to; none where its file is not on this host, as that of a remote repository. */
  readonly folder: string | undefined
  /** Whether it came with a repository: what it names has to be in there, whatever links the repository has. */
  readonly isTheirs: boolean
}

/** The place of each option of the provider that is being made, by its path in the options. */
export const OptionPlaces = Context.Reference<(option: ReadonlyArray<string>) => OptionPlace>(
  "@org/sandbox-core/Provisioner/OptionPlaces",
  { defaultValue: () => () => ({ folder: ".", isTheirs: false }) }
)

/** What a provider's package declares. */
export interface ProviderDefinition<Options> {
  readonly apiVersion: 1
  readonly name: string
  /** Decodes the provider's own section of the configuration. */
  readonly options: Schema.Codec<Options, unknown>
  readonly layer: (options: Options) => Layer.Layer<Provisioner, SandboxError, ProviderServices>
}

/** A provider as a package exports it, for a registry to load by name. */
export interface ProviderModule<Options = unknown> extends ProviderDefinition<Options> {
  /** Decodes options with the copy of effect that their schema was made with: no other copy can run it. */
  readonly decode: (options: unknown) => Effect.Effect<Options, { readonly message: string }>
}

/** Declares a provider; its result is the default export of a provider's package. */
export const defineProvider = <Options>(definition: ProviderDefinition<Options>): ProviderModule<Options> => ({
  ...definition,
  decode: Schema.decodeUnknownEffect(definition.options)
})

/** The labels that every box carries, set by the create call itself. */
export const labelNames = {
  ledger: "org.sandbox.ledger",
  owner: "org.sandbox.owner",
  session: "org.sandbox.session",
  generation: "org.sandbox.generation",
  key: "org.sandbox.key",
  expiresAt: "org.sandbox.expires-at"
} as const
