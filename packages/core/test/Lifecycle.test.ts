import { assert, describe, it } from "@effect/vitest"
import * as Lifecycle from "../src/Lifecycle.ts"
import { decide } from "../src/Teardown.ts"

describe("the transition table", () => {
  it("I-63 makes no move that it does not have", () => {
    for (const from of [undefined, ...Lifecycle.states]) {
      for (const to of Lifecycle.states) {
        for (const by of Lifecycle.claimKinds) {
          const allowed = Lifecycle.allows({ from, to, by })
          if (allowed) assert.deepInclude(Lifecycle.move({ from, to, by }), { from, to, by })
          else assert.throws(() => Lifecycle.move({ from, to, by }), /no transition/)
        }
      }
    }
  })

  it("lets nobody leave destroyed, and nobody enter requested but an up", () => {
    for (const to of Lifecycle.states) {
      for (const by of Lifecycle.claimKinds) {
        for (const prior of Lifecycle.states) {
          assert.isFalse(Lifecycle.allows({ from: "destroyed", to, by, prior }), `destroyed -> ${to}`)
          if (to === "requested") assert.strictEqual(Lifecycle.allows({ from: undefined, to, by }), by === "up")
        }
      }
    }
  })

  it("goes back only to the prior state that the claim recorded", () => {
    const back = (prior: Lifecycle.State | undefined, to: Lifecycle.State) =>
      Lifecycle.allows({ from: "provisioning", to, by: "resume", prior })
    assert.isTrue(back("stopped", "stopped"))
    assert.isFalse(back("failed", "stopped"))
    assert.isFalse(back(undefined, "stopped"))
    assert.isFalse(Lifecycle.allows({ from: "stopping", to: "failed", by: "down", prior: "failed" }))
    assert.isTrue(Lifecycle.allows({ from: "stopping", to: "ready", by: "down", prior: "ready" }))
  })

  it("has a way out of every state but destroyed", () => {
    for (const from of Lifecycle.states.filter((state) => state !== "destroyed")) {
      const ways = Lifecycle.states.filter((to) =>
        Lifecycle.claimKinds.some((by) => Lifecycle.allows({ from, to, by }))
      )
      assert.isNotEmpty(ways, from)
    }
  })
})

describe("the teardown matrix", () => {
  it("I-64 decides by state, force and confirmation", () => {
    const table: ReadonlyArray<readonly [Lifecycle.State, string, string, string]> = [
      // state, plain, --force, --force --confirm-data-loss
      ["requested", "proceed", "proceed", "proceed"],
      ["provisioning", "proceed", "proceed", "proceed"],
      ["syncing", "proceed", "proceed", "proceed"],
      ["switching", "proceed", "proceed", "proceed"],
      ["ready", "ERR_FORCE_REQUIRED", "save", "save"],
      ["completed", "save", "save", "save"],
      ["stopping", "save", "save", "save"],
      ["persisting", "save", "save", "save"],
      ["stopped", "proceed", "proceed", "proceed"],
      ["failed", "proceed", "proceed", "proceed"],
      ["persist_failed", "ERR_FORCE_REQUIRED", "ERR_DATA_LOSS_UNCONFIRMED", "proceed"],
      ["stopped_unpersisted", "ERR_FORCE_REQUIRED", "ERR_DATA_LOSS_UNCONFIRMED", "proceed"],
      ["tearing_down", "proceed", "proceed", "proceed"],
      ["destroyed", "already", "already", "already"]
    ]
    assert.sameMembers(
      table.map(([state]) => state),
      [...Lifecycle.states]
    )
    const said = (state: Lifecycle.State, force: boolean, confirmDataLoss: boolean) => {
      const decision = decide(state, { force, confirmDataLoss })
      return decision._tag === "refuse"
        ? decision.code
        : decision._tag === "proceed" && decision.save
          ? "save"
          : decision._tag
    }
    for (const [state, plain, forced, confirmed] of table) {
      assert.deepStrictEqual(
        [said(state, false, false), said(state, true, false), said(state, true, true)],
        [plain, forced, confirmed],
        state
      )
    }
  })
})
