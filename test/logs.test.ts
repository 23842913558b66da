/** What services and detached commands wrote, read through the command line. */
import { execFileSync } from "node:child_process"
import { existsSync, readFileSync, statSync, writeFileSync } from "node:fs"
import { dirname, join } from "node:path"
import { assert, layer } from "@effect/vitest"
import type { ServiceOptions, UpResult } from "@org/sandbox-core/promise"
import { Effect } from "effect"
import { Connected } from "./support/client.ts"
import { assertFailure } from "./support/contract.ts"
import { eventually, processesWith, type Running } from "./support/sandbox.ts"

const up = Effect.fnUntraced(function* (name: string, services: ReadonlyArray<ServiceOptions>) {
  const { client, w } = yield* Connected
  return yield* Effect.promise(() =>
    client.up({ repository: w.repository, branch: name, base: "main", name, provider: "local", setup: { services } })
  )
})

/** A command that writes what it is given and then runs on; `more` is what it does before that. */
const writing = (name: string, text: string, more = ""): ServiceOptions => ({
  name,
  command: ["sh", "-c", `cat "$1"; ${more} exec sleep 1000`, "sh", text]
})

const file = (of: UpResult, ...path: ReadonlyArray<string>) => join(dirname(of.worktreePath!), "run", ...path)

const lines = (text: string): ReadonlyArray<string> => text.split("\n").slice(0, -1)

const objects = (text: string) =>
  lines(text).map((line) => JSON.parse(line) as { seq: number; service: string; line: string; line_base64?: string })

/** What a process wrote to stdout so far. */
const follow = (running: Running) => {
  let text = ""
  running.stdout.on("data", (more: string) => (text += more))
  return () => text
}

/** Readers that run in a box, of whoever still wants to follow. */
const readers = (session: UpResult): number =>
  execFileSync("ps", ["axww", "-o", "args="], { encoding: "utf8", maxBuffer: 2 ** 28 })
    .split("\n")
    .filter((line) => line.includes("sandbox follow") && line.includes(`${session.name}-marked`)).length

layer(Connected.layer, { excludeTestServices: true })("logs", (it) => {
  it.effect("shows one service byte for byte, and all of them by lines with a prefix", () =>
    Effect.gen(function* () {
      const { w } = yield* Connected
      const odd = Buffer.concat([Buffer.from("text\r\n\n"), Buffer.from([0xff, 0x00, 0x0a]), Buffer.from("no end")])
      writeFileSync(join(w.directory, "odd"), odd)
      writeFileSync(join(w.directory, "plain"), "one\ntwo\nthree\n")
      const session = yield* up("bytes", [
        writing("odd", join(w.directory, "odd")),
        writing("plain-one", join(w.directory, "plain"))
      ])
      const raw = yield* w.start(["logs", "bytes", "--service", "odd"], {
        through: (command) => ["sh", "-c", `"$@" > ${w.directory}/raw`, "sh", ...command]
      })
      assert.strictEqual((yield* raw.ended).code, 0)
      assert.isTrue(readFileSync(join(w.directory, "raw")).equals(odd))

      const all = yield* w.run(["logs"], { cwd: session.worktreePath! })
      assert.strictEqual(all.code, 0, all.stderr)
      const shown = lines(all.stdout)
      assert.deepEqual(
        shown.filter((line) => line.startsWith("plain-one | ")),
        ["plain-one | one", "plain-one | two", "plain-one | three"]
      )
      assert.deepEqual(
        shown.filter((line) => line.startsWith("odd       | ")).map((line) => line.slice(12)),
        ["text\r", "", "\ufffd\0", "no end"]
      )
      assert.strictEqual(shown.length, 7)

      const json = objects((yield* w.sandbox("logs", "bytes", "--json")).stdout)
      assert.deepEqual(
        json.map(({ seq }) => seq),
        [0, 1, 2, 3, 4, 5, 6]
      )
      const binary = json.find(({ line_base64 }) => line_base64 !== undefined)
      assert.deepEqual(Buffer.from(binary!.line_base64!, "base64"), Buffer.from([0xff, 0x00]))
      assert.strictEqual(json.findLast(({ service }) => service === "odd")?.line, "no end")

      const tail = yield* w.sandbox("logs", "bytes", "--tail", "2", "--json")
      assert.sameMembers(
        objects(tail.stdout).map(({ line, service }) => `${service} ${line}`),
        ["odd \ufffd\0", "odd no end", "plain-one two", "plain-one three"]
      )
      assert.strictEqual((yield* w.sandbox("logs", "bytes", "--tail", "0")).stdout, "")
    })
  )

  it.effect("shows what was written within a time", () =>
    Effect.gen(function* () {
      const { w } = yield* Connected
      const gate = join(w.directory, "gate")
      writeFileSync(join(w.directory, "old"), "old one\nold two\n")
      const session = yield* up("since", [
        writing(
          "timed",
          join(w.directory, "old"),
          `while [ ! -e ${gate} ]; do sleep 0.1; done; echo new one; echo new two;`
        )
      ])
      const index = file(session, "services", "timed", "index")
      let written = 0
      const entries = () => lines(readFileSync(index, "utf8")).map((line) => line.split(" ").map(Number))
      yield* eventually("what is old is in the index for a while", () => {
        const [at = 0] = entries().find(([, size]) => size === 16) ?? []
        written = at
        return at > 0 && Date.now() / 1000 - at > 12
      })
      writeFileSync(gate, "")
      yield* eventually("the new lines are there", () => statSync(file(session, "services", "timed", "log")).size > 20)
      // a second after what is old, however long the command takes to start and look
      const since = `${Math.floor(Date.now() / 1000 - written) - 1}s`
      const recent = yield* w.sandbox("logs", "since", "--since", since, "--service", "timed")
      assert.strictEqual(recent.stdout, "new one\nnew two\n")
      assert.strictEqual((yield* w.sandbox("logs", "since", "--since", "1h", "-s", "timed")).stdout.length, 32)
    })
  )

  it.effect("follows through a rotation, and no line is lost or shown twice", () =>
    Effect.gen(function* () {
      const { w } = yield* Connected
      const gate = join(w.directory, "rotated")
      const end = join(w.directory, "end")
      // more than the limit at which a log is rotated, and more again after that
      const awk = `awk -v from="$0" 'BEGIN { for (i = from; i < from + 250000; i++) printf "%07d %032d\\n", i, 0 }'`
      const half = (from: number) => `sh -c '${awk.replaceAll("'", `'\\''`)}' ${from}`
      const script = `${half(0)}; until [ -e ${gate} ]; do sleep 0.1; done; ${half(250_000)}; until [ -e ${end} ]; do sleep 0.1; done`
      const session = yield* up("rotation", [{ name: "much", command: ["sh", "-c", script] }])
      const log = file(session, "services", "much", "log")
      yield* eventually("half of it is written", () => statSync(log).size === 250_000 * 41)
      const out = join(w.directory, "followed")
      const following = yield* w.start(["logs", "rotation", "--follow", "--service", "much"], {
        through: (command) => ["sh", "-c", `"$@" > ${out}`, "sh", ...command]
      })
      // the follower itself rotates when it looks first; whoever comes later finds nothing to do
      yield* eventually("the first half is followed", () => existsSync(out) && statSync(out).size === 250_000 * 41)
      writeFileSync(gate, "")
      yield* eventually("the second half is written", () => statSync(log).size === 250_000 * 41)
      assert.strictEqual((yield* w.sandbox("logs", "rotation", "--tail", "1")).code, 0)
      assert.strictEqual(statSync(log).size, 0)
      yield* eventually("all of it is followed", () => statSync(out).size >= 500_000 * 41)
      writeFileSync(end, "")
      assert.strictEqual((yield* following.ended).code, 0)
      const numbers = lines(readFileSync(out, "utf8")).map((line) => Number(line.slice(0, 7)))
      assert.strictEqual(numbers.length, 500_000)
      assert.isTrue(numbers.every((number, at) => number === at))
    })
  )

  it.effect("follows until it is told to stop, until nobody reads, or until the session is halted", () =>
    Effect.gen(function* () {
      const { client, w } = yield* Connected
      const command = "i=0; while :; do i=$((i+1)); echo tick $i; sleep 0.1; done"
      const session = yield* up("ticking", [{ name: "ticking-marked", command }])
      const started = Effect.gen(function* () {
        const running = yield* w.start(["logs", "ticking", "-f", "--tail", "1"])
        const text = follow(running)
        yield* eventually("it follows", () => lines(text()).length > 2)
        return { running, text }
      })
      const interrupted = yield* started
      assert.isAbove(readers(session), 0)
      interrupted.running.signal("SIGINT")
      const outcome = yield* interrupted.running.ended
      assert.deepEqual({ code: outcome.code, stderr: outcome.stderr }, { code: 130, stderr: "" })
      const ticks = lines(interrupted.text()).map((line) => Number(line.slice("ticking-marked | tick ".length)))
      assert.deepEqual(
        ticks,
        ticks.map((_, at) => ticks[0]! + at)
      )
      const late = yield* w.sandbox("logs", "ticking", "-f", "--timeout", "1s")
      assert.strictEqual(late.code, 2)
      assert.match(late.stderr, /^error: not finished within 1s\n/)
      const killed = yield* started
      killed.running.signal("SIGKILL")
      yield* eventually("nobody reads for somebody who is gone", () => readers(session) === 0)

      const halted = yield* started
      yield* Effect.promise(() => client.down({ session: "ticking" }))
      const quiet = yield* halted.running.ended
      assert.deepEqual({ code: quiet.code, stderr: quiet.stderr }, { code: 0, stderr: "" })
      assertFailure(yield* w.sandbox("logs", "ticking", "--json"), "ERR_NOT_READY")
    })
  )

  it.effect("shows a detached run by its name, follows it to its end, and knows no other name", () =>
    Effect.gen(function* () {
      const { w } = yield* Connected
      const session = yield* up("detached", [])
      const script = "for i in 1 2 3; do echo $i; sleep 0.2; done; printf end; exit 3"
      const { run } = (yield* w.sandbox(
        "exec",
        "detached",
        "-d",
        "--json",
        "--",
        "sh",
        "-c",
        script
      )).json() as unknown as {
        readonly run: string
      }
      const followed = yield* w.sandbox("logs", "detached", "--service", run, "--follow")
      assert.deepEqual({ code: followed.code, stdout: followed.stdout }, { code: 0, stdout: "1\n2\n3\nend" })
      assert.strictEqual((yield* w.sandbox("logs", "detached", "-s", run, "-n", "1")).stdout, "end")
      const unknown = assertFailure(yield* w.sandbox("logs", "detached", "-s", "web", "--json"), "ERR_INVALID_ARGUMENT")
      assert.strictEqual(unknown.cause, `detached has no service or run "web"`)
      assert.include(unknown.next_step, run)
      yield* eventually("what watched it has ended", () => processesWith(`SANDBOX_SERVICE=${run}`).length === 0)
      assert.isTrue(existsSync(file(session, "services", run, "exit")))
    })
  )
})
