import { spawn } from "node:child_process"
import { readFileSync } from "node:fs"
import { assert, layer } from "@effect/vitest"
import { Effect, Layer, Schedule } from "effect"
import { Host } from "../src/Host.ts"
import * as NodeProcesses from "../src/node/NodeProcesses.ts"
import { layerPlatform } from "../src/node.ts"
import * as Processes from "../src/Processes.ts"

const alive = (pid: number): boolean => {
  try {
    return process.kill(pid, 0)
  } catch {
    return false
  }
}

const marked = (entry: string) => Effect.flatMap(Processes.Processes, (host) => host.marked(entry))

/** A process with a variable in its environment, that ends when told to, or not. */
const started = (name: string, value: string, script = "exec sleep 1000") =>
  Effect.acquireRelease(
    Effect.sync(() =>
      spawn("sh", ["-c", script], { env: { ...process.env, [name]: value }, stdio: "ignore", detached: true })
    ),
    (child) =>
      Effect.sync(() => {
        try {
          process.kill(-child.pid!, "SIGKILL")
        } catch {
          // it has ended
        }
      })
  ).pipe(
    Effect.map((child) => child.pid!),
    Effect.tap((pid) =>
      marked(`${name}=${value}`).pipe(
        Effect.repeat({ until: (pids) => pids.includes(pid), schedule: Schedule.spaced("5 millis") })
      )
    )
  )

const marker = `SANDBOX_TEST_${process.pid}`

layer(Layer.orDie(layerPlatform), { excludeTestServices: true })("ending processes", (it) => {
  it.effect("I-92 ends those that carry the mark exactly, and no others", () =>
    Effect.gen(function* () {
      const ours = yield* started(marker, "k")
      const others = yield* Effect.all([started(marker, "k0"), started(marker, "0k"), started(`${marker}0`, "k")])
      yield* Processes.end(marker, "k")
      assert.isFalse(alive(ours))
      assert.deepStrictEqual(others.map(alive), [true, true, true])
    })
  )

  it.effect("I-92 never signals a pid that has become another process since it was looked at", () =>
    Effect.gen(function* () {
      const host = yield* Host
      const pid = yield* started(marker, "recycled")
      let asked = 0
      const recycling = Host.of({
        ...host,
        startedAt: (pid) => Effect.map(host.startedAt(pid), (token) => `${token} ${asked++}`)
      })
      yield* Processes.end(marker, "recycled").pipe(
        Effect.provideService(Host, recycling),
        Effect.ignore,
        Effect.timeoutOption("3 seconds")
      )
      assert.isAbove(asked, 1)
      assert.isTrue(alive(pid))
    })
  )

  it.effect("I-92 never counts this process or its ancestors", () =>
    Effect.gen(function* () {
      const pids = yield* marked(`PATH=${process.env["PATH"]}`)
      assert.notInclude(pids, process.pid)
      assert.notInclude(pids, process.ppid)
    })
  )

  it.effect("kills what does not end when asked, and what was started meanwhile", () =>
    Effect.gen(function* () {
      const script = `trap 'setsid sleep 1001 & ' TERM; while :; do sleep 0.01; done`
      yield* started(marker, "stubborn", script)
      yield* Processes.end(marker, "stubborn")
      assert.deepStrictEqual(yield* marked(`${marker}=stubborn`), [])
    })
  )

  it.effect("I-92 knows a program that has written over its environment by the session that it is in", () =>
    Effect.gen(function* () {
      const title = `$0 = "t" x 4000; $| = 1; print "titled"; sleep 1000`
      const leader = yield* started(marker, "titled", `perl -e '${title}' & env -i sleep 1000 & wait`)
      const children = () =>
        readFileSync(`/proc/${leader}/task/${leader}/children`, "utf8").trim().split(" ").map(Number)
      const environ = (pid: number) => readFileSync(`/proc/${pid}/environ`, "utf8")
      yield* Effect.sync(children).pipe(
        Effect.repeat({
          until: ([titled, bare]) =>
            bare !== undefined && !environ(titled!).includes(marker) && environ(bare) === "" && environ(titled!) !== "",
          schedule: Schedule.spaced("5 millis")
        })
      )
      const [titled, bare] = children()
      yield* Processes.end(marker, "titled")
      // whoever inherits it has still to collect it
      const ended = Effect.sync(() => !alive(titled!) || readFileSync(`/proc/${titled}/stat`, "utf8").includes(") Z "))
      yield* Effect.repeat(ended, { until: (so) => so, schedule: Schedule.spaced("5 millis") })
      assert.isFalse(alive(leader))
      // it was started without any mark, on purpose
      assert.isTrue(alive(bare!))
      process.kill(bare!, "SIGKILL")
    })
  )

  it.effect("reads the process table of a system without /proc", () =>
    Effect.sync(() => {
      const table = NodeProcesses.parsePs(
        [
          "    1     0 /sbin/launchd",
          "  501     1 sh -c x A=1 SANDBOX_BOX_KEY=k PATH=/bin",
          "",
          " 502   501 node B=k"
        ].join("\n")
      )
      assert.deepStrictEqual([...table.keys()], [1, 501, 502])
      assert.strictEqual(table.get(502)?.parent, 501)
      assert.deepStrictEqual(table.get(501)?.entries(), ["A=1", "SANDBOX_BOX_KEY=k", "PATH=/bin"])
      assert.deepStrictEqual(table.get(502)?.entries(), ["B=k"])
    })
  )
})
