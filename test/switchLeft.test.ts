/** What a user goes on writing in a checkout that its session has left is not lost with it. */
import { existsSync, mkdirSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { type World, world } from "./support/sandbox.ts"

const done = Effect.fnUntraced(function* (w: World, ...args: ReadonlyArray<string>) {
  const answer = (yield* w.sandbox(...args, "--json")).json()
  assert.isTrue(answer.ok, `${args.join(" ")}: ${JSON.stringify(answer)}`)
  return answer
})

/** A session on `local`, beside which there is `elsewhere`, also on this host. */
const upWith = Effect.fnUntraced(function* (more: object = {}) {
  const w = yield* world
  mkdirSync(join(w.directory, "home/.config/sandbox"), { recursive: true })
  const configuration = { providers: { elsewhere: { use: "local" } }, ...more }
  writeFileSync(join(w.directory, "home/.config/sandbox/config.yaml"), JSON.stringify(configuration))
  const up = yield* done(w, "up", w.repository, "-b", "feature", "-n", "app", "-p", "local")
  writeFileSync(join(up.worktree_path, "before.txt"), "before\n")
  return { w, up }
})

const restored = Effect.fnUntraced(function* (w: World, checkpoint: string) {
  return (yield* done(w, "up", "--from-checkpoint", checkpoint, "-p", "local", "-n", "other")).worktree_path
})

describe("a checkout that its session has left", () => {
  it.live(
    "is saved before it is removed, where something was written to it meanwhile",
    () =>
      Effect.gen(function* () {
        // the hook of the new side stands for an editor on the old one
        const late = `[ $SANDBOX_PROVIDER = local ] || echo late > "$(cat "$HOME/old")/late.txt"`
        const { up, w } = yield* upWith({ hooks: { post_up: late } })
        writeFileSync(join(w.directory, "home/old"), up.worktree_path)
        const moved = yield* done(w, "switch", "app", "--to", "elsewhere")
        assert.deepEqual(moved.orphans, [])
        assert.isFalse(existsSync(up.worktree_path))
        assert.isTrue(existsSync(join(moved.worktree_path, "before.txt")))
        assert.isFalse(existsSync(join(moved.worktree_path, "late.txt")))
        const { checkpoints } = yield* done(w, "checkpoint", "list", "app")
        const left = checkpoints.find(({ reason }) => reason === "left")!
        assert.isTrue(existsSync(join(yield* restored(w, left.id), "late.txt")))
      }).pipe(Effect.scoped),
    120_000
  )

  it.live(
    "keeps its branch for the session, which goes back to it and forth",
    () =>
      Effect.gen(function* () {
        const { w } = yield* upWith()
        const heads = () => w.git("for-each-ref", "--format=%(refname)", "refs/heads")
        const before = heads()
        for (const to of ["elsewhere", "local", "elsewhere"]) {
          const moved = yield* done(w, "switch", "app", "--to", to)
          assert.strictEqual(moved.work_branch, "feature")
          assert.strictEqual(heads(), before)
        }
      }).pipe(Effect.scoped),
    120_000
  )

  it.live(
    "is taken up again after a switch that was held, and what was done in it by hand is saved first",
    () =>
      Effect.gen(function* () {
        const { up, w } = yield* upWith({ hooks: { post_up: "[ $SANDBOX_PROVIDER = local ]" } })
        const held = yield* w.sandbox("switch", "app", "--to", "elsewhere", "--on-failure", "hold", "--json")
        assert.deepEqual([held.code, held.json().error_code], [2, "ERR_HOOK_FAILED"])
        writeFileSync(join(up.worktree_path, "by-hand.txt"), "by hand\n")
        const back = yield* done(w, "switch", "app", "--to", "local")
        assert.strictEqual(back.worktree_path, up.worktree_path)
        assert.strictEqual(back.work_branch, "feature")
        assert.isTrue(existsSync(join(up.worktree_path, "before.txt")))
        const { checkpoints } = yield* done(w, "checkpoint", "list", "app")
        const left = checkpoints.find(({ reason }) => reason === "left")!
        assert.isTrue(existsSync(join(yield* restored(w, left.id), "by-hand.txt")))
      }).pipe(Effect.scoped),
    120_000
  )
})
