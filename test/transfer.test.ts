/** How much has been read and written, told while it is: through the client, with the real store and real checkouts. */
import { randomBytes } from "node:crypto"
import { mkdirSync, rmSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { assert, describe, layer } from "@effect/vitest"
import { type Client, createClient, type ProgressEvent } from "@org/sandbox-core/promise"
import { Effect } from "effect"
import { boxesOf } from "./support/boxed.ts"
import { Connected, providers } from "./support/client.ts"

const megabytes = (count: number) => randomBytes(count * 1_000_000)

/** A client of this world that knows boxes which keep their checkouts, and what it is told. */
const listening = Effect.gen(function* () {
  const events: Array<ProgressEvent> = []
  const all = { ...providers, box: { use: () => import("./support/boxProvider.ts") } }
  const client = yield* Effect.acquireRelease(
    Effect.sync(() => createClient({ providers: all, onEvent: (event) => void events.push(event) })),
    (client) => Effect.promise(client.close)
  )
  return { client, events }
})

/** Runs an operation, and answers the sums that were told in each of its phases. */
const sums = Effect.fnUntraced(function* (
  { client, events }: Effect.Success<typeof listening>,
  call: (client: Client) => Promise<{ readonly sessionId: string; readonly operationId: string | null }>
) {
  const from = events.length
  const { operationId, sessionId } = yield* Effect.promise(() => call(client))
  const told = new Map<string, Array<number>>()
  let phase: string | undefined
  for (const event of events.slice(from)) {
    if (event.type === "phase") phase = event.status === "started" ? event.phase : undefined
    if (event.type !== "transfer") continue
    assert.deepEqual([event.operationId, event.sessionId], [operationId, sessionId])
    assert.isDefined(phase, "bytes are told while a phase runs")
    told.set(phase!, [...(told.get(phase!) ?? []), event.bytes])
  }
  for (const [name, bytes] of told)
    assert.deepEqual(
      bytes,
      [...new Set(bytes)].toSorted((a, b) => a - b),
      name
    )
  return new Map([...told].map(([name, bytes]) => [name, bytes.at(-1)!]))
})

const assertAbout = (bytes: number | undefined, expected: number) => {
  assert.isDefined(bytes)
  assert.isAtLeast(bytes!, expected)
  assert.isAtMost(bytes!, expected + 200_000)
}

layer(Connected.layer, { excludeTestServices: true })("the bytes of an operation", (it) => {
  describe("on this host", () => {
    it.effect("are those of the work, when it is saved and when it is restored", () =>
      Effect.gen(function* () {
        const { w } = yield* Connected
        const listener = yield* listening
        const request = { repository: w.repository, branch: "feature", provider: "local", name: "here" }
        const { worktreePath: directory } = yield* Effect.promise(() => listener.client.up(request))
        mkdirSync(join(directory!, "many"))
        for (let n = 0; n < 200; n += 1) writeFileSync(join(directory!, "many", `${n}`), megabytes(0.01))
        writeFileSync(join(directory!, "large"), megabytes(5))
        const saved = yield* sums(listener, (client) => client.checkpoint({ session: "here" }))
        assert.lengthOf([...saved], 1, "nothing is told of phases in which nothing is moved")
        assertAbout([...saved.values()][0], 7_000_000)
        rmSync(join(directory!, "large"))
        const { checkpoints } = yield* Effect.promise(() => listener.client.checkpoints({ session: "here" }))
        const restored = yield* sums(listener, (client) =>
          client.restore({ session: "here", checkpoint: checkpoints.at(-1)!.id })
        )
        assertAbout(restored.get("restore"), 5_000_000)
        const halted = yield* sums(listener, (client) => client.down({ session: "here" }))
        assertAbout(halted.get("save"), 7_000_000)
      })
    )
  })

  describe("in a box", () => {
    it.effect("are those of the checkout as well, which is copied in and out", () =>
      Effect.gen(function* () {
        const { w } = yield* Connected
        const listener = yield* listening
        writeFileSync(join(w.repository, "asset"), megabytes(3))
        w.git("switch", "--quiet", "--create", "assets")
        w.git("add", "asset")
        w.git("commit", "--quiet", "--message", "an asset")
        w.git("switch", "--quiet", "main")
        const request = { repository: w.repository, branch: "assets", provider: "box", name: "there" }
        const placed = yield* sums(listener, (client) => client.up(request))
        // the file, and what git keeps of it
        assertAbout(placed.get("copy"), 6_000_000)
        writeFileSync(join(boxesOf(w, "box").at(-1)!, "work", "large"), megabytes(4))
        const saved = yield* sums(listener, (client) => client.checkpoint({ session: "there" }))
        // read out of the box as a whole, and of that what is new written to the store
        assertAbout([...saved.values()][0], 6_000_000 + 4_000_000 + 4_000_000)
      })
    )
  })
})
