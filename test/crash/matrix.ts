/** Cells by the dozen: which there are, a sample of them, and what became of them. */
import { mkdtempSync, realpathSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import type { OwnEngine } from "../support/ownEngine.ts"
import { shuffled } from "../support/sample.ts"
import { engineOf } from "./boxes.ts"
import { bundle } from "./bundle.ts"
import { Bench, idOf } from "./cell.ts"
import { Broken } from "./checks.ts"
import { scenarios } from "./scenarios.ts"

export interface Options {
  readonly seed: number
  /** How many cells, chosen by the seed; all, when absent. */
  readonly count?: number | undefined
  /** Only cells whose id begins so. */
  readonly only?: string | undefined
  /** Only cells whose id does not begin so. */
  readonly except?: string | undefined
  /** Cells of so many scenarios alone, chosen by the seed; of all, when absent. */
  readonly among?: number | undefined
  /** Only cells at points whose names begin so. */
  readonly points?: ReadonlyArray<string> | undefined
  /** Only cells with this fault. */
  readonly fault?: string | undefined
  /** Only cells without this fault. */
  readonly without?: string | undefined
  /** Cells of the seed's order to leave out, because an earlier run has tried them. */
  readonly skip?: number | undefined
  /** How many cells at a time. */
  readonly parallel: number
  /** Where the boxes are: local, when absent. */
  readonly provider?: string | undefined
  /** Where sessions are switched to: where that is told, only what switches is tried. */
  readonly to?: string | undefined
  /** `own`: boxes are on an engine of the run's own, and what is disturbed is that. */
  readonly engine?: string | undefined
  readonly say: (line: string) => void
}

export interface Report {
  readonly points: number
  readonly cells: number
  readonly tried: number
  /** Cells whose point was not passed this time. */
  readonly missed: ReadonlyArray<string>
  readonly broken: ReadonlyArray<Broken>
}

export const run = async (options: Options): Promise<Report> => {
  const { parallel, provider = "local", say, seed, to } = options
  const directory = realpathSync(mkdtempSync(join(tmpdir(), "sandbox-crash-")))
  const engines: Array<OwnEngine | undefined> = []
  const benches: Array<Bench> = []
  const close = () => {
    for (const bench of benches) bench.close()
    for (const engine of engines) engine?.close()
    rmSync(directory, { recursive: true, force: true, maxRetries: 5 })
  }
  // also when somebody ends the run
  process.once("exit", close)
  try {
    const main = await bundle(join(directory, "cli"))
    for (let n = 0; n < parallel; n++) {
      engines[n] = await engineOf(options.engine)
      benches.push(new Bench(join(directory, `bench-${n}`), main, { provider, to, engine: engines[n] }))
    }
    const fitting = scenarios.filter(
      ({ name, only, switches = false }) =>
        // what is for one provider is for no other one beside it either
        (only === undefined || (only === provider && to === undefined)) &&
        (to === undefined || switches) &&
        (options.only === undefined || options.only.startsWith(name) || name.startsWith(options.only)) &&
        (options.except === undefined || !name.startsWith(options.except))
    )
    const chosen = shuffled(fitting, seed).slice(0, options.among)
    const found = await spread(benches, chosen, (bench, scenario) => bench.discover(scenario))
    const all = found.flat()
    const wanted = all.filter(
      (cell) =>
        (options.only === undefined || idOf(cell).startsWith(options.only)) &&
        (options.points === undefined || options.points.some((name) => cell.point.startsWith(name))) &&
        (options.fault === undefined || cell.fault === options.fault) &&
        cell.fault !== options.without
    )
    const cells = shuffled(wanted, seed)
      .slice(options.skip ?? 0)
      .slice(0, options.count)
    const points = new Set(all.map(({ at, scenario }) => `${scenario.name}#${at}`)).size
    say(
      `${chosen.length} scenarios, ${points} points, ${all.length} points × faults; trying ${cells.length}, seed ${seed}`
    )
    const broken: Array<Broken> = []
    const missed: Array<string> = []
    let tried = 0
    await spread(benches, cells, async (bench, cell) => {
      try {
        if (!(await bench.run(cell))) missed.push(idOf(cell))
      } catch (error) {
        const told =
          error instanceof Broken
            ? error
            : new Broken("wrong", `${idOf(cell)} (${cell.point}): ${String((error as Error).stack)}`)
        broken.push(told)
        say(`${told.kind}: ${told.message}`)
      }
      tried += 1
      if (tried % 50 === 0) say(`${tried} of ${cells.length}, ${broken.length} broken`)
    })
    return { points, cells: all.length, tried, missed, broken }
  } finally {
    process.off("exit", close)
    close()
  }
}

/** Every bench takes the next one as soon as it is done with one. */
const spread = async <A, B>(
  benches: ReadonlyArray<Bench>,
  all: ReadonlyArray<A>,
  work: (bench: Bench, one: A) => Promise<B>
): Promise<ReadonlyArray<B>> => {
  const results: Array<B> = []
  let next = 0
  await Promise.all(
    benches.map(async (bench) => {
      while (next < all.length) {
        const at = next++
        results[at] = await work(bench, all[at]!)
      }
    })
  )
  return results
}

/** How many of each kind were found broken, and what was tried: the last line of a run. */
export const summary = ({ broken, cells, missed, points, tried }: Report): string => {
  const of = (kind: Broken["kind"]) => broken.filter((one) => one.kind === kind).length
  return `${points} points, ${tried} of ${cells} points × faults tried: ${of("leaked")} leaked, ${of("lost")} lost, ${of("stuck")} stuck, ${of("wrong")} wrong${missed.length === 0 ? "" : `, ${missed.length} not reached (${missed.slice(0, 5).join(", ")})`}`
}
