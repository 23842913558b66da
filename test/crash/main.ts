/**
 * The whole crash matrix: `npm run crash -- [--seed n] [--count n] [--skip n] [--parallel n] [--cell 'up/branch#17:SIGKILL']`.
 *
 * `--cell` takes the beginning of an id as well, such as `down/`. Exits 1 when anything leaked, was lost, or got stuck.
 */
import { parseArgs } from "node:util"
import { run, summary } from "./matrix.ts"

const { values } = parseArgs({
  options: {
    seed: { type: "string", default: "1" },
    count: { type: "string" },
    skip: { type: "string" },
    parallel: { type: "string", default: "2" },
    cell: { type: "string" }
  }
})

const number = (text: string | undefined) => (text === undefined ? undefined : Number(text))

const report = await run({
  seed: Number(values.seed),
  count: number(values.count),
  skip: number(values.skip),
  parallel: Number(values.parallel),
  only: values.cell,
  say: (line) => console.error(line)
})
console.log(summary(report))
process.exitCode = report.broken.length === 0 ? 0 : 1
