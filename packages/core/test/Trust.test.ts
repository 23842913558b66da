import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as NodeServices from "@effect/platform-node/NodeServices"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer } from "effect"
import * as Configuration from "../src/Configuration.ts"
import { Directories } from "../src/Host.ts"
import { layerHost } from "../src/node/NodeHost.ts"
import * as Setup from "../src/Setup.ts"
import * as Trust from "../src/Trust.ts"
import { load, loadLayers, providers } from "./support/configuration.ts"

const claimed = { file: "/app/sandbox.yaml", digest: "d1" }

/** A state directory of its own. */
const fresh = Effect.acquireRelease(
  Effect.sync(() => join(mkdtempSync(join(tmpdir(), "trust-")), "state")),
  (state) => Effect.sync(() => rmSync(join(state, ".."), { recursive: true }))
)

const within = (state: string) =>
  Layer.mergeAll(NodeServices.layer, Layer.orDie(layerHost), Layer.succeed(Directories)({ state, cache: state }))

const runs = (value: unknown, provider: string | undefined) =>
  Effect.map(load(value), (effective) => Trust.runs(effective, { builtin: providers, provider }))

const everything = {
  hooks: { pre_up: "a", pre_spawn: "b", post_up: "c", pre_down: "d", post_down: "e" },
  services: [
    { name: "web", command: "x", port: 3000, health: { command: "y" } },
    { name: "job", command: "z" }
  ],
  env: { PATH: "." },
  secrets: [{ name: "A" }, { name: "B", from: "file:b" }],
  providers: { mine: { use: "./p.ts" }, docker: { options: { image: "x" } } },
  github: { token_env: "OTHER" },
  compose: { file: "compose.yaml" },
  inherit_env: [".env"],
  sandbox: { profiles: { a: { image: "x" } } }
}

const always = [
  "hooks.pre_up",
  "hooks.post_down",
  "providers.mine.use",
  "providers.docker.options.image",
  "secrets[0]",
  "secrets[1]",
  "github.token_env",
  "compose.file",
  "inherit_env[0]"
]

const inside = [
  "hooks.pre_spawn",
  "hooks.post_up",
  "hooks.pre_down",
  "services[0].command",
  "services[1].command",
  "services[0].health.command",
  "env.PATH"
]

describe("what a project's file runs on this host", () => {
  it.effect("is all of it where the provider does not isolate, is not known, or is not chosen", () =>
    Effect.gen(function* () {
      for (const provider of ["local", "odd", "mine", undefined]) {
        assert.sameMembers([...(yield* runs(everything, provider))], [...always, ...inside], provider)
      }
    })
  )

  it.effect("is only what runs beside the box where that isolates", () =>
    Effect.gen(function* () {
      assert.sameMembers([...(yield* runs(everything, "docker"))], always)
    })
  )

  it.effect("is not what a name that sounds isolating stands for", () =>
    Effect.gen(function* () {
      const file = { providers: { docker: { use: "local" } }, services: [{ name: "a", command: "x" }] }
      assert.sameMembers([...(yield* runs(file, "docker"))], ["providers.docker.use", "services[0].command"])
    })
  )

  it.effect("is every part of an option, also beside parts that the user said", () =>
    Effect.gen(function* () {
      const build = (build: object) => ({ providers: { docker: { options: { build } } } })
      const both = yield* loadLayers([
        { name: "user", value: build({ context: "/mine" }) },
        { name: "project", value: build({ dockerfile: "theirs" }) }
      ])
      const named = Trust.runs(both, { builtin: providers, provider: "docker" })
      assert.deepEqual(named, ["providers.docker.options.build.dockerfile"])
    })
  )

  it.effect("is nothing of what the user's own file says, or of a file that only describes", () =>
    Effect.gen(function* () {
      const own = yield* loadLayers([{ name: "user", value: everything }])
      assert.deepEqual(Trust.runs(own, { builtin: providers, provider: "local" }), [])
      assert.deepEqual(yield* runs({ provider: "local", slots: { max: 2 } }, "local"), [])
    })
  )
})

describe("what a recorded setup runs wherever its session is", () => {
  it.effect("is what a file of the same meaning runs there, and what describes is nothing", () =>
    Effect.gen(function* () {
      const { configuration } = yield* load(everything)
      const setup = Setup.from(Configuration.setup(configuration, (file) => file))
      // by name, because some of those that the file lists may have been left out
      const named = inside.map((key) =>
        key.replace("services[0]", "services.web").replace("services[1]", "services.job")
      )
      const beside = ["hooks.pre_up", "hooks.post_down", "compose.file", "inherit_env[0]"]
      assert.sameMembers([...Trust.runsOf(setup)], [...beside, ...named])
      const { configuration: harmless } = yield* load({ slots: { max: 2 }, secrets: [{ name: "A" }] })
      assert.deepEqual(Trust.runsOf(Setup.from(Configuration.setup(harmless, (file) => file))), [])
    })
  )
})

describe("acceptance", () => {
  it.effect("of a configuration for any provider is of its file, unless it runs nothing anywhere", () =>
    Effect.gen(function* () {
      const state = yield* fresh
      yield* Effect.gen(function* () {
        const [inBox, nothing] = [yield* load({ env: { A: "b" } }), yield* load({ slots: { max: 2 } })]
        const of = { builtin: providers, claimed }
        assert.isTrue(yield* Trust.mayRunHere(nothing, of))
        assert.isFalse(yield* Trust.mayRunHere(inBox, of))
        yield* Trust.accept(claimed)
        assert.isTrue(yield* Trust.mayRunHere(inBox, of))
        assert.isFalse(yield* Trust.mayRunHere(inBox, { ...of, claimed: { ...claimed, digest: "d2" } }))
      }).pipe(Effect.provide(within(state)))
    })
  )

  it.effect("is of one file as it was, for its owner only, until it is taken back", () =>
    Effect.gen(function* () {
      const state = yield* fresh
      yield* Effect.gen(function* () {
        assert.isFalse(yield* Trust.isAccepted(claimed))
        assert.deepEqual(yield* Trust.accepted, [])
        yield* Trust.accept(claimed)
        yield* Trust.accept({ file: "/other/sandbox.yaml", digest: "d9" })
        assert.isTrue(yield* Trust.isAccepted(claimed))
        assert.isFalse(yield* Trust.isAccepted({ ...claimed, digest: "d2" }))
        assert.isFalse(yield* Trust.isAccepted({ ...claimed, file: "/other/sandbox.yaml" }))
        assert.isFalse(yield* Trust.isAccepted({ ...claimed, file: "constructor" }))
        assert.strictEqual(statSync(join(state, "trusted.json")).mode & 0o777, 0o600)
        assert.deepEqual(readdirSync(state), ["trusted.json"])
        yield* Trust.accept({ ...claimed, digest: "d2" })
        assert.isFalse(yield* Trust.isAccepted(claimed))
        assert.isTrue(yield* Trust.revoke(claimed.file))
        assert.isFalse(yield* Trust.revoke(claimed.file))
        assert.deepEqual(
          (yield* Trust.accepted).map(({ file }) => file),
          ["/other/sandbox.yaml"]
        )
      }).pipe(Effect.provide(within(state)))
    })
  )

  it.live("of many at once keeps them all", () =>
    Effect.gen(function* () {
      const state = yield* fresh
      const files = Array.from({ length: 20 }, (_, index) => `/app-${index}/sandbox.yaml`)
      yield* Effect.gen(function* () {
        yield* Effect.forEach(files, (file) => Trust.accept({ file, digest: "d" }), { concurrency: "unbounded" })
        assert.sameMembers(
          (yield* Trust.accepted).map(({ file }) => file),
          files
        )
      }).pipe(Effect.provide(within(state)))
    })
  )

  it.effect("whose record cannot be read is neither assumed nor written over", () =>
    Effect.gen(function* () {
      const state = yield* fresh
      yield* Effect.gen(function* () {
        yield* Trust.accept(claimed)
        const file = join(state, "trusted.json")
        for (const text of ["", "{}", '{"version":2,"files":{}}', "no"]) {
          writeFileSync(file, text)
          for (const attempt of [Trust.isAccepted(claimed), Trust.accept(claimed), Trust.revoke(claimed.file)]) {
            const error = yield* Effect.flip(attempt as typeof Trust.accepted)
            assert.strictEqual(error.code, "ERR_CONFIG_INVALID")
            assert.include(error.message, file)
          }
          assert.strictEqual(readFileSync(file, "utf8"), text)
        }
      }).pipe(Effect.provide(within(state)))
    })
  )

  it.effect("is asked for by keys, and only for what would run", () =>
    Effect.gen(function* () {
      const state = yield* fresh
      yield* Effect.gen(function* () {
        const effective = yield* load({ ...everything, env: { PATH: "c4nary" } })
        const check = (provider: string, file?: Trust.Claimed) =>
          Trust.check(effective, { claimed: file, builtin: providers, provider })
        const error = yield* Effect.flip(check("docker", claimed))
        assert.strictEqual(error.code, "ERR_CONFIG_UNTRUSTED")
        const { details = {} } = error
        assert.deepEqual(details["file"], claimed.file)
        assert.sameMembers([...(details["runs"] as ReadonlyArray<string>)], always)
        assert.include(error.nextStep, "`sandbox trust /app`")
        assert.include(error.nextStep, "--trust-config")
        assert.notInclude(JSON.stringify(error), "c4nary")
        yield* check("docker")
        yield* Trust.accept(claimed)
        yield* check("local", claimed)
        assert.strictEqual(
          (yield* Effect.flip(check("local", { ...claimed, digest: "d2" }))).code,
          "ERR_CONFIG_UNTRUSTED"
        )
      }).pipe(Effect.provide(within(state)))
    })
  )
})
