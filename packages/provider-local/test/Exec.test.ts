import { assert, layer } from "@effect/vitest"
import { Provisioner } from "@org/sandbox-core/Provisioner"
import type { InstanceRef } from "@org/sandbox-core/Session"
import { Effect, FileSystem, Schedule, Stream } from "effect"
import { alive, box, directory, heldBuffers, local, layer as provisioner, repository, run, source } from "./host.ts"

const sh = (script: string) => ["sh", "-c", script]

layer(provisioner, { excludeTestServices: true })("a command in a local box", (it) => {
  it.effect("tells its exit code, or the signal that ended it", () =>
    Effect.gen(function* () {
      const ref = yield* box
      for (const code of [0, 1, 3, 127, 255]) assert.strictEqual((yield* run(ref, sh(`exit ${code}`))).code, code)
      for (const [signal, number] of [
        ["SIGTERM", 15],
        ["SIGKILL", 9],
        ["SIGSEGV", 11]
      ] as const) {
        assert.deepInclude(yield* run(ref, sh(`kill -${number} $$`)), { code: 128 + number, signal })
      }
    })
  )

  it.effect("that cannot be started is an error of the provider, never an exit code", () =>
    Effect.gen(function* () {
      const ref = yield* box
      const refused = (argv: ReadonlyArray<string>, more = {}) =>
        Effect.map(Effect.flip(run(ref, argv, more)), ({ message, outcome, reason }) => {
          assert.strictEqual(outcome, "not_applied")
          return [reason, message] as const
        })
      assert.deepStrictEqual(yield* refused(["no-such-command", "canary"]), [
        "Invalid",
        "There is no command no-such-command on the PATH."
      ])
      assert.strictEqual((yield* refused(["/etc/passwd"]))[0], "Invalid")
      assert.strictEqual((yield* refused(["true", "x".repeat(3_000_000)]))[0], "Invalid")
      assert.strictEqual((yield* refused(["true"], { cwd: "/no/such/place" }))[0], "Invalid")
      assert.strictEqual((yield* refused([]))[0], "Invalid")
      const exec = (yield* local).exec
      const stranger = { argv: ["true"], user: "somebody-else" }
      assert.strictEqual((yield* Effect.flip(exec(ref, stranger))).reason, "Unsupported")
    })
  )

  it.effect("I-96 has the user's environment without what is ours, and with what marks the box", () =>
    Effect.gen(function* () {
      const ref = yield* box
      const ours = { SANDBOX_LEDGER: "canary", SANDBOX_BOX_KEY: "canary", GITHUB_TOKEN: "canary", LOCAL_TEST: "kept" }
      yield* Effect.acquireRelease(
        Effect.sync(() => Object.assign(process.env, ours)),
        () => Effect.sync(() => Object.keys(ours).forEach((name) => Reflect.deleteProperty(process.env, name)))
      )
      const { out } = yield* run(ref, ["env"], { env: { EXTRA: "a b", SANDBOX_BOX_KEY: "forged" } })
      const lines = out.split("\n")
      assert.notInclude(out, "canary")
      assert.notInclude(out, "forged")
      assert.includeMembers(lines, ["LOCAL_TEST=kept", "EXTRA=a b", `SANDBOX_BOX_KEY=${ref.key}`])
      assert.isDefined(lines.find((line) => /^SANDBOX_SESSION_ID=sbx_/.test(line)))
    })
  )

  it.effect("runs in the checkout, or where it says, relative to the checkout", () =>
    Effect.gen(function* () {
      const ref = yield* box
      const { path = "" } = yield* (yield* local).workspace.attach(ref, source(yield* repository))
      const fs = yield* FileSystem.FileSystem
      yield* fs.makeDirectory(`${path}/sub`)
      assert.strictEqual((yield* run(ref, ["pwd"])).out, `${path}\n`)
      assert.strictEqual((yield* run(ref, ["pwd"], { cwd: "sub" })).out, `${path}/sub\n`)
      assert.strictEqual((yield* run(ref, ["pwd"], { cwd: "/" })).out, "/\n")
      assert.strictEqual((yield* run(ref, sh('echo "$SANDBOX_WORKSPACE"'))).out, `${path}\n`)
    })
  )

  it.effect("writes 100 MB into bounded memory, however slowly it is read", () =>
    Effect.gen(function* () {
      const ref = yield* box
      const bytes = 100_000_000
      const handle = yield* (yield* local).exec(ref, { argv: sh(`head -c ${bytes} /dev/zero; echo done >&2`) })
      const before = heldBuffers()
      let read = 0
      let most = 0
      let chunks = 0
      let done = false
      yield* Stream.runForEach(handle.output, ({ bytes, fd }) =>
        Effect.gen(function* () {
          if (fd === 2) done = true
          else read += bytes.length
          // With nobody reading, the command must wait, and not fill our memory meanwhile.
          if (chunks === 0) {
            yield* Effect.sleep("500 millis")
            assert.isFalse(done)
          }
          if (++chunks % 50 === 1) most = Math.max(most, heldBuffers() - before)
        })
      )
      assert.strictEqual(read, bytes)
      assert.isTrue(done)
      assert.isBelow(most, bytes / 2)
      assert.deepStrictEqual(yield* handle.exit, { code: 0 })
    }).pipe(Effect.scoped)
  )

  it.effect("ends with everything it started when its scope closes", () =>
    Effect.gen(function* () {
      const fs = yield* FileSystem.FileSystem
      const ref = yield* box
      const file = `${yield* directory}/pids`
      const script = `trap '' TERM; (trap '' TERM; sleep 1000) & echo $$ $! > ${file}.new; mv ${file}.new ${file}; wait; wait`
      const pids = yield* Effect.scoped(
        Effect.gen(function* () {
          yield* (yield* local).exec(ref, { argv: sh(script) })
          const text = yield* fs.readFileString(file).pipe(Effect.eventually)
          return text.trim().split(" ").map(Number)
        })
      )
      assert.deepStrictEqual(pids.map(alive), [false, false])
    })
  )

  it.effect("can be signalled without waiting for it, and may take the signal as it likes", () =>
    Effect.gen(function* () {
      const ref = yield* box
      const handle = yield* (yield* local).exec(ref, {
        argv: sh("trap 'echo caught; exit 7' INT; echo up; while :; do sleep 0.05; done")
      })
      const lines: Array<string> = []
      yield* Stream.runForEach(handle.output, ({ bytes }) =>
        Effect.suspend(() => {
          lines.push(Buffer.from(bytes).toString().trim())
          return lines.length === 1 ? handle.kill("SIGINT") : Effect.void
        })
      )
      assert.deepStrictEqual(lines, ["up", "caught"])
      assert.deepStrictEqual(yield* handle.exit, { code: 7 })
      yield* handle.kill("SIGKILL")
    }).pipe(Effect.scoped)
  )

  it.effect("I-92 is ended by a stop, wherever it has gone, and nothing else is", () =>
    Effect.gen(function* () {
      const { stop } = yield* Provisioner
      const [ref, other] = [yield* box, yield* box]
      // Each tells its pid from a session of its own, deaf to polite signals, and then lets go of the output.
      const daemon = "trap '' TERM; echo $$; exec >/dev/null 2>&1; while :; do sleep 0.05; done"
      const background = `for i in 1 2; do setsid nohup sh -c "$0" & done`
      const started = (ref: InstanceRef) =>
        Effect.map(run(ref, [...sh(background), daemon]), ({ out }) => out.trim().split("\n").map(Number))
      const pids = yield* started(ref)
      const bystanders = yield* started(other)
      assert.deepStrictEqual([...pids, ...bystanders].map(alive), [true, true, true, true])
      yield* stop(ref)
      assert.deepStrictEqual(pids.map(alive), [false, false])
      assert.deepStrictEqual(bystanders.map(alive), [true, true])
    })
  )

  it.effect("that was started while a stop began does not survive it", () =>
    Effect.gen(function* () {
      const { inspect, stop } = yield* Provisioner
      const { exec, start } = yield* local
      const ref = yield* box
      for (let round = 0; round < 5; round++) {
        const pids: Array<number> = []
        const attempts = Effect.scoped(
          exec(ref, { argv: sh("setsid sleep 1000 >/dev/null 2>&1 & echo $!") }).pipe(
            Effect.flatMap(({ output }) =>
              Stream.runForEach(output, ({ bytes }) => Effect.sync(() => pids.push(Number(Buffer.from(bytes)))))
            )
          )
        ).pipe(Effect.repeat({ schedule: Schedule.forever }), Effect.ignore)
        yield* Effect.all([attempts, attempts, Effect.delay(stop(ref), round * 20)], { concurrency: "unbounded" })
        assert.deepStrictEqual(pids.filter(alive), [])
        assert.strictEqual((yield* inspect(ref))._tag, "stopped")
        yield* start(ref)
      }
    })
  )
})
