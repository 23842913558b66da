/**
 * How much of a long matrix one run tries: a sample that `SANDBOX_TEST_SEED` decides, or all of it where `SANDBOX_TEST_WHOLE`
 * is set, as `npm run test:whole` does.
 */

const text = process.env["SANDBOX_TEST_SEED"] ?? ""

/** The same one in every file of a run; see `test/seed.ts`. */
export const seed = text === "" ? (performance.timeOrigin % 1_000_000) | 0 : Number(text)

export const isWhole = (process.env["SANDBOX_TEST_WHOLE"] ?? "") !== ""

/** How often something is done at random. */
export const times = (whole: number, sampled: number): number => (isWhole ? whole : sampled)

/** Numbers from 0 up to 1, the same ones for the same seed (mulberry32). */
export const random = (seed: number) => {
  let state = (seed ^ 0x9e3779b9) >>> 0
  return (): number => {
    state = (state + 0x6d2b79f5) >>> 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32
  }
}

export const shuffled = <A>(all: ReadonlyArray<A>, seed: number): ReadonlyArray<A> => {
  const next = random(seed)
  return all
    .map((value) => ({ value, key: next() }))
    .toSorted((a, b) => a.key - b.key)
    .map(({ value }) => value)
}

/** So many of them, in the order that they have. */
export const sampled = <A>(all: ReadonlyArray<A>, count: number): ReadonlyArray<A> => {
  if (isWhole) return all
  const chosen = new Set(shuffled([...all.keys()], seed).slice(0, count))
  return all.filter((_, index) => chosen.has(index))
}
