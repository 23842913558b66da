/**
 * Uses one checkpoint store as a process of its own: `storeWorker.ts <verb> <store> <argument…>`. What goes wrong ends it with
 * its message on stderr.
 */
import { setTimeout } from "node:timers/promises"
import { CheckpointStore } from "@org/sandbox-core/CheckpointStore"
import { Effect, Layer, Option, Random, Stream } from "effect"
import * as FileCheckpointStore from "../src/node/FileCheckpointStore.ts"
import { layerHost } from "../src/node/NodeHost.ts"

const [verb = "", directory = "", ...args] = process.argv.slice(2)
const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes)
const bytes = (content: string) => new TextEncoder().encode(content)

/** The same number has the same content in every process; some are larger than what is held in memory. */
const content = (n: number) => bytes(`${n}.`.repeat(n % 7 === 0 ? 2_200_000 : 1 + (n % 5) * 400))

const save = Effect.fnUntraced(function* (id: string, numbers: ReadonlyArray<number>) {
  const draft = yield* (yield* CheckpointStore).begin(id)
  const digests = yield* Effect.forEach(numbers, (n) =>
    Effect.map(draft.put(Stream.make(content(n))), ({ digest }) => digest)
  )
  yield* draft.publish(bytes(JSON.stringify(digests)))
}, Effect.scoped)

/** Reads all of a checkpoint, which fails unless it is whole. */
const check = Effect.fnUntraced(function* (id: string) {
  const store = yield* CheckpointStore
  const digests: ReadonlyArray<string> = JSON.parse(text(Option.getOrThrow(yield* store.manifest(id))))
  yield* Effect.forEach(digests, (digest) => Stream.runDrain(store.object(id, digest)))
})

const choose = Effect.all(Array.from({ length: 6 }, () => Random.nextIntBetween(0, 12)))

const verbs = {
  /** Saves, checks and removes checkpoints of its own out of objects that all have, and sweeps. */
  contend: Effect.gen(function* () {
    const [name, times] = args
    const store = yield* CheckpointStore
    for (let round = 0; round < Number(times); round++) {
      const id = `ckp_${name}_${round}`
      yield* save(id, yield* choose)
      yield* check(id)
      // every third one stays for a while, as something to share with
      if (round >= 3) {
        yield* check(`ckp_${name}_${round - 3}`)
        yield* store.remove(`ckp_${name}_${round - 3}`)
      }
      if (round % 4 === 0) yield* store.sweep
    }
  }),
  /** Saves without end: says `ready` when it begins. */
  save: Effect.gen(function* () {
    const store = yield* CheckpointStore
    process.stdout.write("ready\n")
    for (let round = 0; ; round++) {
      const id = `ckp_${args[0]}_${round % 3}`
      yield* save(id, yield* choose)
      if (round % 2 === 1) yield* store.remove(id)
      yield* Effect.promise(() => setTimeout(0))
    }
  }),
  /** Saves a file, and the same as a stream, reads it, and says how much memory that took, in bytes. */
  measure: Effect.gen(function* () {
    const store = yield* CheckpointStore
    const draft = yield* store.begin("ckp_large")
    const { digest } = yield* draft.putFile(args[0]!)
    yield* draft.publish(bytes("{}"))
    const copy = yield* store.begin("ckp_copy")
    yield* copy.put(store.object("ckp_large", digest))
    yield* copy.publish(bytes("{}"))
    yield* Stream.runDrain(store.object("ckp_copy", digest))
    process.stdout.write(String(process.resourceUsage().maxRSS * 1024))
  }).pipe(Effect.scoped),
  /** Reads an object, and says which error that ends with. */
  read: Effect.gen(function* () {
    const [id = "", digest = ""] = args
    const { code } = yield* Effect.flip(Stream.runDrain((yield* CheckpointStore).object(id, digest)))
    process.stdout.write(code)
  })
}

await Effect.runPromise(
  Effect.provide(
    verbs[verb as keyof typeof verbs],
    FileCheckpointStore.layer(directory).pipe(Layer.provide(layerHost))
  ) as Effect.Effect<void>
)
