import { assert, describe, it } from "@effect/vitest"
import { toWire } from "../src/Wire.ts"

describe("the JSON of the output contract", () => {
  it("has our names in snake_case, at every depth", () => {
    assert.deepEqual(
      toWire({
        sessionId: "s",
        ok: true,
        ageS: 1,
        targetCommitSha: null,
        stateTransitions: [{ operationId: "o", deepDown: [{ errorCode: "E" }] }]
      }),
      {
        session_id: "s",
        ok: true,
        age_s: 1,
        target_commit_sha: null,
        state_transitions: [{ operation_id: "o", deep_down: [{ error_code: "E" }] }]
      }
    )
  })

  it("leaves keys alone that are data, and every value", () => {
    const data = {
      PATH: "/bin",
      "org.sandbox.key": "aB",
      "my-port": "camelCase",
      already_snake: 1,
      Pascal: 2,
      x86: 3,
      A: 4,
      "": 5
    }
    assert.deepEqual(toWire(data), data)
    for (const value of ["camelCase", 1, true, null, undefined]) assert.strictEqual(toWire(value), value)
  })

  it("leaves the value it is given as it was", () => {
    const value = { outerName: { innerName: 1 } }
    toWire(value)
    assert.deepEqual(value, { outerName: { innerName: 1 } })
  })
})
