/**
 * `kill -9` at any moment: the command that `status` recommends, typed literally, puts everything right.
 *
 * Moments are the phases as stderr tells them, the git commands of each phase, and random ones. A run is repeated with
 * `SANDBOX_TEST_SEED=<seed>`.
 */
import { existsSync } from "node:fs"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Effect, type Scope } from "effect"
import type { Answer } from "./support/Answer.ts"
import { heldGit } from "./support/heldGit.ts"
import { random, sampled, seed, times } from "./support/sample.ts"
import { branches, eventually, nothing, query, type Running, remains, type World, world } from "./support/sandbox.ts"

const local = ["--provider", "local", "--json"]

/** What `status` says of the only session that is not destroyed; undefined when there is none. */
const lookAt = Effect.fnUntraced(function* (w: World) {
  const rows = query(w.ledger, "SELECT id FROM sessions WHERE state <> 'destroyed'")
  assert.isAtMost(rows.length, 1)
  if (rows.length === 0) return undefined
  return (yield* w.sandbox("status", rows[0]!.id, "--json")).json()
})

/** Types what `status` recommends, until it recommends nothing: at most twice. */
const recover = Effect.fnUntraced(function* (w: World, about: string) {
  const typed: Array<string> = []
  for (;;) {
    const status: Answer | undefined = yield* lookAt(w)
    if (status === undefined || status.recovery === null) return status
    const { command } = status.recovery
    assert.isBelow(typed.length, 2, `${about}: ${typed.join("; ")}; and then ${command}`)
    const [program, ...args] = command.split(" ")
    assert.strictEqual(program, "sandbox")
    const outcome = yield* w.sandbox(...args)
    assert.strictEqual(outcome.code, 0, `${about}: ${command}: ${outcome.stdout}${outcome.stderr}`)
    typed.push(command)
  }
})

/** Nothing is there that does not belong to this session, and everything that does. */
const assertWhole = Effect.fnUntraced(function* (w: World, session: Answer | undefined, about: string) {
  yield* eventually(`${about}: no process is left`, () => remains(w).processes.length === 0)
  if (session === undefined) return assert.deepEqual(remains(w), nothing, about)
  assert.isNull(session.claim, about)
  const { worktree_path, work_branch } = session
  const cloned = session.repository.startsWith("file:")
  assert.deepEqual(
    remains(w),
    {
      worktrees: cloned ? [] : [worktree_path],
      branches: cloned || branches.includes(work_branch) ? branches : [...branches, work_branch].toSorted(),
      boxes: [`${session.session_id.replace("_", "-")}-g1`],
      processes: [],
      claims: []
    },
    about
  )
  const git = (...args: ReadonlyArray<string>) => w.git("-C", worktree_path, ...args)
  assert.strictEqual(git("rev-parse", "HEAD"), session.target_commit_sha, about)
  assert.strictEqual(git("status", "--porcelain"), "", about)
})

/** Starts a command, kills it at a moment, recovers, and looks that all is whole; answers how it was left, and became. */
const killed = Effect.fnUntraced(function* (
  w: World,
  args: ReadonlyArray<string>,
  about: string,
  moment: (running: Running) => Effect.Effect<unknown>,
  env: Readonly<Record<string, string>> = {}
) {
  const running: Running = yield* w.start(args, { env })
  yield* moment(running)
  running.signal("SIGKILL")
  yield* running.ended
  const held = query(w.ledger, "SELECT id FROM sessions WHERE claim_token IS NOT NULL").length > 0
  const session = yield* recover(w, about)
  yield* assertWhole(w, session, about)
  return { held, state: session?.state ?? "destroyed" }
}, Effect.scoped)

const end = Effect.fnUntraced(function* (w: World, about: string) {
  const session = yield* lookAt(w)
  if (session === undefined) return
  const destroyed = yield* w.sandbox("destroy", session.session_id, "--force", "--json")
  assert.strictEqual(destroyed.code, 0, `${about}: ${destroyed.stdout}`)
  yield* assertWhole(w, undefined, about)
  assert.isFalse(existsSync(join(w.repository, ".git", "sandbox.lock")), about)
})

/** A command says its first word once it holds the claim; this is how long it works from then on. */
const working = Effect.fnUntraced(function* (w: World, ...args: ReadonlyArray<string>) {
  const running = yield* w.start(args)
  yield* running.saw(":")
  const begun = performance.now()
  assert.strictEqual((yield* running.ended).code, 0)
  return performance.now() - begun
}, Effect.scoped)

/** Moments at random, but spread over the work of a command. */
const moments = (next: () => number, took: number, count: number): ReadonlyArray<number> =>
  Array.from({ length: count }, (_, n) => Math.round((0.8 * took * (n + next())) / count))

const later = (ms: number) => (running: Running) => Effect.andThen(running.saw(":"), Effect.sleep(ms))

const missed = `seed ${seed}: no process was killed while it worked`

const fresh: Effect.Effect<World, never, Scope.Scope> = Effect.tap(world, (w) => w.sandbox("list"))

const sources = (w: World): ReadonlyArray<ReadonlyArray<string>> => [
  [w.repository, "-b", "feature"],
  [w.repository, "-b", "main"],
  [w.repository, "-b", "new", "--base", "main"],
  [w.url, "-b", "main"]
]

describe.concurrent("kill -9 of up", () => {
  it.live(
    "I-33 in each of its phases",
    () =>
      Effect.gen(function* () {
        const w = yield* fresh
        for (const source of [sources(w)[1]!, sources(w)[3]!]) {
          for (const line of ["warning:", "up: resolve", "up: provision", "up: workspace", "up: health"]) {
            const about = `up ${source.join(" ")} at "${line}"`
            const { state } = yield* killed(w, ["up", ...source, ...local], about, (running) => running.saw(line))
            assert.include(["ready", "destroyed"], state, about)
            yield* end(w, about)
          }
        }
      }),
    { timeout: 180_000 }
  )

  it.live(
    "I-33 during each of its git commands",
    () =>
      Effect.gen(function* () {
        const w = yield* fresh
        const [own, , made, url] = sources(w)
        // the configuration of a URL is read before anything is reserved, and what dies there leaves no session at all
        const commands = [
          { source: own!, hold: "rev-parse --verify", recovered: "destroyed" },
          { source: made!, hold: "worktree add", recovered: "ready" },
          { source: made!, hold: "reset --hard", recovered: "ready" },
          { source: url!, hold: "ls-remote", recovered: "destroyed", held: false },
          { source: url!, hold: "clone --bare", recovered: "destroyed", held: false },
          { source: url!, hold: "clone --quiet", recovered: "ready" },
          { source: url!, hold: "remote set-url", recovered: "ready" },
          { source: url!, hold: "checkout --quiet", recovered: "ready" }
        ]
        for (const { held: begun = true, hold, recovered, source } of sampled(commands, 4)) {
          const about = `up ${source.join(" ")} in git ${hold}`
          const git = heldGit(w, { hold })
          const { held, state } = yield* killed(w, ["up", ...source, ...local], about, () => git.held(), git.env)
          assert.strictEqual(held, begun, about)
          assert.strictEqual(state, recovered, about)
          yield* end(w, about)
          git.remove()
        }
      }),
    { timeout: 180_000 }
  )

  it.live(
    "I-33 at random moments",
    () =>
      Effect.gen(function* () {
        const w = yield* fresh
        const took = yield* working(w, "up", w.repository, "-b", "main", ...local)
        yield* end(w, "undisturbed")
        let hit = 0
        for (const [n, ms] of moments(random(seed), took, times(16, 8)).entries()) {
          const source = sources(w)[n % 4]!
          const about = `seed ${seed}: up ${source.join(" ")} ${ms} ms into it`
          const { held, state } = yield* killed(w, ["up", ...source, ...local], about, later(ms))
          if (held) hit++
          assert.include(["ready", "destroyed"], state, about)
          yield* end(w, about)
        }
        assert.isAbove(hit, 0, missed)
      }),
    { timeout: 240_000 }
  )
})

describe.concurrent("kill -9 at random moments", () => {
  const rounds = Number(process.env["SANDBOX_TEST_ROUNDS"] ?? times(6, 3))

  it.live(
    "I-20 of the very first command: the next one finds no ledger, or a whole one",
    () =>
      Effect.gen(function* () {
        const w = yield* world
        const next = random(seed + 4)
        for (let round = 0; round < rounds; round++) {
          const env = { XDG_STATE_HOME: join(w.directory, `state-${round}`) }
          const first = yield* w.start(["list"], { env })
          yield* eventually("it makes its ledger", () => existsSync(join(env.XDG_STATE_HOME, "sandbox")))
          yield* Effect.sleep(40 * next())
          first.signal("SIGKILL")
          yield* first.ended
          const list = yield* w.run(["list", "--json"], { env })
          assert.deepEqual(list.json().sessions, [], `seed ${seed}, round ${round}: ${list.stdout}`)
        }
      }),
    { timeout: 60_000 + rounds * 10_000 }
  )

  it.live(
    "I-34 of down: the same end, and one checkpoint",
    () =>
      Effect.gen(function* () {
        const w = yield* fresh
        const name = "app-feature"
        yield* w.sandbox("up", w.repository, "-b", "feature", ...local)
        const took = yield* working(w, "down", name)
        let hit = 0
        for (const ms of moments(random(seed + 1), took, rounds)) {
          yield* w.sandbox("resume", name)
          const about = `seed ${seed}: down ${ms} ms into it`
          const before = query(w.ledger, "SELECT id FROM checkpoints").length
          const { held, state } = yield* killed(w, ["down", name], about, later(ms))
          if (held) hit++
          assert.include(["ready", "stopped"], state, about)
          yield* w.sandbox("down", name)
          assert.strictEqual((yield* w.sandbox("status", name, "--json")).json().state, "stopped", about)
          assert.strictEqual(query(w.ledger, "SELECT id FROM checkpoints").length, before + 1, about)
        }
        assert.isAbove(hit, 0, missed)
      }),
    { timeout: 120_000 + rounds * 10_000 }
  )

  it.live(
    "I-33 of resume: ready again, in the same box",
    () =>
      Effect.gen(function* () {
        const w = yield* fresh
        const name = "app-main"
        yield* w.sandbox("up", w.repository, "-b", "main", ...local)
        yield* w.sandbox("down", name)
        const took = yield* working(w, "resume", name)
        let hit = 0
        for (const ms of moments(random(seed + 2), took, rounds)) {
          yield* w.sandbox("down", name)
          const about = `seed ${seed}: resume ${ms} ms into it`
          const { held, state } = yield* killed(w, ["resume", name], about, later(ms))
          if (held) hit++
          assert.include(["ready", "stopped"], state, about)
          yield* w.sandbox("resume", name)
          yield* assertWhole(w, yield* lookAt(w), about)
        }
        assert.isAbove(hit, 0, missed)
      }),
    { timeout: 120_000 + rounds * 10_000 }
  )

  it.live(
    "I-33 of destroy: nothing is left once it is destroyed",
    () =>
      Effect.gen(function* () {
        const w = yield* fresh
        const up = ["up", w.repository, "-b", "new", "--base", "main", ...local]
        yield* w.sandbox(...up)
        const took = yield* working(w, "destroy", "app-new", "--force")
        let hit = 0
        for (const ms of moments(random(seed + 3), took, rounds)) {
          yield* w.sandbox(...up)
          const about = `seed ${seed}: destroy ${ms} ms into it`
          const { held, state } = yield* killed(w, ["destroy", "app-new", "--force"], about, later(ms))
          if (held) hit++
          assert.include(["ready", "stopped", "destroyed"], state, about)
          yield* end(w, about)
        }
        assert.isAbove(hit, 0, missed)
      }),
    { timeout: 120_000 + rounds * 10_000 }
  )
})
