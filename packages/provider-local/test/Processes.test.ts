import { spawn } from "node:child_process"
import { assert, layer } from "@effect/vitest"
import { Host } from "@org/sandbox-core/Host"
import { layerPlatform } from "@org/sandbox-core/node"
import * as LocalHost from "@org/sandbox-provider-local/LocalHost"
import * as Processes from "@org/sandbox-provider-local/Processes"
import { Effect, Layer, Schedule } from "effect"
import { alive } from "./host.ts"

/** A process with a variable in its environment, that ends when told to, or not. */
const started = (name: string, value: string, script = "exec sleep 1000") =>
  Effect.acquireRelease(
    Effect.sync(() =>
      spawn("sh", ["-c", script], { env: { ...process.env, [name]: value }, stdio: "ignore", detached: true })
    ),
    (child) => Effect.sync(() => LocalHost.signal(-child.pid!, "SIGKILL")).pipe(Effect.flatten)
  ).pipe(
    Effect.map((child) => child.pid!),
    Effect.tap((pid) =>
      LocalHost.marked(`${name}=${value}`).pipe(
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
      const home = Object.entries(yield* LocalHost.environment)
        .find(([name]) => name === "PATH")!
        .join("=")
      const pids = yield* LocalHost.marked(home)
      assert.notInclude(pids, process.pid)
      assert.notInclude(pids, process.ppid)
    })
  )

  it.effect("kills what does not end when asked, and what was started meanwhile", () =>
    Effect.gen(function* () {
      const script = `trap 'setsid sleep 1001 & ' TERM; while :; do sleep 0.01; done`
      yield* started(marker, "stubborn", script)
      yield* Processes.end(marker, "stubborn")
      assert.deepStrictEqual(yield* LocalHost.marked(`${marker}=stubborn`), [])
    })
  )

  it.effect("reads the process table of a system without /proc", () =>
    Effect.sync(() => {
      const table = LocalHost.parsePs(
        [
          "    1     0 /sbin/launchd",
          "  501     1 sh -c x A=1 SANDBOX_BOX_KEY=k PATH=/bin",
          "",
          " 502   501 node B=k"
        ].join("\n")
      )
      assert.deepStrictEqual([...table.keys()], [1, 501, 502])
      assert.strictEqual(table.get(502)?.parent, 501)
      const carries = (pid: number, entry: string) => table.get(pid)?.carries(entry)
      assert.isTrue(carries(501, "SANDBOX_BOX_KEY=k"))
      assert.isTrue(carries(501, "PATH=/bin"))
      assert.isFalse(carries(501, "SANDBOX_BOX_KEY="))
      assert.isFalse(carries(501, "BOX_KEY=k"))
      assert.isFalse(carries(502, "SANDBOX_BOX_KEY=k"))
    })
  )
})
