/** `sandbox cp` between this host and a session of the local provider. */
import { execFileSync, spawnSync } from "node:child_process"
import * as fs from "node:fs"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { assertFailure } from "./support/contract.ts"
import { dump, eventually, type World, world } from "./support/sandbox.ts"

const session = Effect.gen(function* () {
  const w = yield* world
  const up = yield* w.sandbox("up", w.repository, "-b", "feature", "--name", "app", "-p", "local", "--json")
  assert.strictEqual(up.code, 0, up.stdout)
  return { ...w, id: up.json().session_id, work: String(up.json().worktree_path) }
})

/** Every file with type, mode, digest or target. */
const listing = (directory: string): string =>
  execFileSync(
    "sh",
    [
      "-c",
      'find . -name .git -prune -o -exec sh -c \'for f; do ls -ld -- "$f" | cut -c1-10; if [ -L "$f" ]; then readlink -- "$f"; elif [ -f "$f" ]; then cksum <"$f"; fi; printf "%s\\n" "$f"; done\' sh {} +'
    ],
    { cwd: directory, encoding: "utf8" }
  )

const plant = (directory: string) => {
  const deep = join(directory, "a b", "new\nline", "ünïcode-日本", "d".repeat(150))
  fs.mkdirSync(deep, { recursive: true })
  fs.writeFileSync(join(deep, "-rf *"), "odd")
  fs.writeFileSync(
    join(directory, "binary"),
    Uint8Array.from({ length: 70_000 }, (_, at) => at % 251)
  )
  fs.writeFileSync(join(directory, "run.sh"), "#!/bin/sh\n")
  fs.chmodSync(join(directory, "run.sh"), 0o755)
  fs.writeFileSync(join(directory, "private"), "p", { mode: 0o600 })
  fs.symlinkSync("../outside", join(directory, "link"))
  fs.mkdirSync(join(directory, "empty"), { mode: 0o700 })
}

/** A plain `sandbox` whose most used memory is said on stderr, in MiB. */
const measured = Effect.fnUntraced(function* (w: World, ...args: ReadonlyArray<string>) {
  const script = 'process.on("exit", () => process.stderr.write("peak=" + process.resourceUsage().maxRSS + "\\n"))'
  const env = { NODE_OPTIONS: `--import=data:text/javascript,${encodeURIComponent(script)}` }
  const { code, stderr } = yield* w.run(args, { env })
  assert.strictEqual(code, 0, stderr)
  return Number(/^peak=(\d+)$/m.exec(stderr)?.[1]) / 1024
})

describe.concurrent("cp", () => {
  it.live("carries a tree to the checkout and back as it is, and says how much that was", () =>
    Effect.gen(function* () {
      const w = yield* session
      const mine = join(w.directory, "mine")
      plant(mine)
      const there: unknown = (yield* w.sandbox("cp", mine, "app:", "--json")).json()
      assert.deepEqual(there, { ok: true, session_id: w.id, bytes: 70_014, files: 5, warnings: [] })
      assert.strictEqual(listing(join(w.work, "mine")), listing(mine))
      const back = yield* w.sandbox("cp", "app:mine", "back")
      assert.deepInclude(back, { code: 0, stdout: "copied 5 files, 70.0 kB\n", stderr: "" })
      assert.strictEqual(listing(join(w.directory, "back")), listing(mine))
      assert.strictEqual((yield* w.sandbox("cp", `${w.id}:mine/binary`, "back/again", "-q")).code, 0)
      assert.isTrue(fs.readFileSync(join(mine, "binary")).equals(fs.readFileSync(join(w.directory, "back", "again"))))
      assert.deepEqual(
        fs.readdirSync(w.directory).filter((name) => name.startsWith(".sandbox")),
        []
      )
    })
  )

  it.live("copies whole archives from stdin and to stdout", () =>
    Effect.gen(function* () {
      const w = yield* session
      plant(join(w.work, "tree"))
      const out = yield* w.start(["cp", "app:tree", "-"])
      const parts: Array<Buffer> = []
      ;(out.stdout as NodeJS.ReadStream).setEncoding("latin1")
      out.stdout.on("data", (part: string) => parts.push(Buffer.from(part, "latin1")))
      assert.strictEqual((yield* out.ended).code, 0)
      const packed = Buffer.concat(parts)
      fs.mkdirSync(join(w.directory, "unpacked"))
      assert.strictEqual(
        spawnSync("tar", ["-xpf", "-"], { input: packed, cwd: join(w.directory, "unpacked") }).status,
        0
      )
      assert.strictEqual(listing(join(w.directory, "unpacked", "tree")), listing(join(w.work, "tree")))

      fs.mkdirSync(join(w.work, "again"))
      const sent = yield* w.start(["cp", "-", "app:again", "--json"], { stdin: "open" })
      sent.stdin!.end(packed)
      assert.deepInclude(JSON.parse((yield* sent.ended).stdout), { ok: true, files: 5 })
      assert.strictEqual(listing(join(w.work, "again", "tree")), listing(join(w.work, "tree")))
      const noise = yield* w.run(["cp", "-", "app:again", "--json"], { stdin: "x".repeat(2000) })
      assert.include(assertFailure(noise, "ERR_INVALID_ARGUMENT").cause, "no tar archive")
      const both = yield* w.sandbox("cp", "app:tree", "-", "--json")
      assert.include(assertFailure(both, "ERR_INVALID_ARGUMENT").cause, "--json")
    })
  )

  it.live("refuses what cannot be meant, and changes nothing", () =>
    Effect.gen(function* () {
      const w = yield* session
      fs.writeFileSync(join(w.directory, "mine"), "x")
      const before = [listing(w.work), fs.readdirSync(w.directory), dump(w.ledger)]
      for (const [from, to, cause] of [
        ["app:none", "x", "there is no app:none"],
        ["app:src.txt", "no/where", "does not exist"],
        ["app:src.txt", "app:copy", "both sides are in sessions"],
        ["app", "./app:x", "neither side is in a session"]
      ] as const) {
        const { cause: said } = assertFailure(yield* w.sandbox("cp", from, to, "--json"), "ERR_INVALID_ARGUMENT")
        assert.include(said, cause)
      }
      assertFailure(yield* w.sandbox("cp", "nobody:x", "x", "--json"), "ERR_SESSION_NOT_FOUND")
      assert.deepEqual([listing(w.work), fs.readdirSync(w.directory), dump(w.ledger)], before)
    })
  )

  it.live("serves a halted session, and says of a destroyed one that it is gone", () =>
    Effect.gen(function* () {
      const w = yield* session
      assert.strictEqual((yield* w.sandbox("down", "app")).code, 0)
      assert.strictEqual((yield* w.sandbox("cp", "app:src.txt", "rescued")).code, 0)
      assert.strictEqual(fs.readFileSync(join(w.directory, "rescued"), "utf8"), "one\n")
      assert.strictEqual((yield* w.sandbox("destroy", "app")).code, 0)
      assertFailure(yield* w.sandbox("cp", `${w.id}:src.txt`, "x", "--json"), "ERR_NOT_READY")
    })
  )

  it.live("needs no more memory for more bytes", () =>
    Effect.gen(function* () {
      const w = yield* session
      const big = join(w.directory, "big")
      fs.writeFileSync(big, "x")
      const small = yield* measured(w, "cp", big, "app:small")
      fs.truncateSync(big, 256 * 2 ** 20)
      assert.isBelow((yield* measured(w, "cp", big, "app:")) - small, 150)
      assert.isBelow((yield* measured(w, "cp", "app:big", "back")) - small, 150)
      assert.strictEqual(fs.statSync(join(w.directory, "back")).size, 256 * 2 ** 20)
    })
  )

  it.live("leaves nothing half-written when it is killed or interrupted", () =>
    Effect.gen(function* () {
      const w = yield* session
      fs.mkdirSync(join(w.work, "tree"))
      // so large that it cannot be copied before anybody has looked
      fs.writeFileSync(join(w.work, "tree", "big"), "")
      fs.truncateSync(join(w.work, "tree", "big"), 4 * 2 ** 30)
      const target = join(w.directory, "target")
      fs.mkdirSync(target)
      const staged = () => fs.readdirSync(target).filter((name) => name.startsWith(".sandbox-cp-"))
      for (const [signal, code, left] of [
        ["SIGINT", 130, 0],
        ["SIGKILL", null, 1]
      ] as const) {
        const running = yield* w.start(["cp", "app:tree", target])
        const begun = () => staged().some((name) => fs.existsSync(join(target, name, "copy", "big")))
        yield* eventually("the copy has begun", () => begun() || running.hasEnded())
        running.signal(signal)
        assert.strictEqual((yield* running.ended).code, code)
        assert.deepEqual(fs.readdirSync(target), staged())
        assert.lengthOf(staged(), left)
      }
      // what nobody could tidy up is removed by the next that copies there
      fs.writeFileSync(join(w.work, "small"), "x")
      assert.strictEqual((yield* w.sandbox("cp", "app:small", target)).code, 0)
      assert.deepEqual(fs.readdirSync(target), ["small"])
    })
  )
})
