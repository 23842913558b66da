/** What an export is asked for, and of which sessions. */
import { Effect, Path } from "effect"
import type { State } from "../../Lifecycle.ts"
import { liveness } from "../../Liveness.ts"
import type { ExportOptions } from "../../Options.ts"
import { recovery } from "../../Recovery.ts"
import * as Repository from "../../Repository.ts"
import * as SandboxError from "../../SandboxError.ts"
import type { Session } from "../../Session.ts"
import * as Setup from "../../Setup.ts"

/** States in which there is work that nobody is moving. */
export const from: ReadonlyArray<State> = ["ready", "completed", "stopped"]

export interface Request {
  readonly to: NonNullable<ExportOptions["to"]>
  readonly branch: string
  readonly message: string
  /** Absolute. */
  readonly output: string | undefined
  readonly force: boolean
}

/** What is asked for, with what is not said filled in. Fails with `ERR_INVALID_ARGUMENT`. */
export const readRequest = Effect.fnUntraced(function* (session: Session, options: ExportOptions) {
  const { force = false, output, to = "branch" } = options
  const branch = options.branch ?? defaultBranch(session)
  const invalid = (field: string, message: string, nextStep: string) =>
    SandboxError.make("ERR_INVALID_ARGUMENT", { message, nextStep, sessionId: session.id, details: { field } })
  const problem = Repository.checkBranch(branch)
  if (problem !== undefined) return yield* invalid("branch", problem.replace(/\.$/, ""), "pass another --branch")
  if (to === "branch" && output !== undefined) {
    return yield* invalid(
      "output",
      "a branch is pushed, and has no files to write",
      "leave --output out, or pass --to patch or --to bundle"
    )
  }
  if (to !== "branch" && force) {
    return yield* invalid("force", `only a branch can be replaced, and this is a ${to}`, "leave --force out")
  }
  if (options.message?.trim() === "" || options.message?.includes("\0")) {
    return yield* invalid("message", "the message is empty", "pass another --message, or none")
  }
  const request: Request = {
    to,
    branch,
    force,
    message: options.message ?? `Work of ${session.name} that was not committed`,
    output: output === undefined ? undefined : (yield* Path.Path).resolve(output)
  }
  return request
})

/** Never the branch that the session's own checkout has in a repository of this host: a push would leave its files behind. */
const defaultBranch = (session: Session): string => {
  const name = `${Setup.keeping(session.setup).exportBranchPrefix}${session.name}`
  return session.workBranch === name && session.repository.startsWith("/") ? `${name}-export` : name
}

/** Refuses a session that nothing can be taken out of now, with `ERR_NOT_READY`. */
export const refuseUnexportable = Effect.fnUntraced(function* (session: Session) {
  const { claim, id, name, state } = session
  // who moves it is told where the claim is taken
  if (from.includes(state) || (yield* liveness(claim)) === "live") return
  const way = state === "destroyed" ? undefined : recovery(session, yield* liveness(claim))
  return yield* SandboxError.make("ERR_NOT_READY", {
    message: `${name} is ${state}, and only what is ready, completed or stopped can be exported`,
    nextStep:
      state === "destroyed"
        ? "its work is in its checkpoints, as long as they are kept: `sandbox up --from-checkpoint`"
        : `run \`${way?.command ?? `sandbox status ${id}`}\` first`,
    retryable: false,
    sessionId: id,
    state
  })
})
