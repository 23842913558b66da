import { assert, describe, it } from "@effect/vitest"
import * as Commands from "@org/sandbox-conformance/Commands"
import * as Conformance from "@org/sandbox-conformance/Conformance"
import { LawContext } from "@org/sandbox-conformance/Law"
import { laws } from "@org/sandbox-conformance/ProvisionerLaws"
import * as MemoryProvisioner from "@org/sandbox-core/MemoryProvisioner"
import { Provisioner, ProvisionerError, type ProvisionerShape } from "@org/sandbox-core/Provisioner"
import { Deferred, type Duration, Effect, Fiber, Layer } from "effect"

const cloudOf = () => {
  const cloud = MemoryProvisioner.makeCloud()
  return { cloud, good: MemoryProvisioner.make({ cloud }) as Required<ProvisionerShape> }
}

const run = (provisioner: ProvisionerShape, options?: Conformance.Options, patience: Duration.Input = "300 millis") =>
  Effect.provide(Conformance.run(options), [
    Layer.succeed(Provisioner, provisioner),
    LawContext.layer({ commands: Commands.memory, patience })
  ])

const named = (report: Conformance.Report, status: Conformance.Verdict["status"]) =>
  report.laws.filter((law) => law.status === status).map(({ name }) => name)

const refusal = new ProvisionerError({
  provider: "memory",
  operation: "provision",
  reason: "Unauthorized",
  outcome: "not_applied",
  message: "No credentials."
})

describe("Conformance.run", () => {
  it.live("says of a good provider that it conforms, and of each law what became of it", () =>
    Effect.gen(function* () {
      const { cloud, good } = cloudOf()
      const told: Array<string> = []
      const onVerdict: Conformance.Options["onVerdict"] = ({ name }, done, total) =>
        Effect.sync(() => told.push(`${done}/${total} ${name}`))
      const report = yield* run(good, { onVerdict }, "5 seconds")
      assert.isTrue(report.conforms)
      assert.deepStrictEqual([report.provider, report.isolation, report.failed], ["memory", "none", 0])
      assert.strictEqual(report.passed + report.skipped, laws.length)
      assert.deepStrictEqual(
        told,
        laws.map(({ name }, index) => `${index + 1}/${laws.length} ${name}`)
      )
      for (const law of report.laws) {
        if (law.status === "skipped") assert.match(law.reason, /^(the provider |no workspaceSource)/)
      }
      assert.strictEqual(cloud.boxes.size, 0)
    })
  )

  it.live("names the laws that are broken, and why, and runs the others", () =>
    Effect.gen(function* () {
      const { good } = cloudOf()
      const report = yield* run(
        { ...good, find: () => Effect.succeed({ _tag: "absent" }), start: () => Effect.die("off by one") },
        { only: ["lifecycle", "idempotency"] }
      )
      assert.isFalse(report.conforms)
      assert.deepStrictEqual(named(report, "failed"), [
        "a halted box runs again when it is started",
        "I-105 a box is found by its key as soon as it is made, and not before",
        "starting a running box is success"
      ])
      const problems = report.laws.flatMap((law) => (law.status === "failed" ? [law.problem] : []))
      assert.include(problems[0], "off by one")
      assert.match(problems[1] ?? "", /^find: expected ".+", saw \{"_tag":"absent"\}/)
      assert.isAbove(report.passed, 10)
    })
  )

  it.live("ends a law that takes for ever, and says that a provider that makes no box fails with its own words", () =>
    Effect.gen(function* () {
      const { good } = cloudOf()
      const hanging = yield* run({ ...good, stop: () => Effect.never }, { only: ["leaks"] })
      assert.deepStrictEqual(
        hanging.laws.map((law) => law.status === "failed" && law.problem),
        ["It was not done within 1s 200ms."]
      )
      const report = yield* run({ ...good, provision: () => Effect.fail(refusal) })
      assert.isFalse(report.conforms)
      const [first] = report.laws
      assert.strictEqual(
        first?.status === "failed" && first.problem,
        "provision failed with Unauthorized: No credentials."
      )
    })
  )

  it.live("does not call a provider conforming of which nothing could be checked", () =>
    Effect.gen(function* () {
      const { endpoint: _, ...bare } = cloudOf().good
      const report = yield* run(bare, { only: ["endpoint"] })
      assert.deepStrictEqual([report.conforms, report.passed, report.skipped], [false, 0, 2])
    })
  )

  it.live("removes what it made when it is interrupted", () =>
    Effect.gen(function* () {
      const { cloud, good } = cloudOf()
      const halting = yield* Deferred.make<void>()
      const stop = () => Effect.andThen(Deferred.succeed(halting, undefined), Effect.never)
      const fiber = yield* Effect.forkChild(run({ ...good, stop }))
      yield* Deferred.await(halting)
      assert.strictEqual(cloud.boxes.size, 1)
      yield* Fiber.interrupt(fiber)
      assert.strictEqual(cloud.boxes.size, 0)
    })
  )
})
