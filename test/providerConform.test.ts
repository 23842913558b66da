import { existsSync, readdirSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { eventually, type Outcome, type World, world } from "./support/sandbox.ts"

const source = (path: string) => fileURLToPath(new URL(`../packages/${path}`, import.meta.url))
const reference = source("conformance/src/reference/provider.ts")

/** A provider that changes some members of the reference provider, as a file in a world. */
const changed = (w: World, name: string, members: string): string => {
  const file = join(w.directory, name)
  writeFileSync(
    file,
    `import { Effect, Layer, Stream } from "${import.meta.resolve("effect")}"
import { defineProvider, Provisioner } from "${source("core/src/Provisioner.ts")}"
import folders from "${reference}"

const change = (good) => ({ ...good, ${members} })

export default defineProvider({
  ...folders,
  layer: (options) => Layer.effect(Provisioner, Effect.map(Provisioner, change)).pipe(Layer.provide(folders.layer(options)))
})
`
  )
  return file
}

const setup = Effect.map(world, (w) => {
  const boxes = join(w.directory, "boxes")
  const options = join(w.directory, "options.yaml")
  writeFileSync(options, `root: ${boxes}\n`)
  const conform = (module: string, ...flags: ReadonlyArray<string>) =>
    w.sandbox("provider", "conform", module, "--options", options, ...flags)
  /** What is left of boxes, whole or half. */
  const left = () => (existsSync(boxes) ? readdirSync(boxes) : [])
  return { w, boxes, options, conform, left }
})

interface Answer {
  readonly ok: boolean
  readonly conforms: boolean
  readonly provider: string
  readonly passed: number
  readonly failed: number
  readonly skipped: number
  readonly laws: ReadonlyArray<{
    readonly name: string
    readonly group: string
    readonly status: string
    readonly ms: number
    readonly problem?: string
    readonly reason?: string
  }>
}

const answerOf = ({ stdout }: Outcome): Answer => JSON.parse(stdout)

const named = ({ laws }: Answer, status: string) => laws.filter((law) => law.status === status).map(({ name }) => name)

describe("sandbox provider conform", () => {
  it.live("says of the reference provider that it conforms, law by law, and leaves nothing", () =>
    Effect.gen(function* () {
      const { conform, left, w } = yield* setup
      const outcome = yield* conform(reference, "--json")
      assert.strictEqual(outcome.code, 0, outcome.stderr)
      const answer = answerOf(outcome)
      assert.deepStrictEqual([answer.ok, answer.conforms, answer.provider], [true, true, "folders"])
      assert.deepStrictEqual([answer.failed, named(answer, "failed")], [0, []])
      assert.strictEqual(answer.passed + answer.skipped, answer.laws.length)
      assert.isAbove(answer.passed, 50)
      for (const { reason, status } of answer.laws) {
        if (status === "skipped") assert.match(reason ?? "", /^the provider /)
      }
      const lines = outcome.stderr.trimEnd().split("\n")
      assert.strictEqual(lines.length, answer.laws.length)
      assert.match(lines[0] ?? "", /^1\/\d+ ok lifecycle: a box that preflight accepts is made and runs \(\d+ ms\)$/)
      assert.deepStrictEqual(left(), [])
      assert.deepStrictEqual(readdirSync(join(w.directory, "tmp")), [])
    })
  )

  it.live("names the laws that a bad provider breaks, says why, and exits 2", () =>
    Effect.gen(function* () {
      const { conform, left, w } = yield* setup
      const bad = changed(
        w,
        "bad.ts",
        `find: () => Effect.succeed({ _tag: "absent" }),
         stop: (ref) => Effect.flatMap(good.inspect(ref), ({ _tag }) => _tag === "running" ? good.stop(ref) : good.start(ref)),
         exec: (ref, request) =>
           Effect.map(good.exec(ref, request), (handle) => ({ ...handle, exit: Effect.as(handle.exit, { code: 0 }) }))`
      )
      const flags = ["--only", "idempotency,labels", "--only", "exec", "--patience", "2s"]
      const outcome = yield* conform(bad, ...flags, "--json", "--quiet")
      assert.strictEqual(outcome.code, 2, outcome.stderr)
      assert.strictEqual(outcome.stderr, "")
      const answer = answerOf(outcome)
      assert.deepStrictEqual([answer.ok, answer.conforms], [true, false])
      assert.deepStrictEqual(named(answer, "failed"), [
        "I-105 a box is found by its key as soon as it is made, and not before",
        "I-103 halting twice is success",
        "I-103 halting a box that is gone is success, and leaves it gone",
        "an exit code arrives exactly",
        "killing a command ends it with everything it started, and says by which signal"
      ])
      assert.deepStrictEqual([...new Set(answer.laws.map(({ group }) => group))], ["idempotency", "labels", "exec"])
      assert.include(answer.laws.find(({ name }) => name === "an exit code arrives exactly")?.problem, '"code":1')
      assert.deepStrictEqual(left(), [])

      const told = yield* conform(bad, ...flags)
      assert.strictEqual(told.code, 2)
      assert.match(told.stdout, /^BROKEN +exec +an exit code arrives exactly$/m)
      assert.match(told.stdout, /^broken:\n {2}I-105 a box is found by its key .*\n {4}find: expected /m)
      assert.match(told.stdout, /^folders {2}does not conform: \d+ passed, 5 failed, 0 skipped$/m)
    })
  )

  it.live("refuses what is no provider, by the argument's name, and asks nothing of it", () =>
    Effect.gen(function* () {
      const { boxes, options, w } = yield* setup
      const file = (name: string, text: string) => {
        writeFileSync(join(w.directory, name), text)
        return `./${name}`
      }
      const conform = (...args: ReadonlyArray<string>) => w.sandbox("provider", "conform", ...args, "--json")
      const cases = [
        ["module", "could not be loaded", conform("./none.ts")],
        ["module", "could not be loaded", conform("no-such-package")],
        ["module", "could not be loaded", conform(file("broken.ts", "export default {"))],
        ["module", "is no provider", conform(file("other.ts", "export default { apiVersion: 2 }"))],
        ["options", "refuses its options: Missing key at", conform(reference)],
        ["options", "refuses its options: ", conform(reference, "--options", file("empty.json", '{"root": ""}'))],
        ["options", "no valid YAML", conform(reference, "--options", file("bad.yaml", "root: [\n"))],
        ["options", "cannot be read", conform(reference, "--options", "none.yaml")],
        ["only", 'there is no group of laws "speed"', conform(reference, "--options", options, "--only", "speed")]
      ] as const
      for (const [field, cause, run] of cases) {
        const { code, json, stderr } = yield* run
        const { cause: said, details, error_code, next_step } = json()
        assert.deepStrictEqual(
          [code, error_code, details?.field],
          [1, "ERR_INVALID_ARGUMENT", field],
          `${said} ${stderr}`
        )
        assert.include(said, cause)
        assert.notInclude(said, "\n")
        assert.isAbove(next_step?.length ?? 0, 0)
      }
      assert.isFalse(existsSync(boxes))
    })
  )

  it.live("removes what it made when it is interrupted, and exits 130", () =>
    Effect.gen(function* () {
      const { boxes, left, options, w } = yield* setup
      const slow = changed(w, "slow.ts", "stop: () => Effect.never")
      const running = yield* w.start(["provider", "conform", slow, "--options", options])
      yield* running.saw("3/")
      yield* eventually("a box is there", () => left().some((name) => !name.startsWith(".")))
      running.signal("SIGINT")
      assert.strictEqual((yield* running.ended).code, 130)
      assert.isTrue(existsSync(boxes))
      assert.deepStrictEqual(left(), [])
      assert.deepStrictEqual(readdirSync(join(w.directory, "tmp")), [])
    })
  )
})

describe("sandbox providers", () => {
  it.live("shows what is registered, what each can do, and why one cannot be used", () =>
    Effect.gen(function* () {
      const { boxes, w } = yield* setup
      const configuration = join(w.directory, "mine.yaml")
      const uses = { good: reference, gone: "./none.ts" }
      const lines = Object.entries(uses).map(
        ([name, use]) => `  ${name}: { use: ${use}, options: { root: ${boxes} } }\n`
      )
      writeFileSync(configuration, `providers:\n${lines.join("")}`)
      const outcome = yield* w.sandbox("providers", "--config", configuration, "--json")
      assert.strictEqual(outcome.code, 0, outcome.stderr)
      const { providers } = JSON.parse(outcome.stdout)
      const rows = new Map<string, Record<string, unknown>>(providers.map((row: { name: string }) => [row.name, row]))
      assert.deepStrictEqual([...rows.keys()].sort(), ["docker", "gone", "good", "local"])
      const { scope, ...good } = rows.get("good") ?? {}
      assert.match(String(scope), new RegExp(`:${boxes}$`))
      assert.deepStrictEqual(good, {
        name: "good",
        isolation: "none",
        capabilities: ["start", "exec", "workspace", "endpoint"],
        host_ports: true,
        halt_is_terminal: false,
        external: false,
        preflight: "ok",
        error: null
      })
      const gone = rows.get("gone")
      assert.deepStrictEqual([gone?.["preflight"], gone?.["scope"], gone?.["capabilities"]], ["failed", null, []])
      assert.propertyVal(gone?.["error"], "error_code", "ERR_CONFIG_INVALID")
      assert.isFalse(existsSync(w.ledger), "looking at providers makes no ledger")

      const told = yield* w.sandbox("provider", "list", "--config", configuration)
      assert.match(told.stdout, /^NAME +ISOLATION {2}CAPABILITIES +PREFLIGHT {2}SCOPE$/m)
      assert.match(told.stdout, /^good +none +start, exec, workspace, endpoint +ok +\S+$/m)
      assert.match(told.stdout, /^gone: provider gone: its module could not be loaded/m)
    })
  )
})
