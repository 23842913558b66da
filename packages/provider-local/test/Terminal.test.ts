import { assert, layer } from "@effect/vitest"
import { type ExecHandle, type ExecRequest, Provisioner } from "@org/sandbox-core/Provisioner"
import type { InstanceRef } from "@org/sandbox-core/Session"
import { parseMembers } from "@org/sandbox-provider-local/TerminalHost"
import { type Cause, Deferred, Effect, Fiber, FileSystem, Queue, Schedule, Stream } from "effect"
import { alive, box, directory, heldBuffers, local, layer as provisioner } from "./host.ts"

const sh = (script: string, ...args: ReadonlyArray<string>) => ["sh", "-c", script, "sh", ...args]

const size = { cols: 80, rows: 24 }

/** A command in a terminal, somebody at its keyboard, and what the screen has shown so far. */
const terminal = Effect.fnUntraced(function* (ref: InstanceRef, request: ExecRequest) {
  const keys = yield* Queue.unbounded<Uint8Array, Cause.Done>()
  const handle: ExecHandle = yield* (yield* local).exec(ref, {
    tty: size,
    stdin: Stream.fromQueue(keys),
    ...request
  })
  let screen = ""
  const reading = yield* Effect.forkScoped(
    Stream.runForEach(handle.output, ({ bytes }) =>
      Effect.sync(() => {
        screen += Buffer.from(bytes).toString("latin1")
      })
    )
  )
  const shows = (text: string | RegExp) =>
    Effect.sync(() => (typeof text === "string" ? screen.includes(text) : text.test(screen))).pipe(
      Effect.repeat({ until: Boolean, schedule: Schedule.spaced("10 millis") }),
      Effect.timeoutOrElse({
        duration: "10 seconds",
        orElse: () => Effect.die(new Error(`the screen never showed ${text}, but ${JSON.stringify(screen)}`))
      })
    )
  const type = (text: string) => Queue.offer(keys, Buffer.from(text, "latin1"))
  return { handle, keys, reading, screen: () => screen, shows, type }
})

/** Runs a command in a terminal to its end. */
const run = Effect.fnUntraced(function* (ref: InstanceRef, request: ExecRequest) {
  const handle = yield* (yield* local).exec(ref, { tty: size, ...request })
  const parts: Array<Uint8Array> = []
  yield* Stream.runForEach(handle.output, ({ bytes, fd }) =>
    Effect.sync(() => {
      assert.strictEqual(fd, 1)
      parts.push(bytes)
    })
  )
  return { ...(yield* handle.exit), out: Buffer.concat(parts).toString("latin1") }
}, Effect.scoped)

const gone = (pids: ReadonlyArray<number>) =>
  Effect.sync(() => pids.filter(alive)).pipe(
    Effect.repeat({ until: (left) => left.length === 0, times: 200, schedule: Schedule.spaced("10 millis") }),
    Effect.map((left) => assert.deepStrictEqual(left, []))
  )

const numbers = (text: string) => text.match(/\d+/g)!.map(Number)

layer(provisioner, { excludeTestServices: true })("a command in a terminal of a local box", (it) => {
  it.effect("has a terminal of the size that was asked for, and hears of a new one", () =>
    Effect.gen(function* () {
      const script =
        "test -t 0 && test -t 1 && test -t 2 && tty; trap 'stty size' WINCH; stty size; while :; do sleep 0.05; done"
      const { handle, shows } = yield* terminal(yield* box, { argv: sh(script), tty: { cols: 101, rows: 33 } })
      yield* shows(/\/dev\/\S+\r\n33 101\r\n/)
      yield* handle.resize({ cols: 7, rows: 5 })
      yield* shows("5 7")
      const error = yield* Effect.flip(handle.resize({ cols: 0, rows: 5 }))
      assert.deepInclude({ ...error }, { reason: "Invalid", outcome: "not_applied" })
    }).pipe(Effect.scoped)
  )

  it.effect("tells its exit code, or the signal that ended it", () =>
    Effect.gen(function* () {
      const ref = yield* box
      for (const code of [0, 1, 7, 255]) {
        assert.deepStrictEqual(yield* run(ref, { argv: sh(`exit ${code}`) }), { code, out: "" })
      }
      for (const [signal, number] of [
        ["SIGTERM", 15],
        ["SIGKILL", 9]
      ] as const) {
        assert.deepInclude(yield* run(ref, { argv: sh(`kill -${number} $$`) }), { code: 128 + number, signal })
      }
    })
  )

  it.effect("is interrupted by Ctrl-C in the foreground alone, as at any prompt", () =>
    Effect.gen(function* () {
      const { handle, shows, type } = yield* terminal(yield* box, {
        argv: ["bash", "--norc", "--noprofile", "-i"],
        env: { PS1: "prompt> ", HISTFILE: "" }
      })
      yield* shows("prompt> ")
      yield* type("echo begun; sleep 1000; echo status $?\r")
      yield* shows("\rbegun")
      yield* type("\x03")
      yield* shows("^C")
      yield* type("echo still $((1 + 1)); exit 7\r")
      yield* shows("still 2")
      assert.deepStrictEqual(yield* handle.exit, { code: 7 })
    }).pipe(Effect.scoped)
  )

  it.effect("gets Ctrl-C as a signal", () =>
    Effect.gen(function* () {
      const { handle, shows, type } = yield* terminal(yield* box, { argv: sh("echo up; exec sleep 1000") })
      yield* shows("up")
      yield* type("\x03")
      assert.deepStrictEqual(yield* handle.exit, { code: 130, signal: "SIGINT" })
    }).pipe(Effect.scoped)
  )

  it.effect("reads to the end of its input, which may be in the middle of a line, or at once", () =>
    Effect.gen(function* () {
      const ref = yield* box
      const input = (text: string) => Stream.make(Buffer.from(text))
      const script = "stty -echo; cat; echo over"
      assert.strictEqual((yield* run(ref, { argv: sh(script) })).out, "over\r\n")
      assert.match((yield* run(ref, { argv: sh(script), stdin: input("a line\n") })).out, /a line\r\nover\r\n$/)
      assert.match((yield* run(ref, { argv: sh(script), stdin: input("no line") })).out, /no lineover\r\n$/)
    })
  )

  it.effect("writes and reads every byte as it is", () =>
    Effect.gen(function* () {
      const ref = yield* box
      const all = Buffer.from(Uint8Array.from({ length: 256 }, (_, n) => n))
      const { handle, keys, reading, screen, shows } = yield* terminal(ref, {
        argv: sh("stty raw -echo; printf ready; exec head -c 256")
      })
      yield* shows("ready")
      yield* Queue.offer(keys, all)
      assert.deepStrictEqual(yield* handle.exit, { code: 0 })
      yield* Fiber.join(reading)
      assert.strictEqual(screen(), `ready${all.toString("latin1")}`)
    }).pipe(Effect.scoped)
  )

  it.effect("takes a large paste while it writes as much, and holds nobody up", () =>
    Effect.gen(function* () {
      const ref = yield* box
      const bytes = 1_000_000
      const ready = yield* Deferred.make<void>()
      const handle = yield* (yield* local).exec(ref, {
        argv: sh(`stty raw -echo; printf ready; exec head -c ${bytes}`),
        tty: size,
        stdin: Stream.fromEffectDrain(Deferred.await(ready)).pipe(
          Stream.concat(Stream.make(new Uint8Array(bytes).fill(97))),
          Stream.concat(Stream.never)
        )
      })
      let [read, ticks] = [0, 0]
      const ticking = Effect.repeat(
        Effect.sync(() => ticks++),
        { schedule: Schedule.spaced("10 millis") }
      )
      yield* Effect.forkScoped(ticking)
      yield* Stream.runForEach(handle.output, (chunk) =>
        Effect.gen(function* () {
          read += chunk.bytes.length
          if (yield* Deferred.isDone(ready)) return
          yield* Deferred.succeed(ready, undefined)
          // Nobody reads: both sides of the terminal fill up, and everybody else goes on.
          const before = ticks
          yield* Effect.repeat(
            Effect.sync(() => ticks),
            { until: (now) => now > before + 20, schedule: Schedule.spaced("10 millis") }
          )
        })
      )
      assert.strictEqual(read, bytes + "ready".length)
      assert.deepStrictEqual(yield* handle.exit, { code: 0 })
    }).pipe(Effect.scoped)
  )

  it.effect("writes 20 MB into bounded memory, however slowly it is read, and loses nothing at its end", () =>
    Effect.gen(function* () {
      const ref = yield* box
      const bytes = 20_000_000
      const handle = yield* (yield* local).exec(ref, {
        argv: sh(`stty raw; head -c ${bytes} /dev/zero`),
        tty: size,
        stdin: Stream.never
      })
      const before = heldBuffers()
      let [read, most, chunks] = [0, 0, 0]
      yield* Stream.runForEach(handle.output, ({ bytes }) =>
        Effect.gen(function* () {
          read += bytes.length
          if (chunks === 0) yield* Effect.sleep("500 millis")
          if (++chunks % 100 === 1) most = Math.max(most, heldBuffers() - before)
        })
      )
      assert.strictEqual(read, bytes)
      assert.isBelow(most, 2_000_000)

      // Its end is known long before the last of what it wrote is read.
      const late = yield* (yield* local).exec(ref, { argv: sh("seq 400"), tty: size, stdin: Stream.never })
      assert.deepStrictEqual(yield* late.exit, { code: 0 })
      yield* Effect.sleep("400 millis")
      const parts = yield* Stream.runCollect(late.output)
      const text = Buffer.concat(parts.map(({ bytes }) => bytes)).toString()
      assert.strictEqual(text, Array.from({ length: 400 }, (_, n) => `${n + 1}\r\n`).join(""))
    }).pipe(Effect.scoped)
  )

  it.effect("is over when it has ended, whoever else holds the terminal", () =>
    Effect.gen(function* () {
      const ref = yield* box
      const { code, out } = yield* run(ref, { argv: sh("trap '' HUP; sleep 1000 & echo $!") })
      assert.strictEqual(code, 0)
      yield* gone(numbers(out))
    })
  )

  it.effect("ends with its whole session when its scope closes: jobs, stopped ones, deaf ones", () =>
    Effect.gen(function* () {
      const ref = yield* box
      const fs = yield* FileSystem.FileSystem
      const file = `${yield* directory}/pids`
      const script = `set -m
        sh -c "trap '' HUP TERM; while :; do sleep 0.05; done" & deaf=$!
        sleep 1000 & stopped=$!; kill -STOP $stopped
        env -i sleep 1000 & bare=$!
        echo $$ $deaf $stopped $bare > ${file}.new; mv ${file}.new ${file}; wait`
      const pids = yield* Effect.scoped(
        Effect.gen(function* () {
          yield* terminal(ref, { argv: ["bash", "-c", script] })
          return numbers(yield* Effect.eventually(fs.readFileString(file)))
        })
      )
      assert.strictEqual(pids.length, 4)
      assert.deepStrictEqual(pids.map(alive), [false, false, false, false])
    })
  )

  it.effect("is killed with everything in its session, in whatever group", () =>
    Effect.gen(function* () {
      const { handle, screen, shows } = yield* terminal(yield* box, {
        argv: ["bash", "-c", "set -m; sleep 1000 & echo $$ $! up; wait"]
      })
      yield* shows("up")
      yield* handle.kill("SIGKILL")
      assert.deepStrictEqual(yield* handle.exit, { code: 137, signal: "SIGKILL" })
      yield* gone(numbers(screen()))
      yield* handle.kill("SIGTERM")
    }).pipe(Effect.scoped)
  )

  it.effect("I-92 leaves a session that it has made behind, which ends with the box", () =>
    Effect.gen(function* () {
      const { stop } = yield* Provisioner
      const ref = yield* box
      const { out } = yield* run(ref, {
        argv: sh(
          'setsid sleep 1000 >/dev/null 2>&1 </dev/null & until ps -o args= -p "$!" | grep -q ^sleep; do :; done; echo $!'
        )
      })
      const pids = numbers(out)
      assert.deepStrictEqual(pids.map(alive), [true])
      yield* stop(ref)
      assert.deepStrictEqual(pids.map(alive), [false])
    })
  )

  it.effect("I-96 has the box's environment, a terminal's type, and nothing of our own terminal", () =>
    Effect.gen(function* () {
      const ref = yield* box
      const ours = {
        SANDBOX_LEDGER: "canary",
        GITHUB_TOKEN: "canary",
        TMUX: "canary",
        COLUMNS: "canary",
        TERM: "canary"
      }
      const before = process.env["TERM"]
      yield* Effect.acquireRelease(
        Effect.sync(() => Object.assign(process.env, ours)),
        () =>
          Effect.sync(() => {
            for (const name of Object.keys(ours)) Reflect.deleteProperty(process.env, name)
            if (before !== undefined) process.env["TERM"] = before
          })
      )
      const { out } = yield* run(ref, { argv: ["env"], env: { EXTRA: "a b", SANDBOX_BOX_KEY: "forged" } })
      assert.notInclude(out, "canary")
      const lines = out.split("\r\n")
      assert.includeMembers(lines, ["EXTRA=a b", "TERM=xterm-256color", `SANDBOX_BOX_KEY=${ref.key}`])
      assert.isDefined(lines.find((line) => /^SANDBOX_RUN_DIR=\/.*\/run$/.test(line)))
      assert.include((yield* run(ref, { argv: ["env"], env: { TERM: "dumb", COLUMNS: "9" } })).out, "TERM=dumb")
    })
  )

  it.effect("that cannot be started is an error of the provider, never an exit code", () =>
    Effect.gen(function* () {
      const ref = yield* box
      const refused = (request: ExecRequest) =>
        Effect.map(Effect.flip(run(ref, request)), ({ message, outcome, reason }) => {
          assert.deepStrictEqual([reason, outcome], ["Invalid", "not_applied"])
          return message
        })
      assert.strictEqual(
        yield* refused({ argv: ["no-such-command", "canary"] }),
        "There is no command no-such-command on the PATH."
      )
      assert.strictEqual(yield* refused({ argv: ["/etc/passwd"] }), "The command /etc/passwd is not executable.")
      assert.include(yield* refused({ argv: ["/etc"] }), "not executable")
      yield* refused({ argv: ["./nothing"] })
      yield* refused({ argv: ["true"], env: { PATH: "/nowhere" } })
      yield* refused({ argv: ["true"], cwd: "/no/such/place" })
      yield* refused({ argv: ["true", "a\0b"] })
      for (const wrong of [0, -1, 1.5, Number.NaN]) yield* refused({ argv: ["true"], tty: { cols: wrong, rows: 1 } })
    })
  )

  it.effect("is known on macOS by its group or its terminal", () =>
    Effect.sync(() => {
      const table = [
        "  10   10 ttys003  Ss",
        "  11   11 ttys003  S+",
        "  12   10 ??       S",
        "  13   13 ttys004  S",
        "  14   10 ttys003  Z"
      ]
      assert.deepStrictEqual(parseMembers(`${table.join("\n")}\n`, 10, "/dev/ttys003"), [10, 11, 12])
    })
  )
})
