import { assert, describe, it } from "@effect/vitest"
import { GitError } from "@org/sandbox-core/Git"
import * as SandboxError from "@org/sandbox-core/SandboxError"
import {
  classify,
  isCheckedOut,
  isHarmless,
  isNoRepository,
  leadsOut,
  type Problem,
  Refused,
  signalOf,
  TarFailed
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

const tar = (doing: "pack" | "unpack", said: string) => new TarFailed({ doing, code: 2, said })

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
  [tar("pack", "tar: x: Cannot open: Permission denied"), "Unauthorized"],
  [tar("pack", "tar: x: Cannot stat: No such file or directory"), "NotFound"],
  [tar("pack", "tar: something new"), "Unknown"],
  [tar("unpack", "tar: x: Cannot write: No space left on device"), "QuotaExceeded"],
  [tar("unpack", "tar: This does not look like a tar archive"), "Invalid"],
  [tar("unpack", "tar: x/y: Cannot open: No such file or directory"), "Invalid"],
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

  it("knows what tar complains about without harm, and that it has changed a name, in GNU's and BSD's words", () => {
    assert.isTrue(isHarmless("tar: work: file changed as we read it\ntar: work/x: File removed before we read it\n"))
    assert.isFalse(isHarmless("tar: work: file changed as we read it\ntar: work/x: Cannot open: Permission denied"))
    assert.isTrue(leadsOut("tar: Removing leading `/' from member names"))
    assert.isTrue(leadsOut("bsdtar: Removing leading '/' from member names"))
    assert.isFalse(leadsOut("tar: x: time stamp 2030-01-01 00:00:00 is 1 s in the future"))
    const message = "tar: a: file changed as we read it\ntar: b: Cannot open: Permission denied\ntar: Exiting"
    assert.strictEqual(tar("pack", message).message, "tar: b: Cannot open: Permission denied.")
    assert.strictEqual(tar("unpack", "").message, "tar: it ended with exit code 2.")
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
