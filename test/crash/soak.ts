/**
 * Random operations with random kills on a few sessions of one world: `npm run soak -- [--seed n] [--rounds n] [--provider name]`.
 *
 * A model keeps the work that must exist: what each checkout holds, and what it held when it was replaced or removed. After
 * each round the recommendations are followed and everything is accounted for; in the end every kept work is restored, every
 * session is destroyed, and nothing may be left. Exits 1 otherwise.
 */
import { mkdtempSync, realpathSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { parseArgs } from "node:util"
import { boxesOf } from "./boxes.ts"
import { bundle } from "./bundle.ts"
import { Broken } from "./checks.ts"
import { random } from "./matrix.ts"
import { number } from "./number.ts"
import { Soak } from "./rounds.ts"
import { World } from "./world.ts"

const { values } = parseArgs({
  options: {
    seed: { type: "string", default: "1" },
    rounds: { type: "string", default: "500" },
    provider: { type: "string", default: "local" }
  }
})
const seed = number("--seed", values.seed)
const rounds = number("--rounds", values.rounds)
const directory = realpathSync(mkdtempSync(join(tmpdir(), "sandbox-soak-")))
const w = new World(join(directory, "world"), await bundle(join(directory, "cli")), boxesOf(values.provider))
w.make()
const soak = new Soak(w, random(seed))
const begun = performance.now()
const line = () =>
  `seed ${seed}: ${Object.entries(soak.figures)
    .map(([name, count]) => `${count} ${name}`)
    .join(", ")}, ${Math.round((performance.now() - begun) / 1000)} s`
/** Also when somebody ends the run. */
const close = () => {
  if (process.exitCode === 1 && process.env["SANDBOX_SOAK_KEEP"] === "1") console.error(`kept: ${directory}`)
  else {
    w.clear()
    rmSync(directory, { recursive: true, force: true, maxRetries: 5 })
  }
}
process.once("exit", close)
for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => process.exit(130))

try {
  while (soak.figures.rounds < rounds) {
    await soak.round()
    if (soak.figures.rounds % 25 === 0) console.error(line())
  }
  await soak.end()
  console.log(`${line()}: 0 leaked boxes, 0 lost files, 0 rows that no command can move`)
} catch (error) {
  process.exitCode = 1
  console.error(soak.story())
  console.log(`${line()}: ${error instanceof Broken ? `${error.kind}: ${error.message}` : (error as Error).stack}`)
}
