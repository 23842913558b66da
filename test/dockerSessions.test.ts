/** Sessions in containers, through the command line and on a real engine: their whole life. */
import { readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { assert, it } from "@effect/vitest"
import { Effect } from "effect"
import { describeDocker } from "./docker.ts"
import { images, inspect, kill, nothing, request } from "./support/docker.ts"
import { change, dockerWorld, held, onEngine } from "./support/dockerWorld.ts"
import { eventually, type World } from "./support/sandbox.ts"
import { terminal } from "./support/terminal.ts"
import { work } from "./support/work.ts"

const json = Effect.fnUntraced(function* (w: World, ...args: ReadonlyArray<string>) {
  const answer = (yield* w.sandbox(...args, "--json")).json()
  assert.isTrue(answer.ok, `${args.join(" ")}: ${JSON.stringify(answer)}`)
  return answer
})

const serving = (w: World): void =>
  writeFileSync(
    join(w.repository, "sandbox.yaml"),
    `services:
  - name: web
    command: "echo started; mkdir -p /tmp/web; echo up > /tmp/web/index.html; exec httpd -f -v -p $PORT -h /tmp/web"
    port: 3000
    port_env: PORT
    health: /
`
  )

describeDocker("sessions on an engine", () => {
  it.live(
    "have a life of their own: up, exec, checkpoint, down, resume, destroy",
    () =>
      Effect.gen(function* () {
        const w = yield* dockerWorld()
        const up = yield* json(w, "up", w.repository, "-b", "feature", "-n", "app")
        assert.deepInclude(up, { state: "ready", provider: "docker", work_branch: "feature" })
        const failing = yield* w.sandbox("exec", "app", "--", "sh", "-c", "cat README.md; id -u; exit 7")
        assert.deepInclude(failing, { code: 7, stdout: "# app\n1000\n" })
        yield* change(w, "app", work)
        const before = yield* held(w, "app")
        assert.notStrictEqual(before.status, "")
        const { checkpoint } = yield* json(w, "checkpoint", "create", "app")
        assert.strictEqual(checkpoint!.head, before.head)
        yield* json(w, "down", "app")
        const [volume] = (yield* onEngine(w)).volumes
        assert.isFalse((yield* inspect("containers", volume!)).State.Running)
        assert.deepEqual(yield* held(w, "app"), before, "a halted box can be read")
        yield* json(w, "resume", "app")
        assert.deepEqual(yield* held(w, "app"), before)
        yield* json(w, "destroy", "app", "--force")
        assert.deepEqual(yield* onEngine(w), nothing)
        yield* json(w, "up", "--from-checkpoint", checkpoint!.id, "-p", "docker", "-n", "again")
        assert.deepEqual(yield* held(w, "again"), before)
      }).pipe(Effect.scoped),
    180_000
  )

  it.live(
    "serve on a port of this host alone, and say what they write",
    () =>
      Effect.gen(function* () {
        const w = yield* dockerWorld()
        serving(w)
        const up = yield* json(w, "up", w.repository, "-b", "feature", "-n", "app")
        assert.match(up.endpoint_url!, /^http:\/\/127\.0\.0\.1:\d+$/)
        const page = () => Effect.promise(async () => (await fetch(up.endpoint_url!)).text())
        assert.strictEqual(yield* page(), "up\n")
        assert.strictEqual((yield* w.sandbox("open", "app", "--print")).stdout, `${up.endpoint_url}\n`)
        const following = yield* w.start(["logs", "app", "--follow"])
        let shown = ""
        following.stdout.on("data", (text: string) => (shown += text))
        yield* eventually("the log begins", () => shown.includes("started"))
        yield* page()
        yield* eventually("the log goes on", () => shown.includes("GET") || shown.includes("response:200"))
        yield* json(w, "down", "app")
        const resumed = yield* json(w, "resume", "app")
        const again = yield* Effect.promise(async () => (await fetch(resumed.endpoint_url!)).text())
        assert.strictEqual(again, "up\n")
      }).pipe(Effect.scoped),
    120_000
  )

  it.live(
    "have a terminal",
    () =>
      Effect.gen(function* () {
        const w = yield* dockerWorld()
        yield* json(w, "up", w.repository, "-b", "feature", "-n", "app")
        const t = yield* terminal(w, "shell", "app")
        // busybox asks for the cursor's place behind its prompt
        yield* t.saw("$ ")
        t.type("stty size; pwd; echo $((6 * 7))\r")
        yield* t.saw("24 80")
        yield* t.saw("/sandbox/work")
        yield* t.saw("42")
        t.resize(100, 30)
        t.type("stty size\r")
        yield* t.saw("30 100")
        t.type("exit 9\r")
        assert.strictEqual(yield* t.ended, 9)
      }).pipe(Effect.scoped),
    120_000
  )

  it.live(
    "come up eight at a time, each with its own checkout",
    () =>
      Effect.gen(function* () {
        const w = yield* dockerWorld()
        const names = Array.from({ length: 8 }, (_, n) => `s${n}`)
        yield* Effect.forEach(names, (name) => json(w, "up", w.repository, "-b", "main", "-n", name), {
          concurrency: "unbounded"
        })
        const seen = yield* onEngine(w)
        assert.deepEqual([seen.containers.length, seen.volumes.length, seen.networks.length], [8, 8, 8])
        yield* Effect.forEach(names, (name) => w.sandbox("exec", name, "--", "sh", "-c", `echo ${name} > own`), {
          concurrency: 4
        })
        for (const name of names) {
          assert.strictEqual((yield* w.sandbox("exec", name, "--", "cat", "own")).stdout, `${name}\n`)
        }
        yield* json(w, "destroy", ...["s0", "--force", "--confirm-data-loss"])
        const all = names.slice(1)
        yield* Effect.forEach(all, (name) => json(w, "destroy", name, "--force", "--confirm-data-loss"), {
          concurrency: "unbounded"
        })
        assert.deepEqual(yield* onEngine(w), nothing)
      }).pipe(Effect.scoped),
    240_000
  )

  it.live(
    "lose no file when somebody removes or kills their container",
    () =>
      Effect.gen(function* () {
        const w = yield* dockerWorld()
        yield* json(w, "up", w.repository, "-b", "feature", "-n", "app")
        yield* w.sandbox("exec", "app", "--", "sh", "-c", "echo unsaved > unsaved")
        const [name] = (yield* onEngine(w)).containers
        for (const end of [kill(name!), Effect.orDie(request("DELETE", `/containers/${name}?force=true`))]) {
          yield* end
          const status = (yield* w.sandbox("status", "app", "--live", "--json")).json()
          assert.notStrictEqual(status.healthy, true, JSON.stringify(status))
          const way = `sandbox resume ${status.session_id}`
          assert.strictEqual(status.recovery?.command, way)
          const refused = (yield* w.sandbox("exec", "app", "--json", "--", "true")).json()
          assert.deepInclude(refused, { error_code: "ERR_NOT_READY", next_step: `run \`${way}\`` })
          yield* json(w, ...way.split(" ").slice(1))
          assert.strictEqual((yield* w.sandbox("exec", "app", "--", "cat", "unsaved")).stdout, "unsaved\n")
        }
      }).pipe(Effect.scoped),
    120_000
  )

  it.live(
    "leave no network when somebody removed their container and volume, whether destroyed or brought up again",
    () =>
      Effect.gen(function* () {
        const w = yield* dockerWorld()
        const lose = Effect.gen(function* () {
          const { containers, volumes } = yield* onEngine(w)
          for (const name of containers) yield* request("DELETE", `/containers/${name}?force=true`)
          for (const name of volumes) yield* request("DELETE", `/volumes/${name}`)
          assert.lengthOf((yield* onEngine(w)).networks, 1)
        })
        yield* json(w, "up", w.repository, "-b", "feature", "-n", "app")
        yield* lose
        yield* json(w, "destroy", "app", "--force")
        assert.deepEqual(yield* onEngine(w), nothing)

        yield* json(w, "up", w.repository, "-b", "feature", "-n", "app")
        yield* lose
        // says first that what was only in the box is lost
        const lost = (yield* w.sandbox("resume", "app", "--json")).json()
        assert.isFalse(lost.ok)
        yield* json(w, ...(/`sandbox (.+?)`/.exec(lost.next_step)?.[1] ?? "").split(" "))
        yield* json(w, "gc")
        assert.lengthOf((yield* onEngine(w)).networks, 1)
        assert.strictEqual((yield* w.sandbox("exec", "app", "--", "cat", "README.md")).stdout, "# app\n")
        yield* json(w, "destroy", "app", "--force")
        assert.deepEqual(yield* onEngine(w), nothing)
      }).pipe(Effect.scoped),
    240_000
  )

  it.live(
    "I-80 of an engine that does not answer are left as they are, and down says that it has failed",
    () =>
      Effect.gen(function* () {
        const w = yield* dockerWorld()
        yield* json(w, "up", w.repository, "-b", "feature", "-n", "app")
        const away = { env: { DOCKER_HOST: `unix://${w.directory}/nobody.sock` } }
        const down = yield* w.run(["down", "app", "--json"], away)
        assert.deepInclude(down.json(), { error_code: "ERR_STOP_FAILED", retryable: true })
        assert.strictEqual(down.code, 2)
        const destroyed = yield* w.run(["destroy", "app", "--force", "--json"], away)
        assert.strictEqual(destroyed.code, 2, destroyed.stdout)
        assert.lengthOf((yield* onEngine(w)).containers, 1)
        yield* json(w, "down", "app")
        yield* json(w, "destroy", "app", "--force")
        assert.deepEqual(yield* onEngine(w), nothing)
      }).pipe(Effect.scoped),
    240_000
  )

  it.live(
    "I-96 keep a secret out of everything that the engine tells of them",
    () =>
      Effect.gen(function* () {
        const w = yield* dockerWorld()
        const canary = "canary-4f1c9e"
        writeFileSync(join(w.directory, "secret"), canary)
        const file = `file:${join(w.directory, "secret")}`
        const args = ["up", w.repository, "-b", "feature", "-n", "app", "--secret", `TOKEN=${file}`, "--json"]
        const up = yield* w.sandbox(...args)
        assert.isTrue(up.json().ok, up.stdout)
        const own = yield* w.sandbox("exec", "app", "--", "sh", "-c", "printf %s $TOKEN")
        assert.strictEqual(own.stdout, canary)
        const [name] = (yield* onEngine(w)).containers
        const told = JSON.stringify(yield* inspect("containers", name!)) + up.stdout + up.stderr
        assert.notInclude(told, canary)
        assert.notInclude(readFileSync(w.ledger).toString("latin1"), canary)
      }).pipe(Effect.scoped),
    120_000
  )

  it.live(
    "are refused where the image is not there, and leave nothing",
    () =>
      Effect.gen(function* () {
        const w = yield* dockerWorld()
        const args = ["up", w.repository, "-b", "feature", "-n", "app", "--image", "sandbox-test/none:1", "--json"]
        const answer = (yield* w.sandbox(...args)).json()
        assert.deepInclude(answer, { ok: false, error_code: "ERR_PREFLIGHT_REFUSED" })
        assert.include(answer.cause, "sandbox-test/none:1")
        const shellless = (yield* w.sandbox(...args.with(7, images.noshell))).json()
        assert.deepInclude(shellless, { ok: false, error_code: "ERR_SANDBOX_PROVISION_FAILED" })
        assert.include(shellless.cause, "sh")
        assert.deepEqual(yield* onEngine(w), nothing)
      }).pipe(Effect.scoped),
    60_000
  )
})
