import { execFileSync } from "node:child_process"
import {
  appendFileSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  unlinkSync,
  writeFileSync
} from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { assert, layer } from "@effect/vitest"
import * as Work from "@org/sandbox-core/Work"
import { Effect, Stream } from "effect"
import { type ApplyOptions, apply } from "../src/internal/work/apply.ts"
import { type Captured, capture, fingerprint } from "../src/internal/work/capture.ts"
import { type Kind, listing, memory, place, seen, user } from "./capturing.ts"
import { git, layer as services } from "./git.ts"

const one = (root: string) => {
  writeFileSync(join(root, "a.txt"), "a\n")
  writeFileSync(join(root, ".gitignore"), "*.log\nignored/\n.env*\n")
  mkdirSync(join(root, "dir"))
  writeFileSync(join(root, "dir/b.txt"), "b\n")
}

const commit = (at: string, path: string, content: string): string => {
  writeFileSync(join(at, path), content)
  user(at, "add", "--", path)
  user(at, "commit", "--quiet", "--message", path)
  return git(at, "rev-parse", "HEAD")
}

const into = (directory: string, captured: Captured, store: ReturnType<typeof memory>): ApplyOptions => ({
  directory,
  document: captured.document,
  object: store.object,
  fallbackBranch: "sandbox/kept"
})

/** A document of the test's own making, instead of what was captured. */
const forged = (store: ReturnType<typeof memory>, captured: Captured, change: (work: Work.Checkout) => object) =>
  Effect.gen(function* () {
    const document = JSON.parse(Buffer.from(store.objects.get(captured.document.digest)!).toString())
    Object.assign(document.checkout, change(document.checkout))
    return { ...captured, document: yield* store.sink.put(Stream.make(Buffer.from(JSON.stringify(document)))) }
  })

layer(services, { excludeTestServices: true })("capture and apply", (it) => {
  for (const [source, target] of [
    ["clone", "worktree"],
    ["worktree", "clone"]
  ] satisfies ReadonlyArray<[Kind, Kind]>) {
    it.effect(`carry work with commits and stashes from a ${source} to a ${target}`, () =>
      Effect.gen(function* () {
        const where = yield* place(source, one)
        const from = where.fresh()
        const head = commit(from, "c.txt", "c\n")
        user(from, "branch", "other")
        if (source === "clone") {
          appendFileSync(join(from, "a.txt"), "aside\n")
          user(from, "stash", "push", "--quiet")
        }
        appendFileSync(join(from, "a.txt"), "more\n")
        const store = memory()
        const captured = yield* capture(where.options(from), store.sink)
        const to = join(where.origin, "..", "target")
        if (target === "clone") git("/", "clone", "--quiet", where.origin, to)
        else git(where.origin, "worktree", "add", "--quiet", "-b", "mine", to, where.base)
        const applied = yield* apply(into(to, captured, store))
        assert.strictEqual(git(to, "rev-parse", "HEAD"), head)
        assert.strictEqual((yield* fingerprint(where.options(to))).fingerprint, captured.fingerprint)
        if (target === "worktree") {
          assert.strictEqual(applied.branch, "mine")
          assert.match(applied.warnings.join(), /git stash apply refs\/worktree\/sandbox-stash\/0000/)
          assert.strictEqual(git(where.origin, "stash", "list"), "", "the user's stash is the user's")
          assert.strictEqual(git(to, "rev-parse", "refs/worktree/sandbox-heads/other"), head)
          const again = yield* capture(where.options(to), store.sink)
          const last = join(where.origin, "..", "last")
          git("/", "clone", "--quiet", where.origin, last)
          yield* apply(into(last, again, store))
          assert.strictEqual(git(last, "rev-parse", "refs/heads/other"), head, "it is carried on from there")
          user(to, "checkout", "--quiet", "--", "a.txt")
          user(to, "stash", "apply", "--quiet", "refs/worktree/sandbox-stash/0000")
          assert.strictEqual(readFileSync(join(to, "a.txt"), "utf8"), "a\naside\n")
        } else assert.strictEqual(applied.branch, "work-1")
      })
    )
  }

  it.effect("replace whatever else the checkout holds, and leave what is ignored", () =>
    Effect.gen(function* () {
      const where = yield* place("clone", one)
      const [from, to] = [where.fresh(), where.fresh()]
      appendFileSync(join(from, "a.txt"), "work\n")
      const store = memory()
      const captured = yield* capture(where.options(from), store.sink)
      const before = seen(from)
      commit(to, "theirs.txt", "x\n")
      appendFileSync(join(to, "a.txt"), "theirs\n")
      user(to, "stash", "push", "--quiet")
      writeFileSync(join(to, "untracked"), "x\n")
      mkdirSync(join(to, "own"))
      git(join(to, "own"), "init", "--quiet")
      writeFileSync(join(to, "own/file"), "x\n")
      mkdirSync(join(to, "empty/er"), { recursive: true })
      writeFileSync(join(to, "kept.log"), "x\n")
      rmSync(join(to, "dir"), { recursive: true })
      symlinkSync("/tmp", join(to, "dir"))
      writeFileSync(join(to, ".git/MERGE_MSG"), "half a merge\n")
      // as a git and an apply leave them that were killed
      for (const name of ["index.lock", "sandbox-index", "sandbox-index.lock"])
        writeFileSync(join(to, ".git", name), "")
      mkdirSync(join(to, ".sandbox-restore"))
      writeFileSync(join(to, ".sandbox-restore/file-0"), "x\n")
      yield* apply(into(to, captured, store))
      assert.deepStrictEqual(
        seen(to, (path) => path === "kept.log"),
        before
      )
      assert.isTrue(existsSync(join(to, "kept.log")))
      assert.isFalse(existsSync(join(to, ".git/MERGE_MSG")))
      assert.strictEqual((yield* fingerprint(where.options(to))).fingerprint, captured.fingerprint)
    })
  )

  it.effect("move a user's branch forward and never back", () =>
    Effect.gen(function* () {
      const where = yield* place("worktree", one)
      const [from, ahead, again, behind] = [where.fresh(), where.fresh(), where.fresh(), where.fresh()]
      commit(from, "c.txt", "c\n")
      const store = memory()
      const captured = yield* capture(where.options(from), store.sink)
      const mine = commit(ahead, "mine.txt", "x\n")
      const first = yield* apply(into(ahead, captured, store))
      assert.strictEqual(first.branch, "sandbox/kept")
      assert.match(first.warnings.join(), /work-2 has other commits, and stays/)
      assert.strictEqual(git(where.origin, "rev-parse", "work-2"), mine)
      assert.deepStrictEqual(yield* apply(into(ahead, captured, store)), { branch: "sandbox/kept", warnings: [] })
      commit(again, "again.txt", "x\n")
      assert.strictEqual((yield* apply(into(again, captured, store))).branch, "sandbox/kept-2")
      assert.deepStrictEqual(yield* apply(into(behind, captured, store)), { branch: "work-4", warnings: [] })
      assert.strictEqual(git(where.origin, "rev-parse", "work-4"), captured.head)
    })
  )

  it.effect("take along what is included although it is ignored, and leave out what is excluded", () =>
    Effect.gen(function* () {
      const where = yield* place("clone", one)
      const [from, to] = [where.fresh(), where.fresh()]
      for (const name of [".env", ".env.local", "x.log", "inherited"]) writeFileSync(join(from, name), `${name}\n`)
      mkdirSync(join(from, "ignored"))
      writeFileSync(join(from, "ignored/data"), "data\n")
      const more = { include: [".env.local", "/ignored/"], exclude: ["inherited"] }
      const store = memory()
      const captured = yield* capture(where.options(from, more), store.sink)
      assert.strictEqual(captured.files, 2)
      for (const name of [".env", "inherited"]) writeFileSync(join(to, name), "the target's own\n")
      yield* apply(into(to, captured, store))
      assert.strictEqual(readFileSync(join(to, ".env.local"), "utf8"), ".env.local\n")
      assert.strictEqual(readFileSync(join(to, "ignored/data"), "utf8"), "data\n")
      for (const name of [".env", "inherited"]) assert.include(readFileSync(join(to, name), "utf8"), "own")
      assert.isFalse(existsSync(join(to, "x.log")))
      assert.strictEqual((yield* fingerprint(where.options(to, more))).fingerprint, captured.fingerprint)
    })
  )

  it.effect("carry submodules with their work into a checkout that has none of them", () =>
    Effect.gen(function* () {
      const library = yield* place("clone", one)
      const where = yield* place("clone", (root) => {
        one(root)
        user(root, "submodule", "--quiet", "add", library.origin, "lib/sub")
      })
      const [from, to] = [where.fresh(), where.fresh()]
      user(from, "submodule", "--quiet", "update", "--init")
      const sub = join(from, "lib/sub")
      const head = commit(sub, "local.txt", "x\n")
      appendFileSync(join(sub, "a.txt"), "changed\n")
      writeFileSync(join(sub, "untracked"), "x\n")
      const store = memory()
      const captured = yield* capture(where.options(from), store.sink)
      rmSync(library.origin, { recursive: true })
      yield* apply(into(to, captured, store))
      assert.deepStrictEqual(seen(to), seen(from))
      assert.deepStrictEqual(seen(join(to, "lib/sub")), seen(sub))
      assert.strictEqual(git(join(to, "lib/sub"), "rev-parse", "HEAD"), head)
      assert.strictEqual((yield* fingerprint(where.options(to))).fingerprint, captured.fingerprint)
      git(join(to, "lib/sub"), "fsck", "--full")
      yield* apply(into(to, captured, store))
      assert.deepStrictEqual(seen(to), seen(from))
    })
  )

  it.effect("carry the work of a shallow clone", () =>
    Effect.gen(function* () {
      const where = yield* place("clone", one)
      for (const n of [1, 2, 3]) commit(where.origin, `${n}.txt`, "x\n")
      const shallow = (name: string) => {
        const at = join(where.origin, "..", name)
        git("/", "clone", "--quiet", "--depth=1", `file://${where.origin}`, at)
        return at
      }
      const [from, to, full] = [shallow("from"), shallow("to"), where.fresh()]
      commit(from, "c.txt", "c\n")
      appendFileSync(join(from, "a.txt"), "more\n")
      for (const base of [where.base, null, git(where.origin, "rev-parse", "HEAD")]) {
        const store = memory()
        const captured = yield* capture(where.options(from, { base }), store.sink)
        for (const at of [to, full]) {
          yield* apply(into(at, captured, store))
          assert.strictEqual((yield* fingerprint(where.options(at))).fingerprint, captured.fingerprint)
          git(at, "fsck", "--full")
        }
      }
    })
  )

  it.effect("work on a repository that names objects by SHA-256", () =>
    Effect.gen(function* () {
      const where = yield* place("worktree", one, ["--object-format=sha256"])
      const [from, to] = [where.fresh(), where.fresh()]
      commit(from, "c.txt", "c\n")
      writeFileSync(join(from, "soon"), "")
      user(from, "add", "--intent-to-add", "soon")
      writeFileSync(join(from, "a.txt"), "staged\n")
      user(from, "add", "a.txt")
      const store = memory()
      const captured = yield* capture(where.options(from), store.sink)
      yield* apply(into(to, captured, store))
      assert.deepStrictEqual(seen(to), seen(from))
      const other = yield* place("worktree", one)
      const error = yield* Effect.flip(apply(into(other.fresh(), captured, store)))
      assert.strictEqual(error.code, "ERR_CHECKPOINT_INVALID")
    })
  )

  it.effect("say which commit a repository lacks, and change nothing in it", () =>
    Effect.gen(function* () {
      const where = yield* place("clone", one)
      const base = commit(where.origin, "pushed.txt", "x\n")
      const from = where.fresh()
      commit(from, "c.txt", "c\n")
      const store = memory()
      const captured = yield* capture(where.options(from, { base }), store.sink)
      const other = yield* place("clone", one)
      const to = other.fresh()
      const before = listing(to)
      const error = yield* Effect.flip(apply(into(to, captured, store)))
      assert.strictEqual(error.code, "ERR_CHECKPOINT_INVALID")
      assert.include(error.message, base)
      assert.deepStrictEqual(listing(to), before)
    })
  )

  it.effect("pack only what is new to a repository that has the base", () =>
    Effect.gen(function* () {
      const where = yield* place("clone", (root) => {
        one(root)
        writeFileSync(join(root, "large"), Buffer.from(Array.from({ length: 300_000 }, (_, n) => (n * n * 31) % 251)))
      })
      const from = where.fresh()
      user(from, "remote", "remove", "origin")
      const size = (base: string | null) =>
        Effect.gen(function* () {
          const store = memory()
          const { document } = yield* capture(where.options(from, { base }), store.sink)
          const decoded = Work.decode(store.objects.get(document.digest)!)
          assert.strictEqual(decoded._tag, "Success")
          return decoded._tag === "Success" ? (decoded.success.checkout.pack?.size ?? 0) : 0
        })
      assert.strictEqual(yield* size(where.base), 0)
      commit(from, "c.txt", "c\n")
      assert.isBelow(yield* size(where.base), 2000)
      assert.isAbove(yield* size(null), 1000)
    })
  )

  it.effect("come through a damaged object without calling it restored, and can be run again", () =>
    Effect.gen(function* () {
      const where = yield* place("clone", one)
      const [from, to] = [where.fresh(), where.fresh()]
      for (let n = 0; n < 20; n += 1) writeFileSync(join(from, `new-${n}`), `${n}\n`)
      commit(from, "c.txt", "c\n")
      const store = memory()
      const captured = yield* capture(where.options(from), store.sink)
      for (const [digest, bytes] of [...store.objects]) {
        const flipped = Uint8Array.from(bytes)
        flipped[0]! ^= 1
        store.objects.set(digest, flipped)
        const error = yield* Effect.flip(apply(into(to, captured, store)))
        assert.strictEqual(error.code, "ERR_CHECKPOINT_INVALID", error.message)
        store.objects.set(digest, bytes)
      }
      yield* apply(into(to, captured, store))
      assert.deepStrictEqual(seen(to), seen(from))
    })
  )

  it.effect("refuse a name that is not UTF-8, and name it", () =>
    Effect.gen(function* () {
      const where = yield* place("clone", one)
      const from = where.fresh()
      const name = Buffer.concat([Buffer.from(`${from}/caf`), Buffer.from([0xe9, 0x0a])])
      for (const make of [
        () => writeFileSync(name, "x\n"),
        () => symlinkSync(Buffer.from([0xff]), join(from, "strange")),
        () => mkdirSync(name)
      ]) {
        make()
        const error = yield* Effect.flip(capture(where.options(from), memory().sink))
        assert.strictEqual(error.code, "ERR_CHECKPOINT_FAILED")
        assert.match(error.message, /^the name ".*" is not UTF-8, and cannot be saved$/)
        execFileSync("git", ["-C", from, "clean", "-ffdxq"])
      }
      writeFileSync(name, "x\n")
      const error = yield* Effect.flip(fingerprint(where.options(from)))
      assert.include(error.message, '"caf\\xe9\\x0a"')
    })
  )

  it.effect("leave out what is no file, and say so", () =>
    Effect.gen(function* () {
      const where = yield* place("clone", one)
      const [from, to] = [where.fresh(), where.fresh()]
      unlinkSync(join(from, "a.txt"))
      // git itself never shows those that it does not track
      execFileSync("mkfifo", [join(from, "pipe"), join(from, "a.txt")])
      const store = memory()
      const captured = yield* capture(where.options(from), store.sink)
      assert.deepStrictEqual(captured.warnings, ["sockets, pipes or devices were left out: a.txt"])
      assert.strictEqual(captured.files, 0)
      yield* apply(into(to, captured, store))
      assert.isFalse(existsSync(join(to, "a.txt")))
      assert.strictEqual((yield* fingerprint(where.options(to))).fingerprint, captured.fingerprint)
    })
  )

  it.effect("keep a pointer of Git LFS, and say that its content is not saved", () =>
    Effect.gen(function* () {
      const pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n"
      const where = yield* place("clone", (root) => {
        one(root)
        writeFileSync(join(root, ".gitattributes"), "*.bin filter=lfs -text\n")
        for (const name of ["one.bin", "two.bin"]) writeFileSync(join(root, name), pointer)
      })
      const [from, to] = [where.fresh(), where.fresh()]
      writeFileSync(join(from, "two.bin"), "the content\n")
      const store = memory()
      const captured = yield* capture(where.options(from), store.sink)
      assert.deepStrictEqual(captured.warnings, ["Git LFS pointers were saved without their content: one.bin"])
      yield* apply(into(to, captured, store))
      assert.deepStrictEqual(seen(to), seen(from))
    })
  )

  it.effect("run no program that the checkout's configuration names, and believe none of its answers", () =>
    Effect.gen(function* () {
      const where = yield* place("clone", (root) => {
        one(root)
        writeFileSync(join(root, ".gitattributes"), "* filter=evil diff=evil\n")
      })
      const [from, to] = [where.fresh(), where.fresh()]
      const ran = join(mkdtempSync(join(tmpdir(), "sandbox-ran-")), "ran")
      for (const at of [from, to]) {
        const program = join(at, ".git/program")
        writeFileSync(program, `#!/bin/sh\necho "$0 $*" >>${ran}\ncat\n`, { mode: 0o755 })
        for (const hook of ["post-index-change", "reference-transaction", "post-checkout"]) {
          writeFileSync(join(at, ".git/hooks", hook), `#!/bin/sh\necho ${hook} >>${ran}\n`, { mode: 0o755 })
        }
        for (const key of ["clean", "smudge", "process"]) git(at, "config", `filter.evil.${key}`, program)
        for (const key of ["core.fsmonitor", "diff.external", "diff.evil.command", "diff.evil.textconv"]) {
          git(at, "config", key, program)
        }
        git(at, "config", "core.pager", program)
        git(at, "config", "status.showUntrackedFiles", "no")
        git(at, "config", "core.quotePath", "true")
        git(at, "config", "diff.noprefix", "true")
        git(at, "config", "core.fileMode", "false")
      }
      rmSync(ran, { force: true })
      appendFileSync(join(from, "a.txt"), "changed\n")
      writeFileSync(join(from, "nëw"), "x\n", { mode: 0o755 })
      const store = memory()
      const captured = yield* capture(where.options(from), store.sink)
      yield* apply(into(to, captured, store))
      assert.isFalse(existsSync(ran), existsSync(ran) ? readFileSync(ran, "utf8") : "")
      assert.strictEqual(captured.files, 2)
      assert.deepStrictEqual(
        listing(to, (path) => path === ".git"),
        listing(from, (path) => path === ".git")
      )
    })
  )

  it.effect("never take a checkout that lost its repository for a part of the one around it", () =>
    Effect.gen(function* () {
      const where = yield* place("clone", one)
      const outer = where.fresh()
      for (const broken of ["gone", "file", "directory"]) {
        const inner = join(outer, broken)
        mkdirSync(inner)
        if (broken === "file") writeFileSync(join(inner, ".git"), "gitdir: /nowhere/at/all\n")
        if (broken === "directory") mkdirSync(join(inner, ".git"))
        const error = yield* Effect.flip(capture(where.options(inner), memory().sink))
        assert.strictEqual(error.code, "ERR_CHECKPOINT_FAILED")
      }
      const error = yield* Effect.flip(capture(where.options(join(outer, "dir")), memory().sink))
      assert.strictEqual(error.code, "ERR_CHECKPOINT_FAILED")
    })
  )

  it.effect("write nothing outside of the checkout, whatever a document says", () =>
    Effect.gen(function* () {
      const where = yield* place("clone", one)
      const [from, to] = [where.fresh(), where.fresh()]
      writeFileSync(join(from, "new"), "x\n")
      const outside = join(where.origin, "..", "outside")
      mkdirSync(outside)
      const store = memory()
      const captured = yield* capture(where.options(from), store.sink)
      const file = (path: string) => (work: Work.Checkout) => ({ files: [{ ...work.files[0], path }] })
      const link = { path: "way", type: "link", target: outside }
      const changes: ReadonlyArray<(work: Work.Checkout) => object> = [
        ...["../outside/x", "/tmp/x", ".git/hooks/pre-commit", "a/.GIT/config", "a/../../outside/x", "", "."].map(file),
        (work) => ({ files: [link, { ...work.files[0], path: "way/x" }] }),
        (work) => ({ files: [{ ...work.files[0], path: "way/x" }, link] }),
        () => ({ files: [{ ...link, path: "dir" }] }),
        () => ({ files: [link], directories: ["way/x"] }),
        () => ({ deleted: ["../outside"] }),
        (work) => ({ operation: { refs: [], files: [{ ...work.files[0], path: "hooks/pre-commit" }] } }),
        (work) => ({ operation: { refs: [], files: [{ ...work.files[0], path: "rebase-merge/../config" }] } }),
        (work) => ({ refs: [{ name: "refs/heads/../../config", oid: work.head }] })
      ]
      for (const change of changes) {
        const error = yield* Effect.flip(apply(into(to, yield* forged(store, captured, change), store)))
        assert.oneOf(error.code, ["ERR_CHECKPOINT_INVALID", "ERR_WORKSPACE_FAILED"])
        assert.deepStrictEqual(listing(outside), ["/"])
      }
      assert.isFalse(existsSync(join(to, ".git/hooks/pre-commit")))
      // one that is ignored is still there when files are written
      for (const name of ["way", "way.log"]) {
        symlinkSync(outside, join(to, name))
        yield* apply(into(to, yield* forged(store, captured, file(`${name}/x`)), store))
        assert.deepStrictEqual(listing(outside), ["/"])
        assert.isTrue(lstatSync(join(to, name)).isDirectory())
      }
    })
  )

  it.effect("keep one whole read of a file that changes meanwhile, and forget one that goes", () =>
    Effect.gen(function* () {
      const where = yield* place("clone", one)
      const from = where.fresh()
      for (const name of ["once", "always", "gone"]) writeFileSync(join(from, name), "x\n")
      unlinkSync(join(from, "a.txt"))
      writeFileSync(join(from, "a.txt"), "changed\n")
      const store = memory()
      const reads: Record<string, number> = {}
      const captured = yield* capture(where.options(from), {
        ...store.sink,
        putFile: (path) =>
          Effect.gen(function* () {
            const name = path.slice(from.length + 1)
            reads[name] = (reads[name] ?? 0) + 1
            const stored = yield* store.sink.putFile(path)
            if (name === "always" || (name === "once" && reads[name] === 1)) appendFileSync(path, "more\n")
            if (name === "gone" || name === "a.txt") unlinkSync(path)
            return stored
          })
      })
      assert.deepStrictEqual(reads, { once: 2, always: 3, gone: 1, "a.txt": 1 })
      assert.deepStrictEqual(captured.warnings, ["files that kept changing were saved as last read: always"])
      const to = where.fresh()
      yield* apply(into(to, captured, store))
      assert.strictEqual(readFileSync(join(to, "once"), "utf8"), "x\nmore\n")
      assert.strictEqual(readFileSync(join(to, "always"), "utf8"), "x\nmore\nmore\n")
      assert.isFalse(existsSync(join(to, "gone")))
      assert.isFalse(existsSync(join(to, "a.txt")))
    })
  )

  it.effect("hold thousands of files", () =>
    Effect.gen(function* () {
      const where = yield* place("worktree", one)
      const [from, to] = [where.fresh(), where.fresh()]
      for (let n = 0; n < 5000; n += 1) {
        if (n % 100 === 0) mkdirSync(join(from, `many/${n / 100}`), { recursive: true })
        writeFileSync(join(from, `many/${Math.floor(n / 100)}/${n}`), `${n}\n`)
      }
      const store = memory()
      const captured = yield* capture(where.options(from), store.sink)
      assert.strictEqual(captured.files, 5000)
      yield* apply(into(to, captured, store))
      assert.strictEqual((yield* fingerprint(where.options(to))).fingerprint, captured.fingerprint)
    })
  )
})
