/** The configuration from the outside: files, variables and flags; what is wrong with them; what they may run here. */
import { existsSync, mkdirSync, readFileSync, renameSync, statSync, symlinkSync, writeFileSync } from "node:fs"
import { createServer } from "node:net"
import { dirname, join } from "node:path"
import { fileURLToPath } from "node:url"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { assertFailure } from "./support/contract.ts"
import { nothing, type Outcome, query, remains, type World, world } from "./support/sandbox.ts"

interface Origin {
  readonly layer: string
  readonly file?: string
  readonly line?: number
  readonly source?: string
}

/** What `validate --json` and `init --json` answer, and the details of a refusal. */
interface Answered {
  readonly valid: boolean
  readonly trusted: boolean
  readonly written: boolean
  readonly file: string
  readonly text: string
  readonly runs: ReadonlyArray<string>
  readonly warnings: ReadonlyArray<string>
  readonly provenance: Readonly<Record<string, Origin>>
  readonly configuration: { readonly slots: object; readonly provider: string; readonly env: object }
  readonly problems: ReadonlyArray<Origin & { readonly path: string; readonly message: string }>
  readonly files: ReadonlyArray<{ readonly file: string }>
  readonly slots: ReadonlyArray<{
    readonly ports: Readonly<Record<string, { port: number; listener: { pid: number } | null }>>
  }>
}

const answered = (outcome: Outcome): Answered => {
  assert.strictEqual(outcome.code, 0, outcome.stderr + outcome.stdout)
  return outcome.json() as unknown as Answered
}

const detailsOf = (outcome: Outcome, code: Parameters<typeof assertFailure>[1]): Answered =>
  assertFailure(outcome, code).details as unknown as Answered

const put = (file: string, ...lines: ReadonlyArray<string>): string => {
  mkdirSync(dirname(file), { recursive: true })
  writeFileSync(file, `${lines.join("\n")}\n`)
  return file
}

const project = (w: World, ...lines: ReadonlyArray<string>) => put(join(w.repository, "sandbox.yaml"), ...lines)
const user = (w: World, ...lines: ReadonlyArray<string>) =>
  put(join(w.directory, "home", ".config", "sandbox", "config.yaml"), ...lines)

/** Nothing was made, and the ledger was not even opened. */
const assertUntouched = (w: World) => {
  assert.deepEqual(remains(w), nothing)
  assert.isFalse(existsSync(w.ledger))
}

describe.concurrent("what is wrong with a configuration", { timeout: 120_000 }, () => {
  it.live(
    "I-75 is told all at once, with every line, by any command, before the ledger is opened",
    () =>
      Effect.gen(function* () {
        const w = yield* world
        const file = project(
          w,
          "sandbox:",
          "  completed_retention_mins: -1",
          "  mode: nowhere",
          "provider: nebula",
          "services:",
          "  - { name: a, command: x, port: 3000 }",
          "  - { name: b, command: x, port: 3000 }"
        )
        for (const args of [
          ["up"],
          ["up", w.repository, "-p", "local"],
          ["validate"],
          ["trust"],
          ["list"],
          ["status", "x"],
          ["history", "x"],
          ["down", "x"],
          ["down", "--all"],
          ["resume", "x"],
          ["destroy", "x"],
          ["gc"]
        ]) {
          const [verb = "", ...rest] = args
          const outcome = yield* w.run([verb, "--json", ...rest], { cwd: w.repository })
          const { problems } = detailsOf(outcome, "ERR_CONFIG_INVALID")
          const unknown = args.includes("local") ? [] : ["provider:4"]
          assert.sameMembers(
            problems.map(({ line, path }) => `${path}:${line}`),
            ["sandbox.completed_retention_mins:2", "sandbox.mode:3", ...unknown, "services[1].port:7"],
            args.join(" ")
          )
          for (const problem of problems) assert.strictEqual(problem.file, file)
        }
        // what `exec` says of itself has an exit code that no command's can be taken for
        const exec = yield* w.run(["exec", "x", "--json", "--", "true"], { cwd: w.repository })
        assert.strictEqual(exec.code, 125)
        assert.strictEqual(exec.json().error_code, "ERR_CONFIG_INVALID")
        assertUntouched(w)
      }),
    { timeout: 180_000 }
  )

  it.live("I-75 is a file that cannot be read as YAML, and every key that stands twice", () =>
    Effect.gen(function* () {
      const w = yield* world
      project(w, "slots: { max: 2 }", "provider: local", "slots: { max: 3 }", "provider: local")
      const twice = detailsOf(yield* w.run(["list", "--json"], { cwd: w.repository }), "ERR_CONFIG_INVALID")
      assert.deepEqual(
        twice.problems.map(({ line }) => line),
        [3, 4]
      )
      project(w, "a: [1")
      detailsOf(yield* w.run(["list", "--json"], { cwd: w.repository }), "ERR_CONFIG_INVALID")
      user(w, "slots: { max: 0 }")
      const both = detailsOf(yield* w.run(["list", "--json"], { cwd: w.repository }), "ERR_CONFIG_INVALID")
      assert.sameMembers([...new Set(both.problems.map(({ layer }) => layer))], ["user", "project"])
      assertUntouched(w)
    })
  )

  it.live("is a file that is none, is too large, or was named and is not there", () =>
    Effect.gen(function* () {
      const w = yield* world
      const at = (file: string) => w.sandbox("list", "--json", "--config", file)
      assert.include(assertFailure(yield* at("nowhere.yaml"), "ERR_CONFIG_MISSING").cause, "nowhere.yaml")
      assertFailure(yield* at(w.repository), "ERR_CONFIG_INVALID")
      const large = put(join(w.directory, "large.yaml"), `# ${"x".repeat(1024 * 1024)}`)
      assert.include(assertFailure(yield* at(large), "ERR_CONFIG_INVALID").cause, "larger")
      writeFileSync(large, Buffer.from([0x61, 0x3a, 0x20, 0xff, 0xfe]))
      assert.include(assertFailure(yield* at(large), "ERR_CONFIG_INVALID").cause, "UTF-8")
      const variable = yield* w.run(["list", "--json"], { env: { SANDBOX_CONFIG: "nowhere.yaml" } })
      assert.include(assertFailure(variable, "ERR_CONFIG_MISSING").cause, "SANDBOX_CONFIG")
      assertUntouched(w)
    })
  )

  it.live("I-91 is a path out of the repository, through a link too", () =>
    Effect.gen(function* () {
      const w = yield* world
      writeFileSync(join(w.directory, "secret"), "s")
      symlinkSync("../secret", join(w.repository, "linked"))
      project(w, "inherit_env: [../secret, linked, README.md]", "services:", "  - { name: a, command: x, cwd: .. }")
      const { problems } = detailsOf(yield* w.run(["validate", "--json"], { cwd: w.repository }), "ERR_CONFIG_INVALID")
      assert.sameMembers(
        problems.map(({ path }) => path),
        ["inherit_env[0]", "inherit_env[1]", "services[0].cwd"]
      )
    })
  )

  it.live("is told a line each to a person, and what is only unknown is a warning", () =>
    Effect.gen(function* () {
      const w = yield* world
      const file = project(w, "slots: { max: 0, stride: 0 }")
      const wrong = yield* w.run(["validate"], { cwd: w.repository })
      assert.strictEqual(wrong.code, 1)
      assert.strictEqual(wrong.stdout, "")
      assert.include(wrong.stderr, `slots.max must be 1 or more (${file}:1:15)\n`)
      assert.include(wrong.stderr, `slots.stride must be 1 or more (${file}:1:26)\n`)
      project(w, "slot: { max: 1 }")
      const unknown = yield* w.run(["validate"], { cwd: w.repository })
      assert.strictEqual(unknown.code, 0)
      assert.include(unknown.stderr, `warning: slot is unknown; did you mean slots? (${file}:1:1)\n`)
      assert.include(unknown.stdout, `valid  ${file}`)
    })
  )
})

describe.concurrent("layers", { timeout: 120_000 }, () => {
  it.live("I-76 win in their order, leaf by leaf, and every leaf says where it comes from", () =>
    Effect.gen(function* () {
      const w = yield* world
      const own = user(
        w,
        "slots:",
        "  max: 2",
        "  stride: 2",
        "  search_range: 2",
        "sandbox: { profiles: { big: {} } }"
      )
      const theirs = project(w, "slots:", "  stride: 3", "  search_range: 3")
      const run = (args: ReadonlyArray<string>, env = {}) =>
        Effect.map(w.run(["validate", "--json", ...args], { cwd: w.repository, env }), answered)
      const { configuration, provenance } = yield* run(["--provider", "local", "--profile", "big"], {
        SANDBOX_SLOTS_SEARCH_RANGE: "4"
      })
      assert.deepEqual(configuration.slots, { max: 2, stride: 3, search_range: 4, strict: false })
      assert.deepInclude(provenance, {
        "slots.strict": { layer: "default" },
        "slots.search_range": { layer: "environment", source: "SANDBOX_SLOTS_SEARCH_RANGE" },
        provider: { layer: "flags", source: "--provider" },
        "sandbox.profile": { layer: "flags", source: "--profile" }
      })
      assert.deepInclude(provenance["slots.max"], { layer: "user", file: own, line: 2 })
      assert.deepInclude(provenance["slots.stride"], { layer: "project", file: theirs, line: 2 })

      const mine = put(join(w.directory, "mine.yaml"), "slots: { stride: 5 }")
      for (const chosen of [yield* run(["--config", mine]), yield* run([], { SANDBOX_CONFIG: mine })]) {
        assert.deepEqual(chosen.configuration.slots, { max: 2, stride: 5, search_range: 2, strict: false })
        assert.strictEqual(chosen.provenance["slots.stride"]?.file, mine)
      }
      assertUntouched(w)
    })
  )

  it.live("come from the branch of a repository that is not on this host", () =>
    Effect.gen(function* () {
      const w = yield* world
      w.git("switch", "--quiet", "feature")
      project(w, "provider: local", "slots: { max: 3 }")
      w.git("add", "sandbox.yaml")
      w.git("commit", "--quiet", "--message", "configured")
      w.git("switch", "--quiet", "main")
      const main = yield* w.sandbox("up", w.url, "--branch", "main", "--json")
      assert.strictEqual(assertFailure(main, "ERR_INVALID_ARGUMENT").details.field, "provider")
      const feature = yield* w.sandbox("up", w.url, "--branch", "feature", "--json")
      assert.strictEqual(feature.code, 0, feature.stderr)
      assert.strictEqual(feature.json().provider, "local")
    })
  )

  it.live("are not needed for a request that was answered before, when its repository is not there", () =>
    Effect.gen(function* () {
      const w = yield* world
      const up = w.sandbox("up", w.url, "-b", "feature", "-p", "local", "--json", "--client-request-id", "k")
      const first = (yield* up).json()
      renameSync(w.repository, `${w.repository}-elsewhere`)
      const again = yield* up
      renameSync(`${w.repository}-elsewhere`, w.repository)
      assert.strictEqual(again.code, 0, again.stdout)
      assert.deepEqual(again.json(), { ...first, replayed: true })
    })
  )

  it.live("are no part of a request: it is answered again whatever they say by then", () =>
    Effect.gen(function* () {
      const w = yield* world
      project(w, "provider: local", "env: { A: b }", "sandbox: { profiles: { big: {} } }")
      const run = (...more: ReadonlyArray<string>) =>
        w.run(["up", "-b", "feature", "--json", "--client-request-id", "k", ...more], { cwd: w.repository })
      const first = yield* run("--trust-config", "--profile", "big")
      assert.strictEqual(first.code, 0, first.stdout)
      const replayed = { ...first.json(), replayed: true as const }
      assertFailure(yield* run("--base", "main"), "ERR_IDEMPOTENCY_MISMATCH")
      for (const lines of [
        ["provider: local", "env: { A: b }", "sandbox: { profiles: { big: {} } }", "# changed"],
        ["provider: mine", "providers: { mine: { use: local } }", "sandbox: { profiles: { big: {} } }"],
        ["provider: local"],
        ["provider: ["]
      ]) {
        project(w, ...lines)
        assert.deepEqual((yield* run("--profile", "big")).json(), replayed, lines.join("; "))
      }
      // what was not answered before is refused for what is wrong
      const other = yield* w.run(["up", "--json", "--client-request-id", "l"], { cwd: w.repository })
      assertFailure(other, "ERR_CONFIG_INVALID")
      assertFailure(yield* run("--base", "main"), "ERR_CONFIG_INVALID")
      assert.strictEqual(query(w.ledger, "SELECT id FROM sessions").length, 1)
    })
  )

  it.live("name the repository and the branch where the command line does not", () =>
    Effect.gen(function* () {
      const w = yield* world
      user(w, "provider: local", `repo: { url: ${w.repository}, branch: feature }`)
      const elsewhere = yield* w.run(["up", "--json"], { cwd: join(w.directory, "tmp") })
      assert.strictEqual(elsewhere.code, 0, elsewhere.stderr)
      assert.include(elsewhere.json(), { branch: "feature", name: "app-feature" })
      const named = yield* w.run(["up", "--json", "-b", "topic/one"], { cwd: join(w.directory, "tmp") })
      assert.strictEqual(named.json().branch, "topic/one")
    })
  )

  it.live("give sizes and windows to the commands that go by them", () =>
    Effect.gen(function* () {
      const w = yield* world
      const up = yield* w.sandbox("up", w.repository, "-b", "feature", "-p", "local", "--json")
      const { session_id } = up.json()
      const small = put(
        join(w.directory, "small.yaml"),
        "durability: { max_payload_bytes: 1 }",
        "list: { recent_window: 0s }"
      )
      const refused = yield* w.sandbox("down", session_id, "--json", "--config", small)
      assertFailure(refused, "ERR_PERSIST_PAYLOAD_TOO_LARGE")
      assert.strictEqual((yield* w.sandbox("down", session_id)).code, 0)
      assert.strictEqual((yield* w.sandbox("destroy", session_id)).code, 0)
      assert.strictEqual((yield* w.sandbox("list", "--json")).json().sessions.length, 1)
      assert.deepEqual((yield* w.sandbox("list", "--json", "--config", small)).json().sessions, [])
    })
  )
})

const hooked = ["provider: local", "hooks:", "  pre_up: touch ../ran", "  post_up: touch spawned"]

describe.concurrent("a repository's file", { timeout: 120_000 }, () => {
  it.live("runs nothing on this host before it was accepted, and is asked for again after a change", () =>
    Effect.gen(function* () {
      const w = yield* world
      const file = project(w, ...hooked)
      const up = (...more: ReadonlyArray<string>) =>
        w.run(["up", w.repository, "-b", "feature", "--json", ...more], { cwd: w.directory })
      const refused = detailsOf(yield* up(), "ERR_CONFIG_UNTRUSTED")
      assert.deepEqual(refused.runs, ["hooks.pre_up", "hooks.post_up"])
      assert.isFalse(existsSync(join(w.directory, "ran")))
      assertUntouched(w)

      const accepted = answered(yield* w.sandbox("trust", w.repository, "--json"))
      assert.include(accepted, { file })
      assert.deepEqual(accepted.runs, ["hooks.pre_up", "hooks.post_up"])
      assert.strictEqual(statSync(join(w.state, "trusted.json")).mode & 0o777, 0o600)
      assert.isFalse(existsSync(w.ledger))
      const first = yield* up()
      assert.strictEqual(first.code, 0, first.stderr)
      assert.isTrue(existsSync(join(w.directory, "ran")))
      assert.isTrue(existsSync(join(first.json().worktree_path, "spawned")))

      project(w, ...hooked, "# changed")
      detailsOf(yield* up("--name", "again"), "ERR_CONFIG_UNTRUSTED")
      const accepting = yield* up("--name", "again", "--trust-config")
      assert.strictEqual(accepting.code, 0, accepting.stderr)
      assert.deepEqual(
        answered(yield* w.sandbox("trust", "--list", "--json")).files.map(({ file }) => file),
        [file]
      )
      assert.strictEqual((yield* w.run(["trust", "--revoke"], { cwd: w.repository })).code, 0)
      detailsOf(yield* up("--name", "third"), "ERR_CONFIG_UNTRUSTED")
    })
  )

  it.live("is not accepted by a command that is refused", () =>
    Effect.gen(function* () {
      const w = yield* world
      const file = project(w, ...hooked)
      const up = (...more: ReadonlyArray<string>) =>
        w.run(["up", w.repository, "-b", "feature", "--json", "--trust-config", ...more], { cwd: w.directory })
      const accepted = Effect.map(w.sandbox("trust", "--list", "--json"), (outcome) => answered(outcome).files)
      for (const args of [
        ["--name", "No"],
        ["--base", "-x"],
        ["--depth", "0"]
      ]) {
        assert.strictEqual((yield* up(...args)).code, 1)
        assert.deepEqual(yield* accepted, [], args.join(" "))
      }
      assert.isFalse(existsSync(join(w.directory, "ran")))
      assert.strictEqual((yield* up()).code, 0)
      assert.strictEqual((yield* accepted)[0]?.file, file)
    })
  )

  it.live("needs no acceptance for what runs nothing here, nor when the user chose it", () =>
    Effect.gen(function* () {
      const w = yield* world
      const file = project(w, "provider: local", "slots: { max: 2 }")
      assert.strictEqual((yield* w.sandbox("up", w.repository, "-b", "feature", "-n", "one")).code, 0)
      project(w, ...hooked)
      for (const [name, args, env] of [
        ["two", ["--config", file], {}],
        ["three", [], { SANDBOX_CONFIG: file }]
      ] as const) {
        const up = yield* w.run(["up", w.repository, "-b", "feature", "-n", name, ...args], { env })
        assert.strictEqual(up.code, 0, up.stderr)
      }
      user(w, "hooks: { post_up: touch mine }")
      project(w, "provider: local")
      const own = yield* w.sandbox("up", w.repository, "-b", "feature", "-n", "four", "--json")
      assert.isTrue(existsSync(join(own.json().worktree_path, "mine")))
    })
  )

  it.live("cannot have a secret of this host sent, or a provider loaded, before it was accepted", () =>
    Effect.gen(function* () {
      const w = yield* world
      put(
        join(w.repository, "provider.mjs"),
        `import { writeFileSync } from "node:fs"`,
        `writeFileSync(${JSON.stringify(join(w.directory, "ran"))}, "")`
      )
      project(
        w,
        "provider: mine",
        "providers: { mine: { use: ./provider.mjs } }",
        "secrets: [{ name: TOKEN, from: env:OTHER }]",
        "github: { token_env: OTHER }"
      )
      const { runs } = detailsOf(
        yield* w.run(["up", "--json", "-b", "feature"], { cwd: w.repository, env: { OTHER: "c4nary" } }),
        "ERR_CONFIG_UNTRUSTED"
      )
      assert.deepEqual(runs, ["providers.mine.use", "secrets[0]", "github.token_env"])
      // the other commands read it too
      assert.strictEqual((yield* w.run(["gc"], { cwd: w.repository })).code, 0)
      assert.isFalse(existsSync(join(w.directory, "ran")))
      yield* w.sandbox("trust", w.repository)
      const loaded = yield* w.run(["up", "--json", "-b", "feature"], { cwd: w.repository, env: { OTHER: "c4nary" } })
      assert.include(assertFailure(loaded, "ERR_CONFIG_INVALID").cause, "provider mine")
      assert.isTrue(existsSync(join(w.directory, "ran")))
    })
  )
})

const folders = fileURLToPath(new URL("../examples/custom-provider/provider.ts", import.meta.url))

describe.concurrent("a provider of the configuration", { timeout: 120_000 }, () => {
  it.live("is loaded from where the file says, with its options", () =>
    Effect.gen(function* () {
      const w = yield* world
      user(
        w,
        "providers:",
        `  mine: { use: ${folders}, options: { root: ${join(w.directory, "boxes")} } }`,
        "  twin: { use: local }"
      )
      for (const [provider, name] of [
        ["mine", "a"],
        ["twin", "b"]
      ] as const) {
        const up = yield* w.sandbox("up", w.repository, "-b", "feature", "-p", provider, "-n", name, "--json")
        assert.strictEqual(up.code, 0, up.stdout)
        assert.strictEqual(up.json().provider, provider)
        assert.strictEqual((yield* w.sandbox("destroy", name, "--force", "--confirm-data-loss")).code, 0)
      }
      // a package is the one that the configuration's folder sees
      const packaged = join(w.directory, "home", ".config", "node_modules", "@mine", "provider")
      put(join(packaged, "package.json"), JSON.stringify({ type: "module", exports: { default: "./main.js" } }))
      put(join(packaged, "main.js"), `export { default } from ${JSON.stringify(folders)}`)
      const root = join(w.directory, "boxes")
      const options = { mine: { use: "@mine/provider", options: { root } }, twin: { use: "local" } }
      user(w, `providers: ${JSON.stringify(options)}`)
      const up = yield* w.sandbox("up", w.repository, "-b", "feature", "-p", "mine", "-n", "c", "--json")
      assert.strictEqual(up.code, 0, up.stdout)
      const unknown = yield* w.sandbox("up", w.repository, "-p", "nebula", "--json")
      assert.deepEqual(assertFailure(unknown, "ERR_INVALID_ARGUMENT").details.registered, [
        "docker",
        "local",
        "mine",
        "twin"
      ])
    })
  )

  it.live("that cannot be loaded is refused by its name, by the command that needs it alone", () =>
    Effect.gen(function* () {
      const w = yield* world
      user(w, "providers: { mine: { use: ./nowhere.ts }, other: { use: no-such-package } }")
      for (const provider of ["mine", "other"]) {
        const up = yield* w.sandbox("up", w.repository, "-b", "feature", "-p", provider, "--json")
        assert.strictEqual(assertFailure(up, "ERR_CONFIG_INVALID").details.field, `providers.${provider}`)
      }
      assert.strictEqual((yield* w.sandbox("list")).code, 0)
    })
  )
})

describe.concurrent("the flags of up", { timeout: 120_000 }, () => {
  it.live("that mean nothing here are refused, with what there is, and change nothing", () =>
    Effect.gen(function* () {
      const w = yield* world
      user(w, "services: [{ name: web, command: serve, port: 3000 }]")
      for (const [field, args, said] of [
        ["services", ["--services", "web,wob"], "web"],
        ["skip", ["--skip", "api"], "web"],
        ["port", ["--port", "web"], "<name>"],
        ["port", ["--port", "web=70000"], "65535"],
        ["port", ["--port", "web=4000", "--port", "web=4001"], "once"],
        ["secret", ["--secret", "TOKEN=c4nary"], "env:"],
        ["secret", ["--secret", "1=env:c4nary"], "env:"],
        ["profile", ["--profile", "big"], "flags"],
        ["memory", ["--memory", "lots"], "512m"],
        ["cpus", ["--cpus", "0"], "more than 0"]
      ] as const) {
        const outcome = yield* w.sandbox("up", w.repository, "-p", "local", "--json", ...args)
        const { details, next_step } = assertFailure(outcome, "ERR_INVALID_ARGUMENT")
        assert.strictEqual(details.field, field, args.join(" "))
        assert.include(next_step, said)
        assert.notInclude(outcome.stdout + outcome.stderr, "c4nary")
      }
      assertUntouched(w)
    })
  )

  it.live("give a clone as much history as was asked for, and it is all published", () =>
    Effect.gen(function* () {
      const w = yield* world
      const config = ["--config", put(join(w.directory, "d.yaml"), "repo: { depth: 2 }")]
      for (const [commits, ...args] of [["1", "--depth", "1"], ["2", ...config], ["2"]] as const) {
        const up = yield* w.sandbox("up", w.url, "-b", "feature", "-p", "local", "--json", ...args)
        const { session_id, worktree_path } = up.json()
        // main has two commits, feature one more
        const expected = args.length === 0 ? "3" : commits
        assert.strictEqual(w.git("-C", worktree_path, "rev-list", "--count", "HEAD"), expected, args.join(" "))
        assert.strictEqual(w.git("-C", worktree_path, "remote", "get-url", "origin"), w.url)
        assert.strictEqual((yield* w.sandbox("destroy", session_id, "--force")).code, 0)
      }
    })
  )

  it.live("choose among the configured services and secrets", () =>
    Effect.gen(function* () {
      const w = yield* world
      user(
        w,
        "services:",
        "  - { name: one, command: exec sleep 600 }",
        "  - { name: two, command: exec sleep 600 }",
        "inherit_env: [missing.env]"
      )
      const up = (name: string, ...more: ReadonlyArray<string>) =>
        w.run(["up", w.repository, "-b", "feature", "-p", "local", "-n", name, "--json", ...more], {
          env: { TOKEN: "c4nary" }
        })
      const only = yield* up("a", "--services", "two", "--secret", "TOKEN", "--no-inherit-env")
      assert.strictEqual(only.code, 0, only.stdout)
      assert.notInclude(only.json().warnings.join(), "missing.env")
      const setup = () =>
        query<{ setup: string }>(w.ledger, "SELECT setup FROM sessions ORDER BY created_at").map(({ setup }) =>
          JSON.parse(setup)
        )
      assert.deepEqual(
        setup()[0].services.map(({ name }: { name: string }) => name),
        ["two"]
      )
      assert.deepEqual(setup()[0].secrets, [{ name: "TOKEN", from: { env: "TOKEN" }, to: "env" }])
      assert.notInclude(readFileSync(w.ledger, "latin1"), "c4nary")
      const rest = yield* up("b", "--skip", "two")
      assert.strictEqual(rest.code, 0, rest.stdout)
      assert.deepEqual(
        setup()[1].services.map(({ name }: { name: string }) => name),
        ["one"]
      )
      for (const name of ["a", "b"])
        assert.strictEqual((yield* w.sandbox("destroy", name, "--force", "--confirm-data-loss")).code, 0)
    })
  )
})

describe.concurrent("validate", { timeout: 120_000 }, () => {
  it.live("I-75 refuses what nobody could bring up, and shows no password", () =>
    Effect.gen(function* () {
      const w = yield* world
      const refused = (field: string, args: ReadonlyArray<string>, env = {}) =>
        Effect.map(w.run(["validate", "--json", ...args], { cwd: w.repository, env }), (outcome) =>
          assert.strictEqual(assertFailure(outcome, "ERR_INVALID_ARGUMENT").details.field, field)
        )
      yield* refused("provider", ["--provider", "nebula"])
      yield* refused("provider", [], { SANDBOX_PROVIDER: "nebula" })
      yield* refused("repository", [join(w.directory, "nowhere")])
      const unresolved = yield* w.sandbox("validate", "--json", `file://${w.directory}/nowhere.git`)
      assertFailure(unresolved, "ERR_REPO_UNRESOLVED")
      assertFailure(yield* w.sandbox("validate", "--json", "ext::sh"), "ERR_INVALID_ARGUMENT")
      project(w, "repo: { url: 'https://ann:c4nary@example.com/x.git' }")
      const outcome = yield* w.run(["validate", "--json"], { cwd: w.repository })
      const { problems } = detailsOf(outcome, "ERR_CONFIG_INVALID")
      assert.deepEqual(
        problems.map(({ line, path }) => `${path}:${line}`),
        ["repo.url:1"]
      )
      assert.notInclude(outcome.stdout + outcome.stderr, "c4nary")
      assertUntouched(w)
    })
  )

  it.live("shows the ports of every slot, and who has them now", () =>
    Effect.gen(function* () {
      const w = yield* world
      const server = yield* Effect.acquireRelease(
        Effect.callback<ReturnType<typeof createServer>>((resume) => {
          const server = createServer().listen(0, "127.0.0.1", () => resume(Effect.succeed(server)))
        }),
        (server) => Effect.sync(() => server.close())
      )
      const taken = (server.address() as { port: number }).port
      project(
        w,
        "slots: { max: 2, search_range: 0 }",
        "services:",
        `  - { name: web, command: x, port: ${taken - 1} }`,
        "  - { name: job, command: x }"
      )
      const { slots, trusted, runs } = answered(yield* w.run(["validate", "--ports", "--json"], { cwd: w.repository }))
      assert.deepEqual(
        slots.map(({ ports }) => ports["web"]?.port),
        [taken, taken + 1]
      )
      assert.strictEqual(slots[0]?.ports["web"]?.listener?.pid, process.pid)
      assert.isFalse(trusted)
      assert.deepEqual(runs, ["services[0].command", "services[1].command"])
      assert.include((yield* w.run(["validate", "--ports"], { cwd: w.repository })).stdout, `pid ${process.pid}`)
      assertUntouched(w)
    })
  )
})

describe.concurrent("init", { timeout: 120_000 }, () => {
  it.live("I-88 asks nobody who cannot answer: without a terminal it needs --yes", () =>
    Effect.gen(function* () {
      const w = yield* world
      for (const args of [[], ["--no-input"]]) {
        const outcome = yield* w.run(["init", "--json", ...args], { cwd: w.repository, stdin: "open" })
        const { details, next_step } = assertFailure(outcome, "ERR_INVALID_ARGUMENT")
        assert.strictEqual(details.field, "yes")
        assert.include(next_step, "--yes")
      }
      assert.isFalse(existsSync(join(w.repository, "sandbox.yaml")))
    })
  )

  it.live("writes names that YAML would read as something else as what they are", () =>
    Effect.gen(function* () {
      const w = yield* world
      put(join(w.repository, "Procfile"), "1: a", "true: b", "1e3: c", "0x1f: d", "y: e", `${"n".repeat(70)}: f`)
      const run = (...args: ReadonlyArray<string>) => w.run([...args, "--json"], { cwd: w.repository })
      answered(yield* run("init", "--yes"))
      answered(yield* run("validate"))
      user(w, "providers: { '1e3': { use: local } }")
      answered(yield* run("init", "--yes", "--force", "--provider", "1e3"))
      assert.strictEqual(answered(yield* run("validate")).configuration.provider, "1e3")
    })
  )

  it.live("writes a file that is valid, trusted and not written over by accident", () =>
    Effect.gen(function* () {
      const w = yield* world
      const file = join(w.repository, "sandbox.yaml")
      put(join(w.repository, "Procfile"), "web: exec sleep 600", "worker: exec sleep 600")
      const run = (...args: ReadonlyArray<string>) => w.run([...args, "--json"], { cwd: w.repository })
      const explained = answered(yield* run("init", "--explain"))
      assert.isFalse(explained.written)
      assert.isFalse(existsSync(file))
      const made = answered(yield* run("init", "--yes"))
      assert.include(made, { file, written: true, trusted: true })
      assert.strictEqual(readFileSync(file, "utf8"), explained.text)
      assert.include(answered(yield* run("validate")), { valid: true, trusted: true })
      const up = yield* run("up", "-b", "feature")
      assert.strictEqual(up.code, 0, up.stdout)

      writeFileSync(file, "# mine\n")
      assert.include(assertFailure(yield* run("init", "--yes"), "ERR_FORCE_REQUIRED").next_step, "--force")
      assert.strictEqual(readFileSync(file, "utf8"), "# mine\n")
      answered(yield* run("init", "--yes", "--force"))
      assert.strictEqual(readFileSync(file, "utf8"), explained.text)
      assert.strictEqual((yield* run("destroy", up.json().session_id, "--force", "--confirm-data-loss")).code, 0)
    })
  )
})
