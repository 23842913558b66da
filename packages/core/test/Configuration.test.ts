import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as NodeServices from "@effect/platform-node/NodeServices"
import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, Option } from "effect"
import * as Claim from "../src/Claim.ts"
import * as Configuration from "../src/Configuration.ts"
import { CallPolicy } from "../src/Provisioners.ts"
import { Limits } from "../src/Settings.ts"
import * as Setup from "../src/Setup.ts"
import { load, loadLayers, plain, problems, problemsOf, providers } from "./support/configuration.ts"

/** One explicit value for keys at every depth, none of them the default. */
const values: ReadonlyArray<readonly [path: ReadonlyArray<string>, value: unknown]> = [
  [["provider"], "docker"],
  [["repo", "branch"], "main"],
  [["sandbox", "profiles"], { big: { cpus: 4 } }],
  [["sandbox", "auto_teardown"], false],
  [["sandbox", "completed_retention_mins"], 0],
  [["durability", "checkpoint"], "manual"],
  [["slots", "stride"], 2],
  [["slots", "search_range"], 0],
  [["hooks", "timeout_s"], 5],
  [["switch", "on_failure"], "hold"],
  [["list", "recent_window"], "0s"]
]

const set = (into: Record<string, unknown>, [key, ...rest]: ReadonlyArray<string>, value: unknown): void => {
  if (rest.length === 0) into[key!] = value
  else set((into[key!] ??= {}) as Record<string, unknown>, rest, value)
}

const leaves = (value: unknown, path: ReadonlyArray<string> = []): ReadonlyArray<readonly [string, unknown]> =>
  typeof value === "object" && value !== null && !Array.isArray(value) && Object.keys(value).length > 0
    ? Object.entries(value).flatMap(([key, inner]) => leaves(inner, [...path, key]))
    : [[path.join("."), value]]

describe("defaults", () => {
  it.effect("I-73 stay for every key that is not set, whichever others are, at every depth", () =>
    Effect.gen(function* () {
      const defaults = new Map(leaves(plain(Configuration.defaults)))
      for (let subset = 0; subset < 2 ** values.length; subset++) {
        const chosen = values.filter((_, index) => (subset & (1 << index)) !== 0)
        const file: Record<string, unknown> = {}
        for (const [path, value] of chosen) set(file, path, value)
        const { configuration } = yield* load(file)
        const found = new Map(leaves(plain(configuration)))
        const explicit = chosen.map(([path]) => path.join("."))
        for (const [path, value] of defaults) {
          if (explicit.some((key) => key === path)) continue
          // a section whose only key was set is no empty map any more
          if (explicit.some((key) => key.startsWith(`${path}.`))) continue
          assert.deepEqual(found.get(path), value, `${path} of ${JSON.stringify(file)}`)
        }
        for (const [path, value] of chosen) {
          const key = path.join(".")
          if (key === "list.recent_window") assert.strictEqual(found.get(key), "0ms")
          else if (key === "sandbox.profiles") assert.strictEqual(found.get("sandbox.profiles.big.cpus"), 4)
          else assert.deepEqual(found.get(key), value, key)
        }
      }
    })
  )

  it.effect("I-73 one key of a section leaves its siblings alone", () =>
    Effect.gen(function* () {
      const { configuration } = yield* load({ sandbox: { profile: "heavy", profiles: { heavy: {} } } })
      assert.deepEqual(configuration.sandbox, {
        profile: "heavy",
        profiles: { heavy: {} },
        auto_teardown: true,
        completed_retention_mins: 60
      })
    })
  )

  it.effect("I-74 an explicit false, 0 or nothing of a higher layer wins over a lower one", () =>
    Effect.gen(function* () {
      const { configuration } = yield* loadLayers([
        {
          name: "user",
          value: {
            sandbox: { completed_retention_mins: 5 },
            slots: { strict: true },
            services: [{ name: "a", command: "b" }]
          }
        },
        { name: "project", value: { sandbox: { completed_retention_mins: 0 }, slots: { strict: false }, services: [] } }
      ])
      assert.strictEqual(configuration.sandbox.completed_retention_mins, 0)
      assert.isFalse(configuration.slots.strict)
      assert.deepEqual(configuration.services, [])
    })
  )

  it.effect("hold for a key with nothing behind it, which hides no lower layer either", () =>
    Effect.gen(function* () {
      const { configuration } = yield* loadLayers([
        { name: "user", value: { slots: { max: 3 }, provider: "docker" } },
        { name: "project", value: { slots: null, provider: null, services: null, hooks: { timeout_s: null } } }
      ])
      assert.strictEqual(configuration.slots.max, 3)
      assert.strictEqual(configuration.provider, "docker")
      assert.strictEqual(configuration.hooks.timeout_s, 60)
    })
  )
})

describe("what is wrong", () => {
  it.effect("I-75 is told all at once, each by its path, wrong values and keys that do not go together alike", () =>
    Effect.gen(function* () {
      const found = yield* problems({
        provider: "nebula",
        sandbox: { completed_retention_mins: -1, mode: "cloud" },
        services: [
          { name: "a", command: "x", port: 3000 },
          { command: "no name" },
          { name: "b", command: "x", port: 3000 }
        ]
      })
      assert.sameMembers(
        found.map((problem) => problem.slice(0, problem.indexOf(":"))),
        ["provider", "sandbox.completed_retention_mins", "sandbox.mode", "services[1].name", "services[2].port"]
      )
    })
  )

  const cases: ReadonlyArray<readonly [about: string, file: unknown, wrong: string]> = [
    [
      "two services of a name",
      {
        services: [
          { name: "a", command: "x" },
          { name: "a", command: "y" }
        ]
      },
      "services[1].name"
    ],
    [
      "two primaries",
      {
        services: [
          { name: "a", command: "x", port: 3000, primary: true },
          { name: "b", command: "x", port: 4000, primary: true }
        ]
      },
      "services[1].primary"
    ],
    [
      "ports whose slots meet",
      {
        services: [
          { name: "a", command: "x", port: 3000 },
          { name: "b", command: "x", port: 3007 }
        ],
        slots: { strict: true }
      },
      "services[1].port"
    ],
    [
      "ports whose slots meet some strides apart",
      {
        services: [
          { name: "a", command: "x", port: 3030 },
          { name: "b", command: "x", port: 3000 }
        ],
        slots: { max: 4, stride: 10 }
      },
      "services[1].port"
    ],
    [
      "an extra port that meets the own one",
      { services: [{ name: "a", command: "x", port: 3000, extra_ports: [{ name: "d", port: 3001 }] }] },
      "services[0].extra_ports[0].port"
    ],
    [
      "ports of one name",
      {
        services: [
          { name: "a", command: "x", port: 3000, extra_ports: [{ name: "b", port: 5000 }] },
          { name: "a-b", command: "x", port: 7000 }
        ]
      },
      "services[1].port"
    ],
    [
      "ports of one variable",
      {
        services: [
          { name: "a-b", command: "x", port: 3000 },
          { name: "a_b", command: "x", port: 7000 }
        ]
      },
      "services[1].port"
    ],
    [
      "slots that end above the last port",
      { services: [{ name: "a", command: "x", port: 65_530 }] },
      "services[0].port"
    ],
    ["health of no port", { services: [{ name: "a", command: "x", health: "/" }] }, "services[0].health"],
    [
      "two kinds of health",
      { services: [{ name: "a", command: "x", port: 3000, health: { http: "/", tcp: true } }] },
      "services[0].health"
    ],
    ["host with a provider that isolates", { provider: "docker", sandbox: { mode: "host" } }, "sandbox.mode"],
    ["container with a provider that does not", { provider: "local", sandbox: { mode: "container" } }, "sandbox.mode"],
    ["a profile that is none", { sandbox: { profile: "x" } }, "sandbox.profile"],
    ["two secrets of a name", { secrets: [{ name: "A" }, { name: "A" }] }, "secrets[1].name"],
    ["a name that is too long", { services: [{ name: "a".repeat(64), command: "x" }] }, "services[0].name"],
    ...["javascript:alert(1)", "file:///x", "{port}", "https://"].map(
      (address) => [`the address ${address}`, { sandbox: { web_base_url: address } }, "sandbox.web_base_url"] as const
    ),
    ...["-x", "ext::sh -c x", "https://", "gopher://x/y", "https://a:c4nary@x.org/y", "a:c4nary@x.org:y"].map(
      (url) => [`the repository ${url}`, { repo: { url } }, "repo.url"] as const
    )
  ]
  for (const [about, file, wrong] of cases) {
    it.effect(`I-75 is ${about}`, () =>
      Effect.gen(function* () {
        const found = yield* problems(file)
        assert.strictEqual(found.length, 1, JSON.stringify(found))
        assert.isTrue(found[0]!.startsWith(`${wrong}: `), found[0])
      })
    )
  }

  it.effect("I-75 is not what is just far enough apart", () =>
    Effect.gen(function* () {
      const two = (second: number, slots = {}) => ({
        slots,
        services: [
          { name: "a", command: "x", port: 3000 },
          { name: "b", command: "x", port: second }
        ]
      })
      for (const slots of [{}, { strict: true }, { search_range: 0 }]) {
        assert.deepEqual(yield* problems(two(3008, slots)), [])
        assert.isNotEmpty(yield* problems(two(3007, slots)))
      }
      const wide = { max: 3, stride: 2 }
      for (const free of [3001, 3003, 3006, 2994]) assert.deepEqual(yield* problems(two(free, wide)), [], `${free}`)
      for (const met of [3002, 3004, 2996]) assert.isNotEmpty(yield* problems(two(met, wide)), `${met}`)
    })
  )

  it.effect("says which slots of two ports are one number, and ways out that are", () =>
    Effect.gen(function* () {
      const three = (api: number, slots: object) => ({
        slots,
        services: [
          { name: "web", command: "x", port: 3000 },
          { name: "api", command: "x", port: api },
          { name: "db", command: "x", port: 5432 }
        ]
      })
      const [message] = yield* problems(three(3001, {}))
      assert.strictEqual(
        message,
        "services[1].port: meets web: slot 2 of web and slot 1 of api are both 3002; set slots.stride to 2 or move one base by 7"
      )
      assert.deepEqual(yield* problems(three(3001, { stride: 2 })), [])
      assert.deepEqual(yield* problems(three(3008, {})), [])
      // any other stride, and any other place, ends above the last port
      const [last] = yield* problems(three(3010, { max: 40_000 }))
      assert.include(last, "slot 11 of web and slot 1 of api are both 3011; lower slots.max to 10")
    })
  )

  it.effect("I-75 is a hook in a repository that is not on this host", () =>
    Effect.gen(function* () {
      const file = { hooks: { pre_up: "make", post_down: "make", pre_spawn: "make" } }
      assert.deepEqual(yield* problems(file, "path"), [])
      const found = yield* problems(file, "url")
      assert.deepEqual(
        found.map((problem) => problem.slice(0, problem.indexOf(":"))),
        ["hooks.pre_up", "hooks.post_down"]
      )
    })
  )

  it.effect("quotes no value, which may be a secret", () =>
    Effect.gen(function* () {
      const c4nary = "c4nary"
      const error = yield* Effect.flip(
        load({
          provider: c4nary,
          env: { "a-b": c4nary, B: [c4nary] },
          slots: { max: c4nary },
          secrets: [{ name: "A", from: c4nary }],
          timeouts: { stop: c4nary },
          repo: { url: `https://x:${c4nary}@x.org`, depth: c4nary }
        })
      )
      assert.notInclude(JSON.stringify(error), c4nary)
    })
  )

  it.effect("names the file and the line, or the variable", () =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(
        loadLayers([
          {
            name: "project",
            file: "/app/sandbox.yaml",
            value: { slots: { max: 0 } },
            position: () => ({ line: 3, column: 8 })
          },
          { name: "environment", value: { slots: { stride: 0 } }, source: () => "SANDBOX_SLOTS_STRIDE" }
        ])
      )
      assert.strictEqual(error.code, "ERR_CONFIG_INVALID")
      assert.include(error.message, "slots.max must be 1 or more (/app/sandbox.yaml:3:8)")
      assert.include(error.message, "slots.stride must be 1 or more (SANDBOX_SLOTS_STRIDE)")
    })
  )
})

describe("warnings", () => {
  it.effect("I-76 name unknown keys at every depth, of every layer, with the key that may have been meant", () =>
    Effect.gen(function* () {
      const { warnings } = yield* loadLayers([
        { name: "user", value: { slot: { max: 1 }, providers: { local: { options: { anything: 1 }, option: {} } } } },
        {
          name: "project",
          value: { services: [{ name: "a", command: "b", comand: "c", env: { ANY: "x" } }], hooks: { zzz: 1 } }
        }
      ])
      assert.deepEqual(
        warnings.map(({ message, path }) => `${path} ${message}`),
        [
          "slot is unknown; did you mean slots?",
          "providers.local.option is unknown; did you mean options?",
          "services[0].comand is unknown; did you mean command?",
          "hooks.zzz is unknown, and has no effect"
        ]
      )
    })
  )

  it.effect("say nothing of what is written and has an effect", () =>
    Effect.gen(function* () {
      const { warnings } = yield* load({
        sandbox: { auto_teardown: false, completed_retention_mins: 5 },
        durability: { checkpoint: "manual", include: ["build/"], volume: "persist" },
        github: { export_branch_prefix: "team/" }
      })
      assert.deepEqual(warnings, [])
    })
  )

  it.effect("name what is allowed and rarely meant", () =>
    Effect.gen(function* () {
      const { warnings } = yield* load({
        slots: { max: 65, search_range: 0 },
        services: [{ name: "a", command: "x", port: 80 }]
      })
      assert.deepEqual(
        warnings.map(({ path }) => path),
        ["slots.max", "services[0].port"]
      )
    })
  )
})

describe("layers", () => {
  const layers: ReadonlyArray<Configuration.Layer> = [
    {
      name: "user",
      file: "/u",
      value: { slots: { max: 2, stride: 2, search_range: 2, strict: true }, env: { A: "u", B: "u" } }
    },
    { name: "project", file: "/p", value: { slots: { stride: 3, search_range: 3 }, env: { B: "p" } } },
    { name: "environment", value: { slots: { search_range: 4 } }, source: () => "SANDBOX_SLOTS_SEARCH_RANGE" },
    { name: "flags", value: { provider: "local" }, source: () => "--provider" }
  ]

  it.effect("I-76 win leaf by leaf in their order, and every leaf knows its own", () =>
    Effect.gen(function* () {
      const effective = yield* loadLayers(layers)
      const { env, provider, slots } = effective.configuration
      assert.deepEqual(slots, { max: 2, stride: 3, search_range: 4, strict: true })
      assert.deepEqual(env, { A: "u", B: "p" })
      assert.strictEqual(provider, "local")
      const from = Configuration.provenance(effective)
      assert.deepInclude(from, {
        "slots.max": { layer: "user", file: "/u" },
        "slots.stride": { layer: "project", file: "/p" },
        "slots.search_range": { layer: "environment", source: "SANDBOX_SLOTS_SEARCH_RANGE" },
        provider: { layer: "flags", source: "--provider" },
        "env.A": { layer: "user", file: "/u" },
        "env.B": { layer: "project", file: "/p" },
        "hooks.timeout_s": { layer: "default" }
      })
    })
  )

  it.effect("I-76 a key beside one that a layer sets is not that layer's", () =>
    Effect.gen(function* () {
      const from = Configuration.provenance(yield* load({ slots: { max: 3 }, services: [{ name: "a", command: "b" }] }))
      assert.strictEqual(from["slots.max"]?.layer, "project")
      assert.strictEqual(from["slots.stride"]?.layer, "default")
      assert.strictEqual(from["services"]?.layer, "project")
    })
  )

  it.effect("show what holds without the values of variables and options", () =>
    Effect.gen(function* () {
      const shown = Configuration.shown(
        yield* load({
          env: { A: "c4nary" },
          services: [{ name: "a", command: "x", env: { B: "c4nary" } }],
          providers: { local: { options: { key: "c4nary" } } },
          timeouts: { stop: "90s" }
        })
      )
      assert.notInclude(JSON.stringify(shown), "c4nary")
      assert.deepInclude(shown, { env: { A: "<hidden>" } })
      assert.deepInclude(shown["timeouts"] as object, { stop: "90s", provision: "12m" })
    })
  )
})

describe("paths", () => {
  it.effect("I-91 that leave the repository through a link are refused, and those that stay are not", () =>
    Effect.gen(function* () {
      const top = mkdtempSync(join(tmpdir(), "configuration-"))
      yield* Effect.addFinalizer(() => Effect.sync(() => rmSync(top, { recursive: true })))
      const repository = join(top, "app")
      mkdirSync(join(repository, "inside"), { recursive: true })
      mkdirSync(join(top, "app-outside"))
      writeFileSync(join(top, "secret"), "s")
      writeFileSync(join(repository, "inside", ".env"), "A=1")
      symlinkSync(join(top, "secret"), join(repository, "out"))
      symlinkSync("inside/.env", join(repository, "in"))
      symlinkSync("../app-outside", join(repository, "beside"))
      const found = (file: unknown) =>
        Configuration.load([{ name: "project", value: file }], { providers, repository: "path", top: repository }).pipe(
          Effect.as([]),
          Effect.catch((error) => Effect.succeed(problemsOf(error).map(({ path }) => path))),
          Effect.provide(NodeServices.layer)
        )
      assert.deepEqual(yield* found({ inherit_env: ["in", "inside/.env", { file: "missing" }] }), [])
      assert.deepEqual(yield* found({ compose: { file: ["in", "out", "../secret"] } }), [
        "compose.file[2]",
        "compose.file[1]"
      ])
      assert.deepEqual(yield* found({ inherit_env: ["in", "out", { file: "out" }, "../secret"] }), [
        "inherit_env[3]",
        "inherit_env[1]",
        "inherit_env[2].file"
      ])
      const service = (cwd: string) => ({ services: [{ name: "a", command: "x", cwd }] })
      assert.deepEqual(yield* found(service("inside")), [])
      assert.deepEqual(yield* found(service("beside")), ["services[0].cwd"])
      assert.deepEqual(yield* found(service("inside/../..")), ["services[0].cwd"])
      const done = (completes: string) => ({ services: [{ name: "a", command: "x", completes }] })
      assert.deepEqual(yield* found(done("inside/DONE")), [])
      assert.deepEqual(yield* found(done("beside")), ["services[0].completes"])
    })
  )
})

describe("the meaning", () => {
  it.effect("of services, hooks and secrets is what a session is set up with", () =>
    Effect.gen(function* () {
      const { configuration } = yield* load({
        services: [
          {
            name: "web",
            command: ["serve", "-x"],
            cwd: "site",
            env: { A: "1" },
            port: 3000,
            port_env: "PORT",
            extra_ports: [{ name: "debug", port: 9200, port_env: ["D1", "D2"] }],
            health: { http: "/up", timeout_s: 5 },
            primary: true,
            password_env: "PASSWORD"
          },
          { name: "job", command: "work", health: { command: "check" }, completes: "exit" },
          { name: "raw", command: "listen", port: 4000, health: { tcp: true }, completes: "out/DONE" },
          { name: "page", command: "listen", port: 5000, health: "/" }
        ],
        hooks: { pre_up: "one", post_down: ["two"], timeout_s: 5 },
        inherit_env: [".env", { file: "b", mode: "copy" }],
        secrets: [{ name: "A" }, { name: "B", from: "file:b.txt", to: "file" }],
        slots: { max: 2, strict: true },
        sandbox: { auto_teardown: false, completed_retention_mins: 0 },
        durability: { checkpoint: "manual", include: ["build/"], volume: "persist" },
        github: { export_branch_prefix: "team/" }
      })
      const options = Configuration.setup(configuration, (path) => `/folder/${path}`)
      assert.deepEqual<unknown>(options, {
        services: [
          {
            name: "web",
            command: ["serve", "-x"],
            cwd: "site",
            env: { A: "1" },
            ports: [
              { name: "web", base: 3000, env: ["PORT"] },
              { name: "web-debug", base: 9200, env: ["D1", "D2"] }
            ],
            health: { kind: "http", path: "/up" },
            deadlineS: 5,
            primary: true,
            passwordEnv: "PASSWORD"
          },
          {
            name: "job",
            command: "work",
            env: {},
            ports: [],
            health: { kind: "command", command: "check" },
            deadlineS: 60,
            primary: false,
            completes: "exit"
          },
          {
            name: "raw",
            command: "listen",
            env: {},
            ports: [{ name: "raw", base: 4000, env: [] }],
            health: { kind: "tcp" },
            deadlineS: 60,
            primary: false,
            completes: { file: "out/DONE" }
          },
          {
            name: "page",
            command: "listen",
            env: {},
            ports: [{ name: "page", base: 5000, env: [] }],
            health: { kind: "http", path: "/" },
            deadlineS: 60,
            primary: false
          }
        ],
        hooks: { preUp: "one", postDown: ["two"], timeoutS: 5 },
        env: {},
        inheritEnv: [{ file: ".env" }, { file: "b", mode: "copy" }],
        secrets: [
          { name: "A", to: "env", from: { env: "A" } },
          { name: "B", to: "file", from: { file: "/folder/b.txt" } }
        ],
        keeping: {
          checkpoint: "manual",
          include: ["build/"],
          volume: "persist",
          autoTeardown: false,
          completedRetentionMins: 0,
          exportBranchPrefix: "team/"
        },
        slots: { max: 2, stride: 1, searchRange: 10, strict: true }
      })
      assert.strictEqual(Setup.from(options).services.length, 4)
      assert.deepEqual<unknown>(Setup.from(options).keeping, options.keeping)
    })
  )

  it.effect("of nothing is a session without a setup", () =>
    Effect.sync(() => {
      assert.isTrue(Setup.isEmpty(Setup.from(Configuration.setup(Configuration.defaults, (path) => path))))
      assert.deepEqual(Configuration.spec(Configuration.defaults), {})
    })
  )

  it.effect("of a profile is a box", () =>
    Effect.gen(function* () {
      const { configuration } = yield* load({
        sandbox: { profile: "a", profiles: { a: { cpus: 2, memory: "1g" }, b: { image: "x" } } }
      })
      assert.deepEqual(Configuration.spec(configuration), { cpus: 2, memory: 1024 ** 3 })
    })
  )

  it.effect("of times and sizes is what the programs go by", () =>
    Effect.gen(function* () {
      const { configuration } = yield* load({
        timeouts: { provision: "1s", stop: "2s", look: "3s", workspace: "4s", lease: "9s", undo: "5s" },
        durability: { max_payload_bytes: 1024 },
        list: { recent_window: "1h" }
      })
      const seen = yield* Effect.gen(function* () {
        const { look, provision, stop, workspace } = yield* CallPolicy
        const { lease, renewal, undo } = yield* Claim.Timings
        const { maxRecordBytes, recentWindow } = yield* Limits
        const times = [provision.limit, stop.limit, look.limit, workspace.limit, lease, renewal, undo, recentWindow]
        return [...times.map(Duration.toSeconds), maxRecordBytes]
      }).pipe(Effect.provide(Configuration.settings(configuration)))
      assert.deepEqual(seen, [1, 2, 3, 4, 9, 3, 5, 3600, 1024])
    })
  )

  it.effect("of no times and sizes is their own defaults", () =>
    Effect.gen(function* () {
      const seen = Effect.gen(function* () {
        return plain([yield* CallPolicy, yield* Claim.Timings, yield* Limits])
      })
      assert.deepEqual(yield* Effect.provide(seen, Configuration.settings(Configuration.defaults)), yield* seen)
    })
  )
})

describe("sizes", () => {
  it("are bytes with a unit of 1024, or nothing", () => {
    const read = (text: string) => Option.getOrUndefined(Configuration.parseBytes(text))
    for (const [text, bytes] of [
      ["1", 1],
      ["2k", 2048],
      ["1KiB", 1024],
      ["3m", 3 * 1024 ** 2],
      ["1GB", 1024 ** 3],
      ["1t", 1024 ** 4]
    ] as const) {
      assert.strictEqual(read(text), bytes, text)
    }
    for (const text of ["", "0", "-1", "1.5g", "g", "1x", "99999999999t"]) assert.isUndefined(read(text), text)
  })
})
