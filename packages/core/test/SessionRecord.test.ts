import { assert, describe, it } from "@effect/vitest"
import { Result } from "effect"
import { Event, RecordedError, Session, Spec } from "../src/Session.ts"
import * as SessionRecord from "../src/SessionRecord.ts"

const session = new Session({
  id: "sbx_1",
  owner: "ann",
  name: "work",
  parent: "sbx_0",
  reservedName: "work",
  state: "persisting",
  version: 9,
  provider: "memory",
  generation: 1,
  spec: new Spec({}),
  instance: null,
  cleanupRequired: false,
  claim: null,
  exportLock: null,
  health: null,
  repository: "/repo",
  branch: "main",
  workBranch: "main",
  commit: "c0ffee",
  workspacePath: null,
  placementScope: null,
  setup: null,
  ports: null,
  endpointUrl: null,
  slot: null,
  lastError: new RecordedError({
    code: "ERR_STOP_FAILED",
    message: "x".repeat(4000),
    nextStep: "again",
    retryable: true,
    operationId: "op_1"
  }),
  expiresAt: null,
  restoreFrom: null,
  lastExport: null,
  completedAt: null,
  createdAt: 1_000,
  updatedAt: 2_000,
  readyAt: 1_500,
  stoppedAt: 1_900,
  persistedAt: null,
  destroyedAt: null
})

const transition = (seq: number) =>
  new Event({
    sessionId: "sbx_1",
    seq,
    operationId: `op_${seq}`,
    type: "transition",
    data: { from: seq % 2 === 0 ? "ready" : "stopped", to: seq % 2 === 0 ? "stopping" : "ready" },
    at: seq
  })
const noise = (seq: number) =>
  new Event({ sessionId: "sbx_1", seq, operationId: "op_1", type: "noted", data: { text: "y".repeat(50) }, at: seq })

const history = Array.from({ length: 10_000 }, (_, n) => (n % 5 === 0 ? noise(n + 1) : transition(n + 1)))
const build = (limit: number) => SessionRecord.build({ session, history, persistedAt: 7_000, limit })
const parse = (bytes: Uint8Array) => JSON.parse(new TextDecoder().decode(bytes))

describe("the session's record", () => {
  it("keeps everything that fits, and says that nothing was left out", () => {
    const whole = Result.getOrThrow(build(100_000_000))
    assert.isNull(whole.compacted)
    const payload = parse(whole.bytes)
    assert.strictEqual(payload.state_transitions.length, 8_000)
    assert.strictEqual(payload.events.length, 2_000)
    assert.strictEqual(payload.persisted_at, "1970-01-01T00:00:07.000Z")
    assert.strictEqual(payload.identity.session_id, "sbx_1")
    assert.strictEqual(payload.identity.parent, "sbx_0")
  })

  it("I-69 is compacted deterministically, each pass smaller than the one before, keeping identity and both ends", () => {
    const whole = Result.getOrThrow(build(100_000_000)).bytes.length
    let last = whole
    const seen: Array<SessionRecord.Compaction> = []
    while (true) {
      const next = build(last - 1)
      if (Result.isFailure(next)) {
        assert.deepStrictEqual(next.failure, { size: last, limit: last - 1 })
        break
      }
      const { bytes, compacted } = next.success
      assert.isBelow(bytes.length, last)
      assert.deepStrictEqual(Result.getOrThrow(build(last - 1)).bytes, bytes)
      const payload = parse(bytes)
      assert.strictEqual(payload.identity.session_id, "sbx_1")
      assert.strictEqual(payload.state_transitions[0].operation_id, "op_2")
      assert.strictEqual(payload.state_transitions.at(-1).operation_id, "op_10000")
      assert.deepStrictEqual(payload.compacted, compacted)
      seen.push(compacted!)
      last = bytes.length
    }
    assert.deepStrictEqual(
      seen.map((pass) => [pass.dropped_events, pass.dropped_transitions, pass.shortened_error, pass.identity_only]),
      [
        [2_000, 0, false, false],
        [2_000, 7_960, false, false],
        [2_000, 7_960, true, false],
        [2_000, 7_998, true, true]
      ]
    )
  })

  it("I-70 says how large it would be when even its smallest form is too large", () => {
    const refused = build(100)
    assert.isTrue(Result.isFailure(refused))
    if (Result.isFailure(refused)) {
      assert.strictEqual(refused.failure.limit, 100)
      assert.isAbove(refused.failure.size, 100)
    }
  })
})
