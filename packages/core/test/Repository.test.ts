import { assert, layer } from "@effect/vitest"
import * as Git from "@org/sandbox-core/Git"
import * as Repository from "@org/sandbox-core/Repository"
import { Effect, Fiber, FileSystem, Layer } from "effect"
import { ChildProcessSpawner } from "effect/process"
import { TestClock } from "effect/testing"
import { commit, directory, git, repository, served, layer as services } from "./git.ts"

const path = (location: string): Repository.Source => ({ _tag: "path", location })
const url = (location: string): Repository.Source => ({ _tag: "url", location })

/** Running anything at all is a defect. */
const noProcess = Layer.succeed(
  ChildProcessSpawner.ChildProcessSpawner,
  ChildProcessSpawner.make(() => Effect.die("a process was started"))
)

layer(services, { excludeTestServices: true })("a repository argument", (it) => {
  it.effect("means the top of the repository that the directory is in", () =>
    Effect.gen(function* () {
      const fs = yield* FileSystem.FileSystem
      const top = yield* repository
      yield* fs.makeDirectory(`${top}/a/b`, { recursive: true })
      yield* fs.symlink(top, `${yield* directory}/link`)
      for (const [input, cwd] of [
        [".", top],
        ["a/b", top],
        [`${top}/a`, "/"],
        ["..", `${top}/a`],
        [".git", top],
        [`${top}/.git/hooks`, "/"]
      ] as const) {
        assert.deepStrictEqual(yield* Repository.parse(input, cwd), path(top), input)
      }
    })
  )

  it.effect("means a bare repository, a linked worktree and a symbolic link by their real paths", () =>
    Effect.gen(function* () {
      const fs = yield* FileSystem.FileSystem
      const top = yield* repository
      const elsewhere = yield* directory
      git("/", "clone", "--quiet", "--bare", top, `${elsewhere}/bare`)
      git(top, "worktree", "add", "--quiet", "-b", "other", `${elsewhere}/tree`)
      yield* fs.symlink(top, `${elsewhere}/link`)
      assert.deepStrictEqual(yield* Repository.parse("bare/refs", elsewhere), path(`${elsewhere}/bare`))
      assert.deepStrictEqual(yield* Repository.parse("tree", elsewhere), path(`${elsewhere}/tree`))
      assert.deepStrictEqual(yield* Repository.parse("link", elsewhere), path(top))
    })
  )

  it.effect("stays a path when nothing is there, and fails only when it is resolved", () =>
    Effect.gen(function* () {
      const empty = yield* directory
      for (const location of [`${empty}/nothing`, empty]) {
        const source = yield* Repository.parse(location, "/")
        assert.deepStrictEqual(source, path(location))
        const error = yield* Effect.flip(Repository.resolve(source, { branch: "main" }))
        assert.strictEqual(error.code, "ERR_REPO_UNRESOLVED")
        assert.isFalse(error.retryable)
        assert.include(error.message, location)
        assert.strictEqual((yield* Effect.flip(Repository.defaultBranch(source))).code, "ERR_REPO_UNRESOLVED")
      }
    })
  )

  it.effect("means a URL when it looks like one and no such directory exists", () =>
    Effect.gen(function* () {
      const fs = yield* FileSystem.FileSystem
      const cwd = yield* directory
      for (const input of [
        "https://github.com/org/repo.git",
        "http://127.0.0.1:8080/repo",
        "ssh://git@github.com:22/org/repo",
        "git://example.com/repo",
        "file:///srv/repo.git",
        "git@github.com:org/repo.git",
        "host:path"
      ]) {
        assert.deepStrictEqual(yield* Repository.parse(input, cwd), url(input))
        assert.deepStrictEqual(Repository.fromLocation(input), url(input))
      }
      yield* fs.makeDirectory(`${cwd}/host:path`)
      assert.deepStrictEqual(yield* Repository.parse("host:path", cwd), path(`${cwd}/host:path`))
      assert.deepStrictEqual(Repository.fromLocation(`${cwd}/host:path`), path(`${cwd}/host:path`))
    })
  )

  it.effect("I-96 is refused with a secret in it, without repeating the secret", () =>
    Effect.gen(function* () {
      for (const input of [
        "https://canary@github.com/org/repo",
        "https://user:canary@github.com/org/repo",
        "http://:canary@example.com/x",
        "ssh://git:canary@example.com/x",
        "git:canary@example.com:x",
        "git://canary@example.com/x",
        "https://user:canary@exa mple/x"
      ]) {
        const error = yield* Effect.flip(Repository.parse(input, "/"))
        assert.strictEqual(error.code, "ERR_INVALID_ARGUMENT", input)
        assert.notInclude(JSON.stringify(error) + error.message, "canary")
        if (!input.includes(" ")) assert.include(error.message, "GITHUB_TOKEN")
      }
    })
  )

  it.effect("I-90 is refused when git could read it as an option or a program", () =>
    Effect.gen(function* () {
      for (const input of [
        "",
        " ",
        "-x",
        "--upload-pack=x",
        "ext::sh -c x",
        "fd::3",
        "ssh://-oProxyCommand=x/y",
        "git@-oProxyCommand=x:y",
        "ftp://example.com/x",
        "a\nb",
        "a\0b"
      ]) {
        assert.strictEqual((yield* Effect.flip(Repository.parse(input, "/"))).code, "ERR_INVALID_ARGUMENT", input)
      }
    })
  )
})

layer(services, { excludeTestServices: true })("names", (it) => {
  const good = ["main", "a/b/c", "feature/x-1", "v1.2", "a@b", "@a", "ünï", "a.lock.b", "{", "a-", "HEAD1"]
  const bad = [
    ..."- -x --upload-pack=x a..b a~b a^b a:b a?b a*b a[b a\\b a@{b /a a/ a//b .a a/.b a.lock a.lock/b a. @".split(" "),
    ...["", "a b", "a\tb", "a\nb", "a\u007fb", "a\0b", "a".repeat(241)]
  ]

  it.effect("I-90 a branch is judged as git judges it, and never as an option", () =>
    Effect.gen(function* () {
      for (const name of good) assert.isUndefined(Repository.checkBranch(name), name)
      for (const name of bad) assert.isString(Repository.checkBranch(name), name)
      // Git reads `@` as HEAD where it asks for a branch, and cannot be asked about a NUL; the length is our own rule.
      for (const name of [
        ...good,
        ...bad.filter((name) => name !== "@" && !name.includes("\0") && name.length < 100)
      ]) {
        const { code } = yield* Git.run(["check-ref-format", "--branch", name], { cwd: "/" })
        assert.strictEqual(Repository.checkBranch(name) === undefined, code === 0, name)
      }
    })
  )

  it.effect("I-90 a branch or base that git could misread is refused before git runs", () =>
    Effect.gen(function* () {
      for (const name of ["--upload-pack=x", "-x", "a..b", "a~1", "a^", "a:b", ""]) {
        for (const source of [path("/"), url("https://example.com/x")]) {
          for (const options of [{ branch: name }, { branch: "main", base: name }]) {
            const error = yield* Effect.flip(Repository.resolve(source, options))
            assert.strictEqual(error.code, "ERR_INVALID_ARGUMENT", name)
          }
        }
      }
      const defect = yield* Effect.exit(Repository.resolve(path("/"), { branch: "main" }))
      assert.include(JSON.stringify(defect), "a process was started")
    }).pipe(Effect.provide(noProcess))
  )

  it.effect("a slug is lower-case words, short, without hyphens at its ends", () =>
    Effect.sync(() => {
      assert.strictEqual(Repository.slug("Feature/Über_Thing--42!"), "feature-ber-thing-42")
      assert.strictEqual(Repository.slug("--x--"), "x")
      assert.strictEqual(Repository.slug("ü"), "")
      assert.strictEqual(Repository.slug(`${"a".repeat(39)}/b`), "a".repeat(39))
    })
  )

  it.effect("a default name joins repository and branch, and is always a valid name", () =>
    Effect.sync(() => {
      const name = Repository.defaultName
      assert.strictEqual(name(path("/home/u/My Project"), "feature/x"), "my-project-feature-x")
      assert.strictEqual(name(url("https://github.com/org/repo.git"), "main"), "repo-main")
      assert.strictEqual(name(url("git@github.com:org/repo.git/"), "main"), "repo-main")
      assert.strictEqual(name(url("host:repo"), "main"), "repo-main")
      assert.strictEqual(name(path("/srv/repo/.git")), "repo")
      assert.strictEqual(name(path("/"), "ü"), "repository")
      const long = name(path(`/${"r".repeat(80)}`), "b".repeat(80))
      assert.strictEqual(long, `${"r".repeat(22)}-${"b".repeat(40)}`)
      for (const made of [long, name(path("/"), "ü")]) assert.isUndefined(Repository.checkName(made))
    })
  )

  it.effect("a session's name is at most 63 lower-case letters, digits and inner hyphens", () =>
    Effect.sync(() => {
      for (const name of ["a", "a1", "a-b", "0", "a".repeat(63)]) assert.isUndefined(Repository.checkName(name), name)
      for (const name of ["", "-a", "a-", "A", "a_b", "a b", "a\n", "a".repeat(64)])
        assert.isString(Repository.checkName(name))
    })
  )
})

layer(services, { excludeTestServices: true })("a branch of a local repository", (it) => {
  it.effect("resolves to its commit, before a tag or remote branch of the same name", () =>
    Effect.gen(function* () {
      const top = yield* repository
      git(top, "tag", "work")
      git(top, "update-ref", "refs/remotes/origin/work", "HEAD")
      git(top, "checkout", "--quiet", "-b", "work")
      const tip = commit(top, "second")
      assert.deepStrictEqual(yield* Repository.resolve(path(top), { branch: "work" }), {
        branch: "work",
        commit: tip,
        create: false
      })
      assert.strictEqual(yield* Repository.defaultBranch(path(top)), "work")
    })
  )

  it.effect("that was only fetched is created at what was fetched", () =>
    Effect.gen(function* () {
      const top = yield* repository
      const head = git(top, "rev-parse", "HEAD")
      git(top, "update-ref", "refs/remotes/origin/work", head)
      const expected = { branch: "work", commit: head, create: true }
      assert.deepStrictEqual(yield* Repository.resolve(path(top), { branch: "work" }), expected)
    })
  )

  it.effect("is created at a base: a branch, a fetched branch, an annotated tag or a full commit name", () =>
    Effect.gen(function* () {
      const top = yield* repository
      const first = git(top, "rev-parse", "HEAD")
      git(top, "tag", "--annotate", "--message", "x", "v1")
      git(top, "update-ref", "refs/remotes/origin/far", first)
      commit(top, "second")
      for (const base of ["v1", "far", first]) {
        const expected = { branch: "new", commit: first, create: true }
        assert.deepStrictEqual(yield* Repository.resolve(path(top), { branch: "new", base }), expected, base)
      }
      for (const base of ["nope", "0".repeat(40)]) {
        const error = yield* Effect.flip(Repository.resolve(path(top), { branch: "new", base }))
        assert.strictEqual(error.code, "ERR_REPO_UNRESOLVED", base)
        assert.include(error.message, base)
      }
    })
  )

  it.effect("that does not exist is refused with --base and the names that come close", () =>
    Effect.gen(function* () {
      const top = yield* repository
      for (const name of ["feature/login", "feature/logout", "unrelated"]) git(top, "branch", name)
      const error = yield* Effect.flip(Repository.resolve(path(top), { branch: "feature/logim" }))
      assert.strictEqual(error.code, "ERR_REPO_UNRESOLVED")
      assert.include(error.nextStep, "--base")
      assert.deepStrictEqual(error.details?.["close"], ["feature/login", "feature/logout"])
      const far = yield* Effect.flip(Repository.resolve(path(top), { branch: "zzz" }))
      assert.deepStrictEqual(far.details?.["close"], [])
    })
  )

  it.effect("has no default while HEAD is detached", () =>
    Effect.gen(function* () {
      const top = yield* repository
      git(top, "checkout", "--quiet", "--detach")
      const error = yield* Effect.flip(Repository.defaultBranch(path(top)))
      assert.strictEqual(error.code, "ERR_REPO_UNRESOLVED")
      assert.include(error.nextStep, "--branch")
    })
  )
})

layer(services, { excludeTestServices: true })("a branch of a remote repository", (it) => {
  it.effect("resolves over the network, with base, annotated tag and default branch", () =>
    Effect.gen(function* () {
      const top = yield* repository
      const first = git(top, "rev-parse", "HEAD")
      git(top, "tag", "--annotate", "--message", "x", "v1")
      git(top, "branch", "nested/main")
      const tip = commit(top, "second")
      for (const source of [url(yield* served(top)), url(`file://${top}`)]) {
        const resolve = (options: { branch: string; base?: string }) => Repository.resolve(source, options)
        assert.strictEqual(yield* Repository.defaultBranch(source), "main")
        assert.deepStrictEqual(yield* resolve({ branch: "main" }), { branch: "main", commit: tip, create: false })
        const made = { branch: "new", commit: first, create: true }
        for (const base of ["v1", "nested/main", first])
          assert.deepStrictEqual(yield* resolve({ branch: "new", base }), made)
        const error = yield* Effect.flip(resolve({ branch: "mainn" }))
        assert.strictEqual(error.code, "ERR_REPO_UNRESOLVED")
        assert.deepStrictEqual(error.details?.["close"], ["main"])
      }
    })
  )

  it.effect("that nobody serves is unresolved, with a way out", () =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(Repository.resolve(url(`file://${yield* directory}/none`), { branch: "main" }))
      assert.strictEqual(error.code, "ERR_REPO_UNRESOLVED")
      assert.include(error.nextStep, "GITHUB_TOKEN")
    })
  )
})

layer(services)("a remote that never answers", (it) => {
  it.effect("A-16 is given up after 90 seconds, and may be tried again", () =>
    Effect.gen(function* () {
      const fiber = yield* Repository.resolve(url("https://example.com/x"), { branch: "main" }).pipe(
        Effect.provideService(
          ChildProcessSpawner.ChildProcessSpawner,
          ChildProcessSpawner.make(() => Effect.never)
        ),
        Effect.flip,
        Effect.forkChild({ startImmediately: true })
      )
      yield* TestClock.adjust("89 seconds")
      assert.isUndefined(fiber.pollUnsafe())
      yield* TestClock.adjust("1 second")
      const error = yield* Fiber.join(fiber)
      assert.deepInclude({ ...error }, { code: "ERR_REPO_UNRESOLVED", retryable: true })
    })
  )
})
