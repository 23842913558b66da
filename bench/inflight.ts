/** `list` in another process while 200 `up`s are in flight here, against a ledger of as many sessions at rest. */
import { execFileSync, fork } from "node:child_process"
import { once } from "node:events"
import { join } from "node:path"
import * as Faults from "@org/sandbox-conformance/Faults"
import { MemoryProvisioner, up } from "@org/sandbox-core"
import { Provisioner } from "@org/sandbox-core/Provisioner"
import { Provisioners } from "@org/sandbox-core/Provisioners"
import { Effect, Fiber, Layer } from "effect"
import * as Ledgers from "./ledgers.ts"
import { type Comparison, quantile } from "./measure.ts"
import type { Answer, Question } from "./reader.ts"

const ups = 200
const rounds = 5

export const run = async (folder: string): Promise<ReadonlyArray<Comparison>> => {
  const repository = join(folder, "repository")
  execFileSync("git", ["init", "--quiet", "--initial-branch=main", repository])
  const identity = ["-c", "user.name=bench", "-c", "user.email=bench@example.com"]
  execFileSync("git", [...identity, "commit", "--quiet", "--allow-empty", "-m", "first"], { cwd: repository })

  const reader = fork(join(import.meta.dirname, "reader.ts"), { execArgv: ["--conditions=@org/source"] })
  const p99 = async (file: string): Promise<number> => {
    reader.send({ file, times: 400, expected: ups } satisfies Question)
    const [answer] = (await once(reader, "message")) as [Answer]
    if ("problem" in answer) throw new Error(answer.problem)
    return quantile(answer.durations, 0.99)
  }

  const pairs: Array<readonly [number, number]> = []
  for (let round = -1; round < rounds; round++) {
    const rest = join(folder, `rest-${round}.db`)
    await Ledgers.fill(rest, { live: ups, ended: 0 })
    const idle = await p99(rest)
    const busy = await Effect.runPromise(during(join(folder, `busy-${round}.db`), repository, p99))
    if (round >= 0) pairs.push([busy, idle])
  }
  reader.disconnect()
  return [{ what: `list p99 with ${ups} ups in flight`, against: "at rest", target: 2, pairs }]
}

/** Measures while every `up` hangs in its provider's `provision`, then interrupts them. */
const during = (file: string, repository: string, measure: (file: string) => Promise<number>) => {
  const faults = Faults.make(MemoryProvisioner.make({ cloud: MemoryProvisioner.makeCloud() }))
  const program = Effect.gen(function* () {
    yield* faults.always("provision", Faults.hang)
    const fibers = yield* Effect.forEach(
      Array.from({ length: ups }, (_, n) => Ledgers.nameOf(n)),
      (name) => Effect.forkChild(up({ repository, branch: "main", provider: "memory", name }))
    )
    while (faults.started("provision").length < ups) yield* Effect.sleep("50 millis")
    const measured = yield* Effect.promise(() => measure(file))
    yield* Fiber.interruptAll(fibers)
    return measured
  })
  const memory = Layer.succeed(Provisioner)(faults.provisioner)
  return Effect.provide(program, Layer.provideMerge(Provisioners.layer({ memory }), Ledgers.layer(file)))
}
