/** Which paths of this host a compose service may be shown, on real files. */
import { mkdirSync, mkdtempSync, realpathSync, rmSync, symlinkSync, writeFileSync } from "node:fs"
import { createServer } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as NodeServices from "@effect/platform-node/NodeServices"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer } from "effect"
import * as mounts from "../src/internal/compose/mounts.ts"
import * as NodeProcesses from "../src/node/NodeProcesses.ts"

const host = Layer.mergeAll(NodeServices.layer, NodeProcesses.layer)

const world = Effect.acquireRelease(
  Effect.sync(() => {
    const folder = realpathSync(mkdtempSync(join(tmpdir(), "compose-mounts-")))
    const checkout = join(folder, "checkout")
    mkdirSync(join(checkout, "conf"), { recursive: true })
    mkdirSync(join(folder, "outside"))
    symlinkSync("conf", join(checkout, "within"))
    symlinkSync("../outside", join(checkout, "out"))
    symlinkSync("/", join(checkout, "a$b"))
    symlinkSync("/var/run", join(folder, "run"))
    writeFileSync(join(folder, "file"), "")
    return { folder, checkout }
  }),
  ({ folder }) => Effect.sync(() => rmSync(folder, { recursive: true, force: true }))
)

const judged = Effect.fnUntraced(function* (checkout: string, path: string, how: { ro?: boolean; isolated?: boolean }) {
  const { isolated = false, ro = false } = how
  const found = yield* mounts.judge({ session: "s", checkout, isolated }, [{ field: "f", path, readOnly: ro }])
  return found.problems.length > 0 ? "refused" : found.warnings.length > 0 ? "told" : "own"
})

describe("what of this host a compose service may be shown", () => {
  it.live("I-91 is what the checkout has, wherever links lead", () =>
    Effect.gen(function* () {
      const { checkout, folder } = yield* world
      for (const isolated of [false, true]) {
        for (const path of [checkout, `${checkout}/conf`, "./within", "conf/none/yet"]) {
          assert.strictEqual(yield* judged(checkout, path, { isolated }), "own", path)
        }
        for (const path of [folder, `${checkout}/../outside`, "./out", "./out/none/yet", "/nowhere/at/all"]) {
          assert.strictEqual(yield* judged(checkout, path, { isolated }), "refused", path)
        }
        // as the tool writes a dollar sign that is no variable
        assert.strictEqual(yield* judged(checkout, `${checkout}/a$$b`, { isolated }), "refused")
        assert.strictEqual(yield* judged(checkout, `${checkout}/c$$d`, { isolated }), "own")
        // and as compose 1 writes it, so that `/a` is mounted in the end
        assert.strictEqual(yield* judged(checkout, `${checkout}/a$d`, { isolated }), "refused")
      }
    }).pipe(Effect.provide(host))
  )

  it.live("I-91 on this host is also what can only be read, and says so; beside a box it is not", () =>
    Effect.gen(function* () {
      const { checkout, folder } = yield* world
      for (const path of [`${folder}/outside`, `${folder}/file`, "./out"]) {
        assert.strictEqual(yield* judged(checkout, path, { ro: true }), "told", path)
        assert.strictEqual(yield* judged(checkout, path, { ro: true, isolated: true }), "refused", path)
      }
    }).pipe(Effect.provide(host))
  )

  it.live("I-91 is never this host as a whole, where its engine listens, or any socket, also through a link", () =>
    Effect.gen(function* () {
      const { checkout, folder } = yield* world
      const socket = join(folder, "socket")
      const server = yield* Effect.acquireRelease(
        Effect.callback<ReturnType<typeof createServer>>((resume) => {
          const server = createServer().listen(socket, () => resume(Effect.succeed(server)))
        }),
        (server) => Effect.sync(() => server.close())
      )
      assert.isTrue(server.listening)
      symlinkSync("/", join(folder, "root"))
      const paths = ["/", "/var", "/var/run", "/run", "/proc", "/proc/1", `${folder}/root`, `${folder}/run`, socket]
      for (const path of [...paths, "./a$$b", "/does/not/exist"]) {
        assert.strictEqual(yield* judged(checkout, path, { ro: true }), "refused", path)
      }
    }).pipe(Effect.provide(host))
  )
})
