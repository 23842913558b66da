/**
 * `kill -9` at any moment of an `up` with services and hooks: one `down` leaves no process alive.
 *
 * Moments are every phase as stderr tells it, and random ones after it. A run is repeated with `SANDBOX_TEST_SEED=<seed>`,
 * and longer with `SANDBOX_TEST_ROUNDS=<rounds>`.
 */
import { writeFileSync } from "node:fs"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { eventually, nothing, query, remains, type World, world } from "./support/sandbox.ts"

const seed = Number(process.env["SANDBOX_TEST_SEED"] ?? (performance.timeOrigin % 1_000_000) | 0)
const rounds = Number(process.env["SANDBOX_TEST_ROUNDS"] ?? 1)
process.stderr.write(`killServices.test.ts: SANDBOX_TEST_SEED=${seed}\n`)

/** Services and hooks that leave children everywhere: in their group, out of it, and deaf to being asked. */
const configuration = `
provider: local
services:
  - name: web
    command:
      - node
      - -e
      - require("node:http").createServer((_, r) => r.end("up")).listen(process.env.PORT, "127.0.0.1")
    port: 42300
    health: /
  - name: worker
    command: (trap '' TERM; sleep 1001) & setsid sleep 1002 & sleep 1003
hooks:
  pre_up: sleep 1004 & sleep 0.2
  pre_spawn: setsid sleep 1005 & sleep 0.2
  post_up: sleep 1006 & sleep 0.2
`

const phases = [
  "resolve",
  "hook.pre_up",
  "provision",
  "workspace",
  "ports",
  "environment",
  "hook.pre_spawn",
  "service.web",
  "service.worker",
  "hook.post_up",
  "health"
]

const up = ["up", ".", "--branch", "feature", "--trust-config", "--json"]

/** Kills an up a while after a phase began, brings it down by the one command, and looks that nothing is left. */
const killed = Effect.fnUntraced(function* (w: World, phase: string, delay: number) {
  const about = `seed ${seed}: ${delay} ms after ${phase}`
  const running = yield* w.start(up, { cwd: w.repository })
  assert.isTrue(yield* running.saw(`up: ${phase} …`), about)
  yield* Effect.sleep(delay)
  running.signal("SIGKILL")
  yield* running.ended
  const [session] = query<{ id: string; state: string }>(
    w.ledger,
    "SELECT id, state FROM sessions ORDER BY created_at DESC LIMIT 1"
  )
  if (session!.state === "ready") {
    assert.strictEqual((yield* w.sandbox("destroy", session!.id, "--force", "--json")).code, 0, about)
  } else {
    const down = yield* w.sandbox("down", session!.id, "--json")
    assert.strictEqual(down.code, 0, `${about}: ${down.stdout}${down.stderr}`)
    assert.strictEqual(down.json().state, "destroyed", about)
  }
  yield* eventually(`${about}: no process is left`, () => remains(w).processes.length === 0)
  assert.deepEqual(remains(w), nothing, about)
  assert.deepEqual(query(w.ledger, "SELECT port AS id FROM ports"), [], about)
}, Effect.scoped)

describe("kill -9 of an up with services and hooks, and one down", () => {
  it.live(
    "I-33 I-92 leave no process, no port, no box and no worktree, whatever it was doing",
    () =>
      Effect.gen(function* () {
        const w = yield* world
        writeFileSync(join(w.repository, "sandbox.yaml"), configuration)
        let state = seed
        for (let round = 0; round < rounds; round++) {
          for (const phase of phases) {
            state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
            yield* killed(w, phase, state % 200)
          }
        }
      }),
    { timeout: 120_000 * rounds }
  )
})
