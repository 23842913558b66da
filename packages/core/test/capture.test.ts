import { chmodSync, mkdirSync, renameSync, rmSync, symlinkSync, unlinkSync, writeFileSync } from "node:fs"
import { dirname, join } from "node:path"
import { assert, layer } from "@effect/vitest"
import { Effect } from "effect"
import { apply } from "../src/internal/work/apply.ts"
import { capture, fingerprint } from "../src/internal/work/capture.ts"
import { type Kind, listing, memory, type Place, place, seen, stops, user } from "./capturing.ts"
import { git, layer as services } from "./git.ts"

const write = (root: string, path: string, content: string | Uint8Array, mode?: number) => {
  mkdirSync(dirname(join(root, path)), { recursive: true })
  writeFileSync(join(root, path), content)
  if (mode !== undefined) chmodSync(join(root, path), mode)
}

const text = (n: number, what = "line") => Array.from({ length: n }, (_, at) => `${what} ${at}\n`).join("")

const fill = (root: string) => {
  write(root, ".gitignore", "*.log\nignored/\n.env\n")
  write(root, "a.txt", text(20))
  write(root, "b.txt", text(5, "b"))
  write(root, "run.sh", "#!/bin/sh\n", 0o755)
  write(root, "src/one.ts", "1\n")
  write(root, "src/two.ts", "2\n")
  write(root, "src/deep/three.ts", "3\n")
  symlinkSync("a.txt", join(root, "link"))
}

const strange = [
  "with space",
  'quo"te',
  "back\\slash",
  "new\nline",
  "-dash",
  "--",
  "ünï/cödé ☃",
  "tab\tname",
  ":(top)x",
  "*"
]

/** What somebody does in a checkout; the names are what is told apart by it. */
const scenarios: Readonly<Record<string, (at: string, place: Place) => void>> = {
  nothing: () => {},
  "changed, staged and untracked files": (at) => {
    write(at, "a.txt", text(21))
    write(at, "b.txt", "staged\n")
    user(at, "add", "b.txt")
    write(at, "b.txt", "staged and changed\n")
    write(at, "src/new.ts", "new\n")
    write(at, "staged.ts", "new\n")
    user(at, "add", "staged.ts")
    write(
      at,
      "binary",
      Uint8Array.from({ length: 70_000 }, (_, n) => (n * 31) % 256)
    )
    write(at, "empty", "")
  },
  "strange names": (at) => {
    for (const name of strange) write(at, name, `${name}\n`)
    for (const name of strange) write(at, `tracked/${name}`, "1\n")
    user(at, "add", "tracked")
    user(at, "commit", "--quiet", "--message", "strange")
    for (const name of strange.slice(3)) write(at, `tracked/${name}`, "2\n")
    for (const name of strange.slice(0, 2)) unlinkSync(join(at, "tracked", name))
    user(at, "add", "tracked/tab\tname")
  },
  "links and modes": (at) => {
    unlinkSync(join(at, "link"))
    symlinkSync("b.txt", join(at, "link"))
    symlinkSync("../nowhere/at all", join(at, "dangling"))
    symlinkSync("src", join(at, "to-directory"))
    chmodSync(join(at, "a.txt"), 0o755)
    chmodSync(join(at, "run.sh"), 0o644)
    write(at, "private", "x\n", 0o600)
    write(at, "tool", "x\n", 0o755)
    user(at, "add", "tool")
  },
  "deletions and renames": (at) => {
    unlinkSync(join(at, "a.txt"))
    user(at, "rm", "--quiet", "b.txt")
    user(at, "rm", "--quiet", "--cached", "run.sh")
    user(at, "mv", "src/one.ts", "src/renamed.ts")
    renameSync(join(at, "src/two.ts"), join(at, "src/moved.ts"))
    rmSync(join(at, "src/deep"), { recursive: true })
  },
  "announced files": (at) => {
    write(at, "announced.ts", "soon\n")
    write(at, "announced-tool", "soon\n", 0o755)
    write(at, "announced-gone", "soon\n")
    write(at, "announced-empty", "")
    user(at, "add", "--intent-to-add", "announced.ts", "announced-tool", "announced-gone", "announced-empty")
    unlinkSync(join(at, "announced-gone"))
    user(at, "rm", "--quiet", "--cached", "b.txt")
    user(at, "add", "--intent-to-add", "b.txt")
    write(at, "really-empty", "")
    user(at, "add", "really-empty")
  },
  "flags of the index": (at) => {
    write(at, "a.txt", "changed in secret\n")
    user(at, "update-index", "--assume-unchanged", "a.txt", "src/one.ts")
    user(at, "update-index", "--skip-worktree", "b.txt", "src/two.ts")
    unlinkSync(join(at, "b.txt"))
    write(at, "src/two.ts", "changed in secret\n")
  },
  "a conflict": (at) => {
    conflict(at)
    stops(at, "merge", "--quiet", "side")
    write(at, "src/more.ts", "more\n")
  },
  "a conflict that is half resolved": (at) => {
    conflict(at)
    stops(at, "merge", "--quiet", "--no-ff", "side")
    write(at, "a.txt", "resolved\n")
    user(at, "add", "a.txt")
    unlinkSync(join(at, "b.txt"))
  },
  "a rebase that stopped": (at) => {
    conflict(at)
    stops(at, "rebase", "--quiet", "side")
  },
  "a cherry-pick that stopped": (at) => {
    conflict(at)
    stops(at, "cherry-pick", "side")
    user(at, "branch", "--quiet", "-D", "side")
  },
  "a revert that stopped": (at) => {
    conflict(at)
    stops(at, "revert", "--no-edit", "HEAD~1")
  },
  "a bisection": (at) => {
    for (let n = 0; n < 6; n += 1) user(at, "commit", "--quiet", "--allow-empty", "--message", `${n}`)
    user(at, "bisect", "start", "HEAD", "HEAD~5")
  },
  "empty directories": (at) => {
    mkdirSync(join(at, "empty"))
    mkdirSync(join(at, "src/empty/deeper"), { recursive: true })
    write(at, "new/file", "x\n")
    mkdirSync(join(at, "new/empty"))
    mkdirSync(join(at, "ignored/empty"), { recursive: true })
    mkdirSync(join(at, "new/ignored"), { recursive: true })
    unlinkSync(join(at, "src/deep/three.ts"))
  },
  "types that changed": (at) => {
    unlinkSync(join(at, "a.txt"))
    write(at, "a.txt/was-a-file", "x\n")
    unlinkSync(join(at, "b.txt"))
    symlinkSync("run.sh", join(at, "b.txt"))
    unlinkSync(join(at, "link"))
    write(at, "link", "was a link\n")
    rmSync(join(at, "src"), { recursive: true })
    symlinkSync("/tmp", join(at, "src"))
    unlinkSync(join(at, "run.sh"))
    mkdirSync(join(at, "run.sh"))
  },
  "a directory that became a file": (at) => {
    rmSync(join(at, "src"), { recursive: true })
    write(at, "src", "a file\n")
    user(at, "add", "--all")
    unlinkSync(join(at, "src"))
    write(at, "src/one.ts", "back\n")
  },
  "a detached head with commits": (at) => {
    user(at, "checkout", "--quiet", "--detach")
    write(at, "a.txt", "committed\n")
    user(at, "commit", "--quiet", "--all", "--message", "second")
    write(at, "a.txt", "and changed\n")
  },
  "local commits and a stash": (at) => {
    write(at, "a.txt", "committed\n")
    user(at, "commit", "--quiet", "--all", "--message", "second")
    write(at, "b.txt", "put aside\n")
    write(at, "untracked", "put aside\n")
    user(at, "stash", "push", "--quiet", "--include-untracked", "--message", "the first of two")
    write(at, "b.txt", "put aside too\n")
    user(at, "stash", "push", "--quiet")
    write(at, "b.txt", "changed\n")
  },
  "a repository of its own": (at) => {
    mkdirSync(join(at, "vendor/own"), { recursive: true })
    git(join(at, "vendor/own"), "init", "--quiet", "--initial-branch", "trunk")
    write(at, "vendor/own/file", "1\n")
    user(join(at, "vendor/own"), "add", "file")
    user(join(at, "vendor/own"), "commit", "--quiet", "--message", "own")
    write(at, "vendor/own/file", "2\n")
    write(at, "vendor/own/more", "x\n")
    mkdirSync(join(at, "vendor/fresh"))
    git(join(at, "vendor/fresh"), "init", "--quiet", "--initial-branch", "trunk")
    write(at, "vendor/fresh/file", "x\n")
    user(join(at, "vendor/fresh"), "add", "file")
  },
  "line endings that git converts": (at) => {
    write(at, ".gitattributes", "*.crlf text eol=crlf\n*.auto text=auto\n*.id ident\n*.up filter=up\n")
    user(at, "config", "filter.up.clean", "tr a-z A-Z")
    user(at, "config", "filter.up.smudge", "tr A-Z a-z")
    for (const name of ["x.crlf", "x.auto", "y.auto", "x.up"]) write(at, name, "one\r\ntwo\r\n")
    write(at, "x.id", "$Id$\n")
    user(at, "add", "--all")
    user(at, "commit", "--quiet", "--message", "attributes")
    write(at, "y.auto", "one\ntwo\n")
    unlinkSync(join(at, "x.id"))
    user(at, "checkout", "--", "x.id")
  }
}

const conflict = (at: string) => {
  user(at, "checkout", "--quiet", "-b", "side")
  write(at, "a.txt", text(20, "side"))
  write(at, "b.txt", text(5, "side"))
  user(at, "commit", "--quiet", "--all", "--message", "side")
  user(at, "checkout", "--quiet", "-")
  write(at, "a.txt", text(20, "main"))
  unlinkSync(join(at, "b.txt"))
  user(at, "commit", "--quiet", "--all", "--message", "one")
  write(at, "a.txt", text(20, "again"))
  user(at, "commit", "--quiet", "--all", "--message", "two")
}

const ignored = (path: string) => path === "ignored" || path.endsWith("/ignored")

layer(services, { excludeTestServices: true })("capturing a checkout", (it) => {
  for (const kind of ["worktree", "clone"] satisfies ReadonlyArray<Kind>) {
    for (const [name, work] of Object.entries(scenarios)) {
      it.effect(`gives another ${kind} the same work: ${name}`, () =>
        Effect.gen(function* () {
          const where = yield* place(kind, fill)
          const [from, to] = [where.fresh(), where.fresh()]
          const store = memory()
          work(from, where)
          const before = seen(from, ignored)
          const repository = listing(`${where.origin}/.git`)
          const own = listing(from)
          const captured = yield* capture(where.options(from), store.sink)
          assert.deepStrictEqual(listing(from), own, "the checkout is as it was")
          assert.deepStrictEqual(listing(`${where.origin}/.git`), repository, "the repository is as it was")
          assert.strictEqual((yield* fingerprint(where.options(from))).fingerprint, captured.fingerprint)

          const options = { directory: to, document: captured.document, object: store.object, fallbackBranch: "kept" }
          for (const time of ["once", "twice"]) {
            yield* apply(options)
            const there = yield* fingerprint(where.options(to))
            const now = seen(to, ignored)
            // whether converted files count as changed depends on what git remembers of them
            if (name !== "line endings that git converts") assert.deepStrictEqual(now, before, time)
            else assert.deepStrictEqual({ ...now, status: [] }, { ...before, status: [] }, time)
            assert.strictEqual(there.fingerprint, captured.fingerprint, time)
          }
        })
      )
    }
  }
})
