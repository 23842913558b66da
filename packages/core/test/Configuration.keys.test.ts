/** Every key of the configuration: absent, explicitly false or nothing, and wrong. */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as Configuration from "../src/Configuration.ts"
import { load, plain, problems } from "./support/configuration.ts"

interface Row {
  /** What holds when the key is absent; `required` where that is a problem. */
  readonly absent: unknown
  /** Explicit values that stay: `false`, 0, nothing, and others. As they are read, where that differs. */
  readonly stays: ReadonlyArray<unknown>
  readonly wrong: ReadonlyArray<unknown>
  /** What the key cannot be without, in the same map. */
  readonly beside?: Readonly<Record<string, unknown>>
}

/** A value that is read as another. */
class Read {
  readonly text: unknown
  readonly value: unknown
  constructor(text: unknown, value: unknown) {
    this.text = text
    this.value = value
  }
}

const required = Symbol("required")
const none = undefined
const ms = (text: string, value: number) => new Read(text, `${value}ms`)
const text = { absent: none, stays: ["x"], wrong: ["", 5, false, [], {}] }
const flag = (absent: boolean) => ({ absent, stays: [false, true], wrong: ["yes", 0, 1, ""] })
const count = (absent: number, min: 0 | 1) => ({
  absent,
  stays: [...(min === 0 ? [0] : []), 1, 7],
  wrong: [-1, 1.5, "8", true, ...(min === 1 ? [0] : [])]
})
const oneOf = (absent: unknown, ...values: ReadonlyArray<string>) => ({
  absent,
  stays: values,
  wrong: ["other", "", 0, false]
})
const command = { absent: none, stays: ["make", ["make", "-j"]], wrong: ["", " ", [], [""], 5, false, {}] }
const variable = { absent: none, stays: ["A", "_a1"], wrong: ["", "1A", "a-b", "SANDBOX_A", 5] }
const variables = {
  absent: none,
  stays: ["A", [], ["A", "B"]],
  wrong: ["", "a-b", "SANDBOX_A", ["SANDBOX_A"], 5],
  beside: { port: 4000 }
}
const limit = (absent: number) => ({
  absent: `${absent}ms`,
  stays: [ms("90s", 90_000), ms("1d", 86_400_000)],
  wrong: ["0s", "soon", "", 5, "1h30m", -1]
})
const seconds = { absent: 60, stays: [0.5, 600], wrong: [0, -1, "60", false] }
const map = { absent: {}, stays: [{}], wrong: ["", 0, false, [], "x"] }
const list = { absent: [], stays: [[]], wrong: ["", 0, false, {}, "x"] }
const checked = { port: 4000 }

const table: Readonly<Record<string, Row>> = {
  provider: { absent: none, stays: ["local"], wrong: ["", "nebula", 5, false, []] },
  control_plane_url: { absent: none, stays: [], wrong: ["", "https://example.com", 0, false] },
  repo: { ...map },
  "repo.url": { ...text, wrong: [...text.wrong, "-x", "https://a:b@x"] },
  "repo.branch": { absent: none, stays: ["main", "a/b"], wrong: ["", "-x", "a..b", "a:b", 5] },
  "repo.base": { absent: none, stays: ["main", "v1.0"], wrong: ["", "--upload-pack=x", "a^", 5] },
  "repo.depth": { absent: none, stays: [1, 50], wrong: [0, -1, 1.5, "1", false] },
  sandbox: { ...map, absent: required },
  "sandbox.profile": { absent: none, stays: ["big"], wrong: ["", "small", 0], beside: { profiles: { big: {} } } },
  "sandbox.profiles": { ...map, wrong: [...map.wrong, { Big: {} }, { a: "image" }] },
  "sandbox.profiles.*.image": text,
  "sandbox.profiles.*.cpus": { absent: none, stays: [0.5, 2], wrong: [0, -1, "2", false] },
  "sandbox.profiles.*.memory": {
    absent: none,
    stays: [1, new Read("512m", 512 * 1024 ** 2), new Read("8GiB", 8 * 1024 ** 3)],
    wrong: [0, "0", "", "lots", "8x", false]
  },
  "sandbox.web_base_url": { ...text, stays: ["https://{name}.x"], wrong: [...text.wrong, "x", "data:x"] },
  "sandbox.auto_teardown": flag(true),
  "sandbox.completed_retention_mins": count(60, 0),
  "sandbox.mode": oneOf(none, "host", "container", "hybrid"),
  durability: { ...map, absent: required },
  "durability.checkpoint": oneOf("on_down", "on_down", "manual"),
  "durability.include": {
    ...list,
    stays: [[], ["build/", "!build/tmp", "*.local"]],
    wrong: [...list.wrong, [""], [5], ["a\nb"]]
  },
  "durability.max_payload_bytes": count(131_072, 1),
  "durability.volume": oneOf("ephemeral", "ephemeral", "persist"),
  github: { ...map },
  "github.token_env": { absent: none, stays: ["GH", "SANDBOX_X"], wrong: ["", "a-b", 5, false] },
  "github.export_branch_prefix": {
    ...text,
    stays: ["x", "team/sandbox-"],
    wrong: [...text.wrong, "-x", "a..b", "a b/"]
  },
  slots: { ...map, absent: required },
  "slots.max": count(8, 1),
  "slots.stride": count(1, 1),
  "slots.search_range": count(10, 0),
  "slots.strict": flag(false),
  services: list,
  "services[].name": {
    absent: required,
    stays: ["a", "a-b_1", "a".repeat(63)],
    wrong: ["", "A", "-a", "a b", "a".repeat(64), 5]
  },
  "services[].command": { ...command, absent: required },
  "services[].cwd": { absent: none, stays: [".", "a/../b"], wrong: ["", "..", "/a", "a/../../b", 5] },
  "services[].env": {
    ...map,
    stays: [{}, { A: "" }],
    wrong: [...map.wrong, { A: 5 }, { A: false }, { "a-b": "" }, { SANDBOX_A: "" }]
  },
  "services[].port": { absent: none, stays: [1, 3000], wrong: [0, -1, 65_536, 65_535, "3000", 1.5, false] },
  "services[].port_env": variables,
  "services[].extra_ports": { ...list, beside: checked },
  "services[].extra_ports[].name": { absent: required, stays: ["a"], wrong: ["", "A", 5] },
  "services[].extra_ports[].port": { absent: required, stays: [6000], wrong: [0, 65_536, "1", 4000, 4001] },
  "services[].extra_ports[].port_env": { ...variables, beside: {} },
  "services[].health": { absent: none, stays: ["/", "/x?y"], wrong: ["", "x", 0, false, [], {}], beside: checked },
  "services[].health.http": { absent: required, stays: ["/"], wrong: ["", "x", 0, false] },
  "services[].health.tcp": { absent: required, stays: [true], wrong: [false, 0, ""] },
  "services[].health.command": { ...command, absent: required },
  "services[].health.timeout_s": { ...seconds, beside: { tcp: true } },
  "services[].primary": { ...flag(false), beside: checked },
  "services[].password_env": variable,
  "services[].completes": {
    absent: none,
    stays: ["exit", "out/DONE", "a/../b"],
    wrong: ["", "..", "/a", 5, false, {}]
  },
  compose: { absent: none, stays: [{ file: "c.yaml", services: [] }], wrong: ["", 0, false, [], {}] },
  "compose.file": {
    absent: required,
    stays: ["c.yaml", "a/../c.yaml", ["c.yaml", "d.yaml"]],
    wrong: ["", "..", "/a", "a/../../b", [], [""], ["../a"], 5, false, {}]
  },
  "compose.services": list,
  "compose.services[].name": { absent: required, stays: ["db", "a-b_1"], wrong: ["", "A", "-a", "a b", 5] },
  "compose.services[].port": { absent: none, stays: [1, 3000], wrong: [0, -1, 65_536, 65_535, "3000", 1.5, false] },
  "compose.services[].target": { absent: none, stays: [1, 65_535], wrong: [0, 65_536, "80", false], beside: checked },
  "compose.services[].port_env": variables,
  "compose.services[].host_env": variables,
  "compose.services[].extra_ports": { ...list, beside: checked },
  "compose.services[].extra_ports[].name": { absent: required, stays: ["a"], wrong: ["", "A", 5] },
  "compose.services[].extra_ports[].port": { absent: required, stays: [6000], wrong: [0, 65_536, "1", 4000, 4001] },
  "compose.services[].extra_ports[].target": { absent: required, stays: [1, 65_535], wrong: [0, 65_536, "1"] },
  "compose.services[].extra_ports[].port_env": { ...variables, beside: {} },
  "compose.services[].health": { absent: none, stays: ["/"], wrong: ["", "x", 0, false, [], {}], beside: checked },
  "compose.services[].health.http": { absent: required, stays: ["/"], wrong: ["", "x", 0, false] },
  "compose.services[].health.tcp": { absent: required, stays: [true], wrong: [false, 0, ""] },
  "compose.services[].health.command": { ...command, absent: required },
  "compose.services[].health.timeout_s": { ...seconds, beside: { tcp: true } },
  hooks: { ...map, absent: required },
  "hooks.pre_up": command,
  "hooks.pre_spawn": command,
  "hooks.post_up": command,
  "hooks.pre_down": command,
  "hooks.post_down": command,
  "hooks.timeout_s": seconds,
  env: { ...map, stays: [{}, { A: "" }, { A: "0" }], wrong: [...map.wrong, { A: 5 }, { A: null }, { SANDBOX_A: "" }] },
  inherit_env: { ...list, stays: [[], [".env"]], wrong: [...list.wrong, [".."], ["/etc/passwd"], [""], [5]] },
  "inherit_env[].file": { absent: required, stays: ["a/.env"], wrong: ["", "../.env", "/a", 5] },
  "inherit_env[].mode": oneOf("symlink", "symlink", "copy"),
  providers: { ...map, wrong: [...map.wrong, { mine: {} }, { Mine: { use: "x" } }, { mine: "x" }] },
  "providers.*.use": { absent: none, stays: ["./p.ts", "a-package"], wrong: ["", 5, false] },
  "providers.*.options": { ...map, stays: [{}, { a: null, b: false, c: 0, d: "" }], beside: { use: "x" } },
  secrets: list,
  "secrets[].name": { absent: required, stays: ["A"], wrong: ["", "a-b", "SANDBOX_A", 5] },
  "secrets[].from": { absent: none, stays: ["env:B", "file:x"], wrong: ["", "B", "env:", "file:", "env:a-b", 5] },
  "secrets[].to": oneOf("env", "env", "file"),
  switch: { ...map, absent: required },
  "switch.on_stop_failure": oneOf("record", "record", "abort"),
  "switch.on_failure": oneOf("restore", "restore", "hold"),
  timeouts: { ...map, absent: required },
  "timeouts.provision": limit(720_000),
  "timeouts.stop": limit(300_000),
  "timeouts.look": limit(30_000),
  "timeouts.workspace": limit(900_000),
  "timeouts.lease": { ...limit(30_000), wrong: [...limit(0).wrong, "2999ms"] },
  "timeouts.undo": limit(60_000),
  list: { ...map, absent: required },
  "list.recent_window": {
    absent: "604800000ms",
    stays: [ms("0s", 0), ms("12h", 43_200_000)],
    wrong: ["", "a week", 7, -1]
  }
}

/** Every key that the schema has: maps and what is in them, `*` for a user's own key and `[]` for an element. */
const keysOf = (shape: Configuration.Shape, at: string): ReadonlyArray<string> => {
  switch (shape.kind) {
    case "map":
      return [...shape.keys].flatMap(([key, inner]) => {
        const here = at === "" ? key : `${at}.${key}`
        return [here, ...keysOf(inner, here)]
      })
    case "record":
      return keysOf(shape.of, `${at}.*`)
    case "list":
      return keysOf(shape.of, `${at}[]`)
    case "either":
      return shape.of.flatMap((inner) => keysOf(inner, at))
    default:
      return []
  }
}

type Part = string | number

const pathOf = (key: string): ReadonlyArray<Part> =>
  key.split(".").flatMap((word) => {
    if (word === "*") return ["local"]
    return word.endsWith("[]") ? [word.slice(0, -2), 0] : [word]
  })

/** What the elements of lists cannot be without. */
const elements: Readonly<Record<string, Readonly<Record<string, unknown>>>> = {
  services: { name: "web", command: "serve" },
  extra_ports: { name: "x", port: 6000, target: 80 },
  inherit_env: { file: ".env" },
  secrets: { name: "S" }
}

/** A file that has this value, or nothing, at a key, and around it what the key needs. */
const file = (key: string, { beside = {} }: Row, value?: { readonly is: unknown }): unknown => {
  const path = pathOf(key)
  const build = (index: number): unknown => {
    const part = path[index]!
    if (part === 0) return [build(index + 1)]
    const before = path[index - 1] === 0 ? { ...elements[String(path[index - 2])] } : {}
    const needs = path[index + 1] === 0 && part === "extra_ports" ? { port: 4000 } : part === "health" ? checked : {}
    const composed = path[index - 1] === "compose" ? { file: "compose.yaml" } : {}
    const map: Record<string, unknown> = { ...before, ...needs, ...composed }
    if (index < path.length - 1) return { ...map, [part]: build(index + 1) }
    Object.assign(map, beside)
    if (value === undefined) delete map[part]
    else map[part] = value.is
    return map
  }
  return build(0)
}

const at = (value: unknown, path: ReadonlyArray<Part>): unknown =>
  path.reduce<unknown>((inner, part) => (inner as Record<Part, unknown> | undefined)?.[part], value)

describe("every key of the configuration", () => {
  it("is in this table", () => {
    assert.deepEqual(Object.keys(table).toSorted(), [...new Set(keysOf(Configuration.shape, ""))].toSorted())
  })

  for (const [key, row] of Object.entries(table)) {
    const mapWithDefaults = row.absent === required && at(plain(Configuration.defaults), pathOf(key)) !== undefined
    it.effect(`I-74 ${key} has its default where it is absent, and keeps what is said`, () =>
      Effect.gen(function* () {
        const path = pathOf(key)
        if (mapWithDefaults) {
          assert.deepEqual(at(yield* loaded({}), path), at(plain(Configuration.defaults), path))
        } else if (row.absent === required) {
          assert.isNotEmpty(yield* problems(file(key, row)), "absent")
        } else assert.deepEqual(at(yield* loaded(file(key, row)), path), row.absent)
        for (const value of row.stays) {
          const [written, read] = value instanceof Read ? [value.text, value.value] : [value, value]
          const expected = mapWithDefaults ? at(plain(Configuration.defaults), path) : read
          assert.deepEqual(at(yield* loaded(file(key, row, { is: written })), path), expected, JSON.stringify(written))
        }
      })
    )

    it.effect(`I-75 ${key} is refused where it is wrong, by its name`, () =>
      Effect.gen(function* () {
        const about = Configuration.formatPath(pathOf(key))
        for (const value of row.wrong) {
          const found = yield* problems(file(key, row, { is: value }))
          assert.isTrue(
            found.some((problem) => problem.startsWith(about)),
            `${JSON.stringify(value)}: ${JSON.stringify(found)}`
          )
        }
      })
    )
  }
})

const loaded = (value: unknown) => Effect.map(load(value), ({ configuration }) => plain(configuration))
