/** Arguments that cannot be served: refused before anything is done, or on the record, and always with a way out. */
import { existsSync, mkdirSync } from "node:fs"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { assertFailure } from "./support/contract.ts"
import { heldGit } from "./support/heldGit.ts"
import { dump, nothing, query, remains, world } from "./support/sandbox.ts"

const local = ["--provider", "local", "--json"]

describe.concurrent("a repository", () => {
  it.live("that does not exist is refused on the record, as a path and as a URL", () =>
    Effect.gen(function* () {
      const w = yield* world
      const empty = join(w.directory, "empty")
      mkdirSync(empty)
      for (const [repository, way] of [
        [join(w.directory, "nowhere"), "git init"],
        [empty, `git init ${empty}`],
        [`file://${w.directory}/nowhere`, "Check the URL"]
      ] as const) {
        const failed = assertFailure(yield* w.sandbox("up", repository, "-b", "main", ...local), "ERR_REPO_UNRESOLVED")
        assert.include(failed.cause, repository)
        assert.include(failed.next_step, way)
        assert.isFalse(failed.retryable)
        assert.strictEqual(failed.state, "failed")
        const status = (yield* w.sandbox("status", failed.session_id, "--json")).json()
        assert.deepInclude(status, { state: "failed", claim: null })
        assert.deepInclude(status.last_error, { error_code: "ERR_REPO_UNRESOLVED", operation_id: failed.operation_id })
      }
      assert.deepEqual(remains(w), nothing)
    })
  )

  it.live("whose branch does not exist is refused with the names that come near", () =>
    Effect.gen(function* () {
      const w = yield* world
      for (const repository of [w.repository, w.url]) {
        for (const [branch, close] of [
          ["featrue", ["feature"]],
          ["one", ["topic/one"]],
          ["nothing-like-it", []]
        ] as const) {
          const up = yield* w.sandbox("up", repository, "-b", branch, ...local)
          const { cause, details, next_step } = assertFailure(up, "ERR_REPO_UNRESOLVED")
          assert.strictEqual(cause, `${repository} has no branch "${branch}".`)
          assert.deepEqual(details.close, close)
          for (const name of close) assert.include(next_step, name)
          assert.include(next_step, "--base")
        }
      }
      assert.deepEqual(remains(w), nothing)
    })
  )

  it.live("with a secret, a helper, an option or nothing in it is refused, and the secret is shown nowhere", () =>
    Effect.gen(function* () {
      const w = yield* world
      const git = heldGit(w)
      for (const repository of [
        "",
        "--upload-pack=touch /tmp/x",
        "ext::sh -c date",
        "https://user:c4nary@example.com/a.git",
        "https://c4nary@example.com/a.git",
        "ssh://-oProxyCommand=x/a",
        "ftp://example.com/a"
      ]) {
        const outcome = yield* w.run(["up", "-b", "main", ...local, "--", repository], { env: git.env })
        assertFailure(outcome, "ERR_INVALID_ARGUMENT")
        assert.notInclude(outcome.stdout + outcome.stderr, "c4nary")
      }
      assert.deepEqual(git.calls(), [])
      assert.deepEqual(query(w.ledger, "SELECT id FROM sessions"), [])
    })
  )
})

describe.concurrent("a branch", () => {
  it.live("I-90 that git could misread is refused before git runs", () =>
    Effect.gen(function* () {
      const w = yield* world
      const git = heldGit(w)
      for (const name of ["--upload-pack=x", "-x", "a..b", "a~1", "a^", "a:b", "a b", "@", "a.lock", "a@{1}", ""]) {
        for (const flag of ["branch", "base"]) {
          const outcome = yield* w.run(["up", w.repository, `--${flag}=${name}`, ...local], { env: git.env })
          const { details, next_step } = assertFailure(outcome, "ERR_INVALID_ARGUMENT")
          assert.strictEqual(details.field, flag)
          assert.strictEqual(next_step, `pass another --${flag}`)
        }
      }
      assert.deepEqual(git.calls(), [])
      assert.deepEqual(query(w.ledger, "SELECT id FROM sessions"), [])
    })
  )

  it.live("I-90 that gives the same name as another is refused, and --name tells them apart", () =>
    Effect.gen(function* () {
      const w = yield* world
      w.git("branch", "topic-one")
      const first = (yield* w.sandbox("up", w.repository, "-b", "topic/one", ...local)).json()
      const before = dump(w.ledger)
      const second = assertFailure(yield* w.sandbox("up", w.repository, "-b", "topic-one", ...local), "ERR_NAME_TAKEN")
      assert.strictEqual(second.details.holder?.session_id, first.session_id)
      assert.deepEqual(dump(w.ledger), before)
      const named = yield* w.sandbox("up", w.repository, "-b", "topic-one", "--name", "app-two", ...local)
      assert.strictEqual(named.json().work_branch, "topic-one")
    })
  )
})

describe.concurrent("a name", () => {
  it.live("that is held is refused with its holder, the state of that, and the command that goes on", () =>
    Effect.gen(function* () {
      const w = yield* world
      const up = () => w.sandbox("up", w.repository, "-b", "feature", "--name", "mine", ...local)
      const first = (yield* up()).json()
      const ready = assertFailure(yield* up(), "ERR_NAME_TAKEN")
      assert.deepInclude(ready.details.holder, { session_id: first.session_id, state: "ready" })
      assert.strictEqual(ready.details.command, `sandbox status ${first.session_id}`)
      assert.include(ready.next_step, `\`${ready.details.command}\``)
      yield* w.sandbox("down", "mine")
      const stopped = assertFailure(yield* up(), "ERR_NAME_TAKEN")
      assert.deepInclude(stopped.details.holder, { session_id: first.session_id, state: "stopped" })
      assert.strictEqual(stopped.details.command, `sandbox resume ${first.session_id}`)
      yield* w.sandbox("destroy", "mine")
      assert.strictEqual((yield* up()).code, 0)
    })
  )

  it.live("that is none is refused", () =>
    Effect.gen(function* () {
      const w = yield* world
      for (const name of ["", "-a", "a-", "A", "a_b", "a/b", "ä", "a".repeat(64), "../a"]) {
        const outcome = yield* w.sandbox("up", w.repository, "-b", "feature", `--name=${name}`, ...local)
        assert.strictEqual(assertFailure(outcome, "ERR_INVALID_ARGUMENT").details.field, "name")
      }
      assert.deepEqual(query(w.ledger, "SELECT id FROM sessions"), [])
      const longest = yield* w.sandbox("up", w.repository, "-b", "feature", "--name", "a".repeat(63), ...local)
      assert.strictEqual(longest.code, 0)
    })
  )
})

describe.concurrent("a provider", () => {
  it.live("I-59 that is unknown, or none, is refused with those there are", () =>
    Effect.gen(function* () {
      const w = yield* world
      const git = heldGit(w)
      for (const args of [[], ["--provider", "nebula"], ["--provider", ""], ["--provider", "LOCAL"]]) {
        const outcome = yield* w.run(["up", w.repository, "-b", "main", "--json", ...args], { env: git.env })
        const { details, next_step } = assertFailure(outcome, "ERR_INVALID_ARGUMENT")
        assert.strictEqual(details.field, "provider")
        assert.deepEqual(details.registered, ["docker", "local"])
        assert.include(next_step, "local")
      }
      assert.deepEqual(git.calls(), [])
      assert.isTrue(!existsSync(w.ledger) || query(w.ledger, "SELECT id FROM sessions").length === 0)
    })
  )
})

describe.concurrent("a client request id", () => {
  it.live("that is not printable ASCII without spaces is refused", () =>
    Effect.gen(function* () {
      const w = yield* world
      for (const key of ["", "a b", "ü", "x".repeat(201)]) {
        const args = ["up", w.repository, "-b", "main", `--client-request-id=${key}`, ...local]
        assert.strictEqual(
          assertFailure(yield* w.sandbox(...args), "ERR_INVALID_ARGUMENT").details.field,
          "client_request_id"
        )
      }
    })
  )
})

describe.concurrent("somebody else's session", () => {
  it.live("I-13 is refused by every verb, changes nothing, and shows nothing", () =>
    Effect.gen(function* () {
      const w = yield* world
      const as = (principal: string, ...args: ReadonlyArray<string>) => w.sandbox(...args, "--principal", principal)
      const up = yield* as("owner-one", "up", w.repository, "-b", "feature", "-n", "quetzal", ...local)
      const { operation_id, session_id, worktree_path } = up.json()
      const before = dump(w.ledger)
      const standing = remains(w)
      const secrets = ["owner-one", "quetzal", "feature", w.repository, worktree_path, String(operation_id), "ready"]
      for (const args of [
        ["status", session_id],
        ["status", session_id, "--live"],
        ["down", session_id],
        ["down", session_id, "--force", "--client-request-id", "k"],
        ["destroy", session_id, "--force", "--confirm-data-loss"],
        ["destroy", session_id, "--forget", "--force", "--confirm-data-loss"],
        ["resume", session_id],
        ["history", session_id]
      ]) {
        const outcome = yield* as("owner-two", ...args, "--json")
        const answer = assertFailure(outcome, "ERR_SESSION_FORBIDDEN")
        assert.isFalse(answer.retryable)
        for (const secret of secrets) assert.notInclude(outcome.stdout + outcome.stderr, secret, args.join(" "))
      }
      const exec = yield* w.sandbox("exec", session_id, "--principal", "owner-two", "--json", "--", "true")
      assert.strictEqual(exec.code, 125)
      assert.strictEqual(exec.json().error_code, "ERR_SESSION_FORBIDDEN")
      // a name and the start of an id mean nothing to others
      for (const reference of ["quetzal", session_id.slice(0, -1)]) {
        assertFailure(yield* as("owner-two", "status", reference, "--json"), "ERR_SESSION_NOT_FOUND")
      }
      assert.deepEqual((yield* as("owner-two", "list", "--all", "--json")).json().sessions, [])
      assert.deepEqual((yield* as("owner-two", "gc", "--json")).json().actions, [])
      assert.deepEqual(dump(w.ledger), before)
      assert.deepEqual(remains(w), standing)
    })
  )
})
