/** Every measurement in one run and one table: `npm run bench [name…]`. Nothing here fails because a machine is slow. */
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { type Comparison, table } from "./measure.ts"

const benches = {
  cold: () => import("./cold.ts"),
  claim: () => import("./claim.ts"),
  inflight: () => import("./inflight.ts"),
  scale: () => import("./scale.ts"),
  checkpoint: () => import("./checkpoint.ts"),
  docker: () => import("./docker.ts"),
  switch: () => import("./switch.ts")
}

const chosen = process.argv.slice(2)
const unknown = chosen.filter((name) => !(name in benches))
if (unknown.length > 0)
  throw new Error(`there is no bench ${unknown.join(", ")}; there are ${Object.keys(benches).join(", ")}`)

const folder = mkdtempSync(join(tmpdir(), "sandbox-bench-"))
const comparisons: Array<Comparison> = []
try {
  for (const [name, load] of Object.entries(benches)) {
    if (chosen.length > 0 && !chosen.includes(name)) continue
    console.error(`${name} …`)
    comparisons.push(...(await (await load()).run(folder)))
  }
} finally {
  rmSync(folder, { recursive: true, force: true })
}
console.log(table(comparisons))
