/**
 * Random operations with random kills on a few sessions of one world: `npm run soak -- [--seed n] [--rounds n] [--provider name]
 * [--to name] [--engine own]`.
 *
 * A model keeps the work that must exist: what each checkout holds, and what it held when it was replaced or removed. After
 * each round the recommendations are followed and everything is accounted for; in the end every kept work is restored, every
 * session is destroyed, and nothing may be left. With `--engine own`, boxes are on an engine of the run's own, which in many
 * rounds is restarted, killed, paused or cut off. Exits 1 otherwise.
 *
 * `--kills n`, instead of rounds: `up`, `down` and `switch` are killed n times at random moments, and then one `gc` has to put right
 * what that left.
 */
import { parseArgs } from "node:util"
import { random } from "../support/sample.ts"
import { Broken } from "./checks.ts"
import { inWorld } from "./inWorld.ts"
import { Kills } from "./kills.ts"
import { number } from "./number.ts"
import { Soak } from "./rounds.ts"

const { values } = parseArgs({
  options: {
    seed: { type: "string", default: "1" },
    rounds: { type: "string", default: "500" },
    kills: { type: "string" },
    provider: { type: "string", default: "local" },
    to: { type: "string" },
    engine: { type: "string" }
  }
})
const seed = number("--seed", values.seed)
const rounds = number("--rounds", values.rounds)
const kills = values.kills === undefined ? undefined : number("--kills", values.kills)
const begun = performance.now()
for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => process.exit(130))

let run: Soak | Kills | undefined
const line = () =>
  `seed ${seed}: ${Object.entries(run?.figures ?? {})
    .map(([name, count]) => `${count} ${name}`)
    .join(", ")}, ${Math.round((performance.now() - begun) / 1000)} s`
const place = {
  provider: values.provider,
  to: values.to,
  engine: values.engine,
  keep: process.env["SANDBOX_SOAK_KEEP"] === "1"
}
try {
  const done = await inWorld(place, (w, engine) => {
    run = kills === undefined ? new Soak(w, random(seed), engine) : new Kills(w, random(seed))
    return run.run(kills ?? rounds, () => console.error(line()))
  })
  console.log(`${line()}: ${done}`)
} catch (error) {
  process.exitCode = 1
  if (run !== undefined) console.error(run.story())
  console.log(`${line()}: ${error instanceof Broken ? `${error.kind}: ${error.message}` : (error as Error).stack}`)
}
