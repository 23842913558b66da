/** From a box that runs to a session that is ready: the last phases of up and resume. */
import { Effect } from "effect"
import type { Done, Held } from "../Claim.ts"
import type { WorkspaceSource } from "../Provisioner.ts"
import type { Backend } from "../Provisioners.ts"
import type * as Results from "../Results.ts"
import * as SandboxError from "../SandboxError.ts"
import { Health, type InstanceRef, type JsonRecord, type Session } from "../Session.ts"
import { passwordEnv } from "../Setup.ts"
import * as Time from "../Time.ts"
import * as View from "../View.ts"
import { notSeen } from "./box.ts"
import { isOurs, place } from "./boxCheckout.ts"
import { bringUp } from "./bringUp.ts"
import { generated } from "./environment.ts"
import { fallbackBranch, restoreInto, write } from "./restore.ts"
import type { Resolved } from "./secrets.ts"

/** Puts the checkout in place, brings up what the session asked for, looks that the box runs, and describes the last commit. */
export const finish = Effect.fnUntraced(function* (
  held: Held,
  backend: Backend,
  {
    broken,
    ref,
    secrets
  }: {
    /** What becomes of a checkout that has lost its repository; it is refused, when absent. */
    readonly broken?: "kept" | undefined
    readonly ref: InstanceRef
    readonly secrets: ReadonlyArray<Resolved>
  }
) {
  const row = yield* held.row
  const source: WorkspaceSource = {
    repository: row.repository,
    // where the asked branch was taken once, the work is on the other one
    branch: row.workBranch ?? row.branch!,
    commit: row.commit!,
    fallbackBranch: fallbackBranch(row),
    // what is restored takes the place of what is there, and a worktree of the user's own is theirs
    reuse: row.restoreFrom === null && row.setup?.reuseWorktree === true,
    depth: row.setup?.depth
  }
  const { restoreFrom } = row
  // it is written once before the box gets it, and not into a copy of what the box got
  const fill =
    restoreFrom === null ? undefined : (directory: string) => write(held, restoreFrom, { directory, copied: true })
  const { filled, ...placed } = isOurs(backend)
    ? yield* place(held, backend, { broken, fill, ref, source })
    : { ...(yield* held.phase("workspace", backend.attach(ref, source))), filled: undefined }
  yield* Effect.forEach(placed.warnings, held.warn)
  yield* held.commit({ set: { workBranch: placed.branch, workspacePath: placed.path ?? null } })
  if (restoreFrom !== null) yield* restoreInto(held, backend, restoreFrom, filled)
  const { endpointUrl, envFile } = yield* bringUp(held, backend, ref, secrets)
  yield* held.phase("health", alive(backend, ref))
  const now = yield* Time.millis
  const set = {
    endpointUrl,
    health: new Health({ status: "healthy", observedAt: now }),
    cleanupRequired: false,
    lastError: null,
    restoreFrom: null,
    readyAt: now
  } as const
  return { set, row: { ...(yield* held.row), ...set }, envFile }
})

const alive = Effect.fnUntraced(function* (backend: Backend, ref: InstanceRef) {
  const seen = yield* backend.inspect(ref)
  if (seen._tag === "running") return
  if (seen._tag === "unknown") return yield* notSeen(backend.name, seen.why)
  return yield* SandboxError.make("ERR_SANDBOX_PROVISION_FAILED", {
    message: `the box is ${seen._tag} right after it was started`,
    nextStep: "look at the provider's own logs, then try again",
    details: { provider: backend.name, operation: "inspect", reason: "NotReady", outcome: "applied" }
  })
})

/** What up and resume answer about a session that is ready. */
export const described = (row: Omit<Session, "state">, readyAt: number) => ({
  slot: row.slot,
  ports: row.ports ?? {},
  endpointUrl: row.endpointUrl,
  passwordEnv: passwordEnv(row.setup),
  env: { ...row.setup?.env, ...generated(row as Session) },
  name: row.name,
  provider: row.provider,
  branch: row.branch!,
  workBranch: row.workBranch!,
  targetCommitSha: row.commit!,
  worktreePath: row.workspacePath,
  readyAt: View.iso(readyAt)
})

/** The final commit of an operation whose answer is recorded for replays. */
export const done = <A extends Results.OperationResult>(result: A, change: Done<A>["change"]): Done<A> => ({
  result,
  change: {
    ...change,
    outcome: { status: "succeeded", result: result as unknown as typeof JsonRecord.Type }
  }
})
