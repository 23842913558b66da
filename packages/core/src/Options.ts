/** What callers ask of the programs, as plain data: no type of `effect` occurs here. */
import type { State } from "./Lifecycle.ts"

/** What every mutating program takes. */
export interface RequestOptions {
  /** The caller's idempotency key: repeating a request with it does nothing twice. Unique per owner and verb. */
  readonly clientRequestId?: string | undefined
  /** While the same request is still running elsewhere, wait for its answer instead of failing. */
  readonly wait?: boolean | undefined
}

export interface UpOptions extends RequestOptions {
  /** A path of or in a repository on this host, or a URL. */
  readonly repository: string
  /** Must exist, or be created from `base`. The repository's default branch, when absent. */
  readonly branch?: string | undefined
  /** A branch, tag or commit that a new `branch` starts at. */
  readonly base?: string | undefined
  /** `<repository>-<branch>`, when absent. */
  readonly name?: string | undefined
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
}

export interface DownOptions extends RequestOptions {
  /** A session id, a unique prefix of one, or a name. */
  readonly session: string
  /** Take over an operation that is still alive; its work is undone or finished first. */
  readonly force?: boolean | undefined
  /** Give up work that is nowhere else, on a provider whose halted boxes are gone. */
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
  /** Resume although the last record of the session was never saved. */
  readonly force?: boolean | undefined
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

export interface GcOptions {
  /** Say what would be done, and do nothing. */
  readonly dryRun?: boolean | undefined
  /** Leave alone what was touched within this many milliseconds. */
  readonly olderThan?: number | undefined
}
