import { assert, describe, it } from "@effect/vitest"
import { layer, names, variableOf, warnings } from "../src/config/environment.ts"

describe("variables", () => {
  it("set a key each, by its path", () => {
    const { source, value } = layer({
      SANDBOX_PROVIDER: "local",
      SANDBOX_SLOTS_MAX: "3",
      SANDBOX_SLOTS_STRICT: "false",
      SANDBOX_AUTO_TEARDOWN: "true",
      SANDBOX_LIST_RECENT_WINDOW: "0s",
      SANDBOX_HOOKS_TIMEOUT_S: "1.5",
      SANDBOX_REPO_BRANCH: "1",
      SANDBOX_REPO_URL: "",
      SANDBOX_LEDGER: "x",
      SANDBOX_WORKSPACE: "x",
      SLOTS_MAX: "9"
    })
    assert.deepEqual(value, {
      provider: "local",
      slots: { max: 3, strict: false },
      sandbox: { auto_teardown: true },
      list: { recent_window: "0s" },
      hooks: { timeout_s: 1.5 },
      repo: { branch: "1" }
    })
    assert.strictEqual(source?.(["slots", "max"]), "SANDBOX_SLOTS_MAX")
    assert.isUndefined(source?.(["slots", "stride"]))
  })

  it("that are no number or truth are left for the decoder to refuse", () => {
    assert.deepEqual(layer({ SANDBOX_SLOTS_MAX: "many", SANDBOX_SLOTS_STRICT: "1" }).value, {
      slots: { max: "many", strict: "1" }
    })
  })

  it("have one meaning each, and none that is another's", () => {
    assert.strictEqual(new Set(names).size, names.length)
    for (const taken of [
      "LEDGER",
      "PRINCIPAL_ID",
      "HOST_ID",
      "CONFIG",
      "WORKSPACE",
      "RUN_DIR",
      "NAME",
      "BRANCH",
      "SLOT"
    ]) {
      assert.notInclude(names, `SANDBOX_${taken}`)
    }
    assert.strictEqual(variableOf(["sandbox", "mode"]), "SANDBOX_MODE")
    assert.notInclude(names, "SANDBOX_SERVICES")
  })

  it("that set nothing are told where they look as if they should, and what a box has is let be", () => {
    assert.deepEqual(warnings({ SANDBOX_SLOT_MAX: "3", SANDBOX_PROVDER: "local" }), [
      "the variable SANDBOX_SLOT_MAX has no effect; did you mean SANDBOX_SLOTS_MAX?",
      "the variable SANDBOX_PROVDER has no effect; did you mean SANDBOX_PROVIDER?"
    ])
    const own = [
      "LEDGER",
      "PRINCIPAL_ID",
      "HOST_ID",
      "CONFIG",
      "WORKSPACE",
      "RUN_DIR",
      "NAME",
      "BRANCH",
      "SLOT",
      "WEB_PORT"
    ]
    assert.deepEqual(warnings(Object.fromEntries(own.map((name) => [`SANDBOX_${name}`, "x"]))), [])
  })
})
