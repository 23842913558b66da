/** Slots and ports of sessions on one host, by `sandbox` as real processes. */
import { spawn } from "node:child_process"
import { once } from "node:events"
import { existsSync, mkdirSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { assert, describe, it, layer } from "@effect/vitest"
import { Effect } from "effect"
import { Connected } from "./support/client.ts"
import { assertFailure } from "./support/contract.ts"
import { listens, vacant } from "./support/ports.ts"
import { times } from "./support/sample.ts"
import { dump, eventually, nothing, type Outcome, query, remains, type World, world } from "./support/sandbox.ts"

/** Listens on every port of its own, says so, and never ends. */
const serve = (ports: ReadonlyArray<string>) => [
  "node",
  "-e",
  `for (const name of ${JSON.stringify(ports.map((name) => `SANDBOX_${name.toUpperCase().replaceAll("-", "_")}_PORT`))})
    require("node:http").createServer((_, r) => r.end(name)).listen(process.env[name], "127.0.0.1")`
]

/** A process of nobody's session that listens there. */
const stranger = (port: number) =>
  Effect.acquireRelease(
    Effect.promise(async () => {
      const script = `require("node:net").createServer().listen(${port}, "127.0.0.1", () => console.log("up"))`
      const child = spawn(process.execPath, ["-e", script], { stdio: ["ignore", "pipe", "inherit"] })
      await once(child.stdout, "data")
      const ended = once(child, "exit")
      return {
        pid: child.pid!,
        isAlive: () => child.exitCode === null && child.signalCode === null,
        end: Effect.promise(() => {
          child.kill("SIGKILL")
          return ended
        })
      }
    }),
    ({ end }) => end
  )

/** Writes the user's own configuration, which needs no trust. */
const configure = (w: World, configuration: object) => {
  const directory = join(w.directory, "home", ".config", "sandbox")
  mkdirSync(directory, { recursive: true })
  writeFileSync(join(directory, "config.yaml"), JSON.stringify(configuration))
}

const up = (w: World, name: string, ...more: ReadonlyArray<string>) => [
  "up",
  w.repository,
  ...["-b", "main", "-n", name, "-p", "local", "--json"],
  ...more
]

interface PortRow {
  readonly name: string
  readonly service: string
  readonly port: number
  readonly url: string | null
  readonly whose: "session" | "other" | null
  readonly pid: number | null
  readonly command: string | null
}

/** What these tests look into of an answer, beside what all have. */
interface Placed {
  readonly slot: number
  readonly ports: Readonly<Record<string, number>>
}
interface Holders {
  readonly max: number
  readonly holders: ReadonlyArray<{ readonly name: string; readonly slot: number; readonly state: string }>
}
interface Taken {
  readonly name: string
  readonly ports: ReadonlyArray<number>
  readonly holders: ReadonlyArray<{ readonly port: number; readonly pid: number }>
}

const placed = ({ code, json, stderr, stdout }: Outcome): Placed => {
  assert.strictEqual(code, 0, `${stdout}${stderr}`)
  return json() as unknown as Placed
}
const details = <A>(answer: { readonly details: object }) => answer.details as unknown as A

const portRows = (w: World, name: string) =>
  Effect.map(w.sandbox("ports", name, "--json"), ({ json }) => (json() as unknown as { ports: Array<PortRow> }).ports)

const web = (base: number, more: object = {}) => ({
  services: [{ name: "web", command: serve(["web"]), port: base, health: "/", ...more }]
})

/** A command of a setup that goes on once its file is there, and the means to see it wait and to let it go on. */
const gate = (w: World, name: string) => {
  const [waiting, open] = [join(w.directory, `${name}.waiting`), join(w.directory, `${name}.open`)]
  return {
    script: `touch ${waiting}; while [ ! -e ${open} ]; do sleep 0.02; done`,
    waits: eventually(`${name} waits`, () => existsSync(waiting)),
    open: () => writeFileSync(open, "")
  }
}

const slots = (w: World) =>
  query<{ name: string; state: string; slot: number | null }>(
    w.ledger,
    "SELECT name, state, slot FROM sessions WHERE slot IS NOT NULL ORDER BY slot"
  )
const givenPorts = (w: World) =>
  query<{ port: number }>(w.ledger, "SELECT port FROM ports ORDER BY port").map(({ port }) => port)

describe("slots", () => {
  it.live(
    "I-77 are reserved before anything is made: an up beside one that hangs gets the next one",
    () =>
      Effect.gen(function* () {
        const w = yield* world
        const base = yield* vacant(30)
        const hook = gate(w, "hook")
        configure(w, { ...web(base), hooks: { pre_spawn: hook.script } })
        const first = yield* w.start(up(w, "one"))
        yield* hook.waits
        // its port is kept for it while its hook runs
        assert.isTrue(yield* listens(base + 1))

        const same = assertFailure(yield* w.run(up(w, "one")), "ERR_NAME_TAKEN")
        assert.match(same.next_step, /`sandbox \w+ sbx_\w+`/)
        const second = yield* w.start(up(w, "two"))
        yield* eventually("the second has its slot", () => slots(w).length === 2)
        assert.deepEqual(
          slots(w).map(({ name, slot }) => [name, slot]),
          [
            ["one", 1],
            ["two", 2]
          ]
        )
        hook.open()
        assert.deepInclude(placed(yield* first.ended), { slot: 1, ports: { web: base + 1 } })
        assert.deepInclude(placed(yield* second.ended), { slot: 2, ports: { web: base + 2 } })
        assert.strictEqual(query(w.ledger, "SELECT id FROM sessions").length, 2)
        assert.strictEqual(remains(w).boxes.length, 2)
      }),
    { timeout: 120_000 }
  )

  it.live(
    "I-79 that are all held refuse the next up, name who holds them, and are free again afterwards",
    () =>
      Effect.gen(function* () {
        const w = yield* world
        const base = yield* vacant(60)
        const hook = gate(w, "hook")
        configure(w, { ...web(base), slots: { max: 3 } })
        placed(yield* w.run(up(w, "ready")))
        placed(yield* w.run(up(w, "halted")))
        assert.strictEqual((yield* w.sandbox("down", "halted")).code, 0)
        configure(w, { ...web(base), slots: { max: 3 }, hooks: { pre_spawn: hook.script } })
        const killed = yield* w.start(up(w, "killed"))
        yield* hook.waits
        killed.signal("SIGKILL")
        yield* killed.ended

        const before = dump(w.ledger)
        const refused = assertFailure(yield* w.run(up(w, "fourth")), "ERR_SLOTS_EXHAUSTED")
        assert.deepEqual(dump(w.ledger), before)
        const { holders, max } = details<Holders>(refused)
        assert.strictEqual(max, 3)
        assert.deepEqual(
          holders.map(({ name, slot, state }) => `${slot}: ${name} (${state})`),
          ["1: ready (ready)", "2: halted (stopped)", "3: killed (syncing)"]
        )
        for (const { name } of holders) assert.include(refused.cause, name)
        assert.match(refused.next_step, /^free one with `sandbox destroy sbx_\w+`/)

        hook.open()
        configure(w, { ...web(base), slots: { max: 3 } })
        assert.strictEqual((yield* w.sandbox("destroy", "halted", "--confirm-data-loss")).code, 0)
        assert.deepInclude(placed(yield* w.run(up(w, "fourth"))), { slot: 2, ports: { web: base + 2 } })
        assert.strictEqual((yield* w.sandbox("down", "killed")).code, 0)
        assert.deepInclude(placed(yield* w.run(up(w, "fifth"))), { slot: 3, ports: { web: base + 3 } })
      }),
    { timeout: 120_000 }
  )

  it.live(
    "I-79 go to as many of 8 processes as there are, and to each of these one",
    () =>
      Effect.gen(function* () {
        const w = yield* world
        const base = yield* vacant(20)
        configure(w, { services: [{ name: "web", command: "exec sleep 1000", port: base }], slots: { max: 3 } })
        yield* w.sandbox("list")
        const started = yield* Effect.forEach(Array.from({ length: 8 }), (_, n) => w.start(up(w, `s${n}`)))
        const outcomes = yield* Effect.all(started.map(({ ended }) => ended))
        const winners = outcomes.filter(({ code }) => code === 0)
        assert.deepEqual(winners.map((outcome) => placed(outcome).slot).toSorted(), [1, 2, 3])
        for (const outcome of outcomes.filter(({ code }) => code !== 0)) {
          const refused = assertFailure(outcome, "ERR_SLOTS_EXHAUSTED")
          assert.strictEqual(details<Holders>(refused).holders.length, 3)
        }
        assert.strictEqual(query(w.ledger, "SELECT id FROM sessions").length, 3)
        assert.strictEqual(remains(w).boxes.length, 3)
        assert.deepEqual(givenPorts(w), [base + 1, base + 2, base + 3])
      }),
    { timeout: 120_000 }
  )

  it.live(
    "stay with a halted session, whose ports others may have meanwhile",
    () =>
      Effect.gen(function* () {
        const w = yield* world
        const base = yield* vacant(40)
        configure(w, { ...web(base), slots: { max: 4 } })
        assert.deepInclude(placed(yield* w.run(up(w, "one"))), { slot: 1, ports: { web: base + 1 } })
        assert.strictEqual((yield* w.sandbox("down", "one")).code, 0)
        assert.deepEqual(givenPorts(w), [])
        assert.deepInclude(placed(yield* w.run(up(w, "two"))), { slot: 2 })
        const other = yield* stranger(base + 1)
        assert.deepInclude(placed(yield* w.run(["resume", "one", "--json"])), { slot: 1, ports: { web: base + 5 } })
        assert.strictEqual((yield* w.sandbox("down", "one")).code, 0)
        yield* other.end
        assert.deepInclude(placed(yield* w.run(["resume", "one", "--json"])), { slot: 1, ports: { web: base + 1 } })
      }),
    { timeout: 120_000 }
  )
})

describe("ports", () => {
  it.live(
    "I-87 move a round of slots further when somebody has them, and whoever has them is left alone",
    () =>
      Effect.gen(function* () {
        const w = yield* world
        const base = yield* vacant(60)
        configure(w, { ...web(base), slots: { max: 4 } })
        const strangers = [yield* stranger(base + 1), yield* stranger(base + 5)]
        assert.deepInclude(placed(yield* w.run(up(w, "one"))), { slot: 1, ports: { web: base + 9 } })
        assert.deepInclude(placed(yield* w.run(up(w, "two"))), { slot: 2, ports: { web: base + 2 } })
        const [row] = yield* portRows(w, "one")
        assert.deepInclude(row, {
          name: "web",
          service: "web",
          port: base + 9,
          url: `http://127.0.0.1:${base + 9}`,
          whose: "session",
          command: "node"
        })
        const body = yield* Effect.promise(async () => (await fetch(row?.url ?? "")).text())
        assert.strictEqual(body, "SANDBOX_WEB_PORT")
        assert.strictEqual((yield* w.sandbox("destroy", "one", "--force", "--confirm-data-loss")).code, 0)
        assert.isTrue(strangers.every(({ isAlive }) => isAlive()))
        assert.deepEqual(givenPorts(w), [base + 2])
      }),
    { timeout: 120_000 }
  )

  it.live(
    "I-87 that are strict or were asked for by number are not looked for; nothing is left of the up",
    () =>
      Effect.gen(function* () {
        const w = yield* world
        const base = yield* vacant(40)
        const other = yield* stranger(base + 1)
        configure(w, { ...web(base), slots: { strict: true } })
        const strict = assertFailure(yield* w.run(up(w, "one")), "ERR_PORT_IN_USE")
        assert.include(
          strict.cause,
          `port ${base + 1} of web is taken by pid ${other.pid} (node); the slots are strict`
        )
        assert.include(strict.next_step, "`--port web=<number>`")
        assert.deepInclude(details<Taken>(strict), { name: "web", ports: [base + 1] })
        configure(w, web(base))
        const fixed = assertFailure(yield* w.run(up(w, "one", "--port", `web=${base + 1}`)), "ERR_PORT_IN_USE")
        assert.include(fixed.cause, "it was asked for by number")
        assert.deepEqual(remains(w), nothing)
        assert.deepEqual([slots(w), givenPorts(w)], [[], []])
        assert.isTrue(other.isAlive())
        const free = placed(yield* w.run(up(w, "one", "--port", `web=${base + 30}`)))
        assert.deepInclude(free, { slot: 1, ports: { web: base + 30 } })
      }),
    { timeout: 120_000 }
  )

  for (const [how, health] of [
    ["ends because of it", "/"],
    ["would go on without it", undefined]
  ] as const) {
    it.live(
      `I-87 that somebody takes right before the service listens fail the up, when the service ${how}`,
      () =>
        Effect.gen(function* () {
          const w = yield* world
          const base = yield* vacant(20)
          const start = gate(w, "start")
          const last = how === "ends because of it" ? `exec node -e "$SERVER"` : "exec sleep 1000"
          configure(w, {
            services: [
              {
                name: "web",
                command: `${start.script}; ${last}`,
                env: { SERVER: serve(["web"])[2] },
                port: base,
                health
              }
            ]
          })
          const running = yield* w.start(up(w, "one"))
          yield* start.waits
          const other = yield* stranger(base + 1)
          start.open()
          const failed = assertFailure(yield* running.ended, "ERR_PORT_IN_USE")
          for (const part of [`port ${base + 1}`, "web", String(other.pid)]) assert.include(failed.cause, part)
          yield* eventually("no process is left", () => remains(w).processes.length === 0)
          assert.deepEqual(remains(w), nothing)
          assert.deepEqual([slots(w), givenPorts(w)], [[], []])
          assert.isTrue(other.isAlive())
        }),
      { timeout: 120_000 }
    )
  }

  it.live(
    "I-87 of 6 sessions with 5 each, brought up at the same time beside strangers, are 30, and each answers",
    () =>
      Effect.gen(function* () {
        const w = yield* world
        const [many, apart] = [6, 40]
        const base = yield* vacant(apart * 5)
        const extra = ["a", "b", "c", "d"]
        const names = ["web", ...extra.map((name) => `web-${name}`)]
        configure(w, {
          slots: { max: 8, search_range: 3 },
          services: [
            {
              name: "web",
              command: serve(names),
              port: base,
              extra_ports: extra.map((name, index) => ({ name, port: base + apart * (index + 1) })),
              health: "/"
            }
          ]
        })
        const taken = [base + 1, base + apart + 2, base + 2 * apart + 3, base + 2 * apart + 11]
        yield* Effect.forEach(taken, stranger)
        yield* w.sandbox("list")
        const started = yield* Effect.forEach(Array.from({ length: many }), (_, n) => w.start(up(w, `s${n}`)))
        const answers = (yield* Effect.all(started.map(({ ended }) => ended))).map(placed)
        assert.deepEqual(answers.map(({ slot }) => slot).toSorted(), [1, 2, 3, 4, 5, 6])
        const numbers = answers.flatMap(({ ports }) => Object.values(ports))
        assert.strictEqual(new Set(numbers).size, many * names.length)
        assert.deepEqual(
          numbers.filter((number) => taken.includes(number)),
          []
        )
        assert.deepEqual(
          givenPorts(w),
          numbers.toSorted((a, b) => a - b)
        )
        for (const { ports } of answers) {
          for (const [name, port] of Object.entries(ports)) {
            const text = yield* Effect.promise(async () => (await fetch(`http://127.0.0.1:${port}`)).text())
            assert.strictEqual(text, `SANDBOX_${name.toUpperCase().replaceAll("-", "_")}_PORT`)
          }
        }
      }),
    { timeout: 180_000 }
  )

  it.live(
    "are shown with who listens, be it the session, a stranger or nobody",
    () =>
      Effect.gen(function* () {
        const w = yield* world
        const base = yield* vacant(110)
        configure(w, {
          services: [
            { name: "web", command: serve(["web"]), port: base, health: "/" },
            { name: "idle", command: "exec sleep 1000", port: base + 100 }
          ]
        })
        const answer = placed(yield* w.run(up(w, "one")))
        assert.deepEqual(answer.ports, { web: base + 1, idle: base + 101 })
        assert.deepEqual(
          (yield* portRows(w, "one")).map(({ name, whose }) => [name, whose]),
          [
            ["web", "session"],
            ["idle", null]
          ]
        )
        const other = yield* stranger(base + 101)
        const [, idle] = yield* portRows(w, "one")
        assert.deepInclude(idle, { whose: "other", pid: other.pid, command: "node" })
        const shown = yield* w.run(["ports"], { cwd: w.repository })
        assert.match(shown.stdout, /^NAME +PORT +URL +LISTENS\nweb +\d+ +http:\/\/127\.0\.0\.1:\d+ +pid \d+ \(node\)\n/)
        assert.include(shown.stdout, `pid ${other.pid} (node), not of this session`)
        assert.strictEqual((yield* w.sandbox("down", "one")).code, 0)
        assert.isTrue(other.isAlive())
        const halted = yield* w.sandbox("ports", "one")
        assert.deepEqual([halted.code, halted.stdout], [0, ""])
        assert.strictEqual(halted.stderr, "warning: one is stopped: it has ports while it is up\n")
        assertFailure(yield* w.sandbox("ports", "nobody", "--json"), "ERR_SESSION_NOT_FOUND")
      }),
    { timeout: 120_000 }
  )
})

const many = times(30, 12)

layer(Connected.layer, { excludeTestServices: true, timeout: "60 seconds" })(
  `${many} sessions of one process`,
  (it) => {
    it.effect(
      `I-87 brought up at the same time with 20 ports each have ${20 * many} of their own`,
      () =>
        Effect.gen(function* () {
          const { client, w } = yield* Connected
          const each = 20
          const base = yield* vacant(many * each * 3)
          const ports = Array.from({ length: each }, (_, index) => ({ name: `p${index}`, base: base + index }))
          const setup = {
            services: [{ name: "all", command: "exec sleep 1000", ports }],
            slots: { max: many, stride: each, searchRange: 1 }
          }
          const taken = [base + each, base + 2 * each + 1, base + 3 * each + 2]
          yield* Effect.forEach(taken, stranger)
          const sessions = yield* Effect.promise(() =>
            Promise.all(
              Array.from({ length: many }, (_, n) =>
                client.up({ repository: w.repository, branch: "main", name: `s${n}`, provider: "local", setup })
              )
            )
          )
          assert.deepEqual(
            sessions.map(({ slot }) => slot ?? 0).toSorted((a, b) => a - b),
            Array.from({ length: many }, (_, index) => index + 1)
          )
          const numbers = sessions.flatMap((session) => Object.values(session.ports)).toSorted((a, b) => a - b)
          assert.strictEqual(new Set(numbers).size, many * each)
          assert.deepEqual(givenPorts(w), numbers)
          assert.deepEqual(
            numbers.filter((number) => taken.includes(number)),
            []
          )
          const round = many * each
          assert.includeMembers(
            numbers,
            taken.map((number) => number + round)
          )
        }),
      { timeout: 180_000 }
    )
  }
)
