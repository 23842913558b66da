import { assert, layer } from "@effect/vitest"
import { Host } from "@org/sandbox-core/Host"
import * as RepositoryLock from "@org/sandbox-core/RepositoryLock"
import { Deferred, Effect, Fiber, FileSystem, Schedule } from "effect"
import { directory, git, repository, layer as services, worker } from "./git.ts"

const held = (host: Partial<Host["Service"]["self"]>) =>
  Effect.map(Host, ({ self }) => JSON.stringify({ ...self, ...host, nonce: 1 }))

/** A pid that belonged to nobody for longer than this test runs. */
const deadPid = 2 ** 22 + 1

layer(services, { excludeTestServices: true })("a repository lock", (it) => {
  it.effect("is one file for all worktrees of a repository", () =>
    Effect.gen(function* () {
      const top = yield* repository
      const tree = `${yield* directory}/tree`
      git(top, "worktree", "add", "--quiet", "-b", "other", tree)
      assert.strictEqual(yield* RepositoryLock.fileOf(top), `${top}/.git/sandbox.lock`)
      assert.strictEqual(yield* RepositoryLock.fileOf(tree), `${top}/.git/sandbox.lock`)
    })
  )

  it.effect("is held while the effect runs, names its holder, and goes however the effect ends", () =>
    Effect.gen(function* () {
      const fs = yield* FileSystem.FileSystem
      const { self } = yield* Host
      const folder = yield* directory
      const file = `${folder}/lock`
      const inside = yield* Deferred.make<void>()
      const fiber = yield* Deferred.succeed(inside, undefined).pipe(
        Effect.andThen(Effect.never),
        RepositoryLock.withLock(file),
        Effect.forkChild
      )
      yield* Deferred.await(inside)
      assert.deepInclude(JSON.parse(yield* fs.readLink(file)), { ...self })
      yield* Fiber.interrupt(fiber)
      assert.deepStrictEqual(yield* fs.readDirectory(folder), [])
      assert.strictEqual(yield* Effect.fail("no").pipe(RepositoryLock.withLock(file), Effect.flip), "no")
      assert.deepStrictEqual(yield* fs.readDirectory(folder), [])
    })
  )

  it.effect("of a live holder is waited for up to the bound, and then named", () =>
    Effect.gen(function* () {
      const fs = yield* FileSystem.FileSystem
      const file = `${yield* directory}/lock`
      yield* fs.symlink(yield* held({}), file)
      const error = yield* Effect.void.pipe(RepositoryLock.withLock(file, { timeout: "300 millis" }), Effect.flip)
      assert.deepInclude({ ...error }, { code: "ERR_LOCK_TIMEOUT", retryable: true })
      assert.include(error.message, String(process.pid))
      assert.include(error.nextStep, `rm ${file}`)
      const waiting = yield* Effect.void.pipe(RepositoryLock.withLock(file), Effect.forkChild)
      yield* Effect.sleep("200 millis")
      assert.isUndefined(waiting.pollUnsafe())
      yield* fs.remove(file)
      yield* Fiber.join(waiting)
    })
  )

  it.effect("can be given up while waiting", () =>
    Effect.gen(function* () {
      const fs = yield* FileSystem.FileSystem
      const file = `${yield* directory}/lock`
      const text = yield* held({})
      yield* fs.symlink(text, file)
      const waiting = yield* Effect.void.pipe(RepositoryLock.withLock(file), Effect.forkChild)
      yield* Effect.sleep("100 millis")
      yield* Fiber.interrupt(waiting).pipe(Effect.timeout("1 second"))
      assert.strictEqual(yield* fs.readLink(file), text)
    })
  )

  it.effect("of a dead holder is broken, and so is the lock on breaking it", () =>
    Effect.gen(function* () {
      const fs = yield* FileSystem.FileSystem
      const folder = yield* directory
      const dead = [yield* held({ pid: deadPid }), yield* held({ startedAt: "another process of this pid" })]
      for (const text of dead) {
        yield* fs.symlink(text, `${folder}/lock`)
        yield* fs.symlink(text, `${folder}/lock.break`)
        yield* Effect.void.pipe(RepositoryLock.withLock(`${folder}/lock`, { timeout: "2 seconds" }))
        assert.deepStrictEqual(yield* fs.readDirectory(folder), [])
      }
    })
  )

  it.effect("of a dead holder is broken by one of two, and never the new holder's", () =>
    Effect.gen(function* () {
      const fs = yield* FileSystem.FileSystem
      const file = `${yield* directory}/lock`
      yield* fs.symlink(yield* held({ pid: deadPid }), file)
      let inside = 0
      let most = 0
      const enter = Effect.acquireUseRelease(
        Effect.sync(() => (most = Math.max(most, ++inside))),
        () => Effect.sleep("200 millis"),
        () => Effect.sync(() => inside--)
      ).pipe(RepositoryLock.withLock(file))
      // The slow one stops between its judgement and the removal, for long enough that the other could get in.
      const slow = { ...fs, remove: (path: string) => Effect.delay(fs.remove(path), path === file ? "100 millis" : 0) }
      yield* Effect.all([Effect.provideService(enter, FileSystem.FileSystem, slow), Effect.delay(enter, "30 millis")], {
        concurrency: "unbounded"
      })
      assert.strictEqual(most, 1)
    })
  )

  it.effect("that nobody can judge is respected for an hour, and then abandoned", () =>
    Effect.gen(function* () {
      const fs = yield* FileSystem.FileSystem
      const folder = yield* directory
      const file = `${folder}/lock`
      const attempt = Effect.void.pipe(RepositoryLock.withLock(file, { timeout: "100 millis" }))
      yield* fs.symlink(yield* held({ host: "another machine", pid: deadPid }), file)
      assert.strictEqual((yield* Effect.flip(attempt)).code, "ERR_LOCK_TIMEOUT")
      yield* fs.remove(file)
      yield* fs.writeFileString(file, "not ours")
      assert.strictEqual((yield* Effect.flip(attempt)).code, "ERR_LOCK_TIMEOUT")
      const now = Date.now() / 1000
      yield* fs.utimes(file, now - 3500, now - 3500)
      assert.strictEqual((yield* Effect.flip(attempt)).code, "ERR_LOCK_TIMEOUT")
      yield* fs.utimes(file, now - 3700, now - 3700)
      yield* Effect.void.pipe(RepositoryLock.withLock(file, { timeout: "30 seconds" }))
      assert.deepStrictEqual(yield* fs.readDirectory(folder), [])
    })
  )

  it.effect("in a place that cannot be written is an error, not a wait", () =>
    Effect.gen(function* () {
      const error = yield* Effect.void.pipe(RepositoryLock.withLock(`${yield* directory}/none/lock`), Effect.flip)
      assert.deepInclude({ ...error }, { code: "ERR_WORKSPACE_FAILED", retryable: false })
    })
  )

  it.effect("admits one process at a time while holders are killed", () =>
    Effect.gen(function* () {
      const fs = yield* FileSystem.FileSystem
      const folder = yield* directory
      const lock = `${folder}/lock`
      const start = (times: number) => worker("lockWorker.ts", [lock, folder, String(times)])
      const victims = yield* Effect.all(Array.from({ length: 3 }, () => start(100_000)))
      const workers = yield* Effect.all(Array.from({ length: 3 }, () => start(100)))
      // Kills each victim while it holds the lock.
      for (const { child, ended } of victims) {
        yield* fs.readLink(lock).pipe(
          Effect.map((text) => JSON.parse(text).pid === child.pid),
          Effect.orElseSucceed(() => false),
          Effect.repeat({ until: (holds) => holds, schedule: Schedule.spaced("1 millis") })
        )
        child.kill("SIGKILL")
        yield* ended
      }
      for (const { ended } of workers) assert.deepInclude(yield* ended, { code: 0, signal: null })
      yield* Effect.void.pipe(RepositoryLock.withLock(lock))
      assert.isFalse(yield* fs.exists(`${folder}/violations`))
      assert.isAtLeast((yield* fs.readFileString(`${folder}/entered`)).length, 3 * 100)
      assert.deepStrictEqual(
        (yield* fs.readDirectory(folder)).filter((name) => name.startsWith("lock")),
        []
      )
    })
  )
})
