import { assert, describe, it } from "@effect/vitest"
import * as Setup from "../src/Setup.ts"

describe("Setup", () => {
  it("fills in every default, and knows when there is nothing to do", () => {
    const empty = Setup.from({})
    assert.isTrue(Setup.isEmpty(empty))
    assert.deepEqual(empty.slots, { max: 8, stride: 1, searchRange: 10, strict: false })
    assert.strictEqual(empty.hooks.timeoutS, 60)
    assert.isTrue(empty.accepted)
    for (const something of [
      { services: [{ name: "web", command: "true" }] },
      { env: { A: "" } },
      { hooks: { postDown: "true" } },
      { inheritEnv: [{ file: ".env" }] },
      { secrets: [{ name: "A", from: { env: "A" } }] }
    ]) {
      assert.isFalse(Setup.isEmpty(Setup.from(something)), JSON.stringify(something))
    }
  })

  it("takes the service that says so for the primary one, and else the first with a port", () => {
    const ports = [{ name: "p", base: 3000 }]
    const worker = { name: "worker", command: "true" }
    const [web, api] = [
      { name: "web", command: "true", ports },
      { name: "api", command: "true", ports }
    ]
    const primary = (services: ReadonlyArray<object>) => Setup.primary(Setup.from({ services } as never))?.name
    assert.strictEqual(primary([worker, web, api]), "web")
    assert.strictEqual(primary([worker, web, { ...api, primary: true }]), "api")
    assert.isUndefined(primary([worker]))
  })

  it("makes the address of a session from a template", () => {
    const session = { name: "app-main", slot: 3, port: 3003 }
    assert.strictEqual(Setup.webAddress("https://{name}.dev.test", session), "https://app-main.dev.test")
    assert.strictEqual(Setup.webAddress("http://box:{port}/s{slot}", session), "http://box:3003/s3")
  })
})
