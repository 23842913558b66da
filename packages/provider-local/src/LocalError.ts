/** What can go wrong on a host, in the closed reasons of the provider port. The only reader of codes and texts. */
import type { GitError } from "@org/sandbox-core/Git"
import type { ProcessesLeft } from "@org/sandbox-core/Processes"
import { type Outcome, ProvisionerError, type Reason } from "@org/sandbox-core/Provisioner"
import type { SandboxError } from "@org/sandbox-core/SandboxError"
import { Data, type PlatformError } from "effect"

export const provider = "local"

/** A call that this provider turned down before it changed anything. */
export class Refused extends Data.TaggedError("Refused")<{ readonly reason: Reason; readonly message: string }> {}

/** A `tar` that could not read all of a box's files, or whose archive was not unpacked. */
export class TarFailed extends Data.TaggedError("TarFailed")<{
  readonly doing: "pack" | "unpack"
  readonly code: number
  /** The end of what it wrote to standard error. */
  readonly said: string
}> {
  override get message() {
    const line = this.said.split("\n").find((line) => line.trim() !== "" && !isHarmless(line))
    return `tar: ${line?.replace(/^(bsd)?tar: /, "").trim() ?? `it ended with exit code ${this.code}`}.`
  }
}

/** Everything that the parts of this provider fail with. */
export type Problem = Refused | TarFailed | PlatformError.PlatformError | GitError | ProcessesLeft | SandboxError

/** The error of a member of the port, from whatever its parts failed with. */
export const classify =
  (operation: string) =>
  (problem: Problem): ProvisionerError => {
    const outcome: Outcome =
      turnedDown.includes(problem._tag) || looking.includes(operation) ? "not_applied" : "unknown"
    const message =
      problem._tag === "ProcessesLeft"
        ? `The processes ${problem.pids.join(", ")} of the box do not end, even when killed.`
        : problem.message
    return new ProvisionerError({ provider, operation, reason: reasonOf(problem), outcome, message, cause: problem })
  }

/** What an archive holds is put in place only after all of it was unpacked. */
const turnedDown: ReadonlyArray<Problem["_tag"]> = ["Refused", "TarFailed"]

/** Members that change nothing, and `exec`, which fails only where no command was started. */
const looking = ["scope", "preflight", "find", "inspect", "list", "exec", "endpoint", "files.read", "workspace.status"]

const reasonOf = (problem: Problem): Reason => {
  switch (problem._tag) {
    case "Refused":
      return problem.reason
    case "ProcessesLeft":
      return "NotReady"
    case "TarFailed":
      return tarReason(problem)
    case "GitError":
      return gitReason(problem)
    case "SandboxError":
      if (problem.code === "ERR_LOCK_TIMEOUT") return "NotReady"
      return problem.retryable ? "Unreachable" : "Invalid"
    case "PlatformError":
      return platformReason(problem)
  }
}

const gitReason = (error: GitError): Reason => {
  if (error.reason === "not_installed") return "NotFound"
  if (error.reason === "timed_out") return "Unreachable"
  return texts.find(([pattern]) => pattern.test(error.stderr))?.[1] ?? "Unknown"
}

/** In this order: the first that matches. */
const texts: ReadonlyArray<readonly [RegExp, Reason]> = [
  [/No space left on device|Disk quota exceeded/, "QuotaExceeded"],
  [/\.lock': File exists|cannot lock ref|could not lock config file/, "NotReady"],
  [/Permission denied|Operation not permitted|Read-only file system|dubious ownership/, "Unauthorized"],
  [/already (checked out|used by worktree|exists)/, "Conflict"],
  [/not a git repository|cannot change to|does not exist|does not appear to be a git repository/, "NotFound"],
  [/invalid reference|bad object|unknown revision|not a valid (object|commit)|not our ref/, "NotFound"],
  [/unable to create thread|Cannot allocate memory|Resource temporarily unavailable/, "CapacityExhausted"]
]

const tarReason = ({ doing, said }: TarFailed): Reason => {
  if (/No space left on device|Disk quota exceeded/.test(said)) return "QuotaExceeded"
  // Unpacked in an empty directory of ours, nothing but the archive itself can be wrong.
  if (doing === "unpack") return "Invalid"
  if (/Permission denied|Operation not permitted/.test(said)) return "Unauthorized"
  return /No such file or directory/.test(said) ? "NotFound" : "Unknown"
}

/** Whether tar says of an archive, without failing, that it names places outside and that they were changed. */
export const leadsOut = (said: string): boolean => /Removing leading/.test(said)

/** Whether all that tar complains about is that files changed while it read them, which leaves the archive whole. */
export const isHarmless = (said: string): boolean =>
  said
    .split("\n")
    .every((line) => line.trim() === "" || /(file changed as we read it|[Ff]ile removed before we read it)$/.test(line))

/** Whether git refused a branch because another worktree has it; the wording changed in git 2.43. */
export const isCheckedOut = (stderr: string): boolean => /already (checked out|used by worktree) at/.test(stderr)

/** Whether git says that there is no repository, and not that it cannot read one. */
export const isNoRepository = (stderr: string): boolean => /not a git repository/.test(stderr)

const platformReason = ({ reason }: PlatformError.PlatformError): Reason => {
  if (reason._tag === "BadArgument") return "Invalid"
  const code = codes[codeOf(reason.cause) ?? ""]
  if (code !== undefined) return code
  switch (reason._tag) {
    case "NotFound":
      return "NotFound"
    case "AlreadyExists":
      return "Conflict"
    case "PermissionDenied":
      return "Unauthorized"
    case "Busy":
    case "WouldBlock":
      return "NotReady"
    case "TimedOut":
      return "Unreachable"
    default:
      return "Unknown"
  }
}

const codes: Readonly<Record<string, Reason>> = {
  ENOSPC: "QuotaExceeded",
  EDQUOT: "QuotaExceeded",
  EMFILE: "CapacityExhausted",
  ENFILE: "CapacityExhausted",
  EAGAIN: "CapacityExhausted",
  ENOMEM: "CapacityExhausted",
  EROFS: "Unauthorized",
  ENOTEMPTY: "Conflict",
  EIO: "Unreachable",
  ESTALE: "Unreachable",
  ETIMEDOUT: "Unreachable",
  ENOTDIR: "Invalid",
  ENAMETOOLONG: "Invalid",
  E2BIG: "Invalid",
  ENOEXEC: "Invalid"
}

/** The system's own name for an error, such as `ENOENT`. */
export const codeOf = (cause: unknown): string | undefined =>
  typeof cause === "object" && cause !== null && "code" in cause && typeof cause.code === "string"
    ? cause.code
    : undefined

/** The signal that ended a process, where that is why its exit code could not be told. */
export const signalOf = ({ reason }: PlatformError.PlatformError): string | undefined =>
  reason.cause instanceof Error ? /receipt of signal: '(SIG[A-Z0-9]+)'/.exec(reason.cause.message)?.[1] : undefined

/** Why a command was not started; `problem` is what the system or Node said. */
export const unstartable = (program: string, problem: unknown): Refused => {
  const cause =
    problem instanceof Error && "reason" in problem ? (problem as PlatformError.PlatformError).reason.cause : problem
  switch (codeOf(cause)) {
    case "ENOENT":
      return new Refused({ reason: "Invalid", message: `There is no command ${program} on the PATH.` })
    case "EACCES":
      return new Refused({ reason: "Invalid", message: `The command ${program} is not executable.` })
    default:
      return new Refused({
        reason: "Invalid",
        message: `The command ${program} cannot be started (${codeOf(cause) ?? "unknown error"}).`
      })
  }
}
