import { readFileSync } from "node:fs"
import { assert, it } from "@effect/vitest"
import { version } from "../src/version.ts"

it("the version that is printed is the package's own", () => {
  const manifest: unknown = JSON.parse(readFileSync(new URL("../package.json", import.meta.url), "utf8"))
  assert.propertyVal(manifest, "version", version)
})
