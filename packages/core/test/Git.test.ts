import { assert, layer } from "@effect/vitest"
import * as Git from "@org/sandbox-core/Git"
import { Effect, Fiber, FileSystem, Option, Redacted, Stream } from "effect"
import { alive, directory, git, repository, layer as services } from "./git.ts"

/** Puts a program called git in front of the real one. */
const fakeGit = Effect.fnUntraced(function* (script: string) {
  const fs = yield* FileSystem.FileSystem
  const bin = yield* directory
  yield* fs.writeFileString(`${bin}/git`, `#!/bin/sh\n${script}\n`, { mode: 0o755 })
  return { PATH: `${bin}:${process.env["PATH"]}` }
})

layer(services, { excludeTestServices: true })("git on the host", (it) => {
  it.effect("answers code, output and error of a command", () =>
    Effect.gen(function* () {
      const cwd = yield* repository
      const good = yield* Git.run(["rev-parse", "HEAD"], { cwd })
      assert.deepStrictEqual(good, { code: 0, stdout: `${git(cwd, "rev-parse", "HEAD")}\n`, stderr: "" })
      const bad = yield* Git.run(["rev-parse", "--verify", "nothing"], { cwd })
      assert.deepStrictEqual(bad, { code: 128, stdout: "", stderr: "fatal: Needed a single revision\n" })
    })
  )

  it.effect("fails with the subcommand and the last line, and never the arguments", () =>
    Effect.gen(function* () {
      const cwd = yield* repository
      const error = yield* Effect.flip(Git.output(["rev-parse", "--verify", "canary-argument"], { cwd }))
      assert.deepInclude(error, { reason: "failed", command: "rev-parse", code: 128 })
      assert.strictEqual(error.message, "git rev-parse failed with exit code 128: fatal: Needed a single revision")
      assert.notInclude(JSON.stringify(error), "canary")
    })
  )

  it.effect("streams what a command reads and prints, and fails after the last of it", () =>
    Effect.gen(function* () {
      const cwd = yield* repository
      const bytes = Uint8Array.from({ length: 3_000_000 }, (_, at) => (at * 7) % 256)
      const oid = yield* Stream.mkString(
        Stream.decodeText(Git.stream(["hash-object", "-w", "--stdin"], { cwd, stdin: Stream.make(bytes, bytes) }))
      )
      const size = yield* Stream.runFold(
        Git.stream(["cat-file", "blob", oid.trim()], { cwd }),
        () => 0,
        (sum, chunk) => sum + chunk.length
      )
      assert.strictEqual(size, 2 * bytes.length)
      const bad = Git.stream(["cat-file", "--batch-check", "--no-such"], { cwd, stdin: Stream.make(bytes) })
      const error = yield* Effect.flip(Stream.runDrain(bad))
      assert.deepInclude(error, { _tag: "GitError", reason: "failed", command: "cat-file", code: 129 })
      const none = ["rev-parse", "--verify", "--quiet", "nothing"]
      assert.strictEqual(yield* Stream.runCount(Git.stream(none, { cwd }, [0, 1])), 0)
    })
  )

  it.effect("hides credentials that a configuration put into a reported URL", () =>
    Effect.gen(function* () {
      const env = yield* fakeGit("echo 'fatal: no access to https://user:canary@example.com/x' >&2; exit 1")
      const error = yield* Effect.flip(Git.output(["fetch"], { env }))
      assert.include(error.message, "https://<redacted>@example.com/x")
      assert.notInclude(JSON.stringify(error), "canary")
    })
  )

  it.effect("keeps the end of an endless error and no more", () =>
    Effect.gen(function* () {
      const env = yield* fakeGit("head -c 5000000 /dev/zero | tr '\\0' x >&2; echo end >&2; exit 1")
      const { stderr } = yield* Git.run(["fetch"], { env })
      assert.strictEqual(stderr.length, 8192)
      assert.isTrue(stderr.endsWith("xend\n"))
    })
  )

  it.effect("says what to do when git is not there", () =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(Git.run(["version"], { env: { PATH: yield* directory } }))
      assert.strictEqual(error.reason, "not_installed")
      assert.include(error.message, "install git")
    })
  )

  it.effect("inherits no repository, asks nobody, and stays quiet", () =>
    Effect.gen(function* () {
      const env = yield* fakeGit("env")
      const inherited = { GIT_DIR: "/elsewhere", GIT_INDEX_FILE: "/x", GIT_CONFIG_COUNT: "1", GIT_TRACE: "1" }
      yield* Effect.acquireRelease(
        Effect.sync(() => Object.assign(process.env, inherited)),
        () => Effect.sync(() => Object.keys(inherited).forEach((name) => Reflect.deleteProperty(process.env, name)))
      )
      const lines = (yield* Git.output(["status"], { env })).split("\n")
      for (const name of Object.keys(inherited)) assert.isUndefined(lines.find((line) => line.startsWith(`${name}=`)))
      assert.includeMembers(lines, [
        "LC_ALL=C",
        "GIT_TERMINAL_PROMPT=0",
        "GIT_ASKPASS=",
        "GIT_PAGER=cat",
        "GIT_EDITOR=:"
      ])
    })
  )

  for (const how of ["timeout", "interruption"] as const) {
    it.effect(`kills git and everything it started on ${how}`, () =>
      Effect.gen(function* () {
        const fs = yield* FileSystem.FileSystem
        const file = `${yield* directory}/pids`
        // The first one ignores polite signals.
        const env = yield* fakeGit(
          `trap '' TERM; sleep 1000 & echo $$ $! > ${file}.new; mv ${file}.new ${file}; wait; wait`
        )
        const fiber = yield* Git.run(["fetch"], { env, timeout: how === "timeout" ? "300 millis" : "1 hour" }).pipe(
          Effect.flip,
          Effect.forkChild
        )
        const pids = (yield* fs.readFileString(file).pipe(Effect.eventually)).trim().split(" ").map(Number)
        assert.deepStrictEqual(pids.map(alive), [true, true])
        if (how === "interruption") yield* Fiber.interrupt(fiber)
        else assert.strictEqual((yield* Fiber.join(fiber)).reason, "timed_out")
        assert.deepStrictEqual(pids.map(alive), [false, false])
      })
    )
  }

  it.effect("I-96 gives a token to github.com through GIT_ASKPASS alone, and only for a remote", () =>
    Effect.gen(function* () {
      const fs = yield* FileSystem.FileSystem
      const ask = (question: string) => `"$GIT_ASKPASS" "${question}" || echo refused`
      const env = yield* fakeGit(
        [
          'echo "argv: $*"; echo "askpass: $GIT_ASKPASS"; [ -z "$GIT_ASKPASS" ] && exit 0',
          'stat -c "%a" "$GIT_ASKPASS" 2>/dev/null || stat -f "%Lp" "$GIT_ASKPASS"; cat "$GIT_ASKPASS" | grep -c canary',
          ask("Username for 'https://github.com': "),
          ask("Password for 'https://x-access-token@github.com': "),
          ask("Password for 'https://x-access-token@github.com.evil.example': "),
          ask("Password for 'https://x-access-token@evil.example': "),
          ask("Password for 'http://x-access-token@github.com': ")
        ].join("\n")
      )
      const withToken = Effect.provideService(Git.GitCredentials, Option.some(Redacted.make("canary")))
      const lines = (yield* withToken(Git.output(["fetch"], { env, remote: true }))).trim().split("\n")
      const file = lines[1]!.slice("askpass: ".length)
      assert.deepStrictEqual(lines, [
        "argv: fetch",
        `askpass: ${file}`,
        "700",
        "0",
        "x-access-token",
        "canary",
        "refused",
        "refused",
        "refused"
      ])
      assert.isFalse(yield* fs.exists(file))
      assert.include(yield* withToken(Git.output(["status"], { env })), "askpass: \n")
      assert.include(yield* Git.output(["fetch"], { env, remote: true }), "askpass: \n")
    })
  )
})
