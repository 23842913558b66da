/** An `up` that hangs: what others see of it, who may take it over, and how it is interrupted. */
import { existsSync, readdirSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { assertErrorObject, assertFailure } from "./support/contract.ts"
import { heldGit, wasSignalled } from "./support/heldGit.ts"
import { eventually, nothing, processesWith, query, remains, type World, world } from "./support/sandbox.ts"

const up = (w: World, ...more: ReadonlyArray<string>) => [
  ...["up", w.repository, "-b", "feature", "-p", "local", "--json"],
  ...more
]

/**
 * A server behind ssh that answers its first `answers` connections and is silent on those after.
 *
 * Git runs it in place of ssh; it serves the repository of the world.
 */
const silentServer = (w: World, answers: number) => {
  const script = join(w.directory, "ssh")
  const called = join(w.directory, "connections")
  writeFileSync(
    script,
    `#!/bin/sh
echo >> ${called}
if [ $(wc -l < ${called}) -gt ${answers} ]; then
  : > ${called}.silent
  exec sleep 600
fi
for command; do :; done
exec sh -c "$command"
`,
    { mode: 0o755 }
  )
  return {
    url: `ssh://git.invalid${w.repository}`,
    env: { GIT_SSH_COMMAND: script, GIT_SSH_VARIANT: "ssh" },
    isSilent: eventually("the server was asked, and says nothing", () => existsSync(`${called}.silent`))
  }
}

describe.concurrent("an up that hangs", () => {
  for (const { answers, phase, state } of [
    { answers: 0, phase: "while its repository is looked up", state: "requested" },
    { answers: 1, phase: "while its repository is cloned", state: "syncing" }
  ]) {
    it.live(`I-15 ${phase}: list and status answer meanwhile, and say who is at it`, () =>
      Effect.gen(function* () {
        const w = yield* world
        const server = silentServer(w, answers)
        // with a configuration of one's own, the repository's is not read before there is a session
        const config = join(w.directory, "config.yaml")
        writeFileSync(config, "provider: local\n")
        const hanging = yield* w.start(["up", server.url, "-b", "main", "--config", config, "--json"], {
          env: server.env
        })
        yield* server.isSilent
        const list = yield* w.sandbox("list", "--json")
        const [row] = list.json().sessions
        const status = yield* w.sandbox("status", "app-main", "--json")
        const people = yield* w.sandbox("list")
        assert.isFalse(hanging.hasEnded())
        assert.strictEqual(list.code, 0)
        assert.strictEqual(status.code, 4)
        for (const seen of [row, status.json()]) {
          assert.deepInclude(seen, { name: "app-main", state })
          assert.deepInclude(seen?.claim, { kind: "up", stale: false })
          assert.strictEqual(seen?.claim?.holder.pid, hanging.pid)
          assert.strictEqual(seen?.recovery?.command, `sandbox status ${seen?.session_id}`)
        }
        assert.match(people.stdout, new RegExp(`app-main +${state} \\(pending up, \\d+ s\\) `))

        // interrupted, it takes git and what git started with it
        hanging.signal("SIGINT")
        assertFailure(yield* hanging.ended, "ERR_INTERRUPTED")
        yield* eventually("nothing of it runs", () => remains(w).processes.length === 0)
        assert.deepEqual(remains(w), nothing)
        const mirrors = join(w.directory, "cache", "sandbox", "mirrors")
        assert.deepEqual(existsSync(mirrors) ? readdirSync(mirrors) : [], [])
      })
    )
  }

  it.live("while its repository's configuration is read has no session yet, and leaves nothing when interrupted", () =>
    Effect.gen(function* () {
      const w = yield* world
      const server = silentServer(w, 0)
      const hanging = yield* w.start(["up", server.url, "-b", "main", "-p", "local", "--json"], { env: server.env })
      assert.isTrue(yield* hanging.saw("reading the repository's sandbox.yaml …"))
      yield* server.isSilent
      assert.deepEqual((yield* w.sandbox("list", "--json")).json().sessions, [])
      hanging.signal("SIGINT")
      assert.strictEqual(assertFailure(yield* hanging.ended, "ERR_INTERRUPTED").operation_id, null)
      yield* eventually("nothing of it runs", () => remains(w).processes.length === 0)
      assert.deepEqual(remains(w), nothing)
    })
  )

  it.live(
    "I-9 I-11 is left alone by down, but not by down --force: then it stands down",
    () =>
      Effect.gen(function* () {
        const w = yield* world
        const git = heldGit(w, { hold: "worktree add" })
        const hanging = yield* w.start(up(w), { env: git.env })
        yield* git.held()
        for (const verb of ["down", "resume", "destroy"]) {
          const refused = assertFailure(yield* w.sandbox(verb, "app-feature", "--json"), "ERR_OPERATION_CONFLICT")
          assert.isTrue(refused.retryable)
          assert.strictEqual(refused.details.claim?.kind, "up")
          assert.strictEqual(refused.details.claim?.holder.pid, hanging.pid)
          assert.isNumber(refused.details.claim?.since)
          assert.strictEqual(
            refused.next_step,
            `wait for it and try again; \`sandbox down ${refused.session_id} --force\` takes the session over`
          )
        }
        const taken = yield* w.sandbox("down", "app-feature", "--force", "--json")
        assert.strictEqual(taken.code, 0, taken.stdout)
        assert.strictEqual(taken.json().state, "destroyed")
        const lost = assertFailure(yield* hanging.ended, "ERR_CLAIM_LOST")
        assert.strictEqual(lost.session_id, taken.json().session_id)
        const rows = query<object>(w.ledger, "SELECT state, claim_token FROM sessions")
        assert.deepEqual(rows, [{ state: "destroyed", claim_token: null }])
        const history = (yield* w.sandbox("history", lost.session_id, "--json")).json()
        assert.deepEqual(
          history.operations.map(({ status, verb }) => `${verb} ${status}`),
          ["up abandoned", "down succeeded"]
        )
        assert.deepEqual(remains(w), nothing)
      }),
    { timeout: 60_000 }
  )

  it.live("I-77 holds its name, which is free as soon as it has failed", () =>
    Effect.gen(function* () {
      const w = yield* world
      const git = heldGit(w, { hold: "worktree add" })
      const hanging = yield* w.start(up(w), { env: git.env })
      yield* git.held()
      const taken = assertFailure(yield* w.sandbox(...up(w)), "ERR_NAME_TAKEN")
      assert.strictEqual(taken.details.holder?.state, "syncing")
      hanging.signal("SIGTERM")
      assert.strictEqual((yield* hanging.ended).code, 143)
      assert.strictEqual((yield* w.sandbox(...up(w))).json().state, "ready")
    })
  )

  it.live("gives up after --timeout, and rolls back", () =>
    Effect.gen(function* () {
      const w = yield* world
      const git = heldGit(w, { hold: "worktree add" })
      const answer = assertFailure(yield* w.run(up(w, "--timeout", "1500ms"), { env: git.env }), "ERR_TIMEOUT")
      assert.include(answer.next_step, "--timeout")
      assert.deepEqual(remains(w), nothing)
      assert.strictEqual((yield* w.sandbox("status", "app-feature", "--json")).json().state, "failed")
    })
  )
})

describe.concurrent("an interrupted up", () => {
  for (const [signal, code] of [
    ["SIGINT", 130],
    ["SIGTERM", 143],
    ["SIGHUP", 129]
  ] as const) {
    for (const hold of ["rev-parse --verify", "worktree add"]) {
      it.live(`I-33 by ${signal} in git ${hold}: rolled back, ${code}`, () =>
        Effect.gen(function* () {
          const w = yield* world
          const git = heldGit(w, { hold })
          const hanging = yield* w.start(up(w), { env: git.env })
          yield* git.held()
          hanging.signal(signal)
          const outcome = yield* hanging.ended
          assert.strictEqual(outcome.code, code)
          const answer = outcome.json()
          assertErrorObject(answer)
          assert.strictEqual(answer.error_code, "ERR_INTERRUPTED")
          assert.isTrue(answer.retryable)
          assert.deepEqual(remains(w), nothing)
          const rows = query<object>(w.ledger, "SELECT state, reserved_name, claim_token, instance FROM sessions")
          assert.deepEqual(rows, [{ state: "failed", reserved_name: null, claim_token: null, instance: null }])
          const status = (yield* w.sandbox("status", "app-feature", "--json")).json()
          assert.strictEqual(status.last_error?.error_code, "ERR_INTERRUPTED")
          const recovery = status.recovery?.command.split(" ").slice(1) ?? []
          assert.strictEqual((yield* w.sandbox(...recovery, "--json")).json().state, "destroyed")
        })
      )
    }
  }

  it.live("a second time leaves at once with 3, and what it left is recovered by the command that status names", () =>
    Effect.gen(function* () {
      const w = yield* world
      // git does not end when asked, so the rollback has to wait for it
      const git = heldGit(w, { hold: "worktree add", deaf: true })
      const hanging = yield* w.start(up(w), { env: git.env })
      yield* git.held()
      hanging.signal("SIGINT")
      yield* wasSignalled(w)
      hanging.signal("SIGINT")
      const outcome = yield* hanging.ended
      assert.deepEqual([outcome.code, outcome.stdout], [3, ""])
      assert.include(
        outcome.stderr,
        "left at once; `sandbox list` names the command that recovers what was under way\n"
      )
      const status = (yield* w.sandbox("status", "app-feature", "--json")).json()
      assert.deepInclude(status, { state: "syncing" })
      assert.isTrue(status.claim?.stale)
      const list = yield* w.sandbox("list")
      assert.include(list.stdout, `app-feature: ${status.recovery?.command}`)
      const resumed = yield* w.sandbox(...(status.recovery?.command.split(" ").slice(1) ?? []), "--json")
      assert.strictEqual(resumed.json().state, "ready")
      yield* w.sandbox("destroy", "app-feature", "--force")
      assert.deepEqual(processesWith(`SANDBOX_BOX_GIT=${status.session_id}.g1`), [])
      assert.deepEqual(remains(w), nothing)
    })
  )
})

describe.concurrent("an interrupted command in a session", () => {
  it.live("I-85 ends with everything that it started", () =>
    Effect.gen(function* () {
      const w = yield* world
      yield* w.sandbox(...up(w))
      const started = join(w.directory, "started")
      const running = yield* w.start([
        ...["exec", "app-feature", "--", "sh", "-c"],
        `sleep 300 & (sleep 300 &) ; : > ${started}; wait`
      ])
      yield* eventually("the command runs", () => existsSync(started))
      assert.isAbove(remains(w).processes.length, 2)
      running.signal("SIGINT")
      assert.strictEqual((yield* running.ended).code, 130)
      yield* eventually("nothing of it runs", () => remains(w).processes.length === 0)
      assert.strictEqual((yield* w.sandbox("status", "app-feature", "--json")).json().state, "ready")
    })
  )
})
