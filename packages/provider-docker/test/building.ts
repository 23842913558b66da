/** Makes a box of the directory it is given, as a process of its own, and prints what comes of it. */
import { Provisioner } from "@org/sandbox-core/Provisioner"
import { instanceName } from "@org/sandbox-core/Session"
import { Effect } from "effect"
import { layer } from "./engine.ts"

const [context = "", ledger = "", key = ""] = process.argv.slice(2)

const provision = Effect.flatMap(Provisioner, ({ provision }) =>
  provision({
    ...{ key, scope: "here", name: instanceName(key), spec: {}, ports: [], deadline: Date.now() + 600_000 },
    labels: { "org.sandbox.ledger": ledger, "org.sandbox.key": key }
  })
)

const { id } = await Effect.runPromise(Effect.scoped(Effect.provide(provision, layer({ build: { context } }))))
process.stdout.write(id)
