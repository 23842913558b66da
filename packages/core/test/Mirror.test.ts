import { assert, layer } from "@effect/vitest"
import { Directories } from "@org/sandbox-core/Host"
import * as Mirror from "@org/sandbox-core/Mirror"
import { Effect, FileSystem } from "effect"
import { commit, directories, directory, git, repository, served, layer as services, worker } from "./git.ts"

/** A real git that first writes its arguments to a log, and runs `before`. */
const loggedGit = Effect.fnUntraced(function* (before = "") {
  const fs = yield* FileSystem.FileSystem
  const bin = yield* directory
  const real = process.env["PATH"]
  yield* fs.writeFileString(`${bin}/log`, "")
  yield* fs.writeFileString(
    `${bin}/git`,
    `#!/bin/sh\necho "$*" >> ${bin}/log\n${before}\nPATH=${real} exec git "$@"\n`,
    {
      mode: 0o755
    }
  )
  const count = (word: string) =>
    Effect.map(fs.readFileString(`${bin}/log`), (log) => log.split("\n").filter((line) => line.includes(word)).length)
  return { env: { PATH: `${bin}:${real}` }, count, bin }
})

const ensure = (base: string, url: string, commit: string) =>
  Mirror.ensure(url, commit).pipe(Effect.provideService(Directories, directories(base)))

layer(services, { excludeTestServices: true })("the mirror of a remote repository", (it) => {
  it.effect("is one clone for many processes, complete when it appears", () =>
    Effect.gen(function* () {
      const fs = yield* FileSystem.FileSystem
      const base = yield* directory
      const top = yield* repository
      const url = yield* served(top)
      const head = git(top, "rev-parse", "HEAD")
      const { env, count } = yield* loggedGit("sleep 0.2")
      const workers = yield* Effect.all(
        Array.from({ length: 4 }, () => worker("mirrorWorker.ts", [base, url, head], env))
      )
      const ends = yield* Effect.all(workers.map(({ ended }) => ended))
      const mirror = yield* ensure(base, url, head)
      for (const end of ends) assert.deepStrictEqual(end, { code: 0, signal: null, stdout: `${mirror}\n` })
      assert.match(mirror, new RegExp(`^${base}/cache/mirrors/[0-9a-f]{32}\\.git$`))
      assert.strictEqual(yield* count("clone"), 1)
      assert.strictEqual(yield* count("fetch"), 0)
      assert.strictEqual(git(mirror, "rev-parse", "main"), head)
      assert.deepStrictEqual(yield* fs.readDirectory(`${mirror}/..`), [mirror.slice(mirror.lastIndexOf("/") + 1)])
      assert.isFalse(yield* fs.exists(`${mirror}/hooks`))
    })
  )

  it.effect("is fetched only for a commit that it lacks, and follows what the remote removed", () =>
    Effect.gen(function* () {
      const base = yield* directory
      const top = yield* repository
      const url = `file://${top}`
      git(top, "branch", "gone")
      const first = git(top, "rev-parse", "HEAD")
      const mirror = yield* ensure(base, url, first)
      const second = commit(top, "second")
      git(top, "branch", "--delete", "--force", "gone")
      yield* ensure(base, url, first)
      assert.strictEqual(git(mirror, "rev-parse", "main"), first)
      yield* ensure(base, url, second)
      assert.strictEqual(git(mirror, "for-each-ref", "--format=%(refname) %(objectname)"), `refs/heads/main ${second}`)
    })
  )

  it.effect("gives out a commit that no branch has any more", () =>
    Effect.gen(function* () {
      const base = yield* directory
      const top = yield* repository
      const url = `file://${top}`
      git(top, "config", "uploadpack.allowAnySHA1InWant", "true")
      const first = git(top, "rev-parse", "HEAD")
      const rewound = commit(top, "second")
      git(top, "reset", "--quiet", "--hard", first)
      const mirror = yield* ensure(base, url, rewound)
      const clone = yield* directory
      git(clone, "init", "--quiet")
      git(clone, "-c", "protocol.version=0", "fetch", "--quiet", mirror, rewound)
      assert.strictEqual(git(clone, "rev-parse", "FETCH_HEAD"), rewound)
    })
  )

  it.effect("of a clone that was killed is made again, and the rest of the killed one removed", () =>
    Effect.gen(function* () {
      const fs = yield* FileSystem.FileSystem
      const base = yield* directory
      const top = yield* repository
      const url = `file://${top}`
      const head = git(top, "rev-parse", "HEAD")
      const { env, bin } = yield* loggedGit('echo $$ > "$(dirname "$0")/pid"; sleep 1000')
      const { child, ended } = yield* worker("mirrorWorker.ts", [base, url, head], env)
      const pid = Number(yield* fs.readFileString(`${bin}/pid`).pipe(Effect.filterOrFail(Boolean), Effect.eventually))
      child.kill("SIGKILL")
      yield* ended
      process.kill(-pid, "SIGKILL")
      const mirrors = `${base}/cache/mirrors`
      assert.strictEqual((yield* fs.readDirectory(mirrors)).filter((name) => name.startsWith("clone-")).length, 1)
      const old = (Date.now() - 3_700_000) / 1000
      for (const name of ["clone-old", "clone-new"]) yield* fs.makeDirectory(`${mirrors}/${name}`)
      yield* fs.utimes(`${mirrors}/clone-old`, old, old)
      const mirror = yield* ensure(base, url, head)
      // Whoever is making the new one may be on another host: it is not ours to judge yet.
      const names = (yield* fs.readDirectory(mirrors)).sort()
      assert.deepStrictEqual(names, [mirror.slice(mirrors.length + 1), "clone-new"].sort())
    })
  )

  it.effect("that cannot be made leaves nothing, and says what to check", () =>
    Effect.gen(function* () {
      const fs = yield* FileSystem.FileSystem
      const base = yield* directory
      const top = yield* repository
      const none = yield* Effect.flip(ensure(base, `file://${base}/none`, "0".repeat(40)))
      assert.strictEqual(none.code, "ERR_WORKSPACE_FAILED")
      assert.include(none.nextStep, "access")
      assert.deepStrictEqual(yield* fs.readDirectory(`${base}/cache/mirrors`), [])
      const lacking = yield* Effect.flip(ensure(base, `file://${top}`, "0".repeat(40)))
      assert.strictEqual(lacking.code, "ERR_WORKSPACE_FAILED")
    })
  )
})
