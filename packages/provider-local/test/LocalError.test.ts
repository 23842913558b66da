import { assert, describe, it } from "@effect/vitest"
import { GitError } from "@org/sandbox-core/Git"
import * as SandboxError from "@org/sandbox-core/SandboxError"
import {
  classify,
  isCheckedOut,
  isNoRepository,
  type Problem,
  Refused,
  signalOf
} from "@org/sandbox-provider-local/LocalError"
import { PlatformError } from "effect"

const git = (stderr: string, reason: GitError["reason"] = "failed") =>
  new GitError({ reason, command: "worktree", code: 128, stderr, message: stderr })

const system = (tag: PlatformError.SystemErrorTag, code?: string) =>
  PlatformError.systemError({
    _tag: tag,
    module: "FileSystem",
    method: "open",
    cause: code === undefined ? undefined : Object.assign(new Error(code), { code })
  })

const sandbox = (code: SandboxError.ErrorCode, retryable: boolean) =>
  SandboxError.make(code, { message: "m", nextStep: "n", retryable })

const table: ReadonlyArray<readonly [Problem, string]> = [
  [new Refused({ reason: "Unsupported", message: "m" }), "Unsupported"],
  [new Refused({ reason: "NotFound", message: "m" }), "NotFound"],
  [git("", "not_installed"), "NotFound"],
  [git("", "timed_out"), "Unreachable"],
  [git("fatal: 'work' is already checked out at '/x'"), "Conflict"],
  [git("fatal: 'work' is already used by worktree at '/x'"), "Conflict"],
  [git("fatal: a branch named 'work' already exists"), "Conflict"],
  [git("fatal: Unable to create '/x/.git/index.lock': File exists."), "NotReady"],
  [git("error: could not lock config file .git/config: File exists"), "NotReady"],
  [git("fatal: cannot lock ref 'refs/heads/a/b': 'refs/heads/a' exists"), "NotReady"],
  [git("fatal: sha1 file write error: No space left on device"), "QuotaExceeded"],
  [git("fatal: could not create leading directories of '/x': Permission denied"), "Unauthorized"],
  [git("fatal: detected dubious ownership in repository at '/x'"), "Unauthorized"],
  [git("fatal: cannot change to '/x': No such file or directory"), "NotFound"],
  [git("fatal: not a git repository (or any of the parent directories): .git"), "NotFound"],
  [git("fatal: invalid reference: work"), "NotFound"],
  [
    git(
      "error: Server does not allow request for unadvertised object\nfatal: remote error: upload-pack: not our ref 0"
    ),
    "NotFound"
  ],
  [git("fatal: unable to create thread: Resource temporarily unavailable"), "CapacityExhausted"],
  [git("fatal: something new"), "Unknown"],
  [sandbox("ERR_LOCK_TIMEOUT", true), "NotReady"],
  [sandbox("ERR_WORKSPACE_FAILED", true), "Unreachable"],
  [sandbox("ERR_WORKSPACE_FAILED", false), "Invalid"],
  [system("NotFound", "ENOENT"), "NotFound"],
  [system("AlreadyExists", "EEXIST"), "Conflict"],
  [system("PermissionDenied", "EACCES"), "Unauthorized"],
  [system("Busy", "EBUSY"), "NotReady"],
  [system("BadResource", "ENOTDIR"), "Invalid"],
  [system("Unknown", "ENOSPC"), "QuotaExceeded"],
  [system("Unknown", "EMFILE"), "CapacityExhausted"],
  [system("Unknown", "EROFS"), "Unauthorized"],
  [system("Unknown", "EIO"), "Unreachable"],
  [system("Unknown", "ENOTEMPTY"), "Conflict"],
  [system("Unknown", "ESOMETHING"), "Unknown"],
  [system("Unknown"), "Unknown"],
  [PlatformError.badArgument({ module: "ChildProcess", method: "spawn" }), "Invalid"]
]

describe("an error of this host", () => {
  it("has the reason that tells a caller what to do", () => {
    for (const [problem, reason] of table) {
      const error = classify("provision")(problem)
      assert.strictEqual(error.reason, reason, `${problem._tag}: ${problem.message}`)
      assert.deepInclude({ ...error }, { provider: "local", operation: "provision" })
    }
  })

  it("says that nothing happened only where nothing can have", () => {
    assert.strictEqual(classify("provision")(git("x")).outcome, "unknown")
    assert.strictEqual(classify("stop")(system("NotFound")).outcome, "unknown")
    assert.strictEqual(classify("inspect")(system("NotFound")).outcome, "not_applied")
    assert.strictEqual(classify("destroy")(new Refused({ reason: "Conflict", message: "m" })).outcome, "not_applied")
  })

  it("knows a branch that is checked out elsewhere, and a repository that is not there, in git's words", () => {
    assert.isTrue(isCheckedOut("fatal: 'work' is already checked out at '/x'"))
    assert.isTrue(isCheckedOut("fatal: 'work' is already used by worktree at '/x'"))
    assert.isFalse(isCheckedOut("fatal: a branch named 'work' already exists"))
    assert.isTrue(isNoRepository("fatal: not a git repository (or any of the parent directories): .git"))
    assert.isFalse(isNoRepository("fatal: bad config line 1 in file .git/config"))
  })

  it("names the signal that ended a process, and no other", () => {
    const ended = (message: string) =>
      PlatformError.systemError({
        _tag: "Unknown",
        module: "ChildProcess",
        method: "exitCode",
        cause: new Error(message)
      })
    assert.strictEqual(signalOf(ended("Process interrupted due to receipt of signal: 'SIGKILL'")), "SIGKILL")
    assert.isUndefined(signalOf(ended("SIGKILL")))
    assert.isUndefined(signalOf(system("Unknown")))
  })
})
