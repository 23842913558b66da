/** The output contract, as assertions about a process that ended. */
import { assert } from "@effect/vitest"
import { SandboxError } from "@org/sandbox-core"
import type { Answer } from "./Answer.ts"
import type { Outcome } from "./sandbox.ts"

/** The first five are always there, in this order; the others where there is something to say. */
const always = ["ok", "error_code", "cause", "next_step", "retryable", "operation_id"]
const sometimes = ["session_id", "state", "replayed", "details"]

/** A failure with `--json`: one object on stdout and its exit code, every key of its type, nothing of it on stderr. */
export const assertFailure = (outcome: Outcome, code: SandboxError.ErrorCode): Answer => {
  assert.strictEqual(outcome.signal, null)
  const answer = outcome.json()
  assert.strictEqual(answer.error_code, code, `${outcome.stdout}${outcome.stderr}`)
  assert.strictEqual(outcome.code, SandboxError.exitCode(code))
  assertErrorObject(answer)
  assert.notInclude(outcome.stderr, "error_code")
  return answer
}

/** The keys of a failure, and their types. */
export const assertErrorObject = (answer: Answer): void => {
  const keys = Object.keys(answer)
  assert.deepEqual(keys.slice(0, always.length), always)
  for (const key of keys.slice(always.length)) assert.include(sometimes, key)
  assert.isFalse(answer.ok)
  assert.isTrue(SandboxError.isErrorCode(answer.error_code))
  for (const text of [answer.cause, answer.next_step]) {
    assert.isString(text)
    assert.notStrictEqual(text.trim(), "")
    assert.notInclude(text, "\n")
  }
  assert.isBoolean(answer.retryable)
  if (answer.operation_id !== null) assert.match(answer.operation_id, /^op_[0-9a-z]{26}$/)
}
