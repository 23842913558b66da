/** Commands in boxes: as whom and where they run, what reaches them, and that they end with everything they started. */
import { createHash } from "node:crypto"
import { assert, it } from "@effect/vitest"
import type { InstanceRef } from "@org/sandbox-core/Session"
import { Effect, Schedule, Stream } from "effect"
import { describeDocker } from "../../../test/docker.ts"
import * as Docker from "../../../test/support/docker.ts"
import { containerOf, docker, newLedger, on, run, sh } from "./boxes.ts"

const newBox = Effect.gen(function* () {
  return yield* (yield* docker).provision((yield* newLedger).intent())
})

/** What runs in the box beside what keeps it, as the engine tells of it; the box need not have a `ps`. */
const processes = Effect.fnUntraced(function* (ref: InstanceRef) {
  const { Id } = yield* containerOf(ref.key)
  const top = yield* Effect.orDie(Docker.request("GET", `/containers/${Id}/top?ps_args=-eo%20pid,args`))
  const all: ReadonlyArray<readonly [string, string]> = top.json().Processes
  return all.map(([, args]) => args).filter((args) => !/docker-init|^sh -c\s+command -v sleep|^sleep 86400$/.test(args))
})

const until = (ref: InstanceRef, isSo: (processes: ReadonlyArray<string>) => boolean) =>
  Effect.repeat(processes(ref), { until: isSo, schedule: Schedule.spaced("50 millis"), times: 200 })

/** A command that ignores every signal it may, and its child, its grandchild in a session of its own, and so on. */
const tenacious = `
trap '' TERM INT HUP
sleep 1001 &
setsid sh -c "trap '' TERM; setsid sleep 1002 & sleep 1003 & wait" &
(sleep 1004 &)
while :; do sleep 1005; done
`

const all = ["sleep 1001", "sleep 1002", "sleep 1003", "sleep 1004", "sleep 1005"]
const hasAll = (seen: ReadonlyArray<string>) => all.every((args) => seen.includes(args))

describeDocker("a command", () => {
  it.live("runs in the checkout as the box's user, with its own variables and those of the box", () =>
    Effect.gen(function* () {
      const ref = yield* newBox
      assert.strictEqual(yield* sh(ref, "id -u; pwd"), "1000\n/sandbox/work")
      assert.strictEqual(yield* sh(ref, "id -u; id -g", { user: "7:8" }), "7\n8")
      yield* sh(ref, "mkdir -p sub/dir")
      assert.strictEqual(yield* sh(ref, "pwd", { cwd: "sub/dir" }), "/sandbox/work/sub/dir")
      assert.strictEqual(yield* sh(ref, "pwd", { cwd: "/etc" }), "/etc")
      const env = { PLAIN: "a  'b' $c", EMPTY: "", SANDBOX_WORKSPACE: "/forged", "with.dot": "x" }
      const { out } = yield* run(ref, ["env"], { env })
      const lines = out.split("\n")
      for (const line of ["PLAIN=a  'b' $c", "EMPTY=", "SANDBOX_WORKSPACE=/sandbox/work", "with.dot=x"]) {
        assert.include(lines, line)
      }
    }).pipe(on())
  )

  it.live("that cannot be started says why, without its arguments", () =>
    Effect.gen(function* () {
      const { exec } = yield* docker
      const ref = yield* newBox
      const failure = Effect.fnUntraced(function* (argv: ReadonlyArray<string>, cwd?: string) {
        const handle = yield* exec(ref, { argv: [...argv, "argument"], cwd })
        const error = yield* Effect.flip(Stream.runDrain(handle.output))
        assert.strictEqual(error.reason, "Invalid")
        assert.notInclude(error.message, "argument")
        return { said: error.message, code: (yield* handle.exit).code }
      }, Effect.scoped)
      assert.deepStrictEqual(yield* failure(["no-such-command"]), {
        said: "There is no command no-such-command in the box.",
        code: 126
      })
      assert.match((yield* failure(["/no/such/file"])).said, /There is no command \/no\/such\/file/)
      assert.match((yield* failure(["/etc/passwd"])).said, /may not be run/)
      assert.match((yield* failure(["true"], "no/such/directory")).said, /The directory to run in is not in the box/)
      const { reason } = yield* Effect.flip(Effect.scoped(exec(ref, { argv: [] })))
      assert.strictEqual(reason, "Invalid")
      const unknown = yield* Effect.flip(
        Effect.scoped(
          Effect.flatMap(exec(ref, { argv: ["true"], user: "nobody-here" }), ({ output }) => Stream.runDrain(output))
        )
      )
      assert.strictEqual(unknown.reason, "Invalid")
      assert.strictEqual(unknown.message, "There is no user nobody-here in the box.")
    }).pipe(on())
  )

  it.live("that prints what the engine says of one that cannot be started is just a command", () =>
    Effect.gen(function* () {
      const ref = yield* newBox
      const words = "OCI runtime exec failed: no, it was not"
      const { code, out } = yield* run(ref, ["echo", words])
      assert.deepStrictEqual({ code, out }, { code: 0, out: `${words}\n` })
    }).pipe(on())
  )

  it.live("is given all of a large input, or as much as it wants", () =>
    Effect.gen(function* () {
      const ref = yield* newBox
      const piece = new Uint8Array(2 ** 18).map((_, n) => n % 251)
      const digest = createHash("sha256")
      for (let n = 0; n < 80; n++) digest.update(piece)
      const stdin = Stream.fromIterable(
        Array.from({ length: 80 }, () => piece),
        { chunkSize: 1 }
      )
      const { out } = yield* run(ref, ["sha256sum"], { stdin })
      assert.strictEqual(out, `${digest.digest("hex")}  -\n`)
      const some = yield* run(ref, ["head", "-c", "5"], {
        stdin: Stream.encodeText(Stream.forever(Stream.make("abcde")))
      })
      assert.deepStrictEqual([some.code, some.out], [0, "abcde"])
    }).pipe(on())
  )

  it.live("that was killed has ended with everything it started, whatever that does to escape", () =>
    Effect.gen(function* () {
      const { exec } = yield* docker
      const ref = yield* newBox
      const handle = yield* exec(ref, { argv: ["sh", "-c", tenacious] })
      assert.isTrue(hasAll(yield* until(ref, hasAll)))
      yield* handle.kill("SIGTERM")
      // the shells hear nothing; of what they started, only what inherits that
      assert.include(yield* processes(ref), "sleep 1001")
      yield* handle.kill("SIGKILL")
      assert.deepStrictEqual(yield* handle.exit, { code: 137, signal: "SIGKILL" })
      assert.deepStrictEqual(yield* until(ref, (seen) => seen.length === 0), [])
    }).pipe(on(), Effect.scoped)
  )

  it.live("that nobody waits for any more has ended with everything it started, and nothing else has", () =>
    Effect.gen(function* () {
      const { exec } = yield* docker
      const ref = yield* newBox
      yield* exec(ref, { argv: ["sleep", "2000"] })
      yield* Effect.scoped(
        Effect.gen(function* () {
          yield* exec(ref, { argv: ["sh", "-c", tenacious] })
          assert.isTrue(hasAll(yield* until(ref, hasAll)))
        })
      )
      assert.deepStrictEqual(yield* processes(ref), ["sleep 2000"])
      const timedOut = yield* Effect.timeoutOption(run(ref, ["sh", "-c", tenacious]), "1 second")
      assert.strictEqual(timedOut._tag, "None")
      assert.deepStrictEqual(yield* processes(ref), ["sleep 2000"])
      for (const after of [0, 10, 40, 80]) {
        yield* Effect.timeoutOption(run(ref, ["sleep", "3000"]), after)
        assert.deepStrictEqual(yield* processes(ref), ["sleep 2000"], `given up after ${after} ms`)
      }
    }).pipe(on(), Effect.scoped)
  )

  it.live("that is signalled can do what it does then, and says by which it ended", () =>
    Effect.gen(function* () {
      const { exec } = yield* docker
      const ref = yield* newBox
      const handle = yield* exec(ref, {
        argv: ["sh", "-c", "trap 'echo heard; exit 7' TERM; echo ready; while :; do sleep 0.1; done"]
      })
      const said: Array<string> = []
      yield* Stream.runForEach(handle.output, ({ bytes }) =>
        Effect.gen(function* () {
          said.push(Buffer.from(bytes).toString())
          if (said.join("") === "ready\n") yield* handle.kill("SIGTERM")
        })
      )
      assert.include(said.join(""), "heard\n")
      assert.deepStrictEqual(yield* handle.exit, { code: 7 })
      const other = yield* exec(ref, { argv: ["sleep", "600"] })
      yield* until(ref, (seen) => seen.includes("sleep 600"))
      yield* other.kill("SIGTERM")
      assert.deepStrictEqual(yield* other.exit, { code: 143, signal: "SIGTERM" })
      // of one that has ended already
      yield* other.kill("SIGKILL")
    }).pipe(on(), Effect.scoped)
  )

  it.live("in a terminal that was resized sees the size; one that ends at once is no failure", () =>
    Effect.gen(function* () {
      const { exec } = yield* docker
      const ref = yield* newBox
      const tty = { cols: 91, rows: 17 }
      const size = 'while :; do [ "$(stty size 2>/dev/null)" = "17 91" ] && exit; done'
      assert.strictEqual((yield* run(ref, ["sh", "-c", size], { tty })).code, 0)
      assert.strictEqual((yield* run(ref, ["true"], { tty })).code, 0)
      const script = "trap 'stty size; exit' WINCH; echo ready; while :; do sleep 0.1; done"
      const handle = yield* exec(ref, { argv: ["sh", "-c", script], tty })
      const said: Array<string> = []
      yield* Stream.runForEach(handle.output, ({ bytes, fd }) =>
        Effect.gen(function* () {
          assert.strictEqual(fd, 1)
          said.push(Buffer.from(bytes).toString())
          if (said.join("") === "ready\r\n") yield* handle.resize({ cols: 132, rows: 43 })
        })
      )
      assert.strictEqual(said.join(""), "ready\r\n43 132\r\n")
    }).pipe(on(), Effect.scoped)
  )

  it.live("whose box is halted or removed under it has ended, and is not said to have succeeded", () =>
    Effect.gen(function* () {
      const { destroy, exec, stop } = yield* docker
      for (const end of [stop, destroy]) {
        const ref = yield* newBox
        const handle = yield* exec(ref, { argv: ["sh", "-c", "trap '' TERM; while :; do sleep 1; done"] })
        yield* until(ref, (seen) => seen.length > 0)
        yield* end(ref)
        yield* Effect.exit(Stream.runDrain(handle.output))
        const seen = yield* Effect.match(handle.exit, {
          onSuccess: ({ code }) => `code ${code}`,
          onFailure: ({ reason }) => reason
        })
        assert.oneOf(seen, ["code 137", "NotReady", "NotFound"])
      }
    }).pipe(on(), Effect.scoped)
  )
})
