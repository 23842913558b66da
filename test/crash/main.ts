/**
 * The whole crash matrix: `npm run crash -- [--seed n] [--count n] [--skip n] [--parallel n] [--provider name]
 * [--to name] [--engine own] [--cell 'up/branch#17:SIGKILL']`.
 *
 * `--cell` takes the beginning of an id as well, such as `down/`; `--point 'provider local after stop'` and `--fault lost`
 * choose by those. Sessions are switched to another provider of this host, or `--to` the one that is named. With `--engine own`, boxes are on an engine of the run's own, and that is what is disturbed at a point. Exits 1 when anything leaked, was lost, or got stuck.
 */
import { parseArgs } from "node:util"
import { run, summary } from "./matrix.ts"
import { number } from "./number.ts"

const { values } = parseArgs({
  options: {
    seed: { type: "string", default: "1" },
    count: { type: "string" },
    skip: { type: "string" },
    parallel: { type: "string", default: "2" },
    provider: { type: "string", default: "local" },
    to: { type: "string" },
    engine: { type: "string" },
    cell: { type: "string" },
    point: { type: "string", multiple: true },
    fault: { type: "string" }
  }
})

for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => process.exit(130))

const given = (name: "count" | "skip") => (values[name] === undefined ? undefined : number(`--${name}`, values[name]))

const report = await run({
  seed: number("--seed", values.seed),
  count: given("count"),
  skip: given("skip"),
  parallel: number("--parallel", values.parallel),
  provider: values.provider,
  to: values.to,
  engine: values.engine,
  only: values.cell,
  points: values.point,
  fault: values.fault,
  say: (line) => console.error(line)
})
console.log(summary(report))
// a run that tried nothing has shown nothing
process.exitCode = report.broken.length === 0 && report.tried > 0 ? 0 : 1
