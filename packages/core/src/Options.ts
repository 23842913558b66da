/** What callers ask of the programs, as plain data: no type of `effect` occurs here. */
import type { State } from "./Lifecycle.ts"

/** What every mutating program takes. */
export interface RequestOptions {
  /** The caller's idempotency key: repeating a request with it does nothing twice. Unique per owner and verb. */
  readonly clientRequestId?: string | undefined
  /** While the same request is still running elsewhere, wait for its answer instead of failing. */
  readonly wait?: boolean | undefined
}

/** A line for `sh -c`, or the words of a command that no shell reads. */
export type CommandLine = string | ReadonlyArray<string>

/** What a service listens on. Its number is `base + slot × stride`, so that parallel sessions do not meet. */
export interface PortOptions {
  /** How the port is called in `ports`: a service's own name, or `<service>-<name>` for a further one. */
  readonly name: string
  /** The port of slot 0, which no session has. */
  readonly base: number
  /** Environment variables that carry the number, beside `SANDBOX_<NAME>_PORT`. */
  readonly env?: ReadonlyArray<string>
}

/** How to see that a service works. It is asked every 250 ms until it does, or the deadline has passed. */
export type HealthCheckOptions =
  /** Works when a GET of the path on the service's port answers with a status below 400. */
  | { readonly kind: "http"; readonly path: string }
  /** Works when the service's port accepts connections. */
  | { readonly kind: "tcp" }
  /** Works when the command ends with 0; it runs in the box, in the service's directory and environment. */
  | { readonly kind: "command"; readonly command: CommandLine }

export interface ServiceOptions {
  /** Unique in the session: lower-case letters, digits, hyphens and underscores. */
  readonly name: string
  readonly command: CommandLine
  /** Below the checkout; the checkout itself, when absent. */
  readonly cwd?: string
  readonly env?: Readonly<Record<string, string>>
  /** The first is the service's own, the one that health checks and `endpointUrl` mean. */
  readonly ports?: ReadonlyArray<PortOptions>
  /** When absent the service works if it is still running after a moment. */
  readonly health?: HealthCheckOptions
  /** Seconds until a service that does not work yet is given up; 60 when absent. */
  readonly deadlineS?: number
  /** Its URL is the session's `endpointUrl`. The first service with a port is, when none says so. */
  readonly primary?: boolean
  /** An environment variable that carries a password made for this session. */
  readonly passwordEnv?: string
  /**
   * What says that the session's work is done: that the service has ended with 0, or that a file below the checkout was
   * written since the service was started. `gc` completes the session then. One that ended otherwise says nothing.
   */
  readonly completes?: "exit" | { readonly file: string }
}

/**
 * A port of a service that runs in a container, published on this host's loopback address. Beside a box its number is the one
 * in the container, where the box sees it, and the engine chooses that of this host.
 */
export interface ComposePortOptions extends PortOptions {
  /** The port in the container; the one that the compose file names for the service, when absent. */
  readonly target?: number
}

export interface ComposeServiceOptions {
  /** As the compose file calls it. */
  readonly name: string
  /** The first is the service's own, the one that health checks mean. */
  readonly ports?: ReadonlyArray<ComposePortOptions>
  /** Variables that carry where its ports are reached, beside SANDBOX_<NAME>_HOST: 127.0.0.1, or its name beside a box. */
  readonly hostEnv?: ReadonlyArray<string>
  /** Asked beside the compose file's own healthcheck; a command runs in the service's container. */
  readonly health?: HealthCheckOptions
  /** Seconds until a service that does not work yet is given up; 60 when absent. */
  readonly deadlineS?: number
}

/** Containers beside a session, as compose files of its repository describe them: with data, names and ports of their own. */
export interface ComposeOptions {
  /** In the checkout; later files add to earlier ones. */
  readonly files: ReadonlyArray<string>
  /** Which services, with what they depend on; all that are behind no profile, and no port, when there is none. */
  readonly services?: ReadonlyArray<ComposeServiceOptions>
  /** The digest that the files together must have, see `Trust.digestOf`; they may have any, when absent. */
  readonly digest?: string
}

export interface HookOptions {
  /** In the repository on this host, before a box is made. */
  readonly preUp?: CommandLine
  /** In the checkout, with the session's environment, before services start. */
  readonly preSpawn?: CommandLine
  /** In the checkout, with the session's environment, once every service works. */
  readonly postUp?: CommandLine
  /** In the checkout, with the session's environment, before the box is halted. */
  readonly preDown?: CommandLine
  /** In the repository on this host, once the box is halted and saved. */
  readonly postDown?: CommandLine
  /** Seconds that each may take; 60 when absent. */
  readonly timeoutS?: number
}

/** A file of the repository on this host that git does not carry, such as `.env`. */
export interface InheritOptions {
  /** Relative to the repository. */
  readonly file: string
  /** `copy` is made once and never again; `symlink`, the default, follows the original and needs a checkout on this host. */
  readonly mode?: "symlink" | "copy"
}

export interface SecretOptions {
  /** An environment variable's name, and the file's name for `to: "file"`. */
  readonly name: string
  readonly from: { readonly env: string } | { readonly file: string }
  /** `env`: in the environment of commands and services. `file`: `$SANDBOX_RUN_DIR/secrets.d/<name>`, mode 0600. */
  readonly to?: "env" | "file"
}

export interface SlotOptions {
  /** How many sessions with ports this host takes; 8 when absent. */
  readonly max?: number
  /** How far apart the ports of neighbouring slots are; 1 when absent. */
  readonly stride?: number
  /** How many other ports are tried when one is taken; 10 when absent. */
  readonly searchRange?: number
  /** Never try another port; `false` when absent. */
  readonly strict?: boolean
}

/** What is kept of a session's work, and how long a session that is completed. */
export interface KeepingOptions {
  /**
   * `on_down`, when absent: halting saves the work. `manual`: only `checkpoint` does, and halting saves the session's record
   * alone.
   */
  readonly checkpoint?: "on_down" | "manual"
  /** Files that git ignores and checkpoints take along all the same: patterns as in `.gitignore`. */
  readonly include?: ReadonlyArray<string>
  /**
   * `persist`: what the box has on its disk outside the checkout is wanted too. No checkpoint has that, so that whatever leaves
   * the box behind or removes it must be told so by `confirmDataLoss`. `ephemeral`, when absent.
   */
  readonly volume?: "ephemeral" | "persist"
  /** Destroy the session some time after it was completed, once all of it is saved; `true` when absent. */
  readonly autoTeardown?: boolean
  /** Minutes from completion until then; 60 when absent. */
  readonly completedRetentionMins?: number
  /** What the name of an export's branch starts with, unless the branch is given; `sandbox/` when absent. */
  readonly exportBranchPrefix?: string
}

/**
 * What a session runs beside its checkout. It is recorded with the session, so that later operations need no
 * configuration, and it is no part of what makes two requests the same.
 */
export interface SetupOptions {
  /** Started in this order. */
  readonly services?: ReadonlyArray<ServiceOptions>
  /** Up before the services, down after them. Needs Docker and its compose command on this host. */
  readonly compose?: ComposeOptions
  readonly hooks?: HookOptions
  readonly env?: Readonly<Record<string, string>>
  /** Later files win. */
  readonly inheritEnv?: ReadonlyArray<InheritOptions>
  readonly secrets?: ReadonlyArray<SecretOptions>
  readonly slots?: SlotOptions
  readonly keeping?: KeepingOptions
  /**
   * What `endpointUrl` is made of where the primary service's own address is not what people open: a web address in which
   * `{port}`, `{name}` and `{slot}` are filled in.
   */
  readonly webBaseUrl?: string
  /**
   * `false`: somebody else wrote it, and it was not accepted for this host. The session is not moved to a provider that does not
   * isolate before `acceptSetup` says so.
   */
  readonly accepted?: boolean
}

export interface UpOptions extends RequestOptions {
  /** A path of or in a repository on this host, or a URL. That of `fromCheckpoint`, when absent. */
  readonly repository?: string | undefined
  /** Start with the work of a checkpoint: its id, or a prefix that no other has. */
  readonly fromCheckpoint?: string | undefined
  /** Milliseconds from now until `gc` halts the session; for ever, when absent. */
  readonly ttl?: number | undefined
  /** Must exist, or be created from `base`. The repository's default branch, when absent. */
  readonly branch?: string | undefined
  /** A branch, tag or commit that a new `branch` starts at. */
  readonly base?: string | undefined
  /** How many commits of history a clone gets; all, when absent. A worktree shares its repository's history anyway. */
  readonly depth?: number | undefined
  /** `<repository>-<branch>`, when absent. */
  readonly name?: string | undefined
  /**
   * The session on whose behalf this one is started, such as an agent's for its sub-agent: an id, a unique prefix of one, or a
   * name. It must be of the same owner, and not destroyed. Halting or destroying it does nothing to this one.
   */
  readonly parent?: string | undefined
  /** A registered provider; there is no default. */
  readonly provider: string
  /** What the box should be; absent parts are the provider's default. */
  readonly spec?:
    | {
        readonly image?: string
        /** Virtual CPUs. */
        readonly cpus?: number
        /** Bytes. */
        readonly memory?: number
      }
    | undefined
  /** What a configuration says where the request does not; no part of what makes two requests the same. */
  readonly defaults?: Pick<UpOptions, "branch" | "base" | "depth" | "spec"> | undefined
  readonly setup?: SetupOptions | undefined
  /** Only these of the setup's services. */
  readonly services?: ReadonlyArray<string> | undefined
  /** All of the setup's services but these. */
  readonly skip?: ReadonlyArray<string> | undefined
  /** Ports by name that are taken as they are, whatever the slot. */
  readonly ports?: Readonly<Record<string, number>> | undefined
  /** Further secrets, beside those of the setup; one of the same name replaces it. */
  readonly secrets?: ReadonlyArray<SecretOptions> | undefined
  /** Take over the worktree that has the branch already, instead of making one. It is never removed by us. */
  readonly reuseWorktree?: boolean | undefined
  /** `false`: leave the setup's inherited files out. */
  readonly inheritEnv?: boolean | undefined
  /** Open the primary service's page when the session is ready. */
  readonly open?: boolean | undefined
}

export interface DownOptions extends RequestOptions {
  /** A session id, a unique prefix of one, or a name. */
  readonly session: string
  /** Take over an operation that is still alive; its work is undone or finished first. */
  readonly force?: boolean | undefined
  /** Remove the checkout once the session is saved; `resume` makes a new one of the branch. It stays, when absent. */
  readonly deleteWorktree?: boolean | undefined
  /** Give up work that is nowhere else, with `deleteWorktree` or on a provider whose halted boxes are gone. */
  readonly confirmDataLoss?: boolean | undefined
}

export interface DestroyOptions extends RequestOptions {
  /** A session id, a unique prefix of one, or a name. */
  readonly session: string
  /** Destroy a session that is `ready`, or take over an operation that is still alive. */
  readonly force?: boolean | undefined
  /** Give up work that is in no verified checkpoint and on no branch outside the box. */
  readonly confirmDataLoss?: boolean | undefined
  /** Do not halt and save first. Needs `confirmDataLoss`. */
  readonly noPersist?: boolean | undefined
  /** Give up the box without asking its provider, when that is gone for good. Needs `confirmDataLoss`. */
  readonly forget?: boolean | undefined
}

export interface ResumeOptions extends RequestOptions {
  /** A session id, a unique prefix of one, or a name. */
  readonly session: string
  /**
   * Resume although the last save of the session failed, or cannot be used any more: with what the box still holds or, where
   * there is none, from the branch.
   */
  readonly force?: boolean | undefined
}

export interface SwitchOptions extends RequestOptions {
  /** A session id, a unique prefix of one, or a name. */
  readonly session: string
  /** The registered name of the provider to move to. */
  readonly to: string
  /** Go on although something of the session's work cannot travel, and is lost with the old box. */
  readonly confirmDataLoss?: boolean | undefined
  /**
   * What becomes of a switch whose old box cannot be stopped. `record`, when absent: it goes on, and leaves the box behind on
   * the record, for `gc` to remove. `abort`: the session stays where it is.
   */
  readonly onStopFailure?: "record" | "abort" | undefined
  /**
   * What becomes of a switch whose new box cannot be made ready. `restore`, when absent: the session goes back to its old box.
   * `hold`: it stays on the new provider as `failed`, with its work in a checkpoint.
   */
  readonly onFailure?: "restore" | "hold" | undefined
  /**
   * Accept what the session runs for this host too, and record that with the session. Needed once, for a setup that was not
   * `accepted` and a provider that does not isolate.
   */
  readonly acceptSetup?: boolean | undefined
}

export type SwitchPlanOptions = Pick<SwitchOptions, "session" | "to" | "acceptSetup">

/** A claim that another process is to take over. The token is a secret of the two. */
export interface Handover
  extends Pick<SwitchOptions, "to" | "confirmDataLoss" | "onStopFailure" | "onFailure" | "acceptSetup"> {
  readonly sessionId: string
  readonly operationId: string
  readonly token: string
  /** Whether the claim goes on with what a dead switch began. */
  readonly inherited: boolean
}

export interface ListOptions {
  /** Also those that ended before the recent window. */
  readonly all?: boolean | undefined
  /** The recent window, in milliseconds; seven days when absent. */
  readonly since?: number | undefined
  readonly states?: ReadonlyArray<State> | undefined
  readonly provider?: string | undefined
}

export interface StatusOptions {
  /** A session id, a unique prefix of one, or a name. */
  readonly session: string
  /** Ask the provider too. What it says is shown, and moves nothing. */
  readonly live?: boolean | undefined
}

export interface HistoryOptions {
  /** A session id, a unique prefix of one, or a name. */
  readonly session: string
}

export interface CheckpointOptions extends RequestOptions {
  /** A session id, a unique prefix of one, or a name. */
  readonly session: string
}

export interface CheckpointsOptions {
  /** A session id, a unique prefix of one, or a name; of a destroyed one too. */
  readonly session: string
}

export interface VerifyCheckpointOptions {
  /** A session id, a unique prefix of one, or a name; of a destroyed one too. */
  readonly session: string
  /** A checkpoint's id, or a prefix that no other has; every one of the session's, when absent. */
  readonly checkpoint?: string | undefined
}

export interface RemoveCheckpointOptions extends RequestOptions {
  /** A session id, a unique prefix of one, or a name; of a destroyed one too. */
  readonly session: string
  /** A checkpoint's id, or a prefix that no other has. */
  readonly checkpoint: string
  /** Remove the last verified one although the session's box is gone, so that its work is nowhere else. */
  readonly confirmDataLoss?: boolean | undefined
}

export interface RestoreOptions extends RequestOptions {
  /** A session id, a unique prefix of one, or a name. */
  readonly session: string
  /** A checkpoint's id, or a prefix that no other has; the session's last one with work, when absent. */
  readonly checkpoint?: string | undefined
  /** Go on although what the checkout holds now cannot be saved first. */
  readonly confirmDataLoss?: boolean | undefined
}

export interface ExportOptions extends RequestOptions {
  /** A session id, a unique prefix of one, or a name. */
  readonly session: string
  /** `branch`, when absent: push to a branch of the session's repository. Otherwise files on this host are written. */
  readonly to?: "branch" | "patch" | "bundle" | undefined
  /**
   * The branch to push to, or the one that a bundle names; `<prefix><session name>`, when absent, with `-export` behind it
   * where the session's own checkout, in a repository of this host, has that branch.
   */
  readonly branch?: string | undefined
  /** The message of the commit that holds what is not committed; one that names the session, when absent. */
  readonly message?: string | undefined
  /** The directory that files are written to; one of the session's below the state directory, when absent. */
  readonly output?: string | undefined
  /** Replace a branch that has other work, as long as nobody changes it in the same moment. Never overrides another export. */
  readonly force?: boolean | undefined
}

export interface CompleteOptions extends RequestOptions {
  /** A session id, a unique prefix of one, or a name. */
  readonly session: string
  /** Whether the session is destroyed some time after; as it was set up, when absent. */
  readonly autoTeardown?: boolean | undefined
}

export interface ExtendOptions extends RequestOptions {
  /** A session id, a unique prefix of one, or a name. */
  readonly session: string
  /** Milliseconds from now until `gc` halts the session; none: never. */
  readonly ttl: number | null
}

export interface GcOptions {
  /** Say what would be done, and do nothing. */
  readonly dryRun?: boolean | undefined
  /** Only these kinds of work; all of them, when absent. */
  readonly only?: ReadonlyArray<"recover" | "orphans" | "retention"> | undefined
  /** Leave alone what was touched within this many milliseconds. */
  readonly olderThan?: number | undefined
}

export interface DoctorOptions {
  /** Read every checkpoint whole, instead of the manifest of each session's newest one. */
  readonly deep?: boolean | undefined
}

export interface OpenOptions {
  /** A session id, a unique prefix of one, or a name. */
  readonly session: string
  /** Only answer the address. */
  readonly print?: boolean | undefined
}

export interface HereOptions {
  /** An absolute path on this host. */
  readonly directory: string
  /** Only the session whose checkout the directory is in, never one whose repository it is in. */
  readonly inside?: boolean | undefined
}

/** With both, the one that belongs to a session is meant. */
export interface OwnerOfOptions {
  readonly pid?: number | undefined
  /** A TCP port of this host: its listener is meant. */
  readonly port?: number | undefined
}

export interface AuthSyncOptions {
  /** A session id, a unique prefix of one, or a name. */
  readonly session: string
  /** The providers whose credentials are copied, by name. There is no way to mean all of them. */
  readonly only: ReadonlyArray<string>
  /** The file to read, as OpenCode writes it; OpenCode's own, when absent. */
  readonly from?: string | undefined
  /** The file to write in the box, absolute or below `~/`; `$SANDBOX_RUN_DIR/auth/auth.json`, when absent. */
  readonly to?: string | undefined
  /** Check everything, and copy nothing. */
  readonly dryRun?: boolean | undefined
}

export interface PortsOptions {
  /** A session id, a unique prefix of one, or a name. */
  readonly session: string
}

export interface EnvOptions {
  /** A session id, a unique prefix of one, or a name. */
  readonly session: string
  /** Answer the values of secrets too. */
  readonly showSecrets?: boolean | undefined
}

export interface LogsOptions {
  /** A session id, a unique prefix of one, or a name. */
  readonly session: string
  /** One service, or one run of `exec --detach`; every service and what else is running, when absent. */
  readonly service?: string | undefined
  /** Go on with what is written from now on, until all that is followed has ended. */
  readonly follow?: boolean | undefined
  /** Only the last lines of each. */
  readonly tail?: number | undefined
  /** Only what was written within this many milliseconds. */
  readonly since?: number | undefined
}
