/** Interleaved measurements: what is compared runs alternately in one process run, so that a busy machine slows both. */

/** One comparison: pairs of measured values, ours and that of what it is held against. */
export interface Comparison {
  readonly what: string
  readonly against: string
  /** The largest median ratio that is fine; any, when absent. */
  readonly target?: number
  /** Of the values; milliseconds when absent. */
  readonly unit?: "ms" | "MB"
  readonly pairs: ReadonlyArray<readonly [ours: number, base: number]>
}

/** Runs both in turn, `warm` times unmeasured and `times` times measured. */
export const pairs = async (
  options: { readonly times: number; readonly warm: number },
  ours: () => Promise<unknown> | unknown,
  base: () => Promise<unknown> | unknown
): Promise<Comparison["pairs"]> => {
  const measured: Array<readonly [number, number]> = []
  for (let turn = -options.warm; turn < options.times; turn++) {
    const pair = [await duration(ours), await duration(base)] as const
    if (turn >= 0) measured.push(pair)
  }
  return measured
}

/** How long something takes, in milliseconds. */
export const duration = async (f: () => Promise<unknown> | unknown): Promise<number> => {
  const from = performance.now()
  await f()
  return performance.now() - from
}

/** The value below which the given part of all values lies. */
export const quantile = (values: ReadonlyArray<number>, part: number): number => {
  const sorted = values.toSorted((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))] ?? Number.NaN
}

const cells = ({ against, pairs, target, unit = "ms", what }: Comparison): ReadonlyArray<string> => {
  const ratios = pairs.map(([ours, base]) => ours / base)
  const median = quantile(ratios, 0.5)
  return [
    what,
    against,
    ...[0, 0.5, 1].map((part) => `${quantile(ratios, part).toFixed(2)}`),
    target === undefined ? "" : `${target.toFixed(2)}${median > target ? " missed" : ""}`,
    ...[0, 1].map(
      (side) =>
        `${quantile(
          pairs.map((pair) => pair[side] ?? Number.NaN),
          0.5
        ).toFixed(2)} ${unit}`
    )
  ]
}

/** A table of ratios; the last two columns are medians of what was measured. */
export const table = (comparisons: ReadonlyArray<Comparison>): string => {
  const header = ["what", "against", "min", "median", "max", "target", "ours", "base"]
  const rows = [header, ...comparisons.map(cells)]
  const widths = header.map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)))
  return rows
    .map((row) =>
      row.map((cell, column) => (column < 2 ? cell.padEnd(widths[column]!) : cell.padStart(widths[column]!))).join("  ")
    )
    .join("\n")
}
