/** Whether every registered provider can be asked, and what it has of ours. */
import { Effect, Result } from "effect"
import { type Backend, Provisioners } from "../../Provisioners.ts"
import { Spec } from "../../Session.ts"
import type { Inventory } from "../gc/inventory.ts"
import { count } from "../unsaved.ts"
import { ok, problem, warning } from "./diagnosis.ts"

/** `mentioned`: providers that sessions are on; what keeps another one from working hurts nobody yet. */
export const providers = (inventories: ReadonlyArray<Inventory>, mentioned: ReadonlyArray<string>) =>
  Effect.forEach(inventories, ({ backend, boxes, problem: why, provider }) => {
    if (backend === undefined) return unloadable(provider)
    const has = why === undefined ? `; ${count(boxes.length, "box").replace(/xs$/, "xes")} of this ledger` : ""
    return Effect.map(asked(provider, backend, mentioned.includes(provider), has), (answer) => {
      if (why === undefined || answer.status === "problem") return answer
      return problem(`provider ${provider}`, `its boxes cannot be listed: ${why}`, "make it reachable, and look again")
    })
  })

/** The same where there is no ledger to ask for boxes of. */
export const providersAlone = Effect.gen(function* () {
  const provisioners = yield* Provisioners
  return yield* Effect.forEach(provisioners.names, (name) =>
    Effect.matchEffect(provisioners.get(name), {
      onFailure: () => unloadable(name),
      onSuccess: (backend) => asked(name, backend, false, "")
    })
  )
})

/** One that only a repository's own file names, and nobody accepted yet, is in nobody's way. */
const unloadable = Effect.fnUntraced(function* (name: string) {
  const about = `provider ${name}`
  const loaded = yield* Effect.result((yield* Provisioners).get(name))
  if (Result.isSuccess(loaded)) return ok(about, "it loads")
  const { code, message, nextStep } = loaded.failure
  return code === "ERR_CONFIG_UNTRUSTED" ? warning(about, message, nextStep) : problem(about, message, nextStep)
})

const asked = Effect.fnUntraced(function* (name: string, backend: Backend, needed: boolean, has: string) {
  const about = `provider ${name}`
  const checked = yield* Effect.result(backend.preflight(new Spec({})))
  if (Result.isFailure(checked)) {
    const { message, nextStep } = checked.failure
    return needed ? problem(about, message, nextStep) : warning(about, message, nextStep)
  }
  const can = backend.capabilities.length === 0 ? "nothing beside" : backend.capabilities.join(", ")
  return ok(about, `isolation ${backend.isolation}; at ${checked.success}${has}; has ${can}`)
})
