/**
 * Calls the provider from a process of its own and prints the answer: `worker.ts <base> <key> <verb> [<source as JSON>]`.
 *
 * Says `ready` first, so that a test can choose a moment to kill it.
 */
import { Effect } from "effect"
import { intent, layerAt, local } from "./host.ts"

const [base = "", key = "", verb = "", source = "null"] = process.argv.slice(2)

const answer = await Effect.gen(function* () {
  const provisioner = yield* local
  console.log("ready")
  if (verb === "destroy") return yield* provisioner.destroy(key)
  const ref = yield* provisioner.provision(intent({ key }))
  if (verb === "attach") return yield* provisioner.workspace.attach(ref, JSON.parse(source))
  if (verb === "stop") return yield* provisioner.stop(ref)
  return ref
}).pipe(
  Effect.map((answer) => JSON.stringify(answer ?? null)),
  Effect.provide(layerAt(base)),
  Effect.runPromise
)

console.log(answer)
