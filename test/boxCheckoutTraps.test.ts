/** Checkouts by which whoever works in a box tries to reach this host, through the git that saves and restores them here. */
import {
  cpSync,
  existsSync,
  linkSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync
} from "node:fs"
import { dirname, join, relative } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { copies, done, gitIn, inBox, json, up } from "./support/boxed.ts"
import { type World, world } from "./support/sandbox.ts"
import { work } from "./support/work.ts"

/** A repository of the host's that no box may reach, and a program that must not run. */
const host = (w: World) => {
  const secret = join(w.directory, "secret")
  mkdirSync(secret)
  gitIn(w, secret)("init", "--quiet")
  writeFileSync(join(secret, "key"), "the host's own\n")
  gitIn(w, secret)("add", ".")
  gitIn(w, secret)("commit", "--quiet", "--message", "secret")
  const witness = join(w.directory, "witness")
  return { secret, witness, run: `touch ${witness}` }
}

/** What a link of the repository leads to in the checkout, and what that may lead to on this host. */
interface Hop {
  readonly beside: string
  readonly secret: string
}

describe.concurrent("a checkout that its box has made a trap", { timeout: 300_000 }, () => {
  it.live("I-91 runs no program on this host that its configuration, hooks or attributes name", () =>
    Effect.gen(function* () {
      const w = yield* world
      yield* up(w)
      const box = inBox(w)
      work(box)
      const { checkpoint } = yield* done(w, "checkpoint", "create", "app")
      const { run, secret, witness } = host(w)
      const included = join(box, ".git/included")
      writeFileSync(included, `[core]\n\tfsmonitor = ${run}\n`)
      const trap = (directory: string) => {
        const settings = {
          "core.fsmonitor": run,
          "core.hooksPath": join(box, "hooks"),
          "core.sshCommand": run,
          "core.editor": run,
          "core.pager": run,
          "core.askPass": run,
          "core.alternateRefsCommand": run,
          "credential.helper": `!${run}`,
          "diff.external": run,
          "diff.evil.textconv": run,
          "filter.evil.clean": run,
          "filter.evil.smudge": run,
          "filter.evil.process": run,
          "filter.evil.required": "true",
          "gpg.program": run,
          "log.showSignature": "true",
          "include.path": included,
          "alias.status": `!${run}`,
          "alias.rev-parse": `!${run}`,
          "uploadpack.packObjectsHook": run,
          "remote.origin.url": `ext::${run}`,
          "remote.origin.promisor": "true"
        }
        for (const [key, value] of Object.entries(settings)) {
          w.git("config", "--file", join(directory, ".git/config"), key, value)
        }
        mkdirSync(join(directory, ".git/info"), { recursive: true })
        writeFileSync(join(directory, ".git/info/attributes"), "* filter=evil diff=evil\n")
        mkdirSync(join(directory, ".git/hooks"), { recursive: true })
        for (const hook of ["reference-transaction", "post-index-change", "post-checkout", "pre-auto-gc"]) {
          writeFileSync(join(directory, ".git/hooks", hook), `#!/bin/sh\n${run}\n`, { mode: 0o755 })
        }
      }
      gitIn(w, box)("init", "--quiet", "nested")
      gitIn(w, join(box, "nested"))("commit", "--quiet", "--allow-empty", "--message", "inside")
      writeFileSync(join(box, "nested/file"), "in a repository of its own\n")
      trap(box)
      trap(join(box, "nested"))
      w.git("config", "--file", join(box, ".git/config"), "core.worktree", secret)
      const config = readFileSync(join(box, ".git/config"), "utf8")

      yield* done(w, "checkpoint", "create", "app")
      yield* w.sandbox("export", "app", "--to", "bundle", "--output", join(w.directory, "out"), "--json")
      yield* done(w, "restore", "app", checkpoint!.id)
      assert.strictEqual(readFileSync(join(box, ".git/config"), "utf8"), config, "it is the box's own all the same")
      yield* done(w, "down", "app")
      yield* w.sandbox("destroy", "app", "--json")
      assert.isFalse(existsSync(witness))
      assert.deepEqual(readdirSync(secret).toSorted(), [".git", "key"])
    })
  )

  it.live("I-91 leads to nothing of this host", () =>
    Effect.gen(function* () {
      const w = yield* world
      yield* up(w)
      const box = inBox(w)
      const clean = join(w.directory, "clean")
      cpSync(box, clean, { recursive: true, verbatimSymlinks: true })
      const { run, secret, witness } = host(w)
      const theirs = join(secret, ".git")
      const inGit = (name: string) => join(box, ".git", name)
      const instead = (name: string, target: string) => {
        rmSync(join(box, name), { recursive: true, force: true })
        symlinkSync(target, join(box, name))
      }
      const traps: Record<string, { readonly path?: string; readonly set: () => void }> = {
        "a link": { path: ".git", set: () => instead(".git", theirs) },
        "a file": {
          path: ".git",
          set: () => {
            rmSync(inGit(""), { recursive: true })
            writeFileSync(join(box, ".git"), `gitdir: ${theirs}\n`)
          }
        },
        "a file that goes up": {
          path: ".git",
          set: () => {
            rmSync(inGit(""), { recursive: true })
            writeFileSync(join(box, ".git"), `gitdir: ../../../../../../secret/.git\n`)
          }
        },
        "nothing but a bare repository": {
          path: ".git",
          set: () => {
            for (const name of ["HEAD", "objects", "refs", "config"]) {
              cpSync(inGit(name), join(box, name), { recursive: true })
            }
            rmSync(inGit(""), { recursive: true })
            w.git("config", "--file", join(box, "config"), "core.fsmonitor", run)
            w.git("config", "--file", join(box, "config"), "core.bare", "false")
            w.git("config", "--file", join(box, "config"), "core.worktree", ".")
          }
        },
        "objects elsewhere": { path: ".git/objects", set: () => instead(".git/objects", join(theirs, "objects")) },
        "branches elsewhere": { path: ".git/refs", set: () => instead(".git/refs", join(theirs, "refs")) },
        "a message elsewhere": { path: ".git/MERGE_MSG", set: () => instead(".git/MERGE_MSG", join(secret, "key")) },
        "a configuration elsewhere": {
          path: ".git/config",
          set: () => instead(".git/config", join(theirs, "config"))
        },
        "the same link under two names": {
          path: ".git/MERGE_MSG",
          set: () => {
            symlinkSync(join(secret, "key"), join(box, "a-link"))
            linkSync(join(box, "a-link"), inGit("MERGE_MSG"))
          }
        },
        "a repository inside that is elsewhere": {
          path: "nested/.git",
          set: () => {
            mkdirSync(join(box, "nested"))
            symlinkSync(theirs, join(box, "nested/.git"))
          }
        },
        "a file inside that names another": {
          path: "nested/.git",
          set: () => {
            mkdirSync(join(box, "nested"))
            writeFileSync(join(box, "nested/.git"), `gitdir: ${theirs}\n`)
          }
        },
        "a shared repository": { set: () => writeFileSync(inGit("commondir"), `${theirs}\n`) },
        "borrowed objects": { set: () => writeFileSync(inGit("objects/info/alternates"), `${theirs}/objects\n`) },
        "a link that leads nowhere": { set: () => symlinkSync("user@host.1", inGit(".#COMMIT_EDITMSG")) },
        "an empty repository inside": { set: () => mkdirSync(join(box, "nested/.git"), { recursive: true }) }
      }
      for (const [what, { path, set }] of Object.entries(traps)) {
        for (const name of readdirSync(box)) rmSync(join(box, name), { recursive: true })
        cpSync(clean, box, { recursive: true, verbatimSymlinks: true })
        set()
        const answer = yield* json(w, "checkpoint", "create", "app")
        if (path === undefined) assert.isTrue(answer.ok, `${what}: ${JSON.stringify(answer)}`)
        else {
          assert.strictEqual(answer.error_code, "ERR_WORKSPACE_FAILED", `${what}: ${JSON.stringify(answer)}`)
          const details: object = answer.details ?? {}
          assert.deepInclude(details, { path }, what)
        }
      }
      rmSync(inGit(""), { recursive: true })
      cpSync(join(clean, ".git"), inGit(""), { recursive: true })
      writeFileSync(inGit("objects/info/alternates"), `${theirs}/objects\n`)
      writeFileSync(inGit("refs/heads/feature"), `${gitIn(w, secret)("rev-parse", "HEAD")}\n`)
      const borrowed = yield* json(w, "checkpoint", "create", "app")
      assert.isFalse(borrowed.ok, "nothing of the host's own repository is saved")
      assert.isFalse(existsSync(witness))
      assert.deepEqual(copies(w), [])
    })
  )

  const ways: Record<string, { readonly hops: (at: Hop) => void }> = {
    logs: {
      hops: ({ beside, secret }) => {
        mkdirSync(join(beside, "refs"), { recursive: true })
        rmSync(join(beside, "refs/stash"), { force: true })
        symlinkSync(join(secret, "key"), join(beside, "refs/stash"))
      }
    },
    "rebase-merge": {
      hops: ({ beside, secret }) => {
        writeFileSync(join(beside, "head-name"), "refs/heads/feature\n")
        symlinkSync(join(secret, "key"), join(beside, "message"))
      }
    },
    objects: {
      hops: ({ beside, secret }) => {
        rmSync(join(beside, "pack"), { recursive: true, force: true })
        symlinkSync(join(secret, ".git/objects"), join(beside, "pack"))
      }
    },
    refs: {
      hops: ({ beside, secret }) => {
        rmSync(join(beside, "tags"), { recursive: true, force: true })
        symlinkSync(join(secret, ".git/refs/heads"), join(beside, "tags"))
      }
    }
  }
  for (const [name, { hops }] of Object.entries(ways)) {
    it.live(`I-91 leads to nothing of this host by two hops, the first from .git/${name}`, () =>
      Effect.gen(function* () {
        const w = yield* world
        yield* up(w)
        const box = inBox(w)
        const { secret } = host(w)
        work(box)
        gitIn(w, box)("stash", "push", "--quiet", "--message", "by the box")
        const { checkpoint } = yield* done(w, "checkpoint", "create", "app")
        const theirs = () => [readdirSync(secret).toSorted(), readFileSync(join(secret, "key"), "utf8")]
        const before = [...theirs(), gitIn(w, secret)("for-each-ref"), gitIn(w, secret)("count-objects", "-v")]
        const beside = join(box, ".ev", name)
        mkdirSync(beside, { recursive: true })
        const own = join(box, ".git", name)
        if (existsSync(own)) cpSync(own, beside, { recursive: true, verbatimSymlinks: true })
        rmSync(own, { recursive: true, force: true })
        symlinkSync(join("..", ".ev", name), own)
        hops({ beside, secret })
        for (const verb of [
          ["checkpoint", "create", "app"],
          ["export", "app", "--to", "bundle", "--output", join(w.directory, "out")],
          ["restore", "app", checkpoint!.id, "--confirm-data-loss"]
        ]) {
          const answer = yield* json(w, ...verb)
          assert.strictEqual(answer.error_code, "ERR_WORKSPACE_FAILED", `${verb}: ${JSON.stringify(answer)}`)
          const details: object = answer.details ?? {}
          assert.deepInclude(details, { path: `.git/${name}` }, verb.join(" "))
        }
        assert.deepEqual(
          [...theirs(), gitIn(w, secret)("for-each-ref"), gitIn(w, secret)("count-objects", "-v")],
          before
        )
      })
    )
  }

  it.live("I-91 leads nowhere but into its own repository, whatever is between", () =>
    Effect.gen(function* () {
      const w = yield* world
      yield* up(w)
      const box = inBox(w)
      const { secret } = host(w)
      const deep = join(box, "d", ...Array.from({ length: 20 }, () => "d"))
      const nested = join(box, "nested")
      const traps: Record<string, { readonly path: string; readonly set: () => void }> = {
        "back into the repository by way of the checkout": {
          path: ".git/rebase-merge",
          set: () => {
            mkdirSync(join(box, ".git/own"))
            symlinkSync("../d/../.git/own", join(box, ".git/rebase-merge"))
          }
        },
        "up again after it went down": {
          path: ".git/rebase-merge",
          set: () => {
            mkdirSync(join(box, ".git/own/own"), { recursive: true })
            symlinkSync("own/own/..", join(box, ".git/rebase-merge"))
          }
        },
        "a link to a file that names a place": {
          path: "nested/.git",
          set: () => {
            // what is named is there seen from the file, and is the host's seen from the link
            const named = `${"../".repeat(15)}${secret.slice(1)}/.git`
            const seen = join(deep, named)
            mkdirSync(dirname(seen), { recursive: true })
            cpSync(join(box, ".git"), seen, { recursive: true })
            writeFileSync(join(deep, "file"), `gitdir: ${named}\n`)
            mkdirSync(nested)
            symlinkSync(relative(nested, join(deep, "file")), join(nested, ".git"))
          }
        },
        "a repository among the files": {
          path: "nested/.git",
          set: () => {
            cpSync(join(box, ".git"), join(box, "elsewhere"), { recursive: true })
            mkdirSync(nested)
            writeFileSync(join(nested, ".git"), "gitdir: ../elsewhere\n")
          }
        }
      }
      for (const [what, { path, set }] of Object.entries(traps)) {
        rmSync(join(box, ".git/rebase-merge"), { force: true })
        for (const name of [".git/own", "nested", "d", "elsewhere"]) {
          rmSync(join(box, name), { recursive: true, force: true })
        }
        mkdirSync(deep, { recursive: true })
        set()
        const answer = yield* json(w, "checkpoint", "create", "app")
        assert.strictEqual(answer.error_code, "ERR_WORKSPACE_FAILED", `${what}: ${JSON.stringify(answer)}`)
        const details: object = answer.details ?? {}
        assert.deepInclude(details, { path }, what)
      }
    })
  )

  it.live("I-91 is not larger than this host can hold", () =>
    Effect.gen(function* () {
      const w = yield* world
      yield* up(w)
      const box = inBox(w)
      writeFileSync(join(box, "big.img"), "")
      truncateSync(join(box, "big.img"), 200 * 2 ** 30)
      const answer = yield* json(w, "checkpoint", "create", "app")
      assert.strictEqual(answer.error_code, "ERR_WORKSPACE_FAILED", JSON.stringify(answer))
      assert.include(answer.cause, "200.0 GiB of big.img")
      assert.deepEqual(copies(w), [])
    })
  )
})
