/** Sessions that move between this host and containers of a real engine, with all that they are. */
import { readdirSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { assert, it } from "@effect/vitest"
import { Effect } from "effect"
import { describeDocker } from "./docker.ts"
import type { Answer } from "./support/Answer.ts"
import { composedIn, containersOf, ok, ready } from "./support/composed.ts"
import { images } from "./support/docker.ts"
import { dockerWorld, held, onEngine } from "./support/dockerWorld.ts"
import { vacant } from "./support/ports.ts"
import { query, type World } from "./support/sandbox.ts"
import { everything, work } from "./support/work.ts"

const nothingThere = { containers: [], volumes: [], networks: [] }

const json = Effect.fnUntraced(function* (w: World, ...args: ReadonlyArray<string>) {
  const outcome = yield* w.sandbox(...args, "--json")
  const answer = outcome.json()
  assert.isTrue(answer.ok, `${args.join(" ")}: ${JSON.stringify(answer)}\n${outcome.stderr}`)
  return answer
})

/** A program that both an ordinary Linux and the container have; in a container it has to listen on its outer address. */
const serving = (w: World, port: number, more = ""): void => {
  writeFileSync(
    join(w.repository, "sandbox.yaml"),
    `provider: local
env: { GREETING: "a b'c" }
services:
  - name: web
    command: "[ $SANDBOX_PROVIDER = local ] && at=127.0.0.1 || at=0.0.0.0; exec python3 -m http.server --bind $at $PORT"
    port: ${port}
    health: /src.txt
${more}`
  )
}

const page = (answer: Answer) => Effect.promise(async () => (await fetch(`${answer.endpoint_url}/src.txt`)).text())

const status = Effect.fnUntraced(function* (w: World) {
  const { code, stderr, stdout } = yield* w.sandbox("exec", "app", "--", "git", "status", "--porcelain=v2", "-z")
  assert.strictEqual(code, 0, stderr)
  return stdout
})

/** What this host has of boxes. */
const here = (w: World) => readdirSync(join(w.state, "local")).filter((name) => name.startsWith("sbx-"))

const worktrees = (w: World) =>
  [...w.git("worktree", "list", "--porcelain").matchAll(/^worktree (.+)$/gm)].map(([, path]) => path)

const identity = (w: World) =>
  query<object>(
    w.ledger,
    "SELECT id, owner, name, reserved_name, repository, branch, commit_id, spec, slot, created_at FROM sessions"
  )

describeDocker("a session that moves", () => {
  it.live(
    "to a container and back is the same session, with the same work and its service on both sides",
    () =>
      Effect.gen(function* () {
        const w = yield* dockerWorld({ image: images.git })
        serving(w, yield* vacant(20))
        const up = yield* json(w, "up", w.repository, "-b", "feature", "-n", "app", "--trust-config")
        assert.strictEqual(up.provider, "local")
        work(up.worktree_path!)
        w.git("stash", "list")
        const before = everything(up.worktree_path!)
        const seen = yield* status(w)
        const who = identity(w)
        assert.strictEqual(yield* page(up), "staged, and changed again\n")

        const plan = yield* json(w, "switch", "app", "--to", "docker", "--dry-run")
        assert.deepInclude(plan, { from: "local", to: "docker", needs_confirmation: false })
        assert.isAbove(plan.work!.bytes, 70_000)
        assert.deepEqual(identity(w), who)

        const there = yield* json(w, "switch", "app", "--to", "docker")
        assert.deepInclude(there, {
          session_id: up.session_id,
          from: "local",
          to: "docker",
          state: "ready",
          orphans: []
        })
        assert.deepEqual(identity(w), who)
        assert.deepEqual(yield* held(w, "app"), before)
        assert.strictEqual(yield* status(w), seen)
        assert.strictEqual(yield* page(there), "staged, and changed again\n")
        const greeting = yield* w.sandbox("exec", "app", "--", "sh", "-c", 'echo "$GREETING $SANDBOX_PROVIDER"')
        assert.strictEqual(greeting.stdout, "a b'c docker\n")
        assert.deepEqual(here(w), [], "nothing is left on the side that it left")
        assert.deepEqual(worktrees(w), [w.repository])
        const engine = yield* onEngine(w)
        assert.deepEqual([engine.containers.length, engine.volumes.length], [1, 1])

        yield* w.sandbox("exec", "app", "--", "sh", "-c", "echo of the container > later.txt")
        const later = yield* held(w, "app")
        const back = yield* json(w, "move", "app", "--to", "local")
        assert.deepInclude(back, { session_id: up.session_id, from: "docker", to: "local", work_branch: "feature" })
        assert.deepEqual(identity(w), who)
        assert.deepEqual(everything(back.worktree_path!), later)
        assert.strictEqual(yield* page(back), "staged, and changed again\n")
        assert.deepEqual(yield* onEngine(w), nothingThere)
        const { events } = yield* json(w, "history", "app")
        const told = events!
          .map(({ type }: { readonly type: string }) => type)
          .filter((type: string) => type !== "transition")
        assert.deepEqual(told, [
          "captured",
          "provider_changed",
          "restored",
          "orphan_resolved",
          "captured",
          "provider_changed",
          "restored",
          "orphan_resolved"
        ])
      }).pipe(Effect.scoped),
    240_000
  )

  it.live(
    "moves while it is halted, and comes up on the other side",
    () =>
      Effect.gen(function* () {
        const w = yield* dockerWorld({ image: images.git })
        const up = yield* json(w, "up", w.repository, "-b", "feature", "-n", "app", "-p", "local")
        work(up.worktree_path!)
        const before = everything(up.worktree_path!)
        yield* json(w, "down", "app")
        const there = yield* json(w, "switch", "app", "--to", "docker")
        assert.strictEqual(there.state, "ready")
        assert.deepEqual(yield* held(w, "app"), before)
        yield* json(w, "down", "app")
        const back = yield* json(w, "switch", "app", "--to", "local")
        assert.deepEqual(everything(back.worktree_path!), before)
        yield* json(w, "destroy", "app", "--force")
        assert.deepEqual([yield* onEngine(w), here(w)], [nothingThere, []])
      }).pipe(Effect.scoped),
    240_000
  )

  it.live(
    "stays where it is when the engine would not make the box, and goes back when its service does not come up there",
    () =>
      Effect.gen(function* () {
        const w = yield* dockerWorld({ image: images.git })
        serving(w, yield* vacant(20))
        const up = yield* json(w, "up", w.repository, "-b", "feature", "-n", "app", "--trust-config")
        work(up.worktree_path!)
        const before = everything(up.worktree_path!)
        const row = query<object>(w.ledger, "SELECT * FROM sessions")
        const unreachable = yield* w.run(["switch", "app", "--to", "docker", "--json"], {
          env: { DOCKER_HOST: "unix:///nowhere.sock" }
        })
        assert.deepInclude(unreachable.json(), { ok: false, error_code: "ERR_PROVIDER_UNAVAILABLE" })
        assert.strictEqual(unreachable.code, 1)
        assert.deepEqual(query<object>(w.ledger, "SELECT * FROM sessions"), row)

        // busybox has no python
        const other = join(w.directory, "home/.config/sandbox/config.yaml")
        writeFileSync(
          other,
          JSON.stringify({ providers: { docker: { options: { image: images.base, pull: "never" } } } })
        )
        const failed = yield* w.sandbox("switch", "app", "--to", "docker", "--json")
        const { details, error_code } = failed.json()
        assert.strictEqual(failed.code, 2, failed.stderr)
        assert.strictEqual(error_code, "ERR_SERVICE_FAILED")
        assert.strictEqual(details?.rolled_back, true)
        const after = yield* json(w, "status", "app", "--live")
        assert.deepInclude(after, { state: "ready", provider: "local", claim: null, healthy: true })
        assert.deepEqual(everything(up.worktree_path!), before)
        assert.strictEqual(yield* page(after), "staged, and changed again\n")
        assert.deepEqual(yield* onEngine(w), nothingThere)

        const kept = yield* w.sandbox("switch", "app", "--to", "docker", "--on-failure", "hold", "--json")
        assert.deepEqual([kept.code, kept.json().error_code], [2, "ERR_SERVICE_FAILED"])
        const halted = yield* json(w, "status", "app")
        assert.deepInclude(halted, { state: "failed", provider: "docker" })
        assert.deepEqual(yield* onEngine(w), nothingThere)
        assert.lengthOf(here(w), 1)
        const returned = yield* json(w, "switch", "app", "--to", "local")
        assert.strictEqual(returned.worktree_path, up.worktree_path, "the box that was left is taken up again")
        assert.deepEqual(everything(up.worktree_path!), before)
        assert.strictEqual(yield* page(returned), "staged, and changed again\n")
        assert.deepEqual(yield* json(w, "gc"), { ...(yield* json(w, "gc")), actions: [] })
      }).pipe(Effect.scoped),
    240_000
  )

  it.live(
    "keeps the data of its compose services, which leave the network of the box",
    () =>
      Effect.gen(function* () {
        const c = yield* composedIn(yield* dockerWorld(), "docker")
        const first = yield* ready(c, "-b", "one", "--base", "main", "-p", "local", "-n", "app")
        const id = first.session_id
        const starts = Effect.fnUntraced(function* () {
          const shown = yield* ok(c, "ports", id)
          const { url } = (shown as any).ports.find(({ name }: { readonly name: string }) => name === "db")
          const text = yield* Effect.promise(async () => (await fetch(`${url}/starts`)).text())
          return text.trim().split("\n")
        })
        const here = yield* starts()
        yield* ok(c, "switch", id, "--to", "docker")
        const there = yield* starts()
        assert.strictEqual(there[0], here[0], "the volume is the same")
        const inside = yield* c.run(["exec", id, "--", "wget", "-qO-", "http://db/starts"])
        assert.strictEqual(inside.stdout.trim().split("\n")[0], here[0])
        assert.lengthOf(yield* containersOf(id), 2)
        yield* ok(c, "switch", id, "--to", "local")
        assert.strictEqual((yield* starts())[0], here[0])
        assert.lengthOf(yield* containersOf(id), 1, "the box in a container is gone")
        yield* ok(c, "destroy", id, "--force", "--confirm-data-loss")
        assert.deepEqual(yield* c.left, nothingThere)
      }).pipe(Effect.scoped),
    300_000
  )
})
