import { assert, describe, it } from "@effect/vitest"
import * as Commands from "@org/sandbox-conformance/Commands"
import * as Conformance from "@org/sandbox-conformance/Conformance"
import * as Faulted from "@org/sandbox-conformance/Faulted"
import { type Group, LawContext } from "@org/sandbox-conformance/Law"
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

for (const [index, kind] of Faulted.kinds.entries()) {
  const seed = 2026 + index
  ProvisionerTest.suite({
    name: `memory with ${kind}, seed ${seed},`,
    layer: Faulted.layer(MemoryProvisioner.layer({ cloud: MemoryProvisioner.makeCloud() }), { kind, seed }),
    capabilities: { endpoint: false },
    commands: Commands.memory,
    patience: "5 seconds",
    workspaceSource
  })
}

/** Runs the laws of some groups on a provider with faults, and answers the report with what the platform saw. */
const report = Effect.fnUntraced(function* (
  options: Faulted.Options,
  change: (good: Required<ProvisionerShape>) => ProvisionerShape = (good) => good,
  only: ReadonlyArray<Group> = ["lifecycle", "idempotency", "truth"]
) {
  const good = MemoryProvisioner.make({ cloud: MemoryProvisioner.makeCloud() }) as Required<ProvisionerShape>
  const { faults, provisioner } = yield* Faulted.make(change(good), options)
  const report = yield* Conformance.run({ only }).pipe(
    Effect.provide([
      Layer.succeed(Provisioner, provisioner),
      LawContext.layer({ commands: Commands.memory, patience: "1 second" })
    ])
  )
  const spoiled = faults.calls.flatMap((entry) =>
    entry.phase === "end" && entry.outcome in reasons ? [`${entry.seq} ${entry.op} ${entry.outcome}`] : []
  )
  return { report, spoiled }
})

describe("Faulted", () => {
  it.live("spoils calls to every member that core repeats, and the same ones for the same seed", () =>
    Effect.gen(function* () {
      const first = yield* report({ kind: "lost replies", seed: 7, every: 1 })
      assert.isTrue(first.report.conforms, JSON.stringify(first.report.laws))
      const spoiled = new Set(first.spoiled.map((line) => line.split(" ")[1]))
      for (const op of ["scope", "preflight", "provision", "find", "inspect", "stop", "start", "destroy"]) {
        assert.isTrue(spoiled.has(op), op)
      }
      const none = yield* report({ kind: "lost replies", seed: 7, every: 1_000_000 })
      assert.deepStrictEqual(none.spoiled, [])
      const again = yield* report({ kind: "lost replies", seed: 7 })
      assert.deepStrictEqual((yield* report({ kind: "lost replies", seed: 7 })).spoiled, again.spoiled)
      assert.notDeepEqual((yield* report({ kind: "lost replies", seed: 8 })).spoiled, again.spoiled)
    })
  )

  it.live("I-105 shows that a create is not safe to repeat by laws that never repeat one", () =>
    Effect.gen(function* () {
      const forgetful = (good: Required<ProvisionerShape>): ProvisionerShape => {
        const asked = new Set<string>()
        return {
          ...good,
          provision: (intent) =>
            Effect.suspend(() => {
              const again = asked.has(intent.key)
              asked.add(intent.key)
              return good.provision(again ? { ...intent, key: `${intent.key}-again` } : intent)
            })
        }
      }
      const onGoodDays = yield* report({ kind: "lost replies", seed: 7, every: 1_000_000 }, forgetful, ["truth"])
      assert.isTrue(onGoodDays.report.conforms, JSON.stringify(onGoodDays.report.laws))
      const onBadDays = yield* report({ kind: "lost replies", seed: 7, every: 1 }, forgetful, ["truth"])
      assert.isAbove(onBadDays.report.failed, 0)
    })
  )
})
