/** Services that say that the work of their session is done. */
import { existsSync, mkdirSync, rmSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { assert, layer } from "@effect/vitest"
import type { GcResult, ServiceOptions } from "@org/sandbox-core/promise"
import { Effect } from "effect"
import { Connected } from "./support/client.ts"
import { refused } from "./support/exports.ts"
import { eventually, processesOf } from "./support/sandbox.ts"

const up = Effect.fnUntraced(function* (name: string, ...services: ReadonlyArray<ServiceOptions>) {
  const { client, w } = yield* Connected
  const request = { repository: w.repository, branch: name, base: "feature", provider: "local", name }
  const made = yield* Effect.promise(() => client.up({ ...request, setup: { services } }))
  return { ...made, directory: made.worktreePath! }
})

const status = Effect.fnUntraced(function* (session: string) {
  const { client } = yield* Connected
  return yield* Effect.promise(() => client.status({ session, live: true }))
})

/** What `gc` says of one session, and does about it. */
const gc = Effect.fnUntraced(function* (name: string, dryRun = false) {
  const { client } = yield* Connected
  const { actions }: GcResult = yield* Effect.promise(() => client.gc({ dryRun }))
  return actions.filter((action) => action.name === name).map(({ action, outcome }) => ({ action, outcome }))
})

const completed = Effect.fnUntraced(function* (session: string) {
  const { client } = yield* Connected
  const { events } = yield* Effect.promise(() => client.history({ session }))
  return events.filter(({ type }) => type === "completed").map(({ data }) => data)
})

// one world for all: a process has one environment
layer(Connected.layer, { excludeTestServices: true })("the completion signal", (it) => {
  it.effect("of a service that has ended with 0 completes its session by gc, and by nothing else", () =>
    Effect.gen(function* () {
      const { client } = yield* Connected
      // ends before a service counts as started otherwise
      const { directory, sessionId } = yield* up("job", { name: "agent", command: "echo >made", completes: "exit" })
      yield* eventually("the work is done", () => existsSync(join(directory, "made")))
      yield* eventually("it has ended", () => processesOf({ sessionId }, "agent").length === 0)
      const seen = yield* status("job")
      assert.deepInclude(seen, { state: "ready", healthy: true })
      assert.deepEqual(seen.recovery, {
        command: `sandbox complete ${sessionId}`,
        reason: "its service agent has ended with exit code 0: its work is done"
      })
      assert.deepInclude(seen.services[0], { name: "agent", exitCode: 0, healthy: true })
      assert.deepEqual(yield* gc("job", true), [{ action: "complete", outcome: "planned" }])
      assert.deepInclude(yield* status("job"), { state: "ready", completedAt: null }, "looking moves nothing")

      assert.deepEqual(yield* gc("job"), [{ action: "complete", outcome: "done" }])
      const after = yield* status("job")
      assert.deepInclude(after, { state: "completed", claim: null, recovery: null })
      assert.isNotNull(after.completedAt)
      assert.deepInclude(after.checkpoint, { reason: "complete", verified: true })
      assert.deepEqual(yield* completed("job"), [{ signal: "its service agent has ended with exit code 0" }])
      assert.deepEqual(yield* gc("job"), [])

      // taken up again it runs again, and its end counts again
      rmSync(join(directory, "made"))
      yield* Effect.promise(() => client.resume({ session: "job" }))
      yield* eventually("the work is done again", () => existsSync(join(directory, "made")))
      yield* eventually("it has ended", () => processesOf({ sessionId }, "agent").length === 0)
      assert.deepEqual(yield* gc("job"), [{ action: "complete", outcome: "done" }])
    })
  )

  it.effect("is no end with another code, also where the file was written", () =>
    Effect.gen(function* () {
      const failing = "touch started; until [ -f go ]; do sleep 0.1; done; touch DONE; exit 3"
      const { directory, sessionId } = yield* up(
        "failing",
        { name: "exits", command: failing, completes: "exit" },
        { name: "writes", command: failing, completes: { file: "DONE" } }
      )
      writeFileSync(join(directory, "go"), "")
      yield* eventually("both have ended", () =>
        ["exits", "writes"].every((name) => processesOf({ sessionId }, name).length === 0)
      )
      assert.isTrue(existsSync(join(directory, "DONE")))
      const seen = yield* status("failing")
      assert.isFalse(seen.healthy)
      assert.strictEqual(seen.recovery?.command, `sandbox resume ${sessionId}`)
      assert.deepEqual(yield* gc("failing"), [])
      assert.strictEqual((yield* status("failing")).state, "ready")
    })
  )

  it.effect("is a file that was written since the session was brought up", () =>
    Effect.gen(function* () {
      const { client } = yield* Connected
      const file = "out put/it's DONE"
      const { directory, sessionId } = yield* up("file", {
        name: "agent",
        command: "sleep 1000",
        completes: { file }
      })
      assert.deepEqual(yield* gc("file"), [])
      mkdirSync(join(directory, "out put"))
      mkdirSync(join(directory, file))
      assert.deepEqual(yield* gc("file"), [], "a directory is none")
      rmSync(join(directory, file), { recursive: true })
      writeFileSync(join(directory, file), "")
      assert.strictEqual(
        (yield* status("file")).recovery?.reason,
        `its service agent has written ${file}: its work is done`
      )
      assert.deepEqual(yield* gc("file"), [{ action: "complete", outcome: "done" }])
      assert.isNotEmpty(processesOf({ sessionId }, "agent"), "the box stays up")

      yield* Effect.promise(() => client.resume({ session: "file" }))
      assert.isNull((yield* status("file")).recovery, "it was said of an earlier time")
      assert.deepEqual(yield* gc("file"), [])
      writeFileSync(join(directory, file), "again")
      assert.deepEqual(yield* gc("file"), [{ action: "complete", outcome: "done" }])
      assert.lengthOf(yield* completed("file"), 2)
    })
  )

  it.effect("is not looked for outside the checkout", () =>
    Effect.gen(function* () {
      const { w } = yield* Connected
      for (const file of ["../DONE", "/tmp/DONE", "", "a/../../b"]) {
        const service = { name: "agent", command: "sleep 1000", completes: { file } }
        const request = { repository: w.repository, branch: "main", provider: "local", name: "outside" }
        const error = yield* refused("ERR_INVALID_ARGUMENT", (client) =>
          client.up({ ...request, setup: { services: [service] } })
        )
        assert.strictEqual(error.details?.["field"], "services")
      }
    })
  )
})
