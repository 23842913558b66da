/** `list`, `status` and a claim in a ledger of 100 000 sessions against one of 100, both with 20 in the recent window. */
import { join } from "node:path"
import { list, type SandboxError, status } from "@org/sandbox-core"
import { Provisioners } from "@org/sandbox-core/Provisioners"
import { Effect, Layer, ManagedRuntime } from "effect"
import { claimAndRelease } from "./claims.ts"
import * as Ledgers from "./ledgers.ts"
import { type Comparison, pairs } from "./measure.ts"

const open = async (file: string, total: number) => {
  await Ledgers.fill(file, { live: 20, ended: total - 20 })
  return ManagedRuntime.make(Layer.provideMerge(Provisioners.layer({}), Ledgers.layer(file)))
}

type Runtime = Awaited<ReturnType<typeof open>>
type Services = ManagedRuntime.ManagedRuntime.Services<Runtime>

export const run = async (folder: string): Promise<ReadonlyArray<Comparison>> => {
  const large = await open(join(folder, "large.db"), 100_000)
  const small = await open(join(folder, "small.db"), 100)
  const verbs = {
    list: { times: 10, program: list() },
    status: { times: 20, program: status({ session: Ledgers.nameOf(7) }) },
    claim: { times: 20, program: claimAndRelease(Ledgers.idOf(7)) }
  }
  const comparisons: Array<Comparison> = []
  for (const [verb, { program, times }] of Object.entries(verbs)) {
    const once = Effect.asVoid<unknown, SandboxError.SandboxError, Services>(program)
    const repeated = (runtime: Runtime) => async () => {
      for (let i = 0; i < times; i++) await runtime.runPromise(once)
    }
    comparisons.push({
      what: `${verb} (${times} times) at 100 000 sessions`,
      against: "at 100",
      target: 1.5,
      pairs: await pairs({ times: 15, warm: 3 }, repeated(large), repeated(small))
    })
  }
  await large.dispose()
  await small.dispose()
  return comparisons
}
