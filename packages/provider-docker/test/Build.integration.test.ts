/** Images that are built of a directory of this host: when, of what, and what is left where that fails. */
import { execFileSync, spawn } from "node:child_process"
import { once } from "node:events"
import { chmodSync, linkSync, mkdirSync, rmSync, symlinkSync, truncateSync, utimesSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { assert, it } from "@effect/vitest"
import { type OptionPlace, OptionPlaces, Provisioner, type ProvisionIntent } from "@org/sandbox-core/Provisioner"
import { Effect, Fiber, Layer, type Scope } from "effect"
import { describeDocker } from "../../../test/docker.ts"
import * as Docker from "../../../test/support/docker.ts"
import { containerOf, docker, heldBuffers, newLedger, on, sh } from "./boxes.ts"
import { built, type Context, images, newContext, until } from "./contexts.ts"
import { layer } from "./engine.ts"
import * as Wires from "./wires.ts"

/** An intent that asks for no image. */
const newIntent = Effect.gen(function* () {
  const intent = (yield* newLedger).intent()
  return { ...intent, spec: {} } as ProvisionIntent
})

/** Makes a box; the reference, and what was said on the way. */
const provision = Effect.fnUntraced(function* (intent: ProvisionIntent) {
  const said: Array<string> = []
  const ref = yield* (yield* docker).provision({ ...intent, report: (line) => Effect.sync(() => void said.push(line)) })
  return { ref, said }
})

/** What a directory is refused for, before a box is asked for and when it is; neither leaves anything. */
const refusals = Effect.fnUntraced(function* () {
  const ledger = yield* newLedger
  const { preflight, provision } = yield* Provisioner
  const intent = { ...ledger.intent(), spec: {} } as ProvisionIntent
  const before = yield* Effect.result(preflight(intent.spec))
  const then = yield* Effect.flip(provision(intent))
  assert.strictEqual(then.outcome, "not_applied", then.message)
  assert.deepStrictEqual(yield* ledger.made, Docker.nothing)
  return { before: before._tag === "Failure" ? before.failure : undefined, then }
})

const imageOf = (key: string) => Effect.map(containerOf(key), ({ Config }) => Config.Image as string)

describeDocker("an image of a directory", () => {
  it.live("is built once for all boxes that need it at the same time, and not again for those that do later", () =>
    Effect.gen(function* () {
      const { context, label } = yield* newContext("RUN cat /proc/sys/kernel/random/uuid >/made", "COPY . /context")
      yield* Effect.gen(function* () {
        const intents = yield* Effect.all(Array.from({ length: 4 }, () => newIntent))
        const made = yield* Effect.forEach(intents, provision, { concurrency: "unbounded" })
        const lines = made.flatMap(({ said }) => said)
        assert.lengthOf(
          lines.filter((line) => line.startsWith("building an image of")),
          1
        )
        assert.include(lines.join("\n"), "RUN cat /proc/sys")
        const marks = yield* Effect.forEach(made, ({ ref }) => sh(ref, "cat /made"))
        assert.lengthOf(marks[0]!, 36)
        assert.lengthOf(new Set(marks), 1)
        const [name, ...others] = yield* built(label)
        assert.match(name ?? "", /^sandbox-build:[0-9a-f]{64}$/)
        assert.deepStrictEqual(others, [])
        for (const { key } of intents) assert.strictEqual(yield* imageOf(key), name)
      }).pipe(on({ build: { context } }))
      // another process, another time: the files' times do not count
      utimesSync(join(context, "Dockerfile"), 1, 1)
      const later = yield* on({ build: { context } })(Effect.flatMap(newIntent, provision))
      assert.deepStrictEqual(later.said, [])
      assert.lengthOf(yield* built(label), 1)
    }).pipe(Effect.scoped)
  )

  /** Builds before and after something has changed; both answer what is in /said, and its mode. */
  const changing = (
    line: string,
    change: (context: Context) => void,
    [before, after]: readonly [string, string],
    args: Readonly<Record<string, string>> = {}
  ) =>
    Effect.gen(function* () {
      const place = yield* newContext("ARG GREETING=none", line)
      place.write("file", "one")
      const tell = (args: Readonly<Record<string, string>>) =>
        on({ build: { context: place.context, args } })(
          Effect.gen(function* () {
            return yield* sh((yield* provision(yield* newIntent)).ref, "cat /said; stat -c %a /said")
          })
        )
      assert.strictEqual(yield* tell({}), before)
      change(place)
      assert.strictEqual(yield* tell(args), after)
      assert.lengthOf(yield* built(place.label), 2)
    }).pipe(Effect.scoped)

  it.live("is built anew when a file of it has changed", () =>
    changing("COPY file /said", ({ write }) => write("file", "two"), ["one644", "two644"])
  )

  it.live("is built anew when the mode of a file has changed", () =>
    changing("COPY file /said", ({ context }) => chmodSync(join(context, "file"), 0o755), ["one644", "one755"])
  )

  it.live("is built anew when it is built by other arguments", () =>
    changing("RUN echo $GREETING >/said", () => {}, ["none\n644", "a b\"'$c\n644"], { GREETING: "a b\"'$c" })
  )

  it.live("is that of a stage, of a Dockerfile of another name, for a user of its own", () =>
    Effect.gen(function* () {
      const { context, dockerfile, write } = yield* newContext("RUN exit 1")
      dockerfile(
        [
          "RUN echo 'dev:x:1234:1234::/home/dev:/bin/sh' >>/etc/passwd && mkdir -p /home/dev && chmod 777 /home/dev",
          "USER dev",
          `FROM ${Docker.images.base} AS other`,
          "RUN exit 1"
        ],
        "docker/Box.Dockerfile"
      )
      write(
        "docker/Box.Dockerfile",
        execFileSync("sed", ["1s/$/ AS wanted/", join(context, "docker/Box.Dockerfile")]).toString()
      )
      const build = { context, dockerfile: "./docker/Box.Dockerfile", target: "wanted" }
      const said = yield* on({ build })(
        Effect.gen(function* () {
          return yield* sh((yield* provision(yield* newIntent)).ref, "id -u; echo $HOME; stat -c %u .")
        })
      )
      assert.strictEqual(said, "1234\n/home/dev\n1234")
    }).pipe(Effect.scoped)
  )

  it.live("goes before the image that is configured, and after the one that is asked for", () =>
    Effect.gen(function* () {
      const { context, label } = yield* newContext()
      yield* Effect.gen(function* () {
        const asking = (yield* newLedger).intent({ spec: { image: Docker.images.user } })
        yield* provision(asking)
        assert.strictEqual(yield* imageOf(asking.key), Docker.images.user)
        assert.deepStrictEqual(yield* built(label), [])
        const intent = yield* newIntent
        yield* provision(intent)
        assert.deepStrictEqual([yield* imageOf(intent.key)], yield* built(label))
      }).pipe(on({ build: { context }, image: Docker.images.git }))
    }).pipe(Effect.scoped)
  )

  it.live("that was removed is built again for a box whose container was, of the same files and no others", () =>
    Effect.gen(function* () {
      const { context, label, write } = yield* newContext("COPY file /said")
      write("file", "first")
      const intent = yield* newIntent
      const lose = Effect.gen(function* () {
        const { Id } = yield* containerOf(intent.key)
        yield* Effect.orDie(Docker.request("DELETE", `/containers/${Id}?force=true`))
        for (const { Id } of yield* images(label)) {
          yield* Effect.orDie(Docker.request("DELETE", `/images/${Id}?force=true`))
        }
        assert.deepStrictEqual(yield* images(label), [])
      })
      const ref = yield* on({ build: { context } })(
        Effect.gen(function* () {
          const { ref } = yield* provision(intent)
          yield* sh(ref, "echo work >kept")
          yield* lose
          yield* (yield* docker).start(ref)
          assert.strictEqual(yield* sh(ref, "cat kept /said"), "work\nfirst")
          yield* lose
          write("file", "second")
          const { message, reason } = yield* Effect.flip((yield* docker).start(ref))
          assert.strictEqual(reason, "NotFound")
          assert.match(message, /no longer has the image sandbox-build:\w{64}.*has changed since/)
          return ref
        })
      )
      const { message } = yield* on()(Effect.flatMap(docker, ({ start }) => Effect.flip(start(ref))))
      assert.match(message, /no longer has the image .*run this where they have `build`/)
      write("file", "first")
      const there = Effect.flatMap(docker, ({ start }) => Effect.andThen(start(ref), sh(ref, "cat kept /said")))
      assert.strictEqual(yield* on({ build: { context } })(there), "work\nfirst")
    }).pipe(Effect.scoped)
  )
})

describeDocker("the files that an image is built of", () => {
  it.live("are those that the docker command sends, with the same modes, times, links and contents", () =>
    Effect.gen(function* () {
      const { context, write } = yield* newContext("COPY . /context")
      const deep = Array.from({ length: 12 }, (_, index) => `directory-${index}-of-a-long-path`).join("/")
      for (const path of [
        ...["plain", ".hidden", "with blank", "-dash", "ünïcødé-😀", "new\nline", "quo'te\"", "a.log", "keep.log"],
        ...["sub/a.log", "sub/node_modules/x", "node_modules/y/z", "docs/a.md", "docs/README.md", "docs/deep/b.md"],
        ...["rooted", "sub/rooted", "abc", "a-c", "xylo", "yard", "zoo", "build/out", "src/build/in", "tmp/x/y/keep"],
        ...["private/only/this", "private/only/not", "private/other", `${deep}/file`, "n".repeat(200)]
      ]) {
        write(path, `content of ${path}`)
      }
      write(
        ".dockerignore",
        [
          ...["# comment", "", "*.log", "!keep.log", "**/node_modules", "docs/*", "!docs/README.md", "/rooted", "a?c"],
          ...["[xy]*", "build/", "tmp/**/keep", "private", "!private/only/this", "Dockerfile", ".dockerignore", "  "]
        ].join("\n")
      )
      writeFileSync(join(context, "large"), Buffer.alloc(3 * 2 ** 20 + 1, "large"))
      writeFileSync(join(context, "empty"), "")
      writeFileSync(join(context, "block"), Buffer.alloc(512, "b"))
      mkdirSync(join(context, "nothing/in it"), { recursive: true })
      symlinkSync("nowhere", join(context, "dangling"))
      symlinkSync("/etc/passwd", join(context, "absolute"))
      symlinkSync("sub", join(context, "to-directory"))
      symlinkSync(`${"../".repeat(60)}etc`, join(context, "long-link"))
      linkSync(join(context, "plain"), join(context, "same"))
      chmodSync(join(context, "plain"), 0o600)
      chmodSync(join(context, "keep.log"), 0o4755)
      chmodSync(join(context, "sub"), 0o1777)
      chmodSync(join(context, "zoo"), 0o444)
      utimesSync(join(context, "abc"), 1e9, 1e9)
      utimesSync(join(context, "zoo"), 1.5e9, 1.5e9)

      const other = "sandbox-test/context:1"
      const cli = (...args: ReadonlyArray<string>) =>
        execFileSync("/usr/bin/docker", args, { encoding: "utf8", env: { ...process.env, DOCKER_BUILDKIT: "0" } })
      yield* Effect.addFinalizer(() => Effect.sync(() => cli("image", "rm", "--force", other)))
      const intent = yield* newIntent
      yield* on({ build: { context } })(provision(intent))
      const ours = yield* imageOf(intent.key)
      // nothing of what the engine made for one of them is to be taken for the other
      cli("build", "--no-cache", "--tag", other, context)
      const listing = (image: string) =>
        cli(
          ...["run", "--rm", "--network=none", image, "sh", "-c"],
          "cd /context && find . -mindepth 1 -print0 | sort -z | xargs -0 stat -c '%a %u:%g %F %N'; find . -type f -print0 | sort -z | xargs -0 stat -c '%s %Y %n'; find . -type f -print0 | sort -z | xargs -0 sha256sum"
        )
      const theirs = listing(other)
      assert.strictEqual(listing(ours), theirs)
      for (const path of [
        "keep.log",
        "docs/README.md",
        "private/only/this",
        "src/build/in",
        "nothing/in it",
        "n".repeat(200)
      ]) {
        assert.include(theirs, path)
      }
      for (const path of ["node_modules", "docs/a.md", "abc", "xylo", "only/not", "Dockerfile"]) {
        assert.notInclude(theirs, path)
      }
    }).pipe(Effect.scoped)
  )

  it.live("are sent without a third of them being held at any time", () =>
    Effect.gen(function* () {
      const { context } = yield* newContext("COPY Dockerfile /")
      writeFileSync(join(context, "large"), "")
      truncateSync(join(context, "large"), 96 * 2 ** 20)
      let most = 0
      const before = heldBuffers()
      const watching = Effect.sync(() => {
        most = Math.max(most, heldBuffers() - before)
      }).pipe(Effect.andThen(Effect.sleep("250 millis")), Effect.forever)
      yield* Effect.raceFirst(on({ build: { context } })(Effect.flatMap(newIntent, provision)), watching)
      assert.isAbove(most, 0)
      assert.isBelow(most, 32 * 2 ** 20)
    }).pipe(Effect.scoped)
  )
})

describeDocker("an image that cannot be built", () => {
  it.live("for a command that fails is refused with what that said last, and leaves nothing", () =>
    Effect.gen(function* () {
      const { context, label } = yield* newContext("RUN echo first >&2; echo what is wrong >&2; exit 3")
      const { before, then } = yield* on({ build: { context } })(refusals())
      assert.isUndefined(before)
      assert.strictEqual(then.reason, "Invalid", then.message)
      assert.isFalse(then.retryable)
      assert.match(then.message, /build\.context .*returned a non-zero code: 3\. .*first \| what is wrong/)
      assert.include(then.message, context)
      assert.deepStrictEqual(yield* built(label), [])
      assert.deepStrictEqual(yield* Docker.containers(label), [])
    }).pipe(Effect.scoped)
  )

  it.live("is refused in the engine's words, with a way out where there is one", () =>
    Effect.gen(function* () {
      const { context, dockerfile } = yield* newContext()
      const objection = Effect.fnUntraced(function* (
        lines: ReadonlyArray<string>,
        more: { readonly target?: string } = {}
      ) {
        dockerfile(lines)
        const { then } = yield* on({ build: { context, ...more } })(refusals())
        return `${then.reason}: ${then.message}`
      })
      assert.match(
        yield* objection(["RUN --mount=type=cache,target=/x true"]),
        /^Invalid: .*BuildKit.*`docker build` can/
      )
      assert.match(yield* objection(["FORM x"]), /^Invalid: .*unknown instruction: FORM/)
      assert.match(yield* objection(["COPY nothing /"]), /^Invalid: .*COPY failed.*nothing/)
      assert.match(yield* objection([], { target: "absent" }), /^Invalid: .*absent/)
      // nobody listens on port 9 of the engine's host
      assert.match(yield* objection(["FROM 127.0.0.1:9/none:1"]), /^Unreachable: .*refused/)
      // what a command says and does is its own
      assert.match(yield* objection(["RUN echo no space left on device; exit 1"]), /^Invalid: /)
      assert.match(yield* objection(["RUN rm /bin/sh", "RUN true"]), /^Invalid: .*\/bin\/sh/)
    }).pipe(Effect.scoped)
  )

  it.live("for a place that cannot be is refused before anything is made, by the option's name", () =>
    Effect.gen(function* () {
      const { context, write } = yield* newContext()
      const objection = (build: { readonly context: string; readonly dockerfile?: string }) =>
        Effect.map(on({ build })(refusals()), ({ before, then }) => {
          assert.strictEqual(before?.message, then.message)
          assert.strictEqual(before?.reason, then.reason)
          return `${then.reason}: ${then.message}`
        })
      const none = join(context, "none")
      assert.match(yield* objection({ context: none }), /^NotFound: build\.context is .*no directory .*\/none/)
      assert.match(yield* objection({ context: join(context, "Dockerfile") }), /^NotFound: build\.context is /)
      assert.match(yield* objection({ context, dockerfile: "none" }), /^NotFound: build\.dockerfile is none: .*no such/)
      mkdirSync(join(context, "sub"))
      assert.match(yield* objection({ context, dockerfile: "sub" }), /^NotFound: build\.dockerfile is sub/)
      for (const dockerfile of ["../Dockerfile", "/etc/passwd", "sub/../../Dockerfile", ".."]) {
        assert.match(yield* objection({ context, dockerfile }), /^Invalid: build\.dockerfile is .*in build\.context/)
      }
      symlinkSync("/etc/passwd", join(context, "link"))
      assert.match(
        yield* objection({ context, dockerfile: "link" }),
        /^Invalid: build\.dockerfile .*link which leads out/
      )
      write(".dockerignore", "[a")
      const odd = yield* on({ build: { context } })(refusals())
      assert.match(odd.then.message, /\.dockerignore has a pattern that makes no sense: \[a/)
      rmSync(join(context, ".dockerignore"))
      writeFileSync(Buffer.concat([Buffer.from(`${context}/odd`), Buffer.of(0xff)]), "")
      mkdirSync(join(context, "left out"))
      writeFileSync(Buffer.concat([Buffer.from(`${context}/left out/odd`), Buffer.of(0xff)]), "")
      write(".dockerignore", "odd?\nleft out/*\n!left out/kept")
      yield* on({ build: { context } })(Effect.flatMap(newIntent, provision))
      rmSync(join(context, ".dockerignore"))
      const unnamed = yield* on({ build: { context } })(refusals())
      assert.match(unnamed.then.message, /build\.context .*"odd\ufffd" has a name that is not UTF-8/)
    }).pipe(Effect.scoped)
  )
})

describeDocker("the directory that an image is built of", () => {
  /** Runs with the provider of a configuration that was written down in a folder. */
  const from =
    (place: OptionPlace, context: string) =>
    <A, E>(use: Effect.Effect<A, E, Provisioner | Scope.Scope>) =>
      Effect.scoped(
        Effect.provide(
          use,
          Layer.provide(
            layer({ pull: "never", build: { context } }),
            Layer.succeed(OptionPlaces, (option) => {
              assert.deepStrictEqual(option, ["build", "context"])
              return place
            })
          )
        )
      )

  it.live("is relative to the file that names it", () =>
    Effect.gen(function* () {
      const { context, write } = yield* newContext()
      write("inner/Dockerfile", `FROM ${Docker.images.base}`)
      yield* from({ folder: context, isTheirs: true }, ".")(Effect.flatMap(newIntent, provision))
      yield* from(
        { folder: context, isTheirs: true },
        "inner/../inner"
      )(Effect.flatMap(Provisioner, ({ preflight }) => preflight({})))
      yield* from({ folder: join(context, "inner"), isTheirs: false }, "..")(Effect.flatMap(newIntent, provision))
      const { then } = yield* from({ folder: undefined, isTheirs: true }, ".")(refusals())
      assert.match(then.message, /build\.context is \., and the repository that says so is not on this host/)
    }).pipe(Effect.scoped)
  )

  it.live("that a repository names is in the repository, whatever links it has", () =>
    Effect.gen(function* () {
      const { context, write } = yield* newContext()
      const other = yield* newContext()
      write("repository/file", "")
      symlinkSync(other.context, join(context, "repository/link"))
      for (const path of ["..", other.context, "link", "link/."]) {
        const place = { folder: join(context, "repository"), isTheirs: true }
        const { before, then } = yield* from(place, path)(refusals())
        assert.strictEqual(before?.reason, "Invalid", path)
        assert.match(then.message, /build\.context is .*: that leads out of the repository/)
        // what the user says is the user's own
        yield* from({ ...place, isTheirs: false }, path)(Effect.flatMap(Provisioner, ({ preflight }) => preflight({})))
      }
    }).pipe(Effect.scoped)
  )
})

describeDocker("a build that nobody waits for any more", () => {
  const runs = (label: string) =>
    Effect.map(Docker.containers(label), (all) => all.some(({ State }) => State === "running"))
  const isGone = (label: string) => Effect.map(Docker.containers(label), ({ length }) => length === 0)

  it.live("ends when it is interrupted, and its container is removed", () =>
    Effect.gen(function* () {
      const { context, label } = yield* newContext("RUN sleep 600")
      const intent = yield* newIntent
      const fiber = yield* Effect.forkChild(on({ build: { context } })(provision(intent)))
      yield* until("the build runs", runs(label))
      yield* Fiber.interrupt(fiber)
      yield* until("its container is removed", isGone(label))
      assert.deepStrictEqual(yield* built(label), [])
    }).pipe(Effect.scoped)
  )

  it.live("ends with its connection, which is told as no answer and may be tried again", () =>
    Effect.gen(function* () {
      const { context, label } = yield* newContext("RUN sleep 600")
      const { open, port } = yield* Wires.relay()
      const ledger = yield* newLedger
      const intent = { ...ledger.intent(), spec: {} } as ProvisionIntent
      const options = { host: `tcp://127.0.0.1:${port}`, build: { context } }
      const fiber = yield* Effect.forkChild(Effect.flip(on(options)(provision(intent))))
      yield* until("the build runs", runs(label))
      for (const socket of open) socket.destroy()
      const { message, reason, retryable } = yield* Fiber.join(fiber)
      assert.strictEqual(reason, "Unreachable", message)
      assert.isTrue(retryable)
      yield* until("its container is removed", isGone(label))
      assert.deepStrictEqual(yield* ledger.made, Docker.nothing)
    }).pipe(Effect.scoped)
  )

  it.live("ends when its process is killed, and the next one builds", () =>
    Effect.gen(function* () {
      const { context, dockerfile, label } = yield* newContext("RUN sleep 600")
      const ledger = yield* newLedger
      const { key } = ledger.intent()
      const file = fileURLToPath(new URL("building.ts", import.meta.url))
      const options = ["--conditions=@org/source", "--disable-warning=ExperimentalWarning", file]
      const child = spawn(process.execPath, [...options, context, ledger.id, key], {
        stdio: ["ignore", "pipe", "inherit"]
      })
      yield* Effect.addFinalizer(() => Effect.sync(() => child.kill("SIGKILL")))
      yield* until("the build runs", runs(label))
      const ended = once(child, "exit")
      child.kill("SIGKILL")
      yield* Effect.promise(() => ended)
      yield* until("its container is removed", isGone(label))
      assert.deepStrictEqual(yield* built(label), [])
      assert.deepStrictEqual(yield* ledger.made, Docker.nothing)
      dockerfile(["RUN echo done >/done"])
      const { ref } = yield* on({ build: { context } })(
        provision({ ...ledger.intent({ key }), spec: {} } as ProvisionIntent)
      )
      assert.isNotEmpty(ref.id)
    }).pipe(Effect.scoped)
  )
})
