/** The output contract: what goes to stdout, what to stderr, and which exit code says what. */
import { execFileSync } from "node:child_process"
import { existsSync, readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { SandboxError } from "@org/sandbox-core"
import { Effect } from "effect"
import { assertErrorObject, assertFailure } from "./support/contract.ts"
import { nothing, query, remains, world } from "./support/sandbox.ts"

describe.concurrent("exit codes", () => {
  it("I-98 the exit code is a function of the error code, and this is it", () => {
    const exits = Object.entries(SandboxError.codes).map(([code, { exit }]) => `${code} ${exit}`)
    assert.deepEqual(exits, [
      "ERR_OPERATION_CONFLICT 1",
      "ERR_ALREADY_SWITCHING 1",
      "ERR_SESSION_NOT_FOUND 1",
      "ERR_SESSION_FORBIDDEN 1",
      "ERR_COMMAND_REPLACED 1",
      "ERR_INVALID_ARGUMENT 1",
      "ERR_CONFIG_INVALID 1",
      "ERR_CONFIG_MISSING 1",
      "ERR_IDEMPOTENCY_MISMATCH 1",
      "ERR_LOCK_TIMEOUT 1",
      "ERR_LEDGER_CORRUPT 1",
      "ERR_LEDGER_VERSION 1",
      "ERR_SLOTS_EXHAUSTED 1",
      "ERR_FORCE_REQUIRED 1",
      "ERR_DATA_LOSS_UNCONFIRMED 1",
      "ERR_EXPORT_IN_PROGRESS 1",
      "ERR_CHECKPOINT_INVALID 1",
      "ERR_PREFLIGHT_REFUSED 1",
      "ERR_PROVIDER_UNAVAILABLE 1",
      "ERR_UNSUPPORTED 1",
      "ERR_ABORTED 1",
      "ERR_NOT_READY 1",
      "ERR_NAME_TAKEN 1",
      "ERR_SECRET_MISSING 1",
      "ERR_CONFIG_UNTRUSTED 1",
      "ERR_SANDBOX_PROVISION_FAILED 2",
      "ERR_STOP_FAILED 2",
      "ERR_DESTROY_FAILED 2",
      "ERR_PERSIST_FAILED 2",
      "ERR_PERSIST_PAYLOAD_TOO_LARGE 2",
      "ERR_PERSIST_UNVERIFIED 2",
      "ERR_EXPORT_FAILED 2",
      "ERR_HOOK_FAILED 2",
      "ERR_PORT_IN_USE 2",
      "ERR_REPO_UNRESOLVED 2",
      "ERR_LEDGER_IO 2",
      "ERR_CLAIM_LOST 2",
      "ERR_TIMEOUT 2",
      "ERR_SERVICE_FAILED 2",
      "ERR_WORKSPACE_FAILED 2",
      "ERR_CHECKPOINT_FAILED 2",
      "ERR_RESTORE_UNVERIFIED 2",
      "ERR_EXEC_FAILED 2",
      "ERR_OUTPUT_CLOSED 2",
      "ERR_RECOVERY_REQUIRED 3",
      "ERR_INTERNAL 3",
      "ERR_INTERRUPTED 130"
    ])
  })
})

describe.concurrent("a wrong command line", () => {
  const cases: ReadonlyArray<{
    readonly args: ReadonlyArray<string>
    readonly field?: string
    readonly cause: RegExp
  }> = [
    { args: ["--json"], cause: /^no command was given$/ },
    { args: ["upp", "--json"], field: "command", cause: /^there is no command upp; did you mean up\?$/ },
    { args: ["--json", "frobnicate"], field: "command", cause: /^there is no command frobnicate$/ },
    { args: ["list", "--json", "--fromat"], field: "--fromat", cause: /^there is no flag --fromat/ },
    { args: ["list", "--json", "--state", "asleep"], field: "state", cause: /^--state cannot be "asleep"/ },
    { args: ["list", "--json", "--since", "yesterday"], field: "since", cause: /--since.*duration such as/ },
    { args: ["cp", "--json"], field: "from", cause: /^the argument <from> is missing$/ },
    { args: ["status", "a", "b", "--json"], cause: /^too many arguments: b$/ },
    {
      args: ["up", ".", "--json", "--timeout", "soon", "-p", "local"],
      field: "timeout",
      cause: /--timeout cannot be "soon"/
    },
    { args: ["up", ".", "--json", "--branch"], field: "branch", cause: /branch/ }
  ]
  for (const { args, cause, field } of cases) {
    it.live(`I-97 is answered by one object with all its keys: ${args.join(" ")}`, () =>
      Effect.gen(function* () {
        const w = yield* world
        const answer = assertFailure(yield* w.sandbox(...args), "ERR_INVALID_ARGUMENT")
        assert.match(answer.cause, cause)
        assert.strictEqual(answer.details?.field, field)
        assert.isNull(answer.operation_id)
        assert.match(answer.next_step, /--help/)
        assert.isFalse(existsSync(w.state))
      })
    )
  }

  it.live("is told to people on stderr, with its code and the way out", () =>
    Effect.gen(function* () {
      const w = yield* world
      const { code, stderr, stdout } = yield* w.sandbox("upp")
      assert.deepEqual(
        { code, stderr, stdout },
        {
          code: 1,
          stdout: "",
          stderr:
            "error: there is no command upp; did you mean up?\n  ERR_INVALID_ARGUMENT\n  next: see `sandbox --help`\n"
        }
      )
    })
  )
})

describe.concurrent("stdout and stderr", () => {
  it.live("I-100 stdout is one JSON object for every command, and nothing else", () =>
    Effect.gen(function* () {
      const w = yield* world
      for (const args of [
        ["up", w.repository, "-b", "main", "-p", "local"],
        ["list"],
        ["list", "--all"],
        ["status", "app-main"],
        ["status", "app-main", "--live"],
        ["history", "app-main"],
        ["down", "app-main"],
        ["down", "app-main"],
        ["resume", "app-main"],
        ["down", "--all"],
        ["gc"],
        ["gc", "--dry-run"],
        ["destroy", "app-main"],
        ["list"]
      ]) {
        const outcome = yield* w.sandbox(...args, "--json")
        assert.strictEqual(outcome.code, 0, `${args.join(" ")}: ${outcome.stdout}${outcome.stderr}`)
        const answer = outcome.json()
        assert.isTrue(answer.ok)
        assert.isArray(answer.warnings)
        assert.notInclude(outcome.stderr, "{")
      }
    })
  )

  it.live("I-100 progress and warnings are lines on stderr; --quiet leaves the warnings", () =>
    Effect.gen(function* () {
      const w = yield* world
      const up = (branch: string, ...more: ReadonlyArray<string>) =>
        w.sandbox("up", w.repository, "-b", branch, "-p", "local", ...more)
      const loud = yield* up("main")
      const warnings = [
        "warning: provider local does not isolate: commands run on this machine, as you",
        "warning: Branch main is checked out elsewhere, so this checkout is on branch sandbox/app-main."
      ]
      assert.deepEqual(loud.stderr.trimEnd().split("\n"), [
        warnings[0],
        "up: resolve …",
        "up: provision …",
        "up: workspace …",
        warnings[1],
        "up: health …"
      ])
      assert.notInclude(loud.stderr, "\x1b")
      const quiet = yield* up("feature", "--quiet")
      assert.strictEqual(quiet.stderr, `${warnings[0]}\n`)
      assert.strictEqual((yield* w.sandbox("down", "app-feature", "-q")).stderr, "")
    })
  )

  it.live("I-99 success is never printed when the last commit fails", () =>
    Effect.gen(function* () {
      const w = yield* world
      yield* w.sandbox("list")
      query(
        w.ledger,
        `CREATE TRIGGER broken BEFORE UPDATE ON sessions WHEN NEW.state = 'ready'
           BEGIN SELECT RAISE(ABORT, 'the disk burns'); END`
      )
      const up = yield* w.sandbox("up", w.repository, "-b", "main", "-p", "local", "--json")
      const { cause, session_id, state } = assertFailure(up, "ERR_LEDGER_IO")
      assert.include(cause, "the disk burns")
      assert.strictEqual(state, "failed")
      assert.deepEqual(remains(w), nothing)
      query(w.ledger, "DROP TRIGGER broken")
      const status = yield* w.sandbox("status", session_id, "--json")
      assert.strictEqual(status.code, 4)
      assert.deepInclude(status.json(), { state: "failed", claim: null })
      assert.strictEqual((yield* w.sandbox("up", w.repository, "-b", "main", "-p", "local")).code, 0)
    })
  )

  it.live("I-97 a result that nobody can read is a failure on stderr, and what was done stands", () =>
    Effect.gen(function* () {
      const w = yield* world
      const up = yield* w.start(["up", w.repository, "-b", "feature", "-p", "local", "--json", "--quiet"])
      up.stdout.destroy()
      const { code, stderr } = yield* up.ended
      assert.strictEqual(code, 2)
      const [warning, line = "", ...rest] = stderr.split("\n")
      assert.match(warning ?? "", /^warning: /)
      assert.deepEqual(rest, [""])
      const error = JSON.parse(line)
      assertErrorObject(error)
      assert.strictEqual(error.error_code, "ERR_OUTPUT_CLOSED")
      assert.strictEqual((yield* w.sandbox("status", "app-feature", "--json")).json().state, "ready")
      const list = yield* w.start(["list"])
      list.stdout.destroy()
      const people = yield* list.ended
      assert.strictEqual(people.code, 2)
      assert.match(
        people.stderr,
        /^error: the output was closed before .*\n {2}ERR_OUTPUT_CLOSED\n {2}next: .*sandbox list/
      )
    })
  )

  it.live("a closed stderr costs nothing but the progress", () =>
    Effect.gen(function* () {
      const w = yield* world
      const up = yield* w.start(["up", w.repository, "-b", "main", "-p", "local", "--json"])
      up.stderr.destroy()
      const outcome = yield* up.ended
      assert.strictEqual(outcome.code, 0)
      assert.strictEqual(outcome.json().state, "ready")
    })
  )

  it.live("help and version go to stdout, and touch nothing", () =>
    Effect.gen(function* () {
      const w = yield* world
      const { version } = JSON.parse(readFileSync(new URL("../packages/cli/package.json", import.meta.url), "utf8"))
      for (const [args, text] of [
        [["--help"], "USAGE"],
        [[], "USAGE"],
        [["up", "--help"], "--branch"],
        [["--version"], version]
      ] as const) {
        const shown = yield* w.sandbox(...args)
        assert.deepInclude(shown, { code: 0, stderr: "" }, args.join(" "))
        assert.include(shown.stdout, text)
      }
      assert.isFalse(existsSync(w.state))
    })
  )
})

describe.concurrent("prompts and terminals", () => {
  it.live("I-88 nothing waits for an answer: what is missing is refused, with what to pass", () =>
    Effect.gen(function* () {
      const w = yield* world
      // an open stdin that never says anything
      const ask = (...args: ReadonlyArray<string>) => w.run([...args, "--json"], { stdin: "open" })
      const provider = assertFailure(yield* ask("up", w.repository, "-b", "main"), "ERR_INVALID_ARGUMENT")
      assert.include(provider.next_step, "--provider")
      const up = yield* ask("up", w.repository, "-b", "main", "-p", "local")
      const { session_id, worktree_path } = up.json()
      writeFileSync(join(worktree_path, "precious"), "work")
      assert.include(assertFailure(yield* ask("destroy", session_id), "ERR_FORCE_REQUIRED").next_step, "--force")
      const lost = assertFailure(
        yield* ask("destroy", session_id, "--force", "--no-persist"),
        "ERR_DATA_LOSS_UNCONFIRMED"
      )
      assert.include(lost.next_step, "--confirm-data-loss")
      assert.include(assertFailure(yield* ask("down"), "ERR_INVALID_ARGUMENT").next_step, "--all")
      assert.strictEqual((yield* ask("down", session_id)).code, 0)
    })
  )

  it.live("on a terminal progress is drawn over, in dim letters unless NO_COLOR asks for none", () =>
    Effect.gen(function* () {
      const w = yield* world
      const typed = (env: Readonly<Record<string, string>>, ...args: ReadonlyArray<string>) =>
        w.run(args, { env, through: (command) => ["script", "-qec", command.join(" "), "/dev/null"] })
      const colored = yield* typed({}, "up", w.repository, "-b", "feature", "-p", "local")
      assert.strictEqual(colored.code, 0, colored.stdout)
      assert.include(colored.stdout, "\r\x1b[2K\x1b[2m  up: resolve …\x1b[22m")
      assert.include(colored.stdout, "app-feature  ready")
      yield* w.sandbox("down", "app-feature")
      const plain = yield* typed({ NO_COLOR: "1" }, "resume", "app-feature")
      assert.strictEqual(plain.code, 0, plain.stdout)
      assert.notInclude(plain.stdout, "\x1b[2m")
      assert.include(plain.stdout, "resume: ")
    })
  )
})

describe.concurrent("verbs of earlier tools", () => {
  const cases: ReadonlyArray<{ readonly args: ReadonlyArray<string>; readonly becomes: ReadonlyArray<string> }> = [
    { args: ["create", "my repo", "--branch", "it's"], becomes: ["up", "my repo", "--branch", "it's"] },
    {
      args: ["launch", "a name", "--repo", "/tmp/$HOME `x`", "--branch", "main"],
      becomes: ["up", "/tmp/$HOME `x`", "--name", "a name", "--branch", "main"]
    },
    {
      args: ["launch", "app", "--repo=https://example.com/a.git"],
      becomes: ["up", "https://example.com/a.git", "--name", "app"]
    },
    { args: ["teardown", 'the "app"', "--force"], becomes: ["destroy", 'the "app"', "--force"] },
    { args: ["shutdown", "--principal", "a;b"], becomes: ["down", "--all", "--principal", "a;b"] },
    { args: ["flush", "--yes", "--older-than", "1d"], becomes: ["gc", "--older-than", "1d"] }
  ]
  for (const { args, becomes } of cases) {
    it.live(`I-101 ${args[0]} is refused with the exact command: ${args.slice(1).join(" ")}`, () =>
      Effect.gen(function* () {
        const w = yield* world
        const ledger = join(w.directory, "untouchable")
        writeFileSync(ledger, "this is no database")
        const options = { env: { SANDBOX_LEDGER: ledger } }
        const answer = assertFailure(yield* w.run([...args, "--json"], options), "ERR_COMMAND_REPLACED")
        assert.strictEqual(answer.details.command, answer.next_step)
        // a shell reads it back as the very same words
        const words = execFileSync("sh", ["-c", `sandbox() { printf '%s\\0' "$@"; }; ${answer.next_step}`])
        assert.deepEqual(words.toString().split("\0").slice(0, -1), becomes)
        const people = yield* w.run(args, options)
        assert.deepInclude(people, { code: 1, stdout: "" })
        assert.include(people.stderr, `next: ${answer.next_step}\n`)
        assert.isFalse(existsSync(w.state))
        assert.strictEqual(readFileSync(ledger, "utf8"), "this is no database")
      })
    )
  }
})
