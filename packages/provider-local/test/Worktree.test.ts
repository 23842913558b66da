import { assert, layer } from "@effect/vitest"
import { Provisioner, type ProvisionerError } from "@org/sandbox-core/Provisioner"
import * as RepositoryLock from "@org/sandbox-core/RepositoryLock"
import { Effect, FileSystem } from "effect"
import { box, commit, directory, git, layerAt, local, layer as provisioner, repository, run, source } from "./host.ts"

const head = (path: string) => git(path, "rev-parse", "HEAD")
const branches = (path: string) => git(path, "for-each-ref", "--format=%(refname:short)", "refs/heads").split("\n")
const worktrees = (path: string) => git(path, "worktree", "list", "--porcelain").match(/^worktree .*/gm)?.length ?? 0
const workspace = Effect.map(local, ({ workspace }) => workspace)

const conflict = <A, R>(effect: Effect.Effect<A, ProvisionerError, R>) =>
  Effect.map(Effect.flip(effect), (error) => {
    assert.deepInclude({ ...error }, { reason: "Conflict", outcome: "not_applied" })
    return error.message
  })

layer(provisioner, { excludeTestServices: true })("a worktree of a local repository", (it) => {
  it.effect("is the branch itself, registered with the repository, with its files", () =>
    Effect.gen(function* () {
      const fs = yield* FileSystem.FileSystem
      const top = yield* repository
      const ref = yield* box
      const placed = yield* (yield* workspace).attach(ref, source(top))
      const path = placed.path!
      assert.deepStrictEqual(placed, { branch: "work", path, warnings: [] })
      assert.strictEqual(git(path, "symbolic-ref", "HEAD"), "refs/heads/work")
      assert.strictEqual(yield* fs.readFileString(`${path}/file`), "first\n")
      assert.strictEqual(git(path, "status", "--porcelain"), "")
      assert.strictEqual(worktrees(top), 2)
      assert.isFalse(yield* fs.exists(`${top}/.git/sandbox.lock`))
    })
  )

  it.effect("is on the fallback branch, with a warning, where the branch is checked out elsewhere", () =>
    Effect.gen(function* () {
      const top = yield* repository
      const [one, other, third] = [yield* box, yield* box, yield* box]
      const { attach } = yield* workspace
      yield* attach(one, source(top))
      const placed = yield* attach(other, source(top))
      assert.strictEqual(placed.branch, "sandbox/x")
      assert.match(placed.warnings.join(), /work is checked out elsewhere.*sandbox\/x/)
      assert.strictEqual(head(placed.path!), head(top))
      // The main worktree has `main`, and the first fallback is taken at the same commit.
      const main = yield* attach(third, source(top, { branch: "main" }))
      assert.strictEqual(main.branch, "sandbox/x-2")
    })
  )

  it.effect("takes another fallback where the first is somebody's with other commits, and leaves that one", () =>
    Effect.gen(function* () {
      const top = yield* repository
      git(top, "checkout", "--quiet", "-b", "sandbox/x")
      const theirs = commit(top, "theirs")
      git(top, "checkout", "--quiet", "work")
      git(top, "branch", "sandbox/x-2")
      const placed = yield* (yield* workspace).attach(yield* box, source(top))
      assert.strictEqual(placed.branch, "sandbox/x-2")
      assert.strictEqual(git(top, "rev-parse", "sandbox/x"), theirs)
    })
  )

  it.effect("creates a branch without an upstream, and removes it again while nobody added to it", () =>
    Effect.gen(function* () {
      const top = yield* repository
      git(top, "update-ref", "refs/remotes/origin/new", "HEAD")
      git(top, "config", "branch.autoSetupMerge", "always")
      const { attach, detach } = yield* workspace
      const ref = yield* box
      const create = { ...source(top), branch: "new" }
      assert.strictEqual((yield* attach(ref, create)).branch, "new")
      assert.strictEqual(git(top, "for-each-ref", "--format=%(upstream)", "refs/heads/new"), "")
      yield* detach(ref)
      assert.deepStrictEqual(branches(top), ["main", "work"])
      const { path = "" } = yield* attach(ref, create)
      const added = commit(path, "mine")
      yield* detach(ref)
      assert.strictEqual(git(top, "rev-parse", "new"), added)
    })
  )

  it.effect("keeps the branch it made where somebody else checked it out meanwhile", () =>
    Effect.gen(function* () {
      const top = yield* repository
      const { attach, detach } = yield* workspace
      const ref = yield* box
      const { path = "" } = yield* attach(ref, { ...source(top), branch: "new" })
      git(path, "checkout", "--quiet", "--detach")
      git(top, "checkout", "--quiet", "new")
      yield* detach(ref)
      assert.strictEqual(git(top, "symbolic-ref", "HEAD"), "refs/heads/new")
      assert.include(branches(top), "new")
    })
  )

  it.effect("never rewinds a branch that moved on since its commit was looked up", () =>
    Effect.gen(function* () {
      const top = yield* repository
      const asked = source(top)
      git(top, "checkout", "--quiet", "work")
      const moved = commit(top, "second")
      git(top, "checkout", "--quiet", "main")
      const placed = yield* (yield* workspace).attach(yield* box, asked)
      assert.deepStrictEqual([placed.branch, head(placed.path!)], ["work", moved])
    })
  )

  it.effect("is kept with all its work when it is attached again, on whatever branch it is by then", () =>
    Effect.gen(function* () {
      const fs = yield* FileSystem.FileSystem
      const top = yield* repository
      const ref = yield* box
      const { attach, status } = yield* workspace
      const { path = "" } = yield* attach(ref, source(top))
      yield* fs.writeFileString(`${path}/new`, "x")
      git(path, "checkout", "--quiet", "-b", "other")
      const again = yield* attach(ref, source(top))
      assert.deepStrictEqual(again, { branch: "other", path, warnings: [] })
      assert.strictEqual((yield* status(ref)).dirtyFiles, 1)
      assert.include(yield* conflict(attach(ref, source(yield* repository))), top)
    })
  )

  it.effect("comes back on its own branch when its directory was removed behind our back", () =>
    Effect.gen(function* () {
      const fs = yield* FileSystem.FileSystem
      const top = yield* repository
      const { attach, status } = yield* workspace
      git(top, "checkout", "--quiet", "work")
      const ref = yield* box
      const { branch, path = "" } = yield* attach(ref, source(top))
      assert.strictEqual(branch, "sandbox/x")
      const mine = commit(path, "mine")
      git(top, "checkout", "--quiet", "main")
      yield* fs.remove(path, { recursive: true })
      assert.isFalse((yield* status(ref)).present)
      const again = yield* attach(ref, source(top))
      assert.deepStrictEqual([again.branch, head(path)], ["sandbox/x", mine])
      assert.strictEqual(worktrees(top), 2)
    })
  )

  it.effect("that is no longer a checkout is refused, and nothing of it is removed", () =>
    Effect.gen(function* () {
      const fs = yield* FileSystem.FileSystem
      const top = yield* repository
      const { attach } = yield* workspace
      const ref = yield* box
      const { path = "" } = yield* attach(ref, source(top))
      yield* fs.remove(`${path}/.git`)
      assert.include(yield* conflict(attach(ref, source(top))), path)
      assert.isTrue(yield* fs.exists(`${path}/file`))
    })
  )

  it.effect("says what would be lost: changed and untracked files, and commits on no branch", () =>
    Effect.gen(function* () {
      const fs = yield* FileSystem.FileSystem
      const top = yield* repository
      const { attach, detach, status } = yield* workspace
      const ref = yield* box
      assert.deepStrictEqual(yield* status(ref), { present: false, dirtyFiles: 0, unpublishedCommits: 0 })
      const { path = "" } = yield* attach(ref, source(top))
      assert.deepStrictEqual(yield* status(ref), { present: true, dirtyFiles: 0, unpublishedCommits: 0 })
      yield* fs.makeDirectory(`${path}/many`)
      for (const name of ["file", "ignored", "a b", "ü\n", "many/1", "many/2"])
        yield* fs.writeFileString(`${path}/${name}`, "x")
      commit(path, "on the user's branch")
      assert.deepStrictEqual(yield* status(ref), { present: true, dirtyFiles: 5, unpublishedCommits: 0 })
      git(path, "checkout", "--quiet", "--detach")
      commit(path, "on no branch")
      commit(path, "on no branch")
      assert.deepStrictEqual(yield* status(ref), { present: true, dirtyFiles: 5, unpublishedCommits: 2 })
      yield* detach(ref)
      assert.deepStrictEqual(yield* status(ref), { present: false, dirtyFiles: 0, unpublishedCommits: 0 })
    })
  )

  it.effect("I-89 that its user locked stays with everything in it, until it is unlocked", () =>
    Effect.gen(function* () {
      const fs = yield* FileSystem.FileSystem
      const top = yield* repository
      const { destroy, inspect } = yield* Provisioner
      const { attach, detach } = yield* workspace
      const ref = yield* box
      const { path = "" } = yield* attach(ref, source(top))
      yield* fs.writeFileString(`${path}/new`, "x")
      for (const why of [["--reason", "on a stick"], []]) {
        git(top, "worktree", "lock", ...why, path)
        const message = yield* conflict(detach(ref))
        assert.include(message, `worktree unlock ${path}`)
        if (why.length > 0) assert.include(message, "on a stick")
        yield* conflict(destroy(ref))
        assert.isTrue(yield* fs.exists(`${path}/new`))
        assert.notStrictEqual((yield* inspect(ref))._tag, "gone")
        git(top, "worktree", "unlock", path)
      }
      yield* destroy(ref)
      assert.strictEqual(worktrees(top), 1)
    })
  )

  it.effect("I-89 left locked and half made by a killed git is removed and made again", () =>
    Effect.gen(function* () {
      const fs = yield* FileSystem.FileSystem
      const top = yield* repository
      const { attach } = yield* workspace
      const ref = yield* box
      const { path = "" } = yield* attach(ref, source(top))
      // What git leaves when it dies in the middle, with our own record as it was then.
      yield* fs.writeFileString(`${top}/.git/worktrees/work/locked`, "initializing")
      yield* fs.remove(`${path}/.git`)
      const record = `${path}/../box.json`.replace("/work/..", "")
      const text = yield* fs.readFileString(record)
      yield* fs.writeFileString(record, text.replace('"state":"placed"', '"state":"placing"'))
      assert.deepStrictEqual(yield* attach(ref, source(top)), { branch: "work", path, warnings: [] })
      assert.strictEqual(git(path, "status", "--porcelain"), "")
      assert.strictEqual(worktrees(top), 2)
    })
  )

  it.effect("does not take for its own what somebody made while it was half made", () =>
    Effect.gen(function* () {
      const fs = yield* FileSystem.FileSystem
      const top = yield* repository
      const { attach, detach } = yield* workspace
      git(top, "checkout", "--quiet", "work")
      const asked = source(top)
      const ref = yield* box
      const { path = "" } = yield* attach(ref, asked)
      const record = path.replace(/work$/, "box.json")
      const text = yield* fs.readFileString(record)
      yield* detach(ref)
      // Killed after it wrote that it would make the branch, and before it did; then somebody else used the name.
      const half = text
        .replace('"state":"placed"', '"state":"placing"')
        .replace('"branch":"sandbox/x"', '"branch":null')
      yield* fs.writeFileString(record, half)
      git(top, "checkout", "--quiet", "-b", "sandbox/x")
      const theirs = commit(top, "theirs")
      git(top, "checkout", "--quiet", "work")
      assert.strictEqual((yield* attach(ref, asked)).branch, "sandbox/x-2")
      yield* detach(ref)
      assert.strictEqual(git(top, "rev-parse", "sandbox/x"), theirs)
    })
  )

  it.effect("goes with its box, also when the repository is gone already", () =>
    Effect.gen(function* () {
      const fs = yield* FileSystem.FileSystem
      const { destroy } = yield* Provisioner
      const { attach } = yield* workspace
      for (const gone of [false, true]) {
        const top = yield* repository
        const ref = yield* box
        const { path = "" } = yield* attach(ref, { ...source(top), branch: "new" })
        if (gone) yield* fs.remove(top, { recursive: true })
        yield* destroy(ref.key)
        assert.isFalse(yield* fs.exists(path))
        if (gone) continue
        assert.strictEqual(worktrees(top), 1)
        assert.deepStrictEqual(branches(top), ["main", "work"])
      }
    })
  )

  it.effect("stays where its repository is there and cannot be read: it might be locked", () =>
    Effect.gen(function* () {
      const fs = yield* FileSystem.FileSystem
      const top = yield* repository
      const { destroy, inspect } = yield* Provisioner
      const ref = yield* box
      const { path = "" } = yield* (yield* workspace).attach(ref, source(top))
      const config = yield* fs.readFileString(`${top}/.git/config`)
      yield* fs.writeFileString(`${top}/.git/config`, "[")
      assert.strictEqual((yield* Effect.flip(destroy(ref))).reason, "Unknown")
      assert.isTrue(yield* fs.exists(`${path}/file`))
      assert.notStrictEqual((yield* inspect(ref))._tag, "gone")
      yield* fs.writeFileString(`${top}/.git/config`, config)
      yield* destroy(ref)
      assert.strictEqual(worktrees(top), 1)
    })
  )

  it.effect("gives way to one of another repository when its removal was killed", () =>
    Effect.gen(function* () {
      const fs = yield* FileSystem.FileSystem
      const [top, other] = [yield* repository, yield* repository]
      const { attach } = yield* workspace
      const ref = yield* box
      const { path = "" } = yield* attach(ref, { ...source(top), branch: "new" })
      const record = path.replace(/work$/, "box.json")
      const text = yield* fs.readFileString(record)
      yield* fs.writeFileString(record, text.replace('"state":"placed"', '"state":"removing"'))
      git(other, "branch", "new")
      assert.strictEqual((yield* attach(ref, source(other, { branch: "new" }))).branch, "new")
      assert.deepStrictEqual([worktrees(top), worktrees(other)], [1, 2])
      assert.deepStrictEqual(branches(top), ["main", "work"])
      yield* (yield* workspace).detach(ref)
      assert.include(branches(other), "new")
    })
  )

  it.effect("leaves the user's other worktrees alone, also those that are out of reach now", () =>
    Effect.gen(function* () {
      const fs = yield* FileSystem.FileSystem
      const top = yield* repository
      const away = `${yield* directory}/away`
      git(top, "worktree", "add", "--quiet", "-b", "away", away)
      yield* fs.rename(away, `${away}-unmounted`)
      const { attach, detach } = yield* workspace
      const ref = yield* box
      yield* attach(ref, source(top))
      yield* detach(ref)
      yield* fs.rename(`${away}-unmounted`, away)
      assert.strictEqual(git(away, "symbolic-ref", "HEAD"), "refs/heads/away")
    })
  )

  it.effect("waits for whoever changes the repository", () =>
    Effect.gen(function* () {
      const top = yield* repository
      const { attach } = yield* workspace
      const ref = yield* box
      const lock = yield* RepositoryLock.fileOf(top)
      const attempt = attach(ref, source(top)).pipe(Effect.timeoutOption("300 millis"))
      assert.strictEqual((yield* attempt.pipe(RepositoryLock.withLock(lock)))._tag, "None")
      assert.strictEqual((yield* attach(ref, source(top))).branch, "work")
    })
  )

  it.effect("I-90 is refused for a branch that git could misread", () =>
    Effect.gen(function* () {
      const top = yield* repository
      const { attach } = yield* workspace
      const ref = yield* box
      for (const wrong of [{ branch: "--detach" }, { fallbackBranch: "a..b" }, { commit: "-x" }, { commit: "HEAD" }]) {
        const error = yield* Effect.flip(attach(ref, { ...source(top), ...wrong }))
        assert.deepInclude({ ...error }, { reason: "Invalid", outcome: "not_applied" })
      }
      assert.strictEqual(worktrees(top), 1)
    })
  )

  it.effect("is found again through a state directory that is a symbolic link", () =>
    Effect.gen(function* () {
      const fs = yield* FileSystem.FileSystem
      const top = yield* repository
      const base = yield* directory
      yield* fs.makeDirectory(`${base}/real/state`, { recursive: true })
      yield* fs.symlink(`${base}/real`, `${base}/link`)
      yield* Effect.gen(function* () {
        const { attach, detach } = yield* workspace
        const ref = yield* box
        yield* attach(ref, source(top))
        yield* detach(ref)
        assert.strictEqual(worktrees(top), 1)
      }).pipe(Effect.provide(layerAt(`${base}/link`)))
    })
  )
})

layer(provisioner, { excludeTestServices: true })("a worktree of the user's own that is taken over", (it) => {
  const reused = (top: string, more = {}) => source(top, { reuse: true, ...more })

  it.effect("I-89 is worked in where it is, and stays with its files and its branch when it is let go of", () =>
    Effect.gen(function* () {
      const fs = yield* FileSystem.FileSystem
      const { destroy } = yield* Provisioner
      const { attach, detach, status } = yield* workspace
      for (const kind of ["another worktree", "the main worktree"]) {
        const top = yield* repository
        const path = kind === "the main worktree" ? top : `${yield* directory}/mine`
        if (kind === "the main worktree") git(top, "checkout", "--quiet", "work")
        else git(top, "worktree", "add", "--quiet", path, "work")
        const count = worktrees(top)
        yield* fs.writeFileString(`${path}/notes`, "mine")
        const ref = yield* box
        const placed = yield* attach(ref, reused(top))
        assert.deepStrictEqual(placed, { branch: "work", path, warnings: [] }, kind)
        assert.deepStrictEqual(yield* attach(ref, reused(top)), placed)
        assert.deepStrictEqual(yield* attach(ref, source(top)), placed)
        assert.strictEqual((yield* run(ref, ["pwd"])).out, `${path}\n`)
        assert.strictEqual((yield* run(ref, ["sh", "-c", 'echo "$SANDBOX_WORKSPACE"'])).out, `${path}\n`)
        // it stays when it is let go of, so nothing in it could be lost
        assert.deepStrictEqual(yield* status(ref), { present: true, dirtyFiles: 0, unpublishedCommits: 0 })
        const tip = commit(path, "more")
        yield* detach(ref)
        yield* detach(ref)
        assert.isFalse((yield* status(ref)).present)
        yield* attach(ref, reused(top))
        yield* destroy(ref)
        assert.strictEqual(yield* fs.readFileString(`${path}/notes`), "mine")
        assert.strictEqual(git(path, "symbolic-ref", "HEAD"), "refs/heads/work")
        assert.deepStrictEqual([head(path), worktrees(top)], [tip, count])
      }
    })
  )

  it.effect("is one that has the branch; without one there is a worktree as ever", () =>
    Effect.gen(function* () {
      const fs = yield* FileSystem.FileSystem
      const top = yield* repository
      const { attach } = yield* workspace
      const ours = yield* attach(yield* box, reused(top))
      assert.include(ours.path, "/state/local/")
      assert.strictEqual(ours.branch, "work")
      const away = `${yield* directory}/away`
      git(top, "worktree", "add", "--quiet", "-b", "away", away)
      yield* fs.remove(away, { recursive: true })
      const fallback = yield* attach(yield* box, reused(top, { branch: "away" }))
      assert.strictEqual(fallback.branch, "sandbox/x")
      const clone = yield* attach(yield* box, { ...reused(top, { branch: "main" }), repository: `file://${top}` })
      assert.include(clone.path, "/state/local/")
    })
  )

  it.effect("is one box's alone, whoever asks at once, and so is a box's own worktree", () =>
    Effect.gen(function* () {
      const top = yield* repository
      const { attach, detach } = yield* workspace
      const boxes = yield* Effect.replicateEffect(box, 6)
      const answers = yield* Effect.forEach(
        boxes,
        (ref) => Effect.result(attach(ref, reused(top, { branch: "main" }))),
        {
          concurrency: "unbounded"
        }
      )
      const winners = boxes.filter((_, n) => answers[n]!._tag === "Success")
      assert.strictEqual(winners.length, 1)
      for (const answer of answers) {
        if (answer._tag === "Success") continue
        assert.strictEqual(answer.failure.reason, "Conflict")
        assert.include(answer.failure.message, winners[0]!.key)
      }
      yield* detach(winners[0]!)
      const [one, other] = boxes.filter((ref) => ref !== winners[0])
      yield* attach(one!, reused(top, { branch: "main" }))
      yield* attach(winners[0]!, source(top))
      assert.include(yield* conflict(attach(other!, reused(top))), winners[0]!.key)
    })
  )

  it.effect("may be gone when it is wanted again, and then the box gets one of its own", () =>
    Effect.gen(function* () {
      const fs = yield* FileSystem.FileSystem
      const top = yield* repository
      const path = `${yield* directory}/mine`
      git(top, "worktree", "add", "--quiet", path, "work")
      const { attach, detach, status } = yield* workspace
      const ref = yield* box
      yield* attach(ref, reused(top))
      git(top, "worktree", "remove", path)
      assert.isFalse((yield* status(ref)).present)
      assert.include((yield* run(ref, ["pwd"])).out, "/state/local/")
      const placed = yield* attach(ref, reused(top))
      assert.include(placed.path, "/state/local/")
      yield* detach(ref)
      assert.isFalse(yield* fs.exists(placed.path!))
      assert.strictEqual(worktrees(top), 1)
    })
  )
})

layer(provisioner, { excludeTestServices: true })("a clone of a remote repository", (it) => {
  it.effect("is on the branch at the commit, follows nothing, and knows the real remote", () =>
    Effect.gen(function* () {
      const top = yield* repository
      const asked = { ...source(top), repository: `file://${top}` }
      git(top, "checkout", "--quiet", "work")
      commit(top, "after the look-up")
      for (const branch of ["work", "main", "new"]) {
        const { path = "", ...placed } = yield* (yield* workspace).attach(yield* box, { ...asked, branch })
        assert.deepStrictEqual(placed, { branch, warnings: [] })
        assert.strictEqual(head(path), asked.commit)
        assert.deepStrictEqual(branches(path), [branch])
        assert.strictEqual(git(path, "config", "remote.origin.url"), `file://${top}`)
        assert.strictEqual(git(path, "for-each-ref", "--format=%(upstream)", "refs/heads"), "")
        assert.strictEqual(git(path, "status", "--porcelain"), "")
        assert.strictEqual(git(path, "log", "-1", "--format=%s", "origin/work"), "after the look-up")
      }
    })
  )

  it.effect("needs neither the mirror nor the remote", () =>
    Effect.gen(function* () {
      const fs = yield* FileSystem.FileSystem
      const top = yield* repository
      const base = yield* directory
      yield* Effect.gen(function* () {
        const ref = yield* box
        const { path = "" } = yield* (yield* workspace).attach(ref, { ...source(top), repository: `file://${top}` })
        yield* fs.remove(`${base}/cache`, { recursive: true })
        yield* fs.remove(top, { recursive: true })
        assert.strictEqual((yield* run(ref, ["git", "fsck", "--full"])).code, 0)
        assert.isFalse(yield* fs.exists(`${path}/.git/objects/info/alternates`))
        yield* (yield* workspace).detach(ref)
        assert.isFalse(yield* fs.exists(path))
      }).pipe(Effect.provide(layerAt(base)))
    })
  )

  it.effect("says what would be lost: files, commits that the remote lacks, and stashes", () =>
    Effect.gen(function* () {
      const fs = yield* FileSystem.FileSystem
      const top = yield* repository
      const ref = yield* box
      const { attach, status } = yield* workspace
      const { path = "" } = yield* attach(ref, { ...source(top), repository: `file://${top}` })
      assert.deepStrictEqual(yield* status(ref), { present: true, dirtyFiles: 0, unpublishedCommits: 0 })
      commit(path, "one")
      git(path, "checkout", "--quiet", "-b", "other")
      commit(path, "two")
      git(path, "checkout", "--quiet", "work")
      git(path, "checkout", "--quiet", "--detach")
      commit(path, "three")
      yield* fs.writeFileString(`${path}/file`, "changed")
      git(path, "stash")
      yield* fs.writeFileString(`${path}/file`, "changed again")
      assert.deepStrictEqual(yield* status(ref), { present: true, dirtyFiles: 1, unpublishedCommits: 4 })
    })
  )
})
