/** Stands in for `@org/sandbox-core/node` in the CLI under test: the same services, with points, and in more of a hurry. */
import { CheckpointStore } from "@org/sandbox-core/CheckpointStore"
import { Ledger } from "@org/sandbox-core/Ledger"
import * as Real from "@org/sandbox-core/node"
import { Effect, Layer } from "effect"
import { type ChildProcess, ChildProcessSpawner } from "effect/process"
import { hurried } from "./hurried.ts"
import { around } from "./points.ts"

export * from "@org/sandbox-core/node"

const step = (change: {
  readonly move?: { readonly to: string } | undefined
  readonly phase?: string | undefined
  readonly release?: boolean | undefined
}) =>
  [
    change.phase === undefined ? "" : ` in ${change.phase}`,
    change.move === undefined ? "" : ` to ${change.move.to}`,
    change.release === true ? " and release" : ""
  ].join("")

const ledger = Layer.effect(
  Ledger,
  Effect.map(Ledger, (real) => ({
    ...real,
    reserve: (reservation) => around("ledger", "reserve", real.reserve(reservation)),
    acquire: (acquisition) =>
      around("ledger", `acquire for ${acquisition.claim.kind}${step(acquisition)}`, real.acquire(acquisition)),
    commit: (write) => around("ledger", `commit${step(write.change)}`, real.commit(write)),
    purge: (observed) => around("ledger", "purge", real.purge(observed))
  }))
)

const store = Layer.effect(
  CheckpointStore,
  Effect.map(CheckpointStore, (real) => ({
    ...real,
    begin: (id) =>
      Effect.map(around("store", "begin", real.begin(id)), (draft) => ({
        put: (bytes) => around("store", "put", draft.put(bytes)),
        putFile: (path) => around("store", "put", draft.putFile(path)),
        publish: (manifest) => around("store", "publish", draft.publish(manifest))
      })),
    remove: (id) => around("store", "remove", real.remove(id)),
    sweep: around("store", "sweep", real.sweep)
  }))
)

/** Git and whatever else runs on this host; the second point is passed while it runs. */
const spawner = Layer.effect(
  ChildProcessSpawner.ChildProcessSpawner,
  Effect.map(ChildProcessSpawner.ChildProcessSpawner, (real) =>
    ChildProcessSpawner.make((command) => around("process", named(command), real.spawn(command)))
  )
)

const named = (command: ChildProcess.Command): string => {
  if (command._tag !== "StandardCommand") return "pipe"
  const verb = command.args.map(String).find((arg) => /^[a-z][a-z-]*$/.test(arg))
  return `${command.command.split("/").at(-1)}${verb === undefined ? "" : ` ${verb}`}`
}

export const layer: typeof Real.layer = (options) =>
  Layer.mergeAll(ledger, store, spawner, hurried).pipe(Layer.provideMerge(Real.layer(options)))
