/** A PostgreSQL that goes away while real processes work on it, and comes back. */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { inject } from "vitest"
import { type Server, startServer } from "./postgres.ts"
import { heldGit } from "./support/heldGit.ts"
import { type Outcome, remains, type World, world } from "./support/sandbox.ts"
import { ask } from "./support/team.ts"

const up = (w: World) => ["up", w.repository, "-b", "main", "-n", "work", "-p", "local", "--json"]

/** A world whose ledger is the whole of a server that may be restarted at will. */
const owned = Effect.gen(function* () {
  const server = yield* Effect.acquireRelease(
    Effect.promise(async (): Promise<Server> => (await startServer()) ?? assert.fail("PostgreSQL is not installed")),
    (server) => Effect.sync(server.stop)
  )
  const w = yield* world
  const env = { SANDBOX_LEDGER: server.url, SANDBOX_PRINCIPAL_ID: "ann" }
  const run = (...args: ReadonlyArray<string>) => w.run(args, { env })
  const rows = <A extends object>(statement: string) => ask<A>(server.url, statement)
  return { server, w, env, run, rows }
})

type Owned = Effect.Success<typeof owned>

/** What `status` says is to be done next, done literally. */
const recovered = Effect.fnUntraced(function* ({ run }: Owned, outcome: Outcome) {
  if (outcome.code === 0) return
  assert.include(["ERR_LEDGER_IO", "ERR_RECOVERY_REQUIRED", "ERR_CLAIM_LOST"], outcome.json().error_code)
  const { recovery } = (yield* run("status", "work", "--json")).json()
  if (recovery === null || recovery === undefined) return
  const [program, ...args] = String(recovery.command).split(" ")
  assert.strictEqual(program, "sandbox")
  const done = yield* run(...args, "--json")
  assert.strictEqual(done.code, 0, done.stdout + done.stderr)
})

/** Every event stands once, in order, and every step goes on from the one before. */
const consistent = Effect.fnUntraced(function* ({ rows }: Owned) {
  const events = yield* rows<{ readonly seq: number; readonly type: string; readonly data: string }>(
    "SELECT seq, type, data FROM events ORDER BY seq"
  )
  assert.deepStrictEqual(
    events.map(({ seq }) => seq),
    events.map((_, at) => at + 1)
  )
  const steps = events.filter(({ type }) => type === "transition").map(({ data }) => JSON.parse(data))
  for (const [at, { from }] of steps.entries()) assert.strictEqual(from, at === 0 ? null : steps[at - 1].to)
  return steps.map(({ to }): string => to)
})

describe.skipIf(inject("postgres") === undefined)("a PostgreSQL that is restarted", () => {
  for (const mode of ["fast", "immediate"] as const) {
    it.live(
      `does not end an up that is under way (${mode})`,
      () =>
        Effect.gen(function* () {
          const here = yield* owned
          const { env, rows, server, w } = here
          const git = heldGit(w, { hold: "worktree add" })
          const started = yield* w.start(up(w), { env: { ...env, ...git.env } })
          yield* git.held()
          server.restart(mode)
          git.open()
          const outcome = yield* started.ended
          yield* recovered(here, outcome)
          assert.deepStrictEqual(yield* rows("SELECT state, claim_token FROM sessions"), [
            { state: "ready", claim_token: null }
          ])
          assert.deepStrictEqual(yield* consistent(here), ["requested", "provisioning", "syncing", "ready"])
          const { boxes, worktrees } = remains(w)
          assert.deepStrictEqual([boxes.length, worktrees.length], [1, 1])
        }),
      { timeout: 120_000 }
    )

    it.live(
      `leaves a session that is halted and resumed as one that nothing happened to (${mode})`,
      () =>
        Effect.gen(function* () {
          const here = yield* owned
          const { env, rows, run, server, w } = here
          const made = yield* run(...up(w))
          assert.strictEqual(made.code, 0, made.stdout)
          // at whatever the process does just then, and as often as it lasts
          const restarted = Effect.fnUntraced(function* (args: ReadonlyArray<string>, phase: string) {
            const process = yield* w.start([...args, "--json"], { env })
            assert.isTrue(yield* process.saw(phase), phase)
            server.restart(mode)
            yield* recovered(here, yield* process.ended)
          })
          yield* restarted(["down", "work"], "down: save")
          assert.deepStrictEqual(yield* rows("SELECT state, claim_token FROM sessions"), [
            { state: "stopped", claim_token: null }
          ])
          assert.strictEqual((yield* rows("SELECT id FROM checkpoints")).length, 1)
          yield* restarted(["resume", "work"], "resume: start")
          yield* restarted(["checkpoint", "create", "work"], "checkpoint: save")
          yield* restarted(["destroy", "work", "--force", "--confirm-data-loss"], "destroy: save")
          assert.deepStrictEqual(yield* rows("SELECT state, claim_token FROM sessions"), [
            { state: "destroyed", claim_token: null }
          ])
          yield* consistent(here)
          const open = yield* rows("SELECT key FROM intents WHERE status = 'open'")
          const running = yield* rows("SELECT id FROM operations WHERE status = 'running'")
          assert.deepStrictEqual([open, running, remains(w).boxes], [[], [], []])
        }),
      { timeout: 180_000 }
    )
  }
})
