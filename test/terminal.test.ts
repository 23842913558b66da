/** `shell` and `exec --tty` in a real terminal: what the command sees, and what is left of the terminal afterwards. */
import { execFileSync } from "node:child_process"
import { existsSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { assertErrorObject } from "./support/contract.ts"
import { eventually, type Outcome, remains, world } from "./support/sandbox.ts"
import { terminal } from "./support/terminal.ts"

/** A refusal of `exec` or `shell` itself. */
const refusal = (outcome: Outcome) => {
  assert.strictEqual(outcome.code, 125)
  const answer = outcome.json()
  assertErrorObject(answer)
  assert.strictEqual(answer.error_code, "ERR_INVALID_ARGUMENT")
  return answer
}

const session = Effect.gen(function* () {
  const w = yield* world
  const up = yield* w.sandbox("up", w.repository, "-b", "feature", "--name", "app", "-p", "local", "--json")
  assert.strictEqual(up.code, 0, up.stdout)
  return w
})

describe.concurrent("a shell", () => {
  it.live("has a terminal of our size, which follows, in the checkout, and gives its exit code", () =>
    Effect.gen(function* () {
      const w = yield* session
      const t = yield* terminal(w, "shell", "app")
      yield* t.saw("exit leaves it")
      t.type('test -t 0 && test -t 1 && test -t 2 && echo "tty $((40 + 2))"\r')
      yield* t.saw("tty 42")
      t.type("stty size\r")
      yield* t.saw("24 80")
      t.resize(101, 33)
      yield* eventually("the size arrives", () => {
        t.type("stty size\r")
        return t.text().includes("33 101")
      })
      t.type('echo "on <$(git branch --show-current)>"\r')
      yield* t.saw("on <feature>")
      t.type("exit 7\r")
      assert.strictEqual(yield* t.ended, 7)
      assert.deepEqual(remains(w).processes, [])
    })
  )

  it.live("gets Ctrl-C, Ctrl-Z and Ctrl-D, and lives on until it wants to end", () =>
    Effect.gen(function* () {
      const w = yield* session
      const t = yield* terminal(w, "shell", "app", "-e", "SHELL=/bin/bash")
      yield* t.saw("exit leaves it")
      // what is to be signalled says itself that it runs: a shell that is between two commands loses a signal
      t.type("sh -c 'echo a$((1))b; exec sleep 1000'; echo s$((2))d\r")
      yield* t.saw("a1b")
      t.type("\x03")
      yield* t.prompted
      t.type("echo c$((3))d\r")
      yield* t.saw("c3d")
      assert.notInclude(t.text(), "s2d")
      t.type("sh -c 'echo q$((4))w; exec cat'\r")
      yield* t.saw("q4w")
      t.type("line\r")
      yield* t.saw("line\r\nline")
      t.type("\x1a")
      yield* t.prompted
      t.type("echo e$((4))f; fg\r")
      yield* t.saw("e4f")
      t.type("again\r")
      yield* t.saw("again\r\nagain")
      t.type("\x04")
      t.type("echo g$((5))h\r")
      yield* t.saw("g5h")
      t.type("\x04")
      assert.strictEqual(yield* t.ended, 0)
    })
  )

  it.live("is the box's own if it can be run, else another", () =>
    Effect.gen(function* () {
      const w = yield* session
      for (const [given, found] of [
        ["/bin/sh", "/bin/sh"],
        ["/usr/sbin/nologin", "bash"],
        ["/no/such/shell", "bash"]
      ] as const) {
        const t = yield* terminal(w, "shell", "app", "-e", `SHELL=${given}`)
        yield* t.saw("exit leaves it")
        t.type('echo "<$SHELL>"; exit\r')
        yield* t.saw(`${found}>`)
        assert.strictEqual(yield* t.ended, 0)
      }
    })
  )

  it.live("is refused without a terminal", () =>
    Effect.gen(function* () {
      const w = yield* session
      assert.include(refusal(yield* w.sandbox("shell", "app", "--json")).next_step, "sandbox exec")
    })
  )

  it.live("I-80 is refused for a session that is halted, with the command that brings it up", () =>
    Effect.gen(function* () {
      const w = yield* session
      assert.strictEqual((yield* w.sandbox("down", "app")).code, 0)
      const t = yield* terminal(w, "shell", "app")
      assert.strictEqual(yield* t.ended, 125)
      assert.include(t.text(), "ERR_NOT_READY")
      assert.include(t.text(), "sandbox resume")
    })
  )
})

describe.concurrent("exec", () => {
  it.live("with -it runs an editor that opens and quits", () =>
    Effect.gen(function* () {
      const w = yield* session
      const editor = ["vi", "vim", "less"].find((name) => {
        return existsSync(`/usr/bin/${name}`) || existsSync(`/bin/${name}`)
      })
      assert.isDefined(editor, "none of vi, vim, less is installed")
      const t = yield* terminal(w, "exec", "-it", "app", "--", editor!, "README.md")
      yield* t.saw("\x1b[?1049h")
      yield* t.saw("README.md")
      t.type(editor === "less" ? "q" : ":q!\r")
      assert.strictEqual(yield* t.ended, 0)
      assert.include(t.text(), "\x1b[?1049l")
    })
  )

  it.live("with -t and no -i has a terminal and leaves our keys alone", () =>
    Effect.gen(function* () {
      const w = yield* session
      const command = "printf '\\033[?1049h\\033[?25l\\033[?1000h'; test -t 1 && echo up; sleep 1000"
      const t = yield* terminal(w, "exec", "-t", "app", "--", "sh", "-c", command)
      yield* t.saw("up")
      t.type("\x03")
      yield* t.saw("ERR_INTERRUPTED")
      for (const reset of ["\x1b[?1049l", "\x1b[?25h", "\x1b[?1000l"]) assert.include(t.text(), reset)
    })
  )

  it.live("with -i passes what is typed line by line, and its end", () =>
    Effect.gen(function* () {
      const w = yield* session
      const t = yield* terminal(w, "exec", "-i", "app", "--", "cat")
      t.type("hello\r")
      yield* t.saw("hello\r\nhello")
      t.type("\x04")
      assert.strictEqual(yield* t.ended, 0)
    })
  )

  it.live("with --timeout ends the command with all it started, and gives the terminal back", () =>
    Effect.gen(function* () {
      const w = yield* session
      const command = ["sh", "-c", "printf '\\033[?1049h\\033[?25l'; sleep 1001 & sleep 1001"]
      const t = yield* terminal(w, "exec", "-it", "app", "--timeout", "2s", "--", ...command)
      assert.strictEqual(yield* t.ended, 125)
      assert.include(t.text(), "ERR_TIMEOUT")
      for (const reset of ["\x1b[?1049l", "\x1b[?25h"]) assert.include(t.text(), reset)
      assert.strictEqual((yield* w.sandbox("exec", "app", "--timeout", "1s", "--", "sleep", "1001")).code, 125)
      assert.deepEqual(remains(w).processes, [])
    })
  )

  it.live("with -d answers at once, names its log, and leaves the command running", () =>
    Effect.gen(function* () {
      const w = yield* session
      const script = "echo $A; echo said >&2; until [ -f go ]; do sleep 0.05; done; echo went"
      const started = yield* w.sandbox("exec", "-d", "app", "-e", "A=given", "--json", "--", "sh", "-c", script)
      assert.strictEqual(started.code, 0, started.stdout)
      const { ok, run, warnings } = JSON.parse(started.stdout)
      assert.deepEqual({ ok, warnings }, { ok: true, warnings: [] })
      const logs = w.sandbox("logs", "app", "--service", run)
      const before = yield* Effect.repeat(logs, { until: ({ stdout }) => stdout.includes("said") })
      assert.include(before.stdout, "given")
      assert.notInclude(before.stdout, "went")
      assert.strictEqual((yield* w.sandbox("exec", "app", "--", "touch", "go")).code, 0)
      yield* Effect.repeat(logs, { until: ({ stdout }) => stdout.includes("went") })
      const second = yield* w.sandbox("exec", "--detach", "app", "--", "true")
      assert.match(second.stdout, /^run_[0-9a-z]{26}\n$/)
      assert.include(second.stderr, `sandbox logs app --service ${second.stdout.trim()}`)
      const missing = yield* w.sandbox("exec", "-d", "nobody", "--json", "--", "true")
      assert.deepInclude(missing, { code: 125 })
      assert.strictEqual(missing.json().error_code, "ERR_SESSION_NOT_FOUND")
    })
  )

  it.live("with -t is refused where stdin is no terminal, and -d beside -i or -t", () =>
    Effect.gen(function* () {
      const w = yield* session
      const piped = yield* w.sandbox("exec", "-it", "app", "--json", "--", "true")
      assert.include(refusal(piped).next_step, "--tty")
      const both = yield* w.sandbox("exec", "-di", "app", "--json", "--", "true")
      assert.include(refusal(both).next_step, "--detach")
    })
  )
})

describe.concurrent("a terminal is given back as it was", () => {
  const command = [
    "exec",
    "-it",
    "app",
    "--",
    "sh",
    "-c",
    "printf '\\033[?1049h\\033[?25l\\033[?2004h'; echo here; cat"
  ]

  for (const signal of ["SIGKILL", "SIGTERM", "SIGHUP"] as const) {
    it.live(`after ${signal}`, () =>
      Effect.gen(function* () {
        const w = yield* session
        const t = yield* terminal(w, ...command)
        yield* t.saw("here")
        // the settings are taken before what the command writes is shown
        const before = t.text().length
        process.kill(t.pid(), signal)
        assert.strictEqual(yield* t.ended, { SIGKILL: 137, SIGTERM: 143, SIGHUP: 129 }[signal])
        for (const reset of ["\x1b[?1049l", "\x1b[?25h", "\x1b[?2004l"]) assert.include(t.text().slice(before), reset)
        yield* eventually("nothing is left running", () => remains(w).processes.length === 0)
      })
    )
  }

  it.live("when it was stopped and continued meanwhile, the keys still go to the command", () =>
    Effect.gen(function* () {
      const w = yield* session
      const t = yield* terminal(w, "shell", "app")
      yield* t.saw("exit leaves it")
      process.kill(t.pid(), "SIGSTOP")
      const stty = (how: string) =>
        execFileSync("sh", ["-c", `stty ${how} <"$0"`, readFileSync(join(w.directory, "tty"), "utf8").trim()], {
          encoding: "utf8"
        })
      const raw = stty("-g")
      stty("sane")
      process.kill(t.pid(), "SIGCONT")
      yield* eventually("the terminal is as the command wants it", () => stty("-g") === raw)
      t.type("echo i$((5))j; sleep 1000\r")
      yield* t.saw("i5j")
      t.type("\x03")
      yield* t.prompted
      t.type("echo k$((6))l\r")
      yield* t.saw("k6l")
      t.type("exit 3\r")
      assert.strictEqual(yield* t.ended, 3)
    })
  )
})
