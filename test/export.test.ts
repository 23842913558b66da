/** Taking work out of a session: what arrives, what stays as it is, and what is refused. */
import { execFileSync } from "node:child_process"
import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs"
import { dirname, join } from "node:path"
import { assert, describe, layer } from "@effect/vitest"
import { Effect } from "effect"
import { vi } from "vitest"
import { Connected } from "./support/client.ts"
import { committable, exported, filesOf, refused, row, tip, worked } from "./support/exports.ts"
import { everything, listing } from "./support/work.ts"

// one world for all: a process has one environment
layer(Connected.layer, { excludeTestServices: true })("an export", (it) => {
  describe("to a branch", () => {
    it.effect("has all the work, committed and not, and leaves the checkout as it is", () =>
      Effect.gen(function* () {
        const { client, w } = yield* Connected
        const { directory, targetCommitSha } = yield* worked("all")
        const before = everything(directory)
        const result = yield* exported("all")
        assert.deepEqual(everything(directory), before)
        assert.deepInclude(result, { state: "ready", to: "branch", branch: "sandbox/all", target: w.repository })
        assert.isTrue(result.uncommitted)
        assert.isFalse(result.autoTeardown.destroyed)
        assert.strictEqual(tip(w, "sandbox/all"), result.commit)
        assert.strictEqual(w.git("rev-parse", `${result.commit}^`), before.head)
        assert.deepEqual(filesOf(w, result.commit), committable(directory))

        const artifact = result.artifact!
        assert.strictEqual(statSync(artifact).mode & 0o777, 0o600)
        assert.strictEqual(w.git("bundle", "list-heads", artifact), `${result.commit} refs/heads/sandbox/all`)
        assert.include(w.git("bundle", "verify", artifact), targetCommitSha)
        const { lastExport } = yield* Effect.promise(() => client.status({ session: "all" }))
        assert.deepInclude(lastExport, { to: "branch", branch: "sandbox/all", commit: result.commit })
      })
    )

    it.effect("is made once for the same work, and moves its own branch for other work", () =>
      Effect.gen(function* () {
        const { client, w } = yield* Connected
        const { directory } = yield* worked("once")
        const first = yield* exported("once")
        const again = yield* exported("once")
        assert.deepInclude(again, { already: true, commit: first.commit, artifact: first.artifact })
        const { events } = yield* Effect.promise(() => client.history({ session: "once" }))
        assert.lengthOf(
          events.filter(({ type }) => type === "exported"),
          1
        )

        writeFileSync(join(directory, "src.txt"), "changed again\n")
        const second = yield* exported("once")
        assert.isUndefined(second.already)
        assert.notStrictEqual(second.commit, first.commit)
        assert.strictEqual(tip(w, "sandbox/once"), second.commit)

        w.git("update-ref", "-d", "refs/heads/sandbox/once")
        assert.isUndefined((yield* exported("once")).already, "a branch that is gone is made again")
        assert.strictEqual(tip(w, "sandbox/once"), second.commit)
      })
    )

    it.effect("is answered again for the same request id, and not made", () =>
      Effect.gen(function* () {
        const { w } = yield* Connected
        yield* worked("keyed")
        const key = { clientRequestId: "k" }
        const keyed = yield* exported("keyed", key)
        w.git("update-ref", "-d", "refs/heads/sandbox/keyed")
        assert.deepInclude(yield* exported("keyed", key), { replayed: true, commit: keyed.commit })
        assert.strictEqual(tip(w, "sandbox/keyed"), "")
        yield* refused("ERR_IDEMPOTENCY_MISMATCH", (client) =>
          client.exportSession({ session: "keyed", branch: "x", ...key })
        )
      })
    )

    it.effect("replaces nobody else's work but by force, and never what is checked out", () =>
      Effect.gen(function* () {
        const { w } = yield* Connected
        const { sessionId } = yield* worked("mine")
        const theirs = join(w.directory, "theirs")
        w.git("worktree", "add", "--quiet", "-b", "sandbox/mine", theirs, "main")
        w.git("-C", theirs, "commit", "--quiet", "--allow-empty", "-m", "theirs")
        const commit = tip(w, "sandbox/mine")
        for (const force of [false, true]) {
          const held = yield* refused("ERR_EXPORT_FAILED", (client) => client.exportSession({ session: "mine", force }))
          assert.include(held.message, `is checked out in ${theirs}`)
        }
        w.git("worktree", "remove", "--force", theirs)

        const error = yield* refused("ERR_EXPORT_FAILED", (client) => client.exportSession({ session: "mine" }))
        assert.include(error.nextStep, `\`sandbox export ${sessionId} --branch sandbox/mine --force\``)
        assert.strictEqual(tip(w, "sandbox/mine"), commit)
        const free = { state: "ready", export_lock: null, last_export: null, claim_kind: null }
        assert.deepInclude(row(w, sessionId), free)
        const forced = yield* exported("mine", { force: true })
        assert.strictEqual(tip(w, "sandbox/mine"), forced.commit)

        // somebody goes on from there: that is not ours to replace any more
        const next = w.git("commit-tree", `${forced.commit}^{tree}`, "-p", forced.commit, "-m", "theirs")
        w.git("update-ref", "refs/heads/sandbox/mine", next)
        yield* refused("ERR_EXPORT_FAILED", (client) => client.exportSession({ session: "mine" }))
        assert.strictEqual(tip(w, "sandbox/mine"), next)
      })
    )

    it.effect("never moves a branch back over a commit that somebody made, although it was at it", () =>
      Effect.gen(function* () {
        const { client, w } = yield* Connected
        const user = w.git("commit-tree", "main^{tree}", "-p", "main", "-m", "the user's")
        w.git("update-ref", "refs/heads/user", user)
        const request = {
          repository: w.repository,
          branch: "follows",
          base: "user",
          provider: "local",
          name: "follows"
        }
        const up = yield* Effect.promise(() => client.up(request))
        const directory = up.worktreePath!
        assert.deepInclude(yield* exported("follows", { branch: "user" }), { already: true, commit: user })
        w.git("-C", directory, "reset", "--quiet", "--hard", "HEAD~1")
        writeFileSync(join(directory, "new.txt"), "other work\n")
        const error = yield* refused("ERR_EXPORT_FAILED", (client) =>
          client.exportSession({ session: "follows", branch: "user" })
        )
        assert.include(error.message, "has work that this session has not")
        assert.strictEqual(tip(w, "user"), user)
      })
    )

    it.effect("reaches a repository that is a URL, and runs nothing that the session's own checkout configures", () =>
      Effect.gen(function* () {
        const { w } = yield* Connected
        const { directory } = yield* worked("url", w.url)
        const ran = join(w.directory, "ran")
        writeFileSync(join(directory, ".git/hooks/pre-push"), `#!/bin/sh\ntouch ${ran}\n`)
        chmodSync(join(directory, ".git/hooks/pre-push"), 0o755)
        const config = ["config", `url.${w.directory}/nowhere.insteadOf`, w.url]
        execFileSync("git", ["-C", directory, ...config])
        const first = yield* exported("url", { branch: "team/out" })
        assert.strictEqual(tip(w, "team/out"), first.commit)
        assert.isFalse(existsSync(ran))
        writeFileSync(join(directory, "src.txt"), "more\n")
        const second = yield* exported("url", { branch: "team/out" })
        assert.strictEqual(tip(w, "team/out"), second.commit, "its own export is replaced")
      })
    )

    it.effect("runs no filter that a clone itself configures, and says so where one would be needed", () =>
      Effect.gen(function* () {
        const { w } = yield* Connected
        const { directory } = yield* worked("filtered", w.url)
        const ran = join(w.directory, "filter-ran")
        execFileSync("git", ["-C", directory, "config", "filter.a.b.clean", `touch ${ran}; cat`])
        const unused = yield* exported("filtered", { branch: "out/filtered" })
        assert.strictEqual(tip(w, "out/filtered"), unused.commit)
        writeFileSync(join(directory, ".gitattributes"), "filtered.txt filter=a.b\n")
        writeFileSync(join(directory, "filtered.txt"), "plain\n")
        rmSync(ran, { force: true })
        const error = yield* refused("ERR_EXPORT_FAILED", (client) =>
          client.exportSession({ session: "filtered", branch: "out/filtered" })
        )
        assert.include(error.message, "files need the filter a.b")
        assert.strictEqual(tip(w, "out/filtered"), unused.commit)
        assert.isFalse(existsSync(ran))
      })
    )

    it.effect("uses the filters of the user's own repository", () =>
      Effect.gen(function* () {
        const { w } = yield* Connected
        const { directory } = yield* worked("sealed")
        w.git("config", "filter.seal.clean", "tr a-z A-Z")
        w.git("config", "filter.seal.required", "true")
        writeFileSync(join(directory, ".gitattributes"), "sealed.txt filter=seal\n")
        writeFileSync(join(directory, "sealed.txt"), "plain\n")
        const { commit } = yield* exported("sealed")
        assert.strictEqual(w.git("show", `${commit}:sealed.txt`), "PLAIN")
      })
    )

    it.effect("has what is outside of a sparse checkout's part, and takes nothing away there", () =>
      Effect.gen(function* () {
        const { w } = yield* Connected
        const { directory } = yield* worked("sparse")
        const git = (...args: ReadonlyArray<string>) => w.git("-C", directory, ...args)
        const inside = (path: string, text: string) => {
          mkdirSync(dirname(join(directory, path)), { recursive: true })
          writeFileSync(join(directory, path), text)
        }
        inside("part/kept.txt", "kept\n")
        inside("away/hidden.txt", "hidden\n")
        git("add", "part", "away")
        git("commit", "--quiet", "-m", "two parts")
        git("stash", "--quiet", "--include-untracked")
        git("sparse-checkout", "set", "part")
        assert.isFalse(existsSync(join(directory, "away")))
        inside("away/new.txt", "new\n")
        const { commit } = yield* exported("sparse")
        const files = w.git("ls-tree", "-r", "--name-only", commit).split("\n")
        assert.includeMembers(files, ["part/kept.txt", "away/hidden.txt", "away/new.txt"])
      })
    )

    it.effect("of what git cannot take names it", () =>
      Effect.gen(function* () {
        const { w } = yield* Connected
        const { directory } = yield* worked("untakable")
        const inner = join(directory, "in side")
        mkdirSync(inner)
        execFileSync("git", ["-C", inner, "init", "--quiet"], { env: w.env })
        writeFileSync(join(inner, "file"), "x\n")
        const empty = yield* refused("ERR_EXPORT_FAILED", (client) => client.exportSession({ session: "untakable" }))
        assert.include(empty.message, "in side/ is a repository inside the checkout without a commit")
        rmSync(inner, { recursive: true })
        w.git("-C", directory, "checkout", "--quiet", "--orphan", "unborn")
        const unborn = yield* refused("ERR_EXPORT_FAILED", (client) => client.exportSession({ session: "untakable" }))
        assert.include(unborn.message, "the branch that is checked out has no commit")
      })
    )

    it.effect("of a halted session is of its checkout and, once that is gone, of its checkpoint", () =>
      Effect.gen(function* () {
        const { client, w } = yield* Connected
        const { directory } = yield* worked("halted")
        const files = committable(directory)
        const ready = yield* exported("halted", { branch: "out/ready" })
        yield* Effect.promise(() => client.down({ session: "halted" }))
        const stopped = yield* exported("halted", { branch: "out/stopped" })
        assert.deepInclude(stopped, { state: "stopped", commit: ready.commit })
        yield* Effect.promise(() => client.down({ session: "halted", deleteWorktree: true }))
        assert.isFalse(existsSync(directory))
        const saved = yield* exported("halted", { branch: "out/saved" })
        assert.strictEqual(saved.commit, ready.commit)
        assert.deepEqual(filesOf(w, "out/saved"), files)
        assert.match(saved.warnings.join("\n"), /checkpoint ckp_/)
      })
    )

    it.effect("whose own branch has the default's name goes beside it", () =>
      Effect.gen(function* () {
        const { client, w } = yield* Connected
        // main is checked out in the repository itself
        const request = { repository: w.repository, branch: "main", provider: "local", name: "beside" }
        const up = yield* Effect.promise(() => client.up(request))
        assert.strictEqual(up.workBranch, "sandbox/beside")
        writeFileSync(join(up.worktreePath!, "new.txt"), "new\n")
        const result = yield* exported("beside")
        assert.strictEqual(result.branch, "sandbox/beside-export")
        assert.strictEqual(tip(w, "sandbox/beside-export"), result.commit)
      })
    )

    it.effect("has the configured start of a name, and is refused a name that git does not take", () =>
      Effect.gen(function* () {
        const { client, w } = yield* Connected
        const request = {
          repository: w.repository,
          branch: "prefixed",
          base: "main",
          provider: "local",
          name: "prefixed"
        }
        const setup = { keeping: { exportBranchPrefix: "team/x-" } }
        const up = yield* Effect.promise(() => client.up({ ...request, setup }))
        assert.strictEqual((yield* exported("prefixed")).branch, "team/x-prefixed")
        for (const branch of ["", "-x", "a..b", "a b", "a:b"]) {
          const error = yield* refused("ERR_INVALID_ARGUMENT", (client) =>
            client.exportSession({ session: "prefixed", branch })
          )
          assert.strictEqual(error.details?.["field"], "branch")
        }
        for (const [field, wrong] of [
          ["output", { output: "x" }],
          ["force", { to: "patch", force: true }],
          ["message", { message: " " }]
        ] as const) {
          const error = yield* refused("ERR_INVALID_ARGUMENT", (client) =>
            client.exportSession({ session: "prefixed", ...wrong })
          )
          assert.strictEqual(error.details?.["field"], field)
        }
        yield* Effect.promise(() => client.destroy({ session: "prefixed", force: true }))
        yield* refused("ERR_NOT_READY", (client) => client.exportSession({ session: up.sessionId }))
      })
    )
  })

  describe("to files", () => {
    it.effect("as patches makes the same files of the commit that it begins at", () =>
      Effect.gen(function* () {
        const { w } = yield* Connected
        const { directory, targetCommitSha } = yield* worked("patches")
        const output = join(w.directory, "out", "patches")
        const beside = `${output}.new`
        mkdirSync(beside, { recursive: true })
        writeFileSync(join(beside, "mine"), "mine\n")
        const request = { to: "patch", output } as const
        const result = yield* exported("patches", request)
        assert.deepInclude(result, { target: output, artifact: null })
        const patches = readdirSync(output).toSorted()
        assert.lengthOf(patches, 2)
        const applied = join(w.directory, "applied")
        w.git("worktree", "add", "--quiet", "--detach", applied, targetCommitSha)
        w.git("-C", applied, "am", "--quiet", ...patches.map((name) => join(output, name)))
        assert.deepEqual(listing(applied), committable(directory))
        assert.isTrue((yield* exported("patches", request)).already)

        writeFileSync(join(output, patches[0]!), "mine\n")
        const error = yield* refused("ERR_EXPORT_FAILED", (client) =>
          client.exportSession({ session: "patches", ...request })
        )
        assert.include(error.message, "has other files in it")
        assert.strictEqual(readFileSync(join(output, patches[0]!), "utf8"), "mine\n")
        assert.deepEqual(readdirSync(dirname(output)).toSorted(), ["patches", "patches.new"])
        assert.strictEqual(readFileSync(join(beside, "mine"), "utf8"), "mine\n")
        const own = yield* exported("patches", { to: "patch" })
        assert.isTrue(own.target.startsWith(join(w.state, "exports")))
      })
    )

    it.effect("as patches of work with merges is one patch of all of it", () =>
      Effect.gen(function* () {
        const { w } = yield* Connected
        const { directory, targetCommitSha } = yield* worked("merges")
        const git = (...args: ReadonlyArray<string>) => w.git("-C", directory, ...args)
        git("stash", "--quiet", "--include-untracked")
        git("switch", "--quiet", "--create", "side", targetCommitSha)
        writeFileSync(join(directory, "side.txt"), "side\n")
        git("add", "side.txt")
        git("commit", "--quiet", "-m", "side")
        git("switch", "--quiet", "merges")
        git("merge", "--quiet", "--no-ff", "-m", "merged", "side")
        const output = join(w.directory, "one")
        const result = yield* exported("merges", { to: "patch", output })
        assert.match(result.warnings.join("\n"), /merges/)
        const [patch, ...others] = readdirSync(output)
        assert.isEmpty(others)
        const applied = join(w.directory, "applied-one")
        git("worktree", "add", "--quiet", "--detach", applied, targetCommitSha)
        git("-C", applied, "am", "--quiet", join(output, patch!))
        assert.deepEqual(listing(applied), listing(directory))
      })
    )

    it.effect("as a bundle is one file that git fetches the branch from, written again where it is spoiled", () =>
      Effect.gen(function* () {
        const { w } = yield* Connected
        yield* worked("bundled")
        const request = { to: "bundle", branch: "out/bundle" } as const
        const result = yield* exported("bundled", request)
        assert.isUndefined(result.already)
        assert.isTrue((yield* exported("bundled", request)).already)
        const bytes = readFileSync(result.target)
        bytes[bytes.length - 30]! ^= 1
        writeFileSync(result.target, bytes)
        assert.isUndefined((yield* exported("bundled", request)).already)
        w.git("fetch", "--quiet", result.target, "refs/heads/out/bundle:refs/heads/fetched")
        assert.strictEqual(tip(w, "fetched"), result.commit)
      })
    )

    it.effect("of nothing new is refused, and a branch can be made of it all the same", () =>
      Effect.gen(function* () {
        const { client, w } = yield* Connected
        const request = {
          repository: w.repository,
          branch: "nothing",
          base: "main",
          provider: "local",
          name: "nothing"
        }
        const up = yield* Effect.promise(() => client.up(request))
        for (const to of ["patch", "bundle"] as const) {
          const error = yield* refused("ERR_INVALID_ARGUMENT", (client) =>
            client.exportSession({ session: "nothing", to })
          )
          assert.include(error.message, "no work beyond")
        }
        const empty = yield* exported("nothing")
        assert.deepInclude(empty, { commit: up.targetCommitSha, uncommitted: false, artifact: null })
        assert.strictEqual(tip(w, "sandbox/nothing"), up.targetCommitSha)
      })
    )
  })

  describe("has what", () => {
    it.effect("is neither ignored nor the host's own file", () =>
      Effect.gen(function* () {
        const { client, w } = yield* Connected
        writeFileSync(join(w.repository, "host.env"), "TOKEN=canary\n")
        const request = { repository: w.repository, branch: "own", base: "main", provider: "local", name: "own" }
        writeFileSync(join(w.repository, "ignored.log"), "TOKEN=canary\n")
        const inheritEnv = [
          { file: "host.env", mode: "copy" },
          { file: "ignored.log", mode: "symlink" }
        ] as const
        const up = yield* Effect.promise(() => client.up({ ...request, setup: { inheritEnv } }))
        const directory = up.worktreePath!
        assert.isTrue(existsSync(join(directory, "host.env")))
        writeFileSync(join(directory, ".gitignore"), "*.log\n")
        writeFileSync(join(directory, "a.log"), "ignored\n")
        const { commit } = yield* exported("own")
        assert.sameMembers(w.git("ls-tree", "-r", "--name-only", commit).split("\n"), [
          ".gitignore",
          "README.md",
          "src.txt"
        ])
        rmSync(join(w.repository, "host.env"))
        rmSync(join(w.repository, "ignored.log"))
      })
    )

    it.effect("is by the user as git knows them, or by nobody, at the time of what it is on top of", () =>
      Effect.gen(function* () {
        const { w } = yield* Connected
        yield* worked("anonymous")
        const told = (commit: string) => w.git("show", "-s", "--format=%an %ae %cn %ce %s", commit)
        const known = yield* exported("anonymous", { message: "As I say" })
        assert.strictEqual(told(known.commit), "t t@example.com t t@example.com As I say")
        const names = ["GIT_AUTHOR_NAME", "GIT_AUTHOR_EMAIL", "GIT_COMMITTER_NAME", "GIT_COMMITTER_EMAIL"]
        for (const name of names) vi.stubEnv(name, undefined)
        const { commit } = yield* Effect.ensuring(
          exported("anonymous", { branch: "out/anonymous" }),
          Effect.sync(() => {
            for (const name of names) vi.stubEnv(name, w.env[name])
          })
        )
        const by = "sandbox sandbox@localhost sandbox sandbox@localhost"
        assert.strictEqual(told(commit), `${by} Work of anonymous that was not committed`)
        const at = (rev: string) => w.git("show", "-s", "--format=%ct %at", rev).split(" ")
        const [time] = at(`${commit}^`)
        assert.deepEqual(at(commit), [time, time])
      })
    )

    it.effect("is told from what git cannot take along", () =>
      Effect.gen(function* () {
        const { w } = yield* Connected
        const { directory } = yield* worked("inner")
        const inner = join(directory, "nested")
        mkdirSync(inner)
        for (const args of [
          ["init", "--quiet"],
          ["commit", "--quiet", "--allow-empty", "-m", "x"]
        ]) {
          execFileSync("git", ["-C", inner, ...args], { env: w.env, stdio: "pipe" })
        }
        writeFileSync(join(directory, ".gitattributes"), "*.bin filter=lfs\n")
        const { warnings } = yield* exported("inner")
        assert.match(warnings.join("\n"), /no work in them: nested/)
        assert.match(warnings.join("\n"), /git LFS/)
      })
    )

    it.effect("of a detached HEAD in the middle of a merge is what is there", () =>
      Effect.gen(function* () {
        const { w } = yield* Connected
        const { directory } = yield* worked("detached")
        const git = (...args: ReadonlyArray<string>) => w.git("-C", directory, ...args)
        git("stash", "--quiet", "--include-untracked")
        git("checkout", "--quiet", "--detach")
        writeFileSync(join(directory, "src.txt"), "ours\n")
        git("commit", "--quiet", "-am", "ours")
        const theirs = git("commit-tree", "HEAD~2^{tree}", "-p", "HEAD~1", "-m", "theirs")
        writeFileSync(join(directory, "src.txt"), "theirs\n")
        git("add", "src.txt")
        const tree = git("write-tree")
        git("reset", "--quiet", "--hard")
        const other = git("commit-tree", tree, "-p", theirs, "-m", "theirs, changed")
        assert.throws(() => git("merge", "--quiet", other))
        const before = everything(directory)
        assert.match(before.status, /^u /m)
        const result = yield* exported("detached")
        assert.deepEqual(everything(directory), before)
        assert.deepEqual(filesOf(w, result.commit), committable(directory))
      })
    )
  })
})
