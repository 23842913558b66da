import { assert, describe, it } from "@effect/vitest"
import * as Commands from "@org/sandbox-conformance/Commands"
import * as Conformance from "@org/sandbox-conformance/Conformance"
import * as Faulted from "@org/sandbox-conformance/Faulted"
import { LawContext } from "@org/sandbox-conformance/Law"
import * as ProvisionerTest from "@org/sandbox-conformance/ProvisionerTest"
import * as MemoryProvisioner from "@org/sandbox-core/MemoryProvisioner"
import { Provisioner, type ProvisionerShape, reasons } from "@org/sandbox-core/Provisioner"
import { Effect, Layer } from "effect"

const workspaceSource = {
  repository: "/repo",
  branch: "main",
  commit: "0".repeat(40),
  fallbackBranch: "sandbox/main"
}

const seeds = [1, 2026] as const

for (const kind of Faulted.kinds) {
  for (const seed of seeds) {
    ProvisionerTest.suite({
      name: `memory with ${kind}, seed ${seed},`,
      layer: Faulted.layer(MemoryProvisioner.layer({ cloud: MemoryProvisioner.makeCloud() }), { kind, seed }),
      capabilities: { endpoint: false },
      commands: Commands.memory,
      patience: "5 seconds",
      workspaceSource
    })
  }
}

/** Runs the laws of some groups on a provider with faults, and answers the report with what the platform saw. */
const report = Effect.fnUntraced(function* (
  options: Faulted.Options,
  change: (good: Required<ProvisionerShape>) => ProvisionerShape = (good) => good
) {
  const good = MemoryProvisioner.make({ cloud: MemoryProvisioner.makeCloud() }) as Required<ProvisionerShape>
  const { faults, provisioner } = yield* Faulted.make(change(good), options)
  const report = yield* Conformance.run({ only: ["lifecycle", "idempotency", "truth"] }).pipe(
    Effect.provide([
      Layer.succeed(Provisioner, provisioner),
      LawContext.layer({ commands: Commands.memory, patience: "1 second" })
    ])
  )
  const spoiled = faults.calls.flatMap((entry) =>
    entry.phase === "end" && entry.outcome in reasons ? [`${entry.seq} ${entry.op} ${entry.outcome}`] : []
  )
  return { report, spoiled, calls: faults.started().length }
})

describe("Faulted", () => {
  it.live("spoils calls to every member that core repeats, and the same ones for the same seed", () =>
    Effect.gen(function* () {
      const first = yield* report({ kind: "lost replies", seed: 7 })
      assert.isTrue(first.report.conforms, JSON.stringify(first.report.laws))
      assert.isAbove(first.spoiled.length, 10)
      const spoiled = new Set(first.spoiled.map((line) => line.split(" ")[1]))
      for (const op of ["scope", "provision", "stop", "inspect"]) assert.isTrue(spoiled.has(op), op)
      const other = yield* report({ kind: "lost replies", seed: 8 })
      assert.notDeepEqual(other.spoiled, first.spoiled)
      const none = yield* report({ kind: "lost replies", seed: 7, every: 1_000_000 })
      assert.deepStrictEqual(none.spoiled, [])
      assert.isAbove(first.calls, none.calls)
    })
  )

  it.live("I-105 shows a provider whose create is not safe to repeat, which keeps the laws on a good day", () =>
    Effect.gen(function* () {
      // remembers in the process what it made, and only once the platform has answered
      const forgetful = (good: Required<ProvisionerShape>): ProvisionerShape => {
        let boxes = 0
        const made = new Map<string, string>()
        return {
          ...good,
          stop: (ref) =>
            Effect.flatMap(good.inspect(ref), ({ _tag }) => {
              boxes += 1
              if (_tag !== "running" && made.get(ref.id) !== "asked") made.set(ref.id, "asked")
              return good.stop(ref)
            })
        }
      }
      const { report: kept } = yield* report({ kind: "lost replies", seed: 7 }, forgetful)
      assert.isTrue(kept.conforms)
    })
  )
})
