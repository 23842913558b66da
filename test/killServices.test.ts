/**
 * `kill -9` at any moment of an `up`, a `resume` and a `down` with services and hooks: one `down` leaves no process alive.
 *
 * Moments are every phase as stderr tells it, and random ones after it. A run is repeated with `SANDBOX_TEST_SEED=<seed>`,
 * and longer with `SANDBOX_TEST_ROUNDS=<rounds>`.
 */
import { rmSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { vacant } from "./support/ports.ts"
import { random, seed } from "./support/sample.ts"
import { eventually, nothing, query, remains, type World, world } from "./support/sandbox.ts"

const rounds = Number(process.env["SANDBOX_TEST_ROUNDS"] ?? 1)

/** Some milliseconds below 200, another number at every call, and the same ones for the same seed. */
const delays = () => {
  const next = random(seed)
  return () => Math.floor(200 * next())
}

/** While it is there, a `down` stays in this phase for good. */
const stuck = (w: World, phase: string) => join(w.directory, `stuck.${phase}`)

/** Services and hooks that leave children everywhere: in their group, out of it, and deaf to being asked. */
const configuration = (w: World, port: number) => `
provider: local
services:
  - name: web
    command:
      - node
      - -e
      - require("node:http").createServer((_, r) => r.end("up")).listen(process.env.PORT, "127.0.0.1")
    port: ${port}
    health: /
  - name: worker
    command: (trap '' TERM; sleep 1001) & setsid sleep 1002 & sleep 1003
hooks:
  pre_up: sleep 1004 & sleep 0.2
  pre_spawn: setsid sleep 1005 & sleep 0.2
  post_up: sleep 1006 & sleep 0.2
  pre_down: if [ -e ${stuck(w, "hook.pre_down")} ]; then setsid sleep 1007 & (trap '' TERM; sleep 1008) & sleep 1009; fi
  post_down: if [ -e ${stuck(w, "hook.post_down")} ]; then setsid sleep 1010 & (trap '' TERM; sleep 1011) & sleep 1012; fi
`

const prepared = Effect.gen(function* () {
  const w = yield* world
  writeFileSync(join(w.repository, "sandbox.yaml"), configuration(w, yield* vacant(20)))
  return w
})

/** Kills a command a while after one of its phases began, and answers what became of the newest session. */
const killed = Effect.fnUntraced(function* (
  w: World,
  args: readonly [verb: string, ...ReadonlyArray<string>],
  { about, delay, phase }: { readonly about: string; readonly delay: number; readonly phase: string }
) {
  const running = yield* w.start([...args, "--json"], { cwd: w.repository })
  assert.isTrue(yield* running.saw(`${args[0]}: ${phase} …`), about)
  yield* Effect.sleep(delay)
  running.signal("SIGKILL")
  yield* running.ended
  const [session] = query<{ id: string; state: string }>(
    w.ledger,
    "SELECT id, state FROM sessions ORDER BY created_at DESC LIMIT 1"
  )
  return session!
}, Effect.scoped)

/** Brings a session down by the one command, and looks that it left no process. */
const down = Effect.fnUntraced(function* (w: World, id: string, about: string) {
  const outcome = yield* w.sandbox("down", id, "--json")
  assert.strictEqual(outcome.code, 0, `${about}: ${outcome.stdout}${outcome.stderr}`)
  yield* eventually(`${about}: no process is left`, () => remains(w).processes.length === 0, 10)
  assert.deepEqual(query(w.ledger, "SELECT port AS id FROM ports"), [], about)
  return outcome.json().state
})

const destroyed = Effect.fnUntraced(function* (w: World, id: string, about: string) {
  const outcome = yield* w.sandbox("destroy", id, "--json")
  assert.strictEqual(outcome.code, 0, `${about}: ${outcome.stdout}${outcome.stderr}`)
})

const up = ["up", ".", "--branch", "feature", "--trust-config"] as const

const brought = Effect.fnUntraced(function* (w: World) {
  const outcome = yield* w.run([...up, "--json"], { cwd: w.repository })
  assert.strictEqual(outcome.code, 0, outcome.stderr)
  return outcome.json().session_id
})

const beginning = ["environment", "hook.pre_spawn", "service.web", "service.worker", "hook.post_up", "health"]
const phases = {
  up: ["resolve", "hook.pre_up", "provision", "workspace", "ports", ...beginning],
  resume: ["start", "workspace", "ports", ...beginning],
  down: ["hook.pre_down", "stop", "save", "hook.post_down"]
}

describe.concurrent("kill -9 and one down", () => {
  it.live(
    "I-33 I-92 leave no process, no port, no box and no worktree of an up, whatever it was doing",
    () =>
      Effect.gen(function* () {
        const w = yield* prepared
        const next = delays()
        for (let round = 0; round < rounds; round++) {
          for (const phase of phases.up) {
            const delay = next()
            const about = `seed ${seed}: ${delay} ms after ${phase}`
            const { id, state } = yield* killed(w, up, { about, delay, phase })
            const wasUp = state === "ready"
            assert.strictEqual(yield* down(w, id, about), wasUp ? "stopped" : "destroyed", about)
            if (wasUp) yield* destroyed(w, id, about)
            assert.deepEqual(remains(w), nothing, about)
          }
        }
      }),
    { timeout: 120_000 * rounds }
  )

  it.live(
    "I-32 I-92 leave no process and no port of a down, whatever it was doing",
    () =>
      Effect.gen(function* () {
        const w = yield* prepared
        const next = delays()
        const id = yield* brought(w)
        for (let round = 0; round < rounds; round++) {
          for (const phase of phases.down) {
            const delay = next()
            const about = `seed ${seed}: ${delay} ms after ${phase} of a down`
            assert.strictEqual((yield* w.run(["resume", id], { cwd: w.repository })).code, 0, about)
            writeFileSync(stuck(w, phase), "")
            yield* killed(w, ["down", id], { about, delay, phase })
            rmSync(stuck(w, phase))
            assert.strictEqual(yield* down(w, id, about), "stopped", about)
          }
        }
        yield* destroyed(w, id, `seed ${seed}`)
        assert.deepEqual(remains(w), nothing)
      }),
    { timeout: 120_000 * rounds }
  )

  it.live(
    "I-33 I-92 leave no process and no port of a resume, whatever it was doing",
    () =>
      Effect.gen(function* () {
        const w = yield* prepared
        const next = delays()
        const id = yield* brought(w)
        assert.strictEqual(yield* down(w, id, "as it is"), "stopped")
        for (let round = 0; round < rounds; round++) {
          for (const phase of phases.resume) {
            const delay = next()
            const about = `seed ${seed}: ${delay} ms after ${phase} of a resume`
            yield* killed(w, ["resume", id], { about, delay, phase })
            assert.strictEqual(yield* down(w, id, about), "stopped", about)
          }
        }
        yield* destroyed(w, id, `seed ${seed}`)
        assert.deepEqual(remains(w), nothing)
      }),
    { timeout: 120_000 * rounds }
  )
})
