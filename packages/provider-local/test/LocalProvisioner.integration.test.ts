import { spawn, spawnSync } from "node:child_process"
import { assert, layer } from "@effect/vitest"
import { Host } from "@org/sandbox-core/Host"
import { layerPlatform } from "@org/sandbox-core/node"
import { Processes } from "@org/sandbox-core/Processes"
import { Provisioner, type WorkspacePlacement } from "@org/sandbox-core/Provisioner"
import { InstanceRef, Spec } from "@org/sandbox-core/Session"
import localModule from "@org/sandbox-provider-local"
import * as Boxes from "@org/sandbox-provider-local/Boxes"
import * as LocalProvisioner from "@org/sandbox-provider-local/LocalProvisioner"
import { Effect, FileSystem, Layer, Schedule, Schema, Stream } from "effect"
import { ChildProcessSpawner } from "effect/process"
import { times } from "../../../test/support/sample.ts"
import { alive, directory, git, intent, layerAt, local, repository, run, source, worker, workerWith } from "./host.ts"

/** Runs with a provider over a fresh directory. */
const withProvider = <A, E, R>(use: (base: string) => Effect.Effect<A, E, R>) =>
  Effect.flatMap(directory, (base) => Effect.provide(use(base), layerAt(base)))

const worktrees = (path: string) => git(path, "worktree", "list", "--porcelain").match(/^worktree .*/gm)?.length ?? 0

const answer = (end: { readonly stdout: string }) => JSON.parse(end.stdout.split("\n").at(-2) ?? "null")

/** Waits until a worker has started its call. */
const ready = (child: Effect.Success<ReturnType<typeof worker>>["child"]) =>
  Effect.callback<void>((resume) => {
    child.stdout.once("data", () => resume(Effect.void))
  })

layer(Layer.orDie(layerPlatform), { excludeTestServices: true })("local boxes", (it) => {
  it.effect("I-105 are one per key, however many processes ask at once", () =>
    withProvider((base) =>
      Effect.gen(function* () {
        const { find, list } = yield* Provisioner
        const { key } = intent()
        const workers = yield* Effect.replicateEffect(worker(base, key, "provision"), 8)
        const refs = (yield* Effect.all(workers.map(({ ended }) => ended))).map(answer)
        const found = yield* find(key)
        assert.strictEqual(found._tag, "present")
        for (const ref of refs) assert.deepStrictEqual({ ...ref }, found._tag === "present" ? { ...found.ref } : {})
        assert.strictEqual((yield* Stream.runCollect(list("ldg_test"))).length, 1)
      })
    )
  )

  it.effect("I-105 are found by key and label, with what they were made with, readable by their owner alone", () =>
    withProvider((base) =>
      Effect.gen(function* () {
        const fs = yield* FileSystem.FileSystem
        const { machine } = yield* Host
        const { inspect, list, provision, scope } = yield* Provisioner
        const asked = intent()
        const ref = yield* provision(asked)
        assert.strictEqual(yield* scope, machine)
        assert.strictEqual(ref.scope, machine)
        assert.deepStrictEqual(yield* Stream.runCollect(list("ldg_test")), [{ ref, labels: asked.labels }])
        assert.deepStrictEqual(yield* Stream.runCollect(list("ldg_other")), [])
        assert.deepStrictEqual(yield* inspect(ref), { _tag: "running" })
        const mode = (path: string) => Effect.map(fs.stat(path), ({ mode }) => (mode & 0o777).toString(8))
        assert.strictEqual(yield* mode(`${base}/state/local/${asked.name}`), "700")
        assert.strictEqual(yield* mode(`${base}/state/local/${asked.name}/box.json`), "600")
        // What another process, or this one tomorrow, reads from its own record.
        const stored = InstanceRef.make(JSON.parse(JSON.stringify(ref)))
        assert.deepStrictEqual(yield* inspect(stored), { _tag: "running" })
      })
    )
  )

  it.effect("I-106 that were being made when their maker was killed are whole, or not there", () =>
    withProvider((base) =>
      Effect.gen(function* () {
        const fs = yield* FileSystem.FileSystem
        const { destroy, find, inspect, list } = yield* Provisioner
        const root = `${base}/state/local`
        for (const name of [".new-killed", ".trash-killed", ".new-old"]) {
          yield* fs.makeDirectory(`${root}/${name}/work`, { recursive: true })
        }
        const { self } = yield* Host
        const dead = JSON.stringify({ host: self.host, pid: 2 ** 22 + 1, startedAt: "once", nonce: 1 })
        for (const name of [".gone.lock", ".gone.lock.break"]) yield* fs.symlink(dead, `${root}/${name}`)
        const old = Date.now() / 1000 - 3700
        yield* fs.utimes(`${root}/.new-old`, old, old)
        assert.deepStrictEqual(yield* Stream.runCollect(list("ldg_test")), [])
        for (let delay = 0; delay < 12; delay++) {
          const { key } = intent()
          const { child, ended } = yield* worker(base, key, "provision")
          yield* ready(child)
          yield* Effect.sleep(delay)
          child.kill("SIGKILL")
          yield* ended
          const found = yield* find(key)
          if (found._tag === "present") assert.deepStrictEqual(yield* inspect(found.ref), { _tag: "running" })
          else assert.deepStrictEqual(found, { _tag: "absent" })
          yield* destroy(key)
          assert.deepStrictEqual(yield* find(key), { _tag: "absent" })
        }
        const { provision } = yield* Provisioner
        yield* destroy(yield* provision(intent()))
        const left = (yield* fs.readDirectory(root)).filter((name) => !name.startsWith(".new-"))
        assert.deepStrictEqual(left, [])
        assert.isFalse(yield* fs.exists(`${root}/.new-old`))
        assert.isTrue(yield* fs.exists(`${root}/.new-killed`))
      })
    )
  )

  it.effect("I-103 are gone for good: an old reference never reaches a later box of the same key", () =>
    withProvider(() =>
      Effect.gen(function* () {
        const { destroy, find, inspect, provision, stop } = yield* Provisioner
        const { exec, start } = yield* local
        const asked = intent()
        const old = yield* provision(asked)
        yield* destroy(old)
        const young = yield* provision(asked)
        assert.deepStrictEqual(yield* inspect(old), { _tag: "gone" })
        yield* stop(old)
        yield* destroy(old)
        assert.deepStrictEqual(yield* inspect(young), { _tag: "running" })
        assert.strictEqual((yield* Effect.flip(start(old))).reason, "NotFound")
        assert.strictEqual((yield* Effect.flip(Effect.scoped(exec(old, { argv: ["true"] })))).reason, "NotFound")
        assert.deepStrictEqual(yield* find(asked.key), { _tag: "present", ref: young })
      })
    )
  )

  it.effect("I-104 that appear between two looks are present, not damaged", () =>
    withProvider(() =>
      Effect.gen(function* () {
        const fs = yield* FileSystem.FileSystem
        const { provision } = yield* Provisioner
        const ref = yield* provision(intent())
        let looks = 0
        const late = FileSystem.FileSystem.of({
          ...fs,
          readFileString: (path) => Effect.suspend(() => fs.readFileString(looks++ === 0 ? `${path}-not-yet` : path))
        })
        const box = yield* Boxes.read(ref.key).pipe(Effect.provideService(FileSystem.FileSystem, late))
        assert.strictEqual(box?.id, ref.id)
      })
    )
  )

  it.effect("I-104 of a reference that an earlier version wrote are still looked for", () =>
    withProvider(() =>
      Effect.gen(function* () {
        const fs = yield* FileSystem.FileSystem
        const { destroy, inspect, stop } = yield* Provisioner
        const folder = new URL("fixtures/refs", import.meta.url).pathname
        for (const name of yield* fs.readDirectory(folder)) {
          const text = yield* fs.readFileString(`${folder}/${name}`)
          const ref = yield* Schema.decodeUnknownEffect(Schema.fromJsonString(InstanceRef))(text)
          assert.deepStrictEqual(yield* inspect(ref), { _tag: "gone" })
          yield* stop(ref)
          yield* destroy(ref)
        }
      })
    )
  )

  it.effect("I-104 that cannot be read are an error, never gone and never an empty list", () =>
    withProvider((base) =>
      Effect.gen(function* () {
        const fs = yield* FileSystem.FileSystem
        const { destroy, find, inspect, list, provision } = yield* Provisioner
        const [good, bad] = [yield* provision(intent()), yield* provision(intent())]
        const directory = `${base}/state/local/${bad.id.split("/")[0]}`
        for (const damage of [fs.writeFileString(`${directory}/box.json`, "{"), fs.remove(`${directory}/box.json`)]) {
          yield* damage
          for (const look of [find(bad.key), inspect(bad), destroy(bad.key)]) {
            const error = yield* Effect.flip<unknown, { reason: string; message: string }, never>(look)
            assert.strictEqual(error.reason, "Unknown")
            assert.include(error.message, directory)
          }
          const seen: Array<string> = []
          const listing = Stream.runForEach(list("ldg_test"), ({ ref }) => Effect.sync(() => seen.push(ref.key)))
          assert.strictEqual((yield* Effect.flip(listing)).reason, "Unknown")
          assert.deepStrictEqual(seen, [good.key])
        }
        yield* fs.rename(`${base}/state`, `${base}/away`)
        yield* fs.writeFileString(`${base}/state`, "not a directory")
        for (const look of [find(good.key), inspect(good), Stream.runCollect(list("ldg_test"))]) {
          assert.strictEqual((yield* Effect.flip<unknown, { reason: string }, never>(look)).reason, "Invalid")
        }
      })
    )
  )

  it.effect("I-107 refuse a spec that this host cannot honour, and make nothing", () =>
    withProvider((base) =>
      Effect.gen(function* () {
        const fs = yield* FileSystem.FileSystem
        const { find, preflight, provision } = yield* Provisioner
        yield* preflight(new Spec({}))
        for (const spec of [new Spec({ image: "x" }), new Spec({ cpus: 1 }), new Spec({ memory: 1 })]) {
          const asked = intent({ spec })
          for (const refused of [preflight(spec), provision(asked)]) {
            const error = yield* Effect.flip<unknown, { reason: string; outcome: string; message: string }, never>(
              refused
            )
            assert.deepInclude({ ...error }, { reason: "Unsupported", outcome: "not_applied" })
            assert.include(error.message, Object.keys(spec).join())
          }
          assert.deepStrictEqual(yield* find(asked.key), { _tag: "absent" })
        }
        assert.isFalse(yield* fs.exists(`${base}/state`))
      })
    )
  )

  it.effect("can be stopped from inside, which ends everything else in them", () =>
    withProvider((base) =>
      Effect.gen(function* () {
        const { inspect, provision } = yield* Provisioner
        const { key } = intent()
        const ref = yield* provision(intent({ key }))
        const { exec } = yield* local
        const sleeper = yield* exec(ref, { argv: ["sleep", "1000"] })
        const script = new URL("worker.ts", import.meta.url).pathname
        const node = [process.execPath, "--conditions=@org/source", "--disable-warning=ExperimentalWarning", script]
        const { code, err } = yield* run(ref, [...node, base, key, "stop"])
        assert.deepStrictEqual({ code, err }, { code: 0, err: "" })
        assert.deepInclude(yield* sleeper.exit, { signal: "SIGTERM" })
        assert.deepStrictEqual(yield* inspect(ref), { _tag: "stopped" })
      })
    )
  )

  it.effect("start nothing that a stop could not have seen", () =>
    withProvider(() =>
      Effect.gen(function* () {
        const { provision, stop } = yield* Provisioner
        const ref = yield* provision(intent())
        const real = yield* ChildProcessSpawner.ChildProcessSpawner
        const late = ChildProcessSpawner.make((command) => Effect.andThen(Effect.orDie(stop(ref)), real.spawn(command)))
        const { exec } = yield* local.pipe(
          Effect.provide(Layer.fresh(LocalProvisioner.layer)),
          Effect.provideService(ChildProcessSpawner.ChildProcessSpawner, late)
        )
        yield* Effect.gen(function* () {
          assert.strictEqual((yield* Effect.flip(exec(ref, { argv: ["sleep", "1000"] }))).reason, "NotReady")
          const running = Effect.flatMap(Processes, ({ marked }) => marked(`SANDBOX_BOX_KEY=${ref.key}`))
          const options = {
            until: (pids: ReadonlyArray<number>) => pids.length === 0,
            times: 50,
            schedule: Schedule.spaced("20 millis")
          }
          assert.deepStrictEqual(yield* Effect.repeat(running, options), [])
        }).pipe(Effect.scoped)
      })
    )
  )

  it.effect("whose stop was killed are neither up nor halted, and are stopped by the next", () =>
    withProvider((base) =>
      Effect.gen(function* () {
        const { inspect, provision, stop } = yield* Provisioner
        const { exec, start } = yield* local
        const ref = yield* provision(intent())
        const handle = yield* exec(ref, { argv: ["sh", "-c", "trap '' TERM; echo $$; while :; do sleep 0.05; done"] })
        const [first] = yield* Stream.runCollect(Stream.take(handle.output, 1))
        const pid = Number(Buffer.from(first!.bytes).toString())
        const { child, ended } = yield* worker(base, ref.key, "stop")
        yield* ready(child)
        const refused = Effect.flip(Effect.scoped(exec(ref, { argv: ["true"] })))
        yield* refused.pipe(Effect.retry({ times: 500, schedule: Schedule.spaced("5 millis") }))
        child.kill("SIGKILL")
        yield* ended
        assert.strictEqual((yield* inspect(ref))._tag, "unknown")
        assert.isTrue(alive(pid))
        yield* stop(ref)
        assert.isFalse(alive(pid))
        assert.deepStrictEqual(yield* inspect(ref), { _tag: "stopped" })
        yield* start(ref)
        assert.strictEqual((yield* run(ref, ["true"])).code, 0)
      })
    )
  )

  it.effect("have a directory for what belongs to the session, which a halt keeps and a removal takes along", () =>
    withProvider((base) =>
      Effect.gen(function* () {
        const fs = yield* FileSystem.FileSystem
        const { destroy, provision, stop } = yield* Provisioner
        const { exec, start } = yield* local
        const asked = intent()
        const ref = yield* provision(asked)
        const own = `${base}/state/local/${asked.name}/run`
        assert.strictEqual(((yield* fs.stat(own)).mode & 0o777).toString(8), "700")
        // A box of an earlier version has none yet.
        yield* fs.remove(own, { recursive: true })
        const script =
          'test -d "$SANDBOX_RUN_DIR" && umask 077 && echo kept > "$SANDBOX_RUN_DIR/file" && echo "$SANDBOX_RUN_DIR"'
        assert.deepInclude(yield* run(ref, ["sh", "-c", script]), { code: 0, out: `${own}\n` })
        assert.strictEqual(((yield* fs.stat(own)).mode & 0o777).toString(8), "700")
        yield* stop(ref)
        yield* start(ref)
        assert.strictEqual((yield* run(ref, ["cat", `${own}/file`])).out, "kept\n")
        yield* destroy(ref)
        assert.isFalse(yield* fs.exists(`${base}/state/local/${asked.name}`))
        yield* Effect.flip(Effect.scoped(exec(ref, { argv: ["true"] })))
        yield* Effect.flip(Boxes.runDirectory(ref.key))
        assert.isFalse(yield* fs.exists(`${base}/state/local/${asked.name}`))
      })
    )
  )

  it.effect("I-106 that were never made, or are gone, leave no process behind that carries their mark", () =>
    withProvider(() =>
      Effect.gen(function* () {
        const { destroy, find, provision, stop } = yield* Provisioner
        const stray = (key: string) =>
          Effect.acquireRelease(
            Effect.callback<ReturnType<typeof spawn>>((resume) => {
              const child = spawn("sleep", ["1000"], {
                detached: true,
                stdio: "ignore",
                env: { ...process.env, SANDBOX_BOX_KEY: key }
              })
              child.once("spawn", () => resume(Effect.succeed(child)))
            }),
            (child) => Effect.sync(() => child.kill("SIGKILL"))
          ).pipe(Effect.map(({ pid = 0 }) => pid))
        const [{ key }, other, asked] = [intent(), intent(), intent()]
        const [pid, bystander] = [yield* stray(key), yield* stray(other.key)]
        yield* destroy(key)
        assert.deepStrictEqual([alive(pid), alive(bystander)], [false, true])
        assert.deepStrictEqual(yield* find(key), { _tag: "absent" })

        const old = yield* provision(asked)
        yield* destroy(old)
        const left = yield* stray(asked.key)
        yield* stop(old)
        assert.isFalse(alive(left))
        // Those of a later box of the same key are that one's.
        const young = yield* provision(asked)
        const running = yield* stray(asked.key)
        yield* stop(old)
        yield* destroy(old)
        assert.isTrue(alive(running))
        yield* destroy(young)
        assert.deepStrictEqual([alive(running), alive(bystander)], [false, true])
      }).pipe(Effect.scoped)
    )
  )

  it.effect("are reached on this host at their own ports", () =>
    withProvider(() =>
      Effect.gen(function* () {
        const { destroy, hostPorts, provision } = yield* Provisioner
        const { endpoint } = yield* local
        const ref = yield* provision(intent())
        assert.isTrue(hostPorts)
        assert.strictEqual(yield* endpoint(ref, 8080), "http://127.0.0.1:8080")
        for (const port of [0, -1, 65_536, 1.5]) {
          assert.strictEqual((yield* Effect.flip(endpoint(ref, port))).reason, "Invalid")
        }
        yield* destroy(ref)
        assert.strictEqual((yield* Effect.flip(endpoint(ref, 8080))).reason, "NotFound")
      })
    )
  )

  it.effect("are what the package's default export provides", () =>
    withProvider(() =>
      Effect.gen(function* () {
        assert.deepInclude(localModule, { apiVersion: 1, name: "local" })
        const built = yield* Layer.build(localModule.layer({}))
        assert.isDefined(built)
      })
    )
  )
})

layer(Layer.orDie(layerPlatform), { excludeTestServices: true })("checkouts of many processes", (it) => {
  for (const fallback of ["a name of its own", "one name for all"]) {
    it.effect(
      `are all placed when 16 attach one branch at once, with ${fallback} to fall back to`,
      () =>
        withProvider((base) =>
          Effect.gen(function* () {
            const { destroy } = yield* Provisioner
            const top = yield* repository
            const keys = Array.from({ length: 16 }, () => intent().key)
            const workers = yield* Effect.forEach(keys, (key, n) => {
              const fallbackBranch = fallback === "one name for all" ? "sandbox/x" : `sandbox/${n}`
              return worker(base, key, "attach", JSON.stringify({ ...source(top), fallbackBranch }))
            })
            const placed = (yield* Effect.all(workers.map(({ ended }) => ended))).map((end): WorkspacePlacement => {
              assert.strictEqual(end.code, 0)
              return answer(end)
            })
            const branches = placed.map(({ branch }) => branch)
            assert.strictEqual(new Set(branches).size, 16)
            assert.strictEqual(branches.filter((branch) => branch === "work").length, 1)
            for (const { branch, path = "" } of placed) {
              assert.strictEqual(git(path, "symbolic-ref", "--short", "HEAD"), branch)
              assert.strictEqual(git(path, "status", "--porcelain"), "")
            }
            assert.strictEqual(worktrees(top), 17)
            yield* Effect.forEach(keys, destroy, { concurrency: "unbounded" })
            assert.strictEqual(worktrees(top), 1)
            assert.strictEqual(git(top, "for-each-ref", "--format=%(refname:short)", "refs/heads"), "main\nwork")
          })
        ),
      60_000
    )
  }

  for (const kind of ["worktree", "clone"] as const) {
    it.effect(
      `I-83 are made whole by the next attach after a kill at any moment, as a ${kind}`,
      () =>
        withProvider((base) =>
          Effect.gen(function* () {
            const fs = yield* FileSystem.FileSystem
            const { destroy, find } = yield* Provisioner
            const { workspace } = yield* local
            const top = yield* repository
            for (let n = 0; n < 300; n++) yield* fs.writeFileString(`${top}/${n}`, "x".repeat(n))
            git(top, "add", "--all")
            git(top, "commit", "--quiet", "--message", "many")
            const head = git(top, "rev-parse", "HEAD")
            const asked = {
              ...source(top, { branch: "new", commit: head }),
              repository: kind === "clone" ? `file://${top}` : top
            }
            let killed = 0
            for (let round = 0; round < times(20, 8); round++) {
              const { key } = intent()
              const { child, ended } = yield* worker(base, key, "attach", JSON.stringify(asked))
              yield* ready(child)
              yield* Effect.sleep(round * (kind === "clone" ? 6 : 4))
              // Every other time its git dies with it, as in a power cut; else git goes on alone for a while.
              if (round % 2 === 0) {
                child.kill("SIGSTOP")
                const children = spawnSync("ps", ["-o", "pid=", "--ppid", String(child.pid)], {
                  encoding: "utf8"
                }).stdout
                for (const pid of children.trim().split(/\s+/).filter(Boolean)) {
                  try {
                    process.kill(-Number(pid), "SIGKILL")
                  } catch {
                    // it has ended by itself
                  }
                }
              }
              child.kill("SIGKILL")
              if ((yield* ended).signal === "SIGKILL") killed += 1
              const found = yield* find(key)
              if (found._tag === "present") {
                const { branch, path = "", warnings } = yield* workspace.attach(found.ref, asked)
                assert.deepStrictEqual({ branch, warnings }, { branch: "new", warnings: [] })
                assert.strictEqual(git(path, "status", "--porcelain"), "")
                assert.strictEqual(git(path, "rev-parse", "new"), head)
                assert.strictEqual(worktrees(top), kind === "clone" ? 1 : 2)
              }
              yield* destroy(key)
              assert.strictEqual(worktrees(top), 1)
              assert.strictEqual(git(top, "for-each-ref", "--format=%(refname:short)", "refs/heads"), "main\nwork")
            }
            assert.isAbove(killed, 5)
            const left = (yield* fs.readDirectory(`${base}/state/local`)).filter((name) => !name.startsWith(".new-"))
            assert.deepStrictEqual(left, [])
            assert.isFalse(yield* fs.exists(`${top}/.git/sandbox.lock`))
          })
        ),
      120_000
    )
  }

  it.effect("are not disturbed by the git of a killed attach, which the next one ends", () =>
    withProvider((base) =>
      Effect.gen(function* () {
        const fs = yield* FileSystem.FileSystem
        const { workspace } = yield* local
        const top = yield* repository
        const { key } = intent()
        const bin = yield* directory
        const real = process.env["PATH"]
        const hang = `case "$*" in *reset*) echo $$ > ${bin}/new; mv ${bin}/new ${bin}/pid; exec sleep 1000;; esac`
        yield* fs.writeFileString(`${bin}/git`, `#!/bin/sh\n${hang}\nPATH=${real} exec git "$@"\n`, { mode: 0o755 })
        const slow = { PATH: `${bin}:${real}` }
        const { child, ended } = yield* workerWith(slow, base, key, "attach", JSON.stringify(source(top)))
        const pid = Number(yield* Effect.eventually(fs.readFileString(`${bin}/pid`)))
        child.kill("SIGKILL")
        yield* ended
        assert.isTrue(alive(pid))
        const found = yield* (yield* Provisioner).find(key)
        if (found._tag !== "present") throw new Error(found._tag)
        const { path = "" } = yield* workspace.attach(found.ref, source(top))
        assert.isFalse(alive(pid))
        assert.strictEqual(git(path, "status", "--porcelain"), "")
      })
    )
  )

  it.effect(
    "I-103 are removed whole by the next destroy after a kill at any moment",
    () =>
      withProvider((base) =>
        Effect.gen(function* () {
          const fs = yield* FileSystem.FileSystem
          const { destroy, find, provision } = yield* Provisioner
          const { workspace } = yield* local
          const top = yield* repository
          for (let round = 0; round < times(12, 6); round++) {
            const asked = intent()
            yield* workspace.attach(
              yield* provision(asked),
              source(top, { branch: "new", commit: git(top, "rev-parse", "main") })
            )
            const { child, ended } = yield* worker(base, asked.key, "destroy")
            yield* ready(child)
            yield* Effect.sleep(round * 8)
            child.kill("SIGKILL")
            yield* ended
            yield* destroy(asked.key)
            assert.deepStrictEqual(yield* find(asked.key), { _tag: "absent" })
            assert.strictEqual(worktrees(top), 1)
            assert.strictEqual(git(top, "for-each-ref", "--format=%(refname:short)", "refs/heads"), "main\nwork")
          }
          yield* destroy(yield* provision(intent()))
          const left = (yield* fs.readDirectory(`${base}/state/local`)).filter((name) => !name.startsWith(".new-"))
          assert.deepStrictEqual(left, [])
        })
      ),
    60_000
  )
})
