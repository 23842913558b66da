/** Every ordered pair of a memory cloud, this host and a real engine: the same session on the other side. */
import { execFileSync } from "node:child_process"
import { mkdirSync, rmSync } from "node:fs"
import { join } from "node:path"
import { assert, layer } from "@effect/vitest"
import * as MemoryProvisioner from "@org/sandbox-core/MemoryProvisioner"
import { defineProvider } from "@org/sandbox-core/Provisioner"
import { type Client, createClient } from "@org/sandbox-core/promise"
import { Context, Effect, Layer, Schema } from "effect"
import { vi } from "vitest"
import { describeDocker } from "./docker.ts"
import { images, labelled, removeLabelled } from "./support/docker.ts"
import { query, type World, world } from "./support/sandbox.ts"
import { everything, work } from "./support/work.ts"

type Side = "memory" | "local" | "docker"

const sides: ReadonlyArray<Side> = ["memory", "local", "docker"]

const pairs = sides.flatMap((from) => sides.flatMap((to) => (from === to ? [] : [[from, to] as const])))

interface Shape {
  readonly w: World
  readonly client: Client
  readonly cloud: MemoryProvisioner.MemoryCloud
}

/** One for all pairs, because a process has one environment. */
class Site extends Context.Service<Site, Shape>()("Site") {}

const site = Effect.gen(function* () {
  const w = yield* world
  const cloud = MemoryProvisioner.makeCloud()
  yield* Effect.acquireRelease(
    Effect.sync(() => {
      for (const [name, value] of Object.entries(w.env)) vi.stubEnv(name, value)
    }),
    () => Effect.sync(() => vi.unstubAllEnvs())
  )
  const memory = defineProvider({
    apiVersion: 1,
    name: "memory",
    options: Schema.Struct({}),
    layer: () => MemoryProvisioner.layer({ cloud })
  })
  const client = yield* Effect.acquireRelease(
    Effect.sync(() =>
      createClient({
        providers: {
          memory: { use: () => Promise.resolve(memory) },
          local: { use: () => import("@org/sandbox-provider-local") },
          docker: {
            use: () => import("@org/sandbox-provider-docker"),
            options: { image: images.git, pull: "never" }
          }
        }
      })
    ),
    (client) => Effect.promise(client.close)
  )
  yield* Effect.addFinalizer(() => Effect.suspend(() => removeLabelled(label(w))))
  const made: Shape = { w, client, cloud }
  return made
})

const label = (w: World): string => {
  const [row] = query<{ readonly value: string }>(w.ledger, "SELECT value FROM meta WHERE name = 'ledger_id'")
  return `org.sandbox.ledger=${row!.value}`
}

/** How many boxes each side has. */
const boxes = Effect.fnUntraced(function* ({ cloud, w }: Shape) {
  const { containers } = yield* labelled(label(w))
  const local = execFileSync("sh", ["-c", `ls -d "${w.state}"/local/sbx-* 2>/dev/null || true`], { encoding: "utf8" })
  return { memory: cloud.boxes.size, local: local.split("\n").length - 1, docker: containers.length }
})

const only = (side: Side) => ({ memory: 0, local: 0, docker: 0, [side]: 1 })

/** What the checkout holds; nothing can be seen of one in memory. */
const held = Effect.fnUntraced(function* ({ client, w }: Shape, side: Side) {
  if (side === "memory") return undefined
  const { worktreePath } = yield* Effect.promise(() => client.status({ session: "app" }))
  if (worktreePath !== null) return everything(worktreePath)
  const copy = join(w.directory, "held")
  rmSync(copy, { recursive: true, force: true })
  mkdirSync(copy)
  yield* Effect.promise(() => client.cp({ from: "app:.", to: copy }))
  return everything(copy)
})

const rejected = (promise: Promise<unknown>) =>
  Effect.promise(() =>
    promise.then(
      () => assert.fail("it succeeded"),
      (error: unknown) => error as { readonly code: string }
    )
  )

const identity = ({ w }: Shape) =>
  query<object>(
    w.ledger,
    "SELECT id, owner, name, reserved_name, repository, branch, created_at FROM sessions WHERE state <> 'destroyed'"
  )

describeDocker("a session moves between every two providers", () => {
  layer(Layer.effect(Site, site), { excludeTestServices: true })((it) => {
    for (const [from, to] of pairs) {
      it.effect(
        `from ${from} to ${to}, and nothing is left behind`,
        () =>
          Effect.gen(function* () {
            const s = yield* Site
            const { client, w } = s
            // where work cannot be made in the box, it is made on this host first, and travels there
            const origin = from === "memory" ? "local" : from
            const up = yield* Effect.promise(() =>
              client.up({
                repository: w.repository,
                branch: `${from}-${to}`,
                base: "main",
                name: "app",
                provider: origin
              })
            )
            if (up.worktreePath !== null) work(up.worktreePath)
            else {
              const copy = join(w.directory, `made-${to}`)
              mkdirSync(copy)
              yield* Effect.promise(() => client.cp({ from: "app:.", to: copy }))
              work(copy)
              yield* Effect.promise(() => client.cp({ from: `${copy}/.`, to: "app:." }))
            }
            const before = yield* held(s, origin)
            const who = identity(s)
            const intoMemory = { session: "app", to: "memory" }
            if (from === "memory" || to === "memory") {
              const refused = yield* rejected(client.switchProvider(intoMemory))
              assert.strictEqual(refused.code, "ERR_DATA_LOSS_UNCONFIRMED")
              assert.deepEqual(yield* boxes(s), only(origin))
              yield* Effect.promise(() => client.switchProvider({ ...intoMemory, confirmDataLoss: true }))
              assert.deepEqual(yield* boxes(s), only("memory"))
            }
            if (to !== "memory") {
              const moved = yield* Effect.promise(() => client.switchProvider({ session: "app", to }))
              assert.deepInclude(moved, { sessionId: up.sessionId, from, to, state: "ready", orphans: [] })
              assert.deepEqual(yield* held(s, to), before)
            }
            assert.deepEqual(identity(s), who)
            assert.deepEqual(yield* boxes(s), only(to))
            // what a memory box could not take is in its checkpoint, and comes back with the session
            if (to === "memory") {
              yield* Effect.promise(() => client.switchProvider({ session: "app", to: from }))
              assert.deepEqual(yield* held(s, from), before)
              assert.deepEqual(yield* boxes(s), only(from))
            }
            yield* Effect.promise(() => client.destroy({ session: "app", force: true, confirmDataLoss: true }))
            assert.deepEqual(yield* boxes(s), { memory: 0, local: 0, docker: 0 })
          }),
        180_000
      )
    }
  })
})
