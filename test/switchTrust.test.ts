/** What came with a repository, and was accepted for boxes that isolate, does not get to run on this host by a switch. */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { assert, describe, it, layer } from "@effect/vitest"
import type { Options } from "@org/sandbox-core"
import { createClient } from "@org/sandbox-core/promise"
import { Effect } from "effect"
import { describeDocker } from "./docker.ts"
import { done } from "./support/boxed.ts"
import { Connected } from "./support/client.ts"
import { assertFailure } from "./support/contract.ts"
import { images } from "./support/docker.ts"
import { dockerWorld } from "./support/dockerWorld.ts"
import { dump, eventually, providerModule, query, remains, type World, world } from "./support/sandbox.ts"

/** The user's own configuration: providers `box` and `other` that isolate as far as anybody is told. */
const configure = (w: World, more: object = {}): void => {
  mkdirSync(join(w.directory, "home/.config/sandbox"), { recursive: true })
  const box = { use: providerModule("boxProvider"), options: { isolating: true } }
  writeFileSync(
    join(w.directory, "home/.config/sandbox/config.yaml"),
    JSON.stringify({ providers: { box, other: box }, ...more })
  )
}

/** A hook that writes down where it runs. */
const noting = (ran: string) => `echo "$SANDBOX_PROVIDER" >> ${ran}`

const linesOf = (file: string): ReadonlyArray<string> =>
  existsSync(file) ? readFileSync(file, "utf8").split("\n").slice(0, -1) : []

/** Of a session that has come to an end there. */
const arrived = JSON.stringify({ state: "ready", provider: "local", claim_kind: null })

/** Whether the session's record says that its setup was accepted. */
const isAccepted = (w: World, name: string): boolean => {
  const [row] = query<{ readonly setup: string }>(w.ledger, "SELECT setup FROM sessions WHERE name = ?", name)
  return JSON.parse(row!.setup).accepted
}

/** The ledger, and what there is outside it; which processes its supervisors have at the moment says nothing. */
const everything = (w: World) => ({ ledger: dump(w.ledger), ...remains(w), processes: undefined })

/** Refused with these parts named, whichever way it is asked, and nothing is any different for it. */
const refused = Effect.fnUntraced(function* (w: World, name: string, runs: ReadonlyArray<string>) {
  const before = everything(w)
  for (const more of [[], ["--dry-run"], ["--detach"], ["--confirm-data-loss"]]) {
    const outcome = yield* w.sandbox("switch", name, "--to", "local", ...more, "--json")
    const failure = assertFailure(outcome, "ERR_CONFIG_UNTRUSTED")
    assert.deepEqual<unknown>(failure.details, { provider: "local", runs })
    assert.include(failure.next_step, `sandbox switch ${failure.session_id} --to local --trust-config`)
    assert.deepEqual(everything(w), before, more.join(" "))
  }
})

/** A session in a box that isolates, of a setup that whoever asks for it has not written. */
const up = Effect.fnUntraced(function* (name: string, setup: (ran: string) => Options.SetupOptions) {
  const { w } = yield* Connected
  configure(w)
  const ran = join(w.directory, `${name}-ran`)
  const client = yield* Effect.acquireRelease(
    Effect.sync(() =>
      createClient({
        providers: { box: { use: () => import("./support/boxProvider.ts"), options: { isolating: true } } }
      })
    ),
    (client) => Effect.promise(client.close)
  )
  const request = { repository: w.repository, base: "main", branch: name, name, provider: "box", setup: setup(ran) }
  yield* Effect.promise(() => client.up(request))
  return { ran, w }
})

layer(Connected.layer, { excludeTestServices: true })("a setup that nobody has accepted for this host", (it) => {
  it.effect(
    "is refused there before anything is done, and goes where that is accepted, once and for all",
    () =>
      Effect.gen(function* () {
        const { ran, w } = yield* up("once", (ran) => ({
          accepted: false,
          env: { MODE: "theirs" },
          hooks: { postUp: noting(ran) },
          services: [{ name: "web", command: "exec sleep 1000", health: { kind: "command", command: "true" } }]
        }))
        assert.deepEqual(linesOf(ran), ["box"])
        const runs = ["hooks.post_up", "services.web.command", "services.web.health.command", "env.MODE"]
        yield* refused(w, "once", runs)
        assert.deepEqual(linesOf(ran), ["box"])
        assert.isFalse(isAccepted(w, "once"))

        const before = dump(w.ledger)
        const plan = yield* done(w, "switch", "once", "--to", "local", "--dry-run", "--trust-config")
        assert.deepInclude(plan, { from: "box", to: "local" })
        assert.deepEqual(dump(w.ledger), before, "a plan accepts nothing")
        assert.deepInclude(yield* done(w, "switch", "once", "--to", "local", "--trust-config"), { provider: "local" })
        assert.deepEqual(linesOf(ran), ["box", "local"])
        assert.isTrue(isAccepted(w, "once"))
        // there is no more to be said, on the way back or again
        yield* done(w, "switch", "once", "--to", "box")
        yield* done(w, "switch", "once", "--to", "local")
        assert.deepEqual(linesOf(ran), ["box", "local", "box", "local"])
      }),
    120_000
  )

  it.effect(
    "is taken along by --detach",
    () =>
      Effect.gen(function* () {
        const { ran, w } = yield* up("far", (ran) => ({ accepted: false, hooks: { postUp: noting(ran) } }))
        yield* done(w, "switch", "far", "--to", "local", "--trust-config", "--detach")
        const state = () =>
          query<object>(w.ledger, "SELECT state, provider, claim_kind FROM sessions WHERE name = 'far'")[0]
        yield* eventually("it is over", () => JSON.stringify(state()) === arrived, 90)
        assert.deepEqual(linesOf(ran), ["box", "local"])
        assert.isTrue(isAccepted(w, "far"))
      }),
    120_000
  )

  for (const [name, ...way] of [
    ["resumed", "resume", "resumed"],
    ["switched", "switch", "switched", "--to", "local"]
  ] as const) {
    it.effect(
      `is gone on with by ${way[0]} once the switch that accepted it has named the new provider`,
      () =>
        Effect.gen(function* () {
          const gate = (ran: string) => `${ran}-open`
          const waits = (ran: string) =>
            `${noting(ran)}; while [ "$SANDBOX_PROVIDER" = local ] && [ ! -e ${gate(ran)} ]; do sleep 0.05; done`
          const { ran, w } = yield* up(name, (ran) => ({ accepted: false, hooks: { postUp: waits(ran) } }))
          const running = yield* w.start(["switch", name, "--to", "local", "--trust-config", "--json"])
          yield* eventually("the hook waits", () => linesOf(ran).includes("local"), 90)
          running.signal("SIGKILL")
          yield* running.ended
          writeFileSync(gate(ran), "")
          assert.isTrue(isAccepted(w, name))
          assert.deepInclude(yield* done(w, ...way), { state: "ready", provider: "local" })
          assert.deepEqual(linesOf(ran), ["box", "local", "local"])
        }),
      120_000
    )
  }

  it.effect(
    "is not accepted by a switch that died before it had named the new provider, and goes back freely",
    () =>
      Effect.gen(function* () {
        const { ran, w } = yield* up("back", (ran) => ({
          accepted: false,
          hooks: { postUp: noting(ran), preDown: `: > ${ran}-waits; while [ ! -e ${ran}-open ]; do sleep 0.05; done` }
        }))
        const running = yield* w.start(["switch", "back", "--to", "local", "--trust-config", "--json"])
        yield* eventually("the hook waits", () => existsSync(`${ran}-waits`), 90)
        running.signal("SIGKILL")
        yield* running.ended
        writeFileSync(`${ran}-open`, "")
        yield* refused(w, "back", ["hooks.post_up", "hooks.pre_down"])
        assert.deepInclude(yield* done(w, "resume", "back"), { state: "ready", provider: "box" })
        assert.notInclude(linesOf(ran), "local")
        assert.isFalse(isAccepted(w, "back"))
        yield* refused(w, "back", ["hooks.post_up", "hooks.pre_down"])
      }),
    120_000
  )

  it.effect(
    "is no matter where it runs nothing, or in a box that isolates, or where a caller says nothing of it",
    () =>
      Effect.gen(function* () {
        const { w } = yield* up("nothing", () => ({ accepted: false, keeping: { autoTeardown: false } }))
        assert.isFalse(isAccepted(w, "nothing"))
        assert.deepInclude(yield* done(w, "switch", "nothing", "--to", "local"), { provider: "local" })
        const theirs = yield* up("theirs", (ran) => ({ accepted: false, hooks: { postUp: noting(ran) } }))
        assert.deepInclude(yield* done(w, "switch", "theirs", "--to", "other"), { provider: "other" })
        assert.deepEqual(linesOf(theirs.ran), ["box", "other"])
        assert.isFalse(isAccepted(w, "theirs"))
        const own = yield* up("own", (ran) => ({ env: { MODE: "mine" }, hooks: { postUp: noting(ran) } }))
        assert.deepInclude(yield* done(w, "switch", "own", "--to", "local"), { provider: "local" })
        assert.deepEqual(linesOf(own.ran), ["box", "local"])
      }),
    120_000
  )
})

/** Of the repository, as it would be cloned. */
const project = (w: World, text: object): void =>
  writeFileSync(join(w.repository, "sandbox.yaml"), JSON.stringify(text))

describe.concurrent("a session's setup", () => {
  it.live("of the user's own configuration goes to any provider, whatever harmless file the repository has", () =>
    Effect.gen(function* () {
      const w = yield* world
      const ran = join(w.directory, "ran")
      configure(w, { hooks: { post_up: noting(ran) }, env: { MODE: "mine" } })
      project(w, { slots: { max: 3 } })
      yield* done(w, "up", w.repository, "-b", "feature", "-n", "app", "-p", "box")
      assert.isTrue(isAccepted(w, "app"))
      assert.deepInclude(yield* done(w, "switch", "app", "--to", "local"), { provider: "local" })
      assert.deepEqual(linesOf(ran), ["box", "local"])
    })
  )

  for (const { flags, isTrusted, title } of [
    { title: "sandbox trust", isTrusted: true, flags: () => [] },
    { title: "up --trust-config", isTrusted: false, flags: () => ["--trust-config"] },
    { title: "--config", isTrusted: false, flags: (file: string) => ["--config", file] }
  ]) {
    it.live(`of a file that was accepted by ${title} goes to any provider`, () =>
      Effect.gen(function* () {
        const w = yield* world
        const ran = join(w.directory, "ran")
        configure(w)
        project(w, { hooks: { post_up: noting(ran) } })
        if (isTrusted) yield* done(w, "trust", w.repository)
        const more = flags(join(w.repository, "sandbox.yaml"))
        yield* done(w, "up", w.repository, "-b", "feature", "-n", "app", "-p", "box", ...more)
        assert.isTrue(isAccepted(w, "app"))
        assert.deepInclude(yield* done(w, "switch", "app", "--to", "local"), { provider: "local" })
        assert.deepEqual(linesOf(ran), ["box", "local"])
      })
    )
  }
})

describeDocker("a repository's own file", () => {
  it.live(
    "runs in a container without acceptance, and on this host after a switch only with it",
    () =>
      Effect.gen(function* () {
        const w = yield* dockerWorld({ image: images.git })
        const ran = join(w.directory, "ran")
        const post_up = `[ "$SANDBOX_PROVIDER" = docker ] || ${noting(ran)}`
        project(w, { hooks: { post_up }, env: { MODE: "theirs" } })
        const make = (name: string) => done(w, "up", w.repository, "-b", name, "--base", "main", "-n", name)
        assert.deepInclude(yield* make("theirs"), { provider: "docker", state: "ready" })
        assert.isFalse(isAccepted(w, "theirs"))
        yield* refused(w, "theirs", ["hooks.post_up", "env.MODE"])
        assert.isFalse(existsSync(ran))

        yield* done(w, "trust", w.repository)
        yield* make("trusted")
        assert.isTrue(isAccepted(w, "trusted"))
        assert.deepInclude(yield* done(w, "switch", "trusted", "--to", "local"), { provider: "local" })
        assert.deepEqual(linesOf(ran), ["local"])

        // what was accepted is a file as it is now, and not what a session was made of before
        yield* refused(w, "theirs", ["hooks.post_up", "env.MODE"])
        assert.deepInclude(yield* done(w, "switch", "theirs", "--to", "local", "--trust-config"), { provider: "local" })
        assert.deepEqual(linesOf(ran), ["local", "local"])
      }),
    240_000
  )
})
