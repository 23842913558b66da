/** What `sandbox` prints with `--json`, as far as these tests look into it. */

export interface Claim {
  readonly kind: string
  readonly operation_id: string
  readonly phase: string
  readonly age_s: number
  readonly stale: boolean
  readonly holder: { readonly host: string; readonly pid: number }
}

export interface Transition {
  readonly from: string | null
  readonly to: string
  readonly at: string
  readonly operation_id: string
}

export interface Operation {
  readonly operation_id: string
  readonly verb: string
  readonly client_request_id: string | null
  readonly attempt: number
  readonly status: string
  readonly error: { readonly error_code: string; readonly operation_id: string | null } | null
}

export interface Details {
  readonly field?: string
  readonly command?: string
  readonly close?: ReadonlyArray<string>
  readonly registered?: ReadonlyArray<string>
  readonly ledger?: string
  readonly checkpoint?: string
  readonly problem?: string
  readonly rolled_back?: boolean
  readonly after?: string
  readonly holder?: { readonly session_id: string; readonly state: string; readonly age_s: number }
  readonly claim?: {
    readonly kind: string
    readonly age_s: number
    readonly since: number
    readonly holder: { readonly pid: number }
  }
}

export interface Checkpoint {
  readonly id: string
  readonly digest: string
  readonly verified: boolean
  readonly reason: string
  readonly head: string | null
  readonly files: number
}

/** A session, a result or a failure: the fields of each are there where the output contract has them. */
export interface Answer {
  readonly ok: boolean
  readonly session_id: string
  readonly operation_id: string | null
  readonly name: string
  readonly owner: string
  readonly parent: string | null
  readonly provider: string
  readonly repository: string
  readonly state: string
  readonly branch: string
  readonly work_branch: string
  readonly target_commit_sha: string
  readonly worktree_path: string
  readonly ready_at: string
  readonly stopped_at: string
  readonly persisted_at: string
  readonly destroyed_at: string
  readonly endpoint_url: string | null
  readonly from: string
  readonly to: string
  readonly noop?: true
  readonly detached?: true
  readonly orphans: ReadonlyArray<{ readonly provider: string; readonly key: string; readonly reason: string }>
  /** Of a plan. */
  readonly work: { readonly dirty_files: number; readonly unpublished_commits: number; readonly bytes: number } | null
  readonly stays: ReadonlyArray<string>
  readonly phases: ReadonlyArray<string>
  readonly needs_confirmation: boolean
  readonly browser_opened: boolean
  readonly healthy: boolean
  readonly claim: Claim | null
  readonly recovery: { readonly command: string; readonly reason: string } | null
  readonly checkpoint: Checkpoint | null
  readonly checkpoints: ReadonlyArray<Checkpoint>
  readonly before: string | null
  readonly valid: boolean
  readonly last_error: {
    readonly error_code: string
    readonly cause: string
    readonly operation_id: string | null
  } | null
  readonly state_transitions: ReadonlyArray<Transition>
  readonly operations: ReadonlyArray<Operation>
  readonly events: ReadonlyArray<{ readonly type: string; readonly operation_id: string }>
  readonly sessions: ReadonlyArray<Answer>
  readonly actions: ReadonlyArray<{ readonly action: string; readonly outcome: string }>
  readonly warnings: ReadonlyArray<string>
  readonly already?: true
  readonly replayed?: true
  readonly error_code: string
  readonly cause: string
  readonly next_step: string
  readonly retryable: boolean
  readonly details: Details
}
