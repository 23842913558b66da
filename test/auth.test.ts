/** Credentials of model providers reach the one file that they are for, and nothing else ever shows them. */
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from "node:fs"
import { dirname, join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { assertFailure } from "./support/contract.ts"
import { dump, type Outcome, type World, world } from "./support/sandbox.ts"

const canary = (of: string) => `canary-${of}-0123456789`

const credentials = {
  openai: { type: "oauth", refresh: canary("openai"), access: canary("openai-access"), expires: 1763000000000 },
  anthropic: { type: "api", key: canary("anthropic") },
  github: { type: "oauth", refresh: canary("github"), access: "x", expires: 0 }
}

/** A session, and the file that OpenCode keeps. */
const prepared = Effect.gen(function* () {
  const w = yield* world
  const up = yield* w.sandbox("up", w.repository, "-b", "feature", "-p", "local", "-n", "app", "--json")
  assert.strictEqual(up.code, 0, up.stdout)
  const source = join(w.directory, "home", ".local", "share", "opencode", "auth.json")
  mkdirSync(dirname(source), { recursive: true })
  writeFileSync(source, JSON.stringify(credentials), { mode: 0o600 })
  const work = up.json().worktree_path
  return { w, source, work, target: join(dirname(work), "run", "auth", "auth.json") }
})

const sync = (w: World, ...args: ReadonlyArray<string>) => w.sandbox("auth", "sync", "app", ...args, "--json")

const mode = (path: string): number => statSync(path).mode & 0o777

/** Every file below a directory that holds any canary. */
const spilled = (directory: string): ReadonlyArray<string> =>
  readdirSync(directory, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
    .filter((file) => readFileSync(file).includes("canary-"))

const isSilent = (outcome: Outcome) => assert.notInclude(outcome.stdout + outcome.stderr, "canary-")

/** Some of these start a dozen commands, beside each other. */
const patience = 120_000

describe.concurrent("auth sync", () => {
  it.live(
    "I-94 copies the chosen providers and no other",
    () =>
      Effect.gen(function* () {
        const { target, w } = yield* prepared
        const first = yield* sync(w, "--only", "openai")
        assert.strictEqual(first.code, 0, first.stdout)
        assert.deepInclude<object>(first.json(), { name: "app", providers: ["openai"], path: target, dry_run: false })
        assert.deepStrictEqual(JSON.parse(readFileSync(target, "utf8")), { openai: credentials.openai })
        const second = yield* sync(w, "--only", "github,anthropic", "--only", "github")
        assert.strictEqual(second.code, 0, second.stdout)
        const { anthropic, github } = credentials
        assert.deepStrictEqual(JSON.parse(readFileSync(target, "utf8")), { github, anthropic })
        assert.deepStrictEqual(readdirSync(dirname(target)), ["auth.json"])
      }),
    patience
  )

  it.live(
    "I-95 makes the file with mode 0600, before a byte of it is there and whatever the umask is",
    () =>
      Effect.gen(function* () {
        const { target, w } = yield* prepared
        const bin = join(w.directory, "bin")
        const seen = join(w.directory, "seen")
        mkdirSync(bin)
        // what writes the file looks at it first
        writeFileSync(join(bin, "cat"), `#!/bin/sh\nls -la > ${seen}\nPATH=${w.env["PATH"]} exec cat "$@"\n`, {
          mode: 0o755
        })
        const outcome = yield* w.run(["auth", "sync", "app", "--only", "openai", "--json"], {
          env: { PATH: `${bin}:${w.env["PATH"]}` },
          through: (command) => ["sh", "-c", 'umask 000; exec "$@"', "sh", ...command]
        })
        assert.strictEqual(outcome.code, 0, outcome.stdout)
        const [part = ""] = readFileSync(seen, "utf8")
          .split("\n")
          .filter((line) => line.includes("sandbox"))
        assert.match(part, /^-rw------- .* 0 .*\.auth\.json\.sandbox/)
        assert.deepEqual({ file: mode(target), directory: mode(dirname(target)) }, { file: 0o600, directory: 0o700 })
      }),
    patience
  )

  it.live(
    "I-96 shows them in no output, record, argument, environment and checkout, also when it fails",
    () =>
      Effect.gen(function* () {
        const { source, target, w, work } = yield* prepared
        const bin = join(w.directory, "bin")
        const seen = join(w.directory, "seen")
        mkdirSync(bin)
        // in the middle of it, everything that any process of this machine lets others see
        writeFileSync(join(bin, "cat"), `#!/bin/sh\nps axeww > ${seen}\nPATH=${w.env["PATH"]} exec cat "$@"\n`, {
          mode: 0o755
        })
        const env = { PATH: `${bin}:${w.env["PATH"]}` }
        const broken = join(w.directory, "broken.json")
        writeFileSync(broken, JSON.stringify(credentials).slice(0, -3))
        const flat = join(w.directory, "flat.json")
        writeFileSync(flat, JSON.stringify({ openai: canary("flat") }))
        for (const args of [
          ["--only", "openai"],
          ["--only", "openai", "--dry-run"],
          ["--only", "openai", "--to", "/proc/nowhere/auth.json"],
          ["--only", "mistral"],
          ["--only", "openai", "--from", broken],
          ["--only", "openai", "--from", flat]
        ]) {
          isSilent(yield* w.run(["auth", "sync", "app", ...args], { env }))
          isSilent(yield* w.run(["auth", "sync", "app", ...args, "--json"], { env }))
        }
        const processes = readFileSync(seen, "utf8")
        assert.isTrue(processes.includes("$SANDBOX_RUN_DIR/auth/auth.json"), "the copy was seen under way")
        assert.isFalse(processes.includes("canary-"), "a process shows a credential")
        isSilent(yield* w.sandbox("history", "app", "--json"))
        isSilent(yield* w.sandbox("exec", "app", "--", "env"))
        assert.notInclude(JSON.stringify(dump(w.ledger)), "canary-")
        assert.deepStrictEqual(spilled(work), [])
        assert.deepStrictEqual(spilled(w.directory).toSorted(), [broken, flat, source, target].toSorted())
      }),
    patience
  )

  it.live(
    "never writes into the checkout, by whatever way it is reached, nor over what it reads",
    () =>
      Effect.gen(function* () {
        const { source, w, work } = yield* prepared
        const link = join(w.directory, "link")
        symlinkSync(work, link)
        mkdirSync(join(work, "src"))
        for (const to of [
          `${work}/auth.json`,
          `${work}/new/deep/auth.json`,
          `${link}/auth.json`,
          `${link}/src/auth.json`
        ]) {
          const { cause } = assertFailure(yield* sync(w, "--only", "openai", "--to", to), "ERR_INVALID_ARGUMENT")
          assert.include(cause, "in the checkout", to)
        }
        for (const to of [
          "auth.json",
          "./auth.json",
          "../auth.json",
          `${work}/../x/auth.json`,
          "/tmp/",
          "",
          "~root/a"
        ]) {
          assertFailure(yield* sync(w, "--only", "openai", `--to=${to}`), "ERR_INVALID_ARGUMENT")
        }
        assert.deepStrictEqual(readdirSync(work).toSorted(), [".git", "README.md", "src", "src.txt"])
        const same = yield* sync(w, "--only", "openai", "--to", "~/.local/share/opencode/auth.json")
        assert.include(assertFailure(same, "ERR_INVALID_ARGUMENT").cause, "the very file that is read")
        assert.deepStrictEqual(JSON.parse(readFileSync(source, "utf8")), credentials)
        const over = yield* sync(w, "--only", "openai", "--to", join(w.directory, "tmp"))
        assert.include(assertFailure(over, "ERR_INVALID_ARGUMENT").cause, "something else than a file")
        const elsewhere = yield* sync(w, "--only", "openai", "--to", "~/agent/auth.json")
        assert.propertyVal(elsewhere.json(), "path", join(w.directory, "home", "agent", "auth.json"))
      }),
    patience
  )

  it.live(
    "copies nothing in a dry run, without a choice, or with a name that is not there",
    () =>
      Effect.gen(function* () {
        const { target, w } = yield* prepared
        const dry = yield* sync(w, "--only", "openai", "--dry-run")
        assert.deepInclude<object>(dry.json(), { providers: ["openai"], path: null, dry_run: true })
        assert.strictEqual(assertFailure(yield* sync(w), "ERR_INVALID_ARGUMENT").details.field, "only")
        const unknown = assertFailure(yield* sync(w, "--only", "openai,mistral"), "ERR_INVALID_ARGUMENT")
        assert.include(unknown.cause, "no credentials of mistral")
        assert.include(unknown.next_step, "anthropic, github, openai")
        assertFailure(yield* sync(w, "--only", "openai", "--from", "/nowhere.json"), "ERR_INVALID_ARGUMENT")
        assert.isFalse(existsSync(dirname(target)))
      }),
    patience
  )
})
